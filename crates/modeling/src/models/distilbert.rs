//! DistilBERT (Sanh et al. 2019): half of BERT's layers under shorter names, without segments and pooler.
#![allow(non_snake_case)]

use burn::module::Module;
use burn::tensor::Tensor;
use transformers_config::{DistilBertConfig, ModelConfig};
use transformers_ops as ops;

use crate::nn::heads::{SpanHead, TokenClassifier, by_row, by_token, first, states};
use crate::nn::{
    Activation, BaseFamily, Cache, HeadOptions, Init, Kept, LayerNorm, Linear, MaskedAttention,
    OutputLayer, PositionCount, RowScores, TaskHead, TextEmbeddings, TextEmbeddingsOptions, Tokens,
    activation, self_attention,
};
use crate::{Family, Forward, Head, ModelError, ModelInputs, ModelOutput};

/// Added to the variance in every norm, whatever the config says.
const NORM_EPS: f64 = 1e-12;

/// The family.
pub(crate) fn family() -> Family {
    Family::new(DistilBertConfig::MODEL_TYPE, "distilbert")
        .tied(&[(
            "vocab_projector.weight",
            "distilbert.embeddings.word_embeddings.weight",
        )])
        .headless::<DistilBert>(Head::Base)
        .headless::<DistilBert>(Head::TextEncoding)
        .with::<DistilBert, DistilBertMaskedLM>(Head::MaskedLM)
        .with::<DistilBert, DistilBertMaskedLM>(Head::PreTraining)
        .with::<DistilBert, DistilBertClassifier>(Head::SequenceClassification)
        .with::<DistilBert, TokenClassifier>(Head::TokenClassification)
        .with::<DistilBert, SpanHead>(Head::QuestionAnswering)
        .with::<DistilBert, DistilBertClassifier>(Head::MultipleChoice)
}

#[derive(Debug)]
struct DistilBert;

impl BaseFamily for DistilBert {
    type Config = DistilBertConfig;
    type Model = DistilBertModel;

    fn model(
        config: &DistilBertConfig,
        _pooler: bool,
        init: &Init,
    ) -> Result<DistilBertModel, ModelError> {
        let options = TextEmbeddingsOptions {
            vocab_size: config.vocab_size,
            padding: config.pad_token_id,
            width: config.dim,
            normed_width: config.dim,
            positions: config.max_position_embeddings,
            segments: 0,
            norm_eps: NORM_EPS,
            count: PositionCount::Columns,
        };
        let layers = (0..config.n_layers).map(|_| TransformerBlock::new(config, init));
        Ok(DistilBertModel {
            embeddings: TextEmbeddings::new(&options, init),
            transformer: Transformer {
                layer: layers.collect::<Result<_, _>>()?,
            },
        })
    }

    fn hidden_size(config: &DistilBertConfig) -> usize {
        config.dim
    }
}

#[derive(Module, Debug)]
struct DistilBertSelfAttention {
    q_lin: Linear,
    k_lin: Linear,
    v_lin: Linear,
    out_lin: Linear,
    heads: usize,
}

#[derive(Module, Debug)]
struct Ffn {
    lin1: Linear,
    lin2: Linear,
    #[module(skip)]
    activation: Activation,
}

/// `norm(x + attention(x))`, then `norm(x + ffn(x))`.
#[derive(Module, Debug)]
struct TransformerBlock {
    attention: DistilBertSelfAttention,
    sa_layer_norm: LayerNorm,
    ffn: Ffn,
    output_layer_norm: LayerNorm,
}

impl TransformerBlock {
    fn new(config: &DistilBertConfig, init: &Init) -> Result<Self, ModelError> {
        let dim = config.dim;
        let project = || Linear::new(dim, dim, true, init);
        let norm = || LayerNorm::new(dim, NORM_EPS, true, init);
        Ok(Self {
            attention: DistilBertSelfAttention {
                q_lin: project(),
                k_lin: project(),
                v_lin: project(),
                out_lin: project(),
                heads: config.n_heads,
            },
            sa_layer_norm: norm(),
            ffn: Ffn {
                lin1: Linear::new(dim, config.hidden_dim, true, init),
                lin2: Linear::new(config.hidden_dim, dim, true, init),
                activation: activation("activation", &config.activation)?,
            },
            output_layer_norm: norm(),
        })
    }

