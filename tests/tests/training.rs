//! The modules that serve also train: loss, gradients and optimizer steps equal the reference's.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::Tensor;
use serde_json::Value;
use transformers_modeling::{
    AutoModelForCausalLM, DeviceSpec, LoadOptions, ModelInputs, ParameterPath,
};
use transformers_tests::ReferenceTensors;

const RELATIVE: f32 = 1e-4;

const VARIANTS: [&str; 3] = [
    "train_llama/tied",
    "train_llama/untied",
    "train_mixtral/balanced",
];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name)
}

fn load(dir: &Path) -> AutoModelForCausalLM {
    let options = LoadOptions {
        device: DeviceSpec::Cpu,
        ..LoadOptions::default()
    };
    AutoModelForCausalLM::from_pretrained_with(dir, &options)
        .unwrap()
        .train()
}

fn inputs(tensors: &ReferenceTensors) -> ModelInputs {
    ModelInputs {
        input_ids: tensors.ids("input_ids").unwrap(),
        labels: tensors.labels().unwrap(),
        attention_mask: tensors.optional_ids("attention_mask").unwrap(),
        ..ModelInputs::default()
    }
}

fn loss(model: &AutoModelForCausalLM, inputs: &ModelInputs) -> Tensor<1> {
    model.forward(inputs, None).unwrap().loss().unwrap()
}

/// Gradients by the parameters' names on disk.
struct Gradients<'a> {
    path: ParameterPath,
    grads: &'a GradientsParams,
    found: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Gradients<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.name();
        let grad = self
            .grads
            .get::<D>(param.id)
            .unwrap_or_else(|| panic!("{name}: no gradient"));
        self.found
            .insert(name, grad.into_data().iter::<f32>().collect());
    }
}

fn assert_close(name: &str, ours: &[f32], reference: &[f32]) {
    assert_eq!(ours.len(), reference.len(), "{name}");
    let scale = reference
        .iter()
        .fold(0.0f32, |max, value| max.max(value.abs()));
    for (a, b) in ours.iter().zip(reference) {
        assert!(
            (a - b).abs() <= RELATIVE * scale,
            "{name}: {a} instead of {b}, scale {scale}"
        );
    }
}

#[test]
fn loss_and_every_gradient_equal_the_reference() {
    for variant in VARIANTS {
        let dir = golden(variant);
        let tensors = ReferenceTensors::open(&dir.join("ref.safetensors")).unwrap();
        let model = load(&dir);
        let loss = loss(&model, &inputs(&tensors));
        assert_close(
            "loss",
            &[loss.clone().into_scalar()],
            &tensors.values("loss").unwrap(),
        );

        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let mut visitor = Gradients {
            path: ParameterPath::default(),
            grads: &grads,
            found: BTreeMap::new(),
        };
        model.visit(&mut visitor);
        let names: Vec<String> = tensors.names_after("grad.");
        assert_eq!(
            visitor.found.keys().cloned().collect::<Vec<_>>(),
            names,
            "{variant}"
        );
        for (name, ours) in &visitor.found {
            assert_close(
                name,
                ours,
                &tensors.values(&format!("grad.{name}")).unwrap(),
            );
        }
    }
}

#[test]
fn ten_adamw_steps_follow_the_reference() {
    for variant in VARIANTS {
        let dir = golden(variant);
        let tensors = ReferenceTensors::open(&dir.join("ref.safetensors")).unwrap();
        let inputs = inputs(&tensors);
        let json: Value =
            serde_json::from_str(&std::fs::read_to_string(dir.join("ref.json")).unwrap()).unwrap();
        let setting = |name: &str| json["optimizer"][name].as_f64().unwrap() as f32;
        let beta = |index: usize| json["optimizer"]["betas"][index].as_f64().unwrap() as f32;
        let mut optimizer = AdamWConfig::new()
            .with_beta_1(beta(0))
            .with_beta_2(beta(1))
            .with_epsilon(setting("eps"))
            .with_weight_decay(setting("weight_decay"))
            .init();
        let reference: Vec<f64> = json["losses"]
            .as_array()
            .unwrap()
            .iter()
            .map(|loss| loss.as_f64().unwrap())
            .collect();
        assert_eq!(reference.len(), 11);

        let mut model = load(&dir);
        for (step, expected) in reference.into_iter().enumerate() {
            let loss = loss(&model, &inputs);
            let value: f32 = loss.clone().into_scalar();
            assert!(
                (f64::from(value) - expected).abs() <= 1e-4,
                "{variant}, step {step}: {value} instead of {expected}"
            );
            let grads = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(f64::from(setting("lr")), model, grads);
        }
    }
}
