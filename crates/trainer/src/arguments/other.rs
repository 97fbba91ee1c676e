//! The names that have no field here: those that v5 removed, and those that cannot work.

use serde_json::{Map, Value, json};

use crate::{Result, TrainerError};

/// Removed names, and what came in their place.
const REMOVED: &[(&str, &str)] = &[
    ("evaluation_strategy", "`eval_strategy`"),
    (
        "fp16_backend",
        "nothing: load the model in the dtype that you want",
    ),
    (
        "fp16_opt_level",
        "nothing: load the model in the dtype that you want",
    ),
    (
        "fsdp_min_num_params",
        "nothing: models are not sharded here",
    ),
    (
        "fsdp_transformer_layer_cls_to_wrap",
        "nothing: models are not sharded here",
    ),
    (
        "group_by_length",
        "`train_sampling_strategy: group_by_length`",
    ),
    (
        "half_precision_backend",
        "nothing: load the model in the dtype that you want",
    ),
    (
        "include_inputs_for_metrics",
        "`include_for_metrics: [inputs]`",
    ),
    (
        "include_tokens_per_second",
        "`include_num_input_tokens_seen`",
    ),
    (
        "jit_mode_eval",
        "nothing: there is no compilation to switch on",
    ),
    (
        "logging_dir",
        "the environment variable TENSORBOARD_LOGGING_DIR",
    ),
    ("model_path", "`resume_from_checkpoint`"),
    ("mp_parameters", "nothing"),
    ("no_cuda", "`use_cpu`"),
    ("overwrite_output_dir", "nothing: a folder is never emptied"),
    ("past_index", "nothing"),
    ("per_gpu_eval_batch_size", "`per_device_eval_batch_size`"),
    ("per_gpu_train_batch_size", "`per_device_train_batch_size`"),
    ("push_to_hub_model_id", "`hub_model_id`"),
    ("push_to_hub_organization", "`hub_model_id`"),
    ("push_to_hub_token", "`hub_token`"),
    ("ray_scope", "nothing"),
    (
        "tokenizer",
        "`processing_class`, an argument of the Trainer",
    ),
    (
        "torchdynamo",
        "nothing: there is no compilation to switch on",
    ),
    ("tpu_metrics_debug", "nothing"),
    ("tpu_num_cores", "nothing"),
    ("use_ipex", "nothing"),
    ("use_legacy_prediction_loop", "nothing"),
    (
        "use_mps_device",
        "`use_cpu`, and the device that the model is loaded on",
    ),
    ("warmup_ratio", "`warmup_steps` with a value below 1"),
];

const HALF: &str = "gradients are not scaled here, as float16 needs it: take `bf16`";
const TORCH: &str = "it is about PyTorch's compiler and kernels, which are not here";
const LOADER: &str = "batches are made by the training's own thread";
const DEVICES: &str = "one process trains on one device";
const TRACKERS: &str = "this tracker is not supported: give the Trainer a callback";

