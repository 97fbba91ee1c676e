//! Runs real clients against the server, on a small real model: the official Python packages, the crate `async-openai`,
//! Python's `transformers chat`, and a browser. Python's `transformers serve` gets our `transformers chat`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use clap::ValueEnum;

use crate::Result;
use crate::packages::SMOLLM2;
use crate::project::{self, cargo, release_binary, root};

/// The name that the model is served under.
const NAME: &str = "smollm2";

#[derive(clap::Args)]
#[command(after_help = "\
Without --only all of them run:

  python       the packages of tests/clients/requirements.txt
  rust         the crate async-openai
  transformers Python's `transformers chat` against our server, and our chat against its `transformers serve`
  page         the page at / in headless Chromium")]
pub struct Arguments {
    /// A Python with the packages of tests/clients/requirements.txt
    #[arg(
        long,
        env = "CLIENTS_PYTHON",
        value_name = "PATH",
        default_value = "python3"
    )]
    python: PathBuf,
    /// A Python with `transformers[serving]`
    #[arg(
        long,
        env = "TRANSFORMERS_PYTHON",
        value_name = "PATH",
        default_value = "python3"
    )]
    transformers_python: PathBuf,
    /// The browser
    #[arg(long, value_name = "PATH", default_value = "/usr/bin/chromium")]
    chromium: PathBuf,
    /// What drives it
    #[arg(long, value_name = "PATH", default_value = "/usr/bin/chromedriver")]
    chromedriver: PathBuf,
    /// Where to keep pictures of the page
    #[arg(long, value_name = "FOLDER")]
    pictures: Option<PathBuf>,
    /// This program instead of the release build
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Only these
    #[arg(long, value_delimiter = ',')]
    only: Vec<Kind>,
}

/// A kind of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Python,
    Rust,
    Transformers,
    Page,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let binary = binary(arguments.binary.as_deref())?;
    let model = SMOLLM2.fetch()?;
    let mut serve = Command::new(&binary);
    serve.arg("serve").arg(&model);
    let server = Server::start(serve.args(["--exact", "--served-model-name", NAME]))?;
    let scratch = tempfile::tempdir()?;
    let mut failed = Vec::new();
    for kind in Kind::value_variants() {
        if !arguments.only.is_empty() && !arguments.only.contains(kind) {
            continue;
        }
        let mut client = match kind {
            Kind::Python => script(&arguments.python, "clients.py", &[&server.url, NAME]),
            Kind::Rust => {
                let mut client = cargo();
                let manifest = root().join("tests/clients/rust/Cargo.toml");
                client
                    .args(["run", "--quiet", "--manifest-path"])
                    .arg(manifest);
                client.args(["--", &server.url, NAME]);
                client
            }
            Kind::Transformers => {
                let folder = scratch.path().join(NAME);
                project::run(
                    Command::new(&binary)
                        .arg("convert")
                        .arg(&model)
                        .arg(&folder),
                )?;
                let python = &arguments.transformers_python;
                let mut client = script(python, "transformers_cli.py", &[&server.url, NAME]);
                client.arg(folder).arg(&binary);
                client
            }
            Kind::Page => {
                let mut client = script(&arguments.python, "page.py", &[&server.url]);
                client.arg(&arguments.chromium).arg(&arguments.chromedriver);
                client.args(&arguments.pictures);
                client
            }
        };
        if let Err(error) = project::run(&mut client) {
            failed.push(error.to_string());
        }
    }
    for error in &failed {
        eprintln!("{error}");
    }
    Ok(match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// A script of `tests/clients`.
fn script(python: &Path, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(python);
    let script = root().join("tests/clients").join(name);
    command.arg("-B").arg(script).args(arguments);
    command
}

/// The release build of `transformers`, unless another program is given.
pub fn binary(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(binary) = given {
        return Ok(binary.to_owned());
    }
    let mut build = cargo();
    let package = ["build", "--release", "--package", "transformers-cli"];
    project::run(build.current_dir(root()).args(package))?;
    release_binary("transformers")
}

/// A server of ours; it ends with this.
pub struct Server {
    pub child: Child,
    pub url: String,
}

impl Server {
    /// At a free port, unless `serve` names one.
    pub fn start(serve: &mut Command) -> Result<Self> {
        if !serve.get_args().any(|argument| argument == "--port") {
            serve.args(["--port", "0"]);
        }
        let mut child = serve.stderr(Stdio::piped()).spawn()?;
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
