//! What a training will take, before it begins.

use std::cmp::Reverse;
use std::time::Instant;

use transformers_modeling::{CountOptions, PreTrainedModel};

use super::PreparedData;
use crate::data::{Dataset, Example};
use crate::inputs::model_inputs;
use crate::memory::state_bytes;
use crate::parameters::Trainable;
use crate::{Result, TrainingArguments};

/// What a training will take.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Numbers in the model.
    pub parameters: usize,
    /// Those that learn.
    pub trainable: usize,
    /// Examples, or packed blocks, to train on.
    pub examples: usize,
    /// Tokens in them, without padding.
    pub tokens: usize,
    /// Tokens of the longest one.
    pub longest: usize,
    /// Steps of the optimizer.
    pub steps: u64,
    /// Bytes of the weights.
    pub weights: usize,
    /// Bytes of the gradients and of the optimizer's state.
    pub state: usize,
    /// Seconds that a forward and a backward pass of the first examples took.
    pub seconds_per_batch: f64,
    /// Seconds of all steps at that speed; evaluations and the optimizer aside.
    pub seconds: f64,
}

impl Plan {
    /// Of a model, data and arguments. A batch of the longest examples and one of the first are tried: what they take shows in
    /// the process.
    ///
    /// # Errors
    /// A batch does not fit the model.
    pub fn new(
        model: &dyn PreTrainedModel,
        data: &mut PreparedData,
        args: &TrainingArguments,
    ) -> Result<Self> {
        let size = args.per_device_train_batch_size;
        let batches = match args.dataloader_drop_last {
            true => data.train.len() / size,
            false => data.train.len().div_ceil(size),
        };
        let per_epoch = batches.div_ceil(args.gradient_accumulation_steps).max(1);
        let steps = match args.max_steps {
            steps if steps > 0 => steps as u64,
            _ => (args.num_train_epochs * per_epoch as f64).ceil() as u64,
        };
        // Who freezes parameters has called `train` before.
        let model = match Trainable::of(model).tracked {
            true => model.boxed_clone(),
            false => model.boxed_clone().train(),
        };
        let numbers = |only_trainable| {
            model.num_parameters(CountOptions {
                only_trainable,
                ..CountOptions::default()
            })
        };
        let seconds_per_batch = try_batches(model.as_ref(), data, size)?;
        let in_a_step = args.gradient_accumulation_steps as f64;
        Ok(Self {
            parameters: numbers(false),
            trainable: numbers(true),
            examples: data.train.len(),
            tokens: data.tokens,
            longest: data.longest,
            steps,
            weights: model.get_memory_footprint(),
            state: numbers(true) * (4 + state_bytes(&args.optim)),
            seconds_per_batch,
            seconds: seconds_per_batch * in_a_step * steps as f64,
        })
    }
}

/// A pass with the longest examples, then one with the first, which is timed.
fn try_batches(model: &dyn PreTrainedModel, data: &mut PreparedData, size: usize) -> Result<f64> {
    let mut lengths = Vec::with_capacity(data.train.len());
    for index in 0..data.train.len() {
        lengths.push(data.train.get(index)?.integers("input_ids")?.len());
    }
    let mut longest: Vec<usize> = (0..lengths.len()).collect();
    longest.sort_by_key(|&index| Reverse(lengths[index]));
    longest.truncate(size);
    let first = (0..size.min(lengths.len())).collect();
    let mut seconds = 0.0;
    for rows in [longest, first] {
        let examples: Vec<Example> = rows
            .into_iter()
            .map(|index| data.train.get(index))
            .collect::<Result<_>>()?;
        let inputs = model_inputs(&data.collator.collate(examples)?)?;
        let started = Instant::now();
        let loss = model.forward(&inputs, None)?.loss()?;
        drop(loss.backward());
        seconds = started.elapsed().as_secs_f64();
    }
    Ok(seconds)
}
