//! Assisted decoding: drafts are cheap to make, and the model checks all tokens of one in a single pass (Leviathan et al.
//! 2023).
//!
//! A draft's token is kept where it is what the model would have chosen there, greedily or by the draw of that step. The
//! tokens are therefore those of unassisted decoding, whatever the drafts are; but with `assistant_ensemble_weight` the
//! assistant has a say in the choice.

use std::time::Instant;

use transformers_modeling::PreTrainedModel;

use crate::candidates::{CandidateGenerator, Draft};
use crate::guidance::Guidance;
use crate::output::{Outputs, TokenLogprob};
use crate::processors::softmax;
use crate::sequence::Sequence;
use crate::settings::Settings;
use crate::steps::Steps;
use crate::{CancelToken, FinishReason, GenerateError, Generated, Streamer, Timing};

/// The parts of the loop.
pub(crate) struct Assisted<'r, 'c, 'a> {
    pub settings: &'a Settings,
    pub sequence: Sequence,
    pub candidates: Box<dyn CandidateGenerator + 'c>,
    pub streamer: Option<&'r mut dyn Streamer>,
    pub logprobs: Option<usize>,
}

/// What is known after a pass.
#[derive(Default)]
struct Progress {
    outputs: Outputs,
    logprobs: Vec<TokenLogprob>,
    finished: Option<FinishReason>,
}

impl Assisted<'_, '_, '_> {
    pub fn run<M: PreTrainedModel + ?Sized>(
        mut self,
        steps: &mut Steps<'_, M>,
        mut guidance: Option<Guidance<'_, M>>,
        cancel: &CancelToken,
        begin: Instant,
    ) -> Result<Generated, GenerateError> {
        let mut timing = Timing::default();
        let mut progress = Progress {
            outputs: Outputs::new(self.settings),
            ..Progress::default()
        };
        while progress.finished.is_none() {
            let draft = self.draft(steps)?;
            let accepted = self.check(steps, guidance.as_mut(), &draft, &mut progress)?;
            let drafted = draft.ids.len();
            steps.record.keep_steps(accepted + 1, drafted - accepted);
            steps.crop(self.sequence.ids.len() - 1);
            self.candidates.update(accepted, drafted);
            if timing.prefill.is_zero() {
                timing.prefill = begin.elapsed();
            }
            if cancel.is_cancelled() {
                progress.finished.get_or_insert(FinishReason::Cancelled);
            }
            if self.settings.is_late(begin) {
                progress.finished.get_or_insert(FinishReason::Time);
            }
        }
        timing.decode = begin.elapsed() - timing.prefill;
        timing.decode_steps = self.sequence.new_len().saturating_sub(1);
        if let Some(streamer) = self.streamer {
            streamer.end().map_err(GenerateError::Streamer)?;
        }
        Ok(Generated {
            finish_reasons: progress.finished.into_iter().collect(),
            new_lens: vec![self.sequence.new_len()],
            prompt_len: self.sequence.prompt_len,
            scores: progress.outputs.scores,
            logits: progress.outputs.logits,
            logprobs: match self.logprobs {
                Some(_) => vec![progress.logprobs],
                None => Vec::new(),
            },
            sequences: vec![self.sequence.ids],
            timing,
            ..Generated::default()
        })
    }

    /// Candidates, of which one less than there is room for; none in a pass where they would change the rotation of
    /// what is before them.
    fn draft<M: PreTrainedModel + ?Sized>(
        &mut self,
        steps: &mut Steps<'_, M>,
    ) -> Result<Draft, GenerateError> {
        let len = self.sequence.ids.len();
        steps.renew(len);
        let room = self.settings.max_new_tokens - self.sequence.new_len();
        let mut draft = self.candidates.draft(&self.sequence)?;
        draft.ids.truncate(room.saturating_sub(1));
        if !steps.extends(len, len + draft.ids.len()) {
            draft.ids.clear();
        }
        Ok(draft)
    }

    /// Adds the tokens that the model chooses along `draft`, and one more; gives how many of them were the draft's.
    fn check<M: PreTrainedModel + ?Sized>(
        &mut self,
        steps: &mut Steps<'_, M>,
        mut guidance: Option<&mut Guidance<'_, M>>,
        draft: &Draft,
        progress: &mut Progress,
    ) -> Result<usize, GenerateError> {
        let ids = [&self.sequence.ids[steps.cached()..], &draft.ids].concat();
        let mask = (self.sequence.padding > 0).then(|| {
            let ones = std::iter::repeat_n(1, draft.ids.len());
            vec![self.sequence.mask().into_iter().chain(ones).collect()]
        });
        let logits = steps.logits(&[&ids], mask.as_deref(), draft.ids.len() + 1)?;
        for (accepted, scores) in logits.into_iter().enumerate() {
            let step = self.sequence.new_len();
            let mut scores = [scores];
            progress.outputs.add_logits(&scores);
            let raw = self.logprobs.map(|top| (top, scores[0].clone()));
            if let Some(guidance) = &mut guidance {
                guidance.apply(std::iter::once(&self.sequence), &mut scores)?;
            }
            self.sequence.process(&mut scores[0])?;
            let token = match draft.probs.get(accepted) {
                Some(probs) if accepted < draft.ids.len() => self.ensemble(&scores[0], probs, step),
                _ => self.settings.sampler.choose(&scores[0], 0, step),
            };
            progress.finished = self.sequence.push(token, &scores[0])?;
            progress.outputs.add_scores(&scores);
            if let Some((top, raw)) = raw {
                progress.logprobs.push(TokenLogprob::new(token, raw, top));
            }
            if let Some(streamer) = self.streamer.as_deref_mut() {
                streamer.put(token).map_err(GenerateError::Streamer)?;
            }
            if progress.finished.is_some() || draft.ids.get(accepted) != Some(&token) {
                return Ok(accepted);
            }
        }
        Ok(draft.ids.len())
    }

    /// The token by the model's probabilities mixed with those of the draft.
    fn ensemble(&self, scores: &[f32], draft: &[f32], step: usize) -> u32 {
        let weight = self.settings.assistant_ensemble_weight.unwrap_or(1.0);
        let pairs = softmax(scores).into_iter().zip(draft);
        let mixed = pairs.map(|(own, draft)| (weight * own + (1.0 - weight) * draft).ln());
        let mixed: Vec<f32> = mixed.collect();
        self.settings.sampler.choose(&mixed, 0, step)
    }
}
