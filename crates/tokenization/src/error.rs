//! What can go wrong between text and ids.

use std::path::PathBuf;

use transformers_config::ConfigError;
use transformers_hub::HubError;

/// The result of reading a tokenizer or of using one.
pub type Result<T, E = TokenizationError> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizationError {
    /// A file could not be found or fetched.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The header of a GGUF file could not be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Reading or writing failed.
    #[error("{operation} {} failed: {source}", path.display())]
    Io {
        /// What was being done, for instance `reading`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// There is no tokenizer among the model's files.
    #[error(
        "`{source_name}` has no tokenizer.json; save one with Python's \
         `AutoTokenizer.from_pretrained(…).save_pretrained(…)`, which writes it, or give the vocabulary's file to a \
         `TokenizerClass`"
    )]
    NoTokenizer {
        /// The model source as the user typed it.
        source_name: String,
    },
    /// The files are those of a tokenizer that is a program in Python.
    #[error(
        "the tokenizer is a `{class}`, which is a program in Python and not built in here; take a model with a \
         tokenizer.json, or write its split as a `PlainTokenizer`"
    )]
    CodedClass {
        /// The class.
        class: String,
    },
    /// A tokenizer file does not hold what it should.
    #[error("{}: {reason}", path.display())]
    InvalidFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A key of a tokenizer file has a value that cannot be used.
    #[error("{}: `{key}`: {reason}", path.display())]
    InvalidKey {
        /// The file.
        path: PathBuf,
        /// The key, as the file spells it.
        key: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A vocabulary that is not in a file does not hold what it should.
    #[error("{0}")]
    InvalidVocabulary(String),
    /// An id without a token was given where each needs one.
    #[error("the id {id} has no token: the vocabulary has {size}")]
    UnknownId {
        /// The id.
        id: u32,
        /// How many tokens there are.
        size: usize,
    },
    /// A message is not a JSON object.
    #[error(
        "a chat message must be a JSON object such as {{\"role\": \"user\", \"content\": \"…\"}}, found {found}"
    )]
    MessageNotAnObject {
        /// The kind of JSON value found.
        found: &'static str,
    },
    /// A token was named that the vocabulary does not have.
    #[error("`{token}` is not a token of this vocabulary; name one that is")]
    UnknownToken {
        /// The token.
        token: String,
    },
    /// Padding was asked of a tokenizer that has no padding token.
    #[error(
        "this tokenizer has no padding token, which a padded batch needs; set one with `with_pad_token`, for instance \
         the end-of-sequence token, or do not pad"
    )]
    NoPadToken,
    /// The encoding options contradict each other or the tokenizer.
    #[error("{0}")]
    InvalidOptions(String),
    /// The text could not be encoded or the ids not decoded.
    #[error("{operation} failed in the tokenizer: {reason}")]
    Backend {
        /// `encoding` or `decoding`.
        operation: &'static str,
        /// The backend's message.
        reason: String,
    },
    /// A tokenizer that a GGUF file cannot hold.
    #[error("the tokenizer cannot be written into a GGUF file: {reason}; write safetensors")]
    NotInGguf {
        /// What does not fit.
        reason: String,
    },
    /// The pattern that splits texts needs more steps on a text than are allowed.
    #[error(
        "splitting the text by `{pattern}` takes too many steps: the pattern tries too many ways; shorten the text, or \
         change the pattern in the tokenizer's file"
    )]
    PatternLimit {
        /// The pattern.
        pattern: String,
    },
    /// The tokenizer has no chat template, or none of the name asked for.
    #[error("{0}")]
    NoChatTemplate(String),
    /// A conversation without messages.
    #[error("a chat template needs at least one message; the conversation is empty")]
    EmptyConversation,
    /// A conversation is not one that the model can be given.
    #[error("this conversation cannot be encoded: {0}")]
    InvalidConversation(String),
    /// An answer, or the template of answers, is not as it should be.
    #[error("the answer cannot be parsed: {0}")]
    InvalidResponse(String),
    /// The chat template refused the conversation by `raise_exception`.
    #[error("the chat template refuses this conversation: {message}")]
    ChatRefused {
        /// The template's own message.
        message: String,
    },
    /// The chat template is not valid, or failed on this conversation.
    #[error("the chat template failed: {reason}")]
    ChatTemplate {
        /// What the template engine says, with the line.
        reason: String,
    },
    /// The chat template does more work or writes more text than any sensible one.
    #[error(
        "the chat template was stopped: it {what}; if the conversation is really that long, split it"
    )]
    ChatTemplateLimit {
        /// What it did too much.
        what: &'static str,
    },
    /// `continue_final_message` cannot be satisfied.
    #[error("cannot continue the final message: {reason}")]
    ContinueFinalMessage {
        /// Why.
        reason: String,
    },
}

impl TokenizationError {
    /// Turns the backend's errors into this one.
    pub(crate) fn backend(operation: &'static str) -> impl Fn(tokenizers::Error) -> Self {
        move |error| Self::Backend {
            operation,
            reason: error.to_string(),
        }
    }
}
