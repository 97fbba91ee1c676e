//! Attention masks: which keys each query sees.

use std::cell::Cell;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use burn::tensor::{Device, Tensor, TensorData};

use crate::{MaskFunction, MaskIndex, PageTable};

/// What hides a key, which shows only in what a query gets that sees none: see [`Mask::with_means`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hiding {
    /// The smallest number is added to the score.
    #[default]
    Added,
    /// It takes the place of the score (MPT).
    Replaced,
    /// It takes the place of the score where the rule hides the key, and is added where padding or causality does: what
    /// both hide has no part in the mean (GPT-Neo).
    ReplacedAndAdded,
}

/// Who sees whom in one forward pass, as a rule and not as a matrix: kernels skip what is hidden. The matrix is made only
/// where an operation is computed in burn primitives, once for all layers that share the mask.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    causal: bool,
    window: Option<usize>,
    query_offset: usize,
    padding: Option<Padding>,
    segments: Option<Vec<usize>>,
    chunk: Option<usize>,
    or: Option<MaskFunction>,
    and: Option<MaskFunction>,
    pages: Option<Arc<PageTable>>,
    blind_padding: bool,
    means: bool,
    hiding: Hiding,
    additive: OnceLock<Option<Tensor<4>>>,
}

impl Mask {
    /// Every query sees every key.
    pub fn bidirectional() -> Self {
        Self::default()
    }

    /// A query sees its own key and all before it.
    pub fn causal() -> Self {
        Self {
            causal: true,
            ..Self::default()
        }
    }

    /// The first query's own key is number `past`: so many keys were there before this pass.
    #[must_use]
    pub fn after(self, past: usize) -> Self {
        Self {
            query_offset: past,
            ..self
        }
    }

    /// Narrows what is seen to keys that are less than `window` away from the query's own.
    #[must_use]
    pub fn with_window(self, window: Option<usize>) -> Self {
        Self { window, ..self }
    }

    /// Hides padding: for each batch entry, which keys are tokens. `None` hides nothing.
    #[must_use]
    pub fn with_padding(self, tokens: Option<Vec<Vec<bool>>>) -> Self {
        let padding = tokens.and_then(Padding::new);
        Self { padding, ..self }
    }

    /// Sequences packed one after the other into one batch entry, of which each sees itself only. They begin at `starts`,
    /// whose last element is the length of all.
    #[must_use]
    pub fn with_segments(self, starts: Vec<usize>) -> Self {
        let segments = Some(starts);
        Self { segments, ..self }
    }

    /// Narrows what is seen to keys in the query's chunk of `size` tokens (Llama 4). Chunks are counted from the entry's
    /// first token, in packed sequences from each one's.
    #[must_use]
    pub fn with_chunks(self, size: Option<usize>) -> Self {
        Self {
            chunk: size.map(|size| size.max(1)),
            ..self
        }
    }

    /// A query sees what `function` lets it see too; padding and other sequences stay hidden.
    #[must_use]
    pub fn or(self, function: MaskFunction) -> Self {
        let or = Some(match self.or {
            Some(or) => or.or(function),
            None => function,
        });
        Self { or, ..self }
    }

    /// Hides what `function` does not let see, whatever [`Self::or`] adds.
    #[must_use]
    pub fn and(self, function: MaskFunction) -> Self {
        let and = Some(match self.and {
            Some(and) => and.and(function),
            None => function,
        });
        Self { and, ..self }
    }

    /// Sequences packed one after the other into one batch entry, whose keys and values are in blocks. Each query sees its
    /// own sequence up to itself, narrowed by the window; no other rule applies.
    #[must_use]
    pub fn with_pages(self, pages: Arc<PageTable>) -> Self {
        let pages = Some(pages);
        Self { pages, ..self }
    }

    /// Where the keys are, if they are in blocks.
    pub fn pages(&self) -> Option<&PageTable> {
        self.pages.as_deref()
    }

    /// Padding sees nothing, where queries are keys too.
    #[must_use]
    pub fn with_blind_padding(self, blind_padding: bool) -> Self {
        Self {
            blind_padding,
            ..self
        }
    }

    /// A query that sees no key gets the mean of all values, as it does where the mask is added to scores, and not
    /// whatever is fastest.
    #[must_use]
    pub fn with_means(self, means: bool) -> Self {
        Self { means, ..self }
    }

    /// How keys are hidden in the mean of a query that sees none.
    #[must_use]
    pub fn with_hiding(self, hiding: Hiding) -> Self {
        Self { hiding, ..self }
    }

