//! Scaled dot-product attention with grouped key and value heads.

mod gradient;

use burn::tensor::{DType, Tensor};
use transformers_kernels as kernels;

use crate::Mask;
use crate::host::{flex, floats, heads, on_host, tensor};
use crate::packed::packed_attention;
use crate::softmax::softmax;

/// What happens to the scores before the softmax: they are scaled, capped, and the bias is added.
#[derive(Debug, Clone, Default)]
pub struct AttentionOptions {
    /// Factor on `q kᵀ`, usually `head_dim^-0.5`.
    pub scale: f64,
    /// `softcap * tanh(scores / softcap)`, as Gemma 2 does.
    pub softcap: Option<f64>,
    /// `[heads]`: a score that joins in each head's softmax and has no value, as in GPT-OSS.
    pub sinks: Option<Tensor<1>>,
    /// Added to the scores, `[batch or 1, heads or 1, q_len or 1, kv_len]`: relative positions, or a mask of your own.
    pub bias: Option<Tensor<4>>,
}

impl AttentionOptions {
    /// Scores are scaled and nothing else.
    pub fn new(scale: f64) -> Self {
        Self {
            scale,
            ..Self::default()
        }
    }
}

/// `softmax(scale * q kᵀ + mask) v`; the softmax is computed in f32.
///
/// * `q`: `[batch, heads, q_len, head_dim]`
/// * `k`, `v`: `[batch, kv_heads, kv_len, head_dim]`; `heads` is a multiple of `kv_heads`, and the query heads that
///   share a key head are neighbours
///
/// Under a mask [with pages](Mask::with_pages), `k` and `v` are all blocks, `[blocks, kv_heads, block_len, head_dim]`, and a
/// bias is the same for all queries and as long as the longest sequence.
///
/// Any view will do, as long as the features of a head lie next to each other. Gives `[batch, q_len, heads * head_dim]`.
/// Of a query that sees no key the result is zero on the CPU and the mean of the values elsewhere; nothing should read it,
/// unless the mask is [with means](Mask::with_means).
pub fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: &Mask,
    options: &AttentionOptions,
) -> Tensor<3> {
    if let Some(pages) = mask.pages() {
        return packed_attention(q, [k, v], pages, mask.window(), options);
    }
    let AttentionOptions { sinks, bias, .. } = options;
    let extras = sinks.as_ref().is_none_or(on_host) && bias.as_ref().is_none_or(on_host);
    // Padding between tokens takes the place of a bias in the kernel.
    let both = bias.is_some() && mask.scattered_padding().is_some();
    let plain = extras && !both && !mask.needs_matrix();
    if on_host(&q) && on_host(&k) && on_host(&v) && plain {
        let (kv_len, padding) = (k.dims()[2], mask.scattered_padding());
        let seen = seen(mask, padding.as_deref(), kv_len, options);
        return on_cpu(q, [k, v], kernels::KeyRows::Dense(kv_len), seen, options);
    }
    if !both && gradient::knows([&q, &k, &v], mask, options) {
        return gradient::followed(q, [k, v], mask, options);
    }
    in_primitives(q, k, v, mask, options).0
}

/// What queries see of so many keys by the mask, and the scale; `padding` is what lies between tokens.
fn seen<'a>(
    mask: &'a Mask,
    padding: Option<&'a [f32]>,
    kv_len: usize,
    options: &AttentionOptions,
) -> kernels::AttentionOptions<'a> {
    kernels::AttentionOptions {
        causal: mask.is_causal(),
        query_offset: mask.segments().is_none().then_some(mask.query_offset()),
        window: mask.window(),
        visible: mask.visible(),
        segments: mask.segments(),
        bias: padding.map(|data| kernels::HeadView {
            data,
            strides: [kv_len, 0, 0],
        }),
        ..kernels::AttentionOptions::new(options.scale as f32)
    }
}

/// [`attention`] in burn primitives on every device, in the reference's eager order, with the weights that the softmax
/// gives: `[batch, heads, q_len, kv_len]`, without the share of [sinks](AttentionOptions::sinks).
pub fn eager_attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: &Mask,
    options: &AttentionOptions,
) -> (Tensor<3>, Tensor<4>) {
    in_primitives(q, k, v, mask, options)
}

