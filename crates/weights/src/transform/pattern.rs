//! The pattern language of transforms, as the reference's tables are written in it.
//!
//! Patterns are regular expressions that are searched for, not anchored; `*.` stands for "anything up to a dot"; a pattern
//! that ends in a letter or digit ends on a name's boundary, so that `weight` does not match `weight_scale_inv`; of several
//! sources the longest is tried first. Targets are written as patterns too, because saving reverses the two: what only a
//! search understands (an anchor, look-arounds, escaped dots) is taken off when they are inserted, and a capturing group
//! that source and target share is `\1` on the side that is inserted.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::LazyLock;

use fancy_regex::Regex;

use crate::{Result, WeightsError};

/// The sources and targets of a transform, ready to search and insert.
#[derive(Clone, Debug)]
pub(crate) struct Patterns {
    written_sources: Vec<String>,
    written_targets: Vec<String>,
    sources: Vec<String>,
    targets: Vec<String>,
    /// Each with its position in `sources` and a text that every match holds, longest first.
    compiled: Vec<(usize, String, Regex)>,
    scope: Option<Scope>,
}

/// The part of a model that a transform is limited to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Below the base model's prefix, with a dot at the end unless empty.
    prefix: String,
    /// The base model's prefix, with a dot at the end unless empty.
    base: String,
}

/// Where a source was found in a key.
pub(crate) struct Match<'k> {
    /// Position of the source.
    pub(crate) source: usize,
    /// What the scope took off.
    scope: &'k str,
    /// The rest of the key.
    rest: &'k str,
    /// Where in the rest.
    start: usize,
    /// The whole match, then what each group matched; empty if it took no part.
    groups: Vec<&'k str>,
}

impl Patterns {
    pub(crate) fn new(sources: &[&str], targets: &[&str]) -> Result<Self> {
        let mut patterns = Self {
            written_sources: sources.iter().map(|&source| source.to_owned()).collect(),
            written_targets: targets
                .iter()
                .map(|target| with_backslashes(target))
                .collect(),
            sources: Vec::new(),
            targets: Vec::new(),
            compiled: Vec::new(),
            scope: None,
        };
        patterns
            .prepare()
            .map_err(|reason| patterns.error(reason))?;
        Ok(patterns)
    }

    fn prepare(&mut self) -> Result<(), String> {
        if self.written_sources.is_empty() || self.written_targets.is_empty() {
            return Err("a transform needs a source and a target".into());
        }
        let mut shared_group = None;
        for target in &self.written_targets {
            let (target, group) = insertable(target);
            self.targets.push(target);
            match (&shared_group, group) {
                (Some(shared), Some(group)) if *shared != group => {
                    return Err(format!(
                        "its targets have different groups, {shared} and {group}"
                    ));
                }
                (None, group) => shared_group = group,
                _ => {}
            }
        }
        let paired = self.written_sources.len() == self.written_targets.len();
        for (index, source) in self.written_sources.iter().enumerate() {
            let mut source = source.clone();
            // Only the reverse of a transform whose target held a group has such a source.
            if source.contains(r"\1") && !source.contains('(') {
                let group = shared_group.as_deref().ok_or_else(|| {
                    format!(r"`{source}` refers to `\1`, but no target has a group")
                })?;
                source = source.replacen(r"\1", group, 1);
            }
            if paired && self.written_targets[index].starts_with('^') && !source.starts_with('^') {
                source.insert(0, '^');
            }
            self.sources.push(source);
        }
        self.compile()
    }

    fn compile(&mut self) -> Result<(), String> {
        for (index, source) in self.sources.iter().enumerate() {
            let regex = Regex::new(&with_boundary(source)).map_err(|error| error.to_string())?;
            let groups = regex.captures_len() - 1;
            let highest = self
                .targets
                .iter()
                .flat_map(|target| references(target))
                .max();
            if let Some(group) = highest.filter(|&group| group > groups) {
                return Err(format!(
                    "the target refers to group {group}, but the pattern has {groups}"
                ));
            }
            self.compiled
                .push((index, required(source).to_owned(), regex));
        }
        self.compiled
            .sort_by_key(|(index, ..)| Reverse(self.sources[*index].len()));
        Ok(())
    }

    /// The sources as they are searched for, without the boundary.
    pub(crate) fn sources(&self) -> &[String] {
        &self.sources
    }

    /// The targets as they are inserted.
    pub(crate) fn targets(&self) -> &[String] {
        &self.targets
    }

