//! Which files of a dataset's folder are for training, and which for validation and testing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::configs::{Selected, of_one_format, select};
use super::hub_dataset::files_of;
use super::read_instruction::missing;
use super::{Example, FileFormat, Files, ReadInstruction};
use crate::{Result, TrainerError};

/// Splits by what people call them, in the order in which they are shown.
const KEYWORDS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    (
        "validation",
        &["validation", "valid", "dev", "val", "eval", "evaluation"],
    ),
    ("test", &["test", "testing"]),
];

/// Files of JSON that describe a dataset and are no part of it.
const DESCRIPTIONS: [&str; 4] = [
    "config.json",
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
];

/// The files of each split, as Python's `datasets` infers them from the names of a folder (relative, with `/`).
///
/// `data/<split>-00000-of-00001.<format>` names a split of any name. Otherwise a folder or a file's name does that has `train`,
/// `validation` or `test` in it, or another word for it; where no name has, all files are `train`. The files of a split have one
/// format: the one that most have.
pub fn infer_splits<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, Vec<String>> {
    let data = |name: &&str| {
        let hidden = name.split('/').any(|part| part.starts_with(['.', '_']));
        let file = name.rsplit('/').next().unwrap_or_default();
        FileFormat::is_known(Path::new(name)) && !hidden && !DESCRIPTIONS.contains(&file)
    };
    let mut names: Vec<&str> = names.into_iter().filter(data).collect();
    names.sort_unstable();
    let splits = |split_of: fn(&str) -> Option<String>| {
        let mut splits = BTreeMap::<String, Vec<String>>::new();
        for name in &names {
            if let Some(split) = split_of(name) {
                splits.entry(split).or_default().push((*name).to_owned());
            }
        }
        splits
            .into_iter()
            .map(of_one_format)
            .collect::<BTreeMap<_, _>>()
    };
    [splits(shard), splits(keyword)]
        .into_iter()
        .find(|splits| !splits.is_empty())
        .unwrap_or_else(|| splits(|_| Some("train".to_owned())))
}

/// The split of `data/<split>-00000-of-00001.parquet`.
fn shard(name: &str) -> Option<String> {
    let stem = name.strip_prefix("data/")?.split('.').next()?;
    let mut parts = stem.rsplitn(4, '-');
    let (count, of, index, split) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let word = |text: &str| {
        let letters = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte));
        letters && !text.is_empty()
    };
    (number(count) && of == "of" && number(index) && word(split)).then(|| split.to_owned())
}

/// The split whose word is a part of a folder's or the file's name.
fn keyword(name: &str) -> Option<String> {
    let separator = |char: char| char.is_ascii_digit() || "-._ /".contains(char);
    let has = |keywords: &[&str]| name.split(separator).any(|word| keywords.contains(&word));
    let found = KEYWORDS.into_iter().find(|(_, keywords)| has(keywords));
    found.map(|(split, _)| split.to_owned())
}

/// A file, or the files of a folder by split: as its README says (`configs`, of which the default one counts), or else their
/// names.
///
/// # Errors
/// Nothing is there, or nothing that can be read.
pub fn local_splits(path: impl AsRef<Path>) -> Result<BTreeMap<String, Files>> {
    let path = path.as_ref();
    if path.is_file() {
        return Ok(BTreeMap::from([("train".to_owned(), Files::new([path])?)]));
    }
    let mut names = Vec::new();
    walk(path, "", &mut names)?;
    names.sort();
    let readme = std::fs::read_to_string(path.join("README.md")).ok();
    let Selected { splits, delimiter } = select(&names, readme.as_deref(), None, None)?;
    if splits.is_empty() {
        return Err(TrainerError::InvalidFile {
            path: path.to_owned(),
            reason: "it has no .jsonl, .json, .csv, .tsv, .parquet or .txt file".to_owned(),
        });
    }
    let files = splits.into_iter().map(|(split, names)| {
        let paths = names.iter().map(|name| path.join(name));
        Ok((split, files_of(paths.collect(), delimiter)?))
    });
    files.collect()
}

/// The examples of one split of a file or a folder, or of a [`ReadInstruction`]: `train`, `train[:10%]`, `train+test`.
///
/// # Errors
/// As [`local_splits`]; and there is no such split, a slice is not of the known form, or a file does not hold what it should.
pub fn load_dataset(path: impl AsRef<Path>, split: &str) -> Result<Vec<Example>> {
    let splits = local_splits(path)?;
    // A README may give its splits any name.
    if let Some(files) = splits.get(split) {
        return files.load();
    }
    let instruction: ReadInstruction = split.parse()?;
    let files = |split: &str| splits.get(split).cloned();
    instruction.load(|split| files(split).ok_or_else(|| missing(split, splits.keys())))
}

fn walk(root: &Path, prefix: &str, names: &mut Vec<String>) -> Result<()> {
    let folder: PathBuf = root.join(prefix);
    let entries = std::fs::read_dir(&folder).map_err(TrainerError::io("reading", &folder))?;
    for entry in entries {
        let entry = entry.map_err(TrainerError::io("reading", &folder))?;
        let kind = entry
            .file_type()
            .map_err(TrainerError::io("reading", entry.path()))?;
        // A name that is not text names no split.
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        match kind.is_dir() {
            true if name.starts_with('.') => {}
            true => walk(root, &format!("{prefix}{name}/"), names)?,
            false => names.push(format!("{prefix}{name}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], expect: &[(&str, &[&str])]) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let expect = expect
            .iter()
            .map(|(split, names)| ((*split).to_owned(), owned(names)));
        assert_eq!(
            infer_splits(names.iter().copied()),
            expect.collect(),
            "{names:?}"
        );
    }

    #[test]
    fn splits_have_names() {
        check(
            &[
                "data/train-00001-of-00002.parquet",
                "data/train-00000-of-00002.parquet",
                "data/odd.name-00000-of-00001.csv",
                "README.md",
                "extra.json",
            ],
            &[
                ("odd.name", &[][..]),
                (
                    "train",
                    &[
                        "data/train-00000-of-00002.parquet",
                        "data/train-00001-of-00002.parquet",
                    ],
                ),
            ][1..],
        );
        check(
            &[
                "train.jsonl",
                "dev.jsonl",
                "my_test_file.jsonl",
                "notes.txt",
            ],
            &[
                ("test", &["my_test_file.jsonl"]),
                ("train", &["train.jsonl"]),
                ("validation", &["dev.jsonl"]),
            ],
        );
        check(
            &["training/a.txt", "eval/b.txt", "contest.csv"],
            &[
                ("train", &["training/a.txt"]),
                ("validation", &["eval/b.txt"]),
            ],
        );
        check(
            &["b.csv", "a.csv", ".hidden.csv", "_x/c.csv"],
            &[("train", &["a.csv", "b.csv"])],
        );
        check(&["README.md"], &[]);
    }
}
