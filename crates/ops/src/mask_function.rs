//! Masks as functions of positions: what is more than a causal or a bidirectional one.

use std::fmt;
use std::sync::Arc;

/// A query and a key of one batch entry. Both count from the entry's first column, keys of a cache included; in packed
/// sequences from the first token of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskIndex {
    /// The batch entry.
    pub entry: usize,
    /// The position of the query.
    pub query: usize,
    /// The position of the key.
    pub key: usize,
}

type Function = dyn Fn(MaskIndex) -> bool + Send + Sync;

/// Whether a query sees a key. Functions are composed with [`Self::and`] and [`Self::or`], and widen or narrow a
/// [`Mask`](crate::Mask):
///
/// ```
/// use transformers_ops::{Mask, MaskFunction};
///
/// // Causal, but the first three tokens see each other, and nobody sees the fifth but itself.
/// let fifth = MaskFunction::new(|at| at.key != 4 || at.query == 4);
/// let mask = Mask::causal().or(MaskFunction::prefix([3])).and(fifth);
/// let seen = |query, key| mask.sees(0, query, key);
/// assert!(seen(0, 2) && !seen(3, 4) && seen(4, 4) && !seen(5, 4));
/// ```
#[derive(Clone)]
pub struct MaskFunction {
    function: Arc<Function>,
    entries: usize,
}

impl MaskFunction {
    /// A function of yours, the same for all entries of a batch unless it [says otherwise](Self::for_entries).
    pub fn new(function: impl Fn(MaskIndex) -> bool + Send + Sync + 'static) -> Self {
        Self {
            function: Arc::new(function),
            entries: 1,
        }
    }

    /// A function that looks at the entry, of a batch of so many.
    #[must_use]
    pub fn for_entries(self, entries: usize) -> Self {
        Self { entries, ..self }
    }

    /// A query sees its own key and all before it.
    pub fn causal() -> Self {
        Self::new(|at| at.key <= at.query)
    }

    /// Keys less than `window` away from the query's own, on both sides.
    pub fn sliding(window: usize) -> Self {
        Self::new(move |at| at.query.abs_diff(at.key) < window)
    }

    /// Keys in the query's chunk of `size` tokens; in each entry chunks are counted from its first token, after so many
    /// columns of padding.
    pub fn chunked(size: usize, left_padding: impl Into<Vec<usize>>) -> Self {
        let left_padding = left_padding.into();
        let entries = left_padding.len();
        let chunk = move |entry, position| {
            let start = of_entry(&left_padding, entry).copied().unwrap_or(0);
            (position as i64 - start as i64).div_euclid(size.max(1) as i64)
        };
        let function = move |at: MaskIndex| chunk(at.entry, at.query) == chunk(at.entry, at.key);
        Self::new(function).for_entries(entries)
    }

    /// The first so many tokens of each entry, which see each other (prefix language models). To be added to a causal
    /// mask with [`Mask::or`](crate::Mask::or).
    pub fn prefix(lens: impl Into<Vec<usize>>) -> Self {
        let lens = lens.into();
        let entries = lens.len();
        let function = move |at: MaskIndex| {
            let len = of_entry(&lens, at.entry).copied().unwrap_or(0);
            at.query < len && at.key < len
        };
        Self::new(function).for_entries(entries)
    }

    /// Tokens of one block, which see each other: `[batch][column]`, the number of the block, or `None` for tokens of
    /// none (images among text).
    pub fn blocks(ids: Vec<Vec<Option<usize>>>) -> Self {
        let entries = ids.len();
        let function = move |at: MaskIndex| {
            let id = |position: usize| *of_entry(&ids, at.entry)?.get(position)?;
            id(at.query).is_some() && id(at.query) == id(at.key)
        };
        Self::new(function).for_entries(entries)
    }

    /// Sequences that are packed one after the other, of which each sees itself only: `[batch][column]`, the number of
    /// the sequence.
    pub fn packed(ids: Vec<Vec<usize>>) -> Self {
        let some = |row: Vec<usize>| row.into_iter().map(Some).collect();
        Self::blocks(ids.into_iter().map(some).collect())
    }

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let entries = self.entries.max(other.entries);
        let (a, b) = (self.function, other.function);
        Self::new(move |at| a(at) && b(at)).for_entries(entries)
    }

    /// Either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let entries = self.entries.max(other.entries);
        let (a, b) = (self.function, other.function);
        Self::new(move |at| a(at) || b(at)).for_entries(entries)
    }

    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    pub(crate) fn call(&self, at: MaskIndex) -> bool {
        (self.function)(at)
    }
}

/// What belongs to an entry; one for all where there is one.
fn of_entry<T>(values: &[T], entry: usize) -> Option<&T> {
    match values {
        [one] => Some(one),
        _ => values.get(entry),
    }
}

impl fmt::Debug for MaskFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskFunction")
    }
}
