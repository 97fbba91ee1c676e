//! Rows written into a larger tensor, as new keys and values into a cache.

use burn::tensor::{Tensor, s};

use crate::host::{flex, heads, on_host, update};

/// `buffer` (`[batch, heads, len, dim]`) with its rows from `at` on replaced by `rows` (`[batch, heads, new, dim]`).
///
/// In place where nobody else holds the buffer's elements. The caller has checked that `at + new` is at most `len`.
pub fn write_rows(buffer: Tensor<4>, at: usize, rows: Tensor<4>) -> Tensor<4> {
    let [batch, head_count, len, dim] = buffer.dims();
    let new = rows.dims()[2];
    if !on_host(&buffer) || !on_host(&rows) {
        return buffer.slice_assign(s![.., .., at..at + new, ..], rows);
    }
    let rows = heads(flex(rows));
    let view = rows.view();
    let [entry_stride, head_stride, row_stride] = view.strides;
    update(flex(buffer), |buffer| {
        for head in 0..batch * head_count {
            let to = &mut buffer[(head * len + at) * dim..][..new * dim];
            let from = head / head_count * entry_stride + head % head_count * head_stride;
            for (i, to) in to.chunks_exact_mut(dim).enumerate() {
                to.copy_from_slice(&view.data[from + i * row_stride..][..dim]);
            }
        }
    })
}
