//! Every name that the reference knows works here, or is refused with a reason; none is ignored.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::{Map, Value, json};
use transformers_trainer::optimizers::{NAMES, Optimizer};
use transformers_trainer::{Schedule, TrainingArguments};

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/arguments.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn names(golden: &Value) -> Vec<&str> {
    let names = golden.as_array().unwrap().iter();
    names.map(|name| name.as_str().unwrap()).collect()
}

/// A value other than the default of every argument that works.
const WORK: &str = r#"{
"output_dir": "elsewhere", "per_device_train_batch_size": 3, "num_train_epochs": 0.5, "max_steps": 7, "learning_rate": 0.1,
"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"num_cycles": 2}, "warmup_steps": 0.25, "optim": "sgd",
"optim_args": "momentum=0.9", "weight_decay": 0.5, "adam_beta1": 0.5, "adam_beta2": 0.5, "adam_epsilon": 0.5,
"gradient_accumulation_steps": 4, "max_grad_norm": 0.5, "label_smoothing_factor": 0.5, "bf16": true, "bf16_full_eval": true,
"fp16_full_eval": true, "activation_checkpointing": true, "gradient_checkpointing": true, "use_cache": true,
"neftune_noise_alpha": 5, "auto_find_batch_size": true, "logging_strategy": "epoch", "logging_steps": 0.5,
"logging_first_step": true, "logging_nan_inf_filter": false, "include_num_input_tokens_seen": "all", "disable_tqdm": true,
"report_to": ["tensorboard"], "run_name": "first", "eval_strategy": "epoch", "eval_steps": 3, "eval_delay": 2,
"per_device_eval_batch_size": 3, "prediction_loss_only": true, "eval_on_start": true, "eval_accumulation_steps": 2,
"include_for_metrics": ["inputs"], "save_only_model": true, "save_strategy": "no", "save_steps": 0.5, "save_total_limit": 2,
"enable_jit_checkpoint": true, "push_to_hub": true, "hub_token": "secret", "hub_private_repo": true, "hub_model_id": "org/name",
"hub_strategy": "end", "hub_always_push": true, "hub_revision": "branch", "load_best_model_at_end": true,
"metric_for_best_model": "score", "greater_is_better": false, "ignore_data_skip": true,
"restore_callback_states_from_checkpoint": true, "full_determinism": true, "seed": 7, "data_seed": 7, "use_cpu": true,
"dataloader_drop_last": true, "remove_unused_columns": false, "label_names": ["labels"], "train_sampling_strategy": "sequential",
"length_column_name": "size", "do_train": true, "do_eval": true, "do_predict": true, "resume_from_checkpoint": "checkpoint-2"
}"#;

/// A value other than the default of every argument that is refused.
const REFUSED: &str = r#"{
"optim_target_modules": ["attn"], "average_tokens_across_devices": false, "fp16": true, "tf32": true,
"activation_checkpointing_kwargs": {"debug": true}, "gradient_checkpointing_kwargs": {"debug": true}, "torch_compile": true,
"torch_compile_backend": "inductor", "torch_compile_mode": "default", "use_liger_kernel": true, "liger_kernel_config": {"rope": true},
"torch_empty_cache_steps": 2, "log_on_each_node": false, "log_level": "debug", "log_level_replica": "debug", "project": "mine",
"trackio_space_id": "mine", "trackio_bucket_id": "mine", "trackio_static_space_id": "mine", "eval_do_concat_batches": false,
"eval_use_gather_object": true, "batch_eval_metrics": true, "save_on_each_node": true, "accelerator_config": {"split_batches": true},
"parallelism_config": {"tp_size": 2}, "dataloader_num_workers": 2, "dataloader_pin_memory": false,
"dataloader_persistent_workers": true, "dataloader_prefetch_factor": 2, "dataloader_multiprocessing_context": "fork",
"dataloader_in_order": false, "ddp_find_unused_parameters": true, "ddp_bucket_cap_mb": 25, "ddp_broadcast_buffers": true,
"ddp_static_graph": true, "ddp_backend": "gloo", "ddp_timeout": 60, "fsdp": true, "fsdp_config": {"version": 2},
"deepspeed": "config.json", "debug": ["underflow_overflow"], "skip_memory_metrics": false, "local_rank": 1
}"#;

