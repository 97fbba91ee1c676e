//! GLM-4.5 (2025): heads that rotate in part, DeepSeek-V3's router, and shared experts.

use transformers_config::Glm4MoeConfig;

use crate::ModelError;
use crate::nn::{
    Attention, AttentionOptions, DecoderFamily, DecoderOptions, DenseOrSparse, ExpertGroups,
    Experts, ExpertsOptions, GatedMlp, Init, NormOptions, PreNormLayer, QkNorm, Router,
    RouterOptions, RouterOutputs, Score, SparseMoe, activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Glm4Moe;

impl DecoderFamily for Glm4Moe {
    type Config = Glm4MoeConfig;
    type Layer = PreNormLayer<Attention, DenseOrSparse<SparseMoe>>;

    fn options(config: &Glm4MoeConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            router: Some(RouterOutputs {
                by_default: config.output_router_logits,
                loss: None,
            }),
        })
    }

    fn layer(config: &Glm4MoeConfig, index: usize, init: &Init) -> Result<Self::Layer, ModelError> {
        let hidden = config.hidden_size;
        let norm = QkNorm::PerHead(NormOptions::rms(config.rms_norm_eps));
        let attention = AttentionOptions {
            qkv_bias: config.attention_bias,
            qk_norm: config.use_qk_norm.then_some(norm),
            ..AttentionOptions::new(
                hidden,
                config.num_attention_heads,
                config.num_key_value_heads,
                config.head_dim(),
            )
        };
        let activation = activation("hidden_act", &config.hidden_act)?;
        let dense = |inner| GatedMlp::new(hidden, inner, false, activation, init);
        let mlp = match index < config.first_k_dense_replace {
            true => DenseOrSparse::Dense(dense(config.intermediate_size)),
            false => {
                let (count, inner) = (config.n_routed_experts, config.moe_intermediate_size);
                let experts = ExpertsOptions::new(count, hidden, inner, activation);
                let router = RouterOptions {
                    groups: Some(ExpertGroups {
                        count: config.n_group,
                        kept: config.topk_group,
                        best: 2,
                    }),
                    normalise: config.norm_topk_prob.then_some(1e-20),
                    scale: config.routed_scaling_factor,
                    ..RouterOptions::new(config.num_experts_per_tok, Score::Sigmoid)
                };
                let gate = Router::new(&experts, router, init).with_score_correction(init);
                let moe = SparseMoe::of(gate, Experts::new(&experts, init));
                DenseOrSparse::Sparse(moe.with_shared(dense(inner * config.n_shared_experts)))
            }
        };
        let attention = Attention::new(&attention, init);
        let norm = NormOptions::rms(config.rms_norm_eps);
        Ok(PreNormLayer::around(attention, mlp, hidden, norm, init))
    }
}
