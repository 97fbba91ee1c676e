//! Where a training comes to the end of memory, of the disk, of devices or of numbers.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use burn::tensor::Device;
use serde_json::{Value as Json, json};
use transformers_config::AutoConfig;
use transformers_modeling::{
    AutoModelForCausalLM, DeviceSpec, LoadOptions, ModelInputs, ModelOutput,
};
use transformers_trainer::data::{Dataset, Example, Value};
use transformers_trainer::{Trainer, TrainerError, TrainingArguments, last_checkpoint};

fn texts() -> Arc<dyn Dataset> {
    let text = |at: i64| {
        let ids = Value::Integers((0..6).map(|step| 3 + (at + step * step) % 20).collect());
        let example = Example::new().with("input_ids", ids.clone());
        example.with("labels", ids)
    };
    Arc::new((0..16).map(text).collect::<Vec<_>>())
}

fn trainer(folder: &Path, json: Json) -> Trainer {
    let config = json!({
        "model_type": "llama", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 12,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 32,
    });
    let config = AutoConfig::from_json_str(&config.to_string()).unwrap();
    let options = LoadOptions {
        device: DeviceSpec::Cpu,
        seed: Some(3),
        ..LoadOptions::default()
    };
    let model = AutoModelForCausalLM::from_config_with(&config, &options).unwrap();
    let mut all = json!({
        "output_dir": folder, "max_steps": 4, "save_steps": 2, "logging_steps": 1,
        "per_device_train_batch_size": 2,
    });
    for (name, value) in json.as_object().unwrap() {
        all[name] = value.clone();
    }
    Trainer::new(
        model.into_inner(),
        TrainingArguments::from_json(&all).unwrap(),
    )
    .unwrap()
    .with_train_dataset(texts())
}

fn losses(trainer: &Trainer) -> Vec<f64> {
    let logs = trainer.state().log_history.iter();
    logs.filter_map(|log| log.get("loss")?.as_f64()).collect()
}

#[test]
fn a_checkpoint_of_other_devices_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let on = |devices: usize| {
        let devices = (0..devices).map(|_| Device::flex()).collect();
        trainer(folder.path(), json!({})).with_devices(devices)
    };
    on(2).train().unwrap();
    let error = on(0).resume().unwrap_err();
    assert!(
        matches!(
            error,
            TrainerError::WorldSize {
                then: 2,
                now: 1,
                ..
            }
        ),
        "{error}"
    );
    on(2).resume().unwrap();
    // One device is as good as none named.
    fs::remove_dir_all(folder.path()).unwrap();
    on(1).train().unwrap();
    on(0).resume().unwrap();
    let error = on(3).resume().unwrap_err().to_string();
    assert!(
        error.contains("trained on 1 devices side by side, and this training has 3"),
        "{error}"
    );
}

const CHILD: &str = "TRAINER_TEST_LIMIT";

/// What the test below runs in a process that may write no large file.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let error = trainer(Path::new(&folder), json!({})).resume().unwrap_err();
    assert!(
        matches!(&error, TrainerError::Io { .. } | TrainerError::Model(_)),
        "{error:?}"
    );
    assert!(error.to_string().contains("File too large"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let names = || -> Vec<String> {
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let limited = || {
        // A signal that is ignored makes an error of a write that goes too far.
        let script = "trap '' XFSZ; ulimit -f 2; exec \"$0\" --exact child --nocapture";
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .arg(std::env::current_exe().unwrap());
        let output = command.env(CHILD, folder.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("1 passed"), "{text}{errors}");
    };
    limited();
    assert_eq!(names(), Vec::<String>::new());
    trainer(folder.path(), json!({"max_steps": 2}))
        .train()
        .unwrap();
    limited();
    assert_eq!(names(), ["checkpoint-2"]);
    // With room, it goes on from there.
    let mut whole = trainer(folder.path(), json!({}));
    whole.resume().unwrap();
    assert_eq!(losses(&whole).len(), 4);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_takes_nothing_shows_before_the_first_step() {
    // Nobody may make a file there, whoever runs this.
    let error = trainer(Path::new("/proc/self/training"), json!({})).train();
    let error = error.unwrap_err();
    assert!(
        matches!(&error, TrainerError::Io { path, .. } if path.starts_with("/proc/self")),
        "{error}"
    );
}

/// Keeps what is logged.
struct Logged(Mutex<Vec<String>>);

impl log::Log for Logged {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }
    fn flush(&self) {}
}

static LOGGED: Logged = Logged(Mutex::new(Vec::new()));

#[test]
fn a_loss_that_is_no_number_is_told_with_its_place() {
    log::set_logger(&LOGGED).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let folder = tempfile::tempdir().unwrap();
    let passes = AtomicUsize::new(0);
    let loss = move |_: &ModelInputs, output: &ModelOutput, _: Option<usize>| {
        // The fifth micro-batch is the first of the third step.
        let scale = match passes.fetch_add(1, Ordering::Relaxed) {
            4 => f64::NAN,
            _ => 1.0,
        };
        Ok(output.clone().loss()?.mul_scalar(scale))
    };
    let args = json!({"gradient_accumulation_steps": 2, "save_strategy": "no", "max_grad_norm": 0});
    let mut trainer = trainer(folder.path(), args).with_compute_loss(Box::new(loss));
    trainer.train().unwrap();
    let logged = LOGGED.0.lock().unwrap();
    let expect = "step 3, micro-batch 0: the loss is NaN";
    assert!(logged.iter().any(|line| line == expect), "{logged:?}");
    // The filter takes the mean of those before in its place.
    assert!(losses(&trainer)[2].is_finite());
}

#[cfg(target_os = "linux")]
#[test]
fn a_batch_that_fits_stays_and_training_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let run = |json: Json| {
        let mut trainer = trainer(folder.path(), json);
        trainer.train().unwrap();
        assert_eq!(trainer.args().per_device_train_batch_size, 2);
        losses(&trainer)
    };
    let plain = run(json!({"save_strategy": "no"}));
    let found = run(json!({"save_strategy": "no", "auto_find_batch_size": true}));
    assert_eq!(plain, found, "what is tried leaves no trace");
}

#[test]
fn a_resumed_training_has_the_batch_that_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let args = json!({"max_steps": 2});
    trainer(folder.path(), args).train().unwrap();
    assert!(last_checkpoint(folder.path()).is_some());
    let args = json!({"auto_find_batch_size": true, "per_device_train_batch_size": 8});
    let mut trainer = trainer(folder.path(), args);
    trainer.resume().unwrap();
    assert_eq!(trainer.args().per_device_train_batch_size, 2);
}

#[test]
fn a_batch_cannot_be_found_on_several_devices_or_in_a_stream() {
    let folder = tempfile::tempdir().unwrap();
    let find = || trainer(folder.path(), json!({"auto_find_batch_size": true}));
    let two = vec![Device::flex(), Device::flex()];
    let ids = Value::Integers(vec![3, 4, 5]);
    let row = Example::new()
        .with("input_ids", ids.clone())
        .with("labels", ids);
    for (mut trainer, expect) in [
        (find().with_devices(two), "can be told of the CPU alone"),
        (
            find().with_train_stream(Arc::new(vec![row])),
            "the longest is not known",
        ),
    ] {
        let error = trainer.train().unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }
}
