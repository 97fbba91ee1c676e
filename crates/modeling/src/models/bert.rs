//! BERT (Devlin et al. 2019): post-norm encoder with learned positions; plain, and with the masked-token head.
//!
//! Field names are the checkpoint's, hence `LayerNorm`, `self_` and `output`.
#![allow(non_snake_case)]

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use transformers_config::{BertConfig, ModelConfig};
use transformers_ops as ops;

use crate::loss::masked_lm_loss;
use crate::nn::{
    Activation, Cache, Embedding, Init, LayerNorm, Linear, Mask, Packing, activation, linears,
};
use crate::{Family, Forward, Head, ModelError, ModelInputs, ModelOutput, Pretrained, Rows};

/// The family with its two heads.
pub(crate) fn family() -> Family {
    Family::new(BertConfig::MODEL_TYPE, "bert")
        .tied(&[
            (
                "cls.predictions.decoder.weight",
                "bert.embeddings.word_embeddings.weight",
            ),
            ("cls.predictions.decoder.bias", "cls.predictions.bias"),
        ])
        .head(Head::Base, |config, init| {
            let typed = config.typed()?;
            let model = BertModel::new(&typed, true, &with_std(&typed, init))?;
            Ok(Pretrained::boxed(model, config))
        })
        .head(Head::MaskedLM, |config, init| {
            let typed = config.typed()?;
            let model = BertForMaskedLM::new(&typed, &with_std(&typed, init))?;
            Ok(Pretrained::boxed(model, config))
        })
}

fn with_std(config: &BertConfig, init: &Init) -> Init {
    Init {
        std: config.initializer_range,
        ..init.clone()
    }
}

/// Words, positions and segments, summed and normed.
#[derive(Module, Debug)]
struct BertEmbeddings {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    token_type_embeddings: Embedding,
    LayerNorm: LayerNorm,
}

impl BertEmbeddings {
    fn new(config: &BertConfig, init: &Init) -> Self {
        let table = |rows| Embedding::new(rows, config.hidden_size, init);
        Self {
            word_embeddings: table(config.vocab_size),
            position_embeddings: table(config.max_position_embeddings),
            token_type_embeddings: table(config.type_vocab_size),
            LayerNorm: norm(config, init),
        }
    }

    /// `[batch, seq, hidden]`, or `[1, tokens, hidden]` of a packed batch.
    fn forward(&self, inputs: &ModelInputs, packing: Option<&Packing>) -> Tensor<3> {
        let device = self.word_embeddings.weight.device();
        let [batch, seq] = inputs.input_ids.dims();
        let look_up = |table: &Embedding, columns: &Rows<u32>| match packing {
            Some(packing) => table.forward(packing.pack(columns).to_tensor(&device)),
            None => table.forward(columns.to_tensor(&device)),
        };
        let every_row = |row: Vec<u32>| Rows::new(&vec![row; batch]).expect("equal rows");
        // Learned positions count columns, padding included.
        let positions = match &inputs.position_ids {
            Some(positions) if positions.dims()[0] == batch => positions.clone(),
            Some(positions) => every_row(positions.row(0).to_vec()),
            None => every_row((0..seq as u32).collect()),
        };
        let segments = match &inputs.token_type_ids {
            Some(segments) => segments.clone(),
            None => every_row(vec![0; seq]),
        };
        let sum = look_up(&self.word_embeddings, &inputs.input_ids)
            + look_up(&self.token_type_embeddings, &segments)
            + look_up(&self.position_embeddings, &positions);
        self.LayerNorm.forward(sum)
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
    fn forward(&self, x: Tensor<3>, mask: &Mask) -> Tensor<3> {
        let [batch, seq, hidden] = x.dims();
        let head_dim = hidden / self.heads;
        let split = |x: Tensor<3>| {
            x.reshape([batch, seq, self.heads, head_dim])
                .swap_dims(1, 2)
        };
        let [q, k, v] = linears(x, [&self.query, &self.key, &self.value]);
        let options = ops::AttentionOptions::new((head_dim as f64).powf(-0.5));
        ops::attention(split(q), split(k), split(v), mask, &options)
    }
}

/// `norm(residual + dense(x))`: the end of both halves of a block.
#[derive(Module, Debug)]
struct BertOutput {
    dense: Linear,
    LayerNorm: LayerNorm,
}

impl BertOutput {
    fn new(input: usize, config: &BertConfig, init: &Init) -> Self {
        Self {
            dense: Linear::new(input, config.hidden_size, true, init),
            LayerNorm: norm(config, init),
        }
    }

