//! Layers that see chunks, in the mask and in every cache: Llama 4's text model without experts, as a family of one's own.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde::{Deserialize, Serialize};
use transformers_config::GenerationConfig;
use transformers_config::{BaseConfig, LayerType, ModelConfig, RopeParameters};
use transformers_generation::{Generate, Prompt};
use transformers_modeling::nn::{
    Activation, AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions,
    NormOptions, PreNormBlock, RotaryLayout,
};
use transformers_modeling::{DeviceSpec, Family, ModelError, Names, register};
use transformers_tests::Case;
use transformers_tests::conformance::{load_case, run};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Config {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size_mlp: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    rope_parameters: RopeParameters,
    attention_chunk_size: usize,
    layer_types: Vec<LayerType>,
    #[serde(flatten)]
    base: BaseConfig,
}

impl ModelConfig for Config {
    const MODEL_TYPE: &'static str = "llama4_text";
}

#[derive(Debug)]
struct Chunked;

impl DecoderFamily for Chunked {
    type Config = Config;
    type Layer = PreNormBlock;

    const NAMES: Names = &[("mlp", "feed_forward")];

    fn options(config: &Config) -> DecoderOptions {
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        DecoderOptions {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            head_dim: config.head_dim,
            rope_parameters: Some(config.rope_parameters.clone()),
            rotary_layout: RotaryLayout::Interleaved,
            max_position_embeddings: Some(config.max_position_embeddings),
            attention_chunk_size: Some(config.attention_chunk_size),
            ..DecoderOptions::new(vocab, hidden, config.layer_types.clone())
        }
    }

    fn layer(config: &Config, index: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let (heads, kv_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let attention = AttentionOptions {
            rotary: config.layer_types[index] == LayerType::ChunkedAttention,
            ..AttentionOptions::new(config.hidden_size, heads, kv_heads, config.head_dim)
        };
        let mlp = MlpOptions::gated(config.intermediate_size_mlp, Activation::Silu);
        let block = BlockOptions::new(attention, mlp, NormOptions::rms(config.rms_norm_eps));
        Ok(PreNormBlock::new(&block, init))
    }
}

#[test]
fn chunks_are_those_of_the_reference() {
    register(Family::decoder::<Chunked>()).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/chunked");
    let case = Case::open(&folder).unwrap();
    let checks = run(&case, DeviceSpec::Cpu).unwrap();
    for name in [
        "logits", "hidden", "padded", "greedy", "no cache", "batched",
    ] {
        assert!(checks.iter().any(|check| check.name == name), "{name}");
    }
    for check in checks {
        assert!(check.outcome.passed(), "{}: {}", check.name, check.outcome);
    }

    // Padded on the left, with every cache and without one, the shorter prompt goes on as it does alone.
    let model = load_case(&case).unwrap();
    let prompt = case.tensors.ids("padded_input_ids").unwrap();
    let mask = case.tensors.ids("padded_attention_mask").unwrap();
    let generate = |prompt: Prompt, changes: serde_json::Value| {
        let mut config = serde_json::json!({"max_new_tokens": 9, "do_sample": false});
        config
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        let config: GenerationConfig = serde_json::from_value(config).unwrap();
        model.generate(prompt, &config).unwrap()
    };
    let tokens = prompt.row(1)[3..].to_vec();
    let alone = Prompt {
        input_ids: tokens.into(),
        attention_mask: None,
    };
    let alone = generate(alone, serde_json::json!({"use_cache": false}));
    for changes in [
        serde_json::json!({}),
        serde_json::json!({"use_cache": false}),
        serde_json::json!({"cache_implementation": "static"}),
        serde_json::json!({"prefill_chunk_size": 3}),
    ] {
        let padded = Prompt {
            input_ids: prompt.clone(),
            attention_mask: Some(mask.clone()),
        };
        let padded = generate(padded, changes.clone());
        assert_eq!(padded.new_tokens(1), alone.new_tokens(0), "{changes}");
    }
}
