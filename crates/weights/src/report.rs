//! What of a checkpoint and a model does not fit together, as a table for people.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::hash::Hash;

use crate::natural_order;

/// The outcome of matching a checkpoint with a model; all names in natural order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Parameters for which the checkpoint has no tensor.
    pub missing: Vec<String>,
    /// Tensors for which the model has no parameter, under their renamed name.
    pub unexpected: Vec<String>,
    /// Parameters whose tensor has another shape.
    pub mismatched: Vec<Mismatch>,
    /// Second names of tied parameters for which the checkpoint has a tensor of other values: this checkpoint is not tied,
    /// whatever its configuration says.
    pub untied: Vec<String>,
    /// Parameters whose tensors could not be converted; these are missing too.
    pub conversion_errors: Vec<ConversionFailure>,
}

/// Parameters whose tensors could not be converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversionFailure {
    /// The first of the parameters.
    pub name: String,
    /// What went wrong.
    pub reason: String,
}

/// A parameter whose tensor has another shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The parameter.
    pub name: String,
    /// The tensor's shape.
    pub checkpoint: Vec<usize>,
    /// The parameter's shape.
    pub model: Vec<usize>,
}

impl LoadReport {
    /// Whether everything fits.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a model must not be used with what was found: tensors that could not be converted, and, unless
    /// `ignore_mismatched_sizes`, tensors of other shapes. What is missing is initialised.
    pub fn refuses(&self, ignore_mismatched_sizes: bool) -> bool {
        !self.conversion_errors.is_empty()
            || !(self.mismatched.is_empty() || ignore_mismatched_sizes)
    }

    pub(crate) fn sort(&mut self) {
        for names in [&mut self.missing, &mut self.unexpected, &mut self.untied] {
            names.sort_by(|a, b| natural_order::compare(a, b));
        }
        self.mismatched
            .sort_by(|a, b| natural_order::compare(&a.name, &b.name));
        self.conversion_errors
            .sort_by(|a, b| natural_order::compare(&a.name, &b.name));
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (status, names) in [
            (&MISSING, &self.missing),
            (&UNEXPECTED, &self.unexpected),
            (&UNTIED, &self.untied),
        ] {
            lines.extend(fold(
                status,
                names.iter().map(|name| (name.as_str(), String::new())),
            ));
        }
        lines.extend(fold(&MISMATCH, self.mismatched.iter().map(Mismatch::entry)));
        let failures = self.conversion_errors.iter();
        let failures = failures.map(|failure| (failure.name.as_str(), failure.reason.clone()));
        lines.extend(fold(&CONVERSION, failures));
        lines
    }
}

impl Mismatch {
    fn entry(&self) -> (&str, String) {
        let shapes = format!("checkpoint {:?}, model {:?}", self.checkpoint, self.model);
        (&self.name, shapes)
    }
}

/// A kind of finding, and what to do about it.
struct Status {
    label: &'static str,
    remedy: &'static str,
}

const MISSING: Status = Status {
    label: "MISSING",
    remedy: "the checkpoint has no such tensor. A new head is trained on your task; anything else means that the \
             checkpoint is of another architecture or names it differently (see `key_mapping`).",
};
const UNEXPECTED: Status = Status {
    label: "UNEXPECTED",
    remedy: "the model has no such parameter. That is fine when loading another head or task, and a fault otherwise.",
};
const UNTIED: Status = Status {
    label: "UNTIED",
    remedy: "the configuration ties this to another parameter, but the checkpoint holds other values for it. Set \
             `tie_word_embeddings` to false to use them.",
};
const MISMATCH: Status = Status {
    label: "MISMATCH",
    remedy: "the shapes differ: config.json and the weights are not of one model, or a size was changed after training.",
};

const CONVERSION: Status = Status {
    label: "CONVERSION",
    remedy: "the tensors could not be converted: the checkpoint is of another architecture or size, or incomplete.",
};

struct Line {
    name: String,
    status: &'static Status,
    details: String,
}

/// One line for all names that differ only in numbers between dots and have the same details.
fn fold<'a>(
    status: &'static Status,
    entries: impl Iterator<Item = (&'a str, String)>,
) -> Vec<Line> {
    let line = |Folded { name, details, .. }: Folded<String>| Line {
        name,
        status,
        details,
    };
    fold_names(entries).into_iter().map(line).collect()
}

/// Names that differ only in numbers between dots, as one: `layers.{0...31}.w`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded<T> {
    /// With all numbers that are there.
    pub name: String,
    /// What the names have in common.
    pub details: T,
    /// How many names.
    pub count: usize,
}

/// Folds names of layers: those that differ only in numbers between dots and have the same details become one, in the place
/// of the first.
///
/// ```
/// use transformers_weights::fold_names;
///
/// let names = ["embed.weight", "layers.0.w", "layers.1.w", "layers.2.w"];
/// let folded = fold_names(names.into_iter().map(|name| (name, "float32")));
/// assert_eq!((folded[1].name.as_str(), folded[1].count), ("layers.{0, 1, 2}.w", 3));
/// ```
pub fn fold_names<'a, T: Clone + Eq + Hash>(
    entries: impl Iterator<Item = (&'a str, T)>,
) -> Vec<Folded<T>> {
    let mut folded: Vec<(Folded<T>, Vec<BTreeSet<u64>>)> = Vec::new();
    let mut known = HashMap::new();
    for (name, details) in entries {
        let (pattern, indices) = split_indices(name);
        let position = *known.entry((pattern, details)).or_insert_with_key(|key| {
            let (name, details) = key.clone();
            let line = Folded {
                name,
                details,
                count: 0,
            };
            folded.push((line, vec![BTreeSet::new(); indices.len()]));
            folded.len() - 1
        });
        let (line, sets) = &mut folded[position];
        line.count += 1;
        for (set, index) in sets.iter_mut().zip(indices) {
            set.insert(index);
        }
    }
    let named = |(line, sets): (Folded<T>, Vec<_>)| Folded {
        name: fill(&line.name, &sets),
        ..line
    };
    folded.into_iter().map(named).collect()
}

