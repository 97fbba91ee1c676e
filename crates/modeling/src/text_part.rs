//! Text models within larger ones: what the auto classes make of a config that wraps another.

use serde_json::{Map, Value};
use transformers_config::AutoConfig;
use transformers_weights::conversion_mapping::{self, SubModel};
use transformers_weights::{PrefixChange, WeightTransform};

use crate::ModelError;
use crate::classes::{class_name, image_text_class};
use crate::registry::{Head, is_registered};

/// Text models that differ from a family of texts in how they place images alone.
const LIKE: &[(&str, &str)] = &[("qwen2_vl_text", "qwen2"), ("qwen2_5_vl_text", "qwen2")];

/// Tensors beside the text model: not worth a word in a load report.
pub(crate) const BESIDE: &str = r"^(?!(model\.)?language_model\.|lm_head\.)";

/// A text model, to be loaded from a repository of the whole.
pub(crate) struct TextPart {
    /// Its config.
    pub config: AutoConfig,
    /// From the names in a checkpoint of the whole to its own, where those of its family do not do that.
    pub transforms: Vec<WeightTransform>,
}

impl TextPart {
    /// The text model of `config`, where the auto class of `head` makes one of it: where the reference does, or where the
    /// whole is not a family of this library and its text model is.
    pub fn of(config: &AutoConfig, head: Head) -> Result<Option<Self>, ModelError> {
        let Some(mut text) = text_config(config)? else {
            return Ok(None);
        };
        let class = |config: &AutoConfig| class_name(config.model_type(), head);
        if class(config).is_some() && class(config) == class(&text) {
            return Ok(Some(Self {
                config: text,
                transforms: Vec::new(),
            }));
        }
        if let Some((_, family)) = LIKE.iter().find(|(name, _)| *name == text.model_type()) {
            text = as_family(&text, family)?;
        }
        let is_text = head == Head::CausalLM && is_registered(text.model_type());
        if !is_text || is_registered(config.model_type()) {
            return Ok(None);
        }
        text.set("tie_word_embeddings", config.tie_word_embeddings());
        Ok(Some(Self {
            config: text,
            transforms: transforms(config.model_type())?,
        }))
    }
}

/// The config within; some older files have its keys beside those of the whole.
fn text_config(config: &AutoConfig) -> Result<Option<AutoConfig>, ModelError> {
    let text = config.text_config()?;
    let name = format!("{}_text", config.model_type());
    let flat = text.is_none()
        && config.get("vision_config").is_some()
        && LIKE.iter().any(|(like, _)| *like == name);
    if !flat {
        return Ok(text);
    }
    let mut tree = config.tree().clone();
    tree.retain(|key, _| !["vision_config", "architectures"].contains(&key.as_str()));
    tree.insert("model_type".into(), name.into());
    Ok(Some(AutoConfig::from_value(Value::Object(tree))?))
}

/// The same config as one of `family`, whose positions have one dimension.
fn as_family(config: &AutoConfig, family: &str) -> Result<AutoConfig, ModelError> {
    let mut tree = config.tree().clone();
    tree.insert("model_type".into(), family.into());
    for key in ["rope_scaling", "rope_parameters"] {
        if let Some(Value::Object(rope)) = tree.get_mut(key) {
            flatten_rotation(rope);
        }
    }
    Ok(AutoConfig::from_value(Value::Object(tree))?)
}

/// Of text alone, all sections of a multimodal rotation have the same positions.
fn flatten_rotation(rope: &mut Map<String, Value>) {
    for key in ["type", "rope_type"] {
        if rope.get(key).and_then(Value::as_str) == Some("mrope") {
            rope.insert(key.into(), "default".into());
        }
    }
}

/// What the tables say of the whole; and then the level of the text model is left out.
fn transforms(whole: &str) -> Result<Vec<WeightTransform>, ModelError> {
    let headed = class_name(whole, Head::CausalLM).or_else(|| image_text_class(whole));
    let model = |path, class: Option<&'static str>| SubModel {
        path,
        class: class.unwrap_or_default(),
        model_type: whole,
    };
    let models = [
        model("", headed),
        model("model", class_name(whole, Head::Base)),
    ];
    let mut transforms = conversion_mapping::of_model(&models, "model");
    transforms.push(PrefixChange::remove("language_model", "model")?.into());
    Ok(transforms)
}
