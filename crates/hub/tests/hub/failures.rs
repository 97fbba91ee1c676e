//! The hub refuses, fails, is silent, is not there, or is not asked.

use std::fs;
use std::time::{Duration, Instant};

use transformers_hub::{HubError, HubOptions, ModelFiles, Offline};

use crate::case::{BODY, CONFIG, Case, FIRST};
use crate::server::{Fault, REPO};

cases![
    refusals,
    refused_files,
    passing_failures_are_tried_again,
    lasting_failures_are_errors,
    silence_ends,
    no_network,
    offline,
    the_cache_stands_in,
];

/// Checks the error that `fault`, laid on requests for `request`, makes of `act`, and what its message says.
fn check_refusal(
    request: &str,
    fault: Fault,
    act: impl Fn(&HubOptions) -> Result<(), HubError>,
    kind: fn(&HubError) -> bool,
    says: &[&str],
) {
    let case = Case::new();
    case.hub.fault(request, 100, fault);
    let error = act(&case.options()).unwrap_err();
    let text = error.to_string();
    assert!(kind(&error), "{error:?}");
    says.iter()
        .for_each(|part| assert!(text.contains(part), "`{part}` is not in: {text}"));
    assert!(
        !case.repo().join("snapshots").exists() && !case.blob(CONFIG).exists() && case.is_tidy()
    );
}

fn refusals() {
    let check = |fault, kind, says: &[&str]| {
        check_refusal(
            "/revision/",
            fault,
            |options| ModelFiles::resolve(REPO, options).map(drop),
            kind,
            says,
        );
    };
    let status = Fault::Status;
    check(
        status(401, ""),
        |e| {
            matches!(
                e,
                HubError::Unauthorized {
                    token_sent: false,
                    ..
                }
            )
        },
        &[REPO, "set HF_TOKEN"],
    );
    check(
        status(401, "GatedRepo"),
        |e| matches!(e, HubError::Gated { .. }),
        &[REPO, "accept its terms", "HF_TOKEN"],
    );
    check(
        status(403, "GatedRepo"),
        |e| matches!(e, HubError::Gated { .. }),
        &[REPO, "because of GatedRepo"],
    );
    check(
        status(403, ""),
        |e| matches!(e, HubError::Forbidden { .. }),
        &[REPO, "HF_TOKEN"],
    );
    check(
        status(404, "RepoNotFound"),
        |e| matches!(e, HubError::RepoNotFound { .. }),
        &[REPO, "spelling"],
    );
    check(
        status(401, "RepoNotFound"),
        |e| matches!(e, HubError::RepoNotFound { .. }),
        &[REPO, "private"],
    );

    let case = Case::new();
    let error = ModelFiles::resolve("org/name@nowhere", &case.options()).unwrap_err();
    assert!(
        matches!(&error, HubError::RevisionNotFound { revision, .. } if revision == "nowhere"),
        "{error}"
    );
    let error = ModelFiles::resolve("other/name", &case.options()).unwrap_err();
    assert!(
        matches!(&error, HubError::RepoNotFound { repo, .. } if repo == "other/name"),
        "{error}"
    );
    let options = HubOptions {
        token: Some("wrong".into()),
        ..case.options()
    };
    case.hub.fault("/revision/", 1, Fault::Status(401, ""));
    let error = ModelFiles::resolve(REPO, &options).unwrap_err();
    assert!(
        error.to_string().contains("the token was refused"),
        "{error}"
    );
    assert!(!error.to_string().contains("wrong"));
}

