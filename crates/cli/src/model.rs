//! Which model, from where, and how it is loaded: the arguments that commands share.

use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::sync::Arc;

use clap::Args;
use transformers_config::AutoConfig;
use transformers_hub::ModelFiles;
use transformers_kernels::pool::{self, Phase};
use transformers_modeling::{
    AutoModelForCausalLM, AutoModelForSeq2SeqLM, DeviceSpec, Dtype, Head, LoadOptions,
    PreTrainedModel, Precision, supported,
};

use crate::failure::Result;
use crate::progress::LoadBar;
use crate::source::SourceArguments;

/// What a model does with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It continues it.
    Decoder,
    /// It answers it.
    EncoderDecoder,
    /// It reads it.
    Encoder,
}

impl Kind {
    /// By the heads of the config's family. What no family is known for is taken for a decoder.
    pub fn of(config: &AutoConfig) -> Self {
        let mut families = supported().into_iter();
        let family = families.find(|(model_type, _)| *model_type == config.model_type());
        match family {
            Some((_, heads)) if heads.contains(&Head::Seq2SeqLM) => Self::EncoderDecoder,
            Some((_, heads)) if !heads.contains(&Head::CausalLM) => Self::Encoder,
            _ => Self::Decoder,
        }
    }

    /// The model with the head that writes.
    pub fn load(
        self,
        files: &ModelFiles,
        options: &LoadOptions,
    ) -> Result<Box<dyn PreTrainedModel>> {
        Ok(match self {
            Self::EncoderDecoder => {
                AutoModelForSeq2SeqLM::from_pretrained_with(files, options)?.into_inner()
            }
            _ => AutoModelForCausalLM::from_pretrained_with(files, options)?.into_inner(),
        })
    }
}

/// The model and how it is loaded.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArguments {
    /// A folder, a hub id (`org/name`, `org/name@revision`), a `.gguf` file, or `org/name:file.gguf`
    #[arg(short, long, value_name = "MODEL")]
    pub model: String,

    /// A LoRA adapter that the model is used with: a folder, or a hub id
    #[arg(long, value_name = "ADAPTER")]
    adapter: Option<String>,

    #[command(flatten)]
    load: LoadArguments,
}

/// How a model is loaded.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct LoadArguments {
    /// Where it runs: auto, cpu, wgpu[:N] or cuda[:N]. auto is the first GPU, or the CPU where there is none
    #[arg(long, default_value_t)]
    device: DeviceSpec,

    /// The dtype of its weights: auto (the checkpoint's), float32, float16 or bfloat16
    #[arg(long, default_value_t)]
    dtype: Dtype,

    #[command(flatten)]
    source: SourceArguments,

    /// Multiply in f32 on the CPU, quantised and bf16 weights too: slower, and equal to the dequantised model
    #[arg(long)]
    exact: bool,

    /// CPU threads [default: TRANSFORMERS_NUM_THREADS, or the number of cores]
    #[arg(short, long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// CPU threads for prompts and batches [default: as --threads]
    #[arg(long, value_name = "N")]
    threads_batch: Option<NonZeroUsize>,
}

impl ModelArguments {
    /// As the library takes them, with progress bars where someone watches.
    pub fn load_options(&self) -> LoadOptions {
        LoadOptions {
            adapter: self.adapter.as_deref().map(Into::into),
            ..self.load.load_options()
        }
    }
}

impl LoadArguments {
    /// As the library takes them, with progress bars where someone watches.
    pub fn load_options(&self) -> LoadOptions {
        self.set_threads();
        let watched = std::io::stderr().is_terminal();
        let open = self.source.open();
        LoadOptions {
            hub: self.source.hub(),
            dtype: self.dtype,
            device: self.device,
            variant: open.variant,
            mmap: open.mmap,
            precision: match self.exact {
                true => Precision::Exact,
                false => Precision::Fast,
            },
            progress: watched.then(|| Arc::new(LoadBar::new("loading")) as _),
            ..LoadOptions::default()
        }
    }

    fn set_threads(&self) {
        let threads = self.threads.map_or(0, NonZeroUsize::get);
        pool::set_threads(Phase::Decode, threads);
        pool::set_threads(
            Phase::Prefill,
            self.threads_batch.map_or(threads, NonZeroUsize::get),
        );
    }
}