    fn forward(&self, x: Tensor<3>, attention: &MaskedAttention<'_>, kept: Kept<'_>) -> Tensor<3> {
        let own = &self.attention;
        let head_dim = x.dims()[2] / own.heads;
        let scores = ops::AttentionOptions::new((head_dim as f64).powf(-0.5));
        let projections = [&own.q_lin, &own.k_lin, &own.v_lin];
        let attended = self_attention(x.clone(), projections, own.heads, attention, None, &scores);
        let (attended, x) = (kept.of(attended), kept.of(x));
        let x = self.sa_layer_norm.add(own.out_lin.forward(attended), x);
        let inner = ops::activate(self.ffn.lin1.forward(x.clone()), self.ffn.activation);
        self.output_layer_norm.add(self.ffn.lin2.forward(inner), x)
    }
}

#[derive(Module, Debug)]
struct Transformer {
    layer: Vec<TransformerBlock>,
}

/// The encoder: states `[batch, seq, hidden]`.
#[derive(Module, Debug)]
struct DistilBertModel {
    embeddings: TextEmbeddings,
    transformer: Transformer,
}

impl Forward for DistilBertModel {
    fn forward(
        &self,
        inputs: &ModelInputs,
        _cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let tokens = Tokens::new(inputs, &self.embeddings.word_embeddings)?.narrowed_last();
        let hidden = self.embeddings.forward(&tokens)?;
        let attention = tokens.attention(None);
        let layer = |layer: &TransformerBlock, hidden, kept: Kept<'_>| {
            layer.forward(hidden, &attention, kept)
        };
        let states = tokens.through(hidden, &self.transformer.layer, layer, |hidden| hidden)?;
        Ok(ModelOutput::of_states(states))
    }

    fn context_length(&self) -> Option<usize> {
        self.embeddings.context_length()
    }
}

/// The masked-token head: logits `[batch, seq, vocab]`.
#[derive(Module, Debug)]
struct DistilBertMaskedLM {
    vocab_transform: Linear,
    vocab_layer_norm: LayerNorm,
    vocab_projector: OutputLayer,
    #[module(skip)]
    activation: Activation,
}

impl TaskHead<DistilBert> for DistilBertMaskedLM {
    fn new(config: &DistilBertConfig, _: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let (dim, vocab) = (config.dim, config.vocab_size);
        let tied = config.tie_word_embeddings;
        Ok(Self {
            vocab_transform: Linear::new(dim, dim, true, init),
            vocab_layer_norm: LayerNorm::new(dim, NORM_EPS, true, init),
            vocab_projector: OutputLayer::new(dim, vocab, true, tied, init),
            activation: activation("activation", &config.activation)?,
        })
    }

    fn forward(
        &self,
        base: &DistilBertModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let hidden = ops::activate(self.vocab_transform.forward(hidden), self.activation);
        let hidden = self.vocab_layer_norm.forward(hidden);
        let words = &base.embeddings.word_embeddings;
        by_token(self.vocab_projector.forward(hidden, words), rest, inputs)
    }
}

/// The class of a row by its first state, or its score as a choice.
#[derive(Module, Debug)]
struct DistilBertClassifier {
    pre_classifier: Linear,
    classifier: Linear,
    #[module(skip)]
    scores: RowScores,
}

impl TaskHead<DistilBert> for DistilBertClassifier {
    const READS_FIRST: bool = true;

    fn new(
        config: &DistilBertConfig,
        options: &HeadOptions,
        init: &Init,
    ) -> Result<Self, ModelError> {
        let dim = config.dim;
        Ok(Self {
            pre_classifier: Linear::new(dim, dim, true, init),
            classifier: Linear::new(dim, options.num_labels, true, init),
            scores: options.scores,
        })
    }

    fn forward(
        &self,
        _base: &DistilBertModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let row = self.pre_classifier.forward(first(hidden));
        let logits = self
            .classifier
            .forward(ops::activate(row, Activation::Relu));
        by_row(logits, rest, inputs, self.scores)
    }
}
