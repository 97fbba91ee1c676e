//! Conversations in ids.

use crate::tokenizer::Kind;
use crate::{BatchEncoding, ChatMessage, ChatTemplateOptions, Result, Tokenizer};

impl Tokenizer {
    /// Encodes a conversation into one row, as the model was trained to read it: rendered by the chat template and
    /// tokenised, or put together by Mistral's own rules.
    pub fn encode_chat(
        &self,
        messages: &[ChatMessage],
        options: &ChatTemplateOptions,
    ) -> Result<BatchEncoding> {
        if let Kind::Mistral(_) = self.kind {
            let ids = self.instruct()?.encode(messages, options)?;
            let tokens = ids.iter().map(|id| self.id_to_token(*id).unwrap_or_default()).collect();
            return Ok(BatchEncoding::new([(0, BatchEncoding::of_ids(ids, tokens))]));
        }
        let text = self.apply_chat_template(messages, options)?;
        let encoding = self
            .backend
            .encode_char_offsets(text.as_str(), false)
            .map_err(crate::TokenizationError::backend("encoding"))?;
        Ok(BatchEncoding::new([(0, self.surround(encoding, None, false)?)]))
    }
}
