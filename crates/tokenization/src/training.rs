//! Training a tokenizer on texts.

use std::collections::HashMap;

use serde_json::{Value, json};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::BpeTrainer;
use tokenizers::models::unigram::UnigramTrainer;
use tokenizers::models::wordlevel::WordLevelTrainer;
use tokenizers::models::wordpiece::WordPieceTrainer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, PostProcessorWrapper};

use crate::backend::{self, Model};
use crate::{Result, TokenizationError, Tokenizer, post_processor};

/// How a tokenizer is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// How many tokens there should be, special ones included.
    pub vocab_size: usize,
    /// Special tokens that the new tokenizer has besides those of the old one.
    pub new_special_tokens: Vec<AddedToken>,
    /// New names of special tokens.
    pub special_tokens_map: HashMap<String, String>,
    /// Pairs and words that are rarer are not joined or taken.
    pub min_frequency: Option<u64>,
    /// How many different characters there may be at most; for BPE and WordPiece.
    pub limit_alphabet: Option<usize>,
    /// Characters that are taken even if the texts lack them.
    pub initial_alphabet: Vec<char>,
    /// The longest token in characters; for BPE and Unigram.
    pub max_token_length: Option<usize>,
    /// Which share of the pieces stays in each round; for Unigram.
    pub shrinking_factor: Option<f64>,
}

impl TrainOptions {
    /// With this many tokens, and the trainers' own values otherwise.
    pub fn new(vocab_size: usize) -> Self {
        Self {
            vocab_size,
            new_special_tokens: Vec::new(),
            special_tokens_map: HashMap::new(),
            min_frequency: None,
            limit_alphabet: None,
            initial_alphabet: Vec::new(),
            max_token_length: None,
            shrinking_factor: None,
        }
    }

    fn renamed(&self, token: &str) -> String {
        let new = self.special_tokens_map.get(token);
        new.map_or(token, String::as_str).to_owned()
    }
}

/// No vocabulary is larger.
const MAX_VOCAB_SIZE: usize = 1 << 22;

impl Tokenizer {
    /// Trains a tokenizer like this one on texts: the same pipeline and special tokens, and a new vocabulary. A blank one
    /// of a class is trained in the same way.
    ///
    /// BPE and WordLevel give the same vocabulary in each run. The pieces of Unigram and WordPiece are the same, but
    /// those of equal rank may come in another order.
    ///
    /// ```
    /// use transformers_tokenization::{GPT2Tokenizer, TrainOptions};
    ///
    /// let texts = ["hug hugs hugging", "pug pugs"];
    /// let options = TrainOptions::new(262);
    /// let trained = GPT2Tokenizer::default().train_new_from_iterator(texts.iter(), &options)?;
    /// assert_eq!(trained.tokenize("hugs", false)?, ["hug", "s"]);
    /// # Ok::<(), transformers_tokenization::TokenizationError>(())
    /// ```
    pub fn train_new_from_iterator<I, S>(&self, texts: I, options: &TrainOptions) -> Result<Self>
    where
        I: Iterator<Item = S> + Send,
        S: AsRef<str> + Send,
    {
        if !(1..=MAX_VOCAB_SIZE).contains(&options.vocab_size) {
            return Err(TokenizationError::InvalidOptions(format!(
                "`vocab_size` is {}; it has to be from 1 to {MAX_VOCAB_SIZE}",
                options.vocab_size
            )));
        }
        if !matches!(self.backend.get_model(), Model::Tokenizers(_)) {
            return Err(TokenizationError::InvalidOptions(
                "only BPE, Unigram, WordPiece and WordLevel pipelines can be trained; begin with a `TokenizerClass`"
                    .to_owned(),
            ));
        }
        let texts = not_empty(texts)?;
        let failed = TokenizationError::backend("training");
        let mut state: Value =
            serde_json::from_str(&self.backend_json()?).map_err(|error| failed(error.into()))?;
        let added = std::mem::replace(&mut state["added_tokens"], json!([]));
        let processor = state["post_processor"].take();
        let unknown = empty(&mut state, options);
        let mut backend: tokenizers::Tokenizer =
            serde_json::from_value(state.clone()).map_err(|error| failed(error.into()))?;
        let specials = specials(&added, &state, options);
        let mut trainer = trainer(&state, unknown, specials, options);
        backend.train(&mut trainer, texts).map_err(&failed)?;
        self.trained(backend, processor, options)
    }

    /// The settings of this tokenizer around what was trained.
    fn trained(
        &self,
        mut backend: tokenizers::Tokenizer,
        mut processor: Value,
        options: &TrainOptions,
    ) -> Result<Self> {
        post_processor::rename(&mut processor, &options.special_tokens_map);
        let missing = post_processor::resolve(&mut processor, &|token| backend.token_to_id(token));
        if let Some(token) = missing {
            return Err(TokenizationError::UnknownToken { token });
        }
        let failed = TokenizationError::backend("training");
        let processor: Option<PostProcessorWrapper> =
            serde_json::from_value(processor).map_err(|error| failed(error.into()))?;
        backend.with_post_processor(processor);
        let mut settings = self.settings.clone();
        settings.declared_tokens.clear();
        settings.declared_ids.clear();
        for token in settings.special_tokens.values_mut() {
            *token = options.renamed(token);
        }
        for token in &options.new_special_tokens {
            settings.extra_special_tokens.push(token.content.clone());
        }
        let named = settings.special_tokens.values();
        let missing = named.filter(|token| backend.token_to_id(token).is_none());
        settings.wanted_tokens = missing
            .map(|token| AddedToken::from(token.clone(), true).normalized(false))
            .collect();
        let backend = backend::from_tokenizers(backend).map_err(&failed)?;
        Self::new(backend, settings).map_err(&failed)
    }
}

