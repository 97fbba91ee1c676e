//! Plain text: lines, or whole documents in a folder for each class.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::{Examples, invalid, open, until_error};
use crate::data::Example;
use crate::{Result, TrainerError};

/// An example for each line.
pub fn read(path: &Path) -> Result<Examples> {
    let lines = BufReader::new(open(path)?).lines();
    let path = path.to_owned();
    Ok(until_error(lines.map(move |line| {
        let line = line.map_err(TrainerError::io("reading", &path))?;
        Ok(Example::new().with("text", line))
    })))
}

/// The documents of a folder that has a folder for each class: `text`, and the class's number as `label`. Classes and
/// documents are in the order of their names, and the names of the classes come with them.
///
/// # Errors
/// A folder or a document that cannot be read, is no UTF-8, or no folder at all.
pub fn read_text_folder(folder: impl AsRef<Path>) -> Result<(Vec<Example>, Vec<String>)> {
    let folder = folder.as_ref();
    let (mut examples, mut classes) = (Vec::new(), Vec::new());
    for class in sorted(folder)?.into_iter().filter(|path| path.is_dir()) {
        let Some(name) = class.file_name().and_then(|name| name.to_str()) else {
            return Err(invalid(&class, "the name of a class is no UTF-8"));
        };
        if name.starts_with('.') {
            continue;
        }
        let label = classes.len() as i64;
        classes.push(name.to_owned());
        for path in sorted(&class)?.into_iter().filter(|path| path.is_file()) {
            let text = fs::read_to_string(&path).map_err(TrainerError::io("reading", &path))?;
            examples.push(Example::new().with("text", text).with("label", label));
        }
    }
    match classes.is_empty() {
        true => Err(invalid(folder, "it has no folder for a class")),
        false => Ok((examples, classes)),
    }
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = TrainerError::io("reading", folder);
    let entries = fs::read_dir(folder).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
    });
    let mut paths = entries.map_err(failed)?;
    paths.sort();
    Ok(paths)
}
