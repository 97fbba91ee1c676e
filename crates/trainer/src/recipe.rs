//! A training as a file: what `transformers train` reads.

mod data;
mod labels;
mod lora;
mod model;
mod plan;
mod run;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use transformers_hub::ModelSource;

pub use data::PreparedData;
pub use plan::Plan;

use crate::{Result, TrainerError};

/// What a model learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// To go on with a text, or to answer in a conversation.
    CausalLm,
    /// To find hidden tokens.
    MaskedLm,
    /// To put a text, or a pair of texts, into a class.
    TextClassification,
    /// To put each word into a class.
    TokenClassification,
    /// To answer a text by another one.
    Seq2seq,
}

/// A training: a model, data, and arguments.
///
/// ```
/// use transformers_trainer::recipe::{Recipe, Task};
///
/// let recipe = Recipe::from_yaml(
///     "
/// task: text-classification
/// model: google/bert_uncased_L-2_H-128_A-2
/// data: {train: mails.csv, test_size: 0.1, text: body, max_length: 128}
/// training: {output_dir: spam, num_train_epochs: 2}
/// ",
/// )?;
/// assert_eq!(recipe.task, Task::TextClassification);
/// # Ok::<(), transformers_trainer::TrainerError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What is learned.
    pub task: Task,
    /// The model to go on with: a folder, a hub id, or a GGUF file.
    pub model: Option<String>,
    /// In place of a model: the config of one that starts from nothing, as in its `config.json`.
    pub config: Option<Map<String, Value>>,
    /// Whose tokenizer is taken. `None`: the model's.
    pub tokenizer: Option<String>,
    /// The dtype of the weights.
    #[serde(default = "float32")]
    pub dtype: String,
    /// What it learns from.
    pub data: DataRecipe,
    /// Adapters learn instead of the whole model: `r`, `lora_alpha`, `target_modules` and what else an `adapter_config.json`
    /// has; an empty map takes the defaults.
    pub lora: Option<Map<String, Value>>,
    /// The training arguments that differ from their defaults.
    #[serde(default)]
    pub training: Map<String, Value>,
}

fn float32() -> String {
    "float32".to_owned()
}

/// Data and the columns that count.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecipe {
    /// A file or a folder.
    pub train: Option<String>,
    /// In place of it: a dataset of the hub, or a folder in the form of one.
    pub dataset: Option<String>,
    /// Its config. `None`: the default one.
    pub name: Option<String>,
    /// Its branch, tag or commit. `None`: `main`.
    pub revision: Option<String>,
    /// The folder of it that has the files. `None`: what its README says.
    pub data_dir: Option<String>,
    /// The split to train on, or parts of splits: `train[:90%]`, `train+test` ([`ReadInstruction`](crate::data::ReadInstruction)).
    #[serde(default = "train")]
    pub split: String,
    /// Another file or folder to evaluate on.
    pub validation: Option<String>,
    /// The split to evaluate on, or parts of splits, of `validation`, or else of what is trained on.
    pub validation_split: Option<String>,
    /// Or the share of the training data, or from 1 on the number of examples, that is kept for evaluation.
    pub test_size: Option<f64>,
    /// For the split by `test_size`.
    #[serde(default)]
    pub split_seed: u64,
    /// The column of texts.
    #[serde(default = "text")]
    pub text: String,
    /// The column of second texts.
    pub text_pair: Option<String>,
    /// The column of classes: numbers, or names.
    #[serde(default = "label")]
    pub label: String,
    /// The names of the classes in order. `None`: those that come up, sorted.
    pub classes: Option<Vec<String>>,
    /// The column of words, for classes of tokens.
    #[serde(default = "words")]
    pub words: String,
    /// The column of the words' classes.
    #[serde(default = "tags")]
    pub tags: String,
    /// The column of conversations; a causal model learns from them where this is set.
    pub messages: Option<String>,
    /// Learn only what the assistant says.
    #[serde(default)]
    pub assistant_only_loss: bool,
    /// The column of answers, for `seq2seq`.
    #[serde(default = "target")]
    pub target: String,
    /// Put before every text, as T5 wants it.
    #[serde(default)]
    pub prefix: String,
    /// Cut rows to so many tokens. `None`: to what the model reads.
    pub max_length: Option<usize>,
    /// Language models: all rows as one text, in blocks of `max_length` tokens.
    #[serde(default)]
    pub packing: bool,
    /// End every text with the end token before they are packed.
    #[serde(default = "yes")]
    pub add_eos: bool,
    /// How likely a token is hidden.
    #[serde(default = "mlm_probability")]
    pub mlm_probability: f64,
    /// Hide whole words.
    #[serde(default)]
    pub whole_word_mask: bool,
    /// Train on the first so many examples, to try things out.
    pub limit: Option<usize>,
    /// A folder in which tokens are kept for the next time.
    pub cache_dir: Option<PathBuf>,
}

macro_rules! defaults {
    ($($name:ident),*) => { $(fn $name() -> String { stringify!($name).to_owned() })* };
}

defaults!(train, text, label, words, tags, target);

fn yes() -> bool {
    true
}

fn mlm_probability() -> f64 {
    0.15
}

