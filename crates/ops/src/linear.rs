//! Matrix products with weights in the checkpoint's layout, and embedding look-up.

use burn::tensor::{Int, Tensor};

/// `x Wᵀ + b`: `x` is `[.., in]`, `weight` is `[out, in]` as checkpoints store it, `bias` is `[out]`; gives `[.., out]`.
///
/// The leading dimensions are folded into one, because burn copies a transposed weight in its batched form.
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let mut dims = x.dims();
    let [out, input] = weight.dims();
    let rows = dims[..D - 1].iter().product();
    dims[D - 1] = out;
    let y = x.reshape([rows, input]).matmul(weight.transpose());
    let y = match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    };
    y.reshape(dims)
}

/// Rows of `weight` (`[vocab, hidden]`) by `ids` (`[batch, seq]`); gives `[batch, seq, hidden]`.
///
/// The caller has checked that every id is below `vocab`.
pub fn embedding(weight: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    burn::tensor::module::embedding(weight, ids)
}
