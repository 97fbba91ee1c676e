//! The bytes that each token stands for, which constrained generation matches against a grammar.

use std::collections::HashMap;

use serde_json::Value;

use crate::Tokenizer;
use crate::backend::Decoder;
use crate::byte_alphabet::BYTE_ALPHABET;

/// How a vocabulary spells bytes.
#[derive(Default)]
struct Spelling {
    /// Every character is a byte: this one.
    byte_level: Option<HashMap<char, u8>>,
    /// `<0xE2>` is a byte.
    byte_fallback: bool,
    /// What stands for a space.
    space: Option<char>,
    /// What begins a token that continues a word; others begin with a space.
    continuation: Option<String>,
}

impl Tokenizer {
    /// For every id, the bytes that its token adds to a text; `None` for special tokens and for ids without a token.
    ///
    /// A vocabulary that puts a space before a text's first word does so here too.
    pub fn token_bytes(&self) -> Vec<Option<Vec<u8>>> {
        let spelling = self.spelling();
        let added = self.added_tokens_decoder();
        let vocab = self.get_vocab();
        let len = vocab.values().max().map_or(0, |id| *id as usize + 1);
        let mut bytes = vec![None; len];
        for (token, id) in vocab {
            bytes[id as usize] = match added.get(&id) {
                Some(token) if token.special => None,
                Some(token) => Some(token.content.clone().into_bytes()),
                None if self.is_special_id(id) => None,
                None => spelling.bytes(&token),
            };
        }
        bytes
    }

    fn spelling(&self) -> Spelling {
        let mut spelling = Spelling::default();
        match self.backend.get_decoder() {
            Some(Decoder::Tokenizers(decoder)) => {
                // The crate keeps the fields of decoders to itself; their JSON has them.
                spelling.read(&serde_json::to_value(decoder).unwrap_or_default());
            }
            Some(Decoder::SentencePiece(_)) => {
                spelling.space = Some('\u{2581}');
                spelling.byte_fallback = true;
            }
            Some(Decoder::Plain(_)) | None => {}
        }
        spelling
    }
}

impl Spelling {
    fn read(&mut self, decoder: &Value) {
        let character = |value: &Value| value.as_str()?.chars().next();
        match decoder["type"].as_str() {
            Some("ByteLevel") => {
                self.byte_level = Some(BYTE_ALPHABET.iter().copied().zip(0..=255).collect());
            }
            Some("ByteFallback") => self.byte_fallback = true,
            Some("Metaspace") => self.space = character(&decoder["replacement"]),
            Some("Replace") if decoder["content"] == " " => {
                self.space = character(&decoder["pattern"]["String"]);
            }
            Some("WordPiece") => {
                self.continuation = decoder["prefix"].as_str().map(str::to_owned);
            }
            Some("Sequence") => {
                let parts = decoder["decoders"].as_array();
                parts.into_iter().flatten().for_each(|part| self.read(part));
            }
            _ => {}
        }
    }

    fn bytes(&self, token: &str) -> Option<Vec<u8>> {
        if let Some(bytes) = &self.byte_level {
            return token.chars().map(|c| bytes.get(&c).copied()).collect();
        }
        let byte = || {
            let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
            u8::from_str_radix(hex, 16).ok()
        };
        if self.byte_fallback
            && let Some(byte) = byte()
        {
            return Some(vec![byte]);
        }
        if let Some(prefix) = &self.continuation {
            let word = token.strip_prefix(prefix.as_str());
            return Some(
                word.map_or_else(|| format!(" {token}"), str::to_owned)
                    .into_bytes(),
            );
        }
        Some(match self.space {
            Some(space) => token.replace(space, " ").into_bytes(),
            None => token.as_bytes().to_vec(),
        })
    }
}
