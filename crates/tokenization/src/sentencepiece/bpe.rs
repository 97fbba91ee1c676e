//! Merges by score: of all neighbours that are a piece together, the one of the best score is joined first.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;

use super::Pieces;
use super::proto::PieceKind;

/// How often an unused piece is taken apart.
const MAX_DEPTH: usize = 100;

struct Symbol {
    range: Range<usize>,
    previous: Option<usize>,
    next: Option<usize>,
    /// User-defined pieces stay as they are.
    frozen: bool,
}

/// Two neighbours that are a piece together.
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

struct Merger<'a> {
    text: &'a str,
    pieces: &'a Pieces,
    symbols: Vec<Symbol>,
    agenda: BinaryHeap<Pair>,
    /// What unused pieces were joined of.
    halves: HashMap<&'a str, (&'a str, &'a str)>,
}

pub(super) fn encode<'a>(text: &'a str, pieces: &'a Pieces) -> Vec<(&'a str, u32)> {
    let mut merger = Merger {
        text,
        pieces,
        symbols: symbols(text, pieces),
        agenda: BinaryHeap::new(),
        halves: HashMap::new(),
    };
    for right in 1..merger.symbols.len() {
        merger.offer(right - 1, right);
    }
    merger.merge();
    let mut found = Vec::new();
    let mut index = (!merger.symbols.is_empty()).then_some(0);
    while let Some(symbol) = index.map(|index| &merger.symbols[index]) {
        merger.take_apart(&text[symbol.range.clone()], 0, &mut found);
        index = symbol.next;
    }
    found
}

fn symbols(text: &str, pieces: &Pieces) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let (symbol, frozen) = pieces.first_symbol(&text[start..]);
        let end = start + symbol.len();
        let index = symbols.len();
        symbols.push(Symbol {
            range: start..end,
            previous: index.checked_sub(1),
            next: (end < text.len()).then_some(index + 1),
            frozen,
        });
        start = end;
    }
    symbols
}

impl<'a> Merger<'a> {
    fn merge(&mut self) {
        while let Some(pair) = self.agenda.pop() {
            let (left, right) = (&self.symbols[pair.left], &self.symbols[pair.right]);
            let is_gone = left.range.is_empty() || right.range.is_empty();
            if is_gone || left.range.len() + right.range.len() != pair.length {
                continue;
            }
            let next = right.next;
            self.symbols[pair.left].range.end = right.range.end;
            self.symbols[pair.left].next = next;
            let right = &mut self.symbols[pair.right].range;
            right.start = right.end;
            if let Some(next) = next {
                self.symbols[next].previous = Some(pair.left);
            }
            if let Some(previous) = self.symbols[pair.left].previous {
                self.offer(previous, pair.left);
            }
            if let Some(next) = next {
                self.offer(pair.left, next);
            }
        }
    }

    /// Puts two neighbours on the agenda if they are a piece together.
    fn offer(&mut self, left: usize, right: usize) {
        let (first, second) = (&self.symbols[left], &self.symbols[right]);
        if first.frozen || second.frozen {
            return;
        }
        let (start, middle, end) = (first.range.start, second.range.start, second.range.end);
        let piece = &self.text[start..end];
        let Some(id) = self.pieces.of_text(piece) else {
            return;
        };
        self.agenda.push(Pair {
            score: self.pieces.list[id as usize].score,
            left,
            right,
            length: piece.len(),
        });
        if self.pieces.kind(id) == PieceKind::Unused {
            let halves = (&self.text[start..middle], &self.text[middle..end]);
            self.halves.insert(piece, halves);
        }
    }

    /// Gives a symbol as a piece; one that is not to be used, as the pieces it was joined of.
    fn take_apart(&self, symbol: &'a str, depth: usize, found: &mut Vec<(&'a str, u32)>) {
        let id = self.pieces.of_text(symbol);
        let used = |id: &u32| self.pieces.kind(*id) != PieceKind::Unused || depth > MAX_DEPTH;
        match (id.filter(used), self.halves.get(symbol)) {
            (Some(id), _) => found.push((symbol, id)),
            (None, Some((left, right))) if id.is_some() => {
                self.take_apart(left, depth + 1, found);
                self.take_apart(right, depth + 1, found);
            }
            _ => found.push((symbol, self.pieces.unknown_id())),
        }
    }
}
