//! Drafts from the text itself: what followed the last tokens when they were there before (the reference's
//! `PromptLookupCandidateGenerator`).
//!
//! A token that is refused costs time and gives nothing, so drafts are no longer than the text has lately been
//! predictable. The reference's are always as long as they may be; which tokens are chosen does not depend on that.

use super::{CandidateGenerator, Draft};
use crate::GenerateError;
use crate::sequence::Sequence;

/// Looks up the end of the text in what is before it.
#[derive(Debug)]
pub(crate) struct PromptLookup {
    /// How many tokens to draft at most.
    count: usize,
    /// How many tokens to draft now.
    length: usize,
    /// How many tokens at the end to look up at most.
    max_matching_ngram_size: usize,
    /// Drafts end before these.
    eos: Vec<u32>,
}

impl CandidateGenerator for PromptLookup {
    fn draft(&mut self, sequence: &Sequence) -> Result<Draft, GenerateError> {
        Ok(Draft {
            ids: self.follows(&sequence.ids[sequence.padding..]),
            ..Draft::default()
        })
    }

    fn update(&mut self, accepted: usize, drafted: usize) {
        self.length = match (drafted, accepted) {
            (0, _) => self.length,
            _ if accepted == drafted => self.length * 2,
            _ => accepted + 1,
        }
        .min(self.count);
    }
}

impl PromptLookup {
    /// `eos`: drafts end before these.
    pub fn new(count: usize, max_matching_ngram_size: usize, eos: Vec<u32>) -> Self {
        Self {
            count,
            length: count,
            max_matching_ngram_size,
            eos,
        }
    }

    /// What followed the end of `ids` when it was there before.
    fn follows(&self, ids: &[u32]) -> Vec<u32> {
        let longest = ids.len().saturating_sub(1);
        let sizes = (1..=self.max_matching_ngram_size.min(longest)).rev();
        let mut found = sizes.filter_map(|size| {
            let (before, end) = (&ids[..ids.len() - 1], &ids[ids.len() - size..]);
            let at = before.windows(size).position(|window| window == end)?;
            let follows = ids[at + size..].iter().take(self.length).copied();
            Some(follows.take_while(|id| !self.eos.contains(id)).collect())
        });
        found
            .find(|draft: &Vec<u32>| !draft.is_empty())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ids: &[u32], expect: &[u32]) {
        let lookup = PromptLookup::new(3, 2, vec![9]);
        assert_eq!(lookup.follows(ids), expect, "{ids:?}");
    }

    #[test]
    fn what_followed_before_may_follow_again() {
        check(&[1, 2, 3, 4, 5, 6, 1, 2], &[3, 4, 5]);
        // two tokens before one, and the first place before a later one
        check(&[2, 7, 1, 2, 3, 8, 2, 5, 1, 2], &[3, 8, 2]);
        check(&[2, 7, 8, 2], &[7, 8, 2]);
        check(&[1, 2, 3], &[]);
        check(&[4, 4], &[4]);
        check(&[5], &[]);
        check(&[], &[]);
    }

    #[test]
    fn drafts_are_as_long_as_the_last_ones_were_right() {
        let mut lookup = PromptLookup::new(6, 2, Vec::new());
        let mut check = |accepted, drafted, next| {
            lookup.update(accepted, drafted);
            let draft = lookup.follows(&[1, 2, 3, 4, 5, 6, 7, 8, 1, 2]);
            assert_eq!(draft.len(), next, "{accepted} of {drafted}");
        };
        check(6, 6, 6);
        check(3, 6, 4);
        check(0, 4, 1);
        // nothing was looked up
        check(0, 0, 1);
        check(1, 1, 2);
        check(2, 2, 4);
        check(4, 4, 6);
    }

    #[test]
    fn an_end_is_not_drafted() {
        check(&[1, 2, 3, 9, 5, 1, 2], &[3]);
        // after `1 2` comes the end, and after `2` alone too
        check(&[1, 2, 9, 5, 1, 2], &[]);
    }
}
