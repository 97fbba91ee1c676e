//! The blocks of decoders: how norms, attention and feed-forward layer stand around the residual stream.

use std::fmt::Debug;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

use super::{
    Attention, AttentionOptions, DecoderLayer, GatedMlp, Init, LayerContext, Mlp, MlpOptions, Norm,
    NormOptions,
};

/// What mixes the positions of a decoder layer.
pub trait SelfAttention: Module + ModuleDisplay + Debug + Sync + 'static {
    /// `[batch, seq, hidden]` to the same shape.
    fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3>;
}

impl SelfAttention for Attention {
    fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        Attention::forward(self, x, context)
    }
}

/// What stands after the attention of a decoder layer.
pub trait FeedForward: Module + ModuleDisplay + Debug + Sync + 'static {
    /// `[batch, seq, hidden]` to the same shape.
    fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3>;
}

impl FeedForward for Mlp {
    fn forward(&self, x: Tensor<3>, _: &mut LayerContext<'_>) -> Tensor<3> {
        Mlp::forward(self, x)
    }
}

impl FeedForward for GatedMlp {
    fn forward(&self, x: Tensor<3>, _: &mut LayerContext<'_>) -> Tensor<3> {
        GatedMlp::forward(self, x)
    }
}

/// What a block is made of.
#[derive(Debug, Clone)]
pub struct BlockOptions {
    /// The attention.
    pub attention: AttentionOptions,
    /// The feed-forward layer.
    pub mlp: MlpOptions,
    /// Every norm.
    pub norm: NormOptions,
    /// Factor on what is added to the residual stream (Granite).
    pub residual_scale: Option<f64>,
    /// What attention and feed-forward layer give is added to their normed input (BLOOM).
    pub residual_after_norm: bool,
}

impl BlockOptions {
    /// Nothing is scaled.
    pub fn new(attention: AttentionOptions, mlp: MlpOptions, norm: NormOptions) -> Self {
        Self {
            attention,
            mlp,
            norm,
            residual_scale: None,
            residual_after_norm: false,
        }
    }

    fn norm(&self, init: &Init) -> Norm {
        Norm::new(self.attention.hidden_size, self.norm, init)
    }

    fn attention(&self, init: &Init) -> Attention {
        Attention::new(&self.attention, init)
    }

    fn mlp(&self, init: &Init) -> Mlp {
        Mlp::new(self.attention.hidden_size, self.mlp, init)
    }
}

/// Llama and GPT-2: `x + attention(norm(x))`, then `x + mlp(norm(x))`, whatever the two are.
#[derive(Module, Debug)]
pub struct PreNormLayer<A: SelfAttention, F: FeedForward> {
    input_layernorm: Norm,
    self_attn: A,
    post_attention_layernorm: Norm,
    mlp: F,
    residual_scale: Option<f64>,
    residual_after_norm: bool,
}

/// The same with the attention and the feed-forward layer that most families have.
pub type PreNormBlock = PreNormLayer<Attention, Mlp>;

impl PreNormBlock {
    /// A block with fresh weights.
    pub fn new(options: &BlockOptions, init: &Init) -> Self {
        let (attention, mlp) = (options.attention(init), options.mlp(init));
        let hidden = options.attention.hidden_size;
        Self {
            residual_scale: options.residual_scale,
            residual_after_norm: options.residual_after_norm,
            ..Self::around(attention, mlp, hidden, options.norm, init)
        }
    }
}

impl<A: SelfAttention, F: FeedForward> PreNormLayer<A, F> {
    /// A layer of `hidden` features.
    pub fn around(self_attn: A, mlp: F, hidden: usize, norm: NormOptions, init: &Init) -> Self {
        Self {
            input_layernorm: Norm::new(hidden, norm, init),
            self_attn,
            post_attention_layernorm: Norm::new(hidden, norm, init),
            mlp,
            residual_scale: None,
            residual_after_norm: false,
        }
    }

    /// With a factor on what is added to the residual stream (Granite).
    #[must_use]
    pub fn with_residual_scale(self, scale: f64) -> Self {
        Self {
            residual_scale: Some(scale),
            ..self
        }
    }
}

impl<A: SelfAttention, F: FeedForward> DecoderLayer for PreNormLayer<A, F> {
    fn forward(&self, hidden: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let scaled = |x: Tensor<3>| match self.residual_scale {
            Some(scale) => x * scale,
            None => x,
        };
        let residual = |hidden, normed: &Tensor<3>| match self.residual_after_norm {
            true => normed.clone(),
            false => hidden,
        };
        let normed = self.input_layernorm.forward(hidden.clone());
        let hidden = residual(hidden, &normed);
        let attended = scaled(self.self_attn.forward(normed, context));
        let (hidden, normed) = self.post_attention_layernorm.add(attended, hidden);
        residual(hidden, &normed) + scaled(self.mlp.forward(normed, context))
    }
}

/// GPT-J and GPT-NeoX: `x + attention(norm(x)) + mlp(norm(x))`.
#[derive(Module, Debug)]
pub struct ParallelBlock {
    input_layernorm: Option<Norm>,
    ln_attn: Option<Norm>,
    ln_mlp: Option<Norm>,
    self_attn: Attention,
    mlp: Mlp,
}

