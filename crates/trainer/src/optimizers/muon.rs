//! Muon (Jordan 2024) as `torch.optim.Muon` has it, orthogonalised in f32.

use transformers_ops::square_sum;

use super::{AdamW, ParameterState, Rule, Shared, Update};
use crate::Result;
use crate::options::Options;

/// Matrices step by their momentum with all singular values near one; embeddings, heads, vectors and stacks by AdamW.
#[derive(Debug, Clone, Copy)]
pub struct Muon {
    momentum: f32,
    nesterov: bool,
    steps: usize,
    others: AdamW,
}

/// Of the quintic that drives singular values to one.
const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];

impl Muon {
    pub(super) fn new(others: AdamW, options: &mut Options<'_>) -> Result<Self> {
        Ok(Self {
            momentum: options.number("momentum", 0.95)? as f32,
            nesterov: options.truth("nesterov", true)?,
            steps: options.number("ns_steps", 5.0)?.clamp(1.0, 99.0) as usize,
            others,
        })
    }
}

fn is_matrix_within(name: &str) -> bool {
    let outer = [
        "embed",
        "wte",
        "wpe",
        "shared",
        "lm_head",
        "score",
        "classifier",
        "decoder.weight",
    ];
    !outer.iter().any(|part| name.contains(part))
}

impl Rule for Muon {
    fn update(&self, update: Update<'_>, state: &mut ParameterState, shared: &Shared) {
        let &[rows, columns] = update.shape else {
            return self.others.update(update, state, shared);
        };
        if !is_matrix_within(update.name) {
            return self.others.update(update, state, shared);
        }
        let moments = state.buffer("momentum_buffer", update.shape);
        let pairs = moments.iter_mut().zip(update.grad);
        let direction: Vec<f32> = pairs
            .map(|(moment, grad)| {
                *moment += (1.0 - self.momentum) * (grad - *moment);
                match self.nesterov {
                    true => grad + self.momentum * (*moment - grad),
                    false => *moment,
                }
            })
            .collect();
        let direction = orthogonal(direction, [rows, columns], self.steps);
        let keep = (1.0 - update.learning_rate * update.weight_decay) as f32;
        let rate = update.learning_rate * (rows as f64 / columns as f64).max(1.0).sqrt();
        for (weight, direction) in update.weight.iter_mut().zip(direction) {
            *weight = *weight * keep - rate as f32 * direction;
        }
    }
}

/// The nearest matrix whose singular values are about one, by the iteration of Newton and Schulz.
fn orthogonal(matrix: Vec<f32>, [rows, columns]: [usize; 2], steps: usize) -> Vec<f32> {
    let tall = rows > columns;
    let (mut x, [n, m]) = match tall {
        true => (transpose(&matrix, [rows, columns]), [columns, rows]),
        false => (matrix, [rows, columns]),
    };
    let norm = (square_sum(&x).sqrt() as f32).max(1e-7);
    x.iter_mut().for_each(|value| *value /= norm);
    let [a, b, c] = COEFFICIENTS;
    for _ in 0..steps {
        let gram = product(&x, &transpose(&x, [n, m]), [n, m, n]);
        let mut factor = product(&gram, &gram, [n, n, n]);
        factor
            .iter_mut()
            .zip(&gram)
            .for_each(|(factor, gram)| *factor = b * gram + c * *factor);
        let mut next = product(&factor, &x, [n, n, m]);
        next.iter_mut().zip(&x).for_each(|(next, x)| *next += a * x);
        x = next;
    }
    match tall {
        true => transpose(&x, [n, m]),
        false => x,
    }
}

fn transpose(matrix: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let places = (0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column));
    places.map(|place| matrix[place]).collect()
}

/// `[n, k]` times `[k, m]`.
fn product(left: &[f32], right: &[f32], [n, k, m]: [usize; 3]) -> Vec<f32> {
    use burn::tensor::{DType, Device, Tensor, TensorData};
    let tensor = |values: &[f32], shape: [usize; 2]| {
        let data = TensorData::new(values.to_vec(), shape);
        Tensor::<2>::from_data(data, (&Device::flex(), DType::F32))
    };
    let product = tensor(left, [n, k]).matmul(tensor(right, [k, m]));
    product.into_data().iter::<f32>().collect()
}
