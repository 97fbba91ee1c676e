//! Messages to try, by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::failure::Result;

/// Messages by name.
#[derive(Debug)]
pub struct Examples(BTreeMap<String, String>);

/// An example as files have it.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text, or a mapping with `text`")]
enum Example {
    Text(String),
    Object { text: String },
}

impl Examples {
    /// Those of a file, a YAML mapping (or a JSON object) of names to texts, or, as Python's, to mappings with `text`; without
    /// one, a few of ours.
    pub fn new(file: Option<&Path>) -> Result<Self> {
        let Some(file) = file else {
            return Ok(Self::built_in());
        };
        let failed = |reason: String| format!("{}: {reason}", file.display());
        let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
        let examples: BTreeMap<String, Example> =
            serde_saphyr::from_str(&text).map_err(|error| {
                let error = error.to_string();
                let reason = error.lines().next().unwrap_or_default();
                failed(format!("not a YAML mapping of names to examples: {reason}"))
            })?;
        let text = |example| match example {
            Example::Text(text) | Example::Object { text } => text,
        };
        let examples = examples.into_iter();
        let examples = examples.map(|(name, example)| (name, text(example)));
        Ok(Self(examples.collect()))
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
