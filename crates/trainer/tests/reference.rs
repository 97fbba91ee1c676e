//! Arguments, schedules and optimizers against the reference.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use transformers_trainer::optimizers::{Optimizer, Update};
use transformers_trainer::{Schedule, TrainingArguments};

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Equal, where 3 is 3.0.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

#[test]
fn arguments_have_the_references_names_and_defaults() {
    let golden = golden("arguments.json");
    let reference = golden["defaults"].as_object().unwrap();
    let ours = TrainingArguments::default().to_json();
    let ours = ours.as_object().unwrap();
    for (name, value) in reference {
        let found = ours
            .get(name)
            .unwrap_or_else(|| panic!("{name} is missing"));
        assert!(equal(found, value), "{name}: {found} instead of {value}");
    }
    assert_eq!(ours.len(), reference.len());
    // What the reference wrote is read, and what we write.
    let read = TrainingArguments::from_json(&golden["defaults"]).unwrap();
    assert_eq!(read, TrainingArguments::default());
    assert_eq!(TrainingArguments::from_json(&read.to_json()).unwrap(), read);
}

#[test]
fn arguments_say_no_with_a_reason() {
    for (json, parts) in [
        (
            json!({"warmup_ratio": 0.1}),
            ["warmup_ratio", "warmup_steps"],
        ),
        (json!({"tokenizer": "x"}), ["tokenizer", "processing_class"]),
        (json!({"no_cuda": true}), ["no_cuda", "use_cpu"]),
        (
            json!({"evaluation_strategy": "no"}),
            ["evaluation_strategy", "eval_strategy"],
        ),
        (
            json!({"gradient_checkpointing_kwargs": {"debug": true}}),
            ["gradient_checkpointing_kwargs", "no options"],
        ),
        (json!({"fp16": true}), ["fp16", "take `bf16`"]),
        (
            json!({"bf16": true, "optim": "schedule_free_adamw"}),
            ["bf16", "no masters"],
        ),
        (
            json!({"bf16_full_eval": true, "fp16_full_eval": true}),
            ["bf16_full_eval", "fp16_full_eval"],
        ),
        (json!({"fsdp": "full_shard"}), ["fsdp", "one device"]),
        (json!({"lerning_rate": 1}), ["lerning_rate", "no such"]),
        (
            json!({"learning_rate": -1}),
            ["learning_rate", "at least 0"],
        ),
        (
            json!({"learning_rate": "fast"}),
            ["learning_rate", "invalid type"],
        ),
        (json!({"optim": "galore_adamw"}), ["optim", "adamw_torch"]),
        (json!({"logging_steps": 2.5}), ["logging_steps", "whole"]),
        (
            json!({"gradient_accumulation_steps": 0}),
            ["gradient_accumulation_steps", "at least 1"],
        ),
        (
            json!({"load_best_model_at_end": true}),
            ["load_best_model_at_end", "eval_strategy"],
        ),
        (
            json!({"lr_scheduler_type": "greedy"}),
            ["lr_scheduler_type", "eval_strategy"],
        ),
        (
            json!({"save_strategy": "best"}),
            ["save_strategy", "metric_for_best_model"],
        ),
        (json!(3), ["TrainingArguments", "map"]),
    ] {
        let error = TrainingArguments::from_json(&json).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}

#[test]
fn what_follows_from_other_arguments() {
    let args = json!({
        "eval_strategy": "steps", "logging_steps": 0.1, "load_best_model_at_end": true, "save_steps": 0.2,
        "gradient_checkpointing": true, "report_to": "none", "warmup_steps": 0.05,
    });
    let args = TrainingArguments::from_json(&args).unwrap();
    assert_eq!(args.eval_steps, Some(0.1));
    assert_eq!(args.best_metric().as_deref(), Some("eval_loss"));
    assert_eq!(args.greater_is_better, Some(false));
    assert!(args.activation_checkpointing && args.do_eval && args.report_to.is_empty());
    assert_eq!(args.warmup(50), 3);
}

fn schedule(case: &Value, warmup: u64, total: u64) -> Schedule {
    let kind = serde_json::from_value(case["name"].clone()).unwrap();
    let options = case["options"].as_object().unwrap();
    Schedule::new(kind, 10.0, warmup, total, options).unwrap()
}

fn close(case: &Value, step: usize, ours: f64, reference: &Value) {
    let reference = reference.as_f64().unwrap();
    assert!(
        (ours - reference).abs() <= 1e-12 * reference.abs().max(1.0),
        "{case}, step {step}: {ours} instead of {reference}"
    );
}

#[test]
fn schedules_follow_the_reference() {
    let golden = golden("schedules.json");
    for case in golden["schedules"].as_array().unwrap() {
        let number = |name: &str| case[name].as_u64().unwrap();
        let mut ours = schedule(case, number("warmup"), number("total"));
        for (step, rate) in case["rates"].as_array().unwrap().iter().enumerate() {
            close(&case["name"], step, ours.learning_rate(), rate);
            ours.step();
            ours.metric(0.0);
        }
    }
    for case in golden["adaptive"].as_array().unwrap() {
        let mut ours = schedule(case, 0, 0);
        let metrics = golden["metrics"].as_array().unwrap().iter();
        for (step, (metric, rate)) in metrics.zip(case["rates"].as_array().unwrap()).enumerate() {
            ours.step();
            ours.metric(metric.as_f64().unwrap());
            close(case, step, ours.learning_rate(), rate);
            // A schedule that goes on from its state is no different.
            let mut resumed = schedule(case, 0, 0);
            resumed.restore(&ours.state()).unwrap();
            assert_eq!(resumed.state(), ours.state());
            ours = resumed;
        }
    }
}

#[test]
fn schedules_have_the_published_values() {
    for (name, options, expected) in [
        (
            "linear",
            json!({}),
            [0.0, 5.0, 10.0, 8.75, 7.5, 6.25, 5.0, 3.75, 2.5, 1.25],
        ),
        (
            "cosine",
            json!({}),
            [
                0.0, 5.0, 10.0, 9.619, 8.536, 6.913, 5.0, 3.087, 1.464, 0.381,
            ],
        ),
        (
            "cosine_with_restarts",
            json!({"num_cycles": 2}),
            [0.0, 5.0, 10.0, 8.536, 5.0, 1.464, 10.0, 8.536, 5.0, 1.464],
        ),
        (
            "polynomial",
            json!({"power": 2.0}),
            [
                0.0, 5.0, 10.0, 7.656, 5.625, 3.906, 2.5, 1.406, 0.625, 0.156,
            ],
        ),
        (
            "inverse_sqrt",
            json!({}),
            [
                0.0, 5.0, 10.0, 8.165, 7.071, 6.325, 5.774, 5.345, 5.0, 4.714,
            ],
        ),
        (
            "cosine_with_min_lr",
            json!({"min_lr_rate": 0.1}),
            [
                0.0, 5.0, 10.0, 9.657, 8.682, 7.222, 5.5, 3.778, 2.318, 1.343,
            ],
        ),
    ] {
        let mut ours = schedule(&json!({"name": name, "options": options}), 2, 10);
        for (step, rate) in expected.into_iter().enumerate() {
            let found = ours.learning_rate();
            assert!(
                (found - rate).abs() < 1e-3,
                "{name}, step {step}: {found} instead of {rate}"
            );
            ours.step();
        }
    }
}

#[test]
fn schedules_refuse_what_they_do_not_know() {
    let new = |name: &str, options: Value| {
        let kind = serde_json::from_value(json!(name)).unwrap();
        Schedule::new(kind, 1.0, 0, 10, options.as_object().unwrap()).map(drop)
    };
    for (name, options) in [
        ("linear", json!({"num_cycles": 1})),
        ("cosine", json!({"num_cycles": "many"})),
        ("cosine_with_min_lr", json!({})),
        ("cosine_with_min_lr", json!({"min_lr": 1, "min_lr_rate": 1})),
        ("warmup_stable_decay", json!({})),
        (
            "warmup_stable_decay",
            json!({"num_decay_steps": 1, "decay_type": "steep"}),
        ),
        ("polynomial", json!({"lr_end": 2.0})),
        ("greedy", json!({"factor": 1.5})),
        ("reduce_lr_on_plateau", json!({"mode": "least"})),
    ] {
        assert!(new(name, options.clone()).is_err(), "{name} {options}");
    }
}

type Tensors = BTreeMap<String, Vec<f32>>;

fn tensors(json: &Value) -> Tensors {
    serde_json::from_value(json.clone()).unwrap()
}

fn optimizer(name: &str) -> Optimizer {
    let (optim, args) = name
        .split_once(' ')
        .map_or((name, None), |(name, args)| (name, Some(args)));
    let args = TrainingArguments {
        optim: optim.to_owned(),
        optim_args: args.map(str::to_owned),
        adam_beta2: 0.95,
        warmup_steps: 4.0,
        ..TrainingArguments::default()
    };
    Optimizer::from_arguments(&args, 20).unwrap()
}

fn assert_close(what: &str, ours: &Tensors, reference: &Value) {
    for (name, reference) in tensors(reference) {
        for (a, b) in ours[&name].iter().zip(&reference) {
            assert!(
                (a - b).abs() <= 2e-5 * b.abs().max(1.0),
                "{what}, {name}: {a} instead of {b}"
            );
        }
    }
}

#[test]
fn optimizers_follow_the_reference() {
    let golden = golden("optimizers.json");
    let shapes: BTreeMap<String, Vec<usize>> =
        serde_json::from_value(golden["shapes"].clone()).unwrap();
    let lr = golden["lr"].as_f64().unwrap();
    for (name, after) in golden["after"].as_object().unwrap() {
        let mut ours = optimizer(name);
        ours.prepare(&shapes);
        let mut weights = tensors(&golden["start"]);
        for (step, grads) in golden["gradients"].as_array().unwrap().iter().enumerate() {
            if step == 10 {
                // Goes on from its saved state.
                let saved = ours.to_safetensors().unwrap();
                ours = optimizer(name);
                ours.restore(&saved, &shapes).unwrap();
                assert_eq!(ours.to_safetensors().unwrap(), saved, "{name}");
            }
            let grads = tensors(grads);
            ours.begin_step(lr);
            for (parameter, weight) in &mut weights {
                ours.update(Update {
                    name: parameter,
                    shape: &shapes[parameter],
                    weight,
                    grad: &grads[parameter],
                    learning_rate: lr,
                    weight_decay: 0.1,
                });
            }
            if let Some(reference) = after.get((step + 1).to_string()) {
                assert_close(&format!("{name}, step {}", step + 1), &weights, reference);
            }
        }
        if let Some(reference) = after.get("eval").filter(|_| ours.has_two_faces()) {
            let trained = weights.clone();
            for (parameter, weight) in &mut weights {
                assert!(ours.swap(parameter, weight, true));
            }
            assert_close(&format!("{name}, evaluated"), &weights, reference);
            for (parameter, weight) in &mut weights {
                ours.swap(parameter, weight, false);
            }
            assert_close(name, &weights, &serde_json::to_value(trained).unwrap());
        }
    }
}

#[test]
fn a_state_is_saved_from_its_first_step_on() {
    let shapes: BTreeMap<String, Vec<usize>> =
        ["idle", "w"].map(|name| (name.to_owned(), vec![2])).into();
    let after_a_step = |mut ours: Optimizer| {
        ours.begin_step(0.1);
        ours.update(Update {
            name: "w",
            shape: &[2],
            weight: &mut [1.0, 2.0],
            grad: &[0.5, -0.5],
            learning_rate: 0.1,
            weight_decay: 0.0,
        });
        ours.to_safetensors().unwrap()
    };
    let mut prepared = optimizer("adamw_torch");
    prepared.prepare(&shapes);
    let saved = after_a_step(prepared);
    assert_eq!(saved, after_a_step(optimizer("adamw_torch")));
    let saved = safetensors::SafeTensors::deserialize(&saved).unwrap();
    assert_eq!(saved.names().len(), 2);
}

#[test]
fn the_state_of_another_optimizer_or_model_is_refused() {
    let shapes: BTreeMap<String, Vec<usize>> = [("w".to_owned(), vec![2, 2])].into();
    let mut ours = optimizer("adamw_torch");
    let (mut weight, grad) = (vec![1.0; 4], vec![1.0; 4]);
    ours.begin_step(0.1);
    ours.update(Update {
        name: "w",
        shape: &[2, 2],
        weight: &mut weight,
        grad: &grad,
        learning_rate: 0.1,
        weight_decay: 0.0,
    });
    let saved = ours.to_safetensors().unwrap();
    assert!(optimizer("lion_32bit").restore(&saved, &shapes).is_err());
    assert!(
        optimizer("adamw_torch")
            .restore(&saved, &BTreeMap::new())
            .is_err()
    );
    let other: BTreeMap<String, Vec<usize>> = [("w".to_owned(), vec![4, 1])].into();
    assert!(optimizer("adamw_torch").restore(&saved, &other).is_err());
    for cut in [0, 7, 100, saved.len() - 1] {
        assert!(
            optimizer("adamw_torch")
                .restore(&saved[..cut], &shapes)
                .is_err()
        );
    }
    let args = TrainingArguments {
        optim: "adamw_torch".to_owned(),
        optim_args: Some("momentum=0.9".to_owned()),
        ..TrainingArguments::default()
    };
    assert!(Optimizer::from_arguments(&args, 1).is_err());
}
