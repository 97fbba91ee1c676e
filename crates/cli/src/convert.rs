//! `transformers convert`: a checkpoint in another format, dtype or size of shards.

mod carried;
mod folder;
mod gguf;
mod tensors;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use transformers_config::AutoConfig;
use transformers_modeling::Dtype;
use transformers_weights::{DType, GgufType, ShardSize, WeightsError};

use crate::failure::{Failure, Result};
use crate::interrupt::INTERRUPTED;
use crate::source::SourceArguments;

use tensors::Tensors;

/// Write a checkpoint in another format, dtype or size of shards.
///
/// Tensors are read, converted and written one at a time, under temporary names until they are whole: what was there
/// before stays until then, also when Ctrl-C ends it.
#[derive(Debug, Args)]
#[command(after_help = "\
Into a folder: model.safetensors or shards of it, under the names that the checkpoint has, with
config.json, generation_config.json and the files of tokenizer and processor beside it.
Into a .gguf file: weights, configuration and tokenizer in one, as llama.cpp reads them. Families:
gemma2, gemma3_text, llama, mistral, nemotron, phi3, qwen2, qwen2_moe, qwen3, qwen3_moe, stablelm,
starcoder2. With --quantize every matrix but those of routers is written in that type; rows that are
not whole blocks fall back as in llama.cpp, and the report says so.

Examples:
  transformers convert ./model ./model-bf16 --dtype bfloat16
  transformers convert ./pytorch-model ./safetensors-model --max-shard-size 5GB
  transformers convert HuggingFaceTB/SmolLM2-135M-Instruct smollm2.gguf --quantize q4_k
  transformers convert model.Q8_0.gguf ./model --dtype bfloat16")]
pub struct Arguments {
    /// A folder, a hub id (`org/name`, `org/name@revision`), a `.gguf` file, or `org/name:file.gguf`
    #[arg(value_name = "SRC")]
    source_model: String,

    /// The folder, or the `.gguf` file, to write
    #[arg(value_name = "DST")]
    target: PathBuf,

    /// What is written [default: gguf into a `.gguf` file, else safetensors]
    #[arg(long, value_enum)]
    format: Option<Format>,

    /// The dtype of floating-point weights: auto (the checkpoint's), float32, float16 or bfloat16
    #[arg(long, default_value_t)]
    dtype: Dtype,

    /// The type of a GGUF file's matrices: Q4_K, Q8_0, Q5_0, Q4_0, BF16, F16 or F32 [default: as --dtype]
    #[arg(long, value_name = "TYPE")]
    quantize: Option<GgufType>,

    /// The size above which a folder's weights are parted into files
    #[arg(long, value_name = "SIZE", default_value_t)]
    max_shard_size: ShardSize,

    #[command(flatten)]
    source: SourceArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Safetensors,
    Gguf,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result {
    match convert(arguments) {
        Err(Failure::Error(error)) if is_cancelled(&*error) => {
            eprintln!("interrupted: nothing was changed");
            Ok(ExitCode::from(INTERRUPTED))
        }
        done => done,
    }
}

fn is_cancelled(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(WeightsError::Cancelled))
}

fn convert(arguments: &Arguments) -> Result {
    let format = arguments.format()?;
    let files = arguments.source.files(&arguments.source_model)?;
    let config = AutoConfig::from_files(&files)?;
    let dtype = match arguments.dtype {
        Dtype::Auto => None,
        Dtype::Float32 => Some(DType::F32),
        Dtype::Float16 => Some(DType::F16),
        Dtype::BFloat16 => Some(DType::BF16),
    };
    if let Some(method) = config.quantization_method()
        && (format == Format::Gguf || dtype.is_some())
    {
        return Err(format!(
            "the weights are quantised by {method}: they can be written as they are (safetensors, no --dtype), and not \
             converted; use a checkpoint of this model in float32, float16 or bfloat16"
        )
        .into());
    }
    let tensors = Tensors::open(&files, &arguments.source.open(), dtype)?;
    match format {
        Format::Safetensors => {
            let target = folder::Target {
                folder: &arguments.target,
                max_shard_size: arguments.max_shard_size,
            };
            target.write(&files, &config, tensors)
        }
        Format::Gguf => gguf::write(
            &arguments.target,
            arguments.quantize,
            &files,
            &config,
            tensors,
        ),
    }
}

impl Arguments {
    /// The format, if the other arguments fit it.
    fn format(&self) -> Result<Format> {
        let usage = |message: &str| Err(Failure::Usage(message.to_owned()));
        let extension = self.target.extension();
        let names_gguf = extension.is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
        let format = self.format.unwrap_or(match names_gguf {
            true => Format::Gguf,
            false => Format::Safetensors,
        });
        match format {
            Format::Gguf if !names_gguf => {
                usage("GGUF is one file: give DST a name that ends in .gguf")
            }
            Format::Gguf if self.max_shard_size != ShardSize::default() => {
                usage("GGUF is one file: --max-shard-size is for safetensors")
            }
            Format::Safetensors if names_gguf => usage(
                "safetensors are written into a folder: give DST a name that does not end in .gguf",
            ),
            Format::Safetensors if self.quantize.is_some() => {
                usage("--quantize is for GGUF: give DST a name that ends in .gguf")
            }
            Format::Safetensors if self.target.is_file() => {
                usage("DST is a file: give the name of a folder, there or not")
            }
            format => Ok(format),
        }
    }
}
