//! What the Trainer does around its steps.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};
use transformers_config::AutoConfig;
use transformers_modeling::{
    AutoModelForCausalLM, AutoModelForSequenceClassification, CancelToken, DeviceSpec, LoadOptions,
    PreTrainedModel,
};
use transformers_trainer::data::{Dataset, Example, Value};
use transformers_trainer::{
    EarlyStoppingCallback, Event, Logs, Result, Trainer, TrainerCallback, TrainerControl,
    TrainingArguments, last_checkpoint,
};

fn options() -> LoadOptions {
    LoadOptions {
        device: DeviceSpec::Cpu,
        seed: Some(3),
        ..LoadOptions::default()
    }
}

fn config(labels: usize) -> AutoConfig {
    AutoConfig::from_json_str(
        &json!({
            "model_type": "llama", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 12,
            "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
            "max_position_embeddings": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
            "num_labels": labels,
        })
        .to_string(),
    )
    .unwrap()
}

fn decoder() -> Box<dyn PreTrainedModel> {
    AutoModelForCausalLM::from_config_with(&config(2), &options())
        .unwrap()
        .into_inner()
}

fn classifier() -> Box<dyn PreTrainedModel> {
    AutoModelForSequenceClassification::from_config_with(&config(2), &options())
        .unwrap()
        .into_inner()
}

/// Texts of a decoder; the last ids follow from the first.
fn texts(count: i64) -> Arc<dyn Dataset> {
    let text = |at: i64| {
        let ids = Value::Integers((0..6).map(|step| 3 + (at + step * step) % 20).collect());
        Example::new()
            .with("input_ids", ids.clone())
            .with("labels", ids)
            .with("note", "not for models")
    };
    Arc::new((0..count).map(text).collect::<Vec<_>>())
}

/// Rows whose class is that of their first id.
fn classes(count: i64) -> Arc<dyn Dataset> {
    let row = |at: i64| {
        let ids = Value::Integers(vec![4 + at % 2, 7 + at % 5, 9]);
        Example::new().with("input_ids", ids).with("label", at % 2)
    };
    Arc::new((0..count).map(row).collect::<Vec<_>>())
}

fn arguments(folder: &Path, json: Json) -> TrainingArguments {
    let mut all = json!({
        "output_dir": folder.to_str(), "max_steps": 6, "per_device_train_batch_size": 2, "learning_rate": 1e-2,
        "save_strategy": "no", "logging_steps": 1,
    });
    all.as_object_mut()
        .unwrap()
        .extend(json.as_object().unwrap().clone());
    TrainingArguments::from_json(&all).unwrap()
}

#[test]
fn the_best_model_comes_back_and_rotation_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let args = json!({
        "max_steps": 8, "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1,
        "save_total_limit": 2, "load_best_model_at_end": true, "metric_for_best_model": "score",
    });
    // The score of evaluation 3 is the best.
    let scores = Mutex::new(vec![0.5, 0.6, 0.9, 0.1, 0.2, 0.3, 0.4, 0.5].into_iter());
    let mut trainer = Trainer::new(classifier(), arguments(folder.path(), args))
        .unwrap()
        .with_train_dataset(classes(20))
        .with_eval_dataset(classes(5))
        .with_compute_metrics(Box::new(move |prediction| {
            assert_eq!(prediction.predictions[0].shape(), [5, 2]);
            let mut metrics = Logs::new();
            metrics.insert(
                "score".to_owned(),
                json!(scores.lock().unwrap().next().unwrap()),
            );
            Ok(metrics)
        }));
    trainer.train().unwrap();
    let state = trainer.state();
    assert_eq!(
        (state.best_metric, state.best_global_step),
        (Some(0.9), Some(3))
    );
    let mut left: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["checkpoint-3", "checkpoint-8"]);
    trainer.save_model(&folder.path().join("final")).unwrap();
    let read =
        |name: &str| std::fs::read(folder.path().join(name).join("model.safetensors")).unwrap();
    assert!(read("final") == read("checkpoint-3"));
}

