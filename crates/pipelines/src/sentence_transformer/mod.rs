//! Texts to vectors: the models of the `sentence-transformers` library, and any encoder or decoder as one of them.
//!
//! `modules.json` says what a model is made of: the transformer, a pooling of its states, and dense layers or a
//! normalisation after it. Without that file it is mean pooling and a normalisation to length 1.

mod dense;
mod files;
mod pooling;
mod similarity;

use std::path::PathBuf;

use burn::tensor::{DType, Tensor};
use transformers_hub::{ModelFiles, ModelSource};
use transformers_modeling::{AutoModel, LoadOptions, ModelInputs, Rows};
use transformers_tokenization::{AutoTokenizer, EncodeOptions, Tokenizer, Truncation};

use self::dense::Dense;
use self::files::{Kind, ModelConfig, Modules, TransformerConfig, find_json, inside, read_json};
use self::pooling::{Pooling, Span};
pub use self::similarity::Similarity;
use crate::PipelineError;

/// How texts are embedded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedOptions {
    /// The name of one of the model's prompts; without it and `prompt`, the model's default one, if it has any.
    pub prompt_name: Option<String>,
    /// What is put before every text; wins over `prompt_name`, and may be empty.
    pub prompt: Option<String>,
    /// How many texts go through the model at once.
    pub batch_size: usize,
    /// Scale vectors to length 1. `None`: as the model says.
    pub normalize: Option<bool>,
}

impl Default for EmbedOptions {
    fn default() -> Self {
        Self {
            prompt_name: None,
            prompt: None,
            batch_size: 32,
            normalize: None,
        }
    }
}

/// A model that turns a text into a vector.
///
/// ```no_run
/// use transformers_pipelines::{EmbedOptions, SentenceTransformer};
///
/// let model = SentenceTransformer::from_pretrained("sentence-transformers/all-MiniLM-L6-v2")?;
/// let embeddings = model.encode(&["A cat sleeps.", "The kitten is napping."], &EmbedOptions::default())?;
/// println!("{}", model.similarity(&embeddings[..1], &embeddings[1..])[0][0]);
/// # Ok::<(), transformers_pipelines::PipelineError>(())
/// ```
#[derive(Debug)]
pub struct SentenceTransformer {
    tokenizer: Tokenizer,
    model: AutoModel,
    lower_case: bool,
    max_length: Option<usize>,
    pooling: Pooling,
    steps: Vec<Step>,
    config: ModelConfig,
    similarity: Similarity,
}

/// What happens to a pooled vector.
#[derive(Debug)]
enum Step {
    Dense(Box<Dense>),
    Normalize,
}

impl SentenceTransformer {
    /// Loads the model of a folder, a hub id or a GGUF file with default options.
    ///
    /// # Errors
    /// See [`Self::from_pretrained_with`].
    pub fn from_pretrained(source: impl Into<ModelSource>) -> Result<Self, PipelineError> {
        Self::from_pretrained_with(source, &LoadOptions::default())
    }

    /// Loads the model of `source`.
    ///
    /// # Errors
    /// Files that are missing or broken, modules that are not known, and whatever tokenizer and model answer.
    pub fn from_pretrained_with(
        source: impl Into<ModelSource>,
        options: &LoadOptions,
    ) -> Result<Self, PipelineError> {
        let files = ModelFiles::resolve(source, &options.hub)?;
        let modules = Modules::find(&files)?;
        let folder = modules.as_ref().map_or("", |modules| &modules.transformer);
        let transformer = TransformerConfig::find(&files, folder)?;
        let (tokenizer, model) = load_transformer(&files, folder, options)?;
        let config: ModelConfig = find_json(&files, ModelConfig::FILE)?.unwrap_or_default();
        let similarity = config
            .similarity_fn_name
            .as_deref()
            .map(str::parse)
            .transpose()?;
        let (pooling, steps) = match &modules {
            Some(modules) => load_head(&files, modules, &model)?,
            None => (Pooling::default(), vec![Step::Normalize]),
        };
        Ok(Self {
            lower_case: transformer.do_lower_case,
            max_length: max_length(transformer.max_seq_length, &tokenizer, &model),
            similarity: similarity.unwrap_or_default(),
            tokenizer,
            model,
            pooling,
            steps,
            config,
        })
    }