    fn forward(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        self.LayerNorm.add(self.dense.forward(x), residual)
    }
}

#[derive(Module, Debug)]
struct BertAttention {
    self_: BertSelfAttention,
    output: BertOutput,
}

#[derive(Module, Debug)]
struct BertIntermediate {
    dense: Linear,
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
    fn new(config: &BertConfig, init: &Init) -> Result<Self, ModelError> {
        let hidden = config.hidden_size;
        let project = || Linear::new(hidden, hidden, true, init);
        Ok(Self {
            attention: BertAttention {
                self_: BertSelfAttention {
                    query: project(),
                    key: project(),
                    value: project(),
                    heads: config.num_attention_heads,
                },
                output: BertOutput::new(hidden, config, init),
            },
            intermediate: BertIntermediate {
                dense: Linear::new(hidden, config.intermediate_size, true, init),
            },
            output: BertOutput::new(config.intermediate_size, config, init),
            activation: activation("hidden_act", &config.hidden_act)?,
        })
    }

    fn forward(&self, x: Tensor<3>, mask: &Mask) -> Tensor<3> {
        let attended = self.attention.self_.forward(x.clone(), mask);
        let x = self.attention.output.forward(attended, x);
        let inner = self.intermediate.dense.forward(x.clone());
        let inner = ops::activate(inner, self.activation);
        self.output.forward(inner, x)
    }
}

#[derive(Module, Debug)]
struct BertEncoder {
    layer: Vec<BertLayer>,
}

#[derive(Module, Debug)]
struct BertPooler {
    dense: Linear,
}

/// The encoder: states `[batch, seq, hidden]`, and with the pooler the first state through a dense layer.
#[derive(Module, Debug)]
pub struct BertModel {
    embeddings: BertEmbeddings,
    encoder: BertEncoder,
    pooler: Option<BertPooler>,
    vocab_size: usize,
    type_vocab_size: usize,
    max_position_embeddings: usize,
}

impl BertModel {
    /// # Errors
    /// An activation that is not known.
    pub fn new(config: &BertConfig, pooler: bool, init: &Init) -> Result<Self, ModelError> {
        let layers = (0..config.num_hidden_layers).map(|_| BertLayer::new(config, init));
        Ok(Self {
            embeddings: BertEmbeddings::new(config, init),
            encoder: BertEncoder {
                layer: layers.collect::<Result<_, _>>()?,
            },
            pooler: pooler.then(|| BertPooler {
                dense: Linear::new(config.hidden_size, config.hidden_size, true, init),
            }),
            vocab_size: config.vocab_size,
            type_vocab_size: config.type_vocab_size,
            max_position_embeddings: config.max_position_embeddings,
        })
    }

    fn encode(
        &self,
        inputs: &ModelInputs,
    ) -> Result<(Tensor<3>, Option<Vec<Tensor<3>>>), ModelError> {
        self.check(inputs)?;
        let packing = Packing::new(inputs, &self.embeddings.word_embeddings.weight);
        let mut hidden = self.embeddings.forward(inputs, packing.as_ref());
        let mask = match &packing {
            Some(packing) => packing.mask(),
            None => Mask::bidirectional().with_padding(inputs.tokens(0)),
        };
        let unpack = |hidden| match &packing {
            Some(packing) => packing.unpack(hidden),
            None => hidden,
        };
        let mut record = inputs
            .output_hidden_states
            .then(|| vec![unpack(hidden.clone())]);
        for layer in &self.encoder.layer {
            hidden = layer.forward(hidden, &mask);
            if let Some(record) = &mut record {
                record.push(unpack(hidden.clone()));
            }
        }
        let hidden = unpack(hidden);
        Ok((hidden, record))
    }

