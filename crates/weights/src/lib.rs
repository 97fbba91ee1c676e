//! Checkpoints to host tensors and back: safetensors, shards, GGUF, torch files, conversions, the load report.
//!
//! A [`Checkpoint`] is opened lazily and gives [`HostTensor`]s one at a time, without a copy where the file holds them as
//! they are used. [`plan()`] decides beforehand which of its tensors fills which parameter, and reports what does not fit.
//! Nothing here knows a model or a device; formats and names are data and plain bytes.
//!
//! ```
//! use transformers_weights::{Checkpoint, HostTensor, LoadRules, conversion_mapping, plan};
//!
//! # fn main() -> transformers_weights::Result<()> {
//! let gamma = HostTensor::from_vec(vec![1.0_f32, 2.0], vec![2])?;
//! let checkpoint = Checkpoint::from_tensors([("embeddings.LayerNorm.gamma".to_owned(), gamma)]);
//! let parameters = [("bert.embeddings.LayerNorm.weight".to_owned(), vec![2])];
//! let rules = LoadRules {
//!     base_model_prefix: "bert",
//!     transforms: &conversion_mapping::legacy(),
//!     ..LoadRules::default()
//! };
//!
//! let plan = plan(&parameters, &checkpoint, &rules)?;
//! assert!(plan.report.is_clean(), "{}", plan.report);
//! for (parameter, tensor) in &plan.sources {
//!     println!("{parameter}: {:?}", checkpoint.tensor(tensor)?.shape());
//! }
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

mod cast;
mod checkpoint;
pub mod conversion;
pub mod conversion_mapping;
mod dtype;
mod error;
mod file_bytes;
mod ggml;
mod gguf;
mod gguf_pairs;
mod gguf_parameters;
mod gguf_type;
mod host_blocks;
mod index;
mod lazy_tensor;
mod load_plan;
mod names;
mod natural_order;
mod pickle;
mod prepare;
mod q4_k;
mod reader;
mod report;
mod revert;
mod row_order;
mod safetensors;
mod save;
mod save_gguf;
mod shard_size;
mod tensor;
mod torch_file;
mod transform;

pub use checkpoint::{Checkpoint, OpenOptions, StoredTensor};
pub use dtype::{DType, Element};
pub use error::{Result, WeightsError};
pub use gguf_type::GgufType;
pub use lazy_tensor::LazyTensor;
pub use load_plan::{Conversion, LoadPlan, LoadRules, plan};
pub use prepare::Prepare;
pub use reader::{ReadOptions, TensorReader};
pub use report::{ConversionFailure, Folded, LoadReport, Mismatch, fold_names};
pub use revert::revert;
pub use row_order::HeadCounts;
pub use save::{SaveOptions, save_checkpoint, save_file, save_safetensors, without_tied};
pub use save_gguf::{GgufTensor, save_gguf};
pub use shard_size::ShardSize;
pub use tensor::{BlockTensor, HostTensor};
pub use transform::{
    GroupWeightRename, IndexOffsetRename, PrefixChange, WeightConverter, WeightRenaming,
    WeightTransform,
};

#[cfg(target_endian = "big")]
compile_error!(
    "checkpoints are little endian and used where they lie: big-endian targets are not supported"
);