#[test]
fn no_argument_is_ignored() {
    let golden = golden();
    let map = |text: &str| -> Map<String, Value> { serde_json::from_str(text).unwrap() };
    let (work, refused) = (map(WORK), map(REFUSED));
    let fields = names(&golden["fields"]);
    for name in &fields {
        let default = &golden["defaults"][*name];
        let (value, works) = match (work.get(*name), refused.get(*name)) {
            (Some(value), None) => (value, true),
            (None, Some(value)) => (value, false),
            _ => panic!("{name} is in both lists, or in none"),
        };
        assert_ne!(value, default, "{name}");
        let mut json = json!({"eval_strategy": "steps", "save_strategy": "steps"});
        json[*name] = value.clone();
        if *name == "eval_strategy" {
            json["save_strategy"] = value.clone();
        }
        let read = TrainingArguments::from_json(&json);
        if !works {
            let error = read.unwrap_err().to_string();
            let known = error.contains(name) && error.contains("cannot work here: ");
            assert!(known, "{name}: {error}");
            continue;
        }
        let written = read.unwrap().to_json();
        match *name {
            "hub_token" => assert_eq!(written[*name], "<HUB_TOKEN>"),
            _ => assert_eq!(written[*name], *value, "{name}"),
        }
    }
    assert_eq!(work.len() + refused.len(), fields.len());
}

#[test]
fn every_optimizer_works_or_is_refused() {
    let golden = golden();
    let reference = names(&golden["optim"]);
    for name in &reference {
        let args = TrainingArguments::from_json(&json!({"optim": name}));
        if NAMES.contains(name) {
            Optimizer::from_arguments(&args.unwrap(), 10).unwrap();
            continue;
        }
        let error = args.unwrap_err().to_string();
        let known = error.starts_with(&format!("`optim`: `{name}` is not supported: "));
        assert!(known, "{error}");
        let args = TrainingArguments {
            optim: (*name).to_owned(),
            ..TrainingArguments::default()
        };
        assert!(Optimizer::from_arguments(&args, 10).is_err(), "{name}");
    }
    for name in NAMES {
        assert!(reference.contains(name) || *name == "muon", "{name}");
    }
    let error = TrainingArguments::from_json(&json!({"optim": "adamw"})).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is not known; there are adamw_torch,"),
        "{error}"
    );
}

#[test]
fn every_schedule_works() {
    let golden = golden();
    for name in names(&golden["lr_scheduler_type"]) {
        let json = json!({"lr_scheduler_type": name, "eval_strategy": "steps"});
        let args = TrainingArguments::from_json(&json).unwrap();
        let needed = match name {
            "cosine_with_min_lr" | "cosine_warmup_with_min_lr" => json!({"min_lr_rate": 0.1}),
            "warmup_stable_decay" => json!({"num_decay_steps": 3}),
            _ => json!({}),
        };
        let kwargs = needed.as_object().unwrap();
        Schedule::new(args.lr_scheduler_type, 0.1, 2, 10, kwargs).unwrap();
    }
    assert!(TrainingArguments::from_json(&json!({"lr_scheduler_type": "sine"})).is_err());
}

#[test]
fn what_nobody_reports_to_is_refused() {
    let read = |names: Value| TrainingArguments::from_json(&json!({"report_to": names}));
    for names in [json!("all"), json!("none"), json!(["tensorboard", "jsonl"])] {
        read(names).unwrap();
    }
    let error = read(json!(["jsonl", "wandb"])).unwrap_err().to_string();
    assert!(
        error.contains("`report_to`: `wandb` is no reporter"),
        "{error}"
    );
}
