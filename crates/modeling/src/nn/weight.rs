//! The weight matrix of linear layers and embeddings: dense, or in quantised blocks.
//!
//! Which of the two, and which dtype, is a property of the weight alone: no model file knows. A weight is dense until a
//! checkpoint fills it with blocks.

use burn::module::{
    Content, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param,
    ParamId,
};
use burn::tensor::{DType, Device, Int, Tensor};
use transformers_ops as ops;

use super::Init;

/// A matrix `[out, in]`, as checkpoints store it, or those of all experts, stacked.
#[derive(Debug, Clone)]
pub struct Weight {
    value: WeightValue,
    precision: ops::Precision,
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

    /// A matrix `[out, in]` that begins as `value` does.
    pub fn dense(value: Param<Tensor<2>>, init: &Init) -> Self {
        Self {
            value: WeightValue::Dense(value),
            precision: init.precision,
        }
    }

    /// Matrices of one shape, `[experts, out, in]`.
    pub fn stacked(shape: [usize; 3], init: &Init) -> Self {
        Self {
            value: WeightValue::Stacked(init.normal(shape)),
            precision: init.precision,
        }
    }

    /// The matrix as operations take it; stacked ones one above the other, `[experts * out, in]`.
    pub fn val(&self) -> ops::Weight {
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

    /// Where it lies.
    pub fn device(&self) -> Device {
        match &self.value {
            WeightValue::Dense(weight) => weight.device(),
            WeightValue::Stacked(weights) => weights.device(),
            WeightValue::Blocks(blocks) => blocks.device(),
        }
    }

    fn map_value(self, f: impl FnOnce(WeightValue) -> WeightValue) -> Self {
        Self {
            value: f(self.value),
            precision: self.precision,
        }
    }
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
        self.value.collect_devices(devices)
    }
    fn fork(self, device: &Device) -> Self {
        self.map_value(|value| value.fork(device))
    }
    fn to_device(self, device: &Device) -> Self {
        self.map_value(|value| value.to_device(device))
    }
    fn train(self) -> Self {
        self.map_value(Module::train)
    }
    fn valid(&self) -> Self {
        Self {
            value: self.value.valid(),
            precision: self.precision,
        }
    }
    fn materialize(self) -> Self {
        self.map_value(Module::materialize)
    }
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.value.visit(visitor);
    }
    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        self.map_value(|value| match value {
            WeightValue::Dense(weight) if !weight.is_initialized() => {
                match offer_blocks(&weight.lazy_device(), mapper) {
                    Some(blocks) => WeightValue::Blocks(blocks),
                    None => WeightValue::Dense(weight).map(mapper),
                }
            }
            value => value.map(mapper),
        })
    }
}

impl ModuleDisplayDefault for Weight {
    fn content(&self, content: Content) -> Option<Content> {
        content.add("weight", &self.value).optional()
    }
}

impl ModuleDisplay for Weight {}
