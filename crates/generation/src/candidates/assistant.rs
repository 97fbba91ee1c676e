//! Drafts of a smaller model, of the same vocabulary or by way of text, or of the model's own first layers (the
//! reference's `AssistedCandidateGenerator`, `AssistedCandidateGeneratorDifferentTokenizers` and
//! `EarlyExitCandidateGenerator`).

use transformers_config::GenerationConfig;
use transformers_modeling::PreTrainedModel;
use transformers_tokenization::Tokenizer;

use super::confidence::Confidence;
use super::{CandidateGenerator, Draft};
use crate::GenerateError;
use crate::processors::softmax;
use crate::sampler::Sampler;
use crate::sequence::Sequence;
use crate::steps::Steps;

/// How the number of drafted tokens changes (`num_assistant_tokens_schedule`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Schedule {
    Constant,
    /// Two more when all were kept, one less otherwise.
    Heuristic,
}

/// A model that drafts.
pub(crate) struct AssistantModel<'m, M: ?Sized> {
    steps: Steps<'m, M>,
    /// The model's tokenizer and the assistant's, where they are not the same.
    tokenizers: Option<(&'m Tokenizer, &'m Tokenizer)>,
    sampler: Sampler,
    count: usize,
    schedule: Schedule,
    confidence: Confidence,
    eos: Vec<u32>,
    /// Whether the probabilities are wanted.
    keeps_probs: bool,
    /// What the cache holds.
    cached: Vec<u32>,
}

impl<'m, M: PreTrainedModel + ?Sized> AssistantModel<'m, M> {
    /// `config`: what the call says, then the assistant's own file; `adapts`: whether the threshold of confidence moves.
    pub fn new(
        steps: Steps<'m, M>,
        tokenizers: Option<(&'m Tokenizer, &'m Tokenizer)>,
        config: &GenerationConfig,
        sampler: Sampler,
        adapts: bool,
    ) -> Self {
        let schedule = match config.num_assistant_tokens_schedule.as_deref() {
            Some("heuristic" | "heuristic_transient") => Schedule::Heuristic,
            _ => Schedule::Constant,
        };
        let threshold = config.assistant_confidence_threshold.unwrap_or(0.4);
        Self {
            eos: config.eos_token_ids().to_vec(),
            tokenizers,
            sampler,
            count: config.num_assistant_tokens.unwrap_or(20).max(1),
            schedule,
            // Of other tokens than the model's it is not known how many were kept.
            confidence: Confidence::new(threshold as f32, adapts && tokenizers.is_none()),
            keeps_probs: config.assistant_ensemble_weight.is_some(),
            cached: Vec::new(),
            steps,
        }
    }

    /// How many tokens may follow `len` others.
    fn room(&self, len: usize) -> usize {
        let context = self.steps.model.position_limit().unwrap_or(usize::MAX);
        // The last of them needs no place.
        self.count
            .min(context.saturating_add(1).saturating_sub(len))
    }

    /// What the model's own processors and draws make of the assistant's scores.
    fn same_vocabulary(&mut self, sequence: &Sequence) -> Result<Draft, GenerateError> {
        let mut sequence = sequence.clone();
        let mut draft = Draft::default();
        for _ in 0..self.room(sequence.ids.len()) {
            let mut scores = self.scores(&sequence.ids, Some(&sequence))?;
            // Nothing is allowed that the assistant can say: the model's own turn.
            if sequence.process(&mut scores).is_err() {
                break;
            }
            let token = self.sampler.choose(&scores, 0, sequence.new_len());
            draft.ids.push(token);
            let finished = sequence.push(token, &scores)?.is_some();
            let probs = softmax(&scores);
            let unsure = self.confidence.ends_with(probs[token as usize]);
            if self.keeps_probs {
                draft.probs.push(probs);
            }
            if finished || unsure {
                break;
            }
        }
        Ok(draft)
    }

    /// The assistant's scores after `text`. `sequence`: whose padding counts.
    fn scores(
        &mut self,
        text: &[u32],
        sequence: Option<&Sequence>,
    ) -> Result<Vec<f32>, GenerateError> {
        let same = std::iter::zip(&self.cached, text).take_while(|(a, b)| a == b);
        // The last token is always computed: its logits are wanted.
        let known = same.count().min(text.len() - 1);
        self.steps.crop(known);
        self.steps.renew(text.len());
        let known = self.steps.cached();
        let masks = sequence.filter(|sequence| sequence.padding > 0);
        let masks = masks.map(|sequence| vec![sequence.mask()]);
        let mut logits = self.steps.logits(&[&text[known..]], masks.as_deref(), 1)?;
        self.cached = text[..self.steps.cached()].to_vec();
        Ok(logits.swap_remove(0))
    }

    /// The assistant's own continuation of `ids`, which are of its vocabulary.
    fn continuation(&mut self, ids: &[u32]) -> Result<Vec<u32>, GenerateError> {
        let mut text = ids.to_vec();
        for _ in 0..self.room(ids.len()) {
            let scores = self.scores(&text, None)?;
            let token = Sampler::Greedy.choose(&scores, 0, 0);
            if self.eos.contains(&token) {
                break;
            }
            text.push(token);
            if self.confidence.ends_with(softmax(&scores)[token as usize]) {
                break;
            }
        }
        Ok(text.split_off(ids.len()))
    }

    /// The draft by way of text.
    fn translated(
        &mut self,
        ids: &[u32],
        own: &Tokenizer,
        other: &Tokenizer,
    ) -> Result<Vec<u32>, GenerateError> {
        let text = own.decode(ids, false)?;
        let other_ids = other.encode(&text, false)?;
        if other_ids.is_empty() {
            return Ok(Vec::new());
        }
        let draft = self.continuation(&other_ids)?;
        let longer = other.decode(&[other_ids.as_slice(), &draft].concat(), false)?;
        let Some(added) = longer.strip_prefix(&other.decode(&other_ids, false)?) else {
            return Ok(Vec::new());
        };
        // As one text where that leaves what is there unchanged, else the addition alone.
        let together = own.encode(&format!("{text}{added}"), false)?;
        Ok(match together.strip_prefix(ids) {
            Some(new) => new.to_vec(),
            None => own.encode(added, false)?,
        })
    }
}

impl<M: PreTrainedModel + ?Sized> CandidateGenerator for AssistantModel<'_, M> {
    fn draft(&mut self, sequence: &Sequence) -> Result<Draft, GenerateError> {
        let Some((own, other)) = self.tokenizers else {
            return self.same_vocabulary(sequence);
        };
        let ids = self.translated(&sequence.ids[sequence.padding..], own, other)?;
        Ok(Draft {
            ids,
            ..Draft::default()
        })
    }

    fn update(&mut self, accepted: usize, drafted: usize) {
        self.confidence.update(accepted, drafted);
        if self.schedule == Schedule::Heuristic {
            self.count = match accepted == drafted {
                true => self.count + 2,
                false => (self.count - 1).max(1),
            };
        }
    }
}
