//! The loss of a micro-batch as a part of a step's.

use std::collections::HashMap;
use std::sync::LazyLock;

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Int, Tensor, TensorData};
use transformers_modeling::loss::IGNORE_INDEX;
use transformers_modeling::{Labels, ModelInputs, ModelOutput, PreTrainedModel};

use crate::Result;

/// What becomes of the losses of a step's micro-batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The sum over all labels, divided by their number; `shifted`: without every row's first.
    Items { shifted: bool },
    /// The sum of the batches' means: the class is given the number and does not use it.
    Sum,
    /// The mean of the batches' means.
    Mean,
}

/// How the reference's class of a model makes a step's loss of those of micro-batches.
#[derive(Debug, Clone)]
pub(crate) struct StepLoss {
    kind: Kind,
    /// Whether position i of the logits is scored against label i + 1.
    causal: bool,
    smoothing: f64,
    aux_coefficient: f64,
}

/// A step's share of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    items: Option<usize>,
    batches: usize,
}

impl Share {
    /// The number of labels of the step, where the loss is divided by it.
    pub fn items(&self) -> Option<usize> {
        self.items
    }
}

static CLASSES: LazyLock<HashMap<&'static str, Kind>> = LazyLock::new(|| {
    let kind = |word| match word {
        "items" => Kind::Items { shifted: false },
        "shifted" => Kind::Items { shifted: true },
        _ => Kind::Mean,
    };
    let lines = include_str!("losses.txt").lines();
    lines
        .filter_map(|line| line.split_once(' '))
        .map(|(class, word)| (class, kind(word)))
        .collect()
});

impl StepLoss {
    /// That of a model.
    pub fn of(model: &dyn PreTrainedModel, smoothing: f64) -> Self {
        let class = model.class_name();
        let kind = match class {
            Some(class) => CLASSES.get(class).copied().unwrap_or(Kind::Sum),
            None => Kind::Mean,
        };
        let config = &model.info().config;
        let number = |key: &str| config.get(key).and_then(|value| value.as_f64());
        let coefficient = number("router_aux_loss_coef").or(number("aux_loss_alpha"));
        let decodes = ["ForCausalLM", "LMHeadModel"];
        Self {
            kind,
            causal: class.is_some_and(|class| decodes.iter().any(|end| class.ends_with(end))),
            smoothing,
            aux_coefficient: coefficient.unwrap_or_default(),
        }
    }

    /// The share of each micro-batch of a step, some of which run side by side.
    pub fn share(&self, step: &[ModelInputs], devices: usize) -> Share {
        let labelled = step.first().is_some_and(|inputs| inputs.labels.is_some());
        let items = match self.kind {
            Kind::Items { shifted } if labelled => {
                Some(step.iter().map(|inputs| count(inputs, shifted)).sum())
            }
            // Smoothing is the Trainer's own, and divides by the number where there is one.
            Kind::Sum if labelled && self.smoothing > 0.0 => {
                Some(step.iter().map(|inputs| count(inputs, false)).sum())
            }
            _ => None,
        };
        let batches = match self.kind {
            // Gradients are summed over time, and are means over devices.
            Kind::Sum if labelled => devices.max(1),
            _ => step.len().max(1),
        };
        Share { items, batches }
    }

    /// The loss of a micro-batch as a part of its step's.
    ///
    /// # Errors
    /// The model gives no loss, or no label counts.
    pub fn of_batch(
        &self,
        inputs: &ModelInputs,
        output: &ModelOutput,
        share: Share,
    ) -> Result<Tensor<1>> {
        let loss = match (&inputs.labels, self.smoothing > 0.0) {
            (Some(Labels::Ids(ids)), true) => {
                let labels = ids.values();
                return self.smoothed(labels, ids.dims()[1], output, share);
            }
            _ => output.clone().loss()?,
        };
        let Some(items) = share.items else {
            return Ok(loss / share.batches as f64);
        };
        let part = count(inputs, self.causal) as f64 / items.max(1) as f64;
        // The load-balancing loss is no sum over labels.
        Ok(match &output.aux_loss {
            Some(aux) => {
                let aux = aux.clone() * self.aux_coefficient;
                (loss - aux.clone()) * part + aux
            }
            None => loss * part,
        })
    }

    /// Of every label a share goes to all classes (Szegedy et al. 2016).
    fn smoothed(
        &self,
        labels: &[i64],
        columns: usize,
        output: &ModelOutput,
        share: Share,
    ) -> Result<Tensor<1>> {
        let logits = match (&output.logits, &output.pooled_logits) {
            (Some(logits), _) => {
                let [batch, seq, classes] = logits.dims();
                logits.clone().reshape([batch * seq, classes])
            }
            (None, Some(logits)) => logits.clone(),
            _ => output.clone().logits()?.reshape([1, -1]),
        };
        let classes = logits.dims()[1];
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        for (at, label) in labels.iter().enumerate() {
            let first = self.causal && at % columns == 0;
            if first || *label == IGNORE_INDEX {
                continue;
            }
            if !(0..classes as i64).contains(label) {
                let (label, num_labels) = (*label, classes);
                return Err(
                    transformers_modeling::ModelError::UnknownLabel { label, num_labels }.into(),
                );
            }
            rows.push((at - usize::from(self.causal)) as i64);
            targets.push(*label);
        }
        if rows.is_empty() {
            return Err(transformers_modeling::ModelError::NoLabels.into());
        }
        let (count, device) = (rows.len(), logits.device());
        let index = |values: Vec<i64>| {
            Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &device)
        };
        let log = log_softmax(logits.select(0, index(rows)).cast(DType::F32), 1).neg();
        let likelihood = log.clone().gather(1, index(targets).unsqueeze_dim(1)).sum();
        let all = log.sum() / classes as f64;
        let sum = likelihood * (1.0 - self.smoothing) + all * self.smoothing;
        Ok(match share.items {
            Some(items) => sum / items.max(1) as f64,
            None => sum / (count * share.batches) as f64,
        })
    }

    /// Whether no label of a batch is scored, in a step where others are.
    pub fn is_empty(&self, inputs: &ModelInputs, share: Share) -> bool {
        share.items.is_some_and(|items| items > 0) && count(inputs, self.causal) == 0
    }
}

fn count(inputs: &ModelInputs, shifted: bool) -> usize {
    let counts = |label: &i64| *label != IGNORE_INDEX;
    match &inputs.labels {
        Some(Labels::Ids(ids)) if shifted && ids.dims()[1] > 0 => ids
            .iter()
            .map(|row| row[1..].iter().filter(|label| counts(label)).count())
            .sum(),
        Some(Labels::Ids(ids)) => ids.values().iter().filter(|label| counts(label)).count(),
        Some(Labels::Values(values)) => values.values().len(),
        None => 0,
    }
}
