//! Splits texts by a pattern, in a time that grows with the text and no faster.
//!
//! The patterns of tokenizers are alternatives of which one, `\s+(?!\S)`, looks around: it takes a run of spaces except
//! the last one before a word. All of them are one automaton, and what that alternative leaves is worked out from where
//! the run ends. Other patterns that look around or refer back are followed by backtracking, within a bound of steps.

use std::ops::Range;

use regex_automata::meta::Regex;
use regex_automata::{Anchored, Input, Match};
use serde_json::Value;
use tokenizers::tokenizer::pattern::Pattern;

/// The alternative that leaves the last space of a run to the word after it.
const SPACES_BEFORE_SPACE: &str = r"\s+(?!\S)";

/// A pattern needs more steps on a text than are allowed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the pattern `{pattern}` takes too many steps on this text")]
pub(crate) struct TooManySteps {
    pub pattern: String,
}

pub(crate) enum Splitter {
    Linear(Linear),
    Backtracking(Box<Backtracking>),
}

impl Splitter {
    /// `None` where the pattern cannot be compiled.
    pub fn new(pattern: &str) -> Option<Self> {
        let linear = Linear::new(pattern).map(Self::Linear);
        linear.or_else(|| Some(Self::Backtracking(Box::new(Backtracking::new(pattern)?))))
    }

    /// Of a pattern as files have it: a text, or a regular expression.
    pub fn of_pattern(json: &Value) -> Option<Self> {
        match (json["String"].as_str(), json["Regex"].as_str()) {
            (Some(text), _) => Self::new(&regex::escape(text)),
            (None, pattern) => Self::new(pattern?),
        }
    }

    /// What the pattern matches, from left to right.
    fn matches(&self, text: &str) -> Result<Vec<Range<usize>>, TooManySteps> {
        match self {
            Self::Linear(linear) => Ok(linear.matches(text)),
            Self::Backtracking(backtracking) => backtracking.matches(text),
        }
    }
}

impl Pattern for &Splitter {
    /// The matches, and what is between them.
    fn find_matches(&self, text: &str) -> tokenizers::Result<Vec<((usize, usize), bool)>> {
        if text.is_empty() {
            return Ok(vec![((0, 0), false)]);
        }
        let matches = self.matches(text)?;
        let mut parts = Vec::with_capacity(matches.len() + 1);
        let mut end = 0;
        for found in matches {
            if end < found.start {
                parts.push(((end, found.start), false));
            }
            parts.push(((found.start, found.end), true));
            end = found.end;
        }
        if end < text.len() {
            parts.push(((end, text.len()), false));
        }
        Ok(parts)
    }
}

/// Alternatives as one automaton; the first that matches counts, as in a backtracking search.
pub(crate) struct Linear {
    alternatives: Regex,
    spaces: Option<Spaces>,
}

/// Where `\s+(?!\S)` stands among the alternatives, as `\s+`, and those after it.
struct Spaces {
    index: usize,
    rest: Regex,
}

impl Linear {
    /// `None` where the pattern needs to look around otherwise, or may match nothing.
    fn new(pattern: &str) -> Option<Self> {
        let mut alternatives = alternatives(pattern)?;
        let mut spaces = None;
        for (index, alternative) in alternatives.iter_mut().enumerate() {
            if *alternative == SPACES_BEFORE_SPACE {
                *alternative = r"\s+";
                spaces = spaces.xor(Some(index));
                spaces?; // there are two of them
            }
        }
        let spaces = match spaces {
            Some(index) => Some(Spaces {
                index,
                rest: compile(&alternatives[index + 1..])?,
            }),
            None => None,
        };
        Some(Self {
            alternatives: compile(&alternatives)?,
            spaces,
        })
    }

    fn matches(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut end = 0;
        while let Some(next) = self.find(text, end) {
            end = next.end;
            found.push(next);
        }
        found
    }

