//! Options and environment, settled once: address, token, cache folder, and whether the hub may be asked at all.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{HubError, HubOptions, Offline};

const ENDPOINT: &str = "https://huggingface.co";
const TIMEOUT: Duration = Duration::from_secs(10);

/// What holds for one [`ModelFiles`](crate::ModelFiles).
#[cfg_attr(
    not(feature = "http"),
    allow(dead_code, reason = "the rest is for requests")
)]
pub(crate) struct Settings {
    pub(crate) endpoint: String,
    pub(crate) token: Option<String>,
    pub(crate) cache: PathBuf,
    pub(crate) offline: Option<Offline>,
    pub(crate) timeout: Duration,
}

impl Settings {
    /// The options, and where they are silent the process's environment.
    pub(crate) fn new(options: &HubOptions) -> Result<Self, HubError> {
        Self::with_env(options, &Env(&|name| std::env::var(name).ok()))
    }

    fn with_env(options: &HubOptions, env: &Env) -> Result<Self, HubError> {
        let endpoint = options
            .endpoint
            .clone()
            .or_else(|| env.get("HF_ENDPOINT"))
            .unwrap_or_else(|| ENDPOINT.into());
        let timeout = env
            .get("HF_HUB_DOWNLOAD_TIMEOUT")
            .and_then(|text| text.parse().ok())
            .map(Duration::from_secs);
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: options
                .token
                .clone()
                .filter(|token| !token.is_empty())
                .or_else(|| env.token()),
            cache: options
                .cache_dir
                .clone()
                .or_else(|| env.cache())
                .ok_or(HubError::NoHome)?,
            offline: offline(options, env),
            timeout: options.timeout.or(timeout).unwrap_or(TIMEOUT),
        })
    }
}

/// The folder that downloads are kept in where no option names another: `HF_HUB_CACHE`, else `hub` in `HF_HOME`.
///
/// # Errors
/// [`HubError::NoHome`].
pub fn cache_folder() -> Result<PathBuf, HubError> {
    Settings::new(&HubOptions::default()).map(|settings| settings.cache)
}

fn offline(options: &HubOptions, env: &Env) -> Option<Offline> {
    if options.local_files_only {
        return Some(Offline::LocalFilesOnly);
    }
    // As in Python: the second variable counts only where the first is empty.
    let variable = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
        .into_iter()
        .find(|name| env.get(name).is_some());
    match variable {
        Some(name) if env.is_true(name) => Some(Offline::Variable(name)),
        _ if cfg!(not(feature = "http")) => Some(Offline::NotBuilt),
        _ => None,
    }
}

/// Environment variables as `huggingface_hub` reads them.
struct Env<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Env<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn is_true(&self, name: &str) -> bool {
        let value = self.get(name).unwrap_or_default();
        ["1", "on", "yes", "true"]
            .iter()
            .any(|yes| value.eq_ignore_ascii_case(yes))
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(|path| expand_home(Path::new(&path)))
    }

    fn home(&self) -> Option<PathBuf> {
        let cache = || {
            self.path("XDG_CACHE_HOME")
                .or_else(|| Some(std::env::home_dir()?.join(".cache")))
        };
        self.path("HF_HOME")
            .or_else(|| Some(cache()?.join("huggingface")))
    }

    fn cache(&self) -> Option<PathBuf> {
        let named = self
            .path("HF_HUB_CACHE")
            .or_else(|| self.path("HUGGINGFACE_HUB_CACHE"));
        named.or_else(|| Some(self.home()?.join("hub")))
    }

    fn token(&self) -> Option<String> {
        if self.is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            return None;
        }
        let file = || {
            self.path("HF_TOKEN_PATH")
                .or_else(|| Some(self.home()?.join("token")))
        };
        let token = self
            .get("HF_TOKEN")
            .or_else(|| self.get("HUGGING_FACE_HUB_TOKEN"));
        let token = token.or_else(|| std::fs::read_to_string(file()?).ok())?;
        // Tokens are pasted: line ends around and inside them are not part of them.
        Some(token.replace(['\n', '\r'], "").trim().to_owned()).filter(|token| !token.is_empty())
    }
}