    /// Sources and targets as they were written.
    pub(crate) fn written(&self) -> (Vec<&str>, Vec<&str>) {
        (
            as_strs(&self.written_sources),
            as_strs(&self.written_targets),
        )
    }

    pub(crate) fn set_scope(&mut self, prefix: &str, base: &str) {
        let with_dot = |text: &str| match text {
            "" => String::new(),
            text => format!("{text}."),
        };
        self.scope = Some(Scope {
            prefix: with_dot(prefix),
            base: with_dot(base),
        });
    }

    /// The same scope as `other`.
    pub(crate) fn scoped_like(mut self, other: &Self) -> Self {
        self.scope.clone_from(&other.scope);
        self
    }

    /// The leftmost match of any source in `key`; of those at one place the longest pattern's.
    pub(crate) fn find<'k>(&self, key: &'k str) -> Result<Option<Match<'k>>> {
        let Some((scope, rest)) = self.within_scope(key) else {
            return Ok(None);
        };
        let mut found: Option<Match<'k>> = None;
        for (source, required, regex) in &self.compiled {
            // Most transforms have nothing to do with most keys, and this is much quicker than a search.
            if !rest.contains(required.as_str()) {
                continue;
            }
            let captures = regex
                .captures(rest)
                .map_err(|error| self.error(format!("on key `{key}`: {error}")))?;
            let Some(captures) = captures else { continue };
            let start = captures.get(0).map_or(0, |whole| whole.start());
            if found.as_ref().is_none_or(|found| start < found.start) {
                let groups = captures.iter();
                found = Some(Match {
                    source: *source,
                    scope,
                    rest,
                    start,
                    groups: groups
                        .map(|group| group.map_or("", |group| group.as_str()))
                        .collect(),
                });
            }
        }
        Ok(found)
    }

    /// The key split after what the scope stands for; `None` if the key lies outside.
    fn within_scope<'k>(&self, key: &'k str) -> Option<(&'k str, &'k str)> {
        let Some(scope) = &self.scope else {
            return Some(("", key));
        };
        let length = match key.strip_prefix(&scope.base) {
            Some(rest) if rest.starts_with(&scope.prefix) => scope.base.len() + scope.prefix.len(),
            _ if key.starts_with(&scope.prefix) => scope.prefix.len(),
            _ => return None,
        };
        Some(key.split_at(length))
    }

    pub(crate) fn error(&self, reason: String) -> WeightsError {
        WeightsError::Pattern {
            pattern: self.written_sources.join("|"),
            target: self.written_targets.join("|"),
            reason,
        }
    }
}

impl Match<'_> {
    /// The text of a group, empty if it took no part.
    pub(crate) fn group(&self, index: usize) -> &str {
        self.groups.get(index).copied().unwrap_or_default()
    }

    /// The key with the match replaced by `target`, in which `\1`, `$1` and `${1}` stand for groups.
    pub(crate) fn replace(&self, target: &str) -> String {
        let mut inserted = String::new();
        let mut rest = target;
        while let Some(first) = rest.chars().next() {
            let length = match group_reference(rest) {
                Some((group, length)) => {
                    inserted.push_str(self.group(group));
                    length
                }
                None => {
                    inserted.push(first);
                    first.len_utf8()
                }
            };
            rest = &rest[length..];
        }
        self.insert(&inserted)
    }

    /// The key with the match replaced by `text`. As in the reference it is the first occurrence of the matched text that
    /// gives way, which a look-behind may have passed over.
    pub(crate) fn insert(&self, text: &str) -> String {
        format!(
            "{}{}",
            self.scope,
            self.rest.replacen(self.group(0), text, 1)
        )
    }
}

fn as_strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn with_boundary(source: &str) -> String {
    let pattern = source.replace("*.", r".*\.");
    let ends_in_name = pattern.ends_with(|c: char| c.is_ascii_alphanumeric());
    pattern + if ends_in_name { r"(?!\w)" } else { "" }
}

/// The longest text that a match must hold, empty where the pattern has alternatives or optional parts.
fn required(source: &str) -> &str {
    if source.contains(['|', '(', '[', '{', '?']) {
        return "";
    }
    let mut longest = "";
    let mut start = 0;
    let mut escaped = false;
    for (at, char) in source.char_indices().chain([(source.len(), '.')]) {
        let special = matches!(char, '\\' | '.' | '*' | '+' | '^' | '$');
        if !special && !escaped {
            continue;
        }
        let mut literal = source.get(start..at).unwrap_or_default();
        if char == '*' {
            // What is repeated may be missing.
            literal = literal
                .char_indices()
                .next_back()
                .map_or("", |(last, _)| &literal[..last]);
        }
        if literal.len() > longest.len() {
            longest = literal;
        }
        start = at + char.len_utf8();
        escaped = char == '\\' && !escaped;
    }
    longest
}

