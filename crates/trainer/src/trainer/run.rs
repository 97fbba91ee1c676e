//! From the first step to the last.

use std::time::Instant;

use serde_json::json;
use transformers_modeling::nn::EmbeddingNoise;
use transformers_modeling::{CountOptions, ModelInputs};

use super::events::speed;
use super::source::{Plan, Source};
use super::step::Work;
use super::{TrainData, Trainer, missing};
use crate::data::Example;
use crate::inputs::model_inputs;
use crate::optimizers::Optimizer;
use crate::parameters::Trainable;
use crate::state::Logs;
use crate::{Result, SaveStrategy, Schedule, TrainerError, TrainerState, checkpoint};

/// What a training gives.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOutput {
    /// Steps of the optimizer, those before a resume among them.
    pub global_step: u64,
    /// The mean loss of the steps of this call.
    pub training_loss: f64,
    /// What was logged at the end.
    pub metrics: Logs,
    /// It was asked to stop, and has saved a checkpoint.
    pub cancelled: bool,
}

/// What a running training counts beside its state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// When this call began.
    pub started: Instant,
    /// The step that this call began with.
    pub first_step: u64,
    /// Tokens before this call.
    pub first_token: u64,
    /// Losses since the last log.
    pub pending_loss: f64,
    /// The step of the last log.
    pub logged_step: u64,
    /// Losses of this call.
    pub session_loss: f64,
    /// The norm of the last gradient, and the learning rate of the last step.
    pub last_step: [f64; 2],
    /// The epoch, and the micro-batches of it that are done.
    pub place: [u64; 2],
    /// The model has the weights that are evaluated.
    pub evaluated: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            first_step: 0,
            first_token: 0,
            pending_loss: 0.0,
            logged_step: 0,
            session_loss: 0.0,
            last_step: [0.0; 2],
            place: [0; 2],
            evaluated: false,
        }
    }
}

impl Trainer {
    /// Trains from the start, or from `resume_from_checkpoint` of the arguments.
    ///
    /// # Errors
    /// Data or arguments that cannot be trained on (said before the first step where that can be), a model that gives no
    /// loss, or a checkpoint that cannot be written.
    pub fn train(&mut self) -> Result<TrainOutput> {
        match self.args.resume_from_checkpoint.clone() {
            Some(folder) => self.train_from(Some(folder.as_ref())),
            None => self.train_from(None),
        }
    }

    /// Goes on from the newest checkpoint of `output_dir`, or begins where there is none.
    ///
    /// # Errors
    /// As [`train`](Self::train), and a checkpoint that is damaged or of another model.
    pub fn resume(&mut self) -> Result<TrainOutput> {
        let last = checkpoint::last_checkpoint(&self.args.output_dir);
        self.train_from(last.as_deref())
    }

    /// Goes on from a checkpoint.
    ///
    /// # Errors
    /// As [`resume`](Self::resume).
    pub fn train_from(&mut self, folder: Option<&std::path::Path>) -> Result<TrainOutput> {
        if let Some(init) = &self.model_init {
            self.model = Some(init()?);
            self.progress = Progress::default();
        }
        if self.args.auto_find_batch_size {
            self.find_batch_size(folder)?;
        }
        let source = self.source()?;
        let plan = self.plan(&source)?;
        if self.args.push_to_hub {
            self.open_hub()?;
        }
        let mut work = self.begin(&plan)?;
        self.check_output_dir(&plan)?;
        let [mut first_epoch, mut skip] = [0; 2];
        if let Some(folder) = folder {
            self.restore(folder, &plan, &work)?;
            [first_epoch, skip] = self.place(&source, &plan);
        }
        if let Some(optimizer) = &mut self.optimizer {
            optimizer.prepare(&work.trainable.shapes);
        }
        self.progress.started = Instant::now();
        self.progress.first_step = self.state.global_step;
        self.progress.first_token = self.state.num_input_tokens_seen;
        self.call(|callback, event, control| callback.on_init_end(event, control))?;
        self.control.should_training_stop = self.state.global_step >= plan.max_steps;
        self.call(|callback, event, control| callback.on_train_begin(event, control))?;
        if self.args.eval_on_start {
            self.evaluate_all()?;
        }
        let mut cancelled = false;
        for epoch in first_epoch..plan.epochs {
            if self.control.should_training_stop {
                break;
            }
            self.control.should_epoch_stop = false;
            self.call(|callback, event, control| callback.on_epoch_begin(event, control))?;
            cancelled = self.epoch(
                &source,
                epoch,
                std::mem::take(&mut skip) as usize,
                &plan,
                &mut work,
            )?;
            if cancelled {
                break;
            }
            self.call(|callback, event, control| callback.on_epoch_end(event, control))?;
            self.log_save_evaluate(None)?;
        }
        self.finish(&plan, cancelled)
    }

