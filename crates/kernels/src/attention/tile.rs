//! Many rows: keys and values of a tile are packed, so that register tiles of scores and sums read them in order.

use std::ops::Range;

use super::{
    Problem,
    product::{SPAN, accumulate},
    scratch::Scratch,
    softmax::{finish_scores, weigh},
    task::{Row, Task},
    visible::union,
};
use crate::simd::{Simd, simd_fn};

simd_fn! {
    /// Rows of a register tile: blocks of as many rows go together.
    pub(super) fn block_rows<S>(_s) -> usize {
        S::TILE_ROWS
    }
}

simd_fn! {
    /// Computes a task.
    pub(super) fn attend_tile<S>(s, task: &mut Task<'_>, scratch: &mut Scratch) {
        match S::TILE_ROWS {
            2 => attend::<S, 2>(s, task, scratch),
            6 => attend::<S, 6>(s, task, scratch),
            12 => attend::<S, 12>(s, task, scratch),
            rows => unreachable!("a register tile of {rows} rows"),
        }
    }
}

/// A tile of keys, packed: panels of two vectors' width, the last of the values of one perhaps.
struct Tile<'a> {
    /// The keys' numbers; at most [`SPAN`].
    range: Range<usize>,
    /// `[SPAN / width, head_dim, width]`.
    keys: &'a mut [f32],
    /// `[value_dim / width, SPAN, width]`.
    values: &'a mut [f32],
}

#[inline(always)]
fn attend<S: Simd, const R: usize>(s: S, task: &mut Task<'_>, scratch: &mut Scratch) {
    const { assert!(SPAN.is_multiple_of(2 * S::LANES)) };
    let shape = &task.problem.shape;
    let Scratch { rows, floats } = scratch;
    task.list_rows(rows);
    let blocks = rows.len().div_ceil(R);
    let query_len = R * shape.head_dim.next_multiple_of(SPAN);
    let value_dim = shape.value_dim.next_multiple_of(S::LANES);
    let [queries, keys, values, scores, sums] = floats.split([
        blocks * query_len,
        SPAN * shape.head_dim,
        SPAN * value_dim,
        R * SPAN,
        blocks * R * value_dim,
    ]);
    sums.fill(0.0);
    for (block, queries) in rows.chunks(R).zip(queries.chunks_exact_mut(query_len)) {
        if block.len() < R {
            queries.fill(0.0);
        }
        for (r, row) in block.iter().enumerate() {
            task.copy_query(s, row, &mut queries[r * SPAN..], R * SPAN);
        }
    }
    for start in task.keys.clone().step_by(SPAN) {
        let mut tile = Tile {
            range: start..(start + SPAN).min(task.keys.end),
            keys,
            values,
        };
        pack(s, task, &mut tile);
        let operands = queries
            .chunks_exact(query_len)
            .zip(sums.chunks_exact_mut(R * value_dim));
        for (block, (queries, sums)) in rows.chunks_mut(R).zip(operands) {
            attend_block::<S, R>(s, task, &tile, block, queries, scores, sums);
        }
    }
    for (i, row) in rows.iter().enumerate() {
        task.finish(s, i, row, &sums[i * value_dim..]);
    }
}

/// One block of rows and one tile of keys.
#[inline(always)]
fn attend_block<S: Simd, const R: usize>(
    s: S,
    task: &Task<'_>,
    tile: &Tile<'_>,
    rows: &mut [Row],
    queries: &[f32],
    scores: &mut [f32],
    sums: &mut [f32],
) {
    let start = tile.range.start;
    let seen = union(rows.iter().map(|row| row.keys.clone()));
    let seen = seen.start.max(start)..seen.end.min(tile.range.end);
    if seen.is_empty() {
        return;
    }
    let seen = seen.start - start..seen.end - start;
    tile_scores::<S, R>(s, task.problem, tile, seen.clone(), queries, scores);

    let vectors = seen.start / S::LANES * S::LANES..seen.end.next_multiple_of(S::LANES);
    let mut factors = [1.0; R];
    for (r, row) in rows.iter_mut().enumerate() {
        let scores = &mut scores[r * SPAN..][vectors.clone()];
        finish_scores(s, task, row, start + vectors.start, scores);
        factors[r] = weigh(s, &mut row.seen, scores);
    }
    add_values::<S, R>(s, tile, seen, scores, &factors, sums);
}

/// `scores` (`[R, SPAN]`) of at least the keys `seen` of the tile.
#[inline(always)]
fn tile_scores<S: Simd, const R: usize>(
    s: S,
    problem: &Problem<'_>,
    tile: &Tile<'_>,
    seen: Range<usize>,
    queries: &[f32],
    scores: &mut [f32],
) {
    let width = 2 * S::LANES;
    let dim = problem.shape.head_dim;
    assert!(queries.len() == R * dim.next_multiple_of(SPAN) && tile.keys.len() == SPAN * dim);
    assert!(scores.len() == R * SPAN && seen.end <= SPAN);
    for panel in seen.start / width..seen.end.div_ceil(width) {
        let mut products = [[s.zero(); 2]; R];
        // SAFETY: queries and keys have chunks, of SPAN elements of the inner dimension, up to `dim`.
        unsafe {
            for k in (0..dim).step_by(SPAN) {
                let queries = queries.as_ptr().add(R * k);
                let keys = tile.keys.as_ptr().add((panel * dim + k) * width);
                let depth = SPAN.min(dim - k);
                products =
                    accumulate::<S, R, 2, false>(s, products, queries, keys, width, depth, 0);
            }
            for (r, [left, right]) in products.into_iter().enumerate() {
                let scores = scores.as_mut_ptr().add(r * SPAN + panel * width);
                s.store(scores, left);
                s.store(scores.add(S::LANES), right);
            }
        }
    }
}

