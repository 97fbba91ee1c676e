//! Getting the bytes of one blob into the cache: resumed where they were cut off, whole or not at all.
//!
//! A blob's etag is its identity, so two writers of one blob write the same bytes at the same places. The partial
//! file is written by position, never appended to or cut, and has its name until it is whole. The lock therefore
//! only keeps processes from fetching the same bytes twice: where it does not work (some network file systems) or
//! its holder is stuck, the blob that appears is right all the same.

use std::fs::{self, File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::StreamExt;

use crate::cache::{RepoCache, create_parent};
use crate::remote::{ByteStream, RETRIES, Remote, broken, pause};
use crate::{CancelToken, HubError, Progress};

/// After so many bytes a connection that breaks counts as a new misfortune, not as the next of a row.
const A_GOOD_DEAL: u64 = 1 << 20;

/// A file of a repository as the hub describes it.
pub(crate) struct RemoteFile {
    pub(crate) commit: String,
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) etag: String,
    /// In bytes.
    pub(crate) size: u64,
}

/// One file on its way into the cache.
pub(crate) struct Download<'a> {
    pub(crate) remote: &'a Remote,
    pub(crate) cache: &'a RepoCache,
    pub(crate) file: &'a RemoteFile,
    /// Download even what is there.
    pub(crate) force: bool,
    pub(crate) progress: Option<&'a dyn Progress>,
    pub(crate) cancel: Option<&'a CancelToken>,
}

impl Download<'_> {
    /// Returns when the blob is in the cache.
    pub(crate) async fn run(&self) -> Result<(), HubError> {
        let blob = self.cache.blob(&self.file.etag);
        if self.is_there(&blob) {
            return Ok(());
        }
        create_parent(&blob)?;
        let _lock = lock(
            &self.cache.lock(&self.file.etag),
            &blob,
            self.remote.timeout,
        );
        if self.is_there(&blob) {
            return Ok(());
        }
        // Not `<etag>.incomplete`: other clients leave files of that name which may have holes.
        let partial = PathBuf::from(format!("{}.resumable.incomplete", blob.display()));
        self.fill(&partial)
            .await
            .inspect_err(|error| discard_if_useless(&partial, error))?;
        match fs::rename(&partial, &blob) {
            // Another process was faster with the same bytes.
            Err(error) if error.kind() == io::ErrorKind::NotFound && blob.is_file() => {}
            done => done.map_err(HubError::io(&blob))?,
        }
        self.progress
            .inspect(|progress| progress.finish(&self.file.name));
        Ok(())
    }

    fn is_there(&self, blob: &Path) -> bool {
        !self.force && length(blob) == Some(self.file.size)
    }

    /// Writes what is missing of the partial file.
    async fn fill(&self, partial: &Path) -> Result<(), HubError> {
        let mut output = Output::open(partial, self.file.size, self.force)?;
        self.start(output.position);
        self.check_cancelled()?;
        let (mut failures, mut good) = (0, output.position);
        while output.position < self.file.size {
            let bytes = self.request(&mut output).await?;
            match self.copy(bytes, &mut output).await {
                Ok(()) => return Ok(()),
                Err(HubError::Network { .. }) if failures < RETRIES => {}
                Err(error) => return Err(error),
            }
            if output.position >= good.saturating_add(A_GOOD_DEAL) {
                (failures, good) = (0, output.position);
            }
            pause(failures).await;
            failures += 1;
        }
        Ok(())
    }

    /// Asks for the bytes from where the output stands, and sets it back to the beginning if they start there.
    async fn request(&self, output: &mut Output<'_>) -> Result<ByteStream, HubError> {
        let (announced, bytes) = self.remote.bytes(self.file, output.position).await?;
        if output.position == 0 || announced == Some(self.file.size - output.position) {
            return Ok(bytes);
        }
        // Not the rest that was asked for: the hub, or what stands before it, does not know ranges.
        output.seek(0)?;
        self.start(0);
        Ok(self.remote.bytes(self.file, 0).await?.1)
    }

    /// Copies the bytes of one connection, to the end of the file.
    async fn copy(&self, mut bytes: ByteStream, output: &mut Output<'_>) -> Result<(), HubError> {
        let RemoteFile { url, size, .. } = self.file;
        while let Some(piece) = bytes.next().await {
            let piece = piece.map_err(|error| broken(error, url))?;
            let count = piece.len() as u64;
            if count > size - output.position {
                let reason = format!("it goes on beyond the {size} bytes that it announced");
                return Err(HubError::BadReply {
                    url: url.clone(),
                    reason,
                });
            }
            output.write(&piece)?;
            self.advance(count);
            self.check_cancelled()?;
        }
        if output.position < *size {
            let reason = format!("it ended after {} of {size} bytes", output.position);
            return Err(HubError::Network {
                url: url.clone(),
                reason,
            });
        }
        Ok(())
    }

    fn check_cancelled(&self) -> Result<(), HubError> {
        match self.cancel.is_some_and(CancelToken::is_cancelled) {
            true => Err(HubError::Cancelled {
                file: self.file.name.clone(),
            }),
            false => Ok(()),
        }
    }

    fn start(&self, there: u64) {
        self.progress
            .inspect(|progress| progress.start(&self.file.name, Some(self.file.size)));
        if there > 0 {
            self.advance(there);
        }
    }

    fn advance(&self, count: u64) {
        self.progress
            .inspect(|progress| progress.advance(&self.file.name, count));
    }
}

