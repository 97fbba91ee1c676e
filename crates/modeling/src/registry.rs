//! Which families exist. Built-in ones and those of a user are registered by the same call.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{LazyLock, PoisonError, RwLock};

use transformers_config::{AutoConfig, ModelConfig};

use crate::nn::{CausalLM, Decoder, DecoderFamily, Init};
use crate::{ModelError, PreTrainedModel, Pretrained, models};

/// What stands on top of a model: one per auto class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Head {
    /// `AutoModel`: none.
    Base,
    /// `AutoModelForCausalLM`.
    CausalLM,
    /// `AutoModelForMaskedLM`.
    MaskedLM,
}

impl Head {
    /// The auto class of this head.
    pub fn auto_class(self) -> &'static str {
        match self {
            Self::Base => "AutoModel",
            Self::CausalLM => "AutoModelForCausalLM",
            Self::MaskedLM => "AutoModelForMaskedLM",
        }
    }
}

/// Makes a model with empty parameters from a config.
pub type Builder = fn(&AutoConfig, &Init) -> Result<Box<dyn PreTrainedModel>, ModelError>;

/// A family of models: its type, its heads, and how its checkpoints are named.
#[derive(Clone)]
pub struct Family {
    model_type: &'static str,
    base_model_prefix: &'static str,
    tied: &'static [(&'static str, &'static str)],
    builders: BTreeMap<Head, Builder>,
}

impl Family {
    /// A family without heads yet. `base_model_prefix` is the field of the headed models that holds the headless one.
    pub fn new(model_type: &'static str, base_model_prefix: &'static str) -> Self {
        Self {
            model_type,
            base_model_prefix,
            tied: &[],
            builders: BTreeMap::new(),
        }
    }

    /// Adds a head.
    pub fn head(mut self, head: Head, builder: Builder) -> Self {
        self.builders.insert(head, builder);
        self
    }

    /// Names of parameters that are another one's weight when `tie_word_embeddings` is set: `(target, source)`.
    pub fn tied(mut self, tied: &'static [(&'static str, &'static str)]) -> Self {
        self.tied = tied;
        self
    }

    /// A decoder-only family with its two heads.
    pub fn decoder<F: DecoderFamily>() -> Self {
        Self::new(F::Config::MODEL_TYPE, "model")
            .tied(&[("lm_head.weight", "model.embed_tokens.weight")])
            .head(Head::Base, |config, init| {
                Ok(Pretrained::boxed(
                    Decoder::new::<F>(&config.typed()?, init)?,
                    config,
                ))
            })
            .head(Head::CausalLM, |config, init| {
                Ok(Pretrained::boxed(
                    CausalLM::new::<F>(&config.typed()?, init)?,
                    config,
                ))
            })
    }

    pub(crate) fn model_type(&self) -> &'static str {
        self.model_type
    }

    pub(crate) fn base_model_prefix(&self) -> &'static str {
        self.base_model_prefix
    }

    pub(crate) fn tied_weights(&self) -> &'static [(&'static str, &'static str)] {
        self.tied
    }

    pub(crate) fn builder(&self, head: Head) -> Result<Builder, ModelError> {
        self.builders.get(&head).copied().ok_or_else(|| {
            let names: Vec<_> = self.builders.keys().map(|head| head.auto_class()).collect();
            ModelError::NoHead {
                model_type: self.model_type.to_owned(),
                auto_class: head.auto_class(),
                available: names.join(", "),
            }
        })
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads: Vec<_> = self.builders.keys().collect();
        f.debug_struct("Family")
            .field("model_type", &self.model_type)
            .field("heads", &heads)
            .finish_non_exhaustive()
    }
}

static FAMILIES: LazyLock<RwLock<BTreeMap<&'static str, Family>>> = LazyLock::new(|| {
    let families = models::families().into_iter();
    RwLock::new(families.map(|family| (family.model_type, family)).collect())
});

/// Adds a family; from then on every auto class finds it by its `model_type`.
///
/// # Errors
/// [`ModelError::AlreadyRegistered`].
pub fn register(family: Family) -> Result<(), ModelError> {
    let mut families = FAMILIES.write().unwrap_or_else(PoisonError::into_inner);
    if families.contains_key(family.model_type) {
        let model_type = family.model_type.to_owned();
        return Err(ModelError::AlreadyRegistered { model_type });
    }
    families.insert(family.model_type, family);
    Ok(())
}

/// The model types that can be loaded, in order, each with its auto classes.
pub fn supported() -> Vec<(&'static str, Vec<Head>)> {
    let families = FAMILIES.read().unwrap_or_else(PoisonError::into_inner);
    let heads = |family: &Family| family.builders.keys().copied().collect();
    families
        .iter()
        .map(|(name, family)| (*name, heads(family)))
        .collect()
}

pub(crate) fn family(config: &AutoConfig) -> Result<Family, ModelError> {
    let families = FAMILIES.read().unwrap_or_else(PoisonError::into_inner);
    families.get(config.model_type()).cloned().ok_or_else(|| {
        let names: Vec<_> = families.keys().copied().collect();
        ModelError::UnknownModelType {
            model_type: config.model_type().to_owned(),
            supported: names.join(", "),
            remote_code: config.has_remote_code(),
        }
    })
}
