//! Self-attention: projections, norms of heads, rotation, cache, scores.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation::sigmoid};
use transformers_ops as ops;

use super::{Init, LayerContext, LayerNorm, Linear, Norm, NormOptions, linears};

/// The shape of an [`Attention`] layer and the options in which families differ.
#[derive(Debug, Clone)]
pub struct AttentionOptions {
    /// Features of the residual stream.
    pub hidden_size: usize,
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Features of a head.
    pub head_dim: usize,
    /// Queries, keys and values come from one weight, in this order.
    pub fused: Option<QkvOrder>,
    /// Biases of the query, key and value projections.
    pub qkv_bias: bool,
    /// Bias of the output projection.
    pub output_bias: bool,
    /// Standard deviation of the output projection's fresh weights, where it has one of its own (GPT-2).
    pub output_std: Option<f64>,
    /// What queries, keys and values are clamped to, on both sides of zero and after norms.
    pub clip: Option<f64>,
    /// Norms of queries and keys, before the rotation.
    pub qk_norm: Option<QkNorm>,
    /// Whether this layer rotates; without, it has no positions (Kazemnejad et al. 2023).
    pub rotary: bool,
    /// Factor on the scores.
    pub scale: f64,
    /// Soft cap of the scores.
    pub softcap: Option<f64>,
    /// Every head has a score that joins in its softmax and has no value (GPT-OSS).
    pub sinks: bool,
    /// Queries come with gates of what the heads give, each head's after its query (Qwen3-Next); only of separate
    /// projections.
    pub output_gate: bool,
}

/// The order of the rows of a fused projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkvOrder {
    /// All queries, all keys, all values.
    Blocks,
    /// For every key head: the queries that share it, the key, the value.
    Groups,
}

/// What of queries and keys is normed together.
#[derive(Debug, Clone, Copy)]
pub enum QkNorm {
    /// Every head, with one weight for all.
    PerHead(NormOptions),
    /// All heads as one vector (OLMo 2).
    Whole(NormOptions),
    /// Every head, with mean and variance and a weight of its own: all in one parameter (Cohere).
    LayerPerHead {
        /// Added to the variance.
        eps: f64,
    },
    /// The same with a parameter for each head (StableLM).
    LayersPerHead {
        /// Added to the variance.
        eps: f64,
    },
}

impl AttentionOptions {
    /// Llama's layer: no biases, no norms, scores scaled by `head_dim^-0.5`.
    pub fn new(hidden_size: usize, num_heads: usize, num_kv_heads: usize, head_dim: usize) -> Self {
        Self {
            hidden_size,
            num_heads,
            num_kv_heads,
            head_dim,
            fused: None,
            qkv_bias: false,
            output_bias: false,
            output_std: None,
            clip: None,
            qk_norm: None,
            rotary: true,
            scale: (head_dim as f64).powf(-0.5),
            softcap: None,
            sinks: false,
            output_gate: false,
        }
    }

    /// Every projection has a bias, or none.
    #[must_use]
    pub fn with_bias(self, bias: bool) -> Self {
        Self {
            qkv_bias: bias,
            output_bias: bias,
            ..self
        }
    }
}

/// Grouped-query attention (Ainslie et al. 2023).
#[derive(Module, Debug)]
pub struct Attention {
    q_proj: Option<Linear>,
    k_proj: Option<Linear>,
    v_proj: Option<Linear>,
    /// In the place of the three.
    qkv_proj: Option<Linear>,
    o_proj: Linear,
    q_norm: Option<HeadNorm>,
    k_norm: Option<HeadNorm>,
    /// `[heads]`.
    sinks: Option<Param<Tensor<1>>>,
    #[module(skip)]
    options: AttentionOptions,
}

impl Attention {
    /// A layer of the given shape.
    pub fn new(options: &AttentionOptions, init: &Init) -> Self {
        let AttentionOptions {
            hidden_size,
            num_heads,
            num_kv_heads,
            head_dim,
            qkv_bias,
            output_bias,
            ..
        } = *options;
        let project = |heads| Linear::new(hidden_size, heads * head_dim, qkv_bias, init);
        let separate = |heads| options.fused.is_none().then(|| project(heads));
        let norm = |heads| {
            let kind = options.qk_norm?;
            Some(HeadNorm::new(kind, heads, head_dim, init))
        };
        Self {
            q_proj: separate(match options.output_gate {
                true => 2 * num_heads,
                false => num_heads,
            }),
            k_proj: separate(num_kv_heads),
            v_proj: separate(num_kv_heads),
            qkv_proj: options.fused.map(|_| project(num_heads + 2 * num_kv_heads)),
            o_proj: Linear::with_std(
                [num_heads * head_dim, hidden_size],
                output_bias,
                options.output_std,
                init,
            ),
            q_norm: norm(num_heads),
            k_norm: norm(num_kv_heads),
            sinks: options.sinks.then(|| init.normal([num_heads])),
            options: options.clone(),
        }
    }

    /// `[batch, seq, hidden]` to the same shape.
    pub fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let ([q, k, v], gate) = self.project(x);
        let norm = |norm: &Option<HeadNorm>, x| match norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        let heads = [norm(&self.q_norm, q), norm(&self.k_norm, k), v];
        let [q, k, v] = heads.map(|x| match self.options.clip {
            Some(limit) => x.clamp(-limit, limit).swap_dims(1, 2),
            None => x.swap_dims(1, 2),
        });

