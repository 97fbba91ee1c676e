//! The bytes of a checkpoint file, memory-mapped or read on demand.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;

use crate::tensor::owned_bytes;
use crate::{Result, WeightsError};

/// A file opened for reading ranges of it.
#[derive(Debug)]
pub(crate) struct FileBytes {
    path: PathBuf,
    len: usize,
    access: Access,
}

#[derive(Debug)]
enum Access {
    /// Ranges share the map.
    Mapped(Bytes),
    /// Ranges are read into memory of their own.
    Read(Mutex<File>),
}

impl FileBytes {
    /// Opens the file; `mmap` maps it, which takes no memory and no time until pages are touched.
    pub(crate) fn open(path: &Path, mmap: bool) -> Result<Self> {
        let io = |operation| move |source| WeightsError::io(operation, path, source);
        let file = File::open(path).map_err(io("opening"))?;
        let len = file.metadata().map_err(io("opening"))?.len();
        let len = usize::try_from(len)
            .map_err(|_| io("opening")(std::io::Error::other("larger than the address space")))?;
        let access = match mmap {
            true => Access::Mapped(map(&file).map_err(io("memory-mapping"))?),
            false => Access::Read(Mutex::new(file)),
        };
        Ok(Self {
            path: path.to_owned(),
            len,
            access,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.access, Access::Mapped(_))
    }

    /// The length of the file in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The bytes in `range`, which the caller has checked to lie within the file.
    pub(crate) fn slice(&self, range: Range<usize>) -> Result<Bytes> {
        match &self.access {
            Access::Mapped(map) => Ok(map.slice(range)),
            Access::Read(file) => self.read(file, range),
        }
    }

    fn read(&self, file: &Mutex<File>, range: Range<usize>) -> Result<Bytes> {
        // Whole words, so that the elements of a tensor are aligned.
        let mut words = vec![0_u64; range.len().div_ceil(size_of::<u64>())];
        let target = &mut bytemuck::cast_slice_mut(&mut words)[..range.len()];
        let mut file = file
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(range.start as u64))
            .and_then(|_| file.read_exact(target))
            .map_err(|source| WeightsError::io("reading", &self.path, source))?;
        Ok(owned_bytes(words).slice(..range.len()))
    }
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
