//! Keys and values in blocks that sequences own or share (Kwon et al. 2023), for rows of several sequences.
//!
//! Which block is whose is decided by the batching engine; here are the blocks, and what model files need to know of a
//! pass.

use std::sync::Arc;

use burn::tensor::Tensor;
use transformers_ops as ops;

use super::Cache;
use crate::Rows;

/// What a model says of its keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PagedLayout {
    /// Layers.
    pub layers: usize,
    /// Every key is computed anew once a sequence is longer than this.
    pub rotation_changes_beyond: Option<usize>,
    /// Keys depend on the length of the sequence at the time when they were computed.
    pub rotation_stretches: bool,
}

/// One sequence of a packed row.
#[derive(Debug, Clone, Copy)]
pub struct PackedSequence<'a> {
    /// New tokens.
    pub new: usize,
    /// All tokens, the new ones among them.
    pub len: usize,
    /// The blocks of its keys, in order.
    pub blocks: &'a [u32],
}

/// The sequences of one forward pass.
#[derive(Debug, Clone)]
pub struct PackedBatch {
    pages: Arc<ops::PageTable>,
    lengths: Arc<[u32]>,
}

impl PackedBatch {
    /// `lengths`: for every token of the row, the length of its sequence that rotations go by.
    ///
    /// # Panics
    /// When a sequence has no new token or more than tokens, or a token no length.
    pub fn new<'a>(
        sequences: impl IntoIterator<Item = PackedSequence<'a>>,
        lengths: Vec<u32>,
    ) -> Self {
        let sequences = sequences.into_iter();
        let pages = ops::PageTable::new(sequences.map(|s| (s.new, s.len, s.blocks)));
        assert_eq!(pages.tokens(), lengths.len(), "a length for every token");
        Self {
            pages: Arc::new(pages),
            lengths: lengths.into(),
        }
    }

    /// Whose keys are where.
    pub fn pages(&self) -> Arc<ops::PageTable> {
        self.pages.clone()
    }

    /// Of every token, the length that rotations go by.
    pub fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// The positions of the longest sequence's keys, one row.
    pub fn key_positions(&self) -> Rows<u32> {
        Rows::row_of((0..self.pages.longest() as u32).collect())
    }
}

/// The blocks of all layers.
#[derive(Debug)]
pub struct PagedCache {
    layers: Vec<Option<[Tensor<4>; 2]>>,
    blocks: usize,
    block_len: usize,
    batch: PackedBatch,
}

impl PagedCache {
    /// `blocks` blocks of `block_len` tokens, which take memory when they are first written to.
    pub fn new(layout: &PagedLayout, blocks: usize, block_len: usize) -> Self {
        Self {
            layers: vec![None; layout.layers],
            blocks,
            block_len,
            batch: PackedBatch::new([], Vec::new()),
        }
    }

    /// The next pass is over these sequences.
    pub fn begin(&mut self, batch: PackedBatch) {
        self.batch = batch;
    }

    /// Makes block `to` a copy of block `from`, in all layers.
    pub fn copy_block(&mut self, from: usize, to: usize) {
        for slot in &mut self.layers {
            *slot = slot
                .take()
                .map(|pages| pages.map(|pages| ops::copy_page(pages, from, to)));
        }
    }

    /// Bytes of one token's keys and values in all layers; known once there was a pass.
    pub fn bytes_per_token(&self) -> usize {
        let tensors = self.layers.iter().flatten().flatten();
        let bytes = |pages: &Tensor<4>| {
            let [_, heads, _, dim] = pages.dims();
            heads * dim * pages.dtype().size()
        };
        tensors.map(bytes).sum()
    }
}

impl Cache for PagedCache {
    fn update(
        &mut self,
        layer: usize,
        keys: Tensor<4>,
        values: Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>) {
        let (blocks, block_len) = (self.blocks, self.block_len);
        let empty = |rows: &Tensor<4>| {
            let [_, heads, _, dim] = rows.dims();
            ops::empty_pages([blocks, heads, block_len, dim], rows)
        };
        // `take` leaves the blocks with one owner, so that they are written in place.
        let pages = self.layers[layer].take();
        let [k, v] = pages.unwrap_or_else(|| [empty(&keys), empty(&values)]);
        let k = ops::write_pages(k, &self.batch.pages, keys);
        let v = ops::write_pages(v, &self.batch.pages, values);
        self.layers[layer] = Some([k.clone(), v.clone()]);
        (k, v)
    }

    fn packed(&self) -> Option<PackedBatch> {
        Some(self.batch.clone())
    }

    /// Sequences say themselves where they are.
    fn seq_len(&self) -> usize {
        0
    }

    fn dropped(&self, _layer: usize) -> usize {
        0
    }

    /// Blocks are given back by who gave them out.
    fn crop(&mut self, _len: usize) -> bool {
        false
    }

    /// A packed row is one row.
    fn select(&mut self, _rows: &[usize]) {}
}
