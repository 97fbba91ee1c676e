//! The gradients of attention. Weights are computed again, for a block of queries at a time, so that nothing of the size of
//! all scores is kept between the passes (Dao et al., "FlashAttention", 2022, algorithm 4).

use std::ops::Range;

use super::{
    AttentionOptions, AttentionShape, HeadView, KeyRows, Keys, Problem, check,
    product::{load, store},
    scratch::Scratch,
    softmax::{Seen, weigh},
    visible::union,
};
use crate::{
    Isa,
    gemm::{Matrix, Output, Right, matmul},
    math::tanh,
    pool::{self, Phase},
    rows::for_rows,
    shared::SharedMut,
    simd::simd_fn,
};

/// Queries of a block.
const BLOCK: usize = 64;

/// The gradients of attention's operands, in the order of positions, as projections give them.
#[derive(Debug)]
pub struct AttentionGradients {
    /// `[batch, q_len, heads, head_dim]`.
    pub queries: Vec<f32>,
    /// `[batch, keys, kv_heads, head_dim]`.
    pub keys: Vec<f32>,
    /// `[batch, keys, kv_heads, value_dim]`.
    pub values: Vec<f32>,
}

/// The gradients of [`attention`](super::attention), of whose result `grad` is the gradient: `[batch, heads, q_len,
/// value_dim]` in any order of the rows. Keys are dense. Queries that see no key have none.
///
/// # Panics
/// When an operand is too short for the shape, keys are paged, or options do not fit the shape.
pub fn attention_gradient(
    shape: AttentionShape,
    q: HeadView<'_>,
    keys: Keys<'_>,
    options: AttentionOptions<'_>,
    grad: HeadView<'_>,
) -> AttentionGradients {
    let AttentionShape {
        batch,
        heads,
        q_len,
        head_dim,
        value_dim,
        ..
    } = shape;
    let KeyRows::Dense(kv_len) = keys.rows else {
        panic!("keys are dense");
    };
    let rows = batch * heads * q_len;
    check(shape, q, keys, options, rows * value_dim);
    grad.check("the gradient", [batch, heads, q_len], value_dim);

    let isa = Isa::current();
    let dims = [head_dim, value_dim];
    let mut queries = Vec::with_capacity(rows * head_dim);
    let lens = dims.map(|dim| batch * kv_len * heads * dim);
    let mut of_heads = lens.map(Vec::with_capacity);
    let problem = Problem {
        shape,
        q,
        keys,
        options,
        out: SharedMut::room(&mut queries),
    };
    let group = problem.group();
    let sums = of_heads.each_mut().map(SharedMut::room);
    each_head(isa, &problem, grad, kv_len, sums);
    // SAFETY: there is room, and every head has written its rows.
    unsafe {
        queries.set_len(rows * head_dim);
        of_heads
            .iter_mut()
            .zip(lens)
            .for_each(|(of_heads, len)| of_heads.set_len(len));
    }
    if group > 1 {
        for (of_heads, dim) in of_heads.iter_mut().zip(dims) {
            *of_heads = add_groups(isa, of_heads, group, dim);
        }
    }
    let [keys, values] = of_heads;
    AttentionGradients {
        queries,
        keys,
        values,
    }
}

/// `[rows, group, dim]` to `[rows, dim]`: what heads that share keys have added up apart.
fn add_groups(isa: Isa, of_heads: &[f32], group: usize, dim: usize) -> Vec<f32> {
    let rows = of_heads.len() / (group * dim);
    let mut out = vec![0.0; rows * dim];
    for_rows(rows, group * dim, [&mut out], |rows, [out]| {
        for (row, out) in rows.zip(out.chunks_exact_mut(dim)) {
            for part in of_heads[row * group * dim..][..group * dim].chunks_exact(dim) {
                add(isa, part, out);
            }
        }
    });
    out
}

