//! All kinds of requests at once, good and bad, for as long as one likes: memory must be flat.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::{self, Address};
use super::{NAME, check_alive, check_quiet, story};
use crate::Result;
use crate::load::resident;

/// Clients at once.
const CLIENTS: usize = 12;
/// Memory is looked at so often.
const SAMPLE: Duration = Duration::from_secs(1);
/// What the last third of the time may hold beyond the second: what an allocator keeps in pieces.
const SLACK: u64 = 24 << 20;

/// Loads the server for so long; says how many requests there were and what memory was.
pub fn run(address: &Address, pid: u32, time: Duration) -> Result<String> {
    let over = AtomicBool::new(false);
    let requests = AtomicUsize::new(0);
    let begin = Instant::now();
    let mut memory = Vec::new();
    let failures: Vec<String> = thread::scope(|scope| {
        let client = |seed: usize| {
            let (over, requests) = (&over, &requests);
            move || {
                let mut turn = seed;
                while !over.load(Ordering::Relaxed) {
                    turn = turn
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    requests.fetch_add(1, Ordering::Relaxed);
                    one(address, turn >> 33).map_err(|error| error.to_string())?;
                }
                Ok(())
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|seed| scope.spawn(client(seed))).collect();
        while begin.elapsed() < time && !clients.iter().any(|client| client.is_finished()) {
            thread::sleep(SAMPLE);
            memory.extend(resident(pid));
        }
        over.store(true, Ordering::Relaxed);
        let ends = clients.into_iter().map(|client| client.join());
        let ends = ends.map(|end| end.unwrap_or_else(|_| Err("a client panicked".to_owned())));
        ends.filter_map(|end: std::result::Result<(), String>| end.err())
            .collect()
    });
    if let Some(failure) = failures.into_iter().next() {
        return Err(failure.into());
    }
    check_quiet(address)?;
    check_alive(address)?;
    let third = memory.len() / 3;
    let most = |part: &[u64]| part.iter().copied().max().unwrap_or(0);
    let (first, then, last) = (
        most(&memory[..third]),
        most(&memory[third..2 * third]),
        most(&memory[2 * third..]),
    );
    let mebibytes = |bytes: u64| bytes >> 20;
    let said = format!(
        "{} requests; at most {}, {} and {} MiB in each third of the time",
        requests.load(Ordering::Relaxed),
        mebibytes(first),
        mebibytes(then),
        mebibytes(last),
    );
    match last > then + SLACK {
        true => Err(format!("memory grows: {said}").into()),
        false => Ok(said),
    }
}

/// One of the requests, well-formed or not.
fn one(address: &Address, draw: usize) -> Result<()> {
    let chat = "/v1/chat/completions";
    let message = |content: String| json!([{"role": "user", "content": content}]);
    let words = format!("Say something about the number {}.", draw % 1000);
    let asked = json!({"model": NAME, "messages": message(words), "max_tokens": 24});
    let schema = json!({
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"type": "integer", "maximum": 9}},
        "required": ["city", "days"],
    });
    let with = |fields: Value| {
        let mut body = asked.clone();
        for (name, value) in fields.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        body
    };
    let function = json!({"name": "weather", "parameters": schema});
    match draw % 12 {
        0 => expect(address, chat, &asked, 200),
        1 => expect(
            address,
            chat,
            &with(json!({"stream": true, "n": 2, "temperature": 1})),
            200,
        ),
        2 => {
            let format =
                json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
            expect(
                address,
                chat,
                &with(json!({"response_format": format, "max_tokens": 48})),
                200,
            )
        }
        3 => {
            let tools = json!([{"type": "function", "function": function}]);
            let fields = json!({"tools": tools, "tool_choice": "required", "stream": draw % 24 > 12, "max_tokens": 64});
            expect(address, chat, &with(fields), 200)
        }
        4 => expect(
            address,
            chat,
            &with(json!({"logprobs": true, "top_logprobs": 20, "stop": [".", "!"]})),
            200,
        ),
        5 => {
            let body = json!({"model": NAME, "prompt": ["1 2 3", "One two"], "max_tokens": 12});
            expect(address, "/v1/completions", &body, 200)
        }
        6 => {
            let body = json!({"model": NAME, "input": ["a cat", format!("number {draw}")]});
            expect(address, "/v1/embeddings", &body, 200)
        }
        7 => {
            let body = json!({"model": NAME, "max_tokens": 12, "messages": message(format!("Hello {draw}"))});
            expect(address, "/v1/messages", &body, 200)
        }
        8 => {
            let body = json!({"model": NAME, "input": format!("Hello {draw}"), "max_output_tokens": 12, "stream": true});
            expect(address, "/v1/responses", &body, 200)
        }
        9 => expect(address, chat, &with(json!({"temperature": -1})), 422),
        10 => {
            let (status, text) = address.post_bytes(chat, &b"{\"messages\":[".repeat(2000))?;
            check(status, 400, &text)
        }
        _ => {
            // Gone in the middle.
            http::read_event(&address.begin(chat, &story(200))?)
        }
    }
}

fn expect(address: &Address, path: &str, body: &Value, status: u16) -> Result<()> {
    let (found, text) = address.post(path, body)?;
    check(found, status, &text)
}

/// 429 is no failure: there is too much to do.
fn check(found: u16, expected: u16, text: &str) -> Result<()> {
    match found == 429 || found == expected && !(found == 200 && text.contains("\"error\":{")) {
        true => Ok(()),
        false => Err(format!("{found} instead of {expected}: {text}").into()),
    }
}
