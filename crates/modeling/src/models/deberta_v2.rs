//! DeBERTa v2 and v3 (He et al. 2021): BERT's layers, whose attention scores contents against contents, contents against
//! relative positions and the other way, each on its own.
#![allow(non_snake_case)]

use burn::module::{Module, Param};
use burn::tensor::module::conv1d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Int, Tensor, TensorData};
use transformers_config::{DebertaV2Config, ModelConfig};
use transformers_ops as ops;

use super::bert::{BertIntermediate, BertOutput};
use crate::loss::soft_cross_entropy;
use crate::nn::heads::{SpanHead, TokenClassifier, by_row, by_token, first, states, to_vocabulary};
use crate::nn::{
    Activation, BaseFamily, Cache, Embedding, HeadOptions, Hiding, Init, Kept, LayerNorm, Linear,
    MaskedAttention, PositionCount, RowScores, TaskHead, TextEmbeddings, TextEmbeddingsOptions,
    Tokens, activation, linears,
};
use crate::{Family, Forward, Head, Labels, ModelError, ModelInputs, ModelOutput};

/// The family.
pub(crate) fn family() -> Family {
    Family::new(DebertaV2Config::MODEL_TYPE, "deberta")
        .tied(&[
            (
                "cls.predictions.decoder.weight",
                "deberta.embeddings.word_embeddings.weight",
            ),
            ("cls.predictions.decoder.bias", "cls.predictions.bias"),
        ])
        .headless::<DebertaV2>(Head::Base)
        .headless::<DebertaV2>(Head::TextEncoding)
        .with::<DebertaV2, DebertaV2MaskedLM>(Head::MaskedLM)
        .with::<DebertaV2, DebertaV2MaskedLM>(Head::PreTraining)
        .with::<DebertaV2, DebertaV2Classifier>(Head::SequenceClassification)
        .with::<DebertaV2, TokenClassifier>(Head::TokenClassification)
        .with::<DebertaV2, SpanHead>(Head::QuestionAnswering)
        .with::<DebertaV2, DebertaV2Classifier>(Head::MultipleChoice)
}

#[derive(Debug)]
struct DebertaV2;

impl BaseFamily for DebertaV2 {
    type Config = DebertaV2Config;
    type Model = DebertaV2Model;

    fn model(
        config: &DebertaV2Config,
        _pooler: bool,
        init: &Init,
    ) -> Result<DebertaV2Model, ModelError> {
        let options = TextEmbeddingsOptions {
            vocab_size: config.vocab_size,
            padding: config.pad_token_id,
            width: config.embedding_size(),
            normed_width: config.hidden_size,
            positions: match config.position_biased_input {
                true => config.max_position_embeddings,
                false => 0,
            },
            segments: config.type_vocab_size,
            norm_eps: config.layer_norm_eps,
            count: PositionCount::Columns,
        };
        Ok(DebertaV2Model {
            embeddings: TextEmbeddings::new(&options, init),
            encoder: DebertaV2Encoder::new(config, init)?,
            max_position_embeddings: config.max_position_embeddings,
        })
    }

    fn hidden_size(config: &DebertaV2Config) -> usize {
        config.hidden_size
    }
}

/// The vectors of relative positions, `[1, 2 * span, hidden]`, and which of them a pair of tokens has.
struct Positions {
    table: Tensor<3>,
    /// Of a query (row) and a key (column), `[1, 1, seq, seq]`: contents look at positions.
    of_query: Tensor<4, Int>,
    /// Of a key (row) and a query (column), the other way round.
    of_key: Tensor<4, Int>,
}

/// Which scores there are beside those of contents.
#[derive(Module, Debug)]
struct DisentangledSelfAttention {
    query_proj: Linear,
    key_proj: Linear,
    value_proj: Linear,
    /// `None`: positions are projected as contents are, or not looked at.
    pos_key_proj: Option<Linear>,
    pos_query_proj: Option<Linear>,
    heads: usize,
    contents_to_positions: bool,
    positions_to_contents: bool,
}

