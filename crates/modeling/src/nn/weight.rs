//! The weight matrix of linear layers and embeddings: dense, or in quantised blocks.
//!
//! Which of the two, and which dtype, is a property of the weight alone: no model file knows. A weight is dense until a
//! checkpoint fills it with blocks. It may have adapters ([`LoraLayer`]).

use burn::module::{
    Content, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param,
    ParamId,
};
use burn::tensor::{DType, Device, Int, Tensor};
use transformers_ops as ops;

use super::lora::{Adapters, CONTAINER as ADAPTER_CONTAINER};
use super::weight_edit::{Delivery, Edit};
use super::{Init, LoraLayer};

/// A matrix `[out, in]`, as checkpoints store it, or those of all experts, stacked.
#[derive(Debug, Clone)]
pub struct Weight {
    value: WeightValue,
    precision: ops::Precision,
    adapters: Adapters,
    /// The value with the adapters that took part when it was made.
    merged: Option<Tensor<2>>,
}

/// The two forms.
#[derive(Module, Debug)]
enum WeightValue {
    /// `[out, in]`.
    Dense(Param<Tensor<2>>),
    /// `[experts, out, in]`.
    Stacked(Param<Tensor<3>>),
    /// `[out, blocks of a row, bytes of a block]`.
    Blocks(Param<Tensor<3, Int>>),
}

/// The container that visitors and mappers see around a weight's parameter. Only there may a dtype differ from that of
/// the activations.
pub(crate) const CONTAINER: &str = "Enum:WeightValue";

impl Weight {
    /// A matrix of `shape` (`[out, in]`), drawn at random unless a checkpoint fills it.
    pub fn new(shape: [usize; 2], init: &Init) -> Self {
        Self::vectors(shape, None, init)
    }

    /// The same, with zeros in the row of the padding token.
    pub fn vectors(shape: [usize; 2], padding: Option<u32>, init: &Init) -> Self {
        Self::dense(init.vectors(shape, padding), init)
    }

    fn of(value: WeightValue, precision: ops::Precision) -> Self {
        Self {
            value,
            precision,
            adapters: Adapters::default(),
            merged: None,
        }
    }

    /// A matrix `[out, in]` that begins as `value` does.
    pub fn dense(value: Param<Tensor<2>>, init: &Init) -> Self {
        Self::of(WeightValue::Dense(value), init.precision)
    }

    /// Matrices of one shape, `[experts, out, in]`.
    pub fn stacked(shape: [usize; 3], init: &Init) -> Self {
        Self::of(WeightValue::Stacked(init.normal(shape)), init.precision)
    }

    /// The matrix as operations take it, with the adapters that take part; stacked ones one above the other,
    /// `[experts * out, in]`.
    pub fn val(&self) -> ops::Weight {
        match self.has_adapters() {
            true => ops::Weight::Dense(self.adapters.onto(self.base()), self.precision),
            false => self.base(),
        }
    }

    /// The same without adapters, unless they are merged into it.
    pub fn base(&self) -> ops::Weight {
        match &self.merged {
            Some(merged) => ops::Weight::Dense(merged.clone(), self.precision),
            None => self.stored(),
        }
    }

    /// The same as it is stored, whatever adapters there are: what another layer shares.
    pub fn stored(&self) -> ops::Weight {
        match &self.value {
            WeightValue::Dense(weight) => ops::Weight::Dense(weight.val(), self.precision),
            WeightValue::Stacked(weights) => {
                let weights = weights.val();
                let [experts, out, input] = weights.dims();
                ops::Weight::Dense(weights.reshape([experts * out, input]), self.precision)
            }
            WeightValue::Blocks(blocks) => ops::Weight::Blocks(blocks.val(), self.precision),
        }
    }

    /// `[out, in]`; of stacked matrices `[experts * out, in]`.
    pub fn dims(&self) -> [usize; 2] {
        self.stored().dims()
    }

    /// Whether an adapter takes part that is not merged.
    pub(crate) fn has_adapters(&self) -> bool {
        self.merged.is_none() && self.adapters.is_active()
    }

