//! Downloads from a hub on this machine, into a cache of their own, with every failure that a hub knows.
//!
//! The harness is not Rust's, because the tests need an environment without `HF_HUB_OFFLINE`, tokens and proxies,
//! whatever the one they are started from: `main` starts itself again without them.
#![allow(clippy::unwrap_used)]

/// The cases of a file; one that is forgotten is dead code.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// Every case of this file, by its name.
        pub const ALL: &[(&str, fn())] = &[$((stringify!($name), $name)),*];
    };
}

mod case;
mod download;
mod embedded;
mod failures;
mod hostile;
mod server;
mod upload;

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let foreign = |name: &str| {
        let name = name.to_uppercase();
        name.starts_with("HF_")
            || name.starts_with("HUGGING")
            || name.starts_with("TRANSFORMERS_")
            || name.ends_with("_PROXY")
    };
    let foreign: Vec<_> = std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| name.to_str().is_some_and(foreign))
        .collect();
    if foreign.is_empty() {
        let cases = [
            download::ALL,
            embedded::ALL,
            failures::ALL,
            hostile::ALL,
            upload::ALL,
        ]
        .concat();
        let trials = cases.into_iter().map(|(name, case)| {
            Trial::test(name, move || {
                case();
                Ok(())
            })
        });
        return libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code();
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    for name in foreign {
        again.env_remove(name);
    }
    let status = again.args(std::env::args_os().skip(1)).status().unwrap();
    if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
