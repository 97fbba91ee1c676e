//! Self-attention with rotary positions, grouped key heads and a cache.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use transformers_ops as ops;

use super::{Init, LayerContext, Linear, NormForm, RmsNorm, linears};

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
    /// Biases of the query, key and value projections.
    pub qkv_bias: bool,
    /// Bias of the output projection.
    pub output_bias: bool,
    /// Norm of every query and key head: its epsilon and form.
    pub qk_norm: Option<(f64, NormForm)>,
    /// Factor on the scores.
    pub scale: f64,
    /// Soft cap of the scores.
    pub softcap: Option<f64>,
    /// Every head has a score that joins in its softmax and has no value (GPT-OSS).
    pub sinks: bool,
}

impl AttentionOptions {
    /// Llama's layer: no biases, no norms, scores scaled by `head_dim^-0.5`.
    pub fn new(hidden_size: usize, num_heads: usize, num_kv_heads: usize, head_dim: usize) -> Self {
        Self {
            hidden_size,
            num_heads,
            num_kv_heads,
            head_dim,
            qkv_bias: false,
            output_bias: false,
            qk_norm: None,
            scale: (head_dim as f64).powf(-0.5),
            softcap: None,
            sinks: false,
        }
    }
}

/// Grouped-query attention (Ainslie et al. 2023).
#[derive(Module, Debug)]
pub struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    q_norm: Option<RmsNorm>,
    k_norm: Option<RmsNorm>,
    /// `[heads]`.
    sinks: Option<Param<Tensor<1>>>,
    num_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
    #[module(skip)]
    scores: ops::AttentionOptions,
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
            qk_norm,
            scale,
            softcap,
            sinks,
        } = *options;
        let norm = || qk_norm.map(|(eps, form)| RmsNorm::new(head_dim, eps, form, init));
        let project = |heads| Linear::new(hidden_size, heads * head_dim, qkv_bias, init);
        Self {
            q_proj: project(num_heads),
            k_proj: project(num_kv_heads),
            v_proj: project(num_kv_heads),
            o_proj: Linear::new(num_heads * head_dim, hidden_size, output_bias, init),
            q_norm: norm(),
            k_norm: norm(),
            sinks: sinks.then(|| init.normal([num_heads])),
            num_heads,
            num_kv_heads,
            head_dim,
            scores: ops::AttentionOptions {
                softcap,
                ..ops::AttentionOptions::new(scale)
            },
        }
    }

    /// `[batch, seq, hidden]` to the same shape.
    pub fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let heads = |x: Tensor<3>, heads: usize, norm: Option<&RmsNorm>| {
            let [batch, seq, _] = x.dims();
            let x = x.reshape([batch, seq, heads, self.head_dim]);
            let x = match norm {
                Some(norm) => norm.forward(x),
                None => x,
            };
            x.swap_dims(1, 2)
        };
        let [q, k, v] = linears(x, [&self.q_proj, &self.k_proj, &self.v_proj]);
        let q = heads(q, self.num_heads, self.q_norm.as_ref());
        let k = heads(k, self.num_kv_heads, self.k_norm.as_ref());
        let v = heads(v, self.num_kv_heads, None);

        let (q, k) = match context.rotary {
            Some(rotary) => (rotary.apply(q), rotary.apply(k)),
            None => (q, k),
        };
        let (k, v) = match &mut context.cache {
            Some(cache) => cache.update(context.layer, k, v),
            None => (k, v),
        };
        let scores = ops::AttentionOptions {
            sinks: self.sinks.as_ref().map(Param::val),
            ..self.scores.clone()
        };
        let y = ops::attention(q, k, v, context.mask, &scores);
        self.o_proj.forward(y)
    }
}