/// Runs the kernel where `seen` says what queries see, and all else is in `options`.
pub(crate) fn on_cpu(
    q: Tensor<4>,
    [k, v]: [Tensor<4>; 2],
    rows: kernels::KeyRows<'_>,
    seen: kernels::AttentionOptions<'_>,
    options: &AttentionOptions,
) -> Tensor<3> {
    let [batch, heads_of_q, q_len, head_dim] = q.dims();
    let shape = kernels::AttentionShape {
        batch,
        heads: heads_of_q,
        kv_heads: k.dims()[1],
        q_len,
        head_dim,
        value_dim: v.dims()[3],
    };
    let (q, k, v) = (heads(flex(q)), heads(flex(k)), heads(flex(v)));
    let sinks = options.sinks.clone().map(flex);
    let sinks = sinks.as_ref().map(floats);
    let bias = options.bias.clone().map(|bias| {
        let [b, h, q, keys] = bias.dims();
        let shape = [b.max(batch), h.max(heads_of_q), q.max(q_len), keys];
        heads(flex(bias.expand(shape)))
    });
    let mut y = vec![0.0; batch * q_len * heads_of_q * shape.value_dim];
    kernels::attention(
        shape,
        q.view(),
        kernels::Keys {
            keys: k.view(),
            values: v.view(),
            rows,
        },
        kernels::AttentionOptions {
            softcap: options.softcap.map(|cap| cap as f32),
            sinks: sinks.as_deref(),
            bias: bias.as_ref().map(|bias| bias.view()).or(seen.bias),
            ..seen
        },
        &mut y,
    );
    tensor(y, [batch, q_len, heads_of_q * shape.value_dim])
}

/// What is attended to, and the weights.
pub(crate) fn in_primitives(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: &Mask,
    options: &AttentionOptions,
) -> (Tensor<3>, Tensor<4>) {
    let [batch, heads, q_len, head_dim] = q.dims();
    let [_, kv_heads, kv_len, value_dim] = v.dims();
    let group = heads / kv_heads;
    let dtype = q.dtype();

    // The query heads of a group become further rows of its one key head: nothing is repeated.
    let folded = [batch, kv_heads, group * q_len, kv_len];
    let by_head = [batch, heads, q_len, kv_len];
    let q = q.reshape([batch, kv_heads, group * q_len, head_dim]);
    let kept = mask.kept(q_len, kv_len, &q.device());
    let mask = mask.additive(q_len, kv_len, &q.device());
    let mut scores = q.matmul(k.swap_dims(2, 3)).cast(DType::F32) * options.scale;
    if let Some(cap) = options.softcap {
        scores = (scores / cap).tanh() * cap;
    }
    // What a bias hides stays above what the mask hides, and what both hide stays finite: of a row that is hidden as a
    // whole the softmax would be NaN.
    let mut bias = options.bias.clone();
    if let Some(kept) = kept {
        bias = bias.map(|bias| bias * kept.clone());
        scores = (scores.reshape(by_head) * kept).reshape(folded);
    }
    let added = match (mask, bias.map(|bias| bias.clamp_min(f32::MIN / 2.0))) {
        (Some(mask), Some(bias)) => Some((mask + bias).clamp_min(f32::MIN)),
        (mask, bias) => mask.or(bias),
    };
    if let Some(added) = added {
        scores = (scores.reshape(by_head) + added).reshape(folded);
    }
    let weights = match &options.sinks {
        None => softmax(scores),
        Some(sinks) => {
            let sinks = sinks
                .clone()
                .reshape([1, heads, 1, 1])
                .expand([batch, heads, q_len, 1]);
            let joined = Tensor::cat(vec![scores.reshape(by_head), sinks.cast(DType::F32)], 3);
            softmax(joined).narrow(3, 0, kv_len).reshape(folded)
        }
    };
    let weights = weights.cast(dtype);
    let y = weights
        .clone()
        .matmul(v)
        .reshape([batch, heads, q_len, value_dim])
        .swap_dims(1, 2)
        .reshape([batch, q_len, heads * value_dim]);
    (y, weights.reshape(by_head))
}
