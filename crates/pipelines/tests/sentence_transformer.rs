//! `SentenceTransformer` against sentence-transformers, module by module (`tests/oracle/golden_sentence.py`), and on
//! model folders that are wrong.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use transformers_pipelines::{EmbedOptions, SentenceTransformer};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// A copy of a base model with `files` laid over it.
fn model(base: &str, files: &Value) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let base = match base {
        "llama" => golden().join("../../../transformers/tests/tiny"),
        base => golden().join(base),
    };
    for entry in fs::read_dir(base).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    for (name, content) in files.as_object().unwrap() {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content.to_string()).unwrap();
        if name.contains("Dense") {
            fs::copy(
                golden().join("dense.safetensors"),
                path.with_file_name("model.safetensors"),
            )
            .unwrap();
        }
    }
    folder
}

fn options(of: &Value) -> EmbedOptions {
    let text = |key: &str| of.get(key).map(|value| value.as_str().unwrap().to_owned());
    EmbedOptions {
        prompt_name: text("prompt_name"),
        prompt: text("prompt"),
        normalize: of
            .get("normalize_embeddings")
            .map(|value| value.as_bool().unwrap()),
        // Not the reference's, so that padding differs too.
        batch_size: 3,
    }
}

#[test]
fn equals_the_reference() {
    let file = fs::read_to_string(golden().join("sentence_transformer.json")).unwrap();
    let golden: Value = serde_json::from_str(&file).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 35);
    for case in cases {
        let name = &case["name"];
        let folder = model(case["base"].as_str().unwrap(), &case["files"]);
        let model = SentenceTransformer::from_pretrained(folder.path()).unwrap();
        let texts: Vec<&str> = case["texts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|text| text.as_str().unwrap())
            .collect();
        let found = model.encode(&texts, &options(&case["options"])).unwrap();
        let expected: Vec<Vec<f32>> = serde_json::from_value(case["embeddings"].clone()).unwrap();
        for (row, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(found.len(), expected.len(), "{name}, text {row}");
            for (a, b) in found.iter().zip(expected) {
                assert!(
                    (a - b).abs() <= 1e-5 * b.abs().max(1.0),
                    "{name}, text {row}: {a} and {b}"
                );
            }
        }
        assert_eq!(found.len(), expected.len(), "{name}");
    }
}

