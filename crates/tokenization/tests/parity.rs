//! Ids, offsets, words and texts against the reference on texts that tokenizers get wrong
//! (`tests/oracle/parity.py`): a sample that is committed, or all of it by `cargo xtask parity`.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use common::golden;
use serde::Deserialize;
use transformers_tokenization::{
    AutoTokenizer, BatchEncoding, EncodeOptions, Inputs, SentencePieceProcessor, Tokenizer,
    TokenizerClass,
};

/// How a tokenizer is read.
#[derive(Deserialize)]
struct Source {
    path: PathBuf,
    class: Option<String>,
    #[serde(default)]
    sentencepiece: bool,
}

/// What the reference gave for a text, a pair, words or ids; what it does not tell is not compared.
#[derive(Deserialize, Debug, Default, PartialEq)]
#[serde(default)]
struct Row {
    text: Option<String>,
    pair: Option<(String, String)>,
    split: Option<Vec<String>>,
    decode: Option<Vec<u32>>,
    ids: Option<Vec<u32>>,
    offsets: Option<Vec<usize>>,
    words: Option<Vec<Option<u32>>>,
    types: Option<Vec<u32>>,
    special: Option<Vec<u32>>,
    bare: Option<Vec<u32>>,
    shown: Option<String>,
    skipped: Option<String>,
}

enum Subject {
    Tokenizer(Box<Tokenizer>),
    SentencePiece(SentencePieceProcessor),
}

impl Subject {
    fn open(source: &Source, folder: &Path) -> Self {
        let path = folder.join(&source.path);
        if source.sentencepiece {
            return Self::SentencePiece(SentencePieceProcessor::open(&path).unwrap());
        }
        Self::Tokenizer(Box::new(match &source.class {
            Some(name) => TokenizerClass::named(name)
                .unwrap()
                .with_files(&path, None)
                .unwrap(),
            None => AutoTokenizer::from_pretrained(path).unwrap(),
        }))
    }

    /// What we give for the same input.
    fn answer(&self, row: &Row) -> Row {
        match self {
            Self::Tokenizer(tokenizer) => answer(tokenizer, row),
            Self::SentencePiece(model) => pieces(model, row),
        }
    }
}

fn answer(tokenizer: &Tokenizer, row: &Row) -> Row {
    let call = |inputs| tokenizer.call(inputs, &EncodeOptions::default()).unwrap();
    let mut found = match row {
        Row {
            text: Some(text), ..
        } => encoded(call(Inputs::texts(&[text]))),
        Row {
            pair: Some((first, second)),
            ..
        } => encoded(call(Inputs::texts(&[first]).with_pairs(&[second]))),
        Row {
            split: Some(words), ..
        } => encoded(call(Inputs::words(std::slice::from_ref(words)))),
        _ => Row::default(),
    };
    if let Some(text) = &row.text {
        found.bare = Some(tokenizer.encode(text, false).unwrap());
    }
    let ids = row.decode.as_ref().or(found.ids.as_ref()).unwrap();
    found.shown = Some(tokenizer.decode(ids, false).unwrap());
    found.skipped = Some(tokenizer.decode(ids, true).unwrap());
    found
}

fn encoded(mut batch: BatchEncoding) -> Row {
    let offsets = batch.offset_mapping(0).iter();
    Row {
        offsets: Some(offsets.flat_map(|(start, end)| [*start, *end]).collect()),
        words: Some(batch.word_ids(0).to_vec()),
        ids: batch.input_ids.pop(),
        types: batch.token_type_ids.pop(),
        special: batch.special_tokens_mask.pop(),
        ..Row::default()
    }
}

fn pieces(model: &SentencePieceProcessor, row: &Row) -> Row {
    let mut found = Row::default();
    if let Some(text) = &row.text {
        let pieces = model.pieces(text);
        found.ids = Some(pieces.iter().map(|piece| piece.id).collect());
        let ranges = pieces
            .iter()
            .flat_map(|piece| [piece.range.start, piece.range.end]);
        found.offsets = Some(ranges.collect());
    }
    let ids = row.decode.as_ref().or(found.ids.as_ref()).unwrap();
    found.shown = Some(model.decode(ids).unwrap());
    found
}

/// The fields in which the answer differs from what the reference tells.
fn differences(expected: &Row, found: &Row) -> Vec<String> {
    fn differ<T: PartialEq + std::fmt::Debug>(
        name: &str,
        expected: &Option<T>,
        found: &Option<T>,
    ) -> Option<String> {
        let short = |value: String| value.chars().take(600).collect::<String>();
        let (expected, found) = (expected.as_ref()?, found.as_ref());
        let shown = || {
            let expected = short(format!("{expected:?}"));
            format!(
                "  {name}: {}\n  {:>width$}: {expected}",
                short(format!("{found:?}")),
                "not",
                width = name.len()
            )
        };
        (Some(expected) != found).then(shown)
    }
    let fields = [
        differ("ids", &expected.ids, &found.ids),
        differ("offsets", &expected.offsets, &found.offsets),
        differ("words", &expected.words, &found.words),
        differ("types", &expected.types, &found.types),
        differ("special", &expected.special, &found.special),
        differ("bare", &expected.bare, &found.bare),
        differ("shown", &expected.shown, &found.shown),
        differ("skipped", &expected.skipped, &found.skipped),
    ];
    fields.into_iter().flatten().collect()
}

/// Compares one file of rows; gives how many there are and how many differ, and shows the first of these.
fn compare(path: &Path) -> (usize, usize) {
    const SHOWN: usize = 5;
    let mut lines = BufReader::new(File::open(path).unwrap()).lines();
    let source: Source = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let subject = Subject::open(&source, path.parent().unwrap());
    let (mut rows, mut differing) = (0, 0);
    for line in lines {
        let row: Row = serde_json::from_str(&line.unwrap()).unwrap();
        let differences = differences(&row, &subject.answer(&row));
        rows += 1;
        if differences.is_empty() {
            continue;
        }
        differing += 1;
        if differing <= SHOWN {
            let input = format!(
                "{:?} {:?} {:?} {:?}",
                row.text, row.pair, row.split, row.decode
            );
            let input: String = input.chars().take(600).collect();
            println!("{}\n{}", input, differences.join("\n"));
        }
    }
    let name = path.file_stem().unwrap().to_string_lossy();
    println!("{name}: {rows} rows, {differing} differ");
    (rows, differing)
}

#[test]
fn everything_is_as_the_reference_has_it() {
    let folder = std::env::var_os("PARITY_FOLDER").map_or_else(|| golden("parity"), PathBuf::from);
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let compared: Vec<(usize, usize)> = files.iter().map(|path| compare(path)).collect();
    assert!(compared.iter().all(|(rows, _)| *rows > 40));
    assert_eq!(
        compared
            .iter()
            .map(|(_, differing)| differing)
            .sum::<usize>(),
        0
    );
}
