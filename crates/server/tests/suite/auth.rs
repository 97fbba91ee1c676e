//! API keys and origins.

use transformers_server::ServerOptions;

use super::client;
use super::server::{QUESTION, ask, tiny_with};

#[test]
fn without_a_key_nothing_is_shown() {
    let options = ServerOptions {
        api_keys: vec!["secret".to_owned()],
        ..ServerOptions::default()
    };
    let server = tiny_with(options, None);
    for path in [
        "/",
        "/health",
        "/metrics",
        "/openapi.json",
        "/v1/models",
        "/nowhere",
    ] {
        let response = server.get(path);
        assert_eq!(response.status, 401, "{path}");
        assert!(response.header("www-authenticate").is_some());
        assert!(!response.body.contains("secret"));
    }
    for path in [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/embeddings",
        "/load_model",
        "/reset",
        "/tokenize",
        "/detokenize",
    ] {
        assert_eq!(server.post_bytes(path, b"{}").status, 401, "{path}");
    }
    let body = ask(QUESTION).to_string();
    for (name, value, status) in [
        ("authorization", "Bearer secret", 200),
        ("x-api-key", "secret", 200),
        ("authorization", "Bearer wrong", 401),
        ("x-api-key", "secret2", 401),
    ] {
        let headers = [("content-type", "application/json"), (name, value)];
        let path = "/v1/chat/completions";
        let response = client::send(server.address, "POST", path, &headers, body.as_bytes());
        assert_eq!(response.status, status, "{name}: {value}");
    }
}

#[test]
fn other_origins_are_let_in_only_where_it_is_said() {
    for cors in [false, true] {
        let options = ServerOptions {
            cors,
            api_keys: vec!["secret".to_owned()],
            ..ServerOptions::default()
        };
        let server = tiny_with(options, None);
        let headers = [
            ("origin", "http://example.com"),
            ("access-control-request-method", "POST"),
            (
                "access-control-request-headers",
                "authorization,content-type",
            ),
        ];
        let path = "/v1/chat/completions";
        let response = client::send(server.address, "OPTIONS", path, &headers, b"");
        let allowed = response.header("access-control-allow-origin");
        assert_eq!(allowed, cors.then_some("*"));
    }
}
