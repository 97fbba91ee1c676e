//! The cases. Each has a hub and a cache of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use transformers_hub::{HubError, HubOptions, ModelFiles, Offline, Progress};

use crate::server::{Fault, Hub, REPO, etag};

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// Every case by its name.
        pub const ALL: &[(&str, fn())] = &[$((stringify!($name), $name)),*];
    };
}

cases![
    downloads_into_pythons_layout,
    uses_a_cache_that_python_wrote,
    fetches_only_what_changed,
    one_commit_for_all_files,
    a_commit_hash_costs_no_question,
    resumes_within_a_download,
    resumes_what_an_earlier_process_left,
    starts_again_where_ranges_are_not_known,
    waits_for_another_download,
    does_not_wait_for_a_stuck_one,
    force_download,
    refusals,
    refused_files,
    passing_failures_are_tried_again,
    lasting_failures_are_errors,
    silence_ends,
    no_network,
    offline,
    the_cache_stands_in,
    names_that_leave_the_folder,
    replies_that_leave_the_folder,
    replies_that_contradict_themselves,
    gguf_of_a_repository,
    subfolder,
    token_stays_with_the_hub,
    progress_adds_up,
    inside_an_async_runtime,
];

const FIRST: &str = "1111111111111111111111111111111111111111";
const SECOND: &str = "2222222222222222222222222222222222222222";
const CONFIG: &[u8] = br#"{"model_type": "llama"}"#;

