//! Many rows of activations times blocks, in integers, for CPUs with AVX-512's integer dot products.
//!
//! A task unpacks the blocks of 16 rows of weights into a panel that stays in its core's caches, and multiplies it with
//! all activations, which have been packed into tiles as high as registers allow.

mod panel;
mod tile;

use std::{cell::RefCell, ops::Range};

use self::{
    panel::{PANEL_ROWS, Panel},
    tile::Tiles,
};
use super::fast::Blocks;
use crate::{
    Isa,
    isa::Level,
    pool::{self, Phase},
    product::each_range,
};

/// Whether this is how products of so many rows of activations are best computed.
pub(super) fn is_for(isa: Isa, rows: usize) -> bool {
    rows >= MIN_ROWS && isa.level() >= Level::Avx512Vnni
}

/// From so many rows of activations on, unpacking weights for all of them beats unpacking them row by row.
const MIN_ROWS: usize = 3;

/// Multiplications in a task at least, some ten microseconds of them.
const MIN_TASK: usize = 1 << 20;

thread_local! {
    static TILES: RefCell<Tiles> = RefCell::default();
    static PANEL: RefCell<Panel> = RefCell::default();
}

/// Computes every job's products with the rows of `x`.
///
/// # Safety
/// [`is_for`] says so. No one else reads or writes the outputs.
pub(super) unsafe fn many_rows(x: &[f32], cols: usize, jobs: &[Blocks<'_>]) {
    let mut tiles = TILES.take();
    // SAFETY: by `is_for`, the CPU has the instructions.
    unsafe { tiles.assign(x, cols) };
    let columns: usize = jobs.iter().map(|job| job.cols).sum();
    let tasks = (columns * x.len() / MIN_TASK).max(1);
    // As many for each thread, so that none waits for the last one.
    let tasks = tasks.next_multiple_of(pool::threads(Phase::Prefill));
    let grain = columns.div_ceil(tasks).next_multiple_of(PANEL_ROWS);
    each_range(
        Phase::Prefill,
        jobs,
        |_| grain,
        |job, rows| {
            PANEL.with_borrow_mut(|panel| {
                for start in rows.clone().step_by(PANEL_ROWS) {
                    let rows = start..(start + PANEL_ROWS).min(rows.end);
                    // SAFETY: by `is_for`, the CPU has the instructions; tasks have disjoint rows.
                    unsafe { panel_product(panel, &tiles, job, rows) };
                }
            });
        },
    );
    TILES.set(tiles);
}

/// Computes columns `rows` of the output.
///
/// # Safety
/// The CPU has AVX-512 VNNI. No one else reads or writes these columns.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn panel_product(panel: &mut Panel, tiles: &Tiles, job: &Blocks<'_>, rows: Range<usize>) {
    panel.assign(&job.weight, rows.clone());
    for tile in 0..tiles.count() {
        // SAFETY: the caller's promise.
        unsafe { tile::product(panel, tiles, tile, job, rows.clone()) };
    }
}
