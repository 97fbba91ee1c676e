//! Files stay where the model is, links included.

use std::path::Path;

use crate::HubError;

/// Refuses a `file` of the model in `folder` that is a link to somewhere else. The blobs of a hub's cache, to which the
/// files of its snapshots are links, belong to the model.
pub(crate) fn check(folder: &Path, file: &Path) -> Result<(), HubError> {
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let real = |path: &Path| path.canonicalize().map_err(HubError::io(path));
    let target = real(file)?;
    if target.starts_with(real(folder)?) {
        return Ok(());
    }
    let snapshots = folder.ancestors().find(|path| path.ends_with("snapshots"));
    let blobs = snapshots
        .and_then(Path::parent)
        .map(|repository| repository.join("blobs"));
    if let Some(blobs) = blobs.filter(|blobs| blobs.is_dir())
        && target.starts_with(real(&blobs)?)
    {
        return Ok(());
    }
    Err(HubError::Outside {
        path: file.to_owned(),
        target,
    })
}
