//! Trainings of adapters. One test: the numbers that dropout draws are those of the process.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use transformers_config::AutoConfig;
use transformers_modeling::{AutoModelForCausalLM, DeviceSpec, LoadOptions, LoraConfig, PeftModel};
use transformers_trainer::data::{Dataset, Example, Value};
use transformers_trainer::{Trainer, TrainingArguments};

#[test]
fn an_adapter_with_dropout_resumes_exactly() {
    let config = json!({
        "model_type": "llama", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 32, "pad_token_id": 0,
    });
    let config = AutoConfig::from_json_str(&config.to_string()).unwrap();
    let options = LoadOptions {
        device: DeviceSpec::Cpu,
        seed: Some(5),
        ..LoadOptions::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base");
    let model = AutoModelForCausalLM::from_config_with(&config, &options).unwrap();
    model.save_pretrained(&base).unwrap();
    let lora = LoraConfig {
        r: 2,
        lora_dropout: 0.4,
        ..LoraConfig::default()
    };
    let text = |at: i64| {
        let ids = Value::Integers((0..6).map(|step| 3 + (at + step * step) % 20).collect());
        Example::new()
            .with("input_ids", ids.clone())
            .with("labels", ids)
    };
    let texts: Arc<dyn Dataset> = Arc::new((0..9).map(text).collect::<Vec<_>>());
    let trainer = |name: &str| {
        let model = AutoModelForCausalLM::from_pretrained_with(base.as_path(), &options).unwrap();
        let mut model = model.into_inner();
        model.add_adapter("default", &lora, Some(1)).unwrap();
        let args = json!({
            "output_dir": folder.path().join(name).to_str(), "max_steps": 6, "per_device_train_batch_size": 2,
            "learning_rate": 1e-2, "save_steps": 3, "logging_steps": 1,
        });
        let args = TrainingArguments::from_json(&args).unwrap();
        Trainer::new(model, args)
            .unwrap()
            .with_train_dataset(texts.clone())
    };
    trainer("whole").train().unwrap();
    trainer("parts").train().unwrap();
    let last = |name: &str| folder.path().join(name).join("checkpoint-6");
    std::fs::remove_dir_all(last("parts")).unwrap();
    trainer("parts").resume().unwrap();
    let read = |folder: &Path, file: &str| std::fs::read(folder.join(file)).unwrap();
    for file in ["adapter_model.safetensors", "optimizer.safetensors"] {
        assert!(
            read(&last("whole"), file) == read(&last("parts"), file),
            "{file}"
        );
    }
    assert!(!last("whole").join("model.safetensors").exists());
    let first = folder.path().join("whole/checkpoint-3");
    let weights = "adapter_model.safetensors";
    assert!(read(&last("whole"), weights) != read(&first, weights));
}
