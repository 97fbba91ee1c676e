//! The heads that families share: classes of rows and of tokens, answers in a text, choices.

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor, TensorData};
use transformers_ops as ops;

use super::{Activation, BaseFamily, Embedding, HeadOptions, Init, Linear, RowScores, TaskHead};
use crate::loss::{
    causal_lm_loss, cross_entropy, question_answering_loss, sequence_classification_loss,
    token_loss,
};
use crate::{Head, Labels, ModelError, ModelInputs, ModelOutput};

/// The class of a row by the state of its last token (`GenericForSequenceClassification`).
#[derive(Module, Debug)]
pub struct LastTokenScore {
    score: Linear,
    pad_token_id: Option<u32>,
    #[module(skip)]
    scores: RowScores,
}

impl<F: BaseFamily> TaskHead<F> for LastTokenScore {
    fn new(_: &F::Config, options: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        Ok(Self {
            score: Linear::new(options.hidden_size, options.num_labels, false, init),
            pad_token_id: options.pad_token_id,
            scores: options.scores,
        })
    }

    fn forward(
        &self,
        _base: &F::Model,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let logits = self.score.forward(last(hidden, inputs, self.pad_token_id)?);
        by_row(logits, rest, inputs, self.scores)
    }
}

/// The class of each token (`GenericForTokenClassification`).
#[derive(Module, Debug)]
pub struct TokenScore {
    score: Linear,
}

impl<F: BaseFamily> TaskHead<F> for TokenScore {
    fn new(_: &F::Config, options: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let bias = options.token_classification_bias;
        Ok(Self {
            score: Linear::new(options.hidden_size, options.num_labels, bias, init),
        })
    }

    fn forward(
        &self,
        _base: &F::Model,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        by_token(self.score.forward(hidden), rest, inputs)
    }
}

/// The class of each token, of encoders.
#[derive(Module, Debug)]
pub struct TokenClassifier {
    classifier: Linear,
}

impl<F: BaseFamily> TaskHead<F> for TokenClassifier {
    fn new(_: &F::Config, options: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        Ok(Self {
            classifier: Linear::new(options.hidden_size, options.num_labels, true, init),
        })
    }

    fn forward(
        &self,
        _base: &F::Model,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        by_token(self.classifier.forward(hidden), rest, inputs)
    }
}

/// The class of a row by `pooler_output`, or its score as a choice.
#[derive(Module, Debug)]
pub struct PooledClassifier {
    classifier: Linear,
    #[module(skip)]
    scores: RowScores,
}

impl<F: BaseFamily> TaskHead<F> for PooledClassifier {
    const POOLER: bool = true;
    const READS_FIRST: bool = true;

    fn new(_: &F::Config, options: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        Ok(Self {
            classifier: Linear::new(options.hidden_size, options.num_labels, true, init),
            scores: options.scores,
        })
    }

    fn forward(
        &self,
        _base: &F::Model,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let logits = self.classifier.forward(pooled(&output)?);
        by_row(logits, rest(output), inputs, self.scores)
    }
}

/// The class of a row by its first state, through two layers: `classifier.dense` and `classifier.out_proj`.
#[derive(Module, Debug)]
pub struct FirstTokenClassifier {
    classifier: DenseOut,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    scores: RowScores,
}

#[derive(Module, Debug)]
struct DenseOut {
    dense: Linear,
    out_proj: Linear,
}

impl<F: BaseFamily> TaskHead<F> for FirstTokenClassifier {
    const READS_FIRST: bool = true;

    fn new(_: &F::Config, options: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let hidden = options.hidden_size;
        Ok(Self {
            classifier: DenseOut {
                dense: Linear::new(hidden, hidden, true, init),
                out_proj: Linear::new(hidden, options.num_labels, true, init),
            },
            activation: F::CLASSIFIER_ACTIVATION,
            scores: options.scores,
        })
    }

    fn forward(
        &self,
        _base: &F::Model,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let inner = self.classifier.dense.forward(first(hidden));
        let inner = ops::activate(inner, self.activation);
        let logits = self.classifier.out_proj.forward(inner);
        by_row(logits, rest, inputs, self.scores)
    }
}

/// The class of a row by the decoder's state at the last end of text in the encoder's ids, through two layers:
/// `classification_head.dense` and `classification_head.out_proj`.
#[derive(Module, Debug)]
pub struct EndTokenClassifier {
    classification_head: DenseOut,
    eos_token_id: Option<u32>,
    #[module(skip)]
    scores: RowScores,
}

impl<F: BaseFamily> TaskHead<F> for EndTokenClassifier {
    fn new(_: &F::Config, options: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let hidden = options.hidden_size;
        Ok(Self {
            classification_head: DenseOut {
                dense: Linear::new(hidden, hidden, true, init),
                out_proj: Linear::new(hidden, options.num_labels, true, init),
            },
            eos_token_id: options.eos_token_id,
            scores: options.scores,
        })
    }

