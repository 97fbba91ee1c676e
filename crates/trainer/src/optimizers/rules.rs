//! Rules with a few lines each.

use super::{ParameterState, Rule, Shared, Update};
use crate::Result;
use crate::options::Options;

/// `torch.optim.SGD`.
#[derive(Debug, Clone, Copy)]
pub struct Sgd {
    momentum: f32,
    dampening: f32,
    nesterov: bool,
}

impl Sgd {
    pub(super) fn new(options: &mut Options<'_>) -> Result<Self> {
        let momentum = options.number("momentum", 0.0)? as f32;
        let dampening = options.number("dampening", 0.0)? as f32;
        let nesterov = options.truth("nesterov", false)?;
        if nesterov && (momentum <= 0.0 || dampening != 0.0) {
            return Err(options.wrong("nesterov", "it needs a momentum and no dampening"));
        }
        Ok(Self {
            momentum,
            dampening,
            nesterov,
        })
    }
}

impl Rule for Sgd {
    fn update(&self, update: Update<'_>, state: &mut ParameterState, _: &Shared) {
        let (rate, decay) = (update.learning_rate as f32, update.weight_decay as f32);
        let pairs = update.weight.iter_mut().zip(update.grad);
        if self.momentum == 0.0 {
            pairs.for_each(|(weight, grad)| *weight -= rate * (grad + decay * *weight));
            return;
        }
        let share = if state.step == 1 {
            1.0
        } else {
            1.0 - self.dampening
        };
        let moments = state.buffer("momentum_buffer", update.shape);
        for ((weight, grad), moment) in pairs.zip(moments) {
            let grad = grad + decay * *weight;
            *moment = self.momentum * *moment + share * grad;
            *weight -= match self.nesterov {
                true => rate * (grad + self.momentum * *moment),
                false => rate * *moment,
            };
        }
    }
}

/// `torch.optim.Adagrad`.
#[derive(Debug, Clone, Copy)]
pub struct Adagrad {
    lr_decay: f64,
    epsilon: f32,
}

impl Adagrad {
    pub(super) fn new(options: &mut Options<'_>) -> Result<Self> {
        Ok(Self {
            lr_decay: options.number("lr_decay", 0.0)?,
            epsilon: options.number("eps", 1e-10)? as f32,
        })
    }
}

impl Rule for Adagrad {
    fn update(&self, update: Update<'_>, state: &mut ParameterState, _: &Shared) {
        let slowed = 1.0 + (state.step - 1) as f64 * self.lr_decay;
        let (rate, decay) = (
            (update.learning_rate / slowed) as f32,
            update.weight_decay as f32,
        );
        let sums = state.buffer("sum", update.shape);
        for ((weight, grad), sum) in update.weight.iter_mut().zip(update.grad).zip(sums) {
            let grad = grad + decay * *weight;
            *sum += grad * grad;
            *weight -= rate * grad / (sum.sqrt() + self.epsilon);
        }
    }
}

/// `torch.optim.RMSprop`.
#[derive(Debug, Clone, Copy)]
pub struct RmsProp {
    momentum: f32,
    alpha: f32,
    epsilon: f32,
    centered: bool,
}

impl RmsProp {
    pub(super) fn new(options: &mut Options<'_>) -> Result<Self> {
        Ok(Self {
            momentum: options.number("momentum", 0.0)? as f32,
            alpha: options.number("alpha", 0.99)? as f32,
            epsilon: options.number("eps", 1e-8)? as f32,
            centered: options.truth("centered", false)?,
        })
    }
}

impl Rule for RmsProp {
    fn update(&self, update: Update<'_>, state: &mut ParameterState, _: &Shared) {
        let (rate, decay) = (update.learning_rate as f32, update.weight_decay as f32);
        let grads = update.weight.iter().zip(update.grad);
        let mut change: Vec<f32> = grads.map(|(weight, grad)| grad + decay * weight).collect();
        let [means, squares] = state.two(["grad_avg", "square_avg"], update.shape);
        for ((grad, mean), square) in change.iter_mut().zip(means).zip(squares) {
            *square = self.alpha * *square + (1.0 - self.alpha) * *grad * *grad;
            let mut spread = *square;
            if self.centered {
                *mean += (1.0 - self.alpha) * (*grad - *mean);
                spread -= *mean * *mean;
            }
            *grad /= spread.sqrt() + self.epsilon;
        }
        if self.momentum > 0.0 {
            let moments = state.buffer("momentum_buffer", update.shape);
            for (change, moment) in change.iter_mut().zip(moments) {
                *moment = self.momentum * *moment + *change;
                *change = *moment;
            }
        }
        for (weight, change) in update.weight.iter_mut().zip(change) {
            *weight -= rate * change;
        }
    }
}

