//! Where the arguments of the next trial come from.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::{Map, Value, json};

use super::{Direction, Distribution, SearchSpace, Trial};

/// Chooses the arguments of the next trial.
pub trait SearchSampler {
    /// A value for every argument of the space, given the trials that are done.
    fn sample(
        &mut self,
        space: &SearchSpace,
        done: &[Trial],
        direction: Direction,
    ) -> Map<String, Value>;
}

/// By chance alone.
#[derive(Debug, Clone)]
pub struct RandomSearch(Pcg64);

impl RandomSearch {
    /// The same seed gives the same arguments.
    pub fn new(seed: u64) -> Self {
        Self(Pcg64::seed_from_u64(seed))
    }
}

impl SearchSampler for RandomSearch {
    fn sample(&mut self, space: &SearchSpace, _: &[Trial], _: Direction) -> Map<String, Value> {
        let draw = |(name, of): (&String, &Distribution)| (name.clone(), draw(of, &mut self.0));
        space.iter().map(draw).collect()
    }
}

fn draw(distribution: &Distribution, random: &mut Pcg64) -> Value {
    match distribution {
        Distribution::Float { .. } => place(distribution, random.random::<f64>()),
        Distribution::Int { low, high } => json!(random.random_range(*low..=*high)),
        Distribution::Categorical(values) => values[random.random_range(0..values.len())].clone(),
    }
}

/// The value at a place of 0 to 1.
fn place(distribution: &Distribution, at: f64) -> Value {
    match distribution {
        Distribution::Float {
            low,
            high,
            log: false,
        } => json!((low + (high - low) * at).clamp(*low, *high)),
        Distribution::Float {
            low,
            high,
            log: true,
        } => {
            json!((low.ln() + (high / low).ln() * at).exp().clamp(*low, *high))
        }
        Distribution::Int { low, high } => {
            let steps = (high - low + 1) as f64;
            json!((low + (steps * at) as i64).clamp(*low, *high))
        }
        Distribution::Categorical(values) => {
            values[((values.len() as f64 * at) as usize).min(values.len() - 1)].clone()
        }
    }
}

/// The place of a value.
fn place_of(distribution: &Distribution, value: &Value) -> Option<f64> {
    Some(match distribution {
        Distribution::Float {
            low,
            high,
            log: false,
        } => (value.as_f64()? - low) / (high - low),
        Distribution::Float {
            low,
            high,
            log: true,
        } => (value.as_f64()? / low).ln() / (high / low).ln(),
        Distribution::Int { low, high } => {
            (value.as_i64()? - low) as f64 / (high - low + 1) as f64 + 0.5 / (high - low + 1) as f64
        }
        Distribution::Categorical(values) => {
            let at = values.iter().position(|known| known == value)?;
            (at as f64 + 0.5) / values.len() as f64
        }
    })
}

/// The tree-structured Parzen estimator (Bergstra et al. 2011): values that are likely among good trials and unlikely among
/// the others.
#[derive(Debug, Clone)]
pub struct TpeSampler {
    random: Pcg64,
    /// Trials by chance before it begins.
    pub n_startup_trials: usize,
    /// Values that are tried against each other for each argument.
    pub n_ei_candidates: usize,
}

impl TpeSampler {
    /// The same seed gives the same arguments.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Pcg64::seed_from_u64(seed),
            n_startup_trials: 10,
            n_ei_candidates: 24,
        }
    }

    fn best_of(&mut self, of: &Distribution, [good, bad]: [&Parzen; 2]) -> Value {
        if let Distribution::Categorical(values) = of {
            let gain = |value: &&Value| {
                place_of(of, value).map_or(0.0, |at| {
                    good.share(at, values.len()) / bad.share(at, values.len())
                })
            };
            // Drawn by the gain: the best one alone would be tried again and again.
            let gains: Vec<f64> = values.iter().map(|value| gain(&value)).collect();
            let mut left = self.random.random::<f64>() * gains.iter().sum::<f64>();
            let at = gains.iter().position(|gain| {
                left -= gain;
                left <= 0.0
            });
            return values[at.unwrap_or(0)].clone();
        }
        let mut best = (f64::NEG_INFINITY, 0.5);
        for _ in 0..self.n_ei_candidates.max(1) {
            let at = good.draw(&mut self.random);
            let gain = good.density(at).ln() - bad.density(at).ln();
            if gain > best.0 {
                best = (gain, at);
            }
        }
        place(of, best.1)
    }
}

impl SearchSampler for TpeSampler {
    fn sample(
        &mut self,
        space: &SearchSpace,
        done: &[Trial],
        direction: Direction,
    ) -> Map<String, Value> {
        let mut known: Vec<&Trial> = done
            .iter()
            .filter(|trial| !trial.objective.is_nan())
            .collect();
        if known.len() < self.n_startup_trials.max(1) {
            let draw =
                |(name, of): (&String, &Distribution)| (name.clone(), draw(of, &mut self.random));
            return space.iter().map(draw).collect();
        }
        known.sort_by(|a, b| match direction {
            Direction::Minimize => a.objective.total_cmp(&b.objective),
            Direction::Maximize => b.objective.total_cmp(&a.objective),
        });
        let split = (known.len().div_ceil(10)).min(25);
        let mut chosen = Map::new();
        for (name, of) in space {
            let parzen = |trials: &[&Trial]| {
                let values = trials
                    .iter()
                    .filter_map(|trial| place_of(of, trial.hyperparameters.get(name)?));
                Parzen::new(values.collect())
            };
            let (good, bad) = (parzen(&known[..split]), parzen(&known[split..]));
            chosen.insert(name.clone(), self.best_of(of, [&good, &bad]));
        }
        chosen
    }
}

