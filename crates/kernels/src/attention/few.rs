//! Few rows, as in decoding: keys and values are read where they lie, once.

use std::ops::Range;

use super::{
    product::{SPAN, accumulate},
    scratch::Scratch,
    softmax::{finish_scores, weigh},
    task::{Row, Task},
};
use crate::simd::{Simd, simd_fn};

/// Rows that go together at most: with four keys they have 16 sums.
const ROWS: usize = 4;

simd_fn! {
    /// Computes a task.
    pub(super) fn attend_few<S>(s, task: &mut Task<'_>, scratch: &mut Scratch) {
        let shape = &task.problem.shape;
        let Scratch { rows, floats } = scratch;
        task.list_rows(rows);
        let head_dim = shape.head_dim.next_multiple_of(S::LANES);
        let value_dim = shape.value_dim.next_multiple_of(S::LANES);
        let [queries, scores, sums] = floats.split([
            rows.len() * head_dim,
            rows.len() * SPAN,
            rows.len() * value_dim,
        ]);
        sums.fill(0.0);
        for (row, queries) in rows.iter().zip(queries.chunks_exact_mut(head_dim)) {
            task.copy_query(s, row, queries, SPAN);
        }
        for start in task.keys.clone().step_by(SPAN) {
            let tile = start..(start + SPAN).min(task.keys.end);
            let operands = queries
                .chunks(ROWS * head_dim)
                .zip(scores.chunks_mut(ROWS * SPAN))
                .zip(sums.chunks_mut(ROWS * value_dim));
            for (rows, ((queries, scores), sums)) in rows.chunks_mut(ROWS).zip(operands) {
                let tile = tile.clone();
                match rows.len() {
                    1 => attend_tile::<S, 1>(s, task, tile, rows, queries, scores, sums),
                    2 => attend_tile::<S, 2>(s, task, tile, rows, queries, scores, sums),
                    3 => attend_tile::<S, 3>(s, task, tile, rows, queries, scores, sums),
                    _ => attend_tile::<S, 4>(s, task, tile, rows, queries, scores, sums),
                }
            }
        }
        for (i, row) in rows.iter().enumerate() {
            task.finish(s, i, row, &sums[i * value_dim..]);
        }
    }
}

/// `R` rows and a tile of keys.
#[inline(always)]
fn attend_tile<S: Simd, const R: usize>(
    s: S,
    task: &Task<'_>,
    tile: Range<usize>,
    rows: &mut [Row],
    queries: &[f32],
    scores: &mut [f32],
    sums: &mut [f32],
) {
    tile_scores::<S, R>(s, task, tile.clone(), queries, scores);
    let whole = tile.len().next_multiple_of(S::LANES);
    let mut factors = [1.0; R];
    for (r, row) in rows.iter_mut().enumerate() {
        let scores = &mut scores[r * SPAN..][..whole];
        finish_scores(s, task, row, tile.start, scores);
        factors[r] = weigh(s, &mut row.seen, scores);
    }
    let dim = task.problem.shape.value_dim;
    let mut column = 0;
    while column < dim {
        let tile = tile.clone();
        let rest = dim - column;
        if rest >= 2 * S::LANES {
            add_columns::<S, R, 2, false>(s, task, tile, column, scores, &factors, sums);
        } else if rest >= S::LANES {
            add_columns::<S, R, 1, false>(s, task, tile, column, scores, &factors, sums);
        } else {
            add_columns::<S, R, 1, true>(s, task, tile, column, scores, &factors, sums);
        }
        column += S::LANES * if rest >= 2 * S::LANES { 2 } else { 1 };
    }
}

