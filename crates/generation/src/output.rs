//! What a generation gives.

use std::time::Duration;

use burn::tensor::Tensor;
use transformers_modeling::nn::CacheState;

use crate::processors::log_softmax;
use crate::sampler::highest;
use crate::settings::Settings;

/// Why a sequence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// An eos token.
    Eos,
    /// The limit on new tokens, or the end of the context.
    Length,
    /// A stop string.
    StopString,
    /// A stopping criterion of the caller.
    Criteria,
    /// `max_time`.
    Time,
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
///
/// It has the fields of the reference's four output classes, which [`Self::into_output`] makes of it; those that were not
/// asked for, or that the mode does not have, are empty.
#[derive(Debug, Clone, Default)]
pub struct Generated {
    /// Prompt and new tokens, `[batch * num_return_sequences]` rows; ended rows are filled up with the pad token.
    pub sequences: Vec<Vec<u32>>,
    /// Why each row ended.
    pub finish_reasons: Vec<FinishReason>,
    /// Where the new tokens begin.
    pub prompt_len: usize,
    /// How many tokens each row got, its eos included and the filling not.
    pub new_lens: Vec<usize>,
    /// With `output_scores`: the processed scores, `[step][row][vocab]`; of beams, log-probabilities.
    pub scores: Vec<Vec<Vec<f32>>>,
    /// With `output_logits`: the model's own, `[step][row][vocab]`.
    pub logits: Vec<Vec<Vec<f32>>>,
    /// With [`crate::GenerateOptions::logprobs`]: `[row][new token]`.
    pub logprobs: Vec<Vec<TokenLogprob>>,
    /// Of beams: each row's sum of log-probabilities over a power of its length.
    pub sequences_scores: Vec<f32>,
    /// Of beams: the row in which each new token was computed.
    pub beam_indices: Vec<Vec<usize>>,
    /// With `output_hidden_states`: those of the decoder, `[step][layer]` of `[rows, tokens of the step, hidden]`. The
    /// first step has the tokens of the prompt.
    pub hidden_states: Vec<Vec<Tensor<3>>>,
    /// With `output_hidden_states`, of encoder–decoders: the encoder's, `[layer]` of `[rows, seq, hidden]`.
    pub encoder_hidden_states: Vec<Tensor<3>>,
    /// With `output_attentions`: the decoder's weights of attention, `[step][layer]` of
    /// `[rows, heads, tokens of the step, keys]`. Layers without attention have none.
    pub attentions: Vec<Vec<Tensor<4>>>,
    /// With `output_attentions`, of encoder–decoders: to the encoder's states, `[step][layer]` of
    /// `[rows, heads, tokens of the step, seq]`.
    pub cross_attentions: Vec<Vec<Tensor<4>>>,
    /// With `output_attentions`, of encoder–decoders: the encoder's, `[layer]` of `[rows, heads, seq, seq]`.
    pub encoder_attentions: Vec<Tensor<4>>,
    /// With `return_dict_in_generate`: what the cache holds of the rows that were computed.
    pub past_key_values: Option<CacheState>,
    /// Whether the model has an encoder.
    pub is_encoder_decoder: bool,
    /// How long it took.
    pub timing: Timing,
}

/// The log-probability of a token that was chosen, by the model alone: before any processor.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub token: u32,
    /// Its log-probability in nats.
    pub logprob: f32,
    /// The likeliest tokens with theirs, the likeliest first.
    pub top: Vec<(u32, f32)>,
}

impl TokenLogprob {
    /// `scores`: the model's logits, `[vocab]`; `top`: how many of the likeliest to keep.
    pub(crate) fn new(token: u32, mut scores: Vec<f32>, top: usize) -> Self {
        log_softmax(&mut scores);
        let likeliest = highest(&scores, top).into_iter();
        Self {
            token,
            logprob: scores[token as usize],
            top: likeliest.map(|id| (id as u32, scores[id])).collect(),
        }
    }
}

/// What is kept of every step, if it was asked for.
#[derive(Default)]
pub(crate) struct Outputs {
    keeps_scores: bool,
    keeps_logits: bool,
    pub scores: Vec<Vec<Vec<f32>>>,
    pub logits: Vec<Vec<Vec<f32>>>,
}

impl Outputs {
    pub fn new(settings: &Settings) -> Self {
        Self {
            keeps_scores: settings.output_scores,
            keeps_logits: settings.output_logits,
            ..Self::default()
        }
    }

    pub fn add_logits(&mut self, logits: &[Vec<f32>]) {
        if self.keeps_logits {
            self.logits.push(logits.to_vec());
        }
    }

    pub fn add_scores(&mut self, scores: &[Vec<f32>]) {
        if self.keeps_scores {
            self.scores.push(scores.to_vec());
        }
    }
}

impl Generated {
    /// The score of every new token in the step that chose it, `[row][new token]` (`compute_transition_scores`);
    /// `normalize`: as log-probabilities. Empty without `output_scores`.
    ///
    /// The sum of those of a beam, over its length to the power of `length_penalty`, is its `sequences_scores`.
    pub fn transition_scores(&self, normalize: bool) -> Vec<Vec<f32>> {
        if self.scores.is_empty() {
            return Vec::new();
        }
        let row = |row: usize| {
            let tokens = self.new_tokens(row).iter().enumerate();
            let score = |(step, token): (usize, &u32)| {
                let beam = self.beam_indices.get(row).map_or(row, |beams| beams[step]);
                let mut scores = std::borrow::Cow::from(&self.scores[step][beam]);
                if normalize {
                    log_softmax(scores.to_mut());
                }
                scores[*token as usize]
            };
            tokens.map(score).collect()
        };
        (0..self.sequences.len()).map(row).collect()
    }

    /// The new tokens of row `index`, without the filling.
    pub fn new_tokens(&self, index: usize) -> &[u32] {
        &self.sequences[index][self.prompt_len..self.prompt_len + self.new_lens[index]]
    }
}
