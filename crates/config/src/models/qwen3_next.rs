//! `qwen3_next`, `qwen3_5_text` and `qwen3_5_moe_text`: layers of linear attention with a full one now and then.

use serde_json::{Map, Value, json};

use crate::declare::{config, rotary_decoder, sparse_layers};
use crate::rope::{self, DEFAULT_THETA};
use crate::{ConfigError, LayerType, Result, RopeParameters, checks, layer_types};

/// The part of a head that rotates where nothing is stated.
const PARTIAL: f64 = 0.25;
/// The last of every so many layers is full where nothing is stated.
const INTERVAL: usize = 4;

/// Declares the configuration of one of them: what is not given is the same in all.
macro_rules! hybrid {
    (
        $(#[$meta:meta])*
        $name:ident: $model_type:literal {
            wrappers: $wrappers:expr,
            vocab_size: $vocab:literal,
            hidden_size: $hidden:literal,
            num_hidden_layers: $layers:literal,
            num_key_value_heads: $kv_heads:literal,
            sizes: [$($size:ident),*],
            check: $check:expr,
            complete: $complete:expr,
            fields: { $($fields:tt)* },
        }
    ) => {
        config! {
            $(#[$meta])*
            $name {
                vocab_size: usize = $vocab,
                hidden_size: usize = $hidden,
                num_hidden_layers: usize = $layers,
                num_attention_heads: usize = 16,
                num_key_value_heads: usize = $kv_heads,
                hidden_act: String = "silu".into(),
                max_position_embeddings: usize = 32_768,
                initializer_range: f64 = 0.02,
                rms_norm_eps: f64 = 1e-6,
                use_cache: bool = true,
                tie_word_embeddings: bool = false,
                rope_parameters: RopeParameters = RopeParameters::partial(DEFAULT_THETA, PARTIAL),
                attention_bias: bool = false,
                attention_dropout: f64 = 0.0,
                head_dim: usize = 256,
                /// The tokens that the convolution of linear attention sees.
                linear_conv_kernel_dim: usize = 4,
                /// The size of a query or a key in linear attention.
                linear_key_head_dim: usize = 128,
                /// The size of a value in linear attention.
                linear_value_head_dim: usize = 128,
                /// The number of query and key heads in linear attention.
                linear_num_key_heads: usize = 16,
                /// The number of value heads in linear attention.
                linear_num_value_heads: usize = 32,
                layer_types: Option<Vec<LayerType>> = None,
                $($fields)*
            }
            tokens { pad: None, bos: None, eos: None }
        }

        rotary_decoder! {
            $name: $model_type {
                wrappers: $wrappers,
                kv_heads: num_key_value_heads,
                head_dim: head_dim,
                layer_types: |config| every_nth_full(config.num_hidden_layers, INTERVAL),
                sizes: [
                    linear_conv_kernel_dim, linear_key_head_dim, linear_value_head_dim, linear_num_key_heads,
                    linear_num_value_heads $(, $size)*
                ],
                eps: rms_norm_eps,
                rope: validate_partial,
                standardize: |raw| standardize(raw, $layers),
                check: |config| {
                    let heads = [config.linear_num_key_heads, config.linear_num_value_heads];
                    check(&config.layer_types(), heads)?;
                    let check: fn(&$name) -> Result<()> = $check;
                    check(config)
                },
                complete: $complete,
            }
        }
    };
}

hybrid! {
    /// The configuration of a Qwen3-Next model.
    Qwen3NextConfig: "qwen3_next" {
        wrappers: &[],
        vocab_size: 151_936,
        hidden_size: 2048,
        num_hidden_layers: 48,
        num_key_value_heads: 2,
        sizes: [intermediate_size, moe_intermediate_size, shared_expert_intermediate_size],
        check: |config| config.check_experts(),
        complete: |config| {
            config.mlp_only_layers.get_or_insert_default();
        },
        fields: {
            /// The width inside of the MLP of dense layers.
            intermediate_size: usize = 5632,
            decoder_sparse_step: usize = 1,
            moe_intermediate_size: usize = 512,
            shared_expert_intermediate_size: usize = 512,
            num_experts_per_tok: usize = 10,
            num_experts: usize = 512,
            norm_topk_prob: bool = true,
            output_router_logits: bool = false,
            router_aux_loss_coef: f64 = 0.001,
            mlp_only_layers: Option<Vec<usize>> = None,
        },
    }
}

sparse_layers!(Qwen3NextConfig: num_experts);

hybrid! {
    /// The configuration of Qwen3.5's text model, alone or within `qwen3_5`.
    Qwen3_5TextConfig: "qwen3_5_text" {
        wrappers: &["qwen3_5"],
        vocab_size: 248_320,
        hidden_size: 4096,
        num_hidden_layers: 32,
        num_key_value_heads: 4,
        sizes: [intermediate_size],
        check: |_| Ok(()),
        complete: |_| (),
        fields: {
            intermediate_size: usize = 12_288,
        },
    }
}

hybrid! {
    /// The configuration of the text model of Qwen3.5 with experts, alone or within `qwen3_5_moe`.
    Qwen3_5MoeTextConfig: "qwen3_5_moe_text" {
        wrappers: &["qwen3_5_moe"],
        vocab_size: 248_320,
        hidden_size: 2048,
        num_hidden_layers: 40,
        num_key_value_heads: 2,
        sizes: [moe_intermediate_size, shared_expert_intermediate_size],
        check: |config| checks::experts(config.num_experts, config.num_experts_per_tok),
        complete: |_| (),
        fields: {
            moe_intermediate_size: usize = 512,
            shared_expert_intermediate_size: usize = 512,
            num_experts_per_tok: usize = 8,
            num_experts: usize = 256,
            output_router_logits: bool = false,
            router_aux_loss_coef: f64 = 0.001,
        },
    }
}

/// Linear attention, with a full layer as the last of each `interval`.
fn every_nth_full(layers: usize, interval: usize) -> Vec<LayerType> {
    let types = layer_types::every_nth_full(layers, interval).into_iter();
    types
        .map(|kind| match kind {
            LayerType::SlidingAttention => LayerType::LinearAttention,
            kind => kind,
        })
        .collect()
}

/// Published files say how often there is a full layer, and which part of a head rotates beside the other parameters.
fn standardize(raw: &mut Map<String, Value>, layers: usize) -> Result<()> {
    let unstated = raw.get("layer_types").is_none_or(Value::is_null);
    if unstated && let Some(interval) = rope::take(raw, "full_attention_interval") {
        let interval = interval.as_u64().filter(|interval| *interval > 0);
        let interval = interval.ok_or_else(|| {
            ConfigError::invalid("full_attention_interval", "it is not a count of layers")
        })?;
        let count = raw.get("num_hidden_layers").and_then(Value::as_u64);
        let count = count.map_or(layers, |count| count as usize);
        checks::layers(count)?;
        let interval = usize::try_from(interval).unwrap_or(usize::MAX);
        raw.insert("layer_types".into(), json!(every_nth_full(count, interval)));
    }
    rope::standardize_partial(raw, DEFAULT_THETA, PARTIAL)
}

fn check(layer_types: &[LayerType], [key_heads, heads]: [usize; 2]) -> Result<()> {
    let known = [LayerType::LinearAttention, LayerType::FullAttention];
    if let Some(kind) = layer_types.iter().find(|kind| !known.contains(kind)) {
        let reason = format!("`{kind}` is not among the layers of this family: linear_attention, full_attention");
        return Err(ConfigError::invalid("layer_types", reason));
    }
    if !heads.is_multiple_of(key_heads) {
        let reason = format!("{heads} heads cannot share {key_heads} heads of keys evenly");
        return Err(ConfigError::invalid("linear_num_value_heads", reason));
    }
    Ok(())
}
