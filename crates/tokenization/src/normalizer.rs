//! How a text is changed before it is split: as the `tokenizers` crate does, but what a pattern replaces is found in linear
//! time, or with an error where it cannot be ([`Splitter`]).

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