    /// What merged adapters add to the outputs beside the weight.
    pub(crate) fn merged_bias(&self) -> Option<Tensor<1>> {
        self.merged.as_ref().and_then(|_| self.adapters.bias())
    }

    pub(crate) fn adapters(&self) -> &Adapters {
        &self.adapters
    }

    /// Where it lies.
    pub fn device(&self) -> Device {
        match &self.value {
            WeightValue::Dense(weight) => weight.device(),
            WeightValue::Stacked(weights) => weights.device(),
            WeightValue::Blocks(blocks) => blocks.device(),
        }
    }

    fn map_parts(
        self,
        value: impl FnOnce(WeightValue) -> WeightValue,
        layer: impl FnMut(LoraLayer) -> LoraLayer,
        merged: impl FnOnce(Tensor<2>) -> Tensor<2>,
    ) -> Self {
        Self {
            value: value(self.value),
            adapters: Adapters(self.adapters.0.into_iter().map(layer).collect()),
            merged: self.merged.map(merged),
            ..self
        }
    }

    fn edited(mut self, edit: Edit) -> Self {
        match edit {
            Edit::Add {
                mut layer,
                fresh_magnitudes,
            } => {
                if fresh_magnitudes {
                    let norms = Param::from_tensor(layer.norms(&self));
                    layer.lora_magnitude_vector = Some(norms);
                }
                self.adapters.0.push(layer);
            }
            Edit::Remove(adapter) => {
                let layers = &mut self.adapters.0;
                layers.retain(|layer| layer.settings.adapter != adapter);
            }
            Edit::Activate { adapters, trains } => {
                let activate = |mut layer: LoraLayer| {
                    layer.settings.active = adapters.contains(&layer.settings.adapter);
                    let trains = trains && layer.settings.active;
                    layer.set_require_grad(trains)
                };
                let layers = std::mem::take(&mut self.adapters.0);
                self.adapters.0 = layers.into_iter().map(activate).collect();
            }
            Edit::Merge => {
                if self.has_adapters() {
                    let stored = self.stored();
                    let dtype = match &stored {
                        ops::Weight::Dense(weight, _) => weight.dtype(),
                        ops::Weight::Blocks(..) => DType::F32,
                    };
                    self.merged = Some(self.adapters.onto(stored).cast(dtype).detach());
                }
            }
            Edit::Unmerge => self.merged = None,
            Edit::Unload => {
                self.adapters = Adapters::default();
                if let Some(merged) = self.merged.take() {
                    self.value = self.value.with(merged);
                }
            }
        }
        self
    }
}

impl WeightValue {
    /// The same weight with other values; blocks become a dense matrix.
    fn with(self, values: Tensor<2>) -> Self {
        match self {
            Self::Dense(weight) => Self::Dense(weight.map(|_| values)),
            Self::Stacked(weights) => Self::Stacked(weights.map(|old| values.reshape(old.dims()))),
            Self::Blocks(blocks) => Self::Dense(Param::initialized(blocks.id, values)),
        }
    }

    /// What a mapper makes of it, and the edit that it brings.
    fn map_with_edit<M: ModuleMapper>(self, mapper: &mut M) -> (Self, Option<Edit>) {
        let value = match self {
            Self::Dense(weight) if !weight.is_initialized() => {
                match offer_blocks(&weight.lazy_device(), mapper) {
                    Some(blocks) => return (Self::Blocks(blocks), None),
                    None => Self::Dense(weight),
                }
            }
            value => value,
        };
        match value.map(mapper) {
            Self::Dense(weight) => {
                let (weight, edit) = take_off(weight);
                (Self::Dense(weight), edit)
            }
            Self::Stacked(weights) => {
                let (weights, edit) = take_off(weights);
                (Self::Stacked(weights), edit)
            }
            Self::Blocks(blocks) => {
                let edit = ask_for_edit(&blocks.device(), mapper);
                (Self::Blocks(blocks), edit)
            }
        }
    }
}

