//! Attention to keys and values in blocks (Kwon et al., "Efficient Memory Management for Large Language Model Serving
//! with PagedAttention", 2023).

use burn::tensor::{Int, Tensor, TensorData};
use transformers_kernels as kernels;

use crate::attention::{in_primitives, on_cpu};
use crate::host::on_host;
use crate::{AttentionOptions, Mask};

/// Keys and values in blocks that the entries of a batch own or share, as a batching engine keeps them.
///
/// Blocks that no table names may hold anything; rows of a named block beyond its entry's last key are not read on the
/// CPU, and have to be finite elsewhere.
#[derive(Debug, Clone)]
pub struct Pages<'a> {
    /// `[blocks, kv_heads, block_len, head_dim]`, in any view whose features lie next to each other.
    pub keys: Tensor<4>,
    /// `[blocks, kv_heads, block_len, value_dim]`, likewise.
    pub values: Tensor<4>,
    /// Which blocks hold the keys of an entry, in their order: `[batch, max_blocks]`. Only as many as its length needs
    /// are looked at.
    pub table: &'a [u32],
    /// `[batch]`: the number of keys of each entry.
    pub lens: &'a [usize],
}

/// Causal [`attention`](crate::attention) to keys and values in blocks.
///
/// `q` is `[batch, heads, q_len, head_dim]`, and the last query of every entry sits at its last key: the new keys are in
/// their blocks already. Of entries with fewer new tokens than others the queries are padded on the left. A query sees
/// keys less than `window` away from its own; a bias has as many keys as the longest entry. Gives
/// `[batch, q_len, heads * value_dim]`; of queries before the first key, nothing should read it.
///
/// # Panics
/// When `table` and `lens` do not fit each other or the batch, or name a block that is not there.
pub fn paged_attention(
    q: Tensor<4>,
    pages: Pages<'_>,
    window: Option<usize>,
    options: &AttentionOptions,
) -> Tensor<3> {
    pages.check(q.dims()[0]);
    let AttentionOptions { sinks, bias, .. } = options;
    let extras = sinks.as_ref().is_none_or(on_host) && bias.as_ref().is_none_or(on_host);
    if on_host(&q) && on_host(&pages.keys) && on_host(&pages.values) && extras {
        let rows = kernels::KeyRows::Paged {
            block_size: pages.block_len(),
            table: pages.table,
            lens: pages.lens,
        };
        let seen = kernels::AttentionOptions {
            causal: true,
            window,
            ..kernels::AttentionOptions::new(options.scale as f32)
        };
        return on_cpu(q, [pages.keys, pages.values], rows, seen, options);
    }
    let [batch, heads, q_len, _] = q.dims();
    let longest = pages.longest();
    if longest == 0 {
        let cols = heads * pages.values.dims()[3];
        return Tensor::zeros([batch, q_len, cols], (&q.device(), q.dtype()));
    }
    let hidden = TensorData::new(pages.hidden(q_len, window), [batch, 1, q_len, longest]);
    let hidden = Tensor::from_data(hidden, &q.device());
    let options = AttentionOptions {
        bias: Some(match options.bias.clone() {
            Some(bias) => bias + hidden,
            None => hidden,
        }),
        ..options.clone()
    };
    let (k, v) = (pages.gather(&pages.keys), pages.gather(&pages.values));
    in_primitives(q, k, v, &Mask::bidirectional(), &options).0
}

impl Pages<'_> {
    fn block_len(&self) -> usize {
        self.keys.dims()[2]
    }

    fn longest(&self) -> usize {
        self.lens.iter().copied().max().unwrap_or(0)
    }

    /// The blocks of every entry that hold its keys.
    fn used(&self) -> impl Iterator<Item = &[u32]> {
        let per_entry = self.table.len() / self.lens.len().max(1);
        let block_len = self.block_len();
        self.lens.iter().enumerate().map(move |(entry, len)| {
            let (start, used) = (entry * per_entry, len.div_ceil(block_len));
            assert!(
                used <= per_entry,
                "the table has too few blocks for {len} keys"
            );
            &self.table[start..start + used]
        })
    }

    fn check(&self, batch: usize) {
        let [blocks, kv_heads, block_len, _] = self.keys.dims();
        assert_eq!(
            self.values.dims()[..3],
            [blocks, kv_heads, block_len],
            "values have as many blocks, heads and rows as keys"
        );
        assert!(block_len > 0, "blocks have rows");
        assert!(
            self.lens.len() == batch && self.table.len().is_multiple_of(batch.max(1)),
            "one length and one row of the table for each of {batch} entries"
        );
        for &block in self.used().flatten() {
            assert!(
                (block as usize) < blocks,
                "the table names block {block} of {blocks}"
            );
        }
    }

    /// Zero where a query sees a key and the smallest finite number elsewhere, `[batch, q_len, longest]`.
    fn hidden(&self, q_len: usize, window: Option<usize>) -> Vec<f32> {
        let longest = self.longest();
        let mut values = Vec::with_capacity(self.lens.len() * q_len * longest);
        for len in self.lens {
            for query in 0..q_len {
                // One more than the query's own key.
                let end = (len + query + 1).saturating_sub(q_len);
                let start = end.saturating_sub(window.unwrap_or(end));
                values.extend((0..longest).map(|key| match (start..end).contains(&key) {
                    true => 0.0,
                    false => f32::MIN,
                }));
            }
        }
        values
    }

    /// `[batch, kv_heads, longest, dim]`; shorter entries go on with whatever is there.
    fn gather(&self, pages: &Tensor<4>) -> Tensor<4> {
        let [_, kv_heads, block_len, dim] = pages.dims();
        let (batch, longest) = (self.lens.len(), self.longest());
        let count = longest.div_ceil(block_len);
        let mut blocks: Vec<i32> = Vec::with_capacity(batch * count);
        for used in self.used() {
            let missing = std::iter::repeat_n(&0, count - used.len());
            blocks.extend(used.iter().chain(missing).map(|block| *block as i32));
        }
        let blocks = TensorData::new(blocks, [batch * count]);
        let blocks = Tensor::<1, Int>::from_data(blocks, &pages.device());
        pages
            .clone()
            .select(0, blocks)
            .reshape([batch, count, kv_heads, block_len, dim])
            .swap_dims(1, 2)
            .reshape([batch, kv_heads, count * block_len, dim])
            .narrow(2, 0, longest)
    }
}
