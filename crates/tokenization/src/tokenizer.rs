//! The tokenizer: a backend of the `tokenizers` crate with the settings around it.

use std::sync::Arc;

use tokenizers::utils::truncation::TruncationDirection;
use tokenizers::{AddedToken, ModelWrapper, PaddingDirection, PaddingParams, TruncationParams};

use crate::chat::ChatTemplates;
use crate::encoding::encoding_failed;
use crate::settings::Settings;
use crate::{
    ChatMessage, ChatTemplateOptions, DecodeStream, Result, Side, TokenizationError, added_tokens,
    cleanup, surround,
};

/// Text to ids and back. Cheap to clone: the vocabulary is shared.
#[derive(Clone)]
pub struct Tokenizer {
    /// Without truncation and padding, which are options of a call.
    pub(crate) backend: Arc<tokenizers::Tokenizer>,
    /// What `tokenizer.json` says about truncation and padding, for saving.
    pub(crate) saved_truncation: Option<TruncationParams>,
    pub(crate) saved_padding: Option<PaddingParams>,
    pub(crate) settings: Settings,
    pub(crate) model_max_length: Option<usize>,
    pub(crate) padding_side: Side,
    pub(crate) truncation_side: Side,
}

impl Tokenizer {
    /// Puts the settings around a backend.
    pub(crate) fn new(
        mut backend: tokenizers::Tokenizer,
        mut settings: Settings,
    ) -> tokenizers::Result<Self> {
        let saved_truncation = backend.get_truncation().cloned();
        let saved_padding = backend.get_padding().cloned();
        backend.with_truncation(None)?.with_padding(None);

        let padding_side = saved_padding
            .as_ref()
            .map(|padding| match padding.direction {
                PaddingDirection::Left => Side::Left,
                PaddingDirection::Right => Side::Right,
            });
        let truncation_side =
            saved_truncation
                .as_ref()
                .map(|truncation| match truncation.direction {
                    TruncationDirection::Left => Side::Left,
                    TruncationDirection::Right => Side::Right,
                });
        if let Some(padding) = &saved_padding
            && !settings.special_tokens.contains_key("pad_token")
        {
            settings.name_token("pad_token", AddedToken::from(&*padding.pad_token, true));
        }
        added_tokens::add(&mut backend, &settings)?;
        if backend.get_post_processor().is_none() {
            // So that the second text of a pair has its type.
            backend.with_post_processor(Some(surround::template(None, None)?));
        }
        Ok(Self {
            backend: Arc::new(backend),
            saved_truncation,
            saved_padding,
            model_max_length: settings.model_max_length,
            padding_side: settings.padding_side.or(padding_side).unwrap_or_default(),
            truncation_side: settings
                .truncation_side
                .or(truncation_side)
                .unwrap_or_default(),
            settings,
        })
    }

