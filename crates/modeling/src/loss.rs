//! Losses, computed in f32. Labels of [`IGNORE_INDEX`] do not count.

use burn::tensor::{
    DType, Device, Tensor, TensorData,
    activation::{log_softmax, softmax},
};
use transformers_config::ProblemType;
use transformers_ops::{self as ops, RouterOptions, Score, route};

use crate::{Labels, ModelError, Rows};

/// The auxiliary loss of a mixture of experts (Switch Transformers, Fedus et al. 2021, equations 4 to 6): it is least where
/// tokens spread evenly over the experts.
#[derive(Debug, Clone, Copy)]
pub struct LoadBalancing {
    /// Experts of a layer.
    pub experts: usize,
    /// Experts of a token.
    pub top_k: usize,
    /// Factor on it in the loss.
    pub coefficient: f64,
}

impl LoadBalancing {
    /// The loss, `[1]`, over the routers' logits (`[tokens, experts]`, one for each layer). `mask` says which tokens count;
    /// all without one.
    pub fn loss(&self, logits: &[Tensor<2>], mask: Option<Vec<u32>>) -> Tensor<1> {
        let options = RouterOptions::new(self.top_k, Score::Softmax);
        let counts = |token: usize| mask.as_ref().is_none_or(|mask| mask[token] != 0);
        let mut chosen = vec![0.0_f32; self.experts];
        let mut probability: Option<Tensor<1>> = None;
        let mut rows = 0.0;
        for logits in logits {
            let tokens = logits.dims()[0];
            let weights: Vec<f32> = (0..tokens)
                .map(|t| f32::from(u8::from(counts(t))))
                .collect();
            rows += f64::from(weights.iter().sum::<f32>());
            let routing = route(logits.clone(), None, &options);
            let of_tokens = routing.experts.chunks_exact(self.top_k).zip(&weights);
            for (experts, weight) in of_tokens {
                experts
                    .iter()
                    .for_each(|&expert| chosen[expert as usize] += weight);
            }
            let weights = TensorData::new(weights, [tokens, 1]);
            let weights = Tensor::<2>::from_data(weights, (&logits.device(), DType::F32));
            let sum = softmax(logits.clone().cast(DType::F32), 1) * weights;
            let sum: Tensor<1> = sum.sum_dim(0).squeeze_dim(0);
            probability = Some(match probability {
                Some(before) => before + sum,
                None => sum,
            });
        }
        let Some(probability) = probability else {
            return Tensor::zeros([1], (&Device::flex(), DType::F32));
        };
        let chosen = TensorData::new(chosen, [self.experts]);
        let chosen = Tensor::<1>::from_data(chosen, (&probability.device(), DType::F32));
        (chosen * probability).sum() * (self.experts as f64 / (rows * rows))
    }
}

/// A label that does not count.
pub const IGNORE_INDEX: i64 = -100;

/// Next-token loss: position `i` of `logits` (`[batch, seq, vocab]`) is scored against label `i + 1`.
///
/// # Errors
/// Labels of another shape, one that is neither [`IGNORE_INDEX`] nor an id, or none that counts.
pub fn causal_lm_loss(logits: Tensor<3>, labels: &Rows<i64>) -> Result<Tensor<1>, ModelError> {
    same_shape(&logits, labels)?;
    let seq = logits.dims()[1];
    if seq < 2 {
        return Err(ModelError::NoLabels);
    }
    // The last position has nothing to say; to leave it out would copy the logits.
    let shifted = labels
        .iter()
        .flat_map(|row| row[1..].iter().chain(&[IGNORE_INDEX]));
    let shifted: Vec<i64> = shifted.copied().collect();
    cross_entropy(rows(logits), &shifted)
}

/// Loss of tokens: position `i` of `logits` (`[batch, seq, classes]`) is scored against label `i`. Masked tokens, classes
/// of tokens, and the targets of an encoder with a decoder have it.
///
/// # Errors
/// As [`causal_lm_loss`].
pub fn token_loss(logits: Tensor<3>, labels: &Rows<i64>) -> Result<Tensor<1>, ModelError> {
    same_shape(&logits, labels)?;
    cross_entropy(rows(logits), labels.values())
}

