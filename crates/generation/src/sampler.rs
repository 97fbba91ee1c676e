//! Choosing the next token.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::processors::{largest, softmax, sum};

/// How a token is chosen from processed scores.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sampler {
    Greedy,
    /// Draws by probability. A row's stream depends on the seed, the row and the step alone.
    Multinomial {
        seed: u64,
    },
}

impl Sampler {
    /// The token of `row` at `step`, from `scores` `[vocab]`, of which at least one is finite.
    pub fn choose(&self, scores: &[f32], row: usize, step: usize) -> u32 {
        match self {
            Self::Greedy => argmax(scores),
            Self::Multinomial { seed } => draw(scores, *seed, row, step),
        }
    }

    /// `count` different indices of `scores`, which are log-probabilities, the best first; drawn ones in the order of
    /// the draws.
    pub fn choose_many(&self, scores: &[f32], count: usize, row: usize, step: usize) -> Vec<usize> {
        match self {
            Self::Greedy => highest(scores, count),
            Self::Multinomial { seed } => {
                // Scores with Gumbel noise, sorted, are draws without replacement (Kool et al. 2019).
                let mut random = generator(*seed, row, step);
                let noise = |score: &f32| score - (-random.random::<f32>().ln()).ln();
                highest(&scores.iter().map(noise).collect::<Vec<_>>(), count)
            }
        }
    }
}

/// The first of the highest scores.
fn argmax(scores: &[f32]) -> u32 {
    let best = largest(scores);
    let first = best.and_then(|best| scores.iter().position(|score| *score == best));
    first.unwrap_or(0) as u32
}

/// The indices of the `count` highest scores, the highest first; of equals the first.
pub(crate) fn highest(scores: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let better = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
    if count < order.len() {
        order.select_nth_unstable_by(count, better);
        order.truncate(count);
    }
    order.sort_unstable_by(better);
    order
}

/// Probabilities that a draw passes at once.
const BLOCK: usize = 256;

fn draw(scores: &[f32], seed: u64, row: usize, step: usize) -> u32 {
    let mut left = uniform(seed, row, step);
    let probs = softmax(scores);
    let mut last = None;
    for (block, probs) in probs.chunks(BLOCK).enumerate() {
        let mass = sum(probs);
        if mass == 0.0 {
            continue;
        }
        last = Some((block, probs));
        if left < mass {
            break;
        }
        left -= mass;
    }
    // Sums are rounded: where all is passed, the last one that is possible is meant.
    let Some((block, probs)) = last else {
        return 0;
    };
    let mut last = 0;
    for (index, prob) in probs.iter().enumerate().filter(|(_, prob)| **prob > 0.0) {
        last = index;
        left -= prob;
        if left < 0.0 {
            break;
        }
    }
    (block * BLOCK + last) as u32
}

/// A number of 0 to 1 that depends on the three alone.
pub(crate) fn uniform(seed: u64, row: usize, step: usize) -> f32 {
    generator(seed, row, step).random()
}

fn generator(seed: u64, row: usize, step: usize) -> Pcg64 {
    // Distinct odd multipliers keep (row, step) pairs apart; the generator then mixes.
    let stream = seed
        .wrapping_add((row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_add((step as u64).wrapping_mul(0xD1B5_4A32_D192_ED03));
    Pcg64::seed_from_u64(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_probabilities() {
        let scores = [0.0f32, 1.0, f32::NEG_INFINITY, 2.0];
        let probs = softmax(&scores);
        let mut counts = [0usize; 4];
        for step in 0..20_000 {
            counts[Sampler::Multinomial { seed: 7 }.choose(&scores, 0, step) as usize] += 1;
        }
        for (count, prob) in counts.iter().zip(probs) {
            assert!((*count as f32 / 20_000.0 - prob).abs() < 0.02, "{counts:?}");
        }
        assert_eq!(counts[2], 0);
    }

    #[test]
    fn a_draw_depends_on_seed_row_and_step() {
        let scores: Vec<f32> = vec![0.0; 1000];
        let at = |seed, row, step| Sampler::Multinomial { seed }.choose(&scores, row, step);
        assert_eq!(at(1, 0, 0), at(1, 0, 0));
        assert_ne!(at(1, 0, 0), at(2, 0, 0));
        assert_ne!(at(1, 0, 0), at(1, 1, 0));
        assert_ne!(at(1, 0, 0), at(1, 0, 1));
    }

    #[test]
    fn greedy_takes_the_first_of_equals() {
        assert_eq!(Sampler::Greedy.choose(&[1.0, 3.0, 3.0], 0, 0), 1);
        let mut many: Vec<f32> = (0..100).map(|i| (i * 37 % 50) as f32).collect();
        assert_eq!(Sampler::Greedy.choose(&many, 0, 0), 27);
        assert_eq!(largest(&many), Some(49.0));
        many[98] = f32::NAN;
        assert_eq!(largest(&many), None);
        assert_eq!(largest(&[f32::NEG_INFINITY; 20]), Some(f32::NEG_INFINITY));
    }
}