    fn find(&self, text: &str, mut from: usize) -> Option<Range<usize>> {
        loop {
            let found = search(&self.alternatives, text, from)?;
            let run = found.range();
            let spaces = self.spaces.as_ref();
            let Some(spaces) = spaces.filter(|spaces| spaces.index == found.pattern().as_usize())
            else {
                return Some(run);
            };
            let last = text[run.clone()].char_indices().next_back()?.0;
            if run.end == text.len() {
                return Some(run);
            }
            if last > 0 {
                return Some(run.start..run.start + last);
            }
            let input = Input::new(text).range(run.start..);
            if let Some(found) = spaces.rest.search(&input.anchored(Anchored::Yes)) {
                return Some(found.range());
            }
            from = run.end;
        }
    }
}

/// The first match; most begin where the one before has ended.
fn search(regex: &Regex, text: &str, from: usize) -> Option<Match> {
    let input = Input::new(text).range(from..);
    let here = regex.search(&input.clone().anchored(Anchored::Yes));
    here.or_else(|| regex.search(&input))
}

fn compile(alternatives: &[&str]) -> Option<Regex> {
    let parse = |pattern: &&str| {
        let parsed = regex_automata::util::syntax::parse(pattern).ok()?;
        (parsed.properties().minimum_len() > Some(0)).then_some(parsed)
    };
    let parsed = alternatives.iter().map(parse).collect::<Option<Vec<_>>>()?;
    Regex::builder().build_many_from_hir(&parsed).ok()
}

/// The alternatives of a pattern. `None` where it may not mean the same to an automaton: where it looks around otherwise
/// than [`SPACES_BEFORE_SPACE`], keeps what it took (`++`), or sets flags for what follows.
fn alternatives(pattern: &str) -> Option<Vec<&str>> {
    let bytes = pattern.as_bytes();
    let mut found = Vec::new();
    let (mut start, mut groups, mut classes) = (0, 0usize, 0usize);
    let mut quantified = false;
    let mut position = 0;
    while let Some(&byte) = bytes.get(position) {
        let rest = &pattern[position..];
        let mut length = rest.chars().next()?.len_utf8();
        let was_quantified = std::mem::take(&mut quantified);
        match byte {
            b'\\' => length = escape(rest)?,
            b'[' if rest.starts_with("[]") || rest.starts_with("[^]") => return None,
            b'[' => classes += 1,
            b']' if classes > 0 => classes -= 1,
            _ if classes > 0 => {}
            b'(' if pattern[start..].starts_with(SPACES_BEFORE_SPACE) && position == start + 3 => {
                length = SPACES_BEFORE_SPACE.len() - 3;
                let after = bytes.get(position + length);
                if groups > 0 || !matches!(after, None | Some(b'|')) {
                    return None;
                }
            }
            b'(' => {
                groups += 1;
                let known = ["(?:", "(?i:", "(?s:"];
                match known.iter().find(|prefix| rest.starts_with(**prefix)) {
                    Some(prefix) => length = prefix.len(),
                    None if rest.starts_with("(?") => return None,
                    None => {}
                }
            }
            b')' => groups = groups.checked_sub(1)?,
            b'|' if groups == 0 => {
                found.push(&pattern[start..position]);
                start = position + 1;
            }
            b'+' if was_quantified => return None,
            b'*' | b'+' | b'?' | b'}' => quantified = true,
            _ => {}
        }
        position += length;
    }
    found.push(&pattern[start..]);
    Some(found)
}

/// The length of an escape: `\s`, `\p{L}`.
fn escape(rest: &str) -> Option<usize> {
    let escaped = rest[1..].chars().next()?;
    let length = 1 + escaped.len_utf8();
    if matches!(escaped, 'p' | 'P' | 'x' | 'u' | 'U') && rest[length..].starts_with('{') {
        return rest.find('}').map(|end| end + 1);
    }
    Some(length)
}

/// A pattern that has to be tried step by step.
pub(crate) struct Backtracking {
    pattern: String,
    short: fancy_regex::Regex,
    long: fancy_regex::Regex,
}

/// How many steps each search may take.
const SHORT: usize = 1_000;

/// How many steps a search may take once in [`STRETCH`] bytes.
const LONG: usize = 1_000_000;
const STRETCH: usize = 1_024;

impl Backtracking {
    fn new(pattern: &str) -> Option<Self> {
        let with_limit = |limit| {
            fancy_regex::RegexBuilder::new(pattern)
                .backtrack_limit(limit)
                .build()
                .ok()
        };
        Some(Self {
            pattern: pattern.to_owned(),
            short: with_limit(SHORT)?,
            long: with_limit(LONG)?,
        })
    }

