//! Few rows of activations times blocks, in integers: every block is read once, so memory is the limit.

pub(super) mod pairs;
pub(super) mod super_blocks;

use super::BlockMatrix;
use crate::product::Product;

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

/// A product with blocks.
pub(super) type Blocks<'a> = Product<'a, BlockMatrix<'a>>;

impl Blocks<'_> {
    /// Stores `products` of activation rows `i..` with weight rows `j..`, those of them that are in `rows`, `columns`.
    ///
    /// # Safety
    /// No other task reads or writes there.
    #[inline(always)]
    pub(super) unsafe fn store<const M: usize, const W: usize>(
        &self,
        products: [[f32; W]; M],
        (i, rows): (usize, usize),
        (j, columns): (usize, usize),
    ) {
        for (i, products) in (i..rows).zip(products) {
            let start = i * self.weight.rows + j;
            let columns = W.min(columns - j);
            // SAFETY: the caller's promise.
            let out = unsafe { self.out.part(start, columns) };
            out.copy_from_slice(&products[..columns]);
            if let Some(bias) = self.bias {
                for (out, bias) in out.iter_mut().zip(&bias[j..]) {
                    *out += bias;
                }
            }
        }
    }
}
