//! Learning rates over time: the schedules of the reference's `optimization.py`, by their names.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::options::Options;
use crate::{Result, TrainerError};

/// `lr_scheduler_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the reference's names")]
pub enum SchedulerType {
    #[default]
    Linear,
    Cosine,
    CosineWithRestarts,
    Polynomial,
    Constant,
    ConstantWithWarmup,
    InverseSqrt,
    #[serde(rename = "reduce_lr_on_plateau")]
    ReduceOnPlateau,
    CosineWithMinLr,
    CosineWarmupWithMinLr,
    WarmupStableDecay,
    Greedy,
}

impl SchedulerType {
    /// Whether the rate hangs on a metric of evaluations and not on the step.
    pub fn follows_a_metric(self) -> bool {
        matches!(self, Self::ReduceOnPlateau | Self::Greedy)
    }
}

/// What the learning rate of a training is, and will be.
#[derive(Debug, Clone)]
pub struct Schedule {
    base: f64,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Steps { shape: Shape, step: u64 },
    Plateau(Plateau),
    Greedy(Box<Greedy>),
}

impl Schedule {
    /// The schedule of `lr_scheduler_type` with `lr_scheduler_kwargs`; `rate` is `learning_rate`, `warmup` and `total` are
    /// steps.
    ///
    /// # Errors
    /// A keyword that the schedule does not have, lacks, or that has no sense.
    pub fn new(
        kind: SchedulerType,
        rate: f64,
        warmup: u64,
        total: u64,
        kwargs: &Map<String, Value>,
    ) -> Result<Self> {
        let mut options = Options::new("lr_scheduler_kwargs", kwargs);
        let kind = match kind {
            SchedulerType::ReduceOnPlateau => Kind::Plateau(Plateau::new(rate, &mut options)?),
            SchedulerType::Greedy => Kind::Greedy(Box::new(Greedy::new(rate, &mut options)?)),
            other => Kind::Steps {
                shape: Shape::new(other, rate, [warmup as f64, total as f64], &mut options)?,
                step: 0,
            },
        };
        options.finish()?;
        Ok(Self { base: rate, kind })
    }

    /// The rate of the next step.
    pub fn learning_rate(&self) -> f64 {
        match &self.kind {
            Kind::Steps { shape, step } => self.base * shape.factor(*step as f64),
            Kind::Plateau(plateau) => plateau.rate,
            Kind::Greedy(greedy) => greedy.rate,
        }
    }

    /// A step of the optimizer was taken. Schedules that follow a metric do not care.
    pub fn step(&mut self) {
        if let Kind::Steps { step, .. } = &mut self.kind {
            *step += 1;
        }
    }

    /// An evaluation gave the metric that `metric_for_best_model` names. Schedules that follow the step do not care.
    pub fn metric(&mut self, value: f64) {
        match &mut self.kind {
            Kind::Steps { .. } => {}
            Kind::Plateau(plateau) => plateau.step(value),
            Kind::Greedy(greedy) => greedy.step(value),
        }
    }

    /// What has to be saved.
    pub fn state(&self) -> Value {
        match &self.kind {
            Kind::Steps { step, .. } => json!({ "last_epoch": step }),
            Kind::Plateau(p) => json!({
                "lr": text(p.rate), "best": text(p.best), "num_bad_epochs": p.bad, "cooldown_counter": p.cooling,
            }),
            Kind::Greedy(g) => json!({
                "lr": text(g.rate), "best": text(g.best), "num_bad_epochs": g.bad, "num_good_epochs": g.good,
                "cooldown_counter": g.cooling, "warmup_counter": g.warming, "reset_start": g.reset_in,
                "values": g.window.iter().map(|value| text(*value)).collect::<Vec<_>>(), "sum": text(g.sum),
            }),
        }
    }

