//! Matrix products with many rows of activations, as for a prompt: arithmetic is the limit.
//!
//! A register tile of up to [`TILE_ROWS`](Simd::TILE_ROWS) rows of activations by two vectors of output columns stays in
//! registers while the inner dimension runs. Both operands are packed so that the tile reads them in order: the
//! activations once for all, a panel of weights by the task that owns its columns, straight from the layout and dtype of
//! the checkpoint. See Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).

pub(crate) mod batch;
mod matmul;
#[cfg(target_arch = "x86_64")]
mod pairs;

pub(crate) use matmul::{Matrix, Output, Right, matmul, matmul_and_sums};

use std::{cell::RefCell, ops::Range};

use half::bf16;

use crate::{
    Element, Isa, Weight,
    pool::{self, Phase},
    product::{Product, each_range},
    shared::SharedMut,
    simd::{Simd, simd_fn},
};

/// How far along the inner dimension a panel reaches at most: it then fits the second cache, with the rows of some tiles.
const MAX_DEPTH: usize = 1024;

/// The most words of activations that are packed at a time: they stay in the last cache while all panels pass.
const BLOCK_WORDS: usize = 1 << 20;

/// The widest panel, in columns of the output.
const MAX_WIDTH: usize = 32;

/// The most elements that a register tile has.
const MAX_TILE: usize = 12 * MAX_WIDTH;

thread_local! {
    /// Activations, packed; of the calling thread.
    static PACKED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    /// A panel, and weights on their way into it; of each thread.
    static PANEL: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// What the inner dimension is made of, in words of 32 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// Elements.
    F32,
    /// Two elements, of weights that are stored so and of activations that are rounded to it: for
    /// [`multiplies_pairs`].
    Bf16Pairs,
}

/// Whether the CPU multiplies [`Words::Bf16Pairs`], and rows of `cols` elements are made of them.
pub(crate) fn multiplies_pairs(isa: Isa, cols: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    return isa.level() >= crate::isa::Level::Avx512Bf16 && cols.is_multiple_of(2);
    #[cfg(not(target_arch = "x86_64"))]
    return {
        let _ = (isa, cols);
        false
    };
}

/// Computes the products of `x`, whose rows have `cols` elements, as [`linear`](crate::linear) says; the lengths have
/// been checked.
pub(crate) fn gemm(isa: Isa, x: &[f32], cols: usize, products: &[Product<'_>], words: Words) {
    let depth = match words {
        Words::F32 => cols,
        Words::Bf16Pairs => cols / 2,
    };
    let (rows, width) = (x.len() / cols, panel_width(isa));
    let blocks = (rows * depth).div_ceil(BLOCK_WORDS);
    let block_rows = rows.div_ceil(blocks.max(1)).max(1);
    let mut packed = PACKED.take();
    for first in (0..rows).step_by(block_rows) {
        let tiles = Tiles::new(block_rows.min(rows - first), tile_rows(isa));
        grow(&mut packed, tiles.rows * depth);
        let x = &x[first * cols..][..tiles.rows * cols];
        pack(isa, x, words, tiles, &mut packed[..tiles.rows * depth]);
        let operand = Operand {
            packed: &packed,
            depth,
            words,
            tiles,
        };
        each_range(
            Phase::Prefill,
            products,
            |_| width,
            |product, columns| panel_product(isa, operand, product, first, columns),
        );
    }
    PACKED.set(packed);
}

/// The activations, packed into tiles.
#[derive(Clone, Copy)]
struct Operand<'a> {
    packed: &'a [f32],
    /// Words of a row.
    depth: usize,
    words: Words,
    tiles: Tiles,
}

/// The rows of activations, dealt out to tiles whose heights differ by one at most.
#[derive(Clone, Copy)]
struct Tiles {
    rows: usize,
    count: usize,
}

impl Tiles {
    fn new(rows: usize, max_height: usize) -> Self {
        Self {
            rows,
            count: rows.div_ceil(max_height),
        }
    }

