//! What callbacks see, in the order of the reference's callbacks.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use transformers_config::AutoConfig;
use transformers_modeling::{AutoModelForCausalLM, DeviceSpec, LoadOptions};
use transformers_trainer::data::{Dataset, Example, Value};
use transformers_trainer::{
    Event, Logs, Result, Trainer, TrainerCallback, TrainerControl, TrainingArguments,
};

/// What golden_trainer_events.py wrote.
#[derive(Deserialize)]
struct Golden {
    train: usize,
    eval: usize,
    names: Vec<String>,
    defaults: Map<String, Json>,
    runs: BTreeMap<String, Run>,
}

#[derive(Deserialize)]
struct Run {
    arguments: Map<String, Json>,
    #[serde(default)]
    flags: BTreeMap<u64, Vec<String>>,
    events: Vec<(String, u64)>,
}

fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/events.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[derive(Clone, Default)]
struct Recorder {
    seen: Arc<Mutex<Vec<(String, u64)>>>,
    /// What is set at the end of a step.
    flags: BTreeMap<u64, Vec<String>>,
}

impl Recorder {
    fn push(&self, name: &str, event: Event<'_>) -> Result<()> {
        let seen = (name.to_owned(), event.state.global_step);
        self.seen.lock().unwrap().push(seen);
        Ok(())
    }
}

macro_rules! recorder {
    ($($name:ident),+; $($with_logs:ident),+) => {
        const NAMES: &[&str] = &["on_step_end", $(stringify!($name),)+ $(stringify!($with_logs)),+];

        impl TrainerCallback for Recorder {
            fn name(&self) -> &str {
                "Recorder"
            }

            fn on_step_end(&mut self, event: Event<'_>, control: &mut TrainerControl) -> Result<()> {
                for flag in self.flags.get(&event.state.global_step).into_iter().flatten() {
                    match flag.as_str() {
                        "should_log" => control.should_log = true,
                        "should_evaluate" => control.should_evaluate = true,
                        "should_save" => control.should_save = true,
                        "should_epoch_stop" => control.should_epoch_stop = true,
                        "should_training_stop" => control.should_training_stop = true,
                        other => panic!("{other}"),
                    }
                }
                self.push("on_step_end", event)
            }

            $(fn $name(&mut self, event: Event<'_>, _: &mut TrainerControl) -> Result<()> {
                self.push(stringify!($name), event)
            })+

            $(fn $with_logs(&mut self, event: Event<'_>, _: &mut TrainerControl, _: &Logs) -> Result<()> {
                self.push(stringify!($with_logs), event)
            })+
        }
    };
}

recorder!(
    on_init_end, on_train_begin, on_train_end, on_epoch_begin, on_epoch_end, on_step_begin, on_pre_optimizer_step,
    on_optimizer_step, on_substep_end, on_save, on_prediction_step, on_push_begin;
    on_evaluate, on_predict, on_log
);

fn texts(count: usize) -> Arc<dyn Dataset> {
    let ids = Value::Integers((3..9).collect());
    let text = Example::new()
        .with("input_ids", ids.clone())
        .with("labels", ids);
    Arc::new(vec![text; count])
}

#[test]
fn there_are_the_references_events() {
    let mut names: Vec<&str> = NAMES.to_vec();
    names.sort_unstable();
    assert_eq!(names, golden().names);
}

#[test]
fn events_come_in_the_references_order() {
    let golden = golden();
    let config = json!({
        "model_type": "llama", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1,
    });
    let config = AutoConfig::from_json_str(&config.to_string()).unwrap();
    let options = LoadOptions {
        device: DeviceSpec::Cpu,
        seed: Some(3),
        ..LoadOptions::default()
    };
    assert_eq!(golden.runs.len(), 4);
    for (name, run) in golden.runs {
        let folder = tempfile::tempdir().unwrap();
        let mut args = golden.defaults.clone();
        args.extend(run.arguments);
        args.insert("output_dir".to_owned(), json!(folder.path()));
        let args = TrainingArguments::from_json(&args.into()).unwrap();
        let recorder = Recorder {
            flags: run.flags,
            ..Recorder::default()
        };
        let model = AutoModelForCausalLM::from_config_with(&config, &options).unwrap();
        let mut trainer = Trainer::new(model.into_inner(), args)
            .unwrap()
            .with_train_dataset(texts(golden.train))
            .with_eval_dataset(texts(golden.eval))
            .with_callback(recorder.clone());
        trainer.train().unwrap();
        trainer.evaluate().unwrap();
        trainer.predict(&texts(golden.eval)).unwrap();
        assert_eq!(*recorder.seen.lock().unwrap(), run.events, "{name}");
    }
}
