//! `auto_find_batch_size`: how many examples fit into memory.
//!
//! On the CPU there is no error to catch: whoever takes too much is ended by the system. So two small batches of the
//! longest examples are tried, and what they take says what a larger one would.

use std::cmp::Reverse;
use std::path::Path;

use transformers_modeling::{CountOptions, DeviceSpec};

use super::step::Work;
use super::{TrainData, Trainer, missing};
use crate::checkpoint::{TRAINER_STATE, read_json};
use crate::data::Example;
use crate::inputs::model_inputs;
use crate::memory::{Growth, available, state_bytes};
use crate::parameters::Trainable;
use crate::{Result, TrainerError, TrainerState};

/// The share of the free memory that a step may take.
const SHARE: f64 = 0.9;
/// The larger of the two batches.
const TRIED: usize = 4;

/// What a batch takes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Need {
    /// Bytes of a batch of one example.
    one: f64,
    /// Bytes of every further example.
    each: f64,
}

impl Need {
    /// The largest batch, up to `most`, that takes no more than `bytes`.
    fn batch(self, bytes: f64, most: usize) -> Option<usize> {
        match self.one <= bytes {
            false => None,
            true if self.each <= 0.0 => Some(most),
            true => Some(most.min(1 + ((bytes - self.one) / self.each) as usize)),
        }
    }
}

impl Trainer {
    /// Lowers `per_device_train_batch_size` until a step is likely to fit into memory; a resumed training has the size that it
    /// began with.
    pub(super) fn find_batch_size(&mut self, checkpoint: Option<&Path>) -> Result<()> {
        let unknown = |reason: &str| missing("auto_find_batch_size", reason);
        if let Some(folder) = checkpoint {
            let state: TrainerState = read_json(&folder.join(TRAINER_STATE))?;
            if let Some(size) = state.train_batch_size.filter(|size| *size > 0) {
                self.args.per_device_train_batch_size = size;
            }
            return Ok(());
        }
        let cpu = DeviceSpec::Cpu.resolve()?;
        let devices = self.model().collect_devices(Vec::new());
        if !devices.iter().all(|device| device.clone().inner() == cpu) || !self.devices.is_empty() {
            return Err(unknown(
                "how much memory is free can be told of the CPU alone: choose the batch by `per_device_train_batch_size`",
            ));
        }
        let most = self.args.per_device_train_batch_size;
        let rows = self.longest(most.min(TRIED))?;
        let untold = || unknown("this system does not tell how much memory is free");
        let free = available().ok_or_else(untold)?;
        self.prepare_model()?;
        let growth = Growth::new().ok_or_else(untold)?;
        let mut peaks = Vec::new();
        for size in [1, rows.len()] {
            growth.reset().ok_or_else(untold)?;
            self.try_batch(&rows[..size])?;
            peaks.push(growth.peak().ok_or_else(untold)? as f64);
        }
        let trainable = self.model().num_parameters(CountOptions {
            only_trainable: true,
            ..CountOptions::default()
        });
        let state = trainable as f64 * state_bytes(&self.args.optim) as f64;
        let more = (rows.len() - 1).max(1) as f64;
        let need = Need {
            one: peaks[0] + state,
            each: (peaks[1] - peaks[0]) / more,
        };
        let size = need.batch(free as f64 * SHARE, most).ok_or_else(|| {
            let mib = |bytes: f64| (bytes / f64::from(1 << 20)).ceil();
            unknown(&format!(
                "a step of one example takes about {} MiB, and {} MiB are free",
                mib(need.one),
                mib(free as f64)
            ))
        })?;
        if size < most {
            log::warn!(
                "`per_device_train_batch_size` is {size}: {most} examples do not fit into memory"
            );
        }
        self.args.per_device_train_batch_size = size;
        Ok(())
    }

    /// The rows of the longest examples, with as many tokens as the collator pads all to.
    fn longest(&self, count: usize) -> Result<Vec<usize>> {
        let Some(TrainData::Map(dataset)) = &self.train_data else {
            return Err(missing(
                "auto_find_batch_size",
                "which example of a stream is the longest is not known: choose the batch by `per_device_train_batch_size`",
            ));
        };
        let mut rows: Vec<(usize, usize)> = (0..dataset.len())
            .map(|row| Ok((self.length(dataset.as_ref(), row)?, row)))
            .collect::<Result<_>>()?;
        rows.sort_by_key(|(length, _)| Reverse(*length));
        let rows: Vec<usize> = rows.into_iter().map(|(_, row)| row).take(count).collect();
        match rows.is_empty() {
            true => Err(TrainerError::EmptyDataset),
            false => Ok(rows),
        }
    }

    /// The passes of a batch, whose gradients are dropped.
    fn try_batch(&mut self, rows: &[usize]) -> Result<()> {
        let Some(TrainData::Map(dataset)) = self.train_data.clone() else {
            return Ok(());
        };
        let examples: Vec<Example> = rows
            .iter()
            .map(|row| dataset.get(*row))
            .collect::<Result<_>>()?;
        // What a collator draws is drawn again.
        let state = self.collator.state();
        let batch = self.collate(examples)?;
        if let Some(state) = state {
            self.collator.restore(&state)?;
        }
        let inputs = [model_inputs(&batch)?];
        let share = self.loss.share(&inputs, 1);
        let mut work = Work {
            trainable: Trainable::default(),
            gradients: Default::default(),
            parameters: 0,
        };
        self.training_step(&inputs, share, &mut work).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_batch_that_fits() {
        let need = Need {
            one: 100.0,
            each: 30.0,
        };
        for (bytes, most, expect) in [
            (99.0, 8, None),
            (100.0, 8, Some(1)),
            (189.0, 8, Some(3)),
            (190.0, 8, Some(4)),
            (1e9, 8, Some(8)),
        ] {
            assert_eq!(need.batch(bytes, most), expect, "{bytes}");
        }
        let flat = Need { each: -1.0, ..need };
        assert_eq!(flat.batch(100.0, 8), Some(8));
    }
}