    /// The epoch and the micro-batch of it that a resumed training goes on with.
    fn place(&self, source: &Source, plan: &Plan) -> [u64; 2] {
        let step = self.state.global_step;
        let place = match source {
            // Nobody knows how long a stream is.
            Source::Stream(..) => self.progress.place,
            Source::Map(..) => [
                step / plan.steps,
                step % plan.steps * self.batches_of_step() as u64,
            ],
        };
        match self.args.ignore_data_skip {
            true => [place[0], 0],
            false => place,
        }
    }

    /// Lets the model follow gradients.
    pub(super) fn prepare_model(&mut self) -> Result<()> {
        self.end_halves()?;
        let mut model = self
            .model
            .take()
            .ok_or_else(|| missing("model", "there is none"))?;
        // Who freezes parameters has called `train` before.
        if !Trainable::of(model.as_ref()).tracked {
            model = model.train();
        }
        if self.args.bf16 {
            model = self.halve(model)?;
        }
        if self.args.activation_checkpointing {
            model = model.with_gradient_checkpointing();
        }
        self.model = Some(model);
        Ok(())
    }

    /// Optimizer, schedule and state of a fresh training.
    fn begin(&mut self, plan: &Plan) -> Result<Work> {
        self.prepare_model()?;
        let trainable = Trainable::of(self.model());
        let parameters = self.model().num_parameters(CountOptions {
            exclude_embeddings: true,
            ..CountOptions::default()
        });
        self.progress = Progress::default();
        if trainable.shapes.is_empty() {
            return Err(missing("model", "no parameter of it is trained"));
        }
        let kwargs = self.args.lr_scheduler_kwargs.clone().unwrap_or_default();
        let warmup = self.args.warmup(plan.max_steps);
        self.optimizer = Some(Optimizer::from_arguments(&self.args, plan.max_steps)?);
        self.schedule = Some(Schedule::new(
            self.args.lr_scheduler_type,
            self.args.learning_rate,
            warmup,
            plan.max_steps,
            &kwargs,
        )?);
        self.state = TrainerState {
            is_hyper_param_search: self.trial.is_some(),
            trial_name: self.trial.as_ref().map(|(run, _)| format!("run-{run}")),
            trial_params: self.trial.as_ref().map(|(_, params)| params.clone().into()),
            ..TrainerState::new(&self.args, plan.max_steps, plan.epochs)
        };
        self.control = crate::TrainerControl::default();
        Ok(Work {
            trainable,
            gradients: Default::default(),
            parameters,
        })
    }

