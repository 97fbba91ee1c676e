//! Whether the disk has room for the checkpoints of a training.

use std::path::Path;

use crate::{Result, TrainerError};

/// Bytes that this process may still write to the file system of a folder; `None` where the system does not tell.
#[cfg(unix)]
pub(crate) fn free(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    // A file system that counts no blocks has no end that it knows of.
    (disk.f_blocks > 0).then(|| disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
pub(crate) fn free(_: &Path) -> Option<u64> {
    None
}

/// What a training is going to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes of a checkpoint.
    pub checkpoint: u64,
    /// Checkpoints more than there are now, when there are most.
    pub count: u64,
}

impl Room {
    /// What to warn of, where `free` bytes are not enough for all checkpoints.
    ///
    /// # Errors
    /// [`TrainerError::DiskFull`]: not even one fits.
    pub fn check(self, free: u64, folder: &Path) -> Result<Option<String>> {
        let Self { checkpoint, count } = self;
        if free < checkpoint {
            return Err(TrainerError::DiskFull {
                path: folder.to_owned(),
                checkpoint: mb(checkpoint),
                free: mb(free),
            });
        }
        let fits = free / checkpoint.max(1);
        Ok((fits < count).then(|| {
            format!(
                "{}: there is room for {fits} checkpoints of about {} MB, and {count} are going to be there: free some of the \
                 disk, or lower `save_total_limit`",
                folder.display(),
                mb(checkpoint)
            )
        }))
    }
}

/// Megabytes, rounded up.
fn mb(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn room_is_counted_in_checkpoints() {
        let check = |checkpoint, count, free| {
            let room = Room { checkpoint, count };
            room.check(free, Path::new("out"))
                .map_err(|error| error.to_string())
        };
        assert_eq!(check(100, 3, 300).unwrap(), None);
        let warning = check(100, 3, 299).unwrap().unwrap();
        assert!(
            warning.contains("room for 2 checkpoints of about 1 MB, and 3"),
            "{warning}"
        );
        let error = check(3_000_000, 1, 2_000_001).unwrap_err();
        assert!(
            error.contains("out: a checkpoint takes about 3 MB, and 3 MB are free"),
            "{error}"
        );
        assert_eq!(check(7, 1, 7).unwrap(), None);
    }

    #[cfg(unix)]
    #[test]
    fn the_disk_tells_what_is_free() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free(folder.path()).unwrap() > 0);
        assert_eq!(free(&folder.path().join("nowhere")), None);
    }
}
