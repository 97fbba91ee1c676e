//! Generation settings as a user types them: `name=value`.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::failure::Result;

/// Fields of a generation config.
#[derive(Debug, Clone, Default)]
pub struct Flags(Map<String, Value>);

impl Flags {
    /// Takes the fields of a file, such as `generation_config.json`.
    pub fn read(&mut self, file: &Path) -> Result<()> {
        let failed = |reason: String| format!("{}: {reason}", file.display());
        let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
        let fields: Map<String, Value> = serde_json::from_str(&text)
            .map_err(|error| failed(format!("not a JSON object: {error}")))?;
        self.0.extend(fields);
        Ok(())
    }

    /// Takes `name=value` of each; all or, with a reason, none.
    pub fn set_all(&mut self, flags: &[String]) -> std::result::Result<(), String> {
        let mut fields = self.0.clone();
        for flag in flags {
            let pair = flag
                .split_once('=')
                .filter(|(name, _)| !name.trim().is_empty());
            let (name, text) = pair.ok_or_else(|| format!("`{flag}` is not name=value"))?;
            fields.insert(name.trim().to_owned(), value(text.trim()));
        }
        self.0 = fields;
        Ok(())
    }

    /// As requests have them; `None` where there are none.
    pub fn json(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| Value::from(self.0.clone()).to_string())
    }

    /// One line each.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, value)| format!("{name}={value}"))
    }
}

/// JSON where it is, Python's words for it, and a text otherwise.
fn value(text: &str) -> Value {
    match text {
        "True" => true.into(),
        "False" => false.into(),
        "None" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_have_types() {
        let mut flags = Flags::default();
        let given = [
            "do_sample=True",
            "max_new_tokens=5",
            "temperature=0.7",
            "eos_token_id=[1,2]",
            "name=a b",
        ];
        flags.set_all(&given.map(str::to_owned)).unwrap();
        assert_eq!(
            flags.json().unwrap(),
            r#"{"do_sample":true,"max_new_tokens":5,"temperature":0.7,"eos_token_id":[1,2],"name":"a b"}"#
        );
        let refused = flags.set_all(&["top_k=1".to_owned(), "nonsense".to_owned()]);
        assert!(refused.unwrap_err().contains("nonsense"));
        assert!(!flags.json().unwrap().contains("top_k"));
    }
}
