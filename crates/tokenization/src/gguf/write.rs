//! A tokenizer as the metadata of a GGUF file: what is read here, and by llama.cpp.
//!
//! Such a file says less than `tokenizer.json`. What is written is therefore read back, and must give the same ids for
//! texts of many kinds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use serde_json::Value;
use tokenizers::{AddedToken, ModelWrapper};
use transformers_config::gguf::{GgufArray, GgufHeader, GgufValue};

use crate::backend::Model;
use crate::{Result, SentencePieceProcessor, TokenizationError, Tokenizer, merges};

use super::{CONTROL, SPECIAL_TOKENS, USER_DEFINED, split};

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// The score of a token that no merge makes.
const NEVER: f32 = -1e9;

/// What a file must give the same ids for.
const PROBE: &str = "Hello  world, it's 3 or 1234567 o'clock!\n\n\tDON'T  wait:\r\n   x = [1, 22];  // ok?\n\
                     \u{c9}t\u{e9} na\u{ef}ve stra\u{df}e \u{41f}\u{440}\u{438}\u{432}\u{435}\u{442} \u{4f60}\u{597d}\u{ff0c}\
                     \u{4e16}\u{754c} \u{3053}\u{3093} \u{645}\u{631}\u{62d}\u{628}\u{627} \u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947} \
                     \u{1f600}\u{1f469}\u{200d}\u{1f680} a_b.c@d 3.14 ....    --> end";

impl Tokenizer {
    /// The metadata of a GGUF file of an architecture (`llama`, `qwen2`, …) for a model whose embedding has `vocab_size`
    /// rows: each gets a token, of which those that the tokenizer lacks are called `[PAD7]`, as llama.cpp calls them.
    ///
    /// # Errors
    /// [`TokenizationError::NotInGguf`] if the tokenizer is of another kind than such files have, or has a token beyond
    /// the rows.
    pub fn to_gguf(
        &self,
        architecture: &str,
        vocab_size: usize,
    ) -> Result<Vec<(String, GgufValue)>> {
        let written = self.write_gguf(vocab_size).map_err(refused)?;
        self.check_same(architecture, &written)?;
        Ok(written)
    }

    fn write_gguf(&self, vocab_size: usize) -> Result<Vec<(String, GgufValue)>, String> {
        let tokens = self.tokens(vocab_size)?;
        let vocabulary = match self.backend.get_model() {
            Model::Tokenizers(ModelWrapper::BPE(bpe)) => {
                let model = serde_json::to_value(bpe).map_err(|error| error.to_string())?;
                match bpe.byte_fallback {
                    true => self.scored(&tokens, scores(&tokens, &model_merges(&model)?)?),
                    false => self.byte_level(&tokens, &model_merges(&model)?)?,
                }
            }
            Model::SentencePiece(model) if model.is_bpe() => {
                self.scored(&tokens, piece_scores(model, tokens.len()))
            }
            _ => return Err("its vocabulary is not one of byte pairs".into()),
        };
        let list = GgufArray::String(tokens.iter().map(|token| token.text.clone()).collect());
        let kinds = GgufArray::I32(tokens.iter().map(|token| token.kind).collect());
        let mut written = vocabulary;
        written.extend([
            pair("tokens", GgufValue::Array(list)),
            pair("token_type", GgufValue::Array(kinds)),
        ]);
        for (name, key) in SPECIAL_TOKENS {
            if let Some(id) = self.special_token_id(name) {
                written.push((key.to_owned(), GgufValue::U32(id)));
            }
        }
        let around = self.encode("", true).map_err(|error| error.to_string())?;
        let begins =
            self.bos_token_id().is_some() && around.first() == self.bos_token_id().as_ref();
        let rest = &around[usize::from(begins)..];
        let ends = self.eos_token_id().is_some() && rest.last() == self.eos_token_id().as_ref();
        written.extend([
            pair("add_bos_token", GgufValue::Bool(begins)),
            pair("add_eos_token", GgufValue::Bool(ends)),
        ]);
        let mut templates = self.chat_templates().iter();
        if let Some((_, template)) = templates.find(|(name, _)| *name == "default") {
            let key = "tokenizer.chat_template".to_owned();
            written.push((key, GgufValue::String(template.clone())));
        }
        Ok(written)
    }

    /// A token for each row.
    fn tokens(&self, vocab_size: usize) -> Result<Vec<Token>, String> {
        let pad = |id: usize| Token {
            text: format!("[PAD{id}]"),
            kind: UNUSED,
        };
        let mut tokens: Vec<Token> = (0..vocab_size).map(pad).collect();
        let added: BTreeMap<u32, AddedToken> = self.added_tokens_decoder();
        let kind = |id: u32, text: &str| match added.get(&id) {
            _ if Some(id) == self.unk_token_id() && self.spells_bytes() => UNKNOWN,
            Some(token) if token.special => CONTROL as i32,
            Some(_) => USER_DEFINED as i32,
            None if self.spells_bytes() && is_byte(text) => BYTE,
            None => NORMAL,
        };
        for (text, id) in self.get_vocab() {
            let place = tokens.get_mut(id as usize).ok_or_else(|| {
                format!("its token `{text}` has the id {id}, but the model only {vocab_size} rows")
            })?;
            let kind = kind(id, &text);
            *place = Token { text, kind };
        }
        Ok(tokens)
    }

