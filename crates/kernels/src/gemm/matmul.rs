//! Products of matrices of which either the rows or the columns lie next to each other: what gradients are made of.

use std::ops::Range;

use super::{
    Before, Operand, PACKED, PANEL, Sweep, Tiles, Words, grow, interleave, panel_depth,
    panel_width, sweep_tiles, tile_rows, transpose,
};
use crate::{
    Element, Isa, Weight,
    pool::{self, Phase},
    shared::SharedMut,
    simd::simd_fn,
};

/// Rows of the left operand that are packed at a time: with the depth of a panel they fit the second cache, or nearly.
const BLOCK_ROWS: usize = 512;

/// The inner elements of a row that are packed at a time.
const BLOCK_DEPTH: usize = 1536;

/// Tiles that are packed together at most: of turned rows, the cache lines of their columns are read once.
const TILE_GROUP: usize = 16;

/// Groups of tiles for a thread at least, so that all of them have as much to pack.
const GROUPS_PER_THREAD: usize = 2;

/// A matrix, wherever its rows lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) data: &'a [f32],
    /// Elements from one row to the next; of a turned matrix from one column to the next.
    pub(crate) stride: usize,
    /// Whether the elements of a column lie next to each other, and not those of a row.
    pub(crate) turned: bool,
}

impl<'a> Matrix<'a> {
    /// Rows lie next to each other.
    pub(crate) fn rows(data: &'a [f32], stride: usize) -> Self {
        Self {
            data,
            stride,
            turned: false,
        }
    }

    /// The transpose.
    pub(crate) fn turn(self) -> Self {
        Self {
            turned: !self.turned,
            ..self
        }
    }
}

/// The right operand of a product.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Right<'a> {
    Matrix(Matrix<'a>),
    /// A dense matrix in any float type, `[rows, columns]` and contiguous.
    Weight(Weight<'a>),
}

/// Where a product goes: element `[i, j]` is at `start + i * stride + j`.
#[derive(Clone, Copy)]
pub(crate) struct Output<'a> {
    pub(crate) data: SharedMut<'a, f32>,
    pub(crate) start: usize,
    pub(crate) stride: usize,
}

/// `out = a · b`, or with `add` what `out` holds and that: `a` is `[rows, depth]`, `b` is `[depth, cols]`.
///
/// # Safety
/// Nobody else reads or writes these elements of `out` meanwhile. With `add` they have been written before.
///
/// # Panics
/// When an operand is too short.
pub(crate) unsafe fn matmul(
    isa: Isa,
    [rows, depth, cols]: [usize; 3],
    a: Matrix<'_>,
    b: Right<'_>,
    out: Output<'_>,
    add: bool,
) {
    if rows == 0 || cols == 0 {
        return;
    }
    let end = out.start + (rows - 1) * out.stride + cols;
    assert!(end <= out.data.len(), "the output is too short");
    if depth == 0 {
        for row in 0..rows {
            if !add {
                // SAFETY: inside the output, which is the caller's alone.
                unsafe {
                    out.data
                        .at(out.start + row * out.stride)
                        .write_bytes(0, cols)
                };
            }
        }
        return;
    }
    check(a, [rows, depth]);
    match b {
        Right::Matrix(b) => check(b, [depth, cols]),
        Right::Weight(b) => assert!(b.rows(cols) >= depth, "the right operand is too short"),
    }
    let mut packed = PACKED.take();
    for start in (0..depth).step_by(BLOCK_DEPTH) {
        let inner = start..(start + BLOCK_DEPTH).min(depth);
        for first in (0..rows).step_by(BLOCK_ROWS) {
            let block = first..(first + BLOCK_ROWS).min(rows);
            let tiles = Tiles::new(block.len(), tile_rows(isa));
            grow(&mut packed, block.len() * inner.len());
            pack(isa, a, block, inner.clone(), tiles, &mut packed);
            let operand = Operand {
                packed: &packed,
                depth: inner.len(),
                words: Words::F32,
                tiles,
            };
            let out = Output {
                start: out.start + first * out.stride,
                ..out
            };
            sweep_panels(isa, operand, b, (inner.start, cols), out, add || start > 0);
        }
    }
    PACKED.set(packed);
}

fn check(matrix: Matrix<'_>, [rows, cols]: [usize; 2]) {
    let [outer, inner] = match matrix.turned {
        true => [cols, rows],
        false => [rows, cols],
    };
    let len = (outer - 1) * matrix.stride + inner;
    assert!(matrix.data.len() >= len, "an operand is too short");
}

