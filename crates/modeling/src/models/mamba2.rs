//! Mamba 2 (Dao and Gu 2024): state spaces with a time step and a rate of decay for each head.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use transformers_config::Mamba2Config;
use transformers_ops as ops;

use super::mamba::{TIED, fresh_states, recurrent_options};
use crate::nn::{
    Activation, CausalConv1d, DecoderFamily, DecoderOptions, FreshStates, Init, LayerContext,
    Linear, MixerLayer, NormForm, NormOptions, RecurrentState, SelfAttention, activation,
};
use crate::{ModelError, Names};

/// The numbers of a mixer.
#[derive(Debug, Clone)]
struct MixerOptions {
    heads: usize,
    head_dim: usize,
    groups: usize,
    states: usize,
    activation: Activation,
    eps: f64,
    /// What the time steps of a prompt are clamped to, where that says anything.
    limits: Option<[f64; 2]>,
}

/// The state-space layer.
#[derive(Module, Debug)]
pub struct Mamba2Mixer {
    in_proj: Linear,
    conv1d: CausalConv1d,
    /// `[heads]`.
    dt_bias: Param<Tensor<1>>,
    /// The logarithms of the rates of decay, `[heads]`.
    a_log: Param<Tensor<1>>,
    /// What passes the states by, `[heads]`.
    d: Param<Tensor<1>>,
    gated_norm: GatedNorm,
    out_proj: Linear,
    #[module(skip)]
    options: MixerOptions,
}

/// A root-mean-square norm of every group of features, after they were gated.
#[derive(Module, Debug)]
struct GatedNorm {
    /// `[groups * size]`.
    weight: Param<Tensor<1>>,
}

impl GatedNorm {
    /// `x` and `gate` are `[batch, seq, groups * size]`.
    fn forward(&self, x: Tensor<3>, gate: Tensor<3>, groups: usize, eps: f64) -> Tensor<3> {
        let x = ops::gated(gate, x, Activation::Silu);
        let weight = self.weight.val();
        if groups == 1 {
            return ops::rms_norm(x, weight, NormForm::Plain, eps);
        }
        let [batch, seq, features] = x.dims();
        let size = features / groups;
        let ones = Tensor::ones([size], (&x.device(), x.dtype()));
        let x = x.reshape([batch, seq, groups, size]);
        let x = ops::rms_norm(x, ones, NormForm::Plain, eps);
        x.reshape([batch, seq, features]) * weight.unsqueeze()
    }
}

impl Mamba2Mixer {
    fn new(config: &Mamba2Config, init: &Init) -> Result<Self, ModelError> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size());
        let (heads, channels) = (config.num_heads, config.conv_channels());
        let fresh = fresh_states!(config);
        let limit = config.time_step_limit;
        // A softplus is positive already.
        let limits = limit.min > 0.0 || limit.max.is_finite();
        Ok(Self {
            in_proj: Linear::new(hidden, inner + channels + heads, config.use_bias, init),
            conv1d: CausalConv1d::uniform(channels, config.conv_kernel, config.use_conv_bias, init),
            dt_bias: fresh.time_step_bias(heads, init),
            a_log: FreshStates::rates_of_heads(heads, init),
            d: init.ones([heads]),
            gated_norm: GatedNorm {
                weight: init.ones([inner]),
            },
            out_proj: fresh.output(inner, hidden, config.use_bias, init),
            options: MixerOptions {
                heads,
                head_dim: config.head_dim,
                groups: config.n_groups,
                states: config.state_size,
                activation: activation("hidden_act", &config.hidden_act)?,
                eps: config.layer_norm_epsilon,
                limits: limits.then_some([limit.min, limit.max]),
            },
        })
    }

    /// Time steps from what the projection gives for them, `[batch, seq, heads]`.
    ///
    /// As in the reference, the limits do not hold for a single token after others.
    fn time_steps(&self, dt: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let goes_on = |state: &mut RecurrentState| state.state.is_some();
        let step = dt.dims()[1] == 1 && context.recurrent().is_some_and(goes_on);
        let dt = ops::activate(dt + self.dt_bias.val().unsqueeze(), Activation::Softplus);
        match self.options.limits.filter(|_| !step) {
            Some([min, max]) => dt.clamp(min, max),
            None => dt,
        }
    }
}

impl SelfAttention for Mamba2Mixer {
    fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let MixerOptions {
            heads,
            head_dim,
            groups,
            states,
            ..
        } = self.options;
        let [batch, seq, _] = x.dims();
        let (inner, of_groups) = (heads * head_dim, groups * states);
        let channels = inner + 2 * of_groups;
        let projected = self.in_proj.forward(context.mask.clear_padding(x));
        let gate = projected.clone().narrow(2, 0, inner);
        let dt = projected.clone().narrow(2, inner + channels, heads);
        let x = projected.narrow(2, inner, channels);
        let dt = self.time_steps(dt, context);
        let x = self.conv1d.forward(x, context.recurrent());
        let x = ops::activate(x, self.options.activation);
        let x = context.mask.clear_padding(x);

        let of_groups = |start| {
            let part = x.clone().narrow(2, start, of_groups);
            part.reshape([batch, seq, groups, states])
        };
        let scan = ops::Scan {
            x: x.clone()
                .narrow(2, 0, inner)
                .reshape([batch, seq, heads, head_dim]),
            dt,
            a: RecurrentState::rates(context.recurrent(), || self.a_log.val().unsqueeze_dim(1)),
            b: of_groups(inner),
            c: of_groups(inner + groups * states),
            d: self.d.val(),
        };
        let y = RecurrentState::scan(context.recurrent(), scan);
        let y = y.reshape([batch, seq, inner]);
        let y = self.gated_norm.forward(y, gate, groups, self.options.eps);
        self.out_proj.forward(y)
    }
}

/// The family.
#[derive(Debug)]
pub(crate) struct Mamba2;

impl DecoderFamily for Mamba2 {
    type Config = Mamba2Config;
    type Layer = MixerLayer<Mamba2Mixer>;

    const NAMES: Names = &[
        ("model", "backbone"),
        ("embed_tokens", "embeddings"),
        ("norm", "norm_f"),
        ("input_layernorm", "norm"),
        ("gated_norm", "norm"),
        ("a_log", "A_log"),
        ("d", "D"),
    ];
    const TIED: &'static [(&'static str, &'static str)] = TIED;

    fn options(config: &Mamba2Config) -> DecoderOptions {
        recurrent_options!(config)
    }

    fn layer(config: &Mamba2Config, _: usize, init: &Init) -> Result<Self::Layer, ModelError> {
        let mixer = Mamba2Mixer::new(config, init)?;
        let (hidden, eps) = (config.hidden_size, config.layer_norm_epsilon);
        Ok(MixerLayer::new(hidden, eps, mixer, init))
    }
}
