//! Schemas of functions that a model may call, from Rust types.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The schema of a function whose arguments are the fields of `T`, as chat templates read it: an entry of
/// [`ChatTemplateOptions::tools`](crate::ChatTemplateOptions::tools). Comments on the fields say what they are for; fields
/// that are `Option`s or have `#[serde(default)]` may be left out.
///
/// Spelled and ordered as the reference's `get_json_schema` does it for a Python function of such arguments, except that a
/// default is said.
///
/// ```
/// use schemars::JsonSchema;
/// use serde::Deserialize;
/// use transformers_tokenization::function_schema;
///
/// #[derive(Deserialize, JsonSchema)]
/// struct GetWeather {
///     /// Which city.
///     city: String,
///     /// How many days from now.
///     days: Option<u32>,
/// }
///
/// let tool = function_schema::<GetWeather>("get_weather", "The weather of a city.");
/// let parameters = &tool["function"]["parameters"];
/// assert_eq!(parameters["properties"]["city"]["description"], "Which city.");
/// assert_eq!(parameters["required"], serde_json::json!(["city"]));
/// ```
pub fn function_schema<T: JsonSchema>(name: &str, description: &str) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut parameters = form(schema.to_value());
    if let Value::Object(parameters) = &mut parameters {
        parameters.shift_remove("description"); // the function's is given
        if !parameters.contains_key("properties") {
            parameters.insert("properties".to_owned(), Map::new().into());
        }
    }
    json!({
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    })
}

/// A schema as the reference spells it, in its order: what may be null is `nullable`, alternatives that have nothing but a
/// type are a list of types, and nothing is said of Rust: no titles, no sizes of numbers.
fn form(schema: Value) -> Value {
    let mut schema = match schema {
        Value::Object(schema) => schema,
        Value::Bool(true) => Map::new(), // anything
        other => return other,
    };
    schema.shift_remove("title");
    forget_sizes(&mut schema);
    let mut nullable = false;
    for key in ["anyOf", "oneOf"] {
        if let Some(Value::Array(choices)) = schema.shift_remove(key) {
            let choices: Vec<Value> = choices.into_iter().map(form).collect();
            nullable |= alternatives(choices, &mut schema);
        }
    }
    if let Some(kind) = schema.get_mut("type")
        && let Value::Array(types) = kind
    {
        let count = types.len();
        types.retain(|name| name != "null");
        nullable |= types.len() < count;
        if let [only] = types.as_slice() {
            *kind = only.clone();
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        let count = values.len();
        values.retain(|value| !value.is_null());
        nullable |= values.len() < count;
    }
    if nullable {
        schema.insert("nullable".to_owned(), true.into());
    }
    ordered(schema)
}

/// Puts alternatives into a schema; whether null is one of them.
fn alternatives(mut choices: Vec<Value>, schema: &mut Map<String, Value>) -> bool {
    let is_null = |choice: &Value| choice["type"] == "null";
    let nullable = choices.iter().any(is_null);
    choices.retain(|choice| !is_null(choice));
    let types: Option<Vec<&str>> = choices
        .iter()
        .map(|choice| match choice.as_object() {
            Some(choice) if choice.len() == 1 => choice.get("type").and_then(Value::as_str),
            _ => None,
        })
        .collect();
    let constants: Option<Vec<Value>> = choices
        .iter()
        .map(|choice| choice.get("const").cloned())
        .collect();
    match (choices.as_slice(), types, constants) {
        ([Value::Object(only)], ..) => {
            for (key, value) in only.clone() {
                schema.entry(key).or_insert(value);
            }
        }
        (_, Some(mut types), _) => {
            types.sort_unstable();
            types.dedup();
            schema.insert("type".to_owned(), json!(types));
        }
        // A variant with a description is a schema of its own, with one value.
        (_, _, Some(constants)) => {
            schema.insert("type".to_owned(), "string".into());
            schema.insert("enum".to_owned(), constants.into());
        }
        _ => {
            schema.insert("anyOf".to_owned(), choices.into());
        }
    }
    nullable
}

/// Removes the bounds that a number has by its Rust type, and those of the length of a tuple.
fn forget_sizes(schema: &mut Map<String, Value>) {
    let format = schema
        .get("format")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let bits = format
        .trim_start_matches(|c: char| !c.is_ascii_digit())
        .parse()
        .unwrap_or(64u32);
    let bounds = match format {
        _ if format.starts_with("uint") => (0.0, 2f64.powi(bits as i32) - 1.0),
        _ if format.starts_with("int") => (
            -(2f64.powi(bits as i32 - 1)),
            2f64.powi(bits as i32 - 1) - 1.0,
        ),
        "float" | "double" => (f64::NEG_INFINITY, f64::INFINITY),
        _ => {
            if schema.contains_key("prefixItems") {
                schema.shift_remove("minItems");
                schema.shift_remove("maxItems");
            }
            return;
        }
    };
    schema.shift_remove("format");
    for (key, bound) in [("minimum", bounds.0), ("maximum", bounds.1)] {
        if schema.get(key).and_then(Value::as_f64) == Some(bound) {
            schema.shift_remove(key);
        }
    }
}

/// In the reference's order, with the schemas within.
fn ordered(mut schema: Map<String, Value>) -> Value {
    const FIRST: [&str; 8] = [
        "type",
        "anyOf",
        "enum",
        "items",
        "prefixItems",
        "properties",
        "additionalProperties",
        "required",
    ];
    let within = |key: &str, value: Value| match (key, value) {
        ("items" | "additionalProperties", value) => form(value),
        ("prefixItems", Value::Array(values)) => values.into_iter().map(form).collect(),
        ("properties", Value::Object(map)) => Value::Object(
            map.into_iter()
                .map(|(name, schema)| (name, form(schema)))
                .collect(),
        ),
        (_, value) => value,
    };
    let description = schema.shift_remove("description");
    let mut ordered = Map::new();
    for key in FIRST {
        if let Some(value) = schema.shift_remove(key) {
            ordered.insert(key.to_owned(), within(key, value));
        }
    }
    ordered.extend(schema);
    ordered.extend(description.map(|description| ("description".to_owned(), description)));
    ordered.into()
}
