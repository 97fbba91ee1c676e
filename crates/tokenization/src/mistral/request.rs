//! A conversation as Mistral's models see it: roles without neighbours of their own kind, and texts joined.

use serde_json::{Map, Value, json};

use super::python::{self, dumps};
use super::validate::refused;
use super::{Version, validate};
use crate::{ChatMessage, ChatTemplateOptions, Result};

/// Between the texts of messages that are joined.
const JOIN: &str = "\n\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    System,
    User,
    Assistant,
    Tool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Chunk {
    Text(String),
    Thinking { text: String, closed: bool },
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ToolCall {
    pub id: String,
    pub name: String,
    /// JSON.
    pub arguments: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    pub role: Role,
    /// `None` where there is no content at all.
    pub content: Option<Vec<Chunk>>,
    pub calls: Option<Vec<ToolCall>>,
    pub tool_call_id: Option<String>,
    pub name: Option<String>,
    /// Whether the model goes on with this message.
    pub prefix: bool,
}

pub(super) struct Request {
    /// Of versions that have no messages of it.
    pub system_prompt: Option<String>,
    pub messages: Vec<Message>,
    pub tools: Vec<Value>,
}

impl Message {
    fn new(role: Role, content: Option<Vec<Chunk>>) -> Self {
        Self {
            role,
            content,
            calls: None,
            tool_call_id: None,
            name: None,
            prefix: false,
        }
    }

    /// Reads a message in the form of OpenAI's API.
    fn read(message: &ChatMessage) -> Result<Self> {
        let text = |key| message.get(key).and_then(Value::as_str).map(str::to_owned);
        let role = match message.role() {
            Some("system" | "developer") => Role::System,
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("tool") => Role::Tool,
            other => return Err(refused(format!("a message has the role {other:?}"))),
        };
        let mut content = content(message.get("content"))?;
        if role == Role::Assistant {
            let reasoning = match (text("reasoning_content"), text("reasoning")) {
                (Some(one), Some(other)) if one != other => {
                    return Err(refused("`reasoning_content` and `reasoning` differ"));
                }
                (one, other) => one.or(other),
            };
            if let Some(text) = reasoning {
                let mut chunks = content.unwrap_or_default();
                if chunks
                    .iter()
                    .any(|chunk| matches!(chunk, Chunk::Thinking { .. }))
                {
                    return Err(refused("a message has its reasoning twice"));
                }
                chunks.insert(0, Chunk::Thinking { text, closed: true });
                content = Some(chunks);
            }
        }
        let calls = match message.get("tool_calls") {
            None | Some(Value::Null) => None,
            Some(Value::Array(calls)) => Some(calls.iter().map(tool_call).collect::<Result<_>>()?),
            Some(_) => return Err(refused("`tool_calls` is not a list")),
        };
        Ok(Self {
            calls: calls.filter(|_| role == Role::Assistant),
            tool_call_id: text("tool_call_id"),
            name: text("name").filter(|_| role == Role::Tool),
            prefix: message
                .get("prefix")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            ..Self::new(role, content)
        })
    }

    pub fn has_content(&self) -> bool {
        self.content
            .as_ref()
            .is_some_and(|chunks| match chunks.as_slice() {
                [Chunk::Text(text)] => !text.is_empty(),
                chunks => !chunks.is_empty(),
            })
    }

    pub fn has_calls(&self) -> bool {
        self.calls.as_ref().is_some_and(|calls| !calls.is_empty())
    }

    pub fn chunks(&self) -> &[Chunk] {
        self.content.as_deref().unwrap_or_default()
    }

    /// The content, if it is nothing but text.
    pub fn text(&self) -> Option<&str> {
        match self.chunks() {
            [] => Some(""),
            [Chunk::Text(text)] => Some(text),
            _ => None,
        }
    }
}

fn content(value: Option<&Value>) -> Result<Option<Vec<Chunk>>> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![Chunk::Text(text.clone())])),
        Some(Value::Array(parts)) => parts.iter().map(chunk).collect::<Result<_>>().map(Some),
        Some(_) => Err(refused(
            "a message's content is neither a text nor a list of parts",
        )),
    }
}

fn chunk(part: &Value) -> Result<Chunk> {
    let text = |key: &str| {
        let text = part[key].as_str().map(str::to_owned);
        text.ok_or_else(|| refused(format!("a part of a message has no `{key}`")))
    };
    match part["type"].as_str() {
        Some("text") => Ok(Chunk::Text(text("text")?)),
        Some("thinking") => Ok(Chunk::Thinking {
            text: text("thinking")?,
            closed: part["closed"].as_bool().unwrap_or(true),
        }),
        Some(kind) if kind.contains("image") || kind.contains("audio") => Err(refused(format!(
            "a part of a message is of the type `{kind}`: how many tokens it takes follows from its pixels or its \
             length, which a tokenizer does not read; give texts alone"
        ))),
        _ => Err(refused("a part of a message is neither text nor thinking")),
    }
}

