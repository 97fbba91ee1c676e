//! Transforms that change names and leave tensors alone.

use super::pattern::Patterns;
use crate::Result;

/// Replaces the first match of a pattern in a key.
///
/// ```
/// use transformers_weights::WeightRenaming;
///
/// # fn main() -> transformers_weights::Result<()> {
/// let renaming = WeightRenaming::new(r"layers\.(\d+)\.fc1", r"layers.\1.mlp.fc1")?;
/// let renamed = renaming.apply("layers.3.fc1.bias")?;
/// assert_eq!(renamed.as_deref(), Some("layers.3.mlp.fc1.bias"));
/// let restored = renaming.reverse()?.apply("layers.3.mlp.fc1.bias")?;
/// assert_eq!(restored.as_deref(), Some("layers.3.fc1.bias"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct WeightRenaming {
    pub(super) patterns: Patterns,
}

impl WeightRenaming {
    /// A renaming of what `source` matches to `target`, in which `\1`, `$1` or `${1}` stand for a group of `source`.
    ///
    /// # Errors
    /// If `source` is not a regular expression, or `target` refers to a group that it does not have.
    pub fn new(source: &str, target: &str) -> Result<Self> {
        Self::any_of(&[source], target)
    }

    /// A renaming of what any of `sources` matches.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn any_of(sources: &[&str], target: &str) -> Result<Self> {
        let patterns = Patterns::new(sources, &[target])?;
        Ok(Self { patterns })
    }

    /// The renamed key, or `None` if no pattern matches.
    ///
    /// # Errors
    /// If matching takes too many steps.
    pub fn apply(&self, key: &str) -> Result<Option<String>> {
        let found = self.patterns.find(key)?;
        Ok(found.map(|found| found.replace(&self.patterns.targets()[0])))
    }

    /// The renaming from target to source; of several sources to the first.
    ///
    /// # Errors
    /// If the source, taken as text, refers to nothing that the target has.
    pub fn reverse(&self) -> Result<Self> {
        let (sources, targets) = self.patterns.written();
        let patterns = Patterns::new(&targets, &sources)?.scoped_like(&self.patterns);
        Ok(Self { patterns })
    }
}

/// Renamings that shift names by one another, for instance `norm0` to `norm1` and `norm1` to `norm2`.
///
/// A checkpoint that is converted already has `norm1` and `norm2`, and must keep them. The first pair's source, which such
/// a checkpoint lacks, is therefore a guard: the other pairs apply only after it was seen. Keys come in natural order, so
/// the guard must be the first in it.
#[derive(Clone, Debug)]
pub struct GroupWeightRename {
    pub(super) patterns: Patterns,
}

impl GroupWeightRename {
    /// Renamings given as pairs of a pattern and its replacement, the guard first.
    ///
    /// # Errors
    /// As [`WeightRenaming::new`].
    pub fn new(pairs: &[(&str, &str)]) -> Result<Self> {
        let (sources, targets): (Vec<&str>, Vec<&str>) = pairs.iter().copied().unzip();
        let patterns = Patterns::new(&sources, &targets)?;
        Ok(Self { patterns })
    }

    /// The renamed key, or `None` if no pattern matches or the guard is still to come.
    pub(super) fn apply(&self, key: &str, guard_seen: &mut bool) -> Result<Option<String>> {
        let found = self.patterns.find(key)?;
        let found = found.filter(|found| found.source == 0 || *guard_seen);
        Ok(found.map(|found| {
            *guard_seen = true;
            found.replace(&self.patterns.targets()[found.source])
        }))
    }

    /// The same pairs turned round, the new guard first.
    ///
    /// # Errors
    /// As [`WeightRenaming::reverse`].
    pub fn reverse(&self) -> Result<Self> {
        let (sources, targets) = self.patterns.written();
        let mut pairs: Vec<_> = targets.into_iter().zip(sources).collect();
        pairs.sort_unstable();
        let mut reversed = Self::new(&pairs)?;
        reversed.patterns = reversed.patterns.scoped_like(&self.patterns);
        Ok(reversed)
    }
}

