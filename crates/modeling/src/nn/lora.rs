//! Low-rank adapters of a weight: LoRA (Hu et al. 2021, arXiv:2106.09685), and DoRA, which also scales every output by a
//! learned magnitude (Liu et al. 2024, arXiv:2402.09353).
//!
//! A [`Weight`](super::Weight) holds its adapters; linear layers and embeddings add what the active ones give, and whoever
//! takes the weight itself, such as stacked experts, gets it with their products added. The base may be in any dtype or in
//! quantised blocks: gradients pass through it.
#![allow(non_snake_case, reason = "the names of peft")]

use std::sync::{Arc, OnceLock};

use burn::module::{Module, Param};
use burn::tensor::{DType, Distribution, Int, Tensor, TensorData};
use transformers_ops as ops;

use super::principal::Principal;
use super::{Edit, Weight};

/// The container that visitors and mappers see around the parameters of an adapter; its name is the adapter's.
pub(crate) const CONTAINER: &str = "Adapter";

/// One adapter of one weight: `scaling · B A` is added to it.
#[derive(Module, Debug)]
pub struct LoraLayer {
    /// `[rank, in]`; of an embedding `[rank, vocab]`; of stacked experts `[experts * rank, in]`.
    pub lora_A: Param<Tensor<2>>,
    /// `[out, rank]`; of an embedding `[hidden, rank]`; of stacked experts `[out, rank * experts]`, rank by rank.
    pub lora_B: Param<Tensor<2>>,
    /// DoRA's magnitudes, `[out]`; of an embedding `[hidden]`.
    pub lora_magnitude_vector: Option<Param<Tensor<1>>>,
    /// `[out]`.
    pub lora_bias: Option<Param<Tensor<1>>>,
    /// The A and B that it began with, where these are a part of the weight: it adds what has changed since.
    pub initial: Option<[Tensor<2>; 2]>,
    /// What is not trained.
    #[module(skip)]
    pub settings: LoraSettings,
    /// What DoRA multiplies outputs by, once it is known and while nothing changes.
    #[module(skip)]
    pub(crate) scale: Arc<OnceLock<Tensor<1>>>,
}

/// What an adapter is beside its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraSettings {
    /// The adapter that the layer is a part of.
    pub adapter: String,
    /// What it is attached to.
    pub target: LoraTarget,
    /// Factor on the product: `alpha / rank`, or with rank stabilisation `alpha / √rank`.
    pub scaling: f64,
    /// How many of its inputs are left out while it is trained.
    pub dropout: f64,
    /// Whether it takes part.
    pub active: bool,
}

/// What a weight is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoraTarget {
    /// A linear layer.
    Linear,
    /// A table of vectors.
    Embedding,
    /// A weight by itself: one matrix, or one for each of so many experts.
    Parameter {
        /// How many.
        experts: usize,
    },
}

/// How an adapter begins on its weight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginning {
    /// The part of the weight that it takes over.
    pub principal: Option<Principal>,
    /// It was not trained yet.
    pub is_fresh: bool,
    /// It has magnitudes of DoRA.
    pub has_magnitudes: bool,
}

impl LoraLayer {
    /// The adapter as it begins on `base`.
    pub(crate) fn begun(mut self, base: &Weight, how: Beginning) -> Self {
        if let Some(principal) = how.principal {
            let [a, b] = self.part_of(base, principal);
            if how.is_fresh {
                self.lora_A = Param::from_tensor(a.clone());
                self.lora_B = Param::from_tensor(b.clone());
            }
            self.initial = Some([a, b]);
        }
        if how.is_fresh && how.has_magnitudes {
            self.lora_magnitude_vector = Some(Param::from_tensor(self.norms(base)));
        }
        self
    }

    /// The A and B that are that part of the weight.
    fn part_of(&self, base: &Weight, principal: Principal) -> [Tensor<2>; 2] {
        let like = self.lora_A.val();
        let weight = dense(base, &like);
        let dims = weight.dims();
        let weight: Vec<f32> = weight.into_data().iter::<f32>().collect();
        let [rank, _] = like.dims();
        let [a, b] = principal.of(&weight, dims, rank, self.settings.scaling);
        [(a, [rank, dims[1]]), (b, [dims[0], rank])].map(|(values, shape)| {
            let values = TensorData::new(values, shape);
            Tensor::from_data(values, (&like.device(), like.dtype()))
        })
    }

    /// Whether its parameters follow gradients.
    fn trains(&self) -> bool {
        self.lora_A.val().is_require_grad()
    }

