//! What was said, and the file that it is kept in.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::flags::Flags;
use crate::failure::Result;

/// The messages of a conversation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation(Vec<Value>);

impl Conversation {
    /// Reads what [`Self::save`] wrote; Python's files too.
    pub fn load(file: &Path) -> Result<Self> {
        let failed = |reason: String| format!("{}: {reason}", file.display());
        let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
        let value: Value =
            serde_json::from_str(&text).map_err(|error| failed(format!("not JSON: {error}")))?;
        let messages = value.get("chat_history").unwrap_or(&value).as_array();
        let is_message =
            |message: &Value| message["role"].is_string() && message["content"].is_string();
        let messages = messages.filter(|messages| messages.iter().all(is_message));
        let messages =
            messages.ok_or_else(|| failed("no conversation that was saved".to_owned()))?;
        Ok(Self(messages.clone()))
    }

    /// Writes the conversation and what it was held with. An existing file is replaced as a whole.
    pub fn save(
        &self,
        folder: &Path,
        name: Option<&str>,
        model: &str,
        flags: &Flags,
    ) -> Result<PathBuf> {
        let name = name.map_or_else(|| format!("{}_{}", plain(model), now()), plain);
        let settings: Map<String, Value> = flags
            .json()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let content = json!({"settings": settings, "model": model, "chat_history": self.0});
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let file = folder.join(format!("{name}.json"));
        let failed = |error: std::io::Error| format!("{}: {error}", file.display());
        let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        serde_json::to_writer_pretty(&mut temporary, &content)?;
        temporary
            .persist(&file)
            .map_err(|error| failed(error.error))?;
        Ok(file)
    }

    pub fn push(&mut self, role: &str, content: String) {
        self.0.push(json!({"role": role, "content": content}));
    }

    pub fn pop(&mut self) {
        self.0.pop();
    }

    /// Puts a system message first, in place of one that is there.
    pub fn set_system(&mut self, text: &str) {
        self.0.retain(|message| message["role"] != "system");
        self.0.insert(0, json!({"role": "system", "content": text}));
    }

    /// Forgets everything but the system message.
    pub fn clear(&mut self) {
        self.0.retain(|message| message["role"] == "system");
    }

    pub fn messages(&self) -> &[Value] {
        &self.0
    }

    /// One line each, as `role: content`.
    pub fn shown(&self) -> impl Iterator<Item = String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.0.iter().map(move |message| {
            format!("{}: {}", text(&message["role"]), text(&message["content"]))
        })
    }
}

/// A name that is a file's on every system.
fn plain(name: &str) -> String {
    let plain = |c: char| {
        if c.is_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().take(100).map(plain).collect();
    name.trim_start_matches('.')
        .trim_end_matches(".json")
        .to_owned()
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_conversation_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut conversation = Conversation::default();
        conversation.push("user", "Hi".to_owned());
        conversation.push("assistant", "Hello.".to_owned());
        conversation.set_system("Be brief.");
        let file = conversation
            .save(
                folder.path(),
                Some("../my talk.json"),
                "org/name",
                &Flags::default(),
            )
            .unwrap();
        assert_eq!(file, folder.path().join("_my_talk.json"));
        assert_eq!(Conversation::load(&file).unwrap(), conversation);
        conversation.clear();
        assert_eq!(conversation.messages().len(), 1);
        fs::write(&file, "{\"chat_history\": 3}").unwrap();
        assert!(Conversation::load(&file).is_err());
    }
}
