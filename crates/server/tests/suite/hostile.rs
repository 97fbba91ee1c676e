//! What strangers send: each is refused with a status and a reason, quickly, and the server goes on.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use transformers_server::ServerOptions;

use super::client::{self, connect, head, raw, read, send};
use super::server::{ANSWER, QUESTION, Running, Script, ask, ask_with, scripted, tiny, tiny_with};

const PATH: &str = "/v1/chat/completions";
const ROUTES: [&str; 9] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/embeddings",
    "/v1/messages/count_tokens",
    "/load_model",
    "/tokenize",
    "/detokenize",
];

#[track_caller]
fn check_alive(server: &Running) {
    let answer = server.ok(PATH, &ask(QUESTION));
    assert_eq!(answer["choices"][0]["message"]["content"], ANSWER);
}

#[test]
fn bodies_that_are_no_json_are_refused_everywhere() {
    let server = tiny();
    let deep = [b"{\"messages\":".to_vec(), b"[".repeat(100_000)].concat();
    let objects = b"{\"a\":".repeat(100_000);
    for path in ROUTES {
        for (body, words) in [
            (&b""[..], "EOF"),
            (b"{", "EOF"),
            (b"nonsense", "expected"),
            (b"{\"model\":\"\xff\"}", "not UTF-8"),
            (b"{\"model\":\"a\",\"model\":\"b\"}", "twice"),
            (b"{\"x\":NaN}", "expected"),
            (b"{\"x\":1e999}", "out of range"),
            (&deep, "levels deep"),
            (&objects, "levels deep"),
        ] {
            server.check_refused_bytes(path, body, 400, words);
        }
        let plain = send(
            server.address,
            "POST",
            path,
            &[("content-type", "text/plain")],
            b"{}",
        );
        assert_eq!(plain.status, 415, "{path}");
        let missing = send(server.address, "POST", path, &[], b"{}");
        assert_eq!(missing.status, 415, "{path}");
    }
    server.check_refused_bytes(PATH, b"[]", 422, "JSON object");
    check_alive(&server);
}

#[test]
fn large_bodies_are_refused() {
    let server = tiny();
    let begin = Instant::now();
    // 100 MB, said in advance: not one byte of it is read.
    let json = [("content-type", "application/json")];
    let mut stream = connect(server.address);
    stream
        .write_all(head("POST", PATH, &json, 100 << 20).as_bytes())
        .unwrap();
    assert_eq!(read(stream).status, 413);
    // And in pieces, without saying how many.
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    let mut stream = connect(server.address);
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20));
    for _ in 0..17 {
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    assert_eq!(read(stream).status, 413);
    assert!(begin.elapsed() < Duration::from_secs(30));
    check_alive(&server);
}

#[test]
fn heads_are_bounded() {
    let server = tiny();
    let long = "x".repeat(1 << 20);
    let request = format!("GET /health HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\n\r\n");
    assert_eq!(raw(server.address, request.as_bytes()).status, 431);
    let request = format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!([414, 431].contains(&raw(server.address, request.as_bytes()).status));
    let request = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n";
    assert!([0, 400].contains(&raw(server.address, request).status));
    // An id that could not be in a header, or is too long, is replaced.
    let response = send(
        server.address,
        "GET",
        "/health",
        &[("x-request-id", &"a".repeat(2000))],
        b"",
    );
    assert_eq!(response.header("x-request-id").unwrap().len(), 32);
    check_alive(&server);
}

#[test]
fn slow_writers_are_let_go() {
    let options = ServerOptions {
        io_timeout: Duration::from_millis(300),
        ..ServerOptions::default()
    };
    let server = tiny_with(options, None);
    let begin = Instant::now();
    let json = [("content-type", "application/json")];
    let mut body = connect(server.address);
    body.write_all(head("POST", PATH, &json, 100).as_bytes())
        .unwrap();
    body.write_all(b"{\"messages\"").unwrap();
    let mut header = connect(server.address);
    header
        .write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost:")
        .unwrap();
    assert_eq!(read(body).status, 408);
    assert!([0, 408].contains(&read(header).status));
    assert!(begin.elapsed() < Duration::from_secs(20));
    check_alive(&server);
}