    #[inline(always)]
    fn start(self, tile: usize) -> usize {
        self.rows * tile / self.count
    }

    #[inline(always)]
    fn height(self, tile: usize) -> usize {
        self.start(tile + 1) - self.start(tile)
    }
}

/// Packs every tile of `x`, whose rows become `depth` words, to `[depth, height]`.
fn pack(isa: Isa, x: &[f32], words: Words, tiles: Tiles, packed: &mut [f32]) {
    if x.is_empty() {
        return;
    }
    let (cols, depth) = (x.len() / tiles.rows, packed.len() / tiles.rows);
    let packed = SharedMut::new(packed);
    let grain = (1 << 15) / (cols * tiles.height(0)).max(1);
    pool::run_ranges(Phase::Prefill, tiles.count, grain, |range| {
        for tile in range {
            let (start, height) = (tiles.start(tile), tiles.height(tile));
            let x = &x[start * cols..];
            // SAFETY: tiles are disjoint.
            let packed = unsafe { packed.part(start * depth, height * depth) };
            match words {
                Words::F32 => transpose(isa, x, depth, depth, packed),
                Words::Bf16Pairs => PANEL.with_borrow_mut(|scratch| {
                    grow(scratch, height * depth);
                    let rounded = &mut scratch[..height * depth];
                    to_pairs(isa, &x[..height * cols], rounded);
                    transpose(isa, rounded, depth, depth, packed);
                }),
            }
        }
    });
}

simd_fn! {
    /// Rounds `from` to bf16, two in each word of `to`.
    fn to_pairs<S>(_s, from: &[f32], to: &mut [f32]) {
        for ([first, second], to) in from.as_chunks::<2>().0.iter().zip(to) {
            *to = f32::from_bits(to_bf16(*first) | to_bf16(*second) << 16);
        }
    }
}

/// The bits of `x` as bf16, rounded to nearest, ties to even.
#[inline(always)]
fn to_bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    // Rounding could carry a NaN into infinity.
    if x.is_nan() {
        bits >> 16 | 0x40
    } else {
        rounded
    }
}

simd_fn! {
    /// `from` begins with `[rows, cols]`, rows `stride` elements apart, and `to` is `[cols, rows]`; there are no more rows
    /// than a tile has.
    fn transpose<S>(s, from: &[f32], stride: usize, cols: usize, to: &mut [f32]) {
        let rows = to.len() / cols;
        assert!(from.len() >= (rows - 1) * stride + cols && to.len() == rows * cols);
        let mut k = 0;
        if (S::LANES / 2..=S::LANES).contains(&rows) {
            // Further rows are read too, and what they leave behind the last one is written over.
            let fits = |k: usize| {
                let read = (S::LANES - 1) * stride + k + S::LANES;
                let written = (k + S::LANES - 1) * rows + S::LANES;
                read <= from.len() && written <= rows * cols
            };
            while k + S::LANES <= cols && fits(k) {
                // The next tile's, most likely.
                for r in rows..2 * rows {
                    s.prefetch(from.as_ptr().wrapping_add(r * stride + k));
                }
                // SAFETY: it fits.
                unsafe { s.transpose(from.as_ptr().add(k), stride, to.as_mut_ptr().add(k * rows), rows) };
                k += S::LANES;
            }
        }
        if rows <= S::LANES {
            let (mut square, mut turned) = ([0.0; 16 * 16], [0.0; 16 * 16]);
            while k + S::LANES <= cols {
                // SAFETY: rows have LANES elements from k on; a square has LANES rows of that many.
                unsafe {
                    for r in 0..rows {
                        let row = s.load(from.as_ptr().add(r * stride + k));
                        s.store(square.as_mut_ptr().add(r * S::LANES), row);
                    }
                    s.transpose(square.as_ptr(), S::LANES, turned.as_mut_ptr(), S::LANES);
                    for (i, row) in turned.chunks_exact(S::LANES).take(S::LANES).enumerate() {
                        let to = to.as_mut_ptr().add((k + i) * rows);
                        std::ptr::copy_nonoverlapping(row.as_ptr(), to, rows);
                    }
                }
                k += S::LANES;
            }
        }
        for k in k..cols {
            for r in 0..rows {
                to[k * rows + r] = from[r * stride + k];
            }
        }
    }
}

