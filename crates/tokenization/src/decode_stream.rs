//! Decoding ids as they come.
//!
//! The text of a token depends on its neighbours: a character may be spread over several tokens, and some vocabularies
//! put or drop a space at the beginning. So the ids since the last complete piece are decoded again with each new one,
//! together with the piece before them as context, and what is new at the end is given out as soon as nothing that
//! follows can change it.

use tokenizers::DecoderWrapper;

use crate::backend::Decoder;
use crate::{Result, Tokenizer, cleanup};

/// Turns ids into text piece by piece. The pieces together are what [`Tokenizer::decode`] makes of all ids, and no piece
/// ends within a character.
#[derive(Debug, Clone)]
pub struct DecodeStream {
    tokenizer: Tokenizer,
    skip_special_tokens: bool,
    /// Whether bytes without a token of their own are spelled by tokens such as `<0xE2>`.
    byte_fallback: bool,
    /// The ids whose text is not out yet, after those of the piece before.
    ids: Vec<u32>,
    /// How many of the ids are the piece before.
    context: usize,
    /// How many bytes of the text of `ids` are out.
    written: usize,
    /// Text that is decoded and that cleaning up may still change.
    pending: String,
}

impl DecodeStream {
    pub(crate) fn new(tokenizer: Tokenizer, skip_special_tokens: bool) -> Self {
        Self {
            byte_fallback: tokenizer
                .backend
                .get_decoder()
                .is_some_and(has_byte_fallback),
            tokenizer,
            skip_special_tokens,
            ids: Vec::new(),
            context: 0,
            written: 0,
            pending: String::new(),
        }
    }

    /// Takes the next id; gives the text that is complete with it, if any.
    ///
    /// An id without a token gives nothing, as in [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<Option<String>> {
        if !self.tokenizer.is_decoded(id, self.skip_special_tokens) {
            return Ok(None);
        }
        self.ids.push(id);
        if self.byte_fallback && self.is_byte(id) {
            // A run of bytes is decoded as a whole: if one of them is wrong, all become U+FFFD.
            return Ok(None);
        }
        let text = self.tokenizer.decode_raw(&self.ids)?;
        // Bytes of a character that is not complete yet show as one U+FFFD at the end.
        let complete = text
            .strip_suffix(char::REPLACEMENT_CHARACTER)
            .map_or(text.len(), str::len);
        let new = text.get(self.written..complete).unwrap_or_default();
        if complete == text.len() && !new.is_empty() {
            self.ids.drain(..self.context);
            self.context = self.ids.len();
            self.written = self.tokenizer.decode_raw(&self.ids)?.len();
        } else {
            self.written = self.written.max(complete);
        }
        self.pending += new;
        Ok(self.take_settled())
    }

    /// Ends the stream; gives the rest of the text, if any.
    pub fn finish(mut self) -> Result<Option<String>> {
        let text = self.tokenizer.decode_raw(&self.ids)?;
        self.pending += text.get(self.written..).unwrap_or_default();
        let rest = if self.tokenizer.cleans_up_spaces() {
            cleanup::clean_up_spaces(&self.pending)
        } else {
            self.pending
        };
        Ok(Some(rest).filter(|rest| !rest.is_empty()))
    }

    /// The part of the pending text that nothing can change any more.
    fn take_settled(&mut self) -> Option<String> {
        let settled = if self.tokenizer.cleans_up_spaces() {
            let cut = cleanup::safe_cut(&self.pending);
            cleanup::clean_up_spaces(&self.pending.drain(..cut).collect::<String>())
        } else {
            std::mem::take(&mut self.pending)
        };
        Some(settled).filter(|text| !text.is_empty())
    }

    fn is_byte(&self, id: u32) -> bool {
        let token = self.tokenizer.id_to_token(id).unwrap_or_default();
        token.len() == 6 && token.starts_with("<0x") && token.ends_with('>')
    }
}

fn has_byte_fallback(decoder: &Decoder) -> bool {
    match decoder {
        Decoder::Tokenizers(decoder) => decodes_bytes(decoder),
        Decoder::SentencePiece(_) => true,
        Decoder::Plain(_) => false,
    }
}

fn decodes_bytes(decoder: &DecoderWrapper) -> bool {
    match decoder {
        DecoderWrapper::ByteFallback(_) => true,
        DecoderWrapper::Sequence(sequence) => sequence.get_decoders().iter().any(decodes_bytes),
        _ => false,
    }
}
