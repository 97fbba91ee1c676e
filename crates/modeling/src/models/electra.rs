//! ELECTRA (Clark et al. 2020): BERT with embeddings of their own width and no pooler; a generator guesses masked tokens, a
//! discriminator tells which tokens were replaced.
#![allow(non_snake_case)]

use burn::module::Module;
use burn::tensor::{DType, Tensor, TensorData};
use transformers_config::{ConfigError, ElectraConfig, ModelConfig};
use transformers_ops as ops;

use super::bert::{BertModel, OnBert, bert_like};
use crate::loss::binary_cross_entropy;
use crate::nn::heads::{
    FirstTokenClassifier, SpanHead, TokenClassifier, by_row, first, language_model, states,
};
use crate::nn::{
    Activation, HeadOptions, Init, LayerNorm, Linear, OutputLayer, PositionCount, RowScores,
    TaskHead, activation,
};
use crate::{Family, Head, ModelError, ModelInputs, ModelOutput, Rows};

bert_like!(ElectraConfig {
    width: embedding_size,
    count: |_| PositionCount::Columns
}
const POOLER: bool = false;
const CLASSIFIER_ACTIVATION: Activation = Activation::Gelu;);

type Electra = OnBert<ElectraConfig>;

/// The family.
pub(crate) fn family() -> Family {
    Family::new(ElectraConfig::MODEL_TYPE, "electra")
        .tied(&[(
            "generator_lm_head.weight",
            "electra.embeddings.word_embeddings.weight",
        )])
        .headless::<Electra>(Head::Base)
        .headless::<Electra>(Head::TextEncoding)
        .with::<Electra, ElectraGenerator>(Head::CausalLM)
        .with::<Electra, ElectraGenerator>(Head::MaskedLM)
        .with::<Electra, ElectraDiscriminator>(Head::PreTraining)
        .with::<Electra, FirstTokenClassifier>(Head::SequenceClassification)
        .with::<Electra, TokenClassifier>(Head::TokenClassification)
        .with::<Electra, SpanHead>(Head::QuestionAnswering)
        .with::<Electra, ElectraMultipleChoice>(Head::MultipleChoice)
}

#[derive(Module, Debug)]
struct ElectraGeneratorPredictions {
    LayerNorm: LayerNorm,
    dense: Linear,
}

/// Masked tokens, or the next one: logits `[batch, seq, vocab]`.
#[derive(Module, Debug)]
struct ElectraGenerator {
    generator_predictions: ElectraGeneratorPredictions,
    generator_lm_head: OutputLayer,
    #[module(skip)]
    head: Head,
}

impl TaskHead<Electra> for ElectraGenerator {
    fn new(config: &ElectraConfig, options: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let (hidden, width) = (config.hidden_size, config.embedding_size);
        let tied = config.tie_word_embeddings;
        Ok(Self {
            generator_predictions: ElectraGeneratorPredictions {
                LayerNorm: LayerNorm::new(width, config.layer_norm_eps, true, init),
                dense: Linear::new(hidden, width, true, init),
            },
            generator_lm_head: OutputLayer::new(width, config.vocab_size, true, tied, init),
            head: options.head,
        })
    }

    fn forward(
        &self,
        base: &BertModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let head = &self.generator_predictions;
        language_model(self.head, output, inputs, |hidden| {
            let hidden = ops::activate(head.dense.forward(hidden), Activation::Gelu);
            let hidden = head.LayerNorm.forward(hidden);
            self.generator_lm_head.forward(hidden, base.words())
        })
    }
}

#[derive(Module, Debug)]
struct ElectraDiscriminatorPredictions {
    dense: Linear,
    dense_prediction: Linear,
    #[module(skip)]
    activation: Activation,
}

/// Whether a token was replaced: logits `[batch, seq, 1]`.
#[derive(Module, Debug)]
struct ElectraDiscriminator {
    discriminator_predictions: ElectraDiscriminatorPredictions,
}

impl TaskHead<Electra> for ElectraDiscriminator {
    fn new(config: &ElectraConfig, _: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let hidden = config.hidden_size;
        Ok(Self {
            discriminator_predictions: ElectraDiscriminatorPredictions {
                dense: Linear::new(hidden, hidden, true, init),
                dense_prediction: Linear::new(hidden, 1, true, init),
                activation: activation("hidden_act", &config.hidden_act)?,
            },
        })
    }

