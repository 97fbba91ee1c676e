//! A response: whole, or as events about its items.

use std::sync::Arc;

use axum::response::sse::Event;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::chat::response::{Head, Logprobs};
use super::request::{FormatField, ReasoningField, ResponsesRequest, TextField, ToolField};
use crate::answer::{EndReason, Piece, Usage};
use crate::store::TextModel;
use crate::{Result, ServerError, sse};

/// A response.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Response {
    id: String,
    object: &'static str,
    created_at: u64,
    status: &'static str,
    error: Option<Value>,
    incomplete_details: Option<Value>,
    instructions: Option<String>,
    max_output_tokens: Option<u64>,
    model: String,
    output: Vec<Item>,
    parallel_tool_calls: bool,
    previous_response_id: Option<String>,
    reasoning: Option<ReasoningField>,
    store: bool,
    temperature: Option<f64>,
    text: TextField,
    tool_choice: Value,
    tools: Vec<ToolField>,
    top_p: Option<f64>,
    truncation: &'static str,
    usage: Option<UsageField>,
    metadata: Map<String, Value>,
}

/// An item of the output.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item {
    Message {
        id: String,
        status: &'static str,
        role: &'static str,
        content: Vec<OutputText>,
    },
    FunctionCall {
        id: String,
        status: &'static str,
        call_id: String,
        name: String,
        arguments: String,
    },
    Reasoning {
        id: String,
        status: &'static str,
        summary: Vec<Value>,
        content: Vec<ReasoningText>,
    },
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "type", rename = "output_text")]
struct OutputText {
    text: String,
    annotations: Vec<Value>,
    logprobs: Vec<Value>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "type", rename = "reasoning_text")]
struct ReasoningText {
    text: String,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
struct UsageField {
    input_tokens: usize,
    input_tokens_details: InputDetails,
    output_tokens: usize,
    output_tokens_details: OutputDetails,
    total_tokens: usize,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
struct InputDetails {
    cached_tokens: usize,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
struct OutputDetails {
    reasoning_tokens: usize,
}

impl From<Usage> for UsageField {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.prompt,
            input_tokens_details: InputDetails {
                cached_tokens: usage.cached,
            },
            output_tokens: usage.generated,
            output_tokens_details: OutputDetails {
                reasoning_tokens: usage.reasoning,
            },
            total_tokens: usage.prompt + usage.generated,
        }
    }
}

impl Response {
    pub fn new(head: &Head, request: &ResponsesRequest) -> Self {
        Self {
            id: head.id.clone(),
            object: "response",
            created_at: head.created,
            status: "in_progress",
            error: None,
            incomplete_details: None,
            instructions: request.instructions.clone(),
            max_output_tokens: request.max_output_tokens,
            model: head.model.clone(),
            output: Vec::new(),
            parallel_tool_calls: request.parallel_tool_calls.unwrap_or(true),
            previous_response_id: None,
            reasoning: request.reasoning.clone(),
            store: false,
            temperature: request.temperature,
            text: request.text.clone().unwrap_or(TextField {
                format: Some(FormatField::Text),
            }),
            tool_choice: request
                .tool_choice
                .as_ref()
                .map_or_else(|| json!("auto"), |choice| json!(choice)),
            tools: request.tools.clone().unwrap_or_default(),
            top_p: request.top_p,
            truncation: "disabled",
            usage: None,
            metadata: request.metadata.clone().unwrap_or_default(),
        }
    }

    fn item_id(&self, kind: &str) -> String {
        let number = self.output.len();
        let id = self.id.trim_start_matches("resp-");
        format!("{kind}_{id}_{number}")
    }

    fn message(&self) -> Item {
        Item::Message {
            id: self.item_id("msg"),
            status: "in_progress",
            role: "assistant",
            content: vec![OutputText {
                text: String::new(),
                annotations: Vec::new(),
                logprobs: Vec::new(),
            }],
        }
    }

    fn reasoning(&self) -> Item {
        Item::Reasoning {
            id: self.item_id("rs"),
            status: "in_progress",
            summary: Vec::new(),
            content: vec![ReasoningText {
                text: String::new(),
            }],
        }
    }

