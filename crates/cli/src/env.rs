//! `transformers env`: what a bug report needs.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use transformers::modeling::available_devices;

use crate::failure::Result;
use crate::output::print;

/// Print what this binary and this machine are: for bug reports, and to see which devices are found.
#[derive(Debug, Args)]
pub struct Arguments {}

/// Variables that the hub reads.
const VARIABLES: [&str; 14] = [
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_HUB_DOWNLOAD_TIMEOUT",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_TOKEN_PATH",
    "XDG_CACHE_HOME",
    "HTTPS_PROXY",
    "RUST_LOG",
];

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
        &cache_folder().map_or_else(|| "none".to_owned(), |folder| folder.display().to_string()),
    )?;
    for name in VARIABLES {
        if let Some(value) = set(name) {
            line(
                "variable",
                &format!("{name}={}", if is_secret(name) { "(set)" } else { &value }),
            )?;
        }
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

/// Where downloads are kept, by the variables.
fn cache_folder() -> Option<PathBuf> {
    let path = |name: &str| set(name).map(PathBuf::from);
    let cache = || path("XDG_CACHE_HOME").or_else(|| Some(env::home_dir()?.join(".cache")));
    let home = || path("HF_HOME").or_else(|| Some(cache()?.join("huggingface")));
    path("HF_HUB_CACHE")
        .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| Some(home()?.join("hub")))
}

fn set(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Tokens, and proxies, whose address may hold a password.
fn is_secret(name: &str) -> bool {
    name.ends_with("TOKEN") || name.ends_with("PROXY")
}
