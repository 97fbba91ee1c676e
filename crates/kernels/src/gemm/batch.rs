//! Up to 16 rows of activations, those of a batch of requests or of a draft: reading the weights still takes about as long
//! as the arithmetic, so that packing them first would cost more than it saves.
//!
//! Lanes run along the inner dimension, as in [`gemv`](crate::gemv). Some rows of weights meet a tile of activations in
//! registers; meanwhile the next ones are on their way from memory.

use std::cell::RefCell;

use super::{Multiply, Output, Tiles, Words, to_pairs};
use crate::{
    Element, Isa, Weight,
    pool::Phase,
    product::{Product, each_range, even_ranges},
    simd::{Simd, simd_fn},
};

/// The most rows of activations.
const MAX_ROWS: usize = 16;

/// The highest tile.
const MAX_HEIGHT: usize = 8;

/// Rows of weights beside a tile: with its sums, and a vector of activations, they are at most 29 of 32 registers.
const WIDTHS: [usize; 2] = [4, 3];

/// The highest tile that has the larger width.
const LOW: usize = 6;

/// Words of a vector.
const LANES: usize = 16;

/// Whether this is faster than packing the weights, for more rows than are [few](crate::gemv::MAX_ROWS).
pub(crate) fn is_for(isa: Isa, rows: usize) -> bool {
    rows <= MAX_ROWS && lanes(isa) == LANES
}

simd_fn! {
    fn lanes<S>(_s) -> usize {
        S::LANES
    }
}

/// A vector of activations, in a line of its own.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Vector {
    lanes: [f32; LANES],
}

thread_local! {
    /// Activations, packed; of the calling thread.
    static PACKED: RefCell<Vec<Vector>> = const { RefCell::new(Vec::new()) };
}

/// As [`gemm`](super::gemm), for at most [`MAX_ROWS`] rows.
pub(crate) fn batch(isa: Isa, x: &[f32], cols: usize, products: &[Product<'_>], words: Words) {
    let rows = x.len() / cols;
    let tiles = Tiles::new(rows, MAX_HEIGHT);
    let mut packed = PACKED.take();
    pack(isa, x, cols, words, tiles, &mut packed);
    let width = WIDTHS[usize::from(rows.div_ceil(tiles.count.max(1)) > LOW)];
    let grain = even_ranges(
        products,
        |product| product.weight.row_bytes(cols),
        WIDTHS[0] * WIDTHS[1],
    );
    each_range(Phase::Decode, products, grain, |product, columns| {
        macro_rules! job {
            ($w:expr) => {
                Job {
                    x,
                    packed: &packed,
                    tiles,
                    width,
                    w: &$w[columns.start * cols..columns.end * cols],
                    cols,
                    bias: product.bias.map(|bias| &bias[columns.clone()]),
                    out: Output {
                        data: product.out,
                        start: columns.start,
                        stride: product.cols,
                    },
                }
            };
        }
        match (product.weight, words) {
            #[cfg(target_arch = "x86_64")]
            (Weight::Bf16(w), Words::Bf16Pairs) => {
                // SAFETY: by `multiplies_pairs`, the CPU has the instructions; tasks have disjoint columns.
                unsafe { super::pairs::columns(&job!(w)) }
            }
            (Weight::F32(w), _) => columns_of(isa, &job!(w)),
            (Weight::Bf16(w), _) => columns_of(isa, &job!(w)),
            (Weight::F16(w), _) => columns_of(isa, &job!(w)),
            (Weight::Blocks(_), _) => unreachable!("blocks go another way"),
        }
    });
    PACKED.set(packed);
}

/// Packs whole vectors of words of every tile to `[vectors, height]`.
fn pack(isa: Isa, x: &[f32], cols: usize, words: Words, tiles: Tiles, packed: &mut Vec<Vector>) {
    let mut pairs = Vec::new();
    let (x, cols) = match words {
        Words::F32 => (x, cols),
        Words::Bf16Pairs => {
            pairs.resize(x.len() / 2, 0.0);
            to_pairs(isa, x, &mut pairs);
            (&pairs[..], cols / 2)
        }
    };
    let vectors = cols / LANES;
    packed.resize(
        tiles.rows * vectors,
        Vector {
            lanes: [0.0; LANES],
        },
    );
    for tile in 0..tiles.count {
        let (start, height) = (tiles.start(tile), tiles.height(tile));
        let to = &mut packed[start * vectors..][..height * vectors];
        for r in 0..height {
            let x = x[(start + r) * cols..][..cols].as_chunks().0;
            for (x, to) in x.iter().zip(to.iter_mut().skip(r).step_by(height)) {
                to.lanes = *x;
            }
        }
    }
}

/// Some columns of a product.
pub(super) struct Job<'a, T> {
    /// Activations, `[rows, cols]`, and the same in tiles.
    x: &'a [f32],
    packed: &'a [Vector],
    tiles: Tiles,
    /// Rows of weights that go together.
    width: usize,
    /// Weights, `[columns, cols]`.
    w: &'a [T],
    cols: usize,
    /// One for each column.
    bias: Option<&'a [f32]>,
    out: Output<'a>,
}

/// How weights become vectors of words, and are multiplied.
pub(super) trait Vectors<S: Simd>: Multiply<S> {
    type Element: Element;
    /// Elements of a word.
    const PER_WORD: usize;

    /// # Safety
    /// The elements of a vector are readable at `p`.
    unsafe fn load(self, s: S, p: *const Self::Element) -> S::F32;

    /// What becomes of an activation.
    fn rounded(self, x: f32) -> f32;
}

/// An element is a word.
struct Single<T>(std::marker::PhantomData<T>);

impl<T> Clone for Single<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Single<T> {}

