//! From a checkpoint's tensors to a model's parameters: their dtypes, and the module tree that takes them.

use std::collections::HashMap;

use burn::tensor::{AllocationProperty, Bytes, DType as BurnDType, Device, Tensor, TensorData};
use bytes::Bytes as SharedBytes;
use transformers_config::{AutoConfig, parse_dtype};
use transformers_hub::CancelToken;
use transformers_weights::{
    BlockTensor, Checkpoint, DType, HostTensor, LoadPlan, Prepare, ReadOptions, WeightsError,
};

use crate::classes::ClassFacts;
use crate::erased::{Blocks, Restore};
use crate::init_weights::InitWeights;
use crate::load::Dtype;
use crate::nn::Draws;
use crate::origin::Dtypes;
use crate::parameters::{Fill, ParameterSource, Shapes};
use crate::{LoadProgress, ModelError, PreTrainedModel};

/// The dtype that parameters are rounded to, and the one that is computed in.
///
/// The CPU computes in f32 whatever the parameters are rounded to. Its weight matrices stay as the checkpoint has them:
/// in the dtype that they were rounded to, and with `auto` in blocks, or in a half type that a GGUF file has.
#[derive(Debug, Clone)]
pub(crate) struct LoadDtype {
    /// What parameters are rounded to.
    pub stored: Dtypes,
    pub compute: BurnDType,
    on_cpu: bool,
    auto: bool,
}

impl LoadDtype {
    /// `auto` is what `config` says, or else what the first tensor of the checkpoint has.
    pub fn choose(
        asked: Dtype,
        config: &AutoConfig,
        class: &ClassFacts,
        checkpoint: &Checkpoint,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let said = match (asked, config.dtype()) {
            (Dtype::Auto, Some(name)) => match parse_dtype(name)? {
                "float64" => Dtype::Float32,
                name => name.parse()?,
            },
            (asked, _) => asked,
        };
        let stored = match said {
            Dtype::Float32 => DType::F32,
            Dtype::Float16 => DType::F16,
            Dtype::BFloat16 => DType::BF16,
            Dtype::Auto => match checkpoint.dtype_hint() {
                Some(half @ (DType::F16 | DType::BF16)) => half,
                _ => DType::F32,
            },
        };
        let half = match stored {
            DType::F16 => BurnDType::F16,
            DType::BF16 => BurnDType::BF16,
            _ => BurnDType::F32,
        };
        let on_cpu = *device == Device::flex();
        let supported = half == BurnDType::F32 || device.supports_dtype(half);
        if !on_cpu && !supported {
            log::warn!("{device:?} has no {half:?}: the model is loaded in float32");
        }
        let compute = match !on_cpu && supported {
            true => half,
            false => BurnDType::F32,
        };
        Ok(Self {
            stored: Dtypes::of(stored, class),
            compute,
            on_cpu,
            auto: asked == Dtype::Auto,
        })
    }

    /// What a tensor of type `found` is rounded to, and then kept as.
    fn of(&self, found: DType, parameter: Parameter) -> [DType; 2] {
        let Parameter {
            weight,
            stored,
            buffer,
            ..
        } = parameter;
        if buffer {
            return [stored, DType::F32];
        }
        let half = matches!(found, DType::F16 | DType::BF16);
        let as_found = weight && self.on_cpu && self.auto && half && stored == DType::F32;
        let rounded = if as_found { found } else { stored };
        let compute = match self.compute {
            BurnDType::F16 => DType::F16,
            BurnDType::BF16 => DType::BF16,
            _ => DType::F32,
        };
        let kept = match rounded {
            DType::F16 | DType::BF16 if weight && self.on_cpu => rounded,
            _ => compute,
        };
        [rounded, kept]
    }
}

/// How the parameters of a model get their values.
#[derive(Clone, Copy)]
pub(crate) struct Filling<'a> {
    pub checkpoint: &'a Checkpoint,
    pub plan: &'a LoadPlan,
    pub dtype: &'a LoadDtype,
    pub device: &'a Device,
    /// The user's rules for what the plan has no value for.
    pub init: Option<&'a InitWeights>,
    pub draws: &'a Draws,
    pub progress: Option<&'a dyn LoadProgress>,
    pub cancel: Option<&'a CancelToken>,
}

