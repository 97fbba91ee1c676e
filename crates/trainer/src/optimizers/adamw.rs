//! AdamW as `torch.optim.AdamW` computes it (Loshchilov and Hutter 2019).

use super::{ParameterState, Rule, Shared, Update};

/// Adam with decoupled weight decay.
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    /// `adam_beta1`, `adam_beta2`.
    pub betas: [f64; 2],
    /// `adam_epsilon`.
    pub epsilon: f64,
}

impl Rule for AdamW {
    fn update(&self, update: Update<'_>, state: &mut ParameterState, _: &Shared) {
        let step = state.step as i32;
        let [first, second] = self.betas;
        let constants = Constants {
            keep: (1.0 - update.learning_rate * update.weight_decay) as f32,
            first: (1.0 - first) as f32,
            second: second as f32,
            rate: (update.learning_rate / (1.0 - first.powi(step))) as f32,
            scale: (1.0 - second.powi(step)).sqrt() as f32,
            epsilon: self.epsilon as f32,
        };
        let moments = state.two(["exp_avg", "exp_avg_sq"], update.shape);
        adamw_(update.weight, update.grad, moments, constants);
    }
}

/// The numbers of a step.
struct Constants {
    keep: f32,
    first: f32,
    second: f32,
    rate: f32,
    scale: f32,
    epsilon: f32,
}

/// One pass over weight, gradient and both moments.
fn adamw_(weight: &mut [f32], grad: &[f32], [first, second]: [&mut Vec<f32>; 2], by: Constants) {
    let moments = first.iter_mut().zip(second);
    for ((weight, grad), (first, second)) in weight.iter_mut().zip(grad).zip(moments) {
        *first += by.first * (grad - *first);
        *second = by.second * *second + (1.0 - by.second) * grad * grad;
        let denominator = second.sqrt() / by.scale + by.epsilon;
        *weight = *weight * by.keep - by.rate * *first / denominator;
    }
}
