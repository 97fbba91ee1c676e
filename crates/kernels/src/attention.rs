//! Scaled dot-product attention.
//!
//! Scores exist for a tile of keys at a time, and the softmax is computed along the way: when a larger score turns up,
//! what was summed before is scaled down (Milakov & Gimelshein, "Online normalizer calculation for softmax", 2018; Dao
//! et al., "FlashAttention", 2022). The query heads that share a head of keys are rows of the same task, so that keys
//! and values are read once for all of them.

mod few;
mod gradient;
mod keys;
mod plan;
mod product;
mod scratch;
mod softmax;
mod task;
mod tile;
mod visible;

use std::ops::Range;

pub use gradient::{AttentionGradients, attention_gradient};
pub use keys::{HeadView, KeyRows, Keys};

use self::plan::Plan;
use crate::{Isa, shared::SharedMut};

/// The sizes of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Batch entries.
    pub batch: usize,
    /// Heads of queries: a multiple of `kv_heads`. Head `h` uses the keys and values of head `h / (heads / kv_heads)`.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Queries of a batch entry.
    pub q_len: usize,
    /// Elements of a query and of a key.
    pub head_dim: usize,
    /// Elements of a value.
    pub value_dim: usize,
}

/// What a query sees, and how scores are changed.
///
/// A score is `scale * q·k`, then capped, then the bias is added. A query sees one range of keys, which `causal`,
/// `window`, `visible` and `segments` narrow down; only `bias` can hide keys amid others.
#[derive(Debug, Clone, Copy)]
pub struct AttentionOptions<'a> {
    /// The factor of `q·k`, usually `1 / √head_dim`.
    pub scale: f32,
    /// Whether a query sees only the keys up to its own position.
    pub causal: bool,
    /// The position, among the keys, of the first query. By default the last query sits at the last key.
    pub query_offset: Option<usize>,
    /// A query sees keys less than this far from it.
    pub window: Option<usize>,
    /// For each batch entry, the keys that are not padding.
    pub visible: Option<&'a [Range<usize>]>,
    /// Rows packed one after the other, of which each attends to itself only: where they begin, and at last the length
    /// of all, `[0, len_0, len_0 + len_1, ..]`. There is one batch entry, with as many keys as queries.
    pub segments: Option<&'a [usize]>,
    /// `c`: a score `s` becomes `c * tanh(s / c)`.
    pub softcap: Option<f32>,
    /// For each head, a score that joins in the softmax and has no value.
    pub sinks: Option<&'a [f32]>,
    /// Added to the scores, `[batch, heads, q_len, keys]`; a stride of zero repeats. Negative infinity hides a key. A
    /// large finite value hides it beside others, but where a query sees nothing else, its keys count as equals.
    pub bias: Option<HeadView<'a>>,
}

impl AttentionOptions<'_> {
    /// Every query sees every key, and scores are scaled only.
    pub fn new(scale: f32) -> Self {
        Self {
            scale,
            causal: false,
            query_offset: None,
            window: None,
            visible: None,
            segments: None,
            softcap: None,
            sinks: None,
            bias: None,
        }
    }
}

/// `softmax(scores) · values` for every query: `q` is `[batch, heads, q_len, head_dim]`, and `out` is
/// `[batch, q_len, heads, value_dim]`, contiguous, as the output projection reads it.
///
/// The result of a query that sees no key is zero.
///
/// # Panics
/// When an operand is too short for the shape, a block number in a table is out of range, or options do not fit the
/// shape.
pub fn attention(
    shape: AttentionShape,
    q: HeadView<'_>,
    keys: Keys<'_>,
    options: AttentionOptions<'_>,
    out: &mut [f32],
) {
    check(shape, q, keys, options, out.len());
    if out.is_empty() {
        return;
    }
    let problem = Problem {
        shape,
        q,
        keys,
        options,
        out: SharedMut::new(out),
    };
    let isa = Isa::current();
    Plan::new(isa, &problem).run(isa, &problem);
}

/// A call, checked.
struct Problem<'a> {
    shape: AttentionShape,
    q: HeadView<'a>,
    keys: Keys<'a>,
    options: AttentionOptions<'a>,
    out: SharedMut<'a, f32>,
}

impl Problem<'_> {
    /// Query heads that share a head of keys.
    fn group(&self) -> usize {
        self.shape.heads / self.shape.kv_heads
    }
}

fn check(
    shape: AttentionShape,
    q: HeadView<'_>,
    keys: Keys<'_>,
    options: AttentionOptions<'_>,
    out: usize,
) {
    let AttentionShape {
        batch,
        heads,
        kv_heads,
        q_len,
        head_dim,
        value_dim,
    } = shape;
    assert!(
        kv_heads > 0 && heads.is_multiple_of(kv_heads),
        "{heads} query heads do not share {kv_heads} heads of keys"
    );
    assert!(head_dim > 0, "heads have elements");
    let expected = [q_len, heads, value_dim]
        .into_iter()
        .try_fold(batch, usize::checked_mul);
    assert_eq!(expected, Some(out), "the output's length is not {shape:?}");
    q.check("queries", [batch, heads, q_len], head_dim);
    keys.check(shape);
    if let Some(bias) = options.bias {
        let longest = (0..batch).map(|b| keys.len(b)).max().unwrap_or(0);
        bias.check("bias", [batch, heads, q_len], longest);
    }
    if let Some(sinks) = options.sinks {
        assert_eq!(sinks.len(), heads, "one sink for each head");
    }
    if let Some(visible) = options.visible {
        assert_eq!(
            visible.len(),
            batch,
            "one visible range for each batch entry"
        );
    }
    if let Some(segments) = options.segments {
        assert!(
            batch == 1 && keys.len(0) == q_len && options.query_offset.is_none(),
            "segments need one batch entry with as many keys as queries"
        );
        assert!(
            segments.first() == Some(&0) && segments.last() == Some(&q_len) && segments.is_sorted(),
            "segments reach from 0 to the number of queries"
        );
    }
}

#[cfg(test)]
mod tests;
