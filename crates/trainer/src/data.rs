//! Data for training: examples, where they come from, the order they come in, and the batches made of them.
//!
//! ```text
//! Dataset ──── Sampler ────► examples ── Collator ──► Batch
//! (columns)    (an order)                             (host arrays of one shape)
//! ```
//!
//! An [`Example`] has named columns of [`Value`]s; a [`Dataset`] gives it by index, an [`IterableDataset`] one after the
//! other. A [`Sampler`] says in which order, and a [`Collator`] makes a [`Batch`] of several.

mod batch;
mod collator;
mod configs;
mod dataset;
mod example;
mod generator;
mod hub_dataset;
mod read_instruction;
mod reading;
mod sampler;
mod splits;
mod table;
mod tokenizing;
mod value;

pub use batch::{Array, Batch, Column};
pub use collator::{
    Collator, DataCollatorForCausalLM, DataCollatorForLanguageModeling,
    DataCollatorForMultipleChoice, DataCollatorForSeq2Seq, DataCollatorForTokenClassification,
    DataCollatorWithFlattening, DataCollatorWithPadding, DefaultDataCollator, MaskOptions,
    PadOptions, ShiftRight,
};
pub use dataset::{Dataset, IterableDataset};
pub use example::Example;
pub use generator::TorchGenerator;
pub use hub_dataset::{hub_files, load_hub_dataset};
pub use read_instruction::ReadInstruction;
pub use reading::{FileFormat, Files, read_text_folder};
pub use sampler::{BatchSampler, LengthGroupedSampler, RandomSampler, Sampler, SequentialSampler};
pub use splits::{infer_splits, load_dataset, local_splits};
pub use table::Table;
pub use tokenizing::{ExampleTokenizer, pack};
pub use value::Value;
