//! Control tokens in what users write, kept from becoming control tokens of the prompt.
//!
//! They are marked before the template runs, by two characters that no text has; what is marked is encoded as plain text.

use regex::Regex;
use serde_json::Value;

use super::tags::literals;
use crate::{ChatMessage, ChatTemplateOptions, Result, TokenizationError, Tokenizer};

const START: char = '\u{f0000}';
const END: char = '\u{f0001}';

/// A part of a rendered conversation.
#[derive(Debug, PartialEq)]
enum Piece<'t> {
    /// As the template wrote it.
    Written(&'t str),
    /// A control token that a user wrote.
    Marked(&'t str),
}

/// Any of the tokens, the longest first; only at the beginning of a text, if so.
fn pattern(tokens: &[String], at_start: bool) -> Result<Option<Regex>> {
    let mut tokens: Vec<&String> = tokens.iter().filter(|token| !token.is_empty()).collect();
    tokens.sort_by_key(|token| std::cmp::Reverse(token.chars().count()));
    let tokens: Vec<String> = tokens
        .into_iter()
        .map(|token| regex::escape(token))
        .collect();
    if tokens.is_empty() {
        return Ok(None);
    }
    let start = if at_start { r"\A" } else { "" };
    let pattern = Regex::new(&format!("{start}(?:{})", tokens.join("|")));
    let pattern = pattern.map_err(|error| {
        TokenizationError::InvalidOptions(format!(
            "there are too many added tokens to look for: {error}"
        ))
    })?;
    Ok(Some(pattern))
}

fn marked(value: &Value, tokens: &Regex) -> Value {
    match value {
        Value::String(text) => {
            let clean = text.replace([START, END], "");
            let text = tokens.replace_all(&clean, |found: &regex::Captures<'_>| {
                format!("{START}{}{END}", &found[0])
            });
            text.into_owned().into()
        }
        Value::Array(values) => values.iter().map(|value| marked(value, tokens)).collect(),
        Value::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, value)| (key.clone(), marked(value, tokens)));
            Value::Object(entries.collect())
        }
        other => other.clone(),
    }
}

/// The parts of a rendered text. A mark that has lost its other one to the template is dropped, but still parts the text.
fn pieces<'t>(text: &'t str, tokens: &Regex) -> Vec<Piece<'t>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find([START, END]) {
        pieces.push(Piece::Written(&rest[..at]));
        let inner = rest[at..].strip_prefix(START);
        let token = inner.and_then(|inner| {
            let found = tokens.find(inner)?;
            let after = inner[found.end()..].strip_prefix(END)?;
            Some((found.as_str(), after))
        });
        rest = match token {
            Some((token, after)) => {
                pieces.push(Piece::Marked(token));
                after
            }
            None => &rest[at + START.len_utf8()..],
        };
    }
    pieces.push(Piece::Written(rest));
    pieces
}

impl Tokenizer {
    /// The ids of a conversation in which what users wrote gives no control token.
    pub(crate) fn sanitized_ids(
        &self,
        messages: &[ChatMessage],
        options: &ChatTemplateOptions,
    ) -> Result<Vec<u32>> {
        if options.return_assistant_tokens_mask {
            return Err(TokenizationError::InvalidOptions(
                "`sanitize_control_tokens` does not go with `return_assistant_tokens_mask`"
                    .to_owned(),
            ));
        }
        let templates = self.chat_templates();
        let special = &self.settings.special_tokens;
        let controls = self.control_tokens(templates.select(options)?);
        let Some(controls) = pattern(&controls, false)? else {
            let options = ChatTemplateOptions {
                sanitize_control_tokens: false,
                ..options.clone()
            };
            return self.encode_one(&templates.render(messages, &options, special)?, false);
        };
        let mark = |value: &Value| marked(value, &controls);
        let all = |values: &Option<Vec<Value>>| {
            values
                .as_ref()
                .map(|values| values.iter().map(mark).collect())
        };
        let messages: Vec<ChatMessage> = messages
            .iter()
            .map(|message| ChatMessage::try_from(mark(&message.clone().into())))
            .collect::<Result<_>>()?;
        let options = ChatTemplateOptions {
            sanitize_control_tokens: false,
            tools: all(&options.tools),
            documents: all(&options.documents),
            extra: options
                .extra
                .iter()
                .map(|(key, value)| (key.clone(), mark(value)))
                .collect(),
            ..options.clone()
        };
        let text = templates.render(&messages, &options, special)?;
        let added = self.added_tokens_decoder().into_values();
        let added: Vec<String> = added.map(|token| token.content).collect();
        let added = pattern(&added, true)?.unwrap_or(controls);
        self.ids_of_pieces(&pieces(&text, &added))
    }

    /// The tokens that users may not write: special ones, and added ones that the template writes itself, or that the
    /// file names in `chat_control_tokens`.
    fn control_tokens(&self, template: &str) -> Vec<String> {
        let named = self
            .settings
            .values
            .get("chat_control_tokens")
            .and_then(Value::as_array);
        let written = literals(template);
        let is_control = |content: &str| match named {
            Some(named) => named.iter().any(|token| token.as_str() == Some(content)),
            None => !content.trim().is_empty() && written.contains(content),
        };
        let tokens = self.added_tokens_decoder().into_values();
        let tokens = tokens.filter(|token| token.special || is_control(&token.content));
        tokens.map(|token| token.content).collect()
    }

    fn ids_of_pieces(&self, pieces: &[Piece<'_>]) -> Result<Vec<u32>> {
        let encode = |text: &str| self.encode_one(text, false);
        // Behind a line break, so that no space is put before a text that begins no prompt.
        let line = encode("\n")?;
        let mut ids = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            let (text, is_plain) = match piece {
                Piece::Written(text) => (*text, false),
                Piece::Marked(text) => (*text, true),
            };
            let encode = |text: &str| {
                if is_plain {
                    self.encode_without_added_tokens(text)
                } else {
                    encode(text)
                }
            };
            if index == 0 {
                ids = encode(text)?;
            } else if !text.is_empty() {
                let behind = encode(&format!("\n{text}"))?;
                let found = match behind.strip_prefix(line.as_slice()) {
                    Some(found) => found.to_vec(),
                    None => encode(text)?,
                };
                if is_plain && self.token_to_id(text).is_some_and(|id| found.contains(&id)) {
                    return Err(TokenizationError::InvalidOptions(format!(
                        "`sanitize_control_tokens`: this tokenizer makes `{text}` of plain text"
                    )));
                }
                ids.extend(found);
            }
        }
        Ok(ids)
    }
}
