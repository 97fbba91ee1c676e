//! The binary at a terminal. `script`, of every Linux, makes one; it goes by what is typed and what is shown.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::command;

/// How long anything may take to be shown.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program at a terminal; it ends with this.
pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    shown: Receiver<String>,
    /// What was shown and not yet waited for.
    rest: String,
}

impl Terminal {
    /// Starts the binary with these arguments, none of which has a quote, and variables.
    pub fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let program = command(arguments);
        let words = std::iter::once(program.get_program()).chain(program.get_args());
        let words: Vec<String> = words
            .map(|word| format!("'{}'", word.to_str().unwrap()))
            .collect();
        let mut script = Command::new("script");
        script
            .args(["--quiet", "--return", "--flush", "--echo", "never"])
            .args(["--command", &format!("exec {}", words.join(" "))])
            .arg("/dev/null")
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = script.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (sender, shown) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = stdout.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        Self {
            keys: child.stdin.take().unwrap(),
            child,
            shown,
            rest: String::new(),
        }
    }

    pub fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// A line, and the key that sends it.
    pub fn enter(&mut self, line: &str) {
        self.keys(&format!("{line}\r"));
    }

    pub fn ctrl(&mut self, letter: char) {
        let control = char::from(letter as u8 & 0x1f);
        self.keys(&control.to_string());
    }

    /// Waits until this is shown, and gives what was until then.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.rest.find(text) {
                let rest = self.rest.split_off(at + text.len());
                return std::mem::replace(&mut self.rest, rest);
            }
            match self.shown.recv_timeout(PATIENCE) {
                Ok(more) => self.rest += &more,
                Err(error) => panic!("{text:?} is not shown ({error}), but {:?}", self.rest),
            }
        }
    }

    /// Waits for the program's end, and gives its code.
    #[track_caller]
    pub fn end(&mut self) -> Option<i32> {
        loop {
            match self.shown.recv_timeout(PATIENCE) {
                Ok(more) => self.rest += &more,
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap().code(),
                Err(RecvTimeoutError::Timeout) => panic!("it goes on: {:?}", self.rest),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