    fn call(&self, call_id: String, name: String, arguments: String) -> Item {
        Item::FunctionCall {
            id: self.item_id("fc"),
            status: "completed",
            call_id,
            name,
            arguments,
        }
    }

    /// Adds a piece of the answer. Whether it began an item.
    pub fn add(&mut self, piece: Piece, model: &TextModel) -> bool {
        match (piece, self.output.last_mut()) {
            (Piece::Content(text, logprobs), Some(Item::Message { content, .. })) => {
                if let Some(output) = content.last_mut() {
                    output.text += &text;
                    output.logprobs.extend(logprob_values(&logprobs, model));
                }
                false
            }
            (Piece::Reasoning(text), Some(Item::Reasoning { content, .. })) => {
                if let Some(output) = content.last_mut() {
                    output.text += &text;
                }
                false
            }
            (piece @ Piece::Content(..), _) => {
                self.close();
                self.output.push(self.message());
                self.add(piece, model);
                true
            }
            (piece @ Piece::Reasoning(_), _) => {
                self.close();
                self.output.push(self.reasoning());
                self.add(piece, model);
                true
            }
            (
                Piece::Call {
                    id,
                    name,
                    arguments,
                },
                _,
            ) => {
                self.close();
                let call = self.call(id, name, arguments);
                self.output.push(call);
                true
            }
            (Piece::End(end), _) => {
                self.close();
                self.usage = Some(end.usage.into());
                self.status = "completed";
                if end.reason == EndReason::Length {
                    self.status = "incomplete";
                    self.incomplete_details = Some(json!({"reason": "max_output_tokens"}));
                }
                false
            }
        }
    }

    /// The last item is whole.
    fn close(&mut self) {
        if let Some(
            Item::Message { status, .. }
            | Item::Reasoning { status, .. }
            | Item::FunctionCall { status, .. },
        ) = self.output.last_mut()
        {
            *status = "completed";
        }
    }
}

fn logprob_values(
    logprobs: &[transformers_generation::TokenLogprob],
    model: &TextModel,
) -> Vec<Value> {
    let values = Logprobs::new(logprobs, model).map(|logprobs| json!(logprobs));
    match values.map(|mut values| values["content"].take()) {
        Some(Value::Array(values)) => values,
        _ => Vec::new(),
    }
}

/// Makes events of pieces.
pub struct Events {
    response: Response,
    model: Arc<TextModel>,
    sequence: u64,
    /// Whether the last item is one that goes on.
    open: bool,
}

impl Events {
    pub fn new(response: Response, model: Arc<TextModel>) -> Self {
        Self {
            response,
            model,
            sequence: 0,
            open: false,
        }
    }

    pub fn first(&mut self) -> Vec<Result<Event>> {
        let created = self.about_response("response.created");
        let in_progress = self.about_response("response.in_progress");
        vec![created, in_progress]
    }

    /// An event; its data has the name and the number too, first.
    fn event(&mut self, name: &str, mut body: Value) -> Result<Event> {
        if let Value::Object(fields) = &mut body {
            fields.shift_insert(0, "type".to_owned(), name.into());
            fields.shift_insert(1, "sequence_number".to_owned(), self.sequence.into());
        }
        self.sequence += 1;
        sse::named(name, &body)
    }

    fn about_response(&mut self, name: &str) -> Result<Event> {
        let body = json!({"response": self.response});
        self.event(name, body)
    }

    /// The events of a piece.
    pub fn next(&mut self, piece: Piece) -> Vec<Result<Event>> {
        let mut events = Vec::new();
        let delta = piece.clone();
        let before = self.response.output.len();
        let ends = matches!(piece, Piece::End(_));
        let continues = match (&piece, self.response.output.last()) {
            (Piece::Content(..), Some(Item::Message { .. }))
            | (Piece::Reasoning(_), Some(Item::Reasoning { .. })) => self.open,
            _ => false,
        };
        if !continues {
            self.response.close();
            self.finish_item(&mut events);
        }
        self.response.add(piece, &self.model);
        if self.response.output.len() > before {
            self.begin_item(&mut events);
        }
        self.delta(delta, &mut events);
        if ends {
            let name = format!("response.{}", self.response.status);
            events.push(self.about_response(&name));
        }
        events
    }

