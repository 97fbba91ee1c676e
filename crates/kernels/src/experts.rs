//! Mixture of experts: feed-forward blocks of which every token passes a few.
//!
//! Tokens are sorted by expert, and the rows of an expert go through its weights in one product: a token that is decoded
//! reads the weights of the experts that it passes, and nothing of the others.

use std::ops::Range;

use crate::{
    Activation, Factor, Precision, Projection, Weight, clamped_gated, gated, grouped_linear,
    rows::{count_rows, for_rows},
};

/// The weights of all experts, stacked.
#[derive(Debug, Clone, Copy)]
pub struct Experts<'a> {
    /// `[experts * 2 * inner, hidden]`: the rows of each expert's gate, then those that it gates.
    pub gate_up: Weight<'a>,
    /// `[experts * 2 * inner]`.
    pub gate_up_bias: Option<&'a [f32]>,
    /// `[experts * hidden, inner]`.
    pub down: Weight<'a>,
    /// `[experts * hidden]`.
    pub down_bias: Option<&'a [f32]>,
    /// Features inside of an expert.
    pub inner: usize,
    /// What joins its two halves.
    pub gate: Gate,
    /// How much arithmetic may differ from that of f32.
    pub precision: Precision,
}

/// What joins the two halves of a gated feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gate {
    /// `activation(gate) * up`.
    Plain(Activation),
    /// GPT-OSS: both are clamped, then `(up + 1) * gate * sigmoid(alpha * gate)`.
    Clamped {
        /// Steepness of the gate.
        alpha: f32,
        /// `gate` is at most this, `up` within plus and minus this.
        limit: f32,
    },
}

impl Gate {
    /// `gate` becomes the two halves joined.
    ///
    /// # Panics
    /// When lengths differ.
    pub fn join(self, gate: &mut [f32], up: &[f32]) {
        match self {
            Self::Plain(activation) => gated(activation, gate, up),
            Self::Clamped { alpha, limit } => clamped_gated(alpha, limit, gate, up),
        }
    }
}

/// Which experts every token passes, and what counts of each.
#[derive(Debug, Clone, Copy)]
pub struct Routes<'a> {
    /// `[tokens, top_k]`.
    pub experts: &'a [u32],
    /// `[tokens, top_k]`.
    pub weights: &'a [f32],
}

/// `out = Σ weight * down(gate(x) joined with up(x))` over the experts of every token; `x` and `out` are
/// `[tokens, hidden]`.
///
/// # Panics
/// When lengths do not fit each other, or a route leads to no expert.
pub fn experts(
    x: &[f32],
    hidden: usize,
    routes: Routes<'_>,
    experts: &Experts<'_>,
    out: &mut [f32],
) {
    let tokens = count_rows(x, hidden);
    let (inner, slots) = (experts.inner, routes.experts.len());
    let count = experts.check(hidden);
    assert_eq!(out.len(), x.len(), "out has the shape of x");
    assert_eq!(routes.weights.len(), slots, "a weight for each expert");
    if slots == 0 {
        return out.fill(0.0);
    }
    let top_k = slots / tokens;
    assert_eq!(slots, tokens * top_k, "every token has as many experts");

    let order = Order::new(routes.experts, count);
    let sorted = match tokens {
        1 => Vec::new(),
        _ => order.rows(x, hidden, top_k),
    };
    let input = |group: &Group| match tokens {
        1 => x,
        _ => &sorted[group.rows.start * hidden..group.rows.end * hidden],
    };
    let (mut gate, mut up) = (vec![0.0; slots * inner], vec![0.0; slots * inner]);
    let mut jobs = Vec::with_capacity(2 * order.groups.len());
    let (mut gates, mut ups) = (&mut gate[..], &mut up[..]);
    for group in &order.groups {
        let first = group.expert * 2 * inner;
        for (half, rest) in [&mut gates, &mut ups].into_iter().enumerate() {
            let rows = first + half * inner..first + (half + 1) * inner;
            let len = group.rows.len() * inner;
            let bias = experts.gate_up_bias;
            let job = experts.projection(&experts.gate_up, bias, rows, hidden, rest, len);
            jobs.push((input(group), job));
        }
    }
    grouped_linear(hidden, &mut jobs);
    experts.gate.join(&mut gate, &up);

    let mut y = sorted;
    y.resize(slots * hidden, 0.0);
    let mut rest = &mut y[..];
    let mut jobs = Vec::with_capacity(order.groups.len());
    for group in &order.groups {
        let rows = group.expert * hidden..(group.expert + 1) * hidden;
        let len = group.rows.len() * hidden;
        let job = experts.projection(
            &experts.down,
            experts.down_bias,
            rows,
            inner,
            &mut rest,
            len,
        );
        let input = &gate[group.rows.start * inner..group.rows.end * inner];
        jobs.push((input, job));
    }
    grouped_linear(inner, &mut jobs);
    order.combine(&y, routes.weights, hidden, top_k, out);
}

