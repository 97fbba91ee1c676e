//! `transformers env`: what a bug report needs.

use std::collections::BTreeMap;
use std::env;
use std::process::ExitCode;

use clap::Args;
use transformers_hub::cache_folder;
use transformers_modeling::available_devices;

use crate::failure::Result;
use crate::output::print;

/// Print what this binary and this machine are: for bug reports, and to see which devices are found.
#[derive(Debug, Args)]
pub struct Arguments {}

/// What variables that matter begin with.
const PREFIXES: [&str; 3] = ["HF_", "HUGGING", "TRANSFORMERS_"];

pub fn run(Arguments {}: &Arguments) -> Result {
    let line = |name: &str, value: &str| print(format_args!("{name:<13} {value}\n"));
    line("version", env!("CARGO_PKG_VERSION"))?;
    line("features", &features().join(", "))?;
    line(
        "system",
        &format!("{} {}", env::consts::OS, env::consts::ARCH),
    )?;
    line(
        "cpu",
        &format!("{} threads; {}", threads(), cpu_features().join(", ")),
    )?;
    for device in available_devices() {
        line("device", &device.to_string())?;
    }
    line(
        "cache",
        &cache_folder().map_or_else(
            |error| error.to_string(),
            |folder| folder.display().to_string(),
        ),
    )?;
    for (name, value) in variables() {
        line("variable", &format!("{name}={value}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn features() -> Vec<&'static str> {
    let all = [
        ("http", cfg!(feature = "http")),
        ("wgpu", cfg!(feature = "wgpu")),
        ("cuda", cfg!(feature = "cuda")),
    ];
    all.into_iter()
        .filter_map(|(name, on)| on.then_some(name))
        .collect()
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The features of this CPU that kernels are chosen by.
fn cpu_features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let all = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ];
    #[cfg(target_arch = "aarch64")]
    let all = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        (
            "dotprod",
            std::arch::is_aarch64_feature_detected!("dotprod"),
        ),
        ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
        ("bf16", std::arch::is_aarch64_feature_detected!("bf16")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let all: [(&str, bool); 0] = [];
    all.into_iter()
        .filter_map(|(name, on)| on.then_some(name))
        .collect()
}

/// The variables that are set, in order, with no token's value.
fn variables() -> BTreeMap<String, String> {
    let named = env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value));
    let ours = named.filter(|(name, _)| PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
    let shown = ours.map(|(name, value)| match name.ends_with("TOKEN") {
        true => (name, "(set)".to_owned()),
        false => (name, value.to_string_lossy().into_owned()),
    });
    shown.collect()
}
