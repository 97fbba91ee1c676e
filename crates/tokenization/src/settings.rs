//! What the files beside a vocabulary say: `tokenizer_config.json`, `special_tokens_map.json` and the chat templates.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};
use tokenizers::AddedToken;
use transformers_hub::ModelFiles;

use crate::chat::ChatTemplates;
use crate::{Result, Side, TokenizationError, files};

/// The named special tokens that every tokenizer may have.
pub(crate) const STANDARD_TOKENS: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// Longer than any text: a `model_max_length` above it means that the model has none (the reference writes 1e30).
const NO_MAX_LENGTH: f64 = 1e20;

/// The settings of a tokenizer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// `tokenizer_config.json` as it was read, without the chat template: what is not known here is written back.
    pub values: Map<String, Value>,
    /// The contents of the named special tokens, by name: `bos_token`, and a model's own such as `image_token`.
    pub special_tokens: BTreeMap<String, String>,
    /// The tokens that the backend must know, besides its own: those of `added_tokens_decoder`, whose attributes count.
    pub declared_tokens: Vec<AddedToken>,
    /// The same tokens by their id.
    pub declared_ids: Vec<(u32, String)>,
    /// Further special tokens, named and unnamed: they are added where the backend does not know them.
    pub wanted_tokens: Vec<AddedToken>,
    /// The special tokens that have no name.
    pub extra_special_tokens: Vec<String>,
    /// The longest input in tokens.
    pub model_max_length: Option<usize>,
    /// The side that padding is put on, where it is said.
    pub padding_side: Option<Side>,
    /// The side that truncation removes from, where it is said.
    pub truncation_side: Option<Side>,
    /// The token type of padding.
    pub pad_token_type_id: u32,
    /// Whether decoding removes the spaces before punctuation.
    pub clean_up_spaces: bool,
    /// The chat templates.
    pub chat_templates: ChatTemplates,
}

impl Settings {
    /// Reads the settings from the model's files; none of them has to be there.
    pub fn from_files(files: &ModelFiles) -> Result<Self> {
        let mut settings = match JsonFile::find(files, "tokenizer_config.json")? {
            Some(file) => Self::from_config(&file)?,
            None => Self::default(),
        };
        if settings.declared_tokens.is_empty()
            && let Some(file) = JsonFile::find(files, "special_tokens_map.json")?
        {
            settings.read_special_tokens(&file)?;
        }
        if settings.declared_tokens.is_empty()
            && let Some(file) = JsonFile::find(files, "added_tokens.json")?
        {
            settings.read_added_tokens(&file)?;
        }
        if let Some(file) = JsonFile::find(files, "chat_template.json")? {
            settings.chat_templates = file.chat_templates("chat_template")?;
        }
        if let Some(templates) = template_files(files)? {
            settings.chat_templates = templates;
        }
        Ok(settings)
    }

    fn from_config(file: &JsonFile) -> Result<Self> {
        let declared = file.declared_tokens("added_tokens_decoder")?;
        let mut settings = Self {
            model_max_length: file.max_length("model_max_length")?,
            padding_side: file.side("padding_side")?,
            truncation_side: file.side("truncation_side")?,
            pad_token_type_id: file
                .get("pad_token_type_id")
                .and_then(|id| u32::try_from(id.as_u64()?).ok())
                .unwrap_or(0),
            clean_up_spaces: file.flag("clean_up_tokenization_spaces")?.unwrap_or(false),
            chat_templates: file.chat_templates("chat_template")?,
            declared_ids: declared
                .iter()
                .map(|(id, token)| (*id, token.content.clone()))
                .collect(),
            declared_tokens: declared.into_values().collect(),
            values: file.values.clone(),
            ..Self::default()
        };
        settings.values.remove("chat_template");
        settings.read_special_tokens(file)?;
        Ok(settings)
    }

    /// Takes the tokens of an object from token to id, the lowest id first. None is special, unless it is named.
    fn read_added_tokens(&mut self, file: &JsonFile) -> Result<()> {
        let id = |(token, id): (&String, &Value)| match id.as_u64() {
            Some(id) => Ok((id, token.clone())),
            None => Err(file.invalid(token, format!("{id} is not an id"))),
        };
        let tokens: BTreeMap<u64, String> = file.values.iter().map(id).collect::<Result<_>>()?;
        let tokens = tokens.into_values();
        let tokens = tokens.map(|token| AddedToken::from(token, false).normalized(false));
        self.wanted_tokens.splice(0..0, tokens); // their ids come first
        Ok(())
    }

