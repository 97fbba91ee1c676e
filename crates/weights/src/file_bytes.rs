//! The bytes of a checkpoint file, memory-mapped or read on demand.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::tensor::owned_bytes;
use crate::{Result, WeightsError};

/// A file opened for reading ranges of it. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct FileBytes(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    path: PathBuf,
    len: usize,
    file: File,
    /// Ranges share it; without one, they are read into memory of their own.
    map: Option<Bytes>,
}

/// A part of a file that is still to be read.
#[derive(Clone, Debug)]
pub(crate) struct FileRange {
    file: FileBytes,
    range: Range<usize>,
}

impl FileBytes {
    /// Opens the file; `mmap` maps it, which takes no memory and no time until pages are touched.
    pub(crate) fn open(path: &Path, mmap: bool) -> Result<Self> {
        let io = |operation| move |source| WeightsError::io(operation, path, source);
        let file = File::open(path).map_err(io("opening"))?;
        let len = file.metadata().map_err(io("opening"))?.len();
        let len = usize::try_from(len)
            .map_err(|_| io("opening")(std::io::Error::other("larger than the address space")))?;
        let map = match mmap {
            true => Some(map(&file).map_err(io("memory-mapping"))?),
            false => None,
        };
        Ok(Self(Arc::new(Opened {
            path: path.to_owned(),
            len,
            file,
            map,
        })))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    pub(crate) fn is_mapped(&self) -> bool {
        self.0.map.is_some()
    }

    /// The length of the file in bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.len
    }

    /// The bytes in `range`, which the caller has checked to lie within the file.
    pub(crate) fn slice(&self, range: Range<usize>) -> Result<Bytes> {
        if let Some(map) = &self.0.map {
            return Ok(map.slice(range));
        }
        // Whole words, so that the elements of a tensor are aligned.
        let mut words = vec![0_u64; range.len().div_ceil(size_of::<u64>())];
        let target = &mut bytemuck::cast_slice_mut(&mut words)[..range.len()];
        self.read(range.start, target)?;
        Ok(owned_bytes(words).slice(..range.len()))
    }

    /// The bytes in `range`, to be read later.
    pub(crate) fn later(&self, range: Range<usize>) -> FileRange {
        FileRange {
            file: self.clone(),
            range,
        }
    }

    fn read(&self, start: usize, target: &mut [u8]) -> Result<()> {
        read_exact_at(&self.0.file, target, start as u64)
            .map_err(|source| WeightsError::io("reading", self.path(), source))
    }
}

impl FileRange {
    /// The bytes: a part of the map, or read.
    pub(crate) fn bytes(&self) -> Result<Bytes> {
        self.file.slice(self.range.clone())
    }

    /// Reads the bytes from `start` of the range on, past the map: pages that are read once need not become this process's.
    pub(crate) fn read(&self, start: usize, target: &mut [u8]) -> Result<()> {
        self.file.read(self.range.start + start, target)
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, target: &mut [u8], start: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, target, start)
}

#[cfg(not(unix))]
fn read_exact_at(file: &File, target: &mut [u8], start: u64) -> std::io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    use std::sync::{Mutex, PoisonError};

    // The position belongs to the file, which threads share.
    static POSITION: Mutex<()> = Mutex::new(());
    let _alone = POSITION.lock().unwrap_or_else(PoisonError::into_inner);
    let mut file = file;
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(target)
}

#[allow(unsafe_code)]
fn map(file: &File) -> std::io::Result<Bytes> {
    // SAFETY: the map is private to this process's address space and read-only, and `Bytes` keeps it alive for as long as
    // a slice of it exists. What no program can rule out is that another one changes or truncates the file meanwhile:
    // weights are replaced by renaming a new file over the old one (as the Hub's cache and our own saving do), which
    // leaves the mapped one as it was; who rewrites files in place loads with `mmap: false`.
    let map = unsafe { memmap2::Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}
