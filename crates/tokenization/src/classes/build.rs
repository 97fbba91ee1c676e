//! From a definition and a vocabulary to a tokenizer.

use std::collections::HashMap;

use serde_json::{Value, json};
use tokenizers::{AddedToken, PostProcessorWrapper};

use super::{Definition, TokenizerClass, Vocabulary, spm};
use crate::backend::Backend;
use crate::settings::Settings;
use crate::{Result, Side, TokenizationError, Tokenizer, post_processor, surround};

/// What a class is given.
pub(super) struct Builder {
    class: TokenizerClass,
    vocab: Option<Vocabulary>,
    merges: Vec<(String, String)>,
    /// A SentencePiece character map, in base64.
    map: Option<String>,
    /// The id of the unknown piece that the vocabulary's file names.
    unk_id: Option<u32>,
    /// Special and user-defined tokens of the vocabulary's file.
    more_tokens: Vec<AddedToken>,
    /// What is put around texts, where a file says so.
    processor: Option<PostProcessorWrapper>,
    /// The added tokens of a `tokenizer.json`.
    file_tokens: Vec<AddedToken>,
    /// What `tokenizer_config.json` says.
    settings: Settings,
}

impl Builder {
    pub fn new(class: TokenizerClass) -> Self {
        Self {
            class,
            vocab: None,
            merges: Vec::new(),
            map: None,
            unk_id: None,
            more_tokens: Vec::new(),
            processor: None,
            file_tokens: Vec::new(),
            settings: Settings::default(),
        }
    }

    pub fn vocab(mut self, vocab: Vocabulary, merges: Vec<(String, String)>) -> Self {
        let definition = self.class.definition;
        let codes = &definition.extra_special_tokens;
        self.vocab = Some(match vocab {
            // One without its language codes is taken for that of a SentencePiece model.
            Vocabulary::Scores(pieces)
                if self.class.name == "MBart50Tokenizer"
                    && !pieces.iter().any(|(piece, _)| codes.contains(piece)) =>
            {
                Vocabulary::Scores(spm::ordered(self.class, pieces))
            }
            vocab => vocab,
        });
        self.merges = merges;
        self
    }

    pub fn map(mut self, map: Option<String>) -> Self {
        self.map = map;
        self
    }

    pub fn more_tokens(mut self, tokens: Vec<AddedToken>) -> Self {
        self.more_tokens = tokens;
        self
    }

    /// What else a `tokenizer.json` gives: what is put around texts, and added tokens. Where there is that file, Python
    /// does not look at `add_bos_token` and `add_eos_token`.
    pub fn pipeline(
        mut self,
        processor: Option<PostProcessorWrapper>,
        tokens: Vec<AddedToken>,
    ) -> Self {
        self.processor = processor;
        self.file_tokens = tokens;
        for key in ["add_bos_token", "add_eos_token"] {
            self.settings.values.remove(key);
        }
        self
    }

    pub fn unk_id(mut self, id: u32) -> Self {
        self.unk_id = Some(id);
        self
    }

    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    pub fn build(mut self) -> Result<Tokenizer> {
        let name = self.class.name;
        let invalid = move |reason: String| {
            TokenizationError::InvalidVocabulary(format!(
                "the vocabulary cannot be one of {name}: {reason}"
            ))
        };
        let renamed = self.renamed();
        let mut state = self.state().map_err(invalid)?;
        post_processor::rename(&mut state["model"]["unk_token"], &renamed);
        let mut backend =
            serde_json::from_value::<Backend>(state).map_err(|error| invalid(error.to_string()))?;
        crate::added_tokens::extend(&mut backend, std::mem::take(&mut self.file_tokens))
            .and_then(|()| crate::added_tokens::extend(&mut backend, self.added_tokens(&renamed)))
            .and_then(|()| crate::added_tokens::add(&mut backend, &self.settings))
            .map_err(|error| invalid(error.to_string()))?;
        self.fill_settings();
        let processor = match self.processor.take() {
            Some(processor) => Ok(Some(processor)),
            None => self.own_processor(&backend, &renamed),
        };
        backend.with_post_processor(processor.map_err(|error| invalid(error.to_string()))?);
        Tokenizer::new(backend, self.settings).map_err(|error| invalid(error.to_string()))
    }

