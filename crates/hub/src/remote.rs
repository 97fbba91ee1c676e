//! The hub over HTTP: which commit a revision is, which files it has, and their bytes; and commits to it.
//!
//! Requests go through `hf-hub` 1.0.0, with two exceptions. Its download into the cache is not used, only its stream
//! of bytes: the former starts again from nothing where it was cut off, and takes the body of an error for the file.
//! And the etag of a file, which names its blob, is asked for here: `hf-hub` follows the redirect of a large file to
//! the storage behind the hub, whose answer has none of the hub's headers (its issue 208, settled after 1.0.0).

use std::error::Error;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use hf_hub::repository::{CommitOperation, HFRepository, RepoTreeEntry, RepoTypeAny};
use hf_hub::{HFClient, HFError, HFResult};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{RequestBuilder, Response, Url};
use tokio::runtime::{Builder, Runtime};

use crate::cache::RepoCache;
use crate::download::{Download, RemoteFile};
use crate::names::{is_blob_name, is_commit, is_relative};
use crate::settings::Settings;
use crate::{CancelToken, HubError, Progress, RepoType, UploadContent, UploadFile};

/// How often a request is made again after the hub failed in a way that may pass.
pub(crate) const RETRIES: u32 = 3;
/// More files than any model has; a listing that goes on beyond it is not waited for.
const MAX_FILES: usize = 100_000;
const MAX_REDIRECTS: usize = 10;

/// A file's bytes as they come, in pieces.
pub(crate) type ByteStream = Box<dyn Stream<Item = HFResult<bytes::Bytes>> + Send + Unpin>;