    fn forward(
        &self,
        _base: &BertModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let head = &self.discriminator_predictions;
        let hidden = ops::activate(head.dense.forward(hidden), head.activation);
        let logits = head.dense_prediction.forward(hidden);
        let labels = inputs.label_ids()?;
        let loss = labels.map(|labels| replaced_loss(logits.clone(), labels, inputs));
        Ok(ModelOutput {
            loss: loss.transpose()?,
            logits: Some(logits),
            ..rest
        })
    }
}

/// Binary cross-entropy of `logits` (`[batch, seq, 1]`), the mean over tokens that are not padding.
fn replaced_loss(
    logits: Tensor<3>,
    labels: &Rows<i64>,
    inputs: &ModelInputs,
) -> Result<Tensor<1>, ModelError> {
    let [batch, seq, _] = logits.dims();
    if labels.dims() != [batch, seq] {
        return Err(ModelError::InputShape {
            name: "labels",
            found: labels.dims(),
            expected: [batch, seq],
        });
    }
    let device = logits.device();
    let floats = |values: Vec<f32>| {
        Tensor::<3>::from_data(
            TensorData::new(values, [batch, seq, 1]),
            (&device, DType::F32),
        )
    };
    let targets = floats(labels.values().iter().map(|label| *label as f32).collect());
    let losses = binary_cross_entropy(logits, targets);
    let Some(mask) = &inputs.attention_mask else {
        return Ok(losses.mean());
    };
    let counts: Vec<f32> = mask
        .values()
        .iter()
        .map(|token| f32::from(*token == 1))
        .collect();
    let count: f32 = counts.iter().sum();
    match count {
        0.0 => Err(ModelError::NoLabels),
        count => Ok((losses * floats(counts)).sum() / count),
    }
}

/// What stands for a whole row.
#[derive(Debug, Clone, Copy)]
enum Summary {
    First,
    Last,
    Mean,
}

#[derive(Module, Debug)]
struct ElectraSequenceSummary {
    summary: Option<Linear>,
    #[module(skip)]
    of: Summary,
    #[module(skip)]
    activation: Option<Activation>,
}

impl ElectraSequenceSummary {
    fn new(config: &ElectraConfig, init: &Init) -> Result<Self, ModelError> {
        let hidden = config.hidden_size;
        let name = config.summary_activation.as_deref();
        let name = name.filter(|name| !name.is_empty());
        Ok(Self {
            summary: config
                .summary_use_proj
                .then(|| Linear::new(hidden, hidden, true, init)),
            of: match config.summary_type.as_str() {
                "first" => Summary::First,
                "last" | "cls_index" => Summary::Last,
                "mean" => Summary::Mean,
                other => {
                    let reason = format!("`{other}` is not first, last, cls_index or mean");
                    return Err(ConfigError::invalid("summary_type", reason).into());
                }
            },
            activation: name
                .map(|name| activation("summary_activation", name))
                .transpose()?,
        })
    }

    fn forward(&self, hidden: Tensor<3>) -> Tensor<2> {
        let seq = hidden.dims()[1];
        let mut row = match self.of {
            Summary::First => first(hidden),
            Summary::Last => hidden.narrow(1, seq - 1, 1).squeeze_dim(1),
            Summary::Mean => hidden.mean_dim(1).squeeze_dim(1),
        };
        if let Some(layer) = &self.summary {
            row = layer.forward(row);
        }
        match self.activation {
            Some(activation) => ops::activate(row, activation),
            None => row,
        }
    }
}

/// The score of a row as a choice, by a summary of its states.
#[derive(Module, Debug)]
struct ElectraMultipleChoice {
    sequence_summary: ElectraSequenceSummary,
    classifier: Linear,
}

impl TaskHead<Electra> for ElectraMultipleChoice {
    fn new(config: &ElectraConfig, _: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        Ok(Self {
            sequence_summary: ElectraSequenceSummary::new(config, init)?,
            classifier: Linear::new(config.hidden_size, 1, true, init),
        })
    }

    /// The reference means and ends over whole rows.
    fn reads_padding(&self) -> bool {
        !matches!(self.sequence_summary.of, Summary::First)
    }

    fn forward(
        &self,
        _base: &BertModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let logits = self
            .classifier
            .forward(self.sequence_summary.forward(hidden));
        by_row(logits, rest, inputs, RowScores::Choice)
    }
}