    fn forward(
        &self,
        _base: &F::Model,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let hidden = at_end_of_text(hidden, inputs, self.eos_token_id)?;
        let inner = self.classification_head.dense.forward(hidden).tanh();
        let logits = self.classification_head.out_proj.forward(inner);
        by_row(logits, rest, inputs, self.scores)
    }
}

/// The state of each row's last `eos`: `[batch, seq, hidden]` to `[batch, hidden]`.
fn at_end_of_text(
    hidden: Tensor<3>,
    inputs: &ModelInputs,
    eos: Option<u32>,
) -> Result<Tensor<2>, ModelError> {
    let [batch, seq, size] = hidden.dims();
    let count = |row: &[u32]| row.iter().filter(|id| Some(**id) == eos).count();
    let counts: Vec<usize> = inputs.input_ids.iter().map(count).collect();
    if counts.iter().any(|count| *count != counts[0]) || inputs.input_ids.dims() != [batch, seq] {
        return Err(ModelError::EndTokens);
    }
    let mut rows = Vec::with_capacity(batch);
    for (index, row) in inputs.input_ids.iter().enumerate() {
        let last = row.iter().rposition(|id| Some(*id) == eos);
        rows.push((index * seq + last.ok_or(ModelError::EndTokens)?) as i64);
    }
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [batch]), &hidden.device());
    Ok(hidden.reshape([batch * seq, size]).select(0, rows))
}

/// Where an answer begins and ends.
#[derive(Module, Debug)]
pub struct SpanHead {
    qa_outputs: Linear,
}

impl<F: BaseFamily> TaskHead<F> for SpanHead {
    fn new(_: &F::Config, options: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        Ok(Self {
            qa_outputs: Linear::new(options.hidden_size, options.num_labels, true, init),
        })
    }

    fn forward(
        &self,
        _base: &F::Model,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        by_span(self.qa_outputs.forward(hidden), rest, inputs)
    }
}

/// The `pooler_output` of a headless model.
///
/// # Errors
/// [`ModelError::NoOutput`] of a model without a pooler.
pub fn pooled(output: &ModelOutput) -> Result<Tensor<2>, ModelError> {
    output.pooler_output.clone().ok_or(ModelError::NoOutput {
        name: "pooler_output",
    })
}

/// The state of each row's first token: `[batch, seq, hidden]` to `[batch, hidden]`.
pub fn first(hidden: Tensor<3>) -> Tensor<2> {
    hidden.narrow(1, 0, 1).squeeze_dim(1)
}

/// The state of each row's rightmost token that is not padding: `[batch, seq, hidden]` to `[batch, hidden]`.
///
/// # Errors
/// Several rows, and no id that stands for padding.
pub fn last(
    hidden: Tensor<3>,
    inputs: &ModelInputs,
    pad_token_id: Option<u32>,
) -> Result<Tensor<2>, ModelError> {
    let [batch, seq, size] = hidden.dims();
    if pad_token_id.is_none() && batch > 1 {
        return Err(ModelError::NoPadToken);
    }
    let token = |(index, row): (usize, &[u32])| {
        let token = row.iter().rposition(|id| Some(*id) != pad_token_id);
        (index * seq + token.unwrap_or(0)) as i64
    };
    let rows: Vec<i64> = inputs.input_ids.iter().enumerate().map(token).collect();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [batch]), &hidden.device());
    Ok(hidden.reshape([batch * seq, size]).select(0, rows))
}

/// The mean over each row's tokens without padding: `[batch, seq, features]` to `[batch, features]`.
pub fn mean_of_tokens(x: Tensor<3>, inputs: &ModelInputs) -> Tensor<2> {
    let Some(mask) = &inputs.attention_mask else {
        return x.mean_dim(1).squeeze_dim(1);
    };
    let [batch, seq, _] = x.dims();
    let values: Vec<f32> = mask.values().iter().map(|token| *token as f32).collect();
    let mask = TensorData::new(values, [batch, seq, 1]);
    let mask = Tensor::<3>::from_data(mask, (&x.device(), x.dtype()));
    let sum: Tensor<2> = (x * mask.clone()).sum_dim(1).squeeze_dim(1);
    sum / mask.sum_dim(1).squeeze_dim(1)
}

/// The last states of a headless model, and the [rest] of its output.
///
/// # Errors
/// [`ModelError::NoOutput`] of a model with a head.
pub fn states(output: ModelOutput) -> Result<(Tensor<3>, ModelOutput), ModelError> {
    let hidden = output.last_hidden_state.clone();
    let hidden = hidden.ok_or(ModelError::NoOutput {
        name: "last_hidden_state",
    })?;
    Ok((hidden, rest(output)))
}

/// What a head passes on of a headless model's output: the states between the layers, and the weights of attention.
pub fn rest(output: ModelOutput) -> ModelOutput {
    ModelOutput {
        last_hidden_state: None,
        pooler_output: None,
        router_logits: None,
        ..output
    }
}

