//! Matrix products with weights in the checkpoint's layout, and embedding look-up.

use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Int, Shape, Tensor};
use transformers_kernels as kernels;

use crate::Weight;
use crate::gradient::{Derivative, Operand, added, record, takes};
use crate::host::{changed, flex, flex_ints, flex_of, floats, ints_in_memory, on_host, tensor};
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
    let taken = |(weight, bias): &(Weight, Option<Tensor<1>>)| {
        weight.is_taken() && bias.as_ref().is_none_or(takes)
    };
    if takes(&x) && projections.iter().all(taken) {
        return followed(x, projections);
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
    let cols = dims[D - 1];
    let x = flex(x);
    let operands = projections.map(|(weight, bias)| (HostWeight::new(weight), bias.map(flex)));
    let biases = operands
        .each_ref()
        .map(|(_, bias)| bias.as_ref().map(floats));
    let factors = std::array::from_fn(|i| kernels::Factor {
        weight: operands[i].0.view(),
        bias: biases[i].as_deref(),
        precision: operands[i].0.precision(),
    });
    let outputs = kernels::projected(&floats(&x), cols, factors);
    let mut operand = operands.iter();
    outputs.map(|values| {
        let (weight, _) = operand.next().expect("one for each output");
        let mut dims = dims;
        dims[D - 1] = weight.dims()[0];
        tensor(values, dims)
    })
}

/// One product for all, and for each a way back.
fn followed<const D: usize, const N: usize>(
    x: Tensor<D>,
    projections: [(Weight, Option<Tensor<1>>); N],
) -> [Tensor<D>; N] {
    let plain = projections.clone().map(|(weight, bias)| {
        let bias = bias.map(Tensor::without_autodiff);
        (weight.exact(), bias)
    });
    let outputs = on_cpu(x.clone().without_autodiff(), plain);
    let x = Operand::new(x);
    let mut projections = projections.into_iter();
    outputs.map(|y| {
        let (weight, bias) = projections.next().expect("one for each output");
        let (of_weight, of_bias) = (weight.operand(), Operand::maybe(bias));
        let derivative = Projected {
            x_shape: x.value().layout().shape().clone(),
            x: of_weight.is_followed().then(|| x.value()),
            weight: x.is_followed().then(|| HostWeight::new(weight.exact())),
        };
        record(
            [&x, &of_weight, &of_bias].map(Operand::node),
            flex(y),
            derivative,
        )
    })
}

/// Of a product with a weight: what the gradients need, and of that only what is wanted.
#[derive(Debug, Clone)]
struct Projected {
    x_shape: Shape,
    /// For the gradient of the weight.
    x: Option<FlexTensor>,
    /// For that of the input.
    weight: Option<HostWeight>,
}

impl Derivative<3> for Projected {
    fn gradients(self, grad: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
        self.all(grad, wanted, None)
    }

    fn add_gradients(
        self,
        grad: FlexTensor,
        wanted: [bool; 3],
        sum: FlexTensor,
    ) -> [Option<FlexTensor>; 3] {
        self.all(grad, wanted, Some(sum))
    }
}

impl Projected {
    fn all(
        self,
        grad: FlexTensor,
        wanted: [bool; 3],
        sum: Option<FlexTensor>,
    ) -> [Option<FlexTensor>; 3] {
        let outputs = *grad.layout().shape().last().expect("a matrix at least");
        let cols = *self.x_shape.last().expect("a matrix at least");
        let grad = floats(&grad);
        let rows = kernels::Rows::busy(&grad, outputs);
        let grad = rows.gather(&grad, outputs);
        let of_x = self.weight.map(|weight| match sum {
            Some(sum) if rows.are_all() => changed(sum, |sum| {
                kernels::add_linear_input_gradient(&grad, weight.view(), cols, sum);
            }),
            sum => {
                let out = kernels::linear_input_gradient(&grad, weight.view(), cols);
                let of_x = flex_of(rows.scatter(out, cols), self.x_shape);
                match sum {
                    Some(sum) => added(&of_x, sum),
                    None => of_x,
                }
            }
        });
        let mut of_bias = wanted[2].then(|| vec![0.0; outputs]);
        let of_weight = match (self.x, &mut of_bias) {
            (Some(x), of_bias) => {
                let x = floats(&x);
                let x = rows.gather(&x, cols);
                let of_bias = of_bias.as_deref_mut();
                let out = kernels::linear_weight_gradient(&grad, &x, [outputs, cols], of_bias);
                Some(flex_of(out, [outputs, cols]))
            }
            (None, Some(of_bias)) => {
                kernels::add_rows(&grad, of_bias);
                None
            }
            (None, None) => None,
        };
        let of_bias = of_bias.map(|of_bias| flex_of(of_bias, [outputs]));
        [of_x, of_weight, of_bias]
    }
}

