//! Drafts of a smaller model, of the same vocabulary or by way of text (the reference's `AssistedCandidateGenerator` and
//! `AssistedCandidateGeneratorDifferentTokenizers`).

use transformers_config::GenerationConfig;
use transformers_modeling::PreTrainedModel;
use transformers_tokenization::Tokenizer;

use super::CandidateGenerator;
use crate::GenerateError;
use crate::processors::softmax;
use crate::sequence::Steps;

/// How the number of drafted tokens changes (`num_assistant_tokens_schedule`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Schedule {
    Constant,
    /// Two more when all were kept, one less otherwise.
    Heuristic,
}

/// A model that drafts.
pub(crate) struct AssistantModel<'m> {
    steps: Steps<'m, dyn PreTrainedModel + 'm>,
    /// The model's tokenizer and the assistant's, where they are not the same.
    tokenizers: Option<(&'m Tokenizer, &'m Tokenizer)>,
    count: usize,
    schedule: Schedule,
    /// A draft ends with a token less likely than this.
    threshold: f32,
    eos: Vec<u32>,
    /// What the cache holds.
    cached: Vec<u32>,
}

impl<'m> AssistantModel<'m> {
    /// `config`: of the generation, resolved.
    pub fn new(
        steps: Steps<'m, dyn PreTrainedModel + 'm>,
        tokenizers: Option<(&'m Tokenizer, &'m Tokenizer)>,
        config: &GenerationConfig,
    ) -> Self {
        let own = &steps.model.info().generation_config;
        let eos = match tokenizers {
            Some(_) => own.eos_token_ids(),
            None => config.eos_token_ids(),
        };
        let schedule = match config.num_assistant_tokens_schedule.as_deref() {
            Some("heuristic" | "heuristic_transient") => Schedule::Heuristic,
            _ => Schedule::Constant,
        };
        Self {
            eos: eos.to_vec(),
            tokenizers,
            count: config.num_assistant_tokens.unwrap_or(20).max(1),
            schedule,
            threshold: config.assistant_confidence_threshold.unwrap_or(0.4) as f32,
            cached: Vec::new(),
            steps,
        }
    }

    /// The assistant's own continuation of `ids`.
    fn continuation(&mut self, ids: &[u32]) -> Result<Vec<u32>, GenerateError> {
        let room = self.steps.model.context_length().unwrap_or(usize::MAX);
        let count = self.count.min(room.saturating_sub(ids.len()));
        let mut text = ids.to_vec();
        for _ in 0..count {
            let Some((token, prob)) = self.likeliest(&text)? else {
                break;
            };
            if self.eos.contains(&token) {
                break;
            }
            text.push(token);
            if prob < self.threshold {
                break;
            }
        }
        Ok(text.split_off(ids.len()))
    }

    /// The likeliest token after `text`, with its probability.
    fn likeliest(&mut self, text: &[u32]) -> Result<Option<(u32, f32)>, GenerateError> {
        let same = std::iter::zip(&self.cached, text).take_while(|(a, b)| a == b);
        // The last token is always computed: its logits are wanted.
        let known = same.count().min(text.len() - 1);
        self.steps.crop(known);
        let known = self.steps.cached();
        let logits = self.steps.logits(&[&text[known..]], None, 1)?;
        self.cached = text[..self.steps.cached()].to_vec();
        let probs = softmax(&logits[0]);
        let best = (0..probs.len()).max_by(|a, b| probs[*a].total_cmp(&probs[*b]).then(b.cmp(a)));
        Ok(best.map(|token| (token as u32, probs[token])))
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

impl CandidateGenerator for AssistantModel<'_> {
    fn draft(&mut self, ids: &[u32]) -> Result<Vec<u32>, GenerateError> {
        match self.tokenizers {
            Some((own, other)) => self.translated(ids, own, other),
            None => self.continuation(ids),
        }
    }

    fn update(&mut self, accepted: usize, drafted: usize) {
        if self.schedule == Schedule::Heuristic {
            self.count = match accepted == drafted {
                true => self.count + 2,
                false => (self.count - 1).max(1),
            };
        }
    }
}
