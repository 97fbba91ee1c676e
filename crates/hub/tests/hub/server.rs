//! A hub on this machine, with the answers, headers, redirects and failures of the real one, on nothing but sockets.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

/// The only repository that there is.
pub const REPO: &str = "org/name";

/// A running hub, and beside it the storage that it redirects to for large files.
pub struct Hub {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

/// What goes wrong with the requests that a fault is laid on.
#[derive(Clone)]
pub enum Fault {
    /// This status, with this `X-Error-Code` unless it is empty.
    Status(u16, &'static str),
    /// The connection breaks after so many bytes of the body.
    Cut(usize),
    /// Nothing more comes after so many bytes of the body.
    Stall(usize),
    /// No answer at all.
    Silence,
    /// As if the request had asked for the whole file.
    IgnoreRange,
    /// This header with another value.
    Header(&'static str, &'static str),
    /// Another body.
    Body(&'static [u8]),
}

#[derive(Default)]
struct State {
    main: String,
    commits: BTreeMap<String, BTreeMap<String, File>>,
    storage: String,
    faults: Vec<(String, usize, Fault)>,
    log: Vec<String>,
    uploads: Uploads,
    /// Connections that are kept waiting.
    silent: Vec<TcpStream>,
}

/// What clients uploaded.
#[derive(Default)]
struct Uploads {
    /// Bodies of requests to make repositories and branches.
    made: Vec<String>,
    commits: Vec<Commit>,
    /// Bytes that reached the storage, by what they are: `xorbs` or `shards`.
    stored: Vec<(String, usize)>,
}

/// A commit by a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    pub revision: String,
    pub message: String,
    /// Names, and the bytes of small files; large ones have their SHA-256.
    pub files: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone)]
struct File {
    bytes: Vec<u8>,
    etag: String,
    /// Kept in the storage, as LFS and Xet files are.
    large: bool,
}

impl Hub {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let endpoint = listen(Arc::clone(&state));
        state.lock().unwrap().storage = listen(Arc::clone(&state));
        Self { endpoint, state }
    }

    /// Adds a commit, which `main` names from now on. Files of more than 1000 bytes are large.
    pub fn commit(&self, commit: &str, files: &[(&str, &[u8])]) {
        let files = files.iter().map(|(name, bytes)| {
            let large = bytes.len() > 1000;
            (
                (*name).to_owned(),
                File {
                    bytes: bytes.to_vec(),
                    etag: etag(bytes),
                    large,
                },
            )
        });
        let mut state = self.state();
        state.commits.insert(commit.to_owned(), files.collect());
        commit.clone_into(&mut state.main);
    }

    /// Lays a fault on the next `times` requests whose line in the log contains `request`.
    pub fn fault(&self, request: &str, times: usize, fault: Fault) {
        self.state().faults.push((request.to_owned(), times, fault));
    }

    /// The requests since the last call: `METHOD path`, then the range and `token` where they were sent.
    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }

    /// What clients committed, the oldest first.
    pub fn commits(&self) -> Vec<Commit> {
        self.state().uploads.commits.clone()
    }

    /// The repositories and branches that clients made.
    pub fn made(&self) -> Vec<String> {
        self.state().uploads.made.clone()
    }

    /// What reached the storage, and how many bytes of it.
    pub fn stored(&self) -> Vec<(String, usize)> {
        self.state().uploads.stored.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// The etag that this hub gives to these bytes: as long as a git hash, or a SHA-256 for large files.
pub fn etag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let hash = hasher.finish();
    if bytes.len() > 1000 {
        format!("{hash:064x}")
    } else {
        format!("{hash:040x}")
    }
}

fn listen(state: Arc<Mutex<State>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            // A client that goes away in the middle is no concern of the hub.
            std::thread::spawn(move || serve(stream, &state).unwrap_or_default());
        }
    });
    address
}

struct Request {
    method: String,
    /// As it was sent, and decoded.
    raw: String,
    path: String,
    range: Option<(usize, usize)>,
    token: bool,
    body: Vec<u8>,
}

impl Request {
    fn read(stream: &TcpStream) -> std::io::Result<Self> {
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, path) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let mut request = Self {
            method,
            path: decode(&path),
            raw: path,
            range: None,
            token: false,
            body: Vec::new(),
        };
        let mut length = 0;
        for line in reader.by_ref().lines() {
            let line = line?.to_lowercase();
            match line.split_once(": ") {
                Some(("content-length", count)) => length = count.parse().unwrap(),
                Some(("range", range)) => {
                    let (start, end) = range
                        .strip_prefix("bytes=")
                        .unwrap()
                        .split_once('-')
                        .unwrap();
                    request.range =
                        Some((start.parse().unwrap(), end.parse::<usize>().unwrap() + 1));
                }
                Some(("authorization", _)) => request.token = true,
                Some(_) => {}
                None => break,
            }
        }
        request.body.resize(length, 0);
        reader.read_exact(&mut request.body)?;
        Ok(request)
    }

    fn line(&self) -> String {
        let range = self
            .range
            .map(|(start, end)| format!(" {start}..{end}"))
            .unwrap_or_default();
        format!(
            "{} {}{range}{}",
            self.method,
            self.path,
            if self.token { " token" } else { "" }
        )
    }
}