    /// Goes on where `state` was taken.
    ///
    /// # Errors
    /// It is that of another schedule.
    pub fn restore(&mut self, state: &Value) -> Result<()> {
        let lacks = |name: &str| TrainerError::InvalidState {
            what: "the learning rate's schedule",
            reason: format!("it has no `{name}`: was it saved with another `lr_scheduler_type`?"),
        };
        let number = |name: &str| state[name].as_i64().ok_or_else(|| lacks(name));
        let float = |name: &str| of_text(&state[name]).ok_or_else(|| lacks(name));
        match &mut self.kind {
            Kind::Steps { step, .. } => *step = number("last_epoch")? as u64,
            Kind::Plateau(p) => {
                (p.rate, p.best) = (float("lr")?, float("best")?);
                (p.bad, p.cooling) = (number("num_bad_epochs")?, number("cooldown_counter")?);
            }
            Kind::Greedy(g) => {
                (g.rate, g.best, g.sum) = (float("lr")?, float("best")?, float("sum")?);
                (g.bad, g.good) = (number("num_bad_epochs")?, number("num_good_epochs")?);
                (g.cooling, g.warming) = (number("cooldown_counter")?, number("warmup_counter")?);
                g.reset_in = number("reset_start")?;
                let values = state["values"].as_array().ok_or_else(|| lacks("values"))?;
                g.window = values.iter().filter_map(of_text).collect();
            }
        }
        Ok(())
    }
}

/// JSON readers may round numbers: text keeps every bit.
pub(crate) fn text(value: f64) -> String {
    value.to_string()
}

pub(crate) fn of_text(value: &Value) -> Option<f64> {
    value.as_str()?.parse().ok()
}

/// The factor on the learning rate as a function of the step.
#[derive(Debug, Clone)]
enum Shape {
    Constant,
    Linear {
        warmup: f64,
        total: f64,
    },
    Warmup {
        warmup: f64,
    },
    Cosine {
        warmup: f64,
        total: f64,
        cycles: f64,
        least: f64,
    },
    Restarts {
        warmup: f64,
        total: f64,
        cycles: f64,
    },
    Polynomial {
        warmup: f64,
        total: f64,
        power: f64,
        end: f64,
        rate: f64,
    },
    InverseSqrt {
        warmup: f64,
        timescale: f64,
    },
    WarmCosine {
        warmup: f64,
        total: f64,
        cycles: f64,
        least: f64,
        first: Option<f64>,
    },
    Stable {
        warmup: f64,
        stable: f64,
        decay: f64,
        rise: Curve,
        fall: Curve,
        least: f64,
        cycles: f64,
    },
}

#[derive(Debug, Clone, Copy)]
enum Curve {
    Linear,
    Cosine,
    Sqrt,
}

impl Shape {
    fn new(
        kind: SchedulerType,
        rate: f64,
        [warmup, total]: [f64; 2],
        options: &mut Options<'_>,
    ) -> Result<Self> {
        Ok(match kind {
            SchedulerType::Linear => Self::Linear { warmup, total },
            SchedulerType::Cosine => Self::Cosine {
                warmup,
                total,
                cycles: options.number("num_cycles", 0.5)?,
                least: 0.0,
            },
            SchedulerType::CosineWithRestarts => Self::Restarts {
                warmup,
                total,
                cycles: options.number("num_cycles", 1.0)?,
            },
            SchedulerType::Polynomial => {
                let end = options.number("lr_end", 1e-7)?;
                if end >= rate {
                    return Err(options.wrong("lr_end", "it must be below `learning_rate`"));
                }
                let power = options.number("power", 1.0)?;
                Self::Polynomial {
                    warmup,
                    total,
                    power,
                    end,
                    rate,
                }
            }
            SchedulerType::ConstantWithWarmup => Self::Warmup { warmup },
            SchedulerType::InverseSqrt => {
                let default = if warmup == 0.0 { 10_000.0 } else { warmup };
                let timescale = options.number("timescale", default)?;
                if timescale <= 0.0 {
                    return Err(options.wrong("timescale", "it must be above 0"));
                }
                Self::InverseSqrt { warmup, timescale }
            }
            SchedulerType::CosineWithMinLr => Self::Cosine {
                warmup,
                total,
                cycles: options.number("num_cycles", 0.5)?,
                least: least(rate, options)?,
            },
            SchedulerType::CosineWarmupWithMinLr => Self::WarmCosine {
                warmup,
                total,
                cycles: options.number("num_cycles", 0.5)?,
                least: least(rate, options)?,
                first: options.optional("warmup_lr_rate")?,
            },
            SchedulerType::WarmupStableDecay => {
                let decay = options.optional("num_decay_steps")?;
                let decay =
                    decay.ok_or_else(|| options.wrong("num_decay_steps", "it is needed"))?;
                let stable = options.optional("num_stable_steps")?;
                Self::Stable {
                    warmup,
                    stable: stable.unwrap_or(total - warmup - decay),
                    decay,
                    rise: Curve::new("warmup_type", "linear", options)?,
                    fall: Curve::new("decay_type", "cosine", options)?,
                    least: options.number("min_lr_ratio", 0.0)?,
                    cycles: options.number("num_cycles", 0.5)?,
                }
            }
            _ => Self::Constant,
        })
    }

