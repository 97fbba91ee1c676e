//! Checkpoints converted, inspected and examined, on models small enough to be committed.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::path::Path;

use common::{ANSWER, QUESTION, case, check_error, command, stdout, tiny};
use serde_json::{Value, json};
use transformers_weights::{Checkpoint, DType, HostTensor, OpenOptions, save_safetensors};

type Tensors = Vec<(String, HostTensor)>;

fn run(arguments: &[&str]) -> String {
    stdout(&command(arguments).output().unwrap())
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn inspect(model: &Path) -> Value {
    serde_json::from_str(&run(&["inspect", path(model), "--json"])).unwrap()
}

/// The types of the tensors, with how many have them.
fn types(model: &Path) -> Vec<(String, usize)> {
    let mut types = std::collections::BTreeMap::new();
    for tensor in inspect(model)["tensors"].as_array().unwrap() {
        *types
            .entry(tensor["dtype"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    types.into_iter().collect()
}

fn counted(types: &[(&str, usize)]) -> Vec<(String, usize)> {
    types
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

#[track_caller]
fn check_answer(model: &Path) {
    let arguments = [
        "generate",
        "-m",
        path(model),
        "--chat",
        QUESTION,
        "--max-new-tokens",
        "40",
    ];
    assert_eq!(run(&arguments), ANSWER, "{}", model.display());
}

fn tensors(file: &Path) -> Tensors {
    let checkpoint = Checkpoint::open_file(file, &OpenOptions::default()).unwrap();
    let tensor = |name: &str| (name.to_owned(), checkpoint.tensor(name).unwrap());
    checkpoint.names().map(tensor).collect()
}

fn copy_of_tiny() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(tiny()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

#[test]
fn a_folder_is_converted_to_another_dtype_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let half = folder.path().join("half");
    let told = run(&["convert", "MODEL", path(&half), "--dtype", "bfloat16"]);
    assert!(
        told.contains("tokenizer.json") && told.contains("20 tensors"),
        "{told}"
    );
    let mut names: Vec<_> = fs::read_dir(&half)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    let mut expected: Vec<_> = fs::read_dir(tiny())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
    assert_eq!(types(&half), counted(&[("BF16", 20)]));
    let config: Value =
        serde_json::from_slice(&fs::read(half.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["dtype"], "bfloat16");
    check_answer(&half);

    let back = folder.path().join("back");
    run(&["convert", path(&half), path(&back), "--dtype", "float32"]);
    for ((name, rounded), (_, tensor)) in tensors(&back.join("model.safetensors"))
        .iter()
        .zip(tensors(&tiny().join("model.safetensors")))
    {
        let expected = tensor.cast(DType::BF16).unwrap().cast(DType::F32).unwrap();
        assert_eq!(*rounded, expected, "{name}");
    }
}

#[test]
fn shards_hold_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let shards = folder.path().join("shards");
    run(&[
        "convert",
        "MODEL",
        path(&shards),
        "--max-shard-size",
        "20KB",
    ]);
    assert!(shards.join("model.safetensors.index.json").is_file());
    assert_eq!(
        fs::read(shards.join("config.json")).unwrap(),
        fs::read(tiny().join("config.json")).unwrap()
    );
    check_answer(&shards);
    // In place, from shards to one file, which is that of the original.
    run(&["convert", path(&shards), path(&shards)]);
    assert!(!shards.join("model.safetensors.index.json").exists());
    assert_eq!(
        tensors(&shards.join("model.safetensors")),
        tensors(&tiny().join("model.safetensors"))
    );
    // Nothing temporary stays.
    assert!(fs::read_dir(&shards).unwrap().all(|entry| {
        !entry
            .unwrap()
            .file_name()
            .to_str()
            .unwrap()
            .starts_with('.')
    }));
}

#[test]
fn a_gguf_file_answers_as_the_folder_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tiny.gguf");
    let told = run(&["convert", "MODEL", path(&file)]);
    assert!(
        told.contains("20 tensors") && told.contains("F32"),
        "{told}"
    );
    check_answer(&file);

    // Rows of 24 are no blocks of 32; those of 32 are.
    let told = run(&["convert", "MODEL", path(&file), "--quantize", "q8_0"]);
    let types = types(&file);
    assert_eq!(
        types,
        counted(&[("F16", 11), ("F32", 5), ("Q8_0", 4)]),
        "{told}"
    );
    assert!(
        told.contains("Q8_0") && told.contains("F16") && told.contains("not whole blocks of Q8_0"),
        "{told}"
    );
    check_answer(&file);

    let back = folder.path().join("back");
    run(&["convert", path(&file), path(&back), "--dtype", "float32"]);
    check_answer(&back);
    let config: Value =
        serde_json::from_slice(&fs::read(back.join("config.json")).unwrap()).unwrap();
    assert_eq!(
        (&config["dtype"], &config["vocab_size"]),
        (&json!("float32"), &json!(304))
    );
}

#[test]
fn what_cannot_be_converted_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("model.gguf");
    fs::write(&target, "old").unwrap();
    let convert = |model: &str, more: &[&str], code, expected: &[&str]| {
        let arguments = [&["convert", model, path(&target)], more].concat();
        check_error(&arguments, code, expected);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    };
    let bert = case("bert");
    convert(path(&bert), &[], 1, &["\"bert\"", "gemma3_text, llama"]);
    let llama = case("llama");
    convert(path(&llama), &[], 1, &["tokenizer.json"]);
    convert("MODEL", &["--quantize", "q9"], 2, &["`q9`", "Q4_K"]);
    convert("MODEL", &["--format", "safetensors"], 2, &["folder"]);
    convert(
        "MODEL",
        &["--max-shard-size", "1MB"],
        2,
        &["--max-shard-size"],
    );
    convert("/no/such/folder", &[], 1, &["/no/such/folder"]);
    check_error(
        &[
            "convert",
            "MODEL",
            path(folder.path()),
            "--quantize",
            "q8_0",
        ],
        2,
        &[".gguf"],
    );
    check_error(&["convert", "MODEL"], 2, &["DST"]);

    let damaged = copy_of_tiny();
    let weights = damaged.path().join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() - 1]).unwrap();
    convert(path(damaged.path()), &[], 1, &["model.safetensors", "only"]);
}

#[test]
fn a_checkpoint_is_inspected() {
    let text = run(&["inspect", "MODEL"]);
    for part in [
        "llama LlamaForCausalLM",
        "20 tensors",
        "model.embed_tokens.weight",
        "[304, 24]",
        "model.layers.{0, 1}.mlp.up_proj.weight",
        "bfloat16",
        "per token",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert!(run(&["inspect", "MODEL", "--all"]).contains("model.layers.1.mlp.up_proj.weight"));
    let tiny = inspect(&tiny());
    let elements = tiny["parameters"].as_u64().unwrap();
    assert_eq!(tiny["bytes"], 4 * elements);
    assert_eq!(tiny["memory"]["cpu"]["auto"], 4 * elements);
    assert_eq!(tiny["memory"]["gpu"]["bfloat16"], 2 * elements);
    // Two layers, two heads of eight, keys and values, four bytes each.
    assert_eq!(tiny["cache_bytes_per_token"], 2 * 2 * 8 * 2 * 4);

    let half = inspect(&case("llama_bf16"));
    let vectors: u64 = half["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|tensor| tensor["shape"].as_array().unwrap().len() == 1)
        .map(|tensor| tensor["bytes"].as_u64().unwrap())
        .sum();
    // Norms are computed with in f32.
    assert_eq!(
        half["memory"]["cpu"]["auto"],
        half["bytes"].as_u64().unwrap() + vectors
    );
    assert!(
        inspect(&case("llama_sharded"))["files"]
            .as_array()
            .unwrap()
            .len()
            > 1
    );
    check_error(&["inspect", "/no/such/folder"], 1, &["/no/such/folder"]);
}

/// The findings, each as `level check`, and whether there were errors.
fn doctor(model: &Path) -> (Vec<(String, String)>, bool) {
    let output = command(&["doctor", path(model), "--json"])
        .output()
        .unwrap();
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let finding = |finding: &Value| {
        let text = |key: &str| finding[key].as_str().unwrap().to_owned();
        (
            format!("{} {}", text("level"), text("check")),
            text("message"),
        )
    };
    (
        findings.iter().map(finding).collect(),
        !output.status.success(),
    )
}

#[track_caller]
fn check_finding(model: &Path, level: &str, parts: &[&str]) {
    let (findings, errors) = doctor(model);
    let found = findings
        .iter()
        .any(|(found, message)| found == level && parts.iter().all(|part| message.contains(part)));
    assert!(found, "{level} {parts:?} is not in {findings:#?}");
    assert_eq!(
        errors,
        findings.iter().any(|(found, _)| found.starts_with("error"))
    );
    assert!(!level.starts_with("error") || errors);
}

#[test]
fn a_sound_model_is_found_sound() {
    let text = run(&["doctor", "MODEL"]);
    for part in [
        "ok      fit",
        "ok      run",
        "ok      tokenizer",
        "ok      template",
        "all finite",
        "0 errors, 0 warnings",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    for name in ["bert", "gemma3_text", "llama_sharded"] {
        let (findings, errors) = doctor(&case(name));
        assert!(!errors, "{findings:#?}");
    }
}

#[test]
fn what_is_wrong_with_a_model_is_found() {
    let changed = |change: &dyn Fn(&mut Tensors)| {
        let folder = copy_of_tiny();
        let mut tensors = tensors(&folder.path().join("model.safetensors"));
        change(&mut tensors);
        save_safetensors(folder.path(), tensors, u64::MAX).unwrap();
        folder
    };
    let norm = |tensors: &Tensors| {
        tensors
            .iter()
            .position(|(name, _)| name == "model.norm.weight")
            .unwrap()
    };

    let faulty = changed(&|tensors| {
        let mut values = vec![1.0_f32; 24];
        values[3] = f32::NAN;
        values[5] = f32::INFINITY;
        let at = norm(tensors);
        tensors[at].1 = HostTensor::from_vec(values, vec![24]).unwrap();
    });
    check_finding(
        faulty.path(),
        "error weights",
        &["model.norm.weight", "2 of 24"],
    );
    check_finding(faulty.path(), "error run", &["NaN"]);

    let missing = changed(&|tensors| {
        let at = norm(tensors);
        tensors[at].0 = "model.normal.weight".into();
    });
    check_finding(
        missing.path(),
        "error fit",
        &[
            "model.norm.weight",
            "MISSING",
            "model.normal.weight",
            "UNEXPECTED",
        ],
    );

    let mismatched = changed(&|tensors| {
        let at = norm(tensors);
        tensors[at].1 = HostTensor::from_vec(vec![1.0_f32; 25], vec![25]).unwrap();
    });
    check_finding(
        mismatched.path(),
        "error fit",
        &["MISMATCH", "[25]", "[24]"],
    );

    let twice = changed(&|tensors| {
        let embedding = tensors
            .iter()
            .find(|(name, _)| name.contains("embed"))
            .unwrap()
            .1
            .clone();
        tensors.push(("lm_head.weight".into(), embedding));
    });
    check_finding(
        twice.path(),
        "note ties",
        &["lm_head.weight", "second time"],
    );

    let edited = |file: &str, from: &str, to: &str| {
        let folder = copy_of_tiny();
        let path = folder.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).unwrap();
        folder
    };
    let config = edited("config.json", "\"llama\"", "\"frobnicator\"");
    check_finding(config.path(), "error fit", &["frobnicator", "llama"]);
    let config = edited("config.json", "\"vocab_size\": 304", "\"vocab_size\": 300");
    check_finding(config.path(), "error tokenizer", &["4 tokens", "300"]);
    let config = edited("config.json", "\"eos_token_id\": 0", "\"eos_token_id\": 3");
    check_finding(config.path(), "warning tokenizer", &["eos_token", "0", "3"]);
    let generation = edited(
        "generation_config.json",
        "\"eos_token_id\": 0",
        "\"eos_token_id\": 1",
    );
    check_finding(generation.path(), "warning template", &["<|end|>", "[1]"]);
    let template = edited("chat_template.jinja", "{%", "{{");
    check_finding(template.path(), "error template", &["template"]);
    let tokenizer = edited("tokenizer.json", "\"BPE\"", "\"XYZ\"");
    check_finding(tokenizer.path(), "error tokenizer", &["tokenizer.json"]);
    check_finding(&case("llama"), "warning tokenizer", &["tokenizer.json"]);
    check_finding(&tiny(), "note speed", &["float32", "bfloat16"]);
}
