//! The most likely way to spell a text in pieces.

use super::Pieces;
use super::proto::PieceKind;
use super::trie::Trie;

/// How much worse than the worst piece an unknown character is.
const UNKNOWN_PENALTY: f32 = 10.0;

/// Beyond this, scores are counted from anew, so that sums of a long text keep their precision.
const RESET: f32 = 100_000.0;

pub(super) struct Unigram {
    trie: Trie,
    unknown_score: f32,
}

/// The best path that ends at a position.
#[derive(Clone, Copy, Default)]
struct Path {
    score: f32,
    /// Where its last piece begins, and which it is; nothing where no path ends.
    last: Option<(usize, u32)>,
}

impl Path {
    fn offer(&mut self, score: f32, last: (usize, u32)) {
        if self.last.is_none() || score > self.score {
            *self = Self {
                score,
                last: Some(last),
            };
        }
    }
}

impl Unigram {
    pub fn new(pieces: &Pieces) -> Result<Self, String> {
        let mut lowest = f32::MAX;
        for piece in &pieces.list {
            if !piece.score.is_finite() {
                return Err(format!("the score of `{}` is not a number", piece.text));
            }
            if piece.kind == PieceKind::Normal {
                lowest = lowest.min(piece.score);
            }
        }
        let keys: Vec<_> = pieces
            .ids
            .iter()
            .map(|(piece, id)| (piece.as_bytes(), *id))
            .collect();
        if keys.is_empty() {
            return Err("no piece is one of text".to_owned());
        }
        Ok(Self {
            trie: Trie::new(keys),
            unknown_score: lowest - UNKNOWN_PENALTY,
        })
    }

    pub fn encode<'a>(&self, text: &'a str, pieces: &Pieces) -> Vec<(&'a str, u32)> {
        let mut best = vec![Path::default(); text.len() + 1];
        let mut frontier = 0;
        for (start, character) in text.char_indices() {
            let mut so_far = best[start].score;
            if so_far.abs() > RESET {
                for (index, path) in best[..=frontier].iter_mut().enumerate().skip(start) {
                    if index == start || path.last.is_some() {
                        path.score -= so_far;
                    }
                }
                so_far = 0.0;
            }
            let mut covered = false;
            for (length, id) in self.trie.prefixes(&text.as_bytes()[start..]) {
                let score = match pieces.kind(id) {
                    PieceKind::Unused => continue,
                    // Preferred to anything that spells the same.
                    PieceKind::UserDefined => (0.1 * (length as f64 - 1.0)) as f32,
                    _ => pieces.list[id as usize].score,
                };
                frontier = frontier.max(start + length);
                best[start + length].offer(score + so_far, (start, id));
                covered |= length == character.len_utf8();
            }
            if !covered {
                let end = start + character.len_utf8();
                frontier = frontier.max(end);
                best[end].offer(self.unknown_score + so_far, (start, pieces.unknown_id()));
            }
        }
        let mut found = Vec::new();
        let mut end = text.len();
        while let Some((start, id)) = best[end].last {
            found.push((&text[start..end], id));
            end = start;
        }
        found.reverse();
        found
    }
}
