//! Normalisation over the last dimension, in f32.

use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Tensor};
use transformers_kernels as kernels;

use crate::gradient::{Derivative, Operand, added, record, takes};
use crate::host::{flex, flex_of, floats, on_host, tensor, update};

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
        let y = kernels::rms_norm(&floats(&x), &floats(&weight), form.offset(), eps as f32);
        return tensor(y, dims);
    }
    if takes(&x) && takes(&weight) {
        let y = rms_norm(
            x.clone().without_autodiff(),
            weight.clone().without_autodiff(),
            form,
            eps,
        );
        return normed(x, weight, None, Kind::RootMeanSquare(form), eps, y);
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
        let mut y = Vec::new();
        let sum = update(flex(residual), |residual| {
            let (x, weight) = (floats(&x), floats(&weight));
            y = kernels::add_rms_norm(&x, residual, &weight, form.offset(), eps as f32);
        });
        return (sum, tensor(y, dims));
    }
    let sum = sum(x, residual);
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
        let (x, weight) = (floats(&x), floats(&weight));
        let y = kernels::layer_norm(&x, &weight, bias.as_deref(), eps as f32);
        return tensor(y, dims);
    }
    if takes(&x) && takes(&weight) && bias.as_ref().is_none_or(takes) {
        let plain_bias = bias.clone().map(Tensor::without_autodiff);
        let plain = (
            x.clone().without_autodiff(),
            weight.clone().without_autodiff(),
        );
        let y = layer_norm(plain.0, plain.1, plain_bias, eps);
        return normed(x, weight, bias, Kind::MeanAndVariance, eps, y);
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
        let (x, residual, weight) = (floats(&x), floats(&residual), floats(&weight));
        let y = kernels::add_layer_norm(&x, &residual, &weight, bias.as_deref(), eps as f32);
        return tensor(y, dims);
    }
    layer_norm(sum(x, residual), weight, bias, eps)
}

/// `x + residual`: in the place of `x`, where nobody else holds it. The residual is kept by the norm that it went through.
fn sum<const D: usize>(x: Tensor<D>, residual: Tensor<D>) -> Tensor<D> {
    if !(takes(&x) && takes(&residual)) {
        return x + residual;
    }
    let (x, of_x) = Operand::new(x).into_parts();
    let (residual, of_residual) = Operand::new(residual).into_parts();
    record([of_x, of_residual], added(&residual, x), Added)
}

/// Which norm.
#[derive(Debug, Clone, Copy)]
enum Kind {
    RootMeanSquare(NormForm),
    MeanAndVariance,
}

/// `y`, the norm of `x`, with a way back.
fn normed<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Option<Tensor<1>>,
    kind: Kind,
    eps: f64,
    y: Tensor<D>,
) -> Tensor<D> {
    let (x, weight, bias) = (Operand::new(x), Operand::new(weight), Operand::maybe(bias));
    let derivative = Normed {
        x: x.value(),
        weight: weight.value(),
        kind,
        eps: eps as f32,
    };
    record([&x, &weight, &bias].map(Operand::node), flex(y), derivative)
}

#[derive(Debug, Clone)]
struct Normed {
    x: FlexTensor,
    weight: FlexTensor,
    kind: Kind,
    eps: f32,
}

impl Derivative<3> for Normed {
    fn gradients(self, grad: FlexTensor, _: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let (grad, x, weight) = (floats(&grad), floats(&self.x), floats(&self.weight));
        let [to_x, to_weight, to_bias] = match self.kind {
            Kind::RootMeanSquare(form) => {
                let offset = form.offset();
                let [to_x, to_weight] =
                    kernels::rms_norm_gradient(&grad, &x, &weight, offset, self.eps);
                [Some(to_x), Some(to_weight), None]
            }
            Kind::MeanAndVariance => {
                kernels::layer_norm_gradient(&grad, &x, &weight, self.eps).map(Some)
            }
        };
        let shape = self.x.layout().shape();
        let sums = [to_weight, to_bias].map(|sum| sum.map(|sum| flex_of(sum, [weight.len()])));
        let [to_weight, to_bias] = sums;
        let to_x = to_x.map(|to_x| flex_of(to_x, shape.clone()));
        [to_x, to_weight, to_bias]
    }
}

/// Of a sum.
#[derive(Debug, Clone)]
struct Added;

impl Derivative<2> for Added {
    fn gradients(self, grad: FlexTensor, wanted: [bool; 2]) -> [Option<FlexTensor>; 2] {
        wanted.map(|wanted| wanted.then(|| grad.clone()))
    }
}