/// Loss of a classifier or a regression: `logits` is `[batch, num_labels]`. What is not stated is told by the labels: one
/// number, one class, or several classes for each row.
///
/// # Errors
/// Labels of another number or kind, unknown ones, or none that counts.
pub fn sequence_classification_loss(
    logits: Tensor<2>,
    labels: &Labels,
    problem: Option<ProblemType>,
) -> Result<Tensor<1>, ModelError> {
    let told = match labels {
        _ if logits.dims()[1] == 1 => ProblemType::Regression,
        Labels::Ids(_) => ProblemType::SingleLabelClassification,
        Labels::Values(_) => ProblemType::MultiLabelClassification,
    };
    match (problem.unwrap_or(told), labels) {
        (ProblemType::SingleLabelClassification, Labels::Ids(ids)) => {
            cross_entropy(logits, ids.values())
        }
        (ProblemType::SingleLabelClassification, Labels::Values(_)) => {
            Err(ModelError::LabelsAreNumbers)
        }
        (ProblemType::Regression, labels) => {
            let labels = numbers(&logits, labels)?;
            Ok((logits.cast(DType::F32) - labels).square().mean())
        }
        (ProblemType::MultiLabelClassification, labels) => {
            let labels = numbers(&logits, labels)?;
            Ok(binary_cross_entropy(logits, labels).mean())
        }
    }
}

/// Loss of an answer's first and last position, whose logits are `[batch, seq]`. A position beyond the row does not count.
///
/// # Errors
/// Another number of positions, or none that counts.
pub fn question_answering_loss(
    [start_logits, end_logits]: [Tensor<2>; 2],
    [start_positions, end_positions]: [&[i64]; 2],
) -> Result<Tensor<1>, ModelError> {
    let one = |logits: Tensor<2>, positions: &[i64]| {
        let seq = logits.dims()[1] as i64;
        let clamped = positions.iter().map(|position| match position.max(&0) {
            position if *position < seq => *position,
            _ => IGNORE_INDEX,
        });
        cross_entropy(logits, &clamped.collect::<Vec<_>>())
    };
    Ok((one(start_logits, start_positions)? + one(end_logits, end_positions)?) / 2.0)
}

/// Mean cross-entropy of `logits` (`[rows, classes]`) against one label for each row.
///
/// # Errors
/// Another number of labels, unknown ones, or none that counts.
pub fn cross_entropy(logits: Tensor<2>, labels: &[i64]) -> Result<Tensor<1>, ModelError> {
    let [rows, classes] = logits.dims();
    if labels.len() != rows {
        return Err(ModelError::LabelCount {
            found: labels.len(),
            expected: rows,
        });
    }
    let target = |&label: &i64| match label {
        IGNORE_INDEX => Ok(-1),
        id if (0..classes as i64).contains(&id) => Ok(id as i32),
        label => Err(ModelError::UnknownLabel {
            label,
            num_labels: classes,
        }),
    };
    let targets: Vec<i32> = labels.iter().map(target).collect::<Result<_, _>>()?;
    if targets.iter().all(|target| *target < 0) {
        return Err(ModelError::NoLabels);
    }
    Ok(ops::cross_entropy(logits, &targets))
}

/// Mean cross-entropy of `logits` against the shares of all classes; both are `[rows, classes]`.
///
/// # Errors
/// Shares of another shape.
pub fn soft_cross_entropy(logits: Tensor<2>, shares: &Rows<f32>) -> Result<Tensor<1>, ModelError> {
    let shares = numbers(&logits, &Labels::Values(shares.clone()))?;
    let log_probs = log_softmax(logits.cast(DType::F32), 1);
    Ok((log_probs * shares).sum_dim(1).mean().neg())
}

/// `-y log σ(x) - (1 - y) log(1 - σ(x))`, element by element and without overflow.
pub fn binary_cross_entropy<const D: usize>(logits: Tensor<D>, labels: Tensor<D>) -> Tensor<D> {
    let x = logits.cast(DType::F32);
    let log = (x.clone().abs().neg().exp() + 1.0).log();
    x.clone().clamp_min(0.0) - x * labels + log
}

fn rows(logits: Tensor<3>) -> Tensor<2> {
    let [batch, seq, classes] = logits.dims();
    logits.reshape([batch * seq, classes])
}

fn same_shape(logits: &Tensor<3>, labels: &Rows<i64>) -> Result<(), ModelError> {
    let [batch, seq, _] = logits.dims();
    match labels.dims() {
        found if found == [batch, seq] => Ok(()),
        found => Err(ModelError::InputShape {
            name: "labels",
            found,
            expected: [batch, seq],
        }),
    }
}

/// Labels as numbers in the shape of `logits`.
fn numbers(logits: &Tensor<2>, labels: &Labels) -> Result<Tensor<2>, ModelError> {
    let dims = logits.dims();
    let values: Vec<f32> = match labels {
        Labels::Ids(ids) => ids.values().iter().map(|id| *id as f32).collect(),
        Labels::Values(values) => values.values().to_vec(),
    };
    let expected = dims[0] * dims[1];
    if values.len() != expected {
        let found = values.len();
        return Err(ModelError::LabelCount { found, expected });
    }
    Ok(Tensor::from_data(
        TensorData::new(values, dims),
        (&logits.device(), DType::F32),
    ))
}
