//! Normalisation over the last dimension, in f32.

use burn::tensor::{DType, Tensor};
use transformers_kernels as kernels;

use crate::host::{flex, floats, on_host, tensor, update};

/// What the weight of [`rms_norm`] means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormForm {
    /// The factor itself, applied after the cast back (Llama).
    Plain,
    /// Its difference from one, applied in f32 (Gemma).
    OnePlus,
}

impl NormForm {
    fn offset(self) -> f32 {
        match self {
            Self::Plain => 0.0,
            Self::OnePlus => 1.0,
        }
    }
}

/// Root-mean-square norm (Zhang & Sennrich 2019): `x / rms(x)`, times what `form` makes of `weight`.
///
/// `x` is `[.., n]`, `weight` is `[n]`.
pub fn rms_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    form: NormForm,
    eps: f64,
) -> Tensor<D> {
    if on_host(&x) && on_host(&weight) {
        let dims = x.dims();
        let (x, weight) = (flex(x), flex(weight));
        let mut y = vec![0.0; dims.iter().product()];
        kernels::rms_norm(
            &floats(&x),
            &floats(&weight),
            form.offset(),
            eps as f32,
            &mut y,
        );
        return tensor(y, dims);
    }
    let dtype = x.dtype();
    let x = x.cast(DType::F32);
    let mean_square = x.clone().square().mean_dim(D - 1);
    let x = x / (mean_square + eps).sqrt();
    match form {
        NormForm::Plain => x.cast(dtype) * weight.unsqueeze(),
        NormForm::OnePlus => (x * (weight.cast(DType::F32) + 1.0).unsqueeze()).cast(dtype),
    }
}

/// Adds `x` to the residual stream and norms the sum: gives the stream and its [`rms_norm`], in one pass over memory.
///
/// `x` and `residual` are `[.., n]`, `weight` is `[n]`.
pub fn add_rms_norm<const D: usize>(
    x: Tensor<D>,
    residual: Tensor<D>,
    weight: Tensor<1>,
    form: NormForm,
    eps: f64,
) -> (Tensor<D>, Tensor<D>) {
    if on_host(&x) && on_host(&residual) && on_host(&weight) {
        let dims = x.dims();
        let (x, weight) = (flex(x), flex(weight));
        let mut y = vec![0.0; dims.iter().product()];
        let sum = update(flex(residual), |residual| {
            let (x, weight) = (floats(&x), floats(&weight));
            kernels::add_rms_norm(&x, residual, &weight, form.offset(), eps as f32, &mut y);
        });
        return (sum, tensor(y, dims));
    }
    let sum = residual + x;
    (sum.clone(), rms_norm(sum, weight, form, eps))
}

/// Layer norm (Ba et al. 2016): `x` is `[.., n]`, `weight` and `bias` are `[n]`.
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Option<Tensor<1>>,
    eps: f64,
) -> Tensor<D> {
    if on_host(&x) && on_host(&weight) && bias.as_ref().is_none_or(on_host) {
        let dims = x.dims();
        let (x, weight, bias) = (flex(x), flex(weight), bias.map(flex));
        let bias = bias.as_ref().map(floats);
        let mut y = vec![0.0; dims.iter().product()];
        kernels::layer_norm(
            &floats(&x),
            &floats(&weight),
            bias.as_deref(),
            eps as f32,
            &mut y,
        );
        return tensor(y, dims);
    }
    let dtype = x.dtype();
    let x = x.cast(DType::F32);
    let centred = x.clone() - x.mean_dim(D - 1);
    let variance = centred.clone().square().mean_dim(D - 1);
    let y = centred / (variance + eps).sqrt() * weight.cast(DType::F32).unsqueeze();
    match bias {
        Some(bias) => y + bias.cast(DType::F32).unsqueeze(),
        None => y,
    }
    .cast(dtype)
}

/// [`layer_norm`] of `x + residual`, in one pass over memory; shapes as there.
pub fn add_layer_norm<const D: usize>(
    x: Tensor<D>,
    residual: Tensor<D>,
    weight: Tensor<1>,
    bias: Option<Tensor<1>>,
    eps: f64,
) -> Tensor<D> {
    let plain = on_host(&x) && on_host(&residual) && on_host(&weight);
    if plain && bias.as_ref().is_none_or(on_host) {
        let dims = x.dims();
        let (x, residual, weight) = (flex(x), flex(residual), flex(weight));
        let bias = bias.map(flex);
        let bias = bias.as_ref().map(floats);
        let mut y = vec![0.0; dims.iter().product()];
        let (x, residual, weight) = (floats(&x), floats(&residual), floats(&weight));
        kernels::add_layer_norm(&x, &residual, &weight, bias.as_deref(), eps as f32, &mut y);
        return tensor(y, dims);
    }
    layer_norm(x + residual, weight, bias, eps)
}
