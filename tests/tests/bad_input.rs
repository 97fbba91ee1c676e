//! Bad input gives a typed error that says what, where and what to do; nothing panics.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use transformers_config::GenerationConfig;
use transformers_generation::{Generate, GenerateError, Prompt};
use transformers_modeling::{
    AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, DeviceSpec, LoadOptions, ModelError,
    ModelInputs, Rows,
};

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

/// A copy of a case that a test may damage.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn of(case: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["config.json", "generation_config.json", "model.safetensors"] {
            let from = cases().join(case).join(name);
            if from.exists() {
                fs::copy(from, dir.path().join(name)).unwrap();
            }
        }
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn with_config(self, edit: impl FnOnce(&mut Value)) -> Self {
        let path = self.path().join("config.json");
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        edit(&mut config);
        fs::write(path, config.to_string()).unwrap();
        self
    }

    fn with_weights(self, edit: impl FnOnce(&mut Vec<u8>)) -> Self {
        let path = self.path().join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        edit(&mut bytes);
        fs::write(path, bytes).unwrap();
        self
    }

    /// Replaces text in the safetensors header by text of the same length.
    fn with_header(self, from: &str, to: &str) -> Self {
        assert_eq!(from.len(), to.len());
        self.with_weights(|bytes| {
            let at = bytes
                .windows(from.len())
                .position(|window| window == from.as_bytes())
                .unwrap();
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        })
    }
}

fn load(path: &Path) -> Result<AutoModelForCausalLM, ModelError> {
    let options = LoadOptions {
        device: DeviceSpec::Cpu,
        ..LoadOptions::default()
    };
    AutoModelForCausalLM::from_pretrained_with(path, &options)
}

fn llama() -> AutoModelForCausalLM {
    load(&cases().join("llama")).unwrap()
}

