//! Matrix products with many rows of activations, as for a prompt: arithmetic is the limit.
//!
//! A register tile of up to [`TILE_ROWS`](Simd::TILE_ROWS) rows of activations by two vectors of output columns stays in
//! registers while the inner dimension runs. Both operands are packed so that the tile reads them in order: the
//! activations once for all, a panel of weights by the task that owns its columns, straight from the layout and dtype of
//! the checkpoint. See Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).

use std::cell::RefCell;

use crate::{
    Element, Isa,
    linear::{Output, Projection, Weight},
    pool::{self, Phase},
    shared::SharedMut,
    simd::{Simd, simd_fn},
};

/// How far along the inner dimension a panel reaches at most: it then fits the nearer caches, with a tile's rows.
const MAX_DEPTH: usize = 384;

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

/// Adds to each projection's output what [`linear`](crate::linear) says; the lengths have been checked.
pub(crate) fn gemm(isa: Isa, x: &[f32], cols: usize, projections: &mut [Projection<'_>]) {
    let tiles = Tiles::new(x.len() / cols, tile_rows(isa));
    let width = panel_width(isa);
    let mut packed = PACKED.take();
    grow(&mut packed, x.len());
    pack(isa, x, cols, tiles, &mut packed[..x.len()]);

    let outputs: Vec<Output<'_>> = projections
        .iter_mut()
        .map(|p| Output::new(p, cols))
        .collect();
    let panels = |output: &Output<'_>| output.cols.div_ceil(width);
    pool::run(
        Phase::Prefill,
        outputs.iter().map(panels).sum(),
        |mut task| {
            for output in &outputs {
                if task < panels(output) {
                    let columns = task * width..((task + 1) * width).min(output.cols);
                    return panel_product(isa, &packed, cols, tiles, output, columns);
                }
                task -= panels(output);
            }
        },
    );
    PACKED.set(packed);
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

/// Packs every tile of `x` (`[rows, cols]`) to `[cols, height]`.
fn pack(isa: Isa, x: &[f32], cols: usize, tiles: Tiles, packed: &mut [f32]) {
    let packed = SharedMut::new(packed);
    let grain = (1 << 15) / (cols * tiles.height(0)).max(1);
    pool::run_ranges(Phase::Prefill, tiles.count, grain, |range| {
        for tile in range {
            let (start, height) = (tiles.start(tile) * cols, tiles.height(tile));
            // SAFETY: tiles are disjoint.
            let packed = unsafe { packed.part(start, height * cols) };
            transpose(isa, &x[start..start + height * cols], cols, packed);
        }
    });
}

simd_fn! {
    /// `from` is `[rows, cols]`, `to` is `[cols, rows]`; there are no more rows than a tile has.
    fn transpose<S>(s, from: &[f32], cols: usize, to: &mut [f32]) {
        let rows = from.len() / cols;
        let (from, to) = (&from[..rows * cols], &mut to[..rows * cols]);
        let mut k = 0;
        if rows <= S::LANES {
            let (mut square, mut turned) = ([0.0; 16 * 16], [0.0; 16 * 16]);
            while k + S::LANES <= cols {
                // SAFETY: rows have LANES elements from k on; a square has LANES rows of that many.
                unsafe {
                    for r in 0..rows {
                        let row = s.load(from.as_ptr().add(r * cols + k));
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
                to[k * rows + r] = from[r * cols + k];
            }
        }
    }
}

/// The product of all tiles with the panel of weights that gives `columns` of the output.
fn panel_product(
    isa: Isa,
    packed: &[f32],
    cols: usize,
    tiles: Tiles,
    output: &Output<'_>,
    columns: std::ops::Range<usize>,
) {
    let width = panel_width(isa);
    let depth = panel_depth(cols, output.weight.block_len());
    PANEL.with_borrow_mut(|scratch| {
        grow(scratch, 2 * width * depth);
        let (panel, rows) = scratch.split_at_mut(width * depth);
        for start in (0..cols).step_by(depth) {
            let depth = depth.min(cols - start);
            let panel = &mut panel[..width * depth];
            fill_panel(
                isa,
                &output.weight,
                cols,
                columns.clone(),
                start,
                panel,
                rows,
            );
            let sweep = Sweep {
                packed,
                cols,
                tiles,
                start,
                depth,
                panel,
                columns: columns.clone(),
                output,
            };
            sweep_tiles(isa, &sweep);
        }
    });
}

/// The depth of panels over `cols` columns: equal parts, as near to each other as whole blocks allow.
fn panel_depth(cols: usize, block_len: usize) -> usize {
    let parts = cols.div_ceil(MAX_DEPTH);
    cols.div_ceil(parts).next_multiple_of(block_len)
}

/// Writes rows `columns` of the weights, columns `start..`, to `panel`, `[depth, width]`; missing rows are zero.
fn fill_panel(
    isa: Isa,
    weight: &Weight<'_>,
    cols: usize,
    columns: std::ops::Range<usize>,
    start: usize,
    panel: &mut [f32],
    rows: &mut [f32],
) {
    let width = panel_width(isa);
    let depth = panel.len() / width;
    if let Weight::F32(w) = weight
        && columns.len() == width
    {
        let w = &w[columns.start * cols + start..(columns.end - 1) * cols + start + depth];
        return interleave(isa, w, cols, panel);
    }
    let rows = &mut rows[..width * depth];
    rows[columns.len() * depth..].fill(0.0);
    for (row, to) in columns.zip(rows.chunks_exact_mut(depth)) {
        weight.read(isa, row, cols, start, to);
    }
    interleave(isa, rows, depth, panel);
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
    packed: &'a [f32],
    cols: usize,
    tiles: Tiles,
    start: usize,
    depth: usize,
    panel: &'a [f32],
    columns: std::ops::Range<usize>,
    output: &'a Output<'a>,
}

impl Sweep<'_> {
    /// What a row of the output that lies at `out` starts from, in this panel's columns.
    #[inline(always)]
    fn before(&self, out: *const f32) -> *const f32 {
        if self.start > 0 {
            return out;
        }
        match self.output.bias {
            Some(bias) => bias[self.columns.clone()].as_ptr(),
            None => ZEROS.as_ptr(),
        }
    }
}

static ZEROS: [f32; MAX_WIDTH] = [0.0; MAX_WIDTH];

simd_fn! {
    fn sweep_tiles<S>(s, sweep: &Sweep<'_>) {
        for tile in 0..sweep.tiles.count {
            // SAFETY: tiles, and so what they pack and write, are inside the operands.
            unsafe {
                match sweep.tiles.height(tile) {
                    1 => tile_product::<S, 1>(s, sweep, tile),
                    2 => tile_product::<S, 2>(s, sweep, tile),
                    3 if S::TILE_ROWS > 2 => tile_product::<S, 3>(s, sweep, tile),
                    4 if S::TILE_ROWS > 2 => tile_product::<S, 4>(s, sweep, tile),
                    5 if S::TILE_ROWS > 2 => tile_product::<S, 5>(s, sweep, tile),
                    6 if S::TILE_ROWS > 2 => tile_product::<S, 6>(s, sweep, tile),
                    7 if S::TILE_ROWS > 6 => tile_product::<S, 7>(s, sweep, tile),
                    8 if S::TILE_ROWS > 6 => tile_product::<S, 8>(s, sweep, tile),
                    9 if S::TILE_ROWS > 6 => tile_product::<S, 9>(s, sweep, tile),
                    10 if S::TILE_ROWS > 6 => tile_product::<S, 10>(s, sweep, tile),
                    11 if S::TILE_ROWS > 6 => tile_product::<S, 11>(s, sweep, tile),
                    12 if S::TILE_ROWS > 6 => tile_product::<S, 12>(s, sweep, tile),
                    height => unreachable!("a tile of {height} rows"),
                }
            }
        }
    }
}

/// One tile of `R` rows with the panel, added to what earlier panels gave, or to the bias.
#[inline(always)]
unsafe fn tile_product<S: Simd, const R: usize>(s: S, sweep: &Sweep<'_>, tile: usize) {
    let width = 2 * S::LANES;
    // SAFETY: the packed tile has `cols * R` elements from `row * cols`; the panel has `depth * width`; rows
    // `row..row + R` and `columns` are inside the output, and no other task writes these columns.
    unsafe {
        let row = sweep.tiles.start(tile);
        let stride = sweep.output.cols;
        let out = sweep.output.out.at(row * stride + sweep.columns.start);
        let x = sweep
            .packed
            .as_ptr()
            .add(row * sweep.cols + sweep.start * R);
        let sums = tile_sums::<S, R>(s, x, sweep.panel.as_ptr(), sweep.depth);
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
unsafe fn tile_sums<S: Simd, const R: usize>(
    s: S,
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
                sums[r][0] = s.mul_add(x, a, sums[r][0]);
                sums[r][1] = s.mul_add(x, b, sums[r][1]);
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
