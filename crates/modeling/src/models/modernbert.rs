//! ModernBERT (Warner et al. 2024): pre-norm encoder with rotary positions and gated feed-forward blocks; two of three
//! layers see their neighbourhood only.
#![allow(non_snake_case)]

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};
use transformers_config::{LayerType, ModelConfig, ModernBertConfig};
use transformers_ops as ops;

use crate::nn::heads::{by_row, by_span, by_token, first, mean_of_tokens, states};
use crate::nn::{
    Activation, BaseFamily, Cache, Embedding, EmbeddingNoise, HeadOptions, Init, LayerNorm, Linear,
    MaskedAttention, OutputLayer, RotaryEmbedding, RotaryTables, RowScores, TaskHead, Tokens,
    activation, with_noise,
};
use crate::{Family, Forward, Head, ModelError, ModelInputs, ModelOutput};

/// The family.
pub(crate) fn family() -> Family {
    Family::new(ModernBertConfig::MODEL_TYPE, "model")
        .tied(&[("decoder.weight", "model.embeddings.tok_embeddings.weight")])
        .headless::<ModernBert>(Head::Base)
        .with::<ModernBert, ModernBertMaskedLM>(Head::MaskedLM)
        .with::<ModernBert, ModernBertScores>(Head::SequenceClassification)
        .with::<ModernBert, ModernBertScores>(Head::TokenClassification)
        .with::<ModernBert, ModernBertScores>(Head::QuestionAnswering)
        .with::<ModernBert, ModernBertScores>(Head::MultipleChoice)
}

#[derive(Debug)]
struct ModernBert;

impl BaseFamily for ModernBert {
    type Config = ModernBertConfig;
    type Model = ModernBertModel;

    fn model(
        config: &ModernBertConfig,
        _pooler: bool,
        init: &Init,
    ) -> Result<ModernBertModel, ModelError> {
        ModernBertModel::new(config, init)
    }

    fn hidden_size(config: &ModernBertConfig) -> usize {
        config.hidden_size
    }
}

/// For layers that read the residual stream; the spread of fresh weights is cut off.
fn inward(config: &ModernBertConfig, init: &Init) -> Init {
    Init {
        std: config.initializer_range,
        cutoff: config.initializer_cutoff_factor,
        ..init.clone()
    }
}

/// For layers that write to it: the spread shrinks with their number.
fn outward(config: &ModernBertConfig, init: &Init) -> Init {
    let layers = config.num_hidden_layers as f64;
    inward(config, init).with_std(config.initializer_range / (2.0 * layers).sqrt())
}

fn norm(config: &ModernBertConfig, init: &Init) -> LayerNorm {
    LayerNorm::new(config.hidden_size, config.norm_eps, config.norm_bias, init)
}

#[derive(Module, Debug)]
pub(super) struct ModernBertEmbeddings {
    pub tok_embeddings: Embedding,
    norm: LayerNorm,
}

impl ModernBertEmbeddings {
    /// A table of `vocab` vectors, and their norm. The reference draws the padding token's vector like any other.
    pub fn new(vocab: usize, norm: LayerNorm, init: &Init) -> Self {
        let hidden = norm.weight.lazy_shape()[0];
        Self {
            tok_embeddings: Embedding::new(vocab, hidden, init),
            norm,
        }
    }

    /// Ids to normed vectors, `[batch, seq, hidden]`; noise comes before the norm.
    pub fn forward(&self, ids: Tensor<2, Int>, noise: Option<EmbeddingNoise>) -> Tensor<3> {
        let vectors = self.tok_embeddings.forward(ids);
        self.norm.forward(with_noise(noise, vectors))
    }
}

/// What the layers of one type share in one pass.
struct Shared<'a> {
    rotary: RotaryTables,
    attention: MaskedAttention<'a>,
}

/// Queries, keys and values by one projection.
#[derive(Module, Debug)]
struct ModernBertAttention {
    Wqkv: Linear,
    Wo: Linear,
    heads: usize,
}

impl ModernBertAttention {
    fn forward(&self, x: Tensor<3>, shared: &Shared<'_>) -> Tensor<3> {
        let [batch, seq, hidden] = x.dims();
        let head_dim = hidden / self.heads;
        let all = self.Wqkv.forward(x);
        let all = all.reshape([batch, seq, 3, self.heads, head_dim]);
        let [q, k, v] = [0, 1, 2].map(|index| {
            let one = all.clone().narrow(2, index, 1).squeeze_dim::<4>(2);
            one.swap_dims(1, 2)
        });
        let (q, k) = (shared.rotary.apply(q), shared.rotary.apply(k));
        let scores = ops::AttentionOptions::new((head_dim as f64).powf(-0.5));
        self.Wo.forward(shared.attention.attend([q, k, v], &scores))
    }
}

/// `Wo(activation(a) * b)`, where `a` and `b` are the halves of `Wi(x)`.
#[derive(Module, Debug)]
pub(super) struct ModernBertMlp {
    Wi: Linear,
    Wo: Linear,
    #[module(skip)]
    activation: Activation,
}

