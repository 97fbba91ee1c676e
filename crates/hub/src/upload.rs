//! Uploading a model: a repository, made if need be, and files in commits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::names::{check_relative, is_repo_id};
use crate::remote::Remote;
use crate::settings::Settings;
use crate::{HubError, HubOptions, RepoType, folder};

/// The hub may take as long as this over a commit before it says anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file to upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadFile {
    /// Its name in the repository, with `/`.
    pub name: String,
    /// What is in it.
    pub content: UploadContent,
}

/// What is in a file to upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadContent {
    /// What a file on disk has, which must not change until it is uploaded.
    Path(PathBuf),
    /// Bytes in memory.
    Bytes(Vec<u8>),
}

impl UploadFile {
    /// The files of a folder and of those in it whose names `takes` accepts, sorted. Hidden folders are left out.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn of_folder(folder: &Path, takes: impl Fn(&str) -> bool) -> Result<Vec<Self>, HubError> {
        let names = folder::list(folder)?.into_iter();
        let file = |name: String| Self {
            content: UploadContent::Path(folder.join(&name)),
            name,
        };
        Ok(names.filter(|name| takes(name)).map(file).collect())
    }
}

/// A model repository of the hub that files are uploaded to.
///
/// ```no_run
/// use transformers_hub::{HubOptions, UploadFile, UploadRepo};
///
/// let repo = UploadRepo::create("org/name", None, None, &HubOptions::default())?;
/// let files = UploadFile::of_folder("my-model".as_ref(), |_| true)?;
/// repo.commit("A first version", files)?;
/// println!("{}", repo.url());
/// # Ok::<(), transformers_hub::HubError>(())
/// ```
pub struct UploadRepo {
    id: String,
    url: String,
    revision: String,
    remote: Remote,
}

impl UploadRepo {
    /// The model repository `id`, which is made unless it is there; without an owner in its name it belongs to who the
    /// token belongs to. A new one is private if `private` says so; `None`: if its owner's are. `revision` is the
    /// branch that commits go to, made too if need be; `None`: `main`.
    ///
    /// # Errors
    /// The hub may not be asked (see the [crate's page](crate)), there is no token, or the token may not write there.
    pub fn create(
        id: &str,
        private: Option<bool>,
        revision: Option<&str>,
        options: &HubOptions,
    ) -> Result<Self, HubError> {
        if !is_repo_id(id) {
            return Err(HubError::InvalidRepo(id.to_owned()));
        }
        let revision = revision.unwrap_or("main");
        check_relative("revision", revision)?;
        let mut settings = Settings::new(options)?;
        settings.timeout = settings.timeout.max(PATIENCE);
        if let Some(offline) = &settings.offline {
            return Err(HubError::UploadOffline {
                repo: id.to_owned(),
                offline: offline.clone(),
            });
        }
        if settings.token.is_none() {
            return Err(HubError::Unauthorized {
                repo: id.to_owned(),
                token_sent: false,
                message: String::new(),
            });
        }
        let remote = |id: &str| Remote::new(id, RepoType::Model, &settings);
        let id = match id.contains('/') {
            true => id.to_owned(),
            false => format!("{}/{id}", remote(id)?.user()?),
        };
        // The hub said a part of it.
        if !is_repo_id(&id) {
            return Err(HubError::InvalidRepo(id));
        }
        let remote = remote(&id)?;
        remote.create(private)?;
        if revision != "main" && !revision.starts_with("refs/") {
            remote.create_branch(revision)?;
        }
        Ok(Self {
            url: format!("{}/{id}", settings.endpoint),
            id,
            revision: revision.to_owned(),
            remote,
        })
    }

    /// The repository's id, with its owner.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The repository's page.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Uploads files as one commit: all of them, or none. Those of the same names are replaced, others stay. Gives the
    /// hash of the commit, if the hub says it.
    ///
    /// # Errors
    /// A file cannot be read, the hub refuses, or it cannot be reached.
    pub fn commit(
        &self,
        message: &str,
        files: Vec<UploadFile>,
    ) -> Result<Option<String>, HubError> {
        for file in &files {
            check_relative("file", &file.name)?;
            if let UploadContent::Path(path) = &file.content {
                std::fs::File::open(path).map_err(HubError::io(path))?;
            }
        }
        self.remote.upload(&self.revision, message, files)
    }
}

impl std::fmt::Debug for UploadRepo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UploadRepo")
            .field("id", &self.id)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}