    fn begin_item(&mut self, events: &mut Vec<Result<Event>>) {
        let index = self.response.output.len() - 1;
        let item = self.response.output[index].clone();
        self.open = !matches!(item, Item::FunctionCall { .. });
        let empty = match item.clone() {
            Item::Message { .. } => Item::Message {
                content: Vec::new(),
                id: id_of(&item),
                status: "in_progress",
                role: "assistant",
            },
            Item::Reasoning { .. } => Item::Reasoning {
                content: Vec::new(),
                summary: Vec::new(),
                id: id_of(&item),
                status: "in_progress",
            },
            Item::FunctionCall {
                id, call_id, name, ..
            } => Item::FunctionCall {
                id,
                call_id,
                name,
                arguments: String::new(),
                status: "in_progress",
            },
        };
        let body = json!({"output_index": index, "item": empty});
        events.push(self.event("response.output_item.added", body));
        let part = match item {
            Item::Message { .. } => {
                json!({"type": "output_text", "text": "", "annotations": [], "logprobs": []})
            }
            Item::Reasoning { .. } => json!({"type": "reasoning_text", "text": ""}),
            Item::FunctionCall { .. } => return,
        };
        let body = json!({"item_id": id_of(&item), "output_index": index, "content_index": 0, "part": part});
        events.push(self.event("response.content_part.added", body));
    }

    fn delta(&mut self, piece: Piece, events: &mut Vec<Result<Event>>) {
        let Some(item) = self.response.output.last() else {
            return;
        };
        let index = self.response.output.len() - 1;
        let id = id_of(item);
        match piece {
            Piece::Content(text, logprobs) => {
                let logprobs = logprob_values(&logprobs, &self.model);
                let body = json!({
                    "item_id": id, "output_index": index, "content_index": 0, "delta": text, "logprobs": logprobs,
                });
                events.push(self.event("response.output_text.delta", body));
            }
            Piece::Reasoning(text) => {
                let body = json!({
                    "item_id": id, "output_index": index, "content_index": 0, "delta": text,
                });
                events.push(self.event("response.reasoning_text.delta", body));
            }
            Piece::Call {
                name, arguments, ..
            } => {
                let body = json!({"item_id": id, "output_index": index, "delta": arguments});
                events.push(self.event("response.function_call_arguments.delta", body));
                let body = json!({
                    "item_id": id, "output_index": index, "name": name, "arguments": arguments,
                });
                events.push(self.event("response.function_call_arguments.done", body));
                self.open = true;
                self.finish_item(events);
            }
            Piece::End(_) => {}
        }
    }

    /// Says that the last item is whole, if it was not said.
    fn finish_item(&mut self, events: &mut Vec<Result<Event>>) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let Some(item) = self.response.output.last().cloned() else {
            return;
        };
        let index = self.response.output.len() - 1;
        let id = id_of(&item);
        let whole = match &item {
            Item::Message { content, .. } => content
                .first()
                .map(|part| ("response.output_text.done", &part.text, json!(part))),
            Item::Reasoning { content, .. } => content
                .first()
                .map(|part| ("response.reasoning_text.done", &part.text, json!(part))),
            Item::FunctionCall { .. } => None,
        };
        if let Some((name, text, part)) = whole {
            let mut body = json!({
                "item_id": id, "output_index": index, "content_index": 0, "text": text,
            });
            if let Some(logprobs) = part.get("logprobs") {
                body["logprobs"] = logprobs.clone();
            }
            events.push(self.event(name, body));
            let body = json!({
                "item_id": id, "output_index": index, "content_index": 0, "part": part,
            });
            events.push(self.event("response.content_part.done", body));
        }
        let body = json!({"output_index": index, "item": item});
        events.push(self.event("response.output_item.done", body));
    }

    /// The last event of a response that failed.
    pub fn failed(&mut self, error: &ServerError) -> Vec<Result<Event>> {
        self.response.status = "failed";
        let message = error.to_string();
        self.response.error = Some(json!({"code": "server_error", "message": message}));
        vec![self.about_response("response.failed")]
    }
}

fn id_of(item: &Item) -> String {
    match item {
        Item::Message { id, .. } | Item::FunctionCall { id, .. } | Item::Reasoning { id, .. } => {
            id.clone()
        }
    }
}
