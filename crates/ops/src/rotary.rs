//! Rotary position embedding (Su et al. 2021) in the rotate-half layout of the reference.

use burn::backend::Flex;
use burn::tensor::Tensor;
use transformers_kernels as kernels;

use crate::host::{flex, floats, on_host, strides, tensor};

/// Rotates the first `2 * half` features of every head and passes the others through.
///
/// `x` is `[batch, heads, seq, head_dim]`; `cos` and `sin` are `[batch or 1, seq, half]`, one angle per feature pair
/// `(i, i + half)`.
pub fn rotary(x: Tensor<4>, cos: Tensor<3>, sin: Tensor<3>) -> Tensor<4> {
    if on_host(&x) && on_host(&cos) && on_host(&sin) {
        return on_cpu(x, cos, sin);
    }
    let head_dim = x.dims()[3];
    let half = cos.dims()[2];
    let (cos, sin) = (cos.unsqueeze_dim::<4>(1), sin.unsqueeze_dim::<4>(1));
    let first = x.clone().narrow(3, 0, half);
    let second = x.clone().narrow(3, half, half);
    let mut parts = vec![
        first.clone() * cos.clone() - second.clone() * sin.clone(),
        second * cos + first * sin,
    ];
    if head_dim > 2 * half {
        parts.push(x.narrow(3, 2 * half, head_dim - 2 * half));
    }
    Tensor::cat(parts, 3)
}

/// In place where nobody else holds the elements, whatever order the dimensions have: the caller's projection is
/// `[batch, seq, heads, head_dim]`, and turns only its view.
fn on_cpu(x: Tensor<4>, cos: Tensor<3>, sin: Tensor<3>) -> Tensor<4> {
    let [batch, heads, seq, head_dim] = x.dims();
    let half = cos.dims()[2];
    let (mut x, cos, sin) = (flex(x), flex(cos), flex(sin));
    let (cos, sin) = (floats(&cos), floats(&sin));
    let rotation = kernels::Rotation {
        cos: &cos,
        sin: &sin,
        half,
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
            let mut y = vec![0.0; batch * heads * seq * head_dim];
            let storage = &x.storage::<f32>()[x.layout().start_offset()..];
            kernels::rotary(storage, rows, rotation, &mut y);
            tensor(y, [batch, heads, seq, head_dim])
        }
    }
}