fn refused_files() {
    let check = |request: &str, fault, kind, says: &[&str]| {
        let act = |options: &HubOptions| {
            ModelFiles::resolve(REPO, options)?
                .require("config.json")
                .map(drop)
        };
        check_refusal(request, fault, act, kind, says);
    };
    check(
        "/tree/",
        Fault::Status(403, "GatedRepo"),
        |e| matches!(e, HubError::Gated { .. }),
        &[REPO],
    );
    check(
        "HEAD ",
        Fault::Status(401, "GatedRepo"),
        |e| matches!(e, HubError::Gated { .. }),
        &[REPO],
    );
    check(
        "HEAD ",
        Fault::Status(401, ""),
        |e| matches!(e, HubError::Unauthorized { .. }),
        &[REPO],
    );
    check(
        BODY,
        Fault::Status(403, ""),
        |e| matches!(e, HubError::Forbidden { .. }),
        &[REPO],
    );

    let case = Case::new();
    let error = case.files().require("no.json").unwrap_err();
    assert!(matches!(error, HubError::MissingFile { .. }), "{error}");
    for part in [REPO, FIRST, "no.json"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    case.hub
        .fault("HEAD ", 1, Fault::Status(404, "EntryNotFound"));
    assert_eq!(
        case.files().find("config.json").unwrap(),
        None,
        "listed, but gone"
    );
}

fn passing_failures_are_tried_again() {
    for (request, status) in [
        ("/revision/", 500),
        ("/tree/", 502),
        ("HEAD ", 503),
        (BODY, 504),
        ("HEAD ", 429),
    ] {
        let case = Case::new();
        case.hub.fault(request, 2, Fault::Status(status, ""));
        let path = case.files().require("config.json").unwrap();
        assert_eq!(fs::read(path).unwrap(), CONFIG, "{request} {status}");
    }
    let case = Case::new();
    case.hub.fault(BODY, 1, Fault::Stall(5));
    let options = HubOptions {
        timeout: Some(Duration::from_millis(300)),
        ..case.options()
    };
    let path = ModelFiles::resolve(REPO, &options)
        .unwrap()
        .require("config.json")
        .unwrap();
    assert_eq!(fs::read(path).unwrap(), CONFIG);
}

fn lasting_failures_are_errors() {
    for request in ["/revision/", "/tree/", "HEAD ", BODY] {
        let case = Case::new();
        case.hub.fault(request, usize::MAX, Fault::Status(500, ""));
        let files = ModelFiles::resolve(REPO, &case.options());
        let error = files
            .and_then(|files| files.require("config.json"))
            .unwrap_err();
        assert!(
            matches!(error, HubError::Server { status: 500, .. }),
            "{request}: {error}"
        );
        let tries = case
            .log()
            .iter()
            .filter(|line| line.contains(request))
            .count();
        assert_eq!(tries, 4, "{request}");
        assert!(!case.blob(CONFIG).exists());
    }
}

fn silence_ends() {
    let check = |request: &str, fault: Fault| {
        let case = Case::new();
        case.hub.fault(request, usize::MAX, fault);
        let options = HubOptions {
            timeout: Some(Duration::from_millis(100)),
            ..case.options()
        };
        let start = Instant::now();
        let files = ModelFiles::resolve(REPO, &options);
        let error = files
            .and_then(|files| files.require("config.json"))
            .unwrap_err();
        assert!(
            matches!(error, HubError::Network { .. }),
            "{request}: {error}"
        );
        assert!(start.elapsed() < Duration::from_secs(60));
    };
    check("/revision/", Fault::Silence);
    check("/tree/", Fault::Silence);
    check("HEAD ", Fault::Silence);
    check(BODY, Fault::Silence);
    check(BODY, Fault::Stall(3));
}

fn no_network() {
    let case = Case::new();
    // A port that was free a moment ago, so that nobody listens.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let options = HubOptions {
        endpoint: Some(format!("http://{closed}")),
        ..case.options()
    };
    let error = ModelFiles::resolve(REPO, &options).unwrap_err();
    assert!(matches!(error, HubError::Network { .. }), "{error}");
    assert!(error.to_string().contains("HF_ENDPOINT"), "{error}");

    case.python_cache(&[("config.json", CONFIG)]);
    let files = ModelFiles::resolve(REPO, &options).unwrap();
    assert_eq!(
        fs::read(files.require("config.json").unwrap()).unwrap(),
        CONFIG
    );
    let error = files.require("model.safetensors").unwrap_err();
    assert!(
        matches!(
            &error,
            HubError::NotCached {
                offline: Offline::Failed(_),
                ..
            }
        ),
        "{error}"
    );

    let options = HubOptions {
        endpoint: Some("not an address".into()),
        ..case.options()
    };
    let error = ModelFiles::resolve("other/name", &options).unwrap_err();
    assert!(matches!(error, HubError::BadReply { .. }), "{error}");
}

fn offline() {
    let case = Case::new();
    let error = ModelFiles::resolve(REPO, &case.offline()).unwrap_err();
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
    case.files().require("config.json").unwrap();
    case.log();
    let files = ModelFiles::resolve(REPO, &case.offline()).unwrap();
    assert_eq!(files.commit(), Some(FIRST));
    assert_eq!(
        fs::read(files.require("config.json").unwrap()).unwrap(),
        CONFIG
    );
    assert_eq!(files.find("model.safetensors").unwrap(), None);
    let error = files.require("model.safetensors").unwrap_err();
    assert!(error.to_string().contains("local_files_only"), "{error}");
    assert_eq!(files.list().unwrap(), ["config.json"]);
    assert_eq!(case.log(), Vec::<String>::new());
}

fn the_cache_stands_in() {
    for status in [401, 403, 500] {
        let case = Case::new();
        case.python_cache(&[("config.json", CONFIG)]);
        case.hub
            .fault("/revision/", usize::MAX, Fault::Status(status, ""));
        assert_eq!(
            fs::read(case.files().require("config.json").unwrap()).unwrap(),
            CONFIG,
            "{status}"
        );
        let force = HubOptions {
            force_download: true,
            ..case.options()
        };
        ModelFiles::resolve(REPO, &force).unwrap_err();
    }
    // But not where the hub knows better.
    let case = Case::new();
    case.python_cache(&[("config.json", CONFIG)]);
    case.hub
        .fault("/revision/", 1, Fault::Status(404, "RevisionNotFound"));
    let error = ModelFiles::resolve(REPO, &case.options()).unwrap_err();
    assert!(
        matches!(error, HubError::RevisionNotFound { .. }),
        "{error}"
    );
}
