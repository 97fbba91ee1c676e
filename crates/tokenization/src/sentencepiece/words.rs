//! Models whose pieces are whole words, or single characters.

use super::proto::PieceKind;
use super::{Pieces, SPACE};

pub(super) fn words<'a>(text: &'a str, pieces: &Pieces) -> Vec<(&'a str, u32)> {
    let mut found = Vec::new();
    let mut start = 0;
    for (position, _) in text
        .match_indices(SPACE)
        .filter(|(position, _)| *position > 0)
    {
        found.push(&text[start..position]);
        start = position;
    }
    found.push(&text[start..]);
    let words = found.into_iter().filter(|word| !word.is_empty());
    words.map(|word| (word, known(word, pieces))).collect()
}

pub(super) fn characters<'a>(mut text: &'a str, pieces: &Pieces) -> Vec<(&'a str, u32)> {
    let mut found = Vec::new();
    while !text.is_empty() {
        let (symbol, _) = pieces.first_symbol(text);
        found.push((symbol, known(symbol, pieces)));
        text = &text[symbol.len()..];
    }
    found
}

fn known(piece: &str, pieces: &Pieces) -> u32 {
    let id = pieces.ids.get(piece).copied();
    id.filter(|&id| pieces.kind(id) != PieceKind::Unused)
        .unwrap_or(pieces.unknown_id())
}
