//! Folders, GGUF files and the cache, without a hub.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use transformers_hub::{HubError, HubOptions, ModelFiles, ModelSource, Offline};

const COMMIT: &str = "1111111111111111111111111111111111111111";

/// A folder with these files, each holding its own name.
fn folder(files: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    folder
}

fn open(path: &Path) -> ModelFiles {
    ModelFiles::resolve(path, &HubOptions::default()).unwrap()
}

fn content(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_folder() {
    let folder = folder(&[
        "config.json",
        "sub/config.json",
        "sub/more/x.json",
        ".git/config",
        ".gitattributes",
    ]);
    let files = open(folder.path());
    assert_eq!(
        content(files.require("config.json").unwrap()),
        "config.json"
    );
    assert_eq!(
        content(files.require("sub/more/x.json").unwrap()),
        "sub/more/x.json"
    );
    assert_eq!(files.find("sub").unwrap(), None, "a folder is no file");
    assert_eq!(
        files.list().unwrap(),
        [
            ".gitattributes",
            "config.json",
            "sub/config.json",
            "sub/more/x.json"
        ]
    );
    assert_eq!(files.commit(), None);
    assert_eq!(files.source(), &ModelSource::Folder(folder.path().into()));
    let error = files.require("model.safetensors").unwrap_err();
    assert!(matches!(error, HubError::MissingFile { .. }), "{error}");
    for part in [folder.path().to_str().unwrap(), "model.safetensors"] {
        assert!(error.to_string().contains(part), "{error}");
    }

    let options = HubOptions {
        subfolder: Some("sub".into()),
        ..Default::default()
    };
    let files = ModelFiles::resolve(folder.path(), &options).unwrap();
    assert_eq!(
        content(files.require("config.json").unwrap()),
        "sub/config.json"
    );
    assert_eq!(files.list().unwrap(), ["config.json", "more/x.json"]);
}

#[test]
fn names_that_leave_the_folder() {
    let folder = folder(&["model/config.json", "secret"]);
    let files = open(&folder.path().join("model"));
    for name in [
        "../secret",
        "/etc/passwd",
        "x/../../secret",
        "",
        ".",
        "..",
        "..\\secret",
    ] {
        assert!(
            matches!(files.find(name), Err(HubError::UnsafeName { .. })),
            "{name}"
        );
    }
    let options = HubOptions {
        subfolder: Some("..".into()),
        ..Default::default()
    };
    let error = ModelFiles::resolve(folder.path().join("model"), &options).unwrap_err();
    assert!(
        matches!(
            error,
            HubError::UnsafeName {
                what: "subfolder",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn what_is_not_there() {
    let folder = folder(&["config.json"]);
    let resolve = |name: &str| {
        ModelFiles::resolve(folder.path().join(name), &HubOptions::default()).unwrap_err()
    };
    assert!(matches!(resolve("none"), HubError::NoFolder(_)));
    assert!(matches!(resolve("config.json"), HubError::NoFolder(_)));
    assert!(matches!(resolve("none.gguf"), HubError::NoFile(_)));
    assert!(resolve("none").to_string().contains("none"));
}

#[test]
fn gguf() {
    let check = |files: &[&str], expect: Option<&str>| {
        let folder = folder(files);
        let found = open(folder.path()).gguf().unwrap();
        assert_eq!(found.map(content).as_deref(), expect, "{files:?}");
    };
    check(&["a.gguf", "tokenizer.json", "old/b.gguf"], Some("a.gguf"));
    check(&["a.gguf", "config.json"], None);
    check(&["old/b.gguf"], None);
    let several = folder(&["a.gguf", "b.GGUF"]);
    let error = open(several.path()).gguf().unwrap_err();
    assert!(error.to_string().contains("a.gguf, b.GGUF"), "{error}");

    let folder = folder(&["a.gguf", "b.gguf", "config.json"]);
    let files = open(&folder.path().join("b.gguf"));
    assert_eq!(content(files.gguf().unwrap().unwrap()), "b.gguf");
    assert_eq!(files.list().unwrap(), ["b.gguf"]);
    assert_eq!(
        files.find("config.json").unwrap(),
        None,
        "a GGUF file is whole in itself"
    );
    assert_eq!(content(files.require("b.gguf").unwrap()), "b.gguf");
}

#[cfg(unix)]
#[test]
fn links() {
    use std::os::unix::fs::symlink;
    let folder = folder(&["model/config.json", "elsewhere/weights"]);
    let model = folder.path().join("model");
    symlink("../elsewhere/weights", model.join("model.safetensors")).unwrap();
    symlink("nowhere", model.join("dangling")).unwrap();
    symlink(".", model.join("loop")).unwrap();
    symlink("config.json", model.join("inside.json")).unwrap();
    let files = open(&model);
    assert_eq!(
        content(files.require("inside.json").unwrap()),
        "model/config.json"
    );
    let error = files.find("model.safetensors").unwrap_err();
    assert!(matches!(error, HubError::Outside { .. }), "{error}");
    assert_eq!(files.find("dangling").unwrap(), None);
    let names = ["config.json", "inside.json", "model.safetensors"];
    assert_eq!(files.list().unwrap(), names);
    let options = HubOptions {
        follow_symlinks: true,
        ..HubOptions::default()
    };
    let files = ModelFiles::resolve(model.as_path(), &options).unwrap();
    assert_eq!(
        content(files.require("model.safetensors").unwrap()),
        "elsewhere/weights"
    );
}

/// A cache as Python leaves it, read without a hub. Builds without the feature `http` do the same.
#[test]
fn the_cache() {
    let cache = TempDir::new().unwrap();
    let repo = cache.path().join("models--org--name");
    let snapshot = repo.join("snapshots").join(COMMIT);
    fs::create_dir_all(snapshot.join("sub")).unwrap();
    fs::create_dir_all(repo.join("refs/pr")).unwrap();
    fs::write(repo.join("refs/main"), COMMIT).unwrap();
    fs::write(repo.join("refs/pr/1"), COMMIT).unwrap();
    fs::write(repo.join("refs/gone"), COMMIT.replace('1', "2")).unwrap();
    fs::write(repo.join("refs/odd"), "../../..").unwrap();
    fs::write(snapshot.join("config.json"), "config").unwrap();
    fs::write(snapshot.join("sub/x.json"), "x").unwrap();
    let absent = repo.join(".no_exist").join(COMMIT);
    fs::create_dir_all(&absent).unwrap();
    fs::write(absent.join("chat_template.jinja"), "").unwrap();

    let options = HubOptions {
        cache_dir: Some(cache.path().into()),
        local_files_only: true,
        ..Default::default()
    };
    for source in [
        "org/name",
        "org/name@main",
        "org/name@pr/1",
        &format!("org/name@{COMMIT}"),
    ] {
        let files = ModelFiles::resolve(source, &options).unwrap();
        assert_eq!(files.commit(), Some(COMMIT), "{source}");
        assert_eq!(files.list().unwrap(), ["config.json", "sub/x.json"]);
        assert_eq!(content(files.require("config.json").unwrap()), "config");
        assert_eq!(files.find("model.safetensors").unwrap(), None);
        let error = files.require("model.safetensors").unwrap_err();
        assert!(
            matches!(
                error,
                HubError::NotCached {
                    offline: Offline::LocalFilesOnly,
                    ..
                }
            ),
            "{error}"
        );
        let error = files.require("chat_template.jinja").unwrap_err();
        assert!(
            matches!(error, HubError::MissingFile { .. }),
            "known to be absent: {error}"
        );
    }
    for source in ["org/other", "org/name@v2", "org/name@gone", "org/name@odd"] {
        let error = ModelFiles::resolve(source, &options).unwrap_err();
        assert!(
            matches!(error, HubError::NotCached { .. }),
            "{source}: {error}"
        );
        assert!(
            error.to_string().contains(cache.path().to_str().unwrap()),
            "{error}"
        );
    }
    let options = HubOptions {
        revision: Some("v2".into()),
        ..options
    };
    ModelFiles::resolve("org/name", &options).unwrap_err();
    ModelFiles::resolve("org/name@main", &options).unwrap();
}

/// Without the feature `http` the cache is all there is, and the error says so.
#[cfg(not(feature = "http"))]
#[test]
fn without_http() {
    let cache = TempDir::new().unwrap();
    let options = HubOptions {
        cache_dir: Some(cache.path().into()),
        ..Default::default()
    };
    let error = ModelFiles::resolve("org/name", &options).unwrap_err();
    assert!(error.to_string().contains("feature `http`"), "{error}");
}
