//! Clients that go, engines that fail, and the end of a server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use transformers_server::ServerOptions;

use super::client::{connect, head, read};
use super::server::{Running, Script, ask, ask_with, scripted};

const PATH: &str = "/v1/chat/completions";
/// How long anything may take on a machine that has other work.
const PATIENCE: Duration = Duration::from_secs(180);

#[track_caller]
fn wait_for(what: impl Fn() -> bool) {
    let begin = Instant::now();
    while !what() {
        assert!(begin.elapsed() < PATIENCE, "it did not happen");
        thread::sleep(Duration::from_millis(5));
    }
}

fn endless(options: ServerOptions) -> (Running, Arc<AtomicUsize>) {
    let listening = Arc::new(AtomicUsize::new(0));
    let server = scripted(options, None, Script::Endless(listening.clone()));
    (server, listening)
}

/// A stream that has begun.
fn begin(server: &Running, stream: bool) -> std::net::TcpStream {
    let body =
        ask_with(json!({"stream": stream, "max_tokens": 4000, "model": super::server::NAME}))
            .to_string();
    let json = [("content-type", "application/json")];
    let mut socket = connect(server.address);
    socket
        .write_all(head("POST", PATH, &json, body.len()).as_bytes())
        .unwrap();
    socket.write_all(body.as_bytes()).unwrap();
    socket
}

#[test]
fn who_goes_costs_nothing_more() {
    let (server, listening) = endless(ServerOptions::default());
    for stream in [true, false] {
        let clients: Vec<_> = (0..200).map(|_| begin(&server, stream)).collect();
        wait_for(|| listening.load(Ordering::SeqCst) == 200);
        drop(clients);
        wait_for(|| listening.load(Ordering::SeqCst) == 0);
    }
    wait_for(|| metric(&server, "transformers_requests_in_flight") == 0);
}

/// A number of the metrics.
fn metric(server: &Running, name: &str) -> i64 {
    let text = server.get("/metrics").body;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    // The request that asks is one of those in flight.
    let own = i64::from(name.ends_with("in_flight"));
    value.unwrap().trim().parse::<i64>().unwrap() - own
}

#[test]
fn a_deadline_ends_an_answer() {
    let options = ServerOptions {
        deadline: Duration::from_millis(200),
        ..ServerOptions::default()
    };
    let (server, listening) = endless(options);
    let whole = read(begin(&server, false));
    assert_eq!(whole.status, 504);
    let stream = read(begin(&server, true));
    assert_eq!(stream.status, 200);
    let last = stream.chunks().pop().unwrap();
    assert_eq!(last["error"]["type"], "timeout_error", "{last}");
    wait_for(|| listening.load(Ordering::SeqCst) == 0);
}

#[test]
fn a_panic_ends_its_request_alone() {
    let server = scripted(ServerOptions::default(), None, Script::Panic);
    for _ in 0..3 {
        let response = server.post(PATH, &ask("x"));
        assert_eq!(response.status, 500);
        assert_eq!(response.json()["error"]["type"], "api_error");
        assert!(!response.body.contains("on purpose"), "{}", response.body);
        let stream = server.post(PATH, &ask_with(json!({"stream": true})));
        let chunks = stream.chunks();
        assert!(chunks.last().unwrap()["error"].is_object());
        assert!(!stream.body.contains("[DONE]"));
    }
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn a_handler_that_panics_ends_its_request_alone() {
    let server = scripted(ServerOptions::default(), None, Script::PanicAtOnce);
    for path in [PATH, "/v1/completions"] {
        let body = match path {
            PATH => ask("x"),
            _ => json!({"model": super::server::NAME, "prompt": "x"}),
        };
        let response = server.post(path, &body);
        assert_eq!(response.status, 500, "{}", response.body);
        assert!(!response.body.contains("on purpose"), "{}", response.body);
        assert_eq!(server.get("/health").status, 200);
    }
    assert_eq!(metric(&server, "transformers_requests_in_flight"), 0);
}

#[test]
fn a_full_engine_says_when_to_come_back() {
    let server = scripted(ServerOptions::default(), None, Script::Busy);
    for path in [PATH, "/v1/responses", "/v1/messages"] {
        let body = json!({"model": super::server::NAME, "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]});
        let body = match path {
            "/v1/responses" => json!({"model": super::server::NAME, "input": "x"}),
            PATH => ask("x"),
            _ => body,
        };
        let response = server.post(path, &body);
        assert_eq!(response.status, 429, "{}", response.body);
        assert_eq!(response.header("retry-after"), Some("1"));
        assert!(response.body.contains("rate_limit_error"));
    }
}

#[test]
fn what_runs_at_the_end_fails_in_order() {
    let options = ServerOptions {
        grace: Duration::from_millis(300),
        ..ServerOptions::default()
    };
    let (mut server, listening) = endless(options);
    let mut stream = BufReader::new(begin(&server, true));
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(line.contains("200"), "{line}");
    server.stop();
    let rest: Vec<String> = stream.lines().map_while(Result::ok).collect();
    let last = rest
        .iter()
        .rev()
        .find(|line| line.starts_with("data: "))
        .unwrap();
    assert!(last.contains("shutting down"), "{last}");
    wait_for(|| listening.load(Ordering::SeqCst) == 0);
    server.join();
}

#[test]
fn what_can_end_in_time_does() {
    let mut server = scripted(ServerOptions::default(), None, Script::Say("done"));
    assert_eq!(server.post(PATH, &ask("x")).status, 200);
    let address = server.address;
    server.stop();
    server.join();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn slow_readers_hold_up_nobody() {
    let options = ServerOptions {
        io_timeout: Duration::from_millis(500),
        ..ServerOptions::default()
    };
    let listening = Arc::new(AtomicUsize::new(0));
    let server = scripted(options, None, Script::Flood(listening.clone()));
    // They read nothing at all: when no more can be sent they are let go, though they hold on.
    let slow: Vec<_> = (0..4).map(|_| begin(&server, true)).collect();
    wait_for(|| listening.load(Ordering::SeqCst) > 0);
    let begun = Instant::now();
    assert_eq!(server.get("/health").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(5));
    wait_for(|| listening.load(Ordering::SeqCst) == 0);
    drop(slow);
}
