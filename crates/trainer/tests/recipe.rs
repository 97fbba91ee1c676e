//! Recipes: the data and the model of each task.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use transformers_hub::HubOptions;
use transformers_modeling::LoadOptions;
use transformers_trainer::data::{Collator, Dataset, Example};
use transformers_trainer::recipe::{PreparedData, Recipe};

fn tokenizer(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A recipe for a model that starts from nothing, on one file.
fn recipe(task: &str, data: Value, file: (&str, &str)) -> (TempDir, Recipe) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file.0);
    fs::write(&path, file.1).unwrap();
    let mut data = data;
    data["train"] = path.to_str().unwrap().into();
    let causal = task == "causal-lm";
    let (tokenizer, model_type) = match causal {
        true => (tokenizer("transformers/tests/tiny"), "llama"),
        false => (tokenizer("tokenization/tests/golden/word_piece"), "bert"),
    };
    let config = json!({"model_type": model_type, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1});
    let recipe = json!({"task": task, "config": config, "tokenizer": tokenizer, "data": data});
    (folder, Recipe::from_yaml(&recipe.to_string()).unwrap())
}

fn prepare(task: &str, data: Value, file: (&str, &str)) -> Result<PreparedData, String> {
    let (_folder, recipe) = recipe(task, data, file);
    let tokenizer = recipe.tokenizer(&HubOptions::default()).unwrap();
    recipe
        .prepare(&tokenizer, &HubOptions::default(), 0)
        .map_err(|error| error.to_string())
}

fn rows(dataset: &impl Dataset) -> Vec<Example> {
    (0..dataset.len())
        .map(|index| dataset.get(index).unwrap())
        .collect()
}

const MAILS: &str = "body,kind\nthe cat,ham\nwin now,spam\nthe dog,ham\nbuy it,spam\n";

#[test]
fn classes_have_numbers_by_their_names() {
    let data = prepare(
        "text-classification",
        json!({"text": "body", "label": "kind", "test_size": 1}),
        ("a.csv", MAILS),
    )
    .unwrap();
    assert_eq!(data.classes.as_deref().unwrap(), ["ham", "spam"]);
    assert_eq!((data.train.len(), data.validation.unwrap().len()), (3, 1));
    let labels: Vec<i64> = rows(&data.train)
        .iter()
        .map(|row| row.get("label").unwrap().as_integer().unwrap())
        .collect();
    assert!(labels.contains(&0) && labels.contains(&1));
    let batch = { data.collator }.collate(rows(&data.train)).unwrap();
    assert_eq!(batch.integers("labels").unwrap().shape(), [3]);
    assert_eq!(batch.integers("input_ids").unwrap().shape()[0], 3);
    let numbers = "text,label\na,0\nb,2\n";
    let data = prepare("text-classification", json!({}), ("a.csv", numbers)).unwrap();
    assert_eq!(data.classes.unwrap(), ["LABEL_0", "LABEL_1", "LABEL_2"]);
}

#[test]
fn a_part_of_a_split_is_kept_for_evaluation() {
    let with = |split: &str, validation: &str| {
        let data = json!({"text": "body", "label": "kind", "split": split, "validation_split": validation});
        prepare("text-classification", data, ("a.csv", MAILS))
    };
    let data = with("train[:75%]", "train[75%:]").unwrap();
    let all = with("train", "train[:1]+train[-1:]").unwrap();
    let (train, validation) = (rows(&data.train), rows(&data.validation.unwrap()));
    assert_eq!((train.len(), validation.len()), (3, 1));
    assert_eq!([train, validation].concat(), rows(&all.train));
    let ends = rows(&all.validation.unwrap());
    assert_eq!(ends, [0, 3].map(|index| all.train.get(index).unwrap()));
    let error = with("train", "train[4:]").err().unwrap();
    assert_eq!(error, "the dataset has no examples");
    let error = with("train[:five]", "train").err().unwrap();
    assert!(
        error.contains("is not of the form split[from:to]"),
        "{error}"
    );
}

#[test]
fn labels_that_are_no_class_are_named() {
    for (data, file, expect) in [
        (
            json!({"classes": ["x"]}),
            "text,label\na,0\nb,2\n",
            "column `label`: example 1 has 2, which is no class",
        ),
        (
            json!({}),
            "text,label\na,0\nb,-1\n",
            "column `label`: example 1 has -1, which is no class",
        ),
        (
            json!({}),
            "text,label\na,x\nb,\n",
            "column `label`: example 1 has null, which is no class",
        ),
        (
            json!({"label": "kind"}),
            "text,label\na,0\n",
            "there is no column `kind`; there are: text, label",
        ),
        (
            json!({"test_size": 2}),
            "text,label\na,0\n",
            "`test_size`: 2 of 1 examples leaves a part empty",
        ),
        (json!({}), "text,label\n", "the dataset has no examples"),
        (
            json!({"limit": 0}),
            "text,label\na,0\n",
            "the dataset has no examples",
        ),
    ] {
        assert_eq!(
            prepare("text-classification", data, ("a.csv", file))
                .err()
                .unwrap(),
            expect
        );
    }
}

