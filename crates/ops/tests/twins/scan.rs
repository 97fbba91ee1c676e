//! State spaces and short convolutions: the two bodies.

use burn::tensor::Tensor;
use transformers_ops::{Scan, causal_conv1d, gradients_in_primitives, selective_scan};

use crate::twin::{Random, agree, followed};

/// Inputs of one shape; rates decay.
fn inputs(
    random: &mut Random,
    [batch, seq, heads, head_dim, groups, states]: [usize; 6],
    rates: usize,
) -> Scan {
    Scan {
        x: random.tensor([batch, seq, heads, head_dim]),
        dt: random.tensor([batch, seq, heads]).abs(),
        a: random.tensor([heads, rates]).abs() * -3.0,
        b: random.tensor([batch, seq, groups, states]),
        c: random.tensor([batch, seq, groups, states]),
        d: random.tensor([heads]),
    }
}

fn all_followed(scan: &Scan) -> Scan {
    Scan {
        x: followed(&scan.x),
        dt: followed(&scan.dt),
        a: followed(&scan.a),
        b: followed(&scan.b),
        c: followed(&scan.c),
        d: followed(&scan.d),
    }
}

#[test]
fn of_scans() {
    gradients_in_primitives(|| {
        let shapes = [
            [1, 1, 3, 1, 1, 4],
            [2, 5, 7, 1, 1, 16],
            [2, 4, 6, 5, 2, 9],
            // More than two chunks.
            [1, 131, 4, 3, 2, 5],
        ];
        for shape in shapes {
            let [batch, _, heads, head_dim, _, states] = shape;
            for rates in [1, states] {
                let mut random = Random::new(states as u64);
                let scan = inputs(&mut random, shape, rates);
                let before: Tensor<4> = random.tensor([batch, heads, head_dim, states]);
                for before in [None, Some(before)] {
                    let (y, state) = selective_scan(scan.clone(), before.clone());
                    let before = before.as_ref().map(followed);
                    let (expect_y, expect_state) = selective_scan(all_followed(&scan), before);
                    agree(y, expect_y, (shape, rates));
                    agree(state, expect_state, (shape, rates));
                }
            }
        }
    });
}

#[test]
fn in_parts_as_in_one() {
    gradients_in_primitives(|| {
        for rates in [1, 8] {
            parts(rates);
        }
    });
}

fn parts(rates: usize) {
    let mut random = Random::new(1);
    let scan = inputs(&mut random, [2, 6, 4, 3, 2, 8], rates);
    let part = |start, len| Scan {
        x: scan.x.clone().narrow(1, start, len),
        dt: scan.dt.clone().narrow(1, start, len),
        b: scan.b.clone().narrow(1, start, len),
        c: scan.c.clone().narrow(1, start, len),
        ..scan.clone()
    };
    let (first, state) = selective_scan(part(0, 4), None);
    let (last, state) = selective_scan(part(4, 2), Some(state));
    let (whole, expect) = selective_scan(all_followed(&scan), None);
    agree(Tensor::cat(vec![first, last], 1), whole, "y");
    agree(state, expect, "state");
}

#[test]
fn of_convolutions() {
    gradients_in_primitives(|| {
        for [batch, seq, channels, width] in [[1, 1, 1, 1], [2, 5, 7, 3], [1, 33, 65, 4]] {
            let mut random = Random::new(seq as u64);
            let x = random.tensor([batch, seq + width - 1, channels]);
            let (weight, bias) = (random.tensor([channels, width]), random.tensor([channels]));
            for bias in [None, Some(bias)] {
                agree(
                    causal_conv1d(x.clone(), weight.clone(), bias.clone()),
                    causal_conv1d(followed(&x), followed(&weight), bias.as_ref().map(followed)),
                    (seq, channels, width),
                );
            }
        }
    });
}
