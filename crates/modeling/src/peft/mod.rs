//! Adapters of whole models, with the names, settings and files of Python's `peft`.
//!
//! An adapter lives in the model that it adapts, under a name of its own; a model may have several. [`PeftModel`] gives the
//! auto classes, and a boxed model, what `peft` has for it.

mod config;
mod experts;
mod fresh;
mod load;
mod merge;
mod save;
mod state;
mod swap;
mod targets;

use transformers_hub::{HubOptions, ModelSource};

pub use config::{InitLoraWeights, LoraBias, LoraConfig, TargetModules, TaskType};
pub(crate) use load::{add_to_loaded, reload};
pub(crate) use state::AdapterState;

use crate::nn::Draws;
use crate::{ModelError, PreTrainedModel};

/// The name that an adapter has where its user gives none.
const DEFAULT_NAME: &str = "default";

/// How an adapter is loaded.
#[derive(Debug, Clone, Default)]
pub struct AdapterOptions {
    /// Revision, token, cache_dir, subfolder and so on.
    pub hub: HubOptions,
    /// Train it further; else it is used as it is.
    pub is_trainable: bool,
}

/// The model with a fresh adapter, which alone is trained from here on.
///
/// # Errors
/// As those of [`PeftModel::add_adapter`].
pub fn get_peft_model<M: PeftModel>(mut model: M, config: &LoraConfig) -> Result<M, ModelError> {
    model.add_adapter(DEFAULT_NAME, config, None)?;
    Ok(model)
}

/// A model that takes adapters: every auto class, and a boxed model.
///
/// ```no_run
/// use transformers_modeling::{AutoModelForCausalLM, LoraConfig, PeftModel, TaskType, get_peft_model};
///
/// # fn main() -> Result<(), transformers_modeling::ModelError> {
/// let base = AutoModelForCausalLM::from_pretrained("HuggingFaceTB/SmolLM2-135M")?;
/// let config = LoraConfig {
///     r: 16,
///     task_type: Some(TaskType::CausalLM),
///     ..LoraConfig::default()
/// };
/// let model = get_peft_model(base.clone(), &config)?;
/// // ... train it ...
/// model.save_pretrained("my-adapter")?;
///
/// let model = PeftModel::from_pretrained(base, "my-adapter")?;
/// model.merge_and_unload()?.save_pretrained("merged")?;
/// # Ok(())
/// # }
/// ```
pub trait PeftModel: Sized {
    /// The model as an object.
    fn boxed_mut(&mut self) -> &mut Box<dyn PreTrainedModel>;

    /// `base` with the adapter of a folder or a hub id.
    ///
    /// # Errors
    /// As those of [`load_adapter`](Self::load_adapter).
    fn from_pretrained(
        mut base: Self,
        adapter: impl Into<ModelSource>,
    ) -> Result<Self, ModelError> {
        base.load_adapter(DEFAULT_NAME, adapter, &AdapterOptions::default())?;
        Ok(base)
    }

    /// Adds a fresh adapter. The first takes part at once; of a model with adapters only they are trained, and what their
    /// configs name beside them. `seed` makes the draws the same each time.
    ///
    /// # Errors
    /// A name that is taken or that cannot be, a config that names no weight of the model or has values that cannot be.
    fn add_adapter(
        &mut self,
        name: &str,
        config: &LoraConfig,
        seed: Option<u64>,
    ) -> Result<(), ModelError> {
        let draws = seed.map(Draws::seeded).unwrap_or_default();
        change(self, |model| fresh::add(model, name, config, &draws))
    }

    /// Adds the adapter of a folder or a hub id, as `peft` writes it. The first takes part at once.
    ///
    /// # Errors
    /// As those of [`add_adapter`](Self::add_adapter); files that are missing or broken, another method than LoRA, tensors
    /// that are missing, in excess or of another shape.
    fn load_adapter(
        &mut self,
        name: &str,
        adapter: impl Into<ModelSource>,
        options: &AdapterOptions,
    ) -> Result<(), ModelError> {
        change(self, |model| {
            load::load(model, name, adapter.into(), options)
        })
    }

