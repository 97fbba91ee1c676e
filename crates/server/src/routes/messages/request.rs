//! What a conversation is asked with, in Anthropic's form.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::answer::{Ask, Conversation, Format, Sampling, Shape, Text, Tool, ToolChoice};
use crate::extract::Body;
use crate::options::Reasoning;
use crate::{Result, ServerError, ServerOptions};

/// A conversation to answer.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct MessagesRequest {
    /// One of `GET /v1/models`. May be left out where the server serves one model alone.
    pub model: Option<String>,
    /// The conversation.
    pub messages: Vec<MessageField>,
    /// The most tokens of the answer.
    pub max_tokens: u64,
    /// What frames the conversation.
    pub system: Option<Content>,
    /// Send the answer as it comes.
    pub stream: Option<bool>,
    /// 0 takes the likeliest token each time; up to 1.
    pub temperature: Option<f64>,
    /// Draw from the likeliest tokens that together have this probability.
    pub top_p: Option<f64>,
    /// Draw from so many of the likeliest tokens.
    pub top_k: Option<u32>,
    /// Texts that end the answer.
    pub stop_sequences: Option<Vec<String>>,
    /// What the model may call.
    pub tools: Option<Vec<ToolField>>,
    /// Whether it does.
    pub tool_choice: Option<ToolChoiceField>,
    /// Whether a model that can reason does so.
    pub thinking: Option<Thinking>,
    /// The form of the answer.
    pub output_config: Option<OutputConfig>,
}

impl Body for MessagesRequest {
    const WITHOUT_EFFECT: &'static [&'static str] = &[
        "cache_control",
        "container",
        "context_management",
        "inference_geo",
        "metadata",
        "metadata.user_id",
        "output_config.effort",
        "service_tier",
        "speed",
        "thinking.budget_tokens",
        "thinking.display",
        "tools.*.cache_control",
        "tools.*.type",
        "tools.*.eager_input_streaming",
        "tools.*.input_examples",
    ];
}

/// A conversation whose tokens are counted.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CountRequest {
    /// One of `GET /v1/models`. May be left out where the server serves one model alone.
    pub model: Option<String>,
    /// The conversation.
    pub messages: Vec<MessageField>,
    /// What frames the conversation.
    pub system: Option<Content>,
    /// What the model may call.
    pub tools: Option<Vec<ToolField>>,
    /// Whether it does.
    pub tool_choice: Option<ToolChoiceField>,
    /// Whether a model that can reason does so.
    pub thinking: Option<Thinking>,
}

impl Body for CountRequest {
    const WITHOUT_EFFECT: &'static [&'static str] = MessagesRequest::WITHOUT_EFFECT;
}

/// One message.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct MessageField {
    /// Whose it is.
    pub role: Role,
    /// What it says.
    pub content: Content,
}

/// Whose a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    User,
    Assistant,
    System,
}

/// What a message says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a string or a list of blocks")]
pub enum Content {
    Text(String),
    Blocks(Vec<Block>),
}

/// A block of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    Text {
        text: String,
    },
    Thinking {
        thinking: String,
    },
    RedactedThinking {},
    ToolUse {
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    ToolResult {
        tool_use_id: String,
        content: Option<Box<Content>>,
    },
}

/// What the model may call.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ToolField {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// The schema of its arguments; tools that Anthropic runs itself have none, and are refused.
    pub input_schema: Value,
    /// Whether a keyword that cannot be followed is refused, or left out.
    pub strict: Option<bool>,
}

/// Whether tools are called.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ToolChoiceField {
    Auto {
        disable_parallel_tool_use: Option<bool>,
    },
    Any {
        disable_parallel_tool_use: Option<bool>,
    },
    Tool {
        name: String,
        #[allow(dead_code, reason = "one tool is called once")]
        disable_parallel_tool_use: Option<bool>,
    },
    None {},
}

/// Whether a model that can reason does so.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Thinking {
    /// `enabled`, `adaptive` or `disabled`.
    #[serde(rename = "type")]
    pub kind: ThinkingKind,
}

/// Whether a model that can reason does so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ThinkingKind {
    Enabled,
    Adaptive,
    Disabled,
}

/// The form of the answer.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct OutputConfig {
    /// JSON of a schema.
    pub format: Option<OutputFormat>,
}

/// JSON of a schema.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutputFormat {
    JsonSchema { schema: Value },
}

impl Content {
    fn blocks(self) -> Vec<Block> {
        match self {
            Self::Text(text) => vec![Block::Text { text }],
            Self::Blocks(blocks) => blocks,
        }
    }

    /// The texts, together.
    fn text(self, place: &str) -> Result<String> {
        let text = |block: Block| match block {
            Block::Text { text } => Ok(text),
            _ => Err(ServerError::invalid(place, "a block that is no text")),
        };
        self.blocks().into_iter().map(text).collect()
    }
}

