//! What `save_pretrained` writes, beside the round trip of every case (`conformance`).
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::Device;
use serde::Deserialize;
use serde_json::Value;
use transformers_config::AutoConfig;
use transformers_modeling::{
    AutoModelForCausalLM, DeviceSpec, Dtype, LoadOptions, ModelInputs, SaveOptions,
};
use transformers_weights::{Checkpoint, DType, OpenOptions, save_safetensors};

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cases")
        .join(name)
}

fn load(folder: &Path, dtype: Dtype) -> AutoModelForCausalLM {
    let options = LoadOptions {
        device: DeviceSpec::Cpu,
        dtype,
        ..LoadOptions::default()
    };
    AutoModelForCausalLM::from_pretrained_with(folder, &options).unwrap()
}

fn inputs() -> ModelInputs {
    let ids = vec![20_u32, 31, 44, 12];
    let labels: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
    ModelInputs {
        labels: Some(labels.into()),
        ..ModelInputs::new(ids)
    }
}

fn logits(model: &AutoModelForCausalLM) -> Vec<f32> {
    let logits = model.forward(&inputs(), None).unwrap().logits().unwrap();
    logits.into_data().iter::<f32>().collect()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_model_that_was_not_loaded_is_saved_whole() {
    let mut config = AutoConfig::from_pretrained(case("llama").as_path()).unwrap();
    config.set("architectures", Value::Null);
    config.set("eos_token_id", 7);
    let model = AutoModelForCausalLM::from_config(&config, &Device::flex()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    model.save_pretrained(folder.path()).unwrap();
    assert_eq!(
        files(folder.path()),
        ["config.json", "generation_config.json", "model.safetensors"]
    );
    let saved = json(&folder.path().join("config.json"));
    assert_eq!(saved["architectures"][0], "LlamaForCausalLM");
    assert_eq!(saved["dtype"], "float32");
    let generation = json(&folder.path().join("generation_config.json"));
    assert_eq!(generation["eos_token_id"], 7);
    let again = load(folder.path(), Dtype::Auto);
    assert!(again.info().loading_info.is_clean());
    assert_eq!(logits(&model), logits(&again));
}

#[test]
fn a_trained_model_replaces_the_files_that_it_was_loaded_from() {
    let folder = tempfile::tempdir().unwrap();
    load(&case("llama"), Dtype::Auto)
        .save_pretrained(folder.path())
        .unwrap();
    let model = load(folder.path(), Dtype::Auto).train();
    let loss = model.forward(&inputs(), None).unwrap().loss().unwrap();
    let grads = GradientsParams::from_grads(loss.backward(), &model);
    let trained = AdamWConfig::new().init().step(0.1, model, grads);
    trained.save_pretrained(folder.path()).unwrap();
    let again = load(folder.path(), Dtype::Auto);
    assert_eq!(logits(&trained.valid()), logits(&again));
    assert_ne!(logits(&again), logits(&load(&case("llama"), Dtype::Auto)));
}

#[test]
fn weights_are_saved_in_the_dtype_that_they_were_loaded_in() {
    let folder = tempfile::tempdir().unwrap();
    load(&case("llama"), Dtype::BFloat16)
        .save_pretrained(folder.path())
        .unwrap();
    let file = folder.path().join("model.safetensors");
    let saved = Checkpoint::open_file(&file, &OpenOptions::default()).unwrap();
    let file = case("llama").join("model.safetensors");
    let source = Checkpoint::open_file(&file, &OpenOptions::default()).unwrap();
    for name in source.names() {
        let rounded = source.tensor(name).unwrap().cast(DType::BF16).unwrap();
        assert_eq!(saved.tensor(name).unwrap(), rounded, "{name}");
    }
    assert_eq!(
        json(&folder.path().join("config.json"))["dtype"],
        "bfloat16"
    );
}

#[derive(Deserialize)]
struct DtypeCase {
    config: serde_json::Map<String, Value>,
    asked: String,
    dtype: String,
    others: BTreeMap<String, String>,
    loaded: String,
}

#[test]
fn the_dtype_is_the_one_that_the_reference_loads_in() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/dtypes.json");
    let cases: Vec<DtypeCase> = serde_json::from_value(json(&file)).unwrap();
    assert_eq!(cases.len(), 16);
    let file = case("llama").join("model.safetensors");
    let llama = Checkpoint::open_file(&file, &OpenOptions::default()).unwrap();
    for DtypeCase {
        config,
        asked,
        dtype,
        others,
        loaded,
    } in cases
    {
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut tree = json(&case("llama").join("config.json"));
        let tree = tree.as_object_mut().unwrap();
        tree.remove("dtype");
        tree.extend(config.clone());
        let text = serde_json::to_string(&tree).unwrap();
        fs::write(source.path().join("config.json"), text).unwrap();
        let tensors = llama.names().map(|name| {
            let dtype = DType::from_name(others.get(name).unwrap_or(&dtype)).unwrap();
            let tensor = llama.tensor(name).unwrap().cast(dtype).unwrap();
            (name.to_owned(), tensor)
        });
        save_safetensors(source.path(), tensors.collect(), u64::MAX).unwrap();

        load(source.path(), asked.parse().unwrap())
            .save_pretrained(target.path())
            .unwrap();
        let file = target.path().join("model.safetensors");
        let saved = Checkpoint::open_file(&file, &OpenOptions::default()).unwrap();
        for name in saved.names() {
            let dtype = saved.dtype(name).unwrap();
            assert_eq!(dtype.name(), loaded, "{config:?} {asked}: {name}");
        }
        let config = json(&target.path().join("config.json"));
        assert_eq!(config["dtype"], loaded.as_str());
    }
}

#[test]
fn shards_and_variants() {
    let folder = tempfile::tempdir().unwrap();
    let options = SaveOptions {
        max_shard_size: "30KB".parse().unwrap(),
        variant: Some("fp16".to_owned()),
        ..SaveOptions::default()
    };
    let model = load(&case("llama"), Dtype::Float16);
    model.save_pretrained_with(folder.path(), &options).unwrap();
    let names = files(folder.path());
    for name in [
        "model.safetensors.index.fp16.json",
        "model.fp16-00001-of-00002.safetensors",
    ] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    let options = LoadOptions {
        device: DeviceSpec::Cpu,
        variant: Some("fp16".to_owned()),
        ..LoadOptions::default()
    };
    let again = AutoModelForCausalLM::from_pretrained_with(folder.path(), &options).unwrap();
    assert_eq!(logits(&model), logits(&again));
}

#[test]
fn files_of_the_tokenizer_come_along() {
    let source = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(case("llama").join(name), source.path().join(name)).unwrap();
    }
    let templates = "additional_chat_templates";
    fs::create_dir(source.path().join(templates)).unwrap();
    for (name, text) in [
        ("tokenizer.json", "{}"),
        ("tokenizer_config.json", "old"),
        ("README.md", "card"),
        ("additional_chat_templates/tool.jinja", "{{ tools }}"),
    ] {
        fs::write(source.path().join(name), text).unwrap();
    }
    let target = tempfile::tempdir().unwrap();
    fs::write(target.path().join("tokenizer_config.json"), "new").unwrap();
    load(source.path(), Dtype::Auto)
        .save_pretrained(target.path())
        .unwrap();
    let read = |name: &str| fs::read_to_string(target.path().join(name)).unwrap();
    assert_eq!(read("tokenizer.json"), "{}");
    assert_eq!(read("tokenizer_config.json"), "new");
    assert_eq!(read("additional_chat_templates/tool.jinja"), "{{ tools }}");
    assert_eq!(
        files(target.path()),
        [
            templates,
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let model = load(&case("llama"), Dtype::Auto);
    let error = model.save_pretrained(&file).unwrap_err().to_string();
    assert!(
        error.contains("file") && error.contains("creating"),
        "{error}"
    );
}
