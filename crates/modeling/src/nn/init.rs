//! Parameters that cost nothing until they are used or filled from a checkpoint.

use burn::module::{Param, ParamId};
use burn::tensor::{DType, Device, Distribution, Tensor};
use transformers_ops::Precision;

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
    /// Standard deviation of fresh weights (`initializer_range`).
    pub std: f64,
    /// How products with weights are computed on the CPU.
    pub precision: Precision,
}

impl Init {
    /// Fresh weights in f32 on `device` with the reference's usual spread of 0.02.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            dtype: DType::F32,
            std: 0.02,
            precision: Precision::default(),
        }
    }

    /// A weight drawn from `N(0, std²)`.
    pub fn normal<const D: usize>(&self, shape: [usize; D]) -> Param<Tensor<D>> {
        let (std, dtype) = (self.std, self.dtype);
        self.lazy(shape, move |device| {
            Tensor::<D>::random(shape, Distribution::Normal(0.0, std), device).cast(dtype)
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

    fn lazy<const D: usize>(
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
