//! Arguments of tool calls in the types that the tools' schemas name.

use serde_json::{Map, Value};

/// The properties of each tool's parameters, by the tool's name.
#[derive(Debug, Clone, Default)]
pub(super) struct ToolTypes(Map<String, Value>);

impl ToolTypes {
    pub fn new(tools: &[Value]) -> Self {
        let properties = |tool: &Value| {
            let function = tool.get("function").unwrap_or(tool);
            let name = function["name"].as_str()?.to_owned();
            Some((name, function["parameters"]["properties"].clone()))
        };
        Self(tools.iter().filter_map(properties).collect())
    }

    /// Casts the arguments of a call, or of each call of a list.
    pub fn cast(&self, value: &mut Value) {
        if let Value::Array(calls) = value {
            return calls.iter_mut().for_each(|call| self.cast(call));
        }
        let Some(function) = value.get_mut("function") else {
            return;
        };
        let properties = function["name"].as_str().and_then(|name| self.0.get(name));
        let (Some(properties), Some(Value::Object(arguments))) =
            (properties.cloned(), function.get_mut("arguments"))
        else {
            return;
        };
        for (key, argument) in arguments {
            let types = types(&properties[key]);
            match argument {
                _ if types.is_empty() => {}
                Value::String(text) => *argument = cast(text, &types),
                // Several values of one key.
                Value::Array(items) if !types.contains(&"array".to_owned()) => {
                    for item in items {
                        if let Value::String(text) = item {
                            *item = cast(text, &types);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

fn types(schema: &Value) -> Vec<String> {
    let mut found: Vec<String> = match &schema["type"] {
        Value::String(name) => vec![name.clone()],
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    };
    for union in ["anyOf", "oneOf"] {
        found.extend(
            schema[union]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(types),
        );
    }
    if schema["nullable"] == true && !found.iter().any(|name| name == "null") {
        found.push("null".to_owned());
    }
    found
}

/// The first type that the text fits; the text itself if there is none.
fn cast(text: &str, types: &[String]) -> Value {
    let trimmed = text.trim();
    let fits = |name: &String| -> Option<Value> {
        match name.as_str() {
            "integer" => {
                let whole = || {
                    trimmed
                        .parse::<f64>()
                        .ok()
                        .filter(|number| number.fract() == 0.0)
                };
                let number = trimmed.parse::<i64>().ok();
                number
                    .or_else(|| whole().map(|number| number as i64))
                    .map(Value::from)
            }
            "number" => {
                let number = trimmed
                    .parse::<f64>()
                    .ok()
                    .filter(|number| number.is_finite())?;
                let whole = number.fract() == 0.0 && !text.contains('.');
                Some(if whole {
                    (number as i64).into()
                } else {
                    number.into()
                })
            }
            "boolean" => match trimmed.to_lowercase().as_str() {
                "true" | "1" => Some(true.into()),
                "false" | "0" => Some(false.into()),
                _ => None,
            },
            "null" => matches!(trimmed, "null" | "None").then_some(Value::Null),
            "object" => serde_json::from_str(text).ok().filter(Value::is_object),
            "array" => serde_json::from_str(text).ok().filter(Value::is_array),
            _ => None,
        }
    };
    types.iter().find_map(fits).unwrap_or_else(|| text.into())
}
