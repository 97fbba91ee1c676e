//! Rows one behind the other instead of below each other.

use transformers_modeling::loss::IGNORE_INDEX;

use super::Collator;
use crate::data::{Array, Batch, Example};
use crate::{Result, TrainerError};

/// Puts all examples into one row, `[1, tokens]`, without padding (the reference's `DataCollatorWithFlattening`).
///
/// Positions begin anew with every example, and the first token of each is no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataCollatorWithFlattening {
    /// Whether there are `position_ids`, from which a model sees where an example begins.
    pub return_position_ids: bool,
    /// The first position: `padding_idx + 1` in the models that are kin to RoBERTa.
    pub position_ids_start: i64,
    /// The label between two examples.
    pub separator_id: i64,
    /// Whether there is `seq_idx`, `[1, tokens]`: the example that each token is of.
    pub return_seq_idx: bool,
    /// Whether there are `cu_seq_lens_q` and `cu_seq_lens_k`, `[examples + 1]`: where each example begins, and the end.
    pub return_cu_seq_lens: bool,
}

impl Default for DataCollatorWithFlattening {
    /// With positions from 0, separated by -100.
    fn default() -> Self {
        Self {
            return_position_ids: true,
            position_ids_start: 0,
            separator_id: IGNORE_INDEX,
            return_seq_idx: false,
            return_cu_seq_lens: false,
        }
    }
}

impl Collator for DataCollatorWithFlattening {
    fn collate(&mut self, examples: Vec<Example>) -> Result<Batch> {
        let labelled = examples
            .first()
            .is_some_and(|first| first.get("labels").is_some());
        let (mut ids, mut labels) = (Vec::new(), Vec::new());
        let (mut positions, mut sequences, mut bounds) = (Vec::new(), Vec::new(), vec![0]);
        for (index, example) in examples.iter().enumerate() {
            let tokens = example.integers("input_ids")?;
            let targets = match labelled {
                true => example.integers("labels")?,
                false => tokens,
            };
            if targets.len() != tokens.len() {
                return Err(TrainerError::RaggedColumn {
                    column: "labels".to_owned(),
                    found: vec![targets.len()],
                    expected: vec![tokens.len()],
                });
            }
            if tokens.is_empty() {
                continue;
            }
            ids.extend_from_slice(tokens);
            labels.push(self.separator_id);
            labels.extend_from_slice(&targets[1..]);
            positions.extend((0..tokens.len()).map(|at| self.position_ids_start + at as i64));
            sequences.extend(std::iter::repeat_n(index as i64, tokens.len()));
            bounds.push(ids.len() as i64);
        }
        if ids.is_empty() {
            return Err(TrainerError::EmptyDataset);
        }
        let row = |values: Vec<i64>| {
            let shape = [1, values.len()];
            Array::new(values, shape)
        };
        let mut batch = Batch::new();
        batch.insert("input_ids", row(ids));
        batch.insert("labels", row(labels));
        if self.return_position_ids {
            batch.insert("position_ids", row(positions));
        }
        if self.return_seq_idx {
            batch.insert("seq_idx", row(sequences));
        }
        if self.return_cu_seq_lens {
            let bounds = Array::new(bounds.clone(), [bounds.len()]);
            batch.insert("cu_seq_lens_q", bounds.clone());
            batch.insert("cu_seq_lens_k", bounds);
        }
        Ok(batch)
    }
}
