//! Linear layers whose weights are ggml's quantised blocks, used where they lie in a GGUF file.
//!
//! A row of weights is a row of blocks: one or two scales and a fixed number of small integers each. In
//! [`Precision::Fast`], activations become 8-bit integers with a scale for every [`GROUP`] of them, and the products are
//! of integers; in [`Precision::Exact`], weights become f32.

mod activations;
mod dequantize;
mod exact;
mod fast;
mod formats;
mod int8;
#[cfg(target_arch = "x86_64")]
mod prompt;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::fast::Job;
use crate::{
    Isa,
    linear::task_bytes,
    pool::{self, Phase},
    shared::SharedMut,
};

/// Elements that share a scale once activations are integers, and the shortest block.
pub(crate) const GROUP: usize = 32;

/// A quantised format of ggml. Elements are little-endian; see
/// <https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)]
pub enum BlockFormat {
    /// 4 bits and a scale.
    Q4_0,
    /// 4 bits, a scale and a minimum.
    Q4_1,
    /// 5 bits and a scale.
    Q5_0,
    /// 5 bits, a scale and a minimum.
    Q5_1,
    /// 8 bits and a scale.
    Q8_0,
    /// 4 bits; scales and minima of 32 elements in 6 bits.
    Q4_K,
    /// 5 bits; scales and minima of 32 elements in 6 bits.
    Q5_K,
    /// 6 bits; scales of 16 elements in 8 bits.
    Q6_K,
}

impl BlockFormat {
    /// Every format.
    pub const ALL: [Self; 8] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
    ];

    /// The format with ggml's number `id`.
    pub fn of_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.id() == id)
    }

    /// The format whose blocks have that many bytes; no two have the same.
    pub fn of_bytes(bytes: usize) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|format| format.block_bytes() == bytes)
    }

    /// ggml's number.
    pub const fn id(self) -> u32 {
        self.facts().0
    }

    /// ggml's name.
    pub const fn name(self) -> &'static str {
        self.facts().1
    }

    /// Elements of a block.
    pub const fn block_len(self) -> usize {
        self.facts().2
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        self.facts().3
    }

    const fn facts(self) -> (u32, &'static str, usize, usize) {
        match self {
            Self::Q4_0 => (2, "Q4_0", 32, 18),
            Self::Q4_1 => (3, "Q4_1", 32, 20),
            Self::Q5_0 => (6, "Q5_0", 32, 22),
            Self::Q5_1 => (7, "Q5_1", 32, 24),
            Self::Q8_0 => (8, "Q8_0", 32, 34),
            Self::Q4_K => (12, "Q4_K", 256, 144),
            Self::Q5_K => (13, "Q5_K", 256, 176),
            Self::Q6_K => (14, "Q6_K", 256, 210),
        }
    }

    /// Writes the elements of whole blocks to `out`, on this thread. The arithmetic, down to the order of operations in
    /// f32, is that of the Python package `gguf`.
    ///
    /// # Panics
    /// When `blocks` are not as many whole blocks as `out` has room for.
    pub fn dequantize(self, blocks: &[u8], out: &mut [f32]) {
        self.dequantize_for(Isa::current(), blocks, out);
    }

    /// As [`dequantize`](Self::dequantize), inside a task.
    pub(crate) fn dequantize_for(self, isa: Isa, blocks: &[u8], out: &mut [f32]) {
        let count = out.len() / self.block_len();
        assert!(
            out.len() == count * self.block_len() && blocks.len() == count * self.block_bytes(),
            "{} bytes of {} are not {} elements",
            blocks.len(),
            self.name(),
            out.len()
        );
        dequantize::dequantize(isa, self, blocks, out);
    }
}

/// Bytes that are not the matrix they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// Rows have to be whole blocks.
    #[error("a row of {cols} columns is not made of whole {} blocks of {} elements", format.name(), format.block_len())]
    PartialBlock {
        /// The format.
        format: BlockFormat,
        /// Elements of a row.
        cols: usize,
    },
    /// There are fewer or more bytes than the matrix takes.
    #[error("{rows} rows of {cols} columns in {} take {expected} bytes, not {actual}", format.name())]
    Length {
        /// The format.
        format: BlockFormat,
        /// Rows.
        rows: usize,
        /// Elements of a row.
        cols: usize,
        /// Bytes of such a matrix; `usize::MAX` where it is more than that.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
}

/// Weights `[rows, cols]` in blocks, of any alignment.
#[derive(Debug, Clone, Copy)]
pub struct BlockMatrix<'a> {
    format: BlockFormat,
    bytes: &'a [u8],
    rows: usize,
    cols: usize,
}

impl<'a> BlockMatrix<'a> {
    /// # Errors
    /// When a row is not made of whole blocks, or `bytes` are not those of `rows` rows.
    pub fn new(
        format: BlockFormat,
        bytes: &'a [u8],
        rows: usize,
        cols: usize,
    ) -> Result<Self, BlockError> {
        if cols == 0 || !cols.is_multiple_of(format.block_len()) {
            return Err(BlockError::PartialBlock { format, cols });
        }
        let row_bytes = (cols / format.block_len()).saturating_mul(format.block_bytes());
        let expected = row_bytes.saturating_mul(rows);
        if bytes.len() != expected {
            return Err(BlockError::Length {
                format,
                rows,
                cols,
                expected,
                actual: bytes.len(),
            });
        }
        Ok(Self {
            format,
            bytes,
            rows,
            cols,
        })
    }

