//! Builds and runs the conformance binary of the package `transformers-tests`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::ValueEnum;

use crate::Result;
use crate::project::{cargo, hand_over, root};
use crate::support;

#[derive(clap::Args)]
pub struct Arguments {
    /// Folders of cases [default: tests/cases]
    folders: Vec<PathBuf>,
    /// Where the models run; `wgpu` and `cuda` build with the feature of that name
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    device: Device,
    /// Write the support table of the docs from the result
    #[arg(long, conflicts_with = "folders")]
    write_support: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Device {
    Cpu,
    Wgpu,
    Cuda,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if !arguments.write_support {
        return hand_over(&mut command(arguments));
    }
    let scratch = tempfile::tempdir()?;
    let result = scratch.path().join("conformance.json");
    let code = hand_over(command(arguments).arg("--json").arg(&result))?;
    if code == ExitCode::SUCCESS {
        let table = support::render(&fs::read_to_string(&result)?)?;
        write(&root().join(support::FILE), &table)?;
        eprintln!("wrote {}", support::FILE);
    }
    Ok(code)
}

fn command(arguments: &Arguments) -> Command {
    let device = arguments
        .device
        .to_possible_value()
        .expect("no device is hidden from the command line");
    let device = device.get_name();

    let mut command = cargo();
    command.args([
        "run",
        "--package",
        "transformers-tests",
        "--bin",
        "conformance",
    ]);
    match arguments.device {
        Device::Cpu => {}
        Device::Wgpu | Device::Cuda => {
            command.args(["--features", device]);
        }
    }
    eprintln!(
        "Building the conformance binary (debug, {device}); the first build takes several minutes."
    );
    command.args(["--", "--device", device]);
    if arguments.folders.is_empty() {
        command.arg(root().join("tests/cases"));
    }
    command.args(&arguments.folders);
    command
}

/// Writes a file whole or not at all.
fn write(file: &Path, text: &str) -> Result<()> {
    let temporary = file.with_extension("tmp");
    fs::write(&temporary, text)?;
    fs::rename(&temporary, file)?;
    Ok(())
}
