//! What is saved: which files, and that they read back alike, here and in Python (`tests/oracle/check_saved.py`).
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use common::{FOLDERS, golden, read, text};
use serde_json::{Value, json};
use transformers_tokenization::{
    AddedToken, AutoTokenizer, GPT2Tokenizer, PlainTokenizer, PlainVocabulary, Tokenizer,
    TokenizerClass, TrainOptions,
};

/// Tokenizers of every kind, by name.
fn all() -> BTreeMap<String, Tokenizer> {
    let mut all = BTreeMap::new();
    for name in FOLDERS {
        all.insert(name.to_owned(), common::tokenizer(name));
    }
    let folders = ["auto", "mistral"].map(golden);
    for entry in folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
    {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            all.insert(name, AutoTokenizer::from_pretrained(path).unwrap());
        }
    }
    for name in [
        "LlamaTokenizer",
        "T5Tokenizer",
        "XLMRobertaTokenizer",
        "GemmaTokenizer",
    ] {
        let class = TokenizerClass::named(name).unwrap();
        let bytes = ["LlamaTokenizer", "GemmaTokenizer"].contains(&name);
        let model = if bytes {
            "bpe_bytes.model"
        } else {
            "unigram.model"
        };
        let path = golden("sentencepiece").join(model);
        all.insert(format!("of_{name}"), class.with_files(&path, None).unwrap());
    }
    let texts = ["hug hugs hugging", "pug pugs"];
    let trained =
        GPT2Tokenizer::default().train_new_from_iterator(texts.iter(), &TrainOptions::new(262));
    let mut trained = trained.unwrap();
    trained
        .add_tokens([AddedToken::from("<tool>", false).lstrip(true)])
        .unwrap();
    trained
        .add_special_token("image_token", AddedToken::from("<image>", true))
        .unwrap();
    all.insert("trained".to_owned(), trained);
    let path = golden("sentencepiece/unigram.model");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(path, folder.path().join("spiece.model")).unwrap();
    all.insert(
        "sentencepiece".to_owned(),
        AutoTokenizer::from_pretrained(folder.path()).unwrap(),
    );
    all
}

fn files(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn what_is_saved_gives_the_same_ids() {
    let texts: Vec<[Value; 5]> = read("byte_level/texts.json");
    let texts: Vec<&str> = texts.iter().map(|row| text(&row[0])).collect();
    // Where to leave the folders for Python to read.
    let kept = std::env::var_os("SAVED_TOKENIZERS").map(PathBuf::from);
    for (name, tokenizer) in all() {
        let folder = tempfile::tempdir().unwrap();
        tokenizer.save_pretrained(folder.path()).unwrap();
        let allowed = [
            "tokenizer.json",
            "tokenizer_config.json",
            "chat_template.jinja",
            "additional_chat_templates",
        ];
        let written = files(folder.path());
        let vocabulary: Vec<&String> = written
            .iter()
            .filter(|file| !allowed.contains(&file.as_str()))
            .collect();
        let own = name == "sentencepiece" || name.contains("tekken") || name.starts_with("model_v");
        assert_eq!(vocabulary.len(), usize::from(own), "{name}: {written:?}");
        assert_eq!(written.contains("tokenizer.json"), !own, "{name}");
        let again = AutoTokenizer::from_pretrained(folder.path()).unwrap();
        let ids = |tokenizer: &Tokenizer| -> Vec<Vec<u32>> {
            texts
                .iter()
                .map(|text| tokenizer.encode(*text, true).unwrap())
                .collect()
        };
        let expected = ids(&tokenizer);
        assert_eq!(ids(&again), expected, "{name}");
        assert_eq!(
            again.special_tokens_map(),
            tokenizer.special_tokens_map(),
            "{name}"
        );
        assert_eq!(
            again.extra_special_tokens(),
            tokenizer.extra_special_tokens(),
            "{name}"
        );
        assert_eq!(
            again.all_special_ids(),
            tokenizer.all_special_ids(),
            "{name}"
        );
        assert_eq!(again.vocab_size(), tokenizer.vocab_size(), "{name}");
        assert_eq!(again.padding_side(), tokenizer.padding_side(), "{name}");
        assert_eq!(
            again.model_max_length(),
            tokenizer.model_max_length(),
            "{name}"
        );
        if let Some(kept) = &kept {
            let kept = kept.join(&name);
            tokenizer.save_pretrained(&kept).unwrap();
            let texts = json!({"texts": texts, "ids": expected, "size": tokenizer.vocab_size(),
                "special": tokenizer.special_tokens_map()});
            std::fs::write(kept.join("expected.json"), texts.to_string()).unwrap();
        }
    }
}

#[test]
fn a_plain_function_leaves_its_settings() {
    let vocabulary =
        PlainVocabulary::new(HashMap::from([("<unk>".to_owned(), 0)]), |_: &str| vec![]);
    let tokenizer = PlainTokenizer::new(vocabulary)
        .special_token("unk_token", "<unk>")
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    tokenizer.save_pretrained(folder.path()).unwrap();
    assert_eq!(
        files(folder.path()),
        BTreeSet::from(["tokenizer_config.json".to_owned()])
    );
}

#[test]
fn legacy_keys_are_read_and_not_written() {
    let tokenizer = common::tokenizer("byte_level");
    let folder = tempfile::tempdir().unwrap();
    tokenizer.save_pretrained(folder.path()).unwrap();
    let config = std::fs::read_to_string(folder.path().join("tokenizer_config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    for key in [
        "add_bos_token",
        "add_eos_token",
        "added_tokens_decoder",
        "additional_special_tokens",
        "chat_template",
    ] {
        assert!(config.get(key).is_none(), "{key}");
    }
    assert_eq!(
        config["extra_special_tokens"],
        json!(["<|im_start|>", "<extra>"])
    );
    assert_eq!(config["bos_token"], "<|im_start|>");
    // GPT-2's class has no normaliser, and Python would build it without.
    assert_eq!(config["tokenizer_class"], "TokenizersBackend");
    let keys: Vec<&String> = config.as_object().unwrap().keys().collect();
    assert!(keys.is_sorted());
}

#[cfg(unix)]
#[test]
fn saved_files_are_as_readable_as_any() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    common::tokenizer(FOLDERS[0])
        .save_pretrained(folder.path())
        .unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
    let saved = folder.path().join("tokenizer.json");
    assert_eq!(mode(&saved), mode(&plain));
    assert!(
        !files(folder.path())
            .iter()
            .any(|name| name.starts_with('.'))
    );
}