impl<'a> Experts<'a> {
    /// How many there are.
    fn check(&self, hidden: usize) -> usize {
        let fits = self.gate_up.has_rows_of(hidden) && self.down.has_rows_of(self.inner);
        assert!(
            fits && self.inner > 0,
            "weights are [_, hidden] and [_, inner]"
        );
        let count = self.down.rows(self.inner) / hidden;
        assert_eq!(self.down.rows(self.inner), count * hidden, "whole experts");
        let gate_up = self.gate_up.rows(hidden);
        assert_eq!(gate_up, count * 2 * self.inner, "two halves of each expert");
        count
    }

    /// Rows `rows` of a weight, whose output is the next `len` elements of `rest`.
    fn projection<'b>(
        &self,
        weight: &Weight<'a>,
        bias: Option<&'a [f32]>,
        rows: Range<usize>,
        cols: usize,
        rest: &mut &'b mut [f32],
        len: usize,
    ) -> Projection<'b>
    where
        'a: 'b,
    {
        let (out, after) = std::mem::take(rest).split_at_mut(len);
        *rest = after;
        Projection {
            factor: Factor {
                weight: weight.part(rows.clone(), cols),
                bias: bias.map(|bias| &bias[rows]),
                precision: self.precision,
            },
            out,
        }
    }
}

/// Rows of one expert, in sorted order.
struct Group {
    expert: usize,
    rows: Range<usize>,
}

/// Slots (a token and one of its experts) sorted by expert.
struct Order {
    /// Of each slot in `[tokens, top_k]`, its row once sorted.
    places: Vec<usize>,
    groups: Vec<Group>,
}

impl Order {
    fn new(slots: &[u32], experts: usize) -> Self {
        let mut ends = vec![0; experts];
        for &expert in slots {
            ends[expert as usize] += 1;
        }
        let (mut groups, mut start) = (Vec::new(), 0);
        for (expert, end) in ends.iter_mut().enumerate() {
            let rows = start..start + *end;
            (start, *end) = (rows.end, rows.start);
            if !rows.is_empty() {
                groups.push(Group { expert, rows });
            }
        }
        let mut place = |&expert: &u32| {
            let next = &mut ends[expert as usize];
            *next += 1;
            *next - 1
        };
        Self {
            places: slots.iter().map(&mut place).collect(),
            groups,
        }
    }

    /// The rows of `x`, one for each slot, sorted.
    fn rows(&self, x: &[f32], hidden: usize, top_k: usize) -> Vec<f32> {
        let mut tokens = vec![0; self.places.len()];
        for (slot, &place) in self.places.iter().enumerate() {
            tokens[place] = slot / top_k;
        }
        let mut sorted = vec![0.0; tokens.len() * hidden];
        for_rows(tokens.len(), hidden, [&mut sorted], |rows, [to]| {
            for (&token, to) in tokens[rows].iter().zip(to.chunks_exact_mut(hidden)) {
                to.copy_from_slice(&x[token * hidden..(token + 1) * hidden]);
            }
        });
        sorted
    }

