//! Losses: mean cross-entropy in f32 over the labels that are not -100.

use burn::tensor::{DType, Int, Tensor, TensorData, activation::log_softmax};

use crate::{ModelError, Rows};

/// A label that does not count.
pub const IGNORE_INDEX: i64 = -100;

/// Next-token loss: position `i` of `logits` (`[batch, seq, vocab]`) is scored against label `i + 1`.
///
/// # Errors
/// A label that is neither [`IGNORE_INDEX`] nor an id, or no label that counts.
pub fn causal_lm_loss(logits: Tensor<3>, labels: &Rows<i64>) -> Result<Tensor<1>, ModelError> {
    let seq = logits.dims()[1];
    if seq < 2 {
        return Err(ModelError::NoLabels);
    }
    let shifted: Vec<Vec<i64>> = labels.iter().map(|row| row[1..].to_vec()).collect();
    cross_entropy(logits.narrow(1, 0, seq - 1), shifted.concat())
}

/// Masked-token loss: position `i` of `logits` (`[batch, seq, vocab]`) is scored against label `i`.
///
/// # Errors
/// As [`causal_lm_loss`].
pub fn masked_lm_loss(logits: Tensor<3>, labels: &Rows<i64>) -> Result<Tensor<1>, ModelError> {
    cross_entropy(logits, labels.values().to_vec())
}

fn cross_entropy(logits: Tensor<3>, labels: Vec<i64>) -> Result<Tensor<1>, ModelError> {
    let [batch, seq, vocab] = logits.dims();
    let (mut picked, mut targets) = (Vec::new(), Vec::new());
    for (row, label) in labels.into_iter().enumerate() {
        match label {
            IGNORE_INDEX => {}
            id if (0..vocab as i64).contains(&id) => {
                picked.push(row as i64);
                targets.push(id);
            }
            id => {
                return Err(ModelError::IdBeyondVocabulary {
                    id,
                    vocab_size: vocab,
                });
            }
        }
    }
    if targets.is_empty() {
        return Err(ModelError::NoLabels);
    }
    let device = logits.device();
    let index = |values: Vec<i64>| {
        let len = values.len();
        Tensor::<1, Int>::from_data(TensorData::new(values, [len]), &device)
    };
    let rows = logits
        .reshape([batch * seq, vocab])
        .select(0, index(picked));
    let log_probs = log_softmax(rows.cast(DType::F32), 1);
    Ok(log_probs
        .gather(1, index(targets).unsqueeze_dim(1))
        .mean()
        .neg())
}
