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

/// The tiny model with so many more weights that writing them takes a while.
#[cfg(unix)]
fn long_model() -> tempfile::TempDir {
    let folder = copy_of_tiny();
    let mut tensors = tensors(&folder.path().join("model.safetensors"));
    for layer in 2..130 {
        let values = HostTensor::from_vec(vec![0.5_f32; 1 << 18], vec![1 << 10, 1 << 8]).unwrap();
        tensors.push((format!("model.layers.{layer}.mlp.up_proj.weight"), values));
    }
    save_safetensors(folder.path(), tensors, u64::MAX).unwrap();
    folder
}

#[cfg(unix)]
fn files(folder: &Path) -> std::collections::BTreeMap<std::ffi::OsString, Vec<u8>> {
    let content = |path: &Path| match path.is_dir() {
        true => b"a folder".to_vec(),
        false => fs::read(path).unwrap(),
    };
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| (entry.file_name(), content(&entry.path())))
        .collect()
}

/// Converts `model` to `target` in `folder` and sends `signal` once a part of the weights is written.
#[cfg(unix)]
fn interrupted(
    model: &Path,
    folder: &Path,
    target: &Path,
    signal: &str,
) -> std::process::ExitStatus {
    let begun = || {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let unfinished = entries.filter(|entry| {
            let name = entry.file_name();
            name.to_str()
                .is_some_and(|name| name.starts_with(".saving-"))
        });
        let inside = unfinished.filter_map(|entry| fs::read_dir(entry.path()).ok());
        let mut lengths = inside
            .flatten()
            .flatten()
            .filter_map(|file| Some(file.metadata().ok()?.len()));
        lengths.any(|len| len > 1 << 20)
    };
    let arguments = ["convert", path(model), path(target), "--dtype", "bfloat16"];
    let mut child = command(&arguments)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !begun() {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "it ended too early: {ended:?}");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let kill = format!("kill -{signal} {}", child.id());
    let sent = std::process::Command::new("sh")
        .args(["-c", &kill])
        .status();
    assert!(sent.unwrap().success());
    child.wait().unwrap()
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_what_was_there() {
    use std::os::unix::process::ExitStatusExt;

    let model = long_model();
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("model");
    run(&[
        "convert",
        "MODEL",
        path(&folder),
        "--max-shard-size",
        "20KB",
    ]);
    let file = folder.join("model.gguf");
    run(&["convert", "MODEL", path(&file)]);
    let before = files(&folder);
    for target in [&folder, &file] {
        let ended = interrupted(model.path(), &folder, target, "INT");
        assert_eq!(ended.code(), Some(130));
        assert!(files(&folder) == before, "nothing else stays");
    }
    for target in [&folder, &file] {
        let ended = interrupted(model.path(), &folder, target, "KILL");
        assert_eq!(ended.signal(), Some(9));
        let mut after = files(&folder);
        let found = after.len();
        after.retain(|name, _| !name.to_str().unwrap().starts_with(".saving-"));
        assert!(after == before, "all that was there is whole");
        assert!(found > after.len(), "it was killed in the middle");
        // Only the names that a run makes up are left behind.
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                fs::remove_dir_all(entry.path()).unwrap();
            }
        }
    }
    check_answer(&file);
    check_answer(&folder);
}

/// Every command that opens a model takes the same options of how.
#[cfg(unix)]
#[test]
fn links_out_of_the_folder_are_followed_only_when_asked() {
    let (folder, elsewhere) = (copy_of_tiny(), tempfile::tempdir().unwrap());
    let weights = folder.path().join("model.safetensors");
    let moved = elsewhere.path().join("weights");
    fs::rename(&weights, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &weights).unwrap();
    let model = path(folder.path());
    let target = elsewhere.path().join("target");
    let commands: [&[&str]; 5] = [
        &[
            "generate",
            "-m",
            model,
            "-p",
            "The",
            "--max-new-tokens",
            "1",
        ],
        &["inspect", model],
        &["doctor", model],
        &["convert", model, path(&target)],
        &["bench", "-m", model, "-p", "1", "-n", "0", "-r", "1"],
    ];
    for arguments in commands {
        let refused = command(arguments).output().unwrap();
        assert!(!refused.status.success(), "{arguments:?}");
        let told = [refused.stdout, refused.stderr].concat();
        let told = String::from_utf8(told).unwrap();
        assert!(told.contains("--follow-symlinks"), "{arguments:?}: {told}");
        run(&[arguments, &["--follow-symlinks", "--no-mmap"]].concat());
    }
}

#[test]
fn a_variant_in_a_subfolder_is_converted_and_examined() {
    let folder = tempfile::tempdir().unwrap();
    let sub = folder.path().join("sub");
    run(&["convert", "MODEL", path(&sub)]);
    fs::rename(
        sub.join("model.safetensors"),
        sub.join("model.fp16.safetensors"),
    )
    .unwrap();
    let chosen = ["--subfolder", "sub", "--variant", "fp16"];
    let told = run(&[&["doctor", path(folder.path())][..], &chosen].concat());
    assert!(told.contains("ok      fit"), "{told}");
    let target = folder.path().join("target");
    let convert = ["convert", path(folder.path()), path(&target)];
    run(&[&convert[..], &chosen].concat());
    check_answer(&target);
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