impl Filling<'_> {
    /// Gives `model` the values that the plan has for it.
    pub fn fill(
        self,
        model: Box<dyn PreTrainedModel>,
    ) -> Result<Box<dyn PreTrainedModel>, ModelError> {
        let rounding = Rounding {
            checkpoint: self.checkpoint,
            dtype: self.dtype,
            parameters: parameters(&*model, &self.dtype.stored),
        };
        let filled = self.plan.filled();
        let sizes: Vec<usize> = filled.map(|name| rounding.of(name).elements).collect();
        let elements = sizes.iter().map(|&elements| elements as u64).sum();
        self.progress
            .inspect(|progress| progress.start(sizes.len(), elements));
        let options = ReadOptions {
            cancel: self.cancel,
            ..ReadOptions::default()
        };
        let model = self.plan.read(&rounding, &options, |reader| {
            let mut take = |name: &str| reader.take(name);
            let mut fill = Fill::new(Source {
                filling: self,
                rounding: &rounding,
                take: &mut take,
                floats: None,
                error: None,
            });
            let model = model.map_parameters(&mut Restore(&mut fill));
            match fill.into_source().error {
                Some(error) => Err(error),
                None => Ok(model),
            }
        })?;
        self.progress.inspect(|progress| progress.finish());
        Ok(model)
    }
}

/// What is to know of a parameter.
#[derive(Clone, Copy)]
struct Parameter {
    elements: usize,
    /// What it is rounded to.
    stored: DType,
    /// Whether it may have a dtype of its own, or be in blocks.
    weight: bool,
    /// Whether it stays in f32 in memory.
    buffer: bool,
}

fn parameters(model: &dyn PreTrainedModel, dtypes: &Dtypes) -> HashMap<String, Parameter> {
    let mut shapes = Shapes::default();
    model.visit_parameters(&mut Restore(&mut shapes));
    let kinds = std::iter::zip(shapes.weights, shapes.buffers);
    let found = std::iter::zip(shapes.found, kinds);
    let parameter = |((name, shape), (weight, buffer)): ((String, Vec<usize>), (bool, bool))| {
        let parameter = Parameter {
            elements: shape.iter().product(),
            stored: match buffer {
                true => dtypes.of_buffer(&name),
                false => dtypes.of_parameter(&name),
            },
            weight,
            buffer,
        };
        (name, parameter)
    };
    found.map(parameter).collect()
}

/// What the readers make of tensors: the dtypes of the parameters, or blocks.
struct Rounding<'a> {
    checkpoint: &'a Checkpoint,
    dtype: &'a LoadDtype,
    parameters: HashMap<String, Parameter>,
}

/// A value in host memory.
enum HostValue {
    Blocks(BlockTensor),
    Floats(HostTensor),
}

impl Rounding<'_> {
    fn of(&self, parameter: &str) -> Parameter {
        let unknown = Parameter {
            elements: 0,
            stored: self.dtype.stored.main,
            weight: false,
            buffer: false,
        };
        self.parameters.get(parameter).copied().unwrap_or(unknown)
    }
}

impl Prepare for Rounding<'_> {
    type Value = HostValue;

    fn checkpoint(&self) -> &Checkpoint {
        self.checkpoint
    }

    fn cost(&self, parameter: &str, tensor: &str) -> Result<usize, WeightsError> {
        let found = self.checkpoint.dtype(tensor)?;
        let as_found = self.dtype.of(found, self.of(parameter)) == [found; 2];
        Ok(match as_found && !self.checkpoint.copies(tensor) {
            true => 0,
            false => self.converted_cost(parameter, found),
        })
    }

    fn converted_cost(&self, parameter: &str, found: DType) -> usize {
        let parameter = self.of(parameter);
        let [_, kept] = self.dtype.of(found, parameter);
        parameter.elements.saturating_mul(kept.size())
    }

    fn read(&self, parameter: &str, tensor: &str) -> Result<HostValue, WeightsError> {
        let blocks = self.of(parameter).weight && self.dtype.on_cpu && self.dtype.auto;
        if blocks && let Some(blocks) = self.checkpoint.blocks(tensor)? {
            return Ok(HostValue::Blocks(blocks));
        }
        self.finish(parameter, self.checkpoint.tensor(tensor)?)
    }

    fn finish(&self, parameter: &str, tensor: HostTensor) -> Result<HostValue, WeightsError> {
        let [rounded, kept] = self.dtype.of(tensor.dtype(), self.of(parameter));
        let tensor = tensor.cast(rounded)?.cast(kept)?.aligned();
        Ok(HostValue::Floats(tensor))
    }
}

