//! Where a model's files come from and how they are read: arguments of every command that takes a model.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use transformers_hub::{HubOptions, ModelFiles};
use transformers_weights::OpenOptions;

use crate::failure::Result;
use crate::progress::Bars;

/// Where the files come from and how they are read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct SourceArguments {
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

    /// Read files that are links to somewhere outside the model's folder too
    #[arg(long)]
    follow_symlinks: bool,
}

impl SourceArguments {
    /// As the library takes them, with progress bars where someone watches.
    pub fn hub(&self) -> HubOptions {
        let watched = std::io::stderr().is_terminal();
        HubOptions {
            revision: self.revision.clone(),
            token: self.token.clone(),
            cache_dir: self.cache_dir.clone(),
            local_files_only: self.local_files_only,
            force_download: self.force_download,
            subfolder: self.subfolder.clone(),
            follow_symlinks: self.follow_symlinks,
            progress: watched.then(|| Arc::new(Bars::default()) as _),
            ..HubOptions::default()
        }
    }

    /// How the weights are opened.
    pub fn open(&self) -> OpenOptions {
        OpenOptions {
            variant: self.variant.clone(),
            mmap: !self.no_mmap,
        }
    }

    /// The files of `model`.
    pub fn files(&self, model: &str) -> Result<ModelFiles> {
        Ok(ModelFiles::resolve(model, &self.hub())?)
    }
}
