//! `POST /v1/chat/completions`.

use serde_json::{Value, json};
use transformers_server::ServerOptions;

use super::server::{ANSWER, NAME, QUESTION, Script, ask, ask_with, scripted, tiny, tiny_with};

const PATH: &str = "/v1/chat/completions";

#[test]
fn a_question_is_answered() {
    let server = tiny();
    let answer = server.ok(PATH, &ask(QUESTION));
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], NAME);
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["message"]["content"], ANSWER);
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(choice["logprobs"], Value::Null);
    let usage = &answer["usage"];
    let count = |name: &str| usage[name].as_u64().unwrap();
    assert!(count("prompt_tokens") > 3 && count("completion_tokens") > 3);
    assert_eq!(
        count("total_tokens"),
        count("prompt_tokens") + count("completion_tokens")
    );
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 0);
}

/// The content of a stream's chunks.
fn content(chunks: &[Value], choice: u64) -> String {
    let choices = chunks
        .iter()
        .flat_map(|chunk| chunk["choices"].as_array().unwrap());
    let of_it = choices.filter(|other| other["index"] == choice);
    of_it
        .filter_map(|choice| choice["delta"]["content"].as_str())
        .collect()
}

#[test]
fn a_stream_is_the_answer_in_pieces() {
    let server = tiny();
    let response = server.post(PATH, &ask_with(json!({"stream": true})));
    assert_eq!(response.status, 200);
    assert!(
        response
            .header("content-type")
            .unwrap()
            .starts_with("text/event-stream")
    );
    assert_eq!(response.events().last().unwrap(), "[DONE]");
    let chunks = response.chunks();
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(chunks.len() > 4);
    assert_eq!(content(&chunks, 0), ANSWER);
    let last = chunks.last().unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert!(last["usage"]["completion_tokens"].as_u64().unwrap() > 3);
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]));

    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let chunks = server.post(PATH, &ask_with(options)).chunks();
    let last = chunks.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert!(last["usage"].is_object());
    assert!(chunks[chunks.len() - 2]["usage"].is_null());
}

#[test]
fn done_can_be_left_out() {
    let options = ServerOptions {
        done: false,
        ..ServerOptions::default()
    };
    let server = tiny_with(options, None);
    let response = server.post(PATH, &ask_with(json!({"stream": true})));
    assert!(response.events().last().unwrap().starts_with('{'));
}

#[test]
fn stop_strings_are_cut_off() {
    let server = tiny();
    let stopped = ask_with(json!({"stop": ["nowhere", " is"]}));
    let answer = server.ok(PATH, &stopped);
    assert_eq!(
        answer["choices"][0]["message"]["content"],
        "The capital of France"
    );
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let stream = ask_with(json!({"stop": " is", "stream": true}));
    assert_eq!(
        content(&server.post(PATH, &stream).chunks(), 0),
        "The capital of France"
    );
}

#[test]
fn tokens_are_limited() {
    let server = tiny();
    for name in ["max_tokens", "max_completion_tokens"] {
        let answer = server.ok(PATH, &ask_with(json!({name: 2})));
        assert_eq!(answer["choices"][0]["finish_reason"], "length");
        assert_eq!(answer["usage"]["completion_tokens"], 2);
    }
}

