//! DeepSeek-V2 and V3 (2024): attention through a latent vector, experts in groups, and shared experts.

use transformers_config::{DeepseekV2Config, DeepseekV3Config};

use crate::ModelError;
use crate::nn::{
    DecoderFamily, DecoderOptions, DenseOrSparse, ExpertGroups, ExpertsOptions, GatedMlp, Init,
    LatentAttention, LatentAttentionOptions, NormOptions, PreNormLayer, RouterOptions,
    RouterOutputs, Score, SparseMoe, activation,
};

/// The layer of both.
type Layer = PreNormLayer<LatentAttention, DenseOrSparse<SparseMoe>>;

/// The latent vector's norms have an epsilon of their own.
const LATENT_NORM_EPS: f64 = 1e-6;

/// What both configs call alike.
macro_rules! latent_attention {
    ($config:ident { interleaved: $interleaved:expr }) => {
        LatentAttentionOptions {
            hidden_size: $config.hidden_size,
            num_heads: $config.num_attention_heads,
            q_rank: $config.q_lora_rank,
            kv_rank: $config.kv_lora_rank,
            nope_dim: $config.qk_nope_head_dim,
            rope_dim: $config.qk_rope_head_dim,
            value_dim: $config.v_head_dim,
            bias: $config.attention_bias,
            norm_eps: LATENT_NORM_EPS,
            scale: $config.attention_scale(),
            interleaved: $interleaved,
        }
    };
}

/// A dense block in the first layers; in others experts that a sigmoid chooses by groups, and shared ones.
macro_rules! dense_or_grouped {
    ($config:ident, $index:ident, $init:ident) => {{
        use $crate::nn::{
            DenseOrSparse, ExpertGroups, Experts, ExpertsOptions, GatedMlp, Router, RouterOptions,
            Score, SparseMoe, activation,
        };
        let hidden = $config.hidden_size;
        let activation = activation("hidden_act", &$config.hidden_act)?;
        let dense = |inner| GatedMlp::new(hidden, inner, false, activation, $init);
        match $index < $config.first_k_dense_replace {
            true => DenseOrSparse::Dense(dense($config.intermediate_size)),
            false => {
                let (count, inner) = ($config.n_routed_experts, $config.moe_intermediate_size);
                let experts = ExpertsOptions::new(count, hidden, inner, activation);
                let router = RouterOptions {
                    groups: Some(ExpertGroups {
                        count: $config.n_group,
                        kept: $config.topk_group,
                        best: 2,
                    }),
                    normalise: $config.norm_topk_prob.then_some(1e-20),
                    scale: $config.routed_scaling_factor,
                    ..RouterOptions::new($config.num_experts_per_tok, Score::Sigmoid)
                };
                let gate = Router::new(&experts, router, $init).with_score_correction($init);
                let moe = SparseMoe::of(gate, Experts::new(&experts, $init));
                DenseOrSparse::Sparse(moe.with_shared(dense(inner * $config.n_shared_experts)))
            }
        }
    }};
}
pub(super) use dense_or_grouped;

/// DeepSeek-V2.
#[derive(Debug)]
pub(crate) struct DeepseekV2;

impl DecoderFamily for DeepseekV2 {
    type Config = DeepseekV2Config;
    type Layer = Layer;

    fn options(config: &DeepseekV2Config) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            router: Some(RouterOutputs {
                by_default: config.output_router_logits,
                loss: None,
            }),
        })
    }

    fn layer(config: &DeepseekV2Config, index: usize, init: &Init) -> Result<Layer, ModelError> {
        let hidden = config.hidden_size;
        let activation = activation("hidden_act", &config.hidden_act)?;
        let dense = |inner| GatedMlp::new(hidden, inner, config.mlp_bias, activation, init);
        let mlp = match index < config.first_k_dense_replace {
            true => DenseOrSparse::Dense(dense(config.intermediate_size)),
            false => {
                let (count, inner) = (config.n_routed_experts, config.moe_intermediate_size);
                let experts = ExpertsOptions::new(count, hidden, inner, activation);
                let top_k = config.num_experts_per_tok.unwrap_or(1);
                let router = RouterOptions {
                    groups: config.groups().map(|(count, kept)| ExpertGroups {
                        count,
                        kept,
                        best: 1,
                    }),
                    scale: config.routed_scaling_factor,
                    ..RouterOptions::new(top_k, Score::Softmax)
                };
                let moe = SparseMoe::new(&experts, router, init);
                DenseOrSparse::Sparse(moe.with_shared(dense(inner * config.n_shared_experts)))
            }
        };
        let attention = latent_attention!(config { interleaved: true });
        let attention = LatentAttention::new(&attention, init);
        let norm = NormOptions::rms(config.rms_norm_eps);
        Ok(PreNormLayer::around(attention, mlp, hidden, norm, init))
    }
}

/// DeepSeek-V3.
#[derive(Debug)]
pub(crate) struct DeepseekV3;

impl DecoderFamily for DeepseekV3 {
    type Config = DeepseekV3Config;
    type Layer = Layer;

    fn options(config: &DeepseekV3Config) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            router: Some(RouterOutputs {
                by_default: config.output_router_logits,
                loss: None,
            }),
        })
    }

    fn layer(config: &DeepseekV3Config, index: usize, init: &Init) -> Result<Layer, ModelError> {
        let hidden = config.hidden_size;
        let mlp = dense_or_grouped!(config, index, init);
        let interleaved = config.rope_interleave;
        let attention = latent_attention!(config {
            interleaved: interleaved
        });
        let attention = LatentAttention::new(&attention, init);
        let norm = NormOptions::rms(config.rms_norm_eps);
        Ok(PreNormLayer::around(attention, mlp, hidden, norm, init))
    }
}
