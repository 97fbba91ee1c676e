//! Reading and writing files, whole or not at all.

use std::fs;
use std::path::Path;

use crate::{Result, TokenizationError};

/// The content of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| io_error("reading", path, source))
}

/// The content of a text file.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|source| io_error("reading", path, source))
}

/// Makes a folder, if need be.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| io_error("making", path, source))
}

/// Writes a file, which appears whole or not at all.
pub(crate) fn write(folder: &Path, name: &str, content: &[u8]) -> Result<()> {
    let path = folder.join(name);
    let whole = || {
        // In a folder of its own the file gets the permissions of any other; a temporary file is its owner's alone.
        let temporary = tempfile::Builder::new()
            .prefix(".saving-")
            .tempdir_in(folder)?;
        let file = temporary.path().join("whole");
        fs::write(&file, content)?;
        fs::rename(&file, &path)
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
