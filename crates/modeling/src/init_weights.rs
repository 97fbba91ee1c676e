//! What parameters get that no checkpoint fills, where a user wants it otherwise than the family does.

use std::fmt;
use std::sync::Arc;

use burn::tensor::{DType, Device, Shape, Tensor, TensorData};

use crate::PreTrainedModel;
use crate::erased::{Blocks, Restore};
use crate::nn::Draws;
use crate::parameters::{Fill, ParameterSource, Shapes};

/// How a parameter is filled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum InitRule {
    /// With one value.
    Constant(f32),
    /// From `N(0, std²)`.
    Normal {
        /// The standard deviation.
        std: f64,
    },
}

/// The rule of each parameter by its name and shape; `None` leaves it to the family. It is asked about parameters that the
/// checkpoint lacks and about no others: what is loaded is never touched. This is `_init_weights` of the reference.
///
/// ```
/// use transformers_modeling::{InitRule, InitWeights, LoadOptions};
///
/// let options = LoadOptions {
///     init_weights: Some(InitWeights::new(|name, _shape| {
///         name.starts_with("lm_head").then_some(InitRule::Normal { std: 0.001 })
///     })),
///     seed: Some(42),
///     ..LoadOptions::default()
/// };
/// # assert!(options.init_weights.is_some());
/// ```
#[derive(Clone)]
pub struct InitWeights(Arc<Rules>);

type Rules = dyn Fn(&str, &[usize]) -> Option<InitRule> + Send + Sync;

impl fmt::Debug for InitWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InitWeights")
    }
}

impl InitWeights {
    /// Rules as a function.
    pub fn new(rules: impl Fn(&str, &[usize]) -> Option<InitRule> + Send + Sync + 'static) -> Self {
        Self(Arc::new(rules))
    }

    /// The value of a parameter that has a rule.
    pub(crate) fn value<const D: usize>(
        &self,
        name: &str,
        shape: &[usize],
        draws: &Draws,
        device: (&Device, DType),
    ) -> Option<Tensor<D>> {
        let rule = (self.0)(name, shape)?;
        let stream = draws.stream();
        let values = match rule {
            InitRule::Constant(value) => vec![value; shape.iter().product()],
            InitRule::Normal { std } => stream.normal(shape.iter().product(), std),
        };
        let data = TensorData::new(values, Shape::from(shape.to_vec()));
        Some(Tensor::from_data(data, device))
    }

    /// Gives the parameters of a fresh model their values.
    pub(crate) fn apply(
        &self,
        model: Box<dyn PreTrainedModel>,
        draws: &Draws,
        device: &Device,
    ) -> Box<dyn PreTrainedModel> {
        let mut shapes = Shapes::default();
        model.visit_parameters(&mut Restore(&mut shapes));
        let source = Fresh {
            rules: self,
            shapes: shapes.found.into_iter().collect(),
            draws,
            device,
        };
        model.map_parameters(&mut Restore(&mut Fill::new(source)))
    }
}

struct Fresh<'a> {
    rules: &'a InitWeights,
    shapes: std::collections::HashMap<String, Vec<usize>>,
    draws: &'a Draws,
    device: &'a Device,
}

impl ParameterSource for Fresh<'_> {
    fn value<const D: usize>(&mut self, name: &str) -> Option<Tensor<D>> {
        let shape = self.shapes.get(name)?;
        let device = (self.device, DType::F32);
        self.rules.value(name, shape, self.draws, device)
    }

    fn blocks(&mut self, _name: &str) -> Option<Blocks> {
        None
    }
}
