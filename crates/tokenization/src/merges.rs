//! Recovers the merges of a byte-pair vocabulary that comes without them.

use std::collections::{HashMap, HashSet};

/// Every way to make a token of two others is a merge. Those of the token with the lowest id come first; where there are
/// scores, those of the best score. Then shorter left halves come first, then shorter right ones (longer ones where there
/// are scores). Tokens of `skip`, such as special ones, are neither made nor halves.
///
/// The order is the reference's (`generate_merges`), down to which of two equal ones comes first.
///
/// ```
/// use std::collections::HashMap;
/// use transformers_tokenization::generate_merges;
///
/// let tokens = ["h", "e", "l", "o", "he", "ll", "hell", "hello"];
/// let vocab: HashMap<String, u32> = tokens.map(str::to_owned).into_iter().zip(0..).collect();
/// let merges = generate_merges(&vocab, None, &[]);
/// let merges: Vec<_> = merges.iter().map(|(left, right)| format!("{left} {right}")).collect();
/// assert_eq!(merges, ["h e", "l l", "he ll", "hell o"]);
/// ```
pub fn generate_merges(
    vocab: &HashMap<String, u32>,
    scores: Option<&HashMap<String, f64>>,
    skip: &[&str],
) -> Vec<(String, String)> {
    let mut tokens: Vec<(&str, u32)> = vocab
        .iter()
        .map(|(token, id)| (token.as_str(), *id))
        .collect();
    tokens.sort_by_key(|(_, id)| *id);
    let ids: HashMap<&str, u32> = tokens.iter().copied().collect();
    let skip: HashSet<&str> = skip.iter().copied().collect();
    let rank = |token: &str, id: u32| match scores {
        Some(scores) => scores.get(token).copied(),
        None => Some(f64::from(id)),
    };
    let ranked = tokens.iter().filter(|(token, _)| !skip.contains(token));
    let ranked = ranked.filter_map(|(token, id)| Some((*token, rank(token, *id)?)));
    sorted(ranked, &ids, &skip, scores.is_some())
}

/// As [`generate_merges`] with scores, for tokens that are listed by id.
pub(crate) fn from_scores(tokens: &[String], scores: &[f64]) -> Vec<(String, String)> {
    let ids: HashMap<&str, u32> = tokens
        .iter()
        .zip(0..)
        .map(|(token, id)| (token.as_str(), id))
        .collect();
    let mut seen = HashSet::new();
    let ranked = tokens
        .iter()
        .filter(|token| seen.insert(token.as_str()))
        // Of a token that is listed twice, the last id and score count.
        .map(|token| (token.as_str(), scores[ids[token.as_str()] as usize]));
    sorted(ranked, &ids, &HashSet::new(), true)
}

fn sorted<'a>(
    tokens: impl Iterator<Item = (&'a str, f64)>,
    ids: &HashMap<&str, u32>,
    skip: &HashSet<&str>,
    descending: bool,
) -> Vec<(String, String)> {
    let usable = |half: &str| ids.contains_key(half) && !skip.contains(half);
    let mut merges = Vec::new();
    for (token, rank) in tokens {
        let mut splits: Vec<(&str, &str)> = token
            .char_indices()
            .skip(1)
            .map(|(position, _)| token.split_at(position))
            .filter(|(left, right)| usable(left) && usable(right))
            .collect();
        splits.sort_by_key(|(left, right)| (ids[left], ids[right]));
        merges.extend(splits.into_iter().map(|(left, right)| {
            let lengths = (left.chars().count(), right.chars().count());
            (rank, lengths, left, right)
        }));
    }
    merges.sort_by(|(rank, lengths, ..), (other_rank, other_lengths, ..)| {
        let order = rank.total_cmp(other_rank).then(lengths.cmp(other_lengths));
        if descending { order.reverse() } else { order }
    });
    merges
        .into_iter()
        .map(|(.., left, right)| (left.to_owned(), right.to_owned()))
        .collect()
}
