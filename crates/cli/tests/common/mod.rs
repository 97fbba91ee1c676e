//! The binary as a user runs it, and models to run it on.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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