impl DisentangledSelfAttention {
    fn new(config: &DebertaV2Config, init: &Init) -> Self {
        let hidden = config.hidden_size;
        let project = || Linear::new(hidden, hidden, true, init);
        let (c2p, p2c) = (config.has_scores("c2p"), config.has_scores("p2c"));
        let own = config.relative_attention && config.share_att_key != Some(true);
        Self {
            query_proj: project(),
            key_proj: project(),
            value_proj: project(),
            pos_key_proj: (own && c2p).then(project),
            pos_query_proj: (own && p2c).then(project),
            heads: config.num_attention_heads,
            contents_to_positions: c2p,
            positions_to_contents: p2c,
        }
    }

    fn forward(
        &self,
        x: Tensor<3>,
        attention: &MaskedAttention<'_>,
        positions: Option<&Positions>,
    ) -> Tensor<3> {
        let projections = [&self.query_proj, &self.key_proj, &self.value_proj];
        let [q, k, v] = linears(x, projections).map(|x| self.split(x));
        let kinds =
            1 + usize::from(self.contents_to_positions) + usize::from(self.positions_to_contents);
        let scale = ((q.dims()[3] * kinds) as f64).powf(-0.5);
        let bias = positions.and_then(|positions| self.bias(&q, &k, positions));
        let scores = ops::AttentionOptions {
            bias: bias.map(|bias| bias * scale),
            ..ops::AttentionOptions::new(scale)
        };
        attention.attend([q, k, v], &scores)
    }

    /// Scores that look at positions, `[batch, heads, seq, seq]`, before they are scaled.
    fn bias(&self, q: &Tensor<4>, k: &Tensor<4>, positions: &Positions) -> Option<Tensor<4>> {
        let [batch, heads, seq, _] = q.dims();
        let against = |contents: &Tensor<4>, layer: &Linear, index: &Tensor<4, Int>| {
            let table = self.split(layer.forward(positions.table.clone()));
            let all = contents.clone().matmul(table.swap_dims(2, 3));
            all.gather(3, index.clone().expand([batch, heads, seq, seq]))
        };
        let to_positions = self.contents_to_positions.then(|| {
            let layer = self.pos_key_proj.as_ref().unwrap_or(&self.key_proj);
            against(q, layer, &positions.of_query)
        });
        let to_contents = self.positions_to_contents.then(|| {
            let layer = self.pos_query_proj.as_ref().unwrap_or(&self.query_proj);
            against(k, layer, &positions.of_key).swap_dims(2, 3)
        });
        match (to_positions, to_contents) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        }
    }

    /// `[batch, seq, hidden]` to `[batch, heads, seq, head_dim]`.
    fn split(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, seq, hidden] = x.dims();
        x.reshape([batch, seq, self.heads, hidden / self.heads])
            .swap_dims(1, 2)
    }
}

#[derive(Module, Debug)]
struct DebertaV2Attention {
    self_: DisentangledSelfAttention,
    output: BertOutput,
}

#[derive(Module, Debug)]
struct DebertaV2Layer {
    attention: DebertaV2Attention,
    intermediate: BertIntermediate,
    output: BertOutput,
    #[module(skip)]
    activation: Activation,
}

impl DebertaV2Layer {
    fn new(config: &DebertaV2Config, init: &Init) -> Result<Self, ModelError> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let output = |input| BertOutput::new(input, hidden, config.layer_norm_eps, init);
        Ok(Self {
            attention: DebertaV2Attention {
                self_: DisentangledSelfAttention::new(config, init),
                output: output(hidden),
            },
            intermediate: BertIntermediate::new(hidden, inner, init),
            output: output(inner),
            activation: activation("hidden_act", &config.hidden_act)?,
        })
    }

    fn forward(
        &self,
        x: Tensor<3>,
        attention: &MaskedAttention<'_>,
        positions: Option<&Positions>,
    ) -> Tensor<3> {
        let attended = self
            .attention
            .self_
            .forward(x.clone(), attention, positions);
        let x = self.attention.output.forward(attended, x);
        let inner = self.intermediate.forward(x.clone(), self.activation);
        self.output.forward(inner, x)
    }
}

/// The weights of a convolution over neighbouring tokens.
#[derive(Module, Debug)]
struct Conv {
    /// `[hidden, hidden / groups, width]`.
    weight: Param<Tensor<3>>,
    /// `[hidden]`.
    bias: Param<Tensor<1>>,
}

