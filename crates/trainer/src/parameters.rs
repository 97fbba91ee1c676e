//! A model's parameters as the optimizer sees them: names, shapes, gradients, and values to change.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::Param;
use burn::tensor::{DType, Gradients, Tensor, TensorData};
use half::{bf16, f16};
use regex::Regex;
use transformers_modeling::{
    Parameter, ParameterMapper, ParameterPath, ParameterRef, ParameterVisitor, PreTrainedModel,
};

use transformers_weights::DType as SavedDType;

/// Values on the host by the names of the parameters, in order.
pub(crate) type Named<T> = BTreeMap<String, T>;

/// Runs `$body` on the parameter of whatever rank; blocks are frozen.
macro_rules! float_parameter {
    ($from:expr, $kind:ident, $param:ident => $body:expr, $other:pat => $otherwise:expr) => {
        match $from {
            $kind::Rank1($param) => $body,
            $kind::Rank2($param) => $body,
            $kind::Rank3($param) => $body,
            $kind::Rank4($param) => $body,
            $kind::Rank5($param) => $body,
            $other => $otherwise,
        }
    };
}

/// What there is to know of the parameters that train.
#[derive(Debug, Default)]
pub(crate) struct Trainable {
    path: ParameterPath,
    containers: Vec<String>,
    /// Their shapes.
    pub shapes: Named<Vec<usize>>,
    /// Whether gradients are followed already.
    pub tracked: bool,
    /// Those whose weights decay.
    pub decays: BTreeSet<String>,
    buffers: BTreeSet<String>,
    /// Those that are saved in a half type.
    pub halves: Named<SavedDType>,
    no_decay: Option<Regex>,
}

impl Trainable {
    /// Those of a model; weights decay but for biases and norms.
    pub fn of(model: &dyn PreTrainedModel) -> Self {
        let names = r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)";
        let mut found = Self {
            no_decay: Regex::new(names).ok(),
            ..Self::default()
        };
        model.visit_parameters(&mut found);
        let names = found
            .shapes
            .keys()
            .filter(|name| !found.buffers.contains(*name));
        let dtypes = names.map(|name| (name.clone(), model.saved_dtype(name)));
        found.halves = dtypes
            .filter(|(_, dtype)| *dtype != SavedDType::F32)
            .collect();
        found
    }

    fn push<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        self.tracked |= value.is_autodiff() && value.is_require_grad();
        if !param.is_require_grad() {
            return;
        }
        let name = self.path.name();
        let norm = self
            .containers
            .last()
            .is_some_and(|last| last == "Struct:LayerNorm");
        let lower = name.to_lowercase();
        if !norm
            && !self
                .no_decay
                .as_ref()
                .is_some_and(|names| names.is_match(&lower))
        {
            self.decays.insert(name.clone());
        }
        if self
            .containers
            .last()
            .is_some_and(|last| last == "Enum:Buffer")
        {
            self.buffers.insert(name.clone());
        }
        self.shapes.insert(name, value.dims().to_vec());
    }
}

impl ParameterVisitor for Trainable {
    fn visit(&mut self, param: ParameterRef<'_>) {
        float_parameter!(param, ParameterRef, param => self.push(param), _ => {});
    }
    fn enter(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
        self.containers.push(container.to_owned());
    }
    fn exit(&mut self, _: &str, _: &str) {
        self.path.exit();
        self.containers.pop();
    }
}

/// Adds the gradients of a backward pass to those before.
pub(crate) fn collect(
    model: &dyn PreTrainedModel,
    gradients: Gradients,
    into: &mut Named<Vec<f32>>,
) {
    let mut collect = Collect {
        path: ParameterPath::default(),
        gradients,
        into,
    };
    model.visit_parameters(&mut collect);
}

/// Adds a gradient to that before.
pub(crate) fn add(name: String, values: Vec<f32>, into: &mut Named<Vec<f32>>) {
    match into.get_mut(&name) {
        Some(sum) => transformers_ops::accumulate(&values, sum),
        None => drop(into.insert(name, values)),
    }
}

