//! Names of models in requests.

use transformers_hub::ModelSource;

use crate::{Result, ServerError};

/// The hub's model of this name: `org/name`, `org/name@revision` or `org/name:file.gguf`.
///
/// A name in a request never means a path, not even one that is there: what it names is checked letter by letter here,
/// and once more where it becomes a place in the cache.
pub fn source_of(name: &str) -> Result<ModelSource> {
    let unknown = || {
        let shown: String = name.chars().take(100).collect();
        ServerError::UnknownModel(format!(
            "there is no model `{shown}`: a name is `org/name`, `org/name@revision` or `org/name:file.gguf`; GET \
             /v1/models lists those that are here"
        ))
    };
    let (left, file) = match name.split_once(':') {
        Some((left, file)) => (left, Some(file)),
        None => (name, None),
    };
    let (repo, revision) = match left.split_once('@') {
        Some((repo, revision)) => (repo, Some(revision.to_owned())),
        None => (left, None),
    };
    let plain = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !part.is_empty() && part.bytes().all(allowed) && !part.starts_with('.')
    };
    let inside = |path: &str| path.split('/').all(plain);
    let is_repo = repo.len() <= 96 && repo.split('/').count() <= 2 && inside(repo);
    let is_file = file.is_none_or(|file| inside(file) && file.to_lowercase().ends_with(".gguf"));
    if !is_repo || !is_file || !revision.as_deref().is_none_or(inside) {
        return Err(unknown());
    }
    let repo = repo.to_owned();
    Ok(match file {
        None => ModelSource::Hub { repo, revision },
        Some(file) => ModelSource::HubFile {
            repo,
            revision,
            file: file.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_never_paths() {
        for name in [
            "gpt2",
            "org/name",
            "org/name@refs/pr/3",
            "org/name@v1:sub/a.Q4_0.gguf",
        ] {
            assert!(source_of(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "/etc/passwd",
            "../x",
            "./x",
            "~/x",
            "a/b/c",
            "a/../b",
            "a\\b",
            "C:\\x",
            "org/name@../x",
            "org/name:../a.gguf",
            "org/name:/a.gguf",
            "org/name:config.json",
            "a b",
            "a\0b",
            "http://x/y",
        ] {
            assert!(source_of(name).is_err(), "{name:?}");
        }
    }
}
