//! Trainings from recipes, of models small enough to learn in a moment.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{command, stdout, text, tiny};
use serde_json::{Value, json};
use tempfile::TempDir;

fn word_piece() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tokenization/tests/golden/word_piece")
}

fn llama() -> Value {
    json!({"model_type": "llama", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
           "num_key_value_heads": 1, "max_position_embeddings": 64, "tie_word_embeddings": true})
}

fn bert() -> Value {
    json!({"model_type": "bert", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
           "max_position_embeddings": 64, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0})
}

fn t5() -> Value {
    json!({"model_type": "t5", "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "dropout_rate": 0.0,
           "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1})
}

/// A folder with data and the recipe `recipe.json`, whose output goes into `out`.
fn folder(
    task: &str,
    config: Value,
    tokenizer: &Path,
    data: Value,
    training: Value,
    files: &[(&str, &str)],
) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, text) in files {
        fs::write(at(name), text).unwrap();
    }
    let mut data = data;
    data["train"] = at(data["train"].as_str().unwrap()).to_str().unwrap().into();
    let mut arguments = json!({"output_dir": at("out"), "logging_steps": 1, "save_strategy": "no", "use_cpu": true,
                               "learning_rate": 0.01, "report_to": ["jsonl", "tensorboard"]});
    arguments
        .as_object_mut()
        .unwrap()
        .extend(training.as_object().unwrap().clone());
    let recipe = json!({"task": task, "config": config, "tokenizer": tokenizer, "data": data, "training": arguments});
    fs::write(at("recipe.json"), recipe.to_string()).unwrap();
    folder
}

fn train(folder: &TempDir, more: &[&str]) -> std::process::Output {
    let recipe = folder.path().join("recipe.json");
    let arguments = [&["train", recipe.to_str().unwrap()], more].concat();
    command(&arguments).output().unwrap()
}

fn read(folder: &TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join("out").join(name)).unwrap()
}

