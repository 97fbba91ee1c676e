//! `mamba` and `falcon_mamba`.

use serde_json::{Map, Value};

use crate::declare::config;
use crate::{LayerType, ModelConfig, Result, checks};

/// The width of the residual stream over that of what time steps are made of, where nothing is stated.
const RANK_DIVISOR: usize = 16;

/// Declares one of them; `eps` is a further number that is not negative.
macro_rules! mamba {
    ($name:ident: $model_type:literal { $($own:tt)* } $(eps: $eps:ident)?) => {
        config! {
            #[doc = concat!("The configuration of a ", $model_type, " model.")]
            $name {
                vocab_size: usize = 50_280,
                hidden_size: usize = 768,
                state_size: usize = 16,
                num_hidden_layers: usize = 32,
                /// Added to the mean square in norms.
                layer_norm_epsilon: f64 = 1e-5,
                expand: usize = 2,
                /// The width inside of a mixer; `expand` times that of the residual stream if null.
                intermediate_size: Option<usize> = None,
                conv_kernel: usize = 4,
                /// Whether the projections into a mixer and out of it have biases.
                use_bias: bool = false,
                use_conv_bias: bool = true,
                /// The activation after the convolution.
                hidden_act: String = "silu".into(),
                initializer_range: f64 = 0.1,
                residual_in_fp32: bool = true,
                /// The width of what time steps are made of; a sixteenth of the residual stream's if null, or `auto` in a file.
                time_step_rank: Option<usize> = None,
                /// Factor on the spread of the fresh weights that make time steps.
                time_step_scale: f64 = 1.0,
                time_step_min: f64 = 0.001,
                time_step_max: f64 = 0.1,
                /// How the weights that make time steps begin: `random` or `constant`.
                time_step_init_scheme: String = "random".into(),
                time_step_floor: f64 = 1e-4,
                rescale_prenorm_residual: bool = false,
                /// Whether to keep the states while generating.
                use_cache: bool = true,
                /// Kept for other readers.
                use_mambapy: bool = false,
                /// Kept for other readers.
                use_associative_scan: bool = true,
                tie_word_embeddings: bool = true,
                $($own)*
            }
            tokens { pad: Some(0), bos: Some(0), eos: Some(0) }
        }

        impl $name {
            /// The width inside of a mixer.
            pub fn intermediate_size(&self) -> usize {
                let stated = self.intermediate_size;
                stated.unwrap_or(self.expand.saturating_mul(self.hidden_size))
            }

            /// The width of what time steps are made of.
            pub fn time_step_rank(&self) -> usize {
                let stated = self.time_step_rank;
                stated.unwrap_or(self.hidden_size.div_ceil(RANK_DIVISOR))
            }

            /// Every layer has a recurrent state.
            pub fn layer_types(&self) -> Vec<LayerType> {
                vec![LayerType::LinearAttention; self.num_hidden_layers]
            }
        }

        impl ModelConfig for $name {
            const MODEL_TYPE: &'static str = $model_type;

            fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
                forget_automatic_rank(raw);
                Ok(())
            }

            fn validate(&self) -> Result<()> {
                checks::layers(self.num_hidden_layers)?;
                checks::sizes(&[
                    ("vocab_size", self.vocab_size),
                    ("hidden_size", self.hidden_size),
                    ("state_size", self.state_size),
                    ("conv_kernel", self.conv_kernel),
                    ("intermediate_size", self.intermediate_size()),
                    ("time_step_rank", self.time_step_rank()),
                ])?;
                checks::not_negative("layer_norm_epsilon", self.layer_norm_epsilon)?;
                $(checks::not_negative(stringify!($eps), self.$eps)?;)?
                checks::not_negative("initializer_range", self.initializer_range)?;
                fresh_time_steps(self.time_step_min, self.time_step_max, self.time_step_floor)
            }

            fn complete(&mut self) {
                self.intermediate_size = Some(self.intermediate_size());
                self.time_step_rank = Some(self.time_step_rank());
            }
        }
    };
}

mamba!(MambaConfig: "mamba" {});
mamba!(FalconMambaConfig: "falcon_mamba" {
    /// Added to the mean square in the norms of time steps and of what enters and leaves the states.
    mixer_rms_eps: f64 = 1e-6,
} eps: mixer_rms_eps);

/// Takes away a `time_step_rank` that says `auto`.
pub(super) fn forget_automatic_rank(raw: &mut Map<String, Value>) {
    if raw.get("time_step_rank").and_then(Value::as_str) == Some("auto") {
        raw.remove("time_step_rank");
    }
}

/// Checks what fresh time steps are drawn from.
pub(super) fn fresh_time_steps(min: f64, max: f64, floor: f64) -> Result<()> {
    checks::positive("time_step_min", min)?;
    checks::positive("time_step_max", max)?;
    checks::not_negative("time_step_floor", floor)
}