    /// Adds up what the experts of each token gave, `y` in sorted order.
    fn combine(&self, y: &[f32], weights: &[f32], hidden: usize, top_k: usize, out: &mut [f32]) {
        let tokens = self.places.len() / top_k;
        for_rows(tokens, hidden * top_k, [out], |rows, [out]| {
            for (token, out) in rows.zip(out.chunks_exact_mut(hidden)) {
                out.fill(0.0);
                for slot in token * top_k..(token + 1) * top_k {
                    let y = &y[self.places[slot] * hidden..][..hidden];
                    for (out, y) in out.iter_mut().zip(y) {
                        *out += weights[slot] * y;
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;
    use crate::{BlockFormat, BlockMatrix, random::Random};

    const HIDDEN: usize = 32;
    const INNER: usize = 32;
    const COUNT: usize = 5;

    /// One token after the other, one expert after the other, in f64.
    fn exact(x: &[f32], routes: Routes<'_>, experts: &Experts<'_>, dense: [&[f32]; 2]) -> Vec<f64> {
        let top_k = routes.experts.len() / (x.len() / HIDDEN);
        let linear = |x: &[f64], w: &[f32], bias: Option<&[f32]>, rows: Range<usize>| {
            let row = |row: usize| {
                let w = &w[row * x.len()..(row + 1) * x.len()];
                let products = x.iter().zip(w).map(|(x, &w)| x * f64::from(w));
                products.sum::<f64>() + bias.map_or(0.0, |bias| f64::from(bias[row]))
            };
            rows.map(row).collect::<Vec<f64>>()
        };
        let token = |(token, x): (usize, &[f32])| {
            let x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
            let mut sum = vec![0.0; HIDDEN];
            for slot in token * top_k..(token + 1) * top_k {
                let expert = routes.experts[slot] as usize;
                let first = expert * 2 * INNER;
                let bias = experts.gate_up_bias;
                let gate = linear(&x, dense[0], bias, first..first + INNER);
                let up = linear(&x, dense[0], bias, first + INNER..first + 2 * INNER);
                let join = |(&gate, &up): (&f64, &f64)| match experts.gate {
                    Gate::Plain(Activation::Silu) => gate / (1.0 + (-gate).exp()) * up,
                    Gate::Plain(other) => unreachable!("{other:?}"),
                    Gate::Clamped { alpha, limit } => {
                        let (alpha, limit) = (f64::from(alpha), f64::from(limit));
                        let (gate, up) = (gate.min(limit), up.clamp(-limit, limit));
                        (up + 1.0) * gate / (1.0 + (-alpha * gate).exp())
                    }
                };
                let inside: Vec<f64> = gate.iter().zip(&up).map(join).collect();
                let rows = expert * HIDDEN..(expert + 1) * HIDDEN;
                let y = linear(&inside, dense[1], experts.down_bias, rows);
                for (sum, y) in sum.iter_mut().zip(y) {
                    *sum += f64::from(routes.weights[slot]) * y;
                }
            }
            sum
        };
        x.chunks(HIDDEN).enumerate().flat_map(token).collect()
    }

    fn check(
        random: &mut Random,
        [gate_up, down]: [Weight<'_>; 2],
        dense: [&[f32]; 2],
        gate: Gate,
        biased: bool,
    ) {
        let biases = [2 * INNER, HIDDEN].map(|rows| random.floats(COUNT * rows));
        let weights = Experts {
            gate_up,
            gate_up_bias: biased.then_some(&biases[0]),
            down,
            down_bias: biased.then_some(&biases[1]),
            inner: INNER,
            gate,
            precision: Precision::Exact,
        };
        for (tokens, top_k) in [(1, 1), (1, 3), (2, 2), (7, 1), (40, 2), (40, 5)] {
            let x = random.floats(tokens * HIDDEN);
            // Experts of a token differ; the last one is passed by none of the first tokens.
            let first = |token: usize| token % 2 + token / 20;
            let slots = (0..tokens).flat_map(|t| (0..top_k).map(move |k| first(t) + k));
            let chosen: Vec<u32> = slots.map(|expert| (expert % COUNT) as u32).collect();
            let routes = Routes {
                experts: &chosen,
                weights: &random.floats(chosen.len()),
            };
            let expected = exact(&x, routes, &weights, dense);
            let mut out = vec![f32::NAN; x.len()];
            experts(&x, HIDDEN, routes, &weights, &mut out);
            for (i, (out, expected)) in out.iter().zip(&expected).enumerate() {
                let off = (f64::from(*out) - expected).abs();
                let case = (tokens, top_k, biased, i);
                assert!(
                    off <= 2e-5 * expected.abs().max(1.0),
                    "{case:?}: {out} {expected}"
                );
            }
        }
    }

    #[test]
    fn as_one_token_after_the_other() {
        let mut random = Random::new(3);
        let sizes = [COUNT * 2 * INNER * HIDDEN, COUNT * HIDDEN * INNER];
        let dense = sizes.map(|len| random.floats(len));
        let views = [&dense[0][..], &dense[1]];
        let clamped = Gate::Clamped {
            alpha: 1.702,
            limit: 2.0,
        };
        for gate in [Gate::Plain(Activation::Silu), clamped] {
            for biased in [false, true] {
                check(&mut random, views.map(Weight::F32), views, gate, biased);
            }
        }
        let half = dense.each_ref().map(|w| {
            let half = w.iter().map(|&w| bf16::from_f32(w));
            half.collect::<Vec<_>>()
        });
        let rounded = half
            .each_ref()
            .map(|w| w.iter().map(|w| w.to_f32()).collect::<Vec<_>>());
        let weights = [Weight::Bf16(&half[0]), Weight::Bf16(&half[1])];
        check(
            &mut random,
            weights,
            [&rounded[0], &rounded[1]],
            clamped,
            true,
        );
    }

    #[test]
    fn of_blocks() {
        let mut random = Random::new(4);
        let format = BlockFormat::Q8_0;
        let rows = [COUNT * 2 * INNER, COUNT * HIDDEN];
        let bytes = rows.map(|rows| {
            let block = |random: &mut Random| {
                let scale = half::f16::from_f32(random.floats(1)[0] / 127.0).to_le_bytes();
                let values = random
                    .floats(32)
                    .into_iter()
                    .map(|x| (127.0 * x) as i8 as u8);
                scale.into_iter().chain(values).collect::<Vec<u8>>()
            };
            (0..rows)
                .flat_map(|_| block(&mut random))
                .collect::<Vec<u8>>()
        });
        let dense = bytes.each_ref().map(|bytes| {
            let mut values = vec![0.0; bytes.len() / 34 * 32];
            format.dequantize(bytes, &mut values);
            values
        });
        let [gate_up, down] = [0, 1].map(|i| BlockMatrix::new(format, &bytes[i], rows[i], 32));
        let weights = [gate_up, down].map(|w| Weight::Blocks(w.expect("whole rows")));
        let gate = Gate::Plain(Activation::Silu);
        check(&mut random, weights, [&dense[0], &dense[1]], gate, false);
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn a_route_to_no_expert_is_refused() {
        Order::new(&[0, 2], 2);
    }
}
