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
    let error = common::tokenizer("sentence_piece")
        .parse_response("x", "", &[])
        .unwrap_err();
    assert!(error.to_string().contains("of_model_type"), "{error}");
}

#[test]
fn chat_templates_show_their_family() {
    let template = |name: &str| std::fs::read_to_string(common::golden(name)).unwrap();
    for (name, answer, field) in [
        ("qwen3", "<think>a</think>b<|im_end|>", "reasoning_content"),
        (
            "qwen25",
            "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>",
            "tool_calls",
        ),
        ("smollm2", "b<|im_end|>", "content"),
        (
            "smollm3",
            "<think>a</think>b<|im_end|>",
            "reasoning_content",
        ),
        (
            "llama3",
            "{\"name\": \"f\", \"parameters\": {}}<|eot_id|>",
            "tool_calls",
        ),
        (
            "mistral_v3",
            "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {}}]</s>",
            "tool_calls",
        ),
        ("mistral_v13", "[TOOL_CALLS]f[ARGS]{}</s>", "tool_calls"),
        ("gemma", "b<end_of_turn>", "content"),
        (
            "phi4",
            "<|tool_call|>[{\"name\": \"f\", \"arguments\": {}}]<|/tool_call|>",
            "tool_calls",
        ),
        ("deepseek_r1", "<think>a</think>b", "reasoning_content"),
        (
            "command_r",
            "Action: ```json\n[{\"tool_name\": \"f\", \"parameters\": {}}]```",
            "tool_calls",
        ),
        (
            "granite",
            "<|tool_call|>[{\"name\": \"f\", \"arguments\": {}}]",
            "tool_calls",
        ),
        (
            "gpt_oss",
            "<|channel|>analysis<|message|>a<|end|>",
            "reasoning_content",
        ),
        (
            "glm4",
            "<tool_call>f\n<arg_key>x</arg_key><arg_value>1</arg_value></tool_call>",
            "tool_calls",
        ),
    ] {
        let source = template(&format!("templates/{name}.jinja"));
        let family = ResponseTemplate::of_chat_template(&source).expect(name);
        let message = parse_response(answer, &family, "", &[]).unwrap();
        assert!(message.get(field).is_some(), "{name}: {message:?}");
        let text = message.content().unwrap_or_default();
        assert!(!text.contains(['<', '[']), "{name}: {text}");
    }
    assert!(ResponseTemplate::of_chat_template("{{ messages[0].content }}").is_none());
    let tokenizer = common::tokenizer("byte_level");
    let message = tokenizer
        .parse_response("<think>a</think>b<|im_end|>", "", &[])
        .unwrap();
    assert_eq!(message.content(), Some("b"));
}

/// However an answer is cut into pieces, the message is that of the whole, and its content comes as its pieces did.
#[test]
fn pieces_make_the_same_message_wherever_they_end() {
    let golden = golden();
    for row in golden.rows.iter().filter(|row| !row["error"].is_string()) {
        let template = &golden.templates[text(&row["template"])];
        let answer = text(&row["text"]);
        let mut cuts: Vec<usize> = answer.char_indices().map(|(at, _)| at).collect();
        cuts.push(answer.len());
        let parse = |pieces: &[&str]| {
            let mut parser = ResponseParser::new(template, text(&row["prefix"]), &[]).unwrap();
            let mut seen = parser.initial_events().to_vec();
            for piece in pieces {
                seen.extend(parser.feed(piece).unwrap());
            }
            let (message, last) = parser.finalize().unwrap();
            seen.extend(last);
            let chunks = seen.iter().filter_map(|event| match event {
                ResponseEvent::Chunk { field, text, .. } => Some((field.clone(), text.clone())),
                _ => None,
            });
            let mut texts: HashMap<String, String> = HashMap::new();
            for (field, text) in chunks {
                *texts.entry(field).or_default() += &text;
            }
            (message, texts)
        };
        let whole = parse(&[answer]);
        assert_eq!(value(whole.0.clone()), row["message"], "{row}");
        for cut in &cuts {
            let (first, second) = answer.split_at(*cut);
            assert_eq!(parse(&[first, second]), whole, "{first:?} {second:?} {row}");
        }
        let single: Vec<&str> = cuts
            .windows(2)
            .map(|pair| &answer[pair[0]..pair[1]])
            .collect();
        assert_eq!(parse(&single), whole, "{row}");
    }
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
