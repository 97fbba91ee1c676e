//! What every file and every crate of the repository has to look like.

use super::{Complaint, Crate, Project, SourceFile};
use crate::support;

const LARGEST_FILE: u64 = 1 << 20;
/// The model that is part of the library.
const EMBEDDED: &str = "crates/hub/model/model.safetensors";
const LONGEST_FILE: usize = 800;
const LONGEST_MODEL_FILE: usize = 1000;
const MODEL_FILES: &str = "crates/modeling/src/models/";

/// Modules are named by concept, not by kind.
const NAMES_THAT_SAY_NOTHING: &[&str] = &[
    "utils.rs",
    "util.rs",
    "helpers.rs",
    "types.rs",
    "misc.rs",
    "common.rs",
];

/// Folders of one machine. In two parts, so that this file passes.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/fa", "rm/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("../", "shared"),
];

/// Hosts and settings of one network's package mirror.
const MIRRORS: &[&str] = &[
    concat!("index-", "url"),
    concat!("INDEX_", "URL"),
    concat!("replace-", "with ="),
    concat!(".internal", "/"),
    concat!(".lan", "/"),
    concat!(".corp", "/"),
];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The crates whose unsafe code is looked at block by block; every other one forbids it.
const UNSAFE_CRATES: &[(&str, &str)] = &[
    ("transformers-weights", "#![deny(unsafe_code)]"),
    ("transformers-kernels", "#![deny(unsafe_op_in_unsafe_fn)]"),
];

const CASES: &str = "tests/cases/";

/// Complaints about files and crates.
pub fn check(project: &Project) -> Vec<Complaint> {
    let files = project.files.iter().flat_map(check_file);
    let crates = project
        .crates
        .iter()
        .flat_map(|krate| check_crate(krate, &project.files));
    files
        .chain(crates)
        .chain(check_support_table(&project.files))
        .collect()
}

fn check_file(file: &SourceFile) -> Vec<Complaint> {
    let path = &file.path;
    let mut complaints = Vec::new();
    if file.bytes > LARGEST_FILE && *path != EMBEDDED {
        complaints.push(format!(
            "{path}: {} bytes; no tracked file is above 1 MiB",
            file.bytes
        ));
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        complaints.extend(check_line(path, line).map(|what| format!("{path}:{number}: {what}")));
    }
    if path.ends_with(".rs") {
        complaints.extend(check_rust_file(file).map(|what| format!("{path}: {what}")));
    }
    complaints
}

fn check_line(path: &str, line: &str) -> Option<String> {
    if path == "Cargo.lock" {
        let source = line.strip_prefix("source = ")?.trim_matches('"');
        return (source != CRATES_IO).then(|| format!("the source {source} is not crates.io"));
    }
    if let Some(folder) = MACHINE_PATHS
        .iter()
        .find(|folder| names_folder(line, folder))
    {
        return Some(format!("names {folder}, a folder of one machine"));
    }
    let mirror = MIRRORS.iter().find(|mirror| line.contains(**mirror))?;
    Some(format!("names a package mirror of one network ({mirror})"))
}

/// Whether a line has an absolute path into `folder` (and not a longer path that contains its name).
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_-.~}$*/".contains(c))
    })
}

fn check_rust_file(file: &SourceFile) -> impl Iterator<Item = String> {
    let path = &file.path;
    let name = path.rsplit('/').next().unwrap_or(path);
    let named = NAMES_THAT_SAY_NOTHING
        .contains(&name)
        .then(|| "named by kind; name it by its concept".to_owned());

    let lines = file.text.lines().count();
    let most = if path.starts_with(MODEL_FILES) {
        LONGEST_MODEL_FILE
    } else {
        LONGEST_FILE
    };
    let long = (lines >= most).then(|| format!("{lines} lines; split it below {most}"));

    let documented = file.text.starts_with("//!") || file.text.trim().is_empty();
    let undocumented = (!documented)
        .then(|| "does not open with module docs (`//!`: what this is and why)".to_owned());
    named.into_iter().chain(long).chain(undocumented)
}

fn check_crate(krate: &Crate, files: &[SourceFile]) -> Vec<Complaint> {
    let manifest = format!("{}/Cargo.toml", krate.folder);
    let text = |path: &str| {
        files
            .iter()
            .find(|file| file.path == path)
            .map_or("", |file| &file.text)
    };
    let mut complaints = Vec::new();
    if krate
        .description
        .as_deref()
        .unwrap_or_default()
        .trim()
        .is_empty()
    {
        complaints.push(format!("{manifest}: no description"));
    }
    if !text(&manifest).contains("[lints]\nworkspace = true") {
        complaints.push(format!("{manifest}: does not take the workspace's lints"));
    }
    let unsafe_crate = UNSAFE_CRATES.iter().find(|(name, _)| *name == krate.name);
    let attribute = unsafe_crate.map_or("#![forbid(unsafe_code)]", |(_, attribute)| attribute);
    let without = krate
        .roots
        .iter()
        .filter(|path| !text(path).contains(attribute));
    complaints.extend(without.map(|path| format!("{path}: has no {attribute}")));
    complaints
}

