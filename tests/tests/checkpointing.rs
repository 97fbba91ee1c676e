//! Gradient checkpointing of a deep decoder: the same gradients, and less memory as the allocator counts it.
#![allow(clippy::unwrap_used)]

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};
use peak_alloc::PeakAlloc;
use serde_json::{Value, json};
use transformers_config::AutoConfig;
use transformers_modeling::{AutoModelForCausalLM, Labels, ModelInputs, Rows};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const LAYERS: usize = 16;
const SEQ: u32 = 96;

fn config(model_type: &str, more: &Value) -> AutoConfig {
    let mut config = json!({
        "model_type": model_type,
        "vocab_size": 40,
        "hidden_size": 32,
        "intermediate_size": 96,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "pad_token_id": 0,
    });
    let more = more.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(more);
    AutoConfig::from_value(config).unwrap()
}

/// Two rows, the second padded.
fn inputs() -> ModelInputs {
    let ids: Vec<u32> = (0..SEQ).map(|i| 1 + i * 7 % 39).collect();
    let shorter: Vec<u32> = (0..SEQ).map(|i| u32::from(i < SEQ - 9)).collect();
    let labels: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
    ModelInputs {
        attention_mask: Some(Rows::new(&[vec![1; SEQ as usize], shorter]).unwrap()),
        labels: Some(Labels::Ids(Rows::new(&[labels.clone(), labels]).unwrap())),
        output_router_logits: Some(false),
        ..ModelInputs::new(Rows::new(&[ids.clone(), ids]).unwrap())
    }
}

struct Collect(Gradients, Vec<Vec<f32>>);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(&self.0).unwrap();
        self.1.push(gradient.into_data().iter().collect());
    }
}

/// The gradients, and the most bytes that the step had beside what was there.
fn step(model: &AutoModelForCausalLM) -> (Vec<Vec<f32>>, usize) {
    let inputs = inputs();
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let loss = model.forward(&inputs, None).unwrap().loss().unwrap();
    let gradients = loss.backward();
    let most = ALLOCATOR.peak_usage() - before;
    let mut collect = Collect(gradients, Vec::new());
    model.visit(&mut collect);
    (collect.1, most)
}

#[test]
fn layers_run_again_for_the_same_gradients_in_less_memory() {
    let experts = json!({
        "head_dim": 8, "moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "sliding_window": 20,
        "use_sliding_window": true,
    });
    for (model_type, more) in [("llama", json!({})), ("qwen3_moe", experts)] {
        let config = config(model_type, &more);
        let model = AutoModelForCausalLM::from_config(&config, &Device::flex()).unwrap();
        let model = model.train();
        let (plain, most) = step(&model);
        let (again, least) = step(&model.gradient_checkpointing_enable());
        assert!(plain.len() > 9 * LAYERS && plain.len() == again.len());
        let largest =
            |values: &mut dyn Iterator<Item = f32>| values.fold(0f32, |a, b| a.max(b.abs()));
        let limit = 1e-6 * largest(&mut plain.iter().flatten().copied());
        let pairs = plain.iter().flatten().zip(again.iter().flatten());
        let apart = largest(&mut pairs.map(|(a, b)| a - b));
        assert!(apart <= limit, "{model_type}: {apart} beyond {limit}");
        println!("{model_type}: {most} bytes, with checkpointing {least}");
        assert!(3 * least < most, "{model_type}: {least} of {most} bytes");
    }
}