    /// Whether query number `query` of a batch entry sees key number `key`.
    pub fn sees(&self, entry: usize, query: usize, key: usize) -> bool {
        let column = self.query_offset + query;
        let token = self.token(entry, column, key);
        let [first, own] = [column, key].map(|column| self.segment_start(column));
        let at = MaskIndex {
            entry,
            query: column - first,
            key: key - own,
        };
        let call = |function: &MaskFunction| function.call(at);
        let seen = self.rule(at) || self.or.as_ref().is_some_and(call);
        token && first == own && seen && self.and.as_ref().is_none_or(call)
    }

    fn token(&self, entry: usize, column: usize, key: usize) -> bool {
        self.padding.as_ref().is_none_or(|padding| {
            let tokens = &padding.tokens[entry];
            tokens[key] && (tokens[column] || !self.blind_padding)
        })
    }

    /// What is added to the score of a key, in a mask that [hides](Hiding) so.
    fn added(&self, entry: usize, query: usize, key: usize) -> f32 {
        let column = self.query_offset + query;
        let by_mask = || !self.token(entry, column, key) || self.causal && key > column;
        match self.hiding {
            _ if self.sees(entry, query, key) => 0.0,
            Hiding::ReplacedAndAdded if self.replaces(entry, query, key) && by_mask() => {
                f32::NEG_INFINITY
            }
            _ => f32::MIN,
        }
    }

    /// Whether the smallest number takes the place of a key's score.
    fn replaces(&self, entry: usize, query: usize, key: usize) -> bool {
        match self.hiding {
            Hiding::Added => false,
            Hiding::Replaced => !self.sees(entry, query, key),
            Hiding::ReplacedAndAdded => !self.rule(MaskIndex {
                entry,
                query: self.query_offset + query,
                key,
            }),
        }
    }

    /// Zero where a score is replaced, and one elsewhere, `[batch or 1, 1, q_len, kv_len]`; `None` where that makes no
    /// difference.
    pub(crate) fn kept(&self, q_len: usize, kv_len: usize, device: &Device) -> Option<Tensor<4>> {
        if self.hiding == Hiding::Added || !self.means || self.padding.is_none() {
            return None;
        }
        let replaces = |entry, query, key| match self.replaces(entry, query, key) {
            true => 0.0,
            false => 1.0,
        };
        Some(self.matrix(replaces, [q_len, kv_len], device))
    }

    fn matrix(
        &self,
        value: impl Fn(usize, usize, usize) -> f32,
        [q_len, kv_len]: [usize; 2],
        device: &Device,
    ) -> Tensor<4> {
        let batch = self.entries();
        let mut values = Vec::with_capacity(batch * q_len * kv_len);
        for entry in 0..batch {
            for query in 0..q_len {
                values.extend((0..kv_len).map(|key| value(entry, query, key)));
            }
        }
        let data = TensorData::new(values, [batch, 1, q_len, kv_len]);
        Tensor::from_data(data, device)
    }

    /// Where the packed sequence of a column begins.
    fn segment_start(&self, column: usize) -> usize {
        let begun = |starts: &Vec<usize>| {
            let count = starts.partition_point(|&start| start <= column);
            starts[count.saturating_sub(1)]
        };
        self.segments.as_ref().map_or(0, begun)
    }

    fn rule(&self, at: MaskIndex) -> bool {
        let near = |window| at.query.abs_diff(at.key) < window;
        let same_chunk = |size| {
            let padding = self.padding.as_ref();
            let left = padding.map_or(0, |padding| padding.left(at.entry));
            MaskFunction::chunked(size, [left]).call(at)
        };
        (!self.causal || at.key <= at.query)
            && self.window.is_none_or(near)
            && self.chunk.is_none_or(same_chunk)
    }

    /// How many entries of a batch the mask tells apart.
    fn entries(&self) -> usize {
        let padded = self.padding.as_ref().map(|padding| padding.tokens.len());
        let functions = self.or.iter().chain(&self.and);
        let entries = functions.map(MaskFunction::entries).chain(padded);
        entries.max().unwrap_or(1)
    }

    /// The mask as a matrix to add to the scores, `[batch or 1, 1, q_len, kv_len]` in f32: zero where a query sees a key,
    /// and the smallest finite number elsewhere. `None` where every query sees every key.
    pub fn additive(&self, q_len: usize, kv_len: usize, device: &Device) -> Option<Tensor<4>> {
        let matrix = self.additive.get_or_init(|| {
            let hides = Cell::new(false);
            let added = |entry, query, key| {
                let added = self.added(entry, query, key);
                hides.set(hides.get() || added != 0.0);
                added
            };
            let matrix = self.matrix(added, [q_len, kv_len], device);
            hides.get().then_some(matrix)
        });
        matrix.clone()
    }

