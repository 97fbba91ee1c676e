//! What can go wrong between a file and a configuration.

use std::path::{Path, PathBuf};

use transformers_hub::HubError;

/// The result of reading, checking or writing a configuration.
pub type Result<T, E = ConfigError> = std::result::Result<T, E>;

/// An error of this crate: each names the key at fault and what to do; [`ConfigError::InFile`] adds the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be found or fetched.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Reading or writing failed.
    #[error("{operation} failed: {source}")]
    Io {
        /// What was being done, for instance `reading`.
        operation: &'static str,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// Any of the other errors, with the file that it was found in.
    #[error("{}: {error}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<ConfigError>,
    },
    /// The model's files hold no `config.json`.
    #[error(
        "`{source_name}` has no config.json: it is not a model in Hugging Face layout; name a folder or repository that \
         has one, or a .gguf file"
    )]
    NoConfig {
        /// The model source as the user typed it.
        source_name: String,
    },
    /// The text is not JSON.
    #[error("not valid JSON: {source}")]
    Json {
        /// Where parsing stopped.
        #[from]
        source: serde_json::Error,
    },
    /// The JSON is fine but its top level is not an object.
    #[error(
        "expected a JSON object at the top, found {found}; the file may be another one under this name"
    )]
    NotAnObject {
        /// The kind of JSON value found.
        found: &'static str,
    },
    /// There is nothing that says which architecture this is.
    #[error(
        "no `model_type`: it selects the architecture (for instance \"llama\"); add it, or use the model's own config.json"
    )]
    NoModelType,
    /// A typed configuration was asked of another family's file.
    #[error("`model_type` is \"{found}\", but a \"{expected}\" configuration was asked for")]
    WrongModelType {
        /// The family asked for.
        expected: &'static str,
        /// The family of the file.
        found: String,
    },
    /// A key is missing, has the wrong type or an impossible value.
    #[error("`{key}`: {reason}")]
    Invalid {
        /// The key, with a dot between nested ones.
        key: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The file does not begin like a GGUF file.
    #[error("not a GGUF file (it begins with {found:?} instead of \"GGUF\")")]
    GgufMagic {
        /// The first four bytes.
        found: String,
    },
    /// A GGUF version that this reader does not know.
    #[error("GGUF version {version} is not supported (2 and 3 are){hint}")]
    GgufVersion {
        /// The version that the file states.
        version: u32,
        /// A word on big-endian files, where it applies.
        hint: &'static str,
    },
    /// The file ends before its header does, or a count or length in it is larger than the file.
    #[error(
        "{what} needs {needed} bytes at offset {offset}, but only {available} are left; fetch the file again"
    )]
    GgufTruncated {
        /// What was being read.
        what: String,
        /// Where in the file.
        offset: u64,
        /// Bytes that it needs at least.
        needed: u64,
        /// Bytes left in the file.
        available: u64,
    },
    /// The header of a GGUF file contradicts itself.
    #[error("GGUF {what}: {reason}; the file is damaged or was written by a faulty tool")]
    GgufInvalid {
        /// The key or tensor.
        what: String,
        /// The contradiction.
        reason: String,
    },
    /// A GGUF architecture that has no mapping to a configuration.
    #[error("GGUF architecture \"{architecture}\" is not supported (supported: {supported})")]
    GgufArchitecture {
        /// `general.architecture`.
        architecture: String,
        /// Those that are, separated by commas.
        supported: String,
    },
}

impl ConfigError {
    /// An [`ConfigError::Invalid`] for `key`.
    pub fn invalid(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            key: key.into(),
            reason: reason.into(),
        }
    }

    /// A failure to read.
    pub(crate) fn reading(source: std::io::Error) -> Self {
        Self::Io {
            operation: "reading",
            source,
        }
    }

    /// The error without the file's name around it, to match on.
    pub fn cause(&self) -> &ConfigError {
        match self {
            Self::InFile { error, .. } => error.cause(),
            other => other,
        }
    }

    /// The same error, with the file's name; an error that has one keeps it.
    #[must_use]
    pub fn in_file(self, path: &Path) -> Self {
        match self {
            Self::InFile { .. } | Self::Hub(_) => self,
            error => Self::InFile {
                path: path.to_owned(),
                error: Box::new(error),
            },
        }
    }
}
