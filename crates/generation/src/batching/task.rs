//! One sequence in an engine.

use std::cmp::Reverse;
use std::sync::Arc;

use transformers_modeling::PreTrainedModel;

use super::blocks::{BlockPool, ROOT};
use super::request::{GeneratedSequence, RequestId};
use crate::output::TokenLogprob;
use crate::sequence::Sequence;
use crate::settings::Settings;
use crate::steps::Steps;
use crate::{FinishReason, GenerateError};

/// Who is served first: by priority, then by arrival.
pub(super) type Order = (Reverse<i32>, u64);

pub(super) struct Task<'m> {
    pub order: Order,
    pub request: RequestId,
    /// Which of the request's sequences.
    pub index: usize,
    pub row: Sequence,
    pub settings: Arc<Settings>,
    pub logprobs: Option<usize>,
    pub record: Vec<TokenLogprob>,
    /// How many tokens the cache holds.
    pub computed: usize,
    /// How many more this step computes.
    pub planned: usize,
    pub blocks: Vec<u32>,
    /// The links of the first blocks, those that are published or were found so.
    pub links: Vec<u64>,
    /// Its own cache, where there are no blocks.
    pub slot: Option<Steps<'m, dyn PreTrainedModel + 'm>>,
}

/// A token that a sequence got.
pub(super) struct Chosen {
    pub token: u32,
    pub logprob: Option<TokenLogprob>,
    pub end: Option<FinishReason>,
}

impl Task<'_> {
    pub fn len(&self) -> usize {
        self.row.ids.len()
    }

    /// Tokens that the cache does not hold.
    pub fn left(&self) -> usize {
        self.len() - self.computed
    }

    /// Gives back everything; what was computed is to be computed again.
    pub fn release(&mut self, pool: &mut BlockPool) {
        // The end of a sequence is needed again less than its beginning: it is left first.
        while let Some(block) = self.blocks.pop() {
            pool.release(block);
        }
        (self.computed, self.planned) = (0, 0);
        self.links.clear();
        self.slot = None;
    }

    /// Makes the full blocks of what is computed with this step findable for others.
    pub fn publish(&mut self, pool: &mut BlockPool, size: usize) {
        let full = (self.computed + self.planned) / size;
        for index in self.links.len()..full {
            let tokens = &self.row.ids[index * size..(index + 1) * size];
            let before = self.links.last().copied().unwrap_or(ROOT);
            let link = pool.publish(self.blocks[index], before, tokens);
            self.links.push(link);
        }
    }

    /// The length that rotations go by, of each planned token: that of the pass which computed it in a generation of its
    /// own.
    pub fn lengths(&self, changes_beyond: Option<usize>) -> impl Iterator<Item = u32> {
        let (len, prompt) = (self.len(), self.row.prompt_len);
        let changed = changes_beyond.is_some_and(|limit| len > limit);
        let planned = self.computed..self.computed + self.planned;
        planned.map(move |position| match changed {
            true => len as u32,
            false => prompt.max(position + 1) as u32,
        })
    }

    /// Chooses the next token by the model's scores.
    pub fn choose(&mut self, scores: &mut [f32]) -> Result<Chosen, GenerateError> {
        let raw = self.logprobs.map(|top| (top, scores.to_vec()));
        let step = self.row.new_len();
        self.row.process(scores)?;
        let token = self.settings.sampler.choose(scores, self.index, step);
        let end = self.row.push(token, scores)?;
        let logprob = raw.map(|(top, raw)| TokenLogprob::new(token, raw, top));
        self.record.extend(logprob.clone());
        Ok(Chosen {
            token,
            logprob,
            end,
        })
    }

    /// What it has generated.
    pub fn into_sequence(self, finish_reason: Option<FinishReason>) -> GeneratedSequence {
        GeneratedSequence {
            generated_tokens: self.row.ids[self.row.prompt_len..].to_vec(),
            finish_reason,
            logprobs: self.record,
        }
    }
}