    /// `x`, `[batch, seq, features]`, with zeros where its tokens, the last ones of the mask, are padding.
    pub fn clear_padding(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, seq, _] = x.dims();
        let Some(padding) = &self.padding else {
            return x;
        };
        let last = |row: &Vec<bool>| row[row.len() - seq..].to_vec();
        let tokens: Vec<bool> = padding.tokens.iter().flat_map(last).collect();
        if tokens.iter().all(|token| *token) {
            return x;
        }
        let factors = tokens.iter().map(|token| f32::from(u8::from(*token)));
        let data = TensorData::new(factors.collect(), [batch, seq, 1]);
        let factors: Tensor<3> = Tensor::from_data(data, &x.device());
        let dtype = x.dtype();
        x * factors.cast(dtype)
    }

    pub(crate) fn is_causal(&self) -> bool {
        self.causal
    }

    /// Whether only the matrix says what a query gets.
    pub(crate) fn needs_matrix(&self) -> bool {
        let composed = self.chunk.is_some() || self.or.is_some() || self.and.is_some();
        composed || self.padding.is_some() && (self.means || self.blind_padding)
    }

    pub(crate) fn window(&self) -> Option<usize> {
        self.window
    }

    pub(crate) fn query_offset(&self) -> usize {
        self.query_offset
    }

    pub(crate) fn segments(&self) -> Option<&[usize]> {
        self.segments.as_deref()
    }

    /// The tokens of each batch entry, where they are next to each other in all of them.
    pub(crate) fn visible(&self) -> Option<&[Range<usize>]> {
        self.padding.as_ref()?.ranges.as_deref()
    }

    /// Zero for tokens and negative infinity for padding, `[batch, keys]`, where padding lies between tokens.
    pub(crate) fn scattered_padding(&self) -> Option<Vec<f32>> {
        let padding = self
            .padding
            .as_ref()
            .filter(|padding| padding.ranges.is_none())?;
        let hide = |token: &bool| match token {
            true => 0.0,
            false => f32::NEG_INFINITY,
        };
        Some(padding.tokens.iter().flatten().map(hide).collect())
    }
}

/// Which keys are tokens.
#[derive(Debug, Clone)]
struct Padding {
    tokens: Vec<Vec<bool>>,
    ranges: Option<Vec<Range<usize>>>,
}

impl Padding {
    /// `None` where all are tokens.
    fn new(tokens: Vec<Vec<bool>>) -> Option<Self> {
        if tokens.iter().flatten().all(|token| *token) {
            return None;
        }
        let ranges = tokens.iter().map(|row| range(row)).collect();
        Some(Self { tokens, ranges })
    }

    /// The padding on the left of an entry.
    fn left(&self, entry: usize) -> usize {
        let tokens = &self.tokens[entry];
        tokens.iter().take_while(|token| !**token).count()
    }
}