    /// These adapters take part, and no others; each adds its own.
    ///
    /// # Errors
    /// An adapter that is not there; several that have parts of the model that are trained as a whole.
    fn set_adapter(&mut self, names: &[&str]) -> Result<(), ModelError> {
        change(self, |model| state::set_active(model, names))
    }

    /// Adapters take part, as they did before [`disable_adapters`](Self::disable_adapters).
    ///
    /// # Errors
    /// [`ModelError::Merged`].
    fn enable_adapters(&mut self) -> Result<(), ModelError> {
        change(self, |model| state::set_enabled(model, true))
    }

    /// The model is the base until they are enabled again.
    ///
    /// # Errors
    /// [`ModelError::Merged`].
    fn disable_adapters(&mut self) -> Result<(), ModelError> {
        change(self, |model| state::set_enabled(model, false))
    }

    /// Takes an adapter away.
    ///
    /// # Errors
    /// An adapter that is not there.
    fn delete_adapter(&mut self, name: &str) -> Result<(), ModelError> {
        change(self, |model| state::delete(model, name))
    }

    /// Adds the adapters that take part to the weights, for speed. Weights in quantised blocks become f32 ones.
    ///
    /// # Errors
    /// [`ModelError::Merged`].
    fn merge_adapter(&mut self) -> Result<(), ModelError> {
        change(self, merge::merge)
    }

    /// The weights are the base's again, bit by bit.
    ///
    /// # Errors
    /// None today.
    fn unmerge_adapter(&mut self) -> Result<(), ModelError> {
        change(self, merge::unmerge)
    }

    /// The model without adapters, whose weights have those that take part added. An embedding that was adapted is no
    /// longer tied to the output layer.
    ///
    /// # Errors
    /// An adapter with a bias of a layer that has none.
    fn merge_and_unload(mut self) -> Result<Self, ModelError> {
        change(&mut self, merge::merge_and_unload)?;
        Ok(self)
    }

    /// The base model, as it was.
    ///
    /// # Errors
    /// None today.
    fn unload(mut self) -> Result<Self, ModelError> {
        change(&mut self, merge::unload)?;
        Ok(self)
    }
}

impl PeftModel for Box<dyn PreTrainedModel> {
    fn boxed_mut(&mut self) -> &mut Box<dyn PreTrainedModel> {
        self
    }
}

/// A change of a copy, so that nothing is lost where it fails.
fn change<M: PeftModel>(
    model: &mut M,
    f: impl FnOnce(Box<dyn PreTrainedModel>) -> Result<Box<dyn PreTrainedModel>, ModelError>,
) -> Result<(), ModelError> {
    let model = model.boxed_mut();
    *model = f(model.boxed_clone())?;
    Ok(())
}

impl dyn PreTrainedModel + '_ {
    /// The names of the adapters, in the order in which they were added.
    pub fn adapters(&self) -> Vec<&str> {
        let adapters = self.info().adapters.adapters.iter();
        adapters.map(|adapter| adapter.name.as_str()).collect()
    }

    /// The names of those that take part.
    pub fn active_adapters(&self) -> Vec<&str> {
        let state = &self.info().adapters;
        let active = state.active.iter().filter(|_| state.enabled);
        active.map(String::as_str).collect()
    }

    /// The config of an adapter.
    pub fn adapter_config(&self, name: &str) -> Option<&LoraConfig> {
        self.info()
            .adapters
            .get(name)
            .map(|adapter| &adapter.config)
    }

    pub(crate) fn check_no_adapters(&self, operation: &'static str) -> Result<(), ModelError> {
        match self.info().adapters.adapters.is_empty() {
            true => Ok(()),
            false => Err(ModelError::HasAdapters { operation }),
        }
    }
}
