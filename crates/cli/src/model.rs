//! Which model, from where, and how it is loaded: the arguments that commands share.

use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use transformers_hub::HubOptions;
use transformers_kernels::pool::{self, Phase};
use transformers_modeling::{DeviceSpec, Dtype, LoadOptions, Precision};

use crate::progress::{Bars, LoadBar};

/// The model and how it is loaded.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArguments {
    /// A folder, a hub id (`org/name`, `org/name@revision`), a `.gguf` file, or `org/name:file.gguf`
    #[arg(short, long, value_name = "MODEL")]
    pub model: String,

    /// Where it runs: auto, cpu, wgpu[:N] or cuda[:N]. auto is the first GPU, or the CPU where there is none
    #[arg(long, default_value_t)]
    device: DeviceSpec,

    /// The dtype of its weights: auto (the checkpoint's), float32, float16 or bfloat16
    #[arg(long, default_value_t)]
    dtype: Dtype,

    /// Branch, tag or commit of a hub id
    #[arg(long)]
    revision: Option<String>,

    /// Access token for private and gated repositories, instead of HF_TOKEN
    #[arg(long)]
    token: Option<String>,

    /// The folder that downloads are kept in, instead of HF_HUB_CACHE
    #[arg(long, value_name = "FOLDER")]
    cache_dir: Option<PathBuf>,

    /// Use what is in the cache and open no socket
    #[arg(long)]
    local_files_only: bool,

    /// Download again what is in the cache
    #[arg(long, conflicts_with = "local_files_only")]
    force_download: bool,

    /// The folder inside the repository that holds the model
    #[arg(long, value_name = "FOLDER")]
    subfolder: Option<String>,

    /// Load `model.VARIANT.safetensors`
    #[arg(long)]
    variant: Option<String>,

    /// Read weights into memory instead of mapping the file
    #[arg(long)]
    no_mmap: bool,

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
        self.set_threads();
        let watched = std::io::stderr().is_terminal();
        LoadOptions {
            hub: HubOptions {
                revision: self.revision.clone(),
                token: self.token.clone(),
                cache_dir: self.cache_dir.clone(),
                local_files_only: self.local_files_only,
                force_download: self.force_download,
                subfolder: self.subfolder.clone(),
                progress: watched.then(|| Arc::new(Bars::default()) as _),
                ..HubOptions::default()
            },
            dtype: self.dtype,
            device: self.device,
            variant: self.variant.clone(),
            mmap: !self.no_mmap,
            precision: match self.exact {
                true => Precision::Exact,
                false => Precision::Fast,
            },
            progress: watched.then(|| Arc::new(LoadBar::default()) as _),
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
