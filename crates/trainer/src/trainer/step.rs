//! One step: forward and backward passes of its micro-batches, clipping, the update.

use half::{bf16, f16};
use transformers_modeling::ModelInputs;
use transformers_weights::DType;

use super::Trainer;
use crate::loss::Share;
use crate::optimizers::{Update, square_sum};
use crate::parameters::{self, Named, Trainable};
use crate::{CountTokens, Result};

/// What the steps of a training share.
#[derive(Debug)]
pub(super) struct Work {
    /// What trains.
    pub trainable: Trainable,
    /// Gradients of the micro-batches so far.
    pub gradients: Named<Vec<f32>>,
    /// Parameters that count for the work that is done.
    pub parameters: usize,
}

impl Trainer {
    /// The passes of a micro-batch; its loss as a part of the step's.
    pub(super) fn training_step(
        &mut self,
        inputs: &ModelInputs,
        share: Share,
        work: &mut Work,
    ) -> Result<f64> {
        if self.compute_loss.is_none() && self.loss.is_empty(inputs, share) {
            // The sum over no labels.
            return Ok(0.0);
        }
        let model = self.model();
        let output = model.forward(inputs, None)?;
        let loss = match &self.compute_loss {
            Some(compute) => compute(inputs, &output, share.items())?,
            None => self.loss.of_batch(inputs, &output, share)?,
        };
        drop(output);
        let value = f64::from(
            loss.clone()
                .cast(burn::tensor::DType::F32)
                .into_scalar::<f32>(),
        );
        let gradients = loss.backward();
        parameters::collect(model, gradients, &mut work.gradients);
        Ok(value)
    }

    /// Clips the gradients to `max_grad_norm`, and gives their norm before.
    pub(super) fn clip(&self, work: &mut Work) -> f64 {
        let norm = work
            .gradients
            .values()
            .map(|grad| square_sum(grad))
            .sum::<f64>()
            .sqrt();
        let scale = self.args.max_grad_norm / (norm + 1e-6);
        if self.args.max_grad_norm > 0.0 && scale < 1.0 {
            let values = work.gradients.values_mut().flatten();
            values.for_each(|value| *value *= scale as f32);
        }
        norm
    }

    /// Changes the weights by the gradients, which are gone after that.
    pub(super) fn update(&mut self, learning_rate: f64, work: &mut Work) {
        let (Some(model), Some(optimizer)) = (self.model.take(), &mut self.optimizer) else {
            return;
        };
        optimizer.begin_step(learning_rate);
        let (gradients, decays) = (&mut work.gradients, &work.trainable.decays);
        let decay = self.args.weight_decay;
        let halves = &work.trainable.halves;
        self.model = Some(parameters::change(model, |name, shape, weight| {
            let Some(grad) = gradients.remove(name) else {
                return false;
            };
            optimizer.update(Update {
                name,
                shape,
                weight,
                grad: &grad,
                learning_rate,
                weight_decay: if decays.contains(name) { decay } else { 0.0 },
            });
            // What is saved is what trains on.
            match halves.get(name) {
                Some(DType::BF16) => weight
                    .iter_mut()
                    .for_each(|value| *value = bf16::from_f32(*value).to_f32()),
                Some(DType::F16) => weight
                    .iter_mut()
                    .for_each(|value| *value = f16::from_f32(*value).to_f32()),
                _ => {}
            }
            true
        }));
        work.gradients.clear();
    }

    /// Gives the model the weights that are evaluated, or those that are trained, where an optimizer has both.
    pub(super) fn swap_weights(&mut self, to_evaluated: bool) {
        let two = self
            .optimizer
            .as_ref()
            .is_some_and(|optimizer| optimizer.has_two_faces());
        if !two || self.progress.evaluated == to_evaluated {
            return;
        }
        let (Some(model), Some(optimizer)) = (self.model.take(), &self.optimizer) else {
            return;
        };
        self.model = Some(parameters::change(model, |name, _, weight| {
            optimizer.swap(name, weight, to_evaluated)
        }));
        self.progress.evaluated = to_evaluated;
    }

    /// Counts tokens and floating-point operations.
    pub(super) fn count(&mut self, inputs: &ModelInputs, parameters: usize) {
        let all = inputs.input_ids.values().len();
        self.state.total_flos += 6.0 * all as f64 * parameters as f64;
        self.state.num_input_tokens_seen += match self.args.include_num_input_tokens_seen {
            CountTokens::No => 0,
            CountTokens::All => all as u64,
            CountTokens::NonPadding => match &inputs.attention_mask {
                Some(mask) => mask.values().iter().map(|real| u64::from(*real)).sum(),
                None => all as u64,
            },
        };
    }
}
