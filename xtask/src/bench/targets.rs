//! What we want to reach, and whether we did.

use super::engines::ours::{ONE_BY_ONE, OURS};
use super::limits::LIMIT;
use super::models::Models;
use super::rounds::Samples;
use super::rows::{Requests, Row, Weights};
use crate::Result;

/// A wish for our own figure in one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// So many times as fast as a peer, or this share of the machine's limit.
    AtLeast { times: f64, other: &'static str },
    /// A time or a size, in the row's unit.
    AtMost(f64),
}

/// A target and what was measured.
pub struct Verdict {
    pub target: Target,
    pub reached: f64,
}

impl Verdict {
    pub fn is_met(&self) -> bool {
        match self.target {
            Target::AtLeast { times, .. } => self.reached >= times,
            Target::AtMost(most) => self.reached <= most,
        }
    }
}

/// The row's targets, as far as what they compare was measured.
pub fn judge(row: Row, samples: &Samples, models: &Models) -> Result<Vec<Verdict>> {
    let mut targets = ratios(row);
    targets.extend(most(row, samples, models)?.map(Target::AtMost));
    let verdicts = targets.into_iter().filter_map(|target| {
        let reached = match target {
            Target::AtLeast { other, .. } => samples.ratio(row, OURS, other),
            Target::AtMost(_) => samples.median(row, OURS),
        };
        reached.map(|reached| Verdict { target, reached })
    });
    Ok(verdicts.collect())
}

/// For decoding behind a context only the peers count: the limit leaves the keys and values out that are read as well.
fn ratios(row: Row) -> Vec<Target> {
    use Weights::{Bf16, F16, F32, Q4_0, Q4_1, Q8_0};

    let wishes: &[(f64, &str)] = match row {
        Row::Decode { weights, .. } => match weights {
            F32 => &[(0.85, LIMIT), (1.05, "llama.cpp"), (2.5, "PyTorch")],
            Bf16 => &[(0.75, LIMIT), (1.15, "llama.cpp")],
            F16 => &[(1.15, "llama.cpp")],
            Q8_0 | Q4_0 | Q4_1 => &[(1.3, "llama.cpp")],
        },
        Row::Prompt { weights, .. } => match weights {
            F32 => &[(0.70, LIMIT), (1.3, "llama.cpp"), (1.3, "PyTorch")],
            Bf16 => &[(1.4, "llama.cpp")],
            F16 => &[(1.0, "llama.cpp")],
            Q8_0 | Q4_0 | Q4_1 => &[(1.3, "llama.cpp")],
        },
        Row::Embed { .. } => &[(1.3, "PyTorch"), (1.0, "onnxruntime")],
        Row::Shape { .. } => &[(1.0, "PyTorch")],
        Row::Concurrent(Requests {
            count: 16,
            prefix,
            weights,
        }) => match (weights, prefix) {
            (F32, 0) => &[(3.0, ONE_BY_ONE), (1.2, "llama.cpp")],
            (Bf16, 0) => &[(2.0, ONE_BY_ONE), (1.2, "llama.cpp")],
            (Q8_0, 0) => &[(1.4, ONE_BY_ONE), (1.2, "llama.cpp")],
            _ => &[],
        },
        Row::Concurrent(_) | Row::FirstToken { .. } => &[],
        Row::Load { .. } | Row::Start | Row::Memory { .. } => &[],
    };
    wishes
        .iter()
        .filter(|(_, other)| row.depth() == 0 || *other != LIMIT)
        .map(|&(times, other)| Target::AtLeast { times, other })
        .collect()
}

fn most(row: Row, samples: &Samples, models: &Models) -> Result<Option<f64>> {
    Ok(match row {
        // 50 ms and one decode step, where that was measured
        Row::Load {
            weights: weights @ Weights::F32,
        } => {
            let decode = Row::Decode { depth: 0, weights };
            samples.median(decode, OURS).map(|speed| 0.05 + 1.0 / speed)
        }
        Row::Start => Some(0.3),
        Row::Memory { weights } => Some(models.weight_bytes(weights)? / 1e6 + 150.0),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_at_its_bound() {
        let verdict = |target, reached| Verdict { target, reached }.is_met();
        let faster = Target::AtLeast {
            times: 1.3,
            other: "llama.cpp",
        };
        assert!(verdict(faster, 1.3) && !verdict(faster, 1.299));
        assert!(verdict(Target::AtMost(0.3), 0.3) && !verdict(Target::AtMost(0.3), 0.301));
    }

    #[test]
    fn behind_a_context_the_limit_is_no_target() {
        let others = |depth| {
            let row = Row::Decode {
                depth,
                weights: Weights::Bf16,
            };
            ratios(row)
        };
        let llama = Target::AtLeast {
            times: 1.15,
            other: "llama.cpp",
        };
        assert_eq!(others(0).len(), 2);
        assert_eq!(others(2048), [llama]);
    }

    #[test]
    fn the_peers_of_the_targets_exist() {
        use super::super::engines;
        use super::super::rows::Selection;

        let rows = Selection {
            parts: &[],
            weights: &[],
            decode_depths: &[0],
            prompt_depths: &[0],
            requests: &[16],
            start: true,
        }
        .rows();
        let rows = rows.into_iter().chain(Row::of_shapes(&[]));
        for target in rows.flat_map(ratios) {
            let Target::AtLeast { other, .. } = target else {
                continue;
            };
            assert!(
                other == LIMIT || engines::names().contains(&other),
                "{other}"
            );
        }
    }
}