impl Recipe {
    /// Reads a `.yaml`, `.yml` or `.json` file, with some of its values replaced: `training.learning_rate` and a value in
    /// YAML. Paths in it are relative to the working directory.
    ///
    /// # Errors
    /// The file cannot be read, or has keys that are not known.
    pub fn from_file(path: impl AsRef<Path>, replaced: &[(String, String)]) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(TrainerError::io("reading", path))?;
        let in_file = |error: TrainerError| match error {
            TrainerError::InvalidRecipe { reason } => TrainerError::InvalidFile {
                path: path.to_owned(),
                reason,
            },
            other => other,
        };
        let mut value = parse(&text).map_err(in_file)?;
        for (key, text) in replaced {
            replace(&mut value, key, parse(text)?)?;
        }
        Self::from_value(value).map_err(in_file)
    }

    /// From YAML, of which JSON is a part.
    ///
    /// # Errors
    /// No YAML, or keys that are not known.
    pub fn from_yaml(text: &str) -> Result<Self> {
        Self::from_value(parse(text)?)
    }

    fn from_value(value: Value) -> Result<Self> {
        let recipe: Self = serde_json::from_value(value).map_err(invalid)?;
        match (&recipe.model, &recipe.config, &recipe.tokenizer) {
            (None, None, _) => Err(invalid(
                "`model` is missing; or give the `config` of a new one",
            )),
            (Some(_), Some(_), _) => Err(invalid("`model` and `config` exclude each other")),
            (None, Some(_), None) => Err(invalid(
                "a model that starts from nothing needs a `tokenizer`",
            )),
            _ => recipe.data.checked().map(|()| recipe),
        }
    }
}

impl DataRecipe {
    fn checked(&self) -> Result<()> {
        let of_dataset = [&self.name, &self.revision, &self.data_dir];
        match (&self.train, &self.dataset) {
            (None, None) => Err(invalid(
                "`data` has neither `train`, a file or folder, nor `dataset`, one of the hub",
            )),
            (Some(_), Some(_)) => Err(invalid(
                "`data.train` and `data.dataset` exclude each other",
            )),
            (Some(_), None) if of_dataset.iter().any(|value| value.is_some()) => Err(invalid(
                "`name`, `revision` and `data_dir` are about a `dataset` of the hub",
            )),
            _ => Ok(()),
        }
    }

    /// The hub's id of what is trained on, if it is of the hub.
    pub(crate) fn hub_dataset(&self) -> Option<String> {
        match ModelSource::from(self.dataset.as_ref()?) {
            ModelSource::Hub { repo, .. } => Some(repo),
            _ => None,
        }
    }

    /// What is trained on, as the recipe has it.
    pub(crate) fn source(&self) -> &str {
        let source = self.dataset.as_deref().or(self.train.as_deref());
        source.unwrap_or_default()
    }
}

fn invalid(reason: impl ToString) -> TrainerError {
    TrainerError::InvalidRecipe {
        reason: reason.to_string(),
    }
}

fn parse(text: &str) -> Result<Value> {
    // `no` is a strategy of the reference, and no truth value since YAML 1.2.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        // What follows shows the place with an arrow.
        let error = error.to_string();
        let line = error.lines().next().unwrap_or_default();
        invalid(line.trim_start_matches("error: "))
    })
}

/// Puts a value where a dotted key points.
fn replace(value: &mut Value, key: &str, new: Value) -> Result<()> {
    let mut at = value;
    for part in key.split('.') {
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(map) = at else {
            return Err(invalid(format!(
                "`{key}`: there is no map to put `{part}` into"
            )));
        };
        at = map.entry(part).or_insert(Value::Null);
    }
    *at = new;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RECIPE: &str = "task: causal-lm\ntokenizer: x\nconfig: {}\ndata:\n  train: a.jsonl\ntraining:\n  learning_rate: 1.0e-4\n";

    #[test]
    fn values_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.yaml");
        std::fs::write(&path, RECIPE).unwrap();
        let set = |pairs: &[(&str, &str)]| {
            let owned = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            Recipe::from_file(&path, &owned.collect::<Vec<_>>()).map_err(|error| error.to_string())
        };
        let recipe = set(&[
            ("training.learning_rate", "0.5"),
            ("config.layers", "8"),
            ("data.text", "body"),
            ("training.report_to", "[tensorboard]"),
        ])
        .unwrap();
        assert_eq!(recipe.training["learning_rate"], 0.5);
        assert_eq!(
            recipe.training["report_to"],
            serde_json::json!(["tensorboard"])
        );
        assert_eq!(recipe.config.unwrap()["layers"], 8);
        assert_eq!(
            (recipe.data.text.as_str(), recipe.data.split.as_str()),
            ("body", "train")
        );
        let error = set(&[("task.x", "1")]).unwrap_err();
        assert!(error.contains("there is no map to put `x` into"), "{error}");
        let error = set(&[("data.txt", "1")]).unwrap_err();
        assert!(
            error.contains("recipe.yaml: unknown field `txt`"),
            "{error}"
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, expect) in [
            (
                "task: dance\nmodel: x\ndata: {train: a}",
                "unknown variant `dance`",
            ),
            ("task: causal-lm\ndata: {train: a}", "`model` is missing"),
            (
                "task: causal-lm\nmodel: x\nconfig: {}\ndata: {train: a}",
                "exclude each other",
            ),
            (
                "task: causal-lm\nmodel: x\ndata: {}",
                "has neither `train`, a file or folder, nor `dataset`",
            ),
            (
                "task: causal-lm\nmodel: x\ndata: {train: a, dataset: b}",
                "`data.train` and `data.dataset` exclude each other",
            ),
            (
                "task: causal-lm\nmodel: x\ndata: {train: a, revision: b}",
                "are about a `dataset` of the hub",
            ),
            (
                "task: causal-lm\nconfig: {}\ndata: {train: a}",
                "needs a `tokenizer`",
            ),
            (
                "task: [",
                "the recipe: line 1 column 7: unclosed bracket '['",
            ),
            ("", "invalid type: null"),
        ] {
            let error = Recipe::from_yaml(text).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        }
    }
}