/// The support table is generated: it has to list the cases that there are.
fn check_support_table(files: &[SourceFile]) -> Option<Complaint> {
    let table = files
        .iter()
        .find(|file| file.path == support::FILE)
        .map_or("", |file| &file.text);
    let cases = files
        .iter()
        .filter_map(|file| file.path.strip_prefix(CASES)?.strip_suffix("/ref.json"));
    let missing: Vec<_> = cases
        .filter(|case| !table.contains(&format!("\n| {case} |")))
        .collect();
    (!missing.is_empty()).then(|| {
        let missing = missing.join(", ");
        format!(
            "{}: no row for {missing}; run `cargo xtask conformance --write-support`",
            support::FILE
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile {
            path: path.into(),
            bytes: text.len() as u64,
            text: text.into(),
        }
    }

    #[track_caller]
    fn check_text(path: &str, text: &str, expect: &[&str]) {
        assert_eq!(check_file(&file(path, text)), expect);
    }

    #[test]
    fn rust_files() {
        check_text("crates/hub/src/cache.rs", "//! The cache.\n", &[]);
        check_text(
            "crates/hub/src/utils.rs",
            "//! Things.\n",
            &["crates/hub/src/utils.rs: named by kind; name it by its concept"],
        );
        check_text(
            "crates/hub/src/cache.rs",
            "use std::fs;\n",
            &[
                "crates/hub/src/cache.rs: does not open with module docs (`//!`: what this is and why)",
            ],
        );

        let long = "//! Long.\n".repeat(LONGEST_FILE);
        check_text(
            "crates/hub/src/lib.rs",
            &long,
            &["crates/hub/src/lib.rs: 800 lines; split it below 800"],
        );
        check_text("crates/modeling/src/models/gemma3.rs", &long, &[]);
    }

    #[test]
    fn machine_paths() {
        let named = |line: &str| check_line("README.md", line).is_some();
        for folder in MACHINE_PATHS {
            assert!(named(&format!("see {folder}x")), "{folder}");
        }
        let root = concat!("/ro", "ot/");
        assert!(named(&format!("\"{root}cache\"")));
        assert!(!named(&format!("crates{root}lib.rs")));
        assert!(!named(&format!("~{root}lib.rs")));
    }

    #[test]
    fn package_mirrors() {
        assert!(check_line("pip.conf", concat!("index-", "url = https://pypi.org")).is_some());
        let lock = |source: &str| check_line("Cargo.lock", &format!("source = \"{source}\""));
        assert_eq!(lock(CRATES_IO), None);
        assert!(lock("registry+https://mirror.example/index").is_some());
    }

    #[test]
    fn large_files() {
        let mut large = file("tests/cases/llama/model.safetensors", "");
        large.bytes = LARGEST_FILE;
        assert_eq!(check_file(&large), [""; 0]);
        large.bytes += 1;
        let expect =
            "tests/cases/llama/model.safetensors: 1048577 bytes; no tracked file is above 1 MiB";
        assert_eq!(check_file(&large), [expect]);
    }

    #[test]
    fn crates() {
        let krate = |name: &str, description: &str| Crate {
            name: name.into(),
            folder: "crates/x".into(),
            description: Some(description.into()),
            dependencies: Vec::new(),
            roots: vec!["crates/x/src/lib.rs".into()],
        };
        let files = [
            file("crates/x/Cargo.toml", "[lints]\nworkspace = true\n"),
            file("crates/x/src/lib.rs", "//! X.\n#![forbid(unsafe_code)]\n"),
        ];
        assert_eq!(
            check_crate(&krate("transformers-hub", "X"), &files),
            [""; 0]
        );
        assert_eq!(
            check_crate(&krate("transformers-hub", ""), &files),
            ["crates/x/Cargo.toml: no description"]
        );
        assert_eq!(
            check_crate(&krate("transformers-weights", "X"), &files),
            ["crates/x/src/lib.rs: has no #![deny(unsafe_code)]"]
        );
        assert_eq!(
            check_crate(&krate("transformers-hub", "X"), &[]),
            [
                "crates/x/Cargo.toml: does not take the workspace's lints",
                "crates/x/src/lib.rs: has no #![forbid(unsafe_code)]"
            ]
        );
    }

    #[test]
    fn the_support_table_lists_every_case() {
        let files = [
            file(support::FILE, "| case |\n|---|\n| llama | x |\n"),
            file("tests/cases/llama/ref.json", "{}"),
            file("tests/cases/bert/ref.json", "{}"),
        ];
        let expect =
            "docs/src/support.md: no row for bert; run `cargo xtask conformance --write-support`";
        assert_eq!(check_support_table(&files).as_deref(), Some(expect));
    }
}
