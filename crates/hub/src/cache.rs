//! The hub's cache on disk, in the layout that `huggingface_hub` reads and writes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::names::is_commit;
use crate::{HubError, RepoType};

/// The part of the cache that belongs to one repository.
pub(crate) struct RepoCache {
    folder: PathBuf,
    #[cfg_attr(
        not(feature = "http"),
        expect(dead_code, reason = "only downloads lock")
    )]
    locks: PathBuf,
}

impl RepoCache {
    /// The cache of `repo` (a checked id) in the cache folder `root`. Creates nothing.
    pub(crate) fn new(root: &Path, repo: &str, repo_type: RepoType) -> Self {
        let name = format!("{}--{}", repo_type.plural(), repo.replace('/', "--"));
        Self {
            locks: root.join(".locks").join(&name),
            folder: root.join(name),
        }
    }

    /// The commit that `revision` named when it was last asked for, if a snapshot of it is here.
    pub(crate) fn commit_of(&self, revision: &str) -> Option<String> {
        let commit = if is_commit(revision) {
            revision.to_owned()
        } else {
            fs::read_to_string(self.reference(revision))
                .ok()?
                .trim()
                .to_owned()
        };
        (is_commit(&commit) && self.snapshot(&commit).is_dir()).then_some(commit)
    }

    /// The folder that shows the repository as of `commit`, as far as it was downloaded.
    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The path of `name` as of `commit`, if the file is here and whole.
    pub(crate) fn file(&self, commit: &str, name: &str) -> Option<PathBuf> {
        Some(self.snapshot(commit).join(name)).filter(|path| path.is_file())
    }

    /// Whether `commit` is known to have no file `name`.
    pub(crate) fn is_absent(&self, commit: &str, name: &str) -> bool {
        self.absence(commit, name).exists()
    }

    /// Notes that `commit` has no file `name`. Best effort: it only saves a request.
    pub(crate) fn mark_absent(&self, commit: &str, name: &str) {
        let path = self.absence(commit, name);
        if !path.exists() {
            let _ = create_parent(&path)
                .and_then(|()| fs::write(&path, b"").map_err(HubError::io(&path)));
        }
    }

    /// Notes that `revision` names `commit`. Best effort: the cache may be read-only.
    pub(crate) fn remember(&self, revision: &str, commit: &str) {
        let path = self.reference(revision);
        if revision == commit || fs::read_to_string(&path).is_ok_and(|known| known == commit) {
            return;
        }
        let _ = create_parent(&path).and_then(|()| {
            replace(&path, |temporary| fs::write(temporary, commit)).map_err(HubError::io(&path))
        });
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }

    fn absence(&self, commit: &str, name: &str) -> PathBuf {
        self.folder.join(".no_exist").join(commit).join(name)
    }
}

#[cfg(feature = "http")]
impl RepoCache {
    /// Where the bytes with this etag are kept.
    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// The file that is locked while the bytes with this etag are downloaded.
    pub(crate) fn lock(&self, etag: &str) -> PathBuf {
        self.locks.join(format!("{etag}.lock"))
    }

    /// Makes the blob `etag` appear as `name` in the snapshot of `commit`: a relative link, or a copy where the
    /// system has no links.
    pub(crate) fn link(&self, commit: &str, name: &str, etag: &str) -> Result<PathBuf, HubError> {
        let path = self.snapshot(commit).join(name);
        create_parent(&path)?;
        let up = "../".repeat(name.split('/').count() + 1);
        let target = PathBuf::from(format!("{up}blobs/{etag}"));
        if fs::read_link(&path).is_ok_and(|current| current == target) {
            return Ok(path);
        }
        replace(&path, |temporary| symlink(&target, temporary))
            .or_else(|_| {
                replace(&path, |temporary| {
                    fs::copy(self.blob(etag), temporary).map(drop)
                })
            })
            .map_err(HubError::io(&path))?;
        Ok(path)
    }
}

#[cfg(all(feature = "http", unix))]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(all(feature = "http", windows))]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(all(feature = "http", not(any(unix, windows))))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Creates the folder that `path` lies in.
pub(crate) fn create_parent(path: &Path) -> Result<(), HubError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(HubError::io(parent))
}

/// Lets `make` create something under a temporary name beside `path`, then renames it, so that whoever looks at
/// `path` sees the old or the new, whole.
pub(crate) fn replace(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let unique = format!(
        ".{}-{}.tmp",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(unique);
    let temporary = path.with_file_name(name);
    make(&temporary)
        .and_then(|()| fs::rename(&temporary, path))
        .inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
}