    /// The factor of step `at`, counted from 0.
    fn factor(&self, at: f64) -> f64 {
        let rising = |warmup: f64| (at < warmup).then(|| at / warmup.max(1.0));
        let progress = |warmup: f64, total: f64| (at - warmup) / (total - warmup).max(1.0);
        match *self {
            Self::Constant => 1.0,
            Self::Warmup { warmup } => rising(warmup).unwrap_or(1.0),
            Self::Linear { warmup, total } => rising(warmup)
                .unwrap_or_else(|| ((total - at) / (total - warmup).max(1.0)).max(0.0)),
            Self::Cosine {
                warmup,
                total,
                cycles,
                least,
            } => rising(warmup)
                .unwrap_or_else(|| above(least, wave(cycles * 2.0 * progress(warmup, total)))),
            Self::Restarts {
                warmup,
                total,
                cycles,
            } => rising(warmup).unwrap_or_else(|| match progress(warmup, total) {
                done if done >= 1.0 => 0.0,
                done => wave((cycles * done) % 1.0),
            }),
            Self::Polynomial {
                warmup,
                total,
                power,
                end,
                rate,
            } => rising(warmup).unwrap_or_else(|| match at > total {
                true => end / rate,
                false => {
                    let left = 1.0 - (at - warmup) / (total - warmup);
                    ((rate - end) * left.powf(power) + end) / rate
                }
            }),
            Self::InverseSqrt { warmup, timescale } => rising(warmup)
                .unwrap_or_else(|| 1.0 / ((at + timescale - warmup) / timescale).sqrt()),
            Self::WarmCosine {
                warmup,
                total,
                cycles,
                least,
                first,
            } => match (at < warmup, first) {
                (true, None) => (at + 1.0) / warmup.max(1.0),
                (true, Some(first)) => first + (1.0 - first) * at / (warmup - 1.0).max(1.0),
                (false, _) => {
                    let done = (at - warmup + 1.0) / (total - warmup).max(1.0);
                    above(least, wave(cycles * 2.0 * done))
                }
            },
            Self::Stable {
                warmup,
                stable,
                decay,
                rise,
                fall,
                least,
                cycles,
            } => {
                if at < warmup {
                    let done = at / warmup.max(1.0);
                    above(
                        least,
                        match rise {
                            Curve::Linear => done,
                            Curve::Cosine => 0.5 * (1.0 - (PI * done).cos()),
                            Curve::Sqrt => 1.0 - (1.0 - done).sqrt(),
                        },
                    )
                } else if at < warmup + stable {
                    1.0
                } else if at < warmup + stable + decay {
                    let done = (at - warmup - stable) / decay.max(1.0);
                    above(
                        least,
                        match fall {
                            Curve::Linear => 1.0 - done,
                            Curve::Cosine => wave(cycles * 2.0 * done),
                            Curve::Sqrt => 1.0 - done.sqrt(),
                        },
                    )
                } else {
                    least
                }
            }
        }
    }
}

