//! From a conversation to ids.

use serde_json::{Map, Value, json};

use super::Version;
use super::model_settings::{self, SettingsBuilder};
use super::python::{dumps, parsed};
use super::request::{Chunk, Message, Request, Role};
use super::validate::refused;
use crate::tokenizer::Kind;
use crate::{ChatMessage, ChatTemplateOptions, Result, TokenizationError, Tokenizer};

/// Puts conversations into ids, by the version of a tokenizer.
pub(crate) struct Instruct<'a> {
    tokenizer: &'a Tokenizer,
    version: Version,
    settings: Option<&'a SettingsBuilder>,
}

impl Tokenizer {
    /// Fails where the tokenizer is not one of Mistral's own files.
    pub(crate) fn instruct(&self) -> Result<Instruct<'_>> {
        match self.kind {
            Kind::Mistral(version) => Ok(Instruct {
                tokenizer: self,
                version,
                settings: self.model_settings.as_deref(),
            }),
            _ => Err(TokenizationError::InvalidOptions(
                "this tokenizer is not read from one of Mistral's own files, such as tekken.json"
                    .to_owned(),
            )),
        }
    }
}

impl Instruct<'_> {
    /// The ids of a conversation.
    pub fn encode(
        &self,
        messages: &[ChatMessage],
        options: &ChatTemplateOptions,
    ) -> Result<Vec<u32>> {
        let settings = model_settings::of_options(self.version, self.settings, options)?;
        let request = Request::new(messages, options, self.version)?;
        let is_user = |message: &Message| message.role == Role::User;
        let first_user = request.messages.iter().position(is_user);
        let last_user = request.messages.iter().rposition(is_user);
        let mut ids = vec![self.control("<s>")?];
        if self.version == Version::V2 {
            self.check_single_results(&request.messages[last_user.unwrap_or(0)..])?;
        }
        for (index, message) in request.messages.iter().enumerate() {
            let is_past = last_user.is_some_and(|last| index < last);
            match message.role {
                Role::User => {
                    let ends = [first_user, last_user].map(|end| end == Some(index));
                    self.user(&mut ids, message, (&request, &settings), ends)?;
                }
                Role::System => self.system(&mut ids, message)?,
                Role::Assistant => self.assistant(&mut ids, message, is_past)?,
                Role::Tool => self.tool(&mut ids, message, is_past)?,
            }
        }
        Ok(ids)
    }

    /// The ids of a prompt with a hole between `prompt` and `suffix`.
    pub fn fill_in_the_middle(&self, prompt: &str, suffix: Option<&str>) -> Result<Vec<u32>> {
        if self.version == Version::V1 {
            return Err(refused("this model does not fill in the middle"));
        }
        let mut ids = vec![self.control("<s>")?, self.control("[SUFFIX]")?];
        if let Some(suffix) = suffix.filter(|suffix| !suffix.is_empty()) {
            // Behind a sign that takes two tokens, so that no space is put before the text.
            ids.extend(self.text(&format!("☺{suffix}"))?.into_iter().skip(2));
        }
        ids.push(self.control("[PREFIX]")?);
        ids.extend(self.text(prompt)?);
        Ok(ids)
    }

    fn text(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer.encode_one(text, false)
    }

    fn control(&self, token: &str) -> Result<u32> {
        self.tokenizer
            .token_to_id(token)
            .ok_or_else(|| TokenizationError::UnknownToken {
                token: token.to_owned(),
            })
    }

    fn user(
        &self,
        ids: &mut Vec<u32>,
        message: &Message,
        (request, settings): (&Request, &Map<String, Value>),
        [is_first, is_last]: [bool; 2],
    ) -> Result<()> {
        let content = message.text().unwrap_or_default();
        let has_prompt = if self.version == Version::V1 {
            is_first
        } else {
            is_last
        };
        let content = match &request.system_prompt {
            Some(prompt) if has_prompt => format!("{prompt}\n\n{content}"),
            _ => content.to_owned(),
        };
        if self.version == Version::V1 {
            ids.extend(self.text(&format!("[INST] {content} [/INST]"))?);
            return Ok(());
        }
        let has_tools = if self.version >= Version::V13 {
            is_first
        } else {
            is_last
        };
        if has_tools && !request.tools.is_empty() {
            ids.push(self.control("[AVAILABLE_TOOLS]")?);
            ids.extend(self.text(&dumps(&Value::Array(request.tools.clone())))?);
            ids.push(self.control("[/AVAILABLE_TOOLS]")?);
        }
        if has_tools && !settings.is_empty() {
            ids.push(self.control("[MODEL_SETTINGS]")?);
            ids.extend(self.text(&dumps(&Value::Object(settings.clone())))?);
            ids.push(self.control("[/MODEL_SETTINGS]")?);
        }
        ids.push(self.control("[INST]")?);
        ids.extend(self.text(&content)?);
        ids.push(self.control("[/INST]")?);
        Ok(())
    }

    fn system(&self, ids: &mut Vec<u32>, message: &Message) -> Result<()> {
        ids.push(self.control("[SYSTEM_PROMPT]")?);
        self.chunks(ids, message.chunks())?;
        ids.push(self.control("[/SYSTEM_PROMPT]")?);
        Ok(())
    }

    fn chunks(&self, ids: &mut Vec<u32>, chunks: &[Chunk]) -> Result<()> {
        for chunk in chunks {
            match chunk {
                Chunk::Text(text) => ids.extend(self.text(text)?),
                Chunk::Thinking { text, closed } if self.version >= Version::V13 => {
                    ids.push(self.control("[THINK]")?);
                    ids.extend(self.text(text)?);
                    if *closed {
                        ids.push(self.control("[/THINK]")?);
                    }
                }
                Chunk::Thinking { .. } => {
                    return Err(refused("this model has no tokens around its reasoning"));
                }
            }
        }
        Ok(())
    }

    fn assistant(&self, ids: &mut Vec<u32>, message: &Message, is_past: bool) -> Result<()> {
        if !message.has_content() && !message.has_calls() {
            return Err(refused("the assistant's message is empty"));
        }
        if self.version == Version::V1 && message.has_calls() {
            return Err(refused("this model calls no tools"));
        }
        if self.version == Version::V2 && message.has_calls() && is_past {
            return Ok(()); // calls before the last question are left out
        }
        match message.text() {
            Some("") => {}
            Some(text) if self.version > Version::V1 => {
                ids.extend(self.text(text.trim_end_matches(' '))?);
            }
            _ => self.chunks(ids, message.chunks())?,
        }
        if let Some(calls) = message.calls.as_ref().filter(|calls| !calls.is_empty()) {
            self.calls(ids, calls)?;
        }
        if !message.prefix {
            ids.push(self.control("</s>")?);
        }
        Ok(())
    }

    fn calls(&self, ids: &mut Vec<u32>, calls: &[super::request::ToolCall]) -> Result<()> {
        let has_id = |call: &super::request::ToolCall| !call.id.is_empty() && call.id != "null";
        if self.version < Version::V11 {
            let calls = calls.iter().map(|call| {
                let arguments = parsed(&call.arguments);
                if self.version >= Version::V3 && has_id(call) {
                    json!({"name": call.name, "arguments": arguments, "id": call.id})
                } else {
                    json!({"name": call.name, "arguments": arguments})
                }
            });
            ids.push(self.control("[TOOL_CALLS]")?);
            ids.extend(self.text(&dumps(&calls.collect()))?);
            return Ok(());
        }
        for call in calls {
            ids.push(self.control("[TOOL_CALLS]")?);
            ids.extend(self.text(&call.name)?);
            if self.version < Version::V13 && has_id(call) {
                ids.push(self.control("[CALL_ID]")?);
                ids.extend(self.text(&call.id)?);
            }
            ids.push(self.control("[ARGS]")?);
            ids.extend(self.text(&dumps(&parsed(&call.arguments)))?);
        }
        Ok(())
    }

    fn tool(&self, ids: &mut Vec<u32>, message: &Message, is_past: bool) -> Result<()> {
        let content = message.text().unwrap_or_default();
        match self.version {
            Version::V1 => return Err(refused("this model calls no tools")),
            Version::V2 if is_past => return Ok(()), // nor their results
            _ => {}
        }
        ids.push(self.control("[TOOL_RESULTS]")?);
        match self.version {
            Version::V1 | Version::V2 => {
                let result = json!([{"name": message.name, "content": parsed(content)}]);
                ids.extend(self.text(&dumps(&result))?);
            }
            Version::V3 => {
                let result = json!({"content": parsed(content), "call_id": message.tool_call_id});
                ids.extend(self.text(&dumps(&result))?);
            }
            Version::V7 | Version::V11 => {
                ids.extend(self.text(message.tool_call_id.as_deref().unwrap_or_default())?);
                ids.push(self.control("[TOOL_CONTENT]")?);
                ids.extend(self.text(content)?);
            }
            Version::V13 | Version::V15 => ids.extend(self.text(content)?),
        }
        ids.push(self.control("[/TOOL_RESULTS]")?);
        Ok(())
    }

    /// The second version writes one result per turn.
    fn check_single_results(&self, messages: &[Message]) -> Result<()> {
        let mut results = messages.chunk_by(|a, b| a.role == b.role);
        if results.any(|group| group[0].role == Role::Tool && group.len() > 1) {
            return Err(refused("this model reads one result of a tool per turn"));
        }
        Ok(())
    }
}
