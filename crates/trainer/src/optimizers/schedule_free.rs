//! Schedule-free optimizers (Defazio et al. 2024), as the package `schedulefree` has them.

use super::{ParameterState, Rule, Shared, Update};
use crate::Result;
use crate::options::Options;

/// Weights that are trained lie between a sequence of plain steps, `z`, and the mean of it, which is evaluated.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleFree {
    base: Base,
    /// How far trained weights are from `z`: beta1, or the momentum of SGD.
    mix: f64,
    r: f64,
    weight_lr_power: f64,
}

/// What plain steps are.
#[derive(Debug, Clone, Copy)]
enum Base {
    Sgd { warmup: u64 },
    AdamW { second: Second, warmup: u64 },
    RAdam { second: Second },
}

/// The mean of squares of gradients.
#[derive(Debug, Clone, Copy)]
struct Second {
    beta: f64,
    epsilon: f64,
}

impl ScheduleFree {
    /// Steps of SGD, the first `warmup` of them with a rising rate.
    pub(super) fn sgd(warmup: u64, options: &mut Options<'_>) -> Result<Self> {
        Self::new(Base::Sgd { warmup }, 0.9, options)
    }

    /// Steps of AdamW, the first `warmup` of them with a rising rate.
    pub(super) fn adamw(
        [first, beta]: [f64; 2],
        epsilon: f64,
        warmup: u64,
        options: &mut Options<'_>,
    ) -> Result<Self> {
        let second = Second { beta, epsilon };
        Self::new(Base::AdamW { second, warmup }, first, options)
    }

    /// Steps of RAdam, whose rate is 0 until the variance of the squares is known well enough.
    pub(super) fn radam(
        [first, beta]: [f64; 2],
        epsilon: f64,
        options: &mut Options<'_>,
    ) -> Result<Self> {
        let second = Second { beta, epsilon };
        Self::new(Base::RAdam { second }, first, options)
    }

    fn new(base: Base, mix: f64, options: &mut Options<'_>) -> Result<Self> {
        Ok(Self {
            base,
            mix,
            r: options.number("r", 0.0)?,
            weight_lr_power: options.number("weight_lr_power", 2.0)?,
        })
    }
}

impl Base {
    /// The share of the learning rate that a step has; steps begin with 1.
    fn share(self, step: f64) -> f64 {
        match self {
            Self::Sgd { warmup } | Self::AdamW { warmup, .. } => match step <= warmup as f64 {
                true => step / warmup as f64,
                false => 1.0,
            },
            Self::RAdam { second } => second.rectification(step).unwrap_or(0.0),
        }
    }
}

impl Second {
    /// RAdam's (Liu et al. 2020, algorithm 2); `None` while there is none.
    fn rectification(self, step: f64) -> Option<f64> {
        let power = self.beta.powf(step);
        let end = 2.0 / (1.0 - self.beta) - 1.0;
        let length = end - 2.0 * step * power / (1.0 - power);
        let square = (length - 4.0) * (length - 2.0) * end / ((end - 4.0) * (end - 2.0) * length);
        (length > 4.0).then(|| square.sqrt())
    }
}

const K: &str = "k";
const RATE: &str = "scheduled_lr";
const LARGEST: &str = "lr_max";
const SUM: &str = "weight_sum";
const SHARE: &str = "ckp1";

impl Rule for ScheduleFree {
    fn begin(&self, learning_rate: f64, shared: &mut Shared) {
        let get =
            |shared: &Shared, name: &str, default| shared.get(name).copied().unwrap_or(default);
        let k = get(shared, K, 0.0);
        let rate = learning_rate * self.base.share(k + 1.0);
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
        let (rate, share) = (shared[RATE], shared[SHARE]);
        let pull = (rate * (self.mix * (1.0 - share) - 1.0)) as f32;
        let (rate, share, decay) = (rate as f32, share as f32, update.weight_decay as f32);
        if state.step == 1 {
            state
                .buffer("z", update.shape)
                .copy_from_slice(update.weight);
        }
        let mut change = update.grad.to_vec();
        self.divide(&mut change, update.shape, state);
        let z = state.buffer("z", update.shape);
        for ((y, change), z) in update.weight.iter_mut().zip(change).zip(z) {
            let change = change + decay * *y;
            *y = *y + share * (*z - *y) + pull * change;
            *z -= rate * change;
        }
    }

    fn swap(&self, weight: &mut [f32], state: &ParameterState, to_evaluated: bool) -> bool {
        let Some(z) = state.buffers.get("z") else {
            return false;
        };
        let share = match to_evaluated {
            true => 1.0 - 1.0 / self.mix,
            false => 1.0 - self.mix,
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

impl ScheduleFree {
    /// Divides gradients by the root of the mean of their squares, where there is one.
    fn divide(&self, grads: &mut [f32], shape: &[usize], state: &mut ParameterState) {
        let step = state.step as f64;
        let (second, divides) = match self.base {
            Base::Sgd { .. } => return,
            Base::AdamW { second, .. } => (second, true),
            Base::RAdam { second } => (second, second.rectification(step).is_some()),
        };
        let correction = (1.0 - second.beta.powf(step)) as f32;
        let (beta, epsilon) = (second.beta as f32, second.epsilon as f32);
        let squares = state.buffer("exp_avg_sq", shape);
        for (grad, square) in grads.iter_mut().zip(squares) {
            *square = beta * *square + (1.0 - beta) * *grad * *grad;
            if divides {
                *grad /= (*square / correction).sqrt() + epsilon;
            }
        }
    }
}
