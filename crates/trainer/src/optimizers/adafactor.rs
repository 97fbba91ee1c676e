//! Adafactor (Shazeer and Stern 2018) as the reference's `optimization.py` has it.

use transformers_ops::square_sum;

use super::{ParameterState, Rule, Shared, Update};

/// Adam's second moment as the product of a row and a column. The Trainer's form: no relative steps, no scaling by the
/// parameter.
#[derive(Debug, Clone, Copy)]
pub struct Adafactor {
    /// Added to squares.
    pub epsilon: f64,
    /// Largest root mean square of an update.
    pub clip_threshold: f64,
    /// The second moment of step t keeps 1 - t^this of itself.
    pub decay_rate: f64,
}

impl Default for Adafactor {
    fn default() -> Self {
        Self {
            epsilon: 1e-30,
            clip_threshold: 1.0,
            decay_rate: -0.8,
        }
    }
}

impl Rule for Adafactor {
    fn update(&self, update: Update<'_>, state: &mut ParameterState, _: &Shared) {
        let keep = (1.0 - (state.step as f64).powf(self.decay_rate)) as f32;
        let mut change = match update.shape {
            [.., rows, columns] => self.factored(&update, [*rows, *columns], keep, state),
            _ => self.plain(&update, keep, state),
        };
        let scale = (rms(&change) / self.clip_threshold).max(1.0);
        let scale = (update.learning_rate / scale) as f32;
        change.iter_mut().for_each(|value| *value *= scale);
        let keep = (1.0 - update.weight_decay * update.learning_rate) as f32;
        for (weight, change) in update.weight.iter_mut().zip(change) {
            *weight = *weight * keep - change;
        }
    }
}

impl Adafactor {
    fn plain(&self, update: &Update<'_>, keep: f32, state: &mut ParameterState) -> Vec<f32> {
        let squares = state.buffer("exp_avg_sq", update.shape);
        let pairs = squares.iter_mut().zip(update.grad);
        pairs
            .map(|(square, grad)| {
                *square = *square * keep + (grad * grad + self.epsilon as f32) * (1.0 - keep);
                grad / square.sqrt()
            })
            .collect()
    }

    /// The last two dimensions have rows and columns; those before are stacked.
    fn factored(
        &self,
        update: &Update<'_>,
        [rows, columns]: [usize; 2],
        keep: f32,
        state: &mut ParameterState,
    ) -> Vec<f32> {
        let stacked = &update.shape[..update.shape.len() - 2];
        let of_rows = [stacked, &[rows]].concat();
        let of_columns = [stacked, &[columns]].concat();
        let mut row_means = std::mem::take(state.buffer("exp_avg_sq_row", &of_rows));
        let column_means = state.buffer("exp_avg_sq_col", &of_columns);
        let mut change = Vec::with_capacity(update.grad.len());
        for (index, grad) in update.grad.chunks_exact(rows * columns).enumerate() {
            let row_means = &mut row_means[index * rows..(index + 1) * rows];
            let column_means = &mut column_means[index * columns..(index + 1) * columns];
            let mut column_sums = vec![0.0f32; columns];
            for (row, mean) in grad.chunks_exact(columns).zip(row_means.iter_mut()) {
                let mut sum = 0.0;
                for (value, column) in row.iter().zip(&mut column_sums) {
                    let square = value * value + self.epsilon as f32;
                    sum += square;
                    *column += square;
                }
                *mean = *mean * keep + sum / columns as f32 * (1.0 - keep);
            }
            for (mean, sum) in column_means.iter_mut().zip(column_sums) {
                *mean = *mean * keep + sum / rows as f32 * (1.0 - keep);
            }
            let mean: f32 = row_means.iter().sum::<f32>() / rows as f32;
            for (row, row_mean) in grad.chunks_exact(columns).zip(row_means.iter()) {
                let by_row = 1.0 / (row_mean / mean).sqrt();
                let columns = row.iter().zip(column_means.iter());
                change.extend(columns.map(|(grad, column)| by_row / column.sqrt() * grad));
            }
        }
        *state.buffer("exp_avg_sq_row", &of_rows) = row_means;
        change
    }
}

/// Root of the mean square.
fn rms(values: &[f32]) -> f64 {
    (square_sum(values) / values.len().max(1) as f64).sqrt()
}
