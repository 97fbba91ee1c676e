//! Beam search and beam sampling: of every prompt the likeliest sequences go on, side by side.
//!
//! As the reference's `_beam_search`: more candidates than beams are kept at each step, so that as many go on as end, and
//! what has ended competes by its score over a power of its length.

use std::time::Instant;

use transformers_config::{EarlyStopping, Never};
use transformers_modeling::PreTrainedModel;

use crate::guidance::Guidance;
use crate::output::{Outputs, TokenLogprob};
use crate::processors::log_softmax;
use crate::sequence::Sequence;
use crate::settings::Settings;
use crate::steps::Steps;
use crate::{CancelToken, FinishReason, GenerateError, Generated, Timing};

/// Less than any score of a beam that counts.
const OUT: f32 = -1e9;

/// A sequence that goes on.
#[derive(Clone)]
struct Beam {
    sequence: Sequence,
    /// Sum of log-probabilities.
    score: f32,
    /// The row of the batch that each new token was computed in.
    rows: Vec<usize>,
    /// Of its tokens, if they are wanted.
    logprobs: Vec<TokenLogprob>,
}

/// A beam with one more token.
struct Child {
    beam: Beam,
    finished: Option<FinishReason>,
    /// The beam that it comes from, of those of the prompt.
    parent: usize,
}

/// A sequence that has ended, or is the best so far where none has.
struct Hypothesis {
    ids: Vec<u32>,
    score: f32,
    rows: Vec<usize>,
    logprobs: Vec<TokenLogprob>,
    finished: Option<FinishReason>,
}

/// A beam and a token that may follow.
struct Candidate {
    /// The beam, of those of the prompt.
    beam: usize,
    token: u32,
    score: f32,
}

/// The beams of one prompt.
struct Search {
    running: Vec<Beam>,
    best: Vec<Hypothesis>,
    /// Whether what runs may still be better than what has ended.
    improvable: bool,
    /// Whether anything of the last step goes on.
    continues: bool,
}

/// The beams of one call.
pub(crate) struct BeamSearch<'a> {
    settings: &'a Settings,
    prompts: Vec<Search>,
    prompt_len: usize,
    logprobs: Option<usize>,
}

impl<'a> BeamSearch<'a> {
    /// `sequences`: `num_beams` equal ones for each prompt.
    pub fn new(settings: &'a Settings, sequences: Vec<Sequence>, logprobs: Option<usize>) -> Self {
        let prompt_len = sequences[0].prompt_len;
        let search = |sequences: &[Sequence]| Search {
            running: sequences.iter().cloned().enumerate().map(first).collect(),
            best: sequences.iter().map(nothing).collect(),
            improvable: true,
            continues: true,
        };
        Self {
            settings,
            prompts: sequences.chunks(settings.num_beams).map(search).collect(),
            prompt_len,
            logprobs,
        }
    }

    pub fn run<M: PreTrainedModel + ?Sized>(
        mut self,
        steps: &mut Steps<'_, M>,
        mut guidance: Option<Guidance<'_, M>>,
        cancel: &CancelToken,
        begin: Instant,
    ) -> Result<Generated, GenerateError> {
        let mut timing = Timing::default();
        let mut outputs = Outputs::new(self.settings);
        for step in 0.. {
            let beams = self.prompts.iter().flat_map(|search| &search.running);
            let sequences = beams.map(|beam| &beam.sequence);
            let mut scores = steps.scores(sequences.clone())?;
            steps.record.keep();
            outputs.add_logits(&scores);
            let raw = self.logprobs.map(|_| scores.clone()).unwrap_or_default();
            scores.iter_mut().for_each(|scores| log_softmax(scores));
            if let Some(guidance) = &mut guidance {
                guidance.apply(sequences, &mut scores)?;
            }
            let interrupted = match cancel.is_cancelled() {
                true => Some(FinishReason::Cancelled),
                false => (self.settings.is_late(begin)).then_some(FinishReason::Time),
            };
            let beams = self.settings.num_beams;
            let mut rows = Vec::new();
            for (index, search) in self.prompts.iter_mut().enumerate() {
                let scores = &mut scores[index * beams..][..beams];
                let raw = raw.get(index * beams..).unwrap_or_default();
                let wanted = self.logprobs.map(|top| (top, raw));
                let parents = search.step(self.settings, scores, wanted, index, interrupted)?;
                rows.extend(parents.into_iter().map(|beam| index * beams + beam));
            }
            outputs.add_scores(&scores);
            if step == 0 {
                timing.prefill = begin.elapsed();
            }
            if self.is_done() {
                timing.decode_steps = step;
                break;
            }
            steps.select(&rows);
            if let Some(guidance) = &mut guidance {
                guidance.select(&rows);
            }
        }
        timing.decode = begin.elapsed() - timing.prefill;
        Ok(self.into_generated(outputs, timing))
    }