/// Logits of the vocabulary, `[batch, seq, vocab]`: by a layer of their own, or by the table of words with a bias.
pub fn to_vocabulary(
    hidden: Tensor<3>,
    own: Option<&Linear>,
    words: &Embedding,
    bias: &Param<Tensor<1>>,
) -> Tensor<3> {
    match own {
        Some(own) => own.forward(hidden),
        None => ops::linear(hidden, words.weight.stored(), Some(bias.val())),
    }
}

/// The states whose logits are wanted, `[batch, positions, hidden]`: with labels all, else those at `logits_at`, or the last
/// `logits_to_keep`.
///
/// # Errors
/// Positions that there are not, or beside labels.
pub fn kept(hidden: Tensor<3>, inputs: &ModelInputs) -> Result<Tensor<3>, ModelError> {
    if let Some(positions) = &inputs.logits_at {
        let positions = inputs.checked_positions(positions)?;
        let positions = positions.to_tensor(&hidden.device()).flatten(0, 1);
        return Ok(hidden.select(1, positions));
    }
    let seq = hidden.dims()[1];
    let keep = match &inputs.labels {
        Some(_) => seq,
        None => inputs.logits_to_keep.unwrap_or(seq).clamp(1, seq),
    };
    Ok(hidden.narrow(1, seq - keep, keep))
}

/// The output of a language model's `head`, whose `logits` are `[batch, seq, vocab]`: a causal one tells the next token,
/// others the masked ones.
///
/// # Errors
/// Labels that do not fit.
pub fn language_model(
    head: Head,
    output: ModelOutput,
    inputs: &ModelInputs,
    logits: impl FnOnce(Tensor<3>) -> Tensor<3>,
) -> Result<ModelOutput, ModelError> {
    let (hidden, rest) = states(output)?;
    if head != Head::CausalLM {
        return by_token(logits(hidden), rest, inputs);
    }
    let logits = logits(kept(hidden, inputs)?);
    let labels = inputs.label_ids()?;
    let loss = labels.map(|labels| causal_lm_loss(logits.clone(), labels));
    Ok(ModelOutput {
        loss: loss.transpose()?,
        logits: Some(logits),
        ..rest
    })
}

/// The output of a head that gives each token scores, with its loss.
///
/// # Errors
/// Labels that do not fit.
pub fn by_token(
    logits: Tensor<3>,
    rest: ModelOutput,
    inputs: &ModelInputs,
) -> Result<ModelOutput, ModelError> {
    let labels = inputs.label_ids()?;
    let loss = labels.map(|labels| token_loss(logits.clone(), labels));
    Ok(ModelOutput {
        loss: loss.transpose()?,
        logits: Some(logits),
        ..rest
    })
}

/// The output of a head that scores each token as the first and as the last of an answer, `[batch, seq, 2]`, with its
/// loss.
///
/// # Errors
/// Positions that do not fit.
pub fn by_span(
    logits: Tensor<3>,
    rest: ModelOutput,
    inputs: &ModelInputs,
) -> Result<ModelOutput, ModelError> {
    let [start, end] = [0, 1].map(|index| logits.clone().narrow(2, index, 1).squeeze_dim(2));
    let loss = match (&inputs.start_positions, &inputs.end_positions) {
        (Some(starts), Some(ends)) => Some(question_answering_loss(
            [start.clone(), end.clone()],
            [starts, ends],
        )?),
        _ => None,
    };
    Ok(ModelOutput {
        loss,
        start_logits: Some(start),
        end_logits: Some(end),
        ..rest
    })
}

/// The output of a head that gives each row scores, `[rows, num_labels]`, with its loss.
///
/// # Errors
/// Labels that do not fit, or rows that are no questions of so many choices.
pub fn by_row(
    logits: Tensor<2>,
    rest: ModelOutput,
    inputs: &ModelInputs,
    scores: RowScores,
) -> Result<ModelOutput, ModelError> {
    let labels = inputs.labels.as_ref();
    let (logits, loss) = match scores {
        RowScores::Labels(problem) => {
            let loss =
                |labels: &Labels| sequence_classification_loss(logits.clone(), labels, problem);
            let loss = labels.map(loss).transpose()?;
            (logits, loss)
        }
        RowScores::Choice => {
            let logits = by_question(logits, inputs.num_choices)?;
            let labels = inputs.label_ids()?;
            let loss = labels.map(|labels| cross_entropy(logits.clone(), labels.values()));
            let loss = loss.transpose()?;
            (logits, loss)
        }
    };
    Ok(ModelOutput {
        loss,
        pooled_logits: Some(logits),
        ..rest
    })
}

/// One score for each row, `[rows, 1]`, as those of each question's choices, `[questions, choices]`.
fn by_question(scores: Tensor<2>, choices: Option<usize>) -> Result<Tensor<2>, ModelError> {
    let rows = scores.dims()[0];
    match choices.unwrap_or(rows) {
        choices if choices > 0 && rows.is_multiple_of(choices) => {
            Ok(scores.reshape([rows / choices, choices]))
        }
        choices => Err(ModelError::Choices { rows, choices }),
    }
}
