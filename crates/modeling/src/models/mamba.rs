//! Mamba (Gu and Dao 2023): selective state spaces in the place of attention, with a time step for each feature. Falcon
//! Mamba (Zuo et al. 2024) norms the time steps and what enters and leaves the states.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use transformers_config::{FalconMambaConfig, MambaConfig};
use transformers_ops as ops;

use crate::nn::{
    Activation, CausalConv1d, DecoderFamily, DecoderOptions, FreshStates, Init, LayerContext,
    Linear, MixerLayer, NormForm, NormOptions, RecurrentState, SelfAttention, Weight, activation,
};
use crate::{ModelError, Names};

const NAMES: Names = &[
    ("model", "backbone"),
    ("embed_tokens", "embeddings"),
    ("norm", "norm_f"),
    ("input_layernorm", "norm"),
    ("a_log", "A_log"),
    ("d", "D"),
];
pub(super) const TIED: &[(&str, &str)] = &[("lm_head.weight", "backbone.embeddings.weight")];

/// The options of a decoder of state spaces, whose configs call everything alike.
macro_rules! recurrent_options {
    ($config:ident) => {
        DecoderOptions {
            norm: Some(NormOptions::rms($config.layer_norm_epsilon)),
            tie_word_embeddings: $config.tie_word_embeddings,
            initializer_range: $config.initializer_range,
            states_after_layers: true,
            ..DecoderOptions::new(
                $config.vocab_size,
                $config.hidden_size,
                $config.layer_types(),
            )
        }
    };
}
pub(super) use recurrent_options;

/// How their states begin.
macro_rules! fresh_states {
    ($config:ident) => {
        FreshStates {
            time_steps: [$config.time_step_min, $config.time_step_max],
            floor: $config.time_step_floor,
            output_scale: match $config.rescale_prenorm_residual {
                true => ($config.num_hidden_layers as f64).powf(-0.5),
                false => 1.0,
            },
        }
    };
}
pub(super) use fresh_states;

/// The numbers of a mixer.
#[derive(Debug, Clone)]
struct MixerOptions {
    hidden: usize,
    inner: usize,
    states: usize,
    rank: usize,
    width: usize,
    bias: bool,
    conv_bias: bool,
    activation: Activation,
    /// Norms of time steps and of what enters and leaves the states, which add this to the mean square.
    norms: Option<f64>,
}

/// The state-space layer.
#[derive(Module, Debug)]
pub struct MambaMixer {
    in_proj: Linear,
    conv1d: CausalConv1d,
    x_proj: Linear,
    dt_proj: Linear,
    /// The logarithms of the rates of decay, `[inner, states]`.
    a_log: Param<Tensor<2>>,
    /// What passes the states by, `[inner]`.
    d: Param<Tensor<1>>,
    out_proj: Linear,
    #[module(skip)]
    options: MixerOptions,
}

impl MambaMixer {
    /// A mixer whose time steps are made by weights that begin as `dt_weight`.
    fn new(
        options: MixerOptions,
        fresh: &FreshStates,
        dt_weight: Param<Tensor<2>>,
        init: &Init,
    ) -> Self {
        let MixerOptions {
            hidden,
            inner,
            states,
            rank,
            width,
            bias,
            conv_bias,
            ..
        } = options;
        Self {
            in_proj: Linear::new(hidden, 2 * inner, bias, init),
            conv1d: CausalConv1d::uniform(inner, width, conv_bias, init),
            x_proj: Linear::new(inner, rank + 2 * states, false, init),
            dt_proj: Linear {
                weight: Weight::dense(dt_weight, init),
                bias: Some(fresh.time_step_bias(inner, init)),
            },
            a_log: FreshStates::rates(inner, states, init),
            d: init.ones([inner]),
            out_proj: fresh.output(inner, hidden, bias, init),
            options,
        }
    }

    fn norm(&self, x: Tensor<3>) -> Tensor<3> {
        let Some(eps) = self.options.norms else {
            return x;
        };
        let ones = Tensor::ones([x.dims()[2]], (&x.device(), x.dtype()));
        ops::rms_norm(x, ones, NormForm::Plain, eps)
    }
}

impl SelfAttention for MambaMixer {
    fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let MixerOptions {
            inner,
            states,
            rank,
            ..
        } = self.options;
        let [batch, seq, _] = x.dims();
        let projected = self.in_proj.forward(context.mask.clear_padding(x));
        let gate = projected.clone().narrow(2, inner, inner);
        let x = projected.narrow(2, 0, inner);
        let x = self.conv1d.forward(x, context.recurrent());
        let x = ops::activate(x, self.options.activation);
        let x = context.mask.clear_padding(x);

        let parts = self.x_proj.forward(x.clone());
        let part = |start, len| self.norm(parts.clone().narrow(2, start, len));
        let dt = self.dt_proj.forward(part(0, rank));
        let by_group = |x: Tensor<3>| x.reshape([batch, seq, 1, states]);
        let scan = ops::Scan {
            x: x.reshape([batch, seq, inner, 1]),
            dt: ops::activate(dt, Activation::Softplus),
            a: RecurrentState::rates(context.recurrent(), || self.a_log.val()),
            b: by_group(part(rank, states)),
            c: by_group(part(rank + states, states)),
            d: self.d.val(),
        };
        let y = RecurrentState::scan(context.recurrent(), scan);
        let y = y.reshape([batch, seq, inner]);
        self.out_proj.forward(ops::gated(gate, y, Activation::Silu))
    }
}

/// A family of the two, which agree in all but the norms.
macro_rules! family {
    ($(#[$meta:meta])* $name:ident, $config:ident, $norms:expr) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(crate) struct $name;

        impl DecoderFamily for $name {
            type Config = $config;
            type Layer = MixerLayer<MambaMixer>;

            const NAMES: Names = NAMES;
            const TIED: &'static [(&'static str, &'static str)] = TIED;

            fn options(config: &$config) -> DecoderOptions {
                recurrent_options!(config)
            }

            fn layer(
                config: &$config,
                _: usize,
                init: &Init,
            ) -> Result<Self::Layer, ModelError> {
                let norms: fn(&$config) -> Option<f64> = $norms;
                let options = MixerOptions {
                    hidden: config.hidden_size,
                    inner: config.intermediate_size(),
                    states: config.state_size,
                    rank: config.time_step_rank(),
                    width: config.conv_kernel,
                    bias: config.use_bias,
                    conv_bias: config.use_conv_bias,
                    activation: activation("hidden_act", &config.hidden_act)?,
                    norms: norms(config),
                };
                let fresh = fresh_states!(config);
                let shape = [options.inner, options.rank];
                let spread = (options.rank as f64).powf(-0.5) * config.time_step_scale;
                let dt_weight = match config.time_step_init_scheme.as_str() {
                    "random" => init.uniform(shape, spread),
                    "constant" => init.uniform_and_then(shape, spread..spread, |x| x),
                    _ => init.normal(shape),
                };
                let mixer = MambaMixer::new(options, &fresh, dt_weight, init);
                let (hidden, eps) = (config.hidden_size, config.layer_norm_epsilon);
                Ok(MixerLayer::new(hidden, eps, mixer, init))
            }
        }
    };
}

family! {
    /// The family.
    Mamba, MambaConfig, |_| None
}

family! {
    /// The family with norms within its mixers.
    FalconMamba, FalconMambaConfig, |config| Some(config.mixer_rms_eps)
}