    /// What is added to the weight, in its shape and in f32.
    fn delta(&self) -> Tensor<2> {
        let product = self.product(self.lora_A.val(), self.lora_B.val());
        let product = match self.initial.clone() {
            Some([a, b]) => product - self.product(a, b),
            None => product,
        };
        product.mul_scalar(self.settings.scaling)
    }

    fn product(&self, a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
        match self.settings.target {
            LoraTarget::Parameter { experts } if experts > 1 => {
                let [rows, input] = a.dims();
                let [out, _] = b.dims();
                let rank = rows / experts;
                let a = a.reshape([experts, rank, input]);
                let b = b.reshape([out, rank, experts]).permute([2, 0, 1]);
                b.matmul(a).reshape([experts * out, input])
            }
            LoraTarget::Linear | LoraTarget::Parameter { .. } => b.matmul(a),
            LoraTarget::Embedding => a.transpose().matmul(b.transpose()),
        }
    }

    /// Of DoRA, the magnitudes over the norms of `base` with the product added: `[out]`, or `[hidden]` of an embedding. No
    /// gradient goes through the norms (section 4.3 of the paper).
    fn magnitudes(&self, base: &Tensor<2>) -> Option<Tensor<1>> {
        let magnitudes = self.lora_magnitude_vector.as_ref()?.val();
        let norms = self.norms_of(base.clone() + self.delta());
        Some(magnitudes / norms.detach())
    }

    /// The same of a weight that is read for it, unless nothing has changed since.
    fn scale(&self, base: &Weight) -> Option<Tensor<1>> {
        self.lora_magnitude_vector.as_ref()?;
        let like = self.lora_A.val();
        if like.is_autodiff() {
            return self.magnitudes(&dense(base, &like));
        }
        if let Some(scale) = self.scale.get() {
            return Some(scale.clone());
        }
        let scale = self.magnitudes(&dense(base, &like))?;
        Some(self.scale.get_or_init(|| scale).clone())
    }

    /// The norms of what makes one output: `[out]`, or `[hidden]` of an embedding.
    fn norms_of(&self, weight: Tensor<2>) -> Tensor<1> {
        let axis = match self.settings.target {
            LoraTarget::Embedding => 0,
            _ => 1,
        };
        weight.square().sum_dim(axis).sqrt().squeeze_dim(axis)
    }

    /// The magnitudes that change nothing at the start: the norms of `base` with the product added.
    fn norms(&self, base: &Weight) -> Tensor<1> {
        self.norms_of(dense(base, &self.lora_A.val()) + self.delta())
    }

    /// `weight` with this adapter, where `base` is the weight without any.
    fn onto(&self, weight: Tensor<2>, base: &Tensor<2>) -> Tensor<2> {
        let sum = weight + self.delta();
        match (self.magnitudes(base), self.settings.target) {
            (None, _) => sum,
            (Some(scale), LoraTarget::Embedding) => sum * scale.unsqueeze_dim(0),
            (Some(scale), _) => sum * scale.unsqueeze_dim(1),
        }
    }

    fn dropout<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let keep = 1.0 - self.settings.dropout;
        let kept = x.random_like(Distribution::Bernoulli(keep));
        (x * kept).div_scalar(keep)
    }

    /// The output `y` of a linear layer on `x` with this adapter; `y` is `base x` plus `bias`.
    fn linear<const D: usize>(
        &self,
        x: Tensor<D>,
        y: Tensor<D>,
        base: &Weight,
        bias: Option<Tensor<1>>,
    ) -> Tensor<D> {
        let (a, dtype) = (self.lora_A.val(), y.dtype());
        let drops = self.settings.dropout > 0.0 && self.trains();
        let before = self.initial.clone().map(|[a, b]| {
            let low = ops::linear(x.clone().cast(a.dtype()), a, None);
            ops::linear(low, b, None)
        });
        let x = match drops {
            true => self.dropout(x),
            false => x,
        };
        let low = ops::linear(x.clone().cast(a.dtype()), a, None);
        let low = ops::linear(
            low,
            self.lora_B.val(),
            self.lora_bias.as_ref().map(Param::val),
        );
        let low = match before {
            Some(before) => low - before,
            None => low,
        };
        let low = low.mul_scalar(self.settings.scaling).cast(dtype);
        let Some(scale) = self.scale(base) else {
            return y + low;
        };
        let scale = scale.cast(dtype).unsqueeze();
        let product = match (drops, bias) {
            (true, _) => ops::linear(x, base.base(), None),
            (false, Some(bias)) => y.clone() - bias.unsqueeze(),
            (false, None) => y.clone(),
        };
        y + product * (scale.clone() - 1.0) + low * scale
    }

    /// The vectors `y` of `ids` with this adapter; `[batch, seq, hidden]`.
    fn embedding(&self, ids: &Tensor<2, Int>, y: Tensor<3>, base: &Weight) -> Tensor<3> {
        let [batch, seq] = ids.dims();
        let a = self.lora_A.val();
        let [rank, _] = a.dims();
        let columns = a.select(1, ids.clone().reshape([batch * seq]));
        let low = columns.transpose().reshape([batch, seq, rank]);
        let low = ops::linear(low, self.lora_B.val(), None);
        let low = low.mul_scalar(self.settings.scaling).cast(y.dtype());
        match self.scale(base) {
            Some(scale) => (y + low.clone()) * scale.cast(low.dtype()).unsqueeze(),
            None => y + low,
        }
    }
}

