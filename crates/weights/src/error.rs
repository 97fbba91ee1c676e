//! What can go wrong between a checkpoint and host tensors.

use std::io;
use std::path::PathBuf;

use transformers_config::ConfigError;
use transformers_hub::HubError;

use crate::DType;

/// The result of opening, reading, planning or writing weights.
pub type Result<T, E = WeightsError> = std::result::Result<T, E>;

/// An error of this crate; the message names the file, the tensor or key, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// A file could not be found or fetched.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The header of a GGUF file is damaged.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Reading or writing failed.
    #[error("{}: {operation} failed: {source}", path.display())]
    Io {
        /// What was being done, for instance `reading`.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// There are no weights at all.
    #[error(
        "`{source_name}` holds no weights (looked for {looked_for}); name a folder or repository that has them, or a .gguf \
         file"
    )]
    NoWeights {
        /// The model source as the user typed it.
        source_name: String,
        /// The names tried, separated by commas.
        looked_for: String,
    },
    /// The weights exist only in layouts of other frameworks.
    #[error(
        "`{source_name}` holds weights only as {files}, and not under the names that are looked for; use a repository or \
         revision with safetensors, open the file by its own path, or convert it once in Python: \
         `AutoModel.from_pretrained(...).save_pretrained(...)`"
    )]
    NotSafetensors {
        /// The model source as the user typed it.
        source_name: String,
        /// The files found, separated by commas.
        files: String,
    },
    /// A safetensors file contradicts itself or ends too early.
    #[error("{}: {what}: {reason}; fetch the file again or save it with a current tool", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// The part of the file, for instance a tensor.
        what: String,
        /// The contradiction.
        reason: String,
    },
    /// A file of `torch.save` is damaged, or holds more than tensors.
    #[error(
        "{}: {what}: {reason}; fetch the file again, or use the model's safetensors files. Such a file can name any code, \
         of which none is run here",
        path.display()
    )]
    Torch {
        /// The file.
        path: PathBuf,
        /// The part of the file, for instance a tensor.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The index of a sharded checkpoint is unusable.
    #[error("{}: {what}: {reason}; fetch the index and the shards of one revision", path.display())]
    Index {
        /// The index file.
        path: PathBuf,
        /// The entry.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor has an element type that only quantised checkpoints use.
    #[error(
        "{}: tensor `{name}` has dtype {dtype}, which is not supported yet; use a checkpoint of this model in float32, \
         float16 or bfloat16, or a GGUF file",
        path.display()
    )]
    UnsupportedDtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What the file calls the type.
        dtype: String,
    },
    /// A tensor of a GGUF file has a block type that cannot be decoded.
    #[error(
        "{}: tensor `{name}` has type {ggml_type}, which is not supported yet (supported: {supported}); use a file of this \
         model with one of those",
        path.display()
    )]
    UnsupportedGgmlType {
        /// The file.
        path: PathBuf,
        /// The tensor, as the file calls it.
        name: String,
        /// ggml's name and number of the type.
        ggml_type: String,
        /// The types that can be decoded, separated by commas.
        supported: String,
    },
    /// The architecture of a GGUF file has no table of names.
    #[error(
        "{}: GGUF architecture \"{architecture}\" is not supported yet (supported: {supported}); use the model's \
         safetensors files",
        path.display()
    )]
    UnsupportedGgufArchitecture {
        /// The file.
        path: PathBuf,
        /// `general.architecture`.
        architecture: String,
        /// The architectures with a table, separated by commas.
        supported: String,
    },
    /// A tensor or key of a GGUF file contradicts the rest of it.
    #[error("{}: {what}: {reason}; fetch the file again or convert it with a current tool", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// The tensor or key.
        what: String,
        /// The contradiction.
        reason: String,
    },
    /// The checkpoint has no such tensor.
    #[error("{checkpoint} has no tensor `{name}`{hint}")]
    NoSuchTensor {
        /// The checkpoint.
        checkpoint: String,
        /// The tensor asked for.
        name: String,
        /// A name that is there and ends alike, if any.
        hint: String,
    },
    /// Bytes that are not what a type and a shape need.
    #[error("{found} bytes do not make a tensor of {dtype} and shape {shape:?}; it needs {}", needed(*.dtype, .shape))]
    ByteLength {
        /// The type.
        dtype: DType,
        /// The shape.
        shape: Vec<usize>,
        /// Bytes given.
        found: usize,
    },
    /// A conversion between types that is not a change of floating-point precision.
    #[error(
        "a tensor of {from} cannot be cast to {to}: only floating-point types convert into one another"
    )]
    Cast {
        /// The tensor's type.
        from: DType,
        /// The type asked for.
        to: DType,
    },
    /// A pattern of a renaming is not a regular expression, or matching it took too long.
    #[error("key mapping `{pattern}` -> `{target}`: {reason}")]
    Pattern {
        /// The regular expression.
        pattern: String,
        /// Its replacement.
        target: String,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// A model type or class has transforms already.
    #[error("`{key}` has a conversion mapping already; set `overwrite` to replace it")]
    MappingExists {
        /// The model type or class.
        key: String,
    },
    /// An operation met tensors that it is not for.
    #[error("{reason}")]
    Operation {
        /// What does not fit.
        reason: String,
    },
    /// Tensors could not be converted.
    #[error("`{target}` cannot be converted: {operation}: {source}")]
    Conversion {
        /// The first tensor that was to come out.
        target: String,
        /// The operation that failed.
        operation: String,
        /// Why.
        source: Box<WeightsError>,
    },
    /// A conversion on loading has no way back.
    #[error(
        "{operation}, which gave {targets}, cannot be undone; save the model in its own names instead (without the \
         original format)"
    )]
    Irreversible {
        /// The operation.
        operation: String,
        /// Its targets, separated by commas.
        targets: String,
    },
    /// A tensor or key cannot be written as asked.
    #[error("{}: `{what}` cannot be written: {reason}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The tensor or key.
        what: String,
        /// Why not.
        reason: String,
    },
    /// A type that GGUF files are not written in.
    #[error("`{name}` is not a type that is written; there are {supported}")]
    UnwritableType {
        /// As given.
        name: String,
        /// The types, separated by commas.
        supported: String,
    },
    /// The size of a shard makes no sense.
    #[error("`{text}` is not a size; write it as 5MB or 1.5GB, with one of TB, GB, MB and KB")]
    ShardSize {
        /// As written.
        text: String,
    },
    /// Reading was stopped from outside.
    #[error("reading the weights was cancelled")]
    Cancelled,
    /// A list of tensors to save names one twice.
    #[error("{}: tensor `{name}` is to be saved twice; drop one of the two (tied weights are saved once)", path.display())]
    SavedTwice {
        /// The folder.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
}

fn needed(dtype: DType, shape: &[usize]) -> String {
    match crate::tensor::element_count(shape).and_then(|count| count.checked_mul(dtype.size())) {
        Some(bytes) => bytes.to_string(),
        None => "more than can be addressed".into(),
    }
}

impl WeightsError {
    pub(crate) fn io(operation: &'static str, path: &std::path::Path, source: io::Error) -> Self {
        Self::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    }
}