    fn check(&self, inputs: &ModelInputs) -> Result<(), ModelError> {
        inputs.check(self.vocab_size, 0)?;
        let max = self.max_position_embeddings;
        let last = |rows: &Rows<u32>| rows.values().iter().max().map_or(0, |id| *id as usize + 1);
        let len = match &inputs.position_ids {
            Some(positions) => last(positions),
            None => inputs.input_ids.dims()[1],
        };
        if len > max {
            return Err(ModelError::TooLong { len, max });
        }
        let segments = inputs.token_type_ids.as_ref().map_or(0, last);
        if segments > self.type_vocab_size {
            return Err(ModelError::IdBeyondVocabulary {
                id: segments as i64 - 1,
                vocab_size: self.type_vocab_size,
            });
        }
        Ok(())
    }
}

impl Forward for BertModel {
    fn forward(
        &self,
        inputs: &ModelInputs,
        _cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, hidden_states) = self.encode(inputs)?;
        let pooler_output = self.pooler.as_ref().map(|pooler| {
            let first = hidden.clone().narrow(1, 0, 1).squeeze_dim::<2>(1);
            pooler.dense.forward(first).tanh()
        });
        Ok(ModelOutput {
            last_hidden_state: Some(hidden),
            pooler_output,
            hidden_states,
            ..ModelOutput::default()
        })
    }

    fn context_length(&self) -> Option<usize> {
        Some(self.max_position_embeddings)
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

#[derive(Module, Debug)]
struct BertOnlyMLMHead {
    predictions: BertLMPredictionHead,
}

/// The encoder with the masked-token head: logits `[batch, seq, vocab]`.
#[derive(Module, Debug)]
pub struct BertForMaskedLM {
    bert: BertModel,
    cls: BertOnlyMLMHead,
}

impl BertForMaskedLM {
    /// # Errors
    /// An activation that is not known.
    pub fn new(config: &BertConfig, init: &Init) -> Result<Self, ModelError> {
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let decoder = || Linear::new(hidden, vocab, true, init);
        Ok(Self {
            bert: BertModel::new(config, false, init)?,
            cls: BertOnlyMLMHead {
                predictions: BertLMPredictionHead {
                    transform: BertPredictionHeadTransform {
                        dense: Linear::new(hidden, hidden, true, init),
                        LayerNorm: norm(config, init),
                    },
                    bias: init.zeros([vocab]),
                    decoder: (!config.tie_word_embeddings).then(decoder),
                    activation: activation("hidden_act", &config.hidden_act)?,
                },
            },
        })
    }

    fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        let head = &self.cls.predictions;
        let hidden = ops::activate(head.transform.dense.forward(hidden), head.activation);
        let hidden = head.transform.LayerNorm.forward(hidden);
        match &head.decoder {
            Some(decoder) => decoder.forward(hidden),
            None => {
                let weight = self.bert.embeddings.word_embeddings.weight.val();
                ops::linear(hidden, weight, Some(head.bias.val()))
            }
        }
    }
}

impl Forward for BertForMaskedLM {
    fn forward(
        &self,
        inputs: &ModelInputs,
        _cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, hidden_states) = self.bert.encode(inputs)?;
        let logits = self.logits(hidden);
        let loss = match &inputs.labels {
            Some(labels) => Some(masked_lm_loss(logits.clone(), labels)?),
            None => None,
        };
        Ok(ModelOutput {
            loss,
            logits: Some(logits),
            hidden_states,
            ..ModelOutput::default()
        })
    }

    fn context_length(&self) -> Option<usize> {
        Some(self.bert.max_position_embeddings)
    }
}

fn norm(config: &BertConfig, init: &Init) -> LayerNorm {
    LayerNorm::new(config.hidden_size, config.layer_norm_eps, true, init)
}