/// The product of all tiles with the panel of weights that gives `columns` of the output.
fn panel_product(
    isa: Isa,
    x: Operand<'_>,
    product: &Product<'_>,
    first: usize,
    columns: Range<usize>,
) {
    let width = panel_width(isa);
    let depth = panel_depth(x.depth, product.weight.block_len());
    PANEL.with_borrow_mut(|scratch| {
        grow(scratch, 2 * width * depth);
        let (panel, rows) = scratch.split_at_mut(width * depth);
        for start in (0..x.depth).step_by(depth) {
            let depth = depth.min(x.depth - start);
            let panel = &mut panel[..width * depth];
            fill_panel(
                isa,
                &x,
                &product.weight,
                columns.clone(),
                start,
                panel,
                rows,
            );
            let sweep = Sweep {
                x,
                start,
                depth,
                panel,
                columns: columns.clone(),
                out: Output {
                    data: product.out,
                    start: first * product.cols,
                    stride: product.cols,
                },
                before: match product.bias {
                    _ if start > 0 => Before::Sums,
                    Some(bias) => Before::Bias(bias),
                    None => Before::Nothing,
                },
            };
            match x.words {
                Words::F32 => sweep_tiles(isa, &sweep),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: by `multiplies_pairs`, the CPU has the instructions.
                Words::Bf16Pairs => unsafe { pairs::sweep_tiles(&sweep) },
                #[cfg(not(target_arch = "x86_64"))]
                Words::Bf16Pairs => unreachable!("see `multiplies_pairs`"),
            }
        }
    });
}

/// The depth of panels over `depth` words: equal parts, as near to each other as whole blocks allow.
fn panel_depth(depth: usize, block_len: usize) -> usize {
    let parts = depth.div_ceil(MAX_DEPTH);
    depth.div_ceil(parts).next_multiple_of(block_len)
}

/// Writes rows `columns` of the weights, words `start..`, to `panel`, `[depth, width]`; missing rows are zero.
fn fill_panel(
    isa: Isa,
    x: &Operand<'_>,
    weight: &Weight<'_>,
    columns: Range<usize>,
    start: usize,
    panel: &mut [f32],
    rows: &mut [f32],
) {
    let width = panel_width(isa);
    let depth = panel.len() / width;
    if let Weight::F32(w) = weight
        && columns.len() == width
    {
        let w = &w[columns.start * x.depth + start..(columns.end - 1) * x.depth + start + depth];
        return interleave(isa, w, x.depth, panel);
    }
    let rows = &mut rows[..width * depth];
    rows[columns.len() * depth..].fill(0.0);
    for (row, to) in columns.zip(rows.chunks_exact_mut(depth)) {
        match (x.words, weight) {
            (Words::Bf16Pairs, Weight::Bf16(w)) => {
                copy_pairs(&w[2 * (row * x.depth + start)..][..2 * depth], to);
            }
            _ => weight.read(isa, row, x.depth, start, to),
        }
    }
    interleave(isa, rows, depth, panel);
}

/// Copies `from`, two elements to each word.
fn copy_pairs(from: &[bf16], to: &mut [f32]) {
    for ([first, second], to) in from.as_chunks::<2>().0.iter().zip(to) {
        let (first, second) = (u32::from(first.to_bits()), u32::from(second.to_bits()));
        *to = f32::from_bits(first | second << 16);
    }
}

