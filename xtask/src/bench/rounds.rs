//! Measuring in turns, and what is made of the samples.

use std::collections::BTreeMap;
use std::time::Duration;

use super::engines::{Boxed, Engine};
use super::process;
use super::rows::Row;

type Name = &'static str;

/// What was measured.
#[derive(Default)]
pub struct Samples {
    /// By row and engine: the value of each round.
    values: BTreeMap<(Row, Name), BTreeMap<usize, f64>>,
    /// What failed, and why; it is not tried again.
    pub failures: BTreeMap<(Row, Name), String>,
    /// Cores that others kept busy before each row of each round.
    pub busy_cores: Vec<f64>,
}

/// Every engine measures a row before the next row begins; each round begins with another engine.
///
/// Before each row it waits until the machine is idle, at most for `patience`.
pub fn measure(engines: &mut [Boxed], rows: &[Row], rounds: usize, patience: Duration) -> Samples {
    let mut samples = Samples::default();
    for round in 0..rounds {
        for &row in rows.iter().filter(|row| row.is_measured_in(round)) {
            samples
                .busy_cores
                .extend(process::wait_until_idle(patience));
            for turn in turns(engines.len(), round) {
                samples.take(&mut *engines[turn], row, round);
            }
        }
    }
    samples
}

/// All of `0..count`, from another one each round, so that none always follows the same other.
fn turns(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| (turn + round) % count)
}

impl Samples {
    /// One measurement, unless it failed before; says on stderr how it went.
    fn take(&mut self, engine: &mut dyn Engine, row: Row, round: usize) {
        let key = (row, engine.name());
        if !engine.covers(row) || self.failures.contains_key(&key) {
            return;
        }
        let begin = format!("round {}: {row}: {}", round + 1, engine.name());
        match engine.measure(row) {
            Ok(value) => {
                eprintln!("{begin}: {value:.3} {}", row.unit());
                self.add(key, round, value);
            }
            Err(error) => {
                eprintln!("{begin} failed: {error}");
                self.failures.insert(key, error.to_string());
            }
        }
    }

    fn add(&mut self, key: (Row, Name), round: usize, value: f64) {
        self.values.entry(key).or_default().insert(round, value);
    }

    /// An engine's samples of a row, in the order of the rounds.
    pub fn of(&self, row: Row, engine: Name) -> Vec<f64> {
        let values = self.values.get(&(row, engine));
        values
            .map(|values| values.values().copied().collect())
            .unwrap_or_default()
    }

    pub fn median(&self, row: Row, engine: Name) -> Option<f64> {
        median(self.of(row, engine))
    }

    /// How many times as fast (or as small) as `other` an engine is: the median of the rounds' ratios, each of two
    /// neighbours in time.
    pub fn ratio(&self, row: Row, engine: Name, other: Name) -> Option<f64> {
        let ours = self.values.get(&(row, engine))?;
        let theirs = self.values.get(&(row, other))?;
        let rounds = ours.iter().filter_map(|(round, a)| {
            let b = theirs.get(round)?;
            Some(if row.is_cost() { b / a } else { a / b })
        });
        median(rounds.collect())
    }
}

/// The middle one, or the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len().is_multiple_of(2) {
        (values[middle - 1] + upper) / 2.0
    } else {
        upper
    })
}

#[cfg(test)]
mod tests {
    use super::super::rows::Weights;
    use super::*;
    use crate::Result;

    const DECODE: Row = Row::Decode {
        depth: 0,
        weights: Weights::F32,
    };

    #[test]
    fn medians_of_odd_even_and_no_samples() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 100.0]), Some(3.0));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn ratios_pair_the_rounds() {
        let mut samples = Samples::default();
        // The machine halves its speed in round 1: the ratio stays.
        for (round, ours, theirs) in [(0, 60.0, 50.0), (1, 30.0, 25.0)] {
            samples.add((DECODE, "ours"), round, ours);
            samples.add((DECODE, "theirs"), round, theirs);
        }
        samples.add((DECODE, "ours"), 2, 1.0); // unpaired
        assert_eq!(samples.ratio(DECODE, "ours", "theirs"), Some(1.2));
        assert_eq!(samples.ratio(DECODE, "ours", "nobody"), None);
        assert_eq!(samples.median(DECODE, "ours"), Some(30.0));
    }

    #[test]
    fn half_the_time_is_twice_as_good() {
        let load = Row::Load {
            weights: Weights::F32,
        };
        let mut samples = Samples::default();
        samples.add((load, "ours"), 0, 0.05);
        samples.add((load, "theirs"), 0, 0.1);
        assert_eq!(samples.ratio(load, "ours", "theirs"), Some(2.0));
    }

    /// Answers with its calls so far, and fails on prompts.
    struct Counter(Name, f64);

    impl Engine for Counter {
        fn name(&self) -> Name {
            self.0
        }

        fn version(&self) -> String {
            String::new()
        }

        fn covers(&self, row: Row) -> bool {
            !row.is_cost()
        }

        fn measure(&mut self, row: Row) -> Result<f64> {
            self.1 += 1.0;
            match row {
                Row::Prompt { .. } => Err("no prompts".into()),
                _ => Ok(self.1),
            }
        }
    }

    #[test]
    fn a_failure_is_kept_and_not_repeated() {
        let mut engines: Vec<Boxed> =
            vec![Box::new(Counter("a", 0.0)), Box::new(Counter("b", 10.0))];
        let prompt = Row::Prompt {
            depth: 0,
            weights: Weights::F32,
        };
        let samples = measure(
            &mut engines,
            &[DECODE, prompt, Row::Start],
            3,
            Duration::ZERO,
        );
        assert_eq!(samples.of(DECODE, "a"), [1.0, 3.0, 4.0]);
        assert_eq!(samples.of(DECODE, "b"), [11.0, 13.0, 14.0]);
        assert_eq!(samples.failures[&(prompt, "a")], "no prompts");
        assert!(samples.of(Row::Start, "a").is_empty());
    }

    #[test]
    fn each_round_begins_with_another_engine() {
        assert_eq!(turns(3, 0).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(turns(3, 4).collect::<Vec<_>>(), [1, 2, 0]);
    }
}
