//! Listing a folder on disk by the names that its files have in a repository.

use std::fs;
use std::path::Path;

use crate::HubError;

/// The files under `root`, as relative names with `/`, sorted. Hidden folders (`.git`, `.cache`) are left out, and
/// links to folders are not followed, so that the walk ends.
pub(crate) fn list(root: &Path) -> Result<Vec<String>, HubError> {
    let mut names = Vec::new();
    walk(root, "", &mut names)?;
    names.sort();
    Ok(names)
}

fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<(), HubError> {
    for entry in fs::read_dir(folder).map_err(HubError::io(folder))? {
        let entry = entry.map_err(HubError::io(folder))?;
        let (path, name) = (entry.path(), entry.file_name());
        // A name that is not text cannot be asked for.
        let Some(name) = name.to_str() else { continue };
        if entry.file_type().map_err(HubError::io(&path))?.is_dir() {
            if !name.starts_with('.') {
                walk(&path, &format!("{prefix}{name}/"), names)?;
            }
        } else if path.is_file() {
            names.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}
