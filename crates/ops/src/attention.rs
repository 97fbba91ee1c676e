//! Scaled dot-product attention with grouped key and value heads.

use burn::tensor::{DType, Tensor, activation::softmax};

/// What scales and bounds the scores before the softmax.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionOptions {
    /// Factor on `q kᵀ`, usually `head_dim^-0.5`.
    pub scale: f64,
    /// `softcap * tanh(scores / softcap)`, as Gemma 2 does.
    pub softcap: Option<f64>,
}

/// `softmax(scale * q kᵀ + mask) v`, in the reference's eager order; the softmax is computed in f32.
///
/// * `q`: `[batch, heads, q_len, head_dim]`
/// * `k`, `v`: `[batch, kv_heads, kv_len, head_dim]`; `heads` is a multiple of `kv_heads`, and the query heads that
///   share a key head are neighbours
/// * `mask`: additive, `[batch or 1, 1, q_len or 1, kv_len]`
///
/// Gives `[batch, q_len, heads * head_dim]`.
pub fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: Option<Tensor<4>>,
    options: AttentionOptions,
) -> Tensor<3> {
    let [batch, heads, q_len, head_dim] = q.dims();
    let [_, kv_heads, kv_len, _] = k.dims();
    let group = heads / kv_heads;
    let dtype = q.dtype();

    // The query heads of a group become further rows of its one key head: nothing is repeated.
    let q = q.reshape([batch, kv_heads, group * q_len, head_dim]);
    let mut scores = q.matmul(k.swap_dims(2, 3)).cast(DType::F32) * options.scale;
    if let Some(cap) = options.softcap {
        scores = (scores / cap).tanh() * cap;
    }
    if let Some(mask) = mask {
        let grouped = scores.reshape([batch, kv_heads, group, q_len, kv_len]);
        scores = (grouped + mask.unsqueeze_dim::<5>(1)).reshape([
            batch,
            kv_heads,
            group * q_len,
            kv_len,
        ]);
    }
    softmax(scores, 3)
        .cast(dtype)
        .matmul(v)
        .reshape([batch, heads, q_len, head_dim])
        .swap_dims(1, 2)
        .reshape([batch, q_len, heads * head_dim])
}
