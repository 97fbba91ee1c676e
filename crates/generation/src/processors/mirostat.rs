//! Mirostat (Basu et al. 2021), version 2: keeps the surprise of the chosen tokens near a target.

use super::{LogitsProcessor, Step, softmax};

/// Tokens more surprising than a bound go, and the bound follows what was chosen. It has the place of the other filters
/// of sampling; the reference has none.
#[derive(Debug, Clone)]
pub struct Mirostat {
    target: f32,
    rate: f32,
    bound: f32,
    /// Probabilities of the step before.
    before: Vec<f32>,
}

impl Mirostat {
    /// `target`: the surprise in bits to keep to, often 5; `rate`: how fast the bound follows, often 0.1.
    pub fn new(target: f32, rate: f32) -> Self {
        Self {
            target,
            rate,
            bound: 2.0 * target,
            before: Vec::new(),
        }
    }
}

impl LogitsProcessor for Mirostat {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        if let Some(last) = step.new_ids().last()
            && let Some(prob) = self.before.get(*last as usize)
        {
            self.bound -= self.rate * (-prob.log2() - self.target);
        }
        let probs = softmax(scores);
        let likeliest = probs.iter().copied().fold(0.0, f32::max);
        for (score, prob) in scores.iter_mut().zip(&probs) {
            if -prob.log2() > self.bound && *prob < likeliest {
                *score = f32::NEG_INFINITY;
            }
        }
        self.before = softmax(scores);
    }
}
