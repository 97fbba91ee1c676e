//! One rule that renames the keys of a checkpoint to the model's parameter names.
//!
//! The pattern language is the reference's (`transformers.core_model_loading`), so that its tables carry over as data:
//! regular expressions that are searched for, not anchored; `*.` for "anything up to a dot"; a pattern that ends in a
//! letter or digit ends on a name's boundary; several sources share one target and the longest is tried first.

use std::fmt;
use std::ops::Range;

use fancy_regex::Regex;

use crate::{Result, WeightsError};

/// Replaces the first match of a pattern in a key.
#[derive(Clone)]
pub struct WeightRenaming {
    /// Longest pattern first.
    sources: Vec<Regex>,
    target: Vec<Piece>,
    /// As written, for messages.
    written: (String, String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Group(usize),
}

impl WeightRenaming {
    /// A renaming of what `source` matches to `target`, in which `\1`, `$1` or `${1}` stand for a group of `source`.
    pub fn new(source: &str, target: &str) -> Result<Self> {
        Self::any_of(&[source], target)
    }

    /// A renaming of what any of `sources` matches.
    pub fn any_of(sources: &[&str], target: &str) -> Result<Self> {
        let written = (sources.join("|"), target.to_owned());
        let mut longest_first = sources.to_vec();
        longest_first.sort_by_key(|source| std::cmp::Reverse(source.len()));
        let sources = longest_first
            .into_iter()
            .map(|source| Regex::new(&with_boundary(source)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| pattern_error(&written, error.to_string()))?;
        let target = parse_target(target);
        let groups = sources.iter().map(Regex::captures_len).min().unwrap_or(0);
        for piece in &target {
            if let Piece::Group(group) = piece
                && *group >= groups
            {
                let reason = format!(
                    "the target refers to group {group}, but the pattern has {}",
                    groups.saturating_sub(1)
                );
                return Err(pattern_error(&written, reason));
            }
        }
        Ok(Self {
            sources,
            target,
            written,
        })
    }

    /// The renamed key, or `None` if no pattern matches.
    pub fn apply(&self, key: &str) -> Result<Option<String>> {
        let mut earliest = None;
        let mut renamed = None;
        for source in &self.sources {
            let captures = source.captures(key).map_err(|error| {
                pattern_error(&self.written, format!("on key `{key}`: {error}"))
            })?;
            let Some(captures) = captures else { continue };
            let group = |index| captures.get(index).map_or("", |group| group.as_str());
            let Some(whole) = captures.get(0) else {
                continue;
            };
            if earliest.is_none_or(|earliest| whole.start() < earliest) {
                earliest = Some(whole.start());
                renamed = Some(self.replace(key, whole.range(), group));
            }
        }
        Ok(renamed)
    }

    fn replace<'a>(
        &self,
        key: &str,
        whole: Range<usize>,
        group: impl Fn(usize) -> &'a str,
    ) -> String {
        let mut renamed = key[..whole.start].to_owned();
        for piece in &self.target {
            renamed.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Group(index) => group(*index),
            });
        }
        renamed + &key[whole.end..]
    }
}

impl fmt::Debug for WeightRenaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "WeightRenaming({:?} -> {:?})",
            self.written.0, self.written.1
        )
    }
}

fn pattern_error((pattern, target): &(String, String), reason: String) -> WeightsError {
    WeightsError::Pattern {
        pattern: pattern.clone(),
        target: target.clone(),
        reason,
    }
}

/// Without it `weight` would match `weight_scale_inv`. A pattern that ends in `_` is the start of a name.
fn with_boundary(source: &str) -> String {
    let pattern = source.replace("*.", r".*\.");
    let ends_in_name = pattern.ends_with(|c: char| c.is_ascii_alphanumeric());
    pattern + if ends_in_name { r"(?!\w)" } else { "" }
}

/// Targets are written as patterns, because saving reverses them: an anchor and escaped dots are taken off.
fn parse_target(target: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = target.strip_prefix('^').unwrap_or(target);
    while let Some(first) = rest.chars().next() {
        if let Some((group, length)) = group_reference(rest) {
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Group(group));
            rest = &rest[length..];
        } else if let Some(after) = rest.strip_prefix(r"\.") {
            text.push('.');
            rest = after;
        } else {
            text.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

/// The group and the length of `\1`, `$1` or `${1}` at the start of `text`.
fn group_reference(text: &str) -> Option<(usize, usize)> {
    let braced = text
        .strip_prefix("${")
        .and_then(|rest| rest.split_once('}'))
        .map(|(digits, _)| (digits, digits.len() + 3));
    let (digits, length) = braced.or_else(|| {
        let rest = text.strip_prefix(['\\', '$'])?;
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        Some((&rest[..end], end + 1))
    })?;
    Some((digits.parse().ok()?, length))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn targets_refer_to_groups_in_either_notation() {
        let check = |target: &str, expected: &str| {
            let renaming = WeightRenaming::new(r"(a)\.(b)", target).unwrap();
            assert_eq!(
                renaming.apply("x.a.b.y").unwrap().as_deref(),
                Some(expected),
                "{target}"
            );
        };
        check(r"\2.\1", "x.b.a.y");
        check("$2$1", "x.ba.y");
        check("${1}0", "x.a0.y");
        check("$$ ${ \\", "x.$$ ${ \\.y");
        check(r"^\0\.c", "x.a.b.c.y");
        check("", "x..y");
    }

    #[test]
    fn faulty_patterns_are_named() {
        for (source, target, expected) in [
            ("(", "x", "(` -> `x`"),
            (r"(\d)", r"\2", "group 2, but the pattern has 1"),
        ] {
            let error = WeightRenaming::new(source, target).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let slow = WeightRenaming::new(r"(a|b|ab)*\1c", "x").unwrap();
        let error = slow.apply(&"ab".repeat(100)).unwrap_err().to_string();
        assert!(error.contains("on key"), "{error}");
    }
}