#[test]
fn values_out_of_range_are_named() {
    let server = tiny();
    for (fields, words) in [
        (json!({"temperature": -1}), "temperature"),
        (json!({"temperature": 1e6}), "temperature"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"top_p": 2}), "top_p"),
        (json!({"top_p": 0}), "top_p"),
        (json!({"min_p": -0.5}), "min_p"),
        (json!({"frequency_penalty": 3}), "frequency_penalty"),
        (json!({"presence_penalty": -3}), "presence_penalty"),
        (json!({"repetition_penalty": 0}), "repetition_penalty"),
        (json!({"n": 16384}), "`n`"),
        (json!({"n": 0}), "`n`"),
        (json!({"n": -1}), "`n`"),
        (json!({"max_tokens": -1}), "max_tokens"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"max_tokens": 2_147_483_648_u64}), "max_tokens"),
        (json!({"max_tokens": 1.5}), "max_tokens"),
        (
            json!({"logprobs": true, "top_logprobs": 21}),
            "top_logprobs",
        ),
        (json!({"top_logprobs": 2}), "top_logprobs"),
        (json!({"logit_bias": {"99999": 1}}), "logit_bias"),
        (json!({"logit_bias": {"x": 1}}), "logit_bias"),
        (json!({"logit_bias": {"1": 1000}}), "logit_bias"),
        (json!({"stop": vec!["x"; 10_000]}), "stop"),
        (json!({"stop": [""]}), "stop"),
        (json!({"stop": "x".repeat(2000)}), "stop"),
        (json!({"chat_template": "{{ 7 }}"}), "chat_template"),
        (json!({"generation_config": "{"}), "generation_config"),
        (json!({"generation_config": {"num_beams": 4}}), "num_beams"),
        (
            json!({"generation_config": {"temperature": -4}}),
            "temperature",
        ),
        (
            json!({"generation_config": {"output_scores": true}}),
            "output_scores",
        ),
        (json!({"messages": []}), "messages"),
        (
            json!({"messages": [{"role": "king", "content": "x"}]}),
            "role",
        ),
        (json!({"messages": "x"}), "messages"),
    ] {
        server.check_refused(PATH, &ask_with(fields), 422, words);
    }
    check_alive(&server);
}

#[test]
fn other_routes_know_their_ranges_too() {
    let server = tiny();
    let message = json!([{"role": "user", "content": "x"}]);
    let text = json!({"prompt": "x"});
    let input = json!({"input": "x"});
    let messages = json!({"messages": message, "max_tokens": 5});
    let tool =
        |parameters: Value| json!({"type": "function", "name": "f", "parameters": parameters});
    for (path, body, fields, words) in [
        (
            "/v1/completions",
            &text,
            json!({"temperature": -1}),
            "temperature",
        ),
        ("/v1/completions", &text, json!({"top_p": 2}), "top_p"),
        ("/v1/completions", &text, json!({"n": 16384}), "`n`"),
        (
            "/v1/completions",
            &text,
            json!({"max_tokens": -1}),
            "max_tokens",
        ),
        (
            "/v1/completions",
            &text,
            json!({"max_tokens": 2_147_483_648_u64}),
            "max_tokens",
        ),
        (
            "/v1/completions",
            &text,
            json!({"stop": vec!["x"; 10_000]}),
            "stop",
        ),
        (
            "/v1/completions",
            &text,
            json!({"prompt": vec!["x"; 10_000]}),
            "prompts",
        ),
        (
            "/v1/completions",
            &text,
            json!({"prompt": "y ".repeat(100_000)}),
            "context",
        ),
        (
            "/v1/completions",
            &text,
            json!({"chat_template": "{{ 7 }}"}),
            "chat_template",
        ),
        (
            "/v1/responses",
            &input,
            json!({"temperature": 1e6}),
            "temperature",
        ),
        ("/v1/responses", &input, json!({"top_p": 2}), "top_p"),
        (
            "/v1/responses",
            &input,
            json!({"max_output_tokens": -1}),
            "max_output_tokens",
        ),
        (
            "/v1/responses",
            &input,
            json!({"max_output_tokens": 2_147_483_648_u64}),
            "tokens",
        ),
        (
            "/v1/responses",
            &input,
            json!({"input": "y ".repeat(100_000)}),
            "context",
        ),
        (
            "/v1/responses",
            &input,
            json!({"tools": vec![tool(json!({})); 200]}),
            "tools",
        ),
        (
            "/v1/responses",
            &input,
            json!({"chat_template": "{{ 7 }}"}),
            "chat_template",
        ),
        (
            "/v1/messages",
            &messages,
            json!({"temperature": -1}),
            "temperature",
        ),
        ("/v1/messages", &messages, json!({"top_p": 2}), "top_p"),
        (
            "/v1/messages",
            &messages,
            json!({"max_tokens": -1}),
            "max_tokens",
        ),
        (
            "/v1/messages",
            &messages,
            json!({"max_tokens": 2_147_483_648_u64}),
            "max_tokens",
        ),
        (
            "/v1/messages",
            &messages,
            json!({"stop_sequences": vec!["x"; 10_000]}),
            "stop",
        ),
        (
            "/v1/messages",
            &messages,
            json!({"chat_template": "{{ 7 }}"}),
            "chat_template",
        ),
        (
            "/v1/embeddings",
            &input,
            json!({"input": vec!["x"; 10_000]}),
            "texts",
        ),
        (
            "/v1/embeddings",
            &input,
            json!({"dimensions": -1}),
            "dimensions",
        ),
        (
            "/v1/embeddings",
            &input,
            json!({"dimensions": 0}),
            "dimensions",
        ),
    ] {
        let body = super::server::with(body.clone(), fields);
        server.check_refused(path, &body, 422, words);
    }
    check_alive(&server);
}

