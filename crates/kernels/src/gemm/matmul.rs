//! Products of matrices of which either the rows or the columns lie next to each other: what gradients are made of.

use std::ops::Range;

use super::{
    Before, Operand, PACKED, PANEL, Sweep, Tiles, Words, grow, interleave, panel_depth,
    panel_width, sweep_tiles, tile_rows, transpose,
};
use crate::{
    Element, Isa, Weight,
    pool::{self, Phase},
    rows::MAX_LANES,
    shared::SharedMut,
    simd::simd_fn,
};

/// Columns of the right operand that are packed at a time: with the depth of a panel they fit the last cache.
const BLOCK_COLS: usize = 2048;

/// Tiles of the left operand that a task packs together at most: they stay in its second cache while all panels pass, and of
/// turned rows the cache lines of their columns are read once.
const TILE_GROUP: usize = 6;

/// Tasks for a thread, or a multiple of them.
const TASKS_PER_THREAD: usize = 2;

/// How many rows ahead memory is asked for where rows lie apart: prefetchers do not see that a row's few elements are wanted.
const AHEAD: usize = 8;

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
    shape: [usize; 3],
    a: Matrix<'_>,
    b: Right<'_>,
    out: Output<'_>,
    add: bool,
) {
    // SAFETY: as the caller promises.
    unsafe { matmul_and_sums(isa, shape, a, b, out, add, None) };
}

/// [`matmul`], which also adds the sum of each row of `a` to `sums`, `[rows]`, where there are columns.
///
/// # Safety
/// As there.
///
/// # Panics
/// As there, and when `sums` has another length.
pub(crate) unsafe fn matmul_and_sums(
    isa: Isa,
    [rows, depth, cols]: [usize; 3],
    a: Matrix<'_>,
    b: Right<'_>,
    out: Output<'_>,
    add: bool,
    sums: Option<&mut [f32]>,
) {
    let sums = sums.map(SharedMut::new);
    assert!(
        sums.is_none_or(|sums| sums.len() == rows),
        "sums is [{rows}]"
    );
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
    let step = panel_depth(depth, 1);
    let mut panels = PACKED.take();
    for first in (0..cols).step_by(BLOCK_COLS) {
        let block = first..(first + BLOCK_COLS).min(cols);
        let out = Output {
            start: out.start + first,
            ..out
        };
        for start in (0..depth).step_by(step) {
            let inner = start..(start + step).min(depth);
            fill_panels(isa, b, cols, inner.clone(), block.clone(), &mut panels);
            let before = match add || start > 0 {
                true => Before::Sums,
                false => Before::Nothing,
            };
            let sums = sums.filter(|_| first == 0);
            sweep_groups(
                isa,
                (a, rows, inner),
                (&panels, block.len()),
                out,
                before,
                sums,
            );
        }
    }
    PACKED.set(panels);
}

fn check(matrix: Matrix<'_>, [rows, cols]: [usize; 2]) {
    let [outer, inner] = match matrix.turned {
        true => [cols, rows],
        false => [rows, cols],
    };
    let len = (outer - 1) * matrix.stride + inner;
    assert!(matrix.data.len() >= len, "an operand is too short");
}

/// Fills the panels of these columns, `[depth, width]` each, one after the other.
fn fill_panels(
    isa: Isa,
    b: Right<'_>,
    cols: usize,
    inner: Range<usize>,
    block: Range<usize>,
    panels: &mut Vec<f32>,
) {
    let width = panel_width(isa);
    let len = inner.len() * width;
    let all = block.len().div_ceil(width) * len;
    grow(panels, all);
    let panels = SharedMut::new(&mut panels[..all]);
    pool::run_ranges(Phase::Prefill, block.len(), width, |columns| {
        // SAFETY: panels are disjoint.
        let panel = unsafe { panels.part(columns.start / width * len, len) };
        let columns = block.start + columns.start..block.start + columns.end;
        PANEL.with_borrow_mut(|scratch| {
            grow(scratch, len);
            fill_panel(isa, b, cols, inner.clone(), columns, panel, scratch);
        });
    });
}

