//! `cargo xtask`: the project's own tasks.
//!
//! It depends on none of the workspace's crates and runs their binaries instead, so that `tidy` and the download of a
//! model never wait for burn to compile.
#![forbid(unsafe_code)]

mod bench;
mod clients;
mod conformance;
mod demo;
mod fuzz;
mod golden;
mod load;
mod packages;
mod parity;
mod project;
mod roundtrip;
mod soak;
mod support;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "The project's own tasks"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build in release, fetch a small chat model once, and let it answer
    Demo(demo::Arguments),
    /// Check the rules of ARCHITECTURE.md that a program can check
    Tidy,
    /// Compare every model family with the reference's outputs
    Conformance(conformance::Arguments),
    /// Make the committed cases and golden files again, where the reference is installed
    Golden(golden::Arguments),
    /// Save every case and let Python load the folders, where the reference is installed
    Roundtrip(roundtrip::Arguments),
    /// Feed damaged files to the readers of weights (needs a nightly compiler and a C++ one)
    Fuzz(fuzz::Arguments),
    /// Compare every tokenizer with the reference's on thousands of texts
    Parity(parity::Arguments),
    /// Run real clients against the server: Python's, Rust's and a browser, where they are installed
    Clients(clients::Arguments),
    /// Load a server with many clients at once, and say how it bears it
    Load(load::Arguments),
    /// Hold the server under load and abuse for long, and check that nothing is lost or leaked
    Soak(soak::Arguments),
    /// Fetch two real models and compare with the reference's answers on them
    Real,
    /// Time the release build beside other engines and the machine's limits; benches/peers/README.md installs them
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Tidy => tidy::run(),
        Task::Conformance(arguments) => conformance::run(&arguments),
        Task::Golden(arguments) => golden::run(&arguments),
        Task::Roundtrip(arguments) => roundtrip::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Parity(arguments) => parity::run(&arguments),
        Task::Clients(arguments) => clients::run(&arguments),
        Task::Load(arguments) => load::run(&arguments),
        Task::Soak(arguments) => soak::run(&arguments),
        Task::Real => demo::run_real_checks(),
        Task::Bench(arguments) => bench::run(&arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
