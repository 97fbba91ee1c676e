//! Mappings and conversions, both ways: against what the reference makes of the same tensors.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use transformers_weights::conversion::{Concatenate, MergeModulelist, ModelFacts};
use transformers_weights::conversion_mapping::{self, SubModel};
use transformers_weights::{
    Checkpoint, HostTensor, LoadReport, LoadRules, OpenOptions, WeightConverter, plan, revert,
    save_safetensors,
};

use crate::{converted, golden};

/// A name, a shape, and a digest of the bytes.
type Described = (String, Vec<usize>, u32);

#[derive(Deserialize)]
struct MappingCase {
    keys: Vec<String>,
    checkpoint: Vec<(String, Vec<usize>)>,
    loaded: Vec<Described>,
    saved: Vec<Described>,
}

fn cases<T: for<'de> Deserialize<'de>>(file: &str) -> Vec<T> {
    serde_json::from_str(&fs::read_to_string(golden(file)).unwrap()).unwrap()
}

/// FNV-1a.
fn digest(bytes: &[u8]) -> u32 {
    let step = |value: u32, byte: &u8| (value ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811C_9DC5, step)
}

/// The values that the script gives a tensor of this name.
fn made_up(name: &str, shape: &[usize]) -> HostTensor {
    let seed = (digest(name.as_bytes()) % 60_000) as i32;
    let count = shape.iter().product::<usize>() as i32;
    HostTensor::from_vec((seed..seed + count).collect(), shape.to_vec()).unwrap()
}

fn described(tensors: impl IntoIterator<Item = (String, HostTensor)>) -> Vec<Described> {
    let mut described: Vec<_> = tensors
        .into_iter()
        .map(|(name, tensor)| (name, tensor.shape().to_vec(), digest(tensor.bytes())))
        .collect();
    described.sort();
    described
}

#[test]
fn every_mapping_converts_as_the_reference_does() {
    let cases: Vec<MappingCase> = cases("conversion_mappings.json");
    let config = json!({
        "num_attention_heads": 2, "split_ngram_parts": 12, "vision_config": {"num_attention_heads": 4},
    });
    let mut tested = BTreeSet::new();
    for case in &cases {
        let tensors = case.checkpoint.iter();
        let checkpoint = Checkpoint::from_tensors(
            tensors.map(|(name, shape)| (name.clone(), made_up(name, shape))),
        );
        let parameters: Vec<_> = case
            .loaded
            .iter()
            .map(|(name, shape, _)| (name.clone(), shape.clone()))
            .collect();
        for key in &case.keys {
            let transforms = conversion_mapping::of(key).expect(key);
            let rules = LoadRules {
                transforms: &transforms,
                config: Some(&config),
                ..LoadRules::default()
            };
            let plan = plan(&parameters, &checkpoint, &rules).unwrap();
            // Where two made-up names become one, the reference takes the first and says nothing of the second.
            let report = LoadReport {
                unexpected: Vec::new(),
                ..plan.report.clone()
            };
            assert!(report.is_clean(), "{key}: {report}");
            let loaded = plan.load(&checkpoint).unwrap();
            assert_eq!(described(loaded.clone()), case.loaded, "{key} loaded");
            let saved = plan.revert(loaded.into_iter().collect()).unwrap();
            let announced: Vec<_> = saved
                .iter()
                .map(|tensor| {
                    (
                        tensor.name().to_owned(),
                        tensor.dtype(),
                        tensor.shape().to_vec(),
                    )
                })
                .collect();
            let saved = converted(saved);
            for ((name, dtype, shape), (_, tensor)) in announced.iter().zip(&saved) {
                assert_eq!(
                    (*dtype, shape.as_slice()),
                    (tensor.dtype(), tensor.shape()),
                    "{name}"
                );
            }
            assert_eq!(described(saved), case.saved, "{key} saved");
            tested.insert(key.as_str());
        }
    }
    // These are not in the reference's tables: only in our memory their weights lie in another order.
    let ours = ["gpt2", "gpt_oss"];
    let keys = conversion_mapping::keys().into_iter();
    let all: BTreeSet<_> = keys.filter(|key| !ours.contains(key)).collect();
    assert_eq!(all.len(), 251);
    assert_eq!(tested, all);
}

