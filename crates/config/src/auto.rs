//! The configuration of any model: the tree of `config.json` in v5 form, typed on demand.

use std::path::Path;

use serde_json::{Map, Value, json};
use transformers_hub::{HubOptions, ModelFiles, ModelSource};

use crate::base::{PRIVATE_KEYS, dtype_name};
use crate::generation::GENERATION_KEYS;
use crate::gguf::GgufHeader;
use crate::models::{self, Family};
use crate::wrappers::{Ties, wrapper};
use crate::{
    BaseConfig, ConfigError, ModelConfig, ProblemType, REFERENCE_VERSION, Result, checks,
    gguf_config, json, layer_types,
};

/// The file that a model's configuration is in.
const FILE_NAME: &str = "config.json";

/// Where a wrapper's configuration keeps that of its text model.
const TEXT_CONFIG: &str = "text_config";

/// The configuration of a model of any family, with all of its keys.
///
/// Keys that older releases wrote are in v5 form: `torch_dtype` is `dtype`, rope settings are in `rope_parameters`,
/// former names of layer types are replaced. [`typed`](Self::typed) makes a family's own struct of it, whether the
/// family belongs to this library or not.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoConfig {
    tree: Map<String, Value>,
    model_type: String,
    architectures: Vec<String>,
}

impl AutoConfig {
    /// Finds and reads the configuration of the model at `source`.
    ///
    /// # Errors
    /// If the model is not found, has no configuration, or one that is no `config.json` of a model.
    pub fn from_pretrained(source: impl Into<ModelSource>) -> Result<Self> {
        Self::from_pretrained_with(source, &HubOptions::default())
    }

    /// As [`AutoConfig::from_pretrained`], with options for where files come from.
    ///
    /// # Errors
    /// As [`AutoConfig::from_pretrained`].
    pub fn from_pretrained_with(
        source: impl Into<ModelSource>,
        options: &HubOptions,
    ) -> Result<Self> {
        Self::from_files(&ModelFiles::resolve(source, options)?)
    }

    /// Reads `config.json`, or the metadata where the model is a GGUF file.
    ///
    /// # Errors
    /// If there is no configuration, or it cannot be read; the message names the file.
    pub fn from_files(files: &ModelFiles) -> Result<Self> {
        if let Some(path) = files.gguf()? {
            return Self::from_gguf_file(&path);
        }
        let path = files
            .find(FILE_NAME)?
            .ok_or_else(|| ConfigError::NoConfig {
                source_name: files.source().to_string(),
            })?;
        json::read_object(&path)
            .and_then(Self::from_object)
            .map_err(|error| error.in_file(&path))
    }

    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// If it is not a JSON object, or has no `model_type`.
    pub fn from_json_str(text: &str) -> Result<Self> {
        Self::from_value(json::parse(text)?)
    }

    /// Takes the tree of a `config.json`.
    ///
    /// # Errors
    /// If it is not an object, or has no `model_type`.
    pub fn from_value(value: Value) -> Result<Self> {
        Self::from_object(json::object(value)?)
    }

    /// Reads the metadata of a GGUF file. Divisors of the rope frequencies (llama 3.1 and later) are tensor data, which
    /// only [`from_gguf_file`](Self::from_gguf_file) can see.
    ///
    /// # Errors
    /// If the architecture is not one that is read, or a key is missing or has a value that makes no model.
    pub fn from_gguf(header: &GgufHeader) -> Result<Self> {
        Self::from_object(gguf_config::to_object(header)?)
    }

    /// Reads the metadata of the GGUF file at `path`, and the divisors of the rope frequencies if it has them.
    ///
    /// # Errors
    /// As [`from_gguf`](Self::from_gguf), and if the file cannot be read or is damaged; the message names it.
    pub fn from_gguf_file(path: &Path) -> Result<Self> {
        let header = GgufHeader::open(path)?;
        let read = || {
            let mut object = gguf_config::to_object(&header)?;
            gguf_config::read_rope_divisors(path, &header, &mut object)?;
            Self::from_object(object)
        };
        read().map_err(|error| error.in_file(path))
    }