    /// One vector for each text, in the order of the texts. Texts that are too long are truncated.
    ///
    /// # Errors
    /// An unknown prompt, a batch size of 0, or a text without a single token.
    pub fn encode(
        &self,
        texts: &[&str],
        options: &EmbedOptions,
    ) -> Result<Vec<Vec<f32>>, PipelineError> {
        if options.batch_size == 0 {
            return Err(PipelineError::BatchSize);
        }
        let prompt = self.prompt(options)?;
        let rows = self.tokenize(prompt, texts)?;
        let skip = match self.pooling.include_prompt {
            true => 0,
            false => self.prompt_length(prompt)?,
        };
        if let Some(index) = rows.iter().position(|row| row.len() <= skip) {
            return Err(PipelineError::NoTokens {
                index,
                prompt: skip > 0,
            });
        }

        // Texts of about one length share a batch, so that little of it is padding.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|index| rows[*index].len());
        let mut embeddings = vec![Vec::new(); rows.len()];
        for batch in order.chunks(options.batch_size) {
            let ids: Vec<&[u32]> = batch.iter().map(|index| rows[*index].as_slice()).collect();
            let vectors = self.embed(&ids, skip, options.normalize)?;
            for (index, vector) in batch.iter().zip(vectors) {
                embeddings[*index] = vector;
            }
        }
        Ok(embeddings)
    }

    /// How alike each of `a` is to each of `b`, `[a][b]`, by the model's measure.
    pub fn similarity(&self, a: &[Vec<f32>], b: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let row = |a: &Vec<f32>| b.iter().map(|b| self.similarity.between(a, b)).collect();
        a.iter().map(row).collect()
    }

    /// How many tokens [`Self::encode`] reads for these texts, special ones and prompts included.
    ///
    /// # Errors
    /// An unknown prompt, and what the tokenizer answers.
    pub fn count_tokens(
        &self,
        texts: &[&str],
        options: &EmbedOptions,
    ) -> Result<usize, PipelineError> {
        let rows = self.tokenize(self.prompt(options)?, texts)?;
        Ok(rows.iter().map(Vec::len).sum())
    }

    /// The names of the model's prompts.
    pub fn prompt_names(&self) -> impl Iterator<Item = &str> {
        self.config.prompts.keys().map(String::as_str)
    }

    /// The length in tokens, special ones included, that texts are truncated to; `None`: they are not.
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    fn prompt<'a>(&'a self, options: &'a EmbedOptions) -> Result<&'a str, PipelineError> {
        if let Some(prompt) = &options.prompt {
            return Ok(prompt);
        }
        let Some(name) = options
            .prompt_name
            .as_ref()
            .or(self.config.default_prompt_name.as_ref())
        else {
            return Ok("");
        };
        let prompt = self.config.prompts.get(name);
        prompt
            .map(|prompt| prompt.as_str().unwrap_or_default())
            .ok_or_else(|| PipelineError::UnknownPrompt {
                name: name.clone(),
                known: self.prompt_names().collect::<Vec<_>>().join(", "),
            })
    }

    /// The ids of every text after `prompt`, not padded.
    fn tokenize(&self, prompt: &str, texts: &[&str]) -> Result<Vec<Vec<u32>>, PipelineError> {
        let texts: Vec<String> = texts
            .iter()
            .map(|text| self.cased(&format!("{prompt}{text}")))
            .collect();
        let options = EncodeOptions {
            truncation: Truncation::OnlyFirst,
            max_length: self.max_length,
            ..EncodeOptions::default()
        };
        Ok(self.tokenizer.encode_batch(&texts, &options)?.input_ids)
    }

    fn cased(&self, text: &str) -> String {
        match self.lower_case {
            true => text.chars().flat_map(char::to_lowercase).collect(),
            false => text.to_owned(),
        }
    }

    /// How many tokens a row begins with because of `prompt`: its own and special ones before it, not the one that ends
    /// a text.
    fn prompt_length(&self, prompt: &str) -> Result<usize, PipelineError> {
        if prompt.is_empty() {
            return Ok(0);
        }
        let ids = &self.tokenize(prompt, &[""])?[0];
        let ended = ids
            .last()
            .is_some_and(|id| self.tokenizer.is_special_id(*id));
        Ok(ids.len() - usize::from(ended))
    }

