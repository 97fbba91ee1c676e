//! What a response is asked for with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::chat::request::{Content, FunctionKind, Role, ToolChoiceWord};
use crate::answer::{
    Ask, Conversation, Format, GenerationConfigField, Sampling, Shape, Text, Tool, ToolChoice,
};
use crate::extract::Body;
use crate::{Result, ServerError, ServerOptions};

/// An input to answer.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ResponsesRequest {
    /// One of `GET /v1/models`. May be left out where the server serves one model alone.
    pub model: Option<String>,
    /// A text, or the items of a conversation.
    pub input: Input,
    /// What frames the conversation.
    pub instructions: Option<String>,
    /// Send the answer as it comes.
    pub stream: Option<bool>,
    /// The most tokens of the answer.
    pub max_output_tokens: Option<u64>,
    /// 0 takes the likeliest token each time; up to 2.
    pub temperature: Option<f64>,
    /// Draw from the likeliest tokens that together have this probability.
    pub top_p: Option<f64>,
    /// What the model may call.
    pub tools: Option<Vec<ToolField>>,
    /// Whether it does.
    pub tool_choice: Option<ToolChoiceField>,
    /// Whether it may call several at once.
    pub parallel_tool_calls: Option<bool>,
    /// What the answer's text is.
    pub text: Option<TextField>,
    /// How much a model that can reason does so.
    pub reasoning: Option<ReasoningField>,
    /// `message.output_text.logprobs` asks for log-probabilities; others do nothing.
    pub include: Option<Vec<String>>,
    /// And of so many of the likeliest tokens each time.
    pub top_logprobs: Option<usize>,
    /// Kept with the response.
    pub metadata: Option<Map<String, Value>>,
    /// Refused: the server keeps no responses.
    pub previous_response_id: Option<String>,
    /// Refused: the server keeps no conversations.
    pub conversation: Option<Value>,
    /// Refused where true: the server keeps no responses.
    pub background: Option<bool>,
    /// The same seed draws the same tokens (not in OpenAI's schema).
    pub seed: Option<i64>,
    /// Variables of the chat template (not in OpenAI's schema).
    pub chat_template_kwargs: Option<Map<String, Value>>,
    /// A generation config of the reference's, below the fields above (not in OpenAI's schema).
    pub generation_config: Option<GenerationConfigField>,
}

impl Body for ResponsesRequest {
    const WITHOUT_EFFECT: &'static [&'static str] = &[
        "context_management",
        "max_tool_calls",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning.generate_summary",
        "reasoning.summary",
        "safety_identifier",
        "service_tier",
        "store",
        "stream_options",
        "text.verbosity",
        "truncation",
        "user",
    ];
}

/// A text, or the items of a conversation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a text or a list of items")]
pub enum Input {
    Text(String),
    Items(Vec<Item>),
}

/// An item of a conversation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a message, a function call or its output"
)]
pub enum Item {
    /// What the model called, what that gave, and what it thought.
    Tagged(TaggedItem),
    /// A message.
    Message {
        #[serde(rename = "type")]
        #[allow(dead_code, reason = "what has a role is a message")]
        kind: Option<String>,
        role: Role,
        content: Content,
    },
}

/// An item that says what it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TaggedItem {
    FunctionCall {
        call_id: String,
        name: String,
        arguments: String,
    },
    FunctionCallOutput {
        call_id: String,
        output: Content,
    },
    Reasoning {
        content: Option<Content>,
    },
}

/// What the model may call.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
pub struct ToolField {
    /// `function`; tools that OpenAI runs itself are refused.
    #[serde(rename = "type")]
    pub kind: FunctionKind,
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// The schema of its arguments.
    pub parameters: Option<Value>,
    /// Whether a keyword that cannot be followed is refused, or left out.
    pub strict: Option<bool>,
}

/// Whether tools are called.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected \"auto\", \"none\", \"required\" or {\"type\": \"function\", \"name\": …}"
)]
pub enum ToolChoiceField {
    Word(ToolChoiceWord),
    Named {
        #[serde(rename = "type")]
        kind: FunctionKind,
        name: String,
    },
}

/// What the answer's text is.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
pub struct TextField {
    /// Its form.
    pub format: Option<FormatField>,
}

/// The form of a text.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FormatField {
    Text,
    JsonObject,
    JsonSchema {
        name: Option<String>,
        description: Option<String>,
        schema: Value,
        strict: Option<bool>,
    },
}

/// How much a model that can reason does so.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
pub struct ReasoningField {
    /// `none` is not at all.
    pub effort: Option<String>,
}

impl ResponsesRequest {
    /// # Errors
    /// The request needs what the server does not keep.
    pub fn check(&self) -> Result<()> {
        let kept = [
            ("previous_response_id", self.previous_response_id.is_some()),
            ("conversation", self.conversation.is_some()),
            ("background", self.background == Some(true)),
        ];
        match kept.into_iter().find(|(_, set)| *set) {
            Some((field, _)) => Err(ServerError::invalid(
                field,
                "the server keeps no responses: send the whole conversation as `input`",
            )),
            None => Ok(()),
        }
    }

