//! The memory that there is, and what work takes of it, where the system tells.

use std::fs;
use std::path::Path;

/// Bytes that the process may take before the system or its control group has no more.
pub(crate) fn available() -> Option<u64> {
    let machine = number(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")? * 1024;
    Some(of_groups().map_or(machine, |group| group.min(machine)))
}

/// Where a version of control groups has its files: limit, use, and files that were read and can be dropped.
struct Groups {
    root: &'static str,
    limit: &'static str,
    used: &'static str,
    files: &'static str,
}

const V1: Groups = Groups {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    files: "total_inactive_file",
};
const V2: Groups = Groups {
    root: "/sys/fs/cgroup",
    limit: "memory.max",
    used: "memory.current",
    files: "inactive_file",
};

/// What the control groups of the process, one inside the other, have left.
fn of_groups() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let lines = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let version = match controllers {
            "" => V2,
            _ if controllers.split(',').any(|name| name == "memory") => V1,
            _ => return None,
        };
        version.left_inside(path.trim_start_matches('/'))
    });
    lines.min()
}

impl Groups {
    /// What is left for a group and those around it.
    fn left_inside(&self, path: &str) -> Option<u64> {
        let root = Path::new(self.root);
        let inner = root.join(path);
        let groups = inner
            .ancestors()
            .take_while(|group| group.starts_with(root));
        groups.filter_map(|group| self.left(group)).min()
    }

    /// What a group has left, if it is limited.
    fn left(&self, group: &Path) -> Option<u64> {
        let read = |name: &str| fs::read_to_string(group.join(name)).ok();
        let limit: u64 = read(self.limit)?.trim().parse().ok()?;
        let used: u64 = read(self.used)?.trim().parse().ok()?;
        let files = read("memory.stat").and_then(|stat| number(&stat, self.files));
        Some(limit.saturating_sub(used.saturating_sub(files.unwrap_or_default())))
    }
}

/// The number after a name at the beginning of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Measures how much more memory the process has at its highest than it had when this was made.
pub(crate) struct Growth {
    before: u64,
}

impl Growth {
    /// From now on. `None`: the system does not tell.
    pub fn new() -> Option<Self> {
        let before = status("VmRSS:")?;
        let growth = Self { before };
        growth.reset().map(|()| growth)
    }

    /// Forgets what was highest so far.
    pub fn reset(&self) -> Option<()> {
        fs::write("/proc/self/clear_refs", "5").ok()
    }

    /// Bytes at the highest since the last reset.
    pub fn peak(&self) -> Option<u64> {
        Some(status("VmHWM:")?.saturating_sub(self.before))
    }
}

fn status(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some(number(&status, name)? * 1024)
}

/// Bytes that an optimizer keeps for each number that learns.
pub(crate) fn state_bytes(optim: &str) -> usize {
    match optim {
        "adafactor" | "sgd" => 0,
        "schedule_free_sgd" | "lion_32bit" | "paged_lion_32bit" | "adagrad" | "rmsprop"
        | "muon" => 4,
        "ademamix" | "paged_ademamix_32bit" => 12,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_are_found() {
        let text = "MemTotal:  10 kB\nMemAvailable:   5 kB\ninactive_file 7\n";
        assert_eq!(number(text, "MemAvailable:"), Some(5));
        assert_eq!(number(text, "inactive_file"), Some(7));
        assert_eq!(number(text, "Mem:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_work_takes_is_seen() {
        let free = available().unwrap();
        let growth = Growth::new().unwrap();
        let bytes = std::hint::black_box(vec![1_u8; 64 << 20]);
        let peak = growth.peak().unwrap();
        drop(bytes);
        assert!(peak > 60 << 20, "{peak}");
        assert!(free > 0);
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("memory.max", "max\n");
        write("memory.current", "60\n");
        assert_eq!(V2.left(folder.path()), None);
        write("memory.max", "100\n");
        assert_eq!(V2.left(folder.path()), Some(40));
        write("memory.stat", "file 9\ninactive_file 20\n");
        assert_eq!(V2.left(folder.path()), Some(60));
    }
}