/// `~` and `~/…` with the home folder in its place.
pub(crate) fn expand_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn settings(options: &HubOptions, env: &[(&str, &str)]) -> Settings {
        let lookup = |name: &str| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Settings::with_env(options, &Env(&lookup)).unwrap()
    }

    #[test]
    fn cache_folder() {
        let check = |env: &[(&str, &str)], expect: &str| {
            assert_eq!(
                settings(&HubOptions::default(), env).cache,
                Path::new(expect),
                "{env:?}"
            );
        };
        check(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")], "/c");
        check(
            &[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/h")],
            "/old",
        );
        check(&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x")], "/h/hub");
        check(
            &[("HF_HOME", ""), ("XDG_CACHE_HOME", "/x")],
            "/x/huggingface/hub",
        );
        let home = std::env::home_dir().unwrap();
        check(&[("HF_HOME", "~/h")], home.join("h/hub").to_str().unwrap());
        check(&[], home.join(".cache/huggingface/hub").to_str().unwrap());
        let options = HubOptions {
            cache_dir: Some("/mine".into()),
            ..Default::default()
        };
        assert_eq!(
            settings(&options, &[("HF_HUB_CACHE", "/c")]).cache,
            Path::new("/mine")
        );
    }

    #[test]
    fn token() {
        let home = tempfile::tempdir().unwrap();
        let home_path = home.path().to_str().unwrap();
        let check = |options: &HubOptions, env: &[(&str, &str)], expect: Option<&str>| {
            let env: Vec<_> = env
                .iter()
                .copied()
                .chain([("HF_HOME", home_path)])
                .collect();
            assert_eq!(settings(options, &env).token.as_deref(), expect, "{env:?}");
        };
        let plain = HubOptions::default();
        check(&plain, &[], None);
        std::fs::write(home.path().join("token"), "  from-file\r\n").unwrap();
        std::fs::write(home.path().join("other"), "from-other").unwrap();
        check(&plain, &[], Some("from-file"));
        check(
            &plain,
            &[("HF_TOKEN_PATH", home.path().join("other").to_str().unwrap())],
            Some("from-other"),
        );
        check(&plain, &[("HF_TOKEN", "from-env\n")], Some("from-env"));
        check(
            &plain,
            &[("HF_TOKEN", ""), ("HUGGING_FACE_HUB_TOKEN", "old")],
            Some("old"),
        );
        check(
            &plain,
            &[
                ("HF_TOKEN", "from-env"),
                ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"),
            ],
            None,
        );
        let explicit = HubOptions {
            token: Some("mine".into()),
            ..Default::default()
        };
        check(
            &explicit,
            &[
                ("HF_TOKEN", "from-env"),
                ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"),
            ],
            Some("mine"),
        );
        assert!(!format!("{explicit:?}").contains("mine"));
    }

    #[test]
    fn offline_and_endpoint() {
        let offline = |env: &[(&str, &str)]| settings(&HubOptions::default(), env).offline;
        let online = if cfg!(feature = "http") {
            None
        } else {
            Some(Offline::NotBuilt)
        };
        for value in ["1", "ON", "yes", "True"] {
            assert_eq!(
                offline(&[("HF_HUB_OFFLINE", value)]),
                Some(Offline::Variable("HF_HUB_OFFLINE"))
            );
        }
        assert_eq!(
            offline(&[("TRANSFORMERS_OFFLINE", "1")]),
            Some(Offline::Variable("TRANSFORMERS_OFFLINE"))
        );
        assert_eq!(
            offline(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]),
            online
        );
        assert_eq!(offline(&[("HF_HUB_OFFLINE", "")]), online);
        let options = HubOptions {
            local_files_only: true,
            ..Default::default()
        };
        assert_eq!(
            settings(&options, &[]).offline,
            Some(Offline::LocalFilesOnly)
        );

        let plain = HubOptions::default();
        assert_eq!(settings(&plain, &[]).endpoint, "https://huggingface.co");
        assert_eq!(
            settings(&plain, &[("HF_ENDPOINT", "https://mirror/")]).endpoint,
            "https://mirror"
        );
        let options = HubOptions {
            endpoint: Some("http://mine".into()),
            ..Default::default()
        };
        assert_eq!(
            settings(&options, &[("HF_ENDPOINT", "https://mirror")]).endpoint,
            "http://mine"
        );
        assert_eq!(
            settings(&plain, &[("HF_HUB_DOWNLOAD_TIMEOUT", "3")]).timeout,
            Duration::from_secs(3)
        );
    }
}
