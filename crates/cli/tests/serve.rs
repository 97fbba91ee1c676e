//! `transformers serve` and `transformers chat` as a user runs them, with each other.
#![cfg(feature = "serve")]
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Output, Stdio};

use common::{ANSWER, QUESTION, check_error, command, stdout, text, tiny};

/// A running server; it ends with this.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(more: &[&str]) -> Self {
        let mut command = command(&[
            "serve",
            "MODEL",
            "--port",
            "0",
            "--served-model-name",
            "tiny",
        ]);
        command.args(more).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = lines.find_map(|line| {
            line.unwrap()
                .strip_prefix("listening at ")
                .map(str::to_owned)
        });
        Self {
            child,
            url: url.unwrap(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn chat(arguments: &[&str], stdin: &str) -> Output {
    let mut command = command(&["chat"]);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(stdin.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_message_in_a_pipe_is_answered() {
    let server = Server::start(&[]);
    let asked = format!("{QUESTION}\n");
    assert_eq!(stdout(&chat(&["tiny", &server.url], &asked)), ANSWER);
    let with_v1 = format!("{}/v1", server.url);
    let short = ["tiny", &with_v1, "max_new_tokens=2", "do_sample=false"];
    let short = stdout(&chat(&short, &asked));
    assert!(
        ANSWER.starts_with(short.trim_end()) && short.len() < ANSWER.len(),
        "{short}"
    );
    let refused = chat(&["other", &server.url], &asked);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("serves `tiny` alone"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn a_conversation_is_saved_and_resumed() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    let typed =
        format!("!set max_new_tokens=40\n{QUESTION}\n!save talk\n!nonsense\n!exit\nnever read\n");
    let said = stdout(&chat(&["tiny", &server.url, "--save-folder", at], &typed));
    for part in [
        "settings: max_new_tokens=40\n",
        ANSWER,
        "Saved to",
        "no command !nonsense",
    ] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    let file = folder.path().join("talk.json");
    let saved: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(saved["chat_history"][1]["content"], ANSWER.trim_end());
    assert_eq!(saved["settings"]["max_new_tokens"], 40);
    let file = file.to_str().unwrap();
    let status = stdout(&chat(
        &["tiny", &server.url, "--resume", file],
        "!status\n!clear\n!status\n",
    ));
    assert!(
        status.contains("messages: 2\n") && status.contains("messages: 0\n"),
        "{status}"
    );
    assert!(status.contains(&format!("user: {QUESTION}")), "{status}");
}

#[test]
fn examples_can_be_sent() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("examples.json");
    fs::write(
        &file,
        serde_json::json!({"capital": {"text": QUESTION}}).to_string(),
    )
    .unwrap();
    let arguments = [
        "tiny",
        &server.url,
        "--examples-path",
        file.to_str().unwrap(),
    ];
    let said = stdout(&chat(&arguments, "!example\n!example capital\n"));
    assert_eq!(said, format!("There are: capital.\n{QUESTION}\n{ANSWER}"));
}

#[test]
fn a_key_is_asked_for() {
    let server = Server::start(&["--api-key", "secret"]);
    let asked = format!("{QUESTION}\n");
    let refused = chat(&["tiny", &server.url], &asked);
    assert!(
        text(&refused.stderr).contains("API key"),
        "{}",
        text(&refused.stderr)
    );
    let let_in = chat(&["tiny", &server.url, "--api-key", "secret"], &asked);
    assert_eq!(stdout(&let_in), ANSWER);
}

/// An address at which nothing listens.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn without_a_server_it_says_how_to_start_one() {
    let address = free_address();
    check_error(
        &["chat", "tiny", &address],
        1,
        &["nothing listens", "transformers serve tiny", "--serve"],
    );
    check_error(&["chat", "tiny", &address, "nonsense"], 2, &["name=value"]);
    check_error(&["chat", "tiny", "gopher://x"], 2, &["no http address"]);
}

#[test]
fn a_server_can_be_started_for_a_conversation() {
    let model = tiny();
    let asked = format!("{QUESTION}\n");
    let answer = chat(
        &[model.to_str().unwrap(), &free_address(), "--serve"],
        &asked,
    );
    assert_eq!(stdout(&answer), ANSWER);
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    check_error(
        &["serve", "MODEL", "--host", "127.0.0.1", "--port", &port],
        1,
        &["cannot listen"],
    );
    check_error(&["serve", "./missing", "--port", "0"], 1, &["missing"]);
    check_error(
        &["serve", "--chat-template-kwargs", "[]"],
        2,
        &["not a JSON object"],
    );
    check_error(
        &["serve", "MODEL", "--api-key", "", "--port", "0"],
        2,
        &["API key is empty"],
    );
}

#[cfg(unix)]
#[test]
fn a_server_ends_when_it_is_told_to() {
    let mut server = Server::start(&[]);
    let pid = server.child.id().to_string();
    let killed = std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status();
    assert!(killed.unwrap().success());
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}
