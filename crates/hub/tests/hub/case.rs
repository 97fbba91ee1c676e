//! What every case has: a hub and a cache of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use transformers_hub::{HubOptions, ModelFiles};

use crate::server::{Hub, REPO, etag};

/// The commits.
pub const FIRST: &str = "1111111111111111111111111111111111111111";
pub const SECOND: &str = "2222222222222222222222222222222222222222";
/// A small file.
pub const CONFIG: &[u8] = br#"{"model_type": "llama"}"#;

/// The requests of a first download.
pub const ASK: &str = "GET /api/models/org/name/revision/main";
pub const LIST: &str =
    "GET /api/models/org/name/tree/1111111111111111111111111111111111111111?recursive=true";
/// Where small files are; `resolve` redirects there.
pub const BODY: &str = "GET /api/resolve-cache/models";
pub const DESCRIPTION: &str = "HEAD /api/resolve-cache/models";

/// Bytes of a large file.
pub fn weights() -> Vec<u8> {
    (0..300_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

pub struct Case {
    pub hub: Hub,
    pub cache: TempDir,
}

impl Case {
    /// A hub whose `main` is the commit [`FIRST`] with a small, an empty and a large file.
    pub fn new() -> Self {
        let hub = Hub::start();
        hub.commit(
            FIRST,
            &[
                ("config.json", CONFIG),
                ("empty.txt", b""),
                ("model.safetensors", &weights()),
            ],
        );
        Self {
            hub,
            cache: TempDir::new().unwrap(),
        }
    }

    pub fn options(&self) -> HubOptions {
        HubOptions {
            endpoint: Some(self.hub.endpoint.clone()),
            cache_dir: Some(self.cache.path().into()),
            timeout: Some(Duration::from_secs(5)),
            ..Default::default()
        }
    }

    pub fn offline(&self) -> HubOptions {
        HubOptions {
            local_files_only: true,
            ..self.options()
        }
    }

    pub fn files(&self) -> ModelFiles {
        ModelFiles::resolve(REPO, &self.options()).unwrap()
    }

    pub fn repo(&self) -> PathBuf {
        self.cache.path().join("models--org--name")
    }

    pub fn blob(&self, bytes: &[u8]) -> PathBuf {
        self.repo().join("blobs").join(etag(bytes))
    }

    pub fn partial(&self, bytes: &[u8]) -> PathBuf {
        PathBuf::from(format!(
            "{}.resumable.incomplete",
            self.blob(bytes).display()
        ))
    }

    pub fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.repo().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// What `huggingface_hub` leaves after a download of these files at [`FIRST`].
    pub fn python_cache(&self, files: &[(&str, &[u8])]) {
        self.write("refs/main", FIRST.as_bytes());
        for (name, bytes) in files {
            self.write(&format!("blobs/{}", etag(bytes)), bytes);
            let link = self.repo().join("snapshots").join(FIRST).join(name);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            let up = "../".repeat(2 + name.matches('/').count());
            symlink(format!("{up}blobs/{}", etag(bytes)).as_ref(), &link);
        }
    }

    pub fn log(&self) -> Vec<String> {
        self.hub.log()
    }

    /// No temporary file is left anywhere in the cache.
    pub fn is_tidy(&self) -> bool {
        fn walk(folder: &Path) -> bool {
            fs::read_dir(folder)
                .into_iter()
                .flatten()
                .map(Result::unwrap)
                .all(|entry| {
                    let name = entry.file_name().into_string().unwrap();
                    let ends = [".tmp", ".incomplete"]
                        .iter()
                        .any(|end| name.ends_with(end));
                    !ends && (!entry.file_type().unwrap().is_dir() || walk(&entry.path()))
                })
        }
        walk(self.cache.path())
    }
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) {
    std::os::unix::fs::symlink(target, link).unwrap();
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) {
    fs::copy(link.parent().unwrap().join(target), link).unwrap();
}
