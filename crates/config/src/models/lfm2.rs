//! `lfm2`.

use serde_json::{Map, Value};

use crate::declare::{config, rotary_decoder};
use crate::json::rename;
use crate::{ConfigError, LayerType, Result, RopeParameters, checks, rope};

/// The base of the frequencies, where nothing is stated.
const THETA: f64 = 1_000_000.0;

config! {
    /// The configuration of an LFM2 model.
    Lfm2Config {
        vocab_size: usize = 65_536,
        hidden_size: usize = 2560,
        /// The width inside of the MLP, before it is adjusted.
        intermediate_size: usize = 12_288,
        num_hidden_layers: usize = 32,
        num_attention_heads: usize = 32,
        num_key_value_heads: usize = 8,
        /// The size of a head, where it is stated.
        #[serde(skip_serializing_if = "Option::is_none")]
        head_dim: Option<usize> = None,
        max_position_embeddings: usize = 128_000,
        initializer_range: f64 = 0.02,
        /// Added to the mean square in norms.
        norm_eps: f64 = 1e-5,
        use_cache: bool = true,
        tie_word_embeddings: bool = true,
        rope_parameters: RopeParameters = RopeParameters::default(),
        /// Whether the layers of convolution have biases.
        conv_bias: bool = false,
        /// The tokens that a convolution sees.
        #[serde(rename = "conv_L_cache")]
        conv_l_cache: usize = 3,
        /// What the adjusted width of the MLP is a multiple of.
        block_multiple_of: usize = 256,
        /// Factor on the width of the MLP where it is adjusted.
        block_ffn_dim_multiplier: Option<f64> = Some(1.0),
        /// Whether the MLP has two thirds of the stated width.
        block_auto_adjust_ff_dim: bool = true,
        /// The layers of attention, where `layer_types` does not say; all if null.
        full_attn_idxs: Option<Vec<usize>> = None,
        /// Which layers are attention and which convolution.
        layer_types: Option<Vec<LayerType>> = None,
    }
    tokens { pad: Some(0), bos: Some(1), eos: Some(2) }
}

impl Lfm2Config {
    /// The width inside of the MLP.
    pub fn feed_forward_size(&self) -> usize {
        if !self.block_auto_adjust_ff_dim {
            return self.intermediate_size;
        }
        let size = self.intermediate_size.saturating_mul(2) / 3;
        match self.block_ffn_dim_multiplier {
            // A float too large for an integer becomes the largest.
            Some(factor) => ((size as f64 * factor) as usize)
                .checked_next_multiple_of(self.block_multiple_of)
                .unwrap_or(usize::MAX),
            None => size,
        }
    }

    fn by_indices(&self) -> Vec<LayerType> {
        let stated = self.full_attn_idxs.as_ref();
        let attends = |layer| stated.is_none_or(|layers| layers.contains(&layer));
        (0..self.num_hidden_layers)
            .map(|layer| match attends(layer) {
                true => LayerType::FullAttention,
                false => LayerType::Conv,
            })
            .collect()
    }

    fn check(&self) -> Result<()> {
        checks::sizes(&[("intermediate_size", self.feed_forward_size())])?;
        let known = [LayerType::FullAttention, LayerType::Conv];
        let mut kinds = self.layer_types().into_iter();
        match kinds.find(|kind| !known.contains(kind)) {
            Some(kind) => {
                let reason = format!("`{kind}` is neither `full_attention` nor `conv`");
                Err(ConfigError::invalid("layer_types", reason))
            }
            None => Ok(()),
        }
    }
}

rotary_decoder! {
    Lfm2Config: "lfm2" {
        kv_heads: num_key_value_heads,
        unstated_head_dim: head_dim,
        layer_types: |config| config.by_indices(),
        sizes: [conv_l_cache, block_multiple_of],
        eps: norm_eps,
        standardize: standardize,
        check: |config| config.check(),
        complete: |config| {
            if config.layer_types.is_none() {
                let all = || (0..config.num_hidden_layers).collect();
                config.full_attn_idxs.get_or_insert_with(all);
            }
        },
    }
}

fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
    let names = [
        ("tie_embedding", "tie_word_embeddings"),
        ("block_ff_dim", "intermediate_size"),
    ];
    rename(raw, &names);
    rope::standardize(raw, THETA)
}
