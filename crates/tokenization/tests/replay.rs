//! The corpus of the fuzz targets, replayed: what is read is used, and nothing panics. Then the same with a few bytes
//! changed; `REPLAY_ROUNDS` says how often.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../../fuzz/src/texts.rs"]
mod texts;

use std::path::Path;

use common::Random;

/// The files of a target.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let entries = std::fs::read_dir(folder.join(target)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 6, "{target}");
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// Changes, removes or repeats some bytes, or puts those of another file in their place.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len().max(1)).min(bytes.len());
        let end = (at + 1 + random.below(12)).min(bytes.len());
        match random.below(6) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.truncate(at),
            2 => {
                let part = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                drop(bytes.splice(to..to, part));
            }
            3 => {
                let from = random.below(other.len());
                let part = &other[from..(from + 1 + random.below(40)).min(other.len())];
                drop(bytes.splice(at..end, part.iter().copied()));
            }
            4 if at < bytes.len() => bytes[at] = random.below(256) as u8,
            _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
}

fn replay(target: &str, read: fn(&[u8])) {
    let corpus = corpus(target);
    corpus.iter().for_each(|bytes| read(bytes));
    let rounds = std::env::var("REPLAY_ROUNDS").map_or(40, |rounds| rounds.parse().unwrap());
    let seed = std::env::var("REPLAY_SEED").map_or(7, |seed| seed.parse().unwrap());
    let mut random = Random(seed);
    for _ in 0..rounds {
        for bytes in &corpus {
            let mut bytes = bytes.clone();
            let other = &corpus[random.below(corpus.len())];
            mutate(&mut random, &mut bytes, other);
            let kept = bytes.clone();
            if std::panic::catch_unwind(move || read(&bytes)).is_err() {
                let file = std::env::temp_dir().join(format!("{target}-finding"));
                std::fs::write(&file, &kept).unwrap();
                panic!("the input is in {}", file.display());
            }
        }
    }
}

#[test]
fn tokenizer_files() {
    replay("tokenizer", texts::tokenizer);
}

#[test]
fn sentencepiece_models() {
    replay("sentencepiece", texts::sentencepiece);
}

#[test]
fn older_vocabularies() {
    replay("vocabulary", texts::vocabulary);
}
