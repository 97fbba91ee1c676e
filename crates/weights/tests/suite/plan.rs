//! Matching names: against what the reference renames and reports.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;
use transformers_weights::{
    Checkpoint, DType, HostTensor, LoadPlan, LoadRules, Mismatch, WeightRenaming,
    conversion_mapping, plan,
};

use crate::{check_error, golden};

#[derive(Deserialize)]
struct RenamingCase {
    sources: Vec<String>,
    target: String,
    keys: BTreeMap<String, Option<String>>,
}

#[test]
fn keys_are_renamed_as_the_reference_does() {
    let text = fs::read_to_string(golden("renamings.json")).unwrap();
    let cases: Vec<RenamingCase> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() > 10);
    for case in cases {
        let sources: Vec<&str> = case.sources.iter().map(String::as_str).collect();
        let renaming = WeightRenaming::any_of(&sources, &case.target).unwrap();
        for (key, expected) in case.keys {
            assert_eq!(
                renaming.apply(&key).unwrap(),
                expected,
                "{renaming:?} on {key}"
            );
        }
    }
}

#[derive(Deserialize)]
struct PlanCase {
    name: String,
    params: Vec<(String, Vec<usize>)>,
    checkpoint: Vec<(String, Vec<usize>)>,
    base_model_prefix: String,
    key_mapping: Vec<(String, String)>,
    tied: Vec<(String, String)>,
    missing: Vec<String>,
    unexpected: Vec<String>,
    mismatched: Vec<(String, Vec<usize>, Vec<usize>)>,
}

#[test]
fn reports_equal_the_reference() {
    let text = fs::read_to_string(golden("load_plans.json")).unwrap();
    let cases: Vec<PlanCase> = serde_json::from_str(&text).unwrap();
    assert_eq!(cases.len(), 17);
    for case in cases {
        let checkpoint = zeros(&case.checkpoint);
        let rules = LoadRules {
            base_model_prefix: &case.base_model_prefix,
            transforms: &conversion_mapping::legacy(),
            key_mapping: &case.key_mapping,
            tied: &case.tied,
            ignore_unexpected: conversion_mapping::FORMER_BUFFERS,
            ..LoadRules::default()
        };
        let LoadPlan {
            sources, report, ..
        } = plan(&case.params, &checkpoint, &rules).unwrap();
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        assert_eq!(
            sorted(report.missing.clone()),
            case.missing,
            "{}",
            case.name
        );
        assert_eq!(
            sorted(report.unexpected.clone()),
            case.unexpected,
            "{}",
            case.name
        );
        let mut mismatched = report.mismatched.clone();
        mismatched.sort_by(|a, b| a.name.cmp(&b.name));
        let expected: Vec<Mismatch> = case
            .mismatched
            .into_iter()
            .map(|(name, checkpoint, model)| Mismatch {
                name,
                checkpoint,
                model,
            })
            .collect();
        assert_eq!(mismatched, expected, "{}", case.name);
        let accounted = sources.len() + report.missing.len() + report.mismatched.len();
        assert_eq!(accounted, case.params.len(), "{}", case.name);
        assert!(report.untied.is_empty());
    }
}

fn zeros(tensors: &[(String, Vec<usize>)]) -> Checkpoint {
    Checkpoint::from_tensors(tensors.iter().map(|(name, shape)| {
        let values = vec![0.0_f32; shape.iter().product()];
        (
            name.clone(),
            HostTensor::from_vec(values, shape.clone()).unwrap(),
        )
    }))
}

fn vectors(tensors: &[(&str, &[f32])]) -> Checkpoint {
    Checkpoint::from_tensors(tensors.iter().map(|(name, values)| {
        (
            (*name).to_owned(),
            HostTensor::from_vec(values.to_vec(), vec![values.len()]).unwrap(),
        )
    }))
}

fn params(names: &[&str]) -> Vec<(String, Vec<usize>)> {
    names
        .iter()
        .map(|name| ((*name).to_owned(), vec![1]))
        .collect()
}

