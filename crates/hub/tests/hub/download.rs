//! Files into the cache: its layout, what is fetched and what is not, and going on where it was cut off.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use transformers_hub::{
    CancelToken, HubError, HubOptions, ModelFiles, Offline, Progress, RepoType,
};

use crate::case::{ASK, BODY, CONFIG, Case, FIRST, LIST, SECOND, weights};
use crate::server::{Fault, REPO, etag};

cases![
    downloads_into_pythons_layout,
    uses_a_cache_that_python_wrote,
    fetches_only_what_changed,
    a_dataset_has_places_of_its_own,
    one_commit_for_all_files,
    a_commit_hash_costs_no_question,
    resumes_within_a_download,
    resumes_what_an_earlier_process_left,
    starts_again_where_ranges_are_not_known,
    waits_for_another_download,
    does_not_wait_for_a_stuck_one,
    force_download,
    gguf_of_a_repository,
    subfolder,
    token_stays_with_the_hub,
    progress_adds_up,
    a_cancelled_download_is_resumed,
    inside_an_async_runtime,
];

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

fn a_dataset_has_places_of_its_own() {
    let case = Case::new();
    let options = HubOptions {
        repo_type: RepoType::Dataset,
        ..case.options()
    };
    let files = ModelFiles::resolve(REPO, &options).unwrap();
    let config = files.require("config.json").unwrap();
    assert_eq!(fs::read(&config).unwrap(), CONFIG);
    let snapshots = case.cache.path().join("datasets--org--name/snapshots");
    assert_eq!(config, snapshots.join(FIRST).join("config.json"));
    assert!(!case.cache.path().join("models--org--name").exists());
    let log = case.log();
    assert_eq!(log[0], ASK.replace("models", "datasets"));
    assert_eq!(log[1], LIST.replace("models", "datasets"));
    assert!(
        log[2].starts_with("HEAD /datasets/org/name/resolve/"),
        "{log:?}"
    );
    let offline = HubOptions {
        local_files_only: true,
        ..options
    };
    assert_eq!(
        ModelFiles::resolve(REPO, &offline)
            .unwrap()
            .require("config.json")
            .unwrap(),
        config
    );
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

/// Asks for the end at the first bytes.
struct Canceller(CancelToken);

impl Progress for Canceller {
    fn start(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: &str, _: u64) {
        self.0.cancel();
    }
    fn finish(&self, file: &str) {
        panic!("{file} was cancelled");
    }
}

fn a_cancelled_download_is_resumed() {
    let case = Case::new();
    let cancel = CancelToken::default();
    let options = HubOptions {
        progress: Some(Arc::new(Canceller(cancel.clone()))),
        cancel: Some(cancel),
        ..case.options()
    };
    let files = ModelFiles::resolve(REPO, &options).unwrap();
    let error = files.require("model.safetensors").unwrap_err();
    assert!(matches!(error, HubError::Cancelled { .. }), "{error}");
    assert!(fs::metadata(case.partial(&weights())).unwrap().len() > 0);
    let whole = case.files().require("model.safetensors").unwrap();
    assert_eq!(fs::read(whole).unwrap(), weights());
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
