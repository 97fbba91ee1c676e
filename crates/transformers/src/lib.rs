//! Hugging Face transformers in Rust, on [burn]: models, tokenizers and generation, from the files that Python uses.
//!
#![doc = include_str!("front_page.md")]
#![forbid(unsafe_code)]

pub use burn;
pub use transformers_config as config;
pub use transformers_generation as generation;
pub use transformers_hub as hub;
pub use transformers_modeling as modeling;
pub use transformers_pipelines as pipelines;
pub use transformers_tokenization as tokenization;
pub use transformers_trainer as trainer;
pub use transformers_weights as weights;

pub mod prelude {
    //! What most programs need: `use transformers::prelude::*;`.

    pub use crate::config::{AutoConfig, GenerationConfig, StopStrings};
    pub use crate::generation::{
        CancelToken, ContinuousBatchingConfig, ContinuousBatchingManager, FinishReason, Generate,
        GenerateOptions, Generated, Prompt, Request, Streamer, TextStreamer, generate_batch,
    };
    pub use crate::hub::{HubOptions, ModelFiles, ModelSource};
    pub use crate::modeling::{
        AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, DeviceSpec, Dtype, LoadOptions,
        LoraConfig, ModelInputs, ModelOutput, PeftModel, PreTrainedModel, Rows, TargetModules,
        TaskType, get_peft_model,
    };
    pub use crate::pipelines::{EmbedOptions, SentenceTransformer};
    pub use crate::tokenization::{
        AutoTokenizer, BatchEncoding, ChatMessage, ChatTemplateOptions, EncodeOptions, Padding,
        Side, Tokenizer, Truncation,
    };
    pub use crate::trainer::{
        EarlyStoppingCallback, Trainer, TrainerCallback, TrainerControl, TrainerState,
        TrainingArguments,
    };
}