    /// What the class puts around texts, or what the settings ask for.
    fn own_processor(
        &self,
        backend: &Backend,
        renamed: &HashMap<String, String>,
    ) -> serde_json::Result<Option<PostProcessorWrapper>> {
        let definition = self.class.definition;
        let mut processor = definition.post_processor.clone();
        post_processor::rename(&mut processor, renamed);
        if !definition.fixed_post_processor {
            let unknown = definition.special_tokens.get("unk_token");
            let unknown = unknown.map(|token| renamed.get(token).unwrap_or(token));
            let unknown = unknown.and_then(|token| backend.token_to_id(token));
            let id = |token: &str| backend.token_to_id(token).or(unknown);
            post_processor::resolve(&mut processor, &id);
        }
        match self.bos_eos(backend) {
            Some(template) => template.map(Some),
            None => serde_json::from_value(processor),
        }
    }

    /// The pipeline as `tokenizer.json` would hold it, without added tokens.
    fn state(&mut self) -> Result<Value, String> {
        let definition = self.class.definition;
        let mut model = definition.model.clone();
        model.insert("vocab".to_owned(), self.vocab_json()?);
        if definition.model_type() == "BPE" {
            model.insert("merges".to_owned(), json!(self.merges));
        }
        if definition.model_type() == "Unigram" {
            let unknown = self.unknown_id(&model["vocab"]);
            model.insert("unk_id".to_owned(), json!(unknown));
        }
        let normalizer = match (&self.map, &definition.normalizer_with_map) {
            (Some(map), Some(normalizer)) => with_map(normalizer, map),
            _ => definition.normalizer.clone(),
        };
        let mut state = json!({
            "version": "1.0",
            "normalizer": normalizer,
            "pre_tokenizer": definition.pre_tokenizer,
            "decoder": definition.decoder,
            "model": model,
        });
        follow(&self.settings, &mut state);
        Ok(state)
    }

    fn vocab_json(&self) -> Result<Value, String> {
        let definition = self.class.definition;
        let unigram = definition.model_type() == "Unigram";
        match &self.vocab {
            None if unigram => Ok(json!(definition.vocab)),
            None => {
                let counted = (0..).take(definition.vocab.len()).collect();
                let ids = definition.ids.as_ref().unwrap_or(&counted);
                let tokens = definition.vocab.iter().filter_map(Value::as_str);
                Ok(tokens
                    .zip(ids)
                    .map(|(token, id)| (token.to_owned(), json!(id)))
                    .collect())
            }
            Some(Vocabulary::Scores(scores)) if unigram => Ok(json!(scores)),
            Some(Vocabulary::Scores(scores)) => {
                let ids = scores.iter().zip(0u32..);
                Ok(ids
                    .map(|((token, _), id)| (token.clone(), json!(id)))
                    .collect())
            }
            Some(Vocabulary::Ids(ids)) if !unigram => Ok(json!(ids)),
            Some(Vocabulary::Ids(_)) => {
                Err("its pieces need scores; give a list of pieces with theirs".to_owned())
            }
        }
    }

    fn unknown_id(&self, vocab: &Value) -> Value {
        let definition = self.class.definition;
        if self.vocab.is_none() || !definition.unk_by_name {
            return definition.model["unk_id"].clone();
        }
        let unknown = definition
            .special_tokens
            .get("unk_token")
            .map(String::as_str);
        let pieces = vocab.as_array().into_iter().flatten();
        let position = pieces
            .map(|piece| piece[0].as_str())
            .position(|piece| piece == unknown);
        json!(position.map(|id| id as u32).or(self.unk_id).unwrap_or(0))
    }

    /// The class's special tokens that the settings name otherwise.
    fn renamed(&self) -> HashMap<String, String> {
        let definition = self.class.definition;
        let other = |(name, token): (&String, &String)| {
            let new = self.settings.special_tokens.get(name)?;
            let still = definition.special_tokens.iter().any(|(other, same)| {
                same == token && !self.settings.special_tokens.contains_key(other)
            });
            (new != token && !still).then(|| (token.clone(), new.clone()))
        };
        definition.special_tokens.iter().filter_map(other).collect()
    }

