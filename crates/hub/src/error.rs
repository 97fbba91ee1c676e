//! What can go wrong between a model's name and its files, each with what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a model's files could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The source is a path, and no folder is there.
    #[error(
        "there is no folder `{}`: give a folder that holds config.json, a .gguf file, or a hub id such as `org/name`",
        .0.display()
    )]
    NoFolder(PathBuf),
    /// The source is the path of a `.gguf` file that is not there.
    #[error(
        "there is no file `{}`: check the path, or name a file of a hub repository as `org/name:file.gguf`",
        .0.display()
    )]
    NoFile(PathBuf),
    /// The model has no file of that name.
    #[error("{origin} has no file `{file}`: check the name, the revision and the subfolder")]
    MissingFile {
        /// The folder or the repository and its commit.
        origin: String,
        /// The file that was asked for, with its subfolder.
        file: String,
    },
    /// A file name, subfolder or revision that would lead out of the model's folder.
    #[error(
        "{what} `{name}` is refused: it must be a relative path without `..` that stays inside the model's folder"
    )]
    UnsafeName {
        /// What the name is: a file, a subfolder, a revision.
        what: &'static str,
        /// The name as it was given.
        name: String,
    },
    /// A file of a model is a link to somewhere else.
    #[error(
        "{} is a link to {}, outside the model's folder: copy the file, open it by its own path, or allow such links \
         (`follow_symlinks`, `--follow-symlinks`)",
        path.display(),
        target.display()
    )]
    Outside {
        /// The file.
        path: PathBuf,
        /// Where it is.
        target: PathBuf,
    },
    /// Not a repository id.
    #[error(
        "`{0}` is neither a folder nor a hub id: an id is `name` or `org/name` of letters, digits, `-`, `_` and `.`, \
         at most 96 characters"
    )]
    InvalidRepo(String),
    /// There is more than one GGUF file and nothing that says which to take.
    #[error("{origin} holds several GGUF files ({}): name one of them, as a path or as `org/name:file.gguf`", .files.join(", "))]
    SeveralGguf {
        /// The folder or the repository and its commit.
        origin: String,
        /// The GGUF files found.
        files: Vec<String>,
    },
    /// The file is not in the cache, and the hub is not asked.
    #[error("{what} is not in the cache `{}`, and {offline}", .cache.display())]
    NotCached {
        /// The repository and revision, or the file, that was asked for.
        what: String,
        /// The cache folder that was searched.
        cache: PathBuf,
        /// Why the hub is not asked.
        offline: Offline,
    },
    /// `force_download` was asked for where nothing can be downloaded.
    #[error("`{repo}` cannot be downloaded again: {offline}")]
    ForcedOffline {
        /// The repository.
        repo: String,
        /// Why the hub is not asked.
        offline: Offline,
    },
    /// An upload was asked for where the hub is not asked for anything.
    #[error("nothing can be uploaded to `{repo}`: {offline}")]
    UploadOffline {
        /// The repository.
        repo: String,
        /// Why the hub is not asked.
        offline: Offline,
    },
    /// No home folder to put the cache in.
    #[error(
        "no home folder is known to keep the cache in: set HF_HOME or HF_HUB_CACHE, or the option cache_dir"
    )]
    NoHome,
    /// The hub wants a token, or refused the one that it was given (401).
    #[error("{}", unauthorized(.repo, *.token_sent, .message))]
    Unauthorized {
        /// The repository.
        repo: String,
        /// Whether a token was sent.
        token_sent: bool,
        /// What the hub said.
        message: String,
    },
    /// The repository is gated: its terms have to be accepted (401 or 403).
    #[error(
        "`{repo}` is gated: accept its terms on its page at {endpoint}/{repo}, then pass a token of that account \
         (HF_TOKEN){}", said(.message)
    )]
    Gated {
        /// The repository.
        repo: String,
        /// The hub's address.
        endpoint: String,
        /// What the hub said.
        message: String,
    },
    /// The token does not give access (403).
    #[error(
        "access to `{repo}` is forbidden: the token (HF_TOKEN) needs read access to it, and write access to upload{}",
        said(.message)
    )]
    Forbidden {
        /// The repository.
        repo: String,
        /// What the hub said.
        message: String,
    },
    /// There is no such repository, or it is private (404).
    #[error(
        "there is no repository `{repo}` at {endpoint}, nor a folder of that name: check the spelling; a private \
         repository needs a token (HF_TOKEN)"
    )]
    RepoNotFound {
        /// The repository.
        repo: String,
        /// The hub's address.
        endpoint: String,
    },
    /// The repository has no such branch, tag or commit (404).
    #[error("`{repo}` has no revision `{revision}`: give a branch, a tag or a full commit hash")]
    RevisionNotFound {
        /// The repository.
        repo: String,
        /// The revision that was asked for.
        revision: String,
    },
    /// The caller's [`CancelToken`](crate::CancelToken) ended the download.
    #[error("the download of `{file}` was cancelled; what is there is kept for the next time")]
    Cancelled {
        /// The file.
        file: String,
    },
    /// The hub answered with an error, also when asked again.
    #[error("the hub answered {status} for {url}, also when asked again: try later{}", said(.message))]
    Server {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What the hub said.
        message: String,
    },
    /// The hub could not be reached, or the connection broke.
    #[error(
        "no answer from the hub for {url} ({reason}): check the connection, HF_ENDPOINT and the proxy; with \
         HF_HUB_OFFLINE=1 only the cache is used"
    )]
    Network {
        /// What was asked for.
        url: String,
        /// What failed.
        reason: String,
    },
    /// The hub's answer lacks something or contradicts itself.
    #[error(
        "the answer for {url} is not that of a Hugging Face hub ({reason}): check HF_ENDPOINT and the proxy"
    )]
    BadReply {
        /// What was asked for.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A file or folder could not be read or written.
    #[error("`{}`: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl HubError {
    /// For `map_err`: an I/O error with the path that it is about.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }
}

fn unauthorized(repo: &str, token_sent: bool, message: &str) -> String {
    let advice = if token_sent {
        "the token was refused: make a new one in the account's settings and pass it (HF_TOKEN)"
    } else {
        "it asks for a token: set HF_TOKEN, or write it to the file `token` in HF_HOME"
    };
    format!(
        "the hub does not give access to `{repo}`; {advice}{}",
        said(message)
    )
}

fn said(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(" (it said: {message})")
    }
}

/// Why the hub is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Offline {
    /// [`HubOptions::local_files_only`](crate::HubOptions::local_files_only) is set.
    LocalFilesOnly,
    /// The named environment variable is set.
    Variable(&'static str),
    /// This build has no HTTP client.
    NotBuilt,
    /// The hub was asked and did not help; the cache is used in its place.
    Failed(String),
}

impl fmt::Display for Offline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalFilesOnly => {
                f.write_str("`local_files_only` is set: unset it to use the hub")
            }
            Self::Variable(name) => write!(f, "{name} is set: unset it to use the hub"),
            Self::NotBuilt => f.write_str(
                "this build has no network access: build with the feature `http` to use the hub",
            ),
            Self::Failed(error) => write!(f, "the hub could not be used: {error}"),
        }
    }
}
