//! Which names may become paths. File names, revisions, commits and etags come from users and from the network, and
//! each of them is joined to a folder of ours.

use crate::HubError;

/// Checks that `name` is a relative path of plain parts, so that joined to a folder it stays inside.
pub(crate) fn check_relative(what: &'static str, name: &str) -> Result<(), HubError> {
    if is_relative(name) {
        Ok(())
    } else {
        Err(HubError::UnsafeName {
            what,
            name: name.to_owned(),
        })
    }
}

/// Whether `name` is a relative path of plain parts separated by `/`.
pub(crate) fn is_relative(name: &str) -> bool {
    name.split('/').all(is_plain)
}

/// Whether `part` is one component of a path on every system: no separator, no drive, no `.` or `..`.
fn is_plain(part: &str) -> bool {
    !matches!(part, "" | "." | "..") && !part.contains(['\\', ':', '\0'])
}

/// Whether `revision` is a full commit hash, which names the same files forever.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40
        && revision
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(feature = "http")]
/// Whether `etag` can be the name of a blob.
pub(crate) fn is_blob_name(etag: &str) -> bool {
    is_plain(etag) && !etag.contains('/') && etag.len() <= 200
}

/// Whether `repo` can be a repository id: `name` or `org/name`, under the hub's rules.
pub(crate) fn is_repo_id(repo: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            && !part.starts_with(['-', '.'])
            && !part.ends_with(['-', '.'])
    };
    repo.len() <= 96
        && repo.split('/').count() <= 2
        && repo.split('/').all(plain)
        && !repo.contains("--")
        && !repo.contains("..")
        && !repo.ends_with(".git")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_names() {
        for name in [
            "config.json",
            "1_Pooling/config.json",
            "a/b/c",
            "...",
            "model (1).safetensors",
        ] {
            assert!(is_relative(name), "{name}");
        }
        for name in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a//b",
            "a/",
            "./a",
            "a\\..\\b",
            "C:x",
            "a\0b",
        ] {
            assert!(!is_relative(name), "{name:?}");
        }
    }

    #[test]
    fn repository_ids() {
        for repo in [
            "gpt2",
            "org/name",
            "HuggingFaceTB/SmolLM2-135M-Instruct",
            "a.b/c_d-e.f",
        ] {
            assert!(is_repo_id(repo), "{repo}");
        }
        for repo in [
            "",
            "/",
            "org/",
            "/name",
            "a/b/c",
            "a b",
            "a--b",
            "a..b",
            ".a",
            "a-",
            "name.git",
            "org/na:me",
        ] {
            assert!(!is_repo_id(repo), "{repo:?}");
        }
        assert!(is_repo_id(&"a".repeat(96)) && !is_repo_id(&"a".repeat(97)));
    }

    #[test]
    fn commits() {
        assert!(is_commit("0123456789abcdef0123456789abcdef01234567"));
        for revision in [
            "main",
            "0123",
            "0123456789ABCDEF0123456789abcdef01234567",
            &"g".repeat(40),
        ] {
            assert!(!is_commit(revision), "{revision}");
        }
    }

    #[cfg(feature = "http")]
    #[test]
    fn blob_names() {
        assert!(is_blob_name("d7edf6bd2a681fb0175f7735299831ee1b22b812"));
        for etag in ["", "..", "../../x", "a/b", "a\\b", &"a".repeat(201)] {
            assert!(!is_blob_name(etag), "{etag:?}");
        }
    }
}