#[test]
fn words_and_hidden_tokens() {
    let words = "{\"words\": [\"the\", \"cat\"], \"tags\": [\"O\", \"B\"]}\n";
    let mut data = prepare("token-classification", json!({}), ("a.jsonl", words)).unwrap();
    assert_eq!(data.classes.unwrap(), ["B", "O"]);
    let batch = data.collator.collate(rows(&data.train)).unwrap();
    let labels = batch.integers("labels").unwrap().values();
    assert_eq!((labels.first(), labels.last()), (Some(&-100), Some(&-100)));
    let mut data = prepare(
        "masked-lm",
        json!({"mlm_probability": 1.0}),
        ("a.txt", "the cat\nthe dog sat\n"),
    )
    .unwrap();
    let batch = data.collator.collate(rows(&data.train)).unwrap();
    let labels = batch.integers("labels").unwrap().values();
    assert!(labels.iter().filter(|label| **label != -100).count() >= 5);
}

#[test]
fn texts_are_packed_with_their_ends() {
    let text = "The cat sat.\nThe dog sat.\n".repeat(20);
    let data = json!({"packing": true, "max_length": 8});
    let (_folder, recipe) = recipe("causal-lm", data, ("a.txt", &text));
    let tokenizer = recipe.tokenizer(&HubOptions::default()).unwrap();
    let data = recipe
        .prepare(&tokenizer, &HubOptions::default(), 0)
        .unwrap();
    let packed = rows(&data.train);
    assert!(
        packed
            .iter()
            .all(|row| row.integers("input_ids").unwrap().len() == 8)
    );
    assert_eq!((data.tokens, data.longest), (8 * packed.len(), 8));
    let ids: Vec<i64> = packed
        .iter()
        .flat_map(|row| row.integers("input_ids").unwrap().to_vec())
        .collect();
    let end = i64::from(tokenizer.eos_token_id().unwrap());
    assert!(ids.iter().filter(|id| **id == end).count() > 10, "{ids:?}");
    let error = prepare(
        "causal-lm",
        json!({"packing": true, "max_length": 9999}),
        ("a.txt", &text),
    )
    .err()
    .unwrap();
    assert!(error.contains("fill no block of 9999"), "{error}");
}

#[test]
fn conversations_and_answers() {
    let chat = "{\"m\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": \"The cat\"}]}\n";
    let data = json!({"messages": "m", "assistant_only_loss": true});
    let mut data = prepare("causal-lm", data, ("a.jsonl", chat)).unwrap();
    let batch = data.collator.collate(rows(&data.train)).unwrap();
    let labels = batch.integers("labels").unwrap().values();
    assert!(
        labels[0] == -100 && labels.iter().any(|label| *label >= 0),
        "{labels:?}"
    );
    let pairs = "{\"text\": \"the cat\", \"target\": \"the dog sat\"}\n";
    let mut data = prepare("seq2seq", json!({"prefix": "say: "}), ("a.jsonl", pairs)).unwrap();
    let batch = data.collator.collate(rows(&data.train)).unwrap();
    let lengths = ["input_ids", "labels"].map(|name| batch.integers(name).unwrap().shape()[1]);
    assert!(
        lengths[0] > lengths[1] - 1,
        "the prefix is there: {lengths:?}"
    );
}

#[test]
fn tokens_are_kept() {
    let cache = tempfile::tempdir().unwrap();
    let data = json!({"text": "body", "label": "kind", "cache_dir": cache.path()});
    let (_folder, recipe) = recipe("text-classification", data, ("a.csv", MAILS));
    let tokenizer = recipe.tokenizer(&HubOptions::default()).unwrap();
    let prepared = || {
        rows(
            &recipe
                .prepare(&tokenizer, &HubOptions::default(), 0)
                .unwrap()
                .train,
        )
    };
    let first = prepared();
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 1);
    assert_eq!(prepared(), first);
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 1);
}

#[test]
fn a_new_model_has_the_heads_and_the_classes() {
    let (_folder, recipe) = recipe("text-classification", json!({}), ("a.csv", MAILS));
    let tokenizer = recipe.tokenizer(&HubOptions::default()).unwrap();
    let classes = ["a", "b", "c"].map(str::to_owned);
    let model = recipe
        .load_model(&tokenizer, Some(&classes), &LoadOptions::default())
        .unwrap();
    let config = &model.info().config;
    assert_eq!(
        config.get("id2label"),
        Some(&json!({"0": "a", "1": "b", "2": "c"}))
    );
    assert_eq!(
        config.get("vocab_size"),
        Some(&json!(tokenizer.vocab_size()))
    );
    let mut inputs = transformers_modeling::ModelInputs::new(vec![1, 2, 3]);
    inputs.labels = Some(transformers_modeling::Labels::classes(vec![2]));
    let output = model.forward(&inputs, None).unwrap();
    assert_eq!(output.pooled_logits.unwrap().dims(), [1, 3]);
}

#[test]
fn the_examples_of_the_documentation_are_recipes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let recipe = folder.join("train.yaml");
        Recipe::from_file(&recipe, &[])
            .unwrap()
            .arguments()
            .unwrap();
        count += 1;
    }
    assert!(count >= 3);
}

#[test]
fn no_is_a_strategy() {
    let yaml = "{task: causal-lm, model: a, data: {train: a.txt}, training: {output_dir: out, eval_strategy: no}}";
    let recipe = Recipe::from_yaml(yaml).unwrap();
    assert_eq!(recipe.training["eval_strategy"], "no");
}
