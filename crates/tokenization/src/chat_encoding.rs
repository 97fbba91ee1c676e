//! Conversations in ids.

use tokenizers::{
    Encoding, Model as _, NormalizedString, Normalizer as _, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer as _,
};

use crate::encoding::encoding_failed;
use crate::tokenizer::Kind;
use crate::{
    BatchEncoding, ChatMessage, ChatTemplateOptions, EncodeOptions, Inputs, Result, Tokenizer,
};

impl Tokenizer {
    /// Encodes a conversation into one row, as the model was trained to read it: rendered by the chat template and
    /// tokenised, or put together by Mistral's own rules. [`Tokenizer::render_chat_template`] gives the text instead.
    ///
    /// ```no_run
    /// use transformers_tokenization::{AutoTokenizer, ChatMessage, ChatTemplateOptions};
    ///
    /// let tokenizer = AutoTokenizer::from_pretrained("Qwen/Qwen3-0.6B")?;
    /// let options = ChatTemplateOptions { add_generation_prompt: true, ..Default::default() };
    /// let batch = tokenizer.apply_chat_template(&[ChatMessage::user("Hello!")], &options)?;
    /// let prompt: &[u32] = &batch.input_ids[0];
    /// # Ok::<(), transformers_tokenization::TokenizationError>(())
    /// ```
    pub fn apply_chat_template(
        &self,
        messages: &[ChatMessage],
        options: &ChatTemplateOptions,
    ) -> Result<BatchEncoding> {
        self.apply_chat_template_batch(&[messages], options, &EncodeOptions::default())
    }

    /// Encodes each conversation into a row, padded and truncated by the encoding's options; special tokens come from the
    /// template alone.
    pub fn apply_chat_template_batch(
        &self,
        conversations: &[impl AsRef<[ChatMessage]>],
        options: &ChatTemplateOptions,
        encode: &EncodeOptions,
    ) -> Result<BatchEncoding> {
        let encode = EncodeOptions {
            add_special_tokens: false,
            ..*encode
        };
        if let Kind::Mistral(_) = self.kind {
            let instruct = self.instruct()?;
            let row = |messages: &[ChatMessage]| -> Result<Encoding> {
                Ok(self.row_of_ids(instruct.encode(messages, options)?))
            };
            let rows = conversations.iter().map(|messages| row(messages.as_ref()));
            return self.rows_of(rows.collect::<Result<_>>()?, &encode);
        }
        if options.sanitize_control_tokens {
            let rows = conversations.iter().map(|messages| {
                let ids = self.sanitized_ids(messages.as_ref(), options)?;
                Ok(self.row_of_ids(ids))
            });
            return self.rows_of(rows.collect::<Result<_>>()?, &encode);
        }
        let templates = self.chat_templates();
        let special = &self.settings.special_tokens;
        let mut texts = Vec::new();
        let mut spans = Vec::new();
        for messages in conversations.iter().map(AsRef::as_ref) {
            if options.return_assistant_tokens_mask {
                let (text, found) = templates.render_with_spans(messages, options, special)?;
                texts.push(text);
                spans.push(found);
            } else {
                texts.push(templates.render(messages, options, special)?);
            }
        }
        let mut batch = self.call(Inputs::texts(&texts), &encode)?;
        if options.return_assistant_tokens_mask {
            let rows = (0..batch.len())
                .map(|row| mask(&batch, row, &spans[batch.overflow_to_sample_mapping[row]]));
            batch.assistant_masks = Some(rows.collect());
        }
        Ok(batch)
    }
}

impl Tokenizer {
    fn row_of_ids(&self, ids: Vec<u32>) -> Encoding {
        let token = |id: &u32| self.id_to_token(*id).unwrap_or_default();
        let tokens = ids.iter().map(token).collect();
        BatchEncoding::of_ids(ids, tokens)
    }

    /// The ids of a text in which nothing is an added token.
    pub(crate) fn encode_without_added_tokens(&self, text: &str) -> Result<Vec<u32>> {
        let failed = encoding_failed;
        let mut text = NormalizedString::from(text);
        if let Some(normalizer) = self.backend.get_normalizer() {
            normalizer.normalize(&mut text).map_err(failed)?;
        }
        let mut splits = PreTokenizedString::from(text.get());
        if let Some(pre_tokenizer) = self.backend.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut splits).map_err(failed)?;
        }
        let mut ids = Vec::new();
        for (split, _, _) in splits.get_splits(OffsetReferential::Original, OffsetType::Byte) {
            let tokens = self.backend.get_model().tokenize(split).map_err(failed)?;
            ids.extend(tokens.into_iter().map(|token| token.id));
        }
        Ok(ids)
    }
}

/// 1 for the tokens of these characters. As in the reference, a part that ends in the first token, or in none, reaches to
/// the end of the row.
fn mask(batch: &BatchEncoding, row: usize, spans: &[(usize, usize)]) -> Vec<u32> {
    let mut mask = vec![0; batch.input_ids[row].len()];
    for &(start, end) in spans {
        let Some(first) = batch.char_to_token(row, start, 0) else {
            break; // cut off
        };
        let last = batch
            .char_to_token(row, end - 1, 0)
            .filter(|last| *last > 0);
        let end = last.map_or(mask.len(), |last| last + 1);
        mask[first.min(end)..end].fill(1);
    }
    mask
}
