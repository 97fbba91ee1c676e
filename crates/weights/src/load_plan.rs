//! Which tensor of a checkpoint fills which parameter of a model, decided before any of them is read.

use std::collections::{BTreeMap, HashMap, HashSet};

use fancy_regex::Regex;

use crate::{Checkpoint, LoadReport, Mismatch, Result, WeightRenaming, WeightsError};

/// The outcome of [`plan`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadPlan {
    /// For each parameter that can be filled, the name of its tensor in the checkpoint.
    pub sources: BTreeMap<String, String>,
    /// What does not fit.
    pub report: LoadReport,
}

/// How the names of a checkpoint become those of a model.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadRules<'a> {
    /// The attribute that holds the headless model, for instance `model` or `bert`: checkpoints of the headless model lack
    /// it, and models without a head are loaded from checkpoints that have it. Empty where there is none.
    pub base_model_prefix: &'a str,
    /// The family's renamings; all that match are applied, in order.
    pub renamings: &'a [WeightRenaming],
    /// The user's renamings, as pairs of a regular expression and its replacement; applied before the family's.
    pub key_mapping: &'a [(String, String)],
    /// Pairs of a parameter that is another one under a second name, and that one: `lm_head.weight` and
    /// `model.embed_tokens.weight`. The first need not be a parameter of its own, nor be in the checkpoint.
    pub tied: &'a [(String, String)],
    /// Regular expressions of tensors that are left out of the report when the model has no place for them.
    pub ignore_unexpected: &'a [&'a str],
}

/// Matches the parameters of a model, given by name and shape, with the tensors of `checkpoint`.
///
/// A tensor's name is renamed, and the base model's prefix taken away or added where only that leads to a parameter; a
/// name that is a parameter as it stands is not lost to a renaming. What does not fit is not an error but in the report.
pub fn plan(
    params: &[(String, Vec<usize>)],
    checkpoint: &Checkpoint,
    rules: &LoadRules,
) -> Result<LoadPlan> {
    let user = rules.key_mapping.iter();
    let user = user.map(|(source, target)| WeightRenaming::new(source, target));
    let names = ModelNames {
        names: params
            .iter()
            .map(|(name, _)| name.as_str())
            .chain(rules.tied.iter().map(|(target, _)| target.as_str()))
            .collect(),
        prefix: format!("{}.", rules.base_model_prefix),
        user: user.collect::<Result<_>>()?,
        family: rules.renamings,
    };
    let ignored = compile(rules.ignore_unexpected)?;

    let mut found: HashMap<String, &str> = HashMap::new();
    let mut report = LoadReport::default();
    for key in checkpoint.names() {
        let name = names.resolve(key)?;
        if names.contains(&name) && !found.contains_key(&name) {
            found.insert(name, key);
        } else if !matches_any(&ignored, key) {
            // Of two tensors for one parameter the second is as unexpected as one for none.
            report.unexpected.push(if names.contains(&name) {
                key.to_owned()
            } else {
                name
            });
        }
    }
    for (target, source) in rules.tied {
        match (found.get(target).copied(), found.get(source).copied()) {
            (Some(key), None) => {
                found.insert(source.clone(), key);
            }
            (Some(key), Some(other)) => {
                let is_own_parameter = params.iter().any(|(name, _)| name == target);
                if !is_own_parameter && checkpoint.tensor(key)? != checkpoint.tensor(other)? {
                    report.untied.push(target.clone());
                }
            }
            (None, _) => {}
        }
    }
    let tied_to = |name: &str| {
        let tie = rules.tied.iter().find(|(target, _)| target == name);
        tie.map(|(_, source)| source)
    };
    let mut sources = BTreeMap::new();
    for (name, shape) in params {
        match found.get(name) {
            Some(key) if checkpoint.shape(key)? == shape => {
                sources.insert(name.clone(), (*key).to_owned());
            }
            Some(key) => report.mismatched.push(Mismatch {
                name: name.clone(),
                checkpoint: checkpoint.shape(key)?.to_vec(),
                model: shape.clone(),
            }),
            None if tied_to(name).is_some_and(|source| found.contains_key(source)) => {}
            None => report.missing.push(name.clone()),
        }
    }
    report.sort();
    Ok(LoadPlan { sources, report })
}

struct ModelNames<'a> {
    /// Parameters, and the second names of tied ones.
    names: HashSet<&'a str>,
    /// With its dot; `.` alone where there is none.
    prefix: String,
    user: Vec<WeightRenaming>,
    family: &'a [WeightRenaming],
}

impl ModelNames<'_> {
    fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    fn resolve(&self, key: &str) -> Result<String> {
        let mut renamed = key.to_owned();
        for renaming in self.user.iter().chain(self.family) {
            if let Some(name) = renaming.apply(&renamed)? {
                renamed = name;
            }
        }
        let renamed = self.repair_prefix(renamed);
        if !self.contains(&renamed) && self.contains(key) {
            return Ok(self.repair_prefix(key.to_owned()));
        }
        Ok(renamed)
    }

    fn repair_prefix(&self, name: String) -> String {
        if self.prefix == "." {
            return name;
        }
        if let Some(shorter) = name.strip_prefix(&self.prefix)
            && self.contains(shorter)
        {
            return shorter.to_owned();
        }
        let longer = format!("{}{name}", self.prefix);
        if self.contains(&longer) { longer } else { name }
    }
}

fn compile(patterns: &[&str]) -> Result<Vec<Regex>> {
    let compile = |pattern: &&str| {
        Regex::new(pattern).map_err(|error| WeightsError::Pattern {
            pattern: (*pattern).to_owned(),
            target: String::new(),
            reason: error.to_string(),
        })
    };
    patterns.iter().map(compile).collect()
}

/// A match that takes too long is none: the tensor is then reported.
fn matches_any(patterns: &[Regex], key: &str) -> bool {
    patterns
        .iter()
        .any(|pattern| pattern.is_match(key).unwrap_or(false))
}
