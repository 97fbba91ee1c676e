//! A call with all that it needs, and what f64 and the definition give for it.

use std::ops::Range;

use super::super::{plan::Plan, *};
use crate::random::Random;

/// What scores are scaled to, so that some keys count for much more than others: their standard deviation is a third.
const SPREAD: f32 = 6.0;

#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    shape: AttentionShape,
    kv_len: usize,
}

impl From<[usize; 7]> for Sizes {
    fn from(sizes: [usize; 7]) -> Self {
        let [batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim] = sizes;
        let shape = AttentionShape {
            batch,
            heads,
            kv_heads,
            q_len,
            head_dim,
            value_dim,
        };
        Self { shape, kv_len }
    }
}

impl Sizes {
    pub(super) fn random(random: &mut Random) -> Self {
        let kv_heads = 1 + random.below(3);
        Self::from([
            1 + random.below(3),
            kv_heads * (1 + random.below(5)),
            kv_heads,
            1 + random.below(140),
            1 + random.below(140),
            1 + random.below(100),
            1 + random.below(100),
        ])
    }
}

/// A call. Queries, keys and values are `[batch, heads, rows, dim]`.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) shape: AttentionShape,
    pub(super) kv_len: usize,
    pub(super) q: Vec<f32>,
    pub(super) k: Vec<f32>,
    pub(super) v: Vec<f32>,
    pub(super) scale: f32,
    pub(super) causal: bool,
    pub(super) query_offset: Option<usize>,
    pub(super) window: Option<usize>,
    pub(super) visible: Option<Vec<Range<usize>>>,
    pub(super) segments: Option<Vec<usize>>,
    pub(super) softcap: Option<f32>,
    pub(super) sinks: Option<Vec<f32>>,
    pub(super) bias: Option<(Vec<f32>, [usize; 3])>,
    /// In the place of what the plan has.
    pub(super) splits: Option<usize>,
    pub(super) few: Option<bool>,
}

impl Case {
    pub(super) fn new(Sizes { shape, kv_len }: Sizes, random: &mut Random) -> Self {
        let rows = shape.batch * shape.kv_heads * kv_len;
        Self {
            shape,
            kv_len,
            q: random.floats(shape.batch * shape.heads * shape.q_len * shape.head_dim),
            k: random.floats(rows * shape.head_dim),
            v: random.floats(rows * shape.value_dim),
            scale: SPREAD / (shape.head_dim as f32).sqrt(),
            causal: false,
            query_offset: None,
            window: None,
            visible: None,
            segments: None,
            softcap: None,
            sinks: None,
            bias: None,
            splits: None,
            few: None,
        }
    }

    pub(super) fn pad(&mut self, random: &mut Random) {
        let mut range = || {
            let start = random.below(self.kv_len + 1);
            start..start + random.below(self.kv_len + 1 - start)
        };
        self.visible = Some((0..self.shape.batch).map(|_| range()).collect());
    }

    pub(super) fn add_sinks(&mut self, random: &mut Random) {
        self.sinks = Some(
            (0..self.shape.heads)
                .map(|_| 4.0 * random.float())
                .collect(),
        );
    }

    /// Bits of `broadcast`: the same bias for all batch entries, heads, queries.
    pub(super) fn add_bias(&mut self, random: &mut Random, broadcast: usize) {
        let AttentionShape {
            batch,
            heads,
            q_len,
            ..
        } = self.shape;
        let mut len = self.kv_len;
        let mut strides = [0; 3];
        for (axis, size) in [batch, heads, q_len].into_iter().enumerate().rev() {
            if broadcast >> axis & 1 == 0 {
                strides[axis] = len;
                len *= size;
            }
        }
        self.bias = Some((random.floats(len), strides));
    }

    /// One batch entry of rows packed one after the other, some of them empty.
    pub(super) fn pack(&mut self, random: &mut Random) {
        let len = self.shape.q_len;
        let sizes = Sizes {
            shape: AttentionShape {
                batch: 1,
                ..self.shape
            },
            kv_len: len,
        };
        let mut segments: Vec<usize> = (0..5).map(|_| random.below(len + 1)).collect();
        segments.extend([0, len]);
        segments.sort_unstable();
        let packed = Self::new(sizes, random);
        *self = Self {
            segments: Some(segments),
            visible: self.visible.take().map(|visible| visible[..1].to_vec()),
            bias: None,
            query_offset: None,
            shape: packed.shape,
            kv_len: len,
            q: packed.q,
            k: packed.k,
            v: packed.v,
            ..self.clone()
        };
    }

