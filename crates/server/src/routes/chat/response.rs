//! What a conversation is answered with: whole, or in chunks.

use std::sync::Arc;

use axum::response::sse::Event;
use schemars::JsonSchema;
use serde::Serialize;
use transformers_generation::TokenLogprob;

use super::request::{FunctionCall, StreamOptions, ToolCall};
use crate::answer::{End, EndReason, Piece, Usage};
use crate::app::App;
use crate::context::Context;
use crate::store::TextModel;
use crate::{Result, routes, sse};

/// What every part of a response repeats.
#[derive(Debug, Clone)]
pub struct Head {
    pub id: String,
    pub created: u64,
    pub model: String,
}

impl Head {
    /// `kind`: what ids of such responses begin with.
    pub fn new(kind: &str, context: &Context, model: Option<&str>, app: &App) -> Self {
        Self {
            id: format!("{kind}-{}", context.id),
            created: routes::now(),
            model: model.or(app.store.only()).unwrap_or_default().to_owned(),
        }
    }
}

/// A whole answer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Completion {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    choices: Vec<Choice>,
    usage: UsageField,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Choice {
    index: usize,
    message: Message,
    finish_reason: &'static str,
    logprobs: Option<Logprobs>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Message {
    role: &'static str,
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall>,
    refusal: Option<String>,
}

/// Tokens that were read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UsageField {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
struct PromptDetails {
    cached_tokens: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
struct CompletionDetails {
    reasoning_tokens: usize,
}

impl UsageField {
    /// Of all choices, which share a prompt.
    pub fn new(all: &[Usage]) -> Self {
        let prompt = all.first().map_or(0, |usage| usage.prompt);
        let generated = all.iter().map(|usage| usage.generated).sum();
        Self {
            prompt_tokens: prompt,
            completion_tokens: generated,
            total_tokens: prompt + generated,
            prompt_tokens_details: PromptDetails {
                cached_tokens: all.first().map_or(0, |usage| usage.cached),
            },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: all.iter().map(|usage| usage.reasoning).sum(),
            },
        }
    }
}

/// Log-probabilities of tokens.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Logprobs {
    content: Vec<LogprobField>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct LogprobField {
    #[serde(flatten)]
    token: TokenField,
    top_logprobs: Vec<TokenField>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct TokenField {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

/// The smallest log-probability that is sent: JSON has no infinity.
const MIN_LOGPROB: f32 = -9999.0;

impl Logprobs {
    /// `None` where there are none.
    pub fn new(logprobs: &[TokenLogprob], model: &TextModel) -> Option<Self> {
        let field = |token: u32, logprob: f32| {
            let bytes = model.bytes_of(token);
            TokenField {
                token: String::from_utf8_lossy(&bytes).into_owned(),
                logprob: logprob.max(MIN_LOGPROB),
                bytes,
            }
        };
        let entry = |logprob: &TokenLogprob| LogprobField {
            token: field(logprob.token, logprob.logprob),
            top_logprobs: logprob
                .top
                .iter()
                .map(|(id, value)| field(*id, *value))
                .collect(),
        };
        let content: Vec<_> = logprobs.iter().map(entry).collect();
        (!content.is_empty()).then_some(Self { content })
    }
}

/// OpenAI's name of an end.
pub fn finish_reason(reason: &EndReason) -> &'static str {
    match reason {
        EndReason::Done | EndReason::Stop(_) => "stop",
        EndReason::Length => "length",
        EndReason::Calls => "tool_calls",
    }
}

fn tool_call(id: String, name: String, arguments: String) -> ToolCall {
    ToolCall {
        id: Some(id),
        kind: Some("function".to_owned()),
        function: FunctionCall { name, arguments },
    }
}

impl Completion {
    pub fn new(head: &Head, choices: Vec<Vec<Piece>>, model: &TextModel) -> Self {
        let mut usages = Vec::new();
        let choices = choices.into_iter().enumerate();
        let choices = choices.map(|(index, pieces)| {
            let (choice, usage) = Choice::new(index, pieces, model);
            usages.push(usage);
            choice
        });
        let choices = choices.collect();
        Self {
            id: head.id.clone(),
            object: "chat.completion",
            created: head.created,
            model: head.model.clone(),
            choices,
            usage: UsageField::new(&usages),
        }
    }
}

impl Choice {
    fn new(index: usize, pieces: Vec<Piece>, model: &TextModel) -> (Self, Usage) {
        let (mut content, mut reasoning) = (String::new(), String::new());
        let mut calls = Vec::new();
        let mut logprobs = Vec::new();
        let (mut reason, mut usage) = ("stop", Usage::default());
        for piece in pieces {
            match piece {
                Piece::Content(text, more) => {
                    content += &text;
                    logprobs.extend(more);
                }
                Piece::Reasoning(text) => reasoning += &text,
                Piece::Call {
                    id,
                    name,
                    arguments,
                } => calls.push(tool_call(id, name, arguments)),
                Piece::End(end) => {
                    reason = finish_reason(&end.reason);
                    usage = end.usage;
                    logprobs.extend(end.logprobs);
                }
            }
        }
        let message = Message {
            role: "assistant",
            content: (calls.is_empty() || !content.is_empty()).then_some(content),
            reasoning_content: (!reasoning.is_empty()).then_some(reasoning),
            tool_calls: calls,
            refusal: None,
        };
        let choice = Self {
            index,
            message,
            finish_reason: reason,
            logprobs: Logprobs::new(&logprobs, model),
        };
        (choice, usage)
    }
}

/// A piece of an answer on its way.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Chunk {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    choices: Vec<ChunkChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageField>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ChunkChoice {
    index: usize,
    delta: Delta,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Logprobs>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Vec<ToolCallDelta>>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ToolCallDelta {
    index: usize,
    #[serde(flatten)]
    call: ToolCall,
}

/// Makes chunks of pieces.
pub struct Chunks {
    head: Head,
    options: StreamOptions,
    model: Arc<TextModel>,
    /// Calls so far, by choice.
    calls: Vec<usize>,
    usages: Vec<Usage>,
}

impl Chunks {
    pub fn new(head: Head, choices: usize, options: StreamOptions, model: Arc<TextModel>) -> Self {
        Self {
            head,
            options,
            model,
            calls: vec![0; choices],
            usages: Vec::new(),
        }
    }

    fn chunk(&self, choices: Vec<ChunkChoice>) -> Chunk {
        Chunk {
            id: self.head.id.clone(),
            object: "chat.completion.chunk",
            created: self.head.created,
            model: self.head.model.clone(),
            choices,
            usage: None,
        }
    }

    /// A chunk with the role, for each choice.
    pub fn first(&self) -> Vec<Result<Event>> {
        let first = |index| {
            let delta = Delta {
                role: Some("assistant"),
                content: Some(String::new()),
                ..Delta::default()
            };
            let choice = ChunkChoice {
                index,
                delta,
                finish_reason: None,
                logprobs: None,
            };
            sse::data(&self.chunk(vec![choice]))
        };
        (0..self.calls.len()).map(first).collect()
    }

    /// The chunks of a piece.
    pub fn next(&mut self, index: usize, piece: Piece) -> Vec<Result<Event>> {
        let mut delta = Delta::default();
        let mut finish_reason_field = None;
        let mut logprobs = Vec::new();
        match piece {
            Piece::Content(text, more) => {
                delta.content = Some(text);
                logprobs = more;
            }
            Piece::Reasoning(text) => delta.reasoning_content = Some(text),
            Piece::Call {
                id,
                name,
                arguments,
            } => {
                let call = ToolCallDelta {
                    index: self.calls[index],
                    call: tool_call(id, name, arguments),
                };
                delta.tool_calls = Some(vec![call]);
                self.calls[index] += 1;
            }
            Piece::End(End {
                reason,
                usage,
                logprobs: more,
            }) => {
                finish_reason_field = Some(finish_reason(&reason));
                logprobs = more;
                self.usages.push(usage);
            }
        }
        let choice = ChunkChoice {
            index,
            delta,
            finish_reason: finish_reason_field,
            logprobs: Logprobs::new(&logprobs, &self.model),
        };
        let mut chunk = self.chunk(vec![choice]);
        let ended = self.usages.len() == self.calls.len();
        let usage = (ended && finish_reason_field.is_some()).then(|| UsageField::new(&self.usages));
        match (usage, self.options.include_usage.unwrap_or(false)) {
            (Some(usage), true) => {
                let last = Chunk {
                    usage: Some(usage),
                    ..self.chunk(Vec::new())
                };
                vec![sse::data(&chunk), sse::data(&last)]
            }
            // As the reference: the last chunk tells, whoever asks.
            (usage, _) => {
                chunk.usage = usage;
                vec![sse::data(&chunk)]
            }
        }
    }
}
