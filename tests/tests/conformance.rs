//! The harness itself: it passes what is right and misses what is not.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use transformers_modeling::DeviceSpec;
use transformers_tests::Case;
use transformers_tests::conformance::{Check, run};
use transformers_weights::{Checkpoint, HostTensor, OpenOptions, save_safetensors};

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

fn missed(checks: &[Check]) -> Vec<&'static str> {
    let missed = checks.iter().filter(|check| !check.outcome.passed());
    missed.map(|check| check.name).collect()
}

#[test]
fn every_committed_case_passes() {
    let mut count = 0;
    for entry in fs::read_dir(cases()).unwrap() {
        let case = Case::open(&entry.unwrap().path()).unwrap();
        let checks = run(&case, DeviceSpec::Cpu).unwrap();
        assert!(!checks.is_empty(), "{}", case.name);
        assert_eq!(missed(&checks), [""; 0], "{}", case.name);
        count += 1;
    }
    assert!(count >= 32);
}

/// A copy of a case in which `edit` has changed one tensor.
fn damaged(name: &str, tensor: &str, edit: fn(f32) -> f32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(cases().join(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let file = cases().join(name).join("model.safetensors");
    let checkpoint = Checkpoint::open_file(&file, &OpenOptions::default()).unwrap();
    let tensors = checkpoint.names().map(|name| {
        let value = checkpoint.tensor(name).unwrap();
        if name != tensor {
            return (name.to_owned(), value);
        }
        let values = value
            .as_slice::<f32>()
            .unwrap()
            .iter()
            .map(|value| edit(*value));
        let changed = HostTensor::from_vec(values.collect(), value.shape().to_vec());
        (name.to_owned(), changed.unwrap())
    });
    save_safetensors(folder.path(), tensors.collect(), u64::MAX).unwrap();
    folder
}

#[test]
fn a_small_error_in_one_norm_is_missed_by_no_f32_check() {
    let name = "model.layers.1.post_attention_layernorm.weight";
    let folder = damaged("llama", name, |weight| weight * 1.001);
    let checks = run(&Case::open(folder.path()).unwrap(), DeviceSpec::Cpu).unwrap();
    assert_eq!(missed(&checks), ["logits", "attention", "hidden", "padded"]);
}

#[test]
fn a_large_error_is_missed_by_no_check() {
    let name = "model.layers.0.self_attn.q_proj.weight";
    let folder = damaged("llama", name, |weight| weight * 3.0);
    let checks = run(&Case::open(folder.path()).unwrap(), DeviceSpec::Cpu).unwrap();
    // Fast arithmetic is held against our own exact one, of the same weights, what is saved against what was loaded, and
    // many sequences at once against each alone.
    let names = checks.iter().map(|check| check.name);
    let all: Vec<_> = names
        .filter(|name| !["batched", "fast", "saved"].contains(name))
        .collect();
    assert_eq!(missed(&checks), all);
}

#[test]
fn not_a_number_is_missed() {
    let folder = damaged("bert_encoder", "pooler.dense.bias", |_| f32::NAN);
    let checks = run(&Case::open(folder.path()).unwrap(), DeviceSpec::Cpu).unwrap();
    assert_eq!(missed(&checks), ["pooler"]);
}

#[test]
fn files_that_the_reference_would_not_write_are_missed() {
    let folder = damaged("llama", "", |weight| weight);
    let other = damaged("llama", "model.norm.weight", |weight| weight + 1e-6);
    let saved = folder.path().join("saved");
    fs::create_dir(&saved).unwrap();
    let run = || run(&Case::open(folder.path()).unwrap(), DeviceSpec::Cpu).unwrap();
    assert_eq!(missed(&run()), [""; 0]);
    for file in ["config.json", "generation_config.json"] {
        let text = fs::read_to_string(folder.path().join(file)).unwrap();
        fs::write(saved.join(file), text.replace("true", "false")).unwrap();
        assert_eq!(missed(&run()), ["saved"], "{file}");
        fs::remove_file(saved.join(file)).unwrap();
    }
    let file = "model.safetensors";
    fs::copy(other.path().join(file), saved.join(file)).unwrap();
    assert_eq!(missed(&run()), ["saved"]);
}

#[test]
fn a_kind_that_is_not_known_is_an_error() {
    let folder = damaged("llama", "", |weight| weight);
    let path = folder.path().join("ref.json");
    let text = fs::read_to_string(&path)
        .unwrap()
        .replace("\"lm\"", "\"novel\"");
    fs::write(&path, text).unwrap();
    let error = Case::open(folder.path()).err().unwrap().to_string();
    assert!(
        error.contains("ref.json") && error.contains("novel"),
        "{error}"
    );
}