/// The columns of a stacked weight become rows, the even ones first, and go back on saving.
#[test]
fn gpt_oss_is_laid_out_anew() {
    let tensors = [
        ("mlp.experts.gate_up_proj", vec![2, 3, 4]),
        ("mlp.experts.gate_up_proj_bias", vec![2, 4]),
        ("mlp.experts.down_proj", vec![2, 2, 3]),
        ("mlp.experts.down_proj_bias", vec![2, 3]),
    ];
    let name = |name: &str| format!("model.layers.0.{name}");
    let stored: Vec<(String, HostTensor)> = tensors
        .iter()
        .map(|(tensor, shape)| {
            let values = (0..shape.iter().product()).map(|value: usize| value as f32);
            let tensor_of = HostTensor::from_vec(values.collect(), shape.clone());
            (name(tensor), tensor_of.unwrap())
        })
        .collect();
    let mut parameters: Vec<_> = tensors.map(|(tensor, shape)| (name(tensor), shape)).into();
    parameters[0].1 = vec![2, 4, 3];
    parameters[2].1 = vec![2, 3, 2];
    let checkpoint = Checkpoint::from_tensors(stored.clone());
    let transforms = conversion_mapping::of("gpt_oss").unwrap();
    let rules = LoadRules {
        transforms: &transforms,
        ..LoadRules::default()
    };
    let plan = plan(&parameters, &checkpoint, &rules).unwrap();
    assert!(plan.report.is_clean(), "{}", plan.report);
    let loaded: BTreeMap<_, _> = plan.load(&checkpoint).unwrap().into_iter().collect();
    let values = |tensor: &str| loaded[&name(tensor)].as_slice::<f32>().unwrap().to_vec();
    let gate_up = values("mlp.experts.gate_up_proj");
    assert_eq!(gate_up[..6], [0.0, 4.0, 8.0, 2.0, 6.0, 10.0]);
    assert_eq!(gate_up[6..12], [1.0, 5.0, 9.0, 3.0, 7.0, 11.0]);
    let bias = values("mlp.experts.gate_up_proj_bias");
    assert_eq!(bias, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    let down = values("mlp.experts.down_proj");
    assert_eq!(down[..6], [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);

    let saved = converted(plan.revert(loaded.into_iter().collect()).unwrap());
    let saved: BTreeMap<_, _> = saved.into_iter().collect();
    for (name, tensor) in stored {
        assert_eq!(
            saved[&name].as_slice::<f32>(),
            tensor.as_slice::<f32>(),
            "{name}"
        );
    }
}

#[derive(Deserialize)]
struct ModelCase {
    class: String,
    base_model_prefix: String,
    models: Vec<(String, String, String)>,
    parameters: Vec<(String, Vec<usize>)>,
    saved: Vec<Described>,
    saved_after_loading: Vec<Described>,
}

#[test]
fn models_within_models_convert_as_in_the_reference() {
    let cases: Vec<ModelCase> = cases("conversion_models.json");
    assert_eq!(cases.len(), 13);
    for case in cases {
        let models: Vec<_> = case
            .models
            .iter()
            .map(|(path, class, model_type)| SubModel {
                path,
                class,
                model_type,
            })
            .collect();
        let tensors: Vec<_> = case
            .parameters
            .iter()
            .map(|(name, shape)| (name.clone(), made_up(name, shape)))
            .collect();
        let facts = ModelFacts {
            parameters: case.parameters.iter().cloned().collect(),
            ..ModelFacts::default()
        };
        let new = conversion_mapping::of_new_model(&models, &case.base_model_prefix);
        let saved = converted(revert(tensors.clone(), &new, &facts).unwrap());
        assert_eq!(described(saved.clone()), case.saved, "{}", case.class);

        let transforms = conversion_mapping::of_model(&models, &case.base_model_prefix);
        let rules = LoadRules {
            base_model_prefix: &case.base_model_prefix,
            transforms: &transforms,
            ..LoadRules::default()
        };
        let checkpoint = Checkpoint::from_tensors(saved);
        let plan = plan(&case.parameters, &checkpoint, &rules).unwrap();
        assert!(plan.report.is_clean(), "{}: {}", case.class, plan.report);
        let loaded: Vec<_> = plan.load(&checkpoint).unwrap().into_iter().collect();
        assert_eq!(
            described(loaded.clone()),
            described(tensors),
            "{}",
            case.class
        );
        let saved = converted(plan.revert(loaded).unwrap());
        assert_eq!(described(saved), case.saved_after_loading, "{}", case.class);
    }
}

/// Tensors that are read from a file straight to their place, in long runs and in short ones.
#[test]
fn experts_of_a_file_are_joined_as_those_in_memory() {
    for (rows, cols) in [(64, 96), (8, 12), (3, 0)] {
        let expert = |index: usize| {
            let values = (0..rows * cols).map(|value| (value + 10_000 * index) as f32);
            HostTensor::from_vec(values.collect(), vec![rows, cols]).unwrap()
        };
        let mut tensors = Vec::new();
        for index in 0..11 {
            tensors.push((format!("experts.{index}.gate"), expert(2 * index)));
            tensors.push((format!("experts.{index}.up"), expert(2 * index + 1)));
        }
        let folder = tempfile::tempdir().unwrap();
        save_safetensors(folder.path(), tensors.clone(), 40_000).unwrap();
        let memory = Checkpoint::from_tensors(tensors);
        for (stack, join) in [(0, 1), (0, 0), (0, 2), (1, 0), (2, 1)] {
            let fuse = WeightConverter::new(
                &["experts.*.gate", "experts.*.up"],
                &["experts"],
                vec![
                    Arc::new(MergeModulelist::new(stack)),
                    Arc::new(Concatenate::new(join)),
                ],
            );
            let mut shape = vec![rows, cols];
            shape.insert(stack, 11);
            shape[join] *= 2;
            let parameters = [("experts".to_owned(), shape)];
            let transforms = [fuse.unwrap().into()];
            let load = |checkpoint: &Checkpoint| {
                let rules = LoadRules {
                    transforms: &transforms,
                    ..LoadRules::default()
                };
                let plan = plan(&parameters, checkpoint, &rules).unwrap();
                assert!(plan.report.is_clean(), "{}", plan.report);
                plan.load(checkpoint).unwrap()
            };
            let expected = load(&memory);
            for options in [OpenOptions::default(), crate::read_instead_of_mapping()] {
                let found = load(&crate::open_folder(folder.path(), &options).unwrap());
                assert_eq!(found, expected, "{rows} by {cols}, {stack} and {join}");
            }
        }
    }
}
