//! Evaluation and prediction.

use std::sync::Arc;
use std::time::Instant;

use burn::tensor::{DType, Tensor};
use serde_json::json;
use transformers_generation::{Generate, Prompt};
use transformers_modeling::{Dtype, ModelOutput, PreTrainedModel};

use super::Trainer;
use super::events::speed;
use crate::data::{Array, Column, Dataset, Example};
use crate::inputs::model_inputs;
use crate::state::Logs;
use crate::{Result, TrainerError};

/// What a model said of a whole set, for metrics.
#[derive(Debug, Clone, Default)]
pub struct EvalPrediction {
    /// Logits, `[examples, ...]`; shorter rows are filled up with -100. Answers have two: of starts and of ends.
    pub predictions: Vec<Array<f32>>,
    /// Ids, filled up with the padding token, where evaluations generate; then there are no logits.
    pub generated: Option<Array<i64>>,
    /// Labels, filled up with -100.
    pub label_ids: Option<Column>,
    /// `input_ids`, if `include_for_metrics` has `inputs`.
    pub inputs: Option<Array<i64>>,
    /// A loss for every example, if `include_for_metrics` has `loss`.
    pub losses: Option<Vec<f64>>,
}

/// What [`Trainer::predict`] gives.
#[derive(Debug, Clone)]
pub struct PredictionOutput {
    /// See [`EvalPrediction::predictions`].
    pub predictions: Vec<Array<f32>>,
    /// See [`EvalPrediction::generated`].
    pub generated: Option<Array<i64>>,
    /// See [`EvalPrediction::label_ids`].
    pub label_ids: Option<Column>,
    /// Metrics, of which each begins with the prefix.
    pub metrics: Logs,
}

const PADDING: i64 = -100;

impl Trainer {
    /// Metrics of the evaluation sets, which are logged.
    ///
    /// # Errors
    /// There is no set, or as [`predict`](Self::predict).
    pub fn evaluate(&mut self) -> Result<Logs> {
        self.evaluate_all()
    }

