//! A hub repository at one commit: the cache first, then the hub, if it may be asked.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::cache::RepoCache;
use crate::names::{check_relative, is_commit, is_repo_id};
use crate::remote::Remote;
use crate::settings::Settings;
use crate::{CancelToken, HubError, HubOptions, Offline, Progress, folder};

pub(crate) struct Repository {
    id: String,
    revision: String,
    commit: String,
    cache_dir: PathBuf,
    cache: RepoCache,
    hub: Hub,
    listing: OnceLock<Vec<String>>,
    progress: Option<Arc<dyn Progress>>,
    cancel: Option<CancelToken>,
    /// With `force_download`: the files that were downloaded again already.
    refreshed: Option<Mutex<HashSet<String>>>,
}

/// The hub, or why it is not asked.
enum Hub {
    Online(Box<Remote>),
    Offline(Offline),
}

impl Repository {
    /// Finds out which commit `revision` is. Asks the hub unless the revision is a commit, and the cache where the
    /// hub is not asked or does not help.
    pub(crate) fn open(id: &str, revision: &str, options: &HubOptions) -> Result<Self, HubError> {
        if !is_repo_id(id) {
            return Err(HubError::InvalidRepo(id.to_owned()));
        }
        check_relative("revision", revision)?;
        let settings = Settings::new(options)?;
        let cache = RepoCache::new(&settings.cache, id, options.repo_type);
        let (hub, commit) = match &settings.offline {
            Some(offline) if options.force_download => {
                return Err(HubError::ForcedOffline {
                    repo: id.to_owned(),
                    offline: offline.clone(),
                });
            }
            Some(offline) => {
                let commit = cache
                    .commit_of(revision)
                    .ok_or_else(|| HubError::NotCached {
                        what: format!("`{id}` at revision `{revision}`"),
                        cache: settings.cache.clone(),
                        offline: offline.clone(),
                    })?;
                (Hub::Offline(offline.clone()), commit)
            }
            None => ask(
                Remote::new(id, options.repo_type, &settings)?,
                revision,
                &cache,
                options.force_download,
            )?,
        };
        Ok(Self {
            id: id.to_owned(),
            revision: revision.to_owned(),
            commit,
            cache_dir: settings.cache,
            cache,
            hub,
            listing: OnceLock::new(),
            progress: options.progress.clone(),
            cancel: options.cancel.clone(),
            refreshed: options.force_download.then(Mutex::default),
        })
    }

    pub(crate) fn commit(&self) -> &str {
        &self.commit
    }

    pub(crate) fn is_online(&self) -> bool {
        matches!(self.hub, Hub::Online(_))
    }

    /// The folder of the commit's files in the cache.
    pub(crate) fn snapshot(&self) -> PathBuf {
        self.cache.snapshot(&self.commit)
    }

    /// The path of `name` (a checked name); `None` if the commit has no such file, or if it is not in the cache and
    /// the hub is not asked.
    pub(crate) fn find(&self, name: &str) -> Result<Option<PathBuf>, HubError> {
        let refresh = self.must_refresh(name);
        if !refresh && let Some(path) = self.cache.file(&self.commit, name) {
            self.cache.remember(&self.revision, &self.commit);
            return Ok(Some(path));
        }
        let Hub::Online(remote) = &self.hub else {
            return Ok(None);
        };
        if !refresh && self.cache.is_absent(&self.commit, name) {
            return Ok(None);
        }
        let listed = self
            .list()?
            .binary_search_by(|known| known.as_str().cmp(name))
            .is_ok();
        let path = if listed {
            remote.fetch(
                &self.commit,
                name,
                &self.cache,
                refresh,
                self.progress.as_deref(),
                self.cancel.as_ref(),
            )?
        } else {
            None
        };
        self.cache.remember(&self.revision, &self.commit);
        if path.is_none() {
            self.cache.mark_absent(&self.commit, name);
        } else if let Some(mut refreshed) = self.refreshed() {
            refreshed.insert(name.to_owned());
        }
        Ok(path)
    }

    /// The names of all files of the commit, sorted; offline, of those in the cache.
    pub(crate) fn list(&self) -> Result<&[String], HubError> {
        if let Some(names) = self.listing.get() {
            return Ok(names);
        }
        let names = match &self.hub {
            Hub::Online(remote) => remote.list(&self.commit)?,
            Hub::Offline(_) => folder::list(&self.cache.snapshot(&self.commit))?,
        };
        Ok(self.listing.get_or_init(|| names))
    }

    /// The error for a file that [`find`](Self::find) does not give.
    pub(crate) fn missing(&self, name: &str) -> HubError {
        match &self.hub {
            Hub::Offline(offline) if !self.cache.is_absent(&self.commit, name) => {
                HubError::NotCached {
                    what: format!("`{name}` of `{}` at commit {}", self.id, self.commit),
                    cache: self.cache_dir.clone(),
                    offline: offline.clone(),
                }
            }
            _ => HubError::MissingFile {
                origin: format!("`{}` at commit {}", self.id, self.commit),
                file: name.to_owned(),
            },
        }
    }

    fn must_refresh(&self, name: &str) -> bool {
        self.refreshed()
            .is_some_and(|refreshed| !refreshed.contains(name))
    }

    fn refreshed(&self) -> Option<MutexGuard<'_, HashSet<String>>> {
        Some(
            self.refreshed
                .as_ref()?
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

/// The commit of `revision`, and whether the hub is to be asked for files.
fn ask(
    remote: Remote,
    revision: &str,
    cache: &RepoCache,
    force: bool,
) -> Result<(Hub, String), HubError> {
    if is_commit(revision) {
        return Ok((Hub::Online(Box::new(remote)), revision.to_owned()));
    }
    match remote.commit(revision) {
        Ok(commit) => Ok((Hub::Online(Box::new(remote)), commit)),
        // The hub knows the repository and says no: what the cache has is of the past.
        Err(error @ HubError::RevisionNotFound { .. }) => Err(error),
        Err(error) => match cache.commit_of(revision).filter(|_| !force) {
            Some(commit) => Ok((Hub::Offline(Offline::Failed(error.to_string())), commit)),
            None => Err(error),
        },
    }
}
