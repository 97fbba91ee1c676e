//! A sequence on its way.

use transformers_tokenization::Tokenizer;

use crate::processors::{LogitsProcessor, Step, largest};
use crate::settings::Settings;
use crate::stopping::{RowStop, StopStrings};
use crate::{FinishReason, GenerateError, Prompt};

/// One sequence on its way.
#[derive(Clone)]
pub(crate) struct Sequence {
    /// Padding, prompt, new tokens.
    pub ids: Vec<u32>,
    /// How many of the first ids are padding.
    pub padding: usize,
    /// How many of the first ids are prompt or padding.
    pub prompt_len: usize,
    /// The prompt's number.
    pub prompt: usize,
    stop: RowStop,
    processors: Vec<Box<dyn LogitsProcessor>>,
}

impl Sequence {
    /// `rows` sequences for each prompt, one after the other. `given`: what the caller gave, which an encoder reads;
    /// `prompt`: what the decoder continues.
    pub fn of_prompt(
        settings: &Settings,
        given: &Prompt,
        prompt: &Prompt,
        tokenizer: Option<&Tokenizer>,
        rows: usize,
    ) -> Result<Vec<Self>, GenerateError> {
        let mut sequences = Vec::new();
        for (index, ids) in prompt.input_ids.iter().enumerate() {
            let mask = prompt.attention_mask.as_ref().map(|mask| mask.row(index));
            let padding = settings.padding(index, ids, mask)?;
            let strings = match (settings.stop_strings.as_slice(), tokenizer) {
                ([], _) => None,
                (_, None) => return Err(GenerateError::NoTokenizer),
                (strings, Some(tokenizer)) => {
                    Some(StopStrings::new(strings, tokenizer, &ids[padding..])?)
                }
            };
            let custom = settings.stopping_criteria.clone();
            let sequence = Self {
                ids: ids.to_vec(),
                padding,
                prompt_len: ids.len(),
                prompt: index,
                stop: RowStop::new(&settings.eos, settings.max_new_tokens, strings, custom),
                processors: settings.processors(&given.real_ids(index)),
            };
            sequences.extend(std::iter::repeat_n(sequence, rows));
        }
        Ok(sequences)
    }

    /// How many tokens there are after the prompt.
    pub fn new_len(&self) -> usize {
        self.ids.len() - self.prompt_len
    }

    /// The tokens after the prompt.
    pub fn new_ids(&self) -> &[u32] {
        &self.ids[self.prompt_len..]
    }

    /// Applies every processor in order to `scores`, `[vocab]`.
    pub fn process(&mut self, scores: &mut [f32]) -> Result<(), GenerateError> {
        let step = self.new_len();
        let context = Step {
            ids: &self.ids[self.padding..],
            prompt_len: self.prompt_len - self.padding,
            prompt: self.prompt,
        };
        for processor in &mut self.processors {
            processor.process(&context, scores);
        }
        match largest(scores) {
            None => Err(GenerateError::NotFinite { step }),
            Some(f32::NEG_INFINITY) => Err(GenerateError::NothingAllowed { step }),
            Some(_) => Ok(()),
        }
    }

    /// Adds a token that was chosen by `scores`, and says whether the sequence ends with it.
    pub fn push(
        &mut self,
        token: u32,
        scores: &[f32],
    ) -> Result<Option<FinishReason>, GenerateError> {
        self.ids.push(token);
        let step = Step {
            ids: &self.ids[self.padding..],
            prompt_len: self.prompt_len - self.padding,
            prompt: self.prompt,
        };
        self.stop.check(&step, scores)
    }

    /// [`Self::push`] on a copy without the processors, which may be large.
    pub fn branch(
        &self,
        token: u32,
        scores: &[f32],
    ) -> Result<(Self, Option<FinishReason>), GenerateError> {
        let mut branch = Self {
            ids: self.ids.clone(),
            stop: self.stop.clone(),
            processors: Vec::new(),
            ..*self
        };
        let finished = branch.push(token, scores)?;
        Ok((branch, finished))
    }

    /// Gives a branch of `parent` its processors.
    pub fn grow(&mut self, parent: &Self) {
        self.processors.clone_from(&parent.processors);
    }

    /// 0 for padding.
    pub fn mask(&self) -> Vec<u32> {
        let columns = 0..self.ids.len();
        columns
            .map(|column| u32::from(column >= self.padding))
            .collect()
    }
}
