//! Answers in a form that was asked for.

use serde_json::{Value, json};

use super::server::{Script, ask_with, scripted, tiny};
use transformers_server::ServerOptions;

const PATH: &str = "/v1/chat/completions";

fn content(answer: &Value) -> Value {
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn an_answer_follows_its_schema() {
    let server = tiny();
    let schema = json!({
        "type": "object",
        "properties": {
            "city": {"type": "string", "enum": ["Paris", "Rome"]},
            "population": {"type": "integer", "minimum": 1, "maximum": 99},
        },
        "required": ["city", "population"],
        "additionalProperties": false,
    });
    let format = json!({"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": true}});
    for fields in [json!({}), json!({"temperature": 1.5, "seed": 3})] {
        let mut asked = ask_with(json!({"response_format": format, "max_tokens": 400}));
        asked
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let answer = server.ok(PATH, &asked);
        assert_eq!(answer["choices"][0]["finish_reason"], "stop", "{answer}");
        let city = content(&answer);
        assert!(
            ["Paris", "Rome"].contains(&city["city"].as_str().unwrap()),
            "{city}"
        );
        assert!(
            (1..=99).contains(&city["population"].as_u64().unwrap()),
            "{city}"
        );
    }
}

#[test]
fn other_forms_take_a_schema_too() {
    let server = tiny();
    let schema = json!({"type": "object", "properties": {"x": {"enum": [7]}}, "required": ["x"], "additionalProperties": false});
    let asked = json!({
        "input": "Seven?",
        "text": {"format": {"type": "json_schema", "name": "x", "schema": schema}},
    });
    let answer = server.ok("/v1/responses", &asked);
    let text = answer["output"][0]["content"][0]["text"].as_str().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(text).unwrap(),
        json!({"x": 7})
    );
    let asked = json!({
        "max_tokens": 200,
        "messages": [{"role": "user", "content": "Seven?"}],
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
    });
    let answer = server.ok("/v1/messages", &asked);
    let text = answer["content"][0]["text"].as_str().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(text).unwrap(),
        json!({"x": 7})
    );
}

#[test]
fn text_is_any() {
    let server = tiny();
    let answer = server.ok(
        PATH,
        &ask_with(json!({"response_format": {"type": "text"}})),
    );
    assert_eq!(
        answer["choices"][0]["message"]["content"],
        super::server::ANSWER
    );
}

#[test]
fn schemas_that_cannot_be_followed_are_refused() {
    let server = scripted(ServerOptions::default(), None, Script::Say("{}"));
    let format = |schema: Value| {
        let json_schema = json!({"name": "x", "schema": schema, "strict": true});
        ask_with(json!({"response_format": {"type": "json_schema", "json_schema": json_schema}}))
    };
    let refused = [
        json!({"type": "string", "pattern": "("}),
        json!({"$ref": "#/nowhere"}),
        json!({"$ref": "http://example.com/schema.json"}),
        json!({"type": "nonsense"}),
        json!(3),
    ];
    for schema in refused {
        server.check_refused(PATH, &format(schema), 422, "grammar");
    }
    server.check_refused(
        PATH,
        &ask_with(json!({"response_format": {"type": "xml"}})),
        422,
        "xml",
    );
}
