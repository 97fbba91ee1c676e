//! Model families, the mechanisms they share, and the auto classes.
//!
//! A family is one file in [`models`]; it reads from top to bottom like the figure of its paper and is built from the
//! mechanisms in [`nn`]. [`register`] makes a family known to the auto classes, a built-in one and yours alike.
#![forbid(unsafe_code)]

mod auto;
mod classes;
mod counting;
mod device;
mod embeddings;
mod erased;
mod error;
mod fill;
mod init_weights;
mod inputs;
mod load;
pub mod loss;
mod model;
pub mod models;
pub mod nn;
mod origin;
mod parameters;
mod peft;
mod progress;
mod rebuild;
mod registry;
mod resize;
mod rows;
mod save;
mod text_part;

pub use auto::{
    AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForMultipleChoice,
    AutoModelForNextSentencePrediction, AutoModelForPreTraining, AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM, AutoModelForSequenceClassification, AutoModelForTextEncoding,
    AutoModelForTokenClassification,
};
pub use counting::CountOptions;
pub use device::{AvailableDevice, DeviceSpec, available_devices};
pub use erased::{Blocks, Parameter, ParameterMapper, ParameterRef, ParameterVisitor};
pub use error::ModelError;
pub use init_weights::{InitRule, InitWeights};
pub use inputs::{Labels, ModelInputs, ModelOutput};
pub use load::{Dtype, LoadOptions};
pub use model::{Forward, ModelInfo, Part, PreTrainedModel, Pretrained, Whole};
pub use parameters::{Names, ParameterPath};
pub use peft::{
    AdapterOptions, InitLoraWeights, LoraBias, LoraConfig, PeftModel, TargetModules, TaskType,
    get_peft_model,
};
pub use progress::LoadProgress;
pub use registry::{Builder, Family, Head, register, supported};
pub use resize::ResizeOptions;
pub use rows::{Rows, select_rows};
pub use save::SaveOptions;
pub use transformers_hub::CancelToken;
pub use transformers_ops::{Precision, deterministic};
pub use transformers_weights::ShardSize;
