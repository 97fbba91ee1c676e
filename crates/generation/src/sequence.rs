//! Sequences on their way, and the model as the loops see it.

use burn::tensor::{DType, Tensor};
use transformers_modeling::nn::Cache;
use transformers_modeling::{ModelInputs, PreTrainedModel, Rows};
use transformers_tokenization::Tokenizer;

use crate::cache::CacheFactory;
use crate::encoder::Encoded;
use crate::processors::{LogitsProcessor, Step};
use crate::settings::Settings;
use crate::stopping::{RowStop, StopStrings};
use crate::{FinishReason, GenerateError, Prompt};

/// One sequence on its way.
#[derive(Clone)]
pub(crate) struct Sequence<'a> {
    /// Padding, prompt, new tokens.
    pub ids: Vec<u32>,
    /// How many of the first ids are padding.
    padding: usize,
    /// How many of the first ids are prompt or padding.
    pub prompt_len: usize,
    /// The prompt's number.
    prompt: usize,
    stop: RowStop<'a>,
    processors: Vec<Box<dyn LogitsProcessor>>,
}

impl<'a> Sequence<'a> {
    /// `rows` sequences for each prompt, one after the other. `given`: what the caller gave, which an encoder reads;
    /// `prompt`: what the decoder continues.
    pub fn of_prompt(
        settings: &'a Settings,
        given: &Prompt,
        prompt: &Prompt,
        tokenizer: Option<&'a Tokenizer>,
        rows: usize,
    ) -> Result<Vec<Self>, GenerateError> {
        let strings = match (settings.stop_strings.as_slice(), tokenizer) {
            ([], _) => None,
            (_, None) => return Err(GenerateError::NoTokenizer),
            (strings, Some(tokenizer)) => Some(StopStrings::new(strings, tokenizer)),
        };
        let stop = RowStop::new(&settings.eos, settings.max_new_tokens, strings);
        let mut sequences = Vec::new();
        for (index, ids) in prompt.input_ids.iter().enumerate() {
            let mask = prompt.attention_mask.as_ref().map(|mask| mask.row(index));
            let padding = settings.padding(index, ids, mask)?;
            let sequence = Self {
                ids: ids.to_vec(),
                padding,
                prompt_len: ids.len(),
                prompt: index,
                stop: stop.clone(),
                processors: settings.processors(&given.real_ids(index)),
            };
            sequences.extend(std::iter::repeat_n(sequence, rows));
        }
        Ok(sequences)
    }

    /// The tokens after the prompt.
    pub fn new_len(&self) -> usize {
        self.ids.len() - self.prompt_len
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
        if scores.iter().any(|score| score.is_nan()) {
            return Err(GenerateError::NotFinite { step });
        }
        match scores.iter().all(|score| *score == f32::NEG_INFINITY) {
            true => Err(GenerateError::NothingAllowed { step }),
            false => Ok(()),
        }
    }

    /// Adds a token, and says whether the sequence ends with it.
    pub fn push(&mut self, token: u32) -> Result<Option<FinishReason>, GenerateError> {
        self.ids.push(token);
        self.stop.check(token, self.new_len())
    }

    /// 0 for padding.
    pub fn mask(&self) -> Vec<u32> {
        let columns = 0..self.ids.len();
        columns
            .map(|column| u32::from(column >= self.padding))
            .collect()
    }
}

/// The model as the loops see it: ids in, the last positions' logits out.
pub(crate) struct Steps<'m, M: ?Sized> {
    pub model: &'m M,
    pub encoded: Option<Encoded>,
    pub cache: Option<Box<dyn Cache>>,
    pub factory: CacheFactory,
    /// Longer prompts are read in pieces of this many tokens.
    pub prefill_chunk_size: Option<usize>,
}

impl<'m, M: PreTrainedModel + ?Sized> Steps<'m, M> {
    /// With an empty cache, if the settings want one.
    pub fn new(model: &'m M, settings: &Settings) -> Result<Self, GenerateError> {
        Ok(Self {
            model,
            encoded: None,
            cache: match settings.use_cache {
                true => Some(settings.cache.empty(model)?),
                false => None,
            },
            factory: settings.cache,
            prefill_chunk_size: settings.config().prefill_chunk_size,
        })
    }

