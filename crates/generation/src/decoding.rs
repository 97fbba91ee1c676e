//! Greedy decoding and sampling: one forward pass over the prompt, then one per token.

use std::time::Instant;

use transformers_modeling::PreTrainedModel;

use crate::guidance::Guidance;
use crate::output::{Outputs, TokenLogprob};
use crate::sequence::Sequence;
use crate::settings::Settings;
use crate::steps::Steps;
use crate::{CancelToken, FinishReason, GenerateError, Generated, Streamer, Timing};

/// A sequence with its end.
struct Row {
    sequence: Sequence,
    finished: Option<FinishReason>,
    new_len: usize,
    logprobs: Vec<TokenLogprob>,
}

/// All sequences of one call.
pub(crate) struct Batch<'a> {
    settings: &'a Settings,
    rows: Vec<Row>,
    outputs: Outputs,
    logprobs: Option<usize>,
}

impl<'a> Batch<'a> {
    pub fn new(settings: &'a Settings, sequences: Vec<Sequence>, logprobs: Option<usize>) -> Self {
        let row = |sequence| Row {
            sequence,
            finished: None,
            new_len: 0,
            logprobs: Vec::new(),
        };
        Self {
            settings,
            rows: sequences.into_iter().map(row).collect(),
            outputs: Outputs::new(settings),
            logprobs,
        }
    }

    pub fn run<M: PreTrainedModel + ?Sized>(
        mut self,
        steps: &mut Steps<'_, M>,
        mut guidance: Option<Guidance<'_, M>>,
        mut streamer: Option<&mut dyn Streamer>,
        cancel: &CancelToken,
        begin: Instant,
    ) -> Result<Generated, GenerateError> {
        if streamer.is_some() && self.rows.len() > 1 {
            let count = self.rows.len();
            return Err(GenerateError::StreamerNeedsOneSequence { count });
        }
        let mut timing = Timing::default();
        let prompt_len = self.rows[0].sequence.prompt_len;
        for step in 0.. {
            let sequences = self.rows.iter().map(|row| &row.sequence);
            let mut scores = steps.scores(sequences.clone())?;
            steps.record.keep();
            self.outputs.add_logits(&scores);
            let raw = self.logprobs.map(|_| scores.clone()).unwrap_or_default();
            if let Some(guidance) = &mut guidance {
                guidance.apply(sequences, &mut scores)?;
            }
            self.append(&mut scores, raw, step, streamer.as_deref_mut())?;
            if step == 0 {
                timing.prefill = begin.elapsed();
            }
            if cancel.is_cancelled() {
                self.finish_all(FinishReason::Cancelled);
            }
            if self.settings.is_late(begin) {
                self.finish_all(FinishReason::Time);
            }
            if self.rows.iter().all(|row| row.finished.is_some()) {
                timing.decode_steps = step;
                break;
            }
        }
        timing.decode = begin.elapsed() - timing.prefill;
        if let Some(streamer) = streamer {
            streamer.end().map_err(GenerateError::Streamer)?;
        }
        Ok(self.into_generated(prompt_len, timing))
    }

    /// Gives every row its next token; ended rows get padding. `raw`: the model's own scores, where they are wanted.
    fn append(
        &mut self,
        scores: &mut [Vec<f32>],
        mut raw: Vec<Vec<f32>>,
        step: usize,
        mut streamer: Option<&mut (dyn Streamer + '_)>,
    ) -> Result<(), GenerateError> {
        for (index, (row, scores)) in self.rows.iter_mut().zip(scores.iter_mut()).enumerate() {
            if row.finished.is_some() {
                row.sequence.ids.push(self.settings.pad);
                continue;
            }
            row.sequence.process(scores)?;
            let token = self.settings.sampler.choose(scores, index, step);
            row.finished = row.sequence.push(token, scores)?;
            row.new_len += 1;
            if let Some(top) = self.logprobs {
                let raw = std::mem::take(&mut raw[index]);
                let logprob = TokenLogprob::new(token, raw, top);
                if let Some(streamer) = streamer.as_deref_mut() {
                    let put = streamer.put_logprob(&logprob);
                    put.map_err(GenerateError::Streamer)?;
                }
                row.logprobs.push(logprob);
            }
            if let Some(streamer) = streamer.as_deref_mut() {
                streamer.put(token).map_err(GenerateError::Streamer)?;
            }
        }
        self.outputs.add_scores(scores);
        Ok(())
    }

    fn finish_all(&mut self, reason: FinishReason) {
        for row in &mut self.rows {
            row.finished.get_or_insert(reason);
        }
    }

    fn into_generated(self, prompt_len: usize, timing: Timing) -> Generated {
        let reason = |row: &Row| row.finished.unwrap_or(FinishReason::Length);
        let mut generated = Generated {
            finish_reasons: self.rows.iter().map(reason).collect(),
            new_lens: self.rows.iter().map(|row| row.new_len).collect(),
            scores: self.outputs.scores,
            logits: self.outputs.logits,
            prompt_len,
            timing,
            ..Generated::default()
        };
        for row in self.rows {
            generated.sequences.push(row.sequence.ids);
            if self.logprobs.is_some() {
                generated.logprobs.push(row.logprobs);
            }
        }
        generated
    }
}
