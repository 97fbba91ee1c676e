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

use self::fast::{
    pairs::{self, PairedRows},
    super_blocks,
};
use crate::{
    Isa,
    pool::Phase,
    product::{Product, each_range, even_ranges},
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

    /// Rows `rows`.
    pub(crate) fn part(&self, rows: std::ops::Range<usize>) -> Self {
        Self {
            bytes: &self.bytes[rows.start * self.row_bytes()..rows.end * self.row_bytes()],
            rows: rows.len(),
            ..*self
        }
    }

    pub(crate) fn row_bytes(&self) -> usize {
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
    /// Beside blocks, activations become integers with a scale for every 32. Up to 128 rows take two bytes each: outputs
    /// are off by less than 5e-5 of their root mean square. More take one, as in ggml, and two where rounding takes most:
    /// outputs of evenly spread activations are off by less than 1%; beside outliers, by up to 2%. Beside bf16, many rows
    /// of activations become bf16 where the CPU multiplies that: outputs are off by 0.2%.
    #[default]
    Fast,
}

/// Rows of activations up to which products with blocks need no panels of f32.
const MAX_ROWS: usize = 8;

/// Whether [`linear`] is the fastest way for this many rows of activations.
pub(crate) fn multiplies(isa: Isa, rows: usize, precision: Precision) -> bool {
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

/// `out = x Wᵀ + bias` for every product; `x` is `[rows, cols]`. The caller has checked all lengths; the weights' blocks
/// are equally long.
pub(crate) fn linear(
    isa: Isa,
    x: &[f32],
    cols: usize,
    products: &[Product<'_, BlockMatrix<'_>>],
    precision: Precision,
) {
    let grain = even_ranges(
        products,
        |p| p.weight.row_bytes(),
        super_blocks::WEIGHT_ROWS,
    );
    match precision {
        _ if x.is_empty() => {}
        Precision::Exact => each_range(Phase::Decode, products, grain, |product, rows| {
            // SAFETY: tasks have disjoint rows of weights, and so columns of the output.
            unsafe { exact::few_rows(isa, x, product, rows) }
        }),
        #[cfg(target_arch = "x86_64")]
        Precision::Fast if prompt::is_for(isa, x.len() / cols) => {
            // SAFETY: the outputs are ours.
            unsafe { prompt::many_rows(x, cols, products) }
        }
        Precision::Fast
            if products
                .iter()
                .all(|p| p.weight.format.block_len() == GROUP) =>
        {
            PairedRows::with(isa, x, cols, |x| {
                each_range(Phase::Decode, products, grain, |product, rows| {
                    // SAFETY: as above.
                    unsafe { pairs::few_rows(isa, x, product, rows) }
                })
            })
        }
        Precision::Fast => activations::with_quantized(isa, x, cols, |x| {
            each_range(Phase::Decode, products, grain, |product, rows| {
                // SAFETY: as above.
                unsafe { super_blocks::few_rows(isa, x, product, rows) }
            })
        }),
    }
}
