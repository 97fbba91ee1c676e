//! The rules of ARCHITECTURE.md that a program can check.
//!
//! Each check reads a [`Project`] and gives complaints, so that its tests can hand it a made-up one. What the compiler or
//! clippy can check is in the workspace's lints instead.

mod layers;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::Value;

use crate::Result;
use crate::project::{metadata, output, root};

/// What the checks look at.
pub struct Project {
    /// Files that are tracked, or would be by `git add`.
    files: Vec<SourceFile>,
    crates: Vec<Crate>,
}

/// A file, its path relative to the root with `/` between folders.
pub struct SourceFile {
    path: String,
    bytes: u64,
    /// Empty for a file that is not text.
    text: String,
}

/// A package of the workspace.
pub struct Crate {
    name: String,
    /// Its folder, relative to the root.
    folder: String,
    description: Option<String>,
    /// Names of everything it depends on, in tests and examples too.
    dependencies: Vec<String>,
    /// Paths of `lib.rs`, `main.rs` and the like.
    roots: Vec<String>,
}

/// One complaint, beginning with the place it is about.
type Complaint = String;

pub fn run() -> Result<ExitCode> {
    let project = read()?;
    let complaints = check(&project);
    for complaint in &complaints {
        println!("{complaint}");
    }
    println!(
        "tidy: {} files, {} crates, {} complaints",
        project.files.len(),
        project.crates.len(),
        complaints.len()
    );
    Ok(if complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn check(project: &Project) -> Vec<Complaint> {
    [layers::check(project), sources::check(project)].concat()
}

fn read() -> Result<Project> {
    let list = output(Command::new("git").current_dir(root()).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let paths = list
        .split_terminator('\0')
        .map(|path| (path, root().join(path)));
    // A file that is deleted but not yet committed is still listed.
    let files = paths
        .filter(|(_, file)| file.is_file())
        .map(|(path, file)| read_file(path, &file));
    let packages = metadata()?["packages"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    Ok(Project {
        files: files.collect::<Result<_>>()?,
        crates: packages.iter().map(read_crate).collect::<Result<_>>()?,
    })
}

fn read_file(path: &str, file: &Path) -> Result<SourceFile> {
    let content = fs::read(file)?;
    Ok(SourceFile {
        path: path.to_owned(),
        bytes: content.len() as u64,
        text: String::from_utf8(content).unwrap_or_default(),
    })
}

fn read_crate(package: &Value) -> Result<Crate> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let relative = |value: &Value| {
        let path = PathBuf::from(value.as_str()?);
        Some(
            path.strip_prefix(root())
                .ok()?
                .to_string_lossy()
                .replace('\\', "/"),
        )
    };
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let is_root = |target: &Value| {
        let kinds = array(&target["kind"]);
        kinds
            .iter()
            .any(|kind| ["lib", "proc-macro", "bin"].iter().any(|k| kind == k))
    };
    let targets = array(&package["targets"]);
    let roots = targets.iter().filter(|target| is_root(target));
    let manifest =
        relative(&package["manifest_path"]).ok_or("a package lies outside the repository")?;
    Ok(Crate {
        name: text(&package["name"]).ok_or("a package has no name")?,
        folder: manifest.trim_end_matches("/Cargo.toml").to_owned(),
        description: text(&package["description"]),
        dependencies: array(&package["dependencies"])
            .iter()
            .filter_map(|d| text(&d["name"]))
            .collect(),
        roots: roots
            .filter_map(|target| relative(&target["src_path"]))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn this_repository_is_tidy() {
        let complaints = check(&read().unwrap());
        assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    }
}
