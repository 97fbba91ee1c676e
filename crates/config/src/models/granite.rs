//! `granite`, llama with four scalars, and `granitemoe`, the same with a mixture of experts in every layer.

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};
use crate::{RopeParameters, checks};

/// Declares one of them; `check` is of what it has for itself.
macro_rules! granite {
    ($name:ident: $model_type:literal { $($own:tt)* } check: $check:expr) => {
        config! {
            #[doc = concat!("The configuration of a ", $model_type, " model.")]
            $name {
                vocab_size: usize = 32_000,
                hidden_size: usize = 4096,
                /// The width inside of the MLP, or of an expert.
                intermediate_size: usize = 11_008,
                num_hidden_layers: usize = 32,
                num_attention_heads: usize = 32,
                num_key_value_heads: Option<usize> = None,
                /// The size of a head, where it is stated.
                #[serde(skip_serializing_if = "Option::is_none")]
                head_dim: Option<usize> = None,
                hidden_act: String = "silu".into(),
                max_position_embeddings: usize = 2048,
                initializer_range: f64 = 0.02,
                rms_norm_eps: f64 = 1e-6,
                use_cache: bool = true,
                tie_word_embeddings: bool = false,
                rope_parameters: RopeParameters = RopeParameters::default(),
                attention_bias: bool = false,
                attention_dropout: f64 = 0.0,
                /// Factor on the embeddings.
                embedding_multiplier: f64 = 1.0,
                /// The logits are divided by it.
                logits_scaling: f64 = 1.0,
                /// Factor on what is added to the residual stream.
                residual_multiplier: f64 = 1.0,
                /// Factor on the scores.
                attention_multiplier: f64 = 1.0,
                $($own)*
            }
            tokens { pad: None, bos: Some(1), eos: Some(2) }
        }

        rotary_decoder! {
            $name: $model_type {
                kv_heads: num_key_value_heads,
                unstated_head_dim: head_dim,
                sizes: [intermediate_size],
                eps: rms_norm_eps,
                standardize: |raw| rope::standardize(raw, DEFAULT_THETA),
                check: |config| {
                    checks::divisor("logits_scaling", Some(config.logits_scaling))?;
                    let check: fn(&$name) -> crate::Result<()> = $check;
                    check(config)
                },
            }
        }
    };
}

granite!(GraniteConfig: "granite" {
    mlp_bias: bool = false,
} check: |_| Ok(()));
granite!(GraniteMoeConfig: "granitemoe" {
    num_local_experts: usize = 8,
    num_experts_per_tok: usize = 2,
    output_router_logits: bool = false,
    router_aux_loss_coef: f64 = 0.001,
} check: |config| checks::experts(config.num_local_experts, config.num_experts_per_tok));