/// All panels of the right operand, from its row `first` on, with the packed rows.
fn sweep_panels(
    isa: Isa,
    x: Operand<'_>,
    b: Right<'_>,
    (first, cols): (usize, usize),
    out: Output<'_>,
    add: bool,
) {
    let width = panel_width(isa);
    let depth = panel_depth(x.depth, 1);
    pool::run_ranges(Phase::Prefill, cols, width, |columns| {
        PANEL.with_borrow_mut(|scratch| {
            grow(scratch, 2 * width * depth);
            let (panel, rows) = scratch.split_at_mut(width * depth);
            for start in (0..x.depth).step_by(depth) {
                let depth = depth.min(x.depth - start);
                let panel = &mut panel[..width * depth];
                let inner = first + start..first + start + depth;
                fill_panel(isa, b, cols, inner, columns.clone(), panel, rows);
                let sweep = Sweep {
                    x,
                    start,
                    depth,
                    panel,
                    columns: columns.clone(),
                    out,
                    before: match add || start > 0 {
                        true => Before::Sums,
                        false => Before::Nothing,
                    },
                };
                sweep_tiles(isa, &sweep);
            }
        });
    });
}

/// Writes rows `inner` of these columns to `panel`, `[depth, width]`; columns that are missing are zero.
fn fill_panel(
    isa: Isa,
    b: Right<'_>,
    cols: usize,
    inner: Range<usize>,
    columns: Range<usize>,
    panel: &mut [f32],
    rows: &mut [f32],
) {
    let width = panel_width(isa);
    let start = inner.start * cols + columns.start;
    match b {
        Right::Weight(Weight::F32(w)) => copy_rows(isa, &w[start..], cols, columns.len(), panel),
        Right::Weight(Weight::Bf16(w)) => copy_rows(isa, &w[start..], cols, columns.len(), panel),
        Right::Weight(Weight::F16(w)) => copy_rows(isa, &w[start..], cols, columns.len(), panel),
        Right::Weight(Weight::Blocks(_)) => unreachable!("blocks are decoded before"),
        Right::Matrix(b) if !b.turned => {
            let start = inner.start * b.stride + columns.start;
            copy_rows(isa, &b.data[start..], b.stride, columns.len(), panel);
        }
        Right::Matrix(b) => {
            let from = &b.data[columns.start * b.stride + inner.start..];
            if columns.len() == width {
                return interleave(isa, from, b.stride, panel);
            }
            let depth = inner.len();
            let rows = &mut rows[..width * depth];
            rows[columns.len() * depth..].fill(0.0);
            for (column, to) in rows.chunks_exact_mut(depth).take(columns.len()).enumerate() {
                to.copy_from_slice(&from[column * b.stride..][..depth]);
            }
            interleave(isa, rows, depth, panel);
        }
    }
}

simd_fn! {
    /// Copies `count` columns of rows that are `stride` elements apart to `panel`.
    fn copy_rows<S, T: Element>(s, from: &[T], stride: usize, count: usize, panel: &mut [f32]) {
        let width = 2 * S::LANES;
        let depth = panel.len() / width;
        assert!(depth == 0 || from.len() >= (depth - 1) * stride + count);
        if count == width {
            for (k, to) in panel.chunks_exact_mut(width).enumerate() {
                // SAFETY: as asserted; chunks have two vectors' elements.
                unsafe {
                    let from = from.as_ptr().add(k * stride);
                    s.store(to.as_mut_ptr(), T::load(s, from));
                    s.store(to.as_mut_ptr().add(S::LANES), T::load(s, from.add(S::LANES)));
                }
            }
        } else {
            for (k, to) in panel.chunks_exact_mut(width).enumerate() {
                for (to, from) in to.iter_mut().zip(&from[k * stride..][..count]) {
                    *to = from.to_f32();
                }
                to[count..].fill(0.0);
            }
        }
    }
}

/// Packs `rows` of `a`, elements `inner`, to tiles of `[depth, height]`.
fn pack(
    isa: Isa,
    a: Matrix<'_>,
    rows: Range<usize>,
    inner: Range<usize>,
    tiles: Tiles,
    packed: &mut [f32],
) {
    let depth = inner.len();
    let packed = SharedMut::new(&mut packed[..rows.len() * depth]);
    let groups = pool::threads(Phase::Prefill) * GROUPS_PER_THREAD;
    let grain = tiles.count.div_ceil(groups).min(TILE_GROUP);
    pool::run_ranges(Phase::Prefill, tiles.count, grain, |group| {
        let start = tiles.start(group.start);
        let count = tiles.start(group.end) - start;
        // SAFETY: groups of tiles are disjoint.
        let packed = unsafe { packed.part(start * depth, count * depth) };
        if a.turned {
            let from = &a.data[inner.start * a.stride + rows.start + start..];
            return pack_columns(isa, from, a.stride, group, tiles, packed);
        }
        let mut rest = packed;
        for tile in group {
            let row = rows.start + tiles.start(tile);
            let (to, after) = rest.split_at_mut(tiles.height(tile) * depth);
            transpose(
                isa,
                &a.data[row * a.stride + inner.start..],
                a.stride,
                depth,
                to,
            );
            rest = after;
        }
    });
}