#[test]
fn training_stops_early() {
    let folder = tempfile::tempdir().unwrap();
    let args = json!({"max_steps": 50, "eval_strategy": "steps", "eval_steps": 1, "metric_for_best_model": "score"});
    let mut trainer = Trainer::new(classifier(), arguments(folder.path(), args))
        .unwrap()
        .with_train_dataset(classes(20))
        .with_eval_dataset(classes(4))
        .with_callback(EarlyStoppingCallback::new(3, 0.0))
        .with_compute_metrics(Box::new(|_| {
            let metrics = json!({"score": 1});
            Ok(metrics.as_object().unwrap().clone())
        }));
    assert_eq!(trainer.train().unwrap().global_step, 4);
}

#[test]
fn a_cancelled_training_saves_and_goes_on_later() {
    struct Cancel(CancelToken);
    impl TrainerCallback for Cancel {
        fn name(&self) -> &str {
            "Cancel"
        }
        fn on_step_end(&mut self, event: Event<'_>, _: &mut TrainerControl) -> Result<()> {
            if event.state.global_step == 2 {
                self.0.cancel();
            }
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let trainer = || {
        let args = arguments(folder.path(), json!({}));
        Trainer::new(decoder(), args)
            .unwrap()
            .with_train_dataset(texts(9))
    };
    let token = CancelToken::default();
    let mut stopped = trainer()
        .with_cancel(token.clone())
        .with_callback(Cancel(token));
    let output = stopped.train().unwrap();
    assert!(output.cancelled && output.global_step == 2);
    assert!(
        last_checkpoint(folder.path())
            .unwrap()
            .ends_with("checkpoint-2")
    );
    let output = trainer().resume().unwrap();
    assert!(!output.cancelled && output.global_step == 6);
}

#[test]
fn a_classifier_learns_and_predicts() {
    let folder = tempfile::tempdir().unwrap();
    let args =
        json!({"max_steps": 60, "lr_scheduler_type": "constant", "optim": "schedule_free_adamw"});
    let accuracy = |prediction: &transformers_trainer::EvalPrediction| {
        let labels = match &prediction.label_ids {
            Some(transformers_trainer::data::Column::Integers(labels)) => labels.values().to_vec(),
            other => panic!("{other:?}"),
        };
        let rows = prediction.predictions[0].rows().zip(labels);
        let right = rows
            .filter(|(row, label)| (row[1] > row[0]) == (*label == 1))
            .count();
        Ok(json!({"accuracy": right as f64 / 11.0})
            .as_object()
            .unwrap()
            .clone())
    };
    let mut trainer = Trainer::new(classifier(), arguments(folder.path(), args))
        .unwrap()
        .with_train_dataset(classes(20))
        .with_named_eval_dataset("first", classes(11))
        .with_named_eval_dataset("second", classes(11))
        .with_compute_metrics(Box::new(accuracy));
    trainer.train().unwrap();
    let metrics = trainer.evaluate().unwrap();
    assert_eq!(metrics["eval_first_accuracy"], 1.0);
    assert_eq!(metrics["eval_second_loss"], metrics["eval_first_loss"]);
    let output = trainer.predict(&classes(11)).unwrap();
    assert_eq!(output.predictions[0].shape(), [11, 2]);
    assert_eq!(output.metrics["test_accuracy"], 1.0);
}

#[test]
fn a_loss_of_your_own_and_a_stream() {
    let folder = tempfile::tempdir().unwrap();
    let stream: Vec<Example> = (0..5)
        .map(|at| Example::new().with("input_ids", vec![3 + at, 4i64, 5]))
        .collect();
    let mut trainer = Trainer::new(decoder(), arguments(folder.path(), json!({"max_steps": 7})))
        .unwrap()
        .with_train_stream(Arc::new(stream))
        .with_compute_loss(Box::new(|_, output, items| {
            assert_eq!(items, None);
            Ok(output.clone().logits()?.square().mean())
        }));
    trainer.train().unwrap();
    let losses: Vec<f64> = trainer
        .state()
        .log_history
        .iter()
        .filter_map(|log| log.get("loss")?.as_f64())
        .collect();
    assert_eq!(losses.len(), 7);
    assert!(losses[6] < losses[0]);
}

fn error(trainer: Trainer) -> String {
    let mut trainer = trainer;
    trainer.train().unwrap_err().to_string()
}

#[test]
fn bad_input_is_an_error_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let trainer = |json: Json| Trainer::new(decoder(), arguments(folder.path(), json)).unwrap();
    let with = |example: Example| trainer(json!({})).with_train_dataset(Arc::new(vec![example]));
    let ids = || Example::new().with("input_ids", vec![3i64, 4, 5]);
    for (trainer, part) in [
        (trainer(json!({})), "train_dataset"),
        (
            trainer(json!({})).with_train_dataset(texts(0)),
            "no examples",
        ),
        (
            trainer(json!({"dataloader_drop_last": true})).with_train_dataset(texts(1)),
            "drop_last",
        ),
        (
            trainer(json!({"max_steps": -1})).with_train_stream(Arc::new(vec![ids()])),
            "max_steps",
        ),
        (with(Example::new().with("labels", vec![1i64])), "input_ids"),
        (with(ids()), "loss"),
        (
            with(ids().with("labels", vec![-100i64, -100, -100])),
            "label",
        ),
        (with(ids().with("labels", vec![3i64, 99, 5])), "99"),
        (with(ids().with("labels", vec![3i64, 4])), "labels"),
        (
            with(ids().with("labels", vec![0.5f64, 0.25, 0.5])),
            "numbers",
        ),
        (
            with(
                Example::new()
                    .with("input_ids", vec![3i64, -4])
                    .with("labels", vec![3i64, 4]),
            ),
            "-4",
        ),
        (
            with(
                Example::new()
                    .with("input_ids", vec![3i64, 99])
                    .with("labels", vec![3i64, 4]),
            ),
            "99",
        ),
        (
            trainer(json!({"lr_scheduler_kwargs": {"power": 2}})).with_train_dataset(texts(4)),
            "power",
        ),
        (
            trainer(json!({"optim": "sgd", "optim_args": "speed=2"})).with_train_dataset(texts(4)),
            "speed",
        ),
    ] {
        let found = error(trainer);
        assert!(found.contains(part), "{part}: {found}");
    }
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let args = arguments(&file.join("below"), json!({"save_strategy": "steps"}));
    let found = error(
        Trainer::new(decoder(), args)
            .unwrap()
            .with_train_dataset(texts(4)),
    );
    assert!(found.contains("below"), "{found}");
}

#[test]
fn checkpoints_of_something_else_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let save = json!({"save_strategy": "steps", "save_steps": 3});
    let trainer = |model, json: Json| {
        Trainer::new(model, arguments(folder.path(), json))
            .unwrap()
            .with_train_dataset(texts(9))
    };
    trainer(decoder(), save).train().unwrap();
    let checkpoint = folder.path().join("checkpoint-3");
    let wider = config(2);
    let mut wider = wider.clone();
    wider.set("hidden_size", 16);
    let wider = AutoModelForCausalLM::from_config_with(&wider, &options())
        .unwrap()
        .into_inner();
    let refused = |mut trainer: Trainer| {
        trainer
            .train_from(Some(&checkpoint))
            .unwrap_err()
            .to_string()
    };
    assert!(refused(trainer(wider, json!({}))).contains("parameters"));
    assert!(refused(trainer(decoder(), json!({"optim": "sgd"}))).contains("adamw"));
    std::fs::write(checkpoint.join("trainer_state.json"), "{").unwrap();
    assert!(refused(trainer(decoder(), json!({}))).contains("trainer_state.json"));
    let mut missing = trainer(decoder(), json!({}));
    assert!(
        missing
            .train_from(Some(&folder.path().join("checkpoint-9")))
            .is_err()
    );
}

