//! Multi-head latent attention (DeepSeek-V2, 2024): keys and values of all heads come from one small vector per token,
//! and only that is cached.

use burn::module::Module;
use burn::tensor::Tensor;
use transformers_ops as ops;

use super::{Init, LayerContext, Linear, NormForm, RmsNorm, SelfAttention, linears};

/// The shape of a [`LatentAttention`] layer.
#[derive(Debug, Clone, Copy)]
pub struct LatentAttentionOptions {
    /// Features of the residual stream.
    pub hidden_size: usize,
    /// Heads.
    pub num_heads: usize,
    /// Features of the vector that queries come from; `None`: they come from the residual stream.
    pub q_rank: Option<usize>,
    /// Features of the vector that keys and values come from.
    pub kv_rank: usize,
    /// Features of a query and key that have no position.
    pub nope_dim: usize,
    /// Features of a query and key that rotate; those of the keys are the same in all heads.
    pub rope_dim: usize,
    /// Features of a value.
    pub value_dim: usize,
    /// Biases of the projections from and to the residual stream, but for that of plain queries.
    pub bias: bool,
    /// Added to the mean square in the norms of the small vectors.
    pub norm_eps: f64,
    /// Factor on the scores.
    pub scale: f64,
    /// Features `2 i` and `2 i + 1` rotate together, and not `i` and `i + half`.
    pub interleaved: bool,
}

/// Attention through low-rank queries, keys and values.
#[derive(Module, Debug)]
pub struct LatentAttention {
    q_proj: Option<Linear>,
    q_a_proj: Option<Linear>,
    q_a_layernorm: Option<RmsNorm>,
    q_b_proj: Option<Linear>,
    kv_a_proj_with_mqa: Linear,
    kv_a_layernorm: RmsNorm,
    kv_b_proj: Linear,
    o_proj: Linear,
    #[module(skip)]
    options: LatentAttentionOptions,
}

impl LatentAttention {
    /// A layer of the given shape.
    pub fn new(options: &LatentAttentionOptions, init: &Init) -> Self {
        let LatentAttentionOptions {
            hidden_size,
            num_heads,
            q_rank,
            kv_rank,
            nope_dim,
            rope_dim,
            value_dim,
            bias,
            norm_eps,
            ..
        } = *options;
        let norm = |size| RmsNorm::new(size, norm_eps, NormForm::Plain, init);
        let linear = |input, output, bias| Linear::new(input, output, bias, init);
        let queries = num_heads * (nope_dim + rope_dim);
        let plain = q_rank.is_none();
        Self {
            q_proj: plain.then(|| linear(hidden_size, queries, false)),
            q_a_proj: q_rank.map(|rank| linear(hidden_size, rank, bias)),
            q_a_layernorm: q_rank.map(norm),
            q_b_proj: q_rank.map(|rank| linear(rank, queries, false)),
            kv_a_proj_with_mqa: linear(hidden_size, kv_rank + rope_dim, bias),
            kv_a_layernorm: norm(kv_rank),
            kv_b_proj: linear(kv_rank, num_heads * (nope_dim + value_dim), false),
            o_proj: linear(num_heads * value_dim, hidden_size, bias),
            options: *options,
        }
    }

    /// Queries `[batch, seq, heads * (nope + rope)]`, and what keys and values come from, `[batch, seq, rank + rope]`.
    fn project(&self, x: Tensor<3>) -> [Tensor<3>; 2] {
        let latent = &self.kv_a_proj_with_mqa;
        match (
            &self.q_proj,
            &self.q_a_proj,
            &self.q_a_layernorm,
            &self.q_b_proj,
        ) {
            (None, Some(down), Some(norm), Some(up)) => {
                let [q, latent] = linears(x, [down, latent]);
                [up.forward(norm.forward(q)), latent]
            }
            (Some(plain), ..) => linears(x, [plain, latent]),
            _ => unreachable!("queries are plain or low-rank"),
        }
    }

    /// Whether it costs less to bring the queries to the cached vectors than to bring these to all heads, in products of
    /// one head.
    fn absorbs(&self, seq: usize, all: usize) -> bool {
        let LatentAttentionOptions {
            kv_rank,
            nope_dim,
            rope_dim,
            value_dim,
            ..
        } = self.options;
        let up = kv_rank * (nope_dim + value_dim);
        let expanded = all * up + seq * all * (nope_dim + rope_dim + value_dim);
        let absorbed = seq * up + seq * all * (2 * kv_rank + rope_dim);
        absorbed < expanded
    }

