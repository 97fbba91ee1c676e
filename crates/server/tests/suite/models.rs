//! Which models there are, and how they come and go.

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;
use transformers_modeling::LoadOptions;
use transformers_server::{ServerOptions, StoreOptions};

use super::client;
use super::server::{ANSWER, NAME, QUESTION, Running, ask, model_folder, tiny, tiny_in};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub cache with the tiny model as `org/one`.
fn cache(folder: &Path) {
    cache_as(folder, "one");
}

fn cache_as(folder: &Path, name: &str) {
    let model = model_folder(None);
    let repo = folder.join(format!("models--org--{name}"));
    let snapshot = repo.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::write(repo.join("refs/main"), COMMIT).unwrap();
    for file in fs::read_dir(model.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), snapshot.join(file.file_name())).unwrap();
    }
}

fn cached_with(store: StoreOptions) -> Running {
    let folder = tempfile::tempdir().unwrap();
    cache(folder.path());
    cached_in(store, folder)
}

fn cached_in(store: StoreOptions, folder: TempDir) -> Running {
    let mut load = LoadOptions::default();
    load.hub.cache_dir = Some(folder.path().to_owned());
    load.hub.local_files_only = true;
    let store = StoreOptions { load, ..store };
    tiny_in(ServerOptions::default(), store, folder)
}

fn question(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": QUESTION}]})
}

#[test]
fn models_of_the_cache_are_loaded_on_demand() {
    let server = cached_with(StoreOptions::default());
    let list = server.get("/v1/models").json();
    assert_eq!(list["data"][0]["id"], "org/one");
    assert_eq!(list["data"][0]["loaded"], false);
    assert_eq!(server.get("/v1/models/org/one").json()["owned_by"], "org");
    assert_eq!(server.get("/v1/models/org/two").status, 404);
    for name in ["org/one", "org/one@main"] {
        let answer = server.ok("/v1/chat/completions", &question(name));
        assert_eq!(answer["choices"][0]["message"]["content"], ANSWER);
    }
    assert_eq!(server.get("/v1/models/org/one").json()["loaded"], true);
    assert_eq!(server.ok("/reset", &json!({}))["status"], "ok");
    assert_eq!(server.get("/v1/models/org/one").json()["loaded"], false);
}

#[test]
fn one_load_serves_all_who_wait() {
    let server = cached_with(StoreOptions::default());
    let address = server.address;
    let body = question("org/one").to_string();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let body = body.clone();
            thread::spawn(move || {
                let json = [("content-type", "application/json")];
                client::send(
                    address,
                    "POST",
                    "/v1/chat/completions",
                    &json,
                    body.as_bytes(),
                )
                .status
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 200);
    }
    assert_eq!(
        server.get("/health").json()["loaded_models"],
        json!(["org/one"])
    );
}

#[test]
fn a_load_can_be_watched() {
    let server = cached_with(StoreOptions::default());
    let response = server.post("/load_model", &json!({"model": "org/one"}));
    let chunks = response.chunks();
    assert_eq!(chunks[0]["status"], "loading");
    let last = chunks.last().unwrap();
    assert_eq!(
        (&last["status"], &last["cached"]),
        (&json!("ready"), &json!(false))
    );
    let again = server
        .post("/load_model", &json!({"model": "org/one"}))
        .chunks();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0]["cached"], true);
    let missing = server
        .post("/load_model", &json!({"model": "org/two"}))
        .chunks();
    assert_eq!(missing.last().unwrap()["status"], "error");
}

#[test]
fn names_that_are_no_models_are_refused() {
    let server = cached_with(StoreOptions::default());
    for name in [
        "org/two",
        "/etc/passwd",
        "../one",
        "src",
        "org/one:../x.gguf",
        "org/one@../../x",
        "~",
    ] {
        let response = server.post("/v1/chat/completions", &question(name));
        assert_eq!(response.status, 404, "{name}: {}", response.body);
        assert_eq!(response.json()["error"]["code"], "model_not_found");
        assert!(!response.body.contains("tmp"), "{}", response.body);
    }
    let nameless = json!({"messages": [{"role": "user", "content": "x"}]});
    server.check_refused("/v1/chat/completions", &nameless, 422, "name one");
}