/// A target as text to insert, and the group that stands in it as `\1`.
fn insertable(target: &str) -> (String, Option<String>) {
    static LOOK_AROUND: LazyLock<Regex> = LazyLock::new(|| valid(r"\(\?.+?\)?\)"));
    static GROUP: LazyLock<Regex> = LazyLock::new(|| valid(r"\(.+?\)"));
    let target = target.strip_prefix('^').unwrap_or(target);
    let target = LOOK_AROUND.replace_all(target, "");
    let group = GROUP.find(&*target).ok().flatten();
    let group = group.map(|group| group.as_str().to_owned());
    let target = match &group {
        Some(group) => Cow::Owned(target.replacen(group, r"\1", 1)),
        None => target,
    };
    (target.replace(r"\.", "."), group)
}

/// `$1` as `\1`, the notation that can be reversed.
fn with_backslashes(target: &str) -> String {
    static DOLLAR: LazyLock<Regex> = LazyLock::new(|| valid(r"\$(?=\d)"));
    DOLLAR.replace_all(target, "\\").into_owned()
}

fn valid(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is valid")
}

/// The groups that a target refers to.
fn references(target: &str) -> Vec<usize> {
    (0..target.len())
        .filter(|&at| target.is_char_boundary(at))
        .filter_map(|at| group_reference(&target[at..]))
        .map(|(group, _)| group)
        .collect()
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
            let patterns = Patterns::new(&[r"(a)\.(b)"], &[target]).unwrap();
            let found = patterns.find("x.a.b.y").unwrap().unwrap();
            assert_eq!(found.replace(&patterns.targets()[0]), expected, "{target}");
        };
        check(r"\2.\1", "x.b.a.y");
        check("$2$1", "x.ba.y");
        check("${1}0", "x.a0.y");
        check("$$ ${ \\", "x.$$ ${ \\.y");
        check(r"\0\.c", "x.a.b.c.y");
        check("", "x..y");
    }

    #[test]
    fn targets_lose_what_only_a_search_understands() {
        let check = |written: &str, target: &str, group: Option<&str>| {
            assert_eq!(
                insertable(written),
                (target.to_owned(), group.map(str::to_owned))
            );
        };
        check(r"^model\.visual", "model.visual", None);
        check(r"(?<!decoder\.)(?<!_)norm\.", "norm.", None);
        check(r"^model(?!\.(language_model|visual))", "model", None);
        check(r"layers\.(\d+)\.ln", r"layers.\1.ln", Some(r"(\d+)"));
        check(r"(q|k|v)_input_norm", r"\1_input_norm", Some("(q|k|v)"));
    }

    #[test]
    fn a_match_holds_the_required_text() {
        for (source, expected) in [
            ("mlp.experts.*.gate_proj.weight", "gate_proj"),
            (r"\.attn\.q_norm", "q_norm"),
            (r"^model\.visual", "visual"),
            ("shard_*.weight", "weight"),
            ("ab*.c", "a"),
            (r"a\db", "a"),
            (r"\\\\ab", "ab"),
            ("a+", "a"),
            ("(a|b)c", ""),
            ("^", ""),
            ("", ""),
        ] {
            assert_eq!(required(source), expected, "{source}");
        }
    }

    #[test]
    fn faulty_patterns_are_named() {
        for (sources, targets, expected) in [
            (["("], ["x"], "(` -> `x`"),
            ([r"(\d)"], [r"\2"], "group 2, but the pattern has 1"),
            ([r"\1.x"], ["y"], "no target has a group"),
        ] {
            let error = Patterns::new(&sources, &targets).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = Patterns::new(&["a"], &["(b)", "(c)"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("different groups"), "{error}");
        assert!(Patterns::new(&[], &["a"]).is_err());
        let slow = Patterns::new(&[r"(a|b|ab)*\1c"], &["x"]).unwrap();
        let error = slow.find(&"ab".repeat(100)).err().unwrap().to_string();
        assert!(error.contains("on key"), "{error}");
    }
}
