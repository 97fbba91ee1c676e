//! The binary as a user runs it, and models to run it on.
#![allow(dead_code, clippy::unwrap_used)]

#[cfg(target_os = "linux")]
pub mod terminal;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

pub const QUESTION: &str = "What is the capital of France?";
pub const ANSWER: &str = "The capital of France is Paris.\n";

pub fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../transformers/tests/tiny")
}

pub fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/cases")
        .join(name)
}

/// The binary with a clean environment; `MODEL` among the arguments is the tiny model.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_transformers"));
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("HF_") || name == "RUST_LOG")
    {
        command.env_remove(name);
    }
    command.env("HF_HUB_OFFLINE", "1").stdin(Stdio::null());
    command.args(arguments.iter().map(|argument| match *argument {
        "MODEL" => tiny().into_os_string(),
        argument => argument.into(),
    }));
    command
}

/// Runs the binary to its end, with this on stdin.
pub fn with_stdin(arguments: &[&str], stdin: &str) -> Output {
    let mut command = command(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(stdin.as_bytes()).unwrap();
    drop(input);
    child.wait_with_output().unwrap()
}

/// `transformers serve` of the tiny model under the name `tiny`; it ends with this.
pub struct Server {
    pub child: Child,
    pub url: String,
}

impl Server {
    /// At a free port.
    pub fn start(more: &[&str]) -> Self {
        Self::start_at("0", more)
    }

    pub fn start_at(port: &str, more: &[&str]) -> Self {
        let name = ["--served-model-name", "tiny"];
        let mut command = command(&["serve", "MODEL", "--port", port]);
        command.args(name).args(more).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = lines.find_map(|line| {
            let line = line.unwrap();
            line.strip_prefix("listening at ").map(str::to_owned)
        });
        Self {
            child,
            url: url.unwrap(),
        }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
pub fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}: {}",
        output.status,
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[track_caller]
pub fn check(arguments: &[&str], expected: &str) {
    assert_eq!(stdout(&command(arguments).output().unwrap()), expected);
}

/// One line on stderr with every one of `expected`, nothing on stdout, and the exit code.
#[track_caller]
pub fn check_error(arguments: &[&str], code: i32, expected: &[&str]) {
    let output = command(arguments).output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(
        stderr.starts_with("error: ") && output.stdout.is_empty(),
        "{stderr}"
    );
    assert!(code == 2 || stderr.lines().count() == 1, "{stderr}");
    for part in expected {
        assert!(stderr.contains(part), "{part} is not in: {stderr}");
    }
}
