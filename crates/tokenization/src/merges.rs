//! Recovers the merges of a byte-pair vocabulary that comes without them.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// Every way to make a token of two others is a merge; better scores come first, then longer left halves, then longer
/// right ones. `tokens` are listed by id, with one score each.
///
/// The order is the reference's (`generate_merges`), down to which of two equal ones comes first.
pub(crate) fn from_scores(tokens: &[String], scores: &[f64]) -> Vec<(String, String)> {
    let ids: HashMap<&str, usize> = tokens
        .iter()
        .enumerate()
        .map(|(id, token)| (token.as_str(), id))
        .collect();
    let mut merges = Vec::new();
    let mut seen = HashSet::new();
    for token in tokens.iter().filter(|token| seen.insert(token.as_str())) {
        // Of a token that is listed twice, the last id and score count.
        let score = scores[ids[token.as_str()]];
        let mut splits: Vec<(&str, &str)> = token
            .char_indices()
            .skip(1)
            .map(|(position, _)| token.split_at(position))
            .filter(|(left, right)| ids.contains_key(left) && ids.contains_key(right))
            .collect();
        splits.sort_by_key(|(left, right)| (ids[left], ids[right]));
        merges.extend(splits.into_iter().map(|(left, right)| Merge {
            score,
            lengths: (left.chars().count(), right.chars().count()),
            left,
            right,
        }));
    }
    merges.sort_by(|a, b| b.rank(a));
    merges
        .into_iter()
        .map(|merge| (merge.left.to_owned(), merge.right.to_owned()))
        .collect()
}

struct Merge<'a> {
    score: f64,
    lengths: (usize, usize),
    left: &'a str,
    right: &'a str,
}

impl Merge<'_> {
    fn rank(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then(self.lengths.cmp(&other.lengths))
    }
}