/// A renaming that also shifts the index that its first group matches, for checkpoints that count layers from elsewhere.
#[derive(Clone, Debug)]
pub struct IndexOffsetRename {
    pub(super) patterns: Patterns,
    offset: i64,
}

impl IndexOffsetRename {
    /// A renaming of what `source` matches to `target`, with `offset` added to the number that `\1` stands for.
    ///
    /// # Errors
    /// As [`WeightRenaming::new`].
    pub fn new(source: &str, target: &str, offset: i64) -> Result<Self> {
        let patterns = Patterns::new(&[source], &[target])?;
        Ok(Self { patterns, offset })
    }

    /// The renamed key, or `None` if the pattern does not match.
    pub(super) fn apply(&self, key: &str) -> Result<Option<String>> {
        let Some(found) = self.patterns.find(key)? else {
            return Ok(None);
        };
        let index = found.group(1).parse::<i64>().ok();
        let shifted = index
            .and_then(|index| index.checked_add(self.offset))
            .ok_or_else(|| {
                self.patterns.error(format!(
                    "on key `{key}`: `{}` is not an index that {} can be added to",
                    found.group(1),
                    self.offset
                ))
            })?;
        let target = self.patterns.targets()[0].replace(r"\1", &shifted.to_string());
        Ok(Some(found.insert(&target)))
    }

    /// The renaming from target to source that shifts back.
    ///
    /// # Errors
    /// As [`WeightRenaming::reverse`].
    pub fn reverse(&self) -> Result<Self> {
        let (sources, targets) = self.patterns.written();
        let mut reversed = Self::new(targets[0], sources[0], -self.offset)?;
        reversed.patterns = reversed.patterns.scoped_like(&self.patterns);
        Ok(reversed)
    }
}

/// Adds or removes a level at the start of names, optionally behind another one that stays.
#[derive(Clone, Debug)]
pub struct PrefixChange {
    pub(super) patterns: Patterns,
    prefix: String,
    adds: bool,
    after: String,
}

impl PrefixChange {
    /// Adds `prefix` to names that do not have it yet, behind `after` unless that is empty.
    ///
    /// # Errors
    /// If a prefix is not valid in a regular expression.
    pub fn add(prefix: &str, after: &str) -> Result<Self> {
        let stays = stays(after);
        let source = format!(r"^{stays}(?:(?!{prefix}\.))(.+)");
        let target = format!(r"{stays}{prefix}\.\1");
        Self::new(&source, &target, prefix, after, true)
    }

    /// Removes `prefix` from names that have it, behind `after` unless that is empty.
    ///
    /// # Errors
    /// If a prefix is not valid in a regular expression.
    pub fn remove(prefix: &str, after: &str) -> Result<Self> {
        let stays = stays(after);
        let source = format!(r"^{stays}{prefix}\.(.+)");
        Self::new(&source, &format!(r"{stays}\1"), prefix, after, false)
    }

    fn new(source: &str, target: &str, prefix: &str, after: &str, adds: bool) -> Result<Self> {
        Ok(Self {
            patterns: Patterns::new(&[source], &[target])?,
            prefix: prefix.to_owned(),
            adds,
            after: after.to_owned(),
        })
    }

    /// The renamed key, or `None` if there is nothing to change.
    pub(super) fn apply(&self, key: &str) -> Result<Option<String>> {
        let found = self.patterns.find(key)?;
        Ok(found.map(|found| found.replace(&self.patterns.targets()[0])))
    }

    /// Removes what this adds, or adds what it removes.
    ///
    /// # Errors
    /// None in practice: the prefixes were valid one way.
    pub fn reverse(&self) -> Result<Self> {
        let mut reversed = match self.adds {
            true => Self::remove(&self.prefix, &self.after)?,
            false => Self::add(&self.prefix, &self.after)?,
        };
        reversed.patterns = reversed.patterns.scoped_like(&self.patterns);
        Ok(reversed)
    }
}

fn stays(after: &str) -> String {
    match after {
        "" => String::new(),
        after => format!(r"{after}\."),
    }
}