#[test]
fn sources_name_the_tensors_on_disk() {
    let checkpoint = vectors(&[
        ("transformer.h.0.w", &[1.0]),
        ("embed", &[2.0]),
        ("h.1.LayerNorm.gamma", &[3.0]),
    ]);
    let rules = LoadRules {
        base_model_prefix: "model",
        transforms: &conversion_mapping::legacy(),
        key_mapping: &[(r"^transformer\.h\.(\d+)".into(), "model.layers.$1".into())],
        ..LoadRules::default()
    };
    let model = params(&[
        "model.layers.0.w",
        "model.embed",
        "model.h.1.LayerNorm.weight",
    ]);
    let LoadPlan {
        sources, report, ..
    } = plan(&model, &checkpoint, &rules).unwrap();
    assert!(report.is_clean(), "{report}");
    let sources: Vec<_> = sources
        .iter()
        .map(|(name, key)| (name.as_str(), key.as_str()))
        .collect();
    assert_eq!(
        sources,
        [
            ("model.embed", "embed"),
            ("model.h.1.LayerNorm.weight", "h.1.LayerNorm.gamma"),
            ("model.layers.0.w", "transformer.h.0.w"),
        ]
    );
}

#[test]
fn ties_follow_the_checkpoint() {
    let tied = [("lm_head".to_owned(), "embed".to_owned())];
    let rules = LoadRules {
        tied: &tied,
        ..LoadRules::default()
    };
    let check =
        |checkpoint: &[(&str, &[f32])], source: Option<&str>, untied: &[&str], missing: &[&str]| {
            let plan = plan(&params(&["embed"]), &vectors(checkpoint), &rules).unwrap();
            assert_eq!(plan.sources.get("embed").map(String::as_str), source);
            assert_eq!(plan.report.untied, untied);
            assert_eq!(plan.report.missing, missing);
            assert!(plan.report.unexpected.is_empty());
        };
    check(&[("embed", &[1.0])], Some("embed"), &[], &[]);
    check(&[("lm_head", &[1.0])], Some("lm_head"), &[], &[]);
    check(
        &[("embed", &[1.0]), ("lm_head", &[1.0])],
        Some("embed"),
        &[],
        &[],
    );
    check(
        &[("embed", &[1.0]), ("lm_head", &[2.0])],
        Some("embed"),
        &["lm_head"],
        &[],
    );
    check(&[], None, &[], &["embed"]);
    // A tied parameter that the model does hold twice is filled from its twin.
    let plan = plan(
        &params(&["embed", "lm_head"]),
        &vectors(&[("embed", &[1.0])]),
        &rules,
    )
    .unwrap();
    assert!(plan.report.is_clean());
}

#[test]
fn of_two_tensors_for_one_parameter_the_first_is_taken() {
    let checkpoint = vectors(&[
        ("a.LayerNorm.gamma", &[1.0]),
        ("a.LayerNorm.weight", &[2.0]),
    ]);
    let rules = LoadRules {
        transforms: &conversion_mapping::legacy(),
        ..LoadRules::default()
    };
    let plan = plan(&params(&["a.LayerNorm.weight"]), &checkpoint, &rules).unwrap();
    assert_eq!(plan.sources["a.LayerNorm.weight"], "a.LayerNorm.gamma");
    assert_eq!(plan.report.unexpected, ["a.LayerNorm.weight"]);
}

#[test]
fn faulty_key_mappings_are_named() {
    let key_mapping = [("(".to_owned(), "x".to_owned())];
    let rules = LoadRules {
        key_mapping: &key_mapping,
        ..LoadRules::default()
    };
    check_error(
        plan(&[], &vectors(&[]), &rules),
        &["key mapping `(` -> `x`"],
    );
}

#[test]
fn names_come_in_natural_order() {
    let checkpoint = vectors(&[
        ("l.10", &[0.0]),
        ("l.9", &[0.0]),
        ("l.x", &[0.0]),
        ("a", &[0.0]),
    ]);
    assert_eq!(
        checkpoint.names().collect::<Vec<_>>(),
        ["a", "l.9", "l.10", "l.x"]
    );
    assert_eq!(checkpoint.dtype("l.9").unwrap(), DType::F32);
    assert!(checkpoint.contains("l.10") && !checkpoint.contains("l.11"));
}