    /// The tree of a family's typed configuration, with every field that the reference would write.
    ///
    /// # Errors
    /// If a number has no place in JSON.
    pub fn from_typed<C: ModelConfig>(config: &C) -> Result<Self> {
        let mut tree = json::to_object(config)?;
        tree.insert("model_type".into(), C::MODEL_TYPE.into());
        Self::from_object(tree)
    }

    /// The tree with every field that the reference would write, as far as the family is one of this crate's.
    ///
    /// # Errors
    /// If a value is not one that the family can have.
    pub fn completed(&self) -> Result<Self> {
        match models::family(&self.model_type) {
            Some(Family::Plain { complete, .. }) => complete(self),
            _ => Ok(self.clone()),
        }
    }

    /// The configuration of the text model within a wrapper's; `None` where there is none.
    ///
    /// # Errors
    /// If it is not the configuration of a model.
    pub fn text_config(&self) -> Result<Option<Self>> {
        if !self.tree.get(TEXT_CONFIG).is_some_and(Value::is_object) {
            return Ok(None);
        }
        let mut text = self.wrapped_text_config()?;
        text.entry("model_type")
            .or_insert_with(|| match wrapper(&self.model_type) {
                Some(wrapper) => wrapper.text.into(),
                None => format!("{}_text", self.model_type).into(),
            });
        Self::from_object(text).map(Some)
    }

    fn from_object(mut tree: Map<String, Value>) -> Result<Self> {
        let model_type = match tree.get("model_type") {
            Some(Value::String(name)) if !name.is_empty() => name.clone(),
            None | Some(Value::Null) => return Err(ConfigError::NoModelType),
            Some(other) => {
                return Err(ConfigError::invalid(
                    "model_type",
                    format!("{other} is not a name"),
                ));
            }
        };
        standardize(&mut tree)?;
        match models::family(&model_type) {
            Some(Family::Plain { standardize, .. }) => standardize(&mut tree)?,
            Some(Family::Wrapper { standardize_text }) => {
                if let Some(Value::Object(text)) = tree.get_mut(TEXT_CONFIG) {
                    standardize_text(text)?;
                }
            }
            None => {}
        }
        let architectures = match tree.get("architectures") {
            None | Some(Value::Null) => Vec::new(),
            Some(names) => json::typed(names.clone()).map_err(|_| {
                ConfigError::invalid("architectures", "expected a list of class names")
            })?,
        };
        Ok(Self {
            tree,
            model_type,
            architectures,
        })
    }

    /// `model_type`, which selects the family.
    pub fn model_type(&self) -> &str {
        &self.model_type
    }

    /// The classes that the weights were saved from.
    pub fn architectures(&self) -> &[String] {
        &self.architectures
    }

