//! How a model writes its answers.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

use super::AnswerForm;
use super::content::{self, PARSERS};
use super::delimiter::Delimiter;
use super::invalid;
use crate::Result;

/// The form of a model's answers: which fields there are, and where each begins and ends. Cheap to clone.
///
/// It is JSON: `defaults` (a message's fields that are always there), `start_anchor` or `start_anchor_pattern` (what the
/// prompt's last part begins after), and `fields`. A field has `open`, `close` (a text, or several) or `open_pattern`,
/// `close_pattern`; `content` says how its text becomes a value (`text`, `int`, `float`, `bool`, `json`, `xml-inline`,
/// `kv-lines`) and `content_args` in what dialect; `repeats` collects several, which `join` joins; `transform` puts
/// `{content}` and the patterns' groups into a form. One field may be without `open`: what is in no other is in it.
///
/// ```
/// use transformers_tokenization::{ResponseTemplate, parse_response};
///
/// let template = ResponseTemplate::of_model_type("qwen3").expect("a known model");
/// let answer = "<think>\nEasy.\n</think>\n\nParis.<|im_end|>";
/// let message = parse_response(answer, &template, "", &[])?;
/// assert_eq!(message.content(), Some("Paris."));
/// assert_eq!(message.get("reasoning_content").and_then(|text| text.as_str()), Some("Easy."));
/// # Ok::<(), transformers_tokenization::TokenizationError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ResponseTemplate(pub(super) Arc<Spec>);

#[derive(Debug)]
pub(super) struct Spec {
    pub defaults: Map<String, Value>,
    pub fields: Vec<Field>,
    /// The field without a beginning.
    pub implicit: Option<usize>,
    pub anchor: Delimiter,
}

#[derive(Debug)]
pub(super) struct Field {
    pub name: String,
    pub open: Option<Delimiter>,
    pub close: Option<Delimiter>,
    pub content: String,
    pub content_args: Value,
    pub repeats: bool,
    pub join: Option<String>,
    pub optional: bool,
    pub transform: Option<Value>,
    pub transform_each: bool,
}

impl ResponseTemplate {
    /// Reads a template. Fails where a key is unknown or does not fit the others, naming it.
    pub fn new(template: &Value) -> Result<Self> {
        let object = template
            .as_object()
            .ok_or_else(|| invalid("a response template is a JSON object"))?;
        known_keys(
            "the response template",
            object,
            &[
                "version",
                "defaults",
                "fields",
                "start_anchor",
                "start_anchor_pattern",
            ],
        )?;
        if object.get("version").is_some_and(|version| *version != 1) {
            return Err(invalid(format!(
                "a response template of the version {} is not known; 1 is",
                object["version"]
            )));
        }
        let defaults = match object.get("defaults") {
            None => Map::new(),
            Some(Value::Object(defaults)) => defaults.clone(),
            Some(_) => {
                return Err(invalid(
                    "the response template: `defaults` is not an object",
                ));
            }
        };
        let fields = match object.get("fields") {
            Some(Value::Object(fields)) if !fields.is_empty() => fields
                .iter()
                .map(|(name, field)| Field::new(name, field))
                .collect::<Result<Vec<_>>>()?,
            _ => return Err(invalid("the response template has no `fields`")),
        };
        let mut without_open = fields
            .iter()
            .enumerate()
            .filter(|(_, field)| field.open.is_none())
            .map(|(index, _)| index);
        let implicit = without_open.next();
        if without_open.next().is_some() {
            return Err(invalid(
                "only one field of a response template may be without `open`",
            ));
        }
        let anchor = Delimiter::read("the response template", object, "start_anchor")?;
        Ok(Self(Arc::new(Spec {
            anchor: anchor.ok_or_else(|| invalid("the response template has no `start_anchor`"))?,
            defaults,
            fields,
            implicit,
        })))
    }

    /// The template of a family of models whose files have none: `qwen3`, `qwen3_5`, `gemma4` and their kin.
    pub fn of_model_type(model_type: &str) -> Option<Self> {
        static KNOWN: LazyLock<HashMap<String, ResponseTemplate>> = LazyLock::new(|| {
            let templates: Vec<(Vec<String>, Value)> =
                serde_json::from_str(include_str!("templates.json")).expect("the data is valid");
            let of_all = |(types, template): (Vec<String>, Value)| {
                let template = ResponseTemplate::new(&template).expect("the data is valid");
                types.into_iter().map(move |name| (name, template.clone()))
            };
            templates.into_iter().flat_map(of_all).collect()
        });
        KNOWN.get(model_type).cloned()
    }

