//! The gated delta rule (Yang, Kautz and Hatamizadeh 2024), token by token.

use crate::{
    Isa,
    pool::{self, Phase},
    shared::SharedMut,
    simd::simd_fn,
};

/// Products of a task at least.
const TASK: usize = 1 << 14;

/// Columns of the state whose sums are kept at hand; the last ones of a head are taken one by one.
const COLUMNS: usize = 32;

/// Added to the square of a query's or a key's length.
const LENGTH_EPS: f32 = 1e-6;

/// The sizes of a [`gated_delta_rule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaShape {
    /// Batch entries.
    pub batch: usize,
    /// Tokens of each.
    pub seq: usize,
    /// Heads of queries and keys; divides `heads`.
    pub key_heads: usize,
    /// Heads: what has values and a state of its own. Neighbouring ones share a head of queries and keys.
    pub heads: usize,
    /// Features of a query or a key.
    pub key_dim: usize,
    /// Features of a value.
    pub value_dim: usize,
}

/// What a [`gated_delta_rule`] reads.
#[derive(Debug, Clone, Copy)]
pub struct Delta<'a> {
    /// `[batch, seq, key_heads, key_dim]`.
    pub q: &'a [f32],
    /// `[batch, seq, key_heads, key_dim]`.
    pub k: &'a [f32],
    /// `[batch, seq, heads, value_dim]`.
    pub v: &'a [f32],
    /// Logarithms of what is kept of a state, not positive: `[batch, seq, heads]`.
    pub decay: &'a [f32],
    /// How far a value is replaced, from 0 to 1: `[batch, seq, heads]`.
    pub beta: &'a [f32],
}

/// What a token brings beside its vectors.
#[derive(Clone, Copy)]
struct Factors {
    decay: f32,
    beta: f32,
    /// One over the length of the key.
    key: f32,
    /// The same of the query, over the root of its features.
    query: f32,
}

/// For each token, with a query and a key of length one, `S = exp(decay) S`, then `S = S + k ⊗ beta (v - Sᵀ k)` and
/// `y = Sᵀ q / √key_dim`. `state`, `[batch, heads, key_dim, value_dim]`, is `S` before and after; `y` has the shape of `v`.
///
/// # Panics
/// When a length is not that of its shape.
pub fn gated_delta_rule(shape: DeltaShape, delta: Delta<'_>, state: &mut [f32], y: &mut [f32]) {
    let DeltaShape {
        batch,
        seq,
        key_heads,
        heads,
        key_dim,
        value_dim,
    } = shape;
    let tokens = batch * seq;
    assert_eq!(delta.q.len(), tokens * key_heads * key_dim, "q");
    assert_eq!(delta.k.len(), delta.q.len(), "k");
    assert_eq!(delta.v.len(), tokens * heads * value_dim, "v");
    assert_eq!(delta.decay.len(), tokens * heads, "decay");
    assert_eq!(delta.beta.len(), tokens * heads, "beta");
    assert_eq!(state.len(), batch * heads * key_dim * value_dim, "state");
    assert_eq!(y.len(), delta.v.len(), "y");
    if tokens * heads * key_dim * value_dim == 0 {
        return y.fill(0.0);
    }
    assert!(heads.is_multiple_of(key_heads), "heads share keys evenly");

    let isa = Isa::current();
    let width = key_dim * value_dim;
    let grain = TASK.div_ceil(seq * width).min(heads);
    let tasks = heads.div_ceil(grain);
    let (state, y) = (SharedMut::new(state), SharedMut::new(y));
    pool::run(Phase::of_rows(tokens), batch * tasks, |task| {
        let (entry, first) = (task / tasks, task % tasks * grain);
        let mut factors = Vec::with_capacity(seq);
        for head in first..heads.min(first + grain) {
            factors.clear();
            factors.extend((0..seq).map(|token| factors_of(shape, delta, entry, token, head)));
            // SAFETY: every pair of batch entry and head is in one task.
            let state = unsafe { state.part((entry * heads + head) * width, width) };
            one_head(isa, shape, delta, entry, head, &factors, state, y);
        }
    });
}

fn factors_of(
    shape: DeltaShape,
    delta: Delta<'_>,
    entry: usize,
    token: usize,
    head: usize,
) -> Factors {
    let token = entry * shape.seq + token;
    let keys = shape.key_row(token, head)..shape.key_row(token, head) + shape.key_dim;
    let over_length = |x: &[f32]| {
        let square: f32 = x.iter().map(|x| x * x).sum();
        (square + LENGTH_EPS).sqrt().recip()
    };
    Factors {
        decay: delta.decay[token * shape.heads + head].exp(),
        beta: delta.beta[token * shape.heads + head],
        key: over_length(&delta.k[keys.clone()]),
        query: over_length(&delta.q[keys]) / (shape.key_dim as f32).sqrt(),
    }
}

impl DeltaShape {
    /// Where the query and the key of `head` begin.
    fn key_row(self, token: usize, head: usize) -> usize {
        let key_head = head / (self.heads / self.key_heads);
        (token * self.key_heads + key_head) * self.key_dim
    }
}

