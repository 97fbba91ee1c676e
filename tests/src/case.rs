//! A conformance case: one folder with a checkpoint and the reference's outputs (`tests/oracle/README.md`).

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use transformers_modeling::{ModelError, Rows};
use transformers_weights::{Checkpoint, DType, HostTensor, OpenOptions, WeightsError};

/// Why a case cannot be run.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum CaseError {
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: {source}")]
    Json {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("ref.safetensors: {0}")]
    Weights(#[from] WeightsError),
    #[error("ref.safetensors: `{0}` is not a matrix of ids")]
    NotIds(String),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Generate(#[from] transformers_generation::GenerateError),
    #[error("`{name}`: the reference has {reference} values, we have {ours}")]
    Length {
        name: String,
        reference: usize,
        ours: usize,
    },
}

/// What a case is about: which auto class, which inputs and outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `AutoModelForCausalLM`.
    Lm,
    /// `AutoModelForMaskedLM`.
    Mlm,
    /// `AutoModel`.
    Textenc,
}

/// `ref.json`: what is known of the reference's own noise.
#[derive(Debug, Clone, Deserialize)]
pub struct Reference {
    /// See [`Kind`].
    pub kind: Kind,
    /// The reference's class.
    pub arch: String,
    /// `model_type` of the config.
    pub model_type: String,
    /// Largest difference of its two attention implementations.
    pub sdpa_vs_eager_maxdiff: Option<f64>,
    /// Largest difference of its bf16 run.
    pub bf16_vs_f32_maxdiff: Option<f64>,
    /// Distance of the two best scores at each greedy step.
    #[serde(default)]
    pub top2_margins: Vec<f64>,
    /// Whether its greedy ids are the same without a cache.
    pub cache_equals_nocache: Option<bool>,
}

/// Tensors that the reference wrote: inputs by their argument name, outputs by their field.
pub struct ReferenceTensors(Checkpoint);

impl ReferenceTensors {
    /// Opens a `ref.safetensors`.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn open(path: &Path) -> Result<Self, CaseError> {
        Ok(Self(Checkpoint::open_file(path, &OpenOptions::default())?))
    }

    /// Whether the reference gave `name`.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// The names that begin with `prefix`, without it and in order.
    pub fn names_after(&self, prefix: &str) -> Vec<String> {
        let names = self.0.names().filter_map(|name| name.strip_prefix(prefix));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        names
    }

    /// The values of an output in f32.
    ///
    /// # Errors
    /// There is no such tensor.
    pub fn values(&self, name: &str) -> Result<Vec<f32>, CaseError> {
        let tensor = self.0.tensor(name)?.cast(DType::F32)?.aligned();
        Ok(tensor.as_slice::<f32>().unwrap_or_default().to_vec())
    }

    /// An input of ids or of a mask, `[batch, seq]`.
    ///
    /// # Errors
    /// There is no such tensor, or it holds something else.
    pub fn ids(&self, name: &str) -> Result<Rows<u32>, CaseError> {
        let rows: Vec<Vec<u32>> = self.integers(name)?;
        Ok(Rows::new(&rows)?)
    }

    /// Targets, `[batch, seq]`; -100 does not count.
    ///
    /// # Errors
    /// As [`Self::ids`].
    pub fn labels(&self, name: &str) -> Result<Rows<i64>, CaseError> {
        let rows: Vec<Vec<i64>> = self.integers(name)?;
        Ok(Rows::new(&rows)?)
    }

    /// An input that only some cases have.
    ///
    /// # Errors
    /// It is there and holds something else.
    pub fn optional_ids(&self, name: &str) -> Result<Option<Rows<u32>>, CaseError> {
        self.has(name).then(|| self.ids(name)).transpose()
    }

    fn integers<T: TryFrom<i64>>(&self, name: &str) -> Result<Vec<Vec<T>>, CaseError> {
        let tensor: HostTensor = self.0.tensor(name)?.aligned();
        let wrong = || CaseError::NotIds(name.to_owned());
        let (&[_, seq], Some(values)) = (tensor.shape(), tensor.as_slice::<i64>()) else {
            return Err(wrong());
        };
        let convert = |value: &i64| T::try_from(*value).map_err(|_| wrong());
        values
            .chunks(seq)
            .map(|row| row.iter().map(convert).collect())
            .collect()
    }
}

/// A folder with a case.
pub struct Case {
    /// The checkpoint's folder.
    pub dir: PathBuf,
    /// The folder's name.
    pub name: String,
    /// See [`Reference`].
    pub reference: Reference,
    /// Inputs and outputs.
    pub tensors: ReferenceTensors,
}

impl Case {
    /// Reads the case in `dir`.
    ///
    /// # Errors
    /// A file that is missing or not understood, an unknown kind among them.
    pub fn open(dir: &Path) -> Result<Self, CaseError> {
        let path = dir.join("ref.json");
        let text = fs::read_to_string(&path).map_err(|source| CaseError::Io {
            path: path.clone(),
            source,
        })?;
        let reference =
            serde_json::from_str(&text).map_err(|source| CaseError::Json { path, source })?;
        Ok(Self {
            dir: dir.to_owned(),
            name: dir
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            reference,
            tensors: ReferenceTensors::open(&dir.join("ref.safetensors"))?,
        })
    }
}