    /// Takes the named and the further special tokens from `file`; a later file replaces the names of an earlier one.
    fn read_special_tokens(&mut self, file: &JsonFile) -> Result<()> {
        for (key, value) in &file.values {
            let standard = STANDARD_TOKENS.contains(&key.as_str());
            let own = key.ends_with("_token") && (value.is_string() || value.is_object());
            match (key.as_str(), value) {
                (_, Value::Null) if standard => {}
                _ if standard || own => self.name_token(key, file.token(key, value)?),
                ("extra_special_tokens" | "additional_special_tokens", Value::Object(named)) => {
                    for (name, value) in named {
                        self.name_token(name, file.token(name, value)?);
                    }
                }
                ("extra_special_tokens" | "additional_special_tokens", Value::Array(tokens)) => {
                    for value in tokens {
                        let token = file.token(key, value)?;
                        if !self.extra_special_tokens.contains(&token.content) {
                            self.extra_special_tokens.push(token.content.clone());
                        }
                        self.wanted_tokens.push(token);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Puts the named tokens into the order of their attributes, in which new ones get their ids.
    pub fn sort_wanted(&mut self) {
        let rank = |token: &AddedToken| {
            let name = |name: &&str| self.special_tokens.get(*name) == Some(&token.content);
            STANDARD_TOKENS.iter().position(name)
        };
        let mut wanted = std::mem::take(&mut self.wanted_tokens);
        wanted.sort_by_key(|token| rank(token).unwrap_or(usize::MAX));
        self.wanted_tokens = wanted;
    }

    pub fn name_token(&mut self, name: &str, token: AddedToken) {
        self.special_tokens
            .insert(name.to_owned(), token.content.clone());
        self.wanted_tokens.push(token);
    }
}

/// `chat_template.jinja` and `additional_chat_templates/*.jinja`; together they replace what the config says.
fn template_files(files: &ModelFiles) -> Result<Option<ChatTemplates>> {
    const FOLDER: &str = "additional_chat_templates/";
    let mut templates = BTreeMap::new();
    if let Some(path) = files.find("chat_template.jinja")? {
        templates.insert("default".to_owned(), files::read_text(&path)?);
    }
    for file in files.list()? {
        let name = file
            .strip_prefix(FOLDER)
            .and_then(|file| file.strip_suffix(".jinja"));
        if let Some(name) = name
            && let Some(path) = files.find(&file)?
        {
            templates.insert(name.to_owned(), files::read_text(&path)?);
        }
    }
    Ok((!templates.is_empty()).then(|| ChatTemplates::new(templates)))
}

/// A JSON object and the file it is in, for errors.
struct JsonFile {
    path: PathBuf,
    values: Map<String, Value>,
}

impl JsonFile {
    fn find(files: &ModelFiles, name: &str) -> Result<Option<Self>> {
        let Some(path) = files.find(name)? else {
            return Ok(None);
        };
        let text = files::read_text(&path)?;
        match serde_json::from_str(&text) {
            Ok(values) => Ok(Some(Self { path, values })),
            Err(error) => Err(TokenizationError::InvalidFile {
                reason: format!(
                    "not a JSON object: {error}; the file may be cut off, fetch it again"
                ),
                path,
            }),
        }
    }

    fn invalid(&self, key: &str, reason: impl Into<String>) -> TokenizationError {
        TokenizationError::InvalidKey {
            path: self.path.clone(),
            key: key.to_owned(),
            reason: reason.into(),
        }
    }

    /// The value under `key`; `null` is none.
    fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.get(key)
            .map(|value| {
                value
                    .as_bool()
                    .ok_or_else(|| self.invalid(key, format!("{value} is neither true nor false")))
            })
            .transpose()
    }

    fn side(&self, key: &str) -> Result<Option<Side>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(side)) if side == "left" => Ok(Some(Side::Left)),
            Some(Value::String(side)) if side == "right" => Ok(Some(Side::Right)),
            Some(other) => {
                Err(self.invalid(key, format!("{other} is neither \"left\" nor \"right\"")))
            }
        }
    }

    fn max_length(&self, key: &str) -> Result<Option<usize>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(length) if length >= 1.0 => {
                Ok((length <= NO_MAX_LENGTH).then_some(length as usize))
            }
            _ => Err(self.invalid(key, format!("{value} is not a length in tokens"))),
        }
    }

    /// A special token: its text, or an object with its attributes.
    fn token(&self, key: &str, value: &Value) -> Result<AddedToken> {
        if let Value::String(content) = value {
            return Ok(AddedToken::from(content.clone(), true));
        }
        let content = value.get("content").and_then(Value::as_str);
        let content = content.ok_or_else(|| {
            self.invalid(
                key,
                format!("{value} is neither a token's text nor an object with its `content`"),
            )
        })?;
        let is = |attribute: &str, default| {
            value
                .get(attribute)
                .and_then(Value::as_bool)
                .unwrap_or(default)
        };
        let special = is("special", true);
        Ok(AddedToken::from(content, special)
            .single_word(is("single_word", false))
            .lstrip(is("lstrip", false))
            .rstrip(is("rstrip", false))
            .normalized(is("normalized", !special)))
    }

    /// The tokens of an object from id to token, by ascending id.
    fn declared_tokens(&self, key: &str) -> Result<BTreeMap<u32, AddedToken>> {
        let tokens = match self.get(key) {
            None => return Ok(BTreeMap::new()),
            Some(Value::Object(tokens)) => tokens,
            Some(_) => return Err(self.invalid(key, "not an object from id to token")),
        };
        let mut by_id = BTreeMap::new();
        for (id, value) in tokens {
            let number: u32 = id
                .parse()
                .map_err(|_| self.invalid(key, format!("`{id}` is not an id")))?;
            by_id.insert(number, self.token(key, value)?);
        }
        Ok(by_id)
    }

    /// One template, or a list of named ones.
    fn chat_templates(&self, key: &str) -> Result<ChatTemplates> {
        let named = match self.get(key) {
            None => return Ok(ChatTemplates::default()),
            Some(Value::String(template)) => return Ok(ChatTemplates::single(template.clone())),
            Some(Value::Array(named)) => named,
            Some(_) => {
                return Err(self.invalid(key, "neither a template nor a list of named templates"));
            }
        };
        let text =
            |entry: &Value, field| entry.get(field).and_then(Value::as_str).map(str::to_owned);
        let templates = named
            .iter()
            .map(|entry| text(entry, "name").zip(text(entry, "template")))
            .collect::<Option<BTreeMap<_, _>>>();
        templates.map(ChatTemplates::new).ok_or_else(|| {
            self.invalid(key, "an entry of the list is without `name` or `template`")
        })
    }
}
