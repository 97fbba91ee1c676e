//! Checkpoints of a training, and the way back from one.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Trainer;
use super::source::Plan;
use super::step::Work;
use crate::checkpoint::{
    self, ARGUMENTS, OPTIMIZER, RNG_STATE, SCHEDULER, TRAINER_STATE, read_json, write_json,
};
use crate::schedules::{of_text, text};
use crate::{Result, TrainerError, TrainerState};

/// What has to be restored beside model, optimizer, schedule and state: numbers as text, which keeps every bit.
#[derive(Debug, Default, Serialize, Deserialize)]
struct RngState {
    /// The state of a collator that draws.
    data_collator: Option<Value>,
    /// Losses since the last log, the step of that, and the last norm and rate.
    pending_loss: Value,
    logged_step: u64,
    /// The epoch, and the micro-batches of it that are done.
    place: [u64; 2],
    grad_norm: Value,
    learning_rate: Value,
    /// Devices side by side.
    #[serde(default = "one")]
    world_size: usize,
}

fn one() -> usize {
    1
}

impl Trainer {
    /// Writes `checkpoint-<step>`, and deletes older ones.
    ///
    /// # Errors
    /// A file that cannot be written; then there is no such folder.
    pub(super) fn save_checkpoint(&mut self) -> Result<()> {
        let output_dir = self.args.output_dir.clone();
        let step = self.state.global_step;
        if let Some(best) = self.state.best_global_step {
            let folder = checkpoint::folder(&output_dir, best);
            if best == step || folder.is_dir() {
                self.state.best_model_checkpoint = Some(folder.display().to_string());
            }
        }
        self.state.stateful_callbacks = self
            .callbacks
            .iter()
            .filter_map(|callback| Some((callback.name().to_owned(), callback.state()?)))
            .collect();
        let control = serde_json::json!({ "args": self.control, "attributes": {} });
        self.state
            .stateful_callbacks
            .insert("TrainerControl".to_owned(), control);
        // What is resumed are the weights that train.
        let evaluated = self.progress.evaluated;
        self.swap_weights(false);
        let written = checkpoint::write(&output_dir, step, |folder| self.write_checkpoint(folder));
        self.swap_weights(evaluated);
        self.push_checkpoint(&written?)?;
        let mut keep: Vec<&Path> = self.uploading().collect();
        keep.extend(self.state.best_model_checkpoint.as_ref().map(Path::new));
        checkpoint::rotate(&output_dir, self.args.save_total_limit, &keep);
        Ok(())
    }

    fn write_checkpoint(&self, folder: &Path) -> Result<()> {
        self.write_model(folder)?;
        write_json(&folder.join(ARGUMENTS), &self.args.to_json())?;
        if let (false, Some(optimizer), Some(schedule)) =
            (self.args.save_only_model, &self.optimizer, &self.schedule)
        {
            let path = folder.join(OPTIMIZER);
            fs::write(&path, optimizer.to_safetensors()?)
                .map_err(TrainerError::io("writing", &path))?;
            write_json(&folder.join(SCHEDULER), &schedule.state())?;
            let [norm, rate] = self.progress.last_step;
            let state = RngState {
                data_collator: self.collator.state(),
                pending_loss: text(self.progress.pending_loss).into(),
                logged_step: self.progress.logged_step,
                place: self.progress.place,
                grad_norm: text(norm).into(),
                learning_rate: text(rate).into(),
                world_size: self.world_size(),
            };
            write_json(&folder.join(RNG_STATE), &state)?;
        }
        write_json(&folder.join(TRAINER_STATE), &self.state)
    }

    fn world_size(&self) -> usize {
        self.devices.len().max(1)
    }

    /// A step of so many devices is not one of others: neither its batches nor its losses would go on.
    fn check_world_size(&self, folder: &Path) -> Result<()> {
        let path = folder.join(RNG_STATE);
        if !path.exists() {
            // What is missing is told below.
            return Ok(());
        }
        let (rng, now): (RngState, usize) = (read_json(&path)?, self.world_size());
        match rng.world_size == now {
            true => Ok(()),
            false => Err(TrainerError::WorldSize {
                checkpoint: folder.to_owned(),
                then: rng.world_size,
                now,
            }),
        }
    }

    /// Takes over everything of a checkpoint.
    pub(super) fn restore(&mut self, folder: &Path, plan: &Plan, work: &Work) -> Result<()> {
        let invalid = |reason: String| TrainerError::InvalidFile {
            path: folder.to_owned(),
            reason,
        };
        if !folder.is_dir() {
            return Err(invalid("there is no such checkpoint".to_owned()));
        }
        let state: TrainerState = read_json(&folder.join(TRAINER_STATE))?;
        self.check_world_size(folder)?;
        let batch = self.args.per_device_train_batch_size;
        if state.train_batch_size.is_some_and(|size| size != batch) {
            log::warn!(
                "the checkpoint was trained with batches of {:?}, and this training has {batch}: the data goes on elsewhere",
                state.train_batch_size
            );
        }
        let model = match self.whole()? {
            None => self.model().with_weights_of(folder)?,
            Some(model) => self.halve(model.with_weights_of(folder)?)?,
        };
        let model = match self.args.activation_checkpointing {
            true => model.with_gradient_checkpointing(),
            false => model,
        };
        let shapes = crate::parameters::Trainable::of(model.as_ref()).shapes;
        if shapes != work.trainable.shapes {
            return Err(invalid(
                "its parameters are not those of the model".to_owned(),
            ));
        }
        let optimizer = folder.join(OPTIMIZER);
        if !optimizer.exists() {
            return Err(invalid(format!(
                "it has no {OPTIMIZER}: was it saved with `save_only_model`?"
            )));
        }
        let bytes = fs::read(&optimizer).map_err(TrainerError::io("reading", &optimizer))?;
        if let Some(optimizer) = &mut self.optimizer {
            optimizer.restore(&bytes, &shapes)?;
        }
        if let Some(schedule) = &mut self.schedule {
            schedule.restore(&read_json(&folder.join(SCHEDULER))?)?;
        }
        let rng: RngState = read_json(&folder.join(RNG_STATE))?;
        if let Some(collator) = &rng.data_collator {
            self.collator.restore(collator)?;
        }
        if self.args.restore_callback_states_from_checkpoint {
            for callback in &mut self.callbacks {
                if let Some(state) = state.stateful_callbacks.get(callback.name()) {
                    callback.restore(state)?;
                }
            }
        }
        let number = |value: &Value| {
            of_text(value).ok_or_else(|| invalid(format!("{RNG_STATE} has no numbers")))
        };
        self.progress.pending_loss = number(&rng.pending_loss)?;
        self.progress.logged_step = rng.logged_step;
        self.progress.place = rng.place;
        self.progress.last_step = [number(&rng.grad_norm)?, number(&rng.learning_rate)?];
        self.model = Some(model);
        // How many steps there are is said by the arguments of now.
        self.state = TrainerState {
            max_steps: plan.max_steps,
            num_train_epochs: plan.epochs,
            logging_steps: self.state.logging_steps,
            eval_steps: self.state.eval_steps,
            save_steps: self.state.save_steps,
            ..state
        };
        if let Some(best) = &self.state.best_model_checkpoint
            && !Path::new(best).is_dir()
        {
            log::warn!("{best}, the best checkpoint so far, is not there any more");
            self.state.best_model_checkpoint = None;
        }
        Ok(())
    }
}
