//! The family from outside does what a built-in one does.
#![allow(clippy::unwrap_used)]

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::Device;
use custom_family::{ParallelConfig, register_family};
use transformers::config::{AutoConfig, GenerationConfig};
use transformers::generation::Generate;
use transformers::modeling::{AutoModelForCausalLM, ModelError, ModelInputs, supported};

#[test]
fn it_is_built_generates_and_trains() {
    register_family().unwrap();
    assert!(matches!(
        register_family(),
        Err(ModelError::AlreadyRegistered { .. })
    ));
    assert!(supported().iter().any(|(name, _)| *name == "parallel"));

    let config = AutoConfig::from_typed(&ParallelConfig::default()).unwrap();
    let model = AutoModelForCausalLM::from_config(&config, &Device::flex()).unwrap();
    let greedy = GenerationConfig {
        max_new_tokens: Some(5),
        ..GenerationConfig::default()
    };
    let prompt: Vec<u32> = vec![3, 4, 5];
    let with_cache = model.generate(&prompt, &greedy).unwrap();
    assert_eq!(with_cache.sequences[0].len(), 8);
    let without_cache = GenerationConfig {
        use_cache: Some(false),
        ..greedy
    };
    let without_cache = model.generate(&prompt, &without_cache).unwrap();
    assert_eq!(with_cache.sequences, without_cache.sequences);

    // Memorise one sequence.
    let ids: Vec<u32> = vec![3, 7, 11, 13, 17, 19];
    let inputs = ModelInputs {
        labels: Some(
            ids.iter()
                .map(|id| i64::from(*id))
                .collect::<Vec<_>>()
                .into(),
        ),
        ..ModelInputs::new(ids)
    };
    let mut model = model.train();
    let mut optimizer = AdamWConfig::new().init();
    let mut losses: Vec<f32> = Vec::new();
    for _ in 0..5 {
        let loss = model.forward(&inputs, None).unwrap().loss().unwrap();
        losses.push(loss.clone().into_scalar());
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.01, model, grads);
    }
    assert!(losses[4] < losses[0] - 0.5, "{losses:?}");
}