#[test]
fn checkpointing_gives_the_same_losses_and_noise_others() {
    let folder = tempfile::tempdir().unwrap();
    let losses = |json: Json| -> Vec<f64> {
        let mut trainer = Trainer::new(decoder(), arguments(folder.path(), json))
            .unwrap()
            .with_train_dataset(texts(9));
        trainer.train().unwrap();
        let logs = trainer.state().log_history.iter();
        logs.filter_map(|log| log.get("loss")?.as_f64()).collect()
    };
    let plain = losses(json!({}));
    let again = losses(json!({"gradient_checkpointing": true}));
    for (a, b) in plain.iter().zip(&again) {
        assert!((a - b).abs() < 1e-6, "{plain:?} {again:?}");
    }
    let noisy = losses(json!({"neftune_noise_alpha": 5.0}));
    assert!(plain.iter().zip(&noisy).all(|(a, b)| a != b));
    assert_eq!(noisy, losses(json!({"neftune_noise_alpha": 5.0})));
    assert_ne!(
        noisy,
        losses(json!({"neftune_noise_alpha": 5.0, "seed": 1, "data_seed": 42}))
    );
}

#[test]
fn a_training_in_bfloat16_resumes_exactly() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let start = tempfile::tempdir().unwrap();
    decoder().save_pretrained(start.path()).unwrap();
    let trainer = |folder: &Path| {
        let options = LoadOptions {
            dtype: transformers_modeling::Dtype::BFloat16,
            ..options()
        };
        let model = AutoModelForCausalLM::from_pretrained_with(start.path(), &options).unwrap();
        let args = json!({"save_strategy": "steps", "save_steps": 3, "neftune_noise_alpha": 2.0});
        Trainer::new(model.into_inner(), arguments(folder, args))
            .unwrap()
            .with_train_dataset(texts(9))
    };
    trainer(whole.path()).train().unwrap();
    trainer(parts.path()).train().unwrap();
    std::fs::remove_dir_all(parts.path().join("checkpoint-6")).unwrap();
    trainer(parts.path()).resume().unwrap();
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let read = |folder: &Path| std::fs::read(folder.join("checkpoint-6").join(file)).unwrap();
        assert!(read(whole.path()) == read(parts.path()), "{file}");
    }
}

