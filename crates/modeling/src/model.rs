//! Models as objects.
//!
//! [`Forward`] is what a model file writes. [`PreTrainedModel`] is what everything above it holds: the same, without
//! the concrete type. [`Pretrained`] is the one adapter from the first to the second.

use std::borrow::Cow;
use std::fmt::Debug;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use transformers_config::{AutoConfig, GenerationConfig};
use transformers_weights::LoadReport;

use crate::erased::{Erase, ParameterMapper, ParameterVisitor};
use crate::nn::{AttentionInterface, Cache, CacheImplementation, CacheLayout, PagedLayout};
use crate::origin::Origin;
use crate::parameters::Names;
use crate::peft::AdapterState;
use crate::{ModelError, ModelInputs, ModelOutput};

/// The forward pass of a concrete model.
pub trait Forward {
    /// Runs the model on checked inputs.
    ///
    /// # Errors
    /// Inputs that do not fit the model or each other.
    fn forward(
        &self,
        inputs: &ModelInputs,
        cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError>;

    /// What the layers need of a cache; `None` for models that decode nothing, or have a cache of their own.
    fn cache_layout(&self) -> Option<CacheLayout> {
        None
    }

    /// The cache that fits the model's layers; `None` for models that decode nothing.
    fn new_cache(&self) -> Option<Box<dyn Cache>> {
        Some(self.cache_layout()?.cache(CacheImplementation::Dynamic))
    }

    /// The most tokens that the model can attend to; `None` where its positions have no end.
    fn context_length(&self) -> Option<usize> {
        None
    }

    /// How many tokens have a position at all: where a table of positions ends. `None` where they are computed for as long
    /// as a sequence goes on, whatever length the model was made for.
    fn position_limit(&self) -> Option<usize> {
        self.context_length()
    }

    /// What a [`PagedCache`](crate::nn::PagedCache) for the model is like: it then runs rows of several sequences. `None`
    /// for models that do not.
    fn paged_layout(&self) -> Option<PagedLayout> {
        None
    }

    /// Whether a pass with [`gradient_checkpointing`](ModelInputs::gradient_checkpointing) runs layers again.
    fn recomputes_layers(&self) -> bool {
        false
    }

    /// The states of the encoder of an encoder–decoder, `[batch, seq, hidden]`, for
    /// [`encoder_outputs`](ModelInputs::encoder_outputs); `None` for other models.
    ///
    /// # Errors
    /// As [`Self::forward`].
    fn encode(&self, inputs: &ModelInputs) -> Result<Option<Tensor<3>>, ModelError> {
        let _ = inputs;
        Ok(None)
    }

    /// A part as a model of its own, which shares the weights; `None` where there are no parts.
    fn part(&self, part: Part, of: &Whole<'_>) -> Option<Box<dyn PreTrainedModel>> {
        let _ = (part, of);
        None
    }
}

/// A part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What reads a text.
    Encoder,
    /// What goes on with it.
    Decoder,
}

/// What a model and its parts have in common.
#[derive(Debug)]
pub struct Whole<'a> {
    info: &'a ModelInfo,
    names: Names,
}

impl Whole<'_> {
    /// `module`, a part of the model, as one.
    pub fn part<M: Module + Forward + Sync + 'static>(
        &self,
        module: M,
    ) -> Box<dyn PreTrainedModel> {
        Box::new(Pretrained {
            module,
            info: self.info.clone(),
            names: self.names,
        })
    }
}

/// What came with a model's weights.
#[derive(Debug, Clone)]
pub struct ModelInfo {
    /// The config, in v5 form.
    pub config: AutoConfig,
    /// The generation config of the repository, empty if it has none.
    pub generation_config: GenerationConfig,
    /// What the checkpoint lacked, had in excess, or had in another shape (`output_loading_info`).
    pub loading_info: LoadReport,
    /// How it was made.
    pub(crate) origin: Origin,
    /// How attention is computed; `None`: by what is fastest.
    pub(crate) attention: Option<AttentionInterface>,
    /// Whether layers run again in backward passes.
    pub(crate) gradient_checkpointing: bool,
    /// Its adapters.
    pub(crate) adapters: AdapterState,
}

