//! The rope formulas against the reference (`tests/oracle/golden_rope.py`), and what they refuse.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use transformers_config::{ConfigError, LayerType, RopeConfig, RopeParameters, rope};

/// f32 rounding of a few operations.
const TOLERANCE: f64 = 1e-6;

fn assert_close(found: f32, expected: f64, what: &str) {
    let difference = (f64::from(found) - expected).abs();
    assert!(
        difference <= TOLERANCE * expected.abs(),
        "{what}: {found} instead of {expected}"
    );
}

#[test]
fn every_type_gives_the_reference_frequencies() {
    let golden: Vec<Value> = serde_json::from_str(include_str!("golden/rope.json")).unwrap();
    assert_eq!(golden.len(), 31);
    for case in &golden {
        let rope: RopeConfig = serde_json::from_value(case["rope_parameters"].clone()).unwrap();
        let size = |key: &str| usize::try_from(case[key].as_u64().unwrap()).unwrap();
        let found = rope
            .frequencies(
                size("head_dim"),
                size("max_position_embeddings"),
                size("seq_len"),
            )
            .unwrap();
        let expected = case["inv_freq"].as_array().unwrap();
        let name = format!("{} at {}", case["rope_parameters"], case["seq_len"]);
        assert_eq!(found.inv_freq.len(), expected.len(), "{name}");
        for (i, (&found, expected)) in found.inv_freq.iter().zip(expected).enumerate() {
            assert_close(
                found,
                expected.as_f64().unwrap(),
                &format!("{name}, frequency {i}"),
            );
        }
        assert_close(
            found.attention_factor,
            case["attention_factor"].as_f64().unwrap(),
            &name,
        );
    }
}

/// Values that the upstream tests of several projects agree on: head of 128, base 1e4, 2048 positions.
#[test]
fn published_anchors() {
    let check = |parameters: Value, seq_len: usize, expected: [f64; 7]| {
        let rope: RopeConfig = serde_json::from_value(parameters).unwrap();
        let found = rope.frequencies(128, 2048, seq_len).unwrap().inv_freq;
        for (index, expected) in [1, 17, 31, 32, 38, 41, 63].into_iter().zip(expected) {
            let difference = (f64::from(found[index]) - expected).abs();
            assert!(
                difference < 1e-4 * expected,
                "{index}: {} instead of {expected}",
                found[index]
            );
        }
    };
    let default = [
        0.86596, 0.086596, 0.011548, 0.010000, 0.0042170, 0.0027384, 1.1548e-4,
    ];
    let dynamic = [
        0.80931, 0.027413, 0.0014176, 0.0011473, 3.2238e-4, 1.7089e-4, 1.6265e-6,
    ];
    let yarn = [
        0.86596, 0.083479, 0.0053120, 0.0042400, 8.7713e-4, 2.7384e-4, 1.1548e-5,
    ];
    let llama3 = [
        0.86596, 0.086596, 0.010730, 0.0077785, 8.9549e-4, 2.7384e-4, 1.1548e-5,
    ];
    check(json!({}), 0, default);
    check(
        json!({"rope_type": "dynamic", "factor": 10.0}),
        16384,
        dynamic,
    );
    check(json!({"rope_type": "yarn", "factor": 10.0}), 0, yarn);
    check(
        json!({"rope_type": "llama3", "factor": 10.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}),
        0,
        llama3,
    );
}

#[test]
fn length_matters_where_it_says_so() {
    let divisors = json!({"rope_type": "longrope", "short_factor": [1.0, 1.0], "long_factor": [2.0, 3.0],
        "original_max_position_embeddings": 8});
    for (parameters, depends) in [
        (json!({"rope_type": "dynamic", "factor": 2.0}), true),
        (divisors, true),
        (json!({"rope_type": "yarn", "factor": 2.0}), false),
        (json!({"rope_type": "linear", "factor": 2.0}), false),
    ] {
        let rope: RopeConfig = serde_json::from_value(parameters).unwrap();
        let changes = rope.frequencies(4, 16, 1).unwrap() != rope.frequencies(4, 16, 100).unwrap();
        assert_eq!(
            (rope.depends_on_length(), changes),
            (depends, depends),
            "{rope:?}"
        );
    }
}

