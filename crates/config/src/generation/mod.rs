//! How to generate: the fields of `generation_config.json`.
//!
//! Every field is an `Option`, and `None` means "not said here". What applies to a call is, field by field, the first
//! that says something: the call, the model's `generation_config.json`, [`GenerationConfig::defaults`].

mod validate;
mod watermarking;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use transformers_hub::ModelFiles;

use crate::base::{TokenIds, token_id, token_ids};
use crate::{AutoConfig, REFERENCE_VERSION, Result, json};

pub use watermarking::{
    SeedingScheme, SynthIDTextWatermarkingConfig, Watermarking, WatermarkingConfig,
};

/// The file that a model's generation configuration is in.
const FILE_NAME: &str = "generation_config.json";

/// Keys that the reference takes for generation parameters when it finds them in a `config.json`.
pub(crate) const GENERATION_KEYS: &[&str] = &[
    "max_length",
    "min_length",
    "do_sample",
    "early_stopping",
    "num_beams",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "num_return_sequences",
    "output_scores",
    "return_dict_in_generate",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "remove_invalid_values",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
    "epsilon_cutoff",
    "eta_cutoff",
    "encoder_repetition_penalty",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "assistant_confidence_threshold",
    "assistant_lookbehind",
    "target_lookbehind",
    "num_beam_groups",
    "diversity_penalty",
];

/// Keys of the file that say how it was made.
const METADATA_KEYS: &[&str] = &["_commit_hash", "_from_model_config", "transformers_version"];

/// When beam search stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected true, false or \"never\"")]
pub enum EarlyStopping {
    /// `true`: once there are as many complete candidates as beams. `false`: by a heuristic.
    WhenEnough(bool),
    /// `"never"`: only when no better candidate is possible.
    Never(Never),
}

/// The word `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Never {
    Never,
}

/// One text or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
pub enum StopStrings {
    /// A plain string.
    One(String),
    /// A list.
    Many(Vec<String>),
}

