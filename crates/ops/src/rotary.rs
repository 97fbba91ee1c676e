//! Rotary position embedding (Su et al. 2021).

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use transformers_kernels as kernels;

use crate::gradient::{Derivative, Operand, is_followed, record, takes};
use crate::host::{flex, floats, on_host, strides, tensor};

/// Which features of a head form pairs that rotate together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RotaryLayout {
    /// `(i, i + half)`: "rotate half".
    #[default]
    HalfSplit,
    /// `(2 i, 2 i + 1)`, as in the paper.
    Interleaved,
}

/// Rotates the first `2 * half` features of every head and passes the others through.
///
/// `x` is `[batch, heads, seq, head_dim]`; `cos` and `sin` are `[batch or 1, seq, half]`, one angle per feature pair.
pub fn rotary(x: Tensor<4>, cos: Tensor<3>, sin: Tensor<3>, layout: RotaryLayout) -> Tensor<4> {
    if on_host(&x) && on_host(&cos) && on_host(&sin) {
        return on_cpu(x, cos, sin, layout);
    }
    let fixed = |angle: &Tensor<3>| takes(angle) && !is_followed(angle);
    if takes(&x) && fixed(&cos) && fixed(&sin) {
        let [cos, sin] = [cos, sin].map(Tensor::without_autodiff);
        let (x, node) = Operand::new(x).into_parts();
        let derivative = Turned {
            cos: flex(cos.clone()),
            sin: flex(sin.clone()),
            layout,
        };
        let y = on_cpu(Tensor::from_primitive::<Flex>(x), cos, sin, layout);
        return record([node], flex(y), derivative);
    }
    let [batch, heads, seq, head_dim] = x.dims();
    let half = cos.dims()[2];
    let (cos, sin) = (cos.unsqueeze_dim::<4>(1), sin.unsqueeze_dim::<4>(1));
    let pairs = |pairs: [usize; 2]| {
        let rotating = x.clone().narrow(3, 0, 2 * half);
        rotating.reshape([batch, heads, seq, pairs[0], pairs[1]])
    };
    let rotate = |first: Tensor<4>, second: Tensor<4>| {
        let turned = first.clone() * cos.clone() - second.clone() * sin.clone();
        [turned, second * cos + first * sin]
    };
    let rotated = match layout {
        RotaryLayout::HalfSplit => {
            let x = pairs([2, half]);
            let part = |i| x.clone().narrow(3, i, 1).squeeze_dim(3);
            Tensor::cat(rotate(part(0), part(1)).into(), 3)
        }
        RotaryLayout::Interleaved => {
            let x = pairs([half, 2]);
            let part = |i| x.clone().narrow(4, i, 1).squeeze_dim(4);
            let rotated: Tensor<5> = Tensor::stack(rotate(part(0), part(1)).into(), 4);
            rotated.reshape([batch, heads, seq, 2 * half])
        }
    };
    let mut parts = vec![rotated];
    if head_dim > 2 * half {
        parts.push(x.narrow(3, 2 * half, head_dim - 2 * half));
    }
    Tensor::cat(parts, 3)
}

/// In place where nobody else holds the elements, whatever order the dimensions have: the caller's projection is
/// `[batch, seq, heads, head_dim]`, and turns only its view.
fn on_cpu(x: Tensor<4>, cos: Tensor<3>, sin: Tensor<3>, layout: RotaryLayout) -> Tensor<4> {
    let [batch, heads, seq, head_dim] = x.dims();
    let half = cos.dims()[2];
    let (mut x, cos, sin) = (flex(x), flex(cos), flex(sin));
    let (cos, sin) = (floats(&cos), floats(&sin));
    let rotation = kernels::Rotation {
        cos: &cos,
        sin: &sin,
        half,
        interleaved: layout == RotaryLayout::Interleaved,
    };
    let offset = x.layout().start_offset();
    let rows = strides(&x).map(|[batch_stride, head, row]| kernels::Heads {
        strides: [batch_stride, head, row],
        ..kernels::Heads::by_head(batch, heads, seq, head_dim)
    });
    match rows {
        // Rows that share their elements, as of one head that stands for several, are turned once each.
        Some(rows) if x.is_unique() && !rows.strides.contains(&0) => {
            let storage = x.try_storage_mut::<f32>().expect("unique");
            kernels::rotary_in_place(&mut storage[offset..], rows, rotation);
            Tensor::from_primitive::<Flex>(x)
        }
        rows => {
            let x = match rows {
                Some(_) => x,
                None => x.to_contiguous(),
            };
            let by_head = kernels::Heads::by_head(batch, heads, seq, head_dim);
            let rows = rows.unwrap_or(by_head);
            let storage = &x.storage::<f32>()[x.layout().start_offset()..];
            let y = kernels::rotary(storage, rows, rotation);
            tensor(y, [batch, heads, seq, head_dim])
        }
    }
}

/// By these angles, which are no parameters.
#[derive(Debug, Clone)]
struct Turned {
    cos: FlexTensor,
    sin: FlexTensor,
    layout: RotaryLayout,
}

impl Derivative<1> for Turned {
    /// The way back is the turn by the opposite angles.
    fn gradients(self, grad: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let [grad, cos, sin] = [grad, self.cos, self.sin];
        let grad = Tensor::from_primitive::<Flex>(grad);
        let [cos, sin] = [cos, sin].map(Tensor::from_primitive::<Flex>);
        [Some(flex(on_cpu(grad, cos, -sin, self.layout)))]
    }
}