simd_fn! {
    fn add<S>(s, from: &[f32], to: &mut [f32]) {
        for (from, to) in from.chunks(S::LANES).zip(to.chunks_mut(S::LANES)) {
            store(s, to, s.add(load(s, from), load(s, to)));
        }
    }
}

/// A task for each head of queries; `sums` has room for the keys and values of each.
fn each_head(
    isa: Isa,
    problem: &Problem<'_>,
    grad: HeadView<'_>,
    kv_len: usize,
    sums: [SharedMut<'_, f32>; 2],
) {
    let shape = problem.shape;
    let dims = [shape.head_dim, shape.value_dim];
    pool::run(Phase::Prefill, shape.batch * shape.heads, |index| {
        let (batch, head) = (index / shape.heads, index % shape.heads);
        let sums =
            [0, 1].map(|i| of_head(sums[i], [batch, head, 0], [shape.heads, kv_len], dims[i]));
        for (sums, dim) in sums.iter().zip(dims) {
            // SAFETY: no other task has this head.
            unsafe { clear(sums, kv_len, dim) };
        }
        let head = Head {
            problem,
            grad,
            batch,
            head,
            sums,
        };
        Scratch::with(|scratch| {
            for start in (0..shape.q_len).step_by(BLOCK) {
                let queries = start..(start + BLOCK).min(shape.q_len);
                head.block(isa, queries, scratch);
            }
        });
    });
}

/// A head of queries.
struct Head<'a> {
    problem: &'a Problem<'a>,
    grad: HeadView<'a>,
    batch: usize,
    head: usize,
    /// Gradients of the keys and of the values.
    sums: [Output<'a>; 2],
}

/// The rows of a head from this one on, in `[batch, len, heads, dim]`.
fn of_head<'a>(
    data: SharedMut<'a, f32>,
    [batch, head, row]: [usize; 3],
    [heads, len]: [usize; 2],
    dim: usize,
) -> Output<'a> {
    Output {
        data,
        start: ((batch * len + row) * heads + head) * dim,
        stride: heads * dim,
    }
}

/// Writes zeros.
///
/// # Safety
/// No other task has these rows.
unsafe fn clear(out: &Output<'_>, rows: usize, dim: usize) {
    for row in 0..rows {
        // SAFETY: the caller's.
        unsafe { out.data.part(out.start + row * out.stride, dim) }.fill(0.0);
    }
}

impl Head<'_> {
    fn block(&self, isa: Isa, queries: Range<usize>, scratch: &mut Scratch) {
        let problem = self.problem;
        let AttentionShape {
            heads,
            q_len,
            head_dim,
            value_dim,
            ..
        } = problem.shape;
        let rows = queries.len();
        let visible = |query| problem.visible(self.batch, query);
        let keys = union(queries.clone().map(visible));
        let row = [self.batch, self.head, queries.start];
        let to_queries = of_head(problem.out, row, [heads, q_len], head_dim);
        if keys.is_empty() {
            // SAFETY: no other task has these queries.
            return unsafe { clear(&to_queries, rows, head_dim) };
        }
        let kv_head = self.head / problem.group();
        let q = matrix(problem.q, [self.batch, self.head, queries.start]);
        let k = matrix(problem.keys.keys, [self.batch, kv_head, keys.start]);
        let v = matrix(problem.keys.values, [self.batch, kv_head, keys.start]);
        let grad = matrix(self.grad, [self.batch, self.head, queries.start]);

        let (count, stride) = (keys.len(), keys.len().next_multiple_of(16));
        let len = rows * stride;
        let capped = if problem.options.softcap.is_some() {
            len
        } else {
            0
        };
        let [weights, slopes, capped] = scratch.floats.split([len, len, capped]);
        product(
            isa,
            [rows, head_dim, count],
            q,
            k.turn(),
            scores(weights, stride),
            false,
        );
        product(
            isa,
            [rows, value_dim, count],
            grad,
            v.turn(),
            scores(slopes, stride),
            false,
        );
        for (i, query) in queries.clone().enumerate() {
            let range = i * stride..(i + 1) * stride;
            let seen = visible(query);
            let row = Row {
                seen: seen.start.clamp(keys.start, keys.end) - keys.start
                    ..seen.end.clamp(keys.start, keys.end) - keys.start,
                scale: problem.options.scale,
                cap: problem.options.softcap,
                sink: problem.sink(self.head),
                bias: problem.options.bias.map(|bias| {
                    let from = bias
                        .at(self.batch, self.head, query)
                        .wrapping_add(keys.start);
                    // SAFETY: the bias has been checked to reach to the last key.
                    unsafe { std::slice::from_raw_parts(from, count) }
                }),
            };
            let capped = match capped.is_empty() {
                true => &mut [][..],
                false => &mut capped[range.clone()],
            };
            row_slopes(
                isa,
                &row,
                &mut weights[range.clone()],
                &mut slopes[range],
                capped,
            );
        }
        let weights = Matrix::rows(weights, stride);
        let slopes = Matrix::rows(slopes, stride);
        let [to_keys, to_values] = self.sums.map(|sums| Output {
            start: sums.start + keys.start * sums.stride,
            ..sums
        });
        product(
            isa,
            [count, rows, value_dim],
            weights.turn(),
            grad,
            to_values,
            true,
        );
        product(
            isa,
            [count, rows, head_dim],
            slopes.turn(),
            q,
            to_keys,
            true,
        );
        product(isa, [rows, count, head_dim], slopes, k, to_queries, false);
    }
}

