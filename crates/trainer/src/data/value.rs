//! One cell of a dataset.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Example;

/// The value of a column in one example. Lists of numbers, which ids and masks are, lie flat in memory.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number, such as a class.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// Whole numbers, such as ids; also what an empty list is.
    Integers(Vec<i64>),
    /// Numbers, one of which at least is not whole.
    Floats(Vec<f64>),
    /// Anything else in a row.
    List(Vec<Value>),
    /// Named values, such as a message of a conversation.
    Map(Example),
}

impl Value {
    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "no value",
            Self::Bool(_) => "a truth value",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::Integers(_) => "a list of whole numbers",
            Self::Floats(_) => "a list of numbers",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// Whether there is no value.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// The text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number; a truth value is 0 or 1.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Bool(truth) => Some(i64::from(*truth)),
            _ => None,
        }
    }

    /// The number.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            _ => self.as_integer().map(|number| number as f64),
        }
    }

    /// The whole numbers.
    pub fn as_integers(&self) -> Option<&[i64]> {
        match self {
            Self::Integers(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// The values of a list of any kind, one by one.
    pub fn items(&self) -> Option<Vec<Value>> {
        match self {
            Self::Integers(values) => Some(values.iter().copied().map(Self::Integer).collect()),
            Self::Floats(values) => Some(values.iter().copied().map(Self::Float).collect()),
            Self::List(values) => Some(values.clone()),
            _ => None,
        }
    }

    /// How many values a list has.
    pub fn list_len(&self) -> Option<usize> {
        match self {
            Self::Integers(values) => Some(values.len()),
            Self::Floats(values) => Some(values.len()),
            Self::List(values) => Some(values.len()),
            _ => None,
        }
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<i64>> for Value {
    fn from(numbers: Vec<i64>) -> Self {
        Self::Integers(numbers)
    }
}

impl From<Vec<u32>> for Value {
    fn from(ids: Vec<u32>) -> Self {
        Self::Integers(ids.into_iter().map(i64::from).collect())
    }
}

impl From<Vec<f64>> for Value {
    fn from(numbers: Vec<f64>) -> Self {
        Self::Floats(numbers)
    }
}

impl From<Vec<Value>> for Value {
    /// Numbers of one kind lie flat.
    fn from(values: Vec<Value>) -> Self {
        let integer = |value: &Value| matches!(value, Value::Integer(_));
        let number = |value: &Value| integer(value) || matches!(value, Value::Float(_));
        if values.iter().all(integer) {
            return Self::Integers(values.iter().filter_map(Value::as_integer).collect());
        }
        if values.iter().all(number) {
            return Self::Floats(values.iter().filter_map(Value::as_float).collect());
        }
        Self::List(values)
    }
}

impl From<Example> for Value {
    fn from(map: Example) -> Self {
        Self::Map(map)
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Null,
            Json::Bool(truth) => Self::Bool(truth),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Self::Integer(whole),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(text),
            Json::Array(values) => {
                let values: Vec<Value> = values.into_iter().map(Self::from).collect();
                values.into()
            }
            Json::Object(map) => Self::Map(map.into_iter().collect()),
        }
    }
}

impl From<&Value> for serde_json::Value {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(truth) => (*truth).into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Text(text) => text.as_str().into(),
            Value::Integers(numbers) => numbers.clone().into(),
            Value::Floats(numbers) => numbers.clone().into(),
            Value::List(values) => values.iter().map(Self::from).collect(),
            Value::Map(map) => {
                let pairs = map
                    .iter()
                    .map(|(name, value)| (name.to_owned(), Self::from(value)));
                Self::Object(pairs.collect())
            }
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Integers(numbers) => numbers.serialize(serializer),
            Self::Floats(numbers) => numbers.serialize(serializer),
            Self::List(values) => values.serialize(serializer),
            Self::Map(map) => map.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(Self::from)
    }
}
