//! Classifier-free guidance (Sanchez et al. 2023): scores move away from what the model would say without the prompt, or
//! after a negative one.

use transformers_modeling::{ModelError, PreTrainedModel, Rows};

use crate::processors::log_softmax;
use crate::sequence::Sequence;
use crate::steps::Steps;
use crate::{GenerateError, Prompt};

/// The reference's `UnbatchedClassifierFreeGuidanceLogitsProcessor`: the model runs a second time beside itself.
pub(crate) struct Guidance<'m, M: ?Sized> {
    scale: f32,
    /// With a cache of its own.
    steps: Steps<'m, M>,
    /// What the second run begins with; `None`: with the last token of each prompt.
    negative: Option<Prompt>,
}

impl<'m, M: PreTrainedModel + ?Sized> Guidance<'m, M> {
    /// `batch`: how many prompts there are; `negative` is for all of them, or has one row for each.
    pub fn new(
        scale: f64,
        steps: Steps<'m, M>,
        negative: Option<Prompt>,
        batch: usize,
    ) -> Result<Self, GenerateError> {
        if let Some(negative) = &negative {
            let [rows, seq] = negative.input_ids.dims();
            if rows == 0 || seq == 0 {
                return Err(GenerateError::EmptyPrompt);
            }
            let mask = negative.attention_mask.as_ref().map(Rows::dims);
            if rows != 1 && rows != batch || mask.is_some_and(|mask| mask != [rows, seq]) {
                let error = ModelError::InputShape {
                    name: "negative_prompt",
                    found: mask.unwrap_or([rows, seq]),
                    expected: [batch, seq],
                };
                return Err(error.into());
            }
        }
        Ok(Self {
            scale: scale as f32,
            steps,
            negative,
        })
    }

    /// Moves the scores of `sequences`, `[rows][vocab]`, which become log-probabilities first.
    pub fn apply<'s>(
        &mut self,
        sequences: impl Iterator<Item = &'s Sequence>,
        scores: &mut [Vec<f32>],
    ) -> Result<(), GenerateError> {
        let rows: Vec<(Vec<u32>, Option<Vec<u32>>)> =
            sequences.map(|sequence| self.row(sequence)).collect();
        let len = rows.first().map_or(0, |(ids, _)| ids.len());
        self.steps.crop(len.saturating_sub(1));
        self.steps.renew(len);
        let cached = self.steps.cached();
        let ids: Vec<&[u32]> = rows.iter().map(|(ids, _)| &ids[cached..]).collect();
        let masks: Option<Vec<Vec<u32>>> = rows.iter().map(|(_, mask)| mask.clone()).collect();
        let mut without = self.steps.logits(&ids, masks.as_deref(), 1)?;
        for (with, without) in scores.iter_mut().zip(&mut without) {
            log_softmax(with);
            log_softmax(without);
            for (with, without) in with.iter_mut().zip(without) {
                *with = self.scale * (*with - *without) + *without;
            }
        }
        Ok(())
    }

    /// What the second run reads of a sequence, with its mask if there is one.
    fn row(&self, sequence: &Sequence) -> (Vec<u32>, Option<Vec<u32>>) {
        let new = sequence.new_ids();
        let Some(negative) = &self.negative else {
            let ids = &sequence.ids[sequence.prompt_len - 1..];
            return (ids.to_vec(), None);
        };
        let row = match negative.input_ids.dims()[0] {
            1 => 0,
            _ => sequence.prompt,
        };
        let mask = negative.attention_mask.as_ref().map(|mask| {
            let ones = std::iter::repeat_n(&1, new.len());
            mask.row(row).iter().chain(ones).copied().collect()
        });
        ([negative.input_ids.row(row), new].concat(), mask)
    }

    /// Goes on with these rows.
    pub fn select(&mut self, rows: &[usize]) {
        self.steps.select(rows);
    }
}
