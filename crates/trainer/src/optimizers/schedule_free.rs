//! Schedule-free AdamW (Defazio et al. 2024), as the package `schedulefree` has it.

use super::{ParameterState, Rule, Shared, Update};
use crate::Result;
use crate::options::Options;

/// Weights that are trained lie between a sequence of plain steps, `z`, and the mean of it, which is evaluated.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleFreeAdamW {
    betas: [f64; 2],
    epsilon: f64,
    warmup: u64,
    r: f64,
    weight_lr_power: f64,
}

impl ScheduleFreeAdamW {
    pub(super) fn new(
        betas: [f64; 2],
        epsilon: f64,
        warmup: u64,
        options: &mut Options<'_>,
    ) -> Result<Self> {
        Ok(Self {
            betas,
            epsilon,
            warmup,
            r: options.number("r", 0.0)?,
            weight_lr_power: options.number("weight_lr_power", 2.0)?,
        })
    }
}

const K: &str = "k";
const RATE: &str = "scheduled_lr";
const LARGEST: &str = "lr_max";
const SUM: &str = "weight_sum";
const SHARE: &str = "ckp1";

impl Rule for ScheduleFreeAdamW {
    fn begin(&self, learning_rate: f64, shared: &mut Shared) {
        let get =
            |shared: &Shared, name: &str, default| shared.get(name).copied().unwrap_or(default);
        let k = get(shared, K, 0.0);
        let warm = match (k as u64) < self.warmup {
            true => (k + 1.0) / self.warmup as f64,
            false => 1.0,
        };
        let rate = learning_rate * warm;
        let largest = get(shared, LARGEST, -1.0).max(rate);
        let weight = (k + 1.0).powf(self.r) * largest.powf(self.weight_lr_power);
        let sum = get(shared, SUM, 0.0) + weight;
        let share = if sum == 0.0 { 0.0 } else { weight / sum };
        for (name, value) in [
            (K, k + 1.0),
            (RATE, rate),
            (LARGEST, largest),
            (SUM, sum),
            (SHARE, share),
        ] {
            shared.insert(name.to_owned(), value);
        }
    }

    fn update(&self, update: Update<'_>, state: &mut ParameterState, shared: &Shared) {
        let [first, second] = self.betas;
        let (rate, share) = (shared[RATE], shared[SHARE]);
        let correction = (1.0 - second.powi(state.step as i32)) as f32;
        let pull = (rate * (first * (1.0 - share) - 1.0)) as f32;
        let (rate, share, second) = (rate as f32, share as f32, second as f32);
        let decay = update.weight_decay as f32;
        if state.step == 1 {
            state
                .buffer("z", update.shape)
                .copy_from_slice(update.weight);
        }
        let [squares, z] = state.two(["exp_avg_sq", "z"], update.shape);
        let states = squares.iter_mut().zip(z);
        for ((y, grad), (square, z)) in update.weight.iter_mut().zip(update.grad).zip(states) {
            *square = second * *square + (1.0 - second) * grad * grad;
            let grad = grad / ((*square / correction).sqrt() + self.epsilon as f32) + decay * *y;
            *y = *y + share * (*z - *y) + pull * grad;
            *z -= rate * grad;
        }
    }

    fn swap(&self, weight: &mut [f32], state: &ParameterState, to_evaluated: bool) -> bool {
        let Some(z) = state.buffers.get("z") else {
            return false;
        };
        let share = match to_evaluated {
            true => 1.0 - 1.0 / self.betas[0],
            false => 1.0 - self.betas[0],
        } as f32;
        for (weight, z) in weight.iter_mut().zip(&z.values) {
            *weight += share * (z - *weight);
        }
        true
    }

    fn has_two_faces(&self) -> bool {
        true
    }
}