    /// Whether unknown text becomes tokens such as `<0x0A>`.
    fn spells_bytes(&self) -> bool {
        match self.backend.get_model() {
            Model::Tokenizers(ModelWrapper::BPE(bpe)) => bpe.byte_fallback,
            Model::SentencePiece(_) => true,
            _ => false,
        }
    }

    fn byte_level(
        &self,
        tokens: &[Token],
        merges: &[(String, String)],
    ) -> Result<Vec<(String, GgufValue)>, String> {
        let splits = serde_json::to_value(self.backend.get_pre_tokenizer());
        let splits = splits.map_err(|error| error.to_string())?;
        let name = split::name(&splits)
            .ok_or("it splits texts in a way that has no name in such files")?;
        let known: HashSet<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
        let merge = |(left, right): &(String, String)| {
            let usable = known.contains(format!("{left}{right}").as_str());
            usable.then(|| format!("{left} {right}"))
        };
        let merges = merges.iter().filter_map(merge).collect();
        Ok(vec![
            pair("model", GgufValue::String("gpt2".into())),
            pair("pre", GgufValue::String(name.into())),
            pair("merges", GgufValue::Array(GgufArray::String(merges))),
        ])
    }

    fn scored(&self, tokens: &[Token], scores: Scores) -> Vec<(String, GgufValue)> {
        let first = self.encode("a", false).unwrap_or_default();
        let first = first.first().and_then(|id| self.id_to_token(*id));
        let space = first.is_some_and(|token| token.starts_with('▁'));
        let mut written = vec![
            pair("model", GgufValue::String("llama".into())),
            pair("pre", GgufValue::String("default".into())),
            pair("add_space_prefix", GgufValue::Bool(space)),
        ];
        let texts: Vec<String> = tokens.iter().map(|token| token.text.clone()).collect();
        let wide: Vec<f64> = scores.of_tokens.iter().map(|&score| score.into()).collect();
        let scored = GgufArray::F32(scores.of_tokens);
        written.push(pair("scores", GgufValue::Array(scored)));
        // llama.cpp merges by score alone.
        if let Some(merges) = scores.merges
            && merges != merges::from_scores(&texts, &wide)
        {
            let merge = |(left, right): (String, String)| format!("{left} {right}");
            let merges = GgufArray::String(merges.into_iter().map(merge).collect());
            written.push(pair("merges", GgufValue::Array(merges)));
        }
        written
    }

    fn check_same(&self, architecture: &str, written: &[(String, GgufValue)]) -> Result<()> {
        let mut metadata: BTreeMap<String, GgufValue> = written.iter().cloned().collect();
        let key = "general.architecture".to_owned();
        metadata.insert(key, GgufValue::String(architecture.to_owned()));
        let header = GgufHeader {
            version: 3,
            metadata,
            tensors: Vec::new(),
            data_offset: 0,
        };
        let read = super::tokenizer(&header, Path::new("what was written"))?;
        for text in [PROBE, "a", " a"] {
            if read.encode(text, true)? != self.encode(text, true)? {
                let shown: String = text.chars().take(12).collect();
                return Err(refused(format!(
                    "read from such a file, it would give other ids for {shown:?}…"
                )));
            }
        }
        Ok(())
    }
}

struct Token {
    text: String,
    kind: i32,
}

/// What says in which order tokens are made of others.
struct Scores {
    of_tokens: Vec<f32>,
    /// Where they are known beside the scores.
    merges: Option<Vec<(String, String)>>,
}

fn pair(name: &str, value: GgufValue) -> (String, GgufValue) {
    (format!("tokenizer.ggml.{name}"), value)
}

fn refused(reason: String) -> TokenizationError {
    TokenizationError::NotInGguf { reason }
}

fn is_byte(token: &str) -> bool {
    let digits = token
        .strip_prefix("<0x")
        .and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && u8::from_str_radix(digits, 16).is_ok())
}

fn model_merges(model: &Value) -> Result<Vec<(String, String)>, String> {
    let merges = model.get("merges").cloned().unwrap_or_default();
    serde_json::from_value(merges).map_err(|error| error.to_string())
}

/// The sooner a token is made, the better its score; of several ways to make it the first counts.
fn scores(tokens: &[Token], merges: &[(String, String)]) -> Result<Scores, String> {
    let mut ranks: HashMap<String, f32> = HashMap::new();
    for (rank, (left, right)) in merges.iter().enumerate() {
        let next = ranks.len();
        if rank >= 1 << f32::MANTISSA_DIGITS {
            return Err("it has more merges than scores can tell apart".into());
        }
        ranks
            .entry(format!("{left}{right}"))
            .or_insert(-(next as f32));
    }
    let score = |token: &Token| match token.kind {
        NORMAL => ranks.get(&token.text).copied().unwrap_or(NEVER),
        _ => 0.0,
    };
    Ok(Scores {
        of_tokens: tokens.iter().map(score).collect(),
        merges: Some(merges.to_vec()),
    })
}

fn piece_scores(model: &SentencePieceProcessor, count: usize) -> Scores {
    let score = |id: usize| {
        let id = u32::try_from(id).ok()?;
        model.score(id)
    };
    Scores {
        of_tokens: (0..count).map(|id| score(id).unwrap_or(NEVER)).collect(),
        merges: None,
    }
}