    /// What it asks for.
    ///
    /// # Errors
    /// Content that is no text.
    pub fn into_ask(self, options: &ServerOptions) -> Result<Ask> {
        let mut conversation = Conversation {
            messages: messages(self.instructions, self.input)?,
            kwargs: self.chat_template_kwargs.unwrap_or_default(),
        };
        let effort = self.reasoning.and_then(|reasoning| reasoning.effort);
        conversation.set_defaults(options, effort.as_deref());
        let include = self.include.unwrap_or_default();
        let logprobs = include
            .iter()
            .any(|name| name == "message.output_text.logprobs");
        let format = self.text.and_then(|text| text.format);
        Ok(Ask {
            text: Text::Chat(conversation),
            sampling: Sampling {
                max_tokens: self.max_output_tokens,
                temperature: self.temperature,
                top_p: self.top_p,
                seed: self.seed,
                logprobs: self.top_logprobs.or(logprobs.then_some(0)),
                generation_config: self.generation_config,
                ..Sampling::default()
            },
            shape: Shape {
                tools: self.tools.into_iter().flatten().map(Tool::from).collect(),
                choice: self.tool_choice.map(ToolChoice::from).unwrap_or_default(),
                parallel: self.parallel_tool_calls.unwrap_or(true),
                format: format.map(Format::from).unwrap_or_default(),
            },
        })
    }
}

impl From<ToolField> for Tool {
    fn from(tool: ToolField) -> Self {
        Self {
            name: tool.name,
            description: tool.description,
            parameters: tool.parameters,
            strict: tool.strict.unwrap_or(false),
        }
    }
}

impl From<ToolChoiceField> for ToolChoice {
    fn from(choice: ToolChoiceField) -> Self {
        match choice {
            ToolChoiceField::Word(word) => word.into(),
            ToolChoiceField::Named { name, .. } => Self::Named(name),
        }
    }
}

impl From<FormatField> for Format {
    fn from(format: FormatField) -> Self {
        match format {
            FormatField::Text => Self::Text,
            FormatField::JsonObject => Self::Json {
                schema: json!({"type": "object"}),
                strict: true,
            },
            FormatField::JsonSchema { schema, strict, .. } => Self::Json {
                schema,
                strict: strict.unwrap_or(false),
            },
        }
    }
}

/// The messages as chat templates read them: reasoning and calls belong to the assistant's message.
fn messages(instructions: Option<String>, input: Input) -> Result<Vec<Map<String, Value>>> {
    let mut messages: Vec<Map<String, Value>> = Vec::new();
    messages.extend(instructions.map(|text| message("system", text)));
    let items = match input {
        Input::Text(text) => {
            messages.push(message("user", text));
            Vec::new()
        }
        Input::Items(items) => items,
    };
    // What the assistant thought before its next item.
    let mut thought = None;
    for item in items {
        match item {
            Item::Message { role, content, .. } => {
                let mut message = message(role.name(), content.text()?);
                if role == Role::Assistant
                    && let Some(thought) = thought.take()
                {
                    message.insert("reasoning_content".to_owned(), Value::String(thought));
                }
                messages.push(message);
            }
            Item::Tagged(TaggedItem::Reasoning { content }) => {
                thought = content.map(reasoning_text).transpose()?;
            }
            Item::Tagged(TaggedItem::FunctionCall {
                call_id,
                name,
                arguments,
            }) => {
                let parsed = serde_json::from_str::<Value>(&arguments).ok();
                let arguments = parsed.filter(Value::is_object).unwrap_or(arguments.into());
                let call = json!({
                    "type": "function",
                    "id": call_id,
                    "function": {"name": name, "arguments": arguments},
                });
                let calls = messages
                    .last_mut()
                    .and_then(|last| last.get_mut("tool_calls"));
                if let Some(Value::Array(calls)) = calls {
                    calls.push(call);
                    continue;
                }
                let mut calling = message("assistant", String::new());
                calling.insert("tool_calls".to_owned(), json!([call]));
                if let Some(thought) = thought.take() {
                    calling.insert("reasoning_content".to_owned(), Value::String(thought));
                }
                messages.push(calling);
            }
            Item::Tagged(TaggedItem::FunctionCallOutput { call_id, output }) => {
                let mut result = message("tool", output.text()?);
                result.insert("tool_call_id".to_owned(), call_id.into());
                messages.push(result);
            }
        }
    }
    match messages.is_empty() {
        true => Err(ServerError::invalid(
            "input",
            "there is none; give at least one item",
        )),
        false => Ok(messages),
    }
}

fn reasoning_text(content: Content) -> Result<String> {
    match content {
        Content::Text(text) => Ok(text),
        Content::Parts(parts) => Ok(parts.into_iter().filter_map(|part| part.text).collect()),
    }
}

fn message(role: &str, content: String) -> Map<String, Value> {
    Map::from_iter([
        ("role".to_owned(), role.into()),
        ("content".to_owned(), content.into()),
    ])
}
