//! What a conversation is asked with.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::answer::{
    Ask, Conversation, Format, GenerationConfigField, OneOrMany, Sampling, Shape, Text, Tool,
    ToolChoice,
};
use crate::extract::Body;
use crate::{Result, ServerError, ServerOptions};

/// A conversation to answer.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ChatRequest {
    /// One of `GET /v1/models`. May be left out where the server serves one model alone.
    pub model: Option<String>,
    /// The conversation.
    pub messages: Vec<Message>,
    /// Send the answer as it comes.
    pub stream: Option<bool>,
    /// What a stream holds.
    pub stream_options: Option<StreamOptions>,
    /// The most tokens of the answer.
    pub max_completion_tokens: Option<u64>,
    /// Former name of `max_completion_tokens`.
    pub max_tokens: Option<u64>,
    /// 0 takes the likeliest token each time; up to 2.
    pub temperature: Option<f64>,
    /// Draw from the likeliest tokens that together have this probability.
    pub top_p: Option<f64>,
    /// Draw from so many of the likeliest tokens (not in OpenAI's schema).
    pub top_k: Option<u32>,
    /// Draw from tokens with at least this part of the likeliest one's probability (not in OpenAI's schema).
    pub min_p: Option<f64>,
    /// Above 1 makes tokens that were there less likely (not in OpenAI's schema).
    pub repetition_penalty: Option<f64>,
    /// Taken off a token's score for each time that it was generated.
    pub frequency_penalty: Option<f64>,
    /// Taken off a token's score if it was generated.
    pub presence_penalty: Option<f64>,
    /// Additions to the scores of tokens, by their ids.
    #[serde(default)]
    pub logit_bias: Option<BTreeMap<String, f64>>,
    /// Say the log-probabilities of the answer's tokens.
    pub logprobs: Option<bool>,
    /// And of so many of the likeliest tokens each time.
    pub top_logprobs: Option<usize>,
    /// How many answers.
    pub n: Option<usize>,
    /// Texts that end the answer.
    pub stop: Option<OneOrMany>,
    /// The same seed draws the same tokens.
    pub seed: Option<i64>,
    /// What the answer's text is.
    pub response_format: Option<ResponseFormat>,
    /// What the model may call.
    pub tools: Option<Vec<ToolField>>,
    /// Whether it does.
    pub tool_choice: Option<ToolChoiceField>,
    /// Whether it may call several at once.
    pub parallel_tool_calls: Option<bool>,
    /// How much a model that can reason does so; `none` is not at all.
    pub reasoning_effort: Option<String>,
    /// Variables of the chat template (not in OpenAI's schema).
    pub chat_template_kwargs: Option<Map<String, Value>>,
    /// A generation config of the reference's, below the fields above (not in OpenAI's schema).
    pub generation_config: Option<GenerationConfigField>,
}

impl Body for ChatRequest {
    const WITHOUT_EFFECT: &'static [&'static str] = &[
        "audio",
        "function_call",
        "functions",
        "messages.*.audio",
        "messages.*.function_call",
        "messages.*.refusal",
        "messages.*.annotations",
        "metadata",
        "modalities",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "stream_options.include_obfuscation",
        "user",
        "verbosity",
        "web_search_options",
    ];
}

/// What a stream holds.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct StreamOptions {
    /// A last chunk without choices says how many tokens were read and written.
    pub include_usage: Option<bool>,
}

/// One message.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Message {
    /// Whose it is.
    pub role: Role,
    /// What it says.
    pub content: Option<Content>,
    /// Who of several.
    pub name: Option<String>,
    /// What the assistant called.
    pub tool_calls: Option<Vec<ToolCall>>,
    /// Which call a tool's message answers.
    pub tool_call_id: Option<String>,
    /// What the assistant thought.
    #[serde(alias = "reasoning")]
    pub reasoning_content: Option<String>,
}

/// Whose a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Developer,
    System,
    User,
    Assistant,
    Tool,
    Function,
}

impl Role {
    /// As chat templates have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Developer | Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool | Self::Function => "tool",
        }
    }
}

