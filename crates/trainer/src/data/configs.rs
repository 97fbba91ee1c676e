//! The configs of a dataset: which files belong to which split, where the head of its README says so.
//!
//! Source: "Manual configuration" in the documentation of the hub's datasets.

use std::collections::BTreeMap;
use std::path::Path;

use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::FileFormat;
use super::splits::infer_splits;
use crate::{Result, TrainerError};

/// The names of the files of each split.
pub type Splits = BTreeMap<String, Vec<String>>;

/// The files of one config.
#[derive(Debug, PartialEq)]
pub struct Selected {
    /// Their names, relative to the dataset's folder, with `/`.
    pub splits: Splits,
    /// What is between two columns of a CSV file, if the config says it.
    pub delimiter: Option<u8>,
}

/// Keys of a config that change nothing in how its files are read.
const IGNORED: [&str; 6] = [
    "default",
    "version",
    "description",
    "features",
    "drop_labels",
    "drop_metadata",
];

#[derive(Debug, Deserialize)]
struct Config {
    #[serde(default = "default_name")]
    config_name: String,
    data_files: Option<DataFiles>,
    data_dir: Option<String>,
    #[serde(alias = "delimiter")]
    sep: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum DataFiles {
    Pattern(String),
    List(Vec<Entry>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Entry {
    Pattern(String),
    Split { split: String, path: Patterns },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Patterns {
    One(String),
    Many(Vec<String>),
}

fn default_name() -> String {
    "default".to_owned()
}

/// The files of the config `name`, or of the default one, among those called `names`. A README without configs, or none,
/// leaves it to [`infer_splits`]. Where one `split` is asked for, others may be without files.
///
/// # Errors
/// The README's head cannot be read, there is no such config or none that is the default, or its files are not there.
pub fn select(
    names: &[String],
    readme: Option<&str>,
    name: Option<&str>,
    split: Option<&str>,
) -> Result<Selected> {
    let configs = readme.map(configs).transpose()?.unwrap_or_default();
    if configs.is_empty() {
        return match name {
            None | Some("default") => Ok(Selected {
                splits: infer_splits(names.iter().map(String::as_str)),
                delimiter: None,
            }),
            Some(name) => Err(missing(name, ["default"].into_iter())),
        };
    }
    let known = || configs.iter().map(|config| config.config_name.as_str());
    let config = match name {
        Some(name) => configs
            .iter()
            .find(|config| config.config_name == name)
            .ok_or_else(|| missing(name, known()))?,
        None => default(&configs).ok_or_else(|| missing("default", known()))?,
    };
    config.select(names, split)
}

fn missing<'a>(config: &str, known: impl Iterator<Item = &'a str>) -> TrainerError {
    TrainerError::MissingConfig {
        config: config.to_owned(),
        available: known.collect::<Vec<_>>().join(", "),
    }
}

fn default(configs: &[Config]) -> Option<&Config> {
    match configs {
        [only] => Some(only),
        _ => configs.iter().find(|config| {
            config.config_name == "default" || config.others.get("default") == Some(&true.into())
        }),
    }
}

/// What the head between two lines of `---` says.
fn configs(readme: &str) -> Result<Vec<Config>> {
    let readme = readme.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let head = readme
        .strip_prefix("---\n")
        .and_then(|rest| rest.split("\n---").next());
    let Some(head) = head.filter(|head| head.contains("configs:")) else {
        return Ok(Vec::new());
    };
    // `no` may be the name of a split, and is no truth value since YAML 1.2.
    let options = serde_saphyr::options! { strict_booleans: true };
    let head: Value = serde_saphyr::from_str_with_options(head, options).map_err(|error| {
        // What follows shows the place.
        let error = error.to_string();
        invalid(error.lines().next().unwrap_or_default())
    })?;
    match head.get("configs") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(configs) => serde_json::from_value(configs.clone())
            .map_err(|error| invalid(&format!("`configs`: {error}"))),
    }
}

fn invalid(reason: &str) -> TrainerError {
    TrainerError::InvalidFile {
        path: "README.md".into(),
        reason: reason.to_owned(),
    }
}

impl Config {
    fn select(&self, names: &[String], wanted: Option<&str>) -> Result<Selected> {
        let wrong = |reason: String| invalid(&format!("config `{}`: {reason}", self.config_name));
        if let Some(key) = self
            .others
            .keys()
            .find(|key| !IGNORED.contains(&key.as_str()))
        {
            return Err(wrong(format!("`{key}` is not supported")));
        }
        let delimiter = match self.sep.as_deref().map(str::as_bytes) {
            None => None,
            Some([byte]) => Some(*byte),
            Some(_) => return Err(wrong("`sep` is one character here".to_owned())),
        };
        let prefix = match self.data_dir.as_deref().map(plain) {
            None | Some("") => String::new(),
            Some(folder) => format!("{folder}/"),
        };
        let inside: Vec<&str> = names
            .iter()
            .filter_map(|name| name.strip_prefix(&prefix))
            .collect();
        let mut splits = match self.patterns() {
            None => infer_splits(inside),
            Some(patterns) => {
                let mut splits = Splits::new();
                for (split, pattern) in patterns {
                    let files = splits.entry(split.to_owned()).or_default();
                    if wanted.is_none_or(|wanted| wanted == split) {
                        files.extend(matching(&inside, pattern).map_err(wrong)?);
                    }
                }
                splits.into_iter().map(of_one_format).collect()
            }
        };
        let files = splits.values_mut().flatten();
        files.for_each(|name| *name = format!("{prefix}{name}"));
        Ok(Selected { splits, delimiter })
    }

    /// Splits and patterns of their files.
    fn patterns(&self) -> Option<Vec<(&str, &str)>> {
        let entries = match self.data_files.as_ref()? {
            DataFiles::Pattern(pattern) => return Some(vec![("train", pattern)]),
            DataFiles::List(entries) => entries,
        };
        Some(entries.iter().flat_map(Entry::patterns).collect())
    }
}

impl Entry {
    fn patterns(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Pattern(pattern) => vec![("train", pattern)],
            Self::Split {
                split,
                path: Patterns::One(pattern),
            } => vec![(split, pattern)],
            Self::Split {
                split,
                path: Patterns::Many(patterns),
            } => patterns
                .iter()
                .map(|pattern| (split.as_str(), pattern.as_str()))
                .collect(),
        }
    }
}

/// A path without what means nothing in it.
fn plain(path: &str) -> &str {
    path.strip_prefix("./").unwrap_or(path).trim_matches('/')
}

/// The names that a pattern means, sorted. Hidden ones have to be asked for.
fn matching(names: &[&str], pattern: &str) -> Result<Vec<String>, String> {
    if pattern.contains("://") {
        return Err(format!("`{pattern}` is an address, and none is followed"));
    }
    let pattern = plain(pattern);
    let hidden = |path: &str| path.split('/').any(|part| part.starts_with('.'));
    let regex = glob(pattern).map_err(|_| format!("`{pattern}` is no pattern"))?;
    let mut found: Vec<String> = names
        .iter()
        .filter(|name| regex.is_match(name) && (!hidden(name) || hidden(pattern)))
        .map(|name| (*name).to_owned())
        .collect();
    found.sort();
    match found.is_empty() {
        true => Err(format!("no file is called `{pattern}`")),
        false => Ok(found),
    }
}

/// `*` and `?` stay within a folder, `**` does not; `[a-c]` and `[!a]` are sets.
fn glob(pattern: &str) -> Result<Regex, regex::Error> {
    let (mut regex, mut rest) = ("^".to_owned(), pattern);
    while let Some(first) = rest.chars().next() {
        let set = || rest[1..].find(']').filter(|end| *end > 0);
        let (part, length) = match first {
            _ if rest.starts_with("**/") => ("(?:.*/)?".to_owned(), 3),
            _ if rest.starts_with("**") => (".*".to_owned(), 2),
            '*' => ("[^/]*".to_owned(), 1),
            '?' => ("[^/]".to_owned(), 1),
            '[' if set().is_some() => {
                let set = &rest[1..=set().unwrap_or_default()];
                let (not, set) = match set.strip_prefix('!') {
                    Some(set) => ("^", set),
                    None => ("", set),
                };
                let escaped = set
                    .replace('\\', r"\\")
                    .replace('[', r"\[")
                    .replace('^', r"\^");
                let part = format!("[{not}{escaped}]");
                (part, rest.find(']').unwrap_or_default() + 1)
            }
            other => (regex::escape(&other.to_string()), other.len_utf8()),
        };
        regex.push_str(&part);
        rest = &rest[length..];
    }
    Regex::new(&(regex + "$"))
}

/// The files of a split that have the format of most of them; where two are as many, Parquet goes before JSON, and that
/// before CSV. Files of no known format stay where there are no others, so that they are told of.
pub(super) fn of_one_format((split, names): (String, Vec<String>)) -> (String, Vec<String>) {
    let rank = |name: &String| match FileFormat::of(Path::new(name)) {
        Ok(FileFormat::Parquet) => Some(3),
        Ok(FileFormat::Json) => Some(2),
        Ok(FileFormat::Csv { .. }) => Some(1),
        Ok(FileFormat::Text) => Some(0),
        Err(_) => None,
    };
    let count = |format: usize| {
        names
            .iter()
            .filter(|name| rank(name) == Some(format))
            .count()
    };
    let most = (0..4).max_by_key(|format| (count(*format), *format));
    match most.filter(|format| count(*format) > 0) {
        None => (split, names),
        most => {
            let kept = names.into_iter().filter(|name| rank(name) == most);
            (split, kept.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NAMES: [&str; 9] = [
        ".hidden/train-9.csv",
        "README.md",
        "data/test-0.parquet",
        "data/train-0.parquet",
        "data/train-1.parquet",
        "extra/a.csv",
        "extra/b.csv",
        "extra/deep/c.csv",
        "extra/notes.txt",
    ];

    fn of(head: &str, name: Option<&str>) -> Result<Vec<(String, Vec<String>)>, String> {
        let names = NAMES.map(str::to_owned);
        let readme = format!("---\nlicense: mit\n{head}\n---\n\n# A dataset\n");
        let selected =
            select(&names, Some(&readme), name, None).map_err(|error| error.to_string())?;
        Ok(selected.splits.into_iter().collect())
    }

    fn check(head: &str, name: Option<&str>, expect: &[(&str, &[&str])]) {
        let expect: Vec<(String, Vec<String>)> = expect
            .iter()
            .map(|(split, names)| {
                let names = names.iter().map(|name| (*name).to_owned());
                ((*split).to_owned(), names.collect())
            })
            .collect();
        assert_eq!(of(head, name).unwrap(), expect, "{head}");
    }

    #[test]
    fn configs_say_which_files() {
        let both = "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n  - split: \
                    test\n    path: [data/test-0.parquet]\n- config_name: more\n  data_files: 'extra/*.csv'\n";
        let train = ["data/train-0.parquet", "data/train-1.parquet"];
        check(
            both,
            None,
            &[("test", &["data/test-0.parquet"]), ("train", &train)],
        );
        check(
            both,
            Some("more"),
            &[("train", &["extra/a.csv", "extra/b.csv"])],
        );
        let folder = "configs:\n- config_name: x\n  data_dir: ./extra/\n";
        let all = ["extra/a.csv", "extra/b.csv", "extra/deep/c.csv"];
        check(folder, None, &[("train", &all)]);
        check(
            "configs:\n- data_dir: extra\n  data_files: ['**/[!ab].csv', '?.csv']\n",
            None,
            &[("train", &["extra/deep/c.csv", "extra/a.csv", "extra/b.csv"])],
        );
        check(
            "configs:\n- config_name: a\n  data_files: x\n- config_name: b\n  default: true\n  data_files: extra/a.csv\n",
            None,
            &[("train", &["extra/a.csv"])],
        );
        // Files of another format than most have are not data.
        check(
            "configs:\n- data_files: 'extra/*'\n",
            None,
            &[("train", &["extra/a.csv", "extra/b.csv"])],
        );
    }

    #[test]
    fn without_configs_names_say_it() {
        for head in ["", "tags: [a]", "configs:", "pretty_name: of configs"] {
            let splits = of(head, Some("default")).unwrap();
            let names: Vec<&str> = splits.iter().map(|(split, _)| split.as_str()).collect();
            assert_eq!(names, ["test", "train"], "{head}");
        }
        let names = NAMES.map(str::to_owned);
        assert_eq!(select(&names, None, None, None).unwrap().splits.len(), 2);
    }

    #[test]
    fn columns_have_something_between_them() {
        let names = NAMES.map(str::to_owned);
        let readme = "---\nconfigs:\n- data_files: extra/a.csv\n  sep: \"\\t\"\n---";
        let selected = select(&names, Some(readme), None, None).unwrap();
        assert_eq!(selected.delimiter, Some(b'\t'));
    }

    #[test]
    fn a_split_needs_no_files_of_another() {
        let names = NAMES.map(str::to_owned);
        let readme = "---\nconfigs:\n- data_files:\n  - split: train\n    path: extra/a.csv\n  - split: test\n    path: \
                      gone.csv\n---";
        let of = |split| select(&names, Some(readme), None, split);
        let splits = of(Some("train")).unwrap().splits;
        assert_eq!(splits["train"], ["extra/a.csv"]);
        assert!(splits["test"].is_empty());
        assert!(of(Some("test")).is_err() && of(None).is_err());
    }

    #[test]
    fn what_cannot_be_is_told() {
        let two =
            "configs:\n- config_name: a\n  data_files: x\n- config_name: b\n  data_files: y\n";
        for (head, name, expect) in [
            (two, None, "no config `default`; there are: a, b"),
            (two, Some("c"), "no config `c`; there are: a, b"),
            ("", Some("c"), "no config `c`; there are: default"),
            (
                two,
                Some("a"),
                "README.md: config `a`: no file is called `x`",
            ),
            ("configs: [", None, "README.md: "),
            ("configs: 3", None, "README.md: `configs`: "),
            (
                "configs:\n- data_files: a\n  names: [x]\n",
                None,
                "config `default`: `names` is not supported",
            ),
            (
                "configs:\n- data_files: a\n  sep: ab\n",
                None,
                "`sep` is one character here",
            ),
            (
                "configs:\n- data_files: https://example.org/a.csv\n",
                None,
                "is an address, and none is followed",
            ),
            (
                "configs:\n- data_files: '../../etc/passwd'\n",
                None,
                "no file is called",
            ),
        ] {
            let error = of(head, name).unwrap_err();
            assert!(error.contains(expect), "{error}");
        }
    }
}
