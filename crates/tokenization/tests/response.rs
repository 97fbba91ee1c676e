//! Parsed answers against the reference (`tests/oracle/golden_chat.py`).
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;

use common::{read, text};
use serde_json::{Value, json};
use transformers_tokenization::{
    ChatMessage, ResponseEvent, ResponseParser, ResponseTemplate, TokenizationError, parse_response,
};

struct Golden {
    templates: HashMap<String, ResponseTemplate>,
    tools: Vec<Value>,
    rows: Vec<Value>,
    bad: Vec<Value>,
}

fn golden() -> Golden {
    let golden: Value = read("chat/parsing.json");
    let templates = golden["templates"].as_object().unwrap().iter();
    Golden {
        templates: templates
            .map(|(name, template)| (name.clone(), ResponseTemplate::new(template).unwrap()))
            .collect(),
        tools: golden["tools"].as_array().unwrap().clone(),
        rows: golden["rows"].as_array().unwrap().clone(),
        bad: golden["bad"].as_array().unwrap().clone(),
    }
}

fn value(message: ChatMessage) -> Value {
    message.into()
}

#[test]
fn answers_are_parsed_as_in_the_reference() {
    let golden = golden();
    assert!(golden.rows.len() > 20);
    for row in &golden.rows {
        let template = &golden.templates[text(&row["template"])];
        let parse = |tools: &[Value]| {
            parse_response(text(&row["text"]), template, text(&row["prefix"]), tools)
        };
        if row["error"].is_string() {
            let result = parse(&[]);
            assert!(
                matches!(result, Err(TokenizationError::InvalidResponse(_))),
                "{row}: {result:?}"
            );
            continue;
        }
        assert_eq!(value(parse(&[]).unwrap()), row["message"], "{row}");
        assert_eq!(value(parse(&golden.tools).unwrap()), row["typed"], "{row}");
    }
}

fn events(events: &[ResponseEvent]) -> Value {
    let event = |event: &ResponseEvent| match event {
        ResponseEvent::Open { field } => json!({"type": "region_open", "field": field}),
        ResponseEvent::Chunk { field, text, dirty } => {
            json!({"type": "region_chunk", "field": field, "text": text, "dirty": dirty})
        }
        ResponseEvent::Close { field, value } => {
            json!({"type": "region_close", "field": field, "value": value})
        }
    };
    events.iter().map(event).collect()
}

#[test]
fn streams_give_the_events_of_the_reference() {
    let golden = golden();
    let mut streams = 0;
    for row in &golden.rows {
        let template = &golden.templates[text(&row["template"])];
        for stream in row["streams"].as_array().into_iter().flatten() {
            streams += 1;
            let mut parser = ResponseParser::new(template, text(&row["prefix"]), &[]).unwrap();
            let mut found = vec![events(parser.initial_events())];
            for chunk in stream["chunks"].as_array().unwrap() {
                found.push(events(&parser.feed(text(chunk)).unwrap()));
            }
            let (message, last) = parser.finalize().unwrap();
            found.push(events(&last));
            assert_eq!(json!(found), stream["events"], "{row}");
            assert_eq!(value(message), stream["message"], "{row}");
        }
    }
    assert!(streams > 30);
}

#[test]
fn templates_that_are_wrong_are_refused() {
    for bad in &golden().bad {
        let result = ResponseTemplate::new(bad);
        assert!(
            matches!(result, Err(TokenizationError::InvalidResponse(_))),
            "{bad}"
        );
    }
}

#[test]
fn known_models_have_templates_and_others_name_the_remedy() {
    for name in ["qwen2", "qwen3", "qwen3_moe", "qwen3_5", "gemma4"] {
        assert!(ResponseTemplate::of_model_type(name).is_some(), "{name}");
    }
    assert!(ResponseTemplate::of_model_type("bert").is_none());
    let error = common::tokenizer("byte_level")
        .parse_response("x", "", &[])
        .unwrap_err();
    assert!(error.to_string().contains("of_model_type"), "{error}");
}

#[test]
fn long_answers_take_linear_time() {
    let template = ResponseTemplate::of_model_type("qwen3").unwrap();
    let long = format!(
        "<think>{}</think>{}<|im_end|>",
        "a < b ".repeat(50_000),
        " \n".repeat(50_000)
    );
    let message = parse_response(&long, &template, "", &[]).unwrap();
    assert!(message.get("reasoning_content").is_some());
    let mut parser = ResponseParser::new(&template, "", &[]).unwrap();
    for _ in 0..50_000 {
        parser.feed("x <").unwrap();
    }
    assert_eq!(
        parser.finalize().unwrap().0.content().unwrap().len(),
        150_000
    );
}