/// What a message says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a string or a list of parts")]
pub enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// A part of it.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Part {
    /// `text`; images, audio and files are refused.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text.
    pub text: Option<String>,
    /// What the assistant refused.
    pub refusal: Option<String>,
}

impl Content {
    /// The texts, together.
    ///
    /// # Errors
    /// A part that is no text.
    pub fn text(self) -> Result<String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Parts(parts) => parts.into_iter().map(Part::text).collect(),
        }
    }
}

impl Part {
    fn text(self) -> Result<String> {
        let text = match self.kind.as_str() {
            "text" | "input_text" | "output_text" => self.text,
            "refusal" => self.refusal,
            kind => {
                let kind: String = kind.chars().take(40).collect();
                let message =
                    format!("a part of the type `{kind}`; the served models read text alone");
                return Err(ServerError::invalid("messages", message));
            }
        };
        text.ok_or_else(|| ServerError::invalid("messages", "a part has no text"))
    }
}

/// A call of a tool.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
pub struct ToolCall {
    /// Its id.
    pub id: Option<String>,
    /// `function`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What is called.
    pub function: FunctionCall,
}

/// What is called.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
pub struct FunctionCall {
    /// The tool's name.
    pub name: String,
    /// Its arguments, in JSON.
    #[serde(default)]
    pub arguments: String,
}

impl Message {
    /// As chat templates read it.
    ///
    /// # Errors
    /// Content that is no text.
    pub fn into_json(self) -> Result<Map<String, Value>> {
        let mut message = Map::from_iter([("role".to_owned(), json!(self.role.name()))]);
        let content = self.content.map(Content::text).transpose()?;
        message.insert("content".to_owned(), content.unwrap_or_default().into());
        for (key, value) in [
            ("name", self.name),
            ("tool_call_id", self.tool_call_id),
            ("reasoning_content", self.reasoning_content),
        ] {
            if let Some(value) = value {
                message.insert(key.to_owned(), value.into());
            }
        }
        if let Some(calls) = self.tool_calls.filter(|calls| !calls.is_empty()) {
            let calls: Vec<Value> = calls.into_iter().map(ToolCall::into_json).collect();
            message.insert("tool_calls".to_owned(), calls.into());
        }
        Ok(message)
    }
}

impl ToolCall {
    /// Chat templates read arguments as an object.
    fn into_json(self) -> Value {
        let FunctionCall { name, arguments } = self.function;
        let object = crate::strict_json::parse(arguments.as_bytes());
        let object = object.ok().filter(Value::is_object);
        let arguments = object.unwrap_or_else(|| match arguments.is_empty() {
            true => json!({}),
            false => arguments.into(),
        });
        json!({
            "type": "function",
            "id": self.id.unwrap_or_default(),
            "function": {"name": name, "arguments": arguments},
        })
    }
}

/// What the answer's text is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResponseFormat {
    /// Any text.
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON of a schema.
    JsonSchema {
        /// Which.
        json_schema: JsonSchemaField,
    },
}

/// A named schema.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct JsonSchemaField {
    /// What it is called.
    #[allow(dead_code, reason = "required, and the model does not read it")]
    pub name: Option<String>,
    /// What it is for.
    #[allow(dead_code, reason = "the model does not read it")]
    pub description: Option<String>,
    /// The schema; without it, any object.
    pub schema: Option<Value>,
    /// Whether a keyword that cannot be followed is refused, or left out.
    pub strict: Option<bool>,
}

impl From<ResponseFormat> for Format {
    fn from(format: ResponseFormat) -> Self {
        let object = || json!({"type": "object"});
        match format {
            ResponseFormat::Text => Self::Text,
            ResponseFormat::JsonObject => Self::Json {
                schema: object(),
                strict: true,
            },
            ResponseFormat::JsonSchema { json_schema } => Self::Json {
                schema: json_schema.schema.unwrap_or_else(object),
                strict: json_schema.strict.unwrap_or(false),
            },
        }
    }
}