    fn is_done(&self) -> bool {
        let full = |search: &Search| search.best.iter().all(|best| best.finished.is_some());
        let enough = self.settings.early_stopping == EarlyStopping::WhenEnough(true)
            && self.prompts.iter().all(full);
        let improvable = self.prompts.iter().any(|search| search.improvable);
        let continues = self.prompts.iter().any(|search| search.continues);
        enough || !improvable || !continues
    }

    fn into_generated(self, outputs: Outputs, timing: Timing) -> Generated {
        let returned = self.settings.num_return_sequences;
        let best = self.prompts.into_iter();
        let best = best.flat_map(|search| search.best.into_iter().take(returned));
        let mut generated = Generated {
            prompt_len: self.prompt_len,
            scores: outputs.scores,
            logits: outputs.logits,
            timing,
            ..Generated::default()
        };
        for best in best {
            generated.new_lens.push(best.rows.len());
            generated.sequences.push(best.ids);
            generated.sequences_scores.push(best.score);
            generated.beam_indices.push(best.rows);
            if self.logprobs.is_some() {
                generated.logprobs.push(best.logprobs);
            }
            let reason = best.finished.unwrap_or(FinishReason::Length);
            generated.finish_reasons.push(reason);
        }
        let longest = generated.sequences.iter().map(Vec::len).max().unwrap_or(0);
        for sequence in &mut generated.sequences {
            sequence.resize(longest, self.settings.pad);
        }
        generated
    }
}

/// At first all beams are the same: only one counts.
fn first((index, sequence): (usize, Sequence)) -> Beam {
    Beam {
        sequence,
        score: if index == 0 { 0.0 } else { OUT },
        rows: Vec::new(),
        logprobs: Vec::new(),
    }
}

fn nothing(sequence: &Sequence) -> Hypothesis {
    Hypothesis {
        ids: sequence.ids.clone(),
        score: OUT,
        rows: Vec::new(),
        logprobs: Vec::new(),
        finished: None,
    }
}

