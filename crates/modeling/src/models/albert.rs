//! ALBERT (Lan et al. 2020): groups of layers that are used again and again, and embeddings of their own width.
#![allow(non_snake_case)]

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use transformers_config::{AlbertConfig, ModelConfig};
use transformers_ops as ops;

use super::bert::pretraining;
use crate::nn::heads::{
    PooledClassifier, SpanHead, TokenClassifier, by_token, first, pooled, states, to_vocabulary,
};
use crate::nn::{
    Activation, BaseFamily, Cache, Embedding, HeadOptions, Init, Kept, LayerNorm, Linear,
    MaskedAttention, PositionCount, TaskHead, TextEmbeddings, TextEmbeddingsOptions, Tokens,
    activation, self_attention,
};
use crate::{Family, Forward, Head, ModelError, ModelInputs, ModelOutput};

/// The family.
pub(crate) fn family() -> Family {
    Family::new(AlbertConfig::MODEL_TYPE, "albert")
        .tied(&[
            (
                "predictions.decoder.weight",
                "albert.embeddings.word_embeddings.weight",
            ),
            ("predictions.decoder.bias", "predictions.bias"),
        ])
        .headless::<Albert>(Head::Base)
        .headless::<Albert>(Head::TextEncoding)
        .with::<Albert, AlbertMaskedLM>(Head::MaskedLM)
        .with::<Albert, AlbertPreTraining>(Head::PreTraining)
        .with::<Albert, PooledClassifier>(Head::SequenceClassification)
        .with::<Albert, TokenClassifier>(Head::TokenClassification)
        .with::<Albert, SpanHead>(Head::QuestionAnswering)
        .with::<Albert, PooledClassifier>(Head::MultipleChoice)
}

#[derive(Debug)]
struct Albert;

impl BaseFamily for Albert {
    type Config = AlbertConfig;
    type Model = AlbertModel;

    fn model(config: &AlbertConfig, pooler: bool, init: &Init) -> Result<AlbertModel, ModelError> {
        let hidden = config.hidden_size;
        let options = TextEmbeddingsOptions {
            vocab_size: config.vocab_size,
            padding: config.pad_token_id,
            width: config.embedding_size,
            normed_width: config.embedding_size,
            positions: config.max_position_embeddings,
            segments: config.type_vocab_size,
            norm_eps: config.layer_norm_eps,
            count: PositionCount::Columns,
        };
        let group = |_| {
            let layers = (0..config.inner_group_num).map(|_| AlbertLayer::new(config, init));
            Ok(AlbertLayerGroup {
                albert_layers: layers.collect::<Result<_, ModelError>>()?,
            })
        };
        let groups = (0..config.num_hidden_groups).map(group);
        Ok(AlbertModel {
            embeddings: TextEmbeddings::new(&options, init),
            encoder: AlbertTransformer {
                embedding_hidden_mapping_in: Linear::new(options.width, hidden, true, init),
                albert_layer_groups: groups.collect::<Result<_, ModelError>>()?,
                num_hidden_layers: config.num_hidden_layers,
            },
            pooler: pooler.then(|| Linear::new(hidden, hidden, true, init)),
        })
    }

    fn hidden_size(config: &AlbertConfig) -> usize {
        config.hidden_size
    }
}

#[derive(Module, Debug)]
struct AlbertAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    dense: Linear,
    LayerNorm: LayerNorm,
    heads: usize,
}

impl AlbertAttention {
    fn forward(&self, x: Tensor<3>, attention: &MaskedAttention<'_>, kept: Kept<'_>) -> Tensor<3> {
        let head_dim = x.dims()[2] / self.heads;
        let scores = ops::AttentionOptions::new((head_dim as f64).powf(-0.5));
        let projections = [&self.query, &self.key, &self.value];
        let attended = self_attention(x.clone(), projections, self.heads, attention, None, &scores);
        let (attended, x) = (kept.of(attended), kept.of(x));
        self.LayerNorm.add(self.dense.forward(attended), x)
    }
}

#[derive(Module, Debug)]
struct AlbertLayer {
    full_layer_layer_norm: LayerNorm,
    attention: AlbertAttention,
    ffn: Linear,
    ffn_output: Linear,
    #[module(skip)]
    activation: Activation,
}

impl AlbertLayer {
    fn new(config: &AlbertConfig, init: &Init) -> Result<Self, ModelError> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let project = || Linear::new(hidden, hidden, true, init);
        let norm = || LayerNorm::new(hidden, config.layer_norm_eps, true, init);
        Ok(Self {
            full_layer_layer_norm: norm(),
            attention: AlbertAttention {
                query: project(),
                key: project(),
                value: project(),
                dense: project(),
                LayerNorm: norm(),
                heads: config.num_attention_heads,
            },
            ffn: Linear::new(hidden, inner, true, init),
            ffn_output: Linear::new(inner, hidden, true, init),
            activation: activation("hidden_act", &config.hidden_act)?,
        })
    }

    fn forward(&self, x: Tensor<3>, attention: &MaskedAttention<'_>, kept: Kept<'_>) -> Tensor<3> {
        let x = self.attention.forward(x, attention, kept);
        let inner = ops::activate(self.ffn.forward(x.clone()), self.activation);
        self.full_layer_layer_norm
            .add(self.ffn_output.forward(inner), x)
    }
}