/// The products of the rows of `a`, of their elements `inner`, with the panels of so many columns: a task packs a group of
/// tiles and takes it through panels. The sums of these elements are added to `sums`.
fn sweep_groups(
    isa: Isa,
    (a, rows, inner): (Matrix<'_>, usize, Range<usize>),
    (panels, cols): (&[f32], usize),
    out: Output<'_>,
    before: Before<'_>,
    sums: Option<SharedMut<'_, f32>>,
) {
    let (depth, width) = (inner.len(), panel_width(isa));
    let threads = pool::threads(Phase::Prefill);
    let mut all = Tiles::new(rows, tile_rows(isa));
    if all.count > threads {
        // As much work for each thread.
        all.count = all.count.next_multiple_of(threads).min(rows);
    }
    // As many tasks for each thread: where there are too few tiles, several share a group of them.
    let tasks = threads * TASKS_PER_THREAD;
    let groups = all.count.div_ceil(TILE_GROUP).next_multiple_of(tasks);
    let groups = groups.min(all.count);
    let panel_count = cols.div_ceil(width);
    let parts = tasks.div_ceil(groups).min(panel_count);
    pool::run(Phase::Prefill, groups * parts, |task| {
        let (group, part) = (task / parts, task % parts);
        let [first, last] = [group, group + 1].map(|group| all.count * group / groups);
        let rows = all.start(first)..all.start(last);
        let tiles = Tiles {
            rows: rows.len(),
            count: last - first,
        };
        PANEL.with_borrow_mut(|scratch| {
            grow(scratch, tiles.rows * depth);
            let packed = &mut scratch[..tiles.rows * depth];
            pack(isa, a, rows.start, inner.clone(), tiles, packed);
            if let Some(sums) = sums.filter(|_| part == 0) {
                // SAFETY: groups have rows of their own, and of the tasks of a group this one alone adds.
                add_sums(isa, tiles, packed, unsafe {
                    sums.part(rows.start, rows.len())
                });
            }
            let x = Operand {
                packed,
                depth,
                words: Words::F32,
                tiles,
            };
            for panel in panel_count * part / parts..panel_count * (part + 1) / parts {
                let sweep = Sweep {
                    x,
                    start: 0,
                    depth,
                    panel: &panels[panel * width * depth..][..width * depth],
                    columns: panel * width..(panel * width + width).min(cols),
                    out: Output {
                        start: out.start + rows.start * out.stride,
                        ..out
                    },
                    before,
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
                for at in [0, S::LANES] {
                    s.prefetch(from.as_ptr().wrapping_add((k + AHEAD) * stride + at));
                }
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

/// Packs rows of `a` from `first` on, elements `inner`, to tiles of `[depth, height]`.
fn pack(
    isa: Isa,
    a: Matrix<'_>,
    first: usize,
    inner: Range<usize>,
    tiles: Tiles,
    packed: &mut [f32],
) {
    if a.turned {
        let from = &a.data[inner.start * a.stride + first..];
        return pack_columns(isa, from, a.stride, tiles, packed);
    }
    let depth = inner.len();
    let mut rest = packed;
    for tile in 0..tiles.count {
        let from = &a.data[(first + tiles.start(tile)) * a.stride + inner.start..];
        let (to, after) = rest.split_at_mut(tiles.height(tile) * depth);
        transpose(isa, from, a.stride, depth, to);
        rest = after;
    }
}

simd_fn! {
    /// Packs tiles whose first elements are at the start of `from`, and further ones each `stride` after.
    fn pack_columns<S>(s, from: &[f32], stride: usize, tiles: Tiles, packed: &mut [f32]) {
        let depth = packed.len() / tiles.rows;
        let mut places = [(0, 0); TILE_GROUP];
        for (tile, place) in places[..tiles.count].iter_mut().enumerate() {
            *place = (tiles.start(tile), tiles.height(tile));
        }
        for k in 0..depth {
            for at in (0..tiles.rows).step_by(S::LANES) {
                s.prefetch(from.as_ptr().wrapping_add((k + AHEAD) * stride + at));
            }
            let from = &from[k * stride..];
            for &(start, height) in &places[..tiles.count] {
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

simd_fn! {
    /// Adds the sums of the rows of packed tiles to `sums`, in an order that depends on the depth alone.
    fn add_sums<S>(s, tiles: Tiles, packed: &[f32], sums: &mut [f32]) {
        const STRANDS: usize = 4;
        let depth = packed.len() / tiles.rows;
        for tile in 0..tiles.count {
            let (start, height) = (tiles.start(tile), tiles.height(tile));
            let tile = &packed[start * depth..][..height * depth];
            // No tile has more rows than that.
            let mut strands = [[0.0; MAX_LANES]; STRANDS];
            let mut done = 0;
            if height <= S::LANES {
                let mut vectors = [s.zero(); STRANDS];
                while (done + STRANDS - 1) * height + S::LANES <= tile.len() {
                    for (i, vector) in vectors.iter_mut().enumerate() {
                        // SAFETY: that many elements are in the tile. Those after its rows' are not used.
                        let x = unsafe { s.load(tile.as_ptr().add((done + i) * height)) };
                        *vector = s.add(*vector, x);
                    }
                    done += STRANDS;
                }
                for (strand, vector) in strands.iter_mut().zip(vectors) {
                    // SAFETY: a strand has the lanes of any instruction set.
                    unsafe { s.store(strand.as_mut_ptr(), vector) };
                }
            }
            for (k, x) in tile.chunks_exact(height).enumerate().skip(done) {
                let strand = &mut strands[k % STRANDS];
                strand.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
            }
            let [a, b, c, d] = strands;
            for (r, sum) in sums[start..start + height].iter_mut().enumerate() {
                *sum += (a[r] + b[r]) + (c[r] + d[r]);
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
                [13, 1025, 32],
                [65, 33, 50],
                [130, 17, 47],
                [600, 40, 20],
                [7, 2100, 19],
                [3, 0, 4],
                [14, 20, 2081],
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