/// A density on 0 to 1 of normal bells at what was seen, and one wide bell in the middle.
struct Parzen {
    bells: Vec<[f64; 2]>,
}

impl Parzen {
    fn new(mut seen: Vec<f64>) -> Self {
        seen.sort_by(f64::total_cmp);
        let least = 1.0 / (seen.len() as f64 + 1.0).min(100.0);
        // A bell is as wide as the way to its neighbours.
        let width = |at: usize| {
            let before = if at == 0 { 0.0 } else { seen[at - 1] };
            let after = seen.get(at + 1).copied().unwrap_or(1.0);
            (seen[at] - before).max(after - seen[at]).clamp(least, 1.0)
        };
        let mut bells: Vec<[f64; 2]> = (0..seen.len()).map(|at| [seen[at], width(at)]).collect();
        bells.push([0.5, 1.0]);
        Self { bells }
    }

    fn density(&self, at: f64) -> f64 {
        let bell = |[mean, width]: &[f64; 2]| (-0.5 * ((at - mean) / width).powi(2)).exp() / width;
        self.bells.iter().map(bell).sum::<f64>() / self.bells.len() as f64
    }

    /// The share of seen values in the cell of `at`, of so many cells, each of which was seen once more.
    fn share(&self, at: f64, cells: usize) -> f64 {
        let cell = |at: f64| (at * cells as f64) as usize;
        let seen = &self.bells[..self.bells.len() - 1];
        let here = seen.iter().filter(|bell| cell(bell[0]) == cell(at)).count();
        (here as f64 + 1.0) / (seen.len() + cells) as f64
    }

    fn draw(&self, random: &mut Pcg64) -> f64 {
        let [mean, width] = self.bells[random.random_range(0..self.bells.len())];
        // Those outside are drawn again.
        for _ in 0..100 {
            let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
            let at = mean + width * radius * (std::f64::consts::TAU * random.random::<f64>()).cos();
            if (0.0..=1.0).contains(&at) {
                return at;
            }
        }
        mean
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn space() -> SearchSpace {
        let log = Distribution::Float {
            low: 1e-6,
            high: 1e-1,
            log: true,
        };
        let kinds = Distribution::Categorical(["a", "b", "c"].map(|kind| json!(kind)).into());
        [
            ("rate", log),
            ("steps", Distribution::Int { low: 1, high: 9 }),
            ("kind", kinds),
        ]
        .map(|(name, of)| (name.to_owned(), of))
        .into()
    }

    /// Least at a rate of 1e-3, 7 steps, and kind b.
    fn objective(map: &Map<String, Value>) -> f64 {
        let rate = map["rate"].as_f64().unwrap().log10() + 3.0;
        let steps = map["steps"].as_f64().unwrap() - 7.0;
        rate.powi(2) + (steps / 4.0).powi(2) + f64::from(u8::from(map["kind"] != "b"))
    }

    fn best(sampler: &mut dyn SearchSampler, direction: Direction) -> f64 {
        let sign = if direction == Direction::Minimize {
            1.0
        } else {
            -1.0
        };
        let mut done = Vec::new();
        for run_id in 0..60 {
            let hyperparameters = sampler.sample(&space(), &done, direction);
            let rate = hyperparameters["rate"].as_f64().unwrap();
            assert!(
                (1e-6..=1e-1).contains(&rate)
                    && (1..=9).contains(&hyperparameters["steps"].as_i64().unwrap())
            );
            let objective = sign * objective(&hyperparameters);
            done.push(Trial {
                run_id,
                objective,
                hyperparameters,
            });
        }
        // The mean of the last twenty.
        done[40..]
            .iter()
            .map(|trial| sign * trial.objective)
            .sum::<f64>()
            / 20.0
    }

    #[test]
    fn the_estimator_finds_where_chance_wanders() {
        for direction in [Direction::Minimize, Direction::Maximize] {
            for seed in 0..5 {
                let chance = best(&mut RandomSearch::new(seed), direction);
                let found = best(&mut TpeSampler::new(seed), direction);
                assert!(
                    found < 0.6 * chance,
                    "seed {seed}: {found} against {chance}"
                );
            }
        }
    }

    #[test]
    fn places_are_those_of_values() {
        for (_, of) in space() {
            for at in [0.01, 0.3, 0.77, 0.99] {
                let value = place(&of, at);
                let back = place_of(&of, &value).unwrap();
                let digits = |value: Value| value.to_string().chars().take(3).collect::<String>();
                assert_eq!(digits(place(&of, back)), digits(value));
            }
        }
    }
}
