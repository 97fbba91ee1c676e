//! When a row ends.

use transformers_tokenization::{DecodeStream, Tokenizer};

use crate::{FinishReason, GenerateError};

/// The stopping criteria of one row.
#[derive(Clone)]
pub(crate) struct RowStop<'a> {
    eos: &'a [u32],
    max_new_tokens: usize,
    strings: Option<StopStrings<'a>>,
}

impl<'a> RowStop<'a> {
    pub fn new(eos: &'a [u32], max_new_tokens: usize, strings: Option<StopStrings<'a>>) -> Self {
        Self {
            eos,
            max_new_tokens,
            strings,
        }
    }

    /// Whether the row ends with `token`, its `count`th new one.
    pub fn check(
        &mut self,
        token: u32,
        count: usize,
    ) -> Result<Option<FinishReason>, GenerateError> {
        if self.eos.contains(&token) {
            return Ok(Some(FinishReason::Eos));
        }
        if let Some(strings) = &mut self.strings
            && strings.found(token)?
        {
            return Ok(Some(FinishReason::StopString));
        }
        Ok((count >= self.max_new_tokens).then_some(FinishReason::Length))
    }
}

/// Strings that end a row as soon as its new text contains one; it stays in the text, as in the reference.
#[derive(Clone)]
pub(crate) struct StopStrings<'a> {
    strings: &'a [String],
    stream: DecodeStream,
    /// The end of the text, as long as the longest string may still need it.
    tail: String,
}

impl<'a> StopStrings<'a> {
    pub fn new(strings: &'a [String], tokenizer: &'a Tokenizer) -> Self {
        Self {
            strings,
            stream: tokenizer.decode_stream(true),
            tail: String::new(),
        }
    }

    fn found(&mut self, token: u32) -> Result<bool, GenerateError> {
        if let Some(text) = self.stream.push(token)? {
            self.tail.push_str(&text);
        }
        let found = self
            .strings
            .iter()
            .any(|stop| self.tail.contains(stop.as_str()));
        let longest = self.strings.iter().map(String::len).max().unwrap_or(0);
        let mut cut = self.tail.len().saturating_sub(longest);
        while !self.tail.is_char_boundary(cut) {
            cut -= 1;
        }
        self.tail.drain(..cut);
        Ok(found)
    }
}