impl StopStrings {
    /// The texts.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

/// Declares the struct, the list of its fields' names, and what fills them from another.
macro_rules! generation_config {
    ($($(#[$attribute:meta])* $field:ident: $type:ty,)*) => {
        /// How to generate; `None` means "not said here".
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct GenerationConfig {
            $(
                $(#[$attribute])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )*
            /// Keys that this library does not know, kept and written back.
            #[serde(flatten)]
            pub extra: Map<String, Value>,
        }

        impl GenerationConfig {
            const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];

            /// What `self` says, and for the rest what `lower` says; unknown keys are carried over likewise.
            #[must_use]
            pub fn or(mut self, lower: &Self) -> Self {
                $(
                    if self.$field.is_none() {
                        self.$field.clone_from(&lower.$field);
                    }
                )*
                for (key, value) in &lower.extra {
                    self.extra.entry(key).or_insert_with(|| value.clone());
                }
                self
            }
        }
    };
}

generation_config! {
    /// The largest number of tokens, the prompt included; `max_new_tokens` wins.
    max_length: usize,
    /// The largest number of tokens to generate.
    max_new_tokens: usize,
    /// The smallest number of tokens, the prompt included.
    min_length: usize,
    /// The smallest number of tokens to generate.
    min_new_tokens: usize,
    /// When beam search stops.
    early_stopping: EarlyStopping,
    /// Seconds after which no further token is started.
    max_time: f64,
    /// Texts that end the generation.
    stop_strings: StopStrings,
    /// Draw tokens by their probability instead of taking the likeliest.
    do_sample: bool,
    /// The number of beams; 1 is no beam search.
    num_beams: usize,
    /// Let the model's multi-token prediction layers draft tokens.
    use_mtp: bool,
    /// Keep keys and values of earlier tokens.
    use_cache: bool,
    /// The kind of cache.
    cache_implementation: String,
    /// Arguments of that kind of cache.
    cache_config: Value,
    /// The size of a static cache in tokens.
    max_cache_len: usize,
    /// Divides the logits.
    temperature: f64,
    /// Draw from the `top_k` likeliest tokens; 0 is from all.
    top_k: usize,
    /// Draw from the likeliest tokens that together have this probability.
    top_p: f64,
    /// Draw from tokens with at least this part of the likeliest one's probability.
    min_p: f64,
    /// Draw from tokens chosen by their part of the entropy.
    top_h: f64,
    /// Draw from tokens whose surprise is typical, up to this probability.
    typical_p: f64,
    /// Draw from tokens with at least this probability.
    epsilon_cutoff: f64,
    /// As `epsilon_cutoff`, adapted to the entropy.
    eta_cutoff: f64,
    /// Above 1, makes tokens that were there less likely.
    repetition_penalty: f64,
    /// Above 1, makes tokens of the encoder's input likelier.
    encoder_repetition_penalty: f64,
    /// The exponent of the length by which beams' scores are divided.
    length_penalty: f64,
    /// No sequence of so many tokens may come twice; 0 is no limit.
    no_repeat_ngram_size: usize,
    /// Token sequences that may not be generated.
    bad_words_ids: Vec<Vec<u32>>,
    /// Normalise the logits after all processing.
    renormalize_logits: bool,
    /// The first token.
    #[serde(deserialize_with = "token_id")]
    forced_bos_token_id: u32,
    /// The token, or tokens, at the largest length.
    #[serde(deserialize_with = "token_ids")]
    forced_eos_token_id: TokenIds,
    /// Replace NaN and infinity among the logits.
    remove_invalid_values: bool,
    /// From which length on, and by which factor per token, the end becomes likelier.
    exponential_decay_length_penalty: (i64, f64),
    /// Tokens that may not be generated.
    suppress_tokens: Vec<i64>,
    /// Tokens that may not come first.
    begin_suppress_tokens: Vec<i64>,
    /// Additions to the logits of token sequences.
    sequence_bias: Value,
    /// Regenerate the prompt's last token where a longer one fits.
    token_healing: bool,
    /// The scale of classifier-free guidance.
    guidance_scale: f64,
    /// How to watermark.
    watermarking_config: Watermarking,
    /// The number of sequences for each prompt.
    num_return_sequences: usize,
    /// Return attention weights.
    output_attentions: bool,
    /// Return hidden states.
    output_hidden_states: bool,
    /// Return processed scores.
    output_scores: bool,
    /// Return unprocessed logits.
    output_logits: bool,
    /// Return more than the tokens.
    return_dict_in_generate: bool,
    /// The token that fills shorter sequences.
    #[serde(deserialize_with = "token_id")]
    pad_token_id: u32,
    /// The token that begins a text.
    #[serde(deserialize_with = "token_id")]
    bos_token_id: u32,
    /// The token, or tokens, that end a text.
    #[serde(deserialize_with = "token_ids")]
    eos_token_id: TokenIds,
    /// No sequence of so many tokens of the encoder's input may be generated.
    encoder_no_repeat_ngram_size: usize,
    /// The decoder's first token.
    #[serde(deserialize_with = "token_ids")]
    decoder_start_token_id: TokenIds,
    /// Whether this model drafts for another.
    is_assistant: bool,
    /// The number of tokens to draft.
    num_assistant_tokens: usize,
    /// How that number changes.
    num_assistant_tokens_schedule: String,
    /// The confidence below which drafting stops.
    assistant_confidence_threshold: f64,
    /// Draft this many tokens from the prompt.
    prompt_lookup_num_tokens: usize,
    /// The longest sequence to look up in the prompt.
    max_matching_ngram_size: usize,
    /// The layer after which the drafting model stops.
    assistant_early_exit: usize,
    /// Tokens of the drafting model to look back for alignment.
    assistant_lookbehind: usize,
    /// Tokens of the target model to look back for alignment.
    target_lookbehind: usize,
    /// The target's weight in a mixture with the drafting model.
    assistant_ensemble_weight: f64,
    /// The kind of speculation.
    speculation_type: String,
    /// How the reference compiles the forward pass.
    compile_config: Value,
    /// Whether the reference may not compile it.
    disable_compile: bool,
    /// The batching engine's settings, in former files.
    continuous_batching_config: Value,
    /// The largest number of prompt tokens to process at once.
    prefill_chunk_size: usize,
    /// Former: search with less memory.
    low_memory: bool,
    /// Former: contrastive search.
    penalty_alpha: f64,
    /// Former: decoding by contrasting layers.
    dola_layers: Value,
    /// Former: groups of beams avoid one another.
    diversity_penalty: f64,
    /// Former: the number of groups of beams.
    num_beam_groups: usize,
    /// Former: constraints for beam search.
    constraints: Value,
    /// Former: words that must come.
    force_words_ids: Value,
}

impl GenerationConfig {
    /// What applies where neither the call nor the model says anything.
    pub fn defaults() -> Self {
        Self {
            max_length: Some(20),
            min_length: Some(0),
            do_sample: Some(false),
            use_cache: Some(true),
            early_stopping: Some(EarlyStopping::WhenEnough(false)),
            num_beams: Some(1),
            temperature: Some(1.0),
            top_k: Some(50),
            top_p: Some(1.0),
            typical_p: Some(1.0),
            repetition_penalty: Some(1.0),
            length_penalty: Some(1.0),
            no_repeat_ngram_size: Some(0),
            encoder_no_repeat_ngram_size: Some(0),
            num_return_sequences: Some(1),
            output_scores: Some(false),
            return_dict_in_generate: Some(false),
            remove_invalid_values: Some(false),
            epsilon_cutoff: Some(0.0),
            eta_cutoff: Some(0.0),
            encoder_repetition_penalty: Some(1.0),
            num_assistant_tokens: Some(20),
            num_assistant_tokens_schedule: Some("constant".into()),
            assistant_confidence_threshold: Some(0.4),
            assistant_lookbehind: Some(10),
            target_lookbehind: Some(10),
            num_beam_groups: Some(1),
            diversity_penalty: Some(0.0),
            ..Self::default()
        }
    }

    /// What applies to a call: what the call says, then the model, then the defaults. Both are validated.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn resolve(call: &Self, model: &Self) -> Result<Self> {
        call.validate()?;
        let mut resolved = call.clone().or(model);
        // Former files ask for this where sliding windows are; caches follow the layers' types by themselves.
        if resolved.cache_implementation.as_deref() == Some("hybrid") {
            resolved.cache_implementation = None;
        }
        resolved = resolved.or(&Self::defaults());
        resolved.validate()?;
        Ok(resolved)
    }

    /// The model's `generation_config.json`, or where there is none the generation parameters in its configuration.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_files(files: &ModelFiles, config: &AutoConfig) -> Result<Self> {
        match files.find(FILE_NAME)? {
            Some(path) => Self::from_file(&path),
            None => Self::from_model_config(config),
        }
    }

    /// Reads the file at `path`; errors name it.
    ///
    /// # Errors
    /// If it cannot be read, and as [`from_json_str`](Self::from_json_str).
    pub fn from_file(path: &Path) -> Result<Self> {
        json::read_object(path)
            .and_then(Self::from_object)
            .map_err(|error| error.in_file(path))
    }

    /// Reads the text of a `generation_config.json`.
    ///
    /// # Errors
    /// If it is not a JSON object, a value is of another type, or as [`validate`](Self::validate).
    pub fn from_json_str(text: &str) -> Result<Self> {
        Self::from_object(json::object(json::parse(text)?)?)
    }

    /// The generation parameters that older releases kept in `config.json`, and the special tokens.
    ///
    /// # Errors
    /// If a value is of another type, or as [`validate`](Self::validate).
    pub fn from_model_config(config: &AutoConfig) -> Result<Self> {
        let mut object = Map::new();
        for tree in std::iter::once(config.tree()).chain(config.decoder()) {
            for &field in Self::FIELDS {
                if let Some(value) = tree.get(field).filter(|value| !value.is_null()) {
                    object.entry(field).or_insert_with(|| value.clone());
                }
            }
        }
        if config.get("force_bos_token_to_be_generated") == Some(&json!(true))
            && let Some(bos) = object.get("bos_token_id").cloned()
        {
            object.insert("forced_bos_token_id".into(), bos);
        }
        let mut generation: Self = json::typed(Value::Object(object))?;
        if generation.asks_for_outputs() {
            generation.return_dict_in_generate = Some(true);
        }
        generation.validate()?;
        Ok(generation)
    }

    fn from_object(mut object: Map<String, Value>) -> Result<Self> {
        object.retain(|key, _| !METADATA_KEYS.contains(&key.as_str()));
        let config: Self = json::typed(Value::Object(object))?;
        config.validate()?;
        Ok(config)
    }

    /// The ids that end a text.
    pub fn eos_token_ids(&self) -> &[u32] {
        self.eos_token_id.as_ref().map_or(&[], TokenIds::as_slice)
    }

    /// The text of `generation_config.json`.
    ///
    /// # Errors
    /// If a number has no place in JSON.
    pub fn to_json_string(&self) -> Result<String> {
        let mut object = json::to_object(self)?;
        object.remove("compile_config");
        object.insert("transformers_version".into(), REFERENCE_VERSION.into());
        Ok(json::to_string(&object))
    }

    /// Writes `generation_config.json` into `folder`, after [`validate_strict`](Self::validate_strict).
    ///
    /// # Errors
    /// As [`validate_strict`](Self::validate_strict), and if the file cannot be written.
    pub fn save_pretrained(&self, folder: &Path) -> Result<()> {
        self.validate_strict()?;
        self.save_unchanged(folder)
    }

    /// The same for a config that is as it was published: what has no effect in it stays, after
    /// [`validate`](Self::validate).
    ///
    /// # Errors
    /// As [`validate`](Self::validate), and if the file cannot be written.
    pub fn save_unchanged(&self, folder: &Path) -> Result<()> {
        self.validate()?;
        json::write_file(folder, FILE_NAME, &self.to_json_string()?)
    }

    fn asks_for_outputs(&self) -> bool {
        [
            self.output_attentions,
            self.output_hidden_states,
            self.output_scores,
            self.output_logits,
        ]
        .contains(&Some(true))
    }
}