/// The message of an error holds every one of `parts`.
fn check<T, E: std::error::Error>(result: Result<T, E>, parts: &[&str]) {
    let message = result.err().expect("this input is bad").to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn missing_folder() {
    check(
        load(Path::new("./no/such/folder")),
        &["no/such/folder", "give a folder"],
    );
}

#[test]
fn no_config() {
    let scratch = Scratch::of("llama");
    fs::remove_file(scratch.path().join("config.json")).unwrap();
    check(
        load(scratch.path()),
        &["has no config.json", "name a folder"],
    );
}

#[test]
fn config_that_is_not_json() {
    let scratch = Scratch::of("llama");
    fs::write(scratch.path().join("config.json"), "{").unwrap();
    check(load(scratch.path()), &["config.json", "not valid JSON"]);
}

#[test]
fn unknown_model_type_lists_the_supported_ones() {
    let scratch = Scratch::of("llama").with_config(|config| config["model_type"] = json!("llamma"));
    let families = [
        "`llamma`",
        "bert",
        "gemma3_text",
        "llama",
        "mistral",
        "qwen2",
        "qwen3",
    ];
    check(load(scratch.path()), &families);
}

#[test]
fn remote_code_is_never_run() {
    let scratch = Scratch::of("llama").with_config(|config| {
        config["model_type"] = json!("own");
        config["auto_map"] = json!({"AutoModelForCausalLM": "modeling_own.Own"});
    });
    check(load(scratch.path()), &["`own`", "auto_map", "never run"]);
}

#[test]
fn quantisation_that_is_not_supported() {
    let scratch = Scratch::of("llama")
        .with_config(|config| config["quantization_config"] = json!({"quant_method": "awq"}));
    check(
        load(scratch.path()),
        &["`awq`", "quantization_config", "unquantised"],
    );
}

#[test]
fn auto_class_that_the_family_lacks() {
    let result = AutoModelForMaskedLM::from_pretrained(cases().join("llama"));
    check(
        result,
        &["`llama`", "AutoModelForMaskedLM", "AutoModelForCausalLM"],
    );
}

#[test]
fn heads_that_do_not_divide() {
    let scratch = Scratch::of("llama").with_config(|config| {
        config["num_attention_heads"] = json!(4);
        config["num_key_value_heads"] = json!(3);
    });
    check(
        load(scratch.path()),
        &["config.json", "num_key_value_heads"],
    );
}

#[test]
fn activation_that_is_not_known() {
    let scratch = Scratch::of("llama").with_config(|config| config["hidden_act"] = json!("sillu"));
    check(load(scratch.path()), &["`hidden_act`", "`sillu`", "silu"]);
}

#[test]
fn weights_under_a_foreign_name() {
    let of = |name: &str| {
        let scratch = Scratch::of("llama");
        let weights = scratch.path().join("model.safetensors");
        fs::rename(weights, scratch.path().join(name)).unwrap();
        scratch
    };
    check(
        load(of("pytorch_model.bin").path()),
        &["pytorch_model.bin", "header", "safetensors", "none is run"],
    );
    check(
        load(of("tf_model.h5").path()),
        &["tf_model.h5", "safetensors", "save_pretrained"],
    );
}

#[test]
fn no_weights() {
    let scratch = Scratch::of("llama");
    fs::remove_file(scratch.path().join("model.safetensors")).unwrap();
    check(
        load(scratch.path()),
        &["holds no weights", "model.safetensors"],
    );
}

#[test]
fn missing_and_unexpected_tensors_are_reported() {
    let scratch = Scratch::of("llama").with_header("layers.1.mlp.up_proj", "layers.1.mlp.xx_proj");
    let model = load(scratch.path()).unwrap();
    let report = &model.info().loading_info;
    assert_eq!(report.missing, ["model.layers.1.mlp.up_proj.weight"]);
    assert_eq!(report.unexpected, ["model.layers.1.mlp.xx_proj.weight"]);
    // What was missing has been initialised: the model runs.
    let output = model.forward(&ModelInputs::new(vec![3]), None).unwrap();
    assert!(output.logits.is_some());
}

#[test]
fn misshapen_tensors() {
    let scratch = Scratch::of("llama").with_config(|config| config["vocab_size"] = json!(50));
    let result = load(scratch.path());
    assert!(matches!(result, Err(ModelError::CheckpointMismatch { .. })));
    check(result, &["model.embed_tokens.weight", "50"]);

    let options = LoadOptions {
        ignore_mismatched_sizes: true,
        device: DeviceSpec::Cpu,
        ..LoadOptions::default()
    };
    let model = AutoModelForCausalLM::from_pretrained_with(scratch.path(), &options).unwrap();
    assert_eq!(model.info().loading_info.mismatched.len(), 2);
}

#[test]
fn damaged_safetensors() {
    type Edit = fn(&mut Vec<u8>);
    let edits: [(&str, Edit); 4] = [
        ("cut in the header", |bytes| bytes.truncate(100)),
        ("cut in the data", |bytes| bytes.truncate(bytes.len() - 10)),
        ("header longer than the file", |bytes| {
            bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes())
        }),
        ("empty", Vec::clear),
    ];
    for (what, edit) in edits {
        let scratch = Scratch::of("llama").with_weights(edit);
        let message = load(scratch.path()).expect_err(what).to_string();
        assert!(message.contains("model.safetensors"), "{what}: {message}");
    }
    let scratch = Scratch::of("llama").with_header("\"F32\"", "\"X32\"");
    check(load(scratch.path()), &["model.safetensors", "X32"]);
}

#[test]
fn index_that_leaves_the_folder() {
    let scratch = Scratch::of("llama");
    fs::remove_file(scratch.path().join("model.safetensors")).unwrap();
    let index = json!({"weight_map": {"model.norm.weight": "../outside.safetensors"}});
    fs::write(
        scratch.path().join("model.safetensors.index.json"),
        index.to_string(),
    )
    .unwrap();
    check(load(scratch.path()), &["../outside.safetensors"]);
}

#[test]
fn gguf_that_is_cut() {
    let scratch = Scratch::of("llama");
    let path = scratch.path().join("model.gguf");
    fs::write(
        &path,
        b"GGUF\x03\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\x7f\x01\x00",
    )
    .unwrap();
    check(load(&path), &["model.gguf"]);
}

#[test]
fn ids_beyond_the_vocabulary() {
    let inputs = ModelInputs::new(vec![3, 999]);
    check(llama().forward(&inputs, None), &["999", "vocabulary"]);
}

#[test]
fn ragged_rows() {
    check(Rows::new(&[vec![1u32, 2], vec![3]]), &["row 1", "pad"]);
}

