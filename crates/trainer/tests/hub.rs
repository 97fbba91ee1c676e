//! Datasets from a hub on this machine, and models to it.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "these tests do not need all that this hub can")]
#[path = "../../hub/tests/hub/server.rs"]
mod server;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use transformers_config::AutoConfig;
use transformers_hub::HubOptions;
use transformers_modeling::{AutoModelForCausalLM, DeviceSpec, LoadOptions};
use transformers_trainer::data::{Dataset, Example, Value, load_hub_dataset};
use transformers_trainer::recipe::Recipe;
use transformers_trainer::reporting::{JsonlReporter, ModelCard, ModelCardReporter};
use transformers_trainer::{
    Event, HubToken, Result, Trainer, TrainerCallback, TrainerControl, TrainingArguments,
};

use server::{Fault, Hub, REPO};

const COMMIT: &str = "1111111111111111111111111111111111111111";
const ALONE: &str = "TRAINER_TEST_ALONE";

/// Runs a test in a process of its own, without the variables that say how the hub is reached.
fn alone(name: &str, test: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return test();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name]).env(ALONE, "1");
    for (variable, _) in std::env::vars_os() {
        let text = variable.to_string_lossy().to_uppercase();
        let begins = ["HF_", "HUGGING", "TRANSFORMERS_"];
        if begins.iter().any(|start| text.starts_with(start)) || text.ends_with("_PROXY") {
            command.env_remove(variable);
        }
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

fn options(hub: &Hub, cache: &Path) -> HubOptions {
    HubOptions {
        endpoint: Some(hub.endpoint.clone()),
        cache_dir: Some(cache.to_owned()),
        ..HubOptions::default()
    }
}

fn texts(examples: &[Example]) -> Vec<&str> {
    let columns = examples.iter().map(|example| example.get("text").unwrap());
    columns.map(|text| text.as_text().unwrap()).collect()
}

const README: &str = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n  - \
                      split: test\n    path: data/test.jsonl\n- config_name: other\n  sep: ';'\n  data_files: \
                      other.csv\n---\n# Texts\n";

fn dataset() -> Hub {
    let hub = Hub::start();
    hub.commit(
        COMMIT,
        &[
            ("README.md", README.as_bytes()),
            ("data/train-00000-of-00002.jsonl", b"{\"text\": \"one\"}\n"),
            ("data/train-00001-of-00002.jsonl", b"{\"text\": \"two\"}\n"),
            ("data/test.jsonl", b"{\"text\": \"three\"}\n"),
            ("other.csv", b"text;kind\nfour, five;x\n"),
        ],
    );
    hub
}

#[test]
fn a_dataset_is_fetched_split_by_split() {
    alone("a_dataset_is_fetched_split_by_split", || {
        let (hub, cache) = (dataset(), TempDir::new().unwrap());
        let online = options(&hub, cache.path());
        let load = |name: Option<&str>, split: &str, options: &HubOptions| {
            load_hub_dataset(REPO, name, split, options).map_err(|error| error.to_string())
        };
        let train = load(None, "train", &online).unwrap();
        assert_eq!(texts(&train), ["one", "two"]);
        let log = hub.log();
        assert!(
            log.iter().all(|line| !line.contains("test.jsonl")),
            "{log:?}"
        );
        assert!(
            log[0].starts_with("GET /api/datasets/org/name/revision/main"),
            "{log:?}"
        );
        let python = cache
            .path()
            .join("datasets--org--name/snapshots")
            .join(COMMIT);
        assert!(python.join("data/train-00001-of-00002.jsonl").is_file());
        assert_eq!(
            texts(&load(Some("other"), "train", &online).unwrap()),
            ["four, five"]
        );

        let offline = HubOptions {
            local_files_only: true,
            ..online.clone()
        };
        hub.log();
        assert_eq!(
            texts(&load(None, "train", &offline).unwrap()),
            ["one", "two"]
        );
        assert!(hub.log().is_empty());
        let error = load(None, "test", &offline).unwrap_err();
        assert!(
            error.contains("no file is called `data/test.jsonl`"),
            "{error}"
        );
        std::fs::remove_file(python.join("data/train-00001-of-00002.jsonl")).unwrap();
        let error = load(None, "train", &offline).unwrap_err();
        assert!(
            error.contains("1 of its 2 files are in the cache"),
            "{error}"
        );
        assert_eq!(
            texts(&load(None, "train", &online).unwrap()),
            ["one", "two"]
        );

        for (name, split, expect) in [
            (
                None,
                "validation",
                "no split `validation`; there are: test, train",
            ),
            (
                Some("third"),
                "train",
                "no config `third`; there are: default, other",
            ),
        ] {
            let error = load(name, split, &online).unwrap_err();
            assert!(error.contains(expect), "{error}");
        }
        let other = load_hub_dataset("org/absent", None, "train", &online).unwrap_err();
        let other = other.to_string();
        assert!(
            other.contains("no repository `datasets/org/absent`"),
            "{other}"
        );
        hub.commit(
            "2222222222222222222222222222222222222222",
            &[("script.py", b"print()")],
        );
        let error = load(None, "train", &online).unwrap_err();
        assert!(error.contains("has no .jsonl"), "{error}");
        let source = format!("{REPO}@{COMMIT}");
        let old = |split: &str| load_hub_dataset(&source, None, split, &online).unwrap();
        assert_eq!(texts(&old("test")), ["three"]);
        assert_eq!(texts(&old("train[50%:]+test[:1]")), ["two", "three"]);
    });
}

#[test]
fn a_recipe_names_a_dataset() {
    alone("a_recipe_names_a_dataset", || {
        let (hub, cache) = (dataset(), TempDir::new().unwrap());
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tokenizer = manifest.join("../tokenization/tests/golden/word_piece");
        let recipe = json!({
            "task": "masked-lm", "config": {"model_type": "bert"}, "tokenizer": tokenizer,
            "data": {"dataset": REPO, "revision": COMMIT, "validation_split": "test"},
        });
        let recipe = Recipe::from_yaml(&recipe.to_string()).unwrap();
        // The model's revision and folder are its own.
        let options = HubOptions {
            revision: Some("of-the-model".to_owned()),
            subfolder: Some("of-the-model".to_owned()),
            ..options(&hub, cache.path())
        };
        let tokenizer = recipe.tokenizer(&HubOptions::default()).unwrap();
        let data = recipe.prepare(&tokenizer, &options, 0).unwrap();
        assert_eq!((data.train.len(), data.validation.unwrap().len()), (2, 1));
    });
}

/// A training of four steps, with a checkpoint after each second one.
fn trainer(hub: &Hub, folder: &Path, args: Json) -> Trainer {
    let config = json!({
        "model_type": "llama", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 12,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 32,
    });
    let config = AutoConfig::from_json_str(&config.to_string()).unwrap();
    let load = LoadOptions {
        device: DeviceSpec::Cpu,
        seed: Some(3),
        ..LoadOptions::default()
    };
    let model = AutoModelForCausalLM::from_config_with(&config, &load).unwrap();
    let mut all = json!({
        "output_dir": folder, "max_steps": 4, "save_steps": 2, "logging_steps": 1, "push_to_hub": true,
        "hub_model_id": REPO, "hub_token": "hf_secret", "per_device_train_batch_size": 2,
    });
    for (name, value) in args.as_object().unwrap() {
        all[name] = value.clone();
    }
    let ids = Value::Integers(vec![3, 4, 5, 6]);
    let example = Example::new()
        .with("input_ids", ids.clone())
        .with("labels", ids);
    let examples = Arc::new(vec![example; 8]);
    Trainer::new(
        model.into_inner(),
        TrainingArguments::from_json(&all).unwrap(),
    )
    .unwrap()
    .with_train_dataset(examples.clone())
    .with_eval_dataset(examples)
    .with_hub(options(hub, folder))
    .with_callback(JsonlReporter::new(folder.join("log.jsonl")))
    .with_callback(ModelCardReporter::new(ModelCard::default()))
}

/// The steps at which uploads began.
#[derive(Clone, Default)]
struct Pushes(Arc<Mutex<Vec<u64>>>);

impl TrainerCallback for Pushes {
    fn name(&self) -> &str {
        "Pushes"
    }

    fn on_push_begin(&mut self, event: Event<'_>, _: &mut TrainerControl) -> Result<()> {
        self.0.lock().unwrap().push(event.state.global_step);
        Ok(())
    }
}

#[test]
fn a_training_is_uploaded_as_it_goes_on() {
    alone("a_training_is_uploaded_as_it_goes_on", || {
        let (hub, folder) = (Hub::start(), TempDir::new().unwrap());
        let args = json!({"hub_strategy": "all_checkpoints", "hub_always_push": true, "hub_private_repo": true});
        let pushes = Pushes::default();
        let mut trainer = trainer(&hub, folder.path(), args).with_callback(pushes.clone());
        std::fs::write(folder.path().join("_notes"), "mine").unwrap();
        trainer.train().unwrap();
        trainer.evaluate().unwrap();
        let url = trainer.push_to_hub("End of training").unwrap();
        assert_eq!(url, format!("{}/{REPO}", hub.endpoint));
        assert_eq!(*pushes.0.lock().unwrap(), [2, 4, 4]);
        assert!(
            hub.made()[0].contains("\"private\": true"),
            "{:?}",
            hub.made()
        );
        let commits = hub.commits();
        let messages: Vec<&str> = commits
            .iter()
            .map(|commit| commit.message.as_str())
            .collect();
        assert_eq!(
            messages,
            [
                "Training in progress, step 2",
                "Training in progress, step 2, checkpoint",
                "Training in progress, step 4",
                "Training in progress, step 4, checkpoint",
                "End of training",
            ]
        );
        let names =
            |at: usize| -> Vec<&str> { commits[at].files.keys().map(String::as_str).collect() };
        let model = [
            "config.json",
            "log.jsonl",
            "model.safetensors",
            "training_args.json",
        ];
        for name in model {
            assert!(names(0).contains(&name), "{name}: {:?}", names(0));
        }
        assert!(
            names(0)
                .iter()
                .all(|name| !name.contains("optimizer") && !name.starts_with('_'))
        );
        assert!(
            names(1).contains(&"checkpoint-2/optimizer.safetensors"),
            "{:?}",
            names(1)
        );
        assert!(
            names(4).iter().all(|name| !name.contains("checkpoint")),
            "{:?}",
            names(4)
        );
        let text =
            |at: usize, name: &str| String::from_utf8(commits[at].files[name].clone()).unwrap();
        assert!(
            text(4, "README.md").contains("- Loss: "),
            "the last evaluation is in the card"
        );
        assert!(!text(4, "training_args.json").contains("hf_secret"));
        assert_eq!(text(0, "log.jsonl").lines().count(), 2);
    });
}

#[test]
fn a_refused_upload_hinders_nothing() {
    alone("a_refused_upload_hinders_nothing", || {
        let (hub, folder) = (Hub::start(), TempDir::new().unwrap());
        hub.fault("/commit/main", 1, Fault::Status(403, ""));
        let args = json!({"hub_strategy": "checkpoint", "save_total_limit": 1});
        let mut trainer = trainer(&hub, folder.path(), args);
        trainer.train().unwrap();
        let commits = hub.commits();
        let first = &commits[0].message;
        assert_eq!(
            first, "Training in progress, step 2, checkpoint",
            "the other was refused"
        );
        let places: Vec<&str> = commits[0].files.keys().map(String::as_str).collect();
        assert!(
            places
                .iter()
                .all(|name| name.starts_with("last-checkpoint/")),
            "{places:?}"
        );
        trainer.save_model(&folder.path().join("final")).unwrap();
        assert_eq!(hub.commits().last().unwrap().message, "Model save");
    });
}

/// Counts steps.
struct Steps(Arc<std::sync::atomic::AtomicUsize>);

impl TrainerCallback for Steps {
    fn name(&self) -> &str {
        "Steps"
    }

    fn on_step_end(&mut self, _: Event<'_>, _: &mut TrainerControl) -> Result<()> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn what_cannot_be_uploaded_shows_before_the_first_step() {
    alone(
        "what_cannot_be_uploaded_shows_before_the_first_step",
        || {
            let steps = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let (hub, folder) = (Hub::start(), TempDir::new().unwrap());
            let error = |args: Json, offline: bool| {
                let hub = HubOptions {
                    local_files_only: offline,
                    ..options(&hub, folder.path())
                };
                let trainer = trainer_of(&hub, folder.path(), args);
                let error = trainer.with_callback(Steps(steps.clone())).train();
                error.unwrap_err().to_string()
            };
            for (args, offline, expect) in [
                (
                    json!({}),
                    true,
                    "nothing can be uploaded to `org/name`: `local_files_only` is set",
                ),
                (
                    json!({"hub_token": null}),
                    false,
                    "it asks for a token: set HF_TOKEN",
                ),
                (
                    json!({"hub_model_id": "a/b/c"}),
                    false,
                    "`a/b/c` is neither a folder nor a hub id",
                ),
            ] {
                let error = error(args, offline);
                assert!(error.contains(expect), "{error}");
            }
            hub.fault("repos/create", 9, Fault::Status(403, ""));
            let error = error(json!({"hub_model_id": "other/name"}), false);
            assert!(
                error.contains("access to `other/name` is forbidden"),
                "{error}"
            );
            assert_eq!(steps.load(std::sync::atomic::Ordering::Relaxed), 0);
        },
    );
}

fn trainer_of(hub: &HubOptions, folder: &Path, args: Json) -> Trainer {
    let nobody = Hub::start();
    trainer(&nobody, folder, args).with_hub(hub.clone())
}

#[test]
fn a_token_is_never_shown() {
    let args = TrainingArguments::from_json(&json!({"hub_token": "hf_secret"})).unwrap();
    assert_eq!(args.hub_token, Some(HubToken::from("hf_secret")));
    assert!(!format!("{args:?}{}", args.to_json()).contains("hf_secret"));
    let again = TrainingArguments::from_json(&args.to_json()).unwrap();
    assert_eq!(again.hub_token, None, "what stands for a token is none");
}