    /// Keys and values of every head: `latents` are `[batch, 1, all, rank + rope]`.
    fn expanded(&self, q: Tensor<4>, latents: Tensor<4>, context: &LayerContext<'_>) -> Tensor<3> {
        let LatentAttentionOptions {
            num_heads,
            kv_rank,
            nope_dim,
            rope_dim,
            value_dim,
            ..
        } = self.options;
        let [batch, _, all, _] = latents.dims();
        let rotated = latents.clone().narrow(3, kv_rank, rope_dim);
        let latents = latents.narrow(3, 0, kv_rank).reshape([batch, all, kv_rank]);
        let kv = self.kv_b_proj.forward(latents);
        let kv = kv.reshape([batch, all, num_heads, nope_dim + value_dim]);
        let kv = kv.swap_dims(1, 2);
        let rotated = rotated.expand([batch, num_heads, all, rope_dim]);
        let k = Tensor::cat(vec![kv.clone().narrow(3, 0, nope_dim), rotated], 3);
        let v = kv.narrow(3, nope_dim, value_dim);
        context.attend([q, k, v], &self.scores())
    }

    /// The same result without keys and values of heads: as products are associative, the queries go through the keys'
    /// projection, and what is attended to through the values'.
    fn absorbed(&self, q: Tensor<4>, latents: Tensor<4>, context: &LayerContext<'_>) -> Tensor<3> {
        let LatentAttentionOptions {
            num_heads,
            kv_rank,
            nope_dim,
            rope_dim,
            value_dim,
            ..
        } = self.options;
        let [batch, _, seq, _] = q.dims();
        let up = self.kv_b_proj.weight.val().dense(&q.device(), q.dtype());
        let up = up.reshape([1, num_heads, nope_dim + value_dim, kv_rank]);
        let to_keys = up.clone().narrow(2, 0, nope_dim);
        let to_values = up.narrow(2, nope_dim, value_dim).swap_dims(2, 3);

        let rotated = q.clone().narrow(3, nope_dim, rope_dim);
        let q = product(q.narrow(3, 0, nope_dim), to_keys);
        let q = Tensor::cat(vec![q, rotated], 3);
        let values = latents.clone().narrow(3, 0, kv_rank);
        let y = context.attend([q, latents, values], &self.scores());
        let y = y.reshape([batch, seq, num_heads, kv_rank]).swap_dims(1, 2);
        let y = product(y, to_values).swap_dims(1, 2);
        y.reshape([batch, seq, num_heads * value_dim])
    }

    fn scores(&self) -> ops::AttentionOptions {
        ops::AttentionOptions::new(self.options.scale)
    }
}

impl SelfAttention for LatentAttention {
    fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let LatentAttentionOptions {
            num_heads,
            kv_rank,
            nope_dim,
            rope_dim,
            ..
        } = self.options;
        let [batch, seq, _] = x.dims();
        let [q, latent] = self.project(x);
        let q = q.reshape([batch, seq, num_heads, nope_dim + rope_dim]);
        let q = q.swap_dims(1, 2);
        let normed = self
            .kv_a_layernorm
            .forward(latent.clone().narrow(2, 0, kv_rank));
        let normed = normed.unsqueeze_dim::<4>(1);
        let k = latent.narrow(2, kv_rank, rope_dim).unsqueeze_dim::<4>(1);

        let (q, k) = match context.rotary {
            Some(rotary) => {
                let rotate = |x: Tensor<4>| match self.options.interleaved {
                    true => rotary.apply(pairs_apart(x)),
                    false => rotary.apply(x),
                };
                let rotated = rotate(q.clone().narrow(3, nope_dim, rope_dim));
                let q = Tensor::cat(vec![q.narrow(3, 0, nope_dim), rotated], 3);
                (q, rotate(k))
            }
            None => (q, k),
        };
        let latents = Tensor::cat(vec![normed, k.clone()], 3);
        // The values are a part of the keys; a cache that wants some has the part that rotates.
        let latents = match &mut context.cache {
            Some(cache) => cache.update(context.layer, latents, k).0,
            None => latents,
        };
        // Blocks may be anybody's: only what is attended to is looked at.
        let absorbs = context.mask.pages().is_some() || self.absorbs(seq, latents.dims()[2]);
        let y = match absorbs {
            true => self.absorbed(q, latents, context),
            false => self.expanded(q, latents, context),
        };
        self.o_proj.forward(y)
    }
}

/// `[batch, heads, seq, input]` times `[1, heads, input, output]`; where tokens must not make a difference to each other,
/// one by one.
fn product(x: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
    if !ops::is_deterministic() {
        return x.matmul(weight);
    }
    let token = |index| x.clone().narrow(2, index, 1).matmul(weight.clone());
    Tensor::cat((0..x.dims()[2]).map(token).collect(), 2)
}

/// Features 0, 2, 4 … first, then 1, 3, 5 …: in queries and keys alike, the order changes no score.
fn pairs_apart(x: Tensor<4>) -> Tensor<4> {
    let [batch, heads, seq, dim] = x.dims();
    let pairs = x.reshape([batch, heads, seq, dim / 2, 2]);
    pairs.swap_dims(3, 4).reshape([batch, heads, seq, dim])
}