    /// The format.
    pub fn format(&self) -> BlockFormat {
        self.format
    }

    /// Rows: the outputs of the layer.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row: the inputs of the layer.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The blocks, row after row.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn row_bytes(&self) -> usize {
        self.cols / self.format.block_len() * self.format.block_bytes()
    }

    /// The blocks of row `row` that hold columns `start..start + len`, which are whole blocks.
    fn blocks(&self, row: usize, start: usize, len: usize) -> &'a [u8] {
        debug_assert!(start + len <= self.cols);
        let bytes = |elements| elements / self.format.block_len() * self.format.block_bytes();
        let from = row * self.row_bytes() + bytes(start);
        &self.bytes[from..from + bytes(len)]
    }

    /// Columns `start..start + to.len()` of row `row` as f32. Inside a task; the columns are whole blocks.
    pub(crate) fn read(&self, isa: Isa, row: usize, start: usize, to: &mut [f32]) {
        let blocks = self.blocks(row, start, to.len());
        self.format.dequantize_for(isa, blocks, to);
    }
}

/// How much arithmetic may differ from that of f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// Weights become f32; products and sums are those of f32.
    Exact,
    /// Activations become integers of 8 bits with a scale for every 32, as in ggml: outputs of evenly spread activations
    /// are off by less than 1% of their root mean square; beside outliers, by up to 2%.
    #[default]
    Fast,
}

/// Rows of activations up to which products with blocks need no panels of f32.
const MAX_ROWS: usize = 8;

/// Whether [`linear_blocks`] is the fastest way for this many rows of activations.
pub(crate) fn multiplies_blocks(isa: Isa, rows: usize, precision: Precision) -> bool {
    rows <= MAX_ROWS || precision == Precision::Fast && multiplies_prompts(isa, rows)
}

/// Whether so many rows are multiplied in integers, weights unpacked for all of them.
fn multiplies_prompts(isa: Isa, rows: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    return prompt::is_for(isa, rows);
    #[cfg(not(target_arch = "x86_64"))]
    return {
        let _ = (isa, rows);
        false
    };
}

/// One of the products that share an input.
pub struct BlockProjection<'a> {
    /// `[out, in]`.
    pub weight: BlockMatrix<'a>,
    /// `[out]`.
    pub bias: Option<&'a [f32]>,
    /// `[rows, out]`; what it held is overwritten.
    pub out: &'a mut [f32],
}

/// `out = x Wᵀ + bias` for every projection; `x` is `[rows, cols]`.
///
/// # Panics
/// When lengths do not fit each other.
pub fn linear_blocks(
    x: &[f32],
    cols: usize,
    projections: &mut [BlockProjection<'_>],
    precision: Precision,
) {
    assert!(
        cols > 0 && x.len().is_multiple_of(cols),
        "x is [rows, {cols}]"
    );
    let rows = x.len() / cols;
    for p in projections.iter() {
        assert_eq!(p.weight.cols, cols, "weights are [out, {cols}]");
        let out = p.weight.rows;
        assert_eq!(p.out.len(), rows * out, "out is [{rows}, {out}]");
        assert!(
            p.bias.is_none_or(|bias| bias.len() == out),
            "bias is [{out}]"
        );
    }
    if rows == 0 {
        return;
    }
    let isa = Isa::current();
    let jobs: Vec<Job<'_>> = projections
        .iter_mut()
        .map(|p| Job {
            weight: p.weight,
            bias: p.bias,
            out: SharedMut::new(p.out),
        })
        .collect();
    match precision {
        Precision::Exact => each_task(&jobs, |job, rows| {
            // SAFETY: tasks have disjoint rows of weights, and so columns of the output.
            unsafe { exact::few_rows(isa, x, job, rows) }
        }),
        #[cfg(target_arch = "x86_64")]
        Precision::Fast if prompt::is_for(isa, rows) => {
            // SAFETY: the outputs are ours.
            unsafe { prompt::many_rows(isa, x, cols, &jobs) }
        }
        Precision::Fast => activations::with_quantized(isa, x, cols, |x| {
            each_task(&jobs, |job, rows| {
                // SAFETY: as above.
                unsafe { fast::few_rows(isa, x, job, rows) }
            })
        }),
    }
}

/// Runs `task` on parts of the rows of all jobs, as many bytes in each.
fn each_task(jobs: &[Job<'_>], task: impl Fn(&Job<'_>, Range<usize>) + Sync) {
    let share = task_bytes(jobs.iter().map(|job| job.weight.bytes.len()).sum());
    let grain = |job: &Job<'_>| {
        let rows = share.div_ceil(job.weight.row_bytes());
        rows.next_multiple_of(fast::WEIGHT_ROWS)
    };
    each_range(Phase::Decode, jobs, grain, task);
}

/// Runs `task` on ranges of `grain` rows of every job.
fn each_range(
    phase: Phase,
    jobs: &[Job<'_>],
    grain: impl Fn(&Job<'_>) -> usize + Sync,
    task: impl Fn(&Job<'_>, Range<usize>) + Sync,
) {
    let tasks = |job: &Job<'_>| job.weight.rows.div_ceil(grain(job));
    pool::run(phase, jobs.iter().map(tasks).sum(), |mut index| {
        for job in jobs {
            if index < tasks(job) {
                let start = index * grain(job);
                return task(job, start..(start + grain(job)).min(job.weight.rows));
            }
            index -= tasks(job);
        }
    });
}
