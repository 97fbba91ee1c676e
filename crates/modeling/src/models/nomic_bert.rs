//! Nomic BERT (Nussbaum et al. 2024) and GTE (Zhang et al. 2024): BERT's order of norms with rotary positions and a gated
//! feed-forward block; the second has biases.
#![allow(non_snake_case)]

use std::marker::PhantomData;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use transformers_config::{GteConfig, LayerType, ModelConfig, NomicBertConfig, RopeParameters};
use transformers_ops as ops;

use crate::nn::heads::{PooledClassifier, TokenClassifier, by_token, states, to_vocabulary};
use crate::nn::{
    Activation, Attention, AttentionOptions, BaseFamily, Cache, Embedding, HeadOptions, Init, Kept,
    LayerContext, LayerNorm, Linear, OutputLayer, Pooler, PositionCount, RotaryEmbedding, TaskHead,
    TextEmbeddings, TextEmbeddingsOptions, Tokens, activation, linears,
};
use crate::{Family, Forward, Head, ModelError, ModelInputs, ModelOutput};

/// `nomic_bert`.
pub(crate) fn family() -> Family {
    of::<NomicBertConfig>("nomic_bert")
        .tied(&[
            (
                "cls.predictions.decoder.weight",
                "nomic_bert.embeddings.word_embeddings.weight",
            ),
            ("cls.predictions.decoder.bias", "cls.predictions.bias"),
        ])
        .with::<OnNomic<NomicBertConfig>, NomicBertMaskedLM>(Head::MaskedLM)
}

/// `gte`.
pub(crate) fn gte() -> Family {
    of::<GteConfig>("gte")
        .tied(&[(
            "lm_head.decoder.weight",
            "gte.embeddings.word_embeddings.weight",
        )])
        .with::<OnNomic<GteConfig>, GteMaskedLM>(Head::MaskedLM)
}

fn of<C: NomicLike>(base_model_prefix: &'static str) -> Family {
    Family::new(C::MODEL_TYPE, base_model_prefix)
        .headless::<OnNomic<C>>(Head::Base)
        .with::<OnNomic<C>, PooledClassifier>(Head::SequenceClassification)
        .with::<OnNomic<C>, TokenClassifier>(Head::TokenClassification)
}

/// The numbers of a model of either family.
#[derive(Debug, Clone)]
struct NomicOptions {
    embeddings: TextEmbeddingsOptions,
    attention: AttentionOptions,
    num_hidden_layers: usize,
    intermediate_size: usize,
    activation: Activation,
    /// Whether the last projection of a feed-forward block has a bias.
    mlp_bias: bool,
    rope_parameters: RopeParameters,
    max_position_embeddings: usize,
}

/// A config of either family.
trait NomicLike: ModelConfig {
    fn options(&self) -> Result<NomicOptions, ModelError>;
    fn hidden_size(&self) -> usize;
}

macro_rules! nomic_like {
    ($config:ty { bias: $bias:literal }) => {
        impl NomicLike for $config {
            fn options(&self) -> Result<NomicOptions, ModelError> {
                let (hidden, heads) = (self.hidden_size, self.num_attention_heads);
                Ok(NomicOptions {
                    embeddings: TextEmbeddingsOptions {
                        vocab_size: self.vocab_size,
                        padding: self.pad_token_id,
                        width: hidden,
                        normed_width: hidden,
                        positions: 0,
                        segments: self.type_vocab_size,
                        norm_eps: self.layer_norm_eps,
                        count: PositionCount::Columns,
                    },
                    attention: AttentionOptions {
                        qkv_bias: $bias,
                        output_bias: $bias,
                        ..AttentionOptions::new(hidden, heads, heads, self.head_dim())
                    },
                    num_hidden_layers: self.num_hidden_layers,
                    intermediate_size: self.intermediate_size,
                    activation: activation("hidden_act", &self.hidden_act)?,
                    mlp_bias: $bias,
                    rope_parameters: self.rope_parameters.clone(),
                    max_position_embeddings: self.max_position_embeddings,
                })
            }

            fn hidden_size(&self) -> usize {
                self.hidden_size
            }
        }
    };
}

