//! Gated DeltaNet (Yang, Kautz and Hatamizadeh 2024), as Qwen3-Next has it: a short convolution, the gated delta rule, and a
//! gated norm.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation::sigmoid};
use transformers_ops as ops;

use super::{
    Activation, CausalConv1d, Init, LayerContext, Linear, NormForm, RmsNorm, SelfAttention, linears,
};

/// The rates of decay of fresh layers are drawn from between these.
const RATES: std::ops::Range<f64> = 0.01..16.0;

/// The shape of a [`GatedDeltaNet`].
#[derive(Debug, Clone, Copy)]
pub struct GatedDeltaOptions {
    /// Features of the residual stream.
    pub hidden_size: usize,
    /// Heads of queries and keys; divides `heads`.
    pub key_heads: usize,
    /// Heads of values.
    pub heads: usize,
    /// Features of a query or a key.
    pub key_dim: usize,
    /// Features of a value.
    pub value_dim: usize,
    /// Tokens that the convolution sees.
    pub conv_width: usize,
    /// What is applied to its result.
    pub activation: Activation,
    /// Added to the mean square in the norm.
    pub norm_eps: f64,
    /// How the projections lie in their weights.
    pub projections: DeltaProjections,
}

/// How the projections of a [`GatedDeltaNet`] lie in their weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeltaProjections {
    /// For every key head: its query and key, its values and their gates; and in a second weight, how far its values replace
    /// others, and their decays (Qwen3-Next).
    Grouped,
    /// All queries, keys and values in one weight, and each of the others in one of its own (Qwen3.5).
    Separate,
}

/// A layer that keeps a matrix for each head instead of keys and values.
#[derive(Module, Debug)]
pub struct GatedDeltaNet {
    __: Inputs,
    conv1d: CausalConv1d,
    /// `[heads]`.
    dt_bias: Param<Tensor<1>>,
    /// Logarithms of the rates of decay, `[heads]`.
    a_log: Param<Tensor<1>>,
    norm: RmsNorm,
    out_proj: Linear,
    #[module(skip)]
    options: GatedDeltaOptions,
}

/// What the layer makes of its input.
#[allow(
    clippy::large_enum_variant,
    reason = "a model has one for each layer, and their weights are elsewhere"
)]
#[derive(Module, Debug)]
enum Inputs {
    Grouped(GroupedInputs),
    Separate(SeparateInputs),
}

#[derive(Module, Debug)]
struct GroupedInputs {
    in_proj_qkvz: Linear,
    in_proj_ba: Linear,
}

#[derive(Module, Debug)]
struct SeparateInputs {
    in_proj_qkv: Linear,
    in_proj_z: Linear,
    in_proj_b: Linear,
    in_proj_a: Linear,
}

/// The projections of some tokens.
struct Projected {
    /// `[batch, seq, all keys' features twice + all values']`.
    qkv: Tensor<3>,
    /// The gates of the values, `[batch, seq, heads * value_dim]`.
    z: Tensor<3>,
    /// `[batch, seq, heads]`.
    b: Tensor<3>,
    /// `[batch, seq, heads]`.
    a: Tensor<3>,
}

impl GatedDeltaOptions {
    fn keys(&self) -> usize {
        self.key_heads * self.key_dim
    }

    fn values(&self) -> usize {
        self.heads * self.value_dim
    }
}

impl Inputs {
    fn new(options: &GatedDeltaOptions, init: &Init) -> Self {
        let linear = |output| Linear::new(options.hidden_size, output, false, init);
        let (keys, values, heads) = (options.keys(), options.values(), options.heads);
        match options.projections {
            DeltaProjections::Grouped => Self::Grouped(GroupedInputs {
                in_proj_qkvz: linear(2 * keys + 2 * values),
                in_proj_ba: linear(2 * heads),
            }),
            DeltaProjections::Separate => Self::Separate(SeparateInputs {
                in_proj_qkv: linear(2 * keys + values),
                in_proj_z: linear(values),
                in_proj_b: linear(heads),
                in_proj_a: linear(heads),
            }),
        }
    }