#[test]
fn impossible_parameters_are_refused_by_key() {
    let check = |parameters: Value, key: &str| {
        let rope: RopeConfig = serde_json::from_value(parameters.clone()).unwrap();
        match rope.frequencies(8, 64, 128) {
            Err(ConfigError::Invalid { key: found, .. }) => {
                assert_eq!(found, format!("rope_parameters.{key}"), "{parameters}");
            }
            other => panic!("{parameters}: {other:?}"),
        }
    };
    check(json!({"rope_theta": 0.0}), "rope_theta");
    check(json!({"rope_theta": -1.0}), "rope_theta");
    check(
        json!({"partial_rotary_factor": 1.5}),
        "partial_rotary_factor",
    );
    check(
        json!({"partial_rotary_factor": -0.5}),
        "partial_rotary_factor",
    );
    check(json!({"rope_type": "linear"}), "factor");
    check(json!({"rope_type": "linear", "factor": 0.0}), "factor");
    check(json!({"rope_type": "dynamic"}), "factor");
    check(
        json!({"rope_type": "dynamic", "factor": 2.0, "partial_rotary_factor": 0.25}),
        "rope_type",
    );
    check(json!({"rope_type": "yarn", "factor": -4.0}), "factor");
    check(
        json!({"rope_type": "yarn", "factor": 2.0, "rope_theta": 1.0}),
        "rope_theta",
    );
    check(
        json!({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 0}),
        "original_max_position_embeddings",
    );
    check(json!({"rope_type": "longrope"}), "short_factor");
    check(
        json!({"rope_type": "longrope", "short_factor": [1.0, 1.0, 1.0, 1.0]}),
        "long_factor",
    );
    check(
        json!({"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}),
        "short_factor",
    );
    let zero = json!([0.0, 1.0, 1.0, 1.0]);
    check(
        json!({"rope_type": "longrope", "short_factor": zero, "long_factor": zero}),
        "rope_theta",
    );
    check(
        json!({"rope_type": "llama3", "factor": 8.0}),
        "low_freq_factor",
    );
    check(
        json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}),
        "high_freq_factor",
    );
    check(
        json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0}),
        "high_freq_factor",
    );
    check(
        json!({"rope_type": "proportional", "factor": 0.0}),
        "factor",
    );
}

#[test]
fn unknown_types_are_refused_with_the_known_ones() {
    let error = serde_json::from_value::<RopeParameters>(json!({"rope_type": "spiral"}))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("rope_type") && error.contains("spiral") && error.contains("llama3"),
        "{error}"
    );
}

#[test]
fn parameters_may_differ_between_layer_types() {
    let parameters: RopeParameters = serde_json::from_value(json!({
        "full_attention": {"rope_theta": 5.0},
        "sliding_attention": null,
    }))
    .unwrap();
    assert_eq!(
        parameters
            .for_layer(LayerType::FullAttention)
            .unwrap()
            .rope_theta,
        5.0
    );
    assert_eq!(parameters.for_layer(LayerType::SlidingAttention), None);
    assert_eq!(parameters.for_layer(LayerType::Conv), None);
    let flat = RopeParameters::default();
    assert_eq!(
        flat.for_layer(LayerType::Conv).unwrap().rope_theta,
        10_000.0
    );
}

#[test]
fn older_keys_move_into_the_parameters() {
    let check = |raw: Value, expected: Value| {
        let Value::Object(mut map) = raw.clone() else {
            unreachable!()
        };
        rope::standardize(&mut map, 10_000.0).unwrap();
        assert_eq!(Value::Object(map.clone()), expected, "{raw}");
        rope::standardize(&mut map, 10_000.0).unwrap();
        assert_eq!(Value::Object(map), expected, "twice: {raw}");
    };
    let default = json!({"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}});
    check(json!({}), default.clone());
    check(
        json!({"rope_scaling": null, "rope_theta": null}),
        default.clone(),
    );
    check(
        json!({"rope_scaling": {}, "rope_parameters": {"rope_theta": 10000.0}}),
        default,
    );
    check(
        json!({"rope_theta": 5.0, "partial_rotary_factor": 0.5, "rope_scaling": {"type": "linear", "factor": 2}}),
        json!({"rope_parameters": {"type": "linear", "factor": 2, "rope_type": "linear", "rope_theta": 5.0,
            "partial_rotary_factor": 0.5}}),
    );
    // The innermost statement of the base wins, and `rope_scaling` wins over `rope_parameters`.
    check(
        json!({"rope_theta": 5.0, "rope_parameters": {"rope_theta": 6.0}}),
        json!({"rope_parameters": {"rope_theta": 6.0, "rope_type": "default"}}),
    );
    check(
        json!({"rope_parameters": {"rope_theta": 6.0}, "rope_scaling": {"rope_type": "yarn"}}),
        json!({"rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0}}),
    );
    // phi3 states the original length outside.
    check(
        json!({"original_max_position_embeddings": 4096, "rope_scaling": {"type": "longrope"}}),
        json!({"original_max_position_embeddings": 4096, "rope_parameters": {"type": "longrope",
            "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 4096}}),
    );
    check(
        json!({"rope_theta": 7.0, "rope_parameters": {"full_attention": {"rope_theta": 5.0},
            "sliding_attention": {}, "chunked_attention": null}}),
        json!({"rope_parameters": {"full_attention": {"rope_theta": 5.0, "rope_type": "default"},
            "sliding_attention": {"rope_theta": 7.0, "rope_type": "default"}, "chunked_attention": null}}),
    );
}
