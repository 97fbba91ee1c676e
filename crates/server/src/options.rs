//! How a server is set up.

use std::time::Duration;

/// What a server does beside its models. The limits bound the memory and the time that a stranger can cost.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Who knows none of these keys gets 401; without any, everybody is let in.
    pub api_keys: Vec<String>,
    /// Let web pages of every origin call the server.
    pub cors: bool,
    /// Ignore fields that no published schema has, instead of refusing them.
    pub lenient: bool,
    /// End a stream by `data: [DONE]`, as OpenAI does and the reference does not.
    pub done: bool,
    /// Bytes of a body.
    pub max_body: usize,
    /// Connections at a time; further ones wait to be accepted.
    pub max_connections: usize,
    /// How long the head, and then the body, of a request may take to arrive, and the client to take a piece of the
    /// response.
    pub io_timeout: Duration,
    /// How long a response may take as a whole.
    pub deadline: Duration,
    /// How long running responses get to end when the server shuts down.
    pub grace: Duration,
    /// The seed of requests that name none; otherwise each has its own.
    pub default_seed: Option<u64>,
    /// Whether models that can reason do so, where a request does not say.
    pub reasoning: Reasoning,
    /// Variables of the chat template, where a request does not say.
    pub chat_template_kwargs: serde_json::Map<String, serde_json::Value>,
}

/// Whether models that can reason do so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reasoning {
    /// They do.
    On,
    /// They do not.
    Off,
    /// As their chat template says.
    #[default]
    Auto,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            api_keys: Vec::new(),
            cors: false,
            lenient: false,
            done: true,
            max_body: 16 << 20,
            max_connections: 1024,
            io_timeout: Duration::from_secs(30),
            deadline: Duration::from_secs(600),
            grace: Duration::from_secs(30),
            default_seed: None,
            reasoning: Reasoning::Auto,
            chat_template_kwargs: serde_json::Map::new(),
        }
    }
}
