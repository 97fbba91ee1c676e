//! A server that is started to be loaded.

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Result;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(600);

/// A running server; it ends with this.
pub struct Started(Child);

impl Started {
    /// Runs `command` in a shell, asks until there is an answer, and says how long that took.
    pub fn new(command: &str, ask: impl Fn() -> Result<()>) -> Result<Self> {
        let begin = Instant::now();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec {command}")]);
        shell.stdin(Stdio::null()).stdout(Stdio::null());
        let mut server = Self(shell.spawn()?);
        loop {
            let answered = ask();
            let time = begin.elapsed();
            match answered {
                Ok(()) => {
                    println!("first answer {:.2} s after the start", time.as_secs_f64());
                    return Ok(server);
                }
                Err(error) if time > PATIENCE => return Err(error),
                Err(_) => {}
            }
            if let Some(status) = server.0.try_wait()? {
                return Err(format!("`{command}` ended with {status}").into());
            }
            sleep(Duration::from_millis(10));
        }
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
