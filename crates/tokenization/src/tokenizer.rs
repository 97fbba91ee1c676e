//! The tokenizer: a backend of the `tokenizers` crate with the settings around it.

use std::ops::Not as _;
use std::sync::Arc;

use tokenizers::utils::truncation::TruncationDirection;
use tokenizers::{
    AddedToken, Encoding, ModelWrapper, PaddingDirection, PaddingParams, PostProcessorWrapper,
    TruncationParams,
};

use crate::ascii::AsciiPath;
use crate::backend::{Backend, Model};
use crate::chat::ChatTemplates;
use crate::encoding::encoding_failed;
use crate::mistral::{SettingsBuilder, Version};
use crate::normalizer::unless_stopped;
use crate::one_or_many::{Ids, Texts};
use crate::settings::Settings;
use crate::{
    ChatMessage, ChatTemplateOptions, DecodeStream, Result, Side, TokenizationError, added_tokens,
    checks, cleanup, surround,
};

/// Text to ids and back. Cheap to clone: the vocabulary is shared.
#[derive(Clone)]
pub struct Tokenizer {
    /// Without truncation and padding, which are options of a call, and without what is put around texts.
    pub(crate) backend: Arc<Backend>,
    /// The same for texts of ASCII, where the backend is simple enough; made anew whenever the backend changes.
    pub(crate) ascii: Option<Arc<AsciiPath>>,
    /// Puts special tokens around texts.
    pub(crate) post_processor: PostProcessorWrapper,
    /// What `tokenizer.json` says about truncation and padding, for saving.
    pub(crate) saved_truncation: Option<TruncationParams>,
    pub(crate) saved_padding: Option<PaddingParams>,
    pub(crate) settings: Settings,
    pub(crate) model_max_length: Option<usize>,
    pub(crate) padding_side: Side,
    pub(crate) truncation_side: Side,
    pub(crate) kind: Kind,
    /// What a conversation may ask of one of Mistral's models.
    pub(crate) model_settings: Option<Arc<SettingsBuilder>>,
    /// The file that the vocabulary is of, where it is not written as `tokenizer.json`.
    pub(crate) source: Option<Source>,
}

/// The backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tokenizers,
    SentencePiece,
    Plain,
    Mistral(Version),
}

/// A file of a vocabulary.
#[derive(Clone)]
pub(crate) struct Source {
    pub name: String,
    pub bytes: Arc<[u8]>,
}

impl Source {
    pub fn new(name: &str, bytes: Vec<u8>) -> Self {
        Self {
            name: name.to_owned(),
            bytes: bytes.into(),
        }
    }
}