/// Bytes of a large file.
fn weights() -> Vec<u8> {
    (0..300_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

struct Case {
    hub: Hub,
    cache: TempDir,
}

impl Case {
    /// A hub whose `main` is the commit [`FIRST`] with a small, an empty and a large file.
    fn new() -> Self {
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

    fn options(&self) -> HubOptions {
        HubOptions {
            endpoint: Some(self.hub.endpoint.clone()),
            cache_dir: Some(self.cache.path().into()),
            timeout: Some(Duration::from_secs(5)),
            ..Default::default()
        }
    }

    fn offline(&self) -> HubOptions {
        HubOptions {
            local_files_only: true,
            ..self.options()
        }
    }

    fn files(&self) -> ModelFiles {
        ModelFiles::resolve(REPO, &self.options()).unwrap()
    }

    fn repo(&self) -> PathBuf {
        self.cache.path().join("models--org--name")
    }

    fn blob(&self, bytes: &[u8]) -> PathBuf {
        self.repo().join("blobs").join(etag(bytes))
    }

    fn partial(&self, bytes: &[u8]) -> PathBuf {
        PathBuf::from(format!(
            "{}.resumable.incomplete",
            self.blob(bytes).display()
        ))
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.repo().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// What `huggingface_hub` leaves after a download of these files at [`FIRST`].
    fn python_cache(&self, files: &[(&str, &[u8])]) {
        self.write("refs/main", FIRST.as_bytes());
        for (name, bytes) in files {
            self.write(&format!("blobs/{}", etag(bytes)), bytes);
            let link = self.repo().join("snapshots").join(FIRST).join(name);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            let up = "../".repeat(2 + name.matches('/').count());
            symlink(format!("{up}blobs/{}", etag(bytes)).as_ref(), &link);
        }
    }

    fn log(&self) -> Vec<String> {
        self.hub.log()
    }

    /// No temporary file is left anywhere in the cache.
    fn is_tidy(&self) -> bool {
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

const ASK: &str = "GET /api/models/org/name/revision/main";
const LIST: &str =
    "GET /api/models/org/name/tree/1111111111111111111111111111111111111111?recursive=true";
/// Where small files are; `resolve` redirects there.
const BODY: &str = "GET /api/resolve-cache/models";
const DESCRIPTION: &str = "HEAD /api/resolve-cache/models";

fn downloads_into_pythons_layout() {
    let case = Case::new();
    let files = case.files();
    assert_eq!(files.commit(), Some(FIRST));
    assert_eq!(files.source().to_string(), REPO);
    assert_eq!(
        case.log(),
        [ASK],
        "nothing is fetched before it is asked for"
    );

    let config = files.require("config.json").unwrap();
    assert_eq!(fs::read(&config).unwrap(), CONFIG);
    assert_eq!(
        config,
        case.repo()
            .join("snapshots")
            .join(FIRST)
            .join("config.json")
    );
    let model = files.require("model.safetensors").unwrap();
    assert_eq!(fs::read(&model).unwrap(), weights());
    if cfg!(unix) {
        for (link, bytes) in [(&config, CONFIG), (&model, &weights())] {
            assert_eq!(
                fs::read_link(link).unwrap(),
                Path::new("../../blobs").join(etag(bytes))
            );
        }
    }
    assert_eq!(fs::read(case.blob(&weights())).unwrap(), weights());
    assert_eq!(
        fs::read_to_string(case.repo().join("refs/main")).unwrap(),
        FIRST
    );
    assert_eq!(files.find("chat_template.jinja").unwrap(), None);
    assert!(
        case.repo()
            .join(".no_exist")
            .join(FIRST)
            .join("chat_template.jinja")
            .is_file()
    );
    assert_eq!(
        files.list().unwrap(),
        ["config.json", "empty.txt", "model.safetensors"]
    );
    assert_eq!(fs::read(files.require("empty.txt").unwrap()).unwrap(), b"");
    assert!(case.is_tidy());
    let log = case.log();
    assert_eq!(
        log.iter().filter(|line| *line == LIST).count(),
        1,
        "{log:#?}"
    );
    assert_eq!(
        log.iter()
            .filter(|line| line.starts_with("GET /storage/"))
            .count(),
        1,
        "{log:#?}"
    );

    let again = case.files();
    assert_eq!(again.require("config.json").unwrap(), config);
    assert_eq!(again.find("chat_template.jinja").unwrap(), None);
    assert_eq!(case.log(), [ASK], "what is known costs no request");
}

fn uses_a_cache_that_python_wrote() {
    let case = Case::new();
    case.python_cache(&[("config.json", CONFIG), ("model.safetensors", &weights())]);
    let files = case.files();
    assert_eq!(
        fs::read(files.require("config.json").unwrap()).unwrap(),
        CONFIG
    );
    assert_eq!(
        fs::read(files.require("model.safetensors").unwrap()).unwrap(),
        weights()
    );
    assert_eq!(case.log(), [ASK]);
}

fn fetches_only_what_changed() {
    let case = Case::new();
    case.python_cache(&[("config.json", CONFIG), ("model.safetensors", &weights())]);
    case.hub.commit(
        SECOND,
        &[
            ("config.json", b"{}"),
            ("deep/down/model.safetensors", &weights()),
        ],
    );
    let files = case.files();
    assert_eq!(files.commit(), Some(SECOND));
    case.log();
    let model = files.require("deep/down/model.safetensors").unwrap();
    assert_eq!(fs::read(&model).unwrap(), weights());
    let log = case.log();
    assert!(
        log.iter()
            .any(|line| line.starts_with("HEAD /org/name/resolve/2222")),
        "{log:#?}"
    );
    assert!(
        !log.iter().any(|line| line.contains("/storage/")),
        "the blob was there: {log:#?}"
    );
    if cfg!(unix) {
        assert_eq!(
            fs::read_link(&model).unwrap(),
            Path::new("../../../../blobs").join(etag(&weights()))
        );
    }
    assert_eq!(
        fs::read(files.require("config.json").unwrap()).unwrap(),
        b"{}"
    );
    assert_eq!(
        fs::read_to_string(case.repo().join("refs/main")).unwrap(),
        SECOND
    );
    let old = HubOptions {
        revision: Some(FIRST.into()),
        ..case.offline()
    };
    let old = ModelFiles::resolve(REPO, &old)
        .unwrap()
        .require("config.json")
        .unwrap();
    assert_eq!(fs::read(old).unwrap(), CONFIG, "the old snapshot stays");
}

fn one_commit_for_all_files() {
    let case = Case::new();
    let files = case.files();
    files.require("config.json").unwrap();
    case.hub.commit(
        SECOND,
        &[
            ("config.json", b"{}"),
            ("model.safetensors", b"other weights"),
        ],
    );
    assert_eq!(
        fs::read(files.require("model.safetensors").unwrap()).unwrap(),
        weights()
    );
    assert_eq!(files.commit(), Some(FIRST));
}

fn a_commit_hash_costs_no_question() {
    let case = Case::new();
    case.python_cache(&[("config.json", CONFIG)]);
    let files = ModelFiles::resolve(format!("{REPO}@{FIRST}"), &case.options()).unwrap();
    files.require("config.json").unwrap();
    assert_eq!(case.log(), Vec::<String>::new());
    assert!(!case.repo().join("refs").join(FIRST).exists());
}

fn resumes_within_a_download() {
    let case = Case::new();
    case.hub.fault("GET /storage/", 1, Fault::Cut(100_000));
    let path = case.files().require("model.safetensors").unwrap();
    assert_eq!(fs::read(path).unwrap(), weights());
    let log = case.log();
    let got: Vec<_> = log
        .iter()
        .filter(|line| line.starts_with("GET /storage/"))
        .collect();
    assert_eq!(got.len(), 2, "{log:#?}");
    let start = got[1]
        .split(' ')
        .nth(2)
        .unwrap()
        .split_once("..")
        .unwrap()
        .0;
    assert!(
        (1..=100_000).contains(&start.parse::<usize>().unwrap()),
        "{log:#?}"
    );
    assert!(case.is_tidy());
}

fn resumes_what_an_earlier_process_left() {
    let case = Case::new();
    fs::create_dir_all(case.repo().join("blobs")).unwrap();
    fs::write(case.partial(&weights()), &weights()[..123_456]).unwrap();
    let path = case.files().require("model.safetensors").unwrap();
    assert_eq!(fs::read(path).unwrap(), weights());
    let log = case.log();
    assert!(
        log.iter()
            .any(|line| line.starts_with("GET /storage/") && line.ends_with(" 123456..300000")),
        "{log:#?}"
    );
    assert!(case.is_tidy());

    // Failing for good leaves what was had, and the next attempt goes on from there.
    let case = Case::new();
    case.hub.fault("GET /storage/", 1, Fault::Cut(200_000));
    case.hub.fault("GET /storage/", 100, Fault::Status(503, ""));
    let error = case.files().require("model.safetensors").unwrap_err();
    assert!(
        matches!(error, HubError::Server { status: 503, .. }),
        "{error}"
    );
    let had = fs::metadata(case.partial(&weights())).unwrap().len();
    assert!(had > 0 && had <= 200_000, "{had}");
    assert!(!case.blob(&weights()).exists());
    let case = Case {
        hub: Case::new().hub,
        ..case
    };
    let path = case.files().require("model.safetensors").unwrap();
    assert_eq!(fs::read(path).unwrap(), weights());
    let log = case.log();
    assert!(
        log.iter()
            .any(|line| line.contains(&format!(" {had}..300000"))),
        "{log:#?}"
    );
}

fn starts_again_where_ranges_are_not_known() {
    let case = Case::new();
    fs::create_dir_all(case.repo().join("blobs")).unwrap();
    fs::write(case.partial(&weights()), [0; 5000]).unwrap();
    case.hub.fault("GET /storage/", 100, Fault::IgnoreRange);
    let path = case.files().require("model.safetensors").unwrap();
    assert_eq!(fs::read(path).unwrap(), weights());

    // What is longer than the file is no part of it.
    let case = Case::new();
    fs::create_dir_all(case.repo().join("blobs")).unwrap();
    fs::write(case.partial(&weights()), vec![0; 300_001]).unwrap();
    assert_eq!(
        fs::read(case.files().require("model.safetensors").unwrap()).unwrap(),
        weights()
    );
}

fn waits_for_another_download() {
    let case = Case::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let path = case.files().require("model.safetensors").unwrap();
                assert_eq!(fs::read(path).unwrap(), weights());
            });
        }
    });
    let log = case.log();
    assert_eq!(
        log.iter()
            .filter(|line| line.starts_with("GET /storage/"))
            .count(),
        1,
        "{log:#?}"
    );
    assert!(case.is_tidy());
}

fn does_not_wait_for_a_stuck_one() {
    let case = Case::new();
    let locks = case.cache.path().join(".locks/models--org--name");
    fs::create_dir_all(&locks).unwrap();
    let held = fs::File::create(locks.join(format!("{}.lock", etag(CONFIG)))).unwrap();
    held.lock().unwrap();
    let options = HubOptions {
        timeout: Some(Duration::from_millis(300)),
        ..case.options()
    };
    let files = ModelFiles::resolve(REPO, &options).unwrap();
    assert_eq!(
        fs::read(files.require("config.json").unwrap()).unwrap(),
        CONFIG
    );
}

fn force_download() {
    let case = Case::new();
    case.python_cache(&[("config.json", CONFIG)]);
    fs::write(case.blob(CONFIG), b"spoilt by someone, alas").unwrap();
    let options = HubOptions {
        force_download: true,
        ..case.options()
    };
    let files = ModelFiles::resolve(REPO, &options).unwrap();
    for _ in 0..2 {
        assert_eq!(
            fs::read(files.require("config.json").unwrap()).unwrap(),
            CONFIG
        );
    }
    let log = case.log();
    assert_eq!(
        log.iter()
            .filter(|line| **line == format!("{BODY}/org/name/{FIRST}/config.json"))
            .count(),
        1,
        "{log:#?}"
    );
    let error = ModelFiles::resolve(
        REPO,
        &HubOptions {
            local_files_only: true,
            ..options
        },
    )
    .unwrap_err();
    assert!(
        matches!(
            error,
            HubError::ForcedOffline {
                offline: Offline::LocalFilesOnly,
                ..
            }
        ),
        "{error}"
    );
}

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

fn gguf_of_a_repository() {
    let case = Case::new();
    assert_eq!(
        case.files().gguf().unwrap(),
        None,
        "a folder with config.json"
    );
    let case = Case::new();
    case.hub.commit(
        FIRST,
        &[
            ("a.gguf", b"A"),
            ("sub/b.gguf", b"B"),
            ("tokenizer.json", b"{}"),
        ],
    );
    assert_eq!(
        fs::read(case.files().gguf().unwrap().unwrap()).unwrap(),
        b"A"
    );
    let files = ModelFiles::resolve("org/name:sub/b.gguf", &case.options()).unwrap();
    assert_eq!(fs::read(files.gguf().unwrap().unwrap()).unwrap(), b"B");
    assert_eq!(files.list().unwrap(), ["sub/b.gguf"]);
    assert_eq!(
        files.find("tokenizer.json").unwrap(),
        None,
        "a GGUF file is whole in itself"
    );
    let error = ModelFiles::resolve("org/name:none.gguf", &case.options())
        .unwrap()
        .gguf()
        .unwrap_err();
    assert!(matches!(error, HubError::MissingFile { .. }), "{error}");

    case.hub
        .commit(SECOND, &[("a.gguf", b"A"), ("b.gguf", b"B")]);
    let error = case.files().gguf().unwrap_err();
    assert!(matches!(error, HubError::SeveralGguf { .. }), "{error}");
    assert!(error.to_string().contains("a.gguf, b.gguf"), "{error}");
}

fn subfolder() {
    let case = Case::new();
    let files: &[(&str, &[u8])] = &[
        ("config.json", b"{}"),
        ("the vae/config (1)+#.json", CONFIG),
    ];
    case.hub.commit(FIRST, files);
    let options = HubOptions {
        subfolder: Some("the vae/".into()),
        ..case.options()
    };
    let files = ModelFiles::resolve(REPO, &options).unwrap();
    assert_eq!(files.list().unwrap(), ["config (1)+#.json"]);
    assert_eq!(
        fs::read(files.require("config (1)+#.json").unwrap()).unwrap(),
        CONFIG
    );
    let error = files.require("config.json").unwrap_err();
    assert!(error.to_string().contains("the vae/config.json"), "{error}");
}

fn token_stays_with_the_hub() {
    let case = Case::new();
    let options = HubOptions {
        token: Some("hf_secret".into()),
        ..case.options()
    };
    ModelFiles::resolve(REPO, &options)
        .unwrap()
        .require("model.safetensors")
        .unwrap();
    for line in case.log() {
        assert_eq!(
            line.ends_with(" token"),
            !line.contains("/storage/"),
            "{line}"
        );
    }
}

#[derive(Default)]
struct Recorder(Mutex<Vec<String>>, Mutex<u64>);

impl Progress for Recorder {
    fn start(&self, file: &str, bytes: Option<u64>) {
        self.0
            .lock()
            .unwrap()
            .push(format!("start {file} {bytes:?}"));
    }

    fn advance(&self, _: &str, bytes: u64) {
        *self.1.lock().unwrap() += bytes;
    }

    fn finish(&self, file: &str) {
        self.0.lock().unwrap().push(format!("finish {file}"));
    }
}

fn progress_adds_up() {
    let case = Case::new();
    fs::create_dir_all(case.repo().join("blobs")).unwrap();
    fs::write(case.partial(&weights()), &weights()[..1000]).unwrap();
    let recorder = Arc::new(Recorder::default());
    let options = HubOptions {
        progress: Some(Arc::clone(&recorder) as Arc<dyn Progress>),
        ..case.options()
    };
    for _ in 0..2 {
        ModelFiles::resolve(REPO, &options)
            .unwrap()
            .require("model.safetensors")
            .unwrap();
    }
    assert_eq!(
        *recorder.0.lock().unwrap(),
        [
            "start model.safetensors Some(300000)",
            "finish model.safetensors"
        ]
    );
    assert_eq!(*recorder.1.lock().unwrap(), 300_000);
}

fn inside_an_async_runtime() {
    let case = Case::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        assert_eq!(
            fs::read(case.files().require("config.json").unwrap()).unwrap(),
            CONFIG
        );
    });
}