impl<S: Simd, T: Element> Multiply<S> for Single<T> {
    #[inline(always)]
    fn mul_add(self, s: S, a: S::F32, b: S::F32, c: S::F32) -> S::F32 {
        s.mul_add(a, b, c)
    }
}

impl<S: Simd, T: Element> Vectors<S> for Single<T> {
    type Element = T;
    const PER_WORD: usize = 1;

    #[inline(always)]
    unsafe fn load(self, s: S, p: *const T) -> S::F32 {
        // SAFETY: the caller's promise.
        unsafe { T::load(s, p) }
    }

    #[inline(always)]
    fn rounded(self, x: f32) -> f32 {
        x
    }
}

#[cfg(target_arch = "x86_64")]
impl Vectors<crate::simd::Avx512> for super::pairs::Pairs {
    type Element = half::bf16;
    const PER_WORD: usize = 2;

    #[inline(always)]
    unsafe fn load(
        self,
        s: crate::simd::Avx512,
        p: *const half::bf16,
    ) -> <crate::simd::Avx512 as Simd>::F32 {
        // SAFETY: the caller's promise; a word is two elements, and any bits.
        unsafe { s.load(p.cast()) }
    }

    #[inline(always)]
    fn rounded(self, x: f32) -> f32 {
        f32::from_bits(super::to_bf16(x) << 16)
    }
}

simd_fn! {
    fn columns_of<S, T: Element>(s, job: &Job<'_, T>) {
        // Others have too few registers, and `is_for` says so.
        if S::LANES == LANES {
            columns_with(s, Single::<T>(std::marker::PhantomData), job);
        }
    }
}

/// Computes `job`, whose columns nobody else writes.
#[inline(always)]
pub(super) fn columns_with<S: Simd, V: Vectors<S>>(s: S, v: V, job: &Job<'_, V::Element>) {
    let columns = job.w.len() / job.cols;
    let mut j = 0;
    while j < columns {
        // SAFETY: columns `j..` are those of the job.
        j += unsafe {
            match job.width {
                4 if j + 4 <= columns => tiles::<S, V, 4>(s, v, job, j),
                3 if j + 3 <= columns => tiles::<S, V, 3>(s, v, job, j),
                _ => tiles::<S, V, 1>(s, v, job, j),
            }
        };
    }
}

/// The products of all tiles with `W` rows of weights from row `j` on; gives `W`.
#[inline(always)]
unsafe fn tiles<S: Simd, V: Vectors<S>, const W: usize>(
    s: S,
    v: V,
    job: &Job<'_, V::Element>,
    j: usize,
) -> usize {
    for tile in 0..job.tiles.count {
        // SAFETY: the caller's promise.
        unsafe {
            match job.tiles.height(tile) {
                1 => product::<S, V, 1, W>(s, v, job, tile, j),
                2 => product::<S, V, 2, W>(s, v, job, tile, j),
                3 => product::<S, V, 3, W>(s, v, job, tile, j),
                4 => product::<S, V, 4, W>(s, v, job, tile, j),
                5 => product::<S, V, 5, W>(s, v, job, tile, j),
                6 => product::<S, V, 6, W>(s, v, job, tile, j),
                7 if W < 4 => product::<S, V, 7, W>(s, v, job, tile, j),
                8 if W < 4 => product::<S, V, 8, W>(s, v, job, tile, j),
                height => unreachable!("a tile of {height} rows"),
            }
        }
    }
    W
}

/// The products of a tile of `M` rows with `W` rows of weights from row `j` on. Its share of as many rows behind them is
/// asked for meanwhile.
#[inline(always)]
unsafe fn product<S: Simd, V: Vectors<S>, const M: usize, const W: usize>(
    s: S,
    v: V,
    job: &Job<'_, V::Element>,
    tile: usize,
    j: usize,
) {
    let cols = job.cols;
    let step = LANES * V::PER_WORD;
    let vectors = cols / step;
    let row = job.tiles.start(tile);
    // Row by row, so that each line is asked for as long before it is needed.
    let ahead = W + W * tile / job.tiles.count..W + W * (tile + 1) / job.tiles.count;
    // SAFETY: the tile has `vectors * M` vectors, every row `cols` elements, and the output the rows and columns.
    unsafe {
        let w = job.w.as_ptr().add(j * cols);
        let mut x = job.packed[row * vectors..].as_ptr().cast::<f32>();
        let mut sums = [[s.zero(); W]; M];
        for k in 0..vectors {
            for n in ahead.clone() {
                s.prefetch(w.wrapping_add(n * cols + k * step));
            }
            let mut weights = [s.zero(); W];
            for (n, weights) in weights.iter_mut().enumerate() {
                *weights = v.load(s, w.add(n * cols + k * step));
            }
            for sums in &mut sums {
                let x_vector = s.load(x);
                for n in 0..W {
                    sums[n] = v.mul_add(s, weights[n], x_vector, sums[n]);
                }
                x = x.add(LANES);
            }
        }
        for (m, sums) in sums.into_iter().enumerate() {
            let mut four = [s.zero(); 4];
            four[..W].copy_from_slice(&sums);
            let mut products = s.sum4(four);
            let x = &job.x[(row + m) * cols..][..cols];
            for (n, product) in products[..W].iter_mut().enumerate() {
                for k in vectors * step..cols {
                    *product += v.rounded(x[k]) * (*w.add(n * cols + k)).to_f32();
                }
                *product += job.bias.map_or(0.0, |bias| bias[j + n]);
            }
            let out = job.out.start + (row + m) * job.out.stride + j;
            let out = job.out.data.part(out, W);
            out.copy_from_slice(&products[..W]);
        }
    }
}