/// Lion (Chen et al. 2023): the sign of a mean of gradients.
#[derive(Debug, Clone, Copy)]
pub struct Lion {
    /// `adam_beta1`, `adam_beta2`.
    pub betas: [f64; 2],
}

impl Rule for Lion {
    fn update(&self, update: Update<'_>, state: &mut ParameterState, _: &Shared) {
        let [first, second] = self.betas.map(|beta| beta as f32);
        let (rate, decay) = (update.learning_rate as f32, update.weight_decay as f32);
        let moments = state.buffer("exp_avg", update.shape);
        for ((weight, grad), moment) in update.weight.iter_mut().zip(update.grad).zip(moments) {
            let mean = first * *moment + (1.0 - first) * grad;
            let sign = if mean == 0.0 { 0.0 } else { mean.signum() };
            *weight -= rate * (sign + decay * *weight);
            *moment = second * *moment + (1.0 - second) * grad;
        }
    }
}

/// AdEMAMix (Pagliardini et al. 2024): Adam with a second, slow mean of gradients.
#[derive(Debug, Clone, Copy)]
pub struct AdEMAMix {
    betas: [f64; 3],
    alpha: f64,
    epsilon: f64,
    t_alpha: Option<f64>,
    t_beta3: Option<f64>,
}

impl AdEMAMix {
    pub(super) fn new(
        [first, second]: [f64; 2],
        epsilon: f64,
        options: &mut Options<'_>,
    ) -> Result<Self> {
        Ok(Self {
            betas: [
                options.number("beta1", first)?,
                options.number("beta2", second)?,
                options.number("beta3", 0.9999)?,
            ],
            alpha: options.number("alpha", 5.0)?,
            epsilon: options.number("eps", epsilon)?,
            t_alpha: options.optional("t_alpha")?,
            t_beta3: options.optional("t_beta3")?,
        })
    }

    /// Alpha and the third beta of a step.
    fn warmed(&self, step: f64) -> [f64; 2] {
        let [first, _, third] = self.betas;
        let alpha = self
            .t_alpha
            .map_or(self.alpha, |end| (step * self.alpha / end).min(self.alpha));
        let beta = self.t_beta3.map_or(third, |end| {
            let (from, to, share) = (first.ln(), third.ln(), step / end);
            (from * to / ((1.0 - share) * to + share * from))
                .exp()
                .min(third)
        });
        [alpha, beta]
    }
}

impl Rule for AdEMAMix {
    fn update(&self, update: Update<'_>, state: &mut ParameterState, _: &Shared) {
        let step = state.step as i32;
        let [alpha, third] = self.warmed(f64::from(step)).map(|number| number as f32);
        let [first, second, _] = self.betas;
        let corrections = [first, second].map(|beta| (1.0 - beta.powi(step)) as f32);
        let (first, second) = (first as f32, second as f32);
        let (rate, decay) = (update.learning_rate as f32, update.weight_decay as f32);
        let mut slow = std::mem::take(state.buffer("exp_avg_slow", update.shape));
        let [fast, squares] = state.two(["exp_avg", "exp_avg_sq"], update.shape);
        let means = fast.iter_mut().zip(slow.iter_mut()).zip(squares);
        for ((weight, grad), ((fast, slow), square)) in
            update.weight.iter_mut().zip(update.grad).zip(means)
        {
            *fast = first * *fast + (1.0 - first) * grad;
            *slow = third * *slow + (1.0 - third) * grad;
            *square = second * *square + (1.0 - second) * grad * grad;
            let scale = (*square / corrections[1]).sqrt() + self.epsilon as f32;
            let change = (*fast / corrections[0] + alpha * *slow) / scale;
            *weight -= rate * (change + decay * *weight);
        }
        *state.buffer("exp_avg_slow", update.shape) = slow;
    }
}