nomic_like!(NomicBertConfig { bias: false });
nomic_like!(GteConfig { bias: true });

#[derive(Debug)]
struct OnNomic<C>(PhantomData<C>);

impl<C: NomicLike> BaseFamily for OnNomic<C> {
    type Config = C;
    type Model = NomicBertModel;

    /// Only classifiers have the pooler.
    const HEADLESS_POOLER: bool = false;

    fn model(config: &C, pooler: bool, init: &Init) -> Result<NomicBertModel, ModelError> {
        NomicBertModel::new(&config.options()?, pooler, init)
    }

    fn hidden_size(config: &C) -> usize {
        config.hidden_size()
    }
}

#[derive(Module, Debug)]
struct NomicBertMlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

/// `norm(x + attention(x))`, then `norm(x + mlp(x))`.
#[derive(Module, Debug)]
struct NomicBertLayer {
    post_attention_layernorm: LayerNorm,
    mlp: NomicBertMlp,
    self_attn: Attention,
    post_mlp_layernorm: LayerNorm,
    #[module(skip)]
    activation: Activation,
}

impl NomicBertLayer {
    fn new(options: &NomicOptions, init: &Init) -> Self {
        let (hidden, inner) = (options.embeddings.width, options.intermediate_size);
        let norm = || LayerNorm::new(hidden, options.embeddings.norm_eps, true, init);
        Self {
            post_attention_layernorm: norm(),
            mlp: NomicBertMlp {
                gate_proj: Linear::new(hidden, inner, false, init),
                up_proj: Linear::new(hidden, inner, false, init),
                down_proj: Linear::new(inner, hidden, options.mlp_bias, init),
            },
            self_attn: Attention::new(&options.attention, init),
            post_mlp_layernorm: norm(),
            activation: options.activation,
        }
    }

    fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let attended = self.self_attn.forward(x.clone(), context);
        let x = self.post_attention_layernorm.add(attended, x);
        let [gate, up] = linears(x.clone(), [&self.mlp.gate_proj, &self.mlp.up_proj]);
        let inner = ops::gated(gate, up, self.activation);
        self.post_mlp_layernorm
            .add(self.mlp.down_proj.forward(inner), x)
    }
}

/// The encoder: states `[batch, seq, hidden]`, and with the pooler the first state through a dense layer.
#[derive(Module, Debug)]
struct NomicBertModel {
    embeddings: TextEmbeddings,
    pooler: Option<Pooler>,
    layers: Vec<NomicBertLayer>,
    #[module(skip)]
    rotary: RotaryEmbedding,
    max_position_embeddings: usize,
}

impl NomicBertModel {
    fn new(options: &NomicOptions, pooler: bool, init: &Init) -> Result<Self, ModelError> {
        let length = options.max_position_embeddings;
        let rope = options.rope_parameters.for_layer(LayerType::FullAttention);
        let layers = (0..options.num_hidden_layers).map(|_| NomicBertLayer::new(options, init));
        Ok(Self {
            embeddings: TextEmbeddings::new(&options.embeddings, init),
            pooler: pooler.then(|| Pooler::new(options.embeddings.width, init)),
            layers: layers.collect(),
            rotary: RotaryEmbedding::new(
                rope.cloned().unwrap_or_default(),
                options.attention.head_dim,
                length,
            )?,
            max_position_embeddings: length,
        })
    }
}

