//! Random numbers for fresh parameters.

use std::f64::consts::TAU;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::RngExt;
use rand_pcg::Pcg64;

/// Of numbers that are cut off nearer to 0, too many would be thrown away.
const SMALLEST_CUTOFF: f64 = 0.0125;

/// The random numbers of one model. Each parameter has a stream of its own, so that what it gets depends on the seed and on
/// its place in the model alone, not on which parameters are drawn at all; nor on the device.
#[derive(Debug, Clone)]
pub struct Draws {
    seed: u64,
    next: Arc<AtomicU64>,
}

impl Draws {
    /// Those of `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            next: Arc::default(),
        }
    }

    /// The stream of the next parameter.
    pub(crate) fn stream(&self) -> Stream {
        Stream {
            seed: self.seed,
            number: self.next.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// Those of a seed that nobody knows.
impl Default for Draws {
    fn default() -> Self {
        Self::seeded(RandomState::new().hash_one(0))
    }
}

/// The random numbers of one parameter, from the start at every call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    seed: u64,
    number: u64,
}

impl Stream {
    /// `count` numbers of `N(0, std²)` (Box and Muller 1958).
    pub fn normal(self, count: usize, std: f64) -> Vec<f32> {
        self.truncated(count, std, f64::INFINITY)
    }

    /// The same, without those that are more than `cutoff` standard deviations off; at least one of a hundred must not be.
    pub fn truncated(self, count: usize, std: f64, cutoff: f64) -> Vec<f32> {
        let cutoff = cutoff.max(SMALLEST_CUTOFF);
        let mut random = Pcg64::new(self.seed.into(), self.number.into());
        let pair = || {
            // In (0, 1]: the logarithm is finite.
            let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
            let (sin, cos) = (TAU * random.random::<f64>()).sin_cos();
            [radius * cos, radius * sin]
        };
        let normal = std::iter::repeat_with(pair).flatten();
        let kept = normal.filter(|x| x.abs() <= cutoff).take(count);
        kept.map(|x| (x * std) as f32).collect()
    }
}

impl Stream {
    /// `count` numbers between `low` and `high`, all equally likely.
    pub fn uniform(self, count: usize, low: f64, high: f64) -> Vec<f32> {
        let mut random = Pcg64::new(self.seed.into(), self.number.into());
        let draw = || (low + (high - low) * random.random::<f64>()) as f32;
        std::iter::repeat_with(draw).take(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_normal_and_apart() {
        let draws = Draws::seeded(7);
        let (first, second) = (draws.stream(), draws.stream());
        let values = first.normal(100_001, 0.5);
        assert_eq!(values.len(), 100_001);
        let mean = |f: fn(f64) -> f64| {
            let sum: f64 = values.iter().map(|x| f(f64::from(*x))).sum();
            sum / values.len() as f64
        };
        // Five standard errors.
        assert!(mean(|x| x).abs() < 5.0 * 0.5 / 316.0);
        assert!((mean(|x| x * x) - 0.25).abs() < 5.0 * 0.25 * 1.42 / 316.0);
        assert!((mean(|x| x.powi(4)) - 3.0 / 16.0).abs() < 5.0 * 9.8 / 16.0 / 316.0);
        let truncated = first.truncated(10_000, 0.5, 2.0);
        assert!(truncated.iter().all(|x| x.abs() <= 1.0));
        assert!(truncated.iter().any(|x| x.abs() > 0.99));
        assert_eq!(first.truncated(10, 1.0, 0.0).len(), 10);
        let flat = first.uniform(10_000, -3.0, 1.0);
        assert!(flat.iter().all(|x| (-3.0..=1.0).contains(x)));
        assert!(flat.iter().any(|x| *x < -2.99) && flat.iter().any(|x| *x > 0.99));
        assert_eq!(first.normal(10, 0.5), values[..10]);
        assert_eq!(Draws::seeded(7).stream().normal(10, 0.5), values[..10]);
        assert_ne!(second.normal(10, 0.5), values[..10]);
        assert_ne!(Draws::seeded(8).stream().normal(10, 0.5), values[..10]);
    }
}
