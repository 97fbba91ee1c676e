//! Encoding and decoding one text or many: what comes out mirrors what goes in.

use crate::encoding::in_parallel;
use crate::{Result, Tokenizer};

/// A text, which becomes a list of ids, or several, which become several lists.
pub trait Texts {
    /// `Vec<u32>`, or a vector of them.
    type Ids;

    /// Encodes by this tokenizer.
    fn encode(self, tokenizer: &Tokenizer, add_special_tokens: bool) -> Result<Self::Ids>;
}

/// Ids that become a text, or several lists of them, which become several texts. A single id counts as a list of one.
pub trait Ids {
    /// `String`, or a vector of them.
    type Texts;

    /// Decodes by this tokenizer.
    fn decode(self, tokenizer: &Tokenizer, skip_special_tokens: bool) -> Result<Self::Texts>;
}

impl Texts for &str {
    type Ids = Vec<u32>;

    fn encode(self, tokenizer: &Tokenizer, add_special_tokens: bool) -> Result<Self::Ids> {
        tokenizer.encode_one(self, add_special_tokens)
    }
}

impl Texts for &String {
    type Ids = Vec<u32>;

    fn encode(self, tokenizer: &Tokenizer, add_special_tokens: bool) -> Result<Self::Ids> {
        tokenizer.encode_one(self, add_special_tokens)
    }
}

impl<T: AsRef<str>> Texts for &[T] {
    type Ids = Vec<Vec<u32>>;

    fn encode(self, tokenizer: &Tokenizer, add_special_tokens: bool) -> Result<Self::Ids> {
        let texts: Vec<&str> = self.iter().map(AsRef::as_ref).collect();
        in_parallel(texts, |text| tokenizer.encode_one(text, add_special_tokens))
    }
}

impl<T: AsRef<str>> Texts for &Vec<T> {
    type Ids = Vec<Vec<u32>>;

    fn encode(self, tokenizer: &Tokenizer, add_special_tokens: bool) -> Result<Self::Ids> {
        self.as_slice().encode(tokenizer, add_special_tokens)
    }
}

impl<T: AsRef<str>, const N: usize> Texts for &[T; N] {
    type Ids = Vec<Vec<u32>>;

    fn encode(self, tokenizer: &Tokenizer, add_special_tokens: bool) -> Result<Self::Ids> {
        self.as_slice().encode(tokenizer, add_special_tokens)
    }
}

impl Ids for u32 {
    type Texts = String;

    fn decode(self, tokenizer: &Tokenizer, skip_special_tokens: bool) -> Result<Self::Texts> {
        tokenizer.decode_one(&[self], skip_special_tokens)
    }
}

impl Ids for &[u32] {
    type Texts = String;

    fn decode(self, tokenizer: &Tokenizer, skip_special_tokens: bool) -> Result<Self::Texts> {
        tokenizer.decode_one(self, skip_special_tokens)
    }
}

impl<const N: usize> Ids for &[u32; N] {
    type Texts = String;

    fn decode(self, tokenizer: &Tokenizer, skip_special_tokens: bool) -> Result<Self::Texts> {
        tokenizer.decode_one(self, skip_special_tokens)
    }
}

impl Ids for &Vec<u32> {
    type Texts = String;

    fn decode(self, tokenizer: &Tokenizer, skip_special_tokens: bool) -> Result<Self::Texts> {
        tokenizer.decode_one(self, skip_special_tokens)
    }
}

impl Ids for &[Vec<u32>] {
    type Texts = Vec<String>;

    fn decode(self, tokenizer: &Tokenizer, skip_special_tokens: bool) -> Result<Self::Texts> {
        let rows = self.iter();
        rows.map(|ids| tokenizer.decode_one(ids, skip_special_tokens))
            .collect()
    }
}

impl Ids for &Vec<Vec<u32>> {
    type Texts = Vec<String>;

    fn decode(self, tokenizer: &Tokenizer, skip_special_tokens: bool) -> Result<Self::Texts> {
        self.as_slice().decode(tokenizer, skip_special_tokens)
    }
}
