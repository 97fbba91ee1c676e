//! Names and replies that are up to no good.

use std::fs;

use transformers_hub::{HubError, HubOptions, ModelFiles};

use crate::case::{BODY, CONFIG, Case, DESCRIPTION, FIRST, SECOND};
use crate::server::{Fault, REPO};

cases![
    names_that_leave_the_folder,
    replies_that_leave_the_folder,
    replies_that_contradict_themselves,
];

fn names_that_leave_the_folder() {
    let case = Case::new();
    fs::write(case.cache.path().join("secret"), "x").unwrap();
    let files = case.files();
    case.log();
    for name in [
        "../secret",
        "../../../secret",
        "/etc/passwd",
        "a/../../secret",
        "",
        ".",
        "..\\secret",
        "C:\\x",
    ] {
        assert!(
            matches!(files.find(name), Err(HubError::UnsafeName { .. })),
            "{name}"
        );
        assert!(
            matches!(files.require(name), Err(HubError::UnsafeName { .. })),
            "{name}"
        );
    }
    for source in [
        "org/name@../x",
        "org/name@/x",
        "org/name:../../x.gguf",
        "org/name:/x.gguf",
    ] {
        let error = ModelFiles::resolve(source, &case.options()).unwrap_err();
        assert!(
            matches!(error, HubError::UnsafeName { .. }),
            "{source}: {error}"
        );
    }
    for repo in ["or g/name", "org--x/name", "na..me", ""] {
        let error = ModelFiles::resolve(repo, &case.options()).unwrap_err();
        assert!(matches!(error, HubError::InvalidRepo(_)), "{repo}: {error}");
    }
    let options = HubOptions {
        subfolder: Some("../x".into()),
        ..case.options()
    };
    assert!(matches!(
        ModelFiles::resolve(REPO, &options),
        Err(HubError::UnsafeName { .. })
    ));
    assert_eq!(case.log(), Vec::<String>::new());
}

fn replies_that_leave_the_folder() {
    // File names.
    let case = Case::new();
    case.hub.commit(
        FIRST,
        &[
            ("config.json", CONFIG),
            ("../../../evil", b"x"),
            ("/evil", b"x"),
        ],
    );
    assert_eq!(case.files().list().unwrap(), ["config.json"]);
    // The commit.
    for commit in ["../../evil", "main", ""] {
        let case = Case::new();
        case.hub.commit(commit, &[("config.json", CONFIG)]);
        let error = ModelFiles::resolve(REPO, &case.options()).unwrap_err();
        assert!(
            matches!(error, HubError::BadReply { .. }),
            "{commit}: {error}"
        );
    }
    // The etag.
    for value in ["\"../../evil\"", "\"..\"", "\"\"", "a/b"] {
        let case = Case::new();
        case.hub.fault(DESCRIPTION, 1, Fault::Header("etag", value));
        let error = case.files().require("config.json").unwrap_err();
        assert!(
            matches!(error, HubError::BadReply { .. }),
            "{value}: {error}"
        );
        assert!(!case.cache.path().join("evil").exists() && !case.repo().join("blobs").exists());
    }
}

fn replies_that_contradict_themselves() {
    let check = |request: &str, fault: Fault, says: &str| {
        let case = Case::new();
        case.hub.fault(request, usize::MAX, fault);
        let error = case.files().require("config.json").unwrap_err();
        assert!(
            matches!(error, HubError::BadReply { .. }) && error.to_string().contains(says),
            "{error}"
        );
        assert!(!case.blob(CONFIG).exists() && case.is_tidy());
    };
    check(
        DESCRIPTION,
        Fault::Header("x-repo-commit", SECOND),
        "commit",
    );
    check(DESCRIPTION, Fault::Header("content-length", "many"), "size");
    check(
        BODY,
        Fault::Body(b"far more bytes than those that the hub announced"),
        "beyond",
    );
    check(
        "/tree/",
        Fault::Body(b"<html>Sign in to the hotel's network</html>"),
        "",
    );

    let case = Case::new();
    case.hub.fault(BODY, usize::MAX, Fault::Body(b"too few"));
    let error = case.files().require("config.json").unwrap_err();
    assert!(matches!(error, HubError::Network { .. }), "{error}");
    assert!(!case.blob(CONFIG).exists());
}