impl ModelInfo {
    /// What adapters drop at random would be dropped otherwise in another run.
    fn recomputes(&self) -> bool {
        let adapters = &self.adapters.adapters;
        self.gradient_checkpointing
            && adapters
                .iter()
                .all(|adapter| adapter.config.lora_dropout == 0.0)
    }
}

/// A model of any family: what auto classes, `generate` and the layers above hold.
pub trait PreTrainedModel: Debug + Send + Sync {
    /// See [`Forward::forward`].
    ///
    /// # Errors
    /// Inputs that do not fit the model or each other.
    fn forward(
        &self,
        inputs: &ModelInputs,
        cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError>;

    /// See [`Forward::cache_layout`].
    fn cache_layout(&self) -> Option<CacheLayout>;

    /// See [`Forward::new_cache`].
    fn new_cache(&self) -> Option<Box<dyn Cache>>;

    /// See [`Forward::context_length`].
    fn context_length(&self) -> Option<usize>;

    /// See [`Forward::position_limit`].
    fn position_limit(&self) -> Option<usize>;

    /// See [`Forward::paged_layout`].
    fn paged_layout(&self) -> Option<PagedLayout>;

    /// See [`Forward::recomputes_layers`].
    fn recomputes_layers(&self) -> bool;

    /// See [`Forward::encode`].
    ///
    /// # Errors
    /// As [`Self::forward`].
    fn encode(&self, inputs: &ModelInputs) -> Result<Option<Tensor<3>>, ModelError>;

    /// What decodes, without a head (`get_decoder`); a model without parts itself. It shares the weights until one of the
    /// two changes them.
    fn get_decoder(&self) -> Box<dyn PreTrainedModel>;

    /// What encodes, in the same way (`get_encoder`).
    fn get_encoder(&self) -> Box<dyn PreTrainedModel>;

    /// What came with the weights.
    fn info(&self) -> &ModelInfo;

    /// The same, to fill in or change.
    fn info_mut(&mut self) -> &mut ModelInfo;

    /// Chooses how attention is computed, by a name of [`AttentionInterface`]: `eager`, `sdpa`, or yours.
    ///
    /// # Errors
    /// A name that is not registered.
    fn set_attn_implementation(&mut self, name: &str) -> Result<(), ModelError> {
        self.info_mut().attention = Some(AttentionInterface::get(name)?);
        Ok(())
    }

    /// A copy that shares the weights until one of the two changes them.
    fn boxed_clone(&self) -> Box<dyn PreTrainedModel>;

    /// burn's `Module::visit`.
    fn visit_parameters(&self, visitor: &mut dyn ParameterVisitor);

    /// burn's `Module::map`.
    fn map_parameters(
        self: Box<Self>,
        mapper: &mut dyn ParameterMapper,
    ) -> Box<dyn PreTrainedModel>;

    /// The devices that hold parameters.
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device>;

    /// burn's `Module::to_device`.
    fn to_device(self: Box<Self>, device: &Device) -> Box<dyn PreTrainedModel>;

    /// burn's `Module::fork`.
    fn fork(self: Box<Self>, device: &Device) -> Box<dyn PreTrainedModel>;

    /// burn's `Module::train`: parameters track gradients from here on.
    fn train(self: Box<Self>) -> Box<dyn PreTrainedModel>;

    /// burn's `Module::valid`: a copy without gradients.
    fn valid(&self) -> Box<dyn PreTrainedModel>;

    /// burn's `Module::materialize`: lazy parameters take their values.
    fn materialize(self: Box<Self>) -> Box<dyn PreTrainedModel>;
}

/// A concrete module with what came with its weights.
#[derive(Debug, Clone)]
pub struct Pretrained<M> {
    /// The module tree.
    pub module: M,
    /// See [`ModelInfo`].
    pub info: ModelInfo,
    /// What the family calls the parts of the module.
    pub names: Names,
}

impl<M: Module + Forward + Sync + 'static> Pretrained<M> {
    /// `module` as an object with its config: what a family's builder returns.
    pub fn boxed(module: M, config: &AutoConfig) -> Box<dyn PreTrainedModel> {
        Self::boxed_as(&[], module, config)
    }

    /// The same where the module's fields are not named as the parameters are.
    pub fn boxed_as(names: Names, module: M, config: &AutoConfig) -> Box<dyn PreTrainedModel> {
        let info = ModelInfo {
            config: config.clone(),
            generation_config: GenerationConfig::default(),
            loading_info: LoadReport::default(),
            origin: Origin::default(),
            attention: None,
            gradient_checkpointing: false,
            adapters: AdapterState::default(),
        };
        Box::new(Self {
            module,
            info,
            names,
        })
    }

