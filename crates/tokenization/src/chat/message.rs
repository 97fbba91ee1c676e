//! One message of a conversation.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::TokenizationError;

/// One message of a conversation: a JSON object that the chat template reads. Templates expect at least `role` and
/// `content`; any other key (`tool_calls`, `name`, …) is passed on.
///
/// ```
/// use transformers_tokenization::ChatMessage;
///
/// let message = ChatMessage::user("Hello!").with("name", "Ada");
/// assert_eq!(message.role(), Some("user"));
/// assert_eq!(message.get("name").and_then(|name| name.as_str()), Some("Ada"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChatMessage(Map<String, Value>);

impl ChatMessage {
    /// A message of this role. The content is a text, or a list of parts.
    pub fn new(role: impl Into<String>, content: impl Into<Value>) -> Self {
        Self::default()
            .with("role", role.into())
            .with("content", content)
    }

    /// What frames the conversation.
    pub fn system(content: impl Into<Value>) -> Self {
        Self::new("system", content)
    }

    /// What the user says.
    pub fn user(content: impl Into<Value>) -> Self {
        Self::new("user", content)
    }

    /// What the model says.
    pub fn assistant(content: impl Into<Value>) -> Self {
        Self::new("assistant", content)
    }

    /// What a tool answered.
    pub fn tool(content: impl Into<Value>) -> Self {
        Self::new("tool", content)
    }

    /// Sets a further key.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }

    /// The role, if it is a text.
    pub fn role(&self) -> Option<&str> {
        self.get("role")?.as_str()
    }

    /// The content, if it is a text.
    pub fn content(&self) -> Option<&str> {
        self.get("content")?.as_str()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// The message as a JSON object.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl From<Map<String, Value>> for ChatMessage {
    fn from(map: Map<String, Value>) -> Self {
        Self(map)
    }
}

impl From<ChatMessage> for Value {
    fn from(message: ChatMessage) -> Self {
        Self::Object(message.0)
    }
}

impl TryFrom<Value> for ChatMessage {
    type Error = TokenizationError;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let found = match value {
            Value::Object(map) => return Ok(Self(map)),
            Value::Null => "null",
            Value::Bool(_) => "a truth value",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
        };
        Err(TokenizationError::MessageNotAnObject { found })
    }
}