/// [`matmul`] to the scratch of a task, or to its part of the output.
fn product(isa: Isa, shape: [usize; 3], a: Matrix<'_>, b: Matrix<'_>, out: Output<'_>, add: bool) {
    // SAFETY: no other task has them.
    unsafe { matmul(isa, shape, a, Right::Matrix(b), out, add) };
}

fn scores(data: &mut [f32], stride: usize) -> Output<'_> {
    Output {
        data: SharedMut::new(data),
        start: 0,
        stride,
    }
}

/// The rows of a head, from this one on.
fn matrix(view: HeadView<'_>, [entry, head, row]: [usize; 3]) -> Matrix<'_> {
    let start: usize = std::iter::zip([entry, head, row], view.strides)
        .map(|(at, stride)| at * stride)
        .sum();
    Matrix::rows(&view.data[start.min(view.data.len())..], view.strides[2])
}

/// A query, and what changes its scores.
struct Row<'a> {
    /// Its keys among those of the block.
    seen: Range<usize>,
    scale: f32,
    cap: Option<f32>,
    sink: Option<f32>,
    bias: Option<&'a [f32]>,
}

simd_fn! {
    /// From products of the query with keys and of the gradient with values to weights and the gradient of the products;
    /// what the query does not see has zero. `capped` has room for a row, where scores are capped.
    fn row_slopes<S>(s, row: &Row<'_>, weights: &mut [f32], slopes: &mut [f32], capped: &mut [f32]) {
        let (seen, scale) = (row.seen.clone(), s.splat(row.scale));
        for scores in weights.chunks_exact_mut(S::LANES) {
            store(s, scores, s.mul(load(s, scores), scale));
        }
        if let Some(cap) = row.cap {
            let (cap, inverse) = (s.splat(cap), s.splat(1.0 / cap));
            for (scores, capped) in weights.chunks_exact_mut(S::LANES).zip(capped.chunks_exact_mut(S::LANES)) {
                let y = tanh(s, s.mul(load(s, scores), inverse));
                store(s, capped, y);
                store(s, scores, s.mul(cap, y));
            }
        }
        if let Some(bias) = row.bias {
            let scores = &mut weights[seen.clone()];
            let bias = &bias[seen.clone()];
            for (scores, bias) in scores.chunks_mut(S::LANES).zip(bias.chunks(S::LANES)) {
                store(s, scores, s.add(load(s, scores), load(s, bias)));
            }
        }
        weights[..seen.start].fill(f32::NEG_INFINITY);
        weights[seen.end..].fill(f32::NEG_INFINITY);
        slopes[..seen.start].fill(0.0);
        slopes[seen.end..].fill(0.0);
        let mut all = Seen::NOTHING;
        weigh(s, &mut all, weights);
        let factor = s.splat(all.normaliser(row.sink));
        let mut sum = s.zero();
        for (weights, slopes) in weights.chunks_exact_mut(S::LANES).zip(slopes.chunks_exact(S::LANES)) {
            let weight = s.mul(load(s, weights), factor);
            sum = s.mul_add(weight, load(s, slopes), sum);
            store(s, weights, weight);
        }
        let mean = s.splat(s.sum(sum));
        for (weights, slopes) in weights.chunks_exact(S::LANES).zip(slopes.chunks_exact_mut(S::LANES)) {
            let slope = s.sub(load(s, slopes), mean);
            store(s, slopes, s.mul(s.mul(load(s, weights), scale), slope));
        }
        if row.cap.is_some() {
            for (capped, slopes) in capped.chunks_exact(S::LANES).zip(slopes.chunks_exact_mut(S::LANES)) {
                let y = load(s, capped);
                let slope = s.sub(s.splat(1.0), s.mul(y, y));
                store(s, slopes, s.mul(load(s, slopes), slope));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// The sum of the attention's result, weighed by `grad`, in f64.
    fn loss(problem: &Problem<'_>, [q, k, v, grad]: [&[f64]; 4], kv_len: usize) -> f64 {
        let shape = problem.shape;
        let (d, e) = (shape.head_dim, shape.value_dim);
        let mut total = 0.0;
        for row in 0..shape.batch * shape.heads * shape.q_len {
            let (outer, query) = (row / shape.q_len, row % shape.q_len);
            let (batch, head) = (outer / shape.heads, outer % shape.heads);
            let kv = (batch * shape.kv_heads + head / problem.group()) * kv_len;
            let keys = problem.visible(batch, query);
            if keys.is_empty() {
                continue;
            }
            let scores: Vec<f64> = keys
                .clone()
                .map(|key| {
                    let dot: f64 = (0..d).map(|i| q[row * d + i] * k[(kv + key) * d + i]).sum();
                    let score = dot * f64::from(problem.options.scale);
                    let score = problem.options.softcap.map_or(score, |cap| {
                        f64::from(cap) * (score / f64::from(cap)).tanh()
                    });
                    let bias = problem.options.bias.map_or(0.0, |bias| {
                        let [b, h, r] = bias.strides;
                        f64::from(bias.data[batch * b + head * h + query * r + key])
                    });
                    score + bias
                })
                .collect();
            let sink = problem.sink(head).map_or(0.0, |sink| f64::from(sink).exp());
            let sum: f64 = scores.iter().map(|score| score.exp()).sum::<f64>() + sink;
            for (key, score) in keys.zip(scores) {
                let dot: f64 = (0..e)
                    .map(|i| v[(kv + key) * e + i] * grad[row * e + i])
                    .sum();
                total += score.exp() / sum * dot;
            }
        }
        total
    }

    fn check_case(seed: u64, shape: AttentionShape, kv_len: usize, options: AttentionOptions<'_>) {
        let AttentionShape {
            batch,
            heads,
            kv_heads,
            q_len,
            head_dim,
            value_dim,
        } = shape;
        let mut random = Random::new(seed);
        let rows = batch * heads * q_len;
        let kv_rows = batch * kv_heads * kv_len;
        let lens = [
            rows * head_dim,
            kv_rows * head_dim,
            kv_rows * value_dim,
            rows * value_dim,
        ];
        let operands = lens.map(|len| random.floats(len));
        let [q, k, v, grad] = operands.each_ref().map(|x| &x[..]);
        let keys = Keys {
            keys: HeadView::by_head(k, kv_heads, kv_len, head_dim),
            values: HeadView::by_head(v, kv_heads, kv_len, value_dim),
            rows: KeyRows::Dense(kv_len),
        };
        let q_view = HeadView::by_head(q, heads, q_len, head_dim);
        let grad_view = HeadView::by_head(grad, heads, q_len, value_dim);
        let wide = operands
            .each_ref()
            .map(|x| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
        for &isa in Isa::available() {
            let found = isa.with(|| attention_gradient(shape, q_view, keys, options, grad_view));
            let found = [found.queries, found.keys, found.values];
            let problem = Problem {
                shape,
                q: q_view,
                keys,
                options,
                out: SharedMut::new(&mut []),
            };
            let places = [
                [heads, q_len, head_dim],
                [kv_heads, kv_len, head_dim],
                [kv_heads, kv_len, value_dim],
            ];
            for (which, got) in found.iter().enumerate() {
                let [heads, len, dim] = places[which];
                // Some elements are enough.
                for at in (0..got.len()).step_by((got.len() / 40).max(1)) {
                    let moved = |step: f64| {
                        let mut wide = wide.clone();
                        wide[which][at] += step;
                        loss(&problem, wide.each_ref().map(|x| &x[..]), kv_len)
                    };
                    let expected = (moved(1e-4) - moved(-1e-4)) / 2e-4;
                    let (head, row) = (at / dim / len, at / dim % len);
                    let (batch, head) = (head / heads, head % heads);
                    let got = got[((batch * len + row) * heads + head) * dim + at % dim];
                    let off = (f64::from(got) - expected).abs();
                    assert!(
                        off <= 3e-6 * expected.abs().max(1.0),
                        "{isa:?} {seed}: input {which}, element {at}: {got} for {expected}"
                    );
                }
            }
        }
    }

    fn shape([batch, heads, kv_heads, q_len, head_dim, value_dim]: [usize; 6]) -> AttentionShape {
        AttentionShape {
            batch,
            heads,
            kv_heads,
            q_len,
            head_dim,
            value_dim,
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "differences take long")]
    fn gradients_are_those_of_f64() {
        let plain = AttentionOptions::new(0.4);
        let causal = AttentionOptions {
            causal: true,
            ..plain
        };
        check_case(1, shape([1, 1, 1, 1, 1, 1]), 3, plain);
        check_case(2, shape([2, 4, 2, 5, 7, 9]), 5, causal);
        check_case(3, shape([1, 3, 3, 70, 8, 8]), 70, causal);
        check_case(4, shape([1, 6, 2, 17, 16, 8]), 40, causal);
        check_case(5, shape([2, 2, 1, 9, 8, 8]), 21, plain);
        let visible = [2..21, 0..13];
        let padded = AttentionOptions {
            visible: Some(&visible),
            ..plain
        };
        check_case(6, shape([2, 2, 1, 21, 8, 8]), 21, padded);
        check_case(
            7,
            shape([2, 2, 1, 21, 8, 8]),
            21,
            AttentionOptions {
                causal: true,
                ..padded
            },
        );
        let windowed = AttentionOptions {
            window: Some(4),
            ..causal
        };
        check_case(8, shape([1, 2, 2, 33, 8, 8]), 33, windowed);
        let segmented = AttentionOptions {
            segments: Some(&[0, 5, 5, 19]),
            ..causal
        };
        check_case(9, shape([1, 2, 2, 19, 8, 8]), 19, segmented);
        let mut random = Random::new(10);
        let (sinks, bias) = (random.floats(4), random.floats(2 * 9 * 12));
        let all = AttentionOptions {
            softcap: Some(0.7),
            sinks: Some(&sinks),
            bias: Some(HeadView {
                data: &bias,
                strides: [108, 0, 12],
            }),
            ..plain
        };
        check_case(11, shape([2, 4, 2, 9, 5, 6]), 12, all);
    }
}