/// One repository on the hub.
pub(crate) struct Remote {
    id: String,
    repo_type: RepoType,
    endpoint: String,
    token: Option<String>,
    pub(crate) timeout: Duration,
    hub: HFClient,
    repository: HFRepository<RepoTypeAny>,
    /// Follows redirects within the hub (a renamed repository), not to the storage behind it.
    direct: reqwest::Client,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Remote {
    /// Opens no connection yet.
    pub(crate) fn new(
        id: &str,
        repo_type: RepoType,
        settings: &Settings,
    ) -> Result<Self, HubError> {
        let bad = |reason: String| HubError::BadReply {
            url: settings.endpoint.clone(),
            reason,
        };
        let client = || {
            reqwest::Client::builder()
                .user_agent(concat!("burn-transformers/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(settings.timeout)
                .read_timeout(settings.timeout)
        };
        let hub = HFClient::builder()
            .endpoint(&settings.endpoint)
            .cache_enabled(false)
            .retry_max_attempts(RETRIES as usize)
            .client(client().build().map_err(|error| bad(chain(&error)))?);
        let hub = match &settings.token {
            Some(token) => hub.token(token),
            None => hub,
        };
        let hub = hub.build().map_err(|error| bad(chain(&error)))?;
        let (owner, name) = hf_hub::split_id(id);
        let direct = client().redirect(Policy::custom(within_the_hub)).build();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        Ok(Self {
            id: id.to_owned(),
            repo_type,
            endpoint: settings.endpoint.clone(),
            token: settings.token.clone(),
            timeout: settings.timeout,
            repository: hub.repository(
                match repo_type {
                    RepoType::Model => RepoTypeAny::Model,
                    RepoType::Dataset => RepoTypeAny::Dataset,
                },
                owner,
                name,
            ),
            hub,
            direct: direct.map_err(|error| bad(chain(&error)))?,
            runtime: Some(
                runtime.map_err(|error| bad(format!("no thread for requests: {error}")))?,
            ),
        })
    }

    /// The commit that `revision` names now.
    pub(crate) fn commit(&self, revision: &str) -> Result<String, HubError> {
        let url = format!("{}/revision/{revision}", self.api());
        let (owner, name) = hf_hub::split_id(&self.id);
        let sha = self.wait(async {
            Ok(match self.repo_type {
                RepoType::Model => {
                    let model = self.hub.model(owner, name);
                    model.info().revision(revision).send().await?.sha
                }
                RepoType::Dataset => {
                    let dataset = self.hub.dataset(owner, name);
                    dataset.info().revision(revision).send().await?.sha
                }
            })
        });
        let sha = sha.map_err(|error| self.error(error, &url, revision))?;
        let commit = sha.filter(|sha| is_commit(sha));
        commit.ok_or_else(|| HubError::BadReply {
            url,
            reason: "it names no commit".into(),
        })
    }

    /// The names of the files of `commit`, sorted. Names that would lead out of a folder are left out.
    pub(crate) fn list(&self, commit: &str) -> Result<Vec<String>, HubError> {
        let url = format!("{}/tree/{commit}", self.api());
        let entries = async {
            let tree = self
                .repository
                .list_tree()
                .revision(commit)
                .recursive(true)
                .limit(MAX_FILES + 1)
                .send()?;
            tree.collect::<Vec<_>>()
                .await
                .into_iter()
                .collect::<Result<Vec<_>, HFError>>()
        };
        let entries = self
            .wait(entries)
            .map_err(|error| self.error(error, &url, commit))?;
        if entries.len() > MAX_FILES {
            return Err(HubError::BadReply {
                url,
                reason: format!("it lists more than {MAX_FILES} files"),
            });
        }
        let mut names: Vec<String> = entries.into_iter().filter_map(file_name).collect();
        names.sort();
        Ok(names)
    }

    /// Brings the file `name` of `commit` into the cache and gives its path there; `None` if there is no such file.
    pub(crate) fn fetch(
        &self,
        commit: &str,
        name: &str,
        cache: &RepoCache,
        force: bool,
        progress: Option<&dyn Progress>,
        cancel: Option<&CancelToken>,
    ) -> Result<Option<PathBuf>, HubError> {
        self.wait(async {
            let Some(file) = self.describe(commit, name).await? else {
                return Ok(None);
            };
            Download {
                remote: self,
                cache,
                file: &file,
                force,
                progress,
                cancel,
            }
            .run()
            .await?;
            cache.link(commit, name, &file.etag).map(Some)
        })
    }

    /// What the hub says of a file before its bytes are asked for.
    async fn describe(&self, commit: &str, name: &str) -> Result<Option<RemoteFile>, HubError> {
        let url = self.resolve_url(commit, name)?;
        let bad = |reason: String| HubError::BadReply {
            url: url.to_string(),
            reason,
        };
        let head = || {
            let request = self.direct.head(url.clone());
            request.header(ACCEPT_ENCODING, "identity")
        };
        let reply = self.patiently(url.as_str(), head).await?;
        let (status, headers) = (reply.status(), reply.headers());
        if status.as_u16() == 404
            && matches!(text(headers, "x-error-code"), None | Some("EntryNotFound"))
        {
            return Ok(None);
        }
        if !status.is_success() && !status.is_redirection() {
            let message = text(headers, "x-error-message").unwrap_or_default();
            return Err(self.refusal(
                status.as_u16(),
                text(headers, "x-error-code"),
                message,
                url.as_str(),
                commit,
            ));
        }
        if let Some(other) = text(headers, "x-repo-commit").filter(|other| *other != commit) {
            return Err(bad(format!("it is of commit {other}, not {commit}")));
        }
        let etag = text(headers, "x-linked-etag").or_else(|| text(headers, ETAG.as_str()));
        let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
        // A redirect's own length is not the file's.
        let length = text(headers, CONTENT_LENGTH.as_str()).filter(|_| status.is_success());
        let size = text(headers, "x-linked-size")
            .or(length)
            .and_then(|size| size.parse().ok());
        match (etag.filter(|etag| is_blob_name(etag)), size) {
            (Some(etag), Some(size)) => Ok(Some(RemoteFile {
                commit: commit.to_owned(),
                name: name.to_owned(),
                url: url.to_string(),
                etag,
                size,
            })),
            (None, _) => Err(bad("it has no usable etag".into())),
            (_, None) => Err(bad("it does not say the file's size".into())),
        }
    }

    /// Sends a request with the token, again where the hub fails in a way that may pass.
    async fn patiently(
        &self,
        url: &str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, HubError> {
        let mut attempt = 0;
        loop {
            let request = match &self.token {
                Some(token) => request().bearer_auth(token),
                None => request(),
            };
            let reply = request.send().await;
            let passing = match &reply {
                Ok(reply) => matches!(reply.status().as_u16(), 408 | 429 | 500 | 502 | 503 | 504),
                Err(error) => error.is_timeout() || error.is_connect() || error.is_request(),
            };
            if !passing || attempt == RETRIES {
                return reply.map_err(|error| network(url, error));
            }
            pause(attempt).await;
            attempt += 1;
        }
    }

    /// The bytes of a file from `start` on, in pieces, with their number if the hub says it.
    pub(crate) async fn bytes(
        &self,
        file: &RemoteFile,
        start: u64,
    ) -> Result<(Option<u64>, ByteStream), HubError> {
        let range = (start > 0).then_some(start..file.size);
        let request = self
            .repository
            .download_file_stream()
            .filename(&file.name)
            .revision(&file.commit);
        let reply = request.maybe_range(range).send().await;
        reply.map_err(|error| self.error(error, &file.url, &file.commit))
    }

    /// Who the token belongs to.
    pub(crate) fn user(&self) -> Result<String, HubError> {
        let url = format!("{}/api/whoami-v2", self.endpoint);
        let user = self.wait(self.hub.whoami().send());
        let user = user.map_err(|error| self.error(error, &url, ""))?;
        Ok(user.username)
    }

    /// Makes the repository, unless it is there. `None`: as private as its owner's repositories are.
    pub(crate) fn create(&self, private: Option<bool>) -> Result<(), HubError> {
        let url = format!("{}/api/repos/create", self.endpoint);
        // `hf-hub` would make it public where nothing is said. Neither name needs an escape: they were checked.
        let (owner, name) = hf_hub::split_id(&self.id);
        let private = private.map_or(String::new(), |private| {
            format!(r#", "private": {private}"#)
        });
        let kind = self.repo_type.plural().trim_end_matches('s');
        let body = format!(
            r#"{{"type": "{kind}", "name": "{name}", "organization": "{owner}"{private}}}"#
        );
        let post = || {
            let request = self.direct.post(&url).body(body.clone());
            request.header(CONTENT_TYPE, "application/json")
        };
        let reply = self.wait(self.patiently(&url, post))?;
        let (status, headers) = (reply.status().as_u16(), reply.headers());
        // A token for this repository alone may not make one.
        if reply.status().is_success()
            || status == 409
            || status == 403 && self.commit("main").is_ok()
        {
            return Ok(());
        }
        let message = text(headers, "x-error-message").unwrap_or_default();
        let code = text(headers, "x-error-code");
        Err(self.refusal(status, code, message, &url, ""))
    }

    /// Makes a branch, unless it is there.
    pub(crate) fn create_branch(&self, branch: &str) -> Result<(), HubError> {
        let url = format!("{}/branch/{branch}", self.api());
        match self.wait(self.repository.create_branch().branch(branch).send()) {
            Ok(()) | Err(HFError::Conflict { .. }) => Ok(()),
            Err(error) => Err(self.error(error, &url, branch)),
        }
    }

    /// Commits files, which replace those of the same names, and gives the new commit's hash if the hub says it.
    pub(crate) fn upload(
        &self,
        revision: &str,
        message: &str,
        files: Vec<UploadFile>,
    ) -> Result<Option<String>, HubError> {
        let url = format!("{}/commit/{revision}", self.api());
        let operation = |file: UploadFile| match file.content {
            UploadContent::Path(path) => CommitOperation::add_file(file.name, path),
            UploadContent::Bytes(bytes) => CommitOperation::add_bytes(file.name, bytes),
        };
        let commit = self
            .repository
            .create_commit()
            .operations(files.into_iter().map(operation).collect())
            .commit_message(message)
            .revision(revision);
        let done = self.wait(commit.send());
        let done = done.map_err(|error| self.error(error, &url, revision))?;
        Ok(done.commit_oid)
    }

    fn resolve_url(&self, commit: &str, name: &str) -> Result<Url, HubError> {
        let base = format!("{}/{}/resolve/{commit}", self.endpoint, self.name());
        let mut url = Url::parse(&base).map_err(|error| HubError::BadReply {
            url: base.clone(),
            reason: error.to_string(),
        })?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(name.split('/'));
        }
        Ok(url)
    }

    /// As the hub's addresses have it: `org/name`, or `datasets/org/name`.
    fn name(&self) -> String {
        match self.repo_type {
            RepoType::Model => self.id.clone(),
            RepoType::Dataset => format!("datasets/{}", self.id),
        }
    }

    fn api(&self) -> String {
        format!(
            "{}/api/{}/{}",
            self.endpoint,
            self.repo_type.plural(),
            self.id
        )
    }

    /// Ours for an error of `hf-hub`. The error's own address is not shown: it may be signed.
    fn error(&self, error: HFError, url: &str, revision: &str) -> HubError {
        let context = match error {
            HFError::Request { source, .. } if source.is_decode() => {
                return HubError::BadReply {
                    url: url.to_owned(),
                    reason: chain(&source.without_url()),
                };
            }
            HFError::Request { source, .. } => return network(url, source),
            HFError::Xet { .. } => {
                return HubError::Network {
                    url: url.to_owned(),
                    reason: chain(&error),
                };
            }
            HFError::Http { context }
            | HFError::AuthRequired { context }
            | HFError::Forbidden { context }
            | HFError::Conflict { context }
            | HFError::RateLimited { context, .. }
            | HFError::RepoNotFound {
                context: Some(context),
                ..
            }
            | HFError::RevisionNotFound {
                context: Some(context),
                ..
            }
            | HFError::EntryNotFound {
                context: Some(context),
                ..
            } => context,
            other => {
                return HubError::BadReply {
                    url: url.to_owned(),
                    reason: chain(&other),
                };
            }
        };
        let message = context.server_message.as_deref().unwrap_or_default();
        self.refusal(
            context.status.as_u16(),
            context.error_code.as_deref(),
            message,
            url,
            revision,
        )
    }

    fn refusal(
        &self,
        status: u16,
        code: Option<&str>,
        message: &str,
        url: &str,
        revision: &str,
    ) -> HubError {
        let (repo, endpoint, message) = (self.name(), self.endpoint.clone(), message.to_owned());
        match (status, code) {
            (_, Some("GatedRepo")) => HubError::Gated {
                repo,
                endpoint,
                message,
            },
            (_, Some("RepoNotFound")) => HubError::RepoNotFound { repo, endpoint },
            (_, Some("RevisionNotFound")) => HubError::RevisionNotFound {
                repo,
                revision: revision.to_owned(),
            },
            (401, _) => HubError::Unauthorized {
                repo,
                token_sent: self.token.is_some(),
                message,
            },
            (403, _) => HubError::Forbidden { repo, message },
            (404, None) => HubError::RepoNotFound { repo, endpoint },
            _ => HubError::Server {
                url: url.to_owned(),
                status,
                message,
            },
        }
    }

    /// Runs `work` to its end on a thread of its own, because a caller may itself be inside an async runtime.
    fn wait<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        let runtime = self
            .runtime
            .as_ref()
            .expect("the runtime is taken only by drop");
        let done = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(work)).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Remote {
    /// Without waiting: the ordinary drop of a runtime panics inside another one.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn within_the_hub(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let origin = attempt.previous().last().map(Url::origin);
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("too many redirects")
    } else if origin == Some(attempt.url().origin()) {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

fn file_name(entry: RepoTreeEntry) -> Option<String> {
    match entry {
        RepoTreeEntry::File { path, .. } => Some(path).filter(|path| is_relative(path)),
        RepoTreeEntry::Directory { .. } => None,
    }
}

/// Waits before the next attempt: 0.2 s, 0.4 s, 0.8 s.
pub(crate) async fn pause(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(200 << attempt.min(6))).await;
}

/// Ours for an error in the middle of a file.
pub(crate) fn broken(error: HFError, url: &str) -> HubError {
    match error {
        HFError::Request { source, .. } => network(url, source),
        other => HubError::Network {
            url: url.to_owned(),
            reason: chain(&other),
        },
    }
}

fn network(url: &str, error: reqwest::Error) -> HubError {
    HubError::Network {
        url: url.to_owned(),
        reason: chain(&error.without_url()),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)?
        .to_str()
        .ok()
        .filter(|text| !text.is_empty())
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
