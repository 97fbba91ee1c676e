//! JSON in templates: values on the way in, and `tojson` as Python's `json.dumps` writes it.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, State, Value};
use serde_json::Map;

use super::values::{MAX_DEPTH, invalid, pay_bytes, text};

/// The object as a template sees it, with its keys in order.
pub(super) fn object_to_value(map: &Map<String, serde_json::Value>) -> Value {
    Value::from_pairs(
        map.iter()
            .map(|(key, value)| (Value::from(key.as_str()), to_value(value))),
    )
}

fn to_value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(number) => {
            if let Some(integer) = number.as_i64() {
                Value::from(integer)
            } else if let Some(integer) = number.as_u64() {
                Value::from(integer)
            } else {
                Value::from(number.as_f64().unwrap_or(f64::NAN))
            }
        }
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(values) => values.iter().map(to_value).collect(),
        serde_json::Value::Object(map) => object_to_value(map),
    }
}

/// The filter `tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
pub(super) fn tojson(state: &State, value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent = match options.get::<Option<Value>>("indent")? {
        Some(text) if text.as_str().is_some() => text.as_str().map(str::to_owned),
        Some(width) if !width.is_none() => Some(" ".repeat(indent_width(&width)?)),
        _ => None,
    };
    let default_separator = if indent.is_some() { "," } else { ", " };
    let separators: Option<Vec<Value>> = options.get("separators")?;
    let (item_separator, key_separator) = match separators.as_deref() {
        None => (default_separator.to_owned(), ": ".to_owned()),
        Some([item, key]) => (text(state, item)?, text(state, key)?),
        Some(_) => {
            return Err(invalid(
                "tojson: `separators` is a pair: between items, and after a key",
            ));
        }
    };
    let mut writer = Writer {
        state,
        out: String::new(),
        depth: 0,
        ensure_ascii: options
            .get::<Option<bool>>("ensure_ascii")?
            .unwrap_or(false),
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        indent,
        item_separator,
        key_separator,
    };
    options.assert_all_used()?;
    writer.value(value)?;
    Ok(writer.out)
}

fn indent_width(value: &Value) -> Result<usize, Error> {
    let width = value
        .as_i64()
        .ok_or_else(|| invalid("tojson: `indent` is a number of spaces or a text"))?;
    usize::try_from(width.clamp(0, 64)).map_err(|_| invalid("tojson: `indent` is out of range"))
}

struct Writer<'a, 'template, 'env> {
    state: &'a State<'template, 'env>,
    out: String,
    depth: usize,
    ensure_ascii: bool,
    sort_keys: bool,
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
}

impl Writer<'_, '_, '_> {
    fn value(&mut self, value: &Value) -> Result<(), Error> {
        // Paid for as it is written: the same list many times inside itself is exponentially long.
        self.state.consume_fuel(1)?;
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self
                .out
                .push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(value)?,
            ValueKind::String => self.string(value.as_str().unwrap_or_default())?,
            ValueKind::Seq | ValueKind::Iterable => {
                self.container('[', ']', value.try_iter()?, Self::value)?
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.container('{', '}', keys.into_iter(), |writer, key| {
                    writer.key(key)?;
                    pay_bytes(writer.state, writer.key_separator.len())?;
                    let separator = writer.key_separator.clone();
                    writer.out.push_str(&separator);
                    writer.value(&value.get_item(key)?)
                })?;
            }
            kind => {
                return Err(invalid(format!(
                    "tojson: a value of kind {kind} is not JSON"
                )));
            }
        }
        Ok(())
    }

    fn container(
        &mut self,
        open: char,
        close: char,
        items: impl Iterator<Item = Value>,
        mut write: impl FnMut(&mut Self, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.depth == MAX_DEPTH {
            return Err(invalid("tojson: the value is nested too deeply"));
        }
        self.out.push(open);
        self.depth += 1;
        let mut empty = true;
        for item in items {
            if !empty {
                pay_bytes(self.state, self.item_separator.len())?;
                self.out.push_str(&self.item_separator);
            }
            empty = false;
            self.new_line()?;
            write(self, &item)?;
        }
        self.depth -= 1;
        if !empty {
            self.new_line()?;
        }
        self.out.push(close);
        Ok(())
    }

    fn new_line(&mut self) -> Result<(), Error> {
        if let Some(indent) = &self.indent {
            self.state
                .consume_fuel((indent.len() * self.depth / 64) as u64)?;
            self.out.push('\n');
            self.out
                .extend(std::iter::repeat_n(indent.as_str(), self.depth));
        }
        Ok(())
    }

    /// Keys that are not text are written as the text of their value, as Python does.
    fn key(&mut self, key: &Value) -> Result<(), Error> {
        match key.kind() {
            ValueKind::String => self.string(key.as_str().unwrap_or_default()),
            ValueKind::None | ValueKind::Bool | ValueKind::Number => {
                self.out.push('"');
                self.value(key)?;
                self.out.push('"');
                Ok(())
            }
            kind => Err(invalid(format!("tojson: a key of kind {kind} is not JSON"))),
        }
    }

    fn number(&mut self, value: &Value) -> Result<(), Error> {
        if value.is_integer() {
            write!(self.out, "{value}").map_err(|_| invalid("tojson failed"))
        } else {
            let number = f64::try_from(value.clone())?;
            self.out.push_str(&python_float(number));
            Ok(())
        }
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
        self.state.consume_fuel((text.len() / 64) as u64)?;
        self.out.push('"');
        for character in text.chars() {
            match character {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                control if control < ' ' => self.escape(control),
                other if self.ensure_ascii && other > '~' => self.escape(other),
                other => self.out.push(other),
            }
        }
        self.out.push('"');
        Ok(())
    }

    /// `\uXXXX`, twice for what lies beyond the basic plane.
    fn escape(&mut self, character: char) {
        for unit in character.encode_utf16(&mut [0; 2]) {
            self.out.push_str(&format!("\\u{unit:04x}"));
        }
    }
}

/// The shortest text that reads back as this number, as Python spells it: `1.0`, `1e+16`, `1e-05`, `NaN`.
pub(crate) fn python_float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .to_owned();
    }
    let magnitude = number.abs();
    if number == 0.0 || (1e-4..1e16).contains(&magnitude) {
        return format!("{number:?}");
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}
