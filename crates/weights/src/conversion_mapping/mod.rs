//! What checkpoints call a family's parameters and how they part them, as data: keyed by model type or class, and needing
//! no model.
//!
//! Many families (llama, mistral, qwen2, qwen3, gemma3_text, bert) are stored under the names that they have in memory and
//! need no entry. The others have [`WeightTransform`]s that turn what is stored into what is computed with, and saving
//! turns it back. Names of old tools, which every family may have, are the key `legacy`; GGUF's names are in [`gguf`].
//!
//! A family of your own gets its entry by [`register`]:
//!
//! ```
//! use transformers_weights::{WeightRenaming, conversion_mapping};
//!
//! # fn main() -> transformers_weights::Result<()> {
//! conversion_mapping::register("my_model", vec![WeightRenaming::new(r"^backbone\.", "model.")?.into()], false)?;
//! assert_eq!(conversion_mapping::of("my_model").map(|transforms| transforms.len()), Some(1));
//! # Ok(())
//! # }
//! ```

mod audio;
mod detection;
mod encoders;
pub mod gguf;
mod language;
mod layouts;
mod multimodal;
mod native;
mod rules;
mod vision;

use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

use crate::{Result, WeightTransform, WeightsError};
use rules::Rule::{Rename, RenameAny};
use rules::{Mapping, Rule};

/// Buffers that old checkpoints hold and models now compute: not worth a word in a load report.
pub const FORMER_BUFFERS: &[&str] = &[
    r"rotary_emb\.inv_freq",
    r"(^|\.)position_ids$",
    r"(attn|attention)\.(masked_)?bias$",
];

/// What old tools left behind: TensorFlow's names in BERT, weight normalisation before it became a parametrization, and a
/// level that some multimodal checkpoints doubled.
const LEGACY: &[Mapping] = &[Mapping {
    keys: &["legacy"],
    rules: &[
        Rename("LayerNorm.gamma", "LayerNorm.weight"),
        Rename("LayerNorm.beta", "LayerNorm.bias"),
        Rename(".weight_g", ".parametrizations.weight.original0"),
        Rename(".weight_v", ".parametrizations.weight.original1"),
        RenameAny(
            &[
                r"^model\.language_model\.model",
                r"^language_model\.model\.model",
            ],
            "model.language_model",
        ),
    ],
}];

const TABLES: [&[Mapping]; 9] = [
    language::MAPPINGS,
    encoders::MAPPINGS,
    vision::MAPPINGS,
    detection::MAPPINGS,
    audio::MAPPINGS,
    multimodal::MAPPINGS,
    native::MAPPINGS,
    layouts::MAPPINGS,
    LEGACY,
];

static BUILT_IN: LazyLock<HashMap<&str, &[Rule]>> = LazyLock::new(|| {
    let mappings = TABLES.into_iter().flatten();
    mappings
        .flat_map(|mapping| mapping.keys.iter().map(|key| (*key, mapping.rules)))
        .collect()
});

static REGISTERED: RwLock<Option<HashMap<String, Vec<WeightTransform>>>> = RwLock::new(None);

/// A model or a model within it, in the order in which the module tree is walked: each before what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubModel<'a> {
    /// Where it is, for instance `model.vision_tower`; empty for the whole.
    pub path: &'a str,
    /// The reference's class, for instance `LlavaModel`.
    pub class: &'a str,
    /// `model_type` of its configuration.
    pub model_type: &'a str,
}

/// The transforms registered or built in for a model type or class.
pub fn of(model_type_or_class: &str) -> Option<Vec<WeightTransform>> {
    let registered = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
    let registered = registered
        .as_ref()
        .and_then(|mappings| mappings.get(model_type_or_class));
    if let Some(transforms) = registered {
        return Some(transforms.clone());
    }
    let rules = BUILT_IN.get(model_type_or_class)?;
    let transform = |rule: &Rule| rule.transform().expect("the tables hold valid patterns");
    Some(rules.iter().map(transform).collect())
}

/// The model types and classes that are built in, in alphabetical order.
pub fn keys() -> Vec<&'static str> {
    let mut keys: Vec<_> = BUILT_IN.keys().copied().collect();
    keys.sort_unstable();
    keys
}

/// Adds transforms for a model type or class. A class goes before its model type.
///
/// # Errors
/// If there are some already and `overwrite` is not set.
pub fn register(
    model_type_or_class: &str,
    transforms: Vec<WeightTransform>,
    overwrite: bool,
) -> Result<()> {
    let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    let registered = registered.get_or_insert_default();
    let known =
        registered.contains_key(model_type_or_class) || BUILT_IN.contains_key(model_type_or_class);
    if known && !overwrite {
        return Err(WeightsError::MappingExists {
            key: model_type_or_class.to_owned(),
        });
    }
    registered.insert(model_type_or_class.to_owned(), transforms);
    Ok(())
}

/// The transforms of a model: those of the whole, then those of each model within it, limited to its part, then the
/// [legacy] ones.
///
/// A class's transforms go before its model type's. A model within another is passed over where one above it has the same
/// class or, unless found by class, the same type: the transforms of that one reach it already.
pub fn of_model(models: &[SubModel<'_>], base_model_prefix: &str) -> Vec<WeightTransform> {
    let mut transforms = of_parts(models, base_model_prefix);
    transforms.extend(legacy());
    transforms
}

/// As [`of_model`], without the legacy ones: for saving a model that was not loaded, which has today's names but for
/// prefixes, of which nothing says whether a checkpoint would have had them.
pub fn of_new_model(models: &[SubModel<'_>], base_model_prefix: &str) -> Vec<WeightTransform> {
    let mut transforms = of_parts(models, base_model_prefix);
    transforms.retain(|transform| !matches!(transform, WeightTransform::Prefix(_)));
    transforms
}

/// The transforms that apply to every family.
pub fn legacy() -> Vec<WeightTransform> {
    of("legacy").unwrap_or_default()
}

fn of_parts(models: &[SubModel<'_>], base_model_prefix: &str) -> Vec<WeightTransform> {
    let mut claimed: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut all = Vec::new();
    for model in models {
        let below = |claimed: &HashMap<&str, Vec<&str>>, name| {
            let mut above = claimed.get(name).into_iter().flatten();
            above.any(|path| holds(path, model.path))
        };
        if below(&claimed, model.class) {
            continue;
        }
        let by_class = of(model.class);
        let found_by_class = by_class.is_some();
        if !found_by_class && below(&claimed, model.model_type) {
            continue;
        }
        let Some(transforms) = by_class.or_else(|| of(model.model_type)) else {
            continue;
        };
        if model.path.is_empty() {
            all.extend(transforms);
        } else {
            let path = model
                .path
                .strip_prefix(base_model_prefix)
                .unwrap_or(model.path);
            let path = path.strip_prefix('.').unwrap_or(path);
            let scoped = transforms
                .into_iter()
                .map(|one| one.in_scope(path, base_model_prefix));
            all.extend(scoped);
        }
        claimed.entry(model.class).or_default().push(model.path);
        if !found_by_class {
            claimed
                .entry(model.model_type)
                .or_default()
                .push(model.path);
        }
    }
    all
}

/// Whether the module at `path` is within the one at `outer`.
fn holds(outer: &str, path: &str) -> bool {
    outer.is_empty()
        || path
            .strip_prefix(outer)
            .is_some_and(|rest| rest.starts_with('.'))
}
