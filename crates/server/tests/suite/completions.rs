//! `POST /v1/completions`.

use serde_json::{Value, json};

use super::server::{Running, tiny};

const PATH: &str = "/v1/completions";

fn texts(answer: &Value) -> Vec<String> {
    let choices = answer["choices"].as_array().unwrap().iter();
    choices
        .map(|choice| choice["text"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn texts_are_continued() {
    let server = tiny();
    let answer = server.ok(PATH, &json!({"prompt": "The capital of"}));
    assert_eq!(answer["object"], "text_completion");
    assert_eq!(texts(&answer), [" France is Paris."]);
    let both = json!({"prompt": ["The capital of", "The capital"], "stop": "is", "echo": true});
    let answer = server.ok(PATH, &both);
    assert_eq!(
        texts(&answer),
        ["The capital of France ", "The capital of France "]
    );
    assert_eq!(answer["choices"][1]["index"], 1);
}

fn ids(server: &Running, text: &str) -> Value {
    server.ok("/tokenize", &json!({"prompt": text}))["tokens"].clone()
}

#[test]
fn ids_are_continued() {
    let server = tiny();
    let ids = ids(&server, "The capital of");
    assert_eq!(
        texts(&server.ok(PATH, &json!({"prompt": ids}))),
        [" France is Paris."]
    );
    let lists = json!({"prompt": [ids, ids], "max_tokens": 1, "echo": true});
    let answer = server.ok(PATH, &lists);
    assert_eq!(
        texts(&answer),
        ["The capital of France", "The capital of France"]
    );
    let length = ids.as_array().unwrap().len() as u64;
    assert_eq!(answer["usage"]["prompt_tokens"], 2 * length);
    assert_eq!(answer["usage"]["completion_tokens"], 2);
    server.check_refused(PATH, &json!({"prompt": [99999]}), 422, "99999");
    server.check_refused(PATH, &json!({"prompt": [-1]}), 422, "expected");
    server.check_refused(PATH, &json!({"prompt": []}), 422, "prompts");
}

#[test]
fn a_stream_is_the_text_in_pieces() {
    let server = tiny();
    let asked = json!({"prompt": "The capital of", "stream": true, "echo": true});
    let response = server.post(PATH, &asked);
    let text: String = response
        .chunks()
        .iter()
        .map(|chunk| chunk["choices"][0]["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(text, "The capital of France is Paris.");
    assert_eq!(response.events().last().unwrap(), "[DONE]");
}

#[test]
fn log_probabilities_lie_side_by_side() {
    let server = tiny();
    let answer = server.ok(PATH, &json!({"prompt": "The capital of", "logprobs": 2}));
    let logprobs = &answer["choices"][0]["logprobs"];
    let tokens = logprobs["tokens"].as_array().unwrap();
    let joined: String = tokens.iter().map(|token| token.as_str().unwrap()).collect();
    assert_eq!(joined, " France is Paris.");
    assert_eq!(
        logprobs["token_logprobs"].as_array().unwrap().len(),
        tokens.len()
    );
    assert_eq!(logprobs["top_logprobs"][0].as_object().unwrap().len(), 2);
    assert_eq!(logprobs["text_offset"][0], 0);
    assert_eq!(
        logprobs["text_offset"][1],
        tokens[0].as_str().unwrap().chars().count()
    );
}
