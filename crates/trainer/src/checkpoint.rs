//! Checkpoints: folders `checkpoint-<step>` that are there whole or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Result, TrainerError};

/// The reference's name.
pub(crate) const TRAINER_STATE: &str = "trainer_state.json";
pub(crate) const OPTIMIZER: &str = "optimizer.safetensors";
pub(crate) const SCHEDULER: &str = "scheduler.json";
pub(crate) const RNG_STATE: &str = "rng_state.json";
pub(crate) const ARGUMENTS: &str = "training_args.json";
/// What a checkpoint has beside the model.
pub(crate) const STATE: [&str; 4] = [TRAINER_STATE, OPTIMIZER, SCHEDULER, RNG_STATE];
const PREFIX: &str = "checkpoint-";
const UNFINISHED: &str = "tmp-checkpoint-";

/// The folder of a step.
pub(crate) fn folder(output_dir: &Path, step: u64) -> PathBuf {
    output_dir.join(format!("{PREFIX}{step}"))
}

/// The checkpoints of a folder, the oldest step first.
pub(crate) fn list(output_dir: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(output_dir).into_iter().flatten().flatten();
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let step = name.to_str()?.strip_prefix(PREFIX)?.parse().ok()?;
            entry.path().is_dir().then(|| (step, entry.path()))
        })
        .collect();
    found.sort();
    found
}

/// The newest checkpoint of a folder (`get_last_checkpoint`).
pub fn last_checkpoint(output_dir: &Path) -> Option<PathBuf> {
    list(output_dir).pop().map(|(_, path)| path)
}

/// Makes the checkpoint of a step: `write` fills a folder under another name, which gets its own when all of it is on the
/// disk.
pub(crate) fn write(
    output_dir: &Path,
    step: u64,
    write: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    fs::create_dir_all(output_dir).map_err(TrainerError::io("creating", output_dir))?;
    clean(output_dir);
    let unfinished = output_dir.join(format!("{UNFINISHED}{step}"));
    let finished = folder(output_dir, step);
    let made = fs::create_dir(&unfinished)
        .map_err(TrainerError::io("creating", &unfinished))
        .and_then(|()| write(&unfinished))
        .and_then(|()| sync(&unfinished))
        .and_then(|()| replace(&unfinished, &finished, output_dir));
    if made.is_err() {
        drop(fs::remove_dir_all(&unfinished));
    }
    made.map(|()| finished)
}

/// What a process that was killed while it saved has left.
fn clean(output_dir: &Path) {
    for entry in fs::read_dir(output_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name
            .to_str()
            .is_some_and(|name| name.starts_with(UNFINISHED))
        {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

fn replace(unfinished: &Path, finished: &Path, output_dir: &Path) -> Result<()> {
    if finished.exists() {
        // That of an earlier training: it goes only when the new one is ready.
        let old = unfinished.with_extension("old");
        fs::rename(finished, &old).map_err(TrainerError::io("moving", finished))?;
        fs::rename(unfinished, finished).map_err(TrainerError::io("naming", finished))?;
        drop(fs::remove_dir_all(old));
    } else {
        fs::rename(unfinished, finished).map_err(TrainerError::io("naming", finished))?;
    }
    sync_one(output_dir)
}

fn sync(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(TrainerError::io("reading", folder))?;
    for entry in entries {
        let path = entry.map_err(TrainerError::io("reading", folder))?.path();
        match path.is_dir() {
            true => sync(&path)?,
            false => sync_one(&path)?,
        }
    }
    sync_one(folder)
}

fn sync_one(path: &Path) -> Result<()> {
    // Folders cannot be opened everywhere; where they can, their entries are on the disk after this.
    match File::open(path) {
        Ok(file) => file.sync_all().map_err(TrainerError::io("syncing", path)),
        Err(_) if path.is_dir() => Ok(()),
        Err(source) => Err(TrainerError::io("opening", path)(source)),
    }
}

/// Whether this is the name of a checkpoint, or of what will be or was one.
pub(crate) fn is_one(name: &str) -> bool {
    name.starts_with(PREFIX) || name.starts_with(UNFINISHED)
}

/// Deletes the oldest checkpoints above `limit`, but never the newest one or those of `keep`.
pub(crate) fn rotate(output_dir: &Path, limit: Option<i64>, keep: &[&Path]) {
    let Some(limit) = limit.filter(|limit| *limit > 0) else {
        return;
    };
    let found = list(output_dir);
    let newest = found.last().map(|(_, path)| path.clone());
    let kept = |path: &Path| Some(path) == newest.as_deref() || keep.contains(&path);
    let spare = found.len().saturating_sub(limit as usize);
    let old = found.iter().filter(|(_, path)| !kept(path)).take(spare);
    for (_, path) in old {
        // Out of the way at once: half a checkpoint must not look like one.
        let gone = output_dir.join(format!("{UNFINISHED}old"));
        drop(fs::remove_dir_all(&gone));
        match fs::rename(path, &gone).and_then(|()| fs::remove_dir_all(&gone)) {
            Ok(()) => {}
            Err(error) => log::warn!("{}: it cannot be deleted: {error}", path.display()),
        }
    }
}

/// Writes a value as JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let invalid = |error: serde_json::Error| TrainerError::InvalidFile {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let mut text = serde_json::to_string_pretty(value).map_err(invalid)?;
    text.push('\n');
    fs::write(path, text).map_err(TrainerError::io("writing", path))
}

/// Reads a value from JSON.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(TrainerError::io("reading", path))?;
    serde_json::from_str(&text).map_err(|error| TrainerError::InvalidFile {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
