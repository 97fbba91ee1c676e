//! The model as the loops see it: ids in, the last positions' logits out.

use burn::tensor::{DType, Tensor};
use transformers_modeling::nn::Cache;
use transformers_modeling::{ModelInputs, PreTrainedModel, Rows};

use crate::cache::CacheFactory;
use crate::encoder::Encoded;
use crate::record::Record;
use crate::sequence::Sequence;
use crate::settings::Settings;
use crate::{GenerateError, PromptCache};

/// A model with its cache.
pub(crate) struct Steps<'m, M: ?Sized> {
    pub model: &'m M,
    pub encoded: Option<Encoded>,
    pub cache: Option<Box<dyn Cache>>,
    pub factory: CacheFactory,
    /// Longer prompts are read in pieces of this many tokens.
    pub prefill_chunk_size: Option<usize>,
    /// Leave the model after so many layers.
    pub early_exit: Option<usize>,
    /// The states of the last pass, where they are kept.
    pub record: Record,
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
            early_exit: None,
            record: Record::default(),
        })
    }

    /// Begins with what `known` has of the prompt `ids`, in `rows` equal rows.
    pub fn resume(&mut self, known: &PromptCache, ids: &[u32], rows: usize) {
        // The last token is always computed: its logits are wanted.
        let empty = self.factory.empty(self.model).ok();
        let most = ids.len().saturating_sub(1);
        let cache = empty.and_then(|empty| known.common(empty, ids, most));
        if let (Some(own), Some(mut cache)) = (&mut self.cache, cache) {
            if rows > 1 {
                cache.select(&vec![0; rows]);
            }
            *own = cache;
        }
    }

    /// Scores `[rows][vocab]` of the token after `sequences`.
    pub fn scores<'s>(
        &mut self,
        sequences: impl Iterator<Item = &'s Sequence> + Clone,
    ) -> Result<Vec<Vec<f32>>, GenerateError> {
        let len = sequences.clone().next().map_or(0, |row| row.ids.len());
        self.renew(len);
        let cached = self.cached();
        let fresh = |sequence: &'s Sequence| &sequence.ids[cached..];
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
            (Some(_), Some(size)) if !self.record.attentions => size.max(keep),
            _ => len.max(1),
        };
        self.record.begin();
        let mut start = 0;
        loop {
            // The last piece has all positions that are kept.
            let mut end = match start + size + keep > len {
                true => len,
                false => start + size,
            };
            // Keys of the pieces before have another rotation than the whole: all at once, then.
            if past == 0 && self.renew(len) {
                self.record.begin();
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
            }
            .with_positions(self.cached())?,
        };
        let inputs = self.record.ask(ModelInputs {
            logits_to_keep: Some(keep),
            early_exit: self.early_exit,
            ..inputs
        });
        let cache = self.cache.as_deref_mut();
        let cache = cache.map(|cache| cache as &mut dyn Cache);
        let output = self.model.forward(&inputs, cache)?;
        self.record.add(&output);
        Ok(to_rows(output.logits()?))
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

    /// Whether a sequence of `len` tokens can grow to `longer` in one pass, and its own keys stay what they are.
    pub fn extends(&self, len: usize, longer: usize) -> bool {
        let cache = self.cache.as_ref();
        cache.is_some_and(|cache| !cache.rotation_changes(len, longer))
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
    match values.len() == vocab {
        true => vec![values],
        false => values.chunks(vocab).map(<[f32]>::to_vec).collect(),
    }
}
