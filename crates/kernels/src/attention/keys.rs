//! Where queries, keys and values lie.

use std::ops::Range;

use super::AttentionShape;

/// Rows of elements by batch entry, head and position; a row's elements lie next to each other.
///
/// It may be a part of something larger, as the filled part of a cache, or a permutation, as queries straight from their
/// projection.
#[derive(Debug, Clone, Copy)]
pub struct HeadView<'a> {
    /// From the first element on.
    pub data: &'a [f32],
    /// Elements from one batch entry, one head and one row to the next.
    pub strides: [usize; 3],
}

impl<'a> HeadView<'a> {
    /// `[batch, heads, rows, dim]`, contiguous.
    pub fn by_head(data: &'a [f32], heads: usize, rows: usize, dim: usize) -> Self {
        Self {
            data,
            strides: [heads * rows * dim, rows * dim, dim],
        }
    }

    /// `[batch, rows, heads, dim]`, contiguous, as a projection gives them.
    pub fn by_position(data: &'a [f32], heads: usize, rows: usize, dim: usize) -> Self {
        Self {
            data,
            strides: [rows * heads * dim, dim, heads * dim],
        }
    }

    /// # Panics
    /// When not every row of this many entries, heads and rows has `dim` elements.
    pub(super) fn check(&self, what: &str, sizes: [usize; 3], dim: usize) {
        if sizes.contains(&0) || dim == 0 {
            return;
        }
        let end = std::iter::zip(sizes, self.strides).try_fold(dim, |end, (size, stride)| {
            end.checked_add((size - 1).checked_mul(stride)?)
        });
        assert!(
            end.is_some_and(|end| end <= self.data.len()),
            "{what}: {} elements are too few for {sizes:?} rows of {dim}",
            self.data.len()
        );
    }

    /// Where a row is. It is there only if [`check`](Self::check) has been asked for it.
    #[inline(always)]
    pub(super) fn at(&self, entry: usize, head: usize, row: usize) -> *const f32 {
        let [entry_stride, head_stride, row_stride] = self.strides;
        let offset = entry * entry_stride + head * head_stride + row * row_stride;
        self.data.as_ptr().wrapping_add(offset)
    }
}

/// Keys and values.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a> {
    /// The keys, `[batch, kv_heads, rows, head_dim]`, or `[blocks, kv_heads, block_size, head_dim]`.
    pub keys: HeadView<'a>,
    /// The values, likewise, of `value_dim` elements.
    pub values: HeadView<'a>,
    /// Which rows belong to a batch entry.
    pub rows: KeyRows<'a>,
}

/// Which rows are the keys of a batch entry.
#[derive(Debug, Clone, Copy)]
pub enum KeyRows<'a> {
    /// The first ones, this many in every batch entry.
    Dense(usize),
    /// Those in the blocks that a table names.
    Paged {
        /// Rows of a block.
        block_size: usize,
        /// Numbers of blocks, `[batch, blocks]`.
        table: &'a [u32],
        /// The number of keys of each batch entry.
        lens: &'a [usize],
    },
}

/// Rows that lie a fixed distance apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    entry: usize,
    row: usize,
    pub(super) len: usize,
}

impl Keys<'_> {
    /// The number of keys of a batch entry.
    pub(super) fn len(&self, batch: usize) -> usize {
        match self.rows {
            KeyRows::Dense(len) => len,
            KeyRows::Paged { lens, .. } => lens[batch],
        }
    }

    /// The longest run with which keys `keys` of a batch entry begin.
    #[inline(always)]
    pub(super) fn run(&self, batch: usize, keys: Range<usize>) -> Run {
        match self.rows {
            KeyRows::Dense(_) => Run {
                entry: batch,
                row: keys.start,
                len: keys.len(),
            },
            KeyRows::Paged {
                block_size,
                table,
                lens,
            } => {
                let blocks = &table[batch * (table.len() / lens.len())..];
                let row = keys.start % block_size;
                Run {
                    entry: blocks[keys.start / block_size] as usize,
                    row,
                    len: keys.len().min(block_size - row),
                }
            }
        }
    }

    #[inline(always)]
    pub(super) fn key(&self, head: usize, run: Run) -> *const f32 {
        self.keys.at(run.entry, head, run.row)
    }

    #[inline(always)]
    pub(super) fn value(&self, head: usize, run: Run) -> *const f32 {
        self.values.at(run.entry, head, run.row)
    }

    /// # Panics
    /// When not every key and value of this shape is there.
    pub(super) fn check(&self, shape: AttentionShape) {
        let (entries, rows) = match self.rows {
            KeyRows::Dense(len) => (shape.batch, len),
            KeyRows::Paged {
                block_size,
                table,
                lens,
            } => (
                count_blocks(shape.batch, block_size, table, lens),
                block_size,
            ),
        };
        let sizes = [entries, shape.kv_heads, rows];
        self.keys.check("keys", sizes, shape.head_dim);
        self.values.check("values", sizes, shape.value_dim);
    }
}

/// One more than the largest block number in use.
fn count_blocks(batch: usize, block_size: usize, table: &[u32], lens: &[usize]) -> usize {
    assert!(block_size > 0, "blocks have rows");
    assert!(
        lens.len() == batch && table.len().is_multiple_of(batch.max(1)),
        "one length and one row of the table for each batch entry"
    );
    let per_entry = table.len() / batch.max(1);
    let mut count = 0;
    for (entry, &len) in lens.iter().enumerate() {
        let used = len.div_ceil(block_size);
        assert!(
            used <= per_entry,
            "the table has too few blocks for {len} keys"
        );
        for &block in &table[entry * per_entry..][..used] {
            count = count.max(block as usize + 1);
        }
    }
    count
}
