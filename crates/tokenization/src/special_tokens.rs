//! The vocabulary and its special tokens: by name, by id, and new ones.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tokenizers::{AddedToken, Decoder as _};

use crate::ascii::AsciiPath;
use crate::encoding::encoding_failed;
use crate::normalizer::unless_stopped;
use crate::settings::STANDARD_TOKENS;
use crate::{Result, TokenizationError, Tokenizer, added_tokens};

impl Tokenizer {
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

    /// The token that stands for what the vocabulary does not have.
    pub fn unk_token(&self) -> Option<&str> {
        self.special_token("unk_token")
    }

    /// The id of the token that stands for what the vocabulary does not have.
    pub fn unk_token_id(&self) -> Option<u32> {
        self.special_token_id("unk_token")
    }

    /// The token that separates two texts.
    pub fn sep_token(&self) -> Option<&str> {
        self.special_token("sep_token")
    }

    /// The id of the token that separates two texts.
    pub fn sep_token_id(&self) -> Option<u32> {
        self.special_token_id("sep_token")
    }

    /// The token that fills up shorter rows of a batch.
    pub fn pad_token(&self) -> Option<&str> {
        self.special_token("pad_token")
    }

    /// The id of the token that fills up shorter rows of a batch.
    pub fn pad_token_id(&self) -> Option<u32> {
        self.special_token_id("pad_token")
    }

    /// What `token_type_ids` are filled up with.
    pub fn pad_token_type_id(&self) -> u32 {
        self.settings.pad_token_type_id
    }

    /// The token that stands for a whole text.
    pub fn cls_token(&self) -> Option<&str> {
        self.special_token("cls_token")
    }

    /// The id of the token that stands for a whole text.
    pub fn cls_token_id(&self) -> Option<u32> {
        self.special_token_id("cls_token")
    }

    /// The token that stands for what a model should guess.
    pub fn mask_token(&self) -> Option<&str> {
        self.special_token("mask_token")
    }

    /// The id of the token that stands for what a model should guess.
    pub fn mask_token_id(&self) -> Option<u32> {
        self.special_token_id("mask_token")
    }

    /// The named special tokens, by name.
    pub fn special_tokens_map(&self) -> &BTreeMap<String, String> {
        &self.settings.special_tokens
    }

    /// The special tokens that have no name.
    pub fn extra_special_tokens(&self) -> &[String] {
        &self.settings.extra_special_tokens
    }

    /// Every special token, each once: the named ones in the order of their attributes, then those without a name.
    pub fn all_special_tokens(&self) -> Vec<&str> {
        let named = &self.settings.special_tokens;
        let standard = STANDARD_TOKENS.iter().filter_map(|name| named.get(*name));
        let own = named
            .iter()
            .filter(|(name, _)| !STANDARD_TOKENS.contains(&name.as_str()));
        let mut all: Vec<&str> = Vec::new();
        for token in standard
            .chain(own.map(|(_, token)| token))
            .chain(&self.settings.extra_special_tokens)
        {
            if !all.contains(&token.as_str()) {
                all.push(token);
            }
        }
        all
    }

    /// The ids of [`Tokenizer::all_special_tokens`].
    pub fn all_special_ids(&self) -> Vec<u32> {
        let tokens = self.all_special_tokens();
        tokens
            .into_iter()
            .filter_map(|token| self.token_to_id(token))
            .collect()
    }