    /// What `add_bos_token` and `add_eos_token` ask for, where the settings have one of them.
    fn bos_eos(&self, backend: &Backend) -> Option<serde_json::Result<PostProcessorWrapper>> {
        let flag = |key: &str| self.settings.values.get(key).and_then(Value::as_bool);
        let (bos, eos) = (flag("add_bos_token"), flag("add_eos_token"));
        let token = |name: &str, wanted: Option<bool>| {
            let token = self
                .settings
                .special_tokens
                .get(name)
                .filter(|_| wanted == Some(true))?;
            Some((token.clone(), backend.token_to_id(token)?))
        };
        (bos.is_some() || eos.is_some())
            .then(|| surround::bos_eos(token("bos_token", bos), token("eos_token", eos)))
    }

    /// The class's tokens, with those of the file before the ones without a name.
    fn added_tokens(&self, renamed: &HashMap<String, String>) -> Vec<AddedToken> {
        let definition = self.class.definition;
        let named = &definition.special_tokens;
        let is_extra = |content: &String| {
            definition.extra_special_tokens.contains(content)
                && !named.values().any(|named| named == content)
        };
        let (extra, named): (Vec<_>, Vec<_>) = definition
            .added_tokens
            .iter()
            .partition(|token| is_extra(&token.content));
        let declared = |content: &String| {
            let tokens = self
                .settings
                .declared_tokens
                .iter()
                .chain(&self.settings.wanted_tokens);
            tokens
                .rev()
                .find(|token| token.content == *content)
                .cloned()
        };
        let mut tokens: Vec<AddedToken> = Vec::new();
        for token in named {
            let content = renamed.get(&token.content).unwrap_or(&token.content);
            let own = || AddedToken {
                content: content.clone(),
                ..token.token()
            };
            tokens.push(declared(content).unwrap_or_else(own));
        }
        let drops = definition.spm_drops_extra && !self.more_tokens.is_empty();
        let own = extra.iter().filter(|_| !drops).map(|token| token.token());
        for token in self.more_tokens.iter().cloned().chain(own) {
            if !tokens.iter().any(|known| known.content == token.content) {
                tokens.push(token);
            }
        }
        tokens
    }

    /// What the class says, where the settings of the files do not.
    fn fill_settings(&mut self) {
        let Self {
            class, settings, ..
        } = self;
        let definition: &Definition = class.definition;
        for (name, token) in &definition.special_tokens {
            if !settings.special_tokens.contains_key(name) {
                settings.special_tokens.insert(name.clone(), token.clone());
            }
        }
        let extra = &mut settings.extra_special_tokens;
        let special = self.more_tokens.iter().filter(|token| token.special);
        let special = special.map(|token| &token.content);
        for token in special.chain(&definition.extra_special_tokens) {
            if !extra.contains(token) {
                extra.push(token.clone());
            }
        }
        let side = match definition.padding_side.as_str() {
            "left" => Side::Left,
            _ => Side::Right,
        };
        settings.padding_side.get_or_insert(side);
        settings
            .values
            .insert("tokenizer_class".to_owned(), class.name.into());
    }
}

/// Puts a character map where the normaliser has room for one.
fn with_map(normalizer: &Value, map: &str) -> Value {
    let mut normalizer = normalizer.clone();
    let inner = normalizer["normalizers"].as_array_mut();
    let parts: Vec<&mut Value> = match inner {
        Some(parts) => parts.iter_mut().collect(),
        None => vec![&mut normalizer],
    };
    for part in parts {
        if part["type"] == "Precompiled" {
            part["precompiled_charsmap"] = map.into();
        }
    }
    normalizer
}

/// Arguments of the reference's constructors that older files name.
fn follow(settings: &Settings, state: &mut Value) {
    let flag = |key: &str| settings.values.get(key).and_then(Value::as_bool);
    if state["normalizer"]["type"] == "BertNormalizer" {
        for (key, field) in [
            ("do_lower_case", "lowercase"),
            ("strip_accents", "strip_accents"),
            ("tokenize_chinese_chars", "handle_chinese_chars"),
        ] {
            if let Some(value) = flag(key) {
                state["normalizer"][field] = value.into();
            }
        }
    }
    if state["pre_tokenizer"]["type"] == "ByteLevel"
        && let Some(value) = flag("add_prefix_space")
    {
        state["pre_tokenizer"]["add_prefix_space"] = value.into();
    }
}
