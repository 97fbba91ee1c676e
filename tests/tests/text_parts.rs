//! Text models within larger ones.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::{Value, json};
use transformers_config::AutoConfig;
use transformers_hub::{HubOptions, ModelFiles};
use transformers_modeling::{
    AutoModelForCausalLM, AutoModelForMaskedLM, DeviceSpec, Dtype, LoadOptions, ModelError,
    ModelInputs, Precision, Rows,
};
use transformers_tests::ReferenceTensors;
use transformers_weights::{Checkpoint, OpenOptions, save_safetensors};

const CASES: [&str; 9] = [
    "gemma3",
    "mistral3",
    "mistral3_ministral3",
    "qwen2_vl",
    "qwen2_5_vl",
    "qwen3_5",
    "qwen3_5_rotary",
    "qwen3_vl",
    "qwen3_vl_moe",
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
        "qwen2",
        "qwen3_5_text",
        "qwen3_5_text",
        "qwen3",
        "qwen3_moe",
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
fn a_text_model_with_its_own_head_is_that_model() {
    // the reference runs this whole with an image alone
    let (text, whole) = (case("opt"), tempfile::tempdir().unwrap());
    let files = ModelFiles::resolve(text.as_path(), &HubOptions::default()).unwrap();
    let checkpoint = Checkpoint::open(&files, &OpenOptions::default()).unwrap();
    let tensors = checkpoint.names().map(|name| {
        let tensor = checkpoint.tensor(name).unwrap();
        (format!("language_model.{name}"), tensor)
    });
    save_safetensors(whole.path(), tensors.collect(), u64::MAX).unwrap();
    let inside = fs::read_to_string(text.join("config.json")).unwrap();
    let inside: Value = serde_json::from_str(&inside).unwrap();
    let config = json!({"model_type": "blip-2", "text_config": inside, "vision_config": {}});
    fs::write(whole.path().join("config.json"), config.to_string()).unwrap();

    let inputs = ModelInputs::new(Rows::row_of(vec![11, 12, 13, 14]));
    let logits = |folder: &Path| {
        let model = load(folder);
        assert!(model.info().loading_info.missing.is_empty());
        let output = model.forward(&inputs, None).unwrap();
        output.logits().unwrap().into_data()
    };
    assert_eq!(logits(whole.path()), logits(&text));
}

#[test]
fn no_other_head_is_made_of_a_text_model() {
    let error = AutoModelForMaskedLM::from_pretrained(case("gemma3").as_path()).unwrap_err();
    assert!(matches!(error, ModelError::UnknownModelType { .. }));
}

#[derive(serde::Deserialize)]
struct ThreePositions {
    positions: [Vec<u32>; 3],
    logits: std::collections::BTreeMap<String, Vec<f32>>,
}

#[test]
fn tokens_among_images_rotate_by_three_positions() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/multimodal_rope.json");
    let golden: ThreePositions = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(golden.logits.len(), 4);
    for (name, expect) in &golden.logits {
        let model = load(&case(name));
        let tensors = ReferenceTensors::open(&case(name).join("ref.safetensors")).unwrap();
        let text = ModelInputs::new(tensors.ids("input_ids").unwrap());
        let three = golden.positions.clone().map(Rows::row_of);
        let among_images = ModelInputs {
            multimodal_position_ids: Some(Box::new(three)),
            ..text.clone()
        };
        let logits = |inputs: &ModelInputs| {
            let logits = model.forward(inputs, None).unwrap().logits().unwrap();
            logits.into_data().try_into_vec::<f32>().unwrap()
        };
        let apart = |found: Vec<f32>| {
            let pairs = found.iter().zip(expect);
            pairs.fold(0.0f32, |most, (a, b)| most.max((a - b).abs()))
        };
        assert!(apart(logits(&among_images)) < 1e-5, "{name}");
        assert!(apart(logits(&text)) > 1e-2, "{name}");
    }
}

#[test]
fn three_positions_are_checked() {
    let three = |rows: [usize; 3]| {
        let rows = rows.map(|seq| Rows::row_of((0..seq as u32).collect()));
        ModelInputs {
            multimodal_position_ids: Some(Box::new(rows)),
            ..ModelInputs::new(vec![10, 11, 12])
        }
    };
    let model = load(&case("qwen2_5_vl"));
    assert!(model.forward(&three([3, 3, 3]), None).is_ok());
    let error = model.forward(&three([3, 2, 3]), None).unwrap_err();
    assert!(matches!(error, ModelError::InputShape { .. }), "{error}");
    // A family of texts alone, and sections that are those of another size of head.
    for name in ["mistral3", "qwen2_5_vl"] {
        let mut config = AutoConfig::from_pretrained(case(name).as_path()).unwrap();
        if name == "qwen2_5_vl" {
            let mut text = config.get("text_config").unwrap().clone();
            text["rope_parameters"]["mrope_section"] = json!([16, 24, 24]);
            config.set("text_config", text);
        }
        let model = AutoModelForCausalLM::from_config(&config, &Device::flex()).unwrap();
        let error = model.forward(&three([3, 3, 3]), None).unwrap_err();
        assert!(error.to_string().contains("mrope_section"), "{error}");
    }
}
