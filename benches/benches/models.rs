//! A llama of eight layers and a mixture of experts of sixteen, both of 512 features, with random weights: a prompt, and
//! decoding after it.
#![allow(missing_docs, clippy::unwrap_used)]

use burn::tensor::Device;
use divan::Bencher;
use transformers_config::{AutoConfig, GenerationConfig, LlamaConfig, Qwen3MoeConfig};
use transformers_generation::Generate;
use transformers_modeling::AutoModelForCausalLM;

fn main() {
    divan::main();
}

fn model() -> AutoModelForCausalLM {
    let config = LlamaConfig {
        vocab_size: 8192,
        hidden_size: 512,
        intermediate_size: 1408,
        num_hidden_layers: 8,
        num_attention_heads: 8,
        num_key_value_heads: Some(2),
        ..LlamaConfig::default()
    };
    let config = AutoConfig::from_typed(&config).unwrap();
    AutoModelForCausalLM::from_config(&config, &Device::flex()).unwrap()
}

/// 32 experts, of which a token passes four: 320 million parameters, of which a token passes 50.
fn mixture() -> AutoModelForCausalLM {
    let config = Qwen3MoeConfig {
        vocab_size: 8192,
        hidden_size: 512,
        num_hidden_layers: 16,
        num_attention_heads: 8,
        num_key_value_heads: 2,
        head_dim: Some(64),
        moe_intermediate_size: 384,
        num_local_experts: 32,
        num_experts_per_tok: 4,
        norm_topk_prob: true,
        ..Qwen3MoeConfig::default()
    };
    let config = AutoConfig::from_typed(&config).unwrap();
    AutoModelForCausalLM::from_config(&config, &Device::flex()).unwrap()
}

fn new_tokens(count: usize) -> GenerationConfig {
    GenerationConfig {
        max_new_tokens: Some(count),
        eos_token_id: Some(Vec::new().into()),
        ..GenerationConfig::default()
    }
}

#[divan::bench(args = [16, 256], sample_count = 10)]
fn prompt(bencher: Bencher<'_, '_>, len: usize) {
    let (model, ids) = (model(), vec![7u32; len]);
    bencher.bench_local(|| model.generate(&ids, &new_tokens(1)).unwrap());
}

#[divan::bench(sample_count = 10)]
fn prompt_of_16_then_32_tokens(bencher: Bencher<'_, '_>) {
    let (model, ids) = (model(), vec![7u32; 16]);
    bencher.bench_local(|| model.generate(&ids, &new_tokens(32)).unwrap());
}

#[divan::bench(args = [16, 256], sample_count = 10)]
fn mixture_prompt(bencher: Bencher<'_, '_>, len: usize) {
    let (model, ids) = (mixture(), (0..len as u32).collect::<Vec<_>>());
    bencher.bench_local(|| model.generate(&ids, &new_tokens(1)).unwrap());
}

#[divan::bench(sample_count = 10)]
fn mixture_prompt_of_16_then_32_tokens(bencher: Bencher<'_, '_>) {
    let (model, ids) = (mixture(), (0..16).collect::<Vec<u32>>());
    bencher.bench_local(|| model.generate(&ids, &new_tokens(32)).unwrap());
}