/// Removes a partial file that has nothing to resume, or bytes that may not be the file's.
fn discard_if_useless(partial: &Path, error: &HubError) {
    if matches!(error, HubError::BadReply { .. }) || length(partial) == Some(0) {
        let _ = fs::remove_file(partial);
    }
}

/// A partial file and how far it is written.
struct Output<'a> {
    path: &'a Path,
    file: File,
    position: u64,
}

impl<'a> Output<'a> {
    /// Opens the partial file at its end, or at its beginning if `fresh`.
    fn open(path: &'a Path, size: u64, fresh: bool) -> Result<Self, HubError> {
        let there = length(path).unwrap_or(0);
        if there > size {
            fs::remove_file(path).map_err(HubError::io(path))?;
        }
        let file = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(path)
            .map_err(HubError::io(path))?;
        let mut output = Self {
            path,
            file,
            position: 0,
        };
        output.seek(if fresh || there > size { 0 } else { there })?;
        Ok(output)
    }

    fn seek(&mut self, position: u64) -> Result<(), HubError> {
        self.position = self
            .file
            .seek(SeekFrom::Start(position))
            .map_err(HubError::io(self.path))?;
        Ok(())
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), HubError> {
        self.file
            .write_all(piece)
            .map_err(HubError::io(self.path))?;
        self.position += piece.len() as u64;
        Ok(())
    }
}

/// Waits for the lock on a blob as long as its holder gets on. `None`: no lock is to be had.
fn lock(path: &Path, blob: &Path, patience: Duration) -> Option<File> {
    create_parent(path).ok()?;
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(path)
        .ok()?;
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        match file.try_lock() {
            Ok(()) => return Some(file),
            Err(TryLockError::Error(_)) => return None,
            Err(TryLockError::WouldBlock) => {}
        }
        let written = under_way(blob);
        if written != seen {
            (seen, since) = (written, Instant::now());
        } else if since.elapsed() > patience {
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The bytes in partial files of this blob, whoever writes them (Python's are `<etag>.<random>.incomplete`).
fn under_way(blob: &Path) -> u64 {
    let (Some(folder), Some(name)) = (
        blob.parent(),
        blob.file_name().and_then(|name| name.to_str()),
    ) else {
        return 0;
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let partial = entries.filter(|entry| {
        entry
            .file_name()
            .to_str()
            .is_some_and(|other| other.starts_with(name))
    });
    partial
        .filter_map(|entry| Some(entry.metadata().ok()?.len()))
        .sum()
}

fn length(path: &Path) -> Option<u64> {
    fs::metadata(path)
        .ok()
        .filter(fs::Metadata::is_file)
        .map(|metadata| metadata.len())
}