    /// The dtype of the weights as the file states it, for instance `bfloat16`.
    pub fn dtype(&self) -> Option<&str> {
        let stated = |tree: &'_ Map<String, Value>| {
            tree.get("dtype")
                .is_some_and(|dtype| dtype_name(dtype).is_some())
        };
        let tree = std::iter::once(&self.tree)
            .chain(self.decoder())
            .find(|tree| stated(tree))?;
        dtype_name(tree.get("dtype")?)
    }

    /// The value under a top-level `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.tree.get(key)
    }

    /// Sets a top-level `key`, for instance to change an option before a model is built.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        self.tree.insert(key.into(), value.into());
    }

    /// Sets the dtype of the weights, here and in the configurations that are part of this one.
    pub fn set_dtype(&mut self, name: &str) {
        self.set("dtype", name);
        let parts = self.tree.values_mut().filter_map(Value::as_object_mut);
        for part in parts.filter(|part| part.contains_key("model_type")) {
            part.insert("dtype".into(), name.into());
        }
    }

    /// Whether the output layer shares the input embedding's weights. Where the reference's class of a wrapper says which
    /// of the two configurations counts, that one does.
    pub fn tie_word_embeddings(&self) -> bool {
        let text = self.tree.get(TEXT_CONFIG).and_then(Value::as_object);
        let whole = stated_tie(&self.tree, &self.model_type);
        let Some(wrapper) = wrapper(&self.model_type) else {
            let stated = whole.or_else(|| stated_tie(text?, ""));
            return stated.unwrap_or_else(|| tied_by_default(&self.model_type).unwrap_or(true));
        };
        let by_text = || {
            let model_type = text.and_then(|text| text.get("model_type")?.as_str());
            let model_type = model_type.unwrap_or(wrapper.text);
            text.and_then(|text| stated_tie(text, model_type))
                .or_else(|| tied_by_default(model_type))
                .unwrap_or(false)
        };
        match wrapper.ties {
            Ties::Whole(default) => whole.unwrap_or(default),
            Ties::Either => whole == Some(true) || by_text(),
            Ties::WholeOrText => whole.unwrap_or_else(by_text),
            Ties::Text => by_text(),
            Ties::Never => false,
        }
    }

    /// The method by which the weights are quantised, if they are; `unknown` where it is not named.
    pub fn quantization_method(&self) -> Option<&str> {
        let text = self.tree.get(TEXT_CONFIG).and_then(Value::as_object);
        let present =
            |tree: &'_ Map<String, Value>, key: &str| tree.get(key).is_some_and(Value::is_object);
        let key = |tree: &Map<String, Value>| {
            ["quantization_config", "compression_config"]
                .into_iter()
                .find(|key| present(tree, key))
        };
        let (tree, key) = std::iter::once(&self.tree)
            .chain(text)
            .find_map(|tree| Some((tree, key(tree)?)))?;
        let settings = tree.get(key)?;
        let is_on = |name: &str| settings.get(name) == Some(&json!(true));
        Some(match settings.get("quant_method").and_then(Value::as_str) {
            Some(method) => method,
            None if is_on("load_in_4bit") || is_on("load_in_8bit") => "bitsandbytes",
            None if key == "compression_config" => "compressed-tensors",
            None => "unknown",
        })
    }

    /// Whether the repository brings Python code of its own (`auto_map`). It is never run.
    pub fn has_remote_code(&self) -> bool {
        let auto_map = self.tree.get("auto_map").and_then(Value::as_object);
        auto_map.is_some_and(|classes| !classes.is_empty())
    }

    /// The family's own configuration, validated and complete. Of a wrapper it is that of its text model.
    ///
    /// # Errors
    /// If the configuration is of another family, or a value makes no model; the message names the key.
    pub fn typed<C: ModelConfig>(&self) -> Result<C> {
        if self.model_type == C::MODEL_TYPE {
            return C::from_object(self.tree.clone());
        }
        if !C::WRAPPERS.contains(&self.model_type.as_str()) {
            return Err(ConfigError::WrongModelType {
                expected: C::MODEL_TYPE,
                found: self.model_type.clone(),
            });
        }
        C::from_object(self.wrapped_text_config()?).map_err(|error| match error {
            ConfigError::Invalid { key, reason } => {
                ConfigError::invalid(format!("{TEXT_CONFIG}.{key}"), reason)
            }
            other => other,
        })
    }

    /// What every configuration has, a classifier's labels among it.
    ///
    /// # Errors
    /// If a value is of another type, or the labels make no head.
    pub fn base(&self) -> Result<BaseConfig> {
        let base: BaseConfig = json::typed(Value::Object(self.tree.clone()))?;
        let labels = base.num_labels();
        checks::sizes(&[("num_labels", labels)])?;
        if labels == 1 && base.problem_type == Some(ProblemType::SingleLabelClassification) {
            return Err(ConfigError::invalid(
                "problem_type",
                "one label is no choice: use `regression`, or more labels",
            ));
        }
        Ok(base)
    }

    /// `text_config` with the dtype of the whole where it states none.
    fn wrapped_text_config(&self) -> Result<Map<String, Value>> {
        let mut text = match self.tree.get(TEXT_CONFIG) {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(text)) => text.clone(),
            Some(other) => {
                return Err(ConfigError::invalid(
                    TEXT_CONFIG,
                    format!("expected an object, found {other}"),
                ));
            }
        };
        if let Some(dtype) = self.dtype()
            && text.get("dtype").is_none_or(Value::is_null)
        {
            text.insert("dtype".into(), dtype.into());
        }
        Ok(text)
    }

    /// All of the keys.
    pub fn tree(&self) -> &Map<String, Value> {
        &self.tree
    }

    /// The part that describes the text decoder, where it is a part of its own.
    pub(crate) fn decoder(&self) -> Option<&Map<String, Value>> {
        let parts = ["decoder", "generator", TEXT_CONFIG].into_iter();
        parts
            .filter_map(|key| self.tree.get(key)?.as_object())
            .next()
    }

    /// Whether the family's configurations are those of encoder–decoders unless they say otherwise.
    fn is_encoder_decoder_by_default(&self) -> bool {
        let name = ("model_type".to_owned(), self.model_type.clone().into());
        let bare = Self::from_object([name].into_iter().collect());
        let bare = bare.and_then(|bare| bare.completed());
        bare.is_ok_and(|bare| bare.get("is_encoder_decoder") == Some(&json!(true)))
    }

    /// The text of `config.json`.
    pub fn to_json_string(&self) -> String {
        let mut tree = self.tree.clone();
        let fields = match models::family(&self.model_type) {
            Some(Family::Plain {
                generation_fields, ..
            }) => Some(generation_fields),
            Some(Family::Wrapper { .. }) => Some(&[][..]),
            // Another family may have declared any of them as a field of its own.
            None => None,
        };
        let encoder_decoder = self.is_encoder_decoder_by_default();
        tree.retain(|key, value| {
            let key = key.as_str();
            let is_generation = fields
                .is_some_and(|fields| GENERATION_KEYS.contains(&key) && !fields.contains(&key));
            // Where the family's own default is another one, it is said.
            let own = key == "is_encoder_decoder" && encoder_decoder;
            !is_generation && !PRIVATE_KEYS.contains(&key) && (own || !is_base_default(key, value))
        });
        tree.insert("transformers_version".into(), REFERENCE_VERSION.into());
        json::to_string(&tree)
    }

    /// Writes `config.json` into `folder`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save_pretrained(&self, folder: &Path) -> Result<()> {
        json::write_file(folder, FILE_NAME, &self.to_json_string())
    }
}