#[derive(Module, Debug)]
struct AlbertLayerGroup {
    albert_layers: Vec<AlbertLayer>,
}

#[derive(Module, Debug)]
struct AlbertTransformer {
    embedding_hidden_mapping_in: Linear,
    albert_layer_groups: Vec<AlbertLayerGroup>,
    num_hidden_layers: usize,
}

impl AlbertTransformer {
    /// The layers in the order in which they run: each group several times, one time after the other.
    fn layers(&self) -> impl Iterator<Item = &AlbertLayer> {
        let (groups, layers) = (self.albert_layer_groups.len(), self.num_hidden_layers);
        let group = move |layer| &self.albert_layer_groups[layer * groups / layers];
        (0..layers).flat_map(move |layer| &group(layer).albert_layers)
    }
}

/// The encoder: states `[batch, seq, hidden]`, and with the pooler the first state through a dense layer.
#[derive(Module, Debug)]
struct AlbertModel {
    embeddings: TextEmbeddings,
    encoder: AlbertTransformer,
    pooler: Option<Linear>,
}

impl Forward for AlbertModel {
    fn forward(
        &self,
        inputs: &ModelInputs,
        _cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let tokens = Tokens::new(inputs, &self.embeddings.word_embeddings)?.narrowed_last();
        let hidden = self.embeddings.forward(&tokens)?;
        let hidden = self.encoder.embedding_hidden_mapping_in.forward(hidden);
        let attention = tokens.attention(None);
        let layer =
            |layer: &AlbertLayer, hidden, kept: Kept<'_>| layer.forward(hidden, &attention, kept);
        let states = tokens.through(hidden, self.encoder.layers(), layer, |hidden| hidden)?;
        let pooler = self.pooler.as_ref();
        Ok(ModelOutput {
            pooler_output: pooler.map(|pooler| pooler.forward(first(states.last.clone())).tanh()),
            ..ModelOutput::of_states(states)
        })
    }

    fn context_length(&self) -> Option<usize> {
        self.embeddings.context_length()
    }
}

#[derive(Module, Debug)]
struct AlbertMLMHead {
    LayerNorm: LayerNorm,
    /// `[vocab]`.
    bias: Param<Tensor<1>>,
    dense: Linear,
    /// `None`: the word embeddings' weight with `bias`.
    decoder: Option<Linear>,
    #[module(skip)]
    activation: Activation,
}

impl AlbertMLMHead {
    fn new(config: &AlbertConfig, init: &Init) -> Result<Self, ModelError> {
        let (width, vocab) = (config.embedding_size, config.vocab_size);
        let decoder = || Linear::new(width, vocab, true, init);
        Ok(Self {
            LayerNorm: LayerNorm::new(width, config.layer_norm_eps, true, init),
            bias: init.zeros([vocab]),
            dense: Linear::new(config.hidden_size, width, true, init),
            decoder: (!config.tie_word_embeddings).then(decoder),
            activation: activation("hidden_act", &config.hidden_act)?,
        })
    }

    fn logits(&self, hidden: Tensor<3>, words: &Embedding) -> Tensor<3> {
        let hidden = ops::activate(self.dense.forward(hidden), self.activation);
        let hidden = self.LayerNorm.forward(hidden);
        to_vocabulary(hidden, self.decoder.as_ref(), words, &self.bias)
    }
}

/// The masked-token head: logits `[batch, seq, vocab]`.
#[derive(Module, Debug)]
struct AlbertMaskedLM {
    predictions: AlbertMLMHead,
}

impl TaskHead<Albert> for AlbertMaskedLM {
    fn new(config: &AlbertConfig, _: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let predictions = AlbertMLMHead::new(config, init)?;
        Ok(Self { predictions })
    }

    fn forward(
        &self,
        base: &AlbertModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let words = &base.embeddings.word_embeddings;
        by_token(self.predictions.logits(hidden, words), rest, inputs)
    }
}

#[derive(Module, Debug)]
struct AlbertSOPHead {
    classifier: Linear,
}

/// Both of the heads that ALBERT was first trained with: masked tokens, and the order of two texts.
#[derive(Module, Debug)]
struct AlbertPreTraining {
    predictions: AlbertMLMHead,
    sop_classifier: AlbertSOPHead,
}

impl TaskHead<Albert> for AlbertPreTraining {
    const POOLER: bool = true;

    fn new(config: &AlbertConfig, options: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let labels = options.num_labels;
        Ok(Self {
            predictions: AlbertMLMHead::new(config, init)?,
            sop_classifier: AlbertSOPHead {
                classifier: Linear::new(config.hidden_size, labels, true, init),
            },
        })
    }

    fn forward(
        &self,
        base: &AlbertModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let order = self.sop_classifier.classifier.forward(pooled(&output)?);
        let (hidden, rest) = states(output)?;
        let words = &base.embeddings.word_embeddings;
        pretraining(self.predictions.logits(hidden, words), order, rest, inputs)
    }
}