fn decode(path: &str) -> String {
    let mut pieces = path.split('%');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |path, piece| {
        let code = u8::from_str_radix(&piece[..2], 16).unwrap();
        format!("{path}{}{}", char::from(code), &piece[2..])
    })
}

struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Reply {
    fn json(body: &Value) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.to_string().into(),
        }
    }

    fn error(status: u16, code: &'static str) -> Self {
        let mut headers = vec![("x-error-message", format!("because of {code}"))];
        if !code.is_empty() {
            headers.push(("x-error-code", code.to_owned()));
        }
        Self {
            status,
            headers,
            body: b"this is an error page".to_vec(),
        }
    }

    fn set(&mut self, name: &'static str, value: String) {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value));
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut request = Request::read(&stream)?;
    let mut state = state.lock().unwrap();
    let line = request.line();
    state.log.push(line.clone());
    let fault = state
        .faults
        .iter_mut()
        .find(|(pattern, left, _)| *left > 0 && line.contains(pattern));
    let fault = fault.map(|(_, left, fault)| {
        *left -= 1;
        fault.clone()
    });
    if let Some(Fault::IgnoreRange) = fault {
        request.range = None;
    }
    let mut reply = match fault {
        Some(Fault::Silence) => {
            state.silent.push(stream);
            return Ok(());
        }
        Some(Fault::Status(status, code)) => Reply::error(status, code),
        _ if request.method == "POST" || request.path.contains("-write-token/") => {
            take(&mut state, &request)
        }
        _ => answer(&state, &request),
    };
    let mut sent = usize::MAX;
    match fault {
        Some(Fault::Cut(count) | Fault::Stall(count)) => sent = count,
        Some(Fault::Body(body)) => reply.body = body.to_vec(),
        _ => {}
    }
    let length = reply.body.len();
    if !reply
        .headers
        .iter()
        .any(|(name, _)| *name == "content-length")
    {
        reply.set("content-length", length.to_string());
    }
    if let Some(Fault::Header(name, value)) = fault {
        reply.set(name, value.to_owned());
    }
    let headers: String = reply
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    write!(
        stream,
        "HTTP/1.1 {} Whatever\r\nconnection: close\r\n{headers}\r\n",
        reply.status
    )?;
    if request.method != "HEAD" {
        stream.write_all(&reply.body[..sent.min(length)])?;
    }
    if let Some(Fault::Stall(_)) = fault {
        state.silent.push(stream);
    }
    Ok(())
}

