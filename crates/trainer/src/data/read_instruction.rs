//! Parts of splits: `train[:10%]`, `train[100:200]`, `train[-5%:]`, `train+test`.
//!
//! Source: "Slice splits" in the documentation of Python's `datasets`, whose `ReadInstruction` this is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;
use std::sync::LazyLock;

use regex::Regex;

use super::{Example, Files, IterableDataset};
use crate::{Result, TrainerError};

/// How shares become numbers of examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rounding {
    /// To the nearest one, to the even one in the middle: parts that meet have no gap and no overlap.
    Closest,
    /// Every percent is as many; what is left over is in no part.
    Pct1DropRemainder,
}

/// What the numbers of a slice count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Examples,
    Percent(Rounding),
}

/// A slice of one split.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    split: String,
    from: Option<i64>,
    to: Option<i64>,
    unit: Unit,
}

/// Which examples of which splits to read, one slice after the other.
///
/// Numbers count examples, or with `%` shares; those below 0 count from the end. Shares are rounded to the nearest example,
/// or cut to whole percents of equal size where `(pct1_dropremainder)` stands behind the slice.
///
/// ```
/// use transformers_trainer::data::ReadInstruction;
///
/// let half: ReadInstruction = "train[:50%]+test[-10:]".parse()?;
/// let lengths = [("train".to_owned(), 7), ("test".to_owned(), 100)].into();
/// let parts = half.to_absolute(&lengths)?;
/// assert_eq!(parts, [("train".to_owned(), 0..4), ("test".to_owned(), 90..100)]);
/// # Ok::<(), transformers_trainer::TrainerError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadInstruction {
    parts: Vec<Part>,
}

impl FromStr for ReadInstruction {
    type Err = TrainerError;

    fn from_str(spec: &str) -> Result<Self> {
        let part =
            |text: &str| Part::new(text.trim_ascii()).map_err(|reason| invalid(spec, reason));
        let parts: Vec<Part> = spec.split('+').map(part).collect::<Result<_>>()?;
        let shares = |part: &&Part| part.unit != Unit::Examples;
        let first = parts.first().filter(shares);
        if let Some(first) = first
            && parts
                .iter()
                .filter(shares)
                .any(|part| part.unit != first.unit)
        {
            return Err(invalid(spec, "its parts are rounded in different ways"));
        }
        Ok(Self { parts })
    }
}

impl ReadInstruction {
    /// The examples, which begin with 0, of each slice; a slice may be empty.
    ///
    /// # Errors
    /// A split has no length, or has less than 100 examples where whole percents are asked for.
    pub fn to_absolute(
        &self,
        lengths: &BTreeMap<String, usize>,
    ) -> Result<Vec<(String, Range<usize>)>> {
        let absolute = |part: &Part| {
            let len = lengths.get(&part.split);
            let len = len.ok_or_else(|| missing(&part.split, lengths.keys()))?;
            Ok((part.split.clone(), part.range(*len)?))
        };
        self.parts.iter().map(absolute).collect()
    }

    /// The examples of all slices, of the splits' files. A slice that begins and ends with a number of examples reads no further
    /// than its end.
    pub(super) fn load(&self, files: impl Fn(&str) -> Result<Files>) -> Result<Vec<Example>> {
        let mut all: Vec<Example> = Vec::new();
        for part in &self.parts {
            let examples = part.load(&files(&part.split)?)?;
            if let (Some(first), Some(more)) = (all.first(), examples.first()) {
                same_columns(first, more)?;
            }
            all.extend(examples);
        }
        Ok(all)
    }
}

static FORM: LazyLock<Regex> = LazyLock::new(|| {
    let form = r"(?x) ^ (?<split> \w+ (\.\w+)* )
        (\[ ((?<from> -?[\d_]+) (?<from_pct> %)?)? : ((?<to> -?[\d_]+) (?<to_pct> %)?)? \])?
        (\( (?<rounding> [^)]*) \))? $";
    Regex::new(form).expect("the form is written here")
});

