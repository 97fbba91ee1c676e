//! Where a model comes from: what saving it gives back.

use std::sync::Arc;

use transformers_hub::ModelFiles;
use transformers_weights::conversion_mapping::SubModel;
use transformers_weights::{DType, WeightTransform};

use crate::Head;
use crate::classes::class_name;
use crate::registry::Family;

/// What is to remember of how a model was made.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The auto class; `None` for a module that was boxed by hand.
    pub head: Option<Head>,
    /// What the parameters are rounded to when they are saved.
    pub dtype: DType,
    /// The conversions that its checkpoint needed, in order; `None` where there was no checkpoint.
    pub transforms: Option<Vec<WeightTransform>>,
    /// The repository.
    pub files: Option<Arc<ModelFiles>>,
}

impl Default for Origin {
    fn default() -> Self {
        Self {
            head: None,
            dtype: DType::F32,
            transforms: None,
            files: None,
        }
    }
}

/// The model with `head` and the headless one within it, as the tables of conversions know them.
pub(crate) fn sub_models(family: &Family, head: Head) -> Vec<SubModel<'static>> {
    let model = |path, head| SubModel {
        path,
        class: class_name(family.model_type(), head).unwrap_or_default(),
        model_type: family.model_type(),
    };
    let mut models = vec![model("", head)];
    let prefix = family.base_model_prefix(head);
    if head != Head::Base && !prefix.is_empty() {
        models.push(model(prefix, Head::Base));
    }
    models
}