impl Tokenizer {
    /// Puts the settings around a backend.
    pub(crate) fn new(mut backend: Backend, mut settings: Settings) -> tokenizers::Result<Self> {
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
        let post_processor = match backend.get_post_processor() {
            Some(processor) => processor.clone(),
            // So that the second text of a pair has its type.
            None => surround::bos_eos(None, None)?,
        };
        checks::model(backend.get_model())?;
        checks::post_processor(&serde_json::to_value(&post_processor)?)?;
        backend.with_post_processor(None::<PostProcessorWrapper>);
        let kind = match backend.get_model() {
            Model::Tokenizers(_) => Kind::Tokenizers,
            Model::Plain(_) => Kind::Plain,
            Model::SentencePiece(_) | Model::Ranks(_) => Kind::SentencePiece,
        };
        Ok(Self {
            kind,
            model_settings: None,
            source: None,
            post_processor,
            ascii: AsciiPath::new(&backend).map(Arc::new),
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

    /// The ids of a text, or of several, with the tokens that the model expects around them if `add_special_tokens`.
    ///
    /// A special token that stands in the text gets its id either way, except in Mistral's own tokenizers.
    ///
    /// ```no_run
    /// # use transformers_tokenization::AutoTokenizer;
    /// let tokenizer = AutoTokenizer::from_pretrained("bert-base-uncased")?;
    /// let ids: Vec<u32> = tokenizer.encode("one text", true)?;
    /// let rows: Vec<Vec<u32>> = tokenizer.encode(&["two", "texts"], true)?;
    /// let texts: Vec<String> = tokenizer.decode(&rows, true)?;
    /// # Ok::<(), transformers_tokenization::TokenizationError>(())
    /// ```
    pub fn encode<T: Texts>(&self, texts: T, add_special_tokens: bool) -> Result<T::Ids> {
        texts.encode(self, add_special_tokens)
    }

    /// The text of the ids, or the texts of several lists of them, without special tokens if `skip_special_tokens`.
    ///
    /// Bytes that are not valid UTF-8 become U+FFFD. Ids without a token are left out, as in the reference.
    pub fn decode<I: Ids>(&self, ids: I, skip_special_tokens: bool) -> Result<I::Texts> {
        ids.decode(self, skip_special_tokens)
    }

    pub(crate) fn encode_one(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>> {
        let encoding = match self.encode_ascii(text) {
            Some(encoding) => encoding,
            None => unless_stopped(|| self.backend.encode_fast(text, false)),
        };
        let encoding = encoding.map_err(encoding_failed)?;
        let encoding = self.surround(encoding, None, add_special_tokens)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// `None` where the text goes the backend's way.
    pub(crate) fn encode_ascii(&self, text: &str) -> Option<tokenizers::Result<Encoding>> {
        self.ascii.as_ref()?.encode(&self.backend, text)
    }

    pub(crate) fn decode_one(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
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
        self.settings.clean_up_spaces
            && matches!(
                self.backend.get_model(),
                Model::Tokenizers(ModelWrapper::BPE(_))
            )
            .not()
    }

    /// Renders a conversation with the chat template, as the model was trained to read it.
    ///
    /// The text holds the special tokens already: encode it without adding them, or use [`Tokenizer::apply_chat_template`].
    /// Mistral's own tokenizers have no template; what they would read is shown, and only `apply_chat_template` gives its ids.
    pub fn render_chat_template(
        &self,
        messages: &[ChatMessage],
        options: &ChatTemplateOptions,
    ) -> Result<String> {
        if let Kind::Mistral(_) = self.kind {
            return self.decode_one(&self.instruct()?.encode(messages, options)?, false);
        }
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

    /// The longest input in tokens that the model's files name.
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
    }

    /// The longest text in tokens, without what is put around it.
    pub fn max_len_single_sentence(&self) -> Option<usize> {
        self.room(false)
    }

    /// The longest pair of texts in tokens, without what is put around it.
    pub fn max_len_sentences_pair(&self) -> Option<usize> {
        self.room(true)
    }

    fn room(&self, pair: bool) -> Option<usize> {
        let reserved = self.num_special_tokens_to_add(pair);
        Some(self.model_max_length?.saturating_sub(reserved))
    }

    /// Puts the token that begins a text, and the one that ends it, around each text, or neither, in place of what the
    /// files say: the reference's `add_bos_token` and `add_eos_token`.
    pub fn with_bos_eos(mut self, bos: bool, eos: bool) -> Result<Self> {
        let token = |name: &str, wanted: bool| {
            if !wanted {
                return Ok(None);
            }
            let token = self.special_token(name).map(str::to_owned);
            let id = self.special_token_id(name);
            token.zip(id).map(Some).ok_or_else(|| {
                TokenizationError::InvalidOptions(format!(
                    "there is no `{name}` to put around texts; name one with `add_special_token`"
                ))
            })
        };
        let template = surround::bos_eos(token("bos_token", bos)?, token("eos_token", eos)?);
        self.post_processor =
            template.map_err(|error| TokenizationError::InvalidOptions(error.to_string()))?;
        Ok(self)
    }

    /// The side that padding is put on.
    pub fn padding_side(&self) -> Side {
        self.padding_side
    }

    /// The side that truncation removes from.
    pub fn truncation_side(&self) -> Side {
        self.truncation_side
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