/// A convolution of the embeddings that is added to the first layer's output.
#[derive(Module, Debug)]
struct ConvLayer {
    conv: Conv,
    LayerNorm: LayerNorm,
    width: usize,
    groups: usize,
    #[module(skip)]
    activation: Activation,
}

impl ConvLayer {
    /// `None` where the config has none.
    fn new(config: &DebertaV2Config, init: &Init) -> Result<Option<Self>, ModelError> {
        let hidden = config.hidden_size;
        let groups = config.conv_groups.unwrap_or(1);
        let Some(width) = config.conv_kernel_size.filter(|width| *width > 0) else {
            return Ok(None);
        };
        Ok(Some(Self {
            conv: Conv {
                weight: init.normal([hidden, hidden / groups, width]),
                bias: init.zeros([hidden]),
            },
            LayerNorm: LayerNorm::new(hidden, config.layer_norm_eps, true, init),
            width,
            groups,
            activation: activation("conv_act", config.conv_act.as_deref().unwrap_or("tanh"))?,
        }))
    }

    /// All are `[batch, seq, hidden]`; `tokens` (`[batch, seq, 1]`) is 0 for padding.
    fn forward(
        &self,
        embedded: Tensor<3>,
        first_layer: Tensor<3>,
        tokens: Option<&Tensor<3>>,
    ) -> Tensor<3> {
        let hide = |x: Tensor<3>| match tokens {
            Some(tokens) => x * tokens.clone(),
            None => x,
        };
        let options = ConvOptions::new([1], [self.width / 2], [1], self.groups);
        let (weight, bias) = (self.conv.weight.val(), self.conv.bias.val());
        let y = conv1d(embedded.swap_dims(1, 2), weight, Some(bias), options);
        let y = ops::activate(hide(y.swap_dims(1, 2)), self.activation);
        hide(self.LayerNorm.add(y, first_layer))
    }
}

#[derive(Module, Debug)]
struct DebertaV2Encoder {
    layer: Vec<DebertaV2Layer>,
    /// `[2 * span, hidden]`.
    rel_embeddings: Option<Embedding>,
    LayerNorm: Option<LayerNorm>,
    conv: Option<ConvLayer>,
    #[module(skip)]
    distances: Distances,
}

impl DebertaV2Encoder {
    fn new(config: &DebertaV2Config, init: &Init) -> Result<Self, ModelError> {
        let hidden = config.hidden_size;
        let layers = (0..config.num_hidden_layers).map(|_| DebertaV2Layer::new(config, init));
        let table = || Embedding::new(2 * config.position_span(), hidden, init);
        let norm = || LayerNorm::new(hidden, config.layer_norm_eps, true, init);
        Ok(Self {
            layer: layers.collect::<Result<_, _>>()?,
            rel_embeddings: config.relative_attention.then(table),
            LayerNorm: config.norms_positions().then(norm),
            conv: ConvLayer::new(config, init)?,
            distances: Distances {
                span: config.position_span(),
                buckets: config.position_buckets(),
                max: config.max_relative_positions(),
            },
        })
    }

    fn positions(&self, seq: usize) -> Option<Positions> {
        let table = self.rel_embeddings.as_ref()?;
        let device = table.weight.device();
        let rows: Vec<u32> = (0..2 * self.distances.span as u32).collect();
        let vectors = table.forward(crate::Rows::row_of(rows).to_tensor(&device));
        let index = |sign: i64| {
            let pairs = (0..seq).flat_map(|row| (0..seq).map(move |column| (row, column)));
            let values: Vec<i64> = pairs
                .map(|(row, column)| self.distances.index(row as i64 - column as i64, sign))
                .collect();
            Tensor::<4, Int>::from_data(TensorData::new(values, [1, 1, seq, seq]), &device)
        };
        Some(Positions {
            table: match &self.LayerNorm {
                Some(norm) => norm.forward(vectors),
                None => vectors,
            },
            of_query: index(1),
            of_key: index(-1),
        })
    }
}

