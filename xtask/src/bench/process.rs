//! Running a program and seeing how long it took, what it said, and how much memory it held.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// How a program went.
pub struct Finished {
    pub stdout: String,
    pub seconds: f64,
}

/// Runs a program to its end; its failure is an error with the last that it said.
pub fn run(command: &mut Command) -> Result<Finished> {
    let mut errors = tempfile::tempfile()?;
    let start = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .stderr(errors.try_clone()?)
        .output()
        .map_err(|error| cannot_start(command, &error))?;
    let seconds = start.elapsed().as_secs_f64();
    if !output.status.success() {
        let last = last_line(&mut errors)?;
        return Err(format!("{}: {last}", output.status).into());
    }
    Ok(Finished {
        stdout: String::from_utf8(output.stdout)?,
        seconds,
    })
}

/// Runs a program to its end; the most memory that it held, in MB.
pub fn peak_memory(command: &mut Command) -> Result<f64> {
    let mut errors = tempfile::tempfile()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors.try_clone()?)
        .spawn()
        .map_err(|error| cannot_start(command, &error))?;
    let mut peak = None;
    let status = loop {
        // A process that has ended keeps no memory to look at.
        peak = memory_so_far(&child).or(peak);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        thread::sleep(Duration::from_millis(5));
    };
    if !status.success() {
        return Err(format!("{status}: {}", last_line(&mut errors)?).into());
    }
    Ok(peak.ok_or(NO_PROC)?)
}

pub const NO_PROC: &str = "memory is measured on Linux only (VmHWM of /proc)";

/// The most memory that a running process has held so far, mapped files included, in MB.
pub fn memory_so_far(child: &Child) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    high_water_mark(&status)
}

fn high_water_mark(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// The last line of what a program wrote to this file.
pub fn last_line(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    Ok(last.unwrap_or("it said nothing").trim().to_owned())
}

pub fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!(
        "cannot start {}: {error}",
        command.get_program().to_string_lossy()
    )
}

/// Cores that others may keep busy on a machine that counts as idle.
pub const IDLE: f64 = 0.2;

/// Waits until others leave the machine alone, at most for `patience`; how many cores they kept busy in the end.
pub fn wait_until_idle(patience: Duration) -> Option<f64> {
    let start = Instant::now();
    loop {
        let busy = busy_cores()?;
        if busy < IDLE || start.elapsed() >= patience {
            return Some(busy);
        }
    }
}

/// How many cores are busy, over a moment in which this run does nothing.
fn busy_cores() -> Option<f64> {
    const MOMENT: Duration = Duration::from_millis(300);
    /// Of the counts in /proc/stat, on every machine that Rust runs on.
    const TICKS_PER_SECOND: f64 = 100.0;

    let ticks = || busy_ticks(&fs::read_to_string("/proc/stat").ok()?);
    let before = ticks()?;
    thread::sleep(MOMENT);
    Some((ticks()? - before) / TICKS_PER_SECOND / MOMENT.as_secs_f64())
}

/// user, nice, system, irq and softirq of the line for all cores; not idle and iowait.
fn busy_ticks(stat: &str) -> Option<f64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    let busy = [0, 1, 2, 5, 6].map(|field| ticks.get(field));
    busy.into_iter().sum::<Option<f64>>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read() {
        let status = "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t  1000000 kB\nVmRSS:\t  5 kB\n";
        assert_eq!(high_water_mark(status), Some(1024.0));
        assert_eq!(high_water_mark("Name:\tzombie\n"), None);
        let stat = "cpu  10 20 30 4000 500 6 7 0 0 0\ncpu0 1 1 1 1 1 1 1 0 0 0\n";
        assert_eq!(busy_ticks(stat), Some(73.0));
        assert_eq!(busy_ticks("cpu  10 20"), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_failure_carries_the_last_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo first >&2; echo 'no such model' >&2; exit 3"]);
        let error = run(&mut command).err().expect("it failed").to_string();
        assert!(
            error.contains('3') && error.ends_with(": no such model"),
            "{error}"
        );
        let finished = run(Command::new("echo").arg("42")).expect("echo works");
        assert_eq!(finished.stdout, "42\n");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_is_seen_while_a_program_runs() {
        let peak = peak_memory(Command::new("sleep").arg("0.05")).expect("sleep works");
        assert!(peak > 0.1 && peak < 100.0, "{peak}");
    }
}