/// Rows of `weight` (`[vocab, hidden]`) by `ids` (`[batch, seq]`); gives `[batch, seq, hidden]`, on the CPU in f32.
///
/// The caller has checked that every id is below `vocab`.
pub fn embedding(weight: impl Into<Weight>, ids: Tensor<2, Int>) -> Tensor<3> {
    padded_embedding(weight, ids, None)
}

/// [`embedding`]; no gradient comes to the row of the token `padding` (torch's `padding_idx`).
pub fn padded_embedding(
    weight: impl Into<Weight>,
    ids: Tensor<2, Int>,
    padding: Option<u32>,
) -> Tensor<3> {
    let weight = weight.into();
    if !ints_in_memory(&ids) || !(weight.in_memory() || weight.is_taken()) {
        return look_up_in_primitives(weight, ids, padding);
    }
    let dims = ids.dims();
    let ids = flex_ints(ids.cast(DType::I32)).to_contiguous();
    let y = look_up(weight.clone().exact(), &ids, dims);
    let derivative = LookedUp {
        ids,
        rows: weight.dims()[0],
        padding: padding.and_then(|padding| i32::try_from(padding).ok()),
    };
    record([weight.operand().node()], flex(y), derivative)
}

fn look_up_in_primitives(weight: Weight, ids: Tensor<2, Int>, padding: Option<u32>) -> Tensor<3> {
    let weight = match weight {
        Weight::Dense(weight, _) => weight,
        blocks => blocks.dense(&ids.device(), DType::F32),
    };
    let y = burn::tensor::module::embedding(weight, ids.clone());
    match padding {
        Some(padding) if y.is_autodiff() => {
            let padded = ids.equal_elem(padding).unsqueeze_dim::<3>(2);
            let padded = padded.expand(y.dims());
            y.clone().mask_where(padded, y.detach())
        }
        _ => y,
    }
}

fn look_up(weight: Weight, ids: &FlexTensor, [batch, seq]: [usize; 2]) -> Tensor<3> {
    let weight = HostWeight::new(weight);
    let [_, cols] = weight.dims();
    let ids = ids.as_slice::<i32>().expect("contiguous");
    let y = kernels::embedding(weight.view(), cols, ids);
    tensor(y, [batch, seq, cols])
}

/// Rows of a table of so many rows.
#[derive(Debug, Clone)]
struct LookedUp {
    ids: FlexTensor,
    rows: usize,
    padding: Option<i32>,
}

impl Derivative<1> for LookedUp {
    fn gradients(self, grad: FlexTensor, wanted: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let cols = *grad.layout().shape().last().expect("rows");
        let zeros = kernels::memory::zeros(self.rows * cols);
        let zeros = flex_of(zeros, [self.rows, cols]);
        self.add_gradients(grad, wanted, zeros)
    }

    /// The table is far larger than the gradient.
    fn add_gradients(
        self,
        grad: FlexTensor,
        _: [bool; 1],
        sum: FlexTensor,
    ) -> [Option<FlexTensor>; 1] {
        let cols = *grad.layout().shape().last().expect("rows");
        let ids = self.ids.as_slice::<i32>().expect("contiguous");
        [Some(changed(sum, |sum| {
            kernels::embedding_gradient(&floats(&grad), cols, ids, self.padding, sum);
        }))]
    }
}