/// The weight without adapters, in the dtype and on the device of `like`; no gradient is followed.
fn dense(base: &Weight, like: &Tensor<2>) -> Tensor<2> {
    base.base().dense(&like.device(), like.dtype()).detach()
}

/// The adapters of a weight.
#[derive(Debug, Clone, Default)]
pub(crate) struct Adapters {
    /// In the order in which they were added.
    pub layers: Vec<LoraLayer>,
    /// The weight with those that took part when it was made.
    pub merged: Option<Tensor<2>>,
}

impl Adapters {
    /// Each part changed.
    pub fn map(
        self,
        mut layer: impl FnMut(LoraLayer) -> LoraLayer,
        merged: impl FnOnce(Tensor<2>) -> Tensor<2>,
    ) -> Self {
        let change = |old| LoraLayer {
            scale: Arc::default(),
            ..layer(old)
        };
        Self {
            layers: self.layers.into_iter().map(change).collect(),
            merged: self.merged.map(merged),
        }
    }

    /// What an edit makes of them that needs no weight.
    pub fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Remove(adapter) => {
                self.layers
                    .retain(|layer| layer.settings.adapter != adapter);
            }
            Edit::Activate { adapters, trains } => {
                let activate = |mut layer: LoraLayer| {
                    layer.settings.active = adapters.contains(&layer.settings.adapter);
                    let trains = trains && layer.settings.active;
                    layer.set_require_grad(trains)
                };
                let layers = std::mem::take(&mut self.layers);
                self.layers = layers.into_iter().map(activate).collect();
            }
            Edit::Unmerge => self.merged = None,
            Edit::Add { .. } | Edit::Merge | Edit::Unload => {}
        }
    }

    /// `base` with those that take part: in its dtype, or in f32 if it is in blocks.
    pub fn merged_with(&self, base: ops::Weight) -> Tensor<2> {
        let dtype = match &base {
            ops::Weight::Dense(weight, _) => weight.dtype(),
            ops::Weight::Blocks(..) => DType::F32,
        };
        self.onto(base).cast(dtype).detach()
    }

    /// Those that take part.
    pub fn active(&self) -> impl Iterator<Item = &LoraLayer> {
        self.layers.iter().filter(|layer| layer.settings.active)
    }

    pub fn is_active(&self) -> bool {
        self.active().next().is_some()
    }

    /// The sum of their biases.
    pub fn bias(&self) -> Option<Tensor<1>> {
        let bias = |layer: &LoraLayer| {
            let bias = layer.lora_bias.as_ref()?.val();
            Some(bias.mul_scalar(layer.settings.scaling))
        };
        self.active()
            .filter_map(bias)
            .reduce(|sum, bias| sum + bias)
    }

    /// See [`LoraLayer::linear`].
    pub fn linear<const D: usize>(
        &self,
        x: &Tensor<D>,
        y: Tensor<D>,
        base: &Weight,
        bias: Option<Tensor<1>>,
    ) -> Tensor<D> {
        self.active()
            .fold(y, |y, layer| layer.linear(x.clone(), y, base, bias.clone()))
    }

    /// See [`LoraLayer::embedding`].
    pub fn embedding(&self, ids: &Tensor<2, Int>, y: Tensor<3>, base: &Weight) -> Tensor<3> {
        let add = |y, layer: &LoraLayer| layer.embedding(ids, y, base);
        self.active().fold(y, add)
    }

    /// `base` with the active adapters, in f32.
    pub fn onto(&self, base: ops::Weight) -> Tensor<2> {
        let device = self.active().next().map(|layer| layer.lora_A.device());
        let base = base.dense(&device.unwrap_or_default(), DType::F32);
        let add = |weight, layer: &LoraLayer| layer.onto(weight, &base);
        self.active().fold(base.clone(), add)
    }
}
