//! How a model writes an answer, for those who constrain it: the opposite direction of a [`ResponseTemplate`].
//!
//! [`ResponseTemplate`]: super::ResponseTemplate

use serde::Deserialize;

use super::template::{families, family_of};
use crate::Tokenizer;
use crate::mistral::Version;
use crate::tokenizer::Kind;

/// The texts around the parts of an answer: reasoning first if there is any, then content or calls of tools. Calls are
/// `begin`, then for each `open`, the arguments, `close`, with `separator` between them, then `end`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerForm {
    /// Around the reasoning; `None` for models that do not reason.
    pub reasoning: Option<(String, String)>,
    /// Before the content.
    pub content: String,
    /// Before all calls.
    pub begin: String,
    /// Before the arguments of a call; `{name}` stands for the tool's name.
    pub open: String,
    /// After the arguments of a call.
    pub close: String,
    /// Between two calls.
    pub separator: String,
    /// After all calls.
    pub end: String,
    /// The arguments are not JSON, but in a form of the model's own.
    pub free: bool,
    /// One call is an answer.
    pub single: bool,
}

impl AnswerForm {
    /// The form of Hermes and Qwen models: `<tool_call>` around JSON, which models that know no tools can be told of.
    pub fn hermes() -> Self {
        let mut all = families().iter();
        let hermes = all.find(|family| family.name == "hermes");
        let form = hermes.and_then(|family| family.form.clone());
        form.unwrap_or_default()
    }

    /// The call of a tool of this name, before its arguments.
    pub fn open_of(&self, name: &str) -> String {
        self.open.replace("{name}", name)
    }

    /// What calls begin with, whatever the tool.
    pub fn trigger(&self) -> String {
        let before_name = self.open.split("{name}").next().unwrap_or_default();
        format!("{}{before_name}", self.begin)
    }
}

impl Tokenizer {
    /// The form of the answers of the family whose chat template this is, if it is a known one that calls tools.
    pub fn answer_form(&self) -> Option<AnswerForm> {
        if let Kind::Mistral(version) = self.kind {
            let name = match version >= Version::V11 {
                true => "mistral_args",
                false => "mistral",
            };
            let family = families().iter().find(|family| family.name == name)?;
            return family.form.clone();
        }
        let mut templates = self.chat_templates().iter();
        templates.find_map(|(_, template)| family_of(template)?.form.clone())
    }
}