/// The norms of a [`ParallelBlock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParallelNorms {
    /// One for both.
    Shared,
    /// One for each.
    Own,
}

impl ParallelBlock {
    /// A block with fresh weights.
    pub fn new(options: &BlockOptions, norms: ParallelNorms, init: &Init) -> Self {
        let norm = |of| (norms == of).then(|| options.norm(init));
        Self {
            input_layernorm: norm(ParallelNorms::Shared),
            ln_attn: norm(ParallelNorms::Own),
            ln_mlp: norm(ParallelNorms::Own),
            self_attn: options.attention(init),
            mlp: options.mlp(init),
        }
    }
}

impl DecoderLayer for ParallelBlock {
    fn forward(&self, hidden: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let shared = &self.input_layernorm;
        let norm = |own: &Option<Norm>| Some(own.as_ref()?.forward(hidden.clone()));
        let normed = norm(shared).or_else(|| norm(&self.ln_attn));
        let normed = normed.expect("a block has the one norm or the two");
        let attended = self.self_attn.forward(normed.clone(), context);
        let normed = norm(&self.ln_mlp).unwrap_or(normed);
        hidden + attended + self.mlp.forward(normed)
    }
}

/// The one or the other, of families that have both.
#[derive(Module, Debug)]
pub enum Block {
    /// One after the other.
    Sequential(PreNormBlock),
    /// Side by side.
    Parallel(ParallelBlock),
}

impl DecoderLayer for Block {
    fn forward(&self, hidden: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        match self {
            Self::Sequential(block) => block.forward(hidden, context),
            Self::Parallel(block) => block.forward(hidden, context),
        }
    }
}

/// Gemma 2: `x + norm(attention(norm(x)))`, then `x + norm(mlp(norm(x)))`.
#[derive(Module, Debug)]
pub struct SandwichBlock {
    input_layernorm: Norm,
    self_attn: Attention,
    post_attention_layernorm: Norm,
    pre_feedforward_layernorm: Norm,
    mlp: Mlp,
    post_feedforward_layernorm: Norm,
}

impl SandwichBlock {
    /// A block with fresh weights.
    pub fn new(options: &BlockOptions, init: &Init) -> Self {
        Self {
            input_layernorm: options.norm(init),
            self_attn: options.attention(init),
            post_attention_layernorm: options.norm(init),
            pre_feedforward_layernorm: options.norm(init),
            mlp: options.mlp(init),
            post_feedforward_layernorm: options.norm(init),
        }
    }
}

impl DecoderLayer for SandwichBlock {
    fn forward(&self, hidden: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let normed = self.input_layernorm.forward(hidden.clone());
        let attended = self.self_attn.forward(normed, context);
        let attended = self.post_attention_layernorm.forward(attended);
        let (hidden, normed) = self.pre_feedforward_layernorm.add(attended, hidden);
        let fed = self.mlp.forward(normed);
        hidden + self.post_feedforward_layernorm.forward(fed)
    }
}

/// OLMo 2: `x + norm(attention(x))`, then `x + norm(mlp(x))`.
#[derive(Module, Debug)]
pub struct PostNormBlock {
    self_attn: Attention,
    post_attention_layernorm: Norm,
    mlp: Mlp,
    post_feedforward_layernorm: Norm,
}

impl PostNormBlock {
    /// A block with fresh weights.
    pub fn new(options: &BlockOptions, init: &Init) -> Self {
        Self {
            self_attn: options.attention(init),
            post_attention_layernorm: options.norm(init),
            mlp: options.mlp(init),
            post_feedforward_layernorm: options.norm(init),
        }
    }
}

impl DecoderLayer for PostNormBlock {
    fn forward(&self, hidden: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let attended = self.self_attn.forward(hidden.clone(), context);
        let hidden = hidden + self.post_attention_layernorm.forward(attended);
        let fed = self.mlp.forward(hidden.clone());
        hidden + self.post_feedforward_layernorm.forward(fed)
    }
}

/// The Transformer as it was published (Vaswani et al. 2017): `norm(x + attention(x))`, then `norm(x + mlp(x))`.
#[derive(Module, Debug)]
pub struct OriginalBlock {
    self_attn: Attention,
    input_layernorm: Norm,
    mlp: Mlp,
    post_attention_layernorm: Norm,
}

impl OriginalBlock {
    /// A block with fresh weights.
    pub fn new(options: &BlockOptions, init: &Init) -> Self {
        Self {
            self_attn: options.attention(init),
            input_layernorm: options.norm(init),
            mlp: options.mlp(init),
            post_attention_layernorm: options.norm(init),
        }
    }
}

impl DecoderLayer for OriginalBlock {
    fn forward(&self, hidden: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let attended = self.self_attn.forward(hidden.clone(), context);
        let hidden = self.input_layernorm.forward(hidden + attended);
        let fed = self.mlp.forward(hidden.clone());
        self.post_attention_layernorm.forward(hidden + fed)
    }
}
