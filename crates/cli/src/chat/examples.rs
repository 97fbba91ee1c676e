//! Messages to try, by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::failure::Result;

/// Messages by name.
#[derive(Debug)]
pub struct Examples(BTreeMap<String, String>);

impl Examples {
    /// Those of a file, a JSON object of names and texts (or, as Python's, of names and objects with `text`); without one,
    /// a few of ours.
    pub fn new(file: Option<&Path>) -> Result<Self> {
        let Some(file) = file else {
            return Ok(Self::built_in());
        };
        let failed = |reason: &str| format!("{}: {reason}", file.display());
        let text = fs::read_to_string(file).map_err(|error| failed(&error.to_string()))?;
        let examples: BTreeMap<String, Value> = serde_json::from_str(&text)
            .map_err(|error| failed(&format!("not a JSON object: {error}")))?;
        let text = |(name, value): (String, Value)| {
            let text = value.as_str().or(value["text"].as_str()).map(str::to_owned);
            Some((name, text?))
        };
        let examples = examples.into_iter().map(text).collect::<Option<_>>();
        Ok(Self(
            examples.ok_or_else(|| failed("an example is no text"))?,
        ))
    }

    fn built_in() -> Self {
        let examples = [
            ("birds", "How do migrating birds find their way?"),
            (
                "code",
                "Write a function in Rust that tells whether a number is prime.",
            ),
            ("haiku", "Write a haiku about rain."),
            (
                "table",
                "Compare tea and coffee in a table with three rows.",
            ),
        ];
        Self(
            examples
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
                .into(),
        )
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn names(&self) -> String {
        let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        names.join(", ")
    }
}
