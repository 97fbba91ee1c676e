//! BERT (Devlin et al. 2019): post-norm encoder with learned positions.
//!
//! RoBERTa, its two namesakes and ELECTRA have the same layers: what differs is in [`BertOptions`] and in the heads.
//! Field names are the checkpoint's, hence `LayerNorm`, `self_` and `output`.
#![allow(non_snake_case)]

use std::marker::PhantomData;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use transformers_config::{BertConfig, ConfigError, ModelConfig, ProblemType};
use transformers_ops as ops;

use crate::loss::{cross_entropy, token_loss};
use crate::nn::heads::{
    PooledClassifier, SpanHead, TokenClassifier, by_row, language_model, pooled, rest, states,
    to_vocabulary,
};
use crate::nn::{
    Activation, BaseFamily, Cache, CacheLayout, Embedding, HeadOptions, Init, Kept, LayerCache,
    LayerNorm, Linear, MaskedAttention, Pooler, PositionCount, RowScores, States, TaskHead,
    TextEmbeddings, TextEmbeddingsOptions, Tokens, self_attention,
};
use crate::{Family, Forward, Head, ModelError, ModelInputs, ModelOutput};

/// The family.
pub(crate) fn family() -> Family {
    type Bert = OnBert<BertConfig>;
    Family::new(BertConfig::MODEL_TYPE, "bert")
        .tied(&[
            (
                "cls.predictions.decoder.weight",
                "bert.embeddings.word_embeddings.weight",
            ),
            ("cls.predictions.decoder.bias", "cls.predictions.bias"),
        ])
        .headless::<Bert>(Head::Base)
        .headless::<Bert>(Head::TextEncoding)
        .with::<Bert, BertOnlyMLMHead>(Head::CausalLM)
        .with::<Bert, BertOnlyMLMHead>(Head::MaskedLM)
        .with::<Bert, PooledClassifier>(Head::SequenceClassification)
        .with::<Bert, TokenClassifier>(Head::TokenClassification)
        .with::<Bert, SpanHead>(Head::QuestionAnswering)
        .with::<Bert, PooledClassifier>(Head::MultipleChoice)
        .with::<Bert, BertOnlyNSPHead>(Head::NextSentencePrediction)
        .with::<Bert, BertPreTrainingHeads>(Head::PreTraining)
}

/// The numbers of a BERT.
#[derive(Debug, Clone)]
pub struct BertOptions {
    /// Its tables.
    pub embeddings: TextEmbeddingsOptions,
    /// Features of the states.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of each.
    pub num_attention_heads: usize,
    /// Features inside of the feed-forward blocks.
    pub intermediate_size: usize,
    /// The activation of heads and layers.
    pub activation: Activation,
    /// Whether the output layer shares the table of words.
    pub tie_word_embeddings: bool,
    /// Whether tokens see none that come after them.
    pub is_decoder: bool,
}

/// A config of a family whose layers are BERT's.
pub(crate) trait BertLike: ModelConfig {
    /// Whether the family has a pooler.
    const POOLER: bool = true;
    /// See [`BaseFamily::CLASSIFIER_ACTIVATION`].
    const CLASSIFIER_ACTIVATION: Activation = Activation::Tanh;

    /// Features of the states.
    fn hidden_size(&self) -> usize;

    /// # Errors
    /// An activation that is not known.
    fn options(&self) -> Result<BertOptions, ModelError>;
}

/// [`BertLike`] for a config with BERT's names.
macro_rules! bert_like {
    ($config:ty { width: $width:ident, count: $count:expr } $($constant:item)*) => {
        impl $crate::models::bert::BertLike for $config {
            $($constant)*

            fn hidden_size(&self) -> usize {
                self.hidden_size
            }

            fn options(&self) -> Result<$crate::models::bert::BertOptions, $crate::ModelError> {
                let count: fn(&Self) -> $crate::nn::PositionCount = $count;
                $crate::models::bert::no_cross_attention(self.add_cross_attention)?;
                Ok($crate::models::bert::BertOptions {
                    embeddings: $crate::nn::TextEmbeddingsOptions {
                        vocab_size: self.vocab_size,
                        padding: self.pad_token_id,
                        width: self.$width,
                        normed_width: self.$width,
                        positions: self.max_position_embeddings,
                        segments: self.type_vocab_size,
                        norm_eps: self.layer_norm_eps,
                        count: count(self),
                    },
                    hidden_size: self.hidden_size,
                    num_hidden_layers: self.num_hidden_layers,
                    num_attention_heads: self.num_attention_heads,
                    intermediate_size: self.intermediate_size,
                    activation: $crate::nn::activation("hidden_act", &self.hidden_act)?,
                    tie_word_embeddings: self.tie_word_embeddings,
                    is_decoder: self.is_decoder,
                })
            }
        }
    };
}
pub(crate) use bert_like;

