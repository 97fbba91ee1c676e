//! How a text is changed before it is split: as the `tokenizers` crate does, but what a pattern replaces is found in linear
//! time, or with an error where it cannot be ([`Splitter`]).

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use tokenizers::{NormalizedString, NormalizerWrapper, Result};

use crate::checks;
use crate::splitter::{Splitter, TooManySteps};

/// A normaliser as a file has it, and its steps.
#[derive(Clone)]
pub(crate) struct Normalizer {
    written: NormalizerWrapper,
    steps: Arc<[Step]>,
}

enum Step {
    Replace { splitter: Splitter, content: String },
    Other(Box<NormalizerWrapper>),
}

impl From<NormalizerWrapper> for Normalizer {
    fn from(written: NormalizerWrapper) -> Self {
        let mut steps = Vec::new();
        add_steps(&written, &mut steps);
        Self {
            written,
            steps: steps.into(),
        }
    }
}

fn add_steps(written: &NormalizerWrapper, steps: &mut Vec<Step>) {
    let step = match written {
        NormalizerWrapper::Sequence(sequence) => {
            let parts = sequence.as_ref().iter();
            return parts.for_each(|part| add_steps(part, steps));
        }
        NormalizerWrapper::Replace(replace) => {
            // The crate keeps the pattern to itself; its JSON has it.
            let json = serde_json::to_value(replace).unwrap_or_default();
            Splitter::of_pattern(&json["pattern"]).map(|splitter| Step::Replace {
                splitter,
                content: replace.content.clone(),
            })
        }
        _ => None,
    };
    steps.push(step.unwrap_or_else(|| Step::Other(Box::new(written.clone()))));
}

/// What a normaliser does to a text of ASCII, where that is simple.
#[derive(Clone, Copy, Default)]
pub(crate) struct AsciiChanges {
    pub lowercase: bool,
    /// Spaces of every kind become a space, and other control characters are removed.
    pub clean: bool,
}

impl AsciiChanges {
    /// The changed text, as long as before. `None` where it is not ASCII, or something would be removed.
    pub fn apply(self, text: &str) -> Option<Cow<'_, str>> {
        if !text.is_ascii() {
            return None;
        }
        let mut text = Cow::Borrowed(text);
        if self.clean && text.bytes().any(|byte| byte.is_ascii_control()) {
            let is_removed = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
            if text.contains(is_removed) {
                return None;
            }
            text = text.replace(char::is_control, " ").into();
        }
        if self.lowercase && text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            text.to_mut().make_ascii_lowercase();
        }
        Some(text)
    }
}

impl Normalizer {
    /// `None` where it has steps that may move characters.
    pub fn on_ascii(&self) -> Option<AsciiChanges> {
        let mut changes = AsciiChanges::default();
        for step in &*self.steps {
            let Step::Other(step) = step else {
                return None;
            };
            match step.as_ref() {
                NormalizerWrapper::NFC(_)
                | NormalizerWrapper::NFD(_)
                | NormalizerWrapper::NFKC(_)
                | NormalizerWrapper::NFKD(_)
                | NormalizerWrapper::StripAccents(_) => {}
                NormalizerWrapper::Lowercase(_) => changes.lowercase = true,
                NormalizerWrapper::BertNormalizer(bert) => {
                    changes.lowercase |= bert.lowercase;
                    changes.clean |= bert.clean_text;
                }
                _ => return None,
            }
        }
        Some(changes)
    }
}

thread_local! {
    /// What stopped the last text of this thread: the pipeline of the crate goes on with the text as it was.
    static STOPPED: Cell<Option<TooManySteps>> = const { Cell::new(None) };
}

/// Fails if a normaliser was stopped while this ran.
pub(crate) fn unless_stopped<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    STOPPED.take();
    let result = run()?;
    match STOPPED.take() {
        Some(stopped) => Err(stopped.into()),
        None => Ok(result),
    }
}

impl tokenizers::Normalizer for Normalizer {
    fn normalize(&self, text: &mut NormalizedString) -> Result<()> {
        self.steps.iter().try_for_each(|step| match step {
            Step::Replace { splitter, content } => {
                let replaced = text.replace(splitter, content);
                if let Err(error) = &replaced {
                    STOPPED.set(error.downcast_ref::<TooManySteps>().cloned());
                }
                replaced
            }
            Step::Other(other) => tokenizers::Normalizer::normalize(other.as_ref(), text),
        })
    }
}

impl Serialize for Normalizer {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Normalizer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let json = Value::deserialize(deserializer)?;
        checks::normalizer(&json).map_err(D::Error::custom)?;
        let written: NormalizerWrapper = serde_json::from_value(json).map_err(D::Error::custom)?;
        Ok(written.into())
    }
}
