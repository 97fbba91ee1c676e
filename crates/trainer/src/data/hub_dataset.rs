//! Datasets of the hub.

use std::collections::BTreeMap;
use std::path::PathBuf;

use transformers_hub::{HubOptions, ModelFiles, ModelSource, RepoType};

use super::configs::{Selected, select};
use super::read_instruction::missing;
use super::{Example, FileFormat, Files, ReadInstruction};
use crate::{Result, TrainerError};

/// The files of one split of a dataset of the hub, `org/name` or `org/name@revision`, or of a folder in the form of one.
/// `name` is the config; `None`: the default one. Only the files of the split are fetched, into the cache that Python's
/// `datasets` downloads to as well.
///
/// Which files a split has is said by `configs` in the head of the README, or else by their names, as for
/// [`infer_splits`](super::infer_splits). With [`HubOptions::subfolder`] only names count.
///
/// ```no_run
/// use transformers_hub::HubOptions;
/// use transformers_trainer::data::{IterableDataset, hub_files};
///
/// let files = hub_files("stanfordnlp/imdb", None, "train", &HubOptions::default())?;
/// for example in files.examples()? {
///     println!("{:?}", example?.get("text"));
/// }
/// # Ok::<(), transformers_trainer::TrainerError>(())
/// ```
///
/// # Errors
/// The hub refuses or cannot be reached and the cache has not the files, there is no such config or split, a part of the
/// split is not in the cache and the hub is not asked, or a file's name does not say what it holds.
pub fn hub_files(
    source: impl Into<ModelSource>,
    name: Option<&str>,
    split: &str,
    options: &HubOptions,
) -> Result<Files> {
    let options = HubOptions {
        repo_type: RepoType::Dataset,
        ..options.clone()
    };
    let files = ModelFiles::resolve(source, &options)?;
    let names = files.list()?;
    let readme = match options.subfolder {
        None => readme(&files)?,
        Some(_) => None,
    };
    let Selected {
        mut splits,
        delimiter,
    } = select(&names, readme.as_deref(), name, Some(split))?;
    if splits.is_empty() {
        return Err(TrainerError::NoDataFiles {
            origin: files.to_string(),
        });
    }
    let Some(names) = splits.remove(split) else {
        return Err(missing(split, splits.keys()));
    };
    if files.commit().is_some() && !files.is_online() {
        check_shards(split, &names)?;
    }
    let paths = names.iter().map(|name| files.require(name));
    let paths: Vec<PathBuf> = paths.collect::<Result<_, _>>()?;
    files_of(paths, delimiter)
}

/// The examples of [`hub_files`], in memory; `split` may be a [`ReadInstruction`] too: `train[:10%]`, `train+test`.
///
/// # Errors
/// As there, a slice is not of the known form, and a file does not hold what it should.
pub fn load_hub_dataset(
    source: impl Into<ModelSource>,
    name: Option<&str>,
    split: &str,
    options: &HubOptions,
) -> Result<Vec<Example>> {
    let (source, instruction) = (source.into(), split.parse::<ReadInstruction>()?);
    instruction.load(|split| hub_files(source.clone(), name, split, options))
}

/// Files of a split, with what is between the columns of CSV.
pub(super) fn files_of(paths: Vec<PathBuf>, delimiter: Option<u8>) -> Result<Files> {
    let csv = |path: &PathBuf| matches!(FileFormat::of(path), Ok(FileFormat::Csv { .. }));
    match delimiter {
        Some(delimiter) if paths.iter().all(csv) => {
            Ok(Files::with_format(paths, FileFormat::Csv { delimiter }))
        }
        _ => Files::new(paths),
    }
}

fn readme(files: &ModelFiles) -> Result<Option<String>> {
    let Some(path) = files.find("README.md")? else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(&path).map_err(TrainerError::io("reading", path))?;
    Ok(Some(text))
}

/// The cache may have a part of a split, which must not be taken for the whole: `x-00000-of-00002.parquet` says how many
/// there are.
fn check_shards(split: &str, names: &[String]) -> Result<()> {
    let mut counts = BTreeMap::<(&str, usize), usize>::new();
    for name in names {
        let stem = name.split_once('.').map_or(name.as_str(), |(stem, _)| stem);
        let shard = stem.rsplit_once("-of-").and_then(|(rest, of)| {
            let (prefix, index) = rest.rsplit_once('-')?;
            index.parse::<usize>().ok()?;
            Some((prefix, of.parse().ok()?))
        });
        if let Some(shard) = shard {
            *counts.entry(shard).or_default() += 1;
        }
    }
    match counts.into_iter().find(|((_, of), found)| found < of) {
        None => Ok(()),
        Some(((_, of), found)) => Err(TrainerError::MissingShards {
            split: split.to_owned(),
            found,
            of,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_split_is_not_the_whole() {
        let check = |names: &[&str], expect: Option<&str>| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let error = check_shards("train", &names).err();
            let error = error.map(|error| error.to_string());
            assert_eq!(
                error
                    .as_ref()
                    .map(|error| error.split(',').next().unwrap_or_default()),
                expect,
                "{names:?}"
            );
        };
        let whole = [
            "data/train-00000-of-00002.parquet",
            "data/train-00001-of-00002.parquet",
        ];
        check(&whole, None);
        check(&["train.csv", "a-b.csv"], None);
        check(
            &whole[..1],
            Some("split `train`: 1 of its 2 files are in the cache"),
        );
        check(
            &[whole[0], whole[1], "more/train-00001-of-00003.parquet"],
            Some("split `train`: 1 of its 3 files are in the cache"),
        );
    }
}
