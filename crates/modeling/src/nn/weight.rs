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
    adapters: Option<Box<Adapters>>,
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
            adapters: None,
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
        match self.adapters() {
            Some(adapters) => ops::Weight::Dense(adapters.onto(self.stored()), self.precision),
            None => self.base(),
        }
    }

    /// The same without adapters, unless they are merged into it.
    pub fn base(&self) -> ops::Weight {
        let merged = self
            .adapters
            .as_ref()
            .and_then(|adapters| adapters.merged.clone());
        match merged {
            Some(merged) => ops::Weight::Dense(merged, self.precision),
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

    /// The adapters, where one takes part and they are not merged.
    pub(crate) fn adapters(&self) -> Option<&Adapters> {
        let adapters = self.adapters.as_deref()?;
        (adapters.merged.is_none() && adapters.is_active()).then_some(adapters)
    }

    /// What merged adapters add to the outputs beside the weight.
    pub(crate) fn merged_bias(&self) -> Option<Tensor<1>> {
        let adapters = self.adapters.as_deref();
        adapters
            .filter(|adapters| adapters.merged.is_some())?
            .bias()
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
            adapters: self
                .adapters
                .map(|adapters| Box::new(adapters.map(layer, merged))),
            ..self
        }
    }

    fn edited(mut self, edit: Edit) -> Self {
        match edit {
            Edit::Add { layer, how } => {
                let layer = layer.begun(&self, how);
                self.adapters.get_or_insert_default().layers.push(layer);
            }
            Edit::Merge => {
                let stored = self.stored();
                let merged = self.adapters().map(|adapters| adapters.merged_with(stored));
                if let Some(adapters) = &mut self.adapters {
                    adapters.merged = merged;
                }
            }
            Edit::Unload => {
                let merged = self.adapters.take().and_then(|adapters| adapters.merged);
                if let Some(merged) = merged {
                    self.value = self.value.with(merged);
                }
            }
            other => {
                if let Some(adapters) = &mut self.adapters {
                    adapters.edit(other);
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
        let layers = self.adapters.iter().flat_map(|adapters| &adapters.layers);
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
        let valid = |adapters: &Adapters| {
            let adapters = adapters.clone();
            Box::new(adapters.map(|layer| layer.valid(), Tensor::without_autodiff))
        };
        Self {
            value: self.value.valid(),
            precision: self.precision,
            adapters: self.adapters.as_deref().map(valid),
        }
    }
    fn materialize(self) -> Self {
        self.map_parts(Module::materialize, Module::materialize, |merged| merged)
    }
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.value.visit(visitor);
        for layer in self.adapters.iter().flat_map(|adapters| &adapters.layers) {
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
        let adapters = self
            .adapters
            .map(|adapters| Box::new(adapters.map(map, |merged| merged)));
        let weight = Self {
            value,
            adapters,
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