/// How distances become rows of the table.
#[derive(Debug, Clone, Copy)]
struct Distances {
    /// Half of its rows.
    span: usize,
    /// Groups of distances to each side; `None`: each is one of its own.
    buckets: Option<usize>,
    /// The farthest that is told apart.
    max: usize,
}

impl Distances {
    /// The row of `sign` times the bucket of `distance`.
    fn index(&self, distance: i64, sign: i64) -> i64 {
        let bucket = match self.buckets {
            Some(buckets) => log_bucket(distance, buckets as i64, self.max as i64),
            None => distance,
        };
        let span = self.span as i64;
        (sign * bucket + span).clamp(0, 2 * span - 1)
    }
}

/// Near distances are buckets of their own; far ones share buckets that grow with their logarithm.
fn log_bucket(distance: i64, buckets: i64, max: i64) -> i64 {
    let middle = buckets / 2;
    let far = match -middle < distance && distance < middle {
        true => middle - 1,
        false => distance.abs(),
    };
    if far <= middle {
        return distance;
    }
    // In f32 and in this order, as the reference: at the edges of buckets the last bit decides.
    let steps =
        (far as f32 / middle as f32).ln() / (((max - 1) as f64 / middle as f64) as f32).ln();
    let bucket = (steps * (middle - 1) as f32).ceil() as i64 + middle;
    bucket * distance.signum()
}

/// The encoder: states `[batch, seq, hidden]`.
#[derive(Module, Debug)]
struct DebertaV2Model {
    embeddings: TextEmbeddings,
    encoder: DebertaV2Encoder,
    max_position_embeddings: usize,
}

impl Forward for DebertaV2Model {
    fn forward(
        &self,
        inputs: &ModelInputs,
        _cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let tokens = Tokens::in_columns(inputs, &self.embeddings.word_embeddings)?;
        let mut embedded = self.embeddings.forward(&tokens)?;
        let [batch, seq, _] = embedded.dims();
        let counts = inputs.attention_mask.as_ref().map(|mask| {
            let values = mask.values().iter().map(|token| *token as f32);
            let counts = TensorData::new(values.collect::<Vec<_>>(), [batch, seq, 1]);
            Tensor::<3>::from_data(counts, (&embedded.device(), embedded.dtype()))
        });
        if let Some(counts) = &counts {
            embedded = embedded * counts.clone();
        }
        let reads = inputs.reads_padding() || inputs.begins_with_padding();
        let mask = tokens.mask(None).with_blind_padding(reads);
        let mask = mask.with_means(reads).with_hiding(Hiding::Replaced);
        let attention = MaskedAttention::new(tokens.attention_pass(), mask);
        let positions = self.encoder.positions(seq);
        let layer = |(index, layer): (usize, &DebertaV2Layer), hidden: Tensor<3>, _: Kept<'_>| {
            let output = layer.forward(hidden, &attention, positions.as_ref());
            match &self.encoder.conv {
                Some(conv) if index == 0 => conv.forward(embedded.clone(), output, counts.as_ref()),
                _ => output,
            }
        };
        let layers = self.encoder.layer.iter().enumerate();
        let states = tokens.through(embedded.clone(), layers, layer, |hidden| hidden)?;
        Ok(ModelOutput::of_states(states))
    }

    /// Only where positions are embedded too is there an end; all were made for this length.
    fn context_length(&self) -> Option<usize> {
        Some(self.max_position_embeddings)
    }
}

#[derive(Module, Debug)]
struct LegacyTransform {
    dense: Linear,
    LayerNorm: LayerNorm,
}

#[derive(Module, Debug)]
struct LegacyPredictions {
    transform: LegacyTransform,
    /// `[vocab]`.
    bias: Param<Tensor<1>>,
    /// `None`: the word embeddings' weight with `bias`.
    decoder: Option<Linear>,
}

#[derive(Module, Debug)]
struct LegacyMLMHead {
    predictions: LegacyPredictions,
}

