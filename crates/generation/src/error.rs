//! What can go wrong while generating.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use transformers_config::ConfigError;
use transformers_hub::HubError;
use transformers_modeling::ModelError;
use transformers_tokenization::TokenizationError;

/// An error of a generation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum GenerateError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Tokenization(#[from] TokenizationError),
    #[error("the prompt is empty: give at least one token")]
    EmptyPrompt,
    #[error("the prompt has {len} tokens and the model's context holds {max}: shorten the prompt")]
    PromptTooLong { len: usize, max: usize },
    #[error(
        "`max_length` is {max} and the prompt alone has {prompt_len} tokens: raise it, or set `max_new_tokens`"
    )]
    NoRoom { prompt_len: usize, max: usize },
    #[error(
        "row {row} has padding inside or on the right: pad prompts on the left (`padding_side`) to generate"
    )]
    RightPadding { row: usize },
    #[error(
        "`{field}` is not supported yet: leave it out, of the call and of generation_config.json"
    )]
    Unsupported { field: &'static str },
    #[error("`{field}` is for models without an encoder: leave it out")]
    NotForEncoders { field: &'static str },
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error(
        "`{name}` has the shape {found:?}, and {expected} values are needed: it is not the detector of these keys"
    )]
    DetectorShape {
        name: String,
        found: Vec<usize>,
        expected: usize,
    },
    #[error(
        "a prompt cache is of one text: give one prompt without padding, to a model without an encoder, and leave \
         `use_cache` on"
    )]
    PromptCacheNeedsOnePrompt,
    #[error(
        "what this model keeps of a prompt cannot be taken out: generate without a prompt cache"
    )]
    PromptCacheUnsupported,
    #[error(
        "the prompt cache belongs to another model, or to other weights or another dtype of it: make it anew"
    )]
    PromptCacheOfOtherModel,
    #[error("{}: the prompt cache is damaged ({reason}): remove the file, and it is made anew", path.display())]
    PromptCacheDamaged { path: PathBuf, reason: String },
    #[error(
        "nothing says what the decoder begins with: set `decoder_start_token_id`, in the call or in generation_config.json"
    )]
    NoDecoderStart,
    #[error(
        "`decoder_start_token_id` has {found} tokens for {batch} prompts: give one, or one for each"
    )]
    DecoderStarts { found: usize, batch: usize },
    #[error(
        "`stop_strings`, `token_healing` and an assistant with another tokenizer need the model's own tokenizer: set \
         `GenerateOptions::tokenizer`"
    )]
    NoTokenizer,
    #[error("{count} sequences share one streamer: stream one at a time")]
    StreamerNeedsOneSequence { count: usize },
    #[error(
        "the model gave logits that are not numbers at step {step}: the weights are damaged, or too large for their \
         dtype"
    )]
    NotFinite { step: usize },
    #[error(
        "no token is left to choose at step {step}: the processors, or a constraint, remove all of them"
    )]
    NothingAllowed { step: usize },
    #[error(
        "an assistant or prompt lookup works for one sequence, not for {count} beams or rows: generate one at a time"
    )]
    AssistantNeedsOneSequence { count: usize },
    #[error("the grammar is refused: {0}")]
    Grammar(String),
    #[error(
        "a grammar needs a token that ends the text: the model's generation config names none (`eos_token_id`)"
    )]
    GrammarNeedsEos,
    #[error(
        "the text ended before its JSON was complete: raise `max_new_tokens`, or make the schema shorter"
    )]
    Incomplete,
    #[error("the text is not a value of the type: {0}")]
    NotOfType(#[source] serde_json::Error),
    #[error("beams are known at the end only: leave out the streamer, or set `num_beams` to 1")]
    StreamerWithBeams,
    #[error("`cache_implementation` is \"{name}\": it may be {known}")]
    CacheImplementation { name: String, known: &'static str },
    #[error("`cache_config` does not fit a quantised cache: {problem}")]
    CacheConfig { problem: String },
    #[error("this model has a cache of its own: leave out `cache_implementation`")]
    OwnCache,
    #[error("`{field}` of the batching config is 0: it is at least 1")]
    BatchingConfig { field: &'static str },
    #[error("an engine does not take models with an encoder: use `generate`")]
    NotBatched,
    #[error("`{field}` is not for requests of an engine: use `generate`, or leave it out")]
    NotInBatches { field: &'static str },
    #[error(
        "the prompt has {len} tokens, and all blocks of the engine hold {max}: raise `num_blocks` or `max_memory`"
    )]
    CacheTooSmall { len: usize, max: usize },
    #[error(
        "{max} sequences wait already: try again when some have ended, or raise `max_queue_size`"
    )]
    QueueFull { max: usize },
    #[error("the engine has stopped")]
    EngineStopped,
    #[error("the request ended in a panic: {0}")]
    Panicked(String),
    #[error("this model does not decode: it has no cache")]
    NotADecoder,
    #[error("the streamer failed: {0}")]
    Streamer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl GenerateError {
    pub(crate) fn file(path: &Path, reason: impl Display) -> Self {
        Self::File {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}