fn log(folder: &TempDir) -> Vec<Value> {
    let lines = read(folder, "log.jsonl");
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What was logged under a name.
fn logged(folder: &TempDir, name: &str) -> Vec<f64> {
    log(folder)
        .iter()
        .filter_map(|line| line[name].as_f64())
        .collect()
}

const SENTENCES: &str = "The cat sat on the mat.\nThe dog sat on the log.\nThe cat saw the dog.\nThe dog saw the cat.\n";

fn causal(training: Value) -> TempDir {
    let data = json!({"train": "text.txt", "packing": true, "max_length": 8});
    folder(
        "causal-lm",
        llama(),
        &tiny(),
        data,
        training,
        &[("text.txt", &SENTENCES.repeat(8))],
    )
}

#[test]
fn a_language_model_learns_a_text() {
    let folder = causal(json!({"max_steps": 12, "per_device_train_batch_size": 4}));
    let said = stdout(&train(&folder, &[]));
    assert!(
        said.starts_with("12 steps, loss ") && said.contains("the model is in "),
        "{said}"
    );
    let losses = logged(&folder, "loss");
    assert_eq!(losses.len(), 12);
    assert!(losses[11] < 0.8 * losses[0], "{losses:?}");
    assert!(log(&folder)[0]["step"] == 1 && log(&folder)[0]["learning_rate"].is_number());
    assert!(read(&folder, "README.md").contains("was trained from scratch on "));
    let runs: Vec<_> = fs::read_dir(folder.path().join("out/runs"))
        .unwrap()
        .collect();
    assert_eq!(runs.len(), 1);
    let model = folder.path().join("out");
    let arguments = [
        "generate",
        "-m",
        model.to_str().unwrap(),
        "--prompt",
        "The cat",
        "--max-new-tokens",
        "3",
    ];
    assert!(!stdout(&command(&arguments).output().unwrap()).is_empty());
}

#[test]
fn only_answers_of_a_conversation_are_learned() {
    let messages = json!({"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "The cat"}]});
    let lines = format!("{messages}\n").repeat(8);
    let data = json!({"train": "chat.jsonl", "messages": "messages", "assistant_only_loss": true});
    let folder = folder(
        "causal-lm",
        llama(),
        &tiny(),
        data,
        json!({"max_steps": 10}),
        &[("chat.jsonl", &lines)],
    );
    stdout(&train(&folder, &[]));
    let losses = logged(&folder, "loss");
    assert!(losses[9] < 0.8 * losses[0], "{losses:?}");
}

#[test]
fn adapters_learn_alone() {
    let data = json!({"train": "text.txt"});
    let folder = folder(
        "causal-lm",
        llama(),
        &tiny(),
        data,
        json!({"max_steps": 12, "learning_rate": 0.05}),
        &[("text.txt", &SENTENCES.repeat(8))],
    );
    let base = format!("model={}", tiny().display());
    let set = [
        "--set",
        "config=null",
        "--set",
        &base,
        "--set",
        "lora={r: 4, target_modules: all-linear}",
    ];
    let dry = stdout(&train(&folder, &[&set[..], &["--dry-run"]].concat()));
    let counts: Vec<usize> = dry
        .lines()
        .next()
        .unwrap()
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(
        counts.len() == 2 && counts[1] > 0 && counts[1] < counts[0],
        "{dry}"
    );
    stdout(&train(&folder, &set));
    let losses = logged(&folder, "loss");
    assert!(losses[11] < 0.9 * losses[0], "{losses:?}");
    let config: Value = serde_json::from_str(&read(&folder, "adapter_config.json")).unwrap();
    assert_eq!(
        (&config["r"], &config["task_type"]),
        (&json!(4), &json!("CAUSAL_LM"))
    );
    assert!(!folder.path().join("out/model.safetensors").exists());
    let output = train(&folder, &[&set[..4], &["--set", "lora={rank: 4}"]].concat());
    assert!(text(&output.stderr).contains("`lora.rank` is not known"));
}

#[test]
fn a_classifier_learns_names() {
    let rows = "the cat sat,ham\nwin money now,spam\n".repeat(12);
    let data = json!({"train": "mails.csv", "test_size": 0.25, "text": "body", "label": "kind"});
    let training = json!({"num_train_epochs": 12, "eval_strategy": "epoch"});
    let folder = folder(
        "text-classification",
        bert(),
        &word_piece(),
        data,
        training,
        &[("mails.csv", &format!("body,kind\n{rows}"))],
    );
    let said = stdout(&train(&folder, &[]));
    assert!(said.contains("eval_accuracy 1.0\n"), "{said}");
    let config: Value = serde_json::from_str(&read(&folder, "config.json")).unwrap();
    assert_eq!(config["id2label"], json!({"0": "ham", "1": "spam"}));
    assert!(read(&folder, "README.md").contains("- Accuracy: 1.0000"));
}

#[test]
fn words_get_classes() {
    let row = json!({"words": ["the", "cat", "sat"], "tags": ["O", "B", "O"]});
    let data = json!({"train": "words.jsonl", "classes": ["O", "B"]});
    let training = json!({"max_steps": 20});
    let folder = folder(
        "token-classification",
        bert(),
        &word_piece(),
        data,
        training,
        &[("words.jsonl", &format!("{row}\n").repeat(8))],
    );
    stdout(&train(&folder, &[]));
    let losses = logged(&folder, "loss");
    assert!(losses[19] < 0.5 * losses[0], "{losses:?}");
}

#[test]
fn hidden_tokens_are_found() {
    let data = json!({"train": "text.txt", "mlm_probability": 0.5});
    let folder = folder(
        "masked-lm",
        bert(),
        &word_piece(),
        data,
        json!({"max_steps": 20}),
        &[("text.txt", &SENTENCES.repeat(4))],
    );
    stdout(&train(&folder, &[]));
    let losses = logged(&folder, "loss");
    assert!(
        losses[15..].iter().sum::<f64>() < 0.9 * losses[..5].iter().sum::<f64>(),
        "{losses:?}"
    );
}

#[test]
fn a_text_is_answered() {
    let row = json!({"text": "the cat", "target": "the dog"});
    let data = json!({"train": "pairs.jsonl", "prefix": "say: "});
    let folder = folder(
        "seq2seq",
        t5(),
        &word_piece(),
        data,
        json!({"max_steps": 20}),
        &[("pairs.jsonl", &format!("{row}\n").repeat(8))],
    );
    stdout(&train(&folder, &[]));
    let losses = logged(&folder, "loss");
    assert!(losses[19] < 0.8 * losses[0], "{losses:?}");
}

#[test]
fn a_dry_run_says_what_it_takes() {
    let folder = causal(
        json!({"num_train_epochs": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}),
    );
    let said = stdout(&train(&folder, &["--dry-run"]));
    for part in [
        "parameters ",
        "steps ",
        "weights ",
        "gradients and optimizer ",
        "one batch ",
        "all steps ",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(!said.contains("which 0 learn"), "{said}");
    assert!(!folder.path().join("out").exists());
}

#[test]
fn what_is_wrong_is_said_before_it_begins() {
    let folder = causal(json!({"max_steps": 2}));
    for (more, expected) in [
        (
            &["--set", "data.text=body"][..],
            "there is no column `body`",
        ),
        (&["--set", "data.colour=red"], "unknown field `colour`"),
        (&["--set", "training.no_cuda=true"], "use_cpu"),
        (
            &["--set", "training.report_to=[wandb]"],
            "`wandb` is no reporter",
        ),
        (
            &["--set", "data.max_length=100000"],
            "fill no block of 100000",
        ),
        (&["--set", "data.split=test"], "there is no split `test`"),
        (&["--set", "nothing"], "write a key"),
        (&["--resume"], "has no checkpoint to resume"),
    ] {
        let output = train(&folder, more);
        let stderr = text(&output.stderr);
        assert!(
            !output.status.success() && stderr.contains(expected),
            "{expected} is not in {stderr}"
        );
        assert!(!folder.path().join("out/model.safetensors").exists());
    }
}

/// Runs until some steps are logged, then asks it to stop by `signal`.
fn interrupted(folder: &TempDir, signal: &str) {
    let recipe = folder.path().join("recipe.json");
    let mut command = command(&["train", recipe.to_str().unwrap()]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let log = folder.path().join("out/log.jsonl");
    let began = Instant::now();
    while fs::read_to_string(&log).unwrap_or_default().lines().count() < 5 {
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "it does not begin"
        );
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(2));
    }
    let kill = std::process::Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[cfg(unix)]
#[test]
fn an_interrupted_training_goes_on_as_if_nothing_had_happened() {
    let training = || json!({"max_steps": 120, "per_device_train_batch_size": 4, "save_strategy": "steps", "save_steps": 1000});
    let whole = causal(training());
    stdout(&train(&whole, &[]));
    for signal in ["-INT", "-TERM"] {
        let folder = causal(training());
        interrupted(&folder, signal);
        let refused = train(&folder, &[]);
        assert!(text(&refused.stderr).contains("has checkpoints: go on with --resume"));
        stdout(&train(&folder, &["--resume"]));
        let weights =
            |folder: &TempDir| fs::read(folder.path().join("out/model.safetensors")).unwrap();
        assert!(
            weights(&folder) == weights(&whole),
            "{signal}: other weights"
        );
        assert_eq!(logged(&folder, "loss"), logged(&whole, "loss"));
    }
}
