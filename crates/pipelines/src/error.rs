//! What can go wrong in a pipeline.

use std::path::PathBuf;

use transformers_hub::HubError;
use transformers_modeling::ModelError;
use transformers_tokenization::TokenizationError;
use transformers_weights::WeightsError;

/// An error of loading or running a pipeline.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum PipelineError {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Tokenization(#[from] TokenizationError),
    #[error(transparent)]
    Weights(#[from] WeightsError),

    #[error("{}: reading failed: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {source}", path.display())]
    Json {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("{}: `{key}`: {reason}", path.display())]
    InvalidKey {
        path: PathBuf,
        key: &'static str,
        reason: String,
    },
    #[error(
        "{}: module `{module}` {problem}; supported is Transformer, then Pooling, then any of Dense and Normalize",
        path.display()
    )]
    Modules {
        path: PathBuf,
        module: String,
        problem: &'static str,
    },
    #[error(
        "`{name}` has shape {found:?} in {}, expected {expected:?} by the config.json beside it",
        path.display()
    )]
    WeightShape {
        path: PathBuf,
        name: &'static str,
        found: Vec<usize>,
        expected: Vec<usize>,
    },
    #[error(
        "a dense layer takes {expected} features and gets {found}: its `in_features` must be what the module before it \
         gives"
    )]
    Features { found: usize, expected: usize },
    #[error("the model has no prompt `{name}`; it has: {known}")]
    UnknownPrompt { name: String, known: String },
    #[error("text {index} has no tokens to pool{}", if *.prompt { " beside its prompt" } else { "" })]
    NoTokens { index: usize, prompt: bool },
    #[error("the batch size is 0: use at least 1")]
    BatchSize,
    #[error("`{0}` is not a similarity: use cosine, dot, euclidean or manhattan")]
    UnknownSimilarity(String),
}
