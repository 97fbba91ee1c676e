//! Training steps of models with random weights, by the Trainer with its defaults: `training SHAPE STEPS` prints a line of
//! JSON with the median seconds of the passes of a step and of a whole one, tokens in a second, and the peak of memory.
//! Shapes: `smollm2` (135 million parameters, 1 × 256 tokens), `smollm2_lora` (adapters of it alone), `llama10m` (8 × 128),
//! `minilm` (a classifier, 32 × 128). `benches/peers/training.py` does the same with the reference's Trainer.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::{Arc, Mutex};
use std::time::Instant;

use burn::tensor::Device;
use serde_json::{Value as Json, json};
use transformers_config::AutoConfig;
use transformers_modeling::{
    AutoModelForCausalLM, AutoModelForSequenceClassification, LoraConfig, PeftModel,
    PreTrainedModel, TargetModules,
};
use transformers_trainer::data::{Example, Value};
use transformers_trainer::{
    Event, Result, SaveStrategy, Trainer, TrainerCallback, TrainerControl, TrainingArguments,
};

fn main() {
    transformers_kernels::memory::keep_freed_memory();
    let mut args = std::env::args().skip(1);
    let shape = args.next().unwrap_or_else(|| "llama10m".into());
    let steps: u64 = args.next().map_or(5, |steps| steps.parse().unwrap());
    let (config, [batch, seq]) = config(&shape);
    let vocab = config["vocab_size"].as_u64().unwrap() as i64;
    let arguments = TrainingArguments {
        max_steps: steps as i64 + 1,
        per_device_train_batch_size: batch,
        learning_rate: 1e-5,
        save_strategy: SaveStrategy::No,
        ..TrainingArguments::new("training-bench")
    };
    let rows = batch * (steps as usize + 1);
    let example = |row: usize| {
        let at = |i: usize| ((row % batch * seq + i) as i64 * 7919 + 13) % vocab;
        let ids: Vec<i64> = (0..seq).map(at).collect();
        let labels = match shape == "minilm" {
            true => Value::Integer(row as i64 % 2),
            false => Value::Integers(ids.clone()),
        };
        Example::new()
            .with("input_ids", Value::Integers(ids))
            .with("attention_mask", Value::Integers(vec![1; seq]))
            .with("labels", labels)
    };
    let examples: Vec<Example> = (0..rows).map(example).collect();
    let times = Arc::new(Mutex::new(Vec::new()));
    let output = Trainer::new(model(&shape, config), arguments)
        .unwrap()
        .with_train_dataset(Arc::new(examples))
        .with_callback(Clock(times.clone()))
        .train()
        .unwrap();
    // The first step begins with nothing in the caches.
    let times = times.lock().unwrap();
    let steps: Vec<f64> = times.windows(2).map(|two| two[1].0 - two[0].0).collect();
    let passes: Vec<f64> = times.windows(2).map(|two| two[1].1 - two[0].0).collect();
    let step = median(steps);
    println!(
        "{}",
        json!({
            "shape": shape, "passes": median(passes), "step": step, "loss": output.training_loss,
            "tokens_per_second": (batch * seq) as f64 / step, "peak_mib": peak(),
        })
    );
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The seconds at which each step ended, and at which its gradients were there.
struct Clock(Arc<Mutex<Vec<(f64, f64)>>>);

static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

impl TrainerCallback for Clock {
    fn name(&self) -> &str {
        "Clock"
    }
    fn on_pre_optimizer_step(&mut self, _: Event<'_>, _: &mut TrainerControl) -> Result<()> {
        let now = START.elapsed().as_secs_f64();
        self.0.lock().unwrap().push((now, now));
        Ok(())
    }
    fn on_step_end(&mut self, _: Event<'_>, _: &mut TrainerControl) -> Result<()> {
        self.0.lock().unwrap().last_mut().unwrap().0 = START.elapsed().as_secs_f64();
        Ok(())
    }
}

fn model(shape: &str, config: Json) -> Box<dyn PreTrainedModel> {
    let config = AutoConfig::from_value(config).unwrap();
    let device = Device::flex();
    if shape == "minilm" {
        let model = AutoModelForSequenceClassification::from_config(&config, &device);
        return model.unwrap().into_inner();
    }
    let model = AutoModelForCausalLM::from_config(&config, &device);
    let mut model = model.unwrap().into_inner();
    if shape == "smollm2_lora" {
        let lora = LoraConfig {
            r: 16,
            lora_alpha: 32.0,
            target_modules: Some(TargetModules::AllLinear),
            ..LoraConfig::default()
        };
        model.add_adapter("default", &lora, Some(1)).unwrap();
    }
    model
}

fn config(shape: &str) -> (Json, [usize; 2]) {
    let llama = |hidden: u32, inner: u32, layers: u32, heads: [u32; 2], vocab: u32| {
        json!({
            "model_type": "llama", "architectures": ["LlamaForCausalLM"],
            "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
            "num_attention_heads": heads[0], "num_key_value_heads": heads[1],
            "vocab_size": vocab, "tie_word_embeddings": true, "max_position_embeddings": 2048,
        })
    };
    match shape {
        "smollm2" | "smollm2_lora" => (llama(576, 1536, 30, [9, 3], 49152), [1, 256]),
        "llama10m" => (llama(320, 864, 6, [5, 5], 8192), [8, 128]),
        "minilm" => (
            json!({
                "model_type": "bert", "architectures": ["BertForSequenceClassification"],
                "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6,
                "num_attention_heads": 12, "vocab_size": 30522, "hidden_dropout_prob": 0.0,
                "attention_probs_dropout_prob": 0.0,
            }),
            [32, 128],
        ),
        other => panic!("no shape is called {other}"),
    }
}

fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}