    fn matches(&self, text: &str) -> Result<Vec<Range<usize>>, TooManySteps> {
        let mut matches = Vec::new();
        let mut long_searches = 1 + text.len() / STRETCH;
        let (mut from, mut end) = (0, None);
        while from <= text.len() {
            let mut found = self.short.find_from_pos(text, from);
            if found.is_err() && long_searches > 0 {
                long_searches -= 1;
                found = self.long.find_from_pos(text, from);
            }
            let found = found.map_err(|_| TooManySteps {
                pattern: self.pattern.clone(),
            })?;
            let Some(found) = found.map(|found| found.range()) else {
                break;
            };
            from = found.end;
            if found.is_empty() {
                from += text[from..].chars().next().map_or(1, char::len_utf8);
                if end == Some(found.end) {
                    continue; // nothing, right after a match
                }
            }
            end = Some(found.end);
            matches.push(found);
        }
        Ok(matches)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokenizers::utils::SysRegex;

    use super::*;

    const GPT2: &str =
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// Patterns that are one automaton, and patterns that are not.
    const LINEAR: [&str; 10] = [
        GPT2,
        LLAMA3,
        r"\s+(?!\S)",
        r"\s+(?!\S)|a",
        r"a|\s+(?!\S)",
        r" ?[^(\s|[.,!?])]+",
        r"\||[|(]+|\p{L}+|(b|c)",
        r"x",
        r"\s?\S{1,3}?|\s+(?!\S)",
        r"[é日]+ ?|🙂| +a",
    ];
    const BACKTRACKING: [&str; 9] = [
        r"a*",
        r"a++b|\s",
        r"(?i)a|b",
        r"\s+(?=\S)|a",
        r"(?<!a)b|\s",
        r"(\s+(?!\S))|b",
        r"\s+(?!\S)b|a",
        r"\s+(?!\S)|\s+(?!\S)|a",
        r"(a)\1| ",
    ];

    fn ranges(splitter: &Splitter, text: &str) -> Vec<Range<usize>> {
        splitter.matches(text).unwrap()
    }

    #[test]
    fn matches_are_those_of_a_backtracking_search() {
        let mut seed = 9u64;
        let mut below = |limit: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % limit as u64) as usize
        };
        let parts = [
            "a", "b", "A", "é", " ", " ", "\n", "\r\n", "\t", "\u{a0}", "\u{3000}", "1", "²", "'s",
            "'LL", "'", ".", "|", "(", "x", "🙂", "\u{301}", "日",
        ];
        for pattern in LINEAR.into_iter().chain(BACKTRACKING) {
            let splitter = Splitter::new(pattern).unwrap();
            let linear = matches!(splitter, Splitter::Linear(_));
            assert_eq!(linear, LINEAR.contains(&pattern), "{pattern}");
            let oracle = SysRegex::new(pattern).unwrap();
            for _ in 0..800 {
                let text: String = (0..below(14)).map(|_| parts[below(parts.len())]).collect();
                let expected: Vec<_> = oracle.find_iter(&text).map(|(a, b)| a..b).collect();
                assert_eq!(ranges(&splitter, &text), expected, "{pattern}: {text:?}");
            }
        }
    }

    #[test]
    fn runs_of_spaces_take_linear_time() {
        let splitter = Splitter::new(GPT2).unwrap();
        for (text, count) in [
            (" ".repeat(1 << 20) + "x", 2),
            (" \n".repeat(1 << 19), 1),
            ("a".repeat(1 << 20), 1),
            ("' ".repeat(1 << 19), (1 << 19) + 1),
        ] {
            assert_eq!(ranges(&splitter, &text).len(), count);
        }
    }

    #[test]
    fn a_catastrophic_pattern_is_an_error_in_bounded_time() {
        let text = "a".repeat(3000) + "!";
        for pattern in [r"(?:(?!x)a|(?!y)a)*b|a", r"(?:(?=a)a+)+b|a"] {
            let splitter = Splitter::new(pattern).unwrap();
            let error = splitter.matches(&text).err().unwrap();
            assert!(error.to_string().contains(pattern), "{error}");
            assert!(splitter.matches("aaaa!").is_ok());
        }
    }
}