/// A parameter without the edit that is attached to it, and the edit.
fn take_off<const D: usize>(param: Param<Tensor<D>>) -> (Param<Tensor<D>>, Option<Edit>) {
    let delivery = param.reparameterization::<Delivery>();
    match delivery.map(|delivery| delivery.edit.clone()) {
        // `map` drops what is attached.
        Some(edit) => (param.map(|value| value), Some(edit)),
        None => (param, None),
    }
}

/// Integers carry nothing: for weights in blocks, a mapper is shown an empty matrix that it may attach an edit to.
fn ask_for_edit<M: ModuleMapper>(device: &Device, mapper: &mut M) -> Option<Edit> {
    let empty = |device: &Device, _| Tensor::<2>::zeros([0, 0], device);
    let shape = [0, 0].into();
    let empty = Param::uninitialized(ParamId::new(), empty, device.clone(), false, shape);
    mapper.enter_module("Blocks", CONTAINER);
    let carrier = mapper.map_float(empty);
    mapper.exit_module("Blocks", CONTAINER);
    let delivery = carrier.reparameterization::<Delivery>()?;
    Some(delivery.edit.clone())
}

/// Offers a weight that has no value yet to a mapper as blocks: what a loader returns, if it is not empty, takes the
/// place of the dense parameter.
fn offer_blocks<M: ModuleMapper>(device: &Device, mapper: &mut M) -> Option<Param<Tensor<3, Int>>> {
    let empty = Tensor::zeros([0, 0, 0], (device, DType::U8));
    mapper.enter_module("Blocks", CONTAINER);
    let blocks = mapper.map_int(Param::initialized(ParamId::new(), empty));
    mapper.exit_module("Blocks", CONTAINER);
    (blocks.dims() != [0, 0, 0]).then_some(blocks)
}

impl Module for Weight {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        let devices = self.value.collect_devices(devices);
        let layers = self.adapters.0.iter();
        layers.fold(devices, |devices, layer| layer.collect_devices(devices))
    }
    fn fork(self, device: &Device) -> Self {
        self.map_parts(
            |value| value.fork(device),
            |layer| layer.fork(device),
            |merged| merged.to_device(device).detach(),
        )
    }
    fn to_device(self, device: &Device) -> Self {
        self.map_parts(
            |value| value.to_device(device),
            |layer| layer.to_device(device),
            |merged| merged.to_device(device),
        )
    }
    fn train(self) -> Self {
        self.map_parts(Module::train, Module::train, Tensor::from_inner)
    }
    fn valid(&self) -> Self {
        let layers = self.adapters.0.iter().map(Module::valid);
        Self {
            value: self.value.valid(),
            precision: self.precision,
            adapters: Adapters(layers.collect()),
            merged: self.merged.clone().map(Tensor::without_autodiff),
        }
    }
    fn materialize(self) -> Self {
        self.map_parts(Module::materialize, Module::materialize, |merged| merged)
    }
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.value.visit(visitor);
        for layer in &self.adapters.0 {
            visitor.enter_module(&layer.settings.adapter, ADAPTER_CONTAINER);
            layer.visit(visitor);
            visitor.exit_module(&layer.settings.adapter, ADAPTER_CONTAINER);
        }
    }
    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let (value, edit) = self.value.map_with_edit(mapper);
        let map = |layer: LoraLayer| {
            let adapter = layer.settings.adapter.clone();
            mapper.enter_module(&adapter, ADAPTER_CONTAINER);
            let layer = layer.map(mapper);
            mapper.exit_module(&adapter, ADAPTER_CONTAINER);
            layer
        };
        let layers = self.adapters.0.into_iter().map(map).collect();
        let weight = Self {
            value,
            adapters: Adapters(layers),
            ..self
        };
        match edit {
            Some(edit) => weight.edited(edit),
            None => weight,
        }
    }
}

impl ModuleDisplayDefault for Weight {
    fn content(&self, content: Content) -> Option<Content> {
        content.add("weight", &self.value).optional()
    }
}

impl ModuleDisplay for Weight {}