#[test]
fn masters_in_f32_keep_small_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let run = |folder: &Path, args: Json| {
        let mut json = json!({"save_strategy": "steps", "save_steps": 3, "eval_strategy": "steps", "eval_steps": 3});
        for (name, value) in args.as_object().unwrap() {
            json[name] = value.clone();
        }
        let mut trainer = Trainer::new(decoder(), arguments(folder, json))
            .unwrap()
            .with_train_dataset(texts(9))
            .with_eval_dataset(texts(9));
        trainer.resume().unwrap();
        trainer
    };
    let losses = |trainer: &Trainer| -> Vec<f64> {
        let logs = trainer.state().log_history.iter();
        logs.filter_map(|log| log.get("loss")?.as_f64()).collect()
    };
    let plain = run(&folder.path().join("plain"), json!({}));
    let mut halves = run(&whole, json!({"bf16": true}));
    let (plain, rounded) = (losses(&plain), losses(&halves));
    assert_ne!(plain, rounded, "passes run in bfloat16");
    for (a, b) in plain.iter().zip(&rounded) {
        assert!((a - b).abs() < 0.01 * b.abs(), "{plain:?} {rounded:?}");
    }
    // The model is in f32 again, and evaluates in halves where it is asked to.
    let exact = halves.evaluate().unwrap()["eval_loss"].as_f64().unwrap();
    let args = json!({"bf16": true, "bf16_full_eval": true});
    let mut halves = run(&whole, args);
    let half = halves.evaluate().unwrap()["eval_loss"].as_f64().unwrap();
    assert!(
        exact != half && (exact - half).abs() < 0.01 * exact,
        "{exact} {half}"
    );

    run(&parts, json!({"bf16": true}));
    std::fs::remove_dir_all(parts.join("checkpoint-6")).unwrap();
    run(&parts, json!({"bf16": true}));
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let read = |folder: &Path| std::fs::read(folder.join("checkpoint-6").join(file)).unwrap();
        assert!(read(&whole) == read(&parts), "{file}");
    }
    let bytes = std::fs::read(whole.join("checkpoint-6/model.safetensors")).unwrap();
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(4000)]).into_owned();
    assert!(head.contains("F32") && !head.contains("BF16"), "{head}");

    // Steps that bfloat16 would round away.
    let small = json!({"bf16": true, "learning_rate": 1e-6, "lr_scheduler_type": "constant"});
    let folder = folder.path().join("small");
    let trained = run(&folder, small);
    let saved = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
    trained
        .into_model()
        .save_pretrained(folder.join("end"))
        .unwrap();
    decoder().save_pretrained(folder.join("start")).unwrap();
    assert!(saved(&folder.join("end")) != saved(&folder.join("start")));
}