    /// One pass over the data, or what is left of it; whether it was asked to stop.
    fn epoch(
        &mut self,
        source: &Source,
        epoch: u64,
        skip: usize,
        plan: &Plan,
        work: &mut Work,
    ) -> Result<bool> {
        let mut batches = source.batches(epoch, skip)?;
        let mut done = skip;
        loop {
            let examples: Vec<Vec<Example>> = batches
                .by_ref()
                .take(self.batches_of_step())
                .collect::<Result<_>>()?;
            if examples.is_empty() {
                break;
            }
            let mut step = Vec::with_capacity(examples.len());
            for examples in examples {
                let mut inputs = model_inputs(&self.collate(examples)?)?;
                inputs.embedding_noise = self.noise(step.len());
                step.push(inputs);
            }
            done += step.len();
            self.progress.place = [epoch, done as u64];
            let grad_norm = self.optimizer_step(&step, work)?;
            self.state.global_step += 1;
            self.state.epoch = Some(epoch as f64 + done as f64 / plan.batches as f64);
            self.call(|callback, event, control| callback.on_step_end(event, control))?;
            let cancelled = self.cancel.is_cancelled();
            self.control.should_save |= cancelled;
            self.log_save_evaluate(Some(grad_norm))?;
            if cancelled {
                return Ok(true);
            }
            if self.control.should_epoch_stop || self.control.should_training_stop {
                return Ok(false);
            }
        }
        if done == 0 {
            return Err(TrainerError::EmptyDataset);
        }
        Ok(false)
    }

    /// The noise of a micro-batch, which hangs on the seed and on its place alone.
    fn noise(&self, index: usize) -> Option<EmbeddingNoise> {
        let alpha = self.args.neftune_noise_alpha?;
        let seed = self.step_seed().wrapping_add(2 * index as u64);
        Some(EmbeddingNoise { alpha, seed })
    }

    /// The seed of a step.
    fn step_seed(&self) -> u64 {
        let seed = self.args.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        seed ^ (self.state.global_step << 20)
    }

    /// A step of the optimizer over its micro-batches: the norm of the gradient and the learning rate.
    fn optimizer_step(&mut self, step: &[ModelInputs], work: &mut Work) -> Result<[f64; 2]> {
        self.swap_weights(false);
        self.control.should_log = false;
        self.control.should_evaluate = false;
        self.control.should_save = false;
        self.call(|callback, event, control| callback.on_step_begin(event, control))?;
        // What the passes draw, as for the dropout of adapters, hangs on the seed and on the step alone.
        for device in self.model().collect_devices(Vec::new()) {
            device.inner().seed(self.step_seed());
        }
        let devices = self.devices.len().max(1);
        let share = self.loss.share(step, devices.min(step.len()));
        let last = step.len().div_ceil(devices) - 1;
        for (index, group) in step.chunks(devices).enumerate() {
            let loss = self.training_step(group, share, work)?;
            self.add_loss(loss, index);
            for inputs in group {
                self.count(inputs, work.parameters);
            }
            if index < last {
                self.call(|callback, event, control| callback.on_substep_end(event, control))?;
            }
        }
        let norm = self.clip(work);
        self.call(|callback, event, control| callback.on_pre_optimizer_step(event, control))?;
        let rate = self.schedule.as_ref().map_or(0.0, Schedule::learning_rate);
        self.update(rate, work);
        self.call(|callback, event, control| callback.on_optimizer_step(event, control))?;
        // The reference reads the rate before its schedule steps.
        if let Some(schedule) = &mut self.schedule {
            schedule.step();
        }
        Ok([norm, rate])
    }

    fn add_loss(&mut self, loss: f64, index: usize) {
        let progress = &mut self.progress;
        let loss = match loss.is_finite() {
            true => loss,
            false => {
                let step = self.state.global_step + 1;
                log::warn!("step {step}, micro-batch {index}: the loss is {loss}");
                match self.args.logging_nan_inf_filter {
                    true => {
                        let steps = 1 + self.state.global_step - progress.logged_step;
                        progress.pending_loss / steps as f64
                    }
                    false => loss,
                }
            }
        };
        progress.pending_loss += loss;
        progress.session_loss += loss;
    }

