//! Merges by score.

use std::collections::{HashMap, HashSet};

use super::Pieces;
use super::proto::PieceKind;
use crate::merging::merge;

/// How often an unused piece is taken apart.
const MAX_DEPTH: usize = 100;

/// What unused pieces were joined of.
type Halves<'a> = HashMap<&'a str, (&'a str, &'a str)>;

pub(super) fn encode<'a>(text: &'a str, pieces: &Pieces) -> Vec<(&'a str, u32)> {
    let mut symbols = Vec::new();
    let mut frozen = HashSet::new(); // where user-defined pieces begin, which stay as they are
    let mut start = 0;
    while start < text.len() {
        let (symbol, whole) = pieces.first_symbol(&text[start..]);
        if whole {
            frozen.insert(start);
        }
        symbols.push(start..start + symbol.len());
        start += symbol.len();
    }
    let mut halves = Halves::new();
    let merged = merge(symbols, |left, right| {
        if frozen.contains(&left.start) || frozen.contains(&right.start) {
            return None;
        }
        let piece = &text[left.start..right.end];
        let id = pieces.of_text(piece)?;
        if pieces.kind(id) == PieceKind::Unused {
            halves.insert(piece, (&text[left.clone()], &text[right.clone()]));
        }
        Some(pieces.list[id as usize].score)
    });
    let mut found = Vec::with_capacity(merged.len());
    for range in merged {
        take_apart(&text[range], pieces, &halves, 0, &mut found);
    }
    found
}

/// Gives a symbol as a piece; one that is not to be used, as the pieces it was joined of.
fn take_apart<'a>(
    symbol: &'a str,
    pieces: &Pieces,
    halves: &Halves<'a>,
    depth: usize,
    found: &mut Vec<(&'a str, u32)>,
) {
    let id = pieces.of_text(symbol);
    let used = |id: &u32| pieces.kind(*id) != PieceKind::Unused || depth > MAX_DEPTH;
    match (id.filter(used), halves.get(symbol)) {
        (Some(id), _) => found.push((symbol, id)),
        (None, Some((left, right))) if id.is_some() => {
            take_apart(left, pieces, halves, depth + 1, found);
            take_apart(right, pieces, halves, depth + 1, found);
        }
        _ => found.push((symbol, pieces.unknown_id())),
    }
}
