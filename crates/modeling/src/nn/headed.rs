//! A headless model with a head on it.
//!
//! Heads do not know the family below them: [`BaseFamily`] makes the headless model, [`TaskHead`] turns its output into
//! that of the whole, and [`Headed`] gives both the names that they have in checkpoints.

use std::fmt::Debug;

use burn::module::{
    Content, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::Device;
use transformers_config::{AutoConfig, ModelConfig, ProblemType};

use super::{Activation, Cache, CacheLayout, Init};
use crate::{Forward, Head, ModelError, ModelInputs, ModelOutput, Part, PreTrainedModel, Whole};

/// A family's headless model.
pub trait BaseFamily: Debug + 'static {
    /// The family's typed config.
    type Config: ModelConfig;
    /// The headless model: its output has `last_hidden_state`.
    type Model: Forward + Module + ModuleDisplay + Debug + Sync + 'static;

    /// Between the two layers of a [`FirstTokenClassifier`](super::heads::FirstTokenClassifier).
    const CLASSIFIER_ACTIVATION: Activation = Activation::Tanh;
    /// Whether the headless model on its own has the pooler.
    const HEADLESS_POOLER: bool = true;

    /// The model; `pooler` says whether its output has `pooler_output`, in families that know it.
    ///
    /// # Errors
    /// A config value that the model cannot have, such as an unknown activation.
    fn model(config: &Self::Config, pooler: bool, init: &Init) -> Result<Self::Model, ModelError>;

    /// Features of the last state.
    fn hidden_size(config: &Self::Config) -> usize;
}

/// What stands on a family's headless model.
pub trait TaskHead<F: BaseFamily>: Module + ModuleDisplay + Debug + Sync + 'static {
    /// Whether it takes the headless model's `pooler_output`.
    const POOLER: bool = false;
    /// Whether it reads no state but each row's first: see [`ModelInputs::first_states_only`].
    const READS_FIRST: bool = false;

    /// A head with fresh weights.
    ///
    /// # Errors
    /// A config value that the head cannot have.
    fn new(config: &F::Config, options: &HeadOptions, init: &Init) -> Result<Self, ModelError>;

    /// Whether it reads the states of padding: see [`ModelInputs::states_of_padding`].
    fn reads_padding(&self) -> bool {
        false
    }

    /// From the headless model's output for `inputs` to that of the whole.
    ///
    /// # Errors
    /// Labels that do not fit.
    fn forward(
        &self,
        base: &F::Model,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError>;
}

/// What a config says of heads.
#[derive(Debug, Clone)]
pub struct HeadOptions {
    /// Which head it is.
    pub head: Head,
    /// Features of the states.
    pub hidden_size: usize,
    /// Scores for each row or token: classes, or numbers of a regression; two for answers, one for choices.
    pub num_labels: usize,
    /// What the scores of rows are.
    pub scores: RowScores,
    /// The token that fills shorter rows.
    pub pad_token_id: Option<u32>,
    /// The token that ends a text.
    pub eos_token_id: Option<u32>,
    /// Whether a decoder's head for tokens has a bias.
    pub token_classification_bias: bool,
    /// The standard deviation of fresh weights.
    pub initializer_range: f64,
}

/// What scores of rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowScores {
    /// Of the row's labels.
    Labels(Option<ProblemType>),
    /// Of the row as one of several choices.
    Choice,
}

impl HeadOptions {
    /// The options of `head` that stand in `config`, or in the defaults of its `typed` form.
    ///
    /// # Errors
    /// Labels that cannot be.
    pub fn new<F: BaseFamily>(
        head: Head,
        config: &AutoConfig,
        typed: &F::Config,
    ) -> Result<Self, ModelError> {
        let base = config.base()?;
        let (num_labels, scores) = match head {
            Head::MultipleChoice => (1, RowScores::Choice),
            Head::QuestionAnswering => (2, RowScores::Labels(None)),
            _ => (base.num_labels(), RowScores::Labels(base.problem_type)),
        };
        let complete = AutoConfig::from_typed(typed)?;
        let pad = complete.get("pad_token_id").and_then(|id| id.as_u64());
        let eos = complete.get("eos_token_id").and_then(|id| id.as_u64());
        let spread = complete.get("initializer_range");
        let bias = config.get("token_classification_bias");
        Ok(Self {
            head,
            hidden_size: F::hidden_size(typed),
            num_labels,
            scores,
            pad_token_id: pad.map(|id| id as u32),
            eos_token_id: eos.map(|id| id as u32),
            token_classification_bias: bias.and_then(|bias| bias.as_bool()).unwrap_or(true),
            initializer_range: spread.and_then(|std| std.as_f64()).unwrap_or(0.02),
        })
    }
}