struct Collect<'a> {
    path: ParameterPath,
    gradients: Gradients,
    into: &'a mut Named<Vec<f32>>,
}

impl Collect<'_> {
    fn take<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.is_require_grad() {
            return;
        }
        let Some(gradient) = param.val().grad_remove(&mut self.gradients) else {
            return;
        };
        let values = floats(gradient.into_data());
        add(self.path.name(), values, self.into);
    }
}

impl ParameterVisitor for Collect<'_> {
    fn visit(&mut self, param: ParameterRef<'_>) {
        float_parameter!(param, ParameterRef, param => self.take(param), _ => {});
    }
    fn enter(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
}

/// As f32, without a copy where they are.
fn floats(data: TensorData) -> Vec<f32> {
    match data.dtype() {
        DType::F32 => data.try_into_vec().unwrap_or_default(),
        _ => data.iter::<f32>().collect(),
    }
}

/// The model with what `change` made of every parameter that trains: it gets name, shape and values, and says whether it
/// changed them.
pub(crate) fn change(
    model: Box<dyn PreTrainedModel>,
    change: impl FnMut(&str, &[usize], &mut [f32]) -> bool,
) -> Box<dyn PreTrainedModel> {
    let mut mapper = Change {
        path: ParameterPath::default(),
        change,
    };
    model.map_parameters(&mut mapper)
}

struct Change<F> {
    path: ParameterPath,
    change: F,
}

impl<F: FnMut(&str, &[usize], &mut [f32]) -> bool> Change<F> {
    fn one<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !param.is_require_grad() {
            return param;
        }
        let name = self.path.name();
        param.map(|value| self.value(&name, value))
    }

    fn value<const D: usize>(&mut self, name: &str, value: Tensor<D>) -> Tensor<D> {
        let (dims, dtype, autodiff) = (value.dims(), value.dtype(), value.is_autodiff());
        let checkpointing = value.gradient_checkpointing_strategy();
        let value = value.without_autodiff();
        let device = value.device();
        // In place where nobody else holds the values; a mapped file is copied on the first write.
        let mut data = value.into_data();
        match (dtype, data.as_mut_slice::<f32>()) {
            (DType::F32, Ok(values)) => drop((self.change)(name, &dims, values)),
            _ => {
                let mut values: Vec<f32> = data.iter::<f32>().collect();
                if (self.change)(name, &dims, &mut values) {
                    data = rounded(values, &dims, dtype);
                }
            }
        }
        let value = Tensor::from_data(data, (&device, dtype));
        if !autodiff {
            return value;
        }
        let value = Tensor::from_inner(value);
        let value = match checkpointing {
            Some(strategy) => value.with_gradient_checkpointing_strategy(strategy),
            None => value,
        };
        value.set_require_grad(true)
    }
}

fn rounded(values: Vec<f32>, dims: &[usize], dtype: DType) -> TensorData {
    match dtype {
        DType::BF16 => {
            let values: Vec<bf16> = values.into_iter().map(bf16::from_f32).collect();
            TensorData::new(values, dims.to_vec())
        }
        DType::F16 => {
            let values: Vec<f16> = values.into_iter().map(f16::from_f32).collect();
            TensorData::new(values, dims.to_vec())
        }
        _ => TensorData::new(values, dims.to_vec()),
    }
}

impl<F: FnMut(&str, &[usize], &mut [f32]) -> bool> ParameterMapper for Change<F> {
    fn map(&mut self, param: Parameter) -> Parameter {
        match param {
            Parameter::Rank1(param) => Parameter::Rank1(self.one(param)),
            Parameter::Rank2(param) => Parameter::Rank2(self.one(param)),
            Parameter::Rank3(param) => Parameter::Rank3(self.one(param)),
            Parameter::Rank4(param) => Parameter::Rank4(self.one(param)),
            Parameter::Rank5(param) => Parameter::Rank5(self.one(param)),
            blocks => blocks,
        }
    }
    fn enter(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
}
