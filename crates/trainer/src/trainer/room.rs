//! Where checkpoints go: a folder that can be written, on a disk that has room for them.

use std::path::Path;

use transformers_modeling::CountOptions;

use super::Trainer;
use super::source::Plan;
use crate::disk::Room;
use crate::memory::state_bytes;
use crate::{Result, SaveStrategy, TrainerError, checkpoint};

impl Trainer {
    /// A folder that cannot be written, or has no room, is an error now and not at the first checkpoint.
    pub(super) fn check_output_dir(&self, plan: &Plan) -> Result<()> {
        if self.args.save_strategy == SaveStrategy::No {
            return Ok(());
        }
        let folder = &self.args.output_dir;
        std::fs::create_dir_all(folder).map_err(TrainerError::io("creating", folder))?;
        let probe = folder.join(format!(".writable-{}", std::process::id()));
        std::fs::write(&probe, b"").map_err(TrainerError::io("writing", &probe))?;
        std::fs::remove_file(&probe).map_err(TrainerError::io("removing", &probe))?;
        let Some(free) = (self.free_disk)(folder) else {
            return Ok(());
        };
        if let Some(warning) = self.room(folder, plan).check(free, folder)? {
            log::warn!("{warning}");
        }
        Ok(())
    }

    fn room(&self, folder: &Path, plan: &Plan) -> Room {
        let args = &self.args;
        let saves = match args.save_strategy {
            SaveStrategy::Steps => match args.save_steps < 1.0 {
                true => (1.0 / args.save_steps).ceil() as u64,
                false => plan.max_steps.div_ceil(args.save_steps as u64),
            },
            SaveStrategy::Epoch => plan.max_steps.div_ceil(plan.steps.max(1)),
            SaveStrategy::Best | SaveStrategy::No => 1,
        };
        // The best one stays beside the newest, and an old one goes when the next is there.
        let fewest = 1 + u64::from(args.load_best_model_at_end);
        let limit = args
            .save_total_limit
            .and_then(|limit| u64::try_from(limit).ok());
        let kept = limit
            .filter(|limit| *limit > 0)
            .map(|limit| limit.max(fewest));
        let there = checkpoint::list(folder).len() as u64;
        Room {
            checkpoint: self.checkpoint_bytes(),
            count: match kept {
                Some(kept) => saves.min((kept + 1).saturating_sub(there)),
                None => saves,
            }
            .max(1),
        }
    }

    /// Bytes of the model and of the optimizer's state; the other files are small.
    fn checkpoint_bytes(&self) -> u64 {
        let model = self.model();
        let numbers = |only_trainable| {
            model.num_parameters(CountOptions {
                only_trainable,
                ..CountOptions::default()
            }) as u64
        };
        let trainable = numbers(true);
        let weights = match (!model.adapters().is_empty(), self.args.bf16) {
            (true, _) => 4 * trainable,
            (false, true) => 4 * numbers(false),
            (false, false) => model.get_memory_footprint() as u64,
        };
        let state = match self.args.save_only_model {
            true => 0,
            false => trainable * state_bytes(&self.args.optim) as u64,
        };
        weights + state
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use serde_json::json;
    use transformers_config::AutoConfig;
    use transformers_modeling::{AutoModelForCausalLM, DeviceSpec, LoadOptions};

    use super::*;
    use crate::TrainingArguments;
    use crate::data::{Example, Value};

    fn trainer(folder: &Path, args: serde_json::Value) -> Trainer {
        let config = json!({
            "model_type": "llama", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
            "num_attention_heads": 2,
        });
        let config = AutoConfig::from_json_str(&config.to_string()).unwrap();
        let options = LoadOptions {
            device: DeviceSpec::Cpu,
            ..LoadOptions::default()
        };
        let model = AutoModelForCausalLM::from_config_with(&config, &options).unwrap();
        let mut all = json!({"output_dir": folder, "max_steps": 6, "save_steps": 1, "per_device_train_batch_size": 1});
        all.as_object_mut()
            .unwrap()
            .extend(args.as_object().unwrap().clone());
        let args = TrainingArguments::from_json(&all).unwrap();
        let ids = Value::Integers(vec![3, 4, 5]);
        let text = Example::new()
            .with("input_ids", ids.clone())
            .with("labels", ids);
        let trainer = Trainer::new(model.into_inner(), args).unwrap();
        trainer.with_train_dataset(Arc::new(vec![text; 3]))
    }

    /// Bytes of a checkpoint, and how many come.
    fn room(folder: &Path, args: serde_json::Value) -> (u64, u64) {
        let mut trainer = trainer(folder, args);
        let plan = trainer.plan(&trainer.source().unwrap()).unwrap();
        trainer.prepare_model().unwrap();
        let room = trainer.room(folder, &plan);
        (room.checkpoint, room.count)
    }

    #[test]
    fn a_disk_without_room_shows_before_the_first_step() {
        let folder = tempfile::tempdir().unwrap();
        let mut small = trainer(folder.path(), json!({}));
        small.free_disk = |_| Some(1000);
        let error = small.train().unwrap_err();
        assert!(matches!(error, TrainerError::DiskFull { .. }), "{error}");
        assert_eq!(small.state().global_step, 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        // Nothing is saved, nothing is needed; and what is not known hinders nothing.
        for (args, free) in [
            (json!({"save_strategy": "no"}), Some(1000)),
            (json!({"max_steps": 1}), None),
        ] {
            let mut trainer = trainer(folder.path(), args);
            trainer.free_disk = match free {
                Some(_) => |_| Some(1000),
                None => |_| None,
            };
            trainer.train().unwrap();
        }
    }

    #[test]
    fn checkpoints_have_the_size_that_is_expected() {
        let folder = tempfile::tempdir().unwrap();
        let limits = json!({"save_total_limit": 2});
        let (bytes, count) = room(folder.path(), limits.clone());
        assert_eq!(count, 3);
        trainer(folder.path(), limits.clone()).train().unwrap();
        let newest = checkpoint::last_checkpoint(folder.path()).unwrap();
        let size = |name: &str| std::fs::metadata(newest.join(name)).unwrap().len();
        let tensors = size("model.safetensors") + size("optimizer.safetensors");
        // Headers are small beside real weights, and not beside these.
        let apart = tensors.abs_diff(bytes);
        assert!(
            bytes > 0 && apart < 5000,
            "{tensors} bytes instead of {bytes}"
        );
        let (model_only, _) = room(folder.path(), json!({"save_only_model": true}));
        assert_eq!(3 * model_only, bytes);
        // Two are there already, and one more comes before the oldest goes.
        assert_eq!(room(folder.path(), limits), (bytes, 1));
        assert_eq!(room(folder.path(), json!({})).1, 6);
        assert_eq!(room(folder.path(), json!({"save_steps": 4})).1, 2);
        assert_eq!(room(folder.path(), json!({"save_steps": 0.3})).1, 4);
        assert_eq!(room(folder.path(), json!({"save_strategy": "epoch"})).1, 2);
    }
}