    /// One batch entry, and its first keys.
    pub(super) fn entry(&self, entry: usize, kv_len: usize) -> Self {
        let shape = self.shape;
        let q_len = shape.heads * shape.q_len * shape.head_dim;
        let heads = entry * shape.kv_heads..(entry + 1) * shape.kv_heads;
        let first = |from: &[f32], dim: usize| {
            let head = |head: usize| &from[head * self.kv_len * dim..][..kv_len * dim];
            heads.clone().flat_map(head).copied().collect()
        };
        Self {
            shape: AttentionShape { batch: 1, ..shape },
            kv_len,
            q: self.q[entry * q_len..][..q_len].to_vec(),
            k: first(&self.k, shape.head_dim),
            v: first(&self.v, shape.value_dim),
            ..self.clone()
        }
    }

    /// The queries and keys in `rows` of the only batch entry.
    pub(super) fn rows(&self, rows: Range<usize>) -> Self {
        let shape = self.shape;
        let cut = |from: &[f32], heads: usize, dim: usize| {
            let head =
                |head: usize| &from[(head * shape.q_len + rows.start) * dim..][..rows.len() * dim];
            (0..heads).flat_map(head).copied().collect()
        };
        Self {
            shape: AttentionShape {
                q_len: rows.len(),
                ..shape
            },
            kv_len: rows.len(),
            q: cut(&self.q, shape.heads, shape.head_dim),
            k: cut(&self.k, shape.kv_heads, shape.head_dim),
            v: cut(&self.v, shape.kv_heads, shape.value_dim),
            ..self.clone()
        }
    }

