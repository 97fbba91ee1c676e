//! `tekken.json`: byte-pair ranks, special tokens before them, and the pattern that splits texts.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use serde::Deserialize;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{DecoderWrapper, SplitDelimiterBehavior, Token};

use super::model_settings::SettingsBuilder;
use super::{Version, special};
use crate::backend::{self, Backend, Decoder, Model};
use crate::byte_alphabet::BYTE_ALPHABET;
use crate::merging::merge;
use crate::tiktoken;

#[derive(Deserialize)]
struct File {
    config: Config,
    vocab: Vec<Entry>,
    special_tokens: Option<Vec<SpecialEntry>>,
    model_settings_builder: Option<SettingsBuilder>,
}

#[derive(Deserialize)]
struct Config {
    pattern: String,
    default_vocab_size: usize,
    default_num_special_tokens: usize,
    version: String,
}

#[derive(Deserialize)]
struct Entry {
    token_bytes: String,
}

#[derive(Deserialize)]
struct SpecialEntry {
    token_str: String,
}

/// The special tokens of files that do not list them.
const SPECIAL_TOKENS: [&str; 20] = [
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
];

/// Reads the file's content.
pub(super) fn read(bytes: &[u8]) -> Result<(Version, Option<SettingsBuilder>, Backend), String> {
    let file: File = serde_json::from_slice(bytes)
        .map_err(|error| format!("not a tekken vocabulary: {error}; fetch the file again"))?;
    let version = Version::parse(&file.config.version)?;
    if let Some(builder) = &file.model_settings_builder {
        if version < Version::V15 {
            return Err(
                "`model_settings_builder` stands in a file of a version without settings"
                    .to_owned(),
            );
        }
        builder.check()?;
    }
    let specials = special_tokens(&file, version)?;
    let size = file.config.default_vocab_size;
    let count = size
        .checked_sub(specials.len())
        .filter(|count| *count <= file.vocab.len() && u32::try_from(size).is_ok())
        .ok_or_else(|| {
            format!(
                "`default_vocab_size` is {size}, but there are {} special tokens and {} others",
                specials.len(),
                file.vocab.len()
            )
        })?;
    let tokens = file.vocab[..count]
        .iter()
        .map(|entry| tiktoken::from_base64(&entry.token_bytes))
        .collect::<Option<Vec<_>>>()
        .ok_or("a token of the vocabulary is not base64")?;
    let ranks = Ranks::new(specials.clone(), tokens)?;
    backend(ranks, &specials, &file.config.pattern)
        .map(|backend| (version, file.model_settings_builder, backend))
        .map_err(|error| format!("the pattern cannot be used: {error}"))
}

fn special_tokens(file: &File, version: Version) -> Result<Vec<String>, String> {
    let mut tokens: Vec<String> = match &file.special_tokens {
        Some(tokens) => tokens.iter().map(|token| token.token_str.clone()).collect(),
        None if version <= Version::V7 => SPECIAL_TOKENS.map(str::to_owned).to_vec(),
        None => return Err("the special tokens are not listed; fetch the file again".to_owned()),
    };
    let count = file.config.default_num_special_tokens;
    if count > 1 << 20 || tokens.len() > count {
        return Err(format!(
            "{} special tokens are listed, but there should be {count}",
            tokens.len()
        ));
    }
    tokens.extend((tokens.len()..count).map(|id| format!("<SPECIAL_{id}>")));
    if tokens.iter().collect::<HashSet<_>>().len() != tokens.len() {
        return Err("a special token is listed twice".to_owned());
    }
    Ok(tokens)
}

fn backend(ranks: Ranks, specials: &[String], pattern: &str) -> tokenizers::Result<Backend> {
    let split = Split::new(
        SplitPattern::Regex(pattern.to_owned()),
        SplitDelimiterBehavior::Isolated,
        false,
    )?;
    let bytes = ByteLevel::new(false, true, false);
    let decoder = Decoder::Tokenizers(DecoderWrapper::ByteLevel(ByteLevel::default()));
    let mut backend = backend::from_model(Model::Ranks(Arc::new(ranks)), decoder)?;
    backend.with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes.into()])));
    backend.add_tokens(specials.iter().map(|token| special(token)))?;
    Ok(backend)
}

/// Byte-pair ranks: the tokens in the order in which they were merged.
pub(crate) struct Ranks {
    /// Special tokens, whose ids come first.
    specials: Vec<String>,
    special_ids: HashMap<String, u32>,
    tokens: Vec<Vec<u8>>,
    ranks: HashMap<Vec<u8>, u32>,
}

impl Ranks {
    fn new(specials: Vec<String>, tokens: Vec<Vec<u8>>) -> Result<Self, String> {
        let ranks: HashMap<_, _> = tokens.iter().cloned().zip(0u32..).collect();
        if ranks.len() != tokens.len() {
            return Err("a token of the vocabulary is listed twice".to_owned());
        }
        if let Some(byte) = (0..=u8::MAX).find(|byte| !ranks.contains_key([*byte].as_slice())) {
            return Err(format!("the byte {byte} has no token"));
        }
        Ok(Self {
            special_ids: specials.iter().cloned().zip(0u32..).collect(),
            specials,
            tokens,
            ranks,
        })
    }

    /// The tokens of a text that is spelled in the byte alphabet.
    pub fn tokenize(&self, text: &str) -> Vec<Token> {
        let positions: Vec<usize> = text.char_indices().map(|(position, _)| position).collect();
        let position = |index: usize| positions.get(index).copied().unwrap_or(text.len());
        let bytes: Vec<u8> = bytes_of(text);
        let token = |range: std::ops::Range<usize>| {
            let rank = self.ranks.get(&bytes[range.clone()])?;
            let (start, end) = (position(range.start), position(range.end));
            let id = rank + self.specials.len() as u32;
            Some(Token::new(id, text[start..end].to_owned(), (start, end)))
        };
        if let Some(whole) = token(0..bytes.len()) {
            return vec![whole];
        }
        let merged = merge(
            (0..bytes.len()).map(|index| index..index + 1),
            |left, right| {
                let rank = self.ranks.get(&bytes[left.start..right.end])?;
                Some(-(*rank as f32)) // exact: vocabularies are far smaller than 2²⁴
            },
        );
        merged.into_iter().filter_map(token).collect()
    }

    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        if let Some(id) = self.special_ids.get(token) {
            return Some(*id);
        }
        let bytes = bytes_of(token);
        let rank = (bytes.len() == token.chars().count()).then(|| self.ranks.get(&bytes))?;
        rank.map(|rank| rank + self.specials.len() as u32)
    }

    pub fn id_to_token(&self, id: u32) -> Option<String> {
        let id = id as usize;
        if let Some(special) = self.specials.get(id) {
            return Some(special.clone());
        }
        let bytes = self.tokens.get(id - self.specials.len())?;
        Some(
            bytes
                .iter()
                .map(|byte| BYTE_ALPHABET[usize::from(*byte)])
                .collect(),
        )
    }

    pub fn vocab_size(&self) -> usize {
        self.specials.len() + self.tokens.len()
    }
}

/// The bytes of a text in the byte alphabet; other characters are left out.
fn bytes_of(text: &str) -> Vec<u8> {
    static BYTES: LazyLock<HashMap<char, u8>> =
        LazyLock::new(|| BYTE_ALPHABET.iter().copied().zip(0..=u8::MAX).collect());
    text.chars()
        .filter_map(|character| BYTES.get(&character).copied())
        .collect()
}