simd_fn! {
    /// All tokens of a batch entry and one head: columns of the state know nothing of each other.
    fn one_head<S>(
        _s,
        shape: DeltaShape,
        delta: Delta<'_>,
        entry: usize,
        head: usize,
        factors: &[Factors],
        state: &mut [f32],
        y: SharedMut<'_, f32>,
    ) {
        let DeltaShape { seq, heads, key_dim, value_dim, .. } = shape;
        let mut column = 0;
        while column < value_dim {
            let whole = value_dim - column >= COLUMNS;
            for (token, factors) in factors.iter().enumerate() {
                let token = entry * seq + token;
                let keys = shape.key_row(token, head);
                let (q, k) = (&delta.q[keys..][..key_dim], &delta.k[keys..][..key_dim]);
                let at = (token * heads + head) * value_dim + column;
                let len = if whole { COLUMNS } else { 1 };
                let v = &delta.v[at..][..len];
                // SAFETY: every pair of token and head is in one task.
                let y = unsafe { y.part(at, len) };
                match whole {
                    true => columns::<COLUMNS>(state, value_dim, column, q, k, v, *factors, y),
                    false => columns::<1>(state, value_dim, column, q, k, v, *factors, y),
                }
            }
            column += if whole { COLUMNS } else { 1 };
        }
    }
}

/// One token and `N` columns of the state, from `column` on.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn columns<const N: usize>(
    state: &mut [f32],
    value_dim: usize,
    column: usize,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    factors: Factors,
    y: &mut [f32],
) {
    let mut known = [0.0f32; N];
    for (row, k) in state.chunks_exact(value_dim).zip(k) {
        let row: &[f32; N] = row[column..column + N].try_into().expect("N columns");
        for lane in 0..N {
            known[lane] += k * row[lane];
        }
    }
    let mut change = [0.0f32; N];
    for lane in 0..N {
        let known = factors.decay * factors.key * known[lane];
        change[lane] = factors.key * factors.beta * (v[lane] - known);
    }
    let mut sums = [0.0f32; N];
    for ((row, k), q) in state.chunks_exact_mut(value_dim).zip(k).zip(q) {
        let row: &mut [f32; N] = (&mut row[column..column + N])
            .try_into()
            .expect("N columns");
        for lane in 0..N {
            row[lane] = factors.decay * row[lane] + k * change[lane];
            sums[lane] += q * row[lane];
        }
    }
    for lane in 0..N {
        y[lane] = factors.query * sums[lane];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// The same in f64 and in the plainest order.
    fn exact(shape: DeltaShape, delta: Delta<'_>, state: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let DeltaShape {
            batch,
            seq,
            heads,
            key_dim,
            value_dim,
            ..
        } = shape;
        let mut state: Vec<f64> = state.iter().map(|s| f64::from(*s)).collect();
        let mut y = vec![0.0; delta.v.len()];
        let unit = |x: &[f32]| -> Vec<f64> {
            let square: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
            let length = (square + f64::from(LENGTH_EPS)).sqrt();
            x.iter().map(|x| f64::from(*x) / length).collect()
        };
        for token in 0..batch * seq {
            for head in 0..heads {
                let keys = shape.key_row(token, head);
                let (q, k) = (
                    unit(&delta.q[keys..][..key_dim]),
                    unit(&delta.k[keys..][..key_dim]),
                );
                let row = token * heads + head;
                let decay = f64::from(delta.decay[row]).exp();
                let state = &mut state[(token / seq * heads + head) * key_dim * value_dim..];
                for j in 0..value_dim {
                    let known: f64 = (0..key_dim)
                        .map(|i| decay * state[i * value_dim + j] * k[i])
                        .sum();
                    let change = f64::from(delta.beta[row])
                        * (f64::from(delta.v[row * value_dim + j]) - known);
                    let mut sum = 0.0;
                    for i in 0..key_dim {
                        let s = &mut state[i * value_dim + j];
                        *s = decay * *s + k[i] * change;
                        sum += *s * q[i];
                    }
                    y[row * value_dim + j] = sum / (key_dim as f64).sqrt();
                }
            }
        }
        (y, state)
    }

    #[test]
    fn every_shape_is_that_of_f64() {
        let shapes = [
            [1, 1, 1, 1, 1, 1],
            [2, 5, 2, 6, 7, 3],
            [1, 9, 1, 2, 16, 32],
            [1, 3, 2, 4, 5, 67],
            [3, 1, 4, 4, 128, 128],
            [1, 0, 1, 1, 2, 2],
        ];
        for [batch, seq, key_heads, heads, key_dim, value_dim] in shapes {
            let shape = DeltaShape {
                batch,
                seq,
                key_heads,
                heads,
                key_dim,
                value_dim,
            };
            let mut random = Random::new((heads * key_dim) as u64);
            let keys = batch * seq * key_heads * key_dim;
            let rows = batch * seq * heads;
            let [q, k, v, before, decay, beta] = [
                keys,
                keys,
                rows * value_dim,
                batch * heads * key_dim * value_dim,
                rows,
                rows,
            ]
            .map(|len| random.floats(len));
            let decay: Vec<f32> = decay.iter().map(|x| -x.abs()).collect();
            let beta: Vec<f32> = beta.iter().map(|x| x.abs().min(1.0)).collect();
            let delta = Delta {
                q: &q,
                k: &k,
                v: &v,
                decay: &decay,
                beta: &beta,
            };
            let (mut state, mut y) = (before.clone(), vec![f32::NAN; v.len()]);
            gated_delta_rule(shape, delta, &mut state, &mut y);
            let (exact_y, exact_state) = exact(shape, delta, &before);
            let close = |ours: &[f32], exact: &[f64]| {
                let pairs = ours.iter().zip(exact);
                pairs
                    .map(|(a, b)| (f64::from(*a) - b).abs())
                    .fold(0.0, f64::max)
                    < 1e-5
            };
            assert!(close(&y, &exact_y), "{shape:?}");
            assert!(close(&state, &exact_state), "{shape:?}");
        }
    }
}