/// As a decoder the model attends to its own tokens only.
pub(crate) fn no_cross_attention(add_cross_attention: bool) -> Result<(), ModelError> {
    let reason =
        "the layers have no attention to an encoder's states; set it to false to leave it out";
    match add_cross_attention {
        true => Err(ConfigError::invalid("add_cross_attention", reason).into()),
        false => Ok(()),
    }
}

bert_like!(BertConfig {
    width: hidden_size,
    count: |_| PositionCount::Columns
});

/// The headless model of a config.
#[derive(Debug)]
pub(crate) struct OnBert<C>(PhantomData<C>);

impl<C: BertLike> BaseFamily for OnBert<C> {
    type Config = C;
    type Model = BertModel;

    const CLASSIFIER_ACTIVATION: Activation = C::CLASSIFIER_ACTIVATION;

    fn model(config: &C, pooler: bool, init: &Init) -> Result<BertModel, ModelError> {
        Ok(BertModel::new(
            &config.options()?,
            pooler && C::POOLER,
            init,
        ))
    }

    fn hidden_size(config: &C) -> usize {
        config.hidden_size()
    }
}

#[derive(Module, Debug)]
struct BertSelfAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    heads: usize,
}

impl BertSelfAttention {
    fn forward(
        &self,
        x: Tensor<3>,
        attention: &MaskedAttention<'_>,
        cache: LayerCache<'_>,
    ) -> Tensor<3> {
        let head_dim = x.dims()[2] / self.heads;
        let scores = ops::AttentionOptions::new((head_dim as f64).powf(-0.5));
        let projections = [&self.query, &self.key, &self.value];
        self_attention(x, projections, self.heads, attention, cache, &scores)
    }
}

/// `norm(residual + dense(x))`: the end of both halves of a block.
#[derive(Module, Debug)]
pub(crate) struct BertOutput {
    dense: Linear,
    LayerNorm: LayerNorm,
}

impl BertOutput {
    pub fn new(input: usize, hidden: usize, norm_eps: f64, init: &Init) -> Self {
        Self {
            dense: Linear::new(input, hidden, true, init),
            LayerNorm: LayerNorm::new(hidden, norm_eps, true, init),
        }
    }

    pub fn forward(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        self.LayerNorm.add(self.dense.forward(x), residual)
    }
}

#[derive(Module, Debug)]
struct BertAttention {
    self_: BertSelfAttention,
    output: BertOutput,
}

/// `activation(dense(x))`.
#[derive(Module, Debug)]
pub(crate) struct BertIntermediate {
    dense: Linear,
}

impl BertIntermediate {
    pub fn new(hidden: usize, inner: usize, init: &Init) -> Self {
        Self {
            dense: Linear::new(hidden, inner, true, init),
        }
    }

    pub fn forward(&self, x: Tensor<3>, activation: Activation) -> Tensor<3> {
        ops::activate(self.dense.forward(x), activation)
    }
}

#[derive(Module, Debug)]
struct BertLayer {
    attention: BertAttention,
    intermediate: BertIntermediate,
    output: BertOutput,
    #[module(skip)]
    activation: Activation,
}

impl BertLayer {
    fn new(options: &BertOptions, init: &Init) -> Self {
        let (hidden, inner) = (options.hidden_size, options.intermediate_size);
        let project = || Linear::new(hidden, hidden, true, init);
        let output = |input| BertOutput::new(input, hidden, options.embeddings.norm_eps, init);
        Self {
            attention: BertAttention {
                self_: BertSelfAttention {
                    query: project(),
                    key: project(),
                    value: project(),
                    heads: options.num_attention_heads,
                },
                output: output(hidden),
            },
            intermediate: BertIntermediate::new(hidden, inner, init),
            output: output(inner),
            activation: options.activation,
        }
    }

