//! Parameters that cost nothing until they are used or filled from a checkpoint.

use std::ops::Range;

use burn::module::{Param, ParamId};
use burn::tensor::{DType, Device, Tensor, TensorData};
use transformers_ops::Precision;

use super::Draws;

const DEFAULT_STD: f64 = 0.02;

/// Where and how a model's parameters are born: their device, their dtype and the spread of fresh weights.
///
/// A parameter is lazy: building a model allocates nothing, the checkpoint then fills each parameter in place, and
/// only those that it lacks are ever drawn at random.
#[derive(Debug, Clone)]
pub struct Init {
    /// The device of every parameter.
    pub device: Device,
    /// The dtype of every floating-point parameter.
    pub dtype: DType,
    /// Standard deviation of fresh weights (`initializer_range`); 0 means 0.02, as in the reference.
    pub std: f64,
    /// Fresh weights that are more than so many standard deviations off are drawn again.
    pub cutoff: f64,
    /// What fresh weights are drawn from.
    pub draws: Draws,
    /// How products with weights are computed on the CPU.
    pub precision: Precision,
}

impl Init {
    /// Fresh weights in f32 on `device` with the reference's usual spread of 0.02.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            dtype: DType::F32,
            std: DEFAULT_STD,
            cutoff: f64::INFINITY,
            draws: Draws::default(),
            precision: Precision::default(),
        }
    }

    /// With weights of another spread.
    pub fn with_std(&self, std: f64) -> Self {
        Self {
            std,
            ..self.clone()
        }
    }

    /// A weight drawn from `N(0, std²)`.
    pub fn normal<const D: usize>(&self, shape: [usize; D]) -> Param<Tensor<D>> {
        self.normal_but(shape, 0..0)
    }

    /// Vectors drawn from `N(0, std²)`, `[rows, features]`; that of the padding token is zero.
    pub fn vectors(&self, shape: [usize; 2], padding: Option<u32>) -> Param<Tensor<2>> {
        let row = padding
            .map(|row| row as usize)
            .filter(|row| *row < shape[0]);
        self.normal_but(
            shape,
            row.map_or(0..0, |row| row * shape[1]..(row + 1) * shape[1]),
        )
    }

    /// Normal, but for a range of zeros.
    fn normal_but<const D: usize>(
        &self,
        shape: [usize; D],
        zeros: Range<usize>,
    ) -> Param<Tensor<D>> {
        let std = if self.std == 0.0 {
            DEFAULT_STD
        } else {
            self.std
        };
        let (dtype, cutoff, stream) = (self.dtype, self.cutoff, self.draws.stream());
        self.lazy(shape, move |device| {
            let mut values = stream.truncated(shape.iter().product(), std, cutoff);
            values[zeros.clone()].fill(0.0);
            Tensor::from_data(TensorData::new(values, shape), (device, dtype))
        })
    }

    /// A weight drawn between `-bound` and `bound`.
    pub fn uniform<const D: usize>(&self, shape: [usize; D], bound: f64) -> Param<Tensor<D>> {
        self.uniform_and_then(shape, -bound..bound, |x| x)
    }

    /// What `f` makes of numbers drawn from `range`.
    pub fn uniform_and_then<const D: usize>(
        &self,
        shape: [usize; D],
        range: Range<f64>,
        f: impl Fn(f32) -> f32 + Send + Sync + 'static,
    ) -> Param<Tensor<D>> {
        let (dtype, stream) = (self.dtype, self.draws.stream());
        self.lazy(shape, move |device| {
            let count = shape.iter().product();
            let drawn = stream.uniform(count, range.start, range.end).into_iter();
            let values: Vec<f32> = drawn.map(&f).collect();
            Tensor::from_data(TensorData::new(values, shape), (device, dtype))
        })
    }

    /// A parameter of zeros: biases, and norms that store `weight - 1`.
    pub fn zeros<const D: usize>(&self, shape: [usize; D]) -> Param<Tensor<D>> {
        let dtype = self.dtype;
        self.lazy(shape, move |device| Tensor::zeros(shape, (device, dtype)))
    }

    /// A parameter of ones: norm weights.
    pub fn ones<const D: usize>(&self, shape: [usize; D]) -> Param<Tensor<D>> {
        let dtype = self.dtype;
        self.lazy(shape, move |device| Tensor::ones(shape, (device, dtype)))
    }

    /// A parameter of what `init` makes.
    pub fn lazy<const D: usize>(
        &self,
        shape: [usize; D],
        init: impl Fn(&Device) -> Tensor<D> + Send + Sync + 'static,
    ) -> Param<Tensor<D>> {
        Param::uninitialized(
            ParamId::new(),
            move |device, require_grad| init(device).set_require_grad(require_grad),
            self.device.clone(),
            true,
            shape.into(),
        )
    }
}