/// Names with the only value that they may have, and why.
fn refused() -> Vec<(&'static str, Value, &'static str)> {
    let null = Value::Null;
    let accelerator = json!({
        "split_batches": false, "dispatch_batches": null, "even_batches": true, "use_seedable_sampler": true,
        "non_blocking": false, "gradient_accumulation_kwargs": null,
    });
    vec![
        (
            "optim_target_modules",
            null.clone(),
            "low-rank optimizers (GaLore, APOLLO) are not supported",
        ),
        ("average_tokens_across_devices", json!(true), DEVICES),
        ("fp16", json!(false), HALF),
        ("tf32", null.clone(), TORCH),
        (
            "activation_checkpointing_kwargs",
            null.clone(),
            "checkpointing has no options here",
        ),
        (
            "gradient_checkpointing_kwargs",
            null.clone(),
            "checkpointing has no options here",
        ),
        ("torch_compile", json!(false), TORCH),
        ("torch_compile_backend", null.clone(), TORCH),
        ("torch_compile_mode", null.clone(), TORCH),
        ("use_liger_kernel", json!(false), TORCH),
        ("liger_kernel_config", null.clone(), TORCH),
        ("torch_empty_cache_steps", null.clone(), TORCH),
        ("log_on_each_node", json!(true), DEVICES),
        (
            "log_level",
            json!("passive"),
            "messages go through the crate `log`: set its level",
        ),
        ("log_level_replica", json!("warning"), DEVICES),
        ("project", json!("huggingface"), TRACKERS),
        ("trackio_space_id", null.clone(), TRACKERS),
        ("trackio_bucket_id", null.clone(), TRACKERS),
        ("trackio_static_space_id", null.clone(), TRACKERS),
        (
            "eval_do_concat_batches",
            json!(true),
            "predictions are always joined",
        ),
        ("eval_use_gather_object", json!(false), DEVICES),
        (
            "batch_eval_metrics",
            json!(false),
            "metrics are computed over the whole set",
        ),
        ("save_on_each_node", json!(false), DEVICES),
        (
            "accelerator_config",
            accelerator,
            "there is no accelerate here",
        ),
        ("parallelism_config", null.clone(), DEVICES),
        ("dataloader_num_workers", json!(0), LOADER),
        ("dataloader_pin_memory", json!(true), LOADER),
        ("dataloader_persistent_workers", json!(false), LOADER),
        ("dataloader_prefetch_factor", null.clone(), LOADER),
        ("dataloader_multiprocessing_context", null.clone(), LOADER),
        ("dataloader_in_order", json!(true), LOADER),
        ("ddp_find_unused_parameters", null.clone(), DEVICES),
        ("ddp_bucket_cap_mb", null.clone(), DEVICES),
        ("ddp_broadcast_buffers", null.clone(), DEVICES),
        ("ddp_static_graph", null.clone(), DEVICES),
        ("ddp_backend", null.clone(), DEVICES),
        ("ddp_timeout", json!(1800), DEVICES),
        ("fsdp", null.clone(), DEVICES),
        ("fsdp_config", null.clone(), DEVICES),
        ("deepspeed", null, DEVICES),
        ("debug", json!([]), TORCH),
        ("skip_memory_metrics", json!(true), "memory is not measured"),
        ("local_rank", json!(-1), DEVICES),
    ]
}

/// The entries that have a field here; all others are checked.
pub fn known_here(
    map: &Map<String, Value>,
    fields: &Map<String, Value>,
) -> Result<Map<String, Value>> {
    let refused = refused();
    let mut known = Map::new();
    for (name, value) in map {
        if let Some((_, successor)) = REMOVED.iter().find(|(removed, _)| removed == name) {
            return Err(TrainerError::RemovedArgument {
                name: name.clone(),
                successor,
            });
        }
        match refused.iter().find(|(refused, ..)| refused == name) {
            Some((_, only, _)) if same(only, value) => {}
            // Which of PyTorch's two ways is taken changes nothing in what comes out.
            Some((name, ..)) if name.ends_with("checkpointing_kwargs") && only_reentrant(value) => {
            }
            Some((_, _, reason)) => {
                return Err(TrainerError::Argument {
                    name: name.clone(),
                    reason: format!("{value} cannot work here: {reason}"),
                });
            }
            None if fields.contains_key(name) => {
                known.insert(name.clone(), value.clone());
            }
            None => {
                return Err(TrainerError::Argument {
                    name: name.clone(),
                    reason: "there is no such argument".to_owned(),
                });
            }
        }
    }
    Ok(known)
}

fn only_reentrant(value: &Value) -> bool {
    let map = value.as_object();
    map.is_some_and(|map| map.keys().all(|key| key == "use_reentrant"))
}

fn same(only: &Value, value: &Value) -> bool {
    only == value || value.is_null() || only.as_f64().is_some() && only.as_f64() == value.as_f64()
}

/// The fields together with the names that have none.
pub fn with_the_rest(mut fields: Map<String, Value>) -> Map<String, Value> {
    for (name, only, _) in refused() {
        fields.insert(name.to_owned(), only);
    }
    fields
}
