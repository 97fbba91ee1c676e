//! Models go up: repositories and branches are made, files are committed, and what cannot be is an error.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use transformers_hub::{HubError, HubOptions, Offline, UploadContent, UploadFile, UploadRepo};

use crate::case::{CONFIG, Case, weights};
use crate::server::{Fault, REPO};

cases![
    a_folder_becomes_a_commit,
    a_name_without_an_owner,
    what_is_there_is_taken,
    a_branch_of_its_own,
    a_token_for_one_repository,
    nothing_without_a_token,
    nothing_offline,
    refusals_of_uploads,
    a_missing_file_is_named,
];

fn options(case: &Case) -> HubOptions {
    HubOptions {
        token: Some("hf_secret".into()),
        ..case.options()
    }
}

/// A folder with a small and a large file, and one that stays.
fn model() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("config.json"), CONFIG).unwrap();
    fs::write(folder.path().join("model.safetensors"), weights()).unwrap();
    fs::create_dir(folder.path().join("runs")).unwrap();
    fs::write(folder.path().join("runs/events"), b"x").unwrap();
    fs::write(folder.path().join("_private"), b"y").unwrap();
    folder
}

fn files(folder: &Path) -> Vec<UploadFile> {
    UploadFile::of_folder(folder, |name| !name.starts_with('_')).unwrap()
}

fn a_folder_becomes_a_commit() {
    let (case, model) = (Case::new(), model());
    let repo = UploadRepo::create(REPO, Some(true), None, &options(&case)).unwrap();
    assert_eq!(repo.url(), format!("{}/{REPO}", case.hub.endpoint));
    let made =
        r#"{"type": "model", "name": "name", "organization": "org", "private": true}"#.to_owned();
    assert_eq!(case.hub.made(), [made]);
    let commit = repo.commit("A first version", files(model.path())).unwrap();
    assert_eq!(commit.unwrap(), format!("{:040x}", 1));
    let commits = case.hub.commits();
    assert_eq!(commits.len(), 1);
    assert_eq!(commits[0].revision, "main");
    assert_eq!(commits[0].message, "A first version");
    let names: Vec<&str> = commits[0].files.keys().map(String::as_str).collect();
    assert_eq!(names, ["config.json", "model.safetensors", "runs/events"]);
    assert_eq!(commits[0].files["config.json"], CONFIG);
    assert_eq!(
        commits[0].files["model.safetensors"].len(),
        64,
        "a large file is named by its SHA-256"
    );
    let stored = case.hub.stored();
    let bytes = stored.iter().find(|(kind, _)| kind == "xorbs").unwrap().1;
    assert!(
        bytes > weights().len() / 8,
        "its bytes are in the storage: {stored:?}"
    );
    assert!(stored.iter().any(|(kind, _)| kind == "shards"));
}

fn a_name_without_an_owner() {
    let case = Case::new();
    let repo = UploadRepo::create("name", None, None, &options(&case)).unwrap();
    assert_eq!(repo.id(), REPO);
    let made = r#"{"type": "model", "name": "name", "organization": "org"}"#;
    assert_eq!(case.hub.made(), [made], "nothing is said of privacy");
}

fn what_is_there_is_taken() {
    let case = Case::new();
    UploadRepo::create(REPO, None, None, &options(&case)).unwrap();
    UploadRepo::create(REPO, None, None, &options(&case)).unwrap();
    assert_eq!(case.hub.made().len(), 1);
}

fn a_branch_of_its_own() {
    let (case, model) = (Case::new(), model());
    for _ in 0..2 {
        let repo = UploadRepo::create(REPO, None, Some("v2"), &options(&case)).unwrap();
        repo.commit("x", files(model.path())).unwrap();
    }
    assert_eq!(case.hub.made()[1], "v2");
    assert!(
        case.hub
            .commits()
            .iter()
            .all(|commit| commit.revision == "v2")
    );
}

fn a_token_for_one_repository() {
    let case = Case::new();
    case.hub.fault("repos/create", 1, Fault::Status(403, ""));
    UploadRepo::create(REPO, None, None, &options(&case)).unwrap();
    case.hub.fault("repos/create", 1, Fault::Status(403, ""));
    let error = UploadRepo::create("other/name", None, None, &options(&case)).unwrap_err();
    assert!(matches!(error, HubError::Forbidden { .. }), "{error}");
    assert!(error.to_string().contains("write access"), "{error}");
}

fn nothing_without_a_token() {
    let case = Case::new();
    let error = UploadRepo::create(REPO, None, None, &case.options()).unwrap_err();
    let unsent = matches!(
        error,
        HubError::Unauthorized {
            token_sent: false,
            ..
        }
    );
    assert!(unsent, "{error}");
    assert!(case.log().is_empty());
}

fn nothing_offline() {
    let case = Case::new();
    let offline = HubOptions {
        local_files_only: true,
        ..options(&case)
    };
    let error = UploadRepo::create(REPO, None, None, &offline).unwrap_err();
    assert!(
        matches!(
            &error,
            HubError::UploadOffline {
                offline: Offline::LocalFilesOnly,
                ..
            }
        ),
        "{error}"
    );
    assert!(case.log().is_empty());
}

fn refusals_of_uploads() {
    let (case, model) = (Case::new(), model());
    let repo = UploadRepo::create(REPO, None, None, &options(&case)).unwrap();
    let commit = || repo.commit("x", files(model.path())).unwrap_err();
    case.hub.fault("/commit/main", 1, Fault::Status(403, ""));
    assert!(matches!(commit(), HubError::Forbidden { .. }));
    case.hub.fault("/commit/main", 1, Fault::Status(412, ""));
    assert!(matches!(commit(), HubError::Server { status: 412, .. }));
    case.hub.fault("/preupload/", 1, Fault::Status(401, ""));
    assert!(matches!(
        commit(),
        HubError::Unauthorized {
            token_sent: true,
            ..
        }
    ));
    case.hub.fault("xet-write-token", 1, Fault::Body(b"{}"));
    assert!(matches!(commit(), HubError::BadReply { .. }));
    assert!(case.hub.commits().is_empty());
    for id in ["", "a/b/c", "-x"] {
        let error = UploadRepo::create(id, None, None, &options(&case)).unwrap_err();
        assert!(matches!(error, HubError::InvalidRepo(_)), "{error}");
    }
    let error = UploadRepo::create(REPO, None, Some("../x"), &options(&case)).unwrap_err();
    assert!(matches!(error, HubError::UnsafeName { .. }), "{error}");
}

fn a_missing_file_is_named() {
    let case = Case::new();
    let repo = UploadRepo::create(REPO, None, None, &options(&case)).unwrap();
    let gone = UploadFile {
        name: "gone".into(),
        content: UploadContent::Path(case.cache.path().join("gone")),
    };
    let error = repo.commit("x", vec![gone]).unwrap_err();
    assert!(
        matches!(&error, HubError::Io { path, .. } if path.ends_with("gone")),
        "{error}"
    );
}
