//! Batches of examples.

mod default;
mod flattening;
mod language_modeling;
mod padding;
mod seq2seq;
mod tokens;

pub use default::DefaultDataCollator;
pub use flattening::DataCollatorWithFlattening;
pub use language_modeling::{
    DataCollatorForCausalLM, DataCollatorForLanguageModeling, MaskOptions,
};
pub use padding::{DataCollatorWithPadding, PadOptions};
pub use seq2seq::{DataCollatorForSeq2Seq, ShiftRight};
pub use tokens::{DataCollatorForMultipleChoice, DataCollatorForTokenClassification};

use super::{Batch, Example};
use crate::Result;

/// Makes a batch of examples: what a model takes, by the names of its arguments.
pub trait Collator: Send {
    /// The batch of these examples, of which there is at least one.
    ///
    /// # Errors
    /// Columns that are missing, of another kind than the model takes, or of several lengths.
    fn collate(&mut self, examples: Vec<Example>) -> Result<Batch>;

    /// What has to be saved so that a resumed training gets the same batches: the state of a collator that draws. `None`
    /// of those that do not.
    fn state(&self) -> Option<serde_json::Value> {
        None
    }

    /// Goes on where [`state`](Self::state) was taken.
    ///
    /// # Errors
    /// [`TrainerError::InvalidState`](crate::TrainerError::InvalidState): it is that of another collator.
    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

impl<C: Collator + ?Sized> Collator for Box<C> {
    fn collate(&mut self, examples: Vec<Example>) -> Result<Batch> {
        self.as_mut().collate(examples)
    }

    fn state(&self) -> Option<serde_json::Value> {
        self.as_ref().state()
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        self.as_mut().restore(state)
    }
}
