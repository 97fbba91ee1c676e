//! Text models within larger ones: what the auto classes make of a config that wraps another.

use serde_json::{Map, Value, json};
use transformers_config::AutoConfig;
use transformers_weights::conversion_mapping::{self, SubModel};
use transformers_weights::{PrefixChange, WeightTransform};

use crate::ModelError;
use crate::classes::{class_name, multimodal_class};
use crate::registry::{Head, is_registered};

/// Text models that differ from a family of texts in how they place images, and in what holds where nothing is stated:
/// type, family, and what makes its config one of that family.
type Like = (&'static str, &'static str, fn(&mut Map<String, Value>));

const LIKE: &[Like] = &[
    ("qwen2_vl_text", "qwen2", qwen2_vl),
    ("qwen2_5_vl_text", "qwen2", qwen2_vl),
    ("qwen3_vl_text", "qwen3", qwen3_vl),
    ("qwen3_vl_moe_text", "qwen3_moe", qwen3_vl_moe),
];

/// Wholes that call their text model `text_model`; the others call it `language_model`.
const TEXT_MODEL: &[&str] = &["idefics2", "idefics3", "smolvlm"];

/// Wholes with a text model that has its output layer, and all that it does after it. Others have an output layer of their
/// own, and the reference does nothing after that.
const HEADED: &[&str] = &["blip-2", "instructblip", "instructblipvideo"];

/// What text models do to their logits, and the value with which they do not.
const ON_LOGITS: &[(&str, Option<f64>)] = &[
    ("final_logit_softcapping", None),
    ("logit_scale", Some(1.0)),
    ("logits_scaling", Some(1.0)),
];

/// Tensors beside the text model: not worth a word in a load report.
pub(crate) const BESIDE: &str = r"^(?!(model\.)?(language|text)_model\.|lm_head\.)";

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
        if let Some(like) = LIKE.iter().find(|(name, ..)| *name == text.model_type()) {
            text = as_family(&text, like)?;
        }
        let is_text = head == Head::CausalLM && is_registered(text.model_type());
        if !is_text || is_registered(config.model_type()) {
            return Ok(None);
        }
        settle(&mut text, config)?;
        Ok(Some(Self {
            config: text,
            transforms: transforms(config.model_type())?,
        }))
    }
}

/// What the whole says of its text model: the tie and the dtype of the weights, and what becomes of the logits.
fn settle(text: &mut AutoConfig, whole: &AutoConfig) -> Result<(), ModelError> {
    text.set("tie_word_embeddings", whole.tie_word_embeddings());
    if let Some(dtype) = whole.dtype() {
        text.set("dtype", dtype);
    }
    if whole.model_type() == "paligemma" {
        return paligemma(text, whole);
    }
    if HEADED.contains(&whole.model_type()) {
        return Ok(());
    }
    let all = text.completed()?;
    for (key, nothing) in ON_LOGITS {
        if all.get(key).is_some() {
            text.set(*key, *nothing);
        }
    }
    Ok(())
}

/// The one whole that bounds its logits as its text model does; it says more to its text model, for other readers.
fn paligemma(text: &mut AutoConfig, whole: &AutoConfig) -> Result<(), ModelError> {
    let size = |key, default| {
        let size = whole
            .get("vision_config")
            .and_then(|vision| vision.get(key)?.as_u64());
        size.unwrap_or(default)
    };
    let patches = size("image_size", 224).checked_div(size("patch_size", 16));
    text.set(
        "num_image_tokens",
        patches.unwrap_or_default().saturating_pow(2),
    );
    if text
        .get("use_bidirectional_attention")
        .is_none_or(Value::is_null)
    {
        text.set("use_bidirectional_attention", true);
    }
    Ok(())
}

/// The config within; some older files have its keys beside those of the whole.
fn text_config(config: &AutoConfig) -> Result<Option<AutoConfig>, ModelError> {
    let text = config.text_config()?;
    let name = format!("{}_text", config.model_type());
    let flat = text.is_none()
        && config.get("vision_config").is_some()
        && LIKE.iter().any(|(like, ..)| *like == name);
    if !flat {
        return Ok(text);
    }
    let mut tree = config.tree().clone();
    tree.retain(|key, _| !["vision_config", "architectures"].contains(&key.as_str()));
    tree.insert("model_type".into(), name.into());
    Ok(Some(AutoConfig::from_value(Value::Object(tree))?))
}

/// The same config as one of a family whose positions have one dimension.
fn as_family(config: &AutoConfig, (_, family, adapt): &Like) -> Result<AutoConfig, ModelError> {
    let mut tree = config.tree().clone();
    tree.insert("model_type".into(), (*family).into());
    for key in ["rope_scaling", "rope_parameters"] {
        if let Some(Value::Object(rope)) = tree.get_mut(key) {
            flatten_rotation(rope);
        }
    }
    adapt(&mut tree);
    Ok(AutoConfig::from_value(Value::Object(tree))?)
}

fn qwen2_vl(text: &mut Map<String, Value>) {
    let defaults = json!({
        "vocab_size": 152_064, "hidden_size": 8192, "intermediate_size": 29_568, "num_hidden_layers": 80,
        "num_attention_heads": 64, "num_key_value_heads": 8, "max_window_layers": 80, "rms_norm_eps": 1e-5,
        "rope_theta": 1_000_000.0, "bos_token_id": 151_643, "eos_token_id": 151_645,
    });
    fill(text, defaults);
}

/// No layer has a window.
fn qwen3_vl(text: &mut Map<String, Value>) {
    text.insert("use_sliding_window".into(), false.into());
    fill(
        text,
        json!({"max_position_embeddings": 128_000, "rope_theta": 500_000.0}),
    );
}

/// The weights of a token's experts always add up to one.
fn qwen3_vl_moe(text: &mut Map<String, Value>) {
    if let Some(experts) = text.remove("num_experts") {
        text.insert("num_local_experts".into(), experts);
    }
    let defaults = json!({
        "hidden_size": 2048, "intermediate_size": 5632, "num_attention_heads": 16, "num_key_value_heads": 16,
        "max_position_embeddings": 128_000, "rope_theta": 500_000.0, "moe_intermediate_size": 1408,
        "num_local_experts": 60, "num_experts_per_tok": 4,
    });
    fill(text, defaults);
    text.insert("norm_topk_prob".into(), true.into());
    if text.get("head_dim").is_none_or(Value::is_null) {
        let size = |key: &str| text.get(key).and_then(Value::as_u64);
        let head = size("hidden_size").zip(size("num_attention_heads"));
        let head = head.and_then(|(hidden, heads)| hidden.checked_div(heads));
        text.insert("head_dim".into(), head.into());
    }
}

/// Adds what is not stated.
fn fill(text: &mut Map<String, Value>, defaults: Value) {
    let defaults = defaults.as_object().into_iter().flatten();
    for (key, value) in defaults {
        text.entry(key).or_insert_with(|| value.clone());
    }
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
    let headed = class_name(whole, Head::CausalLM).or_else(|| multimodal_class(whole));
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
    let name = match TEXT_MODEL.contains(&whole) {
        true => "text_model",
        false => "language_model",
    };
    transforms.push(match HEADED.contains(&whole) {
        true => PrefixChange::remove(name, "")?.into(),
        false => PrefixChange::remove(name, "model")?.into(),
    });
    Ok(transforms)
}
