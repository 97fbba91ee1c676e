//! `transformers merge-lora`: a model with an adapter in its weights.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use transformers_config::AutoConfig;
use transformers_hub::{HubOptions, ModelFiles};
use transformers_modeling::{
    AdapterOptions, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM,
    AutoModelForQuestionAnswering, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification,
    AutoModelForTokenClassification, LoadOptions, LoraConfig, PeftModel, PreTrainedModel,
    SaveOptions, TaskType,
};
use transformers_weights::ShardSize;

use crate::failure::Result;
use crate::model::LoadArguments;

/// The file that says what an adapter is for.
const ADAPTER_CONFIG: &str = "adapter_config.json";

/// Write a model whose weights have a LoRA adapter added.
#[derive(Debug, Args)]
#[command(after_help = "\
The folder gets weights, configuration and tokenizer: it is a model as any other, and needs no adapter.
Weights keep the dtype of BASE; those in the blocks of a GGUF file become float32.

Examples:
  transformers merge-lora HuggingFaceTB/SmolLM2-135M ./my-adapter ./merged
  transformers merge-lora ./base org/name-lora ./merged --dtype bfloat16")]
pub struct Arguments {
    /// The model: a folder, a hub id (`org/name`, `org/name@revision`), a `.gguf` file, or `org/name:file.gguf`
    #[arg(value_name = "BASE")]
    base: String,

    /// The adapter: a folder, or a hub id
    #[arg(value_name = "ADAPTER")]
    adapter: String,

    /// The folder to write
    #[arg(value_name = "OUT")]
    target: PathBuf,

    /// The size above which the weights are parted into files
    #[arg(long, value_name = "SIZE", default_value_t)]
    max_shard_size: ShardSize,

    #[command(flatten)]
    load: LoadArguments,
}

pub fn run(arguments: &Arguments) -> Result {
    let options = arguments.load.load_options();
    // Revision and folder are the base's.
    let hub = HubOptions {
        revision: None,
        subfolder: None,
        ..options.hub.clone()
    };
    let adapter = ModelFiles::resolve(arguments.adapter.as_str(), &hub)?;
    let config = LoraConfig::from_file(&adapter.require(ADAPTER_CONFIG)?)?;
    let files = ModelFiles::resolve(arguments.base.as_str(), &options.hub)?;
    let mut model = load(&files, config.task_type, &options)?;
    let loading = AdapterOptions {
        hub,
        is_trainable: false,
    };
    model.load_adapter("default", arguments.adapter.as_str(), &loading)?;
    let model = model.merge_and_unload()?;
    let saving = SaveOptions {
        max_shard_size: arguments.max_shard_size,
        ..SaveOptions::default()
    };
    model.save_pretrained_with(&arguments.target, &saving)?;
    Ok(ExitCode::SUCCESS)
}

/// The model with the head that the adapter was trained with: what its task says, or else the class of the model's config.
fn load(
    files: &ModelFiles,
    task: Option<TaskType>,
    options: &LoadOptions,
) -> Result<Box<dyn PreTrainedModel>> {
    let config = AutoConfig::from_files(files)?;
    let classes = config.get("architectures").and_then(|list| list.as_array());
    let class = classes.and_then(|list| list.first()?.as_str());
    let class = class.unwrap_or_default();
    macro_rules! load {
        ($auto:ident) => {
            $auto::from_pretrained_with(files, options)?.into_inner()
        };
    }
    let is = |of: TaskType, end: &str| task == Some(of) || task.is_none() && class.ends_with(end);
    let model = if is(
        TaskType::SequenceClassification,
        "ForSequenceClassification",
    ) {
        load!(AutoModelForSequenceClassification)
    } else if is(TaskType::TokenClassification, "ForTokenClassification") {
        load!(AutoModelForTokenClassification)
    } else if is(TaskType::QuestionAnswering, "ForQuestionAnswering") {
        load!(AutoModelForQuestionAnswering)
    } else if is(TaskType::Seq2SeqLM, "ForConditionalGeneration") {
        load!(AutoModelForSeq2SeqLM)
    } else if is(TaskType::FeatureExtraction, "Model") && !class.ends_with("HeadModel") {
        load!(AutoModel)
    } else if task.is_none() && class.ends_with("ForMaskedLM") {
        load!(AutoModelForMaskedLM)
    } else {
        load!(AutoModelForCausalLM)
    };
    Ok(model)
}