/// The same texts; an error if none holds anything.
fn not_empty<I: Iterator<Item = S>, S: AsRef<str>>(
    mut texts: I,
) -> Result<std::iter::Chain<std::vec::IntoIter<S>, I>> {
    let mut first = Vec::new();
    for text in texts.by_ref() {
        let found = !text.as_ref().trim().is_empty();
        first.push(text);
        if found {
            return Ok(first.into_iter().chain(texts));
        }
    }
    Err(TokenizationError::InvalidOptions(
        "there is no text to train on: give one that holds more than spaces".to_owned(),
    ))
}

/// Removes the vocabulary; gives the unknown piece of a Unigram model, which has to stay.
fn empty(state: &mut Value, options: &TrainOptions) -> Option<String> {
    let model = &mut state["model"];
    let mut unknown = None;
    if model["type"] == "Unigram" {
        let id = model["unk_id"]
            .as_u64()
            .and_then(|id| usize::try_from(id).ok());
        let piece = id.and_then(|id| model["vocab"][id][0].as_str());
        unknown = piece.map(|piece| options.renamed(piece));
        if let Some(piece) = &unknown {
            model["unk_id"] = 0.into();
            model["vocab"] = json!([[piece, 0.0]]);
        }
    } else {
        model["vocab"] = json!({});
        if model["type"] == "BPE" {
            model["merges"] = json!([]);
        }
    }
    if let Some(token) = model["unk_token"].as_str() {
        model["unk_token"] = options.renamed(token).into();
    }
    unknown
}

/// The special tokens of the old tokenizer under their new names, and the new ones.
fn specials(added: &Value, state: &Value, options: &TrainOptions) -> Vec<AddedToken> {
    let all = state["model"]["type"] == "Unigram";
    let tokens = added.as_array().into_iter().flatten();
    let tokens = tokens.filter(|token| all || token["special"] == true);
    let flag = |token: &Value, name: &str| token[name] == true;
    tokens
        .map(|token| {
            let content = options.renamed(token["content"].as_str().unwrap_or_default());
            AddedToken::from(content, true)
                .single_word(flag(token, "single_word"))
                .lstrip(flag(token, "lstrip"))
                .rstrip(flag(token, "rstrip"))
                .normalized(flag(token, "normalized"))
        })
        .chain(options.new_special_tokens.iter().cloned())
        .collect()
}

fn trainer(
    state: &Value,
    unknown: Option<String>,
    specials: Vec<AddedToken>,
    options: &TrainOptions,
) -> TrainerWrapper {
    let model = &state["model"];
    let text = |key: &str| model[key].as_str().map(str::to_owned);
    let mut alphabet: Vec<char> = options.initial_alphabet.clone();
    if has_byte_level(&state["pre_tokenizer"]) {
        alphabet = ByteLevel::alphabet().into_iter().collect();
    }
    match model["type"].as_str() {
        Some("Unigram") => {
            let mut trainer = UnigramTrainer::builder();
            trainer
                .show_progress(false)
                .vocab_size(options.vocab_size as u32) // at most some millions
                .special_tokens(specials)
                .initial_alphabet(alphabet.into_iter().collect())
                .unk_token(unknown);
            if let Some(length) = options.max_token_length {
                trainer.max_piece_length(length);
            }
            if let Some(factor) = options.shrinking_factor {
                trainer.shrinking_factor(factor.clamp(0.01, 0.99));
            }
            trainer.build().expect("every field has a default").into()
        }
        Some("WordLevel") => {
            let mut trainer = WordLevelTrainer::builder();
            trainer
                .show_progress(false)
                .vocab_size(options.vocab_size)
                .special_tokens(specials);
            if let Some(frequency) = options.min_frequency {
                trainer.min_frequency(frequency);
            }
            trainer.build().expect("every field has a default").into()
        }
        Some("WordPiece") => {
            let mut trainer = WordPieceTrainer::builder()
                .show_progress(false)
                .vocab_size(options.vocab_size)
                .special_tokens(specials)
                .initial_alphabet(alphabet.into_iter().collect());
            if let Some(frequency) = options.min_frequency {
                trainer = trainer.min_frequency(frequency);
            }
            if let Some(limit) = options.limit_alphabet {
                trainer = trainer.limit_alphabet(limit);
            }
            trainer.build().into()
        }
        _ => {
            let mut trainer = BpeTrainer::builder()
                .show_progress(false)
                .vocab_size(options.vocab_size)
                .special_tokens(specials)
                .initial_alphabet(alphabet.into_iter().collect())
                .max_token_length(options.max_token_length);
            if let Some(frequency) = options.min_frequency {
                trainer = trainer.min_frequency(frequency);
            }
            if let Some(limit) = options.limit_alphabet {
                trainer = trainer.limit_alphabet(limit);
            }
            if let Some(prefix) = text("continuing_subword_prefix") {
                trainer = trainer.continuing_subword_prefix(prefix);
            }
            if let Some(suffix) = text("end_of_word_suffix") {
                trainer = trainer.end_of_word_suffix(suffix);
            }
            trainer.build().into()
        }
    }
}

fn has_byte_level(pre_tokenizer: &Value) -> bool {
    let parts = pre_tokenizer["pretokenizers"]
        .as_array()
        .into_iter()
        .flatten();
    pre_tokenizer["type"] == "ByteLevel"
        || parts.into_iter().any(|part| part["type"] == "ByteLevel")
}
