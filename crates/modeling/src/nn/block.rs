//! The blocks of decoders: how norms, attention and feed-forward layer stand around the residual stream.

use burn::module::Module;
use burn::tensor::Tensor;

use super::{
    Attention, AttentionOptions, DecoderLayer, Init, LayerContext, Mlp, MlpOptions, Norm,
    NormOptions,
};

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

/// Llama and GPT-2: `x + attention(norm(x))`, then `x + mlp(norm(x))`.
#[derive(Module, Debug)]
pub struct PreNormBlock {
    input_layernorm: Norm,
    self_attn: Attention,
    post_attention_layernorm: Norm,
    mlp: Mlp,
    residual_scale: Option<f64>,
    residual_after_norm: bool,
}

impl PreNormBlock {
    /// A block with fresh weights.
    pub fn new(options: &BlockOptions, init: &Init) -> Self {
        Self {
            input_layernorm: options.norm(init),
            self_attn: options.attention(init),
            post_attention_layernorm: options.norm(init),
            mlp: options.mlp(init),
            residual_scale: options.residual_scale,
            residual_after_norm: options.residual_after_norm,
        }
    }
}

impl DecoderLayer for PreNormBlock {
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
        residual(hidden, &normed) + scaled(self.mlp.forward(normed))
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
