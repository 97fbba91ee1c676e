//! What a model answered, as a message: reasoning, tool calls and content told apart, as the answer comes or when it is
//! whole.
//!
//! A [`ResponseTemplate`] says where each field begins and ends. Models bring theirs as `response_template` in
//! `tokenizer_config.json`; those of some families that do not are built in.

mod content;
mod delimiter;
mod parser;
mod template;
mod tools;

use serde_json::Value;

pub use parser::{ResponseEvent, ResponseParser};
pub use template::ResponseTemplate;

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
    /// The template of answers that the tokenizer's files have.
    pub fn response_template(&self) -> Result<Option<ResponseTemplate>> {
        let template = self.settings.values.get("response_template");
        template
            .filter(|template| !template.is_null())
            .map(ResponseTemplate::new)
            .transpose()
    }

    /// Parses a whole answer by the template in the tokenizer's files (see [`parse_response`]).
    pub fn parse_response(&self, text: &str, prefix: &str, tools: &[Value]) -> Result<ChatMessage> {
        let template = self.response_template()?.ok_or_else(|| {
            invalid(
                "this tokenizer has no response template; take one of `ResponseTemplate::of_model_type`, or give your own \
                 to `parse_response`",
            )
        })?;
        parse_response(text, &template, prefix, tools)
    }
}