/// `sums = factors * sums + weights · values`.
#[inline(always)]
fn add_values<S: Simd, const R: usize>(
    s: S,
    tile: &Tile<'_>,
    seen: Range<usize>,
    weights: &[f32],
    factors: &[f32; R],
    sums: &mut [f32],
) {
    let width = 2 * S::LANES;
    let dim = sums.len() / R;
    let mut column = 0;
    while column < dim {
        let values = &tile.values[SPAN * column..];
        let sums = &mut sums[column..];
        if column + width <= dim {
            add_columns::<S, R, 2>(s, values, seen.clone(), weights, factors, sums, dim);
        } else {
            add_columns::<S, R, 1>(s, values, seen.clone(), weights, factors, sums, dim);
        }
        column += width;
    }
}

#[inline(always)]
fn add_columns<S: Simd, const R: usize, const C: usize>(
    s: S,
    values: &[f32],
    seen: Range<usize>,
    weights: &[f32],
    factors: &[f32; R],
    sums: &mut [f32],
    stride: usize,
) {
    let width = C * S::LANES;
    assert!(values.len() >= seen.end * width && weights.len() >= (R - 1) * SPAN + seen.end);
    assert!(sums.len() >= (R - 1) * stride + width);
    // SAFETY: as asserted.
    unsafe {
        let weights = weights.as_ptr().add(seen.start);
        let values = values.as_ptr().add(seen.start * width);
        let products = [[s.zero(); C]; R];
        let products =
            accumulate::<S, R, C, false>(s, products, weights, values, width, seen.len(), 0);
        for (r, products) in products.into_iter().enumerate() {
            let factor = s.splat(factors[r]);
            for (c, product) in products.into_iter().enumerate() {
                let sums = sums.as_mut_ptr().add(r * stride + c * S::LANES);
                s.store(sums, s.mul_add(s.load(sums), factor, product));
            }
        }
    }
}

#[inline(always)]
fn pack<S: Simd>(s: S, task: &Task<'_>, tile: &mut Tile<'_>) {
    let keys = &task.problem.keys;
    let shape = &task.problem.shape;
    let [_, _, key_stride] = keys.keys.strides;
    let [_, _, value_stride] = keys.values.strides;
    let mut next = tile.range.start;
    while next < tile.range.end {
        let run = keys.run(task.batch, next..tile.range.end);
        let places = next - tile.range.start..next - tile.range.start + run.len;
        let (key, value) = (keys.key(task.kv_head, run), keys.value(task.kv_head, run));
        // SAFETY: the run's keys and values have been checked to be there.
        unsafe {
            pack_keys(
                s,
                key,
                key_stride,
                shape.head_dim,
                places.clone(),
                tile.keys,
            );
            pack_values(s, value, value_stride, shape.value_dim, places, tile.values);
        }
        next += run.len;
    }
}

/// Writes keys, transposed, to panels, at `places` of the tile.
///
/// # Safety
/// For each place a key is readable.
#[inline(always)]
unsafe fn pack_keys<S: Simd>(
    s: S,
    from: *const f32,
    stride: usize,
    dim: usize,
    places: Range<usize>,
    to: &mut [f32],
) {
    let width = 2 * S::LANES;
    assert!(places.end <= SPAN && to.len() == SPAN * dim);
    let mut place = places.start;
    while place < places.end {
        // SAFETY: the caller's promise for the source; the tile has SPAN places, and LANES divides SPAN.
        unsafe {
            let from = from.add((place - places.start) * stride);
            let panel = to.as_mut_ptr().add(place / width * width * dim);
            let to = panel.add(place % width);
            if place.is_multiple_of(S::LANES) && place + S::LANES <= places.end {
                let whole = dim / S::LANES * S::LANES;
                for k in (0..whole).step_by(S::LANES) {
                    s.transpose(from.add(k), stride, to.add(k * width), width);
                }
                for k in whole..dim {
                    for r in 0..S::LANES {
                        *to.add(k * width + r) = *from.add(r * stride + k);
                    }
                }
                place += S::LANES;
            } else {
                for k in 0..dim {
                    *to.add(k * width) = *from.add(k);
                }
                place += 1;
            }
        }
    }
}

/// Writes values to panels, at `places` of the tile, filled up with zeros to whole vectors.
///
/// # Safety
/// For each place a value is readable.
#[inline(always)]
unsafe fn pack_values<S: Simd>(
    s: S,
    from: *const f32,
    stride: usize,
    dim: usize,
    places: Range<usize>,
    to: &mut [f32],
) {
    let padded = dim.next_multiple_of(S::LANES);
    assert!(places.end <= SPAN && to.len() == SPAN * padded);
    for column in (0..padded).step_by(S::LANES) {
        let first = column / (2 * S::LANES) * (2 * S::LANES);
        let width = (padded - first).min(2 * S::LANES);
        for (i, place) in places.clone().enumerate() {
            // SAFETY: the caller's promise for the source; the tile has SPAN places.
            unsafe {
                let from = from.add(i * stride + column);
                let value = match dim - column < S::LANES {
                    true => s.load_part(from, dim - column),
                    false => s.load(from),
                };
                let panel = to.as_mut_ptr().add(first * SPAN);
                s.store(panel.add(place * width + column - first), value);
            }
        }
    }
}
