//! Which crate may depend on which: the table of ARCHITECTURE.md.

use super::{Complaint, Crate, Project};

/// The facade; what it re-exports must not need it.
const FACADE: &str = "burn-transformers";

/// A layer, and the layers right below it. It may depend on those and on everything that they may depend on.
const LAYERS: &[(&str, &[&str])] = &[
    ("hub", &[]),
    ("config", &["hub"]),
    ("weights", &["config", "kernels"]),
    ("tokenization", &["config"]),
    ("processing", &["config"]),
    ("kernels", &[]),
    ("ops", &["kernels", BURN]),
    ("modeling", &["weights", "ops", BURN]),
    ("generation", &["modeling", "tokenization"]),
    ("trainer", &["generation", "processing"]),
    ("pipelines", &["generation", "processing"]),
    ("server", &["generation", "pipelines"]),
    ("cli", ALL),
    (FACADE, ALL),
];

const BURN: &str = "burn";
const ALL: &[&str] = &["trainer", "pipelines", "server"];

/// Crates that open sockets, and the layers that may use them.
const NETWORK_CRATES: &[&str] = &["hf-hub", "reqwest", "ureq", "hyper", "tokio", "axum"];
const NETWORK_LAYERS: &[&str] = &["hub", "server", "cli"];

/// Complaints about dependencies.
pub fn check(project: &Project) -> Vec<Complaint> {
    project.crates.iter().flat_map(check_crate).collect()
}

fn check_crate(krate: &Crate) -> Vec<Complaint> {
    let manifest = format!("{}/Cargo.toml", krate.folder);
    let ours = krate.dependencies.iter().filter_map(|name| layer(name));
    if krate.folder == "xtask" {
        return ours
            .map(|l| format!("{manifest}: xtask depends on none of our crates, but on {l}"))
            .collect();
    }
    if !krate.folder.starts_with("crates/") {
        return Vec::new();
    }
    let Some(layer) = layer(&krate.name) else {
        return vec![format!(
            "{manifest}: {} is no `transformers-<layer>`",
            krate.name
        )];
    };
    if !LAYERS.iter().any(|(name, _)| *name == layer) {
        return vec![format!(
            "{manifest}: the layer {layer} is not in the table of xtask/src/tidy/layers.rs"
        )];
    }
    let below = |name: &str| below(layer).contains(&name);
    let mut complaints: Vec<_> = ours
        .filter(|l| *l != layer && !below(l))
        .map(|l| format!("{manifest}: {layer} may not depend on {l}"))
        .collect();
    if !below(BURN) {
        let burn = krate.dependencies.iter().filter(|name| is_burn(name));
        complaints.extend(
            burn.map(|name| {
                format!("{manifest}: {layer} does not know burn, but depends on {name}")
            }),
        );
    }
    if !NETWORK_LAYERS.contains(&layer) {
        let network = krate
            .dependencies
            .iter()
            .filter(|name| NETWORK_CRATES.contains(&name.as_str()));
        complaints.extend(network.map(|name| {
            format!("{manifest}: only hub opens a socket, but {layer} depends on {name}")
        }));
    }
    complaints
}

/// The layer that a crate of ours is, or nothing for a crate from outside.
fn layer(krate: &str) -> Option<&str> {
    if krate == FACADE {
        Some(FACADE)
    } else {
        krate.strip_prefix("transformers-")
    }
}

fn is_burn(krate: &str) -> bool {
    krate != FACADE
        && ["burn", "cubecl"]
            .iter()
            .any(|name| krate == *name || krate.starts_with(&format!("{name}-")))
}

/// Every layer that `layer` may depend on.
fn below(layer: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut open = vec![layer];
    while let Some(next) = open.pop() {
        let direct = LAYERS
            .iter()
            .find(|(name, _)| *name == next)
            .map_or(&[][..], |(_, direct)| direct);
        let new: Vec<_> = direct
            .iter()
            .copied()
            .filter(|name| !found.contains(name))
            .collect();
        found.extend(&new);
        open.extend(new);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_dependencies(folder: &str, name: &str, dependencies: &[&str], expect: &[&str]) {
        let krate = Crate {
            name: name.into(),
            folder: folder.into(),
            description: None,
            dependencies: dependencies.iter().map(|&name| name.into()).collect(),
            roots: Vec::new(),
        };
        assert_eq!(check_crate(&krate), expect);
    }

    #[test]
    fn dependencies_point_downwards() {
        let config = |on: &[&str], expect: &[&str]| {
            check_dependencies("crates/config", "transformers-config", on, expect)
        };
        config(&["serde", "transformers-hub"], &[]);
        config(
            &["transformers-weights"],
            &["crates/config/Cargo.toml: config may not depend on weights"],
        );
        config(
            &["burn"],
            &["crates/config/Cargo.toml: config does not know burn, but depends on burn"],
        );
        config(
            &["reqwest"],
            &["crates/config/Cargo.toml: only hub opens a socket, but config depends on reqwest"],
        );
        config(
            &["burn-transformers"],
            &["crates/config/Cargo.toml: config may not depend on burn-transformers"],
        );
        // two steps down, and burn from the layer below
        let generation = ["transformers-hub", "transformers-ops", "burn"];
        check_dependencies(
            "crates/generation",
            "transformers-generation",
            &generation,
            &[],
        );
    }

    #[test]
    fn crates_outside_the_table_are_named() {
        check_dependencies(
            "crates/extra",
            "transformers-extra",
            &[],
            &[
                "crates/extra/Cargo.toml: the layer extra is not in the table of xtask/src/tidy/layers.rs",
            ],
        );
        check_dependencies(
            "crates/extra",
            "extra",
            &[],
            &["crates/extra/Cargo.toml: extra is no `transformers-<layer>`"],
        );
    }

    #[test]
    fn xtask_stands_alone() {
        check_dependencies(
            "xtask",
            "xtask",
            &["clap", "transformers-config"],
            &["xtask/Cargo.toml: xtask depends on none of our crates, but on config"],
        );
    }
}
