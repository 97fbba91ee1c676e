//! Where a model comes from: what saving it gives back.

use std::sync::Arc;

use transformers_hub::ModelFiles;
use transformers_ops::Precision;
use transformers_weights::conversion_mapping::SubModel;
use transformers_weights::{DType, WeightTransform};

use crate::Head;
use crate::classes::{ClassFacts, class_name, facts};
use crate::registry::Family;

/// What is to remember of how a model was made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    /// The auto class; `None` for a module that was boxed by hand.
    pub head: Option<Head>,
    /// What the parameters are rounded to.
    pub dtypes: Dtypes,
    /// The conversions that its checkpoint needed, in order; `None` where there was no checkpoint.
    pub transforms: Option<Vec<WeightTransform>>,
    /// Whether its config says that the weights are tied, which those of the checkpoint were not.
    pub says_tied: bool,
    /// The repository.
    pub files: Option<Arc<ModelFiles>>,
    /// How products with its weights are computed.
    pub precision: Precision,
}

impl Origin {
    /// Parameters are rounded to `main` from here on, but for those that the class keeps in f32.
    pub fn set_dtype(&mut self, main: DType, model_type: &str) {
        let class = self.head.and_then(|head| class_name(model_type, head));
        self.dtypes = Dtypes::of(main, &class.map(facts).unwrap_or_default());
    }
}

/// The dtype that parameters are rounded to, when they are loaded and when they are saved.
#[derive(Debug, Clone)]
pub(crate) struct Dtypes {
    /// That of the model.
    pub main: DType,
    /// Parts of the names of parameters that are f32 all the same.
    pub keep_in_f32: Vec<&'static str>,
    /// Whether buffers are rounded like parameters; those of families of a user's own are f32.
    pub rounds_buffers: bool,
}

impl Default for Dtypes {
    fn default() -> Self {
        Self::of(DType::F32, &ClassFacts::default())
    }
}

impl Dtypes {
    /// Those of a model of a class that is loaded in `main`.
    pub fn of(main: DType, class: &ClassFacts) -> Self {
        let keep_in_f32 = class.keep_in_f32(main).collect();
        Self {
            main,
            keep_in_f32,
            rounds_buffers: class.known,
        }
    }

    /// That of a parameter.
    pub fn of_parameter(&self, name: &str) -> DType {
        match self.keep_in_f32.iter().any(|part| name.contains(part)) {
            true => DType::F32,
            false => self.main,
        }
    }

    /// That of a [`Buffer`](crate::nn::Buffer).
    pub fn of_buffer(&self, name: &str) -> DType {
        match self.rounds_buffers {
            true => self.of_parameter(name),
            false => DType::F32,
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