impl Search {
    /// One token further; gives the beams that those which go on come from. `scores`: log-probabilities; `raw`: how many
    /// of the likeliest tokens to keep, and the model's own scores, where they are wanted; `interrupted`: everything ends
    /// here.
    fn step(
        &mut self,
        settings: &Settings,
        scores: &mut [Vec<f32>],
        raw: Option<(usize, &[Vec<f32>])>,
        prompt: usize,
        interrupted: Option<FinishReason>,
    ) -> Result<Vec<usize>, GenerateError> {
        let mut dead = None;
        for (beam, scores) in self.running.iter_mut().zip(scores.iter_mut()) {
            let alive = beam.score > f32::NEG_INFINITY;
            match beam.sequence.process(scores) {
                Ok(()) if alive => {}
                // Where few tokens are allowed, beams are filled up with others; those have no score.
                Ok(()) | Err(GenerateError::NothingAllowed { .. }) => {
                    scores.fill(f32::NEG_INFINITY);
                    dead = Some(beam.sequence.new_len());
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(step) = dead
            && scores
                .iter()
                .flatten()
                .all(|score| *score == f32::NEG_INFINITY)
        {
            return Err(GenerateError::NothingAllowed { step });
        }
        let candidates = self.candidates(settings, scores, prompt).into_iter();
        let next = candidates.map(|candidate| {
            let mut child = self.child(&candidate, &scores[candidate.beam], interrupted)?;
            let row = prompt * settings.num_beams + candidate.beam;
            child.beam.rows.push(row);
            if let Some((top, raw)) = raw {
                let raw = raw[candidate.beam].clone();
                let logprob = TokenLogprob::new(candidate.token, raw, top);
                child.beam.logprobs.push(logprob);
            }
            Ok(child)
        });
        let mut next: Vec<Child> = next.collect::<Result<_, GenerateError>>()?;
        self.end(settings, &next);
        self.continues = next.iter().any(|child| child.finished.is_none());
        for child in &mut next {
            if child.finished.is_some() {
                child.beam.score += OUT;
            }
        }
        next.sort_by(|a, b| b.beam.score.total_cmp(&a.beam.score));
        next.truncate(settings.num_beams);
        for child in &mut next {
            let parent = &self.running[child.parent].sequence;
            child.beam.sequence.grow(parent);
        }
        let parents = next.iter().map(|child| child.parent).collect();
        self.running = next.into_iter().map(|child| child.beam).collect();
        self.improvable &= self.may_improve(settings);
        Ok(parents)
    }

    /// A beam with one more token, and without processors, as most of them do not go on.
    fn child(
        &self,
        candidate: &Candidate,
        scores: &[f32],
        interrupted: Option<FinishReason>,
    ) -> Result<Child, GenerateError> {
        let parent = &self.running[candidate.beam];
        let (sequence, finished) = parent.sequence.branch(candidate.token, scores)?;
        Ok(Child {
            beam: Beam {
                sequence,
                score: candidate.score,
                rows: parent.rows.clone(),
                logprobs: parent.logprobs.clone(),
            },
            finished: finished.or(interrupted),
            parent: candidate.beam,
        })
    }

    /// The best continuations of all beams, or drawn ones, best first.
    fn candidates(
        &self,
        settings: &Settings,
        scores: &[Vec<f32>],
        prompt: usize,
    ) -> Vec<Candidate> {
        let vocab = scores[0].len();
        let step = self.running[0].sequence.new_len();
        let sums = self.running.iter().zip(scores);
        let sums = sums.flat_map(|(beam, scores)| scores.iter().map(|score| score + beam.score));
        let sums: Vec<f32> = sums.collect();
        let count = settings.num_beams * (1 + settings.eos.len()).max(2);
        let chosen = settings.sampler.choose_many(&sums, count, prompt, step);
        let candidate = |index: usize| Candidate {
            beam: index / vocab,
            token: (index % vocab) as u32,
            score: sums[index],
        };
        chosen.into_iter().map(candidate).collect()
    }

    /// Takes what ended among the best candidates into the list of the best.
    fn end(&mut self, settings: &Settings, next: &[Child]) {
        let full = settings.early_stopping == EarlyStopping::WhenEnough(true)
            && self.best.iter().all(|best| best.finished.is_some());
        for (index, Child { beam, finished, .. }) in next.iter().enumerate() {
            let finished = finished.filter(|_| index < settings.num_beams);
            let length = (beam.rows.len() as f32).powf(settings.length_penalty);
            let mut score = beam.score / length;
            for is_out in [full, !self.improvable, finished.is_none()] {
                if is_out {
                    score += OUT;
                }
            }
            self.best.push(Hypothesis {
                ids: beam.sequence.ids.clone(),
                score,
                rows: beam.rows.clone(),
                logprobs: beam.logprobs.clone(),
                finished,
            });
        }
        self.best.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.best.truncate(settings.num_beams);
    }

    /// Whether the best beam, were it to end now (or at the very end), could be better than the worst that has ended.
    fn may_improve(&self, settings: &Settings) -> bool {
        let best = &self.running[0];
        let never = settings.early_stopping == EarlyStopping::Never(Never::Never);
        let length = match never && settings.length_penalty > 0.0 {
            true => settings.max_new_tokens,
            false => best.sequence.new_len(),
        };
        let possible = best.score / (length as f32).powf(settings.length_penalty);
        let worst = self.best.iter().map(|best| best.score);
        let worst = worst.fold(f32::INFINITY, f32::min);
        let beats = |best: &Hypothesis| match best.finished {
            Some(_) => possible > worst,
            None => possible > OUT,
        };
        self.best.iter().any(beats)
    }
}