impl ModernBertMlp {
    pub fn new(
        [hidden, inner]: [usize; 2],
        bias: bool,
        activation: Activation,
        [inward, outward]: [&Init; 2],
    ) -> Self {
        Self {
            Wi: Linear::new(hidden, 2 * inner, bias, inward),
            Wo: Linear::new(inner, hidden, bias, outward),
            activation,
        }
    }

    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let both = self.Wi.forward(x);
        let inner = both.dims()[2] / 2;
        let [input, gate] = [0, inner].map(|start| both.clone().narrow(2, start, inner));
        self.Wo.forward(ops::gated(input, gate, self.activation))
    }
}

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`; the first layer's first norm is that of the embeddings.
#[derive(Module, Debug)]
struct ModernBertEncoderLayer {
    attn_norm: Option<LayerNorm>,
    attn: ModernBertAttention,
    mlp_norm: LayerNorm,
    mlp: ModernBertMlp,
}

impl ModernBertEncoderLayer {
    fn new(config: &ModernBertConfig, index: usize, init: &Init) -> Result<Self, ModelError> {
        let hidden = config.hidden_size;
        let bias = config.attention_bias;
        let (inward, outward) = (inward(config, init), outward(config, init));
        Ok(Self {
            attn_norm: (index > 0).then(|| norm(config, init)),
            attn: ModernBertAttention {
                Wqkv: Linear::new(hidden, 3 * hidden, bias, &inward),
                Wo: Linear::new(hidden, hidden, bias, &outward),
                heads: config.num_attention_heads,
            },
            mlp_norm: norm(config, init),
            mlp: ModernBertMlp::new(
                [hidden, config.intermediate_size],
                config.mlp_bias,
                activation("hidden_activation", &config.hidden_activation)?,
                [&inward, &outward],
            ),
        })
    }

    fn forward(&self, x: Tensor<3>, shared: &Shared<'_>) -> Tensor<3> {
        let normed = match &self.attn_norm {
            Some(norm) => norm.forward(x.clone()),
            None => x.clone(),
        };
        let x = x + self.attn.forward(normed, shared);
        x.clone() + self.mlp.forward(self.mlp_norm.forward(x))
    }
}

/// The encoder: states `[batch, seq, hidden]`.
#[derive(Module, Debug)]
struct ModernBertModel {
    embeddings: ModernBertEmbeddings,
    layers: Vec<ModernBertEncoderLayer>,
    final_norm: LayerNorm,
    #[module(skip)]
    layer_types: Vec<LayerType>,
    #[module(skip)]
    rotary: BTreeMap<LayerType, RotaryEmbedding>,
    window: usize,
    max_position_embeddings: usize,
}

impl ModernBertModel {
    fn new(config: &ModernBertConfig, init: &Init) -> Result<Self, ModelError> {
        let length = config.max_position_embeddings;
        let layer_types = config.layer_types();
        let mut rotary = BTreeMap::new();
        for kind in &layer_types {
            let rope = config.rope_parameters.for_layer(*kind);
            let rope = rope.cloned().unwrap_or_default();
            rotary.insert(
                *kind,
                RotaryEmbedding::new(rope, config.head_dim(), length)?,
            );
        }
        let layers = (0..config.num_hidden_layers)
            .map(|index| ModernBertEncoderLayer::new(config, index, init));
        Ok(Self {
            embeddings: ModernBertEmbeddings::new(
                config.vocab_size,
                norm(config, init),
                &inward(config, init),
            ),
            layers: layers.collect::<Result<_, _>>()?,
            final_norm: norm(config, init),
            layer_types,
            rotary,
            window: config.window(),
            max_position_embeddings: length,
        })
    }

    /// What the layers of each type share.
    fn shared<'a>(
        &self,
        tokens: &'a Tokens<'_>,
        hidden: &Tensor<3>,
    ) -> Result<BTreeMap<LayerType, Shared<'a>>, ModelError> {
        let one = |(kind, rotary): (&LayerType, &RotaryEmbedding)| {
            let window = (*kind == LayerType::SlidingAttention).then_some(self.window);
            let shared = Shared {
                rotary: tokens.rotary(rotary, hidden)?,
                attention: tokens.attention(window),
            };
            Ok((*kind, shared))
        };
        self.rotary.iter().map(one).collect()
    }
}

impl Forward for ModernBertModel {
    fn forward(
        &self,
        inputs: &ModelInputs,
        _cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let tokens = Tokens::new(inputs, &self.embeddings.tok_embeddings)?;
        let hidden = self
            .embeddings
            .forward(tokens.ids(), inputs.embedding_noise);
        let shared = self.shared(&tokens, &hidden)?;
        let layers = self.layers.iter().zip(&self.layer_types);
        let layer = |(layer, kind): (&ModernBertEncoderLayer, &LayerType), hidden| {
            layer.forward(hidden, &shared[kind])
        };
        let last = |hidden| self.final_norm.forward(hidden);
        Ok(ModelOutput::of_states(
            tokens.through(hidden, layers, layer, last)?,
        ))
    }

    fn context_length(&self) -> Option<usize> {
        Some(self.max_position_embeddings)
    }
}

/// `norm(activation(dense(x)))`, in every head.
#[derive(Module, Debug)]
pub(super) struct ModernBertPredictionHead {
    dense: Linear,
    norm: LayerNorm,
    #[module(skip)]
    activation: Activation,
}

impl ModernBertPredictionHead {
    /// A layer with or without a bias, and the `norm` after it.
    pub fn new(bias: bool, activation: Activation, norm: LayerNorm, init: &Init) -> Self {
        let hidden = norm.weight.lazy_shape()[0];
        Self {
            dense: Linear::new(hidden, hidden, bias, init),
            norm,
            activation,
        }
    }

    /// `[.., hidden]` to the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let inner = ops::activate(self.dense.forward(x), self.activation);
        self.norm.forward(inner)
    }
}

fn prediction_head(
    config: &ModernBertConfig,
    init: &Init,
) -> Result<ModernBertPredictionHead, ModelError> {
    let activation = activation("classifier_activation", &config.classifier_activation)?;
    let norm = norm(config, init);
    Ok(ModernBertPredictionHead::new(
        config.classifier_bias,
        activation,
        norm,
        &outward(config, init),
    ))
}

/// The masked-token head: logits `[batch, seq, vocab]`.
#[derive(Module, Debug)]
struct ModernBertMaskedLM {
    head: ModernBertPredictionHead,
    decoder: OutputLayer,
}

impl TaskHead<ModernBert> for ModernBertMaskedLM {
    fn new(config: &ModernBertConfig, _: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let (bias, tied) = (config.decoder_bias, config.tie_word_embeddings);
        Ok(Self {
            head: prediction_head(config, init)?,
            decoder: OutputLayer::new(hidden, vocab, bias, tied, &outward(config, init)),
        })
    }

    fn forward(
        &self,
        base: &ModernBertModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let words = &base.embeddings.tok_embeddings;
        let logits = self.decoder.forward(self.head.forward(hidden), words);
        by_token(logits, rest, inputs)
    }
}

/// The other heads: scores of tokens, of answers or of rows, by one layer after the common one.
#[derive(Module, Debug)]
struct ModernBertScores {
    head: ModernBertPredictionHead,
    classifier: Linear,
    /// Whether a row is the mean of its tokens, and not the first of them.
    mean: bool,
    #[module(skip)]
    options: HeadOptions,
}

impl ModernBertScores {
    /// `[batch, seq, hidden]` to what stands for each row, `[batch, hidden]`.
    fn rows(&self, hidden: Tensor<3>, inputs: &ModelInputs) -> Tensor<2> {
        match (self.mean, self.options.scores) {
            (true, _) => mean_of_tokens(hidden, inputs),
            (false, RowScores::Labels(_)) => first(hidden),
            (false, RowScores::Choice) => first_tokens(hidden, inputs),
        }
    }
}

impl TaskHead<ModernBert> for ModernBertScores {
    fn new(
        config: &ModernBertConfig,
        options: &HeadOptions,
        init: &Init,
    ) -> Result<Self, ModelError> {
        let std = (config.hidden_size as f64).powf(-0.5);
        let last = inward(config, init).with_std(std);
        Ok(Self {
            head: prediction_head(config, init)?,
            classifier: Linear::new(config.hidden_size, options.num_labels, true, &last),
            mean: config.classifier_pooling == "mean",
            options: options.clone(),
        })
    }

    fn forward(
        &self,
        _base: &ModernBertModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let of_tokens = |hidden| self.classifier.forward(self.head.forward(hidden));
        match self.options.head {
            Head::TokenClassification => by_token(of_tokens(hidden), rest, inputs),
            Head::QuestionAnswering => by_span(of_tokens(hidden), rest, inputs),
            _ => {
                let rows = self.head.forward(self.rows(hidden, inputs));
                let logits = self.classifier.forward(rows);
                by_row(logits, rest, inputs, self.options.scores)
            }
        }
    }
}

/// The state of each row's first token that is not padding: `[batch, seq, hidden]` to `[batch, hidden]`.
fn first_tokens(hidden: Tensor<3>, inputs: &ModelInputs) -> Tensor<2> {
    let [batch, seq, size] = hidden.dims();
    let Some(mask) = &inputs.attention_mask else {
        return first(hidden);
    };
    let first = |(index, row): (usize, &[u32])| {
        let token = row.iter().position(|token| *token != 0).unwrap_or(0);
        (index * seq + token) as i64
    };
    let rows: Vec<i64> = mask.iter().enumerate().map(first).collect();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [batch]), &hidden.device());
    hidden.reshape([batch * seq, size]).select(0, rows)
}
