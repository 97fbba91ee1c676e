//! Several sequences in one row, with their keys and values in blocks: what a batching engine computes in one step.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData, s};
use transformers_kernels as kernels;

use crate::attention::in_primitives;
use crate::host::{HostHeads, flex, floats, heads, on_host, tensor, update};
use crate::{AttentionOptions, Mask};

/// Which blocks hold the keys of the sequences of a packed row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageTable {
    /// New tokens of each sequence, in the order of the row.
    queries: Vec<usize>,
    /// Keys of each sequence, the new ones among them.
    lens: Vec<usize>,
    /// The blocks of each sequence in the order of its keys, `[sequences, width]`, filled up with zeros.
    blocks: Vec<u32>,
    width: usize,
}

/// Neighbouring sequences with the same number of new tokens.
struct Group {
    sequences: Range<usize>,
    /// New tokens of each.
    queries: usize,
    /// Where they begin in the row.
    start: usize,
}

/// New tokens that lie next to each other in one block.
struct Run {
    /// In the packed row.
    token: usize,
    block: usize,
    row: usize,
    len: usize,
}

impl PageTable {
    /// For each sequence its new tokens, all its keys, and their blocks.
    ///
    /// # Panics
    /// When a sequence has no new token, or more than keys.
    pub fn new<'a>(sequences: impl IntoIterator<Item = (usize, usize, &'a [u32])>) -> Self {
        let sequences: Vec<_> = sequences.into_iter().collect();
        let widths = sequences.iter().map(|(_, _, blocks)| blocks.len());
        let mut table = Self {
            width: widths.max().unwrap_or(0),
            ..Self::default()
        };
        for (queries, len, blocks) in sequences {
            assert!(
                (1..=len).contains(&queries),
                "{queries} new tokens of {len} keys"
            );
            table.queries.push(queries);
            table.lens.push(len);
            table.blocks.extend_from_slice(blocks);
            table.blocks.resize(table.lens.len() * table.width, 0);
        }
        table
    }

    /// Tokens of the row.
    pub fn tokens(&self) -> usize {
        self.queries.iter().sum()
    }

    /// Keys of the longest sequence.
    pub fn longest(&self) -> usize {
        self.lens.iter().copied().max().unwrap_or(0)
    }

    fn of(&self, sequence: usize) -> &[u32] {
        &self.blocks[sequence * self.width..(sequence + 1) * self.width]
    }

    /// # Panics
    /// When the row has other tokens, or a block that is needed is not there.
    fn check(&self, tokens: usize, blocks: usize, block_len: usize) {
        assert_eq!(self.tokens(), tokens, "tokens of the packed row");
        assert!(block_len > 0, "blocks have rows");
        for (sequence, len) in self.lens.iter().enumerate() {
            let used = len.div_ceil(block_len);
            assert!(used <= self.width, "too few blocks for {len} keys");
            for &block in &self.of(sequence)[..used] {
                assert!(
                    (block as usize) < blocks,
                    "the table names block {block} of {blocks}"
                );
            }
        }
    }

    fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut start = 0;
        for (sequence, &queries) in self.queries.iter().enumerate() {
            match groups.last_mut() {
                Some(group) if group.queries == queries => group.sequences.end += 1,
                _ => groups.push(Group {
                    sequences: sequence..sequence + 1,
                    queries,
                    start,
                }),
            }
            start += queries;
        }
        groups
    }

    /// Where the new tokens belong.
    fn runs(&self, block_len: usize) -> Vec<Run> {
        let mut runs = Vec::with_capacity(self.lens.len());
        let mut token = 0;
        for (sequence, (&queries, &len)) in self.queries.iter().zip(&self.lens).enumerate() {
            let mut key = len - queries;
            while key < len {
                let row = key % block_len;
                let run = (block_len - row).min(len - key);
                runs.push(Run {
                    token,
                    block: self.of(sequence)[key / block_len] as usize,
                    row,
                    len: run,
                });
                (key, token) = (key + run, token + run);
            }
        }
        runs
    }
}

/// Blocks (`[blocks, heads, block_len, dim]`) with the new keys or values of a packed row (`[1, heads, tokens, dim]`) in
/// their places: in place where nobody else holds the blocks.
///
/// # Panics
/// When the table does not fit the row, or names a block that is not there.
pub fn write_pages(pages: Tensor<4>, table: &PageTable, rows: Tensor<4>) -> Tensor<4> {
    let [blocks, head_count, block_len, dim] = pages.dims();
    table.check(rows.dims()[2], blocks, block_len);
    let runs = table.runs(block_len);
    if !on_host(&pages) || !on_host(&rows) {
        return runs.into_iter().fold(pages, |pages, run| {
            let rows = rows.clone().narrow(2, run.token, run.len);
            let (block, row) = (run.block, run.row);
            pages.slice_assign(s![block..block + 1, .., row..row + run.len, ..], rows)
        });
    }
    let rows = heads(flex(rows));
    let view = rows.view();
    let [_, head_stride, row_stride] = view.strides;
    update(flex(pages), |pages| {
        for run in &runs {
            for head in 0..head_count {
                let at = (run.block * head_count + head) * block_len + run.row;
                let to = &mut pages[at * dim..][..run.len * dim];
                let from = head * head_stride + run.token * row_stride;
                for (i, to) in to.chunks_exact_mut(dim).enumerate() {
                    to.copy_from_slice(&view.data[from + i * row_stride..][..dim]);
                }
            }
        }
    })
}

