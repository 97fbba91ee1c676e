//! `POST /v1/messages`.

use serde_json::{Value, json};
use transformers_server::ServerOptions;

use super::client;
use super::server::{ANSWER, NAME, QUESTION, Script, TOOL_TEMPLATE, scripted, tiny, with};

const PATH: &str = "/v1/messages";

fn ask() -> Value {
    json!({"model": NAME, "max_tokens": 100, "messages": [{"role": "user", "content": QUESTION}]})
}

#[test]
fn a_question_is_answered() {
    let server = tiny();
    let answer = server.ok(PATH, &ask());
    assert_eq!(answer["type"], "message");
    assert_eq!(answer["content"], json!([{"type": "text", "text": ANSWER}]));
    assert_eq!(answer["stop_reason"], "end_turn");
    assert!(answer["usage"]["input_tokens"].as_u64().unwrap() > 3);
    let stopped = server.ok(PATH, &with(ask(), json!({"stop_sequences": [" is"]})));
    assert_eq!(stopped["stop_reason"], "stop_sequence");
    assert_eq!(stopped["stop_sequence"], " is");
    assert_eq!(stopped["content"][0]["text"], "The capital of France");
    let short = server.ok(PATH, &with(ask(), json!({"max_tokens": 1})));
    assert_eq!(short["stop_reason"], "max_tokens");
}

/// Names of a stream's events, without what repeats.
fn names(chunks: &[Value]) -> Vec<&str> {
    let mut names: Vec<&str> = chunks
        .iter()
        .map(|chunk| chunk["type"].as_str().unwrap())
        .collect();
    names.dedup();
    names
}

#[test]
fn a_stream_is_the_answer_in_pieces() {
    let server = tiny();
    let response = server.post(PATH, &with(ask(), json!({"stream": true})));
    let chunks = response.chunks();
    assert_eq!(
        names(&chunks),
        [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    );
    assert!(response.body.starts_with("event: message_start\n"));
    let text: String = chunks
        .iter()
        .filter_map(|chunk| chunk["delta"]["text"].as_str())
        .collect();
    assert_eq!(text, ANSWER);
    assert!(
        chunks[0]["message"]["usage"]["input_tokens"]
            .as_u64()
            .unwrap()
            > 3
    );
}

#[test]
fn thoughts_and_calls_are_blocks() {
    let said = "<think>\nHm.\n</think>\nLooking.\n<tool_call>\n{\"name\": \"clock\", \"arguments\": {\"zone\": \"UTC\"}}\n</tool_call>";
    let server = scripted(
        ServerOptions::default(),
        Some(TOOL_TEMPLATE),
        Script::Say(said),
    );
    let tool = json!({"name": "clock", "input_schema": {"type": "object", "properties": {"zone": {"type": "string"}}}});
    let asked = with(
        ask(),
        json!({"tools": [tool], "thinking": {"type": "enabled", "budget_tokens": 2000}}),
    );
    let answer = server.ok(PATH, &asked);
    assert_eq!(answer["stop_reason"], "tool_use");
    let blocks = answer["content"].as_array().unwrap();
    assert_eq!(blocks[0]["thinking"], "Hm.");
    assert_eq!(blocks[1], json!({"type": "text", "text": "Looking."}));
    assert_eq!(blocks[2]["name"], "clock");
    assert_eq!(blocks[2]["input"], json!({"zone": "UTC"}));
    let chunks = server
        .post(PATH, &with(asked.clone(), json!({"stream": true})))
        .chunks();
    let starts: Vec<&str> = chunks
        .iter()
        .filter_map(|chunk| chunk["content_block"]["type"].as_str())
        .collect();
    assert_eq!(starts, ["thinking", "text", "tool_use"]);
    let json: String = chunks
        .iter()
        .filter_map(|chunk| chunk["delta"]["partial_json"].as_str())
        .collect();
    assert_eq!(
        serde_json::from_str::<Value>(&json).unwrap(),
        json!({"zone": "UTC"})
    );

    // What was called and what it gave goes back.
    let conversation = json!([
        {"role": "user", "content": "What time is it?"},
        {"role": "assistant", "content": answer["content"]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": blocks[2]["id"], "content": "12:00"}]},
    ]);
    let asked = with(asked, json!({"messages": conversation}));
    assert_eq!(server.post(PATH, &asked).status, 200);
}

#[test]
fn tokens_are_counted() {
    let server = tiny();
    let question = json!({"messages": ask()["messages"]});
    let count = server.ok("/v1/messages/count_tokens", &question)["input_tokens"].clone();
    assert_eq!(server.ok(PATH, &ask())["usage"]["input_tokens"], count);
    let framed = with(question, json!({"system": "Be brief."}));
    let more = server.ok("/v1/messages/count_tokens", &framed)["input_tokens"].as_u64();
    assert!(more > count.as_u64());
}

#[test]
fn errors_have_the_form_of_anthropic() {
    let server = tiny();
    let response = server.post(PATH, &json!({"messages": []}));
    assert_eq!(response.status, 422);
    let error = response.json();
    assert_eq!(error["type"], "error");
    assert_eq!(error["error"]["type"], "invalid_request_error");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("max_tokens"), "{message}");
    assert_eq!(
        response.header("request-id"),
        response.header("x-request-id")
    );
    let text = client::send(
        server.address,
        "POST",
        PATH,
        &[("content-type", "text/plain")],
        b"{}",
    );
    assert_eq!(
        (text.status, text.json()["type"].as_str()),
        (415, Some("error"))
    );
}
