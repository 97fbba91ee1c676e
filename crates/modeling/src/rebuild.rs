//! A model built anew from another config, with the parameters of an old one: other sizes of the vocabulary, other ties.

use std::collections::HashMap;

use burn::module::{ModuleVisitor, Param};
use burn::tensor::Tensor;
use transformers_config::AutoConfig;

use crate::erased::{Blocks, Parameter, ParameterRef, Restore};
use crate::load::fresh_init;
use crate::parameters::{Fill, ParameterPath, ParameterSource, Shapes};
use crate::registry::family;
use crate::{ModelError, ParameterVisitor, PreTrainedModel};

/// What becomes of a parameter that has another shape in the new model.
pub(crate) trait Reshape {
    /// `old` in `shape`.
    fn reshape<const D: usize>(
        &mut self,
        name: &str,
        old: Tensor<D>,
        shape: [usize; D],
    ) -> Tensor<D>;
}

/// The model of `config` with the head, the parameters and all else of `model`. A parameter that it did not have is fresh.
pub(crate) fn rebuild(
    model: &dyn PreTrainedModel,
    config: AutoConfig,
    reshape: &mut impl Reshape,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    model.check_no_adapters("another vocabulary, or another tie,")?;
    let head = model.info().origin.head.ok_or(ModelError::BoxedByHand)?;
    let mut old = Held::default();
    let trains = trains(model);
    model.valid().visit_parameters(&mut old);
    let device = model.collect_devices(Vec::new()).into_iter().next();
    let init = fresh_init(
        &config,
        &device.unwrap_or_default(),
        model.info().origin.precision,
    );
    let mut new = family(&config)?.builder(head)?(&config, &init)?;
    let mut shapes = Shapes::default();
    new.visit_parameters(&mut Restore(&mut shapes));
    let mut source = Source {
        old: old.parameters,
        shapes: shapes.found.into_iter().collect(),
        reshape,
        problem: None,
    };
    let mut fill = Fill::new(&mut source);
    new = new.map_parameters(&mut Restore(&mut fill));
    if let Some(problem) = source.problem {
        return Err(problem);
    }
    let mut info = model.info().clone();
    info.config = config;
    *new.info_mut() = info;
    Ok(match trains {
        true => new.train(),
        false => new,
    })
}

/// Whether gradients are followed through the parameters.
pub(crate) fn trains(model: &dyn PreTrainedModel) -> bool {
    struct Any(bool);
    impl ModuleVisitor for Any {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= param.is_initialized() && param.val().is_autodiff();
        }
    }
    let mut any = Any(false);
    model.visit_parameters(&mut Restore(&mut any));
    any.0
}

#[derive(Default)]
struct Held {
    path: ParameterPath,
    parameters: HashMap<String, Parameter>,
}

impl ParameterVisitor for Held {
    fn visit(&mut self, param: ParameterRef<'_>) {
        self.parameters
            .insert(self.path.name(), param.to_parameter());
    }
    fn enter(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
}

struct Source<'a, R> {
    old: HashMap<String, Parameter>,
    shapes: HashMap<String, Vec<usize>>,
    reshape: &'a mut R,
    problem: Option<ModelError>,
}

impl<R: Reshape> ParameterSource for &mut Source<'_, R> {
    fn value<const D: usize>(&mut self, name: &str) -> Option<Tensor<D>> {
        let shape = <[usize; D]>::try_from(self.shapes.get(name)?.as_slice()).ok()?;
        let old = match self.old.remove(name)? {
            // It was not taken as it is, so it has another shape.
            Parameter::Blocks(_) => {
                let name = name.to_owned();
                self.problem.get_or_insert(ModelError::InBlocks { name });
                return None;
            }
            dense => dense.into_param::<D>().val(),
        };
        match old.dims() == shape {
            true => Some(old),
            false => Some(self.reshape.reshape(name, old, shape)),
        }
    }

    fn blocks(&mut self, name: &str) -> Option<Blocks> {
        let shape = self.shapes.get(name)?;
        let Parameter::Blocks(blocks) = self.old.get(name)? else {
            return None;
        };
        let blocks = blocks.val();
        let rows = blocks.dims()[0];
        (shape.first() == Some(&rows)).then_some(blocks)
    }
}
