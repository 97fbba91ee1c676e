//! One step: forward and backward passes of its micro-batches, clipping, the update.

use burn::tensor::Device;
use half::{bf16, f16};
use transformers_modeling::{ModelInputs, PreTrainedModel};
use transformers_ops::square_sum;
use transformers_weights::DType;

use super::{ComputeLoss, Trainer};
use crate::loss::{Share, StepLoss};
use crate::optimizers::Update;
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

/// What the passes of a step share.
#[derive(Clone, Copy)]
struct Pass<'a> {
    loss: &'a StepLoss,
    compute: Option<&'a ComputeLoss>,
    share: Share,
}

impl Pass<'_> {
    /// Forward and backward; the loss as a part of the step's, and the gradients added to those before.
    fn run(
        self,
        model: &dyn PreTrainedModel,
        inputs: &ModelInputs,
        gradients: &mut Named<Vec<f32>>,
    ) -> Result<f64> {
        if self.compute.is_none() && self.loss.is_empty(inputs, self.share) {
            // The sum over no labels.
            return Ok(0.0);
        }
        let output = model.forward(inputs, None)?;
        let loss = match self.compute {
            Some(compute) => compute(inputs, &output, self.share.items())?,
            None => self.loss.of_batch(inputs, &output, self.share)?,
        };
        drop(output);
        let value = f64::from(
            loss.clone()
                .cast(burn::tensor::DType::F32)
                .into_scalar::<f32>(),
        );
        parameters::collect(model, loss.backward(), gradients);
        Ok(value)
    }
}

impl Trainer {
    /// The passes of a micro-batch for each device; their loss as a part of the step's.
    pub(super) fn training_step(
        &self,
        group: &[ModelInputs],
        share: Share,
        work: &mut Work,
    ) -> Result<f64> {
        let pass = Pass {
            loss: &self.loss,
            compute: self.compute_loss.as_ref(),
            share,
        };
        if let ([inputs], []) = (group, &self.devices[..]) {
            return pass.run(self.model(), inputs, &mut work.gradients);
        }
        let replica = |device: &Device| {
            let replica = self.model().boxed_clone().fork(&device.clone().autodiff());
            match self.args.activation_checkpointing {
                true => replica.with_gradient_checkpointing(),
                false => replica,
            }
        };
        // The last group of an epoch may be too small for all.
        let devices = self.devices.iter().take(group.len());
        let replicas: Vec<_> = devices.map(replica).collect();
        let done: Vec<Result<(f64, Named<Vec<f32>>)>> = std::thread::scope(|scope| {
            let one = |(replica, inputs): (&dyn PreTrainedModel, &ModelInputs)| {
                let mut gradients = Named::new();
                let loss = pass.run(replica, inputs, &mut gradients)?;
                Ok((loss, gradients))
            };
            let pairs = replicas.iter().map(AsRef::as_ref).zip(group);
            let threads: Vec<_> = pairs.map(|pair| scope.spawn(move || one(pair))).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect()
        });
        // In the order of the devices: the same sums every time.
        let mut sum = 0.0;
        for one in done {
            let (loss, gradients) = one?;
            sum += loss;
            for (name, gradient) in gradients {
                parameters::add(name, gradient, &mut work.gradients);
            }
        }
        Ok(sum)
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
            for gradient in work.gradients.values_mut() {
                transformers_ops::scale(gradient, scale as f32);
            }
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
        let masters = &mut self.masters;
        self.model = Some(parameters::change(model, |name, shape, weight| {
            let Some(grad) = gradients.remove(name) else {
                return false;
            };
            let mut master = masters.as_mut().and_then(|masters| masters.get_mut(name));
            if let Some(master) = &master {
                weight.copy_from_slice(master);
            }
            optimizer.update(Update {
                name,
                shape,
                weight,
                grad: &grad,
                learning_rate,
                weight_decay: if decays.contains(name) { decay } else { 0.0 },
            });
            if let Some(master) = &mut master {
                master.copy_from_slice(weight);
            }
            // What passes run with. Without masters it is saved, so that it is what trains on.
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
