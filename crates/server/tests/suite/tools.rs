//! Tools: what a model calls, as it calls it, and what it may.

use serde_json::{Value, json};
use transformers_server::ServerOptions;

use super::server::{Running, Script, TOOL_TEMPLATE, ask_with, scripted, tiny, tiny_with};

const PATH: &str = "/v1/chat/completions";

fn weather() -> Value {
    json!({"type": "function", "function": {
        "name": "get_weather",
        "description": "The weather.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "enum": ["Paris", "Rome"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["city", "days"],
        },
    }})
}

fn clock() -> Value {
    json!({"type": "function", "function": {"name": "clock"}})
}

fn says(text: &'static str) -> Running {
    scripted(
        ServerOptions::default(),
        Some(TOOL_TEMPLATE),
        Script::Say(text),
    )
}

const TWO_CALLS: &str = "Let me look.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}}\n\
                         </tool_call>\n<tool_call>\n{\"name\": \"clock\", \"arguments\": {}}\n</tool_call>";

#[test]
fn calls_are_read() {
    let server = says(TWO_CALLS);
    let asked = ask_with(json!({"tools": [weather(), clock()]}));
    let answer = server.ok(PATH, &asked);
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], "Let me look.");
    let calls = choice["message"]["tool_calls"].as_array().unwrap();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0]["type"], "function");
    assert_eq!(calls[0]["function"]["name"], "get_weather");
    let arguments: Value =
        serde_json::from_str(calls[0]["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments, json!({"city": "Paris", "days": 2}));
    assert_eq!(calls[1]["function"]["name"], "clock");
    assert_ne!(calls[0]["id"], calls[1]["id"]);
}

#[test]
fn calls_are_streamed() {
    let server = says(TWO_CALLS);
    let asked = ask_with(json!({"tools": [weather(), clock()], "stream": true}));
    let chunks = server.post(PATH, &asked).chunks();
    let calls: Vec<&Value> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array())
        .flatten()
        .collect();
    assert_eq!(calls.len(), 2);
    assert_eq!(
        (&calls[0]["index"], &calls[1]["index"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(calls[1]["function"]["name"], "clock");
    let content: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(content, "Let me look.");
    let reason = &chunks.last().unwrap()["choices"][0]["finish_reason"];
    assert_eq!(reason, "tool_calls");
}

#[test]
fn a_call_that_is_none_is_text() {
    let server = says("<tool_call>\nnot JSON\n</tool_call>");
    let answer = server.ok(PATH, &ask_with(json!({"tools": [clock()]})));
    let choice = &answer["choices"][0];
    let content = choice["message"]["content"].as_str().unwrap();
    assert!(content.contains("not JSON"), "{answer}");
    assert_eq!(choice["finish_reason"], "stop");
}

/// The one call of an answer.
#[track_caller]
fn call(answer: &Value) -> (String, Value) {
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{answer}");
    let calls = choice["message"]["tool_calls"].as_array().unwrap();
    assert_eq!(calls.len(), 1, "{answer}");
    let function = &calls[0]["function"];
    let arguments = serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap();
    (function["name"].as_str().unwrap().to_owned(), arguments)
}

#[track_caller]
fn check_weather(arguments: &Value) {
    assert!(
        ["Paris", "Rome"].contains(&arguments["city"].as_str().unwrap()),
        "{arguments}"
    );
    assert!(
        (1..=9).contains(&arguments["days"].as_u64().unwrap()),
        "{arguments}"
    );
}

/// A model that knows no tools, and one whose template does, have to call what is asked of them.
#[test]
fn a_call_can_be_required() {
    for template in [None, Some(TOOL_TEMPLATE)] {
        let server = tiny_with(ServerOptions::default(), template);
        let named = json!({"type": "function", "function": {"name": "get_weather"}});
        let asked = json!({"tools": [clock(), weather()], "tool_choice": named, "max_tokens": 500, "reasoning_effort": "none"});
        let (name, arguments) = call(&server.ok(PATH, &ask_with(asked)));
        assert_eq!(name, "get_weather");
        check_weather(&arguments);
        let asked = json!({
            "tools": [weather()], "tool_choice": "required", "parallel_tool_calls": false, "max_tokens": 500,
            "temperature": 1.2, "seed": 5, "reasoning_effort": "none",
        });
        let (name, arguments) = call(&server.ok(PATH, &ask_with(asked)));
        assert_eq!(name, "get_weather");
        check_weather(&arguments);
    }
}

#[test]
fn a_model_that_may_call_need_not() {
    let server = tiny();
    for choice in ["auto", "none"] {
        let asked = json!({"tools": [weather()], "tool_choice": choice, "max_tokens": 12});
        let answer = server.ok(PATH, &ask_with(asked));
        assert!(
            answer["choices"][0]["message"]["content"].is_string(),
            "{answer}"
        );
        assert!(
            answer["choices"][0]["message"]["tool_calls"].is_null(),
            "{answer}"
        );
    }
    // Without tools in the prompt it is the question that the model knows.
    let asked = json!({"tools": [weather()], "tool_choice": "none"});
    let answer = server.ok(PATH, &ask_with(asked));
    assert_eq!(
        answer["choices"][0]["message"]["content"],
        super::server::ANSWER
    );
}

#[test]
fn a_call_that_the_model_begins_follows_the_schema() {
    let server = tiny_with(ServerOptions::default(), Some(TOOL_TEMPLATE));
    // A bias makes the tag likely, token by token: the model begins a call by itself.
    let ids = server.ok(
        "/tokenize",
        &json!({"prompt": "<tool_call>", "add_special_tokens": false}),
    );
    let begin: Vec<u64> = ids["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap())
        .collect();
    let mut biases: Vec<Value> = Vec::new();
    for (index, id) in begin.iter().enumerate() {
        let sequence: Vec<u64> = begin[..=index].to_vec();
        // The first one only while nothing is there: after the tag the grammar has no place for it.
        biases.push(json!([sequence, if index == 0 { 60.0 } else { 200.0 }]));
        let _ = id;
    }
    let asked = json!({
        "tools": [weather()], "tool_choice": "auto", "parallel_tool_calls": false, "max_tokens": 300,
        "generation_config": {"sequence_bias": biases},
    });
    let (name, arguments) = call(&server.ok(PATH, &ask_with(asked)));
    assert_eq!(name, "get_weather");
    check_weather(&arguments);
}

#[test]
fn a_conversation_with_results_goes_on() {
    for template in [None, Some(TOOL_TEMPLATE)] {
        let server = tiny_with(ServerOptions::default(), template);
        let call = json!({"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "{}"}});
        let messages = json!([
            {"role": "user", "content": "What time is it?"},
            {"role": "assistant", "content": null, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "12:00"},
        ]);
        let asked = json!({"messages": messages, "tools": [clock()], "max_tokens": 4});
        assert!(
            server.ok(PATH, &asked)["usage"]["prompt_tokens"]
                .as_u64()
                .unwrap()
                > 20
        );
    }
}

#[test]
fn impossible_choices_are_refused() {
    let server = says("");
    let named = json!({"type": "function", "function": {"name": "missing"}});
    for (fields, words) in [
        (json!({"tools": [clock()], "tool_choice": named}), "missing"),
        (json!({"tool_choice": "required"}), "a tool is required"),
        (json!({"tools": [clock(), clock()]}), "twice"),
        (
            json!({"tools": [{"type": "function", "function": {"name": "a b"}}]}),
            "a name has",
        ),
        (json!({"tools": [{"type": "web_search"}]}), "web_search"),
        (
            json!({"tools": [clock()], "tool_choice": "sometimes"}),
            "expected",
        ),
    ] {
        server.check_refused(PATH, &ask_with(fields), 422, words);
    }
    let many: Vec<Value> = (0..129)
        .map(|index| json!({"type": "function", "function": {"name": format!("f{index}")}}))
        .collect();
    server.check_refused(
        PATH,
        &ask_with(json!({"tools": many})),
        422,
        "more than 128",
    );
}

#[test]
fn tools_that_no_grammar_can_hold_are_offered_without_one() {
    let server = says("text");
    let tool = |strict: bool| {
        let parameters = json!({"type": "object", "properties": {"x": {"$ref": "#/nowhere"}}});
        json!([{"type": "function", "function": {"name": "f", "strict": strict, "parameters": parameters}}])
    };
    let answer = server.ok(PATH, &ask_with(json!({"tools": tool(false)})));
    assert_eq!(answer["choices"][0]["message"]["content"], "text");
    server.check_refused(
        PATH,
        &ask_with(json!({"tools": tool(true)})),
        422,
        "grammar",
    );
    let required = json!({"tools": tool(false), "tool_choice": "required"});
    server.check_refused(PATH, &ask_with(required), 422, "grammar");
}
