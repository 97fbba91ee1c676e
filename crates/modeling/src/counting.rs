//! How large a model is.

use burn::module::{ModuleVisitor, Param};
use burn::tensor::{Int, Tensor};
use transformers_ops as ops;

use crate::erased::Restore;
use crate::parameters::{ParameterPath, follow_path};
use crate::{PreTrainedModel, Precision};

/// Which parameters are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CountOptions {
    /// Only those that a training changes.
    pub only_trainable: bool,
    /// Not those of embeddings: of words, of positions, of segments.
    pub exclude_embeddings: bool,
}

/// What the reference keeps beside the parameters: it counts memory, and is not trained.
const BUFFERS: &[&str] = &["final_logits_bias"];

impl dyn PreTrainedModel + '_ {
    /// The number of parameters, tied ones counted once, and those in quantised blocks by the values that they stand for.
    pub fn num_parameters(&self, options: CountOptions) -> usize {
        let counted = |found: &&Found| {
            let frozen = options.only_trainable && !found.trainable;
            let excluded = options.exclude_embeddings && found.embedding;
            !(found.buffer || frozen || excluded)
        };
        let found = self.sizes();
        found.iter().filter(counted).map(|found| found.values).sum()
    }

    /// The bytes that the parameters take.
    pub fn get_memory_footprint(&self) -> usize {
        self.sizes().iter().map(|found| found.bytes).sum()
    }

    fn sizes(&self) -> Vec<Found> {
        let mut sizes = Sizes::default();
        self.visit_parameters(&mut Restore(&mut sizes));
        sizes.found
    }
}

struct Found {
    values: usize,
    bytes: usize,
    trainable: bool,
    embedding: bool,
    buffer: bool,
}

#[derive(Default)]
struct Sizes {
    path: ParameterPath,
    found: Vec<Found>,
}

impl Sizes {
    fn push(&mut self, values: usize, bytes: usize, trainable: bool) {
        let name = self.path.name();
        let buffer = self.path.is_buffer() || BUFFERS.iter().any(|end| name.ends_with(end));
        self.found.push(Found {
            values,
            bytes,
            trainable,
            embedding: self.path.is_embedding(),
            buffer,
        });
    }
}

impl ModuleVisitor for Sizes {
    follow_path!();
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let values = value.shape().num_elements();
        self.push(
            values,
            values * value.dtype().size(),
            param.is_require_grad(),
        );
    }
    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let blocks = param.val();
        let bytes = blocks.shape().num_elements();
        let Ok(dims) = <[usize; 3]>::try_from(blocks.dims().as_slice()) else {
            return;
        };
        let weight = ops::Weight::Blocks(blocks.reshape(dims), Precision::Exact);
        self.push(weight.dims().iter().product(), bytes, false);
    }
}