fn tool_call(call: &Value) -> Result<ToolCall> {
    let function = &call["function"];
    let name = function["name"].as_str();
    Ok(ToolCall {
        id: call["id"].as_str().unwrap_or("null").to_owned(),
        name: name
            .ok_or_else(|| refused("a tool call names no function"))?
            .to_owned(),
        arguments: match &function["arguments"] {
            Value::String(text) => python::normalized(text),
            Value::Null => "{}".to_owned(),
            value => dumps(value),
        },
    })
}

impl Request {
    pub fn new(
        messages: &[ChatMessage],
        options: &ChatTemplateOptions,
        version: Version,
    ) -> Result<Self> {
        let mut messages = messages
            .iter()
            .map(Message::read)
            .collect::<Result<Vec<_>>>()?;
        let last = messages.last_mut();
        if options.continue_final_message {
            match last {
                Some(message)
                    if message.role == Role::Assistant && !options.add_generation_prompt =>
                {
                    message.prefix = true;
                }
                _ => {
                    return Err(refused(
                        "only a conversation that ends with the assistant's message can be continued, without \
                         `add_generation_prompt`",
                    ));
                }
            }
        }
        let tools = options
            .tools
            .iter()
            .flatten()
            .map(tool)
            .collect::<Result<Vec<_>>>()?;
        validate::check(&messages, &tools, version)?;
        let has_system_messages = version >= Version::V7;
        let prompts = messages
            .iter()
            .filter(|message| message.role == Role::System);
        let prompts: Vec<String> = prompts
            .filter(|message| message.has_content())
            .map(|message| text_of(&join([message], version)))
            .collect();
        Ok(Self {
            system_prompt: (!has_system_messages && !prompts.is_empty())
                .then(|| prompts.join(JOIN)),
            messages: joined(&messages, version)?,
            tools,
        })
    }
}

/// A tool as it is written out: its schema, with every key in its place.
fn tool(tool: &Value) -> Result<Value> {
    let function = tool.get("function").unwrap_or(tool);
    let name = function["name"]
        .as_str()
        .ok_or_else(|| refused("a tool has no name"))?;
    let parameters = function.get("parameters").cloned();
    Ok(json!({
        "type": "function",
        "function": {
            "name": name,
            "description": function["description"].as_str().unwrap_or_default(),
            "parameters": parameters.unwrap_or_else(|| Map::new().into()),
        },
    }))
}

/// Joins neighbours of one role; tool results stay apart.
fn joined(messages: &[Message], version: Version) -> Result<Vec<Message>> {
    let mut result: Vec<Message> = Vec::new();
    for group in messages.chunk_by(|a, b| a.role == b.role) {
        match group[0].role {
            Role::System if version < Version::V7 => {}
            Role::System => result.extend(group.iter().map(|message| Message {
                content: Some(join([message], version)),
                ..message.clone()
            })),
            Role::User => result.push(Message::new(Role::User, Some(join(group, version)))),
            Role::Assistant => result.push(Message {
                calls: Some(
                    group
                        .iter()
                        .flat_map(|message| message.calls.clone().unwrap_or_default())
                        .collect(),
                ),
                prefix: group.iter().any(|message| message.prefix),
                ..Message::new(Role::Assistant, Some(join(group, version)))
            }),
            Role::Tool => {
                let mut results: Vec<Message> = group
                    .iter()
                    .map(|message| tool_result(message, version))
                    .collect();
                if version >= Version::V11
                    && let Some(calls) = result.last().and_then(|message| message.calls.as_ref())
                {
                    // In the order of the calls.
                    let rank = |message: &Message| {
                        calls
                            .iter()
                            .rposition(|call| Some(&call.id) == message.tool_call_id.as_ref())
                    };
                    results.sort_by_key(|message| rank(message).unwrap_or(usize::MAX));
                }
                result.extend(results);
            }
        }
    }
    if result.is_empty() || (version < Version::V7 && result[0].role != Role::User) {
        result.insert(0, Message::new(Role::User, Some(Vec::new())));
    }
    Ok(result)
}

fn tool_result(message: &Message, version: Version) -> Message {
    let mut content = join([message], version);
    if version < Version::V7 {
        content = vec![Chunk::Text(python::normalized(&text_of(&content)))];
    }
    Message {
        content: Some(content),
        ..message.clone()
    }
}

/// The contents one after the other; texts that follow each other become one.
fn join<'a>(messages: impl IntoIterator<Item = &'a Message>, version: Version) -> Vec<Chunk> {
    let within = if version < Version::V15 { JOIN } else { "" };
    let mut chunks: Vec<Chunk> = Vec::new();
    for message in messages {
        let mut between = JOIN;
        for chunk in message.chunks() {
            match (chunk, chunks.last_mut()) {
                (Chunk::Text(text), _) if text.is_empty() => continue,
                (Chunk::Text(text), Some(Chunk::Text(before))) => {
                    before.push_str(between);
                    before.push_str(text);
                }
                (chunk, _) => chunks.push(chunk.clone()),
            }
            between = within;
        }
    }
    chunks
}

fn text_of(chunks: &[Chunk]) -> String {
    let texts = chunks.iter().filter_map(|chunk| match chunk {
        Chunk::Text(text) => Some(text.as_str()),
        Chunk::Thinking { .. } => None,
    });
    texts.collect()
}