    /// The vectors of one batch; the first `skip` tokens of each row are not pooled.
    fn embed(
        &self,
        rows: &[&[u32]],
        skip: usize,
        normalize: Option<bool>,
    ) -> Result<Vec<Vec<f32>>, PipelineError> {
        let inputs = self.inputs(rows)?;
        let states = self.model.forward(&inputs, None)?.last_hidden_state()?;
        let spans: Vec<Span> = rows
            .iter()
            .map(|row| Span {
                start: skip,
                end: row.len(),
            })
            .collect();
        let mut x = self.pooling.forward(states.cast(DType::F32), &spans);
        for step in &self.steps {
            x = match step {
                Step::Dense(dense) => dense.forward(x)?,
                Step::Normalize if normalize == Some(false) => x,
                Step::Normalize => unit_length(x),
            };
        }
        if normalize == Some(true) {
            x = unit_length(x);
        }
        let width = x.dims()[1];
        let values: Vec<f32> = x.into_data().iter::<f32>().collect();
        Ok(values.chunks(width).map(<[f32]>::to_vec).collect())
    }

    /// The rows padded on the right. Padding is masked and not pooled, so any id does where there is no pad token.
    fn inputs(&self, rows: &[&[u32]]) -> Result<ModelInputs, PipelineError> {
        let pad = self.tokenizer.pad_token_id().unwrap_or(0);
        let longest = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let padded = |row: &[u32], fill: u32| {
            let mut row = row.to_vec();
            row.resize(longest, fill);
            row
        };
        let ids: Vec<Vec<u32>> = rows.iter().map(|row| padded(row, pad)).collect();
        let mask: Vec<Vec<u32>> = rows
            .iter()
            .map(|row| padded(&vec![1; row.len()], 0))
            .collect();
        Ok(ModelInputs {
            input_ids: Rows::new(&ids)?,
            attention_mask: Some(Rows::new(&mask)?),
            ..ModelInputs::default()
        })
    }
}

/// The tokenizer and the model in `folder` of `files`.
fn load_transformer(
    files: &ModelFiles,
    folder: &str,
    options: &LoadOptions,
) -> Result<(Tokenizer, AutoModel), PipelineError> {
    let mut options = options.clone();
    if !folder.is_empty() {
        let outer = options.hub.subfolder.unwrap_or_default();
        options.hub.subfolder = Some(inside(&outer, folder));
    }
    let source = ModelSource::from(files);
    let tokenizer = AutoTokenizer::from_pretrained_with(source.clone(), &options.hub)?;
    Ok((
        tokenizer,
        AutoModel::from_pretrained_with(source, &options)?,
    ))
}

/// What follows the transformer.
fn load_head(
    files: &ModelFiles,
    modules: &Modules,
    model: &AutoModel,
) -> Result<(Pooling, Vec<Step>), PipelineError> {
    let path: PathBuf = files.require(&inside(&modules.pooling, "config.json"))?;
    let pooling = Pooling::from_config(&read_json(&path)?, &path)?;
    let device = model
        .collect_devices(Vec::new())
        .into_iter()
        .next()
        .unwrap_or_default();
    let step = |(kind, folder): &(Kind, String)| match kind {
        Kind::Dense => {
            Dense::load(files, folder, &device).map(|dense| Step::Dense(Box::new(dense)))
        }
        _ => Ok(Step::Normalize),
    };
    Ok((
        pooling,
        modules.rest.iter().map(step).collect::<Result<_, _>>()?,
    ))
}

/// What the model's files say, and never more than it has positions.
fn max_length(stated: Option<usize>, tokenizer: &Tokenizer, model: &AutoModel) -> Option<usize> {
    let stated = stated.or(tokenizer.model_max_length());
    stated.into_iter().chain(model.context_length()).min()
}

/// Each row over its length.
fn unit_length(x: Tensor<2>) -> Tensor<2> {
    let length = x.clone().powi_scalar(2).sum_dim(1).sqrt().clamp_min(1e-12);
    x / length
}