simd_fn! {
    /// Writes the transpose of two vectors' worth of rows, `stride` elements apart in `from`, to `panel`.
    fn interleave<S>(s, from: &[f32], stride: usize, panel: &mut [f32]) {
        let width = 2 * S::LANES;
        let depth = panel.len() / width;
        assert!(from.len() >= (width - 1) * stride + depth);
        // SAFETY: rows of `from` have `depth` elements, and `panel` has `depth` rows of `width`.
        unsafe {
            let (from, to) = (from.as_ptr(), panel.as_mut_ptr());
            let mut k = 0;
            while k + S::LANES <= depth {
                s.transpose(from.add(k), stride, to.add(k * width), width);
                let (from, to) = (from.add(S::LANES * stride + k), to.add(k * width + S::LANES));
                s.transpose(from, stride, to, width);
                k += S::LANES;
            }
            for k in k..depth {
                for r in 0..width {
                    *to.add(k * width + r) = *from.add(r * stride + k);
                }
            }
        }
    }
}

/// One panel and all tiles.
struct Sweep<'a> {
    x: Operand<'a>,
    /// The first word of the panel, and the number of its words.
    start: usize,
    depth: usize,
    panel: &'a [f32],
    columns: Range<usize>,
    out: Output<'a>,
    before: Before<'a>,
}

/// What the products are added to.
#[derive(Clone, Copy)]
enum Before<'a> {
    Nothing,
    /// One element for each column.
    Bias(&'a [f32]),
    /// What the output holds.
    Sums,
}

impl Sweep<'_> {
    /// What a row of the output that lies at `out` starts from, in this panel's columns.
    #[inline(always)]
    fn before(&self, out: *const f32) -> *const f32 {
        match self.before {
            Before::Nothing => ZEROS.as_ptr(),
            Before::Bias(bias) => bias[self.columns.clone()].as_ptr(),
            Before::Sums => out,
        }
    }
}

static ZEROS: [f32; MAX_WIDTH] = [0.0; MAX_WIDTH];

/// How words are multiplied.
trait Multiply<S: Simd>: Copy {
    /// `c` and the products of the words of `a` and `b`, lane by lane.
    fn mul_add(self, s: S, a: S::F32, b: S::F32, c: S::F32) -> S::F32;
}

/// Of [`Words::F32`].
#[derive(Clone, Copy)]
struct Floats;

impl<S: Simd> Multiply<S> for Floats {
    #[inline(always)]
    fn mul_add(self, s: S, a: S::F32, b: S::F32, c: S::F32) -> S::F32 {
        s.mul_add(a, b, c)
    }
}

simd_fn! {
    fn sweep_tiles<S>(s, sweep: &Sweep<'_>) {
        sweep_with(s, Floats, sweep);
    }
}

#[inline(always)]
fn sweep_with<S: Simd, M: Multiply<S>>(s: S, m: M, sweep: &Sweep<'_>) {
    for tile in 0..sweep.x.tiles.count {
        // SAFETY: tiles, and so what they pack and write, are inside the operands.
        unsafe {
            match sweep.x.tiles.height(tile) {
                1 => tile_product::<S, M, 1>(s, m, sweep, tile),
                2 => tile_product::<S, M, 2>(s, m, sweep, tile),
                3 if S::TILE_ROWS > 2 => tile_product::<S, M, 3>(s, m, sweep, tile),
                4 if S::TILE_ROWS > 2 => tile_product::<S, M, 4>(s, m, sweep, tile),
                5 if S::TILE_ROWS > 2 => tile_product::<S, M, 5>(s, m, sweep, tile),
                6 if S::TILE_ROWS > 2 => tile_product::<S, M, 6>(s, m, sweep, tile),
                7 if S::TILE_ROWS > 6 => tile_product::<S, M, 7>(s, m, sweep, tile),
                8 if S::TILE_ROWS > 6 => tile_product::<S, M, 8>(s, m, sweep, tile),
                9 if S::TILE_ROWS > 6 => tile_product::<S, M, 9>(s, m, sweep, tile),
                10 if S::TILE_ROWS > 6 => tile_product::<S, M, 10>(s, m, sweep, tile),
                11 if S::TILE_ROWS > 6 => tile_product::<S, M, 11>(s, m, sweep, tile),
                12 if S::TILE_ROWS > 6 => tile_product::<S, M, 12>(s, m, sweep, tile),
                height => unreachable!("a tile of {height} rows"),
            }
        }
    }
}