/// What a mapper gets values from.
struct Source<'a> {
    filling: Filling<'a>,
    rounding: &'a Rounding<'a>,
    /// Asked for each parameter once.
    take: &'a mut dyn FnMut(&str) -> Result<Option<HostValue>, WeightsError>,
    /// A value that was asked for as blocks and is none.
    floats: Option<HostTensor>,
    /// The first thing that went wrong; a mapper cannot return it.
    error: Option<ModelError>,
}

impl ParameterSource for Source<'_> {
    fn value<const D: usize>(&mut self, name: &str) -> Option<Tensor<D>> {
        let tensor = match self.floats.take() {
            Some(tensor) => tensor,
            None => match self.next(name) {
                Some(HostValue::Floats(tensor)) => tensor,
                Some(HostValue::Blocks(_)) => unreachable!("a weight is asked for blocks first"),
                None => return self.fresh(name),
            },
        };
        let tensor = self.filling.floats(name, tensor);
        let tensor = tensor.map_err(|error| self.error = Some(error)).ok()?;
        self.advance(name);
        Some(tensor)
    }

    fn blocks(&mut self, name: &str) -> Option<Blocks> {
        match self.next(name)? {
            HostValue::Blocks(blocks) => {
                self.advance(name);
                Some(self.filling.blocks(blocks))
            }
            HostValue::Floats(tensor) => {
                self.floats = Some(tensor);
                None
            }
        }
    }
}

impl Source<'_> {
    fn fresh<const D: usize>(&self, name: &str) -> Option<Tensor<D>> {
        let shape = self.filling.plan.model.parameters.get(name)?;
        let device = (self.filling.device, self.filling.dtype.compute);
        let Filling { init, draws, .. } = self.filling;
        init?.value(name, shape, draws, device)
    }

    fn next(&mut self, name: &str) -> Option<HostValue> {
        if self.error.is_some() {
            return None;
        }
        (self.take)(name).unwrap_or_else(|error| {
            self.error = Some(match error {
                WeightsError::Cancelled => ModelError::Cancelled,
                error => error.into(),
            });
            None
        })
    }

    fn advance(&self, name: &str) {
        let elements = self.rounding.of(name).elements as u64;
        let progress = self.filling.progress;
        progress.inspect(|progress| progress.advance(name, elements));
    }
}

impl Filling<'_> {
    fn floats<const D: usize>(
        &self,
        name: &str,
        tensor: HostTensor,
    ) -> Result<Tensor<D>, ModelError> {
        if tensor.shape().len() != D {
            return Err(ModelError::Rank {
                name: name.to_owned(),
                found: tensor.shape().len(),
                expected: D,
            });
        }
        let (bytes, dtype, shape) = tensor.into_parts();
        let dtype = match dtype {
            DType::F16 => BurnDType::F16,
            DType::BF16 => BurnDType::BF16,
            _ => BurnDType::F32,
        };
        let data = shared(bytes, shape, dtype);
        Ok(Tensor::from_data(data, (self.device, dtype)))
    }

    fn blocks(&self, blocks: BlockTensor) -> Blocks {
        let (len, bytes) = (blocks.format.block_len(), blocks.format.block_bytes());
        let shape = vec![blocks.rows, blocks.cols / len, bytes];
        let data = shared(blocks.bytes, shape, BurnDType::U8);
        Tensor::from_data(data, (self.device, BurnDType::U8))
    }
}

/// Host bytes as burn's, without a copy: a memory-mapped weight stays where it lies until something changes it.
fn shared(bytes: SharedBytes, shape: Vec<usize>, dtype: BurnDType) -> TensorData {
    let bytes = Bytes::from_shared(bytes, AllocationProperty::File);
    TensorData::from_bytes(bytes, shape, dtype)
}
