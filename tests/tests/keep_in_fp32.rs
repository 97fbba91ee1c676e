//! Modules that the reference keeps in float32 (`_keep_in_fp32_modules_strict`), on a family that stands in for one of its.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use transformers_config::{AutoConfig, BaseConfig, LayerType, ModelConfig, RopeParameters};
use transformers_modeling::nn::{
    Activation, AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions,
    NormOptions, PreNormBlock,
};
use transformers_modeling::{
    AutoModelForCausalLM, DeviceSpec, Dtype, Family, LoadOptions, ModelError, SaveOptions, register,
};
use transformers_weights::{Checkpoint, DType, OpenOptions};

/// In the reference's class of this type `lm_head` stays in float32, beside modules that a llama does not have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct StandInConfig {
    #[serde(flatten)]
    base: BaseConfig,
}

impl ModelConfig for StandInConfig {
    const MODEL_TYPE: &'static str = "hy_v4";
}

#[derive(Debug)]
struct StandIn;

impl DecoderFamily for StandIn {
    type Config = StandInConfig;
    type Layer = PreNormBlock;

    fn options(_: &StandInConfig) -> DecoderOptions {
        DecoderOptions {
            norm: Some(NormOptions::rms(1e-6)),
            head_dim: 4,
            rope_parameters: Some(RopeParameters::default()),
            max_position_embeddings: Some(16),
            ..DecoderOptions::new(20, 8, vec![LayerType::FullAttention])
        }
    }

    fn layer(_: &StandInConfig, _index: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let block = BlockOptions::new(
            AttentionOptions::new(8, 2, 1, 4),
            MlpOptions::gated(8, Activation::Silu),
            NormOptions::rms(1e-6),
        );
        Ok(PreNormBlock::new(&block, init))
    }
}

#[test]
fn modules_that_are_kept_in_float32_are_neither_rounded_nor_saved_in_half() {
    register(Family::decoder::<StandIn>()).unwrap();
    let config = AutoConfig::from_typed(&StandInConfig::default()).unwrap();
    let fresh = AutoModelForCausalLM::from_config(&config, &Device::flex()).unwrap();
    let (whole, half) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let names_in_memory = SaveOptions {
        save_original_format: false,
        ..SaveOptions::default()
    };
    fresh
        .save_pretrained_with(whole.path(), &names_in_memory)
        .unwrap();
    let options = LoadOptions {
        device: DeviceSpec::Cpu,
        dtype: Dtype::BFloat16,
        ..LoadOptions::default()
    };
    AutoModelForCausalLM::from_pretrained_with(whole.path(), &options)
        .unwrap()
        .save_pretrained_with(half.path(), &names_in_memory)
        .unwrap();

    let open = |folder: &Path| {
        let file = folder.join("model.safetensors");
        Checkpoint::open_file(&file, &OpenOptions::default()).unwrap()
    };
    let (whole, half) = (open(whole.path()), open(half.path()));
    for name in whole.names() {
        let expected = match name {
            "lm_head.weight" => whole.tensor(name).unwrap(),
            _ => whole.tensor(name).unwrap().cast(DType::BF16).unwrap(),
        };
        assert_eq!(half.tensor(name).unwrap(), expected, "{name}");
    }
    assert!(whole.contains("lm_head.weight"));
}