    /// Does what the flags ask for. `step` is the norm of the gradient and the learning rate.
    fn log_save_evaluate(&mut self, step: Option<[f64; 2]>) -> Result<()> {
        self.progress.last_step = step.unwrap_or(self.progress.last_step);
        let steps = self.state.global_step - self.progress.logged_step;
        if self.control.should_log && steps > 0 {
            let mut logs = Logs::new();
            let loss = self.progress.pending_loss / steps as f64;
            logs.insert("loss".to_owned(), json!(loss));
            let [norm, rate] = self.progress.last_step;
            logs.insert("grad_norm".to_owned(), json!(norm));
            logs.insert("learning_rate".to_owned(), json!(rate));
            self.progress.pending_loss = 0.0;
            self.progress.logged_step = self.state.global_step;
            self.log(logs)?;
        }
        if self.control.should_evaluate {
            let metrics = self.evaluate_all()?;
            if let Some(name) = self.args.best_metric().filter(|_| self.schedule_follows()) {
                let value = metrics.get(&name).and_then(|value| value.as_f64());
                let value = value.ok_or_else(|| unknown_metric(&name, &metrics))?;
                self.schedule
                    .iter_mut()
                    .for_each(|schedule| schedule.metric(value));
            }
            let best = self.is_best(&metrics)?;
            if self.args.save_strategy == SaveStrategy::Best {
                self.control.should_save = best;
            }
        }
        if self.control.should_save {
            self.save_checkpoint()?;
            self.control.should_save = false;
            self.call(|callback, event, control| callback.on_save(event, control))?;
        }
        Ok(())
    }

    fn schedule_follows(&self) -> bool {
        self.args.lr_scheduler_type.follows_a_metric()
    }

    /// Whether these metrics are better than all before; then they are the best.
    fn is_best(&mut self, metrics: &Logs) -> Result<bool> {
        let Some(name) = self.args.best_metric() else {
            return Ok(false);
        };
        let value = metrics.get(&name).and_then(|value| value.as_f64());
        let value = value.ok_or_else(|| unknown_metric(&name, metrics))?;
        let better = self
            .state
            .best_metric
            .is_none_or(|best| match self.args.greater_is_better {
                Some(true) => value > best,
                _ => value < best,
            });
        if better && !value.is_nan() {
            self.state.best_metric = Some(value);
            if self.args.save_strategy != SaveStrategy::No {
                self.state.best_global_step = Some(self.state.global_step);
            }
        }
        Ok(better && !value.is_nan())
    }

    fn finish(&mut self, plan: &Plan, cancelled: bool) -> Result<TrainOutput> {
        let steps = self.state.global_step - self.progress.first_step;
        let loss = self.progress.session_loss / (steps as f64).max(0.001);
        let seconds = self.progress.started.elapsed().as_secs_f64();
        let samples = steps as f64 * self.samples_per_step(plan);
        let mut metrics = speed("train", seconds, samples, steps as f64);
        metrics.insert("total_flos".to_owned(), json!(self.state.total_flos));
        metrics.insert("train_loss".to_owned(), json!(loss));
        self.log(metrics.clone())?;
        self.end_halves()?;
        let best = self.state.best_model_checkpoint.clone();
        if let Some(best) = best.filter(|_| self.args.load_best_model_at_end && !cancelled) {
            let model = self.model().with_weights_of(best.as_ref())?;
            self.model = Some(model);
            self.progress.evaluated = true;
        } else {
            self.swap_weights(true);
        }
        self.call(|callback, event, control| callback.on_train_end(event, control))?;
        self.finish_uploads();
        Ok(TrainOutput {
            global_step: self.state.global_step,
            training_loss: loss,
            metrics,
            cancelled,
        })
    }

    fn samples_per_step(&self, plan: &Plan) -> f64 {
        match (&self.train_data, self.args.max_steps > 0) {
            (Some(TrainData::Map(dataset)), false) => {
                dataset.len() as f64 * self.args.num_train_epochs / plan.max_steps.max(1) as f64
            }
            _ => (self.args.total_train_batch_size() * self.devices.len().max(1)) as f64,
        }
    }
}

fn unknown_metric(name: &str, metrics: &Logs) -> TrainerError {
    let known: Vec<&str> = metrics.keys().map(String::as_str).collect();
    missing(
        "metric_for_best_model",
        &format!("evaluations give no `{name}`, but {}", known.join(", ")),
    )
}
