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
    shared::SharedMut,
    simd::simd_fn,
};

/// Queries of a block.
const BLOCK: usize = 64;

/// Where the gradients go, each contiguous; what they held is overwritten.
#[derive(Debug)]
pub struct AttentionGradients<'a> {
    /// `[batch, heads, q_len, head_dim]`.
    pub queries: &'a mut [f32],
    /// `[batch, kv_heads, keys, head_dim]`.
    pub keys: &'a mut [f32],
    /// `[batch, kv_heads, keys, value_dim]`.
    pub values: &'a mut [f32],
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
    out: AttentionGradients<'_>,
) {
    let AttentionShape {
        batch,
        heads,
        kv_heads,
        q_len,
        head_dim,
        value_dim,
    } = shape;
    let KeyRows::Dense(kv_len) = keys.rows else {
        panic!("keys are dense");
    };
    let rows = batch * heads * q_len;
    check(shape, q, keys, options, rows * value_dim);
    grad.check("the gradient", [batch, heads, q_len], value_dim);
    let kv_rows = batch * kv_heads * kv_len;
    assert_eq!(out.queries.len(), rows * head_dim, "queries of {shape:?}");
    assert_eq!(
        out.keys.len(),
        kv_rows * head_dim,
        "{kv_len} keys of {shape:?}"
    );
    assert_eq!(
        out.values.len(),
        kv_rows * value_dim,
        "{kv_len} values of {shape:?}"
    );

    let isa = Isa::current();
    let dims = [head_dim, value_dim];
    let problem = Problem {
        shape,
        q,
        keys,
        options,
        out: SharedMut::new(out.queries),
    };
    if problem.group() == 1 {
        let sums = [out.keys, out.values].map(SharedMut::new);
        return each_head(isa, &problem, grad, kv_len, sums);
    }
    // Heads that share keys add up apart.
    let mut of_heads = dims.map(|dim| vec![0.0; batch * heads * kv_len * dim]);
    let sums = of_heads.each_mut().map(|sums| SharedMut::new(sums));
    each_head(isa, &problem, grad, kv_len, sums);
    let group = problem.group();
    for ((of_heads, out), dim) in of_heads.iter().zip([out.keys, out.values]).zip(dims) {
        let len = kv_len * dim;
        let out = SharedMut::new(out);
        pool::run_ranges(Phase::Prefill, batch * kv_heads, 1, |range| {
            for head in range {
                // SAFETY: heads are disjoint.
                let out = unsafe { out.part(head * len, len) };
                let mut parts = of_heads[head * group * len..][..group * len].chunks_exact(len);
                if let Some(first) = parts.next() {
                    out.copy_from_slice(first);
                }
                for part in parts {
                    add(isa, part, out);
                }
            }
        });
    }
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
        let parts: [&mut [f32]; 2] = std::array::from_fn(|i| {
            let len = kv_len * dims[i];
            // SAFETY: heads are disjoint.
            unsafe { sums[i].part(index * len, len) }
        });
        let [keys, values] = parts;
        keys.fill(0.0);
        values.fill(0.0);
        let head = Head {
            problem,
            grad,
            batch: index / shape.heads,
            head: index % shape.heads,
            sums: [SharedMut::new(keys), SharedMut::new(values)],
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
    sums: [SharedMut<'a, f32>; 2],
}

impl<'a> Head<'a> {
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
        let row = (self.batch * heads + self.head) * q_len + queries.start;
        if keys.is_empty() {
            // SAFETY: no other task has these queries.
            unsafe { problem.out.part(row * head_dim, rows * head_dim) }.fill(0.0);
            return;
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
        let at = |data: SharedMut<'a, f32>, row: usize, dim: usize| Output {
            data,
            start: row * dim,
            stride: dim,
        };
        let [to_keys, to_values] = self.sums;
        let to_keys = at(to_keys, keys.start, head_dim);
        let to_values = at(to_values, keys.start, value_dim);
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
        let to_queries = at(problem.out, row, head_dim);
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
            let [mut to_q, mut to_k, mut to_v] = [0, 1, 2].map(|i| vec![f32::NAN; lens[i]]);
            isa.with(|| {
                let out = AttentionGradients {
                    queries: &mut to_q,
                    keys: &mut to_k,
                    values: &mut to_v,
                };
                attention_gradient(shape, q_view, keys, options, grad_view, out);
            });
            let problem = Problem {
                shape,
                q: q_view,
                keys,
                options,
                out: SharedMut::new(&mut []),
            };
            for (which, got) in [&to_q, &to_k, &to_v].into_iter().enumerate() {
                // Some elements are enough.
                for at in (0..got.len()).step_by((got.len() / 40).max(1)) {
                    let moved = |step: f64| {
                        let mut wide = wide.clone();
                        wide[which][at] += step;
                        loss(&problem, wide.each_ref().map(|x| &x[..]), kv_len)
                    };
                    let expected = (moved(1e-4) - moved(-1e-4)) / 2e-4;
                    let off = (f64::from(got[at]) - expected).abs();
                    assert!(
                        off <= 3e-6 * expected.abs().max(1.0),
                        "{isa:?} {seed}: input {which}, element {at}: {} for {expected}",
                        got[at]
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