#[test]
fn long_prompts_are_refused() {
    let server = tiny();
    server.check_refused(PATH, &ask(&"y".repeat(5000)), 422, "context");
    server.check_refused(PATH, &ask(&"y ".repeat(100_000)), 422, "context");
    server.check_refused("/v1/completions", &json!({"prompt": ""}), 422, "no tokens");
    check_alive(&server);
}

#[test]
fn hostile_schemas_end_in_time() {
    let server = scripted(ServerOptions::default(), None, Script::Say("{}"));
    let format = |schema: Value| json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}});
    // Built by hand: the values themselves would be dropped recursively.
    let nested = |depth: usize| {
        let open = "{\"type\":\"object\",\"properties\":{\"a\":".repeat(depth);
        format!("{open}{{}}{}", "}}".repeat(depth))
    };
    let tools = format!(
        "{{\"messages\":[{{\"role\":\"user\",\"content\":\"x\"}}],\"tools\":[{{\"type\":\"function\",\"function\":\
         {{\"name\":\"f\",\"parameters\":{}}}}}]}}",
        nested(3000)
    );
    let begin = Instant::now();
    server.check_refused_bytes(PATH, tools.as_bytes(), 400, "levels deep");
    let many: Value = (0..2000)
        .map(|index| {
            (
                format!("k{index}"),
                json!({"type": "string", "pattern": "(a+)+(b+)+$"}),
            )
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    for schema in [
        json!({"type": "string", "pattern": "(((a{1,1000}){1,1000}){1,1000}){1,1000}"}),
        json!({"type": "string", "pattern": "^(a|a)*(b|b)*(c|c)*$", "minLength": 1_000_000_000}),
        json!({"type": "array", "minItems": 4_000_000_000_u64}),
        json!({"type": "object", "properties": many}),
        json!({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
        json!({"allOf": vec![json!({"anyOf": vec![json!({"type": "object"}); 30]}); 30]}),
    ] {
        let response = server.post(PATH, &super::server::with(ask("x"), format(schema)));
        assert!([200, 422].contains(&response.status), "{}", response.body);
    }
    assert!(
        begin.elapsed() < Duration::from_secs(100),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(server.post(PATH, &ask("x")).status, 200);
}

#[test]
fn variables_of_templates_cannot_replace_the_conversation() {
    let server = tiny();
    let kwargs =
        json!({"messages": [{"role": "user", "content": "x"}], "add_generation_prompt": false});
    let answer = server.ok(PATH, &ask_with(json!({"chat_template_kwargs": kwargs})));
    assert_eq!(answer["choices"][0]["message"]["content"], ANSWER);
}

#[test]
fn other_protocols_are_refused() {
    let server = tiny();
    for request in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}",
    ] {
        let status = client::raw(server.address, request).status;
        assert!(status == 0 || (400..500).contains(&status), "{status}");
    }
    check_alive(&server);
}
