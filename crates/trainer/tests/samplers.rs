//! Orders and random numbers are those of the reference.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use transformers_trainer::data::{LengthGroupedSampler, RandomSampler, Sampler, TorchGenerator};

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/samplers.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<usize> {
    serde_json::from_value(value.clone()).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

#[test]
fn shuffled_epochs_are_those_of_the_reference() {
    for case in golden()["random"].as_array().unwrap() {
        let sampler = RandomSampler::new(number(&case["len"]) as usize, number(&case["seed"]));
        for (epoch, order) in case["epochs"].as_array().unwrap().iter().enumerate() {
            assert_eq!(sampler.indices(epoch as u64), numbers(order), "{epoch}");
        }
    }
}

#[test]
fn grouped_by_length_as_in_the_reference() {
    for case in golden()["grouped"].as_array().unwrap() {
        let (lengths, batch_size) = (numbers(&case["lengths"]), number(&case["batch_size"]));
        let sampler =
            LengthGroupedSampler::new(lengths, batch_size as usize, number(&case["seed"])).unwrap();
        assert_eq!(sampler.indices(0), numbers(&case["order"]));
        assert!(sampler.len() == 3 || sampler.indices(0) != sampler.indices(1));
    }
}

#[test]
fn draws_are_those_of_torch_and_go_on_after_a_restore() {
    let draws = &golden()["draws"];
    let mut generator = TorchGenerator::new(number(&draws["seed"]));
    let uniform: Vec<f32> = serde_json::from_value(draws["uniform"].clone()).unwrap();
    let ours: Vec<f32> = uniform.iter().map(|_| generator.uniform()).collect();
    assert_eq!(ours, uniform);
    for expected in numbers(&draws["bernoulli"]) {
        assert_eq!(usize::from(generator.bernoulli(0.3)), expected);
    }
    let saved = serde_json::to_string(&generator).unwrap();
    let mut generator: TorchGenerator = serde_json::from_str(&saved).unwrap();
    let end = number(&draws["below"][0]) as u32;
    for expected in numbers(&draws["below"][1]) {
        assert_eq!(generator.below(end) as usize, expected);
    }
    assert_eq!(generator.permutation(50), numbers(&draws["permutation"]));
}