    /// The inputs with the model's attention, unless they choose their own, and its gradient checkpointing.
    fn with_settings<'a>(&self, inputs: &'a ModelInputs) -> Cow<'a, ModelInputs> {
        let attention = inputs.attention.as_ref().or(self.info.attention.as_ref());
        let recomputes = inputs.gradient_checkpointing || self.info.recomputes();
        if attention.is_some() == inputs.attention.is_some()
            && recomputes == inputs.gradient_checkpointing
        {
            return Cow::Borrowed(inputs);
        }
        Cow::Owned(ModelInputs {
            attention: attention.cloned(),
            gradient_checkpointing: recomputes,
            ..inputs.clone()
        })
    }

    fn part(&self, part: Part) -> Box<dyn PreTrainedModel> {
        let (info, names) = (&self.info, self.names);
        let part = self.module.part(part, &Whole { info, names });
        part.unwrap_or_else(|| self.boxed_clone())
    }

    fn map_module(self, f: impl FnOnce(M) -> M) -> Box<dyn PreTrainedModel> {
        Box::new(Self {
            module: f(self.module),
            ..self
        })
    }
}

impl<M: Module + Forward + Sync + 'static> PreTrainedModel for Pretrained<M> {
    fn forward(
        &self,
        inputs: &ModelInputs,
        cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        self.module.forward(&self.with_settings(inputs), cache)
    }

    fn cache_layout(&self) -> Option<CacheLayout> {
        self.module.cache_layout()
    }

    fn new_cache(&self) -> Option<Box<dyn Cache>> {
        self.module.new_cache()
    }

    fn context_length(&self) -> Option<usize> {
        self.module.context_length()
    }

    fn position_limit(&self) -> Option<usize> {
        self.module.position_limit()
    }

    fn paged_layout(&self) -> Option<PagedLayout> {
        // Other implementations of attention know no blocks.
        let own = self.info.attention.as_ref();
        let knows_blocks = own.is_none_or(|attention| attention.name() == "sdpa");
        self.module.paged_layout().filter(|_| knows_blocks)
    }

    fn recomputes_layers(&self) -> bool {
        self.module.recomputes_layers()
    }

    fn encode(&self, inputs: &ModelInputs) -> Result<Option<Tensor<3>>, ModelError> {
        self.module.encode(&self.with_settings(inputs))
    }

    fn get_decoder(&self) -> Box<dyn PreTrainedModel> {
        self.part(Part::Decoder)
    }

    fn get_encoder(&self) -> Box<dyn PreTrainedModel> {
        self.part(Part::Encoder)
    }

    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn info_mut(&mut self) -> &mut ModelInfo {
        &mut self.info
    }

    fn boxed_clone(&self) -> Box<dyn PreTrainedModel> {
        Box::new(self.clone())
    }

    fn visit_parameters(&self, visitor: &mut dyn ParameterVisitor) {
        self.module.visit(&mut Erase {
            erased: visitor,
            names: self.names,
        });
    }

    fn map_parameters(
        self: Box<Self>,
        mapper: &mut dyn ParameterMapper,
    ) -> Box<dyn PreTrainedModel> {
        let names = self.names;
        let erased = mapper;
        self.map_module(|module| module.map(&mut Erase { erased, names }))
    }

    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.module.collect_devices(devices)
    }

    fn to_device(self: Box<Self>, device: &Device) -> Box<dyn PreTrainedModel> {
        self.map_module(|module| module.to_device(device))
    }

    fn fork(self: Box<Self>, device: &Device) -> Box<dyn PreTrainedModel> {
        self.map_module(|module| module.fork(device))
    }

    fn train(self: Box<Self>) -> Box<dyn PreTrainedModel> {
        self.map_module(Module::train)
    }

    fn valid(&self) -> Box<dyn PreTrainedModel> {
        Box::new(Self {
            module: self.module.valid(),
            info: self.info.clone(),
            names: self.names,
        })
    }

    fn materialize(self: Box<Self>) -> Box<dyn PreTrainedModel> {
        self.map_module(Module::materialize)
    }
}
