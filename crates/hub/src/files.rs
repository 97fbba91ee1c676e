//! The files of one model, wherever they come from.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::names::check_relative;
use crate::repository::Repository;
use crate::settings::expand_home;
use crate::source::is_gguf;
use crate::{HubError, HubOptions, ModelSource, containment, embedded, folder};

/// A lazy view of the files of one model: a folder, a GGUF file, or a hub repository at one commit.
///
/// Names are relative, with `/`, and lie in [`HubOptions::subfolder`] if one is given. A GGUF source is whole in
/// itself: it shows that one file, and not what happens to lie beside it.
pub struct ModelFiles {
    source: ModelSource,
    /// The subfolder with a `/` at its end, or nothing.
    prefix: String,
    place: Place,
    follow_symlinks: bool,
}

enum Place {
    Folder(PathBuf),
    File(PathBuf),
    Hub {
        repository: Box<Repository>,
        only: Option<String>,
    },
}

impl ModelFiles {
    /// Looks where the source's files are, without fetching any.
    ///
    /// # Errors
    /// The folder or file does not exist, the hub refuses or cannot be reached (and the cache does not know the
    /// revision), or a name would lead out of the model's folder.
    pub fn resolve(source: impl Into<ModelSource>, options: &HubOptions) -> Result<Self, HubError> {
        let source = source.into();
        let prefix = prefix(options)?;
        let hub = |repo: &str, revision: &Option<String>| {
            let revision = revision.as_ref().or(options.revision.as_ref());
            Repository::open(repo, revision.map_or("main", String::as_str), options).map(Box::new)
        };
        let place = match &source {
            ModelSource::Embedded => Place::Folder(embedded::folder(options)?),
            ModelSource::Folder(path) => match expand_home(path) {
                folder if folder.is_dir() => Place::Folder(folder),
                folder => return Err(HubError::NoFolder(folder)),
            },
            ModelSource::File(path) => match expand_home(path) {
                file if file.is_file() => Place::File(file),
                file => return Err(HubError::NoFile(file)),
            },
            ModelSource::Hub { repo, revision } => Place::Hub {
                repository: hub(repo, revision)?,
                only: None,
            },
            ModelSource::HubFile {
                repo,
                revision,
                file,
            } => {
                check_relative("file", file)?;
                Place::Hub {
                    repository: hub(repo, revision)?,
                    only: Some(file.clone()),
                }
            }
        };
        Ok(Self {
            source,
            prefix,
            place,
            follow_symlinks: options.follow_symlinks,
        })
    }

    /// The path of the file `name`, downloaded if need be; `None` if the model has no such file.
    ///
    /// Where the hub is not asked (see the [crate's page](crate)), `None` also says that the file is not in the cache.
    ///
    /// # Errors
    /// The name or, unless [`HubOptions::follow_symlinks`] is set, a link would lead out of the model's folder, or the
    /// download failed.
    pub fn find(&self, name: &str) -> Result<Option<PathBuf>, HubError> {
        check_relative("file", name)?;
        let (folder, path) = match &self.place {
            Place::Folder(folder) => {
                let path = folder.join(&self.prefix).join(name);
                (folder.clone(), Some(path).filter(|path| path.is_file()))
            }
            // Whoever names a file means it, wherever it is.
            Place::File(file) => {
                return Ok((file.file_name() == Some(name.as_ref())).then(|| file.clone()));
            }
            Place::Hub {
                only: Some(only), ..
            } if only != name => return Ok(None),
            Place::Hub { repository, .. } => {
                (repository.snapshot(), repository.find(&self.full(name))?)
            }
        };
        if let Some(path) = &path
            && !self.follow_symlinks
        {
            containment::check(&folder, path)?;
        }
        Ok(path)
    }