/// The messages as chat templates read them: results of tools are messages of their own there.
fn messages(system: Option<Content>, list: Vec<MessageField>) -> Result<Vec<Map<String, Value>>> {
    let mut messages = Vec::new();
    if let Some(system) = system {
        messages.push(plain("system", system.text("system")?));
    }
    for MessageField { role, content } in list {
        let role = match role {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System => "system",
        };
        let (mut text, mut thinking, mut calls) = (String::new(), String::new(), Vec::new());
        let mut has_text = false;
        for block in content.blocks() {
            match block {
                Block::Text { text: more } => {
                    text += &more;
                    has_text = true;
                }
                Block::Thinking { thinking: more } => thinking += &more,
                Block::RedactedThinking {} => {}
                Block::ToolUse { id, name, input } => calls.push(json!({
                    "type": "function",
                    "id": id,
                    "function": {"name": name, "arguments": input},
                })),
                Block::ToolResult {
                    tool_use_id,
                    content,
                } => {
                    let content = content
                        .map(|content| content.text("messages"))
                        .transpose()?;
                    let mut result = plain("tool", content.unwrap_or_default());
                    result.insert("tool_call_id".to_owned(), tool_use_id.into());
                    messages.push(result);
                }
            }
        }
        if has_text || !calls.is_empty() || !thinking.is_empty() {
            let mut message = plain(role, text);
            if !thinking.is_empty() {
                message.insert("reasoning_content".to_owned(), thinking.into());
            }
            if !calls.is_empty() {
                message.insert("tool_calls".to_owned(), calls.into());
            }
            messages.push(message);
        }
    }
    match messages.is_empty() {
        true => Err(ServerError::invalid(
            "messages",
            "there is none; give at least one",
        )),
        false => Ok(messages),
    }
}

fn plain(role: &str, content: String) -> Map<String, Value> {
    Map::from_iter([
        ("role".to_owned(), role.into()),
        ("content".to_owned(), content.into()),
    ])
}

fn shape(tools: Option<Vec<ToolField>>, choice: Option<ToolChoiceField>) -> Shape {
    let tool = |tool: ToolField| Tool {
        name: tool.name,
        description: tool.description,
        parameters: Some(tool.input_schema),
        strict: tool.strict.unwrap_or(false),
    };
    let (choice, disabled) = match choice {
        None => (ToolChoice::Auto, None),
        Some(ToolChoiceField::Auto {
            disable_parallel_tool_use,
        }) => (ToolChoice::Auto, disable_parallel_tool_use),
        Some(ToolChoiceField::Any {
            disable_parallel_tool_use,
        }) => (ToolChoice::Required, disable_parallel_tool_use),
        Some(ToolChoiceField::Tool { name, .. }) => (ToolChoice::Named(name), None),
        Some(ToolChoiceField::None {}) => (ToolChoice::None, None),
    };
    Shape {
        tools: tools.into_iter().flatten().map(tool).collect(),
        choice,
        parallel: disabled != Some(true),
        format: Format::Text,
    }
}

fn conversation(
    system: Option<Content>,
    list: Vec<MessageField>,
    thinking: Option<&Thinking>,
    options: &ServerOptions,
) -> Result<Conversation> {
    let mut conversation = Conversation {
        messages: messages(system, list)?,
        ..Conversation::default()
    };
    let reasoning = match thinking.map(|thinking| thinking.kind) {
        Some(ThinkingKind::Enabled) => Reasoning::On,
        Some(ThinkingKind::Disabled) => Reasoning::Off,
        Some(ThinkingKind::Adaptive) | None => options.reasoning,
    };
    let options = ServerOptions {
        reasoning,
        ..options.clone()
    };
    conversation.set_defaults(&options, None);
    Ok(conversation)
}

impl MessagesRequest {
    /// What it asks for.
    ///
    /// # Errors
    /// Content that is no text.
    pub fn into_ask(self, options: &ServerOptions) -> Result<Ask> {
        let conversation =
            conversation(self.system, self.messages, self.thinking.as_ref(), options)?;
        let mut shape = shape(self.tools, self.tool_choice);
        let format = self.output_config.and_then(|config| config.format);
        if let Some(OutputFormat::JsonSchema { schema }) = format {
            shape.format = Format::Json {
                schema,
                strict: false,
            };
        }
        Ok(Ask {
            text: Text::Chat(conversation),
            sampling: Sampling {
                max_tokens: Some(self.max_tokens),
                temperature: self.temperature,
                top_p: self.top_p,
                top_k: self.top_k,
                stop: self.stop_sequences.unwrap_or_default(),
                ..Sampling::default()
            },
            shape,
        })
    }
}

impl CountRequest {
    /// What it would ask for.
    ///
    /// # Errors
    /// Content that is no text.
    pub fn into_ask(self, options: &ServerOptions) -> Result<Ask> {
        let conversation =
            conversation(self.system, self.messages, self.thinking.as_ref(), options)?;
        Ok(Ask {
            text: Text::Chat(conversation),
            sampling: Sampling::default(),
            shape: shape(self.tools, self.tool_choice),
        })
    }
}
