//! AdamW as `torch.optim.AdamW` computes it (Loshchilov and Hutter 2019).

use transformers_ops as ops;

use super::{ParameterState, Rule, Shared, Update};

/// Adam with decoupled weight decay.
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    /// `adam_beta1`, `adam_beta2`.
    pub betas: [f64; 2],
    /// `adam_epsilon`.
    pub epsilon: f64,
}

const MOMENTS: [&str; 2] = ["exp_avg", "exp_avg_sq"];

impl Rule for AdamW {
    fn prepare(&self, shape: &[usize], state: &mut ParameterState) {
        state.two(MOMENTS, shape);
    }

    fn update(&self, update: Update<'_>, state: &mut ParameterState, _: &Shared) {
        let (rate, decay) = (update.learning_rate, update.weight_decay);
        let step = ops::AdamW::new(state.step, rate, self.betas, self.epsilon, decay);
        let [first, second] = state.two(MOMENTS, update.shape);
        step.step(update.weight, update.grad, [first, second]);
    }
}