    /// Metrics of one set, under names that begin with `prefix`.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn evaluate_on(&mut self, dataset: &Arc<dyn Dataset>, prefix: &str) -> Result<Logs> {
        let keep = self.compute_metrics.is_some() && !self.args.prediction_loss_only;
        let output = self.evaluation_loop(dataset.as_ref(), prefix, keep)?;
        self.log(output.metrics.clone())?;
        self.control.should_evaluate = false;
        let metrics = &output.metrics;
        self.call(|callback, event, control| callback.on_evaluate(event, control, metrics))?;
        Ok(output.metrics)
    }

    /// Logits and labels of a set, and its metrics under `test_`.
    ///
    /// # Errors
    /// An empty set, columns that the model does not take, or an error of the metrics.
    pub fn predict(&mut self, dataset: &Arc<dyn Dataset>) -> Result<PredictionOutput> {
        let keep = !self.args.prediction_loss_only;
        let output = self.evaluation_loop(dataset.as_ref(), "test", keep)?;
        let metrics = &output.metrics;
        self.call(|callback, event, control| callback.on_predict(event, control, metrics))?;
        Ok(output)
    }

    pub(super) fn evaluate_all(&mut self) -> Result<Logs> {
        if self.eval_data.is_empty() {
            return Err(super::missing("eval_dataset", "evaluating needs one"));
        }
        let mut metrics = Logs::new();
        for (name, dataset) in self.eval_data.clone() {
            let prefix = name.map_or("eval".to_owned(), |name| format!("eval_{name}"));
            metrics.extend(self.evaluate_on(&dataset, &prefix)?);
        }
        Ok(metrics)
    }

    fn evaluation_loop(
        &mut self,
        dataset: &dyn Dataset,
        prefix: &str,
        keep: bool,
    ) -> Result<PredictionOutput> {
        if dataset.is_empty() {
            return Err(TrainerError::EmptyDataset);
        }
        let started = Instant::now();
        self.swap_weights(true);
        let model = self.evaluated_model()?;
        let size = self.args.per_device_eval_batch_size;
        let mut all = Gathered::default();
        let mut batches = 0;
        for start in (0..dataset.len()).step_by(size) {
            let indices = start..dataset.len().min(start + size);
            let examples: Vec<Example> = indices
                .map(|index| dataset.get(index))
                .collect::<Result<_>>()?;
            let count = examples.len();
            let batch = self.collate(examples)?;
            self.predict_batch(model.as_ref(), &batch, [count, usize::from(keep)], &mut all)?;
            batches += 1;
            self.call(|callback, event, control| callback.on_prediction_step(event, control))?;
        }
        let wants = |name: &str| {
            self.args
                .include_for_metrics
                .iter()
                .any(|wanted| wanted == name)
        };
        let prediction = EvalPrediction {
            predictions: all
                .logits
                .into_iter()
                .map(|parts| join(parts, PADDING as f32))
                .collect(),
            generated: (!all.generated.is_empty()).then(|| join(all.generated, self.pad_token())),
            label_ids: all.labels.join(),
            inputs: wants("inputs").then(|| join(all.inputs, PADDING)),
            losses: wants("loss").then(|| all.losses.clone()),
        };
        let mut metrics = match &self.compute_metrics {
            Some(compute) if keep && prediction.label_ids.is_some() => compute(&prediction)?,
            _ => Logs::new(),
        };
        if !all.losses.is_empty() {
            metrics.insert(
                format!("{prefix}_loss"),
                json!(mean(&all.losses, self.args.logging_nan_inf_filter)),
            );
        }
        let begins = format!("{prefix}_");
        let mut metrics: Logs = metrics
            .into_iter()
            .map(|(name, value)| match name.starts_with(&begins) {
                true => (name, value),
                false => (format!("{begins}{name}"), value),
            })
            .collect();
        let seconds = started.elapsed().as_secs_f64();
        metrics.extend(speed(
            prefix,
            seconds,
            dataset.len() as f64,
            f64::from(batches),
        ));
        Ok(PredictionOutput {
            predictions: prediction.predictions,
            generated: prediction.generated,
            label_ids: prediction.label_ids,
            metrics,
        })
    }

    /// The model without gradients, in the dtype of `bf16_full_eval` or `fp16_full_eval`.
    fn evaluated_model(&self) -> Result<Box<dyn PreTrainedModel>> {
        let model = self.model().valid();
        Ok(match (self.args.bf16_full_eval, self.args.fp16_full_eval) {
            (true, _) => model.with_dtype(Dtype::BFloat16)?,
            (_, true) => model.with_dtype(Dtype::Float16)?,
            _ => model,
        })
    }

    fn pad_token(&self) -> i64 {
        let config = &self.model().info().config;
        config
            .get("pad_token_id")
            .and_then(|id| id.as_i64())
            .unwrap_or(0)
    }

    fn predict_batch(
        &self,
        model: &dyn PreTrainedModel,
        batch: &crate::data::Batch,
        [count, keep]: [usize; 2],
        all: &mut Gathered,
    ) -> Result<()> {
        let inputs = model_inputs(batch)?;
        let output = model.forward(&inputs, None)?;
        let share = self.loss.share(std::slice::from_ref(&inputs), 1);
        if inputs.labels.is_some() || output.loss.is_some() {
            let loss = match &self.compute_loss {
                Some(compute) => compute(&inputs, &output, share.items())?,
                None => self.loss.of_batch(&inputs, &output, share)?,
            };
            let loss = f64::from(loss.cast(DType::F32).into_scalar::<f32>());
            all.losses.extend(std::iter::repeat_n(loss, count));
        }
        if keep == 0 {
            return Ok(());
        }
        if let Some(config) = &self.generation {
            let prompt = Prompt {
                input_ids: inputs.input_ids.clone(),
                attention_mask: inputs.attention_mask.clone(),
            };
            let rows = model.generate(prompt, config)?.sequences;
            let columns = rows.first().map_or(0, Vec::len);
            let ids = rows.iter().flatten().map(|id| i64::from(*id)).collect();
            all.generated.push(Array::new(ids, [rows.len(), columns]));
        }
        let logits = match self.generation {
            Some(_) => Vec::new(),
            None => logits(output)?,
        };
        for (at, logits) in logits.into_iter().enumerate() {
            let logits = match &self.preprocess_logits {
                Some(preprocess) => preprocess(logits),
                None => logits,
            };
            all.logits
                .resize_with(all.logits.len().max(at + 1), Vec::new);
            all.logits[at].push(logits);
        }
        match batch.get("labels") {
            Some(Column::Integers(labels)) => all.labels.integers.push(labels.clone()),
            Some(Column::Floats(labels)) => all.labels.floats.push(labels.clone()),
            _ => {}
        }
        if let Some(Column::Integers(ids)) = batch.get("input_ids") {
            all.inputs.push(ids.clone());
        }
        Ok(())
    }
}