impl Part {
    fn new(text: &str) -> Result<Self, String> {
        let found = FORM
            .captures(text)
            .ok_or_else(|| format!("`{text}` is not of the form split[from:to]"))?;
        let number = |name| {
            found
                .name(name)
                .map(|text| integer(text.as_str()))
                .transpose()
        };
        let (from, to) = (number("from")?, number("to")?);
        let percent = found.name("from_pct").or(found.name("to_pct")).is_some();
        let unit = match (percent, found.name("rounding").map(|name| name.as_str())) {
            (false, None) => Unit::Examples,
            (false, Some(_)) => return Err("only shares (%) are rounded".to_owned()),
            (true, None | Some("closest")) => Unit::Percent(Rounding::Closest),
            (true, Some("pct1_dropremainder")) => Unit::Percent(Rounding::Pct1DropRemainder),
            (true, Some(other)) => {
                return Err(format!(
                    "`{other}` is neither closest nor pct1_dropremainder"
                ));
            }
        };
        let beyond =
            |number: Option<i64>| number.is_some_and(|number| !(-100..=100).contains(&number));
        if percent && (beyond(from) || beyond(to)) {
            return Err("shares are from -100% to 100%".to_owned());
        }
        Ok(Self {
            split: found["split"].to_owned(),
            from,
            to,
            unit,
        })
    }

    /// The examples of a split of so many.
    fn range(&self, len: usize) -> Result<Range<usize>> {
        let count = len as i64;
        let boundary = |number: Option<i64>, default: i64| {
            let Some(number) = number else {
                return Ok(default);
            };
            let number = match self.unit {
                Unit::Examples => number,
                Unit::Percent(Rounding::Closest) => {
                    ((number as f64 * len as f64) / 100.0).round_ties_even() as i64
                }
                Unit::Percent(Rounding::Pct1DropRemainder) if len < 100 => {
                    let reason = format!(
                        "it has {len} examples: below 100 every whole percent of a split is empty"
                    );
                    return Err(invalid(&self.split, reason));
                }
                Unit::Percent(Rounding::Pct1DropRemainder) => number * (count / 100),
            };
            Ok(match number < 0 {
                true => count.saturating_add(number).max(0),
                false => number.min(count),
            })
        };
        let (from, to) = (boundary(self.from, 0)?, boundary(self.to, count)?);
        Ok(from as usize..to.max(from) as usize)
    }

    /// How many examples from the start are enough to know this slice; `None`: all.
    fn enough(&self) -> Option<usize> {
        let counted = self.unit == Unit::Examples && self.from.is_none_or(|from| from >= 0);
        let to = self.to.filter(|_| counted)?;
        usize::try_from(to).ok()
    }

    fn load(&self, files: &Files) -> Result<Vec<Example>> {
        let mut examples: Vec<Example> = match self.enough() {
            None => files.load()?,
            Some(count) => files.examples()?.take(count).collect::<Result<_>>()?,
        };
        let range = self.range(examples.len())?;
        examples.truncate(range.end);
        examples.drain(..range.start);
        Ok(examples)
    }
}

/// A number as Python's `int` reads it: `_` may be between digits.
fn integer(text: &str) -> Result<i64, String> {
    let digits = text.trim_start_matches('-');
    let placed = digits.split('_').all(|digits| !digits.is_empty());
    let number = placed.then(|| text.replace('_', "").parse().ok()).flatten();
    number.ok_or_else(|| format!("`{text}` is no number of examples"))
}

fn same_columns(first: &Example, more: &Example) -> Result<()> {
    let columns = |example: &Example| {
        let mut names: Vec<&str> = example.names().collect();
        names.sort_unstable();
        names.join(", ")
    };
    let (expected, found) = (columns(first), columns(more));
    match expected == found {
        true => Ok(()),
        false => Err(TrainerError::DifferentColumns { expected, found }),
    }
}

fn invalid(split: &str, reason: impl Into<String>) -> TrainerError {
    TrainerError::InvalidSplit {
        split: split.to_owned(),
        reason: reason.into(),
    }
}

/// There is no such split among those that are known.
pub(super) fn missing<'a>(
    split: &str,
    known: impl IntoIterator<Item = &'a String>,
) -> TrainerError {
    let known: Vec<&str> = known.into_iter().map(String::as_str).collect();
    TrainerError::MissingSplit {
        split: split.to_owned(),
        available: known.join(", "),
    }
}
