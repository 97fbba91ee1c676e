//! Assisted decoding: drafts are cheap to make, and the model checks all tokens of one in a single pass (Leviathan et al.
//! 2023).
//!
//! A draft's token is kept where it is what the model would have chosen there, greedily or by the draw of that step. The
//! tokens are therefore those of unassisted decoding, whatever the drafts are.

use std::time::Instant;

use transformers_modeling::PreTrainedModel;

use crate::candidates::CandidateGenerator;
use crate::output::{Outputs, TokenLogprob};
use crate::sequence::{Sequence, Steps};
use crate::settings::Settings;
use crate::{CancelToken, FinishReason, GenerateError, Generated, Streamer, Timing};

/// The parts of the loop.
pub(crate) struct Assisted<'r, 'a> {
    pub settings: &'a Settings,
    pub sequence: Sequence<'a>,
    pub candidates: Box<dyn CandidateGenerator + 'r>,
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

impl Assisted<'_, '_> {
    pub fn run<M: PreTrainedModel + ?Sized>(
        mut self,
        steps: &mut Steps<'_, M>,
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
            let accepted = self.check(steps, &draft, &mut progress)?;
            steps.crop(self.sequence.ids.len() - 1);
            self.candidates.update(accepted, draft.len());
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
    ) -> Result<Vec<u32>, GenerateError> {
        let len = self.sequence.ids.len();
        steps.renew(len);
        let room = self.settings.max_new_tokens - self.sequence.new_len();
        let mut draft = self.candidates.draft(&self.sequence.ids)?;
        draft.truncate(room.saturating_sub(1));
        if !steps.extends_to(len + draft.len()) {
            draft.clear();
        }
        Ok(draft)
    }

    /// Adds the tokens that the model chooses along `draft`, and one more; gives how many of them were the draft's.
    fn check<M: PreTrainedModel + ?Sized>(
        &mut self,
        steps: &mut Steps<'_, M>,
        draft: &[u32],
        progress: &mut Progress,
    ) -> Result<usize, GenerateError> {
        let ids = [&self.sequence.ids[steps.cached()..], draft].concat();
        let mut mask = self.sequence.mask();
        mask.resize(mask.len() + draft.len(), 1);
        let logits = steps.logits(&[&ids], Some(&[mask]), draft.len() + 1)?;
        for (accepted, mut scores) in logits.into_iter().enumerate() {
            let step = self.sequence.new_len();
            progress.outputs.add_logits(std::slice::from_ref(&scores));
            let raw = self.logprobs.map(|top| (top, scores.clone()));
            self.sequence.process(&mut scores)?;
            let token = self.settings.sampler.choose(&scores, 0, step);
            progress.outputs.add_scores(&[scores]);
            if let Some((top, raw)) = raw {
                progress.logprobs.push(TokenLogprob::new(token, raw, top));
            }
            progress.finished = self.sequence.push(token)?;
            if let Some(streamer) = self.streamer.as_deref_mut() {
                streamer.put(token).map_err(GenerateError::Streamer)?;
            }
            if progress.finished.is_some() || draft.get(accepted) != Some(&token) {
                return Ok(accepted);
            }
        }
        Ok(draft.len())
    }
}
