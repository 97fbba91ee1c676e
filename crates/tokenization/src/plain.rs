//! A tokenizer around any function that splits a text: the reference's `PythonBackend`.

use std::collections::HashMap;
use std::sync::Arc;

use tokenizers::{AddedToken, Token};

use crate::backend::{self, Decoder, Model};
use crate::settings::Settings;
use crate::surround::{self, Part};
use crate::{Result, TokenizationError, Tokenizer};

/// What splits texts and knows the vocabulary. A [`PlainVocabulary`] is one of a map and a function.
pub trait Tokenize: Send + Sync {
    /// The tokens of a text that holds no added token.
    fn tokenize(&self, text: &str) -> Vec<String>;
    /// The id of a token.
    fn token_to_id(&self, token: &str) -> Option<u32>;
    /// The token of an id.
    fn id_to_token(&self, id: u32) -> Option<String>;
    /// How many tokens there are: new ones get ids from here on.
    fn vocab_size(&self) -> usize;
    /// The text of tokens; by default they are joined by spaces.
    fn join(&self, tokens: Vec<String>) -> String {
        tokens.join(" ")
    }
}

/// A vocabulary and a function that splits texts into its tokens.
pub struct PlainVocabulary<F> {
    ids: HashMap<String, u32>,
    tokens: HashMap<u32, String>,
    split: F,
}

impl<F: Fn(&str) -> Vec<String> + Send + Sync> PlainVocabulary<F> {
    /// A vocabulary, by token, and the function.
    pub fn new(ids: HashMap<String, u32>, split: F) -> Self {
        let tokens = ids.iter().map(|(token, id)| (*id, token.clone())).collect();
        Self { ids, tokens, split }
    }
}

impl<F: Fn(&str) -> Vec<String> + Send + Sync> Tokenize for PlainVocabulary<F> {
    fn tokenize(&self, text: &str) -> Vec<String> {
        (self.split)(text)
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        self.tokens.get(&id).cloned()
    }

    fn vocab_size(&self) -> usize {
        self.ids.len()
    }
}

/// What a plain tokenizer puts around a text or a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpecialTokensPattern {
    /// Nothing.
    #[default]
    None,
    /// `cls A sep`, `cls A sep B sep`.
    ClsSep,
    /// `A eos`, `A eos B eos`.
    Eos,
    /// `bos A`, `bos A bos B`.
    Bos,
    /// `bos A eos`, `bos A eos B eos`.
    BosEos,
    /// `cls A sep`, `cls A sep sep B sep`.
    ClsDoubleSep,
}

/// The model of a plain tokenizer.
pub(crate) struct Plain {
    pub tokenize: Box<dyn Tokenize>,
    unknown: Option<String>,
}

impl Plain {
    /// The tokens of a text. Their offsets are known where they stand in the text one after the other.
    pub fn tokens(&self, text: &str) -> tokenizers::Result<Vec<Token>> {
        let unknown = self.unknown.as_deref();
        let unknown = unknown.and_then(|token| self.tokenize.token_to_id(token));
        let mut start = 0;
        let mut found = Vec::new();
        for token in self.tokenize.tokenize(text) {
            let id = self
                .tokenize
                .token_to_id(&token)
                .or(unknown)
                .ok_or_else(|| {
                    format!("`{token}` is not in the vocabulary, which has no unknown token")
                })?;
            let rest = text[start..].trim_start();
            let from = text.len() - rest.len();
            let to = if rest.starts_with(token.as_str()) {
                start = from + token.len();
                start
            } else {
                from
            };
            found.push(Token::new(id, token, (from, to)));
        }
        Ok(found)
    }
}

/// Builds a tokenizer around a function.
///
/// ```
/// use transformers_tokenization::{PlainTokenizer, PlainVocabulary, SpecialTokensPattern};
///
/// let vocabulary = [("<unk>", 0), ("hello", 1), ("world", 2)];
/// let vocabulary = vocabulary.map(|(token, id)| (token.to_owned(), id)).into();
/// let words = |text: &str| text.split_whitespace().map(str::to_lowercase).collect();
/// let tokenizer = PlainTokenizer::new(PlainVocabulary::new(vocabulary, words))
///     .special_token("unk_token", "<unk>")
///     .special_token("eos_token", "</s>")
///     .pattern(SpecialTokensPattern::Eos)
///     .build()?;
/// assert_eq!(tokenizer.encode("Hello you</s>", true)?, [1, 0, 3, 3]);
/// assert_eq!(tokenizer.decode(&[1, 2, 3], true)?, "hello world");
/// # Ok::<(), transformers_tokenization::TokenizationError>(())
/// ```
pub struct PlainTokenizer {
    tokenize: Box<dyn Tokenize>,
    special_tokens: Vec<(String, AddedToken)>,
    pattern: SpecialTokensPattern,
    token_types: bool,
}

