//! What a model answered, as a message: reasoning, tool calls and content told apart, as the answer comes or when it is
//! whole.
//!
//! A [`ResponseTemplate`] says where each field begins and ends. Models bring theirs as `response_template` in
//! `tokenizer_config.json`; those of families that do not are built in, and known by what their chat template writes.

mod content;
mod delimiter;
mod form;
mod parser;
mod template;
mod tools;

use serde_json::Value;

pub use form::AnswerForm;
pub use parser::{ResponseEvent, ResponseParser};
pub use template::ResponseTemplate;

use crate::mistral::Version;
use crate::tokenizer::Kind;
use crate::{ChatMessage, Result, TokenizationError, Tokenizer};

fn invalid(reason: impl Into<String>) -> TokenizationError {
    TokenizationError::InvalidResponse(reason.into())
}

/// Parses a whole answer. `prefix` is the prompt, whose end may hold the beginning of the answer, such as `<think>`; it
/// may be empty. With `tools`, arguments of tool calls get the types that the tools' schemas name.
pub fn parse_response(
    text: &str,
    template: &ResponseTemplate,
    prefix: &str,
    tools: &[Value],
) -> Result<ChatMessage> {
    let mut parser = ResponseParser::new(template, prefix, tools)?;
    parser.feed(text)?;
    Ok(parser.finalize()?.0)
}

impl Tokenizer {
    /// The template of answers that the tokenizer's files have, or that of the family whose chat template they have (see
    /// [`ResponseTemplate::of_chat_template`]).
    pub fn response_template(&self) -> Result<Option<ResponseTemplate>> {
        let template = self.settings.values.get("response_template");
        if let Some(template) = template.filter(|template| !template.is_null()) {
            return ResponseTemplate::new(template).map(Some);
        }
        if let Kind::Mistral(version) = self.kind {
            let has_arguments = version >= Version::V11;
            let name = if has_arguments {
                "mistral_args"
            } else {
                "mistral"
            };
            return Ok(ResponseTemplate::of_family(name));
        }
        let mut templates = self.chat_templates().iter();
        Ok(templates.find_map(|(_, template)| ResponseTemplate::of_chat_template(template)))
    }

    /// Parses a whole answer by the tokenizer's template (see [`parse_response`]).
    pub fn parse_response(&self, text: &str, prefix: &str, tools: &[Value]) -> Result<ChatMessage> {
        let template = self.response_template()?.ok_or_else(|| {
            invalid(
                "this tokenizer has no response template, and its chat template is that of no known family; take one of \
                 `ResponseTemplate::of_model_type`, or give your own to `parse_response`",
            )
        })?;
        parse_response(text, &template, prefix, tools)
    }
}
