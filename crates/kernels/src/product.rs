//! The products of one call, and how their columns are dealt out to tasks.

use std::ops::Range;

use crate::{
    BlockMatrix, Factor, Weight,
    pool::{self, Phase},
    shared::SharedMut,
};

/// A product whose output many tasks write.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a, W = Weight<'a>> {
    /// Activations, `[rows, input]`.
    pub(crate) x: &'a [f32],
    pub(crate) weight: W,
    /// One for each row of weights.
    pub(crate) bias: Option<&'a [f32]>,
    /// `[rows, cols]`.
    pub(crate) out: SharedMut<'a, f32>,
    /// Columns of the output: rows of weights.
    pub(crate) cols: usize,
}

impl<'a> Product<'a> {
    /// `input` is the number of elements of a row of weights and of `x`.
    pub(crate) fn new(
        x: &'a [f32],
        factor: &Factor<'a>,
        out: SharedMut<'a, f32>,
        input: usize,
    ) -> Self {
        Self {
            x,
            weight: factor.weight,
            bias: factor.bias,
            cols: factor.weight.rows(input),
            out,
        }
    }

    /// The same, where the weights are blocks.
    pub(crate) fn in_blocks(&self) -> Option<Product<'a, BlockMatrix<'a>>> {
        let Weight::Blocks(weight) = self.weight else {
            return None;
        };
        Some(Product {
            x: self.x,
            weight,
            bias: self.bias,
            out: self.out,
            cols: self.cols,
        })
    }
}

/// Bytes of weights in a task at least: below, handing it out costs more than it saves.
const MIN_TASK: usize = 1 << 15;

/// Tasks for a thread, so that one that loses its core for a while holds up little.
const TASKS_PER_THREAD: usize = 4;

/// How many rows of a product's weights go into a task, for [`each_range`]: as many bytes in each, in whole `multiple`s
/// of rows.
pub(crate) fn even_ranges<W>(
    products: &[Product<'_, W>],
    row_bytes: impl Fn(&Product<'_, W>) -> usize + Sync,
    multiple: usize,
) -> impl Fn(&Product<'_, W>) -> usize + Sync {
    let bytes: usize = products.iter().map(|p| p.cols * row_bytes(p)).sum();
    let share = (bytes / (pool::threads(Phase::Decode) * TASKS_PER_THREAD)).max(MIN_TASK);
    move |product| {
        let rows = share.div_ceil(row_bytes(product).max(1));
        rows.next_multiple_of(multiple)
    }
}

/// Runs `task` on ranges of `grain` columns of every product.
pub(crate) fn each_range<W: Sync>(
    phase: Phase,
    products: &[Product<'_, W>],
    grain: impl Fn(&Product<'_, W>) -> usize + Sync,
    task: impl Fn(&Product<'_, W>, Range<usize>) + Sync,
) {
    let tasks = |product: &Product<'_, W>| product.cols.div_ceil(grain(product));
    pool::run(phase, products.iter().map(tasks).sum(), |mut index| {
        for product in products {
            if index < tasks(product) {
                let start = index * grain(product);
                return task(product, start..(start + grain(product)).min(product.cols));
            }
            index -= tasks(product);
        }
    });
}