#[test]
fn without_modules_it_is_mean_and_unit_length() {
    let plain = SentenceTransformer::from_pretrained(golden().join("bert")).unwrap();
    let files = json!({
        "modules.json": [
            {"path": "", "type": "sentence_transformers.models.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": true},
    });
    let folder = model("bert", &files);
    let with_modules = SentenceTransformer::from_pretrained(folder.path()).unwrap();
    let encode = |model: &SentenceTransformer| {
        model
            .encode(&["the cat", "rates"], &EmbedOptions::default())
            .unwrap()
    };
    assert_eq!(encode(&plain), encode(&with_modules));
    let cosines = plain.similarity(&encode(&plain), &encode(&plain));
    assert!(
        (cosines[0][0] - 1.0).abs() < 1e-6 && cosines[0][1] < 0.999,
        "{cosines:?}"
    );
    assert_eq!(plain.max_length(), Some(24));

    let not_normalized = EmbedOptions {
        normalize: Some(false),
        ..EmbedOptions::default()
    };
    let vectors = plain.encode(&["the cat"], &not_normalized).unwrap();
    let length = vectors[0].iter().map(|x| x * x).sum::<f32>().sqrt();
    assert!((length - 1.0).abs() > 0.1, "{length}");
}

#[test]
fn the_transformer_may_lie_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("0_BERT");
    fs::rename(model("bert", &json!({})).keep(), &inner).unwrap();
    let modules = json!([
        {"path": "0_BERT", "type": "sentence_transformers.models.BERT.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]);
    fs::write(folder.path().join("modules.json"), modules.to_string()).unwrap();
    fs::write(
        inner.join("sentence_bert_config.json"),
        r#"{"max_seq_length": 7}"#,
    )
    .unwrap();
    fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    fs::write(folder.path().join("1_Pooling/config.json"), "{}").unwrap();

    let model = SentenceTransformer::from_pretrained(folder.path()).unwrap();
    assert_eq!(model.max_length(), Some(7));
    assert_eq!(
        model
            .encode(&["the cat"], &EmbedOptions::default())
            .unwrap()[0]
            .len(),
        16
    );
    assert!(
        model
            .encode(&[], &EmbedOptions::default())
            .unwrap()
            .is_empty()
    );
}

#[track_caller]
fn check_error(
    base: &str,
    files: &Value,
    texts: &[&str],
    options: &EmbedOptions,
    expected: &[&str],
) {
    let folder = model(base, files);
    let result = SentenceTransformer::from_pretrained(folder.path())
        .and_then(|model| model.encode(texts, options));
    let error = result.unwrap_err().to_string();
    for part in expected {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

fn modules(types: &[&str]) -> Value {
    let folders = ["", "1_Pooling", "2_Dense", "3_Normalize"];
    let entry = |(name, path): (&&str, &str)| json!({"path": path, "type": format!("sentence_transformers.models.{name}")});
    types.iter().zip(folders).map(entry).collect()
}

#[test]
fn wrong_folders_are_errors() {
    let check = |files: Value, expected: &[&str]| {
        check_error("bert", &files, &["cat"], &EmbedOptions::default(), expected)
    };
    check(
        json!({"modules.json": {}}),
        &["modules.json", "expected a sequence"],
    );
    check(
        json!({"modules.json": []}),
        &["modules.json", "Pooling", "is missing"],
    );
    check(
        json!({"modules.json": modules(&["Transformer", "CNN"])}),
        &["modules.json", "models.CNN", "is not known"],
    );
    check(
        json!({"modules.json": modules(&["Pooling", "Transformer"])}),
        &["models.Pooling", "is not in its place"],
    );
    check(
        json!({"modules.json": modules(&["Transformer", "Pooling"])}),
        &["1_Pooling/config.json"],
    );
    check(
        json!({
            "modules.json": modules(&["Transformer", "Pooling"]),
            "1_Pooling/config.json": {"pooling_mode": "median"},
        }),
        &["1_Pooling", "`pooling_mode`", "median", "weightedmean"],
    );
    check(
        json!({"modules.json": [
            {"path": "../..", "type": "sentence_transformers.models.Transformer"},
            {"path": "", "type": "sentence_transformers.models.Pooling"},
        ]}),
        &[".."],
    );
    check(
        json!({"config_sentence_transformers.json": {"similarity_fn_name": "maxsim"}}),
        &["maxsim", "cosine"],
    );
}

#[test]
fn dense_layers_that_do_not_fit_are_errors() {
    let check = |config: Value, expected: &[&str]| {
        let files = json!({
            "modules.json": modules(&["Transformer", "Pooling", "Dense"]),
            "1_Pooling/config.json": {"pooling_mode": ["mean", "max"]},
            "2_Dense/config.json": config,
        });
        check_error("bert", &files, &["cat"], &EmbedOptions::default(), expected);
    };
    check(
        json!({"in_features": 16, "out_features": 8}),
        &["takes 16 features and gets 32"],
    );
    check(
        json!({"in_features": 16, "out_features": 9}),
        &["linear.weight", "[8, 16]", "[9, 16]", "2_Dense"],
    );
    check(json!({"in_features": 16}), &["2_Dense", "out_features"]);
    check(
        json!({"in_features": 16, "out_features": 8, "activation_function": "os.system"}),
        &["`activation_function`", "system", "tanh"],
    );
    check(
        json!({"in_features": 16, "out_features": 8, "module_input_name": "token_embeddings"}),
        &["`module_input_name`", "token_embeddings"],
    );
}

#[test]
fn wrong_calls_are_errors() {
    let prompts = json!({"config_sentence_transformers.json": {"prompts": {"query": "query : "}}});
    let named = EmbedOptions {
        prompt_name: Some("passage".into()),
        ..EmbedOptions::default()
    };
    check_error("bert", &prompts, &["cat"], &named, &["`passage`", "query"]);
    let none = EmbedOptions {
        batch_size: 0,
        ..EmbedOptions::default()
    };
    check_error("bert", &json!({}), &["cat"], &none, &["batch size"]);
    // This tokenizer adds nothing around a text.
    check_error(
        "llama",
        &json!({}),
        &["I", ""],
        &EmbedOptions::default(),
        &["text 1 has no tokens"],
    );
}
