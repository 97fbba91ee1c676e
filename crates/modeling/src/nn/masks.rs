//! Attention masks: which keys each query may see.

use burn::tensor::{Device, Tensor, TensorData};

use crate::Rows;

/// The rule that padding then narrows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskPattern {
    /// A query sees itself and all before it; with a window, only the last `window` of those, itself included.
    Causal {
        /// The window of a sliding layer.
        window: Option<usize>,
    },
    /// A query sees every key; with a window, those less than `window` away on either side.
    Bidirectional {
        /// The window of a sliding layer.
        window: Option<usize>,
    },
}

impl MaskPattern {
    fn allows(self, query: usize, key: usize) -> bool {
        match self {
            Self::Causal { window } => {
                key <= query && window.is_none_or(|window| key + window > query)
            }
            Self::Bidirectional { window } => {
                window.is_none_or(|window| key.abs_diff(query) < window)
            }
        }
    }
}

/// The mask of one forward pass for one kind of layer, as the additive tensor that [`transformers_ops::attention`]
/// takes. `None` inside: every query sees every key.
#[derive(Debug, Clone)]
pub struct Mask {
    additive: Option<Tensor<4>>,
}

impl Mask {
    /// * `new`: queries in this pass; `past`: tokens before them
    /// * `dropped`: how many of the oldest tokens are no longer among the keys
    /// * `padding`: `[batch, past + new]`, 1 for tokens that count and 0 for padding
    pub fn new(
        pattern: MaskPattern,
        new: usize,
        past: usize,
        dropped: usize,
        padding: Option<&Rows<u32>>,
        device: &Device,
    ) -> Self {
        let keys = past + new - dropped;
        let rows = padding.map_or(1, |padding| padding.dims()[0]);
        let visible = |row: usize, query: usize, key: usize| {
            pattern.allows(past + query, dropped + key)
                && padding.is_none_or(|padding| padding.row(row)[dropped + key] != 0)
        };
        let mut values = Vec::with_capacity(rows * new * keys);
        for row in 0..rows {
            for query in 0..new {
                values.extend((0..keys).map(|key| match visible(row, query, key) {
                    true => 0.0,
                    false => f32::MIN,
                }));
            }
        }
        let additive = values
            .iter()
            .any(|value| *value != 0.0)
            .then(|| Tensor::from_data(TensorData::new(values, [rows, 1, new, keys]), device));
        Self { additive }
    }

    /// The additive mask `[batch or 1, 1, q_len, kv_len]` in f32.
    pub fn additive(&self) -> Option<Tensor<4>> {
        self.additive.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CAUSAL: MaskPattern = MaskPattern::Causal { window: None };

    /// One line per query: `x` where it sees the key.
    fn check(mask: Mask, expect: &[&str]) {
        let additive = mask.additive().expect("something is masked");
        let keys = additive.dims()[3];
        let values: Vec<f32> = additive.into_data().iter::<f32>().collect();
        let line = |row: &[f32]| {
            let sign = |value: &f32| if *value == 0.0 { 'x' } else { '.' };
            row.iter().map(sign).collect::<String>()
        };
        assert_eq!(values.chunks(keys).map(line).collect::<Vec<_>>(), expect);
    }

    fn mask(
        pattern: MaskPattern,
        new: usize,
        past: usize,
        dropped: usize,
        padding: Option<&Rows<u32>>,
    ) -> Mask {
        Mask::new(pattern, new, past, dropped, padding, &Device::flex())
    }

    #[test]
    fn causal() {
        check(mask(CAUSAL, 3, 0, 0, None), &["x..", "xx.", "xxx"]);
        check(mask(CAUSAL, 2, 3, 0, None), &["xxxx.", "xxxxx"]);
    }

    #[test]
    fn windows_count_the_query_itself() {
        let sliding = MaskPattern::Causal { window: Some(2) };
        check(
            mask(sliding, 4, 0, 0, None),
            &["x...", "xx..", ".xx.", "..xx"],
        );
        // Of five earlier tokens the cache holds the last one.
        check(mask(sliding, 2, 5, 4, None), &["xx.", ".xx"]);
        let both = MaskPattern::Bidirectional { window: Some(2) };
        check(mask(both, 4, 0, 0, None), &["xx..", "xxx.", ".xxx", "..xx"]);
    }

    #[test]
    fn padding_is_never_seen() {
        let padding = Rows::new(&[[0, 1, 1], [1, 1, 1]]).unwrap();
        let expect = ["...", ".x.", ".xx", "x..", "xx.", "xxx"];
        check(mask(CAUSAL, 3, 0, 0, Some(&padding)), &expect);
    }

    #[test]
    fn no_mask_where_everything_is_seen() {
        assert!(mask(CAUSAL, 1, 7, 0, None).additive().is_none());
        let all = MaskPattern::Bidirectional { window: None };
        assert!(
            mask(all, 4, 0, 0, Some(&vec![1, 1, 1, 1].into()))
                .additive()
                .is_none()
        );
    }
}