/// Blocks of zeros, `[blocks, heads, block_len, dim]`, of the kind of `like`. In host memory a block takes room only once
/// something is written to it: burn's own zeros are copied once, and so touched.
pub fn empty_pages(shape: [usize; 4], like: &Tensor<4>) -> Tensor<4> {
    let device = like.device();
    if !on_host(like) {
        return Tensor::zeros(shape, (&device, like.dtype()));
    }
    let zeros = vec![0f32; shape.iter().product()];
    Tensor::from_data(TensorData::new(zeros, shape), &device)
}

/// Blocks with block `to` a copy of block `from`.
pub fn copy_page(pages: Tensor<4>, from: usize, to: usize) -> Tensor<4> {
    if !on_host(&pages) {
        let page = pages.clone().narrow(0, from, 1);
        return pages.slice_assign(s![to..to + 1, .., .., ..], page);
    }
    let len = pages.dims()[1..].iter().product::<usize>();
    update(flex(pages), |pages| {
        pages.copy_within(from * len..(from + 1) * len, to * len);
    })
}

/// Causal attention of a packed row to keys in blocks: see [`crate::attention`].
pub(crate) fn packed_attention(
    q: Tensor<4>,
    [k, v]: [Tensor<4>; 2],
    table: &PageTable,
    window: Option<usize>,
    options: &AttentionOptions,
) -> Tensor<3> {
    let [blocks, _, block_len, _] = k.dims();
    table.check(q.dims()[2], blocks, block_len);
    let AttentionOptions { sinks, bias, .. } = options;
    let extras = sinks.as_ref().is_none_or(on_host) && bias.as_ref().is_none_or(on_host);
    match on_host(&q) && on_host(&k) && on_host(&v) && extras {
        true => on_cpu(q, [k, v], table, window, options),
        false => one_by_one(q, &[k, v], table, window, options),
    }
}

/// Sequences with the same number of new tokens are the entries of one batch.
fn on_cpu(
    q: Tensor<4>,
    [k, v]: [Tensor<4>; 2],
    table: &PageTable,
    window: Option<usize>,
    options: &AttentionOptions,
) -> Tensor<3> {
    let [_, head_count, tokens, head_dim] = q.dims();
    let [_, kv_heads, block_size, value_dim] = v.dims();
    let (q, k, v) = (heads(flex(q)), heads(flex(k)), heads(flex(v)));
    let sinks = options.sinks.clone().map(flex);
    let sinks = sinks.as_ref().map(floats);
    let bias: Option<HostHeads> = options.bias.clone().map(|bias| heads(flex(bias)));
    let bias = bias.as_ref().map(|bias| kernels::HeadView {
        strides: [0, bias.view().strides[1], 0],
        ..bias.view()
    });
    let [_, head_stride, row_stride] = q.view().strides;
    let row = head_count * value_dim;
    let mut y = vec![0.0; tokens * row];
    for group in table.groups() {
        let batch = group.sequences.len();
        let shape = kernels::AttentionShape {
            batch,
            heads: head_count,
            kv_heads,
            q_len: group.queries,
            head_dim,
            value_dim,
        };
        let queries = kernels::HeadView {
            data: &q.view().data[group.start * row_stride..],
            strides: [group.queries * row_stride, head_stride, row_stride],
        };
        let (first, last) = (group.sequences.start, group.sequences.end);
        let keys = kernels::Keys {
            keys: k.view(),
            values: v.view(),
            rows: kernels::KeyRows::Paged {
                block_size,
                table: &table.blocks[first * table.width..last * table.width],
                lens: &table.lens[group.sequences],
            },
        };
        let options = kernels::AttentionOptions {
            causal: true,
            window,
            softcap: options.softcap.map(|cap| cap as f32),
            sinks: sinks.as_deref(),
            bias,
            ..kernels::AttentionOptions::new(options.scale as f32)
        };
        let out = &mut y[group.start * row..][..batch * group.queries * row];
        kernels::attention(shape, queries, keys, options, out);
    }
    tensor(y, [1, tokens, row])
}

fn one_by_one(
    q: Tensor<4>,
    pages: &[Tensor<4>; 2],
    table: &PageTable,
    window: Option<usize>,
    options: &AttentionOptions,
) -> Tensor<3> {
    let mut start = 0;
    let mut parts = Vec::with_capacity(table.lens.len());
    for (sequence, (&queries, &len)) in table.queries.iter().zip(&table.lens).enumerate() {
        let [keys, values] = pages.each_ref().map(|pages| {
            let block_len = pages.dims()[2];
            let used = &table.of(sequence)[..len.div_ceil(block_len)];
            let block = |block: &u32| pages.clone().narrow(0, *block as usize, 1);
            Tensor::cat(used.iter().map(block).collect(), 2).narrow(2, 0, len)
        });
        let mask = Mask::causal().after(len - queries).with_window(window);
        let bias = options.bias.clone().map(|bias| bias.narrow(3, 0, len));
        let options = AttentionOptions {
            bias,
            ..options.clone()
        };
        let q = q.clone().narrow(2, start, queries);
        parts.push(in_primitives(q, keys, values, &mask, &options).0);
        start += queries;
    }
    Tensor::cat(parts, 1)
}