    fn forward(
        &self,
        x: Tensor<3>,
        attention: &MaskedAttention<'_>,
        cache: LayerCache<'_>,
        kept: Kept<'_>,
    ) -> Tensor<3> {
        let attended = self.attention.self_.forward(x.clone(), attention, cache);
        let (attended, x) = (kept.of(attended), kept.of(x));
        let x = self.attention.output.forward(attended, x);
        let inner = self.intermediate.forward(x.clone(), self.activation);
        self.output.forward(inner, x)
    }
}

#[derive(Module, Debug)]
struct BertEncoder {
    layer: Vec<BertLayer>,
}

/// The encoder, or decoder: states `[batch, seq, hidden]`, and with the pooler the first state through a dense layer.
#[derive(Module, Debug)]
pub struct BertModel {
    embeddings: TextEmbeddings,
    /// From the width of the embeddings to that of the states, where they differ.
    embeddings_project: Option<Linear>,
    encoder: BertEncoder,
    pooler: Option<Pooler>,
    is_decoder: bool,
}

impl BertModel {
    /// A model with the given numbers, with or without a pooler.
    pub fn new(options: &BertOptions, pooler: bool, init: &Init) -> Self {
        let (width, hidden) = (options.embeddings.width, options.hidden_size);
        let layers = (0..options.num_hidden_layers).map(|_| BertLayer::new(options, init));
        Self {
            embeddings: TextEmbeddings::new(&options.embeddings, init),
            embeddings_project: (width != hidden).then(|| Linear::new(width, hidden, true, init)),
            encoder: BertEncoder {
                layer: layers.collect(),
            },
            pooler: pooler.then(|| Pooler::new(hidden, init)),
            is_decoder: options.is_decoder,
        }
    }

    /// The table of words, which heads may share.
    pub(crate) fn words(&self) -> &Embedding {
        &self.embeddings.word_embeddings
    }

    fn states(
        &self,
        inputs: &ModelInputs,
        mut cache: Option<&mut dyn Cache>,
    ) -> Result<States, ModelError> {
        let tokens = match self.is_decoder {
            true => Tokens::of_decoder(inputs, self.words(), cache.as_deref())?,
            false => Tokens::new(inputs, self.words())?.narrowed_last(),
        };
        let mut hidden = self.embeddings.forward(&tokens)?;
        if let Some(project) = &self.embeddings_project {
            hidden = project.forward(hidden);
        }
        let attention = tokens.attention(None);
        let layer = |(index, layer): (usize, &BertLayer), hidden, kept: Kept<'_>| {
            let cache = cache.as_deref_mut().filter(|_| self.is_decoder);
            let cache = cache.map(|cache| (index, cache as &mut dyn Cache));
            layer.forward(hidden, &attention, cache, kept)
        };
        let layers = self.encoder.layer.iter().enumerate();
        tokens.through(hidden, layers, layer, |hidden| hidden)
    }
}

impl Forward for BertModel {
    fn forward(
        &self,
        inputs: &ModelInputs,
        cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let states = self.states(inputs, cache)?;
        let pooler = self.pooler.as_ref();
        Ok(ModelOutput {
            pooler_output: pooler.map(|pooler| pooler.forward(states.last.clone())),
            ..ModelOutput::of_states(states)
        })
    }

    fn cache_layout(&self) -> Option<CacheLayout> {
        let layers = self.encoder.layer.len();
        self.is_decoder
            .then(|| CacheLayout::new(vec![None; layers]))
    }

    fn context_length(&self) -> Option<usize> {
        self.embeddings.context_length()
    }
}

#[derive(Module, Debug)]
struct BertPredictionHeadTransform {
    dense: Linear,
    LayerNorm: LayerNorm,
}

#[derive(Module, Debug)]
struct BertLMPredictionHead {
    transform: BertPredictionHeadTransform,
    /// `[vocab]`.
    bias: Param<Tensor<1>>,
    /// `None`: the word embeddings' weight with `bias`.
    decoder: Option<Linear>,
    #[module(skip)]
    activation: Activation,
}

