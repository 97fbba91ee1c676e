//! A client that does what it is told, well-behaved or not.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::Result;

/// How long an answer may be silent.
const SILENCE: Duration = Duration::from_secs(300);

/// Where the server is: `host:port`.
pub struct Address(String);

impl Address {
    /// `url`: `http://host:port`.
    pub fn new(url: &str) -> Result<Self> {
        let address = url.strip_prefix("http://");
        let address = address.ok_or("an address begins with http://")?;
        Ok(Self(address.trim_end_matches('/').to_owned()))
    }

    pub fn port(&self) -> String {
        self.0.rsplit(':').next().unwrap_or_default().to_owned()
    }

    pub fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(&self.0)?;
        stream.set_read_timeout(Some(SILENCE))?;
        Ok(stream)
    }

    /// The head of a request with a body of so many bytes.
    pub fn head(&self, path: &str, length: usize) -> String {
        format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n",
            self.0
        )
    }

    /// Sends a request.
    pub fn begin(&self, path: &str, body: &Value) -> Result<TcpStream> {
        self.begin_bytes(path, body.to_string().as_bytes())
    }

    fn begin_bytes(&self, path: &str, body: &[u8]) -> Result<TcpStream> {
        let mut stream = self.connect()?;
        stream.write_all(self.head(path, body.len()).as_bytes())?;
        stream.write_all(body)?;
        Ok(stream)
    }

    /// Sends a request and reads the answer: its status and its body.
    pub fn post(&self, path: &str, body: &Value) -> Result<(u16, String)> {
        self.post_bytes(path, body.to_string().as_bytes())
    }

    /// The same of any bytes.
    pub fn post_bytes(&self, path: &str, body: &[u8]) -> Result<(u16, String)> {
        answer(self.begin_bytes(path, body)?)
    }

    /// The numbers of the metrics that have no labels.
    pub fn metrics(&self) -> Result<HashMap<String, f64>> {
        let mut stream = self.connect()?;
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )?;
        let (_, text) = answer(stream)?;
        let line = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter_map(line).collect())
    }
}

fn answer(mut stream: TcpStream) -> Result<(u16, String)> {
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    let text = String::from_utf8(text)?;
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| format!("no answer: {text}"))?;
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}

/// Reads the status of an answer, and leaves the rest.
pub fn read_status(stream: &TcpStream) -> Result<u16> {
    let mut line = String::new();
    BufReader::with_capacity(1, stream).read_line(&mut line)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.ok_or_else(|| format!("no answer: {line:?}").into())
}

/// Reads as far as the first event.
pub fn read_event(stream: &TcpStream) -> Result<()> {
    let mut lines = BufReader::with_capacity(64, stream).lines();
    match lines.find(|line| !matches!(line, Ok(line) if !line.starts_with("data: "))) {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(error.into()),
        None => Err("the stream ended before its first event".into()),
    }
}

/// Whether a stream has an end.
pub fn ends(mut stream: &TcpStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Whether there is something to read, if only the end.
pub fn is_answered(stream: &TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    let peeked = stream.peek(&mut [0]);
    let _ = stream.set_nonblocking(false);
    !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}
