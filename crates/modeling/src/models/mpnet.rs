//! MPNet (Song et al. 2020): BERT without segments, whose positions are counted after the padding's id, with a learned bias
//! for every distance.
#![allow(non_snake_case)]

use burn::module::Module;
use burn::tensor::Tensor;
use transformers_config::{MPNetConfig, ModelConfig};
use transformers_ops as ops;

use super::bert::{BertIntermediate, BertOutput};
use super::roberta::{LMHeadOptions, RobertaLMHead};
use crate::nn::heads::{
    FirstTokenClassifier, PooledClassifier, SpanHead, TokenClassifier, by_token, states,
};
use crate::nn::{
    Activation, BaseFamily, Cache, Embedding, HeadOptions, Init, Kept, LayerNorm, Linear,
    MaskedAttention, Pooler, PositionCount, RelativeBuckets, TaskHead, TextEmbeddings,
    TextEmbeddingsOptions, Tokens, activation, self_attention,
};
use crate::{Family, Forward, Head, ModelError, ModelInputs, ModelOutput};

/// The id after which positions are counted, whatever the config's padding is.
const PADDING: u32 = 1;

/// How distances fall into the table.
const BUCKETS: RelativeBuckets = RelativeBuckets {
    count: MPNetConfig::BUCKETS,
    max_distance: 128,
    bidirectional: true,
};

/// The family.
pub(crate) fn family() -> Family {
    Family::new(MPNetConfig::MODEL_TYPE, "mpnet")
        .tied(&[
            (
                "lm_head.decoder.weight",
                "mpnet.embeddings.word_embeddings.weight",
            ),
            ("lm_head.decoder.bias", "lm_head.bias"),
        ])
        .headless::<MPNet>(Head::Base)
        .with::<MPNet, MPNetMaskedLM>(Head::MaskedLM)
        .with::<MPNet, MPNetMaskedLM>(Head::PreTraining)
        .with::<MPNet, FirstTokenClassifier>(Head::SequenceClassification)
        .with::<MPNet, TokenClassifier>(Head::TokenClassification)
        .with::<MPNet, SpanHead>(Head::QuestionAnswering)
        .with::<MPNet, PooledClassifier>(Head::MultipleChoice)
}

#[derive(Debug)]
struct MPNet;

impl BaseFamily for MPNet {
    type Config = MPNetConfig;
    type Model = MPNetModel;

    fn model(config: &MPNetConfig, pooler: bool, init: &Init) -> Result<MPNetModel, ModelError> {
        let hidden = config.hidden_size;
        let options = TextEmbeddingsOptions {
            vocab_size: config.vocab_size,
            padding: Some(PADDING),
            width: hidden,
            normed_width: hidden,
            positions: config.max_position_embeddings,
            segments: 0,
            norm_eps: config.layer_norm_eps,
            count: PositionCount::After(PADDING),
        };
        let layers = (0..config.num_hidden_layers).map(|_| MPNetLayer::new(config, init));
        let (buckets, heads) = (
            config.relative_attention_num_buckets,
            config.num_attention_heads,
        );
        Ok(MPNetModel {
            embeddings: TextEmbeddings::new(&options, init),
            encoder: MPNetEncoder {
                layer: layers.collect::<Result<_, _>>()?,
                relative_attention_bias: Embedding::new(buckets, heads, init),
            },
            pooler: pooler.then(|| Pooler::new(hidden, init)),
        })
    }

    fn hidden_size(config: &MPNetConfig) -> usize {
        config.hidden_size
    }
}

#[derive(Module, Debug)]
struct MPNetSelfAttention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    heads: usize,
}

/// `norm(x + attention(x))`.
#[derive(Module, Debug)]
struct MPNetAttention {
    attn: MPNetSelfAttention,
    LayerNorm: LayerNorm,
}

#[derive(Module, Debug)]
struct MPNetLayer {
    attention: MPNetAttention,
    intermediate: BertIntermediate,
    output: BertOutput,
    #[module(skip)]
    activation: Activation,
}