#[derive(Module, Debug)]
struct LMPredictions {
    dense: Linear,
    LayerNorm: LayerNorm,
    /// `[vocab]`.
    bias: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct MLMHead {
    lm_head: LMPredictions,
}

/// The masked-token head, under BERT's names or those of the first release: logits `[batch, seq, vocab]`.
#[derive(Module, Debug)]
struct DebertaV2MaskedLM {
    cls: Option<LegacyMLMHead>,
    lm_predictions: Option<MLMHead>,
    #[module(skip)]
    activation: Activation,
}

impl TaskHead<DebertaV2> for DebertaV2MaskedLM {
    fn new(config: &DebertaV2Config, _: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let norm = |width| LayerNorm::new(width, config.layer_norm_eps, true, init);
        let legacy = || {
            let width = config.embedding_size();
            let decoder = || Linear::new(width, vocab, true, init);
            LegacyMLMHead {
                predictions: LegacyPredictions {
                    transform: LegacyTransform {
                        dense: Linear::new(hidden, width, true, init),
                        LayerNorm: norm(width),
                    },
                    bias: init.zeros([vocab]),
                    decoder: (!config.tie_word_embeddings).then(decoder),
                },
            }
        };
        let first_release = || MLMHead {
            lm_head: LMPredictions {
                dense: Linear::new(hidden, hidden, true, init),
                LayerNorm: norm(hidden),
                bias: init.zeros([vocab]),
            },
        };
        Ok(Self {
            cls: config.legacy.then(legacy),
            lm_predictions: (!config.legacy).then(first_release),
            activation: activation("hidden_act", &config.hidden_act)?,
        })
    }

    fn forward(
        &self,
        base: &DebertaV2Model,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let words = &base.embeddings.word_embeddings;
        let transform = |dense: &Linear, norm: &LayerNorm, hidden| {
            norm.forward(ops::activate(dense.forward(hidden), self.activation))
        };
        let logits = match (&self.cls, &self.lm_predictions) {
            (Some(head), _) => {
                let head = &head.predictions;
                let hidden = transform(&head.transform.dense, &head.transform.LayerNorm, hidden);
                to_vocabulary(hidden, head.decoder.as_ref(), words, &head.bias)
            }
            (None, Some(head)) => {
                let head = &head.lm_head;
                let hidden = transform(&head.dense, &head.LayerNorm, hidden);
                to_vocabulary(hidden, None, words, &head.bias)
            }
            (None, None) => unreachable!("one of the two is built"),
        };
        by_token(logits, rest, inputs)
    }
}

#[derive(Module, Debug)]
struct ContextPooler {
    dense: Linear,
}

/// The class of a row by its first state through a dense layer, or its score as a choice.
#[derive(Module, Debug)]
struct DebertaV2Classifier {
    pooler: ContextPooler,
    classifier: Linear,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    scores: RowScores,
}

impl TaskHead<DebertaV2> for DebertaV2Classifier {
    fn new(
        config: &DebertaV2Config,
        options: &HeadOptions,
        init: &Init,
    ) -> Result<Self, ModelError> {
        let hidden = config.hidden_size;
        Ok(Self {
            pooler: ContextPooler {
                dense: Linear::new(hidden, hidden, true, init),
            },
            classifier: Linear::new(hidden, options.num_labels, true, init),
            activation: activation("pooler_hidden_act", &config.pooler_hidden_act)?,
            scores: options.scores,
        })
    }

    fn forward(
        &self,
        _base: &DebertaV2Model,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let row = self.pooler.dense.forward(first(hidden));
        let logits = self.classifier.forward(ops::activate(row, self.activation));
        let classes = logits.dims()[1];
        match (self.scores, &inputs.labels) {
            // Where nothing says what the labels are, numbers for every class are a distribution.
            (RowScores::Labels(None), Some(Labels::Values(shares)))
                if classes > 1 && shares.dims()[1] > 1 =>
            {
                Ok(ModelOutput {
                    loss: Some(soft_cross_entropy(logits.clone(), shares)?),
                    pooled_logits: Some(logits),
                    ..rest
                })
            }
            _ => by_row(logits, rest, inputs, self.scores),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_distances_share_buckets() {
        // make_log_bucket_position of the reference, 16 buckets and at most 64 tokens.
        let buckets = [0, 1, 7, 8, 9, 12, 20, 40, 63, -9, -63].map(|d| log_bucket(d, 16, 64));
        assert_eq!(buckets, [0, 1, 7, 8, 9, 10, 12, 14, 15, -9, -15]);
    }
}