#[test]
fn a_model_that_does_not_fit_is_refused() {
    let store = StoreOptions {
        max_memory: Some(1000),
        ..StoreOptions::default()
    };
    let server = cached_with(store);
    let response = server.post("/v1/chat/completions", &question("org/one"));
    assert_eq!(response.status, 503, "{}", response.body);
    assert!(response.body.contains("1000 are free"), "{}", response.body);
}

/// Reads events of a stream until one has text.
fn wait_for_text(stream: &mut impl BufRead) {
    let mut line = String::new();
    while !line.contains(r#""content":""#) || line.contains(r#""content":"""#) {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended");
    }
}

#[test]
fn models_change_while_one_streams() {
    let folder = tempfile::tempdir().unwrap();
    cache(folder.path());
    cache_as(folder.path(), "two");
    let weights = "models--org--one/snapshots";
    let weights = folder
        .path()
        .join(weights)
        .join(COMMIT)
        .join("model.safetensors");
    let bytes = fs::metadata(weights).unwrap().len();
    let store = StoreOptions {
        max_memory: Some(bytes * 3 / 2),
        ..StoreOptions::default()
    };
    let server = cached_in(store, folder);
    // There is room for one of them. While it streams, the other one is refused, and the stream goes on.
    let long = super::server::with(
        question("org/one"),
        json!({"stream": true, "max_tokens": 3000,
        "generation_config": {"min_new_tokens": 3000}, "temperature": 0}),
    )
    .to_string();
    let head = client::head(
        "POST",
        "/v1/chat/completions",
        &[("content-type", "application/json")],
        long.len(),
    );
    let mut socket = client::connect(server.address);
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(long.as_bytes()).unwrap();
    let mut stream = BufReader::new(socket);
    wait_for_text(&mut stream);
    let other = server.post("/v1/chat/completions", &question("org/two"));
    assert_eq!(other.status, 503, "{}", other.body);
    assert!(
        other.body.contains("until other models are idle"),
        "{}",
        other.body
    );
    wait_for_text(&mut stream);
    // Dropped from the list, it still ends what it has begun.
    assert_eq!(server.ok("/reset", &json!({}))["status"], "ok");
    let answer = server.ok("/v1/chat/completions", &question("org/two"));
    assert_eq!(answer["choices"][0]["message"]["content"], ANSWER);
    wait_for_text(&mut stream);
    drop(stream);
    // Nobody uses `two`: it makes room.
    let answer = server.ok("/v1/chat/completions", &question("org/one"));
    assert_eq!(answer["choices"][0]["message"]["content"], ANSWER);
    assert_eq!(
        server.get("/health").json()["loaded_models"],
        json!(["org/one"])
    );
}

#[test]
fn one_model_is_served_alone() {
    let server = tiny();
    let list = server.get("/v1/models").json();
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert_eq!(list["data"][0]["id"], NAME);
    assert_eq!(list["data"][0]["loaded"], true);
    server.check_refused(
        "/v1/chat/completions",
        &question("other/model"),
        400,
        "other/model",
    );
    assert_eq!(server.post("/v1/chat/completions", &ask("x")).status, 200);
}

#[test]
fn text_becomes_ids_and_back() {
    let server = tiny();
    let ids = server.ok(
        "/tokenize",
        &json!({"prompt": "The capital", "return_token_strs": true}),
    );
    assert_eq!(ids["max_model_len"], 4096);
    assert_eq!(ids["count"], ids["tokens"].as_array().unwrap().len());
    assert_eq!(ids["token_strs"][0], "The");
    let text = server.ok("/detokenize", &json!({"tokens": ids["tokens"]}));
    assert_eq!(text["prompt"], "The capital");
    let chat = server.ok(
        "/tokenize",
        &json!({"messages": [{"role": "user", "content": "The"}]}),
    );
    let text = server.ok("/detokenize", &json!({"tokens": chat["tokens"]}));
    assert_eq!(text["prompt"], "<|user|>The<|end|><|assistant|>");
    server.check_refused("/tokenize", &json!({}), 422, "messages");
}

#[test]
fn the_document_and_the_page_are_there() {
    let server = tiny();
    let document = server.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .contains("default-src 'none'")
    );
    let metrics = server.get("/metrics");
    assert!(
        metrics.body.contains("transformers_models_loaded 1"),
        "{}",
        metrics.body
    );
    assert_eq!(server.get("/nowhere").status, 404);
    assert_eq!(
        server.get("/nowhere").json()["error"]["type"],
        "not_found_error"
    );
    assert_eq!(server.get("/v1/chat/completions").status, 405);
}
