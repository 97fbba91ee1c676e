//! Whole trainings: the same numbers as the reference's Trainer, and the same after a resume.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;
use transformers_modeling::{
    AdapterOptions, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification, AutoModelForTokenClassification, DeviceSpec, LoadOptions,
    PeftModel, PreTrainedModel,
};
use transformers_trainer::data::{Dataset, Example};
use transformers_trainer::{Trainer, TrainingArguments};
use transformers_weights::{Checkpoint, DType, OpenOptions};

fn golden(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    tests.join(format!("trainer_{name}"))
}

fn json(path: &Path) -> Json {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn model(name: &str) -> Box<dyn PreTrainedModel> {
    let (folder, options) = (
        golden(name),
        LoadOptions {
            device: DeviceSpec::Cpu,
            ..LoadOptions::default()
        },
    );
    macro_rules! load {
        ($auto:ident) => {
            $auto::from_pretrained_with(folder, &options)
                .unwrap()
                .into_inner()
        };
    }
    let mut model = match name {
        "bert_classification" => load!(AutoModelForSequenceClassification),
        "bert_tokens" => load!(AutoModelForTokenClassification),
        "bert_mlm" => load!(AutoModelForMaskedLM),
        "t5" => load!(AutoModelForSeq2SeqLM),
        _ => load!(AutoModelForCausalLM),
    };
    let adapter = golden(name).join("adapter");
    if adapter.exists() {
        let options = AdapterOptions {
            is_trainable: true,
            ..AdapterOptions::default()
        };
        let adapter = adapter.as_path();
        model.load_adapter("default", adapter, &options).unwrap();
    }
    model
}

fn examples(name: &str) -> Arc<dyn Dataset> {
    let examples = json(&golden(name).join("data.json"));
    let examples: Vec<Example> = serde_json::from_value(examples).unwrap();
    Arc::new(examples)
}

fn arguments(name: &str, output_dir: &Path) -> TrainingArguments {
    let mut args = json(&golden(name).join("arguments.json"));
    args["output_dir"] = output_dir.to_str().unwrap().into();
    TrainingArguments::from_json(&args).unwrap()
}

fn tensors(file: &Path) -> Vec<(String, Vec<f32>)> {
    let checkpoint = Checkpoint::open_file(file, &OpenOptions::default()).unwrap();
    let mut names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
    names.sort();
    let values = |name: &String| {
        let tensor = checkpoint
            .tensor(name)
            .unwrap()
            .cast(DType::F32)
            .unwrap()
            .aligned();
        tensor.as_slice::<f32>().unwrap().to_vec()
    };
    names
        .iter()
        .map(|name| (name.clone(), values(name)))
        .collect()
}

fn relative(what: &str, ours: f64, reference: f64) {
    let apart = (ours - reference).abs() / reference.abs().max(1e-9);
    assert!(
        apart <= 1e-4,
        "{what}: {ours} instead of {reference}, {apart:.1e} away"
    );
}

/// Trains as the reference did, and compares every log and the weights at the end.
fn follows_the_reference(name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = Trainer::new(model(name), arguments(name, folder.path()))
        .unwrap()
        .with_train_dataset(examples(name));
    trainer.train().unwrap();
    let reference = &json(&golden(name).join("log.json"))["log_history"];
    let (reference, ours) = (reference.as_array().unwrap(), &trainer.state().log_history);
    assert_eq!(ours.len(), reference.len(), "{name}");
    for (ours, reference) in ours.iter().zip(reference) {
        for (key, value) in reference.as_object().unwrap() {
            let found = ours
                .get(key)
                .unwrap_or_else(|| panic!("{name}: no {key} in {ours:?}"));
            let what = format!("{name}, step {}, {key}", reference["step"]);
            relative(&what, found.as_f64().unwrap(), value.as_f64().unwrap());
        }
    }
    trainer.save_model(folder.path()).unwrap();
    let weights = match golden(name).join("adapter").exists() {
        true => "adapter_model.safetensors",
        false => "model.safetensors",
    };
    let (ours, reference) = (
        tensors(&folder.path().join(weights)),
        tensors(&golden(name).join("final.safetensors")),
    );
    for ((name_, ours), (reference_name, reference)) in ours.iter().zip(&reference) {
        assert_eq!(name_, reference_name, "{name}");
        for (a, b) in ours.iter().zip(reference) {
            assert!((a - b).abs() <= 1e-4, "{name}, {name_}: {a} instead of {b}");
        }
    }
    assert_eq!(ours.len(), reference.len());
}

macro_rules! follows_the_reference {
    ($($name:ident),+) => {
        $(#[test]
        fn $name() {
            follows_the_reference(stringify!($name));
        })+
    };
}

follows_the_reference!(
    llama,
    gpt2,
    mixtral,
    bert_classification,
    bert_tokens,
    bert_mlm,
    t5,
    llama_smoothing,
    llama_epochs,
    llama_lora,
    llama_dora
);

/// The llama with a checkpoint after every step, and 12 of them.
fn saving(folder: &Path) -> Trainer {
    let args = TrainingArguments {
        max_steps: 12,
        logging_steps: 5.0,
        save_strategy: transformers_trainer::SaveStrategy::Steps,
        save_steps: 1.0,
        save_total_limit: Some(2),
        train_sampling_strategy: transformers_trainer::SamplingStrategy::Random,
        per_device_train_batch_size: 4,
        gradient_accumulation_steps: 4,
        ..arguments("llama", folder)
    };
    let trainer = Trainer::new(model("llama"), args).unwrap();
    trainer.with_train_dataset(examples("llama"))
}

const CHILD: &str = "TRAINER_TEST_FOLDER";

/// What the test below runs in a process of its own, and kills.
#[test]
fn child() {
    if let Some(folder) = std::env::var_os(CHILD) {
        saving(Path::new(&folder)).resume().unwrap();
    }
}

fn logs(folder: &Path) -> Vec<Json> {
    let state = json(&folder.join("checkpoint-12/trainer_state.json"));
    let log = state["log_history"].as_array().unwrap().iter();
    log.filter(|entry| entry.get("loss").is_some())
        .cloned()
        .collect()
}

#[test]
fn a_killed_training_goes_on_as_if_nothing_had_been() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    saving(whole.path()).train().unwrap();

    let exe = std::env::current_exe().unwrap();
    let start = || {
        let mut command = std::process::Command::new(&exe);
        command.args(["--exact", "child"]).env(CHILD, parts.path());
        command.stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let unfinished = |step: u64| parts.path().join(format!("tmp-checkpoint-{step}"));
    for step in [2, 3, 7] {
        // Killed while it saves, with what it is then doing half done.
        let mut child = start();
        while !unfinished(step).exists() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for entry in std::fs::read_dir(parts.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if name.starts_with("checkpoint-") {
                json(&path.join("trainer_state.json"));
                tensors(&path.join("model.safetensors"));
                tensors(&path.join("optimizer.safetensors"));
            }
        }
    }
    assert!(start().wait().unwrap().success());
    for file in [
        "model.safetensors",
        "optimizer.safetensors",
        "scheduler.json",
        "rng_state.json",
    ] {
        let read = |folder: &Path| std::fs::read(folder.join("checkpoint-12").join(file)).unwrap();
        assert!(read(whole.path()) == read(parts.path()), "{file}");
    }
    assert_eq!(logs(whole.path()), logs(parts.path()));
    let left: Vec<_> = std::fs::read_dir(parts.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn an_encoder_decoder_is_evaluated_by_what_it_generates() {
    use transformers_generation::Generate;
    use transformers_trainer::Seq2SeqTrainingArguments;
    let folder = tempfile::tempdir().unwrap();
    let json = serde_json::json!({
        "output_dir": folder.path().to_str(), "predict_with_generate": true, "generation_max_length": 7,
        "per_device_eval_batch_size": 5,
    });
    let args = Seq2SeqTrainingArguments::from_json(&json).unwrap();
    assert_eq!(
        Seq2SeqTrainingArguments::from_json(&args.to_json()).unwrap(),
        args
    );
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = seen.clone();
    let mut trainer = Trainer::seq2seq(model("t5"), args)
        .unwrap()
        .with_eval_dataset(examples("t5"))
        .with_compute_metrics(Box::new(move |prediction| {
            assert!(prediction.predictions.is_empty());
            let ids = prediction.generated.clone().unwrap();
            assert_eq!(ids.shape()[0], 67);
            kept.lock().unwrap().extend(ids.rows().map(<[i64]>::to_vec));
            Ok(serde_json::Map::new())
        }));
    let metrics = trainer.evaluate().unwrap();
    assert!(metrics["eval_loss"].as_f64().unwrap() > 0.0);
    let first = &json_examples("t5")[0];
    let ids: Vec<u32> = serde_json::from_value(first["input_ids"].clone()).unwrap();
    let real = first["attention_mask"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| **one == 1)
        .count();
    let config = transformers_config::GenerationConfig {
        max_length: Some(7),
        ..transformers_config::GenerationConfig::default()
    };
    let alone = model("t5")
        .generate(&ids[..real], &config)
        .unwrap()
        .sequences
        .remove(0);
    let seen = &seen.lock().unwrap()[0];
    assert!(
        alone.iter().zip(seen).all(|(a, b)| i64::from(*a) == *b),
        "{alone:?} {seen:?}"
    );
    assert!(seen[alone.len()..].iter().all(|id| *id == 0));
}

fn json_examples(name: &str) -> Vec<Json> {
    serde_json::from_value(json(&golden(name).join("data.json"))).unwrap()
}
