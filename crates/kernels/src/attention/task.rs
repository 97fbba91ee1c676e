//! What one task computes, and where its result goes.

use std::ops::Range;

use super::{
    AttentionShape, Problem,
    product::{SPAN, load, store},
    softmax::Seen,
};
use crate::simd::Simd;

/// Queries of one head of keys, and a range of these keys.
pub(super) struct Task<'a> {
    pub(super) problem: &'a Problem<'a>,
    pub(super) batch: usize,
    pub(super) kv_head: usize,
    pub(super) queries: Range<usize>,
    pub(super) keys: Range<usize>,
    /// Where the results go if other tasks have other keys of these queries: for each row the weighted values' sum, the
    /// largest score and the weights' sum. Else they go to the output.
    pub(super) partial: Option<&'a mut [f32]>,
}

/// A query of one head.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) head: usize,
    pub(super) query: usize,
    /// The keys of the task that it sees.
    pub(super) keys: Range<usize>,
    pub(super) seen: Seen,
}

impl Task<'_> {
    /// The rows: for every query, each head of the group.
    pub(super) fn list_rows(&self, rows: &mut Vec<Row>) {
        let group = self.problem.group();
        rows.clear();
        for query in self.queries.clone() {
            let visible = self.problem.visible(self.batch, query);
            let start = visible.start.clamp(self.keys.start, self.keys.end);
            let keys = start..visible.end.clamp(start, self.keys.end);
            for head in self.kv_head * group..(self.kv_head + 1) * group {
                rows.push(Row {
                    head,
                    query,
                    keys: keys.clone(),
                    seen: Seen::NOTHING,
                });
            }
        }
    }

    /// Copies a row's query, scaled and filled up with zeros to whole vectors, to chunks of [`SPAN`] elements, `stride`
    /// apart.
    #[inline(always)]
    pub(super) fn copy_query<S: Simd>(&self, s: S, row: &Row, to: &mut [f32], stride: usize) {
        let dim = self.problem.shape.head_dim;
        let from = self.problem.q.at(self.batch, row.head, row.query);
        // SAFETY: the query is inside its operand, as has been checked.
        let from = unsafe { std::slice::from_raw_parts(from, dim) };
        let scale = s.splat(self.problem.options.scale);
        for (i, from) in from.chunks(S::LANES).enumerate() {
            let k = i * S::LANES;
            let to = &mut to[k / SPAN * stride + k % SPAN..][..S::LANES];
            store(s, to, s.mul(load(s, from), scale));
        }
    }

    /// Stores the weighted values' sum of row number `index`.
    #[inline(always)]
    pub(super) fn finish<S: Simd>(&mut self, s: S, index: usize, row: &Row, sums: &[f32]) {
        let dim = self.problem.shape.value_dim;
        let sums = &sums[..dim];
        if let Some(partial) = &mut self.partial {
            let (values, seen) = partial[index * (dim + 2)..][..dim + 2].split_at_mut(dim);
            values.copy_from_slice(sums);
            seen.copy_from_slice(&[row.seen.max, row.seen.sum]);
        } else {
            // SAFETY: no other task has this query and head.
            let out = unsafe { self.problem.out(self.batch, row.query, row.head) };
            let factor = s.splat(row.seen.normaliser(self.problem.sink(row.head)));
            for (out, sums) in out.chunks_mut(S::LANES).zip(sums.chunks(S::LANES)) {
                store(s, out, s.mul(load(s, sums), factor));
            }
        }
    }
}

impl<'a> Problem<'a> {
    pub(super) fn sink(&self, head: usize) -> Option<f32> {
        self.options.sinks.map(|sinks| sinks[head])
    }

    /// The output of a query of one head.
    ///
    /// # Safety
    /// Nobody else uses it meanwhile.
    #[inline(always)]
    pub(super) unsafe fn out(&self, batch: usize, query: usize, head: usize) -> &'a mut [f32] {
        let AttentionShape {
            heads,
            q_len,
            value_dim,
            ..
        } = self.shape;
        let row = (batch * q_len + query) * heads + head;
        // SAFETY: the caller's promise.
        unsafe { self.out.part(row * value_dim, value_dim) }
    }
}
