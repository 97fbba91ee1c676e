//! Normalisation over the last dimension, in f32.

use burn::tensor::{DType, Tensor};

/// Root-mean-square norm, then the weight: `cast(x / rms(x)) * weight` (Zhang & Sennrich 2019, in Llama's form).
///
/// `x` is `[.., n]`, `weight` is `[n]`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    let dtype = x.dtype();
    scale_to_unit_rms(x, eps).cast(dtype) * weight.unsqueeze()
}

/// Root-mean-square norm in Gemma's form: the weight is stored as its difference from one and applied in f32.
///
/// `x` is `[.., n]`, `weight` is `[n]`.
pub fn rms_norm_one_plus<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    let dtype = x.dtype();
    let weight = weight.cast(DType::F32) + 1.0;
    (scale_to_unit_rms(x, eps) * weight.unsqueeze()).cast(dtype)
}

fn scale_to_unit_rms<const D: usize>(x: Tensor<D>, eps: f64) -> Tensor<D> {
    let x = x.cast(DType::F32);
    let mean_square = x.clone().square().mean_dim(D - 1);
    x / (mean_square + eps).sqrt()
}

/// Layer norm (Ba et al. 2016): `x` is `[.., n]`, `weight` and `bias` are `[n]`.
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Option<Tensor<1>>,
    eps: f64,
) -> Tensor<D> {
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