impl Forward for NomicBertModel {
    fn forward(
        &self,
        inputs: &ModelInputs,
        _cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let tokens = Tokens::new(inputs, &self.embeddings.word_embeddings)?;
        let hidden = self.embeddings.forward(&tokens)?;
        let (rotary, mask) = (tokens.rotary(&self.rotary, &hidden)?, tokens.mask(None));
        let layer = |(index, layer): (usize, &NomicBertLayer), hidden, _: Kept<'_>| {
            let mut context = LayerContext {
                layer: index,
                rotary: Some(&rotary),
                mask: &mask,
                attention: tokens.attention_pass(),
                bias: None,
                cache: None,
                router_logits: None,
            };
            layer.forward(hidden, &mut context)
        };
        let layers = self.layers.iter().enumerate();
        let states = tokens.through(hidden, layers, layer, |hidden| hidden)?;
        let pooler = self.pooler.as_ref();
        Ok(ModelOutput {
            pooler_output: pooler.map(|pooler| pooler.forward(states.last.clone())),
            ..ModelOutput::of_states(states)
        })
    }

    fn context_length(&self) -> Option<usize> {
        Some(self.max_position_embeddings)
    }

    fn position_limit(&self) -> Option<usize> {
        None
    }
}

#[derive(Module, Debug)]
struct NomicBertPredictionHeadTransform {
    dense: Linear,
    layer_norm: LayerNorm,
}

#[derive(Module, Debug)]
struct NomicBertLMPredictionHead {
    transform: NomicBertPredictionHeadTransform,
    /// `[vocab]`.
    bias: Param<Tensor<1>>,
    /// `None`: the word embeddings' weight with `bias`.
    decoder: Option<Linear>,
    #[module(skip)]
    activation: Activation,
}

impl NomicBertLMPredictionHead {
    fn logits(&self, hidden: Tensor<3>, words: &Embedding) -> Tensor<3> {
        let hidden = ops::activate(self.transform.dense.forward(hidden), self.activation);
        let hidden = self.transform.layer_norm.forward(hidden);
        to_vocabulary(hidden, self.decoder.as_ref(), words, &self.bias)
    }
}

#[derive(Module, Debug)]
struct NomicBertOnlyMLMHead {
    predictions: NomicBertLMPredictionHead,
}

/// Nomic BERT's masked-token head: logits `[batch, seq, vocab]`.
#[derive(Module, Debug)]
struct NomicBertMaskedLM {
    cls: NomicBertOnlyMLMHead,
}

impl TaskHead<OnNomic<NomicBertConfig>> for NomicBertMaskedLM {
    fn new(config: &NomicBertConfig, _: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let decoder = || Linear::new(hidden, vocab, true, init);
        Ok(Self {
            cls: NomicBertOnlyMLMHead {
                predictions: NomicBertLMPredictionHead {
                    transform: NomicBertPredictionHeadTransform {
                        dense: Linear::new(hidden, hidden, true, init),
                        layer_norm: LayerNorm::new(hidden, config.layer_norm_eps, true, init),
                    },
                    bias: init.zeros([vocab]),
                    decoder: (config.tie_word_embeddings == Some(false)).then(decoder),
                    activation: activation("hidden_act", &config.hidden_act)?,
                },
            },
        })
    }

    fn forward(
        &self,
        base: &NomicBertModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let words = &base.embeddings.word_embeddings;
        let logits = self.cls.predictions.logits(hidden, words);
        by_token(logits, rest, inputs)
    }
}

/// GTE's masked-token head: logits `[batch, seq, vocab]`.
#[derive(Module, Debug)]
struct GteMaskedLM {
    lm_head: GteLMHead,
}

#[derive(Module, Debug)]
struct GteLMHead {
    dense: Linear,
    layer_norm: LayerNorm,
    decoder: OutputLayer,
}

impl TaskHead<OnNomic<GteConfig>> for GteMaskedLM {
    fn new(config: &GteConfig, _: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let tied = config.tie_word_embeddings;
        Ok(Self {
            lm_head: GteLMHead {
                dense: Linear::new(hidden, hidden, true, init),
                layer_norm: LayerNorm::new(hidden, config.layer_norm_eps, true, init),
                decoder: OutputLayer::new(hidden, vocab, true, tied, init),
            },
        })
    }

    fn forward(
        &self,
        base: &NomicBertModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let head = &self.lm_head;
        let hidden = ops::activate(head.dense.forward(hidden), Activation::Gelu);
        let hidden = head.layer_norm.forward(hidden);
        let words = &base.embeddings.word_embeddings;
        by_token(head.decoder.forward(hidden, words), rest, inputs)
    }
}
