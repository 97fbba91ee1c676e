//! What a generation gives.

use std::time::Duration;

/// Why a sequence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// An eos token.
    Eos,
    /// The limit on new tokens, or the end of the context.
    Length,
    /// A stop string.
    StopString,
    /// The cancel token.
    Cancelled,
}

/// How long the two phases took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// From the call to the first token.
    pub prefill: Duration,
    /// From the first token to the end.
    pub decode: Duration,
    /// Tokens of one row of the prompt.
    pub prompt_tokens: usize,
    /// Decoding steps after the first token.
    pub decode_steps: usize,
}

impl Timing {
    /// Prompt tokens per second of one row.
    pub fn prefill_rate(&self) -> f64 {
        rate(self.prompt_tokens, self.prefill)
    }

    /// Tokens per second and row after the first.
    pub fn decode_rate(&self) -> f64 {
        rate(self.decode_steps, self.decode)
    }
}

fn rate(count: usize, time: Duration) -> f64 {
    match time.is_zero() {
        true => 0.0,
        false => count as f64 / time.as_secs_f64(),
    }
}

/// The sequences of a generation, the prompt included; of an encoder–decoder that is the decoder's first token.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// Prompt and new tokens, `[batch * num_return_sequences]` rows; ended rows are filled up with the pad token.
    pub sequences: Vec<Vec<u32>>,
    /// Why each row ended.
    pub finish_reasons: Vec<FinishReason>,
    /// Where the new tokens begin.
    pub prompt_len: usize,
    /// How many tokens each row got, its eos included and the filling not.
    pub new_lens: Vec<usize>,
    /// How long it took.
    pub timing: Timing,
}

impl Generated {
    /// The new tokens of row `index`, without the filling.
    pub fn new_tokens(&self, index: usize) -> &[u32] {
        &self.sequences[index][self.prompt_len..self.prompt_len + self.new_lens[index]]
    }
}
