//! Examples from files: JSON, CSV, Parquet and plain text.

mod csv_file;
mod json_file;
mod parquet_file;
mod text_file;

use std::path::{Path, PathBuf};

use super::{Example, IterableDataset};
use crate::{Result, TrainerError};

pub use text_file::read_text_folder;

/// The examples of a file, one after the other.
type Examples = Box<dyn Iterator<Item = Result<Example>> + Send>;

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// An object on each line, or one array of objects.
    Json,
    /// Columns with a header.
    Csv {
        /// What is between two columns.
        delimiter: u8,
    },
    /// Columns with a schema; compressed by snappy or gzip, or not at all.
    Parquet,
    /// An example for each line, with one column `text`.
    Text,
}

impl FileFormat {
    /// By the name of a file.
    ///
    /// # Errors
    /// A name that says nothing.
    pub fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension.unwrap_or("").to_ascii_lowercase().as_str() {
            "json" | "jsonl" | "ndjson" => Ok(Self::Json),
            "csv" => Ok(Self::Csv { delimiter: b',' }),
            "tsv" => Ok(Self::Csv { delimiter: b'\t' }),
            "parquet" => Ok(Self::Parquet),
            "txt" | "text" => Ok(Self::Text),
            _ => Err(TrainerError::InvalidFile {
                path: path.to_owned(),
                reason: "its name does not say what it holds; known are .jsonl, .json, .csv, .tsv, .parquet and .txt \
                         (unpack compressed files first)"
                    .to_owned(),
            }),
        }
    }

    /// Whether a file of this name can be read.
    pub fn is_known(path: &Path) -> bool {
        Self::of(path).is_ok()
    }

    fn read(self, path: &Path) -> Result<Examples> {
        match self {
            Self::Json => json_file::read(path),
            Self::Csv { delimiter } => csv_file::read(path, delimiter),
            Self::Parquet => parquet_file::read(path),
            Self::Text => text_file::read(path),
        }
    }
}

/// The examples of files, in order, which are read as they are asked for.
#[derive(Debug, Clone)]
pub struct Files {
    paths: Vec<(PathBuf, FileFormat)>,
}

impl Files {
    /// Files whose names say what they hold.
    ///
    /// # Errors
    /// One whose name does not.
    pub fn new(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Result<Self> {
        let known = |path: PathBuf| FileFormat::of(&path).map(|format| (path, format));
        let paths = paths.into_iter().map(|path| known(path.into()));
        Ok(Self {
            paths: paths.collect::<Result<_>>()?,
        })
    }

    /// Files of this format, whatever they are called.
    pub fn with_format(
        paths: impl IntoIterator<Item = impl Into<PathBuf>>,
        format: FileFormat,
    ) -> Self {
        let paths = paths.into_iter().map(|path| (path.into(), format));
        Self {
            paths: paths.collect(),
        }
    }

    /// All examples, in memory.
    ///
    /// # Errors
    /// A file that cannot be read, or holds something else; the message says where.
    pub fn load(&self) -> Result<Vec<Example>> {
        self.examples()?.collect()
    }
}

impl IterableDataset for Files {
    fn examples(&self) -> Result<Box<dyn Iterator<Item = Result<Example>> + Send + '_>> {
        let files = self.paths.iter().map(|(path, format)| format.read(path));
        Ok(Box::new(files.flat_map(|examples| match examples {
            Ok(examples) => examples,
            Err(error) => Box::new(std::iter::once(Err(error))),
        })))
    }
}

/// The error of something in a file.
fn invalid(path: &Path, reason: impl ToString) -> TrainerError {
    TrainerError::InvalidFile {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn open(path: &Path) -> Result<std::fs::File> {
    std::fs::File::open(path).map_err(TrainerError::io("opening", path))
}

/// Gives nothing more after an error.
fn until_error(examples: impl Iterator<Item = Result<Example>> + Send + 'static) -> Examples {
    let mut failed = false;
    Box::new(examples.take_while(move |example| {
        let before = failed;
        failed |= example.is_err();
        !before
    }))
}
