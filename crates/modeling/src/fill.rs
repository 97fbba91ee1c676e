//! From a checkpoint's tensors to a model's parameters: their dtypes, several read at a time, in the model's order.

use std::collections::HashMap;

use burn::tensor::{AllocationProperty, Bytes, DType as BurnDType, Device, Tensor, TensorData};
use bytes::Bytes as SharedBytes;
use transformers_hub::CancelToken;
use transformers_weights::{BlockTensor, Checkpoint, DType, HostTensor, LoadPlan};

use crate::erased::{Blocks, Restore};
use crate::load::Dtype;
use crate::parameters::{Fill, ParameterSource, Shapes};
use crate::read_ahead::read_ahead;
use crate::{LoadProgress, ModelError, PreTrainedModel};

/// The dtype that parameters are rounded to, and the one that is computed in.
///
/// The CPU computes in f32 whatever the parameters are rounded to. Its weight matrices stay as the checkpoint has them:
/// in the dtype that they were rounded to, and with `auto` in blocks, or in a half type that a GGUF file has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoadDtype {
    stored: DType,
    pub compute: BurnDType,
    on_cpu: bool,
    auto: bool,
}

impl LoadDtype {
    pub fn choose(asked: Dtype, checkpoint: &Checkpoint, device: &Device) -> Self {
        let stored = match asked {
            Dtype::Float32 => DType::F32,
            Dtype::Float16 => DType::F16,
            Dtype::BFloat16 => DType::BF16,
            Dtype::Auto => checkpoint.dtype_hint().unwrap_or(DType::F32),
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
        Self {
            stored,
            compute,
            on_cpu,
            auto: asked == Dtype::Auto,
        }
    }

    /// What a tensor of type `found` is rounded to, and then kept as.
    fn of(&self, found: DType, weight: bool) -> [DType; 2] {
        let half = matches!(found, DType::F16 | DType::BF16);
        let as_found = weight && self.on_cpu && self.auto && half && self.stored == DType::F32;
        let rounded = if as_found { found } else { self.stored };
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
    pub dtype: LoadDtype,
    pub device: &'a Device,
    /// Whether a tensor that needs no conversion is used where it lies in its file.
    pub mapped: bool,
    pub progress: Option<&'a dyn LoadProgress>,
    pub cancel: Option<&'a CancelToken>,
}

/// A parameter that the checkpoint has a value for.
struct Item {
    name: String,
    /// The tensor's name in the checkpoint.
    source: String,
    elements: usize,
    /// Whether it may have a dtype of its own, or be in blocks.
    weight: bool,
}

/// A value in host memory.
enum HostValue {
    Blocks(BlockTensor),
    Floats(HostTensor),
}

impl Filling<'_> {
    /// Gives `model` the values that the plan has for it.
    pub fn fill(
        self,
        model: Box<dyn PreTrainedModel>,
    ) -> Result<Box<dyn PreTrainedModel>, ModelError> {
        let items = self.items(&*model);
        let costs = items.iter().map(|item| self.cost(item));
        let costs = costs.collect::<Result<Vec<usize>, ModelError>>()?;
        let elements = items.iter().map(|item| item.elements as u64).sum();
        self.progress
            .inspect(|progress| progress.start(items.len(), elements));
        let read = |item: usize| self.read(&items[item]);
        let model = read_ahead(&costs, read, |take| {
            let numbers = items.iter().enumerate();
            let mut fill = Fill::new(Source {
                filling: self,
                items: &items,
                numbers: numbers.map(|(at, item)| (&*item.name, at)).collect(),
                take,
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

    /// In the model's order.
    fn items(&self, model: &dyn PreTrainedModel) -> Vec<Item> {
        let mut shapes = Shapes::default();
        model.visit_parameters(&mut Restore(&mut shapes));
        let found = std::iter::zip(shapes.found, shapes.weights);
        let item = |((name, shape), weight): ((String, Vec<usize>), bool)| {
            Some(Item {
                source: self.plan.sources.get(&name)?.clone(),
                name,
                elements: shape.iter().product(),
                weight,
            })
        };
        found.filter_map(item).collect()
    }

    /// About how many bytes reading produces; none where the tensor is used in place.
    fn cost(&self, item: &Item) -> Result<usize, ModelError> {
        let found = self.checkpoint.dtype(&item.source)?;
        let [rounded, kept] = self.dtype.of(found, item.weight);
        Ok(match self.mapped && found == rounded && found == kept {
            true => 0,
            false => item.elements.saturating_mul(kept.size()),
        })
    }

    fn check_cancelled(&self) -> Result<(), ModelError> {
        match self.cancel.is_some_and(CancelToken::is_cancelled) {
            true => Err(ModelError::Cancelled),
            false => Ok(()),
        }
    }

    fn read(&self, item: &Item) -> Result<HostValue, ModelError> {
        self.check_cancelled()?;
        let blocks = item.weight && self.dtype.on_cpu && self.dtype.auto;
        if blocks && let Some(blocks) = self.checkpoint.blocks(&item.source)? {
            return Ok(HostValue::Blocks(blocks));
        }
        let tensor = self.checkpoint.tensor(&item.source)?;
        let [rounded, kept] = self.dtype.of(tensor.dtype(), item.weight);
        let tensor = tensor.cast(rounded)?.cast(kept)?.aligned();
        Ok(HostValue::Floats(tensor))
    }
}

/// What a mapper gets values from.
struct Source<'a> {
    filling: Filling<'a>,
    items: &'a [Item],
    /// By the parameters' names; each is asked for once.
    numbers: HashMap<&'a str, usize>,
    take: &'a mut dyn FnMut(usize) -> Result<HostValue, ModelError>,
    /// A value that was asked for as blocks and is none.
    floats: Option<(usize, HostTensor)>,
    /// The first thing that went wrong; a mapper cannot return it.
    error: Option<ModelError>,
}

impl ParameterSource for Source<'_> {
    fn value<const D: usize>(&mut self, name: &str) -> Option<Tensor<D>> {
        let (item, tensor) = match self.floats.take() {
            Some(floats) => floats,
            None => match self.next(name)? {
                (item, HostValue::Floats(tensor)) => (item, tensor),
                (_, HostValue::Blocks(_)) => unreachable!("a weight is asked for blocks first"),
            },
        };
        let tensor = self.filling.floats(name, tensor);
        let tensor = tensor.map_err(|error| self.error = Some(error)).ok()?;
        self.advance(item);
        Some(tensor)
    }

    fn blocks(&mut self, name: &str) -> Option<Blocks> {
        match self.next(name)? {
            (item, HostValue::Blocks(blocks)) => {
                self.advance(item);
                Some(self.filling.blocks(blocks))
            }
            (item, HostValue::Floats(tensor)) => {
                self.floats = Some((item, tensor));
                None
            }
        }
    }
}

impl Source<'_> {
    fn next(&mut self, name: &str) -> Option<(usize, HostValue)> {
        if self.error.is_some() {
            return None;
        }
        let item = self.numbers.remove(name)?;
        // Again, for it may have been read long ago.
        let checked = self.filling.check_cancelled();
        match checked.and_then(|()| (self.take)(item)) {
            Ok(value) => Some((item, value)),
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }

    fn advance(&self, item: usize) {
        let Item { name, elements, .. } = &self.items[item];
        let progress = self.filling.progress;
        progress.inspect(|progress| progress.advance(name, *elements as u64));
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
