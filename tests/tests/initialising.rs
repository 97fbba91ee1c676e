//! What parameters get that no checkpoint fills: the reference's rules, or a user's.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::Deserialize;
use transformers_config::AutoConfig;
use transformers_modeling::{
    AutoModel, AutoModelForCausalLM, DeviceSpec, InitRule, InitWeights, LoadOptions,
    PreTrainedModel, SaveOptions,
};
use transformers_tests::Case;
use transformers_tests::conformance::from_config;
use transformers_weights::{Checkpoint, HostTensor, OpenOptions};

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(file)
}

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cases")
        .join(name)
}

#[derive(Deserialize)]
struct Class {
    case: String,
    parameters: BTreeMap<String, Rule>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Rule {
    /// `zeros` or `ones`.
    Same(String),
    Drawn {
        std: f64,
        #[serde(default)]
        zero_rows: Vec<usize>,
    },
}

/// The model's parameters by their own names.
fn parameters(model: &dyn PreTrainedModel) -> BTreeMap<String, HostTensor> {
    let folder = tempfile::tempdir().unwrap();
    let options = SaveOptions {
        save_original_format: false,
        ..SaveOptions::default()
    };
    model.save_pretrained_with(folder.path(), &options).unwrap();
    let file = folder.path().join("model.safetensors");
    let checkpoint = Checkpoint::open_file(&file, &OpenOptions::default()).unwrap();
    let read = |name: &str| (name.to_owned(), checkpoint.tensor(name).unwrap());
    checkpoint.names().map(read).collect()
}

#[test]
fn fresh_parameters_are_as_the_reference_draws_them() {
    let text = fs::read_to_string(golden("init.json")).unwrap();
    let classes: BTreeMap<String, Class> = serde_json::from_str(&text).unwrap();
    assert!(classes.len() >= 8);
    let mut wrong = Vec::new();
    for (class, golden) in classes {
        let case = Case::open(&case(&golden.case)).unwrap();
        let mut config = AutoConfig::from_pretrained(case.dir.as_path()).unwrap();
        config.set("pad_token_id", 3);
        config.set("initializer_range", 0.3);
        config.set("init_std", 0.3);
        let options = LoadOptions {
            device: DeviceSpec::Cpu,
            seed: Some(1),
            ..LoadOptions::default()
        };
        let model = from_config(case.reference.kind, &config, &options).unwrap();
        let ours = parameters(model.as_ref());
        for name in ours.keys() {
            if !golden.parameters.contains_key(name) {
                wrong.push(format!(
                    "{class}: {name} is no parameter of the reference's"
                ));
            }
        }
        for (name, rule) in golden.parameters {
            let Some(tensor) = ours.get(&name) else {
                wrong.push(format!("{class}: {name} is not there"));
                continue;
            };
            let values = tensor.as_slice::<f32>().unwrap();
            let is = |x: f32| values.iter().all(|value| *value == x);
            match rule {
                Rule::Same(word) => {
                    let value = if word == "ones" { 1.0 } else { 0.0 };
                    if !is(value) {
                        wrong.push(format!("{class}: {name} is not {word}"));
                    }
                }
                Rule::Drawn { std, zero_rows } => {
                    let width = values.len() / tensor.shape()[0];
                    let rows_count = tensor.shape().len() > 1;
                    let zero = |row: &[f32]| rows_count && row.iter().all(|value| *value == 0.0);
                    let rows = values.chunks(width).enumerate();
                    let zeros: Vec<usize> = rows
                        .filter_map(|(index, row)| zero(row).then_some(index))
                        .collect();
                    if zeros != zero_rows {
                        wrong.push(format!("{class}: {name} has zeros in {zeros:?}"));
                    }
                    let drawn: Vec<f64> = values
                        .iter()
                        .filter(|value| **value != 0.0)
                        .map(|value| f64::from(*value))
                        .collect();
                    let square: f64 = drawn.iter().map(|x| x * x).sum();
                    let ours = (square / drawn.len() as f64).sqrt();
                    // Five standard errors of the ratio of two estimates.
                    let far = (ours / std - 1.0).abs() * (drawn.len() as f64).sqrt();
                    if far.is_nan() || far >= 5.0 {
                        wrong.push(format!("{class}: {name} spreads by {ours}, not {std}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn load(seed: u64, init_weights: Option<InitWeights>) -> BTreeMap<String, HostTensor> {
    let options = LoadOptions {
        device: DeviceSpec::Cpu,
        seed: Some(seed),
        init_weights,
        ..LoadOptions::default()
    };
    let folder = case("bert_encoder_no_pooler");
    let model = AutoModel::from_pretrained_with(folder.as_path(), &options).unwrap();
    let missing = &model.info().loading_info.missing;
    assert_eq!(*missing, ["pooler.dense.bias", "pooler.dense.weight"]);
    parameters(&*model)
}

/// The names of the parameters that differ.
fn differing(a: &BTreeMap<String, HostTensor>, b: &BTreeMap<String, HostTensor>) -> Vec<String> {
    let pairs = a.iter().zip(b).filter(|(a, b)| a != b);
    pairs.map(|((name, _), _)| name.clone()).collect()
}

#[test]
fn a_seed_makes_what_is_missing_the_same_and_touches_nothing_else() {
    let first = load(1, None);
    assert_eq!(differing(&first, &load(1, None)), [""; 0]);
    assert_eq!(differing(&first, &load(2, None)), ["pooler.dense.weight"]);
}

#[test]
fn a_users_rules_are_for_what_is_missing() {
    let rules = InitWeights::new(|name, shape| match name.ends_with("weight") {
        true => {
            assert_eq!(shape, [24, 24]);
            Some(InitRule::Constant(0.5))
        }
        false => None,
    });
    let (plain, ruled) = (load(1, None), load(1, Some(rules)));
    assert_eq!(differing(&plain, &ruled), ["pooler.dense.weight"]);
    let values = ruled["pooler.dense.weight"].as_slice::<f32>().unwrap();
    assert!(values.iter().all(|value| *value == 0.5));
}

#[test]
fn a_fresh_model_takes_a_seed_and_rules_too() {
    let config = AutoConfig::from_pretrained(case("llama").as_path()).unwrap();
    let fresh = |seed, rules| {
        let options = LoadOptions {
            device: DeviceSpec::Cpu,
            seed: Some(seed),
            init_weights: rules,
            ..LoadOptions::default()
        };
        let model = AutoModelForCausalLM::from_config_with(&config, &options).unwrap();
        parameters(&*model)
    };
    let head = InitWeights::new(|name, _| {
        (name == "lm_head.weight").then_some(InitRule::Normal { std: 2.0 })
    });
    let first = fresh(1, None);
    assert_eq!(differing(&first, &fresh(1, None)), [""; 0]);
    assert!(differing(&first, &fresh(2, None)).len() > 10);
    assert_eq!(differing(&first, &fresh(1, Some(head))), ["lm_head.weight"]);
    // Without a seed no two are alike.
    let unseeded = || AutoModelForCausalLM::from_config(&config, &Device::flex()).unwrap();
    let (first, second) = (parameters(&*unseeded()), parameters(&*unseeded()));
    assert!(!differing(&first, &second).is_empty());
}