        let (q, k) = match context.rotary.filter(|_| self.options.rotary) {
            Some(rotary) => rotary.rotate(q, k),
            None => (q, k),
        };
        let (k, v) = match &mut context.cache {
            Some(cache) => cache.update(context.layer, k, v),
            None => (k, v),
        };
        let scores = ops::AttentionOptions {
            softcap: self.options.softcap,
            bias: context.bias.cloned(),
            sinks: self.sinks.as_ref().map(Param::val),
            ..ops::AttentionOptions::new(self.options.scale)
        };
        let y = context.attend([q, k, v], &scores);
        self.o_proj.forward(match gate {
            Some(gate) => y * sigmoid(gate),
            None => y,
        })
    }

    /// Queries, keys and values, `[batch, seq, heads, head_dim]` each; and gates, `[batch, seq, heads * head_dim]`.
    fn project(&self, x: Tensor<3>) -> ([Tensor<4>; 3], Option<Tensor<3>>) {
        let AttentionOptions {
            num_heads,
            num_kv_heads,
            head_dim,
            output_gate,
            ..
        } = self.options;
        let [batch, seq, _] = x.dims();
        if let (Some(fused), Some(order)) = (&self.qkv_proj, self.options.fused) {
            let qkv = fused.forward(x);
            let heads = [batch, seq, num_heads + 2 * num_kv_heads, head_dim];
            let qkv = match order {
                QkvOrder::Blocks => split_blocks(qkv.reshape(heads), num_kv_heads),
                QkvOrder::Groups => split_groups(qkv.reshape(heads), num_kv_heads),
            };
            return (qkv, None);
        }
        let separate = [&self.q_proj, &self.k_proj, &self.v_proj];
        let separate = separate.map(|layer| layer.as_ref().expect("there if nothing is fused"));
        let [q, k, v] = linears(x, separate);
        let split = |x: Tensor<3>, heads| x.reshape([batch, seq, heads, head_dim]);
        let (q, gate) = match output_gate {
            true => {
                let both = q.reshape([batch, seq, num_heads, 2 * head_dim]);
                let gate = both.clone().narrow(3, head_dim, head_dim);
                let gate = gate.reshape([batch, seq, num_heads * head_dim]);
                (both.narrow(3, 0, head_dim), Some(gate))
            }
            false => (split(q, num_heads), None),
        };
        ([q, split(k, num_kv_heads), split(v, num_kv_heads)], gate)
    }
}

/// `[batch, seq, heads + 2 kv_heads, head_dim]` in [`QkvOrder::Blocks`] to queries, keys and values.
fn split_blocks(qkv: Tensor<4>, kv_heads: usize) -> [Tensor<4>; 3] {
    let heads = qkv.dims()[2] - 2 * kv_heads;
    [
        qkv.clone().narrow(2, 0, heads),
        qkv.clone().narrow(2, heads, kv_heads),
        qkv.narrow(2, heads + kv_heads, kv_heads),
    ]
}

/// The same in [`QkvOrder::Groups`].
fn split_groups(qkv: Tensor<4>, kv_heads: usize) -> [Tensor<4>; 3] {
    let [batch, seq, all, head_dim] = qkv.dims();
    let group = all / kv_heads - 2;
    let qkv = qkv.reshape([batch, seq, kv_heads, group + 2, head_dim]);
    let part = |start, len| {
        let part = qkv.clone().narrow(3, start, len);
        part.reshape([batch, seq, kv_heads * len, head_dim])
    };
    [part(0, group), part(group, 1), part(group + 1, 1)]
}

/// The norm of queries or of keys.
#[derive(Module, Debug)]
enum HeadNorm {
    PerHead(Norm),
    Whole(Norm),
    LayerPerHead(LayerPerHead),
    LayersPerHead(LayersPerHead),
}

#[derive(Module, Debug)]
struct LayerPerHead {
    /// `[heads, head_dim]`.
    weight: Param<Tensor<2>>,
    eps: f64,
}

#[derive(Module, Debug)]
struct LayersPerHead {
    norms: Vec<LayerNorm>,
}

impl LayerPerHead {
    fn forward(x: Tensor<4>, weight: Tensor<2>, eps: f64) -> Tensor<4> {
        let ones = Tensor::ones([x.dims()[3]], (&x.device(), weight.dtype()));
        ops::layer_norm(x, ones, None, eps) * weight.unsqueeze()
    }
}

impl HeadNorm {
    fn new(kind: QkNorm, heads: usize, head_dim: usize, init: &Init) -> Self {
        match kind {
            QkNorm::PerHead(norm) => Self::PerHead(Norm::new(head_dim, norm, init)),
            QkNorm::Whole(norm) => Self::Whole(Norm::new(heads * head_dim, norm, init)),
            QkNorm::LayerPerHead { eps } => Self::LayerPerHead(LayerPerHead {
                weight: init.ones([heads, head_dim]),
                eps,
            }),
            QkNorm::LayersPerHead { eps } => {
                let norm = |_| LayerNorm::new(head_dim, eps, false, init);
                let norms = (0..heads).map(norm).collect();
                Self::LayersPerHead(LayersPerHead { norms })
            }
        }
    }

    /// `[batch, seq, heads, head_dim]` to the same shape.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::PerHead(norm) => norm.forward(x),
            Self::Whole(norm) => {
                let [batch, seq, heads, head_dim] = x.dims();
                let y = norm.forward(x.reshape([batch, seq, heads * head_dim]));
                y.reshape([batch, seq, heads, head_dim])
            }
            Self::LayerPerHead(norm) => LayerPerHead::forward(x, norm.weight.val(), norm.eps),
            Self::LayersPerHead(LayersPerHead { norms }) => {
                let weights = norms.iter().map(|norm| norm.weight.val());
                let eps = norms.first().map_or(0.0, |norm| norm.eps);
                LayerPerHead::forward(x, Tensor::stack(weights.collect(), 0), eps)
            }
        }
    }
}
