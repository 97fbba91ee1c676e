//! GGUF files of whole models, one for each architecture: the configuration, the tensors and the outputs of the case that
//! each was made of.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use transformers_config::AutoConfig;
use transformers_tests::Case;
use transformers_tests::conformance::output_distance;
use transformers_tests::gguf::{FILES, WRITTEN};
use transformers_weights::conversion_mapping::{self, gguf::GgufMapping};
use transformers_weights::{
    Checkpoint, DType, GgufTensor, GgufType, HeadCounts, HostTensor, LazyTensor, LoadRules,
    OpenOptions, plan, save_gguf,
};

/// Keys that say nothing of what a model computes.
const NOT_COMPARED: &[&str] = &[
    "_sliding_window_pattern",
    "architectures",
    "attention_dropout",
    "dtype",
    "initializer_factor",
    "initializer_range",
    "transformers_version",
    "use_cache",
];

fn path(folder: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(name)
}

fn file(name: &str) -> PathBuf {
    path("golden/gguf", &format!("{name}.gguf"))
}

/// Numbers are in f32 in the file.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
            keys.into_iter().all(|key| {
                let of = |object: &serde_json::Map<String, Value>| object.get(key).cloned();
                alike(&of(one).unwrap_or_default(), &of(other).unwrap_or_default())
            })
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        _ => match (one.as_f64(), other.as_f64()) {
            (Some(one), Some(other)) => (one - other).abs() <= 1e-6 * one.abs(),
            _ => one == other,
        },
    }
}

#[test]
fn every_file_says_what_its_model_is() {
    for (name, case, unsaid) in FILES {
        let found = AutoConfig::from_gguf_file(&file(name))
            .unwrap()
            .completed()
            .unwrap();
        let expected = AutoConfig::from_pretrained(path("cases", case).as_path());
        let expected = expected.unwrap().completed().unwrap();
        assert_eq!(found.model_type(), expected.model_type(), "{name}");
        for (key, value) in expected.tree() {
            if NOT_COMPARED.contains(&key.as_str()) {
                continue;
            }
            let other = found.get(key).cloned().unwrap_or_default();
            let same = alike(value, &other);
            assert_eq!(
                same,
                !unsaid.contains(&key.as_str()),
                "{name} {key}: {value} and {other}"
            );
        }
    }
}

fn open(path: &Path) -> Checkpoint {
    Checkpoint::open_file(path, &OpenOptions::default()).unwrap()
}

fn values(tensor: &HostTensor) -> Vec<f32> {
    let tensor = tensor.cast(DType::F32).unwrap().aligned();
    tensor.as_slice().unwrap().to_vec()
}

/// The names, shapes and values of the published checkpoint; those of gpt-oss are another layout.
#[test]
fn every_file_holds_the_tensors_of_its_case() {
    for (name, case, _) in FILES.iter().filter(|(name, ..)| *name != "gpt-oss") {
        let found = open(&file(name));
        let expected = open(&path("cases", case).join("model.safetensors"));
        for tensor in expected.names() {
            let (ours, theirs) = (
                found.tensor(tensor).unwrap(),
                expected.tensor(tensor).unwrap(),
            );
            assert_eq!(ours.shape(), theirs.shape(), "{name} {tensor}");
            assert_eq!(
                found.shape(tensor).unwrap(),
                theirs.shape(),
                "{name} {tensor}"
            );
            let pairs = std::iter::zip(values(&ours), values(&theirs));
            let far = pairs
                .map(|(one, other)| (one - other).abs())
                .fold(0.0, f32::max);
            // One was added and taken away again.
            assert!(far <= 1e-6, "{name} {tensor}: {far}");
        }
    }
}

/// What a model of gpt-oss has in memory.
#[test]
fn the_experts_of_gpt_oss_are_those_of_its_case() {
    let shapes = [
        ("gate_up_proj", vec![3, 16, 16]),
        ("gate_up_proj_bias", vec![3, 16]),
        ("down_proj", vec![3, 16, 8]),
        ("down_proj_bias", vec![3, 16]),
    ];
    let name = |name| format!("model.layers.1.mlp.experts.{name}");
    let parameters = shapes.map(|(parameter, shape)| (name(parameter), shape));
    let transforms = conversion_mapping::of("gpt_oss").unwrap();
    let rules = LoadRules {
        transforms: &transforms,
        ..LoadRules::default()
    };
    let load = |path: &Path| {
        let checkpoint = open(path);
        let plan = plan(&parameters, &checkpoint, &rules).unwrap();
        assert!(plan.report.missing.is_empty(), "{}", plan.report);
        plan.load(&checkpoint).unwrap()
    };
    let expected = load(&path("cases", "gpt_oss").join("model.safetensors"));
    for (parameter, tensor) in load(&file("gpt-oss")) {
        assert!(tensor == expected[&parameter], "{parameter}");
    }
}

#[test]
fn every_file_answers_as_its_case_does() {
    for (name, case, _) in FILES {
        let case = Case::open(&path("cases", case)).unwrap();
        let (found, limit) = output_distance(&case, &file(name)).unwrap();
        assert!(found <= limit, "{name}: {found} of {limit}");
    }
}

#[test]
fn what_is_written_of_a_case_answers_as_it_does() {
    let folder = tempfile::tempdir().unwrap();
    for (name, unsaid) in WRITTEN {
        let case = Case::open(&path("cases", name)).unwrap();
        let mut config = AutoConfig::from_pretrained(case.dir.as_path()).unwrap();
        if let Some((key, value)) = unsaid {
            let refused = config.to_gguf().unwrap_err().to_string();
            assert!(refused.contains(key), "{refused}");
            config.set(*key, *value);
        }
        let gguf = config.to_gguf().unwrap();
        let count = |key: &str| config.get(key).and_then(Value::as_u64).unwrap_or(0) as usize;
        let heads = HeadCounts {
            query: count("num_attention_heads"),
            key_value: count("num_key_value_heads"),
        };
        let checkpoint = open(&case.dir.join("model.safetensors"));
        let lazy = |tensor: &str| {
            LazyTensor::from((tensor.to_owned(), checkpoint.tensor(tensor).unwrap()))
        };
        let parameters = checkpoint.names().map(lazy).collect();
        let tensors = GgufMapping::file_tensors(gguf.architecture, heads, parameters).unwrap();
        let as_type = GgufType::F32;
        let tensors = tensors
            .into_iter()
            .map(|tensor| GgufTensor { tensor, as_type });
        let file = folder.path().join(format!("{name}.gguf"));
        save_gguf(&file, &gguf.metadata, tensors.collect()).unwrap();
        assert!(AutoConfig::from_gguf_file(&file).is_ok(), "{name}");
        let (found, limit) = output_distance(&case, &file).unwrap();
        assert!(found <= limit, "{name}: {found} of {limit}");
    }
}
