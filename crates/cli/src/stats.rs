//! What `generate --stats` tells at the end: the file, times and speeds, on stderr.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use transformers_generation::Generated;
use transformers_hub::{HubError, ModelFiles};

/// Collected on the way.
#[derive(Debug)]
pub struct Stats {
    /// When the process began.
    pub start: Instant,
    /// What the model was read from.
    pub location: PathBuf,
    /// How long loading took.
    pub load: Duration,
    /// When the generation began.
    pub generate: Instant,
}

impl Stats {
    /// Writes them.
    pub fn report(&self, generated: &Generated) {
        let timing = generated.timing;
        let line = |name: &str, value: String| eprintln!("{name:<12} {value}");
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        let rate = |count: usize, rate: f64| format!("{count} tokens, {rate:.1} tokens/s");
        eprintln!();
        line("file", self.location.display().to_string());
        line("load", seconds(self.load));
        line("prompt", rate(timing.prompt_tokens, timing.prefill_rate()));
        line(
            "generated",
            rate(generated.new_tokens(0).len(), timing.decode_rate()),
        );
        line(
            "first token",
            format!(
                "{} after the start",
                seconds(self.generate - self.start + timing.prefill)
            ),
        );
        if let Some(bytes) = peak_memory() {
            line("peak memory", format!("{} MiB", bytes >> 20));
        }
    }
}

/// The GGUF file, or the folder of the config.
pub fn location(files: &ModelFiles) -> Result<PathBuf, HubError> {
    if let Some(file) = files.gguf()? {
        return Ok(file);
    }
    let config = files.require("config.json")?;
    Ok(config.parent().map_or(config.clone(), PathBuf::from))
}

/// The most memory that the process held at once, where the system tells (Linux).
pub fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_at_least_what_is_held() {
        let held = vec![1_u8; 64 << 20];
        assert!(peak_memory() > Some(held.iter().map(|byte| u64::from(*byte)).sum()));
    }
}
