//! The other side of a conversation, over HTTP.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::{RequestBuilder, Response, Url};
use serde_json::{Value, json};

use super::flags::Flags;
use crate::failure::{Failure, Result};

/// A server.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    /// Without `/v1`, and without a slash at its end.
    root: String,
    key: Option<String>,
}

/// A piece of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    Content(String),
    Reasoning(String),
}

impl Client {
    /// `url`: with `/v1` at its end or without.
    pub fn new(url: &str, key: Option<&str>) -> Result<Self> {
        let root = url
            .trim_end_matches('/')
            .trim_end_matches("/v1")
            .trim_end_matches('/');
        let parsed =
            Url::parse(root).map_err(|error| Failure::Usage(format!("`{url}`: {error}")))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(Failure::Usage(format!("`{url}` is no http address")));
        }
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(10));
        Ok(Self {
            http: http.build()?,
            root: root.to_owned(),
            key: key.map(str::to_owned),
        })
    }

    pub fn root(&self) -> &str {
        &self.root
    }

    /// The host and the port.
    pub fn place(&self) -> Result<(String, u16)> {
        let url = Url::parse(&self.root)?;
        let place = url
            .host_str()
            .map(str::to_owned)
            .zip(url.port_or_known_default());
        place.ok_or_else(|| format!("`{}` has no host", self.root).into())
    }

    fn with_key(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        let request = self.http.post(format!("{}{path}", self.root));
        let request = request.header("content-type", "application/json");
        self.with_key(request).body(body.to_string())
    }

    /// Whether somebody answers.
    pub async fn is_up(&self) -> bool {
        self.http
            .get(format!("{}/health", self.root))
            .send()
            .await
            .is_ok()
    }

    /// Says what to do where nobody answers.
    pub async fn check(&self, model: &str) -> Result<()> {
        let request = self.with_key(self.http.get(format!("{}/health", self.root)));
        match request.send().await {
            // Other servers have another address for it, or none.
            Ok(response) if response.status() != 503 => Ok(()),
            Ok(_) => Err(format!("the server at {} takes no requests now", self.root).into()),
            Err(error) if error.is_connect() => Err(format!(
                "nothing listens at {}: start a server with `transformers serve {model}`, or add --serve",
                self.root
            )
            .into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets the server load the model, where it knows how to.
    pub async fn load(&self, model: &str) -> Result<()> {
        let response = self
            .post("/load_model", &json!({"model": model}))
            .send()
            .await?;
        if matches!(response.status().as_u16(), 404 | 405 | 501) {
            return Ok(());
        }
        let mut events = Events::new(checked(response).await?);
        while let Some(event) = events.next().await? {
            if event["status"] == "error" {
                let message = event["message"].as_str().map(str::to_owned);
                return Err(message.unwrap_or_else(|| event.to_string()).into());
            }
        }
        Ok(())
    }

    /// Begins an answer to a conversation.
    pub async fn stream(&self, model: &str, messages: &[Value], flags: &Flags) -> Result<Pieces> {
        let mut body = json!({"model": model, "messages": messages, "stream": true});
        if let Some(config) = flags.json() {
            body["generation_config"] = config.into();
        }
        let response = self.post("/v1/chat/completions", &body).send().await?;
        let events = Events::new(checked(response).await?);
        let ready = VecDeque::new();
        Ok(Pieces { events, ready })
    }
}

/// The response, or what the server says is wrong.
async fn checked(response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await.unwrap_or_default();
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let said = body["error"]["message"]
        .as_str()
        .or(body["detail"].as_str());
    let said = said.map_or_else(|| text.chars().take(300).collect(), str::to_owned);
    Err(format!("the server refuses ({status}): {said}").into())
}

/// The pieces of an answer as they come.
pub struct Pieces {
    events: Events,
    ready: VecDeque<Piece>,
}

impl Pieces {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Piece>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            let Some(event) = self.events.next().await? else {
                return Ok(None);
            };
            if let Some(error) = event.get("error") {
                let message = error["message"].as_str().map(str::to_owned);
                return Err(message.unwrap_or_else(|| error.to_string()).into());
            }
            let delta = &event["choices"][0]["delta"];
            let text = |name: &str| {
                let text = delta[name].as_str().filter(|text| !text.is_empty());
                text.map(str::to_owned)
            };
            let reasoning = text("reasoning_content").or_else(|| text("reasoning"));
            self.ready.extend(reasoning.map(Piece::Reasoning));
            self.ready.extend(text("content").map(Piece::Content));
        }
    }
}

/// Server-sent events with JSON in them.
struct Events {
    response: Response,
    bytes: Vec<u8>,
}

impl Events {
    fn new(response: Response) -> Self {
        let bytes = Vec::new();
        Self { response, bytes }
    }

    /// The data of the next event; `None` at the end.
    async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            while let Some(line) = take_line(&mut self.bytes) {
                let data = line.strip_prefix("data:").map(str::trim);
                match data {
                    Some("[DONE]") => return Ok(None),
                    Some(data) if !data.is_empty() => return Ok(Some(serde_json::from_str(data)?)),
                    _ => {}
                }
            }
            match self.response.chunk().await? {
                Some(chunk) => self.bytes.extend(&chunk),
                None => return Ok(None),
            }
        }
    }
}

fn take_line(bytes: &mut Vec<u8>) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line: Vec<u8> = bytes.drain(..=end).collect();
    Some(String::from_utf8_lossy(&line).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_may_end_with_v1() {
        for url in [
            "http://x:1",
            "http://x:1/",
            "http://x:1/v1",
            "http://x:1/v1/",
        ] {
            let client = Client::new(url, None).unwrap();
            assert_eq!(client.root(), "http://x:1");
            assert_eq!(client.place().unwrap(), ("x".to_owned(), 1));
        }
        assert!(Client::new("ftp://x", None).is_err());
        assert!(Client::new("x", None).is_err());
    }

    #[test]
    fn lines_are_cut_where_they_end() {
        let mut bytes = "data: é\r\nda".as_bytes().to_vec();
        assert_eq!(take_line(&mut bytes).unwrap(), "data: é");
        assert_eq!(take_line(&mut bytes), None);
        assert_eq!(bytes, b"da");
    }
}
