//! How files are obtained: revision, token, cache and the like, and where progress is reported.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::CancelToken;

/// What a repository of the hub holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RepoType {
    /// A model.
    #[default]
    Model,
    /// A dataset: `datasets/org/name` on the hub.
    Dataset,
}

impl RepoType {
    /// As the hub's addresses and the cache's folders have it.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }
}

/// How the files of a model are obtained. What is `None` is filled from the environment (see the
/// [crate's page](crate)).
#[derive(Clone, Default)]
pub struct HubOptions {
    /// Whether a hub id names a model or a dataset.
    pub repo_type: RepoType,
    /// Branch, tag or commit; `main` otherwise. A revision in the source (`org/name@revision`) wins.
    pub revision: Option<String>,
    /// Access token, for private and gated repositories.
    pub token: Option<String>,
    /// The cache folder, which holds `models--org--name`.
    pub cache_dir: Option<PathBuf>,
    /// The hub's address.
    pub endpoint: Option<String>,
    /// Open no socket: read the cache only.
    pub local_files_only: bool,
    /// Download files again even if they are in the cache.
    pub force_download: bool,
    /// The folder inside the repository (or the local folder) that holds the model.
    pub subfolder: Option<String>,
    /// Read files that are links to somewhere outside the model's folder too.
    pub follow_symlinks: bool,
    /// How long the hub may be silent before a request is given up; 10 seconds otherwise.
    pub timeout: Option<Duration>,
    /// Told about downloads as they go.
    pub progress: Option<Arc<dyn Progress>>,
    /// Ends a download from another thread; what is on disk is kept for the next time.
    pub cancel: Option<CancelToken>,
}

impl fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubOptions")
            .field("repo_type", &self.repo_type)
            .field("revision", &self.revision)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("cache_dir", &self.cache_dir)
            .field("endpoint", &self.endpoint)
            .field("local_files_only", &self.local_files_only)
            .field("force_download", &self.force_download)
            .field("subfolder", &self.subfolder)
            .field("follow_symlinks", &self.follow_symlinks)
            .field("timeout", &self.timeout)
            .field("progress", &self.progress.is_some())
            .field("cancel", &self.cancel)
            .finish()
    }
}

/// Where downloads report how far they are. Called from the thread that downloads; must not block.
pub trait Progress: Send + Sync {
    /// A download of `file` begins, or begins again from nothing; `bytes` is its whole size, if it is known.
    fn start(&self, file: &str, bytes: Option<u64>);
    /// `bytes` more of `file` are on disk. The first call of a resumed download covers what was there already.
    fn advance(&self, file: &str, bytes: u64);
    /// `file` is whole and in its place. Not called when the download fails.
    fn finish(&self, file: &str);
}