#[test]
fn log_probabilities_are_those_of_the_tokens() {
    let server = tiny();
    let asked = json!({"logprobs": true, "top_logprobs": 3, "temperature": 0});
    let answer = server.ok(PATH, &ask_with(asked.clone()));
    let content = answer["choices"][0]["logprobs"]["content"]
        .as_array()
        .unwrap()
        .clone();
    let bytes: Vec<u8> = content
        .iter()
        .flat_map(|token| token["bytes"].as_array().unwrap())
        .map(|byte| byte.as_u64().unwrap() as u8)
        .collect();
    assert_eq!(String::from_utf8(bytes).unwrap(), ANSWER);
    for token in &content {
        let top = token["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        // Greedy: the chosen token is the likeliest.
        assert_eq!(top[0]["token"], token["token"]);
        assert!(token["logprob"].as_f64().unwrap() <= 0.0);
        assert!(top[1]["logprob"].as_f64() <= top[0]["logprob"].as_f64());
    }
    let mut stream = ask_with(asked);
    stream["stream"] = json!(true);
    let streamed: Vec<Value> = server
        .post(PATH, &stream)
        .chunks()
        .iter()
        .filter_map(|chunk| {
            chunk["choices"][0]["logprobs"]["content"]
                .as_array()
                .cloned()
        })
        .flatten()
        .collect();
    assert_eq!(streamed, content);
}

#[test]
fn a_seed_repeats_choices_which_differ() {
    let server = tiny();
    let draw = |seed: u64| {
        let asked = json!({"n": 4, "temperature": 2.0, "top_p": 1.0, "seed": seed, "max_tokens": 12, "top_k": 0});
        let answer = server.ok(PATH, &ask_with(asked));
        let choices = answer["choices"].as_array().unwrap().clone();
        assert_eq!(choices.len(), 4);
        let contents = choices
            .into_iter()
            .map(|choice| choice["message"]["content"].clone());
        contents.collect::<Vec<Value>>()
    };
    let first = draw(1);
    assert_eq!(first, draw(1));
    assert_ne!(first, draw(2));
    assert!(
        first.iter().any(|content| *content != first[0]),
        "{first:?}"
    );
}

#[test]
fn choices_are_streamed_side_by_side() {
    let server = tiny();
    let asked = json!({"n": 2, "temperature": 0, "stream": true});
    let chunks = server.post(PATH, &ask_with(asked)).chunks();
    assert_eq!(content(&chunks, 0), ANSWER);
    assert_eq!(content(&chunks, 1), ANSWER);
    let with_usage = chunks.iter().filter(|chunk| chunk["usage"].is_object());
    assert_eq!(with_usage.count(), 1);
}

#[test]
fn a_bias_forbids_and_forces() {
    let server = tiny();
    let tokens = server.ok(
        "/tokenize",
        &json!({"prompt": "Paris", "return_token_strs": true}),
    );
    let id = |text: &str| {
        let at = server.ok(
            "/tokenize",
            &json!({"prompt": text, "add_special_tokens": false}),
        );
        at["tokens"][0].to_string()
    };
    assert!(tokens["count"].as_u64().unwrap() >= 1, "{tokens}");
    let banned = ask_with(json!({"logit_bias": {id("The"): -100}, "max_tokens": 8}));
    let answer = server.ok(PATH, &banned);
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(!text.starts_with("The"), "{text}");
    let forced = ask_with(json!({"logit_bias": {id("x"): 100}, "max_tokens": 3}));
    assert_eq!(
        server.ok(PATH, &forced)["choices"][0]["message"]["content"],
        "xxx"
    );
}

#[test]
fn penalties_change_the_answer() {
    let server = tiny();
    let id = server.ok(
        "/tokenize",
        &json!({"prompt": "x", "add_special_tokens": false}),
    )["tokens"][0]
        .to_string();
    // A bias makes `x` certain; the penalty for having been there takes it back bit by bit.
    let text = |fields: Value| {
        let mut body = ask_with(json!({"logit_bias": {id.as_str(): 100}, "max_tokens": 4}));
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        server.ok(PATH, &body)["choices"][0]["message"]["content"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(text(json!({"frequency_penalty": 2})), "xxxx");
    let config = json!({"generation_config": "{\"repetition_penalty\": 50.0}"});
    assert_ne!(text(config), "xxxx");
}

#[test]
fn unknown_fields_are_named() {
    let server = tiny();
    let asked = ask_with(json!({"temprature": 1, "whatever": [1]}));
    server.check_refused(PATH, &asked, 422, "temprature");
    server.check_refused(PATH, &asked, 422, "whatever");
    let lenient = ServerOptions {
        lenient: true,
        ..ServerOptions::default()
    };
    let response = tiny_with(lenient, None).post(PATH, &asked);
    assert_eq!(response.status, 200);
    assert!(response.header("warning").unwrap().contains("temprature"));
}

#[test]
fn fields_without_effect_are_named_in_a_header() {
    let server = tiny();
    let response = server.post(PATH, &ask_with(json!({"user": "me", "store": true})));
    assert_eq!(response.status, 200);
    let warning = response.header("warning").unwrap();
    assert!(
        warning.contains("store") && warning.contains("user"),
        "{warning}"
    );
    assert!(
        server
            .post(PATH, &ask(QUESTION))
            .header("warning")
            .is_none()
    );
}

#[test]
fn reasoning_is_told_apart() {
    let script = Script::Say("<think>\nHm, easy.\n</think>\n\nParis.");
    let server = scripted(
        ServerOptions::default(),
        Some(super::server::TOOL_TEMPLATE),
        script,
    );
    let answer = server.ok(PATH, &ask(QUESTION));
    let message = &answer["choices"][0]["message"];
    assert_eq!(message["reasoning_content"], "Hm, easy.");
    assert_eq!(message["content"], "Paris.");
    assert_eq!(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 3);
    let details = &answer["usage"]["completion_tokens_details"];
    assert!(
        details["reasoning_tokens"].as_u64().unwrap() > 3,
        "{details}"
    );
    let chunks = server
        .post(PATH, &ask_with(json!({"stream": true})))
        .chunks();
    let deltas = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]);
    let text = |name: &str| -> String {
        deltas
            .clone()
            .filter_map(|delta| delta[name].as_str())
            .collect()
    };
    assert_eq!(text("reasoning_content"), "Hm, easy.");
    assert_eq!(text("content"), "Paris.");
}

#[test]
fn parts_and_roles_are_read() {
    let server = tiny();
    let messages = json!([
        {"role": "user", "content": [{"type": "text", "text": "What is the capital"}, {"type": "text", "text": " of France?"}]},
    ]);
    let answer = server.ok(PATH, &json!({"messages": messages}));
    assert_eq!(answer["choices"][0]["message"]["content"], ANSWER);
    let image = json!([{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]);
    let asked = json!({"messages": [{"role": "user", "content": image}]});
    server.check_refused(PATH, &asked, 422, "image_url");
}

#[test]
fn the_id_of_a_request_comes_back() {
    let server = tiny();
    let headers = [
        ("content-type", "application/json"),
        ("x-request-id", "mine-1"),
    ];
    let body = ask(QUESTION).to_string();
    let response = super::client::send(server.address, "POST", PATH, &headers, body.as_bytes());
    assert_eq!(response.header("x-request-id"), Some("mine-1"));
    assert_eq!(response.json()["id"], "chatcmpl-mine-1");
    let own = server.get("/health");
    assert_eq!(own.header("x-request-id").unwrap().len(), 32);
}