    /// The path of the file `name`, downloaded if need be.
    ///
    /// # Errors
    /// As [`find`](Self::find); and the model has no such file, or it is not in the cache and the hub is not asked.
    pub fn require(&self, name: &str) -> Result<PathBuf, HubError> {
        match (self.find(name)?, &self.place) {
            (Some(path), _) => Ok(path),
            (
                None,
                Place::Hub {
                    repository,
                    only: None,
                },
            ) => Err(repository.missing(&self.full(name))),
            (
                None,
                Place::Hub {
                    repository,
                    only: Some(only),
                },
            ) if only == name => Err(repository.missing(&self.full(name))),
            (None, _) => Err(HubError::MissingFile {
                origin: self.to_string(),
                file: self.full(name),
            }),
        }
    }

    /// The GGUF file, if that is what the model is: the source names one, or it is the only one at the top of a
    /// folder without `config.json`.
    ///
    /// # Errors
    /// As [`require`](Self::require); and several GGUF files in a folder without `config.json`.
    pub fn gguf(&self) -> Result<Option<PathBuf>, HubError> {
        match &self.place {
            Place::File(file) => return Ok(Some(file.clone())),
            Place::Hub {
                only: Some(file), ..
            } => return self.require(file).map(Some),
            _ => {}
        }
        if self.find("config.json")?.is_some() {
            return Ok(None);
        }
        let mut files = self.list()?;
        files.retain(|name| !name.contains('/') && is_gguf(Path::new(name)));
        match files.as_slice() {
            [] => Ok(None),
            [file] => self.require(file).map(Some),
            _ => Err(HubError::SeveralGguf {
                origin: self.to_string(),
                files,
            }),
        }
    }

    /// The names of all files, sorted. Where the hub is not asked: of those in the cache.
    ///
    /// # Errors
    /// The folder cannot be read, or the hub does not answer.
    pub fn list(&self) -> Result<Vec<String>, HubError> {
        match &self.place {
            Place::Folder(folder) => folder::list(&folder.join(&self.prefix)),
            Place::File(file) => Ok(file
                .file_name()
                .and_then(|name| name.to_str())
                .map(str::to_owned)
                .into_iter()
                .collect()),
            Place::Hub {
                only: Some(only), ..
            } => Ok(vec![only.clone()]),
            Place::Hub {
                repository,
                only: None,
            } => {
                let names = repository.list()?;
                Ok(names
                    .iter()
                    .filter_map(|name| name.strip_prefix(&self.prefix))
                    .map(str::to_owned)
                    .collect())
            }
        }
    }

    /// Whether the hub is asked for what is not in the cache; `false` for what is not from the hub.
    pub fn is_online(&self) -> bool {
        matches!(&self.place, Place::Hub { repository, .. } if repository.is_online())
    }

    /// The commit that all files are of; `None` for what is not from the hub.
    pub fn commit(&self) -> Option<&str> {
        match &self.place {
            Place::Hub { repository, .. } => Some(repository.commit()),
            _ => None,
        }
    }

    /// What the model was named by.
    pub fn source(&self) -> &ModelSource {
        &self.source
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

fn prefix(options: &HubOptions) -> Result<String, HubError> {
    match options
        .subfolder
        .as_deref()
        .map(|folder| folder.trim_end_matches('/'))
    {
        None | Some("") => Ok(String::new()),
        Some(folder) => check_relative("subfolder", folder).map(|()| format!("{folder}/")),
    }
}

/// As an error message names it.
/// The source with the commit that the files are of as its revision: what is loaded from it belongs together with what was
/// loaded before, even if the repository changes in between.
impl From<&ModelFiles> for ModelSource {
    fn from(files: &ModelFiles) -> Self {
        let mut source = files.source().clone();
        if let Self::Hub { revision, .. } | Self::HubFile { revision, .. } = &mut source {
            *revision = files.commit().map(str::to_owned);
        }
        source
    }
}

impl fmt::Display for ModelFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Folder(folder) => write!(f, "the folder `{}`", folder.display()),
            Place::File(file) => write!(f, "the GGUF file `{}`", file.display()),
            Place::Hub { repository, .. } => {
                write!(f, "`{}` (commit {})", self.source, repository.commit())
            }
        }
    }
}

impl fmt::Debug for ModelFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelFiles")
            .field("source", &self.source)
            .field("prefix", &self.prefix)
            .field("commit", &self.commit())
            .finish()
    }
}
