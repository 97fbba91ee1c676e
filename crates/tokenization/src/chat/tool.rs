//! Schemas of functions that a model may call, from Rust types.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The schema of a function whose arguments are the fields of `T`, as chat templates read it: an entry of
/// [`ChatTemplateOptions::tools`](crate::ChatTemplateOptions::tools). Comments on the fields say what they are for; fields
/// that are `Option`s or have `#[serde(default)]` may be left out.
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
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut parameters = schema.to_value();
    tidy(&mut parameters);
    if let Value::Object(parameters) = &mut parameters {
        parameters.remove("description"); // the function's is given
        parameters
            .entry("properties")
            .or_insert_with(|| Map::new().into());
    }
    json!({
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    })
}

/// Removes what says nothing to a model: names and sizes of Rust types.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("type") || map.contains_key("$schema") {
                let numeric = |name: &Value| name == "integer" || name == "number";
                let kind = &map["type"];
                let is_number = numeric(kind)
                    || kind
                        .as_array()
                        .is_some_and(|kinds| kinds.iter().any(numeric));
                if is_number {
                    map.remove("format");
                    if map.get("minimum").and_then(Value::as_f64) == Some(0.0) {
                        map.remove("minimum");
                    }
                }
                if map.get("title").is_some_and(Value::is_string) {
                    map.remove("title");
                }
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(values) => values.iter_mut().for_each(tidy),
        _ => {}
    }
}
