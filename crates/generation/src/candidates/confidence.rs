//! When a draft ends early: with a token that its author is not sure of.

/// Until so many tokens were checked, the threshold stays.
const SAMPLES: usize = 5;

/// A threshold for the probability of a draft's last token. It moves to where it would best have told the tokens that the
/// model kept from those that it did not: a needless end costs three times what a needless token costs (the reference's
/// `update_candidate_strategy`).
#[derive(Debug)]
pub(super) struct Confidence {
    threshold: f32,
    adapts: bool,
    /// Of the draft that is not checked yet.
    drafted: Vec<f32>,
    /// What was checked and whether it was kept, the likeliest first.
    checked: Vec<(f32, bool)>,
}

impl Confidence {
    /// A threshold of 0 ends no draft, and stays.
    pub fn new(threshold: f32, adapts: bool) -> Self {
        Self {
            threshold,
            adapts: adapts && threshold > 0.0,
            drafted: Vec::new(),
            checked: Vec::new(),
        }
    }

    /// Whether the draft ends with this token, of which the probability is given.
    pub fn ends_with(&mut self, prob: f32) -> bool {
        if self.adapts {
            self.drafted.push(prob);
        }
        prob < self.threshold
    }

    /// Of the first `drafted` tokens, `accepted` were kept.
    pub fn update(&mut self, accepted: usize, drafted: usize) {
        let mut probs = std::mem::take(&mut self.drafted);
        probs.truncate(drafted);
        // What comes after a token that was not kept says nothing.
        for (index, prob) in probs.into_iter().take(accepted + 1).enumerate() {
            let at = self.checked.partition_point(|(other, _)| *other > prob);
            self.checked.insert(at, (prob, index < accepted));
        }
        let kept = self.checked.iter().filter(|(_, kept)| *kept).count();
        if self.checked.len() > SAMPLES && kept > 0 && kept < self.checked.len() {
            self.threshold = self.best(kept);
        }
    }

    /// The highest threshold of those that cost least, over the ROC curve.
    fn best(&self, kept: usize) -> f32 {
        let dropped = self.checked.len() - kept;
        let (mut best, mut least) = (f32::INFINITY, f64::INFINITY);
        let (mut right, mut wrong) = (0, 0);
        for same in self.checked.chunk_by(|(a, _), (b, _)| a == b) {
            right += same.iter().filter(|(_, kept)| *kept).count();
            wrong += same.iter().filter(|(_, kept)| !*kept).count();
            let missed = 1.0 - right as f64 / kept as f64;
            let cost = wrong as f64 / dropped as f64 + 3.0 * missed;
            if cost < least {
                (best, least) = (same[0].0, cost);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        confidence: Vec<Vec<(Vec<f32>, usize, f32)>>,
    }

    #[test]
    fn thresholds_move_as_in_the_reference() {
        let golden = include_str!("../../../../tests/golden/generation.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        let mut moves = 0;
        for rounds in golden.confidence {
            let mut confidence = Confidence::new(0.4, true);
            for (probs, accepted, threshold) in rounds {
                let before = confidence.threshold;
                for &prob in &probs {
                    assert_eq!(confidence.ends_with(prob), prob < before);
                }
                confidence.update(accepted, probs.len());
                assert_eq!(confidence.threshold, threshold);
                moves += usize::from(threshold != before);
            }
        }
        assert!(moves > 10, "{moves} moves");
    }

    #[test]
    fn a_threshold_of_none_stays() {
        let mut confidence = Confidence::new(0.0, true);
        for _ in 0..20 {
            assert!(!confidence.ends_with(0.1) && !confidence.ends_with(0.01));
            confidence.update(1, 2);
        }
        assert_eq!(confidence.threshold, 0.0);
    }
}