    pub(super) fn options(&self) -> AttentionOptions<'_> {
        AttentionOptions {
            scale: self.scale,
            causal: self.causal,
            query_offset: self.query_offset,
            window: self.window,
            visible: self.visible.as_deref(),
            segments: self.segments.as_deref(),
            softcap: self.softcap,
            sinks: self.sinks.as_deref(),
            bias: self.bias.as_ref().map(|(data, strides)| HeadView {
                data,
                strides: *strides,
            }),
        }
    }

    pub(super) fn queries(&self) -> HeadView<'_> {
        let AttentionShape {
            heads,
            q_len,
            head_dim,
            ..
        } = self.shape;
        HeadView::by_head(&self.q, heads, q_len, head_dim)
    }

    pub(super) fn keys(&self) -> Keys<'_> {
        let AttentionShape {
            kv_heads,
            head_dim,
            value_dim,
            ..
        } = self.shape;
        Keys {
            keys: HeadView::by_head(&self.k, kv_heads, self.kv_len, head_dim),
            values: HeadView::by_head(&self.v, kv_heads, self.kv_len, value_dim),
            rows: KeyRows::Dense(self.kv_len),
        }
    }

    pub(super) fn out_len(&self) -> usize {
        let shape = self.shape;
        shape.batch * shape.q_len * shape.heads * shape.value_dim
    }

    pub(super) fn run(&self) -> Vec<f32> {
        // What was there before must not matter.
        let mut out = vec![f32::NAN; self.out_len()];
        if self.splits.is_none() && self.few.is_none() {
            attention(
                self.shape,
                self.queries(),
                self.keys(),
                self.options(),
                &mut out,
            );
            return out;
        }
        let problem = Problem {
            shape: self.shape,
            q: self.queries(),
            keys: self.keys(),
            options: self.options(),
            out: SharedMut::new(&mut out),
        };
        let isa = Isa::current();
        let few = self.few.unwrap_or_else(|| Plan::new(isa, &problem).few);
        let mut plan = Plan::with(isa, &problem, few);
        plan.splits = self.splits.unwrap_or(plan.splits);
        plan.run(isa, &problem);
        out
    }

    /// Compares with the reference on every instruction set.
    pub(super) fn check(&self) {
        let expected = self.reference();
        for &isa in Isa::available() {
            let out = isa.with(|| self.run());
            self.compare(&out, &expected, &format!("{isa:?}"));
        }
    }

    /// The bound, relative to the largest value, is the rounding of scores, which are up to about 12 here: `e^score`
    /// makes the absolute error of a score a relative one of a weight. It grows with the scores.
    pub(super) fn compare(&self, out: &[f32], expected: &[f64], what: &str) {
        assert_eq!(out.len(), expected.len());
        let largest = self.v.iter().fold(0.0f32, |max, v| max.max(v.abs()));
        let spread = self.scale * (self.shape.head_dim as f32).sqrt();
        let bound = 2e-6 * f64::from(largest * (spread / SPREAD).max(1.0));
        for (i, (&out, &expected)) in out.iter().zip(expected).enumerate() {
            let error = (f64::from(out) - expected).abs();
            assert!(
                error <= bound,
                "{what}: element {i} is {out}, not {expected}, off by {error:e}; {:?}, {} keys, {:?}",
                self.shape,
                self.kv_len,
                self.options()
            );
        }
    }

    /// Row by row, by the definition.
    pub(super) fn reference(&self) -> Vec<f64> {
        let shape = self.shape;
        let mut out = Vec::new();
        for batch in 0..shape.batch {
            for query in 0..shape.q_len {
                for head in 0..shape.heads {
                    out.extend(self.reference_row(batch, query, head));
                }
            }
        }
        out
    }

    fn reference_row(&self, batch: usize, query: usize, head: usize) -> Vec<f64> {
        let shape = self.shape;
        let kv_head = batch * shape.kv_heads + head / (shape.heads / shape.kv_heads);
        let key_row = |key: usize| kv_head * self.kv_len + key;
        let q = (batch * shape.heads + head) * shape.q_len + query;
        let q = &self.q[q * shape.head_dim..][..shape.head_dim];
        let mut scores = vec![f64::NEG_INFINITY; self.kv_len];
        for (key, score) in scores.iter_mut().enumerate() {
            if self.sees(batch, query, key) {
                let k = &self.k[key_row(key) * shape.head_dim..][..shape.head_dim];
                let products = q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k));
                *score = f64::from(self.scale) * products.sum::<f64>();
                self.cap_and_bias(score, [batch, head, query], key);
            }
        }
        let sink = self.sinks.as_ref().map(|sinks| f64::from(sinks[head]));
        let all = || scores.iter().copied().chain(sink);
        let max = all().fold(f64::NEG_INFINITY, f64::max);
        let mut out = vec![0.0; shape.value_dim];
        if max == f64::NEG_INFINITY {
            return out;
        }
        let sum: f64 = all().map(|score| (score - max).exp()).sum();
        for (key, score) in scores.iter().enumerate() {
            let weight = (score - max).exp() / sum;
            let v = &self.v[key_row(key) * shape.value_dim..][..shape.value_dim];
            for (out, &v) in out.iter_mut().zip(v) {
                *out += weight * f64::from(v);
            }
        }
        out
    }

    fn cap_and_bias(&self, score: &mut f64, row: [usize; 3], key: usize) {
        if let Some(cap) = self.softcap.map(f64::from) {
            *score = cap * (*score / cap).tanh();
        }
        if let Some((bias, strides)) = &self.bias {
            let start: usize = row.iter().zip(strides).map(|(i, stride)| i * stride).sum();
            let bias = bias[start + key];
            // To so large a number f32, in which models are trained, adds nothing.
            *score = match bias {
                f32::MIN => f64::from(bias),
                _ => *score + f64::from(bias),
            };
        }
    }

    fn sees(&self, batch: usize, query: usize, key: usize) -> bool {
        let (query, key) = (query as i64, key as i64);
        let first = match self.query_offset {
            Some(offset) => offset as i64,
            None => self.kv_len as i64 - self.shape.q_len as i64,
        };
        let distance = first + query - key;
        let segment = |i: i64| {
            let starts = self.segments.iter().flatten();
            starts.filter(|&&start| start as i64 <= i).count()
        };
        (!self.causal || distance >= 0)
            && self
                .window
                .is_none_or(|window| distance.unsigned_abs() < window as u64)
            && self
                .visible
                .as_ref()
                .is_none_or(|visible| visible[batch].contains(&(key as usize)))
            && segment(query) == segment(key)
    }
}
