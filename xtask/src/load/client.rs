//! One streamed answer, with the times of its tokens.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;

/// Where the server is.
pub struct Server {
    /// `host:port`.
    address: String,
}

/// The times of an answer.
pub struct Answer {
    /// From the request to the first text.
    pub first: Duration,
    /// From each piece of text to the next.
    pub between: Vec<Duration>,
    /// Tokens, as the server counts them, or else pieces.
    pub tokens: usize,
}

impl Server {
    /// `url`: `http://host:port`.
    pub fn new(url: &str) -> Result<Self> {
        let address = url
            .strip_prefix("http://")
            .ok_or("an address begins with http://")?;
        let address = address
            .trim_end_matches('/')
            .trim_end_matches("/v1")
            .to_owned();
        Ok(Self { address })
    }

    /// Sends a request for a streamed chat completion and reads the answer.
    pub fn ask(&self, body: &str) -> Result<Answer> {
        let begin = Instant::now();
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        write!(
            stream,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nconnection: \
             close\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Err("the server closed the connection".into());
            }
        }
        if !head.starts_with("HTTP/1.1 200") {
            let mut rest = String::new();
            reader.take(500).read_to_string(&mut rest)?;
            return Err(format!("{}: {rest}", head.lines().next().unwrap_or_default()).into());
        }
        read(reader, begin)
    }
}

/// Lines of events; those of the chunks' sizes are no events and are passed over.
fn read(reader: impl BufRead, begin: Instant) -> Result<Answer> {
    let mut times: Vec<Instant> = Vec::new();
    let mut counted = None;
    for line in reader.lines() {
        let line = line?;
        let Some(data) = line.strip_prefix("data: ").filter(|data| *data != "[DONE]") else {
            continue;
        };
        let event: Value = serde_json::from_str(data)?;
        if let Some(error) = event.get("error") {
            return Err(error.to_string().into());
        }
        counted = event["usage"]["completion_tokens"].as_u64().or(counted);
        let delta = &event["choices"][0]["delta"];
        let has_text = |name: &str| delta[name].as_str().is_some_and(|text| !text.is_empty());
        if has_text("content") || has_text("reasoning_content") {
            times.push(Instant::now());
        }
    }
    let first = times.first().ok_or("the answer has no text")?;
    Ok(Answer {
        first: *first - begin,
        between: times.windows(2).map(|pair| pair[1] - pair[0]).collect(),
        tokens: counted.map_or(times.len(), |count| count as usize),
    })
}
