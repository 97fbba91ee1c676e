//! Runs the official Python clients against the server, on a small real model.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};

use crate::Result;
use crate::packages::SMOLLM2;
use crate::project::{self, cargo, hand_over, release_binary, root};

/// The name that the model is served under.
const NAME: &str = "smollm2";

#[derive(clap::Args)]
pub struct Arguments {
    /// A Python with the packages of tests/clients/requirements.txt
    #[arg(long, env = "CLIENTS_PYTHON", value_name = "PATH")]
    python: PathBuf,
    /// This program instead of the release build
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => {
            let mut build = cargo();
            let package = ["build", "--release", "--package", "transformers-cli"];
            project::run(build.current_dir(root()).args(package))?;
            release_binary("transformers")?
        }
    };
    let mut serve = Command::new(binary);
    serve.arg("serve").arg(SMOLLM2.fetch()?);
    let server = Server::start(serve.args(["--exact", "--served-model-name", NAME]))?;
    let mut script = Command::new(&arguments.python);
    script
        .arg("-B")
        .arg(root().join("tests/clients/clients.py"));
    hand_over(script.args([&server.url, NAME]))
}

/// A server at a free port; it ends with this.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(serve: &mut Command) -> Result<Self> {
        let serve = serve.args(["--port", "0"]).stderr(Stdio::piped());
        let mut child = serve.spawn()?;
        let stderr = child.stderr.take().ok_or("the server has no stderr")?;
        let mut lines = BufReader::new(stderr)
            .lines()
            .map_while(std::io::Result::ok);
        let url = lines.find_map(|line| {
            let url = line.strip_prefix("listening at ").map(str::to_owned);
            if url.is_none() {
                eprintln!("{line}");
            }
            url
        });
        // What it says later is for the terminal.
        std::thread::spawn(move || lines.for_each(|line| eprintln!("{line}")));
        let url = url.ok_or("the server did not start")?;
        Ok(Self { child, url })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