/// What the batches gave.
#[derive(Default)]
struct Gathered {
    logits: Vec<Vec<Array<f32>>>,
    labels: GatheredLabels,
    generated: Vec<Array<i64>>,
    inputs: Vec<Array<i64>>,
    losses: Vec<f64>,
}

#[derive(Default)]
struct GatheredLabels {
    integers: Vec<Array<i64>>,
    floats: Vec<Array<f32>>,
}

impl GatheredLabels {
    fn join(self) -> Option<Column> {
        match (self.integers.is_empty(), self.floats.is_empty()) {
            (false, _) => Some(join(self.integers, PADDING).into()),
            (true, false) => Some(join(self.floats, PADDING as f32).into()),
            _ => None,
        }
    }
}

/// The mean, if `finite` of those that are numbers and where there are some.
fn mean(losses: &[f64], finite: bool) -> f64 {
    let numbers: Vec<f64> = losses
        .iter()
        .copied()
        .filter(|loss| loss.is_finite())
        .collect();
    let losses = match finite && !numbers.is_empty() {
        true => &numbers,
        false => losses,
    };
    losses.iter().sum::<f64>() / losses.len().max(1) as f64
}

/// The logits of an output, on the host.
fn logits(output: ModelOutput) -> Result<Vec<Array<f32>>> {
    fn array<const D: usize>(tensor: Tensor<D>) -> Array<f32> {
        let shape = tensor.dims().to_vec();
        Array::new(tensor.into_data().iter::<f32>().collect(), shape)
    }
    Ok(match output {
        ModelOutput {
            logits: Some(logits),
            ..
        } => vec![array(logits)],
        ModelOutput {
            pooled_logits: Some(logits),
            ..
        } => vec![array(logits)],
        ModelOutput {
            start_logits: Some(start),
            end_logits: Some(end),
            ..
        } => vec![array(start), array(end)],
        output => vec![array(output.last_hidden_state()?)],
    })
}

/// Batches one after the other; where the second dimension differs, rows are filled up.
fn join<T: Copy>(parts: Vec<Array<T>>, padding: T) -> Array<T> {
    let Some(first) = parts.first() else {
        return Array::new(Vec::new(), vec![0]);
    };
    let mut shape = first.shape().to_vec();
    shape[0] = parts.iter().map(|part| part.shape()[0]).sum();
    if let Some(columns) = shape.get_mut(1) {
        *columns = parts.iter().map(|part| part.shape()[1]).max().unwrap_or(0);
    }
    let inner: usize = shape.iter().skip(2).product();
    let row = shape.get(1).copied().unwrap_or(1) * inner;
    let mut values = Vec::with_capacity(shape[0] * row);
    for part in &parts {
        let own = part.values().len() / part.shape()[0].max(1);
        for chunk in part.values().chunks(own.max(1)) {
            values.extend_from_slice(chunk);
            values.extend(std::iter::repeat_n(padding, row - own));
        }
    }
    Array::new(values, shape)
}