impl PlainTokenizer {
    /// Around this function and vocabulary.
    pub fn new(tokenize: impl Tokenize + 'static) -> Self {
        Self {
            tokenize: Box::new(tokenize),
            special_tokens: Vec::new(),
            pattern: SpecialTokensPattern::None,
            token_types: true,
        }
    }

    /// Names a special token, such as `unk_token`. It is added to the vocabulary if need be.
    pub fn special_token(self, name: &str, token: &str) -> Self {
        self.special_added_token(name, AddedToken::from(token, true).normalized(false))
    }

    /// Names a special token with its attributes.
    pub fn special_added_token(mut self, name: &str, token: AddedToken) -> Self {
        self.special_tokens.push((name.to_owned(), token));
        self
    }

    /// What is put around texts.
    pub fn pattern(mut self, pattern: SpecialTokensPattern) -> Self {
        self.pattern = pattern;
        self
    }

    /// Whether the second text of a pair has the token type 1 (as by default) or 0.
    pub fn token_types(mut self, differ: bool) -> Self {
        self.token_types = differ;
        self
    }

    /// The tokenizer. Fails where the pattern needs a token that is not named.
    pub fn build(self) -> Result<Tokenizer> {
        let unknown = self
            .special_tokens
            .iter()
            .find(|(name, _)| name == "unk_token");
        let plain = Arc::new(Plain {
            unknown: unknown.map(|(_, token)| token.content.clone()),
            tokenize: self.tokenize,
        });
        let build = || -> tokenizers::Result<_> {
            let mut backend =
                backend::from_model(Model::Plain(plain.clone()), Decoder::Plain(plain))?;
            let mut settings = Settings::default();
            for (name, token) in self.special_tokens {
                settings.name_token(&name, token);
            }
            // In the order of the named attributes, so that new ids are the reference's.
            settings.sort_wanted();
            crate::added_tokens::add(&mut backend, &settings)?;
            Ok((backend, settings))
        };
        let (mut backend, settings) = build().map_err(TokenizationError::backend("building"))?;
        let token = |name: &str| -> Result<surround::Token> {
            let token = settings.special_tokens.get(name).ok_or_else(|| {
                TokenizationError::InvalidOptions(format!(
                    "the pattern {:?} needs a `{name}`; name it",
                    self.pattern
                ))
            })?;
            let id = backend.token_to_id(token).unwrap_or_default();
            Ok((token.clone(), id))
        };
        let special = |name: &str| token(name).map(Part::Special);
        let (a, b) = (Part::A, Part::B);
        let (single, pair) = match self.pattern {
            SpecialTokensPattern::None => (vec![a.clone()], vec![a, b]),
            SpecialTokensPattern::Eos => {
                let eos = special("eos_token")?;
                (vec![a.clone(), eos.clone()], vec![a, eos.clone(), b, eos])
            }
            SpecialTokensPattern::Bos => {
                let bos = special("bos_token")?;
                (vec![bos.clone(), a.clone()], vec![bos.clone(), a, bos, b])
            }
            SpecialTokensPattern::ClsSep | SpecialTokensPattern::BosEos => {
                let [begin, end] = match self.pattern {
                    SpecialTokensPattern::BosEos => ["bos_token", "eos_token"],
                    _ => ["cls_token", "sep_token"],
                };
                let (begin, end) = (special(begin)?, special(end)?);
                (
                    vec![begin.clone(), a.clone(), end.clone()],
                    vec![begin, a, end.clone(), b, end],
                )
            }
            SpecialTokensPattern::ClsDoubleSep => {
                let (cls, sep) = (special("cls_token")?, special("sep_token")?);
                (
                    vec![cls.clone(), a.clone(), sep.clone()],
                    vec![cls, a, sep.clone(), sep.clone(), b, sep],
                )
            }
        };
        let template = surround::template(&single, &pair, u32::from(self.token_types))
            .map_err(|error| TokenizationError::InvalidOptions(error.to_string()))?;
        backend.with_post_processor(Some(template));
        Tokenizer::new(backend, settings).map_err(TokenizationError::backend("building"))
    }
}
