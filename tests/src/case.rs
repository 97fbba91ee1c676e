//! A conformance case: one folder with a checkpoint and the reference's outputs (`tests/oracle/README.md`).

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use transformers_modeling::{Labels, ModelError, Rows};
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
    #[error("ref.safetensors: `{0}` is not a matrix of ids, nor labels")]
    NotIds(String),
    #[error("ref.safetensors: `{0}` is neither an input nor an output that is known")]
    UnknownTensor(String),
    #[error("ref.safetensors: there is no output to compare with")]
    NoOutput,
    #[error("`{0}` has a gradient in the reference and is no parameter here")]
    NoParameter(String),
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
    /// `AutoModelForTextEncoding`, or `AutoModel` of a family without one.
    Textenc,
    /// `AutoModelForSequenceClassification`.
    Seqcls,
    /// `AutoModelForTokenClassification`.
    Tokcls,
    /// `AutoModelForQuestionAnswering`.
    Qa,
    /// `AutoModelForMultipleChoice`.
    Mc,
    /// `AutoModelForNextSentencePrediction`.
    Nsp,
    /// `AutoModelForPreTraining`.
    Pretraining,
    /// `AutoModelForSeq2SeqLM`.
    S2s,
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
    /// The same of a checkpoint that was written otherwise.
    pub(crate) fn of(checkpoint: Checkpoint) -> Self {
        Self(checkpoint)
    }

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

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.names()
    }

    /// An input of ids or of a mask, `[batch, seq]`; of `[batch, choices, seq]`, all rows.
    ///
    /// # Errors
    /// There is no such tensor, or it holds something else.
    pub fn ids(&self, name: &str) -> Result<Rows<u32>, CaseError> {
        self.integers(name, |id| u32::try_from(id).ok())
    }

    /// An input that only some cases have.
    ///
    /// # Errors
    /// It is there and holds something else.
    pub fn optional_ids(&self, name: &str) -> Result<Option<Rows<u32>>, CaseError> {
        self.has(name).then(|| self.ids(name)).transpose()
    }

    /// One whole number for each row, if there are some.
    ///
    /// # Errors
    /// As [`Self::optional_ids`].
    pub fn optional_numbers(&self, name: &str) -> Result<Option<Vec<i64>>, CaseError> {
        let numbers = |name| Ok(self.integers(name, Some)?.values().to_vec());
        self.has(name).then(|| numbers(name)).transpose()
    }

    /// Targets, if there are some: ids, of which -100 does not count, or numbers; for each token or for each row.
    ///
    /// # Errors
    /// As [`Self::optional_ids`].
    pub fn labels(&self) -> Result<Option<Labels>, CaseError> {
        let name = "labels";
        if !self.has(name) {
            return Ok(None);
        }
        let tensor = self.0.tensor(name)?.aligned();
        let Some(values) = tensor.as_slice::<f32>() else {
            return Ok(Some(self.integers(name, Some)?.into()));
        };
        Ok(Some(rows(name, tensor.shape(), values.to_vec())?.into()))
    }

    /// The number of choices, where rows are choices.
    ///
    /// # Errors
    /// There are no ids.
    pub fn num_choices(&self) -> Result<Option<usize>, CaseError> {
        let tensor = self.0.tensor("input_ids")?;
        Ok(match tensor.shape() {
            &[_, choices, _] => Some(choices),
            _ => None,
        })
    }

    fn integers<T: Copy>(
        &self,
        name: &str,
        convert: fn(i64) -> Option<T>,
    ) -> Result<Rows<T>, CaseError> {
        let tensor: HostTensor = self.0.tensor(name)?.aligned();
        let wrong = || CaseError::NotIds(name.to_owned());
        let values = tensor.as_slice::<i64>().ok_or_else(wrong)?;
        let values: Option<Vec<T>> = values.iter().map(|value| convert(*value)).collect();
        rows(name, tensor.shape(), values.ok_or_else(wrong)?)
    }
}

/// One number for each row, a matrix, or matrices one below the other.
fn rows<T: Copy>(name: &str, shape: &[usize], values: Vec<T>) -> Result<Rows<T>, CaseError> {
    match *shape {
        [_] => Ok(Rows::column_of(values)),
        [_, width] | [_, _, width] if width > 0 => {
            Ok(Rows::new(&values.chunks(width).collect::<Vec<_>>())?)
        }
        _ => Err(CaseError::NotIds(name.to_owned())),
    }
}

/// Inputs by their argument names.
const INPUTS: &[&str] = &[
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "position_ids",
    "labels",
    "start_positions",
    "end_positions",
    "next_sentence_label",
    "sentence_order_label",
    "padded_input_ids",
    "padded_attention_mask",
    "decoder_input_ids",
    "decoder_attention_mask",
    "padded_decoder_input_ids",
];

/// Outputs by their fields.
const OUTPUTS: &[&str] = &[
    "loss",
    "aux_loss",
    "logits",
    "logits_padded",
    "greedy_ids",
    "last_hidden_state",
    "pooler_output",
    "start_logits",
    "end_logits",
    "prediction_logits",
    "seq_relationship_logits",
    "sop_logits",
    "encoder_last_hidden_state",
];

/// Whether something is done with a tensor of this name: nothing in a case is passed over.
fn is_known(name: &str) -> bool {
    let plain = name.strip_suffix("_bf16").unwrap_or(name);
    let known = |name| INPUTS.contains(&name) || OUTPUTS.contains(&name);
    let prefixes = [
        "hidden_states.",
        "encoder_hidden_states.",
        "decoder_hidden_states.",
        "attentions.",
        "encoder_attentions.",
        "decoder_attentions.",
        "cross_attentions.",
        "grad.",
    ];
    known(plain) || prefixes.iter().any(|prefix| name.starts_with(prefix))
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
        let tensors = ReferenceTensors::open(&dir.join("ref.safetensors"))?;
        if let Some(unknown) = tensors.names().find(|name| !is_known(name)) {
            return Err(CaseError::UnknownTensor(unknown.to_owned()));
        }
        Ok(Self {
            dir: dir.to_owned(),
            name: dir
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            reference,
            tensors,
        })
    }
}