    /// The id of a token.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.backend.token_to_id(token)
    }

    /// The token of an id, as the vocabulary spells it.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.backend.id_to_token(id)
    }

    /// The ids of tokens; one that is not in the vocabulary becomes the unknown token's.
    pub fn convert_tokens_to_ids(&self, tokens: &[impl AsRef<str>]) -> Vec<Option<u32>> {
        let id = |token: &str| self.token_to_id(token).or_else(|| self.unk_token_id());
        tokens.iter().map(|token| id(token.as_ref())).collect()
    }

    /// The tokens of ids, as the vocabulary spells them, without special ones if `skip_special_tokens`. Ids without a
    /// token are left out.
    pub fn convert_ids_to_tokens(&self, ids: &[u32], skip_special_tokens: bool) -> Vec<String> {
        let shown = ids
            .iter()
            .filter(|id| self.is_decoded(**id, skip_special_tokens));
        shown.filter_map(|id| self.id_to_token(*id)).collect()
    }

    /// The text of tokens, which need not be in the vocabulary.
    pub fn convert_tokens_to_string(&self, tokens: &[impl AsRef<str>]) -> Result<String> {
        let tokens: Vec<String> = tokens
            .iter()
            .map(|token| token.as_ref().to_owned())
            .collect();
        match self.backend.get_decoder() {
            _ if tokens.is_empty() => Ok(String::new()),
            None => Ok(tokens.join(" ")),
            Some(decoder) => decoder
                .decode(tokens)
                .map_err(TokenizationError::backend("decoding")),
        }
    }

    /// 1 for the ids of special tokens, 0 for others.
    pub fn get_special_tokens_mask(&self, ids: &[u32]) -> Vec<u32> {
        let special: HashSet<u32> = self.all_special_ids().into_iter().collect();
        ids.iter()
            .map(|id| u32::from(special.contains(id)))
            .collect()
    }

    /// The tokens of a text, as the vocabulary spells them.
    pub fn tokenize(&self, text: &str, add_special_tokens: bool) -> Result<Vec<String>> {
        let encoding = unless_stopped(|| self.backend.encode(text, false));
        let encoding = encoding.map_err(encoding_failed)?;
        Ok(self
            .surround(encoding, None, add_special_tokens)?
            .get_tokens()
            .to_vec())
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

    /// Every token and its id, added ones included.
    pub fn get_vocab(&self) -> HashMap<String, u32> {
        self.backend.get_vocab(true)
    }

    /// The added tokens and their ids.
    pub fn get_added_vocab(&self) -> HashMap<String, u32> {
        let added = self.backend.get_added_vocabulary().get_vocab();
        added
            .iter()
            .map(|(token, id)| (token.clone(), *id))
            .collect()
    }

    /// The added tokens and their attributes, by id.
    pub fn added_tokens_decoder(&self) -> BTreeMap<u32, AddedToken> {
        let added = self.backend.get_added_tokens_decoder();
        added.into_iter().collect()
    }

    /// Adds tokens, which are matched in texts before anything else; a special one is skipped in decoding. Gives how many
    /// are new to the vocabulary: a model's embeddings have to grow by as many.
    ///
    /// ```no_run
    /// # use transformers_tokenization::{AddedToken, AutoTokenizer};
    /// let mut tokenizer = AutoTokenizer::from_pretrained("gpt2")?;
    /// assert_eq!(tokenizer.add_tokens([AddedToken::from("<tool>", false)])?, 1);
    /// assert_eq!(tokenizer.add_special_token("pad_token", AddedToken::from("<pad>", true))?, 1);
    /// # Ok::<(), transformers_tokenization::TokenizationError>(())
    /// ```
    pub fn add_tokens(&mut self, tokens: impl IntoIterator<Item = AddedToken>) -> Result<usize> {
        let before = self.vocab_size();
        let tokens: Vec<AddedToken> = tokens.into_iter().collect();
        for token in tokens.iter().filter(|token| token.special) {
            let named = self
                .settings
                .special_tokens
                .values()
                .any(|other| *other == token.content);
            let extra = &mut self.settings.extra_special_tokens;
            if !named && !extra.contains(&token.content) {
                extra.push(token.content.clone());
            }
        }
        added_tokens::extend(Arc::make_mut(&mut self.backend), tokens)
            .map_err(TokenizationError::backend("adding tokens"))?;
        self.ascii = AsciiPath::new(&self.backend).map(Arc::new);
        Ok(self.vocab_size() - before)
    }

    /// Names a special token, such as `pad_token`, or a model's own such as `image_token`, and adds it. Gives 1 if it is
    /// new to the vocabulary.
    pub fn add_special_token(&mut self, name: &str, token: AddedToken) -> Result<usize> {
        let token = AddedToken {
            special: true,
            ..token
        };
        self.settings
            .special_tokens
            .insert(name.to_owned(), token.content.clone());
        self.add_tokens([token])
    }

    /// Takes the special tokens that have no name, and adds those that are new; the earlier ones stay in the vocabulary.
    pub fn set_extra_special_tokens(
        &mut self,
        tokens: impl IntoIterator<Item = AddedToken>,
    ) -> Result<usize> {
        self.settings.extra_special_tokens.clear();
        self.add_tokens(tokens.into_iter().map(|token| AddedToken {
            special: true,
            ..token
        }))
    }

    /// Whether special tokens that stand in a text are text like any other.
    pub fn with_split_special_tokens(mut self, split: bool) -> Self {
        Arc::make_mut(&mut self.backend).set_encode_special_tokens(split);
        self
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
}
