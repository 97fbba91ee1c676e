//! Adapters on the command line: with the model, merged into it, and served beside it.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::path::Path;

use common::{ANSWER, QUESTION, check_error, command, stdout, tiny};
use transformers_modeling::{
    AutoModelForCausalLM, InitLoraWeights, LoraConfig, PeftModel, TargetModules, TaskType,
};

/// A folder with an adapter of the tiny model that changes its answers.
fn adapter() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut model = AutoModelForCausalLM::from_pretrained(tiny().as_path()).unwrap();
    let config = LoraConfig {
        r: 4,
        lora_alpha: 64.0,
        target_modules: Some(TargetModules::AllLinear),
        init_lora_weights: InitLoraWeights::Random,
        task_type: Some(TaskType::CausalLM),
        ..LoraConfig::default()
    };
    model.add_adapter("default", &config, Some(5)).unwrap();
    model.save_pretrained(folder.path()).unwrap();
    folder
}

fn answer(model: &str, more: &[&str]) -> String {
    let question = [
        "generate",
        "--model",
        model,
        "--chat",
        QUESTION,
        "--max-new-tokens",
        "8",
    ];
    stdout(&command(&[&question[..], more].concat()).output().unwrap())
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn an_adapter_changes_the_answer_and_can_be_merged() {
    let adapter = adapter();
    let adapter = path(adapter.path());
    let with = answer("MODEL", &["--adapter", adapter]);
    assert_ne!(with, ANSWER);
    let folder = tempfile::tempdir().unwrap();
    let merged = folder.path().join("merged");
    let merged = path(&merged);
    let arguments = ["merge-lora", "MODEL", adapter, merged];
    assert_eq!(stdout(&command(&arguments).output().unwrap()), "");
    assert_eq!(answer(merged, &[]), with);
}

#[test]
fn what_is_no_adapter_is_said() {
    let question = ["generate", "--model", "MODEL", "--chat", QUESTION];
    let model = tiny();
    let refused = ["--adapter", path(&model)];
    check_error(
        &[&question[..], &refused].concat(),
        1,
        &["adapter_config.json"],
    );
    check_error(
        &["merge-lora", "MODEL", path(&model), "out"],
        1,
        &["adapter_config.json"],
    );
    assert!(!Path::new("out").exists());
}

#[cfg(feature = "serve")]
#[test]
fn an_adapter_is_served_beside_its_model() {
    let adapter = adapter();
    let poet = format!("poet={}", path(adapter.path()));
    let server = common::Server::start(&["--adapter", &poet]);
    let ask = |model: &str| {
        let arguments = [
            "chat",
            model,
            &server.url,
            "max_new_tokens=8",
            "do_sample=false",
        ];
        let said = common::with_stdin(&arguments, &format!("{QUESTION}\n"));
        stdout(&said)
    };
    assert_eq!(
        ask("poet"),
        answer("MODEL", &["--adapter", path(adapter.path())])
    );
    assert_eq!(ask("tiny"), answer("MODEL", &[]));
}
