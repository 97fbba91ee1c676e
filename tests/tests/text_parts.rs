//! Text models within larger ones.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::{Value, json};
use transformers_config::AutoConfig;
use transformers_modeling::{
    AutoModelForCausalLM, AutoModelForMaskedLM, DeviceSpec, Dtype, LoadOptions, ModelError,
    ModelInputs, Precision, Rows,
};

const CASES: [&str; 5] = [
    "gemma3",
    "mistral3",
    "mistral3_ministral3",
    "qwen2_5_vl",
    "qwen3_5",
];

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cases")
        .join(name)
}

fn load(folder: &Path) -> AutoModelForCausalLM {
    let options = LoadOptions {
        device: DeviceSpec::Cpu,
        dtype: Dtype::Float32,
        precision: Precision::Exact,
        ..LoadOptions::default()
    };
    AutoModelForCausalLM::from_pretrained_with(folder, &options).unwrap()
}

#[test]
fn what_is_beside_the_text_model_is_not_reported() {
    for name in CASES {
        let model = load(&case(name));
        let report = &model.info().loading_info;
        assert!(report.missing.is_empty(), "{name}: {report}");
        assert!(report.unexpected.is_empty(), "{name}: {report}");
    }
}

#[test]
fn a_fresh_text_model_is_made_of_the_whole_config() {
    for (name, text) in CASES.into_iter().zip([
        "gemma3_text",
        "mistral",
        "ministral3",
        "qwen2",
        "qwen3_5_text",
    ]) {
        let config = AutoConfig::from_pretrained(case(name).as_path()).unwrap();
        let model = AutoModelForCausalLM::from_config(&config, &Device::flex()).unwrap();
        assert_eq!(model.info().config.model_type(), text);
    }
}

#[test]
fn older_files_have_the_text_models_keys_at_the_top() {
    let (new, old) = (case("qwen2_5_vl"), tempfile::tempdir().unwrap());
    let file = "model.safetensors";
    fs::copy(new.join(file), old.path().join(file)).unwrap();
    let text = fs::read_to_string(new.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    let tree = config.as_object_mut().unwrap();
    let text = tree.remove("text_config").unwrap();
    for (key, value) in text.as_object().unwrap() {
        tree.entry(key).or_insert(value.clone());
    }
    tree.remove("rope_parameters");
    tree.insert("rope_theta".into(), json!(10000.0));
    let sections = json!({"type": "mrope", "mrope_section": [2, 1, 1]});
    tree.insert("rope_scaling".into(), sections);
    fs::write(old.path().join("config.json"), config.to_string()).unwrap();

    let logits = |folder: &Path| {
        let inputs = ModelInputs::new(Rows::row_of(vec![11, 12, 13, 14]));
        let output = load(folder).forward(&inputs, None).unwrap();
        output.logits().unwrap().into_data()
    };
    assert_eq!(logits(old.path()), logits(&new));
}

#[test]
fn no_other_head_is_made_of_a_text_model() {
    let error = AutoModelForMaskedLM::from_pretrained(case("gemma3").as_path()).unwrap_err();
    assert!(matches!(error, ModelError::UnknownModelType { .. }));
}