    /// The template of the first family whose marks a chat template writes, such as `[TOOL_CALLS]` or `<tool_call>`: the
    /// reasoning, the tool calls and the content of DeepSeek, GLM, gpt-oss, Granite, Hermes, Kimi, Llama 3, Mistral, Phi-4,
    /// Qwen, Gemma and Command models.
    pub fn of_chat_template(chat_template: &str) -> Option<Self> {
        Some(family_of(chat_template)?.template.clone())
    }

    /// The template of a family by its name in `families.json`.
    pub(crate) fn of_family(name: &str) -> Option<Self> {
        let family = families().iter().find(|family| family.name == name)?;
        Some(family.template.clone())
    }
}

/// A family whose models' files say nothing of their answers.
pub(super) struct Family {
    pub name: String,
    marks: Vec<String>,
    template: ResponseTemplate,
    pub form: Option<AnswerForm>,
}

/// The first family all of whose marks a chat template writes.
pub(super) fn family_of(chat_template: &str) -> Option<&'static Family> {
    let writes = |family: &&Family| family.marks.iter().all(|mark| chat_template.contains(mark));
    families().iter().find(writes)
}

pub(super) fn families() -> &'static [Family] {
    #[derive(serde::Deserialize)]
    struct Entry {
        name: String,
        /// What its chat templates write, and those before it in the list do not.
        marks: Vec<String>,
        /// Its answers are like those of this model type, or
        model_type: Option<String>,
        /// of this form.
        template: Option<Value>,
        form: Option<AnswerForm>,
    }

    static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(|| {
        let entries: Vec<Entry> =
            serde_json::from_str(include_str!("families.json")).expect("the data is valid");
        let family = |entry: Entry| {
            let template = match (&entry.template, &entry.model_type) {
                (Some(template), _) => ResponseTemplate::new(template).ok(),
                (None, Some(model_type)) => ResponseTemplate::of_model_type(model_type),
                (None, None) => None,
            };
            Family {
                name: entry.name,
                marks: entry.marks,
                template: template.expect("the data is valid"),
                form: entry.form,
            }
        };
        entries.into_iter().map(family).collect()
    });
    &FAMILIES
}

impl Field {
    fn new(name: &str, field: &Value) -> Result<Self> {
        let scope = format!("the field `{name}`");
        let object = field
            .as_object()
            .ok_or_else(|| invalid(format!("{scope} is not an object")))?;
        known_keys(
            &scope,
            object,
            &[
                "open",
                "open_pattern",
                "close",
                "close_pattern",
                "content",
                "content_args",
                "repeats",
                "join",
                "optional",
                "transform",
                "transform_each",
            ],
        )?;
        let flag = |key: &str, default: bool| match object.get(key) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(invalid(format!(
                "{scope}: `{key}` is neither true nor false"
            ))),
        };
        let content = object.get("content").map_or(Some("text"), Value::as_str);
        let content = content
            .filter(|content| PARSERS.contains(content))
            .ok_or_else(|| {
                invalid(format!(
                    "{scope}: `content` is none of {}",
                    PARSERS.join(", ")
                ))
            })?;
        let field = Self {
            name: name.to_owned(),
            open: Delimiter::read(&scope, object, "open")?,
            close: Delimiter::read(&scope, object, "close")?,
            content: content.to_owned(),
            content_args: object.get("content_args").cloned().unwrap_or_default(),
            repeats: flag("repeats", false)?,
            join: match object.get("join") {
                None | Some(Value::Null) => None,
                Some(Value::String(join)) => Some(join.clone()),
                Some(_) => return Err(invalid(format!("{scope}: `join` is not a text"))),
            },
            optional: flag("optional", true)?,
            transform: object
                .get("transform")
                .filter(|value| !value.is_null())
                .cloned(),
            transform_each: flag("transform_each", false)?,
        };
        field.check(&scope)?;
        Ok(field)
    }

    fn check(&self, scope: &str) -> Result<()> {
        if self.join.is_some() && !self.repeats {
            return Err(invalid(format!("{scope}: `join` needs `repeats`")));
        }
        let Some(transform) = &self.transform else {
            if self.transform_each {
                return Err(invalid(format!(
                    "{scope}: `transform_each` needs `transform`"
                )));
            }
            let mut delimiters = self.open.iter().chain(&self.close);
            return match delimiters.find_map(|delimiter| delimiter.names().next()) {
                Some(name) => Err(invalid(format!(
                    "{scope}: the group `{name}` of a pattern goes nowhere; use it in a `transform`"
                ))),
                None => Ok(()),
            };
        };
        content::check_transform(scope, transform)
    }
}

fn known_keys(scope: &str, object: &Map<String, Value>, known: &[&str]) -> Result<()> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(invalid(format!("{scope} has the unknown key `{key}`"))),
        None => Ok(()),
    }
}
