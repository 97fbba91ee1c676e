//! When a row ends.

use std::fmt::Debug;
use std::sync::Arc;

use dyn_clone::DynClone;
use transformers_tokenization::{DecodeStream, Tokenizer};

use crate::processors::{Step, softmax};
use crate::{FinishReason, GenerateError};

/// A reason of your own to end a row (the reference's `StoppingCriteria`).
///
/// ```
/// use transformers_generation::{Step, StoppingCriteria};
///
/// /// Ends after the second full stop.
/// #[derive(Debug, Clone)]
/// struct TwoSentences {
///     full_stop: u32,
/// }
///
/// impl StoppingCriteria for TwoSentences {
///     fn is_done(&mut self, step: &Step<'_>, _scores: &[f32]) -> bool {
///         step.new_ids().iter().filter(|id| **id == self.full_stop).count() == 2
///     }
/// }
/// ```
pub trait StoppingCriteria: DynClone + Debug + Send + Sync {
    /// Whether the row ends with its last token, which was chosen by `scores`, `[vocab]`, the processed ones.
    fn is_done(&mut self, step: &Step<'_>, scores: &[f32]) -> bool;
}

dyn_clone::clone_trait_object!(StoppingCriteria);

/// `ConfidenceCriteria`: a draft ends with a token that is less likely than this.
#[derive(Debug, Clone, Copy)]
pub struct ConfidenceCriteria(pub f32);

impl StoppingCriteria for ConfidenceCriteria {
    fn is_done(&mut self, step: &Step<'_>, scores: &[f32]) -> bool {
        let probs = softmax(scores);
        let last = step.ids.last().and_then(|id| probs.get(*id as usize));
        last.is_some_and(|prob| *prob < self.0)
    }
}

/// The stopping criteria of one row.
#[derive(Clone)]
pub(crate) struct RowStop {
    eos: Arc<[u32]>,
    max_new_tokens: usize,
    strings: Option<StopStrings>,
    custom: Vec<Box<dyn StoppingCriteria>>,
}

impl RowStop {
    pub fn new(
        eos: &[u32],
        max_new_tokens: usize,
        strings: Option<StopStrings>,
        custom: Vec<Box<dyn StoppingCriteria>>,
    ) -> Self {
        Self {
            eos: eos.into(),
            max_new_tokens,
            strings,
            custom,
        }
    }

    /// Whether the row ends with the last token of `step`.
    pub fn check(
        &mut self,
        step: &Step<'_>,
        scores: &[f32],
    ) -> Result<Option<FinishReason>, GenerateError> {
        let Some(&token) = step.ids.last() else {
            return Ok(None);
        };
        let mut custom = false;
        for criteria in &mut self.custom {
            custom |= criteria.is_done(step, scores);
        }
        let text = match &mut self.strings {
            Some(strings) => strings.found(token)?,
            None => false,
        };
        Ok(if self.eos.contains(&token) {
            Some(FinishReason::Eos)
        } else if text {
            Some(FinishReason::StopString)
        } else if step.new_ids().len() >= self.max_new_tokens {
            Some(FinishReason::Length)
        } else {
            custom.then_some(FinishReason::Criteria)
        })
    }
}

/// Strings that end a row as soon as its text contains one that ends in the new text; it stays in the text, as in the
/// reference. One may begin in the prompt.
#[derive(Clone)]
pub(crate) struct StopStrings {
    strings: Arc<[String]>,
    stream: DecodeStream,
    /// The end of the text, as long as the longest string may still need it.
    tail: String,
}

impl StopStrings {
    /// After the prompt `ids`.
    pub fn new(
        strings: &[String],
        tokenizer: &Tokenizer,
        ids: &[u32],
    ) -> Result<Self, GenerateError> {
        let longest = strings.iter().map(String::len).max().unwrap_or(0);
        // A token has a byte at least, but for those that are left out.
        let begin = ids.len().saturating_sub(longest + 8);
        let mut stop = Self {
            strings: strings.into(),
            stream: tokenizer.decode_stream(true),
            tail: String::new(),
        };
        for id in &ids[begin..] {
            stop.found(*id)?;
        }
        Ok(stop)
    }

    fn found(&mut self, token: u32) -> Result<bool, GenerateError> {
        let old = self.tail.len();
        if let Some(text) = self.stream.push(token)? {
            self.tail.push_str(&text);
        }
        let found = self.strings.iter().any(|stop| {
            let from = (old + 1).saturating_sub(stop.len());
            let ends = self.tail.match_indices(stop.as_str());
            self.tail.len() > old && ends.into_iter().any(|(at, _)| at >= from)
        });
        let longest = self.strings.iter().map(String::len).max().unwrap_or(0);
        shorten(&mut self.tail, longest);
        Ok(found)
    }
}

/// Leaves the last `len` bytes, and where they begin within a character the whole of it.
fn shorten(text: &mut String, len: usize) {
    let mut cut = text.len().saturating_sub(len);
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    text.drain(..cut);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsure_token_ends_a_draft() {
        let scores = [0.9f32.ln(), 0.1f32.ln()];
        let is_done = |id: u32| {
            let step = Step {
                ids: &[0, id],
                prompt_len: 1,
                prompt: 0,
            };
            ConfidenceCriteria(0.4).is_done(&step, &scores)
        };
        assert_eq!((is_done(0), is_done(1)), (false, true));
    }

    #[test]
    fn text_is_shortened_between_characters() {
        let mut text = "aäb".to_owned();
        shorten(&mut text, 2);
        assert_eq!(text, "äb");
    }
}
