//! How a call is split into tasks.

use std::{cell::RefCell, ops::Range};

use super::{
    Problem,
    few::attend_few,
    product::SPAN,
    scratch::Scratch,
    softmax::Seen,
    task::Task,
    tile::{attend_tile, block_rows},
    visible::union,
};
use crate::{
    Isa,
    determinism::is_deterministic,
    pool::{self, Phase},
    shared::SharedMut,
};

/// Rows up to which reading keys where they lie is faster than packing them.
const FEW_ROWS: usize = 16;

/// Rows that share packed keys: enough to hide the packing, and their queries and sums fit the second cache.
const TILE_ROWS: usize = 192;

/// Multiply-adds that take longer than handing out a task: some 2 µs.
const TASK: usize = 1 << 16;

/// Multiply-adds that are too few to be shared: below some 10 µs.
const ALONE: usize = 4 * TASK;

thread_local! {
    /// What tasks that share a tile have found; of the calling thread.
    static PARTIALS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// How a call is split: queries into tiles, and the keys of a tile among tasks where there are too few tiles.
pub(super) struct Plan {
    phase: Phase,
    /// Whether keys are read where they lie.
    pub(super) few: bool,
    /// Queries of a tile.
    queries: usize,
    /// Tiles of a batch entry and head of keys.
    tiles: usize,
    /// Tasks that share a tile.
    pub(super) splits: usize,
    /// Tiles that are handed out together.
    grain: usize,
}

/// Neighbouring queries, by all heads that share a head of keys.
struct Tile {
    batch: usize,
    kv_head: usize,
    queries: Range<usize>,
}

impl Plan {
    pub(super) fn new(isa: Isa, problem: &Problem<'_>) -> Self {
        if is_deterministic() {
            return Self::fixed(problem);
        }
        let rows = problem.shape.q_len * problem.group();
        Self::with(isa, problem, rows <= FEW_ROWS)
    }

    /// Every query alone, with all of its keys: what others see makes no difference.
    fn fixed(problem: &Problem<'_>) -> Self {
        let shape = problem.shape;
        Self {
            phase: Phase::of_rows(shape.batch * shape.q_len),
            few: true,
            queries: 1,
            tiles: shape.q_len,
            splits: 1,
            grain: 1,
        }
    }

    /// `few`: whether keys are read where they lie.
    pub(super) fn with(isa: Isa, problem: &Problem<'_>, few: bool) -> Self {
        let shape = problem.shape;
        let group = problem.group();
        let heads = shape.batch * shape.kv_heads;
        let phase = Phase::of_rows(shape.batch * shape.q_len);
        let threads = pool::threads(phase);
        let queries = if few {
            shape.q_len
        } else {
            // Some tiles for every thread, of whole blocks of rows.
            let whole = block_rows(isa) / gcd(block_rows(isa), group);
            let share = shape.q_len.div_ceil((4 * threads).div_ceil(heads));
            share.min(TILE_ROWS / group).max(1).next_multiple_of(whole)
        };
        let tiles = shape.q_len.div_ceil(queries);
        let longest = (0..shape.batch).map(|b| problem.keys.len(b)).max();
        let window = problem.options.window.unwrap_or(usize::MAX);
        let keys = longest.unwrap_or(0).min(window.saturating_add(queries));
        let work = [queries * group, keys, shape.head_dim + shape.value_dim];
        let work = work.into_iter().fold(1, usize::saturating_mul);
        let alone = work.saturating_mul(heads * tiles) < ALONE;
        let most = if alone {
            1
        } else {
            (work / TASK).min(keys / SPAN).max(1)
        };
        let is_even = |&splits: &usize| {
            let tasks = heads * tiles * splits;
            tasks >= 4 * threads || tasks.is_multiple_of(threads)
        };
        Self {
            phase,
            few,
            queries,
            tiles,
            splits: (1..most).find(is_even).unwrap_or(most),
            grain: if alone { heads * tiles } else { TASK / work },
        }
    }

    pub(super) fn run(&self, isa: Isa, problem: &Problem<'_>) {
        let tiles = self.tiles * problem.shape.batch * problem.shape.kv_heads;
        if self.splits > 1 {
            return self.run_split(isa, problem, tiles);
        }
        pool::run_ranges(self.phase, tiles, self.grain, |tiles| {
            for tile in tiles {
                let tile = self.tile(problem, tile);
                let keys = tile.keys(problem);
                self.attend(isa, problem, &tile, keys, None);
            }
        });
    }

    fn run_split(&self, isa: Isa, problem: &Problem<'_>, tiles: usize) {
        let rows = self.queries * problem.group();
        let len = rows * (problem.shape.value_dim + 2);
        let mut partials = PARTIALS.take();
        if partials.len() < tiles * self.splits * len {
            partials.resize(tiles * self.splits * len, 0.0);
        }
        let shared = SharedMut::new(&mut partials);
        pool::run(self.phase, tiles * self.splits, |task| {
            let tile = self.tile(problem, task / self.splits);
            let keys = part(tile.keys(problem), task % self.splits, self.splits);
            // SAFETY: every task has its own part.
            let partial = unsafe { shared.part(task * len, len) };
            self.attend(isa, problem, &tile, keys, Some(partial));
        });
        let tile_len = self.splits * len;
        pool::run_ranges(self.phase, tiles, TASK / tile_len, |tiles| {
            for tile in tiles {
                let partials = &partials[tile * tile_len..][..tile_len];
                combine(problem, &self.tile(problem, tile), partials, len);
            }
        });
        PARTIALS.set(partials);
    }

    /// The last queries come first: with causal attention they are the most work, which nobody should begin when all
    /// others are done.
    fn tile(&self, problem: &Problem<'_>, index: usize) -> Tile {
        let heads = problem.shape.batch * problem.shape.kv_heads;
        let start = (self.tiles - 1 - index / heads) * self.queries;
        Tile {
            batch: index % heads / problem.shape.kv_heads,
            kv_head: index % problem.shape.kv_heads,
            queries: start..(start + self.queries).min(problem.shape.q_len),
        }
    }

    fn attend(
        &self,
        isa: Isa,
        problem: &Problem<'_>,
        tile: &Tile,
        keys: Range<usize>,
        partial: Option<&mut [f32]>,
    ) {
        let mut task = Task {
            problem,
            batch: tile.batch,
            kv_head: tile.kv_head,
            queries: tile.queries.clone(),
            keys,
            partial,
        };
        Scratch::with(|scratch| {
            if self.few {
                attend_few(isa, &mut task, scratch);
            } else {
                attend_tile(isa, &mut task, scratch);
            }
        });
    }
}

impl Tile {
    /// From the first key that any of the queries sees to the last one.
    fn keys(&self, problem: &Problem<'_>) -> Range<usize> {
        union(
            self.queries
                .clone()
                .map(|query| problem.visible(self.batch, query)),
        )
    }
}

/// Part `i` of `n`, in whole tiles of keys.
fn part(keys: Range<usize>, i: usize, n: usize) -> Range<usize> {
    let tiles = keys.len().div_ceil(SPAN);
    let bound = |i: usize| (keys.start + tiles * i / n * SPAN).min(keys.end);
    bound(i)..bound(i + 1)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Puts together what the tasks of a tile have found: each of them `len` elements, `[rows, value_dim + 2]`.
fn combine(problem: &Problem<'_>, tile: &Tile, partials: &[f32], len: usize) {
    let group = problem.group();
    let dim = problem.shape.value_dim;
    for (i, query) in tile.queries.clone().enumerate() {
        for j in 0..group {
            let head = tile.kv_head * group + j;
            let row = (i * group + j) * (dim + 2);
            // SAFETY: a tile is one task's, and so is its output.
            let out = unsafe { problem.out(tile.batch, query, head) };
            let parts = partials.chunks_exact(len);
            let parts = parts.map(|part| part[row..][..dim + 2].split_at(dim));
            combine_row(parts, problem.sink(head), out);
        }
    }
}

/// `parts` are values' sums, and the largest score with the weights' sum.
fn combine_row<'a>(
    parts: impl Iterator<Item = (&'a [f32], &'a [f32])> + Clone,
    sink: Option<f32>,
    out: &mut [f32],
) {
    let largest = |max: f32, (_, seen): (_, &[f32])| max.max(seen[0]);
    let max = parts.clone().fold(f32::NEG_INFINITY, largest);
    // Infinities' difference is no number.
    let factor = |seen: &[f32]| {
        if seen[0] == max {
            1.0
        } else {
            (seen[0] - max).exp()
        }
    };
    let sum = parts.clone().map(|(_, seen)| factor(seen) * seen[1]).sum();
    let normaliser = Seen { max, sum }.normaliser(sink);
    out.fill(0.0);
    for (values, seen) in parts {
        let factor = factor(seen) * normaliser;
        for (out, value) in out.iter_mut().zip(values) {
            *out += factor * value;
        }
    }
}
