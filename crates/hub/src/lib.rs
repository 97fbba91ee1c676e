//! Where model files come from: a folder, a `.gguf` file, a Hugging Face hub repository, the cache, or the library itself.
//!
//! Everything above this crate asks one question, "where is the file of this name?", and gets a path on disk. The
//! answer is lazy, so a download takes only what is read:
//!
//! ```no_run
//! use transformers_hub::{HubOptions, ModelFiles};
//!
//! let files = ModelFiles::resolve("org/name@v1.0", &HubOptions::default())?;
//! let config = files.require("config.json")?; // downloaded, or found in the cache
//! let template = files.find("chat_template.jinja")?; // `None`: the repository has no such file
//! # Ok::<(), transformers_hub::HubError>(())
//! ```
//!
//! # When a socket is opened
//!
//! Never for a folder or a local `.gguf` file. For a hub repository, [`ModelFiles::resolve`] asks once which commit
//! the revision names, unless the revision is a full commit hash. From then on that commit holds for every file. A
//! file in the cache at that commit is used as it is, without a request; a file that is not there costs the listing
//! of the repository (once), a `HEAD` for its etag, and its bytes, if no blob of that etag is in the cache.
//!
//! No socket is opened at all when [`HubOptions::local_files_only`] is set, when `HF_HUB_OFFLINE` is, or when this
//! crate is built without the feature `http`. Where the hub does not answer, or refuses, and the cache knows the
//! revision, the cache is used, as in Python.
//!
//! # Uploading
//!
//! [`UploadRepo`] makes a model repository, unless it is there, and uploads files in commits. Nothing is uploaded
//! without a token, or where no socket may be opened.
//!
//! # Variables
//!
//! Each fills what [`HubOptions`] leaves empty; an empty variable counts as unset.
//!
//! | Variable | Meaning |
//! |---|---|
//! | `HF_HOME` | home of cache and token; otherwise `$XDG_CACHE_HOME/huggingface`, `~/.cache/huggingface` |
//! | `HF_HUB_CACHE` | the cache; otherwise `HUGGINGFACE_HUB_CACHE`, `$HF_HOME/hub` |
//! | `HF_TOKEN` | the access token; otherwise `HUGGING_FACE_HUB_TOKEN`, the file `HF_TOKEN_PATH`, `$HF_HOME/token` |
//! | `HF_HUB_DISABLE_IMPLICIT_TOKEN` | send no token that was not passed in the options |
//! | `HF_ENDPOINT` | the hub's address, for mirrors |
//! | `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE` | `1`, `on`, `yes`, `true`: open no socket |
//! | `HF_HUB_DOWNLOAD_TIMEOUT` | seconds of silence after which a request is given up (10) |
//! | `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` | read by the HTTP client |
//!
//! # The cache
//!
//! It is Python's, read and written: what one downloaded, the other finds.
//!
//! ```text
//! models--org--name/              datasets--org--name/ for a dataset
//!   refs/main                     the commit that `main` named when it was last asked
//!   snapshots/<commit>/<file>     a link to its blob
//!   blobs/<etag>                  the bytes, named by what the hub says of them
//!   .no_exist/<commit>/<file>     the repository has no such file
//! .locks/models--org--name/       so that two processes do not fetch the same blob
//! ```
//!
//! Files appear under their name only when they are whole (a temporary name, then a rename), so the locks save
//! bandwidth and correctness does not hang on them.
//!
//! # Links
//!
//! A file of a model may be a link to another one inside its folder, or to a blob of the cache. One that leads elsewhere
//! is refused unless [`HubOptions::follow_symlinks`] is set.
#![forbid(unsafe_code)]

mod cache;
mod cancel;
mod containment;
#[cfg(feature = "http")]
mod download;
mod embedded;
mod error;
mod files;
mod folder;
mod names;
mod options;
#[cfg(feature = "http")]
mod remote;
#[cfg(not(feature = "http"))]
#[path = "remote_absent.rs"]
mod remote;
mod repository;
mod settings;
mod source;
mod upload;

pub use cancel::CancelToken;
pub use embedded::EMBEDDED;
pub use error::{HubError, Offline};
pub use files::ModelFiles;
pub use options::{HubOptions, Progress, RepoType};
pub use settings::cache_folder;
pub use source::ModelSource;
pub use upload::{UploadContent, UploadFile, UploadRepo};