fn answer(state: &State, request: &Request) -> Reply {
    let path = request.path.split('?').next().unwrap_or_default();
    // The dataset of the same name has the same commits.
    let path = path
        .replace("/api/datasets/", "/api/models/")
        .replace("/datasets/org/", "/org/");
    let at = |prefix: &str| path.strip_prefix(prefix).map(str::to_owned);
    if path == "/api/whoami-v2" {
        return Reply::json(&json!({"type": "user", "name": "org"}));
    }
    if let Some(etag) = at("/storage/") {
        let mut files = state.commits.values().flat_map(BTreeMap::values);
        return files
            .find(|file| file.etag == etag)
            .map_or(Reply::error(404, ""), |file| content(file, request));
    }
    if let Some(revision) = at(&format!("/api/models/{REPO}/revision/")) {
        let commit = if revision == "main" {
            state.main.clone()
        } else {
            revision
        };
        if !state.commits.contains_key(&commit) {
            return Reply::error(404, "RevisionNotFound");
        }
        let body = format!(r#"{{"_id": "1", "id": "{REPO}", "sha": "{commit}", "siblings": []}}"#);
        return Reply {
            status: 200,
            headers: vec![],
            body: body.into(),
        };
    }
    if let Some(commit) = at(&format!("/api/models/{REPO}/tree/")) {
        return state
            .commits
            .get(&commit)
            .map_or(Reply::error(404, "RevisionNotFound"), tree);
    }
    if let Some(rest) = at(&format!("/{REPO}/resolve/")) {
        let (revision, name) = rest.split_once('/').unwrap();
        let commit = if revision == "main" {
            &state.main
        } else {
            revision
        };
        let Some(files) = state.commits.get(commit) else {
            return Reply::error(404, "RevisionNotFound");
        };
        let mut reply = match files.get(name) {
            None => Reply::error(404, "EntryNotFound"),
            Some(file) if file.large => Reply {
                status: 302,
                headers: vec![
                    (
                        "location",
                        format!("{}/storage/{}", state.storage, file.etag),
                    ),
                    ("x-linked-etag", format!("\"{}\"", file.etag)),
                    ("x-linked-size", file.bytes.len().to_string()),
                    ("etag", "\"of-the-pointer\"".to_owned()),
                ],
                body: b"Found. Redirecting to the storage".to_vec(),
            },
            Some(_) => {
                let place = request
                    .raw
                    .replace("/datasets/org/", "/org/")
                    .replace(&format!("/resolve/{revision}"), &format!("/{commit}"))
                    .replace("/org/", "/api/resolve-cache/models/org/");
                Reply {
                    status: 307,
                    headers: vec![("location", place)],
                    body: b"Temporary Redirect".to_vec(),
                }
            }
        };
        reply.set("x-repo-commit", commit.to_owned());
        return reply;
    }
    if let Some(rest) = at(&format!("/api/resolve-cache/models/{REPO}/")) {
        let (commit, name) = rest.split_once('/').unwrap();
        let mut reply = content(&state.commits[commit][name], request);
        reply.set("x-repo-commit", commit.to_owned());
        return reply;
    }
    Reply::error(if request.token { 404 } else { 401 }, "RepoNotFound")
}

/// The answer to an upload, or to a question before one.
fn take(state: &mut State, request: &Request) -> Reply {
    let uploads = &mut state.uploads;
    let path = request.path.as_str();
    let kind = path.trim_start_matches("/v1/").split('/').next();
    if let Some(kind @ ("xorbs" | "shards")) = kind.filter(|_| path.starts_with("/v1/")) {
        uploads.stored.push((kind.to_owned(), request.body.len()));
        return Reply::json(&json!({"was_inserted": true, "result": 1}));
    }
    if !request.token {
        return Reply::error(401, "");
    }
    let text = String::from_utf8_lossy(&request.body).into_owned();
    if path == "/api/repos/create" || path.contains("/branch/") {
        let made = match path.rsplit_once("/branch/") {
            Some((_, branch)) => branch.to_owned(),
            None => text,
        };
        if uploads.made.contains(&made) {
            return Reply::error(409, "");
        }
        uploads.made.push(made);
        return Reply::json(&json!({"url": "of the repository"}));
    }
    if path.ends_with("/info/lfs/objects/batch") {
        return Reply::json(&json!({"transfer": "xet", "objects": []}));
    }
    if path.contains("/xet-write-token/") {
        let expires = 4_000_000_000_u64;
        return Reply::json(&json!({"accessToken": "t", "exp": expires, "casUrl": state.storage}));
    }
    let api = format!("/api/models/{REPO}/");
    match path
        .strip_prefix(&api)
        .and_then(|rest| rest.split_once('/'))
    {
        Some(("preupload", _)) => {
            let body: Value = serde_json::from_str(&text).unwrap();
            let mode = |file: &Value| {
                let large = file["path"].as_str().unwrap().ends_with(".safetensors");
                json!({"path": file["path"], "uploadMode": if large { "lfs" } else { "regular" }})
            };
            let files: Vec<Value> = body["files"].as_array().unwrap().iter().map(mode).collect();
            Reply::json(&json!({ "files": files }))
        }
        Some(("commit", revision)) => {
            uploads.commits.push(commit(revision, &text));
            let oid = format!("{:040x}", uploads.commits.len());
            Reply::json(&json!({"success": true, "commitUrl": "", "commitOid": oid}))
        }
        _ => Reply::error(404, "RepoNotFound"),
    }
}

/// Of the lines that describe it.
fn commit(revision: &str, lines: &str) -> Commit {
    let mut commit = Commit {
        revision: revision.to_owned(),
        message: String::new(),
        files: BTreeMap::new(),
    };
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let (value, text) = (&line["value"], |name: &str| {
            line["value"][name].as_str().unwrap_or_default().to_owned()
        });
        let bytes = match line["key"].as_str().unwrap() {
            "header" => {
                commit.message = text("summary");
                continue;
            }
            "file" => {
                assert_eq!(value["encoding"], "base64");
                of_base64(&text("content"))
            }
            "lfsFile" => text("oid").into_bytes(),
            other => panic!("a line of the kind {other}"),
        };
        commit.files.insert(text("path"), bytes);
    }
    commit
}

fn of_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |byte: u8| DIGITS.iter().position(|digit| *digit == byte);
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_usize, 0);
    for value in text.bytes().map_while(digit) {
        bits = (bits << 6 | value) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

fn content(file: &File, request: &Request) -> Reply {
    let headers = vec![
        ("etag", format!("W/\"{}\"", file.etag)),
        ("accept-ranges", "bytes".to_owned()),
    ];
    match request.range {
        None => Reply {
            status: 200,
            headers,
            body: file.bytes.clone(),
        },
        Some((start, end)) => {
            let mut reply = Reply {
                status: 206,
                headers,
                body: file.bytes[start..end].to_vec(),
            };
            reply.set(
                "content-range",
                format!("bytes {start}-{}/{}", end - 1, file.bytes.len()),
            );
            reply
        }
    }
}

fn tree(files: &BTreeMap<String, File>) -> Reply {
    let entry = |(name, file): (&String, &File)| {
        format!(
            r#"{{"type": "file", "path": {name:?}, "size": {}, "oid": "0"}}"#,
            file.bytes.len()
        )
    };
    let mut entries = vec![r#"{"type": "directory", "path": "some", "oid": "0"}"#.to_owned()];
    entries.extend(files.iter().map(entry));
    Reply {
        status: 200,
        headers: vec![],
        body: format!("[{}]", entries.join(", ")).into(),
    }
}
