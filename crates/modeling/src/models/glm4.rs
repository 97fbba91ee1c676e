//! GLM-4 (GLM Team 2024, the 0414 models): four norms in a layer, a rotation of neighbouring values in half of every head,
//! and one weight for gate and up.

use transformers_config::Glm4Config;

use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpForm, MlpOptions,
    NormOptions, RotaryLayout, SandwichBlock, activation,
};
use crate::{ModelError, Names};

/// The family.
#[derive(Debug)]
pub(crate) struct Glm4;

impl DecoderFamily for Glm4 {
    type Config = Glm4Config;
    type Layer = SandwichBlock;

    const NAMES: Names = &[
        ("post_attention_layernorm", "post_self_attn_layernorm"),
        ("pre_feedforward_layernorm", "post_attention_layernorm"),
        ("post_feedforward_layernorm", "post_mlp_layernorm"),
    ];

    fn options(config: &Glm4Config) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            rotary_layout: RotaryLayout::Interleaved,
        })
    }

    fn layer(config: &Glm4Config, _: usize, init: &Init) -> Result<SandwichBlock, ModelError> {
        let attention = AttentionOptions {
            qkv_bias: config.attention_bias,
            ..attention_options!(config)
        };
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions {
            form: MlpForm::FusedGated,
            ..MlpOptions::gated(config.intermediate_size, activation)
        };
        let norm = NormOptions::rms(config.rms_norm_eps);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(SandwichBlock::new(&block, init))
    }
}
