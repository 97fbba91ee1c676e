//! Where a field begins or ends: a text, one of several, or a pattern. A text that is cut off may end within one.

use std::sync::{Arc, Mutex, PoisonError};

use regex::{Captures, Regex, RegexBuilder};
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use serde_json::{Map, Value};

use super::invalid;
use crate::Result;

/// A delimiter that is cut off is looked for in so many bytes at the end of a text.
const LONGEST: usize = 4096;

/// A compiled delimiter.
#[derive(Debug, Clone)]
pub(super) struct Delimiter {
    pattern: Regex,
    /// The same pattern, step by step, to see whether more text could complete it.
    steps: Arc<DFA>,
    cache: Arc<Mutex<Cache>>,
    /// Whether a complete match could become a longer one: a pattern may, a text only if another begins with it.
    can_grow: bool,
}

/// What a delimiter finds in a text that may go on.
pub(super) enum Found<'t> {
    Match(Captures<'t>),
    /// It might begin here.
    Pending(usize),
    Nothing,
}

impl Delimiter {
    /// Reads `key` (texts) or `key_pattern` of an object.
    pub fn read(scope: &str, object: &Map<String, Value>, key: &str) -> Result<Option<Self>> {
        let pattern_key = format!("{key}_pattern");
        match (object.get(key), object.get(&pattern_key)) {
            (Some(_), Some(_)) => Err(invalid(format!(
                "{scope}: give only one of `{key}` and `{pattern_key}`"
            ))),
            (Some(texts), None) => Self::of_texts(scope, key, texts).map(Some),
            (None, Some(pattern)) => {
                let pattern = pattern
                    .as_str()
                    .ok_or_else(|| invalid(format!("{scope}: `{pattern_key}` is not a pattern")))?;
                // Python's name for the end of a text.
                Self::new(scope, &pattern.replace(r"\Z", r"\z"), true).map(Some)
            }
            (None, None) => Ok(None),
        }
    }

    fn of_texts(scope: &str, key: &str, texts: &Value) -> Result<Self> {
        let texts: Option<Vec<&str>> = match texts {
            Value::String(text) => Some(vec![text]),
            Value::Array(texts) => texts.iter().map(Value::as_str).collect(),
            _ => None,
        };
        let mut texts = texts
            .filter(|texts| !texts.is_empty() && texts.iter().all(|text| !text.is_empty()))
            .ok_or_else(|| {
                invalid(format!(
                    "{scope}: `{key}` is neither a text nor a list of texts, none empty"
                ))
            })?;
        let can_grow = texts.iter().any(|long| {
            texts
                .iter()
                .any(|short| long != short && long.starts_with(short))
        });
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        let patterns: Vec<String> = texts.into_iter().map(regex::escape).collect();
        Self::new(scope, &patterns.join("|"), can_grow)
    }

    fn new(scope: &str, pattern: &str, can_grow: bool) -> Result<Self> {
        let refused = |error: &dyn std::fmt::Display| {
            invalid(format!(
                "{scope}: the pattern `{pattern}` cannot be used: {error}"
            ))
        };
        let compiled = RegexBuilder::new(pattern)
            .dot_matches_new_line(true)
            .build()
            .map_err(|error| refused(&error))?;
        let steps = DFA::builder()
            .syntax(syntax::Config::new().dot_matches_new_line(true))
            .build(pattern)
            .map_err(|error| refused(&error))?;
        Ok(Self {
            pattern: compiled,
            cache: Arc::new(Mutex::new(steps.create_cache())),
            steps: Arc::new(steps),
            can_grow,
        })
    }

    /// The names of its groups.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pattern.capture_names().flatten()
    }

    /// The end of its last match in a text.
    pub fn last_end(&self, text: &str) -> Option<usize> {
        self.pattern.find_iter(text).last().map(|found| found.end())
    }

    /// Looks from a position on in a text that has ended.
    pub fn find<'t>(&self, text: &'t str, from: usize) -> Found<'t> {
        let found = self.pattern.captures_at(text, from);
        found.map_or(Found::Nothing, Found::Match)
    }

    /// Looks from a position on in a text that goes on.
    pub fn find_partial<'t>(&self, text: &'t str, from: usize) -> Found<'t> {
        if let Some(captures) = self.pattern.captures_at(text, from) {
            let found = captures.get_match();
            let at_edge = found.end() == text.len() && (found.is_empty() || self.can_grow);
            return if at_edge {
                Found::Pending(found.start())
            } else {
                Found::Match(captures)
            };
        }
        let mut start = from.max(text.len().saturating_sub(LONGEST));
        while !text.is_char_boundary(start) {
            start += 1;
        }
        let mut starts = text[start..]
            .char_indices()
            .map(|(offset, _)| start + offset);
        starts
            .find(|start| self.may_begin(text, *start))
            .map_or(Found::Nothing, Found::Pending)
    }

    /// Whether the text from here on is the beginning of a match.
    fn may_begin(&self, text: &str, start: usize) -> bool {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let input = Input::new(text).range(start..).anchored(Anchored::Yes);
        let Ok(mut state) = self.steps.start_state_forward(&mut cache, &input) else {
            return false;
        };
        for byte in text.as_bytes()[start..].iter() {
            match self.steps.next_state(&mut cache, state, *byte) {
                Ok(next) if !next.is_dead() && !next.is_quit() => state = next,
                _ => return false,
            }
        }
        true
    }
}
