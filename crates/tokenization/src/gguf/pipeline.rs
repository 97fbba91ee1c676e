//! The pipeline around a vocabulary of each kind.

use ahash::AHashMap;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, BpeBuilder};
use tokenizers::normalizers::{Prepend, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, NormalizerWrapper, Result, SplitDelimiterBehavior, Tokenizer};

use crate::byte_alphabet::BYTE_ALPHABET;
use crate::checks;

use super::{CONTROL, Kind, USER_DEFINED, Vocabulary, split};

/// Stands for a space in SentencePiece vocabularies.
const SPACE: char = '▁';

impl Vocabulary {
    /// The backend without added tokens.
    pub(super) fn pipeline(&self) -> Result<Tokenizer> {
        match self.kind {
            Kind::ByteLevel => self.byte_level(),
            Kind::Llama => self.llama(),
            Kind::Phi3 => self.phi3(),
            Kind::Gemma => self.gemma(),
        }
    }

    fn byte_level(&self) -> Result<Tokenizer> {
        let mut tokenizer = Tokenizer::new(self.merged(spell_bytes)?.build()?);
        tokenizer
            .with_pre_tokenizer(Some(split::pre_tokenizer(self.split.as_deref())?))
            .with_decoder(Some(ByteLevel::default()));
        Ok(tokenizer)
    }

    fn llama(&self) -> Result<Tokenizer> {
        let mut tokenizer = self.sentencepiece(None)?;
        let scheme = if self.space_prefix {
            PrependScheme::First
        } else {
            PrependScheme::Never
        };
        tokenizer.with_pre_tokenizer(Some(Metaspace::new(SPACE, scheme, false)));
        tokenizer.with_decoder(Some(sentencepiece_decoder(self.space_prefix)?));
        self.split_by_name(&mut tokenizer)?;
        Ok(tokenizer)
    }

    fn phi3(&self) -> Result<Tokenizer> {
        let mut tokenizer = self.sentencepiece(None)?;
        let normalizers: Vec<NormalizerWrapper> = vec![
            Prepend::new(SPACE.to_string()).into(),
            Replace::new(" ", SPACE.to_string())?.into(),
        ];
        tokenizer.with_normalizer(Some(Normalizers::new(normalizers)))?;
        tokenizer.with_decoder(Some(sentencepiece_decoder(true)?));
        self.split_by_name(&mut tokenizer)?;
        Ok(tokenizer)
    }

    fn gemma(&self) -> Result<Tokenizer> {
        let mut tokenizer = self.sentencepiece(Some("<unk>"))?;
        tokenizer.with_normalizer(Some(Replace::new(" ", SPACE.to_string())?))?;
        tokenizer.with_pre_tokenizer(Some(Split::new(
            SplitPattern::String(" ".to_owned()),
            SplitDelimiterBehavior::MergedWithPrevious,
            false,
        )?));
        tokenizer.with_decoder(Some(sentencepiece_decoder(false)?));
        self.split_by_name(&mut tokenizer)?;
        Ok(tokenizer)
    }

    fn sentencepiece(&self, unknown: Option<&str>) -> Result<Tokenizer> {
        let mut model = self
            .merged(str::to_owned)?
            .fuse_unk(true)
            .byte_fallback(true);
        if let Some(unknown) = unknown {
            model = model.unk_token(unknown.to_owned());
        }
        Ok(Tokenizer::new(model.build()?))
    }

    /// A split that the file names goes before the kind's own, in SentencePiece vocabularies too.
    fn split_by_name(&self, tokenizer: &mut Tokenizer) -> Result<()> {
        if let Some(name) = self.split.as_deref().filter(|name| split::is_known(name)) {
            tokenizer.with_pre_tokenizer(Some(split::pre_tokenizer(Some(name))?));
        }
        Ok(())
    }

    /// The model of the tokens, spelled like this, and the merges.
    fn merged(&self, spell: impl Fn(&str) -> String) -> Result<BpeBuilder> {
        let tokens = self.tokens.iter().map(|token| spell(token));
        let ids: AHashMap<String, u32> = tokens.zip(0..).collect();
        checks::merges(ids.keys().map(String::as_str), &self.merges, "")?;
        Ok(BPE::builder().vocab_and_merges(ids, self.merges.clone()))
    }

    /// Control tokens as special ones, and those that are matched whole. Neither makes the vocabulary larger: in a
    /// byte-level one, a token of other characters was spelled in bytes, so it is an ordinary one under a wrong label.
    pub(super) fn added_tokens(&self, backend: &Tokenizer) -> Vec<AddedToken> {
        let of_type = |wanted| {
            self.tokens
                .iter()
                .zip(&self.token_types)
                .filter(move |&(token, &kind)| {
                    kind == wanted && backend.token_to_id(token).is_some()
                })
                .map(move |(token, _)| {
                    AddedToken::from(token.clone(), wanted == CONTROL).normalized(false)
                })
        };
        of_type(CONTROL).chain(of_type(USER_DEFINED)).collect()
    }
}

/// The token itself if it is spelled in GPT-2's alphabet, as nearly all are, and otherwise its bytes so spelled.
fn spell_bytes(token: &str) -> String {
    if token
        .chars()
        .all(|character| BYTE_ALPHABET.contains(&character))
    {
        return token.to_owned();
    }
    token
        .bytes()
        .map(|byte| BYTE_ALPHABET[usize::from(byte)])
        .collect()
}

/// Spaces for their sign, bytes for `<0x..>`, one text, and without the space that was put before it.
fn sentencepiece_decoder(strip_space: bool) -> Result<DecoderWrapper> {
    let mut decoders: Vec<DecoderWrapper> = vec![
        Replace::new(SPACE.to_string(), " ")?.into(),
        ByteFallback::new().into(),
        Fuse::new().into(),
    ];
    if strip_space {
        decoders.push(Strip::new(' ', 1, 0).into());
    }
    Ok(tokenizers::decoders::sequence::Sequence::new(decoders).into())
}
