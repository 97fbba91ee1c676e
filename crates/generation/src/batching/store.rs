//! The keys and values of all sequences, and the passes over them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::DType;
use transformers_modeling::nn::{PackedBatch, PackedSequence, PagedCache};
use transformers_modeling::{ModelInputs, PreTrainedModel, Rows, deterministic};

use super::setup::Setup;
use super::task::Task;
use crate::GenerateError;
use crate::steps::Steps;

/// Where keys and values are: in blocks, or with every sequence its own.
pub(super) struct Store {
    setup: Setup,
    pages: Option<PagedCache>,
}

/// Scores of the next tokens, one row for each task that has its whole sequence computed, in order.
pub(super) struct Scores {
    values: Vec<f32>,
    vocab: usize,
}

impl Scores {
    pub fn rows(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.vocab)
    }
}

impl Store {
    pub fn new(setup: &Setup) -> Self {
        let pages = |layout| PagedCache::new(layout, setup.blocks, setup.block_size);
        Self {
            pages: setup.layout.as_ref().map(pages),
            setup: setup.clone(),
        }
    }

    pub fn copy_block(&mut self, from: u32, to: u32) {
        if let Some(pages) = &mut self.pages {
            pages.copy_block(from as usize, to as usize);
        }
    }

    /// Computes what is planned of `tasks`. A panic is an error, after which nothing that was computed is to be used.
    pub fn run<'m>(
        &mut self,
        model: &'m dyn PreTrainedModel,
        tasks: &mut [&mut Task<'m>],
    ) -> Result<Scores, GenerateError> {
        let fixed = self.setup.deterministic;
        contained(|| match fixed {
            true => deterministic(|| self.pass(model, tasks)),
            false => self.pass(model, tasks),
        })
    }

    fn pass<'m>(
        &mut self,
        model: &'m dyn PreTrainedModel,
        tasks: &mut [&mut Task<'m>],
    ) -> Result<Scores, GenerateError> {
        match &mut self.pages {
            Some(pages) => {
                let changes_beyond = self.setup.layout.as_ref();
                let changes_beyond = changes_beyond.and_then(|l| l.rotation_changes_beyond);
                packed(model, pages, tasks, changes_beyond)
            }
            None => one_by_one(model, tasks),
        }
    }
}

/// Runs `f`; a panic becomes an error.
pub(super) fn contained<T>(
    f: impl FnOnce() -> Result<T, GenerateError>,
) -> Result<T, GenerateError> {
    let text = |panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default()
    };
    catch_unwind(AssertUnwindSafe(f))
        .unwrap_or_else(|panic| Err(GenerateError::Panicked(text(panic))))
}

/// All tasks in one row and one pass.
fn packed(
    model: &dyn PreTrainedModel,
    pages: &mut PagedCache,
    tasks: &[&mut Task<'_>],
    changes_beyond: Option<usize>,
) -> Result<Scores, GenerateError> {
    let (mut ids, mut positions, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = Vec::with_capacity(tasks.len());
    for task in tasks {
        let planned = task.computed..task.computed + task.planned;
        ids.extend_from_slice(&task.row.ids[planned.clone()]);
        lengths.extend(task.lengths(changes_beyond));
        if planned.end == task.len() {
            last.push(ids.len() as u32 - 1);
        }
        positions.extend(planned.map(|position| position as u32));
    }
    let sequences = tasks.iter().map(|task| PackedSequence {
        new: task.planned,
        len: task.computed + task.planned,
        blocks: &task.blocks,
    });
    pages.begin(PackedBatch::new(sequences, lengths));
    let inputs = ModelInputs {
        position_ids: Some(Rows::row_of(positions)),
        logits_to_keep: Some(1),
        logits_at: (!last.is_empty()).then_some(last),
        ..ModelInputs::new(ids)
    };
    let logits = model.forward(&inputs, Some(pages))?.logits()?;
    let vocab = logits.dims()[2];
    let data = logits.cast(DType::F32).into_data();
    let values = data.try_into_vec::<f32>().expect("just cast to f32");
    Ok(Scores { values, vocab })
}

/// Every task in a pass of its own, with its own cache. A sequence that gave way is read as it was the first time, for a
/// recurrent layer may not take several tokens as it takes each of them.
fn one_by_one<'m>(
    model: &'m dyn PreTrainedModel,
    tasks: &mut [&mut Task<'m>],
) -> Result<Scores, GenerateError> {
    let (mut values, mut vocab) = (Vec::new(), 1);
    for task in tasks {
        let slot = match task.slot.take() {
            Some(slot) => slot,
            None => Steps::new(model, &task.settings)?,
        };
        let slot = task.slot.insert(slot);
        if slot.renew(task.row.ids.len()) {
            (task.computed, task.planned) = (0, task.row.ids.len());
        }
        let end = task.computed + task.planned;
        let scores = match slot.cache {
            Some(_) => slot.logits(&[&task.row.ids[task.computed..end]], None, 1)?,
            None => slot.scores(std::iter::once(&task.row))?,
        };
        for row in scores.into_iter().filter(|_| end == task.row.ids.len()) {
            vocab = row.len();
            values.extend(row);
        }
    }
    Ok(Scores { values, vocab })
}