#[test]
fn attention_mask_of_another_shape() {
    let inputs = ModelInputs {
        attention_mask: Some(vec![1, 1, 1].into()),
        ..ModelInputs::new(vec![3, 4])
    };
    check(
        llama().forward(&inputs, None),
        &["attention_mask", "[1, 3]", "[1, 2]"],
    );
}

#[test]
fn empty_prompt() {
    check(
        llama().generate(Vec::new(), &GenerationConfig::default()),
        &["empty", "at least one token"],
    );
    check(llama().forward(&ModelInputs::default(), None), &["empty"]);
}

#[test]
fn prompt_with_a_mask_of_another_shape() {
    let prompt = Prompt {
        input_ids: vec![3, 4].into(),
        attention_mask: Some(vec![1].into()),
    };
    let result = llama().generate(prompt, &GenerationConfig::default());
    check(result, &["attention_mask", "[1, 1]", "[1, 2]"]);
    let prompt = Prompt {
        input_ids: vec![3, 4].into(),
        attention_mask: Some(vec![1, 0].into()),
    };
    let result = llama().generate(prompt, &GenerationConfig::default());
    check(result, &["padding", "on the left"]);
}

#[test]
fn prompt_longer_than_learned_positions() {
    let model = AutoModelForCausalLM::from_pretrained(cases().join("gpt2")).unwrap();
    let max = model.context_length().unwrap();
    let result = model.generate(vec![3; max + 1], &GenerationConfig::default());
    assert!(matches!(result, Err(GenerateError::PromptTooLong { .. })));
    check(result, &[&max.to_string(), "shorten"]);

    // a rotation goes on
    let model = llama();
    let config = GenerationConfig {
        max_new_tokens: Some(1),
        ..GenerationConfig::default()
    };
    let max = model.context_length().unwrap();
    assert!(model.generate(vec![3; max + 1], &config).is_ok());
}

#[test]
fn text_longer_than_learned_positions() {
    let model = AutoModel::from_pretrained(cases().join("bert_encoder")).unwrap();
    let max = model.context_length().unwrap();
    check(
        model.forward(&ModelInputs::new(vec![3; max + 1]), None),
        &["positions", "truncate"],
    );
}

#[test]
fn generation_values_out_of_range() {
    let model = llama();
    let try_with = |edit: fn(&mut GenerationConfig)| {
        let mut config = GenerationConfig {
            do_sample: Some(true),
            ..GenerationConfig::default()
        };
        edit(&mut config);
        model.generate(vec![3], &config)
    };
    check(
        try_with(|config| config.temperature = Some(f64::NAN)),
        &["temperature"],
    );
    check(
        try_with(|config| config.temperature = Some(0.0)),
        &["temperature", "do_sample"],
    );
    check(try_with(|config| config.top_p = Some(1.5)), &["top_p"]);
    check(
        try_with(|config| config.max_new_tokens = Some(0)),
        &["max_new_tokens"],
    );
    check(
        try_with(|config| config.num_beams = Some(0)),
        &["num_beams"],
    );
    check(
        try_with(|config| config.sequence_bias = Some(true.into())),
        &["sequence_bias", "token ids"],
    );
    check(
        try_with(|config| config.use_mtp = Some(true)),
        &["use_mtp", "not supported yet"],
    );
    check(
        try_with(|config| config.max_length = Some(1)),
        &["max_length", "max_new_tokens"],
    );
}

#[test]
fn stop_strings_without_a_tokenizer() {
    let config = GenerationConfig {
        stop_strings: Some(transformers_config::StopStrings::One("x".to_owned())),
        ..GenerationConfig::default()
    };
    check(
        llama().generate(vec![3], &config),
        &["stop_strings", "tokenizer"],
    );
}

#[test]
fn device_that_is_not_there() {
    let options = LoadOptions {
        device: DeviceSpec::Cuda(7),
        ..LoadOptions::default()
    };
    let result = AutoModelForCausalLM::from_pretrained_with(cases().join("llama"), &options);
    check(result, &["cuda:7", "Found: cpu"]);
    check("gpu".parse::<DeviceSpec>(), &["`gpu`", "cuda:N"]);
}

#[test]
fn a_model_without_a_cache_does_not_decode() {
    let model = AutoModelForMaskedLM::from_pretrained(cases().join("bert")).unwrap();
    check(
        model.generate(vec![3], &GenerationConfig::default()),
        &["does not decode"],
    );
}