/// `layers.3.experts.0.w` as `layers.*.experts.*.w` and `[3, 0]`.
fn split_indices(name: &str) -> (String, Vec<u64>) {
    let mut indices = Vec::new();
    let parts: Vec<&str> = name
        .split('.')
        .map(|part| match part.parse() {
            Ok(index) if part.bytes().all(|byte| byte.is_ascii_digit()) => {
                indices.push(index);
                "*"
            }
            _ => part,
        })
        .collect();
    (parts.join("."), indices)
}

fn fill(pattern: &str, sets: &[BTreeSet<u64>]) -> String {
    let mut sets = sets.iter();
    let parts: Vec<String> = pattern
        .split('.')
        .map(|part| match part {
            "*" => sets.next().map_or_else(|| part.to_owned(), format_indices),
            _ => part.to_owned(),
        })
        .collect();
    parts.join(".")
}

fn format_indices(indices: &BTreeSet<u64>) -> String {
    const LISTED: usize = 10;
    match (indices.first(), indices.last()) {
        (Some(first), Some(last)) if first == last => first.to_string(),
        (Some(first), Some(last))
            if indices.len() > LISTED && last - first + 1 == indices.len() as u64 =>
        {
            format!("{{{first}...{last}}}")
        }
        _ => {
            let listed: Vec<String> = indices.iter().map(u64::to_string).collect();
            format!("{{{}}}", listed.join(", "))
        }
    }
}

/// A table of the findings, and a note on each kind; a line if there are none.
impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        if lines.is_empty() {
            return f.write_str("every parameter has its tensor, and every tensor its parameter");
        }
        let width = |of: fn(&Line) -> &str, header: &str| {
            lines
                .iter()
                .map(|line| of(line).len())
                .chain([header.len()])
                .max()
                .unwrap_or(0)
        };
        let (name, status) = (
            width(|line| &line.name, "Key"),
            width(|line| line.status.label, "Status"),
        );
        writeln!(f, "{:name$} | {:status$} | Details", "Key", "Status")?;
        writeln!(f, "{:-<name$}-+-{:-<status$}-+--------", "", "")?;
        for line in &lines {
            let row = format!(
                "{:name$} | {:status$} | {}",
                line.name, line.status.label, line.details
            );
            writeln!(f, "{}", row.trim_end_matches([' ', '|']))?;
        }
        let mut noted = Vec::new();
        for line in &lines {
            if !noted.contains(&line.status.label) {
                noted.push(line.status.label);
                write!(f, "\n{}: {}", line.status.label, line.status.remedy)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn layers_are_folded() {
        let mut report = LoadReport {
            missing: (0..32)
                .map(|layer| format!("model.layers.{layer}.q.weight"))
                .collect(),
            unexpected: names(&["h.1.b", "h.0.b", "h.10.b", "score.weight"]),
            conversion_errors: ["l.0.w", "l.1.w"]
                .map(|name| ConversionFailure {
                    name: name.into(),
                    reason: "Transpose failed".into(),
                })
                .to_vec(),
            ..LoadReport::default()
        };
        for (name, rows) in [
            ("wte.weight", 8),
            ("mlp.0.w", 4),
            ("mlp.1.w", 4),
            ("mlp.2.w", 5),
        ] {
            report.mismatched.push(Mismatch {
                name: name.into(),
                checkpoint: vec![rows, 2],
                model: vec![16, 2],
            });
        }
        report.sort();
        let expected = [
            "Key                            | Status     | Details",
            "-------------------------------+------------+--------",
            "model.layers.{0...31}.q.weight | MISSING",
            "h.{0, 1, 10}.b                 | UNEXPECTED",
            "score.weight                   | UNEXPECTED",
            "mlp.{0, 1}.w                   | MISMATCH   | checkpoint [4, 2], model [16, 2]",
            "mlp.2.w                        | MISMATCH   | checkpoint [5, 2], model [16, 2]",
            "wte.weight                     | MISMATCH   | checkpoint [8, 2], model [16, 2]",
            "l.{0, 1}.w                     | CONVERSION | Transpose failed",
            "",
        ];
        let text = report.to_string();
        let (table, notes) = text.split_at(expected.join("\n").len());
        assert_eq!(table, expected.join("\n"));
        for label in ["MISSING: ", "UNEXPECTED: ", "MISMATCH: ", "CONVERSION: "] {
            assert_eq!(notes.matches(label).count(), 1, "{notes}");
        }
        assert!(!notes.contains("UNTIED"));
    }

    #[test]
    fn mismatches_may_be_ignored_and_failures_may_not() {
        let mut report = LoadReport {
            missing: names(&["a"]),
            unexpected: names(&["b"]),
            ..LoadReport::default()
        };
        assert!(!report.refuses(false));
        report.mismatched.push(Mismatch {
            name: "c".into(),
            checkpoint: vec![1],
            model: vec![2],
        });
        assert!(report.refuses(false) && !report.refuses(true));
        report.conversion_errors.push(ConversionFailure {
            name: "d".into(),
            reason: "Split".into(),
        });
        assert!(report.refuses(true));
    }

    #[test]
    fn a_clean_report_says_so() {
        let report = LoadReport::default();
        assert!(report.is_clean());
        assert!(report.to_string().starts_with("every parameter"));
    }
}