    /// The ids of a text, with the tokens that the model expects around it if `add_special_tokens`.
    ///
    /// A special token that stands in the text gets its id either way.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>> {
        let encoding = self
            .backend
            .encode_fast(text, add_special_tokens)
            .map_err(encoding_failed)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of the ids, without special tokens if `skip_special_tokens`.
    ///
    /// Bytes that are not valid UTF-8 become U+FFFD. Ids without a token are left out, as in the reference.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        let shown = |id: &u32| self.is_decoded(*id, skip_special_tokens);
        let kept: Vec<u32> = ids.iter().copied().filter(shown).collect();
        let text = self.decode_raw(&kept)?;
        Ok(if self.cleans_up_spaces() {
            cleanup::clean_up_spaces(&text)
        } else {
            text
        })
    }

    /// Decodes ids as they come, for streaming.
    pub fn decode_stream(&self, skip_special_tokens: bool) -> DecodeStream {
        DecodeStream::new(self.clone(), skip_special_tokens)
    }

    /// Whether decoding shows this id. One without a token is left out, as in the reference: the vocabulary of a model is
    /// often rounded up beyond that of its tokenizer.
    pub(crate) fn is_decoded(&self, id: u32, skip_special_tokens: bool) -> bool {
        self.backend.id_to_token(id).is_some() && !(skip_special_tokens && self.is_special_id(id))
    }

    /// Decodes known ids, all of them shown, without cleaning up.
    pub(crate) fn decode_raw(&self, ids: &[u32]) -> Result<String> {
        if ids.is_empty() {
            return Ok(String::new()); // one of the backend's decoders cannot
        }
        self.backend
            .decode(ids, false)
            .map_err(|error| TokenizationError::Backend {
                operation: "decoding",
                reason: error.to_string(),
            })
    }

    /// Cleaning up is meant for word pieces; in byte-pair vocabularies it would remove spaces of the text itself.
    pub(crate) fn cleans_up_spaces(&self) -> bool {
        self.settings.clean_up_spaces && !matches!(self.backend.get_model(), ModelWrapper::BPE(_))
    }

    /// Renders a conversation with the chat template, as the model was trained to read it.
    ///
    /// The text holds the special tokens already: encode it without adding them.
    pub fn apply_chat_template(
        &self,
        messages: &[ChatMessage],
        options: &ChatTemplateOptions,
    ) -> Result<String> {
        self.settings
            .chat_templates
            .render(messages, options, &self.settings.special_tokens)
    }

    /// Whether there is a chat template.
    pub fn has_chat_template(&self) -> bool {
        !self.chat_templates().is_empty()
    }

    pub(crate) fn chat_templates(&self) -> &ChatTemplates {
        &self.settings.chat_templates
    }

    /// The special token of this name, for instance `bos_token`, or a model's own such as `image_token`.
    pub fn special_token(&self, name: &str) -> Option<&str> {
        self.settings.special_tokens.get(name).map(String::as_str)
    }

    /// The id of the special token of this name.
    pub fn special_token_id(&self, name: &str) -> Option<u32> {
        self.token_to_id(self.special_token(name)?)
    }

    /// The token that begins a text.
    pub fn bos_token(&self) -> Option<&str> {
        self.special_token("bos_token")
    }

    /// The id of the token that begins a text.
    pub fn bos_token_id(&self) -> Option<u32> {
        self.special_token_id("bos_token")
    }

    /// The token that ends a text.
    pub fn eos_token(&self) -> Option<&str> {
        self.special_token("eos_token")
    }

    /// The id of the token that ends a text.
    pub fn eos_token_id(&self) -> Option<u32> {
        self.special_token_id("eos_token")
    }

    /// The token that fills up shorter rows of a batch.
    pub fn pad_token(&self) -> Option<&str> {
        self.special_token("pad_token")
    }

    /// The id of the token that fills up shorter rows of a batch.
    pub fn pad_token_id(&self) -> Option<u32> {
        self.special_token_id("pad_token")
    }

    /// The id of a token.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.backend.token_to_id(token)
    }

    /// The token of an id, as the vocabulary spells it.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.backend.id_to_token(id)
    }

    /// Whether the id is of a special token, such as the one that ends a text.
    pub fn is_special_id(&self, id: u32) -> bool {
        let token = self.backend.id_to_token(id);
        let added = self.backend.get_added_vocabulary();
        token.is_some_and(|token| added.is_special_token(&token))
    }

    /// How many tokens there are, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.backend.get_vocab_size(true)
    }

    /// The longest input in tokens that the model's files name.
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
    }

    /// The side that padding is put on.
    pub fn padding_side(&self) -> Side {
        self.padding_side
    }

    /// The side that truncation removes from.
    pub fn truncation_side(&self) -> Side {
        self.truncation_side
    }

    /// Takes `token` for padding; it has to be in the vocabulary.
    pub fn with_pad_token(mut self, token: &str) -> Result<Self> {
        if self.token_to_id(token).is_none() {
            return Err(TokenizationError::UnknownToken {
                token: token.to_owned(),
            });
        }
        self.settings
            .special_tokens
            .insert("pad_token".to_owned(), token.to_owned());
        Ok(self)
    }

    /// Pads on this side, unless a call says otherwise.
    pub fn with_padding_side(mut self, side: Side) -> Self {
        self.padding_side = side;
        self
    }

    /// Truncates on this side.
    pub fn with_truncation_side(mut self, side: Side) -> Self {
        self.truncation_side = side;
        self
    }

    /// Takes this as the longest input in tokens.
    pub fn with_model_max_length(mut self, length: usize) -> Self {
        self.model_max_length = Some(length);
        self
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("special_tokens", &self.settings.special_tokens)
            .field("model_max_length", &self.model_max_length)
            .field("padding_side", &self.padding_side)
            .field("truncation_side", &self.truncation_side)
            .field("chat_templates", &self.chat_templates())
            .finish_non_exhaustive()
    }
}