/// Where the tokens of a row are, if they are next to each other.
fn range(tokens: &[bool]) -> Option<Range<usize>> {
    let start = tokens.iter().position(|token| *token).unwrap_or(0);
    let len = tokens[start..].iter().take_while(|token| **token).count();
    let rest_is_padding = !tokens[start + len..].contains(&true);
    rest_is_padding.then_some(start..start + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line per query: `x` where it sees the key.
    fn check(mask: &Mask, q_len: usize, kv_len: usize, expect: &[&str]) {
        let additive = mask.additive(q_len, kv_len, &Device::flex());
        let additive = additive.expect("something is hidden");
        let values: Vec<f32> = additive.into_data().iter().collect();
        let lines: Vec<String> = values
            .chunks(kv_len)
            .map(|row| {
                row.iter()
                    .map(|v| if *v == 0.0 { 'x' } else { '.' })
                    .collect()
            })
            .collect();
        assert_eq!(lines, expect);
    }

    #[test]
    fn causal_masks_count_from_the_first_new_key() {
        check(&Mask::causal(), 3, 3, &["x..", "xx.", "xxx"]);
        check(&Mask::causal().after(3), 2, 5, &["xxxx.", "xxxxx"]);
    }

    #[test]
    fn windows_count_the_query_itself() {
        let sliding = |offset| Mask::causal().after(offset).with_window(Some(2));
        check(&sliding(0), 4, 4, &["x...", "xx..", ".xx.", "..xx"]);
        check(&sliding(1), 2, 3, &["xx.", ".xx"]);
        let both = Mask::bidirectional().with_window(Some(2));
        check(&both, 4, 4, &["xx..", "xxx.", ".xxx", "..xx"]);
    }

    #[test]
    fn padding_is_never_seen() {
        let tokens = vec![vec![false, true, true], vec![true; 3]];
        let mask = Mask::causal().with_padding(Some(tokens));
        let expect = ["...", ".x.", ".xx", "x..", "xx.", "xxx"];
        check(&mask, 3, 3, &expect);
        assert_eq!(mask.visible(), Some(&[1..3, 0..3][..]));
        assert_eq!(mask.scattered_padding(), None);
    }

    #[test]
    fn padding_may_see_nothing() {
        let tokens = Some(vec![vec![true, true, false]]);
        let mask = Mask::bidirectional().with_padding(tokens);
        assert!(!mask.needs_matrix());
        check(&mask, 3, 3, &["xx.", "xx.", "xx."]);
        let blind = mask.with_blind_padding(true);
        assert!(blind.needs_matrix());
        let blind = Mask {
            additive: OnceLock::new(),
            ..blind
        };
        check(&blind, 3, 3, &["xx.", "xx.", "..."]);
    }

    #[test]
    fn what_hides_a_key_shows_where_all_are_hidden() {
        let tokens = Some(vec![vec![true, false, false, false]]);
        let mask = Mask::causal().with_window(Some(2)).with_padding(tokens);
        let mask = mask.with_means(true);
        let values = |tensor: Option<Tensor<4>>| {
            let data = tensor.expect("something is hidden").into_data();
            data.iter::<f32>().skip(8).collect::<Vec<_>>()
        };
        let device = Device::flex();
        assert!(mask.kept(4, 4, &device).is_none());
        let (all, none) = (f32::MIN, f32::NEG_INFINITY);
        assert_eq!(values(mask.additive(4, 4, &device)), [all; 8]);
        let with = |hiding| Mask {
            additive: OnceLock::new(),
            ..mask.clone().with_hiding(hiding)
        };
        let replaced = with(Hiding::Replaced);
        assert_eq!(values(replaced.additive(4, 4, &device)), [all; 8]);
        assert_eq!(values(replaced.kept(4, 4, &device)), [0.0; 8]);
        let both = with(Hiding::ReplacedAndAdded);
        assert_eq!(
            values(both.additive(4, 4, &device)),
            [all, all, all, none, all, none, all, all]
        );
        assert_eq!(
            values(both.kept(4, 4, &device)),
            [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0]
        );
    }

    #[test]
    fn padding_between_tokens_is_no_range() {
        let mask = Mask::bidirectional().with_padding(Some(vec![vec![true, false, true]]));
        assert_eq!(mask.visible(), None);
        assert_eq!(
            mask.scattered_padding(),
            Some(vec![0.0, f32::NEG_INFINITY, 0.0])
        );
        let nothing = Mask::bidirectional().with_padding(Some(vec![vec![false; 2]]));
        assert_eq!(nothing.visible(), Some(&[Range::default()][..]));
    }

    #[test]
    fn padding_among_the_last_tokens_is_cleared() {
        let mask = Mask::causal().with_padding(Some(vec![vec![false, false, true], vec![true; 3]]));
        let ones = Tensor::<3>::ones([2, 2, 1], &Device::flex());
        let values = |x: Tensor<3>| x.into_data().iter::<f32>().collect::<Vec<_>>();
        assert_eq!(
            values(mask.clear_padding(ones.clone())),
            [0.0, 1.0, 1.0, 1.0]
        );
        let last = ones.narrow(1, 0, 1);
        assert_eq!(values(mask.clear_padding(last)), [1.0, 1.0]);
    }

    #[test]
    fn segments_see_themselves() {
        let mask = Mask::bidirectional().with_segments(vec![0, 1, 3]);
        check(&mask, 3, 3, &["x..", ".xx", ".xx"]);
    }

    #[test]
    fn no_matrix_where_everything_is_seen() {
        assert!(
            Mask::causal()
                .after(7)
                .additive(1, 8, &Device::flex())
                .is_none()
        );
        let all = Mask::bidirectional().with_padding(Some(vec![vec![true; 4]]));
        assert!(all.additive(4, 4, &Device::flex()).is_none());
    }
}