/// One tile of `R` rows with the panel, added to what earlier panels gave, or to the bias.
#[inline(always)]
unsafe fn tile_product<S: Simd, M: Multiply<S>, const R: usize>(
    s: S,
    m: M,
    sweep: &Sweep<'_>,
    tile: usize,
) {
    let width = 2 * S::LANES;
    // SAFETY: the packed tile has `R` times the operand's depth of words; the panel has `depth * width`; rows
    // `row..row + R` and `columns` are inside the output, and no other task writes these columns.
    unsafe {
        let row = sweep.x.tiles.start(tile);
        let stride = sweep.out.stride;
        let start = sweep.out.start + sweep.columns.start;
        let out = sweep.out.data.at(start + row * stride);
        let x = &sweep.x.packed[row * sweep.x.depth + sweep.start * R..];
        let sums = tile_sums::<S, M, R>(s, m, x.as_ptr(), sweep.panel.as_ptr(), sweep.depth);
        if sweep.columns.len() == width {
            for r in 0..R {
                let before = sweep.before(out.add(r * stride));
                for half in 0..2 {
                    let before = s.load(before.add(half * S::LANES));
                    let sum = s.add(sums[r][half], before);
                    s.store(out.add(r * stride + half * S::LANES), sum);
                }
            }
        } else {
            let mut lanes = [0.0; MAX_TILE];
            for r in 0..R {
                for half in 0..2 {
                    s.store(
                        lanes.as_mut_ptr().add(r * width + half * S::LANES),
                        sums[r][half],
                    );
                }
            }
            for r in 0..R {
                let out = out.add(r * stride);
                let before = sweep.before(out);
                for j in 0..sweep.columns.len() {
                    *out.add(j) = lanes[r * width + j] + *before.add(j);
                }
            }
        }
    }
}

/// `Σ x[k, r] w[k, j]` for `R` rows and two vectors of columns, in registers.
#[inline(always)]
unsafe fn tile_sums<S: Simd, M: Multiply<S>, const R: usize>(
    s: S,
    m: M,
    mut x: *const f32,
    mut w: *const f32,
    depth: usize,
) -> [[S::F32; 2]; R] {
    let mut sums = [[s.zero(); 2]; R];
    for _ in 0..depth {
        // SAFETY: the caller's: `x` has `depth * R` elements, `w` has `depth * 2 * LANES`.
        unsafe {
            let (a, b) = (s.load(w), s.load(w.add(S::LANES)));
            for r in 0..R {
                let x = s.splat(*x.add(r));
                sums[r][0] = m.mul_add(s, x, a, sums[r][0]);
                sums[r][1] = m.mul_add(s, x, b, sums[r][1]);
            }
            x = x.add(R);
            w = w.add(2 * S::LANES);
        }
    }
    sums
}

simd_fn! {
    /// `from`, converted.
    pub(crate) fn convert<S, T: Element>(s, from: &[T], to: &mut [f32]) {
        assert_eq!(from.len(), to.len());
        let mut k = 0;
        // SAFETY: both have k + LANES elements.
        unsafe {
            while k + S::LANES <= to.len() {
                s.store(to.as_mut_ptr().add(k), T::load(s, from.as_ptr().add(k)));
                k += S::LANES;
            }
        }
        for (to, from) in to[k..].iter_mut().zip(&from[k..]) {
            *to = from.to_f32();
        }
    }
}

simd_fn! {
    fn tile_rows<S>(_s) -> usize {
        S::TILE_ROWS
    }
}

simd_fn! {
    fn panel_width<S>(_s) -> usize {
        const { assert!(2 * S::LANES <= MAX_WIDTH) };
        2 * S::LANES
    }
}

fn grow(scratch: &mut Vec<f32>, len: usize) {
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
}