    /// Scores `[rows][vocab]` of the token after `sequences`, of which the cache holds all but the last `new`.
    pub fn scores<'s, 'a: 's>(
        &mut self,
        sequences: impl Iterator<Item = &'s Sequence<'a>> + Clone,
        new: usize,
    ) -> Result<Vec<Vec<f32>>, GenerateError> {
        let len = sequences.clone().next().map_or(0, |row| row.ids.len());
        let new = match self.renew(len) || self.cache.is_none() {
            true => len,
            false => new,
        };
        let fresh = |sequence: &'s Sequence<'a>| &sequence.ids[len - new..];
        let ids: Vec<_> = sequences.clone().map(fresh).collect();
        let padded = sequences.clone().any(|sequence| sequence.padding > 0);
        let masks: Option<Vec<_>> = padded.then(|| sequences.map(Sequence::mask).collect());
        self.logits(&ids, masks.as_deref(), 1)
    }

    /// Logits of the last `keep` positions, `[rows * keep][vocab]`: of rows `ids` after what the cache holds. `masks`
    /// are of whole rows, where there is padding: 0 for it.
    pub fn logits(
        &mut self,
        ids: &[&[u32]],
        masks: Option<&[Vec<u32>]>,
        keep: usize,
    ) -> Result<Vec<Vec<f32>>, GenerateError> {
        let len = ids.first().map_or(0, |ids| ids.len());
        let past = self.cached();
        let size = match (&self.cache, self.prefill_chunk_size) {
            (Some(_), Some(size)) => size.max(keep),
            _ => len.max(1),
        };
        let mut start = 0;
        loop {
            // The last piece has all positions that are kept.
            let mut end = match start + size + keep > len {
                true => len,
                false => start + size,
            };
            // Keys of the pieces before have another rotation than the whole: all at once, then.
            if past == 0 && self.renew(len) {
                (start, end) = (0, len);
            }
            let piece: Vec<&[u32]> = ids.iter().map(|ids| &ids[start..end]).collect();
            let seen = |masks: &[Vec<u32>]| {
                let masks = masks.iter().map(|mask| &mask[..past + end]);
                Rows::new(&masks.collect::<Vec<_>>())
            };
            let logits = self.forward(Rows::new(&piece)?, masks.map(seen).transpose()?, keep)?;
            if end == len {
                return Ok(logits);
            }
            start = end;
        }
    }

    fn forward(
        &mut self,
        ids: Rows<u32>,
        mask: Option<Rows<u32>>,
        keep: usize,
    ) -> Result<Vec<Vec<f32>>, GenerateError> {
        let inputs = match &self.encoded {
            Some(encoded) => encoded.inputs(ids),
            None => ModelInputs {
                attention_mask: mask,
                ..ModelInputs::new(ids)
            },
        };
        let inputs = ModelInputs {
            logits_to_keep: Some(keep),
            ..inputs
        };
        let cache = self.cache.as_deref_mut();
        let cache = cache.map(|cache| cache as &mut dyn Cache);
        Ok(to_rows(self.model.forward(&inputs, cache)?.logits()?))
    }

    /// Empties the cache if a sequence of `len` tokens needs all of its keys anew; says whether it did.
    pub fn renew(&mut self, len: usize) -> bool {
        let outdated = self.cache.as_ref().filter(|cache| cache.is_outdated(len));
        let empty = outdated.and_then(|_| self.factory.empty(self.model).ok());
        let renewed = empty.is_some();
        self.cache = empty.or(self.cache.take());
        renewed
    }

    /// Forgets what the cache holds beyond the first `len` tokens; where it cannot, everything.
    pub fn crop(&mut self, len: usize) {
        if let Some(cache) = &mut self.cache
            && cache.seq_len() > len
            && !cache.crop(len)
            && let Ok(empty) = self.factory.empty(self.model)
        {
            *cache = empty;
        }
    }

    /// Whether a pass over a sequence of `len` tokens goes with the keys that the cache holds.
    pub fn extends_to(&self, len: usize) -> bool {
        let cache = self.cache.as_ref();
        cache.is_some_and(|cache| cache.seq_len() > 0 && !cache.is_outdated(len))
    }

    /// How many tokens the cache holds.
    pub fn cached(&self) -> usize {
        self.cache.as_ref().map_or(0, |cache| cache.seq_len())
    }

    /// Goes on with these rows of the cache.
    pub fn select(&mut self, rows: &[usize]) {
        if let Some(cache) = &mut self.cache {
            cache.select(rows);
        }
    }
}

/// `[batch, kept, vocab]` to the host.
fn to_rows(logits: Tensor<3>) -> Vec<Vec<f32>> {
    let vocab = logits.dims()[2];
    let data = logits.cast(DType::F32).into_data();
    let values = data.try_into_vec::<f32>().expect("just cast to f32");
    values.chunks(vocab).map(<[f32]>::to_vec).collect()
}