impl BertLMPredictionHead {
    fn new(options: &BertOptions, init: &Init) -> Self {
        let (hidden, vocab) = (options.hidden_size, options.embeddings.vocab_size);
        let decoder = || Linear::new(hidden, vocab, true, init);
        Self {
            transform: BertPredictionHeadTransform {
                dense: Linear::new(hidden, hidden, true, init),
                LayerNorm: LayerNorm::new(hidden, options.embeddings.norm_eps, true, init),
            },
            bias: init.zeros([vocab]),
            decoder: (!options.tie_word_embeddings).then(decoder),
            activation: options.activation,
        }
    }

    fn logits(&self, hidden: Tensor<3>, words: &Embedding) -> Tensor<3> {
        let hidden = ops::activate(self.transform.dense.forward(hidden), self.activation);
        let hidden = self.transform.LayerNorm.forward(hidden);
        to_vocabulary(hidden, self.decoder.as_ref(), words, &self.bias)
    }
}

/// The fields of a head that are below `cls`.
#[derive(Module, Debug)]
struct Cls<P> {
    predictions: P,
}

/// The head for masked tokens, or for the next one: logits `[batch, seq, vocab]`.
#[derive(Module, Debug)]
struct BertOnlyMLMHead {
    cls: Cls<BertLMPredictionHead>,
    #[module(skip)]
    head: Head,
}

impl<C: BertLike> TaskHead<OnBert<C>> for BertOnlyMLMHead {
    fn new(config: &C, options: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let predictions = BertLMPredictionHead::new(&config.options()?, init);
        Ok(Self {
            cls: Cls { predictions },
            head: options.head,
        })
    }

    fn forward(
        &self,
        base: &BertModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        language_model(self.head, output, inputs, |hidden| {
            self.cls.predictions.logits(hidden, base.words())
        })
    }
}

#[derive(Module, Debug)]
struct Relationship {
    seq_relationship: Linear,
}

/// Whether the second text follows the first: pooled logits `[batch, 2]`.
#[derive(Module, Debug)]
struct BertOnlyNSPHead {
    cls: Relationship,
}

impl<C: BertLike> TaskHead<OnBert<C>> for BertOnlyNSPHead {
    const POOLER: bool = true;
    const READS_FIRST: bool = true;

    fn new(_: &C, options: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        Ok(Self {
            cls: Relationship {
                seq_relationship: Linear::new(options.hidden_size, 2, true, init),
            },
        })
    }

    fn forward(
        &self,
        _base: &BertModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let logits = self.cls.seq_relationship.forward(pooled(&output)?);
        let scores = RowScores::Labels(Some(ProblemType::SingleLabelClassification));
        by_row(logits, rest(output), inputs, scores)
    }
}

#[derive(Module, Debug)]
struct PredictionsAndRelationship {
    predictions: BertLMPredictionHead,
    seq_relationship: Linear,
}

/// Both of the heads that BERT was first trained with.
#[derive(Module, Debug)]
struct BertPreTrainingHeads {
    cls: PredictionsAndRelationship,
}

impl<C: BertLike> TaskHead<OnBert<C>> for BertPreTrainingHeads {
    const POOLER: bool = true;

    fn new(config: &C, options: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        Ok(Self {
            cls: PredictionsAndRelationship {
                predictions: BertLMPredictionHead::new(&config.options()?, init),
                seq_relationship: Linear::new(options.hidden_size, 2, true, init),
            },
        })
    }

    fn forward(
        &self,
        base: &BertModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let follows = self.cls.seq_relationship.forward(pooled(&output)?);
        let (hidden, rest) = states(output)?;
        let logits = self.cls.predictions.logits(hidden, base.words());
        pretraining(logits, follows, rest, inputs)
    }
}

/// The output of a model with a head for masked tokens and one for the order of sentences, with the sum of their losses.
pub(crate) fn pretraining(
    prediction_logits: Tensor<3>,
    seq_relationship_logits: Tensor<2>,
    rest: ModelOutput,
    inputs: &ModelInputs,
) -> Result<ModelOutput, ModelError> {
    let loss = match (inputs.label_ids()?, &inputs.next_sentence_label) {
        (Some(labels), Some(follows)) => Some(
            token_loss(prediction_logits.clone(), labels)?
                + cross_entropy(seq_relationship_logits.clone(), follows)?,
        ),
        _ => None,
    };
    Ok(ModelOutput {
        loss,
        prediction_logits: Some(prediction_logits),
        seq_relationship_logits: Some(seq_relationship_logits),
        ..rest
    })
}
