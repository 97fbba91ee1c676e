//! What a conversation may ask of a model of the fifteenth version: how much it thinks, and the schema of its answer.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Version;
use super::validate::refused;
use crate::{ChatTemplateOptions, Result};

/// The settings that a model knows, from its file.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SettingsBuilder {
    reasoning_effort: Option<Effort>,
    json_schema: Option<Value>,
}

#[derive(Debug, Clone, Deserialize)]
struct Effort {
    values: Vec<String>,
    /// What it is where a conversation does not say.
    default: Option<String>,
}

const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

impl SettingsBuilder {
    /// What a file may say.
    pub fn check(&self) -> Result<(), String> {
        let Some(effort) = &self.reasoning_effort else {
            return Ok(());
        };
        let unknown = effort
            .values
            .iter()
            .find(|value| !EFFORTS.contains(&value.as_str()));
        if let Some(unknown) = unknown {
            return Err(format!(
                "`model_settings_builder`: the effort `{unknown}` is none of {}",
                EFFORTS.join(", ")
            ));
        }
        match &effort.default {
            Some(default) if effort.values.contains(default) => Ok(()),
            _ => Err(
                "`model_settings_builder`: `reasoning_effort` has no default among its values"
                    .to_owned(),
            ),
        }
    }

    /// The settings of a conversation, by name.
    fn build(&self, options: &ChatTemplateOptions) -> Result<Map<String, Value>> {
        let mut settings = Map::new();
        if self.json_schema.is_some()
            && let Some(schema) = answer_schema(options.extra.get("response_format"))?
        {
            settings.insert("json_schema".to_owned(), schema);
        }
        if let Some(effort) = &self.reasoning_effort {
            let asked = match options.extra.get("reasoning_effort") {
                None | Some(Value::Null) => effort.default.as_deref().unwrap_or_default(),
                Some(value) => value
                    .as_str()
                    .filter(|value| effort.values.iter().any(|known| known == value))
                    .ok_or_else(|| {
                        refused(format!(
                            "`reasoning_effort` is none of {}",
                            effort.values.join(", ")
                        ))
                    })?,
            };
            settings.insert("reasoning_effort".to_owned(), asked.into());
        }
        Ok(settings)
    }
}

/// The settings that `options` ask for; none where the model has none.
pub(super) fn of_options(
    version: Version,
    builder: Option<&SettingsBuilder>,
    options: &ChatTemplateOptions,
) -> Result<Map<String, Value>> {
    let effort = options
        .extra
        .get("reasoning_effort")
        .filter(|effort| !effort.is_null());
    if let Some(effort) = effort
        && !effort
            .as_str()
            .is_some_and(|effort| EFFORTS.contains(&effort))
    {
        return Err(refused(format!(
            "`reasoning_effort` is none of {}",
            EFFORTS.join(", ")
        )));
    }
    if version < Version::V15 {
        return match effort {
            None => Ok(Map::new()),
            Some(_) => Err(refused("this model knows no `reasoning_effort`")),
        };
    }
    builder
        .ok_or_else(|| refused("the tokenizer's file does not say what settings the model knows"))?
        .build(options)
}

/// The schema in `response_format`, in the form of OpenAI's API.
fn answer_schema(format: Option<&Value>) -> Result<Option<Value>> {
    let Some(format) = format.filter(|format| !format.is_null()) else {
        return Ok(None);
    };
    match format["type"].as_str().unwrap_or("text") {
        "text" => Ok(None),
        "json_object" => Ok(Some(
            json!({"anyOf": [{"type": "object"}, {"type": "array"}]}),
        )),
        "json_schema" => match &format["json_schema"]["schema"] {
            schema @ Value::Object(_) => Ok(Some(schema.clone())),
            _ => Err(refused(
                "`response_format` has no `json_schema.schema` that is an object",
            )),
        },
        other => Err(refused(format!(
            "the type `{other}` of `response_format` is none of text, json_object and json_schema"
        ))),
    }
}
