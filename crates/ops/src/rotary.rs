//! Rotary position embedding (Su et al. 2021) in the rotate-half layout of the reference.

use burn::tensor::Tensor;

/// Rotates the first `2 * half` features of every head and passes the others through.
///
/// `x` is `[batch, heads, seq, head_dim]`; `cos` and `sin` are `[batch or 1, seq, half]`, one angle per feature pair
/// `(i, i + half)`.
pub fn rotary(x: Tensor<4>, cos: Tensor<3>, sin: Tensor<3>) -> Tensor<4> {
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