/// The products of `R` queries with a tile's keys, `[R, SPAN]`.
#[inline(always)]
fn tile_scores<S: Simd, const R: usize>(
    s: S,
    task: &Task<'_>,
    tile: Range<usize>,
    queries: &[f32],
    scores: &mut [f32],
) {
    let keys = &task.problem.keys;
    let dim = task.problem.shape.head_dim;
    let [_, _, stride] = keys.keys.strides;
    assert!(queries.len() >= R * dim.next_multiple_of(S::LANES));
    let mut next = tile.start;
    while next < tile.end {
        let run = keys.run(task.batch, next..tile.end);
        let scores = &mut scores[next - tile.start..];
        assert!(scores.len() >= (R - 1) * SPAN + run.len);
        let whole = run.len / 4 * 4;
        // SAFETY: as asserted; the run's keys have been checked to be there.
        unsafe {
            let key = keys.key(task.kv_head, run);
            for j in (0..whole).step_by(4) {
                let products =
                    products::<S, R, 4>(s, queries.as_ptr(), key.add(j * stride), stride, dim);
                for r in 0..R {
                    scores[r * SPAN + j..][..4].copy_from_slice(&s.sum4(products[r]));
                }
            }
            for j in whole..run.len {
                let products =
                    products::<S, R, 1>(s, queries.as_ptr(), key.add(j * stride), stride, dim);
                for r in 0..R {
                    scores[r * SPAN + j] = s.sum(products[r][0]);
                }
            }
        }
        next += run.len;
    }
}

/// The products of `R` queries with `J` keys, not yet summed over the lanes.
///
/// # Safety
/// Queries have `dim` elements, rounded up to whole vectors, and keys have `dim`.
#[inline(always)]
unsafe fn products<S: Simd, const R: usize, const J: usize>(
    s: S,
    queries: *const f32,
    keys: *const f32,
    stride: usize,
    dim: usize,
) -> [[S::F32; J]; R] {
    let padded = dim.next_multiple_of(S::LANES);
    let mut sums = [[s.zero(); J]; R];
    for k in (0..dim).step_by(S::LANES) {
        let mut vectors = [s.zero(); J];
        // SAFETY: the caller's promise.
        unsafe {
            for (j, vector) in vectors.iter_mut().enumerate() {
                let key = keys.add(j * stride + k);
                *vector = match k + S::LANES <= dim {
                    true => s.load(key),
                    false => s.load_part(key, dim - k),
                };
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let query = s.load(queries.add(r * padded + k));
                for (sum, &vector) in sums.iter_mut().zip(&vectors) {
                    *sum = s.mul_add(query, vector, *sum);
                }
            }
        }
    }
    sums
}

/// `sums = factors * sums + weights · values`, in `C` vectors of columns, or part of one.
#[inline(always)]
fn add_columns<S: Simd, const R: usize, const C: usize, const PART: bool>(
    s: S,
    task: &Task<'_>,
    tile: Range<usize>,
    column: usize,
    weights: &[f32],
    factors: &[f32; R],
    sums: &mut [f32],
) {
    let keys = &task.problem.keys;
    let [_, _, stride] = keys.values.strides;
    let part = task.problem.shape.value_dim - column;
    let mut products = [[s.zero(); C]; R];
    let mut next = tile.start;
    assert!(weights.len() >= (R - 1) * SPAN + tile.len());
    while next < tile.end {
        let run = keys.run(task.batch, next..tile.end);
        // SAFETY: as asserted; the run's values have been checked to be there.
        unsafe {
            let values = keys.value(task.kv_head, run).add(column);
            let weights = weights.as_ptr().add(next - tile.start);
            products =
                accumulate::<S, R, C, PART>(s, products, weights, values, stride, run.len, part);
        }
        next += run.len;
    }
    let dim = sums.len() / R;
    for (r, sums) in sums.chunks_exact_mut(dim).enumerate() {
        let factor = s.splat(factors[r]);
        let sums = &mut sums[column..][..C * S::LANES];
        for (sums, &product) in sums.chunks_exact_mut(S::LANES).zip(&products[r]) {
            // SAFETY: chunks have LANES elements.
            unsafe {
                let sum = s.mul_add(s.load(sums.as_ptr()), factor, product);
                s.store(sums.as_mut_ptr(), sum);
            }
        }
    }
}