#[test]
fn searching_finds_the_better_rate() {
    use transformers_trainer::search::{
        Direction, Distribution, TpeSampler, default_compute_objective,
    };
    let folder = tempfile::tempdir().unwrap();
    let args = arguments(
        folder.path(),
        json!({"save_strategy": "epoch", "max_steps": -1, "num_train_epochs": 1}),
    );
    let space = [(
        "learning_rate".to_owned(),
        Distribution::Categorical(vec![json!(1e-6), json!(5e-2)]),
    )]
    .into();
    let mut trainer = Trainer::with_model_init(Box::new(|| Ok(classifier())), args)
        .unwrap()
        .with_train_dataset(classes(20))
        .with_eval_dataset(classes(6));
    let (best, all) = trainer
        .hyperparameter_search(
            &space,
            4,
            Direction::Minimize,
            &mut TpeSampler::new(1),
            default_compute_objective,
        )
        .unwrap();
    assert_eq!(best.hyperparameters["learning_rate"], 5e-2);
    assert_eq!(all.len(), 4);
    assert!(
        folder
            .path()
            .join("run-3/checkpoint-10/trainer_state.json")
            .exists()
    );
    assert_eq!(trainer.args().learning_rate, 1e-2);
    let unknown = [("speed".to_owned(), Distribution::Int { low: 1, high: 2 })].into();
    let error = trainer.hyperparameter_search(
        &unknown,
        1,
        Direction::Minimize,
        &mut TpeSampler::new(1),
        default_compute_objective,
    );
    assert!(error.unwrap_err().to_string().contains("speed"));
}

#[test]
fn two_devices_are_one_with_a_batch_twice_as_large() {
    use burn::tensor::Device;
    let folder = tempfile::tempdir().unwrap();
    let run = |devices: Vec<Device>,
               json: Json,
               model: Box<dyn PreTrainedModel>,
               data: Arc<dyn Dataset>| {
        let mut trainer = Trainer::new(model, arguments(folder.path(), json))
            .unwrap()
            .with_train_dataset(data)
            .with_devices(devices);
        trainer.train().unwrap();
        let logs = trainer.state().log_history.iter();
        logs.filter_map(|log| Some([log.get("loss")?.as_f64()?, log["grad_norm"].as_f64()?]))
            .collect::<Vec<_>>()
    };
    let two = || vec![Device::flex(), Device::flex()];
    let args = |batch: usize| json!({"per_device_train_batch_size": batch, "gradient_accumulation_steps": 2});
    for (one, both) in [
        (
            run(vec![], args(4), decoder(), texts(16)),
            run(two(), args(2), decoder(), texts(16)),
        ),
        (
            run(vec![], args(4), classifier(), classes(16)),
            run(two(), args(2), classifier(), classes(16)),
        ),
    ] {
        assert_eq!(one.len(), 6);
        for (a, b) in one.iter().flatten().zip(both.iter().flatten()) {
            assert!((a - b).abs() < 1e-5 * b.abs().max(1.0), "{one:?} {both:?}");
        }
    }
}

#[test]
fn a_stream_goes_on_where_it_was() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let trainer = |folder: &Path| {
        let row = |at: i64| {
            let ids = Value::Integers(vec![3 + at, 4 + at, 5 + at]);
            Example::new()
                .with("input_ids", ids.clone())
                .with("labels", ids)
        };
        let stream: Vec<Example> = (0..5).map(row).collect();
        let args = json!({"save_strategy": "steps", "save_steps": 4, "max_steps": 8});
        Trainer::new(decoder(), arguments(folder, args))
            .unwrap()
            .with_train_stream(Arc::new(stream))
    };
    trainer(whole.path()).train().unwrap();
    trainer(parts.path()).train().unwrap();
    std::fs::remove_dir_all(parts.path().join("checkpoint-8")).unwrap();
    trainer(parts.path()).resume().unwrap();
    let read =
        |folder: &Path| std::fs::read(folder.join("checkpoint-8/model.safetensors")).unwrap();
    assert!(read(whole.path()) == read(parts.path()));
}
