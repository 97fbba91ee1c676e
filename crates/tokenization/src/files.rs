//! Reading and writing files, whole or not at all.

use std::io::Write as _;
use std::path::Path;

use crate::{Result, TokenizationError};

/// The content of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| io_error("reading", path, source))
}

/// The content of a text file.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|source| io_error("reading", path, source))
}

/// Makes a folder, if need be.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|source| io_error("making", path, source))
}

/// Writes a file, which appears whole or not at all.
pub(crate) fn write(folder: &Path, name: &str, content: &[u8]) -> Result<()> {
    let path = folder.join(name);
    let whole = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(content)?;
        file.persist(&path)?;
        Ok(())
    };
    whole().map_err(|source| io_error("writing", &path, source))
}

fn io_error(operation: &'static str, path: &Path, source: std::io::Error) -> TokenizationError {
    TokenizationError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}
