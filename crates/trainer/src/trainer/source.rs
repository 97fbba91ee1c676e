//! Where batches come from, and how many there are.

use std::sync::Arc;

use super::{TrainData, Trainer, missing};
use crate::data::{
    Batch, BatchSampler, Dataset, Example, IterableDataset, LengthGroupedSampler, RandomSampler,
    SequentialSampler,
};
use crate::inputs::ARGUMENTS;
use crate::{Result, SamplingStrategy, TrainerError};

/// How many steps a training has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Micro-batches of an epoch.
    pub batches: usize,
    /// Steps of an epoch.
    pub steps: u64,
    /// Epochs, a part of one counted as one.
    pub epochs: u64,
    /// Steps of all.
    pub max_steps: u64,
}

/// Where batches come from.
pub(super) enum Source {
    Map(Arc<dyn Dataset>, BatchSampler),
    Stream(Arc<dyn IterableDataset>, usize),
}

type Batches<'a> = Box<dyn Iterator<Item = Result<Vec<Example>>> + 'a>;

impl Source {
    /// The examples of an epoch's batches, without the first `skip` ones.
    pub fn batches(&self, epoch: u64, skip: usize) -> Result<Batches<'_>> {
        Ok(match self {
            Self::Map(dataset, sampler) => {
                let read = |indices: Vec<usize>| {
                    indices
                        .into_iter()
                        .map(|index| dataset.get(index))
                        .collect()
                };
                Box::new(sampler.batches(epoch, skip).map(read))
            }
            Self::Stream(dataset, size) => {
                let mut examples = dataset.examples()?.skip(skip * size);
                Box::new(std::iter::from_fn(move || {
                    let batch: Result<Vec<Example>> = examples.by_ref().take(*size).collect();
                    Some(batch)
                        .filter(|batch| batch.as_ref().map_or(true, |batch| !batch.is_empty()))
                }))
            }
        })
    }
}

impl Trainer {
    /// Micro-batches of a step, on all devices.
    pub(super) fn batches_of_step(&self) -> usize {
        self.args.gradient_accumulation_steps * self.devices.len().max(1)
    }

    /// A batch of examples, without the columns that models do not take.
    pub(super) fn collate(&mut self, mut examples: Vec<Example>) -> Result<Batch> {
        if self.args.remove_unused_columns {
            let labels = self.args.label_names.clone().unwrap_or_default();
            let takes =
                |name: &str| ARGUMENTS.contains(&name) || labels.iter().any(|label| label == name);
            examples
                .iter_mut()
                .for_each(|example| example.retain(takes));
        }
        self.collator.collate(examples)
    }

    pub(super) fn source(&self) -> Result<Source> {
        let size = self.args.per_device_train_batch_size;
        let dataset = match &self.train_data {
            None => return Err(missing("train_dataset", "training needs one")),
            Some(TrainData::Stream(stream)) => return Ok(Source::Stream(stream.clone(), size)),
            Some(TrainData::Map(dataset)) if dataset.is_empty() => {
                return Err(TrainerError::EmptyDataset);
            }
            Some(TrainData::Map(dataset)) => dataset.clone(),
        };
        let (len, drop) = (dataset.len(), self.args.dataloader_drop_last);
        let seed = self.args.data_seed.unwrap_or(self.args.seed);
        let sampler = match self.args.train_sampling_strategy {
            SamplingStrategy::Random => {
                BatchSampler::new(RandomSampler::new(len, seed), size, drop)
            }
            SamplingStrategy::Sequential => {
                BatchSampler::new(SequentialSampler::new(len), size, drop)
            }
            SamplingStrategy::GroupByLength => {
                let lengths = (0..len).map(|index| self.length(dataset.as_ref(), index));
                let lengths = lengths.collect::<Result<_>>()?;
                let group = self.args.total_train_batch_size();
                BatchSampler::new(LengthGroupedSampler::new(lengths, group, seed)?, size, drop)
            }
        };
        Ok(Source::Map(dataset, sampler?))
    }

    pub(super) fn length(&self, dataset: &dyn Dataset, index: usize) -> Result<usize> {
        let example = dataset.get(index)?;
        let column = &self.args.length_column_name;
        let given = example.get(column).and_then(|value| value.as_integer());
        let ids = example.get("input_ids").and_then(|value| value.list_len());
        let length = given.map(|length| length as usize).or(ids);
        length.ok_or_else(|| TrainerError::MissingColumn {
            column: format!("{column}` or `input_ids"),
            available: example.names().collect::<Vec<_>>().join(", "),
        })
    }

    pub(super) fn plan(&self, source: &Source) -> Result<Plan> {
        let accumulation = self.batches_of_step();
        let given = u64::try_from(self.args.max_steps)
            .ok()
            .filter(|steps| *steps > 0);
        match source {
            Source::Map(_, sampler) => {
                if sampler.is_empty() {
                    return Err(missing(
                        "dataloader_drop_last",
                        "no batch is left: the dataset is smaller than one",
                    ));
                }
                let steps = sampler.len().div_ceil(accumulation) as u64;
                let by_epochs = (self.args.num_train_epochs * steps as f64).ceil() as u64;
                Ok(Plan {
                    batches: sampler.len(),
                    steps,
                    epochs: match given {
                        Some(given) => given.div_ceil(steps),
                        None => self.args.num_train_epochs.ceil() as u64,
                    },
                    max_steps: given.unwrap_or(by_epochs),
                })
            }
            Source::Stream(..) => {
                let steps = given.ok_or_else(|| {
                    missing("max_steps", "a stream has no end: say how many steps")
                })?;
                Ok(Plan {
                    batches: steps as usize * accumulation,
                    steps,
                    epochs: u64::MAX,
                    max_steps: steps,
                })
            }
        }
    }
}