/// From 1 to 0 as `half_turns` goes from 0 to 1.
fn wave(half_turns: f64) -> f64 {
    0.5 * (1.0 + (PI * half_turns).cos())
}

fn above(least: f64, factor: f64) -> f64 {
    (factor * (1.0 - least) + least).max(0.0)
}

/// The least factor of the schedules that have `min_lr` or `min_lr_rate`.
fn least(rate: f64, options: &mut Options<'_>) -> Result<f64> {
    match (
        options.optional("min_lr")?,
        options.optional("min_lr_rate")?,
    ) {
        (Some(least), None) => Ok(least / rate),
        (None, Some(share)) => Ok(share),
        (Some(_), Some(_)) => Err(options.wrong("min_lr", "give this or `min_lr_rate`, not both")),
        (None, None) => Err(options.wrong("min_lr", "this or `min_lr_rate` is needed")),
    }
}

impl Curve {
    fn new(name: &'static str, default: &str, options: &mut Options<'_>) -> Result<Self> {
        match options.text(name, default)?.as_str() {
            "linear" => Ok(Self::Linear),
            "cosine" => Ok(Self::Cosine),
            "1-sqrt" => Ok(Self::Sqrt),
            _ => Err(options.wrong(name, "it is linear, cosine or 1-sqrt")),
        }
    }
}

/// What counts as better.
#[derive(Debug, Clone, Copy)]
struct Better {
    greater: bool,
    relative: bool,
    threshold: f64,
}

impl Better {
    fn new(threshold: f64, relative: &str, options: &mut Options<'_>) -> Result<Self> {
        let threshold = options.number("threshold", threshold)?;
        let greater = match options.text("mode", "min")?.as_str() {
            "min" => false,
            "max" => true,
            _ => return Err(options.wrong("mode", "it is min or max")),
        };
        let relative = match options.text("threshold_mode", relative)?.as_str() {
            "rel" => true,
            "abs" => false,
            _ => return Err(options.wrong("threshold_mode", "it is rel or abs")),
        };
        Ok(Self {
            greater,
            relative,
            threshold,
        })
    }

    fn worst(self) -> f64 {
        match self.greater {
            true => f64::NEG_INFINITY,
            false => f64::INFINITY,
        }
    }

    fn is(self, value: f64, best: f64) -> bool {
        match (self.greater, self.relative) {
            (false, true) => value < best * (1.0 - self.threshold),
            (false, false) => value < best - self.threshold,
            (true, true) => value > best * (1.0 + self.threshold),
            (true, false) => value > best + self.threshold,
        }
    }
}

/// torch's `ReduceLROnPlateau`.
#[derive(Debug, Clone)]
struct Plateau {
    better: Better,
    factor: f64,
    patience: i64,
    cooldown: i64,
    least: f64,
    eps: f64,
    rate: f64,
    best: f64,
    bad: i64,
    cooling: i64,
}

impl Plateau {
    fn new(rate: f64, options: &mut Options<'_>) -> Result<Self> {
        let better = Better::new(1e-4, "rel", options)?;
        let factor = options.number("factor", 0.1)?;
        if factor >= 1.0 {
            return Err(options.wrong("factor", "it must be below 1"));
        }
        Ok(Self {
            better,
            factor,
            patience: options.number("patience", 10.0)? as i64,
            cooldown: options.number("cooldown", 0.0)? as i64,
            least: options.number("min_lr", 0.0)?,
            eps: options.number("eps", 1e-8)?,
            rate,
            best: better.worst(),
            bad: 0,
            cooling: 0,
        })
    }

    fn step(&mut self, value: f64) {
        if self.better.is(value, self.best) {
            (self.best, self.bad) = (value, 0);
        } else {
            self.bad += 1;
        }
        if self.cooling > 0 {
            self.cooling -= 1;
            self.bad = 0;
        }
        if self.bad > self.patience {
            let rate = (self.rate * self.factor).max(self.least);
            if self.rate - rate > self.eps {
                self.rate = rate;
            }
            (self.cooling, self.bad) = (self.cooldown, 0);
        }
    }
}