/// What holds for every family: the name of the dtype's key, and of layer types.
fn standardize(tree: &mut Map<String, Value>) -> Result<()> {
    if let Some(former) = tree.remove("torch_dtype")
        && tree.get("dtype").is_none_or(Value::is_null)
    {
        tree.insert("dtype".into(), former);
    }
    if let Some(Value::String(dtype)) = tree.get_mut("dtype")
        && let Some(name) = dtype.strip_prefix("torch.")
    {
        *dtype = name.to_owned();
    }
    for key in ["layer_types", "mtp_layer_types"] {
        if let Some(types) = tree.get_mut(key) {
            layer_types::rename_legacy(types);
        }
    }
    match tree.get_mut(TEXT_CONFIG) {
        Some(Value::Object(text)) => standardize(text),
        _ => Ok(()),
    }
}

/// What a configuration says of its output layer; LFM2's first files have a key of their own for it.
fn stated_tie(tree: &Map<String, Value>, model_type: &str) -> Option<bool> {
    let own = tree.get("tie_embedding").and_then(Value::as_bool);
    let own = own.filter(|_| model_type.starts_with("lfm2"));
    own.or_else(|| tree.get("tie_word_embeddings")?.as_bool())
}

/// `tie_word_embeddings` where it is not stated, of a family of this crate.
fn tied_by_default(model_type: &str) -> Option<bool> {
    match models::family(model_type)? {
        Family::Plain { tied, .. } => Some(tied),
        Family::Wrapper { .. } => None,
    }
}

/// Values that the reference leaves out when it saves, because its base class has them anyway.
fn is_base_default(key: &str, value: &Value) -> bool {
    match key {
        "architectures" | "dtype" | "problem_type" => value.is_null(),
        "output_attentions" | "output_hidden_states" | "is_encoder_decoder" => {
            *value == json!(false)
        }
        "return_dict" => *value == json!(true),
        "chunk_size_feed_forward" => *value == json!(0),
        "id2label" => value.is_null() || *value == json!({"0": "LABEL_0", "1": "LABEL_1"}),
        "label2id" => value.is_null() || *value == json!({"LABEL_0": 0, "LABEL_1": 1}),
        _ => false,
    }
}