    fn project(&self, x: Tensor<3>, options: &GatedDeltaOptions) -> Projected {
        match self {
            Self::Grouped(inputs) => inputs.project(x, options),
            Self::Separate(inputs) => {
                let layers = [
                    &inputs.in_proj_qkv,
                    &inputs.in_proj_z,
                    &inputs.in_proj_b,
                    &inputs.in_proj_a,
                ];
                let [qkv, z, b, a] = linears(x, layers);
                Projected { qkv, z, b, a }
            }
        }
    }
}

impl GroupedInputs {
    fn project(&self, x: Tensor<3>, options: &GatedDeltaOptions) -> Projected {
        let [batch, seq, _] = x.dims();
        let groups = options.key_heads;
        let [qkvz, ba] = linears(x, [&self.in_proj_qkvz, &self.in_proj_ba]);
        let by_group = |x: Tensor<3>| {
            let of_group = x.dims()[2] / groups;
            x.reshape([batch, seq, groups, of_group])
        };
        let (qkvz, ba) = (by_group(qkvz), by_group(ba));
        let part = |x: &Tensor<4>, start, len| {
            let part = x.clone().narrow(3, start, len);
            part.reshape([batch, seq, groups * len])
        };
        let (key, shared) = (options.key_dim, options.heads / groups);
        let values = shared * options.value_dim;
        let qkv = [(0, key), (key, key), (2 * key, values)];
        let qkv = qkv.map(|(start, len)| part(&qkvz, start, len));
        Projected {
            qkv: Tensor::cat(qkv.into(), 2),
            z: part(&qkvz, 2 * key + values, values),
            b: part(&ba, 0, shared),
            a: part(&ba, shared, shared),
        }
    }
}

impl GatedDeltaNet {
    /// A layer of the given shape.
    pub fn new(options: &GatedDeltaOptions, init: &Init) -> Self {
        let GatedDeltaOptions {
            hidden_size,
            heads,
            value_dim,
            conv_width,
            norm_eps,
            ..
        } = *options;
        let (keys, values) = (options.keys(), options.values());
        Self {
            __: Inputs::new(options, init),
            conv1d: CausalConv1d::new(2 * keys + values, conv_width, false, init),
            dt_bias: init.ones([heads]),
            a_log: init.uniform_and_then([heads], RATES, f32::ln),
            norm: RmsNorm::new(value_dim, norm_eps, NormForm::Plain, init),
            out_proj: Linear::new(values, hidden_size, false, init),
            options: *options,
        }
    }
}

impl SelfAttention for GatedDeltaNet {
    fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let GatedDeltaOptions {
            key_heads,
            heads,
            key_dim,
            value_dim,
            ..
        } = self.options;
        let [batch, seq, _] = x.dims();
        let Projected { qkv, z, b, a } = self
            .__
            .project(context.mask.clear_padding(x), &self.options);
        let cache = context.cache.as_deref_mut();
        let mut state = cache.and_then(|cache| cache.recurrent(context.layer));
        let qkv = self.conv1d.forward(qkv, state.as_deref_mut());
        let qkv = ops::activate(qkv, self.options.activation);

        let keys = self.options.keys();
        let part = |start, heads, features| {
            let part = qkv.clone().narrow(2, start, heads * features);
            part.reshape([batch, seq, heads, features])
        };
        let steps = ops::activate(a + self.dt_bias.val().unsqueeze(), Activation::Softplus);
        let delta = ops::GatedDelta {
            q: part(0, key_heads, key_dim),
            k: part(keys, key_heads, key_dim),
            v: part(2 * keys, heads, value_dim),
            decay: steps * self.a_log.val().exp().neg().unsqueeze(),
            beta: sigmoid(b),
        };
        let before = state.as_mut().and_then(|state| state.state.take());
        let (y, after) = ops::gated_delta_rule(delta, before);
        if let Some(state) = state {
            state.state = Some(after);
        }
        let z = z.reshape([batch, seq, heads, value_dim]);
        let y = ops::gated(z, self.norm.forward(y), Activation::Silu);
        self.out_proj
            .forward(y.reshape([batch, seq, heads * value_dim]))
    }
}
