//! `POST /v1/responses`.

use serde_json::{Value, json};
use transformers_server::ServerOptions;

use super::server::{ANSWER, NAME, QUESTION, Script, TOOL_TEMPLATE, scripted, tiny, with};

const PATH: &str = "/v1/responses";

#[test]
fn a_question_is_answered() {
    let server = tiny();
    let answer = server.ok(PATH, &json!({"input": QUESTION, "metadata": {"a": "b"}}));
    assert_eq!(answer["object"], "response");
    assert_eq!(answer["status"], "completed");
    assert_eq!(answer["metadata"], json!({"a": "b"}));
    let item = &answer["output"][0];
    assert_eq!(
        (&item["type"], &item["role"]),
        (&json!("message"), &json!("assistant"))
    );
    assert_eq!(item["content"][0]["text"], ANSWER);
    assert!(answer["usage"]["input_tokens"].as_u64().unwrap() > 3);
    let items = json!([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]);
    let answer = server.ok(PATH, &json!({"input": items, "max_output_tokens": 1}));
    assert_eq!(answer["status"], "incomplete");
    assert_eq!(answer["incomplete_details"]["reason"], "max_output_tokens");
}

#[test]
fn a_stream_tells_of_every_item() {
    let said = "<think>\nHm.\n</think>\nLooking.\n<tool_call>\n{\"name\": \"clock\", \"arguments\": {}}\n</tool_call>";
    let server = scripted(
        ServerOptions::default(),
        Some(TOOL_TEMPLATE),
        Script::Say(said),
    );
    let tools = json!([{"type": "function", "name": "clock", "parameters": {"type": "object", "properties": {}}}]);
    let asked = json!({"model": NAME, "input": QUESTION, "tools": tools});
    let whole = server.ok(PATH, &asked);
    let chunks = server
        .post(PATH, &with(asked, json!({"stream": true})))
        .chunks();
    for (index, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk["sequence_number"], index);
    }
    let mut names: Vec<&str> = chunks
        .iter()
        .map(|chunk| chunk["type"].as_str().unwrap())
        .collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.reasoning_text.delta",
            "response.reasoning_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let last = &chunks.last().unwrap()["response"];
    let kinds = |response: &Value| -> Vec<Value> {
        let items = response["output"].as_array().unwrap().iter();
        items.map(|item| item["type"].clone()).collect()
    };
    assert_eq!(kinds(last), kinds(&whole));
    assert_eq!(kinds(last), ["reasoning", "message", "function_call"]);
    assert_eq!(last["output"][1]["content"][0]["text"], "Looking.");

    // The output is an input.
    let mut items = whole["output"].as_array().unwrap().clone();
    let call_id = items[2]["call_id"].clone();
    items.insert(0, json!({"role": "user", "content": "What time is it?"}));
    items.push(json!({"type": "function_call_output", "call_id": call_id, "output": "12:00"}));
    let response = server.post(PATH, &json!({"model": NAME, "input": items}));
    assert_eq!(response.status, 200, "{}", response.body);
}

#[test]
fn what_needs_state_is_refused() {
    let server = tiny();
    let asked = json!({"input": "x", "previous_response_id": "resp_1"});
    server.check_refused(PATH, &asked, 422, "previous_response_id");
    server.check_refused(
        PATH,
        &json!({"input": "x", "background": true}),
        422,
        "background",
    );
    server.check_refused(PATH, &json!({"input": []}), 422, "at least one");
}

#[test]
fn log_probabilities_come_where_they_are_included() {
    let server = tiny();
    let asked =
        json!({"input": QUESTION, "include": ["message.output_text.logprobs"], "top_logprobs": 2});
    let answer = server.ok(PATH, &asked);
    let logprobs = answer["output"][0]["content"][0]["logprobs"]
        .as_array()
        .unwrap();
    assert!(logprobs.len() > 3);
    assert_eq!(logprobs[0]["top_logprobs"].as_array().unwrap().len(), 2);
}
