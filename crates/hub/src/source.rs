//! What a user types to name a model, and what is meant by it.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::embedded::EMBEDDED;
use crate::names::is_repo_id;

/// Where a model comes from.
///
/// Text is understood as the command line has it:
///
/// | Text | Source |
/// |---|---|
/// | an existing folder, `./x`, `../x`, `/x`, `~/x`, `a/b/c` | [`Folder`](Self::Folder) |
/// | `x.gguf` | [`File`](Self::File) |
/// | `name`, `org/name`, `org/name@revision` | [`Hub`](Self::Hub) |
/// | `embedded` | [`Embedded`](Self::Embedded) |
/// | `org/name:file.gguf`, `org/name@revision:file.gguf` | [`HubFile`](Self::HubFile) |
///
/// Nothing is checked here: what does not exist is an error of [`ModelFiles::resolve`](crate::ModelFiles::resolve).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ModelSource {
    /// The small model that is part of the library.
    Embedded,
    /// A folder in Hugging Face layout (`config.json`, weights, tokenizer).
    Folder(PathBuf),
    /// A local GGUF file.
    File(PathBuf),
    /// A repository on the hub.
    Hub {
        /// `org/name`, or `name` for a few old ones.
        repo: String,
        /// Branch, tag or commit.
        revision: Option<String>,
    },
    /// One GGUF file of a repository on the hub.
    HubFile {
        /// `org/name`, or `name` for a few old ones.
        repo: String,
        /// Branch, tag or commit.
        revision: Option<String>,
        /// The file's path in the repository.
        file: String,
    },
}

impl From<&str> for ModelSource {
    fn from(text: &str) -> Self {
        let path = Path::new(text);
        if path.is_dir() {
            return Self::Folder(path.to_path_buf());
        }
        if text == EMBEDDED {
            return Self::Embedded;
        }
        if is_gguf(path) {
            return match hub_file(text) {
                Some(source) if !path.exists() => source,
                _ => Self::File(path.to_path_buf()),
            };
        }
        let (repo, revision) = split_revision(text);
        if looks_like_a_path(repo) {
            return Self::Folder(path.to_path_buf());
        }
        Self::Hub {
            repo: repo.to_owned(),
            revision,
        }
    }
}

impl From<String> for ModelSource {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&String> for ModelSource {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

/// A path is a path, never a hub id.
impl From<&Path> for ModelSource {
    fn from(path: &Path) -> Self {
        path.to_path_buf().into()
    }
}

/// A path is a path, never a hub id.
impl From<PathBuf> for ModelSource {
    fn from(path: PathBuf) -> Self {
        if is_gguf(&path) && !path.is_dir() {
            Self::File(path)
        } else {
            Self::Folder(path)
        }
    }
}

/// A path is a path, never a hub id.
impl From<&PathBuf> for ModelSource {
    fn from(path: &PathBuf) -> Self {
        path.clone().into()
    }
}

impl From<&ModelSource> for ModelSource {
    fn from(source: &ModelSource) -> Self {
        source.clone()
    }
}

/// As the user would type it.
impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (repo, revision, file) = match self {
            Self::Embedded => return f.write_str(EMBEDDED),
            Self::Folder(path) | Self::File(path) => return path.display().fmt(f),
            Self::Hub { repo, revision } => (repo, revision, None),
            Self::HubFile {
                repo,
                revision,
                file,
            } => (repo, revision, Some(file)),
        };
        f.write_str(repo)?;
        revision
            .iter()
            .try_for_each(|revision| write!(f, "@{revision}"))?;
        file.iter().try_for_each(|file| write!(f, ":{file}"))
    }
}

/// Whether the name says that this is a GGUF file.
pub(crate) fn is_gguf(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

fn hub_file(text: &str) -> Option<ModelSource> {
    let (left, file) = text.split_once(':')?;
    let (repo, revision) = split_revision(left);
    // A single letter is a drive, not a repository.
    (repo.len() > 1 && is_repo_id(repo)).then(|| ModelSource::HubFile {
        repo: repo.to_owned(),
        revision,
        file: file.to_owned(),
    })
}

fn split_revision(text: &str) -> (&str, Option<String>) {
    match text.split_once('@') {
        Some((repo, revision)) if !revision.is_empty() => (repo, Some(revision.to_owned())),
        _ => (text, None),
    }
}

fn looks_like_a_path(text: &str) -> bool {
    text.starts_with(['/', '.', '~']) || text.contains('\\') || text.matches('/').count() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: ModelSource) {
        let source = ModelSource::from(text);
        assert_eq!(source, expect, "{text}");
        assert_eq!(source.to_string(), text);
    }

    fn hub(repo: &str, revision: Option<&str>) -> ModelSource {
        ModelSource::Hub {
            repo: repo.into(),
            revision: revision.map(str::to_owned),
        }
    }

    fn hub_file(repo: &str, revision: Option<&str>, file: &str) -> ModelSource {
        ModelSource::HubFile {
            repo: repo.into(),
            revision: revision.map(str::to_owned),
            file: file.into(),
        }
    }

    #[test]
    fn text() {
        check("embedded", ModelSource::Embedded);
        check("embedded@main", hub("embedded", Some("main")));
        check("gpt2", hub("gpt2", None));
        check("org/name", hub("org/name", None));
        check("org/name@main", hub("org/name", Some("main")));
        check("org/name@refs/pr/3", hub("org/name", Some("refs/pr/3")));
        check("org/name:a.gguf", hub_file("org/name", None, "a.gguf"));
        check(
            "org/name:sub/a.Q4_0.GGUF",
            hub_file("org/name", None, "sub/a.Q4_0.GGUF"),
        );
        check(
            "org/name@v1:a.gguf",
            hub_file("org/name", Some("v1"), "a.gguf"),
        );
        for folder in [
            "/no/such/folder",
            "./no-such-folder",
            "../no-such-folder",
            "~/models",
            "a/b/c",
            "src",
            ".",
        ] {
            check(folder, ModelSource::Folder(folder.into()));
        }
        for file in [
            "a.gguf",
            "dir/a.gguf",
            "/abs/a.gguf",
            "C:a.gguf",
            "./odd:name.gguf",
        ] {
            check(file, ModelSource::File(file.into()));
        }
    }

    #[test]
    fn paths_are_never_hub_ids() {
        assert_eq!(
            ModelSource::from(Path::new("org/name")),
            ModelSource::Folder("org/name".into())
        );
        assert_eq!(
            ModelSource::from(PathBuf::from("a.gguf")),
            ModelSource::File("a.gguf".into())
        );
    }
}
