//! `GET /openapi.json`: what there is to ask, made of the types that read it.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::chat::request::ChatRequest;
use super::chat::response::{Chunk, Completion};
use super::completions::{CompletionRequest, TextCompletion};
use super::embeddings::{EmbeddingRequest, EmbeddingResponse};
use super::messages::request::{CountRequest, MessagesRequest};
use super::messages::response::Message;
use super::models::{LoadRequest, Model, ModelList};
use super::responses::request::ResponsesRequest;
use super::responses::response::Response;
use super::tokenize::{DetokenizeRequest, DetokenizeResponse, TokenizeRequest, TokenizeResponse};

/// Shows the document.
pub async fn document() -> axum::Json<&'static Value> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(make);
    axum::Json(&DOCUMENT)
}

struct Paths {
    schemas: SchemaGenerator,
    paths: Map<String, Value>,
}

impl Paths {
    fn reference<T: JsonSchema>(&mut self) -> Value {
        json!({"application/json": {"schema": self.schemas.subschema_for::<T>()}})
    }

    fn add(&mut self, method: &str, path: &str, mut operation: Value) {
        operation["responses"]["default"] = json!({
            "description": "An error, with its kind and what to do about it.",
            "content": {"application/json": {"schema": {"type": "object"}}},
        });
        self.paths
            .insert(path.to_owned(), json!({ method: operation }));
    }

    fn get<R: JsonSchema>(&mut self, path: &str, summary: &str) {
        let content = self.reference::<R>();
        let ok = json!({"description": "It.", "content": content});
        self.add(
            "get",
            path,
            json!({"summary": summary, "responses": {"200": ok}}),
        );
    }

    fn post<Q: JsonSchema, R: JsonSchema>(&mut self, path: &str, summary: &str) {
        let body = json!({"required": true, "content": self.reference::<Q>()});
        let ok = json!({"description": "The answer.", "content": self.reference::<R>()});
        let operation = json!({"summary": summary, "requestBody": body, "responses": {"200": ok}});
        self.add("post", path, operation);
    }
}

fn make() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut paths = Paths {
        schemas: settings.into_generator(),
        paths: Map::new(),
    };
    let chat = "/v1/chat/completions";
    paths.post::<ChatRequest, Completion>(chat, "Answer a conversation, in OpenAI's form.");
    let events = json!({"schema": paths.schemas.subschema_for::<Chunk>()});
    paths.paths[chat]["post"]["responses"]["200"]["content"]["text/event-stream"] = events;
    paths.post::<CompletionRequest, TextCompletion>("/v1/completions", "Continue texts.");
    paths.post::<ResponsesRequest, Response>("/v1/responses", "Answer an input.");
    paths.post::<MessagesRequest, Message>(
        "/v1/messages",
        "Answer a conversation, in Anthropic's form.",
    );
    paths.post::<CountRequest, Value>("/v1/messages/count_tokens", "Count its tokens.");
    paths.post::<EmbeddingRequest, EmbeddingResponse>("/v1/embeddings", "Embed texts.");
    paths.get::<ModelList>("/v1/models", "List the models that may be asked for.");
    paths.get::<Model>("/v1/models/{id}", "Show one of them.");
    paths.paths["/v1/models/{id}"]["get"]["parameters"] =
        json!([{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}]);
    paths.post::<LoadRequest, Value>("/load_model", "Load a model; events say how far it is.");
    paths.post::<Value, Value>("/reset", "Drop every model from memory.");
    paths.post::<TokenizeRequest, TokenizeResponse>("/tokenize", "Turn a text into ids.");
    paths.post::<DetokenizeRequest, DetokenizeResponse>("/detokenize", "Turn ids into a text.");
    paths.get::<Value>("/health", "Whether the server takes work.");
    paths.get::<String>("/metrics", "What the server has done, for Prometheus.");
    paths.get::<Value>("/openapi.json", "This document.");
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "transformers serve",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Models behind the APIs of OpenAI and Anthropic.",
        },
        "paths": paths.paths,
        "components": {
            "schemas": paths.schemas.take_definitions(true),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
        "security": [{"bearer": []}, {"key": []}, {}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reference of the document.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    found.push(reference.clone());
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn references_lead_somewhere() {
        let document = make();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        let chat = &document["paths"]["/v1/chat/completions"]["post"];
        assert!(chat["requestBody"].is_object());
    }
}
