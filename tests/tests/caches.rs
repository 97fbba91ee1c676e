//! Every kind of cache against the one that grows.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use burn::tensor::Tensor;
use serde_json::json;
use transformers_config::GenerationConfig;
use transformers_generation::Generate;
use transformers_modeling::nn::{
    CacheBits, CacheImplementation, LayeredCache, QuantizedCacheOptions,
};
use transformers_modeling::{
    AutoModelForCausalLM, AutoModelForSeq2SeqLM, ModelInputs, PreTrainedModel, Rows,
};

fn case(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("cases")
        .join(name)
}

fn load(name: &str) -> Box<dyn PreTrainedModel> {
    match name {
        "t5" | "bart" => AutoModelForSeq2SeqLM::from_pretrained(case(name))
            .unwrap()
            .into_inner(),
        _ => AutoModelForCausalLM::from_pretrained(case(name))
            .unwrap()
            .into_inner(),
    }
}

/// Two prompts, one of them padded on the left.
fn prompt(name: &str) -> transformers_generation::Prompt {
    let rows = [[12, 31, 17, 25, 14], [0, 0, 19, 33, 11]].map(|row| row.map(|id: u32| id));
    let mask = [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]];
    let attention_mask = match name {
        "t5" | "bart" => None,
        _ => Some(Rows::new(&mask).unwrap()),
    };
    transformers_generation::Prompt {
        input_ids: Rows::new(&rows).unwrap(),
        attention_mask,
    }
}

fn tokens(model: &dyn PreTrainedModel, name: &str, config: serde_json::Value) -> Vec<Vec<u32>> {
    let config: GenerationConfig = serde_json::from_value(config).unwrap();
    model.generate(prompt(name), &config).unwrap().sequences
}

#[test]
fn a_static_cache_gives_the_same_tokens() {
    for name in [
        "llama",
        "mistral",
        "gemma2",
        "deepseek_v3",
        "modernbert_decoder",
        "mamba",
        "lfm2",
        "t5",
        "bart",
    ] {
        let model = load(name);
        for beams in [1, 3] {
            let config = |kind: &str| json!({"max_new_tokens": 14, "num_beams": beams, "cache_implementation": kind});
            let dynamic = tokens(model.as_ref(), name, config("dynamic"));
            let fixed = tokens(model.as_ref(), name, config("static"));
            assert_eq!(dynamic, fixed, "{name} with {beams} beams");
        }
    }
}

/// Logits `[seq, vocab]` of 24 tokens: six at once, then one by one.
fn logits(model: &dyn PreTrainedModel, implementation: CacheImplementation) -> Tensor<3> {
    let mut cache = model.cache_layout().unwrap().cache(implementation);
    let ids: Vec<u32> = (0..24).map(|index| 10 + index * 7 % 50).collect();
    let mut parts = Vec::new();
    for part in [&ids[..6]].into_iter().chain(ids[6..].chunks(1)) {
        let inputs = ModelInputs::new(part.to_vec());
        let output = model.forward(&inputs, Some(cache.as_mut())).unwrap();
        parts.push(output.logits().unwrap());
    }
    Tensor::cat(parts, 1)
}

#[test]
fn quantised_caches_are_near() {
    // The share of the largest logit that another one may be away, as the documentation says.
    for (bits, limit) in [(CacheBits::Eight, 0.01), (CacheBits::Four, 0.15)] {
        for name in ["llama", "qwen2", "deepseek_v3"] {
            let model = load(name);
            let exact = logits(model.as_ref(), CacheImplementation::Dynamic);
            let options = QuantizedCacheOptions {
                bits,
                residual_length: 4,
                ..QuantizedCacheOptions::default()
            };
            let near = logits(model.as_ref(), CacheImplementation::Quantized(options));
            let largest: f32 = exact.clone().abs().max().into_scalar();
            let away: f32 = (near - exact).abs().max().into_scalar();
            let share = away / largest;
            println!("{name} {bits:?}: {share}");
            assert!(share > 0.0 && share < limit, "{name} {bits:?}: {share}");
        }
    }
}

#[test]
fn beams_reorder_quantised_caches() {
    let model = load("llama");
    let config = |kind: &str| {
        json!({"max_new_tokens": 10, "num_beams": 3, "cache_implementation": kind,
            "cache_config": {"nbits": 8, "residual_length": 64}})
    };
    // Nothing is quantised yet: the same tokens.
    let dynamic = tokens(model.as_ref(), "llama", config("dynamic"));
    assert_eq!(
        dynamic,
        tokens(model.as_ref(), "llama", config("quantized"))
    );
}

#[test]
fn quantised_tokens_take_less_memory() {
    let fill = |mut cache: LayeredCache| {
        use transformers_modeling::nn::Cache;
        let rows = || Tensor::<4>::ones([1, 2, 1024, 64], &Default::default());
        cache.update(0, rows(), rows());
        cache.memory() as f64
    };
    let dynamic = fill(LayeredCache::new([None]));
    let quantised = |bits| {
        let options = QuantizedCacheOptions {
            bits,
            ..QuantizedCacheOptions::default()
        };
        dynamic / fill(LayeredCache::quantized([None], options))
    };
    // 256 bytes of a head's 64 features in f32 become 32 or 64, and eight for the range.
    assert_eq!(quantised(CacheBits::Four), 256.0 / 40.0);
    assert_eq!(quantised(CacheBits::Eight), 256.0 / 72.0);
}

#[test]
fn a_static_cache_that_is_full_says_so() {
    let model = load("llama");
    let layout = model.cache_layout().unwrap();
    let mut cache = layout.cache(CacheImplementation::Static { max_cache_len: 4 });
    let inputs = ModelInputs::new(vec![10; 5]);
    let error = model.forward(&inputs, Some(cache.as_mut())).unwrap_err();
    assert!(error.to_string().contains("max_cache_len"), "{error}");
}

#[test]
fn caches_that_are_not_known_are_listed() {
    let model = load("llama");
    let config = json!({"cache_implementation": "offloaded"});
    let config: GenerationConfig = serde_json::from_value(config).unwrap();
    let error = model.generate(prompt("llama"), &config).unwrap_err();
    assert!(error.to_string().contains("dynamic, static"), "{error}");
}