/// What the model may call.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ToolField {
    /// `function`; tools that OpenAI runs itself are refused.
    #[serde(rename = "type")]
    #[allow(dead_code, reason = "there is one type")]
    pub kind: FunctionKind,
    /// Which.
    pub function: FunctionField,
}

/// `function`.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FunctionKind {
    Function,
}

/// A function that the model may call.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct FunctionField {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// The schema of its arguments.
    pub parameters: Option<Value>,
    /// Whether a keyword that cannot be followed is refused, or left out.
    pub strict: Option<bool>,
}

impl From<FunctionField> for Tool {
    fn from(function: FunctionField) -> Self {
        Self {
            name: function.name,
            description: function.description,
            parameters: function.parameters,
            strict: function.strict.unwrap_or(false),
        }
    }
}

/// Whether tools are called.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected \"auto\", \"none\", \"required\" or {\"type\": \"function\", \"function\": {\"name\": …}}"
)]
pub enum ToolChoiceField {
    Word(ToolChoiceWord),
    Named {
        #[serde(rename = "type")]
        #[allow(dead_code, reason = "there is one type")]
        kind: FunctionKind,
        function: NameField,
    },
}

/// Whether tools are called.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ToolChoiceWord {
    Auto,
    None,
    Required,
}

/// A name.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct NameField {
    pub name: String,
}

impl From<ToolChoiceWord> for ToolChoice {
    fn from(word: ToolChoiceWord) -> Self {
        match word {
            ToolChoiceWord::Auto => Self::Auto,
            ToolChoiceWord::None => Self::None,
            ToolChoiceWord::Required => Self::Required,
        }
    }
}

impl From<ToolChoiceField> for ToolChoice {
    fn from(choice: ToolChoiceField) -> Self {
        match choice {
            ToolChoiceField::Word(word) => word.into(),
            ToolChoiceField::Named { function, .. } => Self::Named(function.name),
        }
    }
}

impl ChatRequest {
    /// What it asks for.
    ///
    /// # Errors
    /// Content that is no text, and what the fields' checks refuse.
    pub fn into_ask(self, options: &ServerOptions) -> Result<Ask> {
        let messages = self.messages.into_iter().map(Message::into_json);
        let messages: Vec<_> = messages.collect::<Result<_>>()?;
        if messages.is_empty() {
            return Err(ServerError::invalid(
                "messages",
                "there is none; give at least one",
            ));
        }
        let mut conversation = Conversation {
            messages,
            kwargs: self.chat_template_kwargs.unwrap_or_default(),
        };
        conversation.set_defaults(options, self.reasoning_effort.as_deref());
        let logprobs = self.logprobs.unwrap_or(false);
        if self.top_logprobs.is_some() && !logprobs {
            return Err(ServerError::invalid(
                "top_logprobs",
                "it needs `logprobs` to be true",
            ));
        }
        Ok(Ask {
            text: Text::Chat(conversation),
            sampling: Sampling {
                max_tokens: self.max_completion_tokens.or(self.max_tokens),
                temperature: self.temperature,
                top_p: self.top_p,
                top_k: self.top_k,
                min_p: self.min_p,
                repetition_penalty: self.repetition_penalty,
                frequency_penalty: self.frequency_penalty,
                presence_penalty: self.presence_penalty,
                logit_bias: self.logit_bias.unwrap_or_default(),
                seed: self.seed,
                n: self.n,
                stop: self.stop.map(Vec::from).unwrap_or_default(),
                logprobs: logprobs.then_some(self.top_logprobs.unwrap_or(0)),
                generation_config: self.generation_config,
            },
            shape: Shape {
                tools: self
                    .tools
                    .into_iter()
                    .flatten()
                    .map(|tool| tool.function.into())
                    .collect(),
                choice: self.tool_choice.map(ToolChoice::from).unwrap_or_default(),
                parallel: self.parallel_tool_calls.unwrap_or(true),
                format: self.response_format.map(Format::from).unwrap_or_default(),
            },
        })
    }
}
