//! Byte-pair merging: of all neighbours that are a token together, the best is joined first, until none is left.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Range;

struct Symbol {
    range: Range<usize>,
    previous: Option<usize>,
    next: Option<usize>,
}

/// Two neighbours that are a token together.
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    /// The length of both when they were found, to see whether they are still there.
    length: usize,
}

impl Ord for Pair {
    /// The best score first, and of equal ones the leftmost.
    fn cmp(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pair {}

/// Merges these ranges of a text, which follow each other. `score` says how good two neighbours are together; `None`
/// where they are no token.
pub(crate) fn merge(
    symbols: impl IntoIterator<Item = Range<usize>>,
    mut score: impl FnMut(&Range<usize>, &Range<usize>) -> Option<f32>,
) -> Vec<Range<usize>> {
    let mut symbols: Vec<Symbol> = symbols
        .into_iter()
        .enumerate()
        .map(|(index, range)| Symbol {
            range,
            previous: index.checked_sub(1),
            next: Some(index + 1),
        })
        .collect();
    if let Some(last) = symbols.last_mut() {
        last.next = None;
    }
    let mut agenda = BinaryHeap::new();
    let mut offer =
        |symbols: &[Symbol], agenda: &mut BinaryHeap<Pair>, left: usize, right: usize| {
            let (first, second) = (&symbols[left].range, &symbols[right].range);
            agenda.extend(score(first, second).map(|score| Pair {
                score,
                left,
                right,
                length: first.len() + second.len(),
            }));
        };
    for right in 1..symbols.len() {
        offer(&symbols, &mut agenda, right - 1, right);
    }
    while let Some(pair) = agenda.pop() {
        let (left, right) = (&symbols[pair.left].range, &symbols[pair.right].range);
        let is_gone = left.is_empty() || right.is_empty();
        if is_gone || left.len() + right.len() != pair.length {
            continue;
        }
        let (end, next) = (right.end, symbols[pair.right].next);
        symbols[pair.left].range.end = end;
        symbols[pair.left].next = next;
        symbols[pair.right].range.start = end;
        if let Some(next) = next {
            symbols[next].previous = Some(pair.left);
        }
        if let Some(previous) = symbols[pair.left].previous {
            offer(&symbols, &mut agenda, previous, pair.left);
        }
        if let Some(next) = next {
            offer(&symbols, &mut agenda, pair.left, next);
        }
    }
    symbols.retain(|symbol| !symbol.range.is_empty());
    symbols.into_iter().map(|symbol| symbol.range).collect()
}