impl MPNetLayer {
    fn new(config: &MPNetConfig, init: &Init) -> Result<Self, ModelError> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let eps = config.layer_norm_eps;
        let project = || Linear::new(hidden, hidden, true, init);
        Ok(Self {
            attention: MPNetAttention {
                attn: MPNetSelfAttention {
                    q: project(),
                    k: project(),
                    v: project(),
                    o: project(),
                    heads: config.num_attention_heads,
                },
                LayerNorm: LayerNorm::new(hidden, eps, true, init),
            },
            intermediate: BertIntermediate::new(hidden, inner, init),
            output: BertOutput::new(inner, hidden, eps, init),
            activation: activation("hidden_act", &config.hidden_act)?,
        })
    }

    /// `bias` is `[1, heads, seq, seq]`.
    fn forward(
        &self,
        x: Tensor<3>,
        attention: &MaskedAttention<'_>,
        bias: &Tensor<4>,
        kept: Kept<'_>,
    ) -> Tensor<3> {
        let attn = &self.attention.attn;
        let head_dim = x.dims()[2] / attn.heads;
        let scores = ops::AttentionOptions {
            bias: Some(bias.clone()),
            ..ops::AttentionOptions::new((head_dim as f64).powf(-0.5))
        };
        let projections = [&attn.q, &attn.k, &attn.v];
        let attended = self_attention(x.clone(), projections, attn.heads, attention, None, &scores);
        let (attended, x) = (kept.of(attended), kept.of(x));
        let x = self.attention.LayerNorm.add(attn.o.forward(attended), x);
        let inner = self.intermediate.forward(x.clone(), self.activation);
        self.output.forward(inner, x)
    }
}

#[derive(Module, Debug)]
struct MPNetEncoder {
    layer: Vec<MPNetLayer>,
    /// `[buckets, heads]`.
    relative_attention_bias: Embedding,
}

/// The encoder: states `[batch, seq, hidden]`, and with the pooler the first state through a dense layer.
#[derive(Module, Debug)]
struct MPNetModel {
    embeddings: TextEmbeddings,
    encoder: MPNetEncoder,
    pooler: Option<Pooler>,
}

impl Forward for MPNetModel {
    fn forward(
        &self,
        inputs: &ModelInputs,
        _cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let tokens = Tokens::in_columns(inputs, &self.embeddings.word_embeddings)?.narrowed_last();
        let hidden = self.embeddings.forward(&tokens)?;
        let seq = hidden.dims()[1];
        let bias = BUCKETS.bias(&self.encoder.relative_attention_bias, 0, seq, seq);
        let attention = tokens.attention(None);
        let layer = |layer: &MPNetLayer, hidden, kept: Kept<'_>| {
            layer.forward(hidden, &attention, &bias, kept)
        };
        let states = tokens.through(hidden, &self.encoder.layer, layer, |hidden| hidden)?;
        let pooler = self.pooler.as_ref();
        Ok(ModelOutput {
            pooler_output: pooler.map(|pooler| pooler.forward(states.last.clone())),
            ..ModelOutput::of_states(states)
        })
    }

    fn context_length(&self) -> Option<usize> {
        self.embeddings.context_length()
    }
}

/// The masked-token head: logits `[batch, seq, vocab]`.
#[derive(Module, Debug)]
struct MPNetMaskedLM {
    lm_head: RobertaLMHead,
}

impl TaskHead<MPNet> for MPNetMaskedLM {
    fn new(config: &MPNetConfig, _: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let options = LMHeadOptions {
            hidden_size: config.hidden_size,
            vocab_size: config.vocab_size,
            norm_eps: config.layer_norm_eps,
            tied: config.tie_word_embeddings,
        };
        Ok(Self {
            lm_head: RobertaLMHead::new(&options, init),
        })
    }

    fn forward(
        &self,
        base: &MPNetModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let words = &base.embeddings.word_embeddings;
        by_token(self.lm_head.logits(hidden, words), rest, inputs)
    }
}
