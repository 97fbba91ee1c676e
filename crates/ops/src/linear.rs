//! Matrix products with weights in the checkpoint's layout, and embedding look-up.

use burn::backend::Flex;
use burn::tensor::{DType, Int, Tensor};
use transformers_kernels as kernels;

use crate::Weight;
use crate::host::{flex, floats, ints_in_memory, on_host, tensor};
use crate::weight::HostWeight;

/// `x Wᵀ + b`: `x` is `[.., in]`, `weight` is `[out, in]` as checkpoints store it, `bias` is `[out]`; gives `[.., out]`.
///
/// On the CPU the weight may be bf16, f16 or quantised while `x` is f32; products are then added up in f32.
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: impl Into<Weight>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let [y] = linears(x, [(weight.into(), bias)]);
    y
}

/// [`linear`] with several weights for one input, such as query, key and value: one pass over `x`.
pub fn linears<const D: usize, const N: usize>(
    x: Tensor<D>,
    projections: [(Weight, Option<Tensor<1>>); N],
) -> [Tensor<D>; N] {
    let fast = |(weight, bias): &(Weight, Option<Tensor<1>>)| {
        weight.in_memory() && bias.as_ref().is_none_or(on_host)
    };
    if on_host(&x) && projections.iter().all(fast) {
        return on_cpu(x, projections);
    }
    projections.map(|(weight, bias)| in_primitives(x.clone(), weight, bias))
}

/// The leading dimensions are folded into one, because burn copies a transposed weight in its batched form.
fn in_primitives<const D: usize>(
    x: Tensor<D>,
    weight: Weight,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let mut dims = x.dims();
    let [out, input] = weight.dims();
    let rows = dims[..D - 1].iter().product();
    dims[D - 1] = out;
    let weight = weight.dense(&x.device(), x.dtype());
    let y = x.reshape([rows, input]).matmul(weight.transpose());
    let y = match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    };
    y.reshape(dims)
}

fn on_cpu<const D: usize, const N: usize>(
    x: Tensor<D>,
    projections: [(Weight, Option<Tensor<1>>); N],
) -> [Tensor<D>; N] {
    let dims = x.dims();
    let (cols, rows) = (dims[D - 1], dims[..D - 1].iter().product::<usize>());
    let x = flex(x);
    let operands = projections.map(|(weight, bias)| (HostWeight::new(weight), bias.map(flex)));
    let mut outputs = operands
        .each_ref()
        .map(|(weight, _)| vec![0.0; rows * weight.dims()[0]]);
    let biases = operands
        .each_ref()
        .map(|(_, bias)| bias.as_ref().map(floats));
    let mut operand = operands.iter().zip(&biases);
    let mut projections = outputs.each_mut().map(|out| {
        let ((weight, _), bias) = operand.next().expect("one for each output");
        kernels::Projection {
            weight: weight.view(),
            bias: bias.as_deref(),
            out,
            precision: weight.precision(),
        }
    });
    kernels::linear(&floats(&x), cols, &mut projections);
    let mut operand = operands.iter();
    outputs.map(|values| {
        let (weight, _) = operand.next().expect("one for each output");
        let mut dims = dims;
        dims[D - 1] = weight.dims()[0];
        tensor(values, dims)
    })
}

/// Rows of `weight` (`[vocab, hidden]`) by `ids` (`[batch, seq]`); gives `[batch, seq, hidden]`, on the CPU in f32.
///
/// The caller has checked that every id is below `vocab`.
pub fn embedding(weight: impl Into<Weight>, ids: Tensor<2, Int>) -> Tensor<3> {
    let weight = weight.into();
    if weight.in_memory() && ints_in_memory(&ids) {
        return look_up(weight, ids);
    }
    let weight = match weight {
        Weight::Dense(weight, _) => weight,
        blocks => blocks.dense(&ids.device(), DType::F32),
    };
    burn::tensor::module::embedding(weight, ids)
}

fn look_up(weight: Weight, ids: Tensor<2, Int>) -> Tensor<3> {
    let [batch, seq] = ids.dims();
    let weight = HostWeight::new(weight);
    let [_, cols] = weight.dims();
    let ids = ids.cast(DType::I32).try_into_primitive::<Flex>();
    let ids = ids
        .expect("the caller has asked where it lies")
        .to_contiguous();
    let ids = ids.as_slice::<i32>().expect("contiguous");
    let mut y = vec![0.0; batch * seq * cols];
    kernels::embedding(weight.view(), cols, ids, &mut y);
    tensor(y, [batch, seq, cols])
}