/// A headless model under the name that its family gives it, and beside it the fields of a head.
#[derive(Debug)]
pub struct Headed<F: BaseFamily, H> {
    prefix: &'static str,
    base: F::Model,
    head: H,
}

impl<F: BaseFamily, H: TaskHead<F>> Headed<F, H> {
    /// The model of `config` with `head`; the names of the headless model's parameters begin with `prefix`.
    ///
    /// # Errors
    /// Config values that do not fit together.
    pub fn new(
        prefix: &'static str,
        head: Head,
        config: &AutoConfig,
        init: &Init,
    ) -> Result<Self, ModelError> {
        let typed: F::Config = config.typed()?;
        let options = HeadOptions::new::<F>(head, config, &typed)?;
        let init = Init {
            std: options.initializer_range,
            ..init.clone()
        };
        Ok(Self {
            prefix,
            base: F::model(&typed, H::POOLER, &init)?,
            head: H::new(&typed, &options, &init)?,
        })
    }

    fn map_parts(self, base: impl FnOnce(F::Model) -> F::Model, head: impl FnOnce(H) -> H) -> Self {
        Self {
            prefix: self.prefix,
            base: base(self.base),
            head: head(self.head),
        }
    }
}

impl<F: BaseFamily, H: TaskHead<F>> Forward for Headed<F, H> {
    fn forward(
        &self,
        inputs: &ModelInputs,
        cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let (padding, first) = (self.head.reads_padding(), H::READS_FIRST);
        let output = match padding || first {
            true => self
                .base
                .forward(&for_head(inputs, padding, first), cache)?,
            false => self.base.forward(inputs, cache)?,
        };
        self.head.forward(&self.base, output, inputs)
    }

    fn new_cache(&self) -> Option<Box<dyn Cache>> {
        self.base.new_cache()
    }

    fn cache_layout(&self) -> Option<CacheLayout> {
        self.base.cache_layout()
    }

    fn context_length(&self) -> Option<usize> {
        self.base.context_length()
    }

    fn position_limit(&self) -> Option<usize> {
        self.base.position_limit()
    }

    fn recomputes_layers(&self) -> bool {
        self.base.recomputes_layers()
    }

    fn part(&self, part: Part, of: &Whole<'_>) -> Option<Box<dyn PreTrainedModel>> {
        let base = || Some(of.part(self.base.clone()));
        self.base.part(part, of).or_else(base)
    }
}

/// The inputs of the headless model below a head that reads states of padding, or first ones alone.
fn for_head(inputs: &ModelInputs, padding: bool, first: bool) -> ModelInputs {
    ModelInputs {
        states_of_padding: padding || inputs.states_of_padding,
        first_states_only: first || inputs.first_states_only,
        ..inputs.clone()
    }
}

/// The container that visitors and mappers see around the headless model.
const CONTAINER: &str = "Struct:Headed";

impl<F: BaseFamily, H: Clone> Clone for Headed<F, H> {
    fn clone(&self) -> Self {
        Self {
            prefix: self.prefix,
            base: self.base.clone(),
            head: self.head.clone(),
        }
    }
}

impl<F: BaseFamily, H: TaskHead<F>> Module for Headed<F, H> {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.head
            .collect_devices(self.base.collect_devices(devices))
    }
    fn fork(self, device: &Device) -> Self {
        self.map_parts(|base| base.fork(device), |head| head.fork(device))
    }
    fn to_device(self, device: &Device) -> Self {
        self.map_parts(|base| base.to_device(device), |head| head.to_device(device))
    }
    fn train(self) -> Self {
        self.map_parts(Module::train, Module::train)
    }
    fn valid(&self) -> Self {
        Self {
            prefix: self.prefix,
            base: self.base.valid(),
            head: self.head.valid(),
        }
    }
    fn materialize(self) -> Self {
        self.map_parts(Module::materialize, Module::materialize)
    }
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.enter_module(self.prefix, CONTAINER);
        self.base.visit(visitor);
        visitor.exit_module(self.prefix, CONTAINER);
        self.head.visit(visitor);
    }
    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        mapper.enter_module(self.prefix, CONTAINER);
        let base = self.base.map(mapper);
        mapper.exit_module(self.prefix, CONTAINER);
        Self {
            prefix: self.prefix,
            base,
            head: self.head.map(mapper),
        }
    }
}

impl<F: BaseFamily, H: TaskHead<F>> ModuleDisplayDefault for Headed<F, H> {
    fn content(&self, content: Content) -> Option<Content> {
        content
            .add(self.prefix, &self.base)
            .add("head", &self.head)
            .optional()
    }
}

impl<F: BaseFamily, H: TaskHead<F>> ModuleDisplay for Headed<F, H> {}