/// GreedyLR (arXiv 2512.14527): the rate rises while the metric gets better and falls while it does not.
#[derive(Debug, Clone)]
struct Greedy {
    better: Better,
    factor: f64,
    patience: i64,
    cooldown: i64,
    warmup: i64,
    range: [f64; 2],
    eps: f64,
    smooth: Option<usize>,
    reset_start: i64,
    first: f64,
    rate: f64,
    best: f64,
    bad: i64,
    good: i64,
    cooling: i64,
    warming: i64,
    reset_in: i64,
    window: Vec<f64>,
    sum: f64,
}

impl Greedy {
    fn new(rate: f64, options: &mut Options<'_>) -> Result<Self> {
        let better = Better::new(1e-6, "abs", options)?;
        let factor = options.number("factor", 0.95)?;
        if factor >= 1.0 {
            return Err(options.wrong("factor", "it must be below 1"));
        }
        let smooth = options.truth("smooth", false)?;
        let window = options.number("window_size", 50.0)?.max(1.0) as usize;
        options.truth("verbose", false)?;
        let reset_start = options.number("reset_start", 500.0)? as i64;
        Ok(Self {
            better,
            factor,
            patience: options.number("patience", 10.0)? as i64,
            cooldown: options.number("cooldown", 0.0)? as i64,
            warmup: options.number("warmup", 0.0)? as i64,
            range: [
                options.number("min_lr", 1e-3)?,
                options.number("max_lr", 1.0)?,
            ],
            eps: options.number("eps", 1e-8)?,
            smooth: smooth.then_some(window),
            reset_start,
            first: rate,
            rate,
            best: better.worst(),
            bad: 0,
            good: 0,
            cooling: 0,
            warming: 0,
            reset_in: reset_start,
            window: Vec::new(),
            sum: 0.0,
        })
    }

    fn step(&mut self, value: f64) {
        let value = self.smoothed(value);
        if self.cooling > 0 {
            self.cooling -= 1;
            (self.bad, self.good) = (0, 0);
        } else if self.warming > 0 {
            self.warming -= 1;
            (self.bad, self.good) = (0, 0);
        } else {
            if self.better.is(value, self.best) {
                self.best = value;
                (self.bad, self.good) = (0, self.good + 1);
            } else {
                (self.bad, self.good) = (self.bad + 1, 0);
            }
            if self.good > self.patience {
                self.rise();
            } else if self.bad > self.patience {
                (self.cooling, self.bad) = (self.cooldown, 0);
                self.fall();
            }
        }
    }

    fn smoothed(&mut self, value: f64) -> f64 {
        let Some(size) = self.smooth else {
            return value;
        };
        self.window.push(value);
        self.sum += value;
        if self.window.len() > size {
            self.sum -= self.window.remove(0);
        }
        self.sum / self.window.len() as f64
    }

    fn rise(&mut self) {
        let rate = (self.rate / self.factor).min(self.range[1]);
        if rate - self.rate > self.eps {
            self.rate = rate;
        }
        self.reset_in = self.reset_start;
        (self.warming, self.good) = (self.warmup, 0);
    }

    fn fall(&mut self) {
        let rate = (self.rate * self.factor).max(self.range[0]);
        if self.rate - rate > self.eps {
            self.rate = rate;
        }
        if self.rate <= self.range[0] {
            self.reset_in -= 1;
            if self.reset_in <= 0 {
                self.reset();
            }
        }
    }

    fn reset(&mut self) {
        (self.rate, self.best) = (self.first, self.better.worst());
        self.reset_in = self.reset_start;
        self.window.clear();
        self.sum = 0.0;
        // The reference sets the wait after the fall once more.
        (self.bad, self.good, self.warming) = (0, 0, 0);
    }
}
