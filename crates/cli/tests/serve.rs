//! `transformers serve` and `transformers chat` as a user runs them, with each other.
#![cfg(feature = "serve")]
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Output;

use common::{ANSWER, QUESTION, Server, check_error, stdout, text, tiny, with_stdin};

fn chat(arguments: &[&str], stdin: &str) -> Output {
    with_stdin(&[&["chat"], arguments].concat(), stdin)
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
    let json = serde_json::json!({"capital": {"text": QUESTION}}).to_string();
    let yaml = format!("# Mine\ncapital:\n  text: >-\n    {QUESTION}\n");
    let short = format!("capital: {QUESTION:?}\n");
    for (name, content) in [("e.json", json), ("e.yaml", yaml), ("e.yml", short)] {
        let file = folder.path().join(name);
        fs::write(&file, content).unwrap();
        let examples = ["--examples-path", file.to_str().unwrap()];
        let arguments = [&["tiny", &server.url], &examples[..]].concat();
        let said = stdout(&chat(&arguments, "!example\n!example capital\n"));
        assert_eq!(said, format!("There are: capital.\n{QUESTION}\n{ANSWER}"));
    }
    for (content, words) in [
        ("[1, 2]", "not a YAML mapping"),
        ("a: {words: x}", "example"),
        ("a: 'b", "not a YAML mapping"),
        ("a: &a [*a]", "not a YAML mapping"),
    ] {
        let file = folder.path().join("bad.yaml");
        fs::write(&file, content).unwrap();
        let arguments = [
            "chat",
            "tiny",
            &server.url,
            "--examples-path",
            file.to_str().unwrap(),
        ];
        check_error(&arguments, 1, &["bad.yaml", words]);
    }
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

/// An answer that streams for long, as far as its first events.
fn begin_to_stream(server: &Server) -> BufReader<TcpStream> {
    let body = serde_json::json!({
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": true,
        "generation_config": {"min_new_tokens": 30, "max_new_tokens": 30},
    })
    .to_string();
    let mut socket = TcpStream::connect(server.address()).unwrap();
    write!(
        socket,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    while !line.starts_with("data: ") {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0);
    }
    reader
}

#[test]
fn a_killed_server_starts_again_at_its_port() {
    let server = Server::start(&[]);
    let port = server.address().rsplit(':').next().unwrap().to_owned();
    let streams: Vec<_> = (0..8).map(|_| begin_to_stream(&server)).collect();
    // Killed as by the system: nothing is told, and nothing is left that the next one would stumble over.
    drop(server);
    for stream in streams {
        // The end, or a connection that was reset.
        let _ = stream.lines().map_while(std::io::Result::ok).count();
    }
    let server = Server::start_at(&port, &[]);
    assert_eq!(stdout(&chat(&["tiny", &server.url], QUESTION)), ANSWER);
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

/// A conversation at a terminal, with a server whose answers have no end.
#[cfg(target_os = "linux")]
mod at_a_terminal {
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;
    use std::time::Duration;

    use super::common::terminal::Terminal;
    use super::*;

    /// Answers as a server of OpenAI's form would: a message with `wait` never, any other without end. Tells each time that a
    /// client leaves an answer.
    fn endless() -> (String, Receiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (left, leaves) = channel();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let left = left.clone();
                thread::spawn(move || answer(socket.unwrap(), || left.send(()).unwrap()));
            }
        });
        (url, leaves)
    }

    fn answer(mut socket: TcpStream, left: impl Fn()) {
        const HEAD: &str =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap() == 0 {
                return;
            }
            if let Some(number) = line.to_lowercase().strip_prefix("content-length: ") {
                length = number.trim().parse().unwrap();
            }
            head += &line;
        }
        let mut body = vec![0; length];
        std::io::Read::read_exact(&mut reader, &mut body).unwrap();
        if !head.starts_with("POST /v1/chat/completions ") {
            let none = "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            socket.write_all(none.as_bytes()).unwrap();
            return;
        }
        let request: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let last = request["messages"].as_array().unwrap().last().unwrap();
        if last["content"] == "wait" {
            // Nothing more comes from a client that waits; it goes.
            let _ = reader.read_line(&mut head);
            return left();
        }
        let event = |delta: &str| format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n");
        let begin = event("{\"reasoning_content\":\"Hm\"}") + &event("{\"content\":\"**loud** \"}");
        let mut next = HEAD.to_owned() + &begin;
        while socket.write_all(next.as_bytes()).is_ok() {
            thread::sleep(Duration::from_millis(10));
            next = event("{\"content\":\"word \"}");
        }
        left();
    }

    /// Types a line once there is a prompt.
    fn say(terminal: &mut Terminal, line: &str) {
        terminal.wait_for("<me>: ");
        terminal.enter(line);
    }

    #[test]
    fn ctrl_c_stops_the_answer_and_not_the_program() {
        let (url, leaves) = endless();
        let left = || leaves.recv_timeout(Duration::from_secs(60)).unwrap();
        let mut terminal = Terminal::start(&["chat", "model", &url, "--user", "me"], &[]);
        say(&mut terminal, "!help");
        terminal.wait_for("Ctrl-C stops an answer");
        say(&mut terminal, "Hello");
        terminal.wait_for("<model>:");
        // Reasoning is dimmed, and Markdown is shown.
        terminal.wait_for("\x1b[2mHm");
        terminal.wait_for("\x1b[1mloud");
        terminal.wait_for("word word");
        terminal.ctrl('c');
        terminal.wait_for("(stopped)");
        left();
        // What came is kept; once more by the key for the line before.
        say(&mut terminal, "!status");
        terminal.wait_for("messages: 2");
        say(&mut terminal, "\x1b[A");
        terminal.wait_for("messages: 2");
        // An answer that has not begun is stopped too, and its question is forgotten.
        say(&mut terminal, "wait");
        terminal.wait_for("<model>:");
        thread::sleep(Duration::from_millis(500));
        terminal.ctrl('c');
        terminal.wait_for("(stopped)");
        left();
        say(&mut terminal, "!status");
        terminal.wait_for("messages: 2");
        // A line that is not sent is forgotten.
        terminal.wait_for("<me>: ");
        terminal.keys("never mind");
        terminal.ctrl('c');
        say(&mut terminal, "!set top_k=3");
        terminal.wait_for("settings: top_k=3");
        terminal.wait_for("<me>: ");
        terminal.ctrl('d');
        assert_eq!(terminal.end(), Some(0));
    }

    #[test]
    fn colours_can_be_refused() {
        let (url, _leaves) = endless();
        let arguments = ["chat", "model", &url, "--user", "me"];
        let mut terminal = Terminal::start(&arguments, &[("NO_COLOR", "1")]);
        say(&mut terminal, "Hello");
        let said = terminal.wait_for("word word");
        assert!(said.contains("loud"), "{said}");
        assert!(
            !said.contains("\x1b[1m") && !said.contains("\x1b[2m"),
            "{said:?}"
        );
        terminal.ctrl('c');
        terminal.wait_for("(stopped)");
        say(&mut terminal, "!exit");
        assert_eq!(terminal.end(), Some(0));
    }
}