simd_fn! {
    /// Packs neighbouring tiles, whose first elements are at the start of `from`, and further ones each `stride` after.
    fn pack_columns<S>(
        s,
        from: &[f32],
        stride: usize,
        group: Range<usize>,
        tiles: Tiles,
        packed: &mut [f32],
    ) {
        let first = tiles.start(group.start);
        let count = tiles.start(group.end) - first;
        let depth = packed.len() / count;
        let mut places = [(0, 0); TILE_GROUP];
        for (tile, place) in group.clone().zip(&mut places) {
            *place = (tiles.start(tile) - first, tiles.height(tile));
        }
        for k in 0..depth {
            let from = &from[k * stride..];
            for &(start, height) in &places[..group.len()] {
                let at = start * depth + k * height;
                // A whole vector runs into the tile's next rows, which come later.
                let fits = k * height + S::LANES <= depth * height && start + S::LANES <= from.len();
                if height <= S::LANES && fits {
                    let to = &mut packed[at..at + S::LANES];
                    // SAFETY: both have a vector's elements.
                    unsafe { s.store(to.as_mut_ptr(), s.load(from[start..].as_ptr())) };
                } else {
                    packed[at..at + height].copy_from_slice(&from[start..start + height]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// A matrix of `[rows, cols]` as operands have it, and its elements in order.
    fn operand(
        random: &mut Random,
        [rows, cols]: [usize; 2],
        gap: usize,
        turned: bool,
    ) -> (Vec<f32>, usize, Vec<f32>) {
        let [outer, inner] = if turned { [cols, rows] } else { [rows, cols] };
        let stride = inner + gap;
        let data = random.floats((outer * stride).saturating_sub(gap));
        let at = |i: usize, j: usize| match turned {
            true => data[j * stride + i],
            false => data[i * stride + j],
        };
        let values = (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j)));
        let values = values.map(|(i, j)| at(i, j)).collect();
        (data, stride, values)
    }

    #[test]
    fn equals_f64_for_every_order_and_shape() {
        let shapes: &[[usize; 3]] = if cfg!(miri) {
            &[[1, 3, 2], [3, 5, 17]]
        } else {
            &[
                [1, 1, 1],
                [2, 9, 33],
                [5, 64, 16],
                [6, 65, 31],
                [13, 385, 32],
                [65, 33, 50],
                [130, 17, 47],
                [600, 40, 20],
                [7, 1600, 19],
                [3, 0, 4],
            ]
        };
        for (seed, &[rows, depth, cols]) in shapes.iter().enumerate() {
            for order in 0..8 {
                let mut random = Random::new(seed as u64);
                let [turn_a, turn_b, add] = [0, 1, 2].map(|bit| order >> bit & 1 == 1);
                let (a, a_stride, a_values) = operand(&mut random, [rows, depth], 3, turn_a);
                let (b, b_stride, b_values) = operand(&mut random, [depth, cols], 5, turn_b);
                let start = random.floats(rows * (cols + 2));
                for &isa in Isa::available() {
                    let mut out = start.clone();
                    let a = Matrix {
                        data: &a,
                        stride: a_stride,
                        turned: turn_a,
                    };
                    let b = Right::Matrix(Matrix {
                        data: &b,
                        stride: b_stride,
                        turned: turn_b,
                    });
                    let output = Output {
                        data: SharedMut::new(&mut out),
                        start: 1,
                        stride: cols + 2,
                    };
                    // SAFETY: nobody else has the output.
                    unsafe { matmul(isa, [rows, depth, cols], a, b, output, add) };
                    for (at, (&y, &before)) in out.iter().zip(&start).enumerate() {
                        let (i, j) = (at / (cols + 2), at % (cols + 2));
                        if j == 0 || j > cols {
                            assert_eq!(y, before, "{isa:?}: beside the output");
                            continue;
                        }
                        let terms = (0..depth).map(|k| {
                            let b = f64::from(b_values[k * cols + j - 1]);
                            f64::from(a_values[i * depth + k]) * b
                        });
                        let before = if add { f64::from(before) } else { 0.0 };
                        let size = terms.clone().map(f64::abs).sum::<f64>() + before.abs();
                        let off = (f64::from(y) - terms.sum::<f64>() - before).abs();
                        assert!(
                            off <= 1e-6 * size,
                            "{isa:?}, {rows} × {depth} × {cols}, order {order}, [{i}, {j}]: off by {off:e}"
                        );
                    }
                }
            }
        }
    }
}
