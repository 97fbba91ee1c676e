//! What can go wrong between a dataset and a trained model.

use std::path::PathBuf;

use transformers_config::ConfigError;
use transformers_generation::GenerateError;
use transformers_hub::HubError;
use transformers_modeling::ModelError;
use transformers_tokenization::TokenizationError;

/// The result of preparing data or of training.
pub type Result<T, E = TrainerError> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum TrainerError {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Generate(#[from] GenerateError),
    #[error(transparent)]
    Tokenization(#[from] TokenizationError),
    #[error("{operation} {} failed: {source}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {reason}", path.display())]
    InvalidFile { path: PathBuf, reason: String },

    #[error("the dataset has no examples")]
    EmptyDataset,
    #[error("there is no example {index}: the dataset has {len}")]
    NoExample { index: usize, len: usize },
    #[error("there is no column `{column}`; there are: {available}")]
    MissingColumn { column: String, available: String },
    #[error("there is no split `{split}`; there are: {available}")]
    MissingSplit { split: String, available: String },
    #[error("split `{split}`: {reason}")]
    InvalidSplit { split: String, reason: String },
    #[error("there is no config `{config}`; there are: {available}; `name` chooses one")]
    MissingConfig { config: String, available: String },
    #[error(
        "split `{split}`: {found} of its {of} files are in the cache, and the hub is not asked: download the others first"
    )]
    MissingShards {
        split: String,
        found: usize,
        of: usize,
    },
    #[error(
        "{origin} has no .jsonl, .json, .csv, .tsv, .parquet or .txt file; what the hub itself made of a dataset is at its \
         revision `refs/convert/parquet`, in a folder (`data_dir`) for each config"
    )]
    NoDataFiles { origin: String },
    #[error("the columns of the datasets differ: {found} instead of {expected}")]
    DifferentColumns { expected: String, found: String },
    #[error("column `{column}`: {found} instead of {expected}")]
    ColumnType {
        column: String,
        found: &'static str,
        expected: &'static str,
    },
    #[error(
        "column `{column}`: an example has the shape {found:?} and one before it {expected:?}; take a collator that pads, \
         or examples of one length"
    )]
    RaggedColumn {
        column: String,
        found: Vec<usize>,
        expected: Vec<usize>,
    },
    #[error("column `{column}`: {reason}")]
    InvalidColumn { column: String, reason: String },
    #[error("`{name}`: {reason}")]
    InvalidOption { name: &'static str, reason: String },
    #[error("`{name}`: {reason}")]
    Argument { name: String, reason: String },
    #[error("`{name}` was removed; in its place there is {successor}")]
    RemovedArgument {
        name: String,
        successor: &'static str,
    },
    #[error("the recipe: {reason}")]
    InvalidRecipe { reason: String },
    #[error(
        "{}: it was trained on {then} devices side by side, and this training has {now}: go on with as many, or begin with \
         its model in another folder",
        checkpoint.display()
    )]
    WorldSize {
        checkpoint: PathBuf,
        then: usize,
        now: usize,
    },
    #[error(
        "{}: a checkpoint takes about {checkpoint} MB, and {free} MB are free: free some of the disk, or set `output_dir` to \
         another",
        path.display()
    )]
    DiskFull {
        path: PathBuf,
        checkpoint: u64,
        free: u64,
    },
    #[error("the state of {what} cannot be restored: {reason}")]
    InvalidState { what: &'static str, reason: String },
}

impl TrainerError {
    /// An [`TrainerError::Io`] of this operation and path.
    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }
}
