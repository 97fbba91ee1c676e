//! What a model keeps of a text that prompts begin with: made once, used for many prompts, and saved to a file.
//!
//! ```no_run
//! use transformers_config::GenerationConfig;
//! use transformers_generation::{Generate, GenerateOptions, PromptCache};
//! use transformers_modeling::AutoModelForCausalLM;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = AutoModelForCausalLM::from_pretrained("HuggingFaceTB/SmolLM2-135M-Instruct")?;
//! let system: Vec<u32> = vec![1, 2, 3]; // what all prompts begin with
//! let cache = PromptCache::new(&*model, &system)?;
//! cache.save("system.safetensors".as_ref())?;
//!
//! let cache = PromptCache::load("system.safetensors".as_ref(), &*model)?;
//! let options = GenerateOptions {
//!     prompt_cache: Some(&cache),
//!     ..GenerateOptions::default()
//! };
//! let prompt = [&system[..], &[4, 5]].concat();
//! model.generate_with(prompt, &GenerationConfig::default(), options)?;
//! # Ok(())
//! # }
//! ```

mod file;
mod fingerprint;

use transformers_modeling::nn::{Cache, CacheState};
use transformers_modeling::{ModelInputs, PreTrainedModel, Rows};

use crate::{GenerateError, Generated};

/// The keys and values, or recurrent states, of a text's tokens.
#[derive(Debug, Clone)]
pub struct PromptCache {
    ids: Vec<u32>,
    state: CacheState,
    /// Of the model that made it.
    fingerprint: String,
}

impl PromptCache {
    /// Reads `ids`.
    ///
    /// # Errors
    /// No ids, more than the context holds, or a model whose cache cannot be kept (one with an encoder).
    pub fn new<M: PreTrainedModel + ?Sized>(model: &M, ids: &[u32]) -> Result<Self, GenerateError> {
        let mut cache = model.new_cache().ok_or(GenerateError::NotADecoder)?;
        Self::read(model, &mut *cache, ids)?;
        Self::of(model, ids.to_vec(), &*cache)
    }

    /// The same for `ids`, of which those that `self` begins with too are not read again.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn extended<M: PreTrainedModel + ?Sized>(
        &self,
        model: &M,
        ids: &[u32],
    ) -> Result<Self, GenerateError> {
        if self.ids == ids {
            return Ok(self.clone());
        }
        let empty = model.new_cache().ok_or(GenerateError::NotADecoder)?;
        let Some(mut cache) = self.common(empty, ids, ids.len().saturating_sub(1)) else {
            return Self::new(model, ids);
        };
        match cache.is_outdated(ids.len()) {
            true => Self::new(model, ids),
            false => {
                let known = cache.seq_len();
                Self::read(model, &mut *cache, &ids[known..])?;
                Self::of(model, ids.to_vec(), &*cache)
            }
        }
    }

    /// What a generation of one row has read and written, but for its last token; for the next turn of a conversation.
    /// `None` without `past_key_values`, or for several rows.
    pub fn of_generated<M: PreTrainedModel + ?Sized>(
        model: &M,
        generated: &Generated,
    ) -> Result<Option<Self>, GenerateError> {
        let (Some(state), [ids]) = (&generated.past_key_values, &generated.sequences[..]) else {
            return Ok(None);
        };
        let len = state.seq_len();
        if !generated.beam_indices.is_empty() || generated.is_encoder_decoder || len > ids.len() {
            return Ok(None);
        }
        Ok(Some(Self {
            ids: ids[..len].to_vec(),
            state: state.clone(),
            fingerprint: fingerprint::of(model),
        }))
    }

    fn read<M: PreTrainedModel + ?Sized>(
        model: &M,
        cache: &mut dyn Cache,
        ids: &[u32],
    ) -> Result<(), GenerateError> {
        if ids.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        let len = cache.seq_len() + ids.len();
        if let Some(max) = model.position_limit().filter(|max| *max < len) {
            return Err(GenerateError::PromptTooLong { len, max });
        }
        let inputs = ModelInputs {
            logits_to_keep: Some(1),
            ..ModelInputs::new(Rows::from(ids.to_vec()))
        };
        let inputs = inputs.with_positions(cache.seq_len())?;
        model.forward(&inputs, Some(cache))?;
        Ok(())
    }

    fn of<M: PreTrainedModel + ?Sized>(
        model: &M,
        ids: Vec<u32>,
        cache: &dyn Cache,
    ) -> Result<Self, GenerateError> {
        let state = cache.state().ok_or(GenerateError::PromptCacheUnsupported)?;
        Ok(Self {
            ids,
            state,
            fingerprint: fingerprint::of(model),
        })
    }

    /// The tokens that it is of.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// `cache`, which is empty, with the tokens that this and `ids` both begin with, `most` at most; `None` if there are
    /// none, if the model keeps too little to go back to them, or for a kind of cache that takes none.
    pub(crate) fn common(
        &self,
        mut cache: Box<dyn Cache>,
        ids: &[u32],
        most: usize,
    ) -> Option<Box<dyn Cache>> {
        let same = std::iter::zip(&self.ids, ids).take_while(|(a, b)| a == b);
        let len = same.count().min(most);
        (len > 0 && cache.restore(&self.state) && cache.crop(len)).then_some(cache)
    }

    /// Whether `model` made it.
    ///
    /// # Errors
    /// [`GenerateError::PromptCacheOfOtherModel`].
    pub(crate) fn check<M: PreTrainedModel + ?Sized>(
        &self,
        model: &M,
    ) -> Result<(), GenerateError> {
        match self.fingerprint == fingerprint::of(model) {
            true => Ok(()),
            false => Err(GenerateError::PromptCacheOfOtherModel),
        }
    }
}
