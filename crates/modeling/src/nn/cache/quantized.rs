//! Keys and values of one layer in few bits (KIVI, Liu et al. 2024).

use burn::tensor::{DType, Int, IntDType, Tensor};

use super::keys_and_values::KeysAndValues;
use super::{CacheLayer, bytes};
use crate::nn::LayerState;
use crate::rows::select_rows;

/// How tokens are kept in few bits.
///
/// The features of a token are quantised in groups, each by its own smallest value and step: what comes back is at most
/// half a step away, and a step is the group's range divided by 255 or 15. A group takes its bits and eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuantizedCacheOptions {
    /// Bits of an element.
    pub bits: CacheBits,
    /// Elements that share a range. Heads with features that are no multiple of it are one group.
    pub q_group_size: usize,
    /// Once so many tokens are kept as they are, they are quantised.
    pub residual_length: usize,
}

/// Bits of an element of a quantised cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheBits {
    /// Two to a byte.
    Four,
    /// A byte each.
    Eight,
}

impl Default for QuantizedCacheOptions {
    /// As the reference: four bits, groups of 64, 128 tokens as they are.
    fn default() -> Self {
        Self {
            bits: CacheBits::Four,
            q_group_size: 64,
            residual_length: 128,
        }
    }
}

/// The older tokens in few bits, the newer ones as they are; all of them where there is a window.
#[derive(Debug)]
pub(super) struct QuantizedLayer {
    options: QuantizedCacheOptions,
    older: Option<[Codes; 2]>,
    recent: KeysAndValues,
    window: bool,
}

impl QuantizedLayer {
    pub fn new(window: Option<usize>, options: QuantizedCacheOptions) -> Self {
        Self {
            options,
            older: None,
            recent: KeysAndValues::growing(window),
            window: window.is_some(),
        }
    }

    fn older_len(&self) -> usize {
        self.older.as_ref().map_or(0, |[keys, _]| keys.len())
    }

    /// Quantises the newer tokens too.
    fn flush(&mut self) {
        let Some((keys, values)) = self.recent.view() else {
            return;
        };
        let new = [keys, values].map(|rows| Codes::new(rows, self.options));
        self.older = Some(match self.older.take() {
            None => new,
            Some([keys, values]) => {
                let [new_keys, new_values] = new;
                [keys.join(new_keys), values.join(new_values)]
            }
        });
        self.recent = KeysAndValues::growing(None);
    }
}

impl CacheLayer for QuantizedLayer {
    fn append(&mut self, keys: Tensor<4>, values: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let (keys, values) = self.recent.append(keys, values);
        if self.window {
            return (keys, values);
        }
        let recent = keys.dims()[2];
        let all = match &self.older {
            None => (keys, values),
            Some([old_keys, old_values]) => (
                Tensor::cat(vec![old_keys.values(), keys], 2),
                Tensor::cat(vec![old_values.values(), values], 2),
            ),
        };
        if recent >= self.options.residual_length {
            self.flush();
        }
        all
    }

    fn seen(&self) -> usize {
        self.older_len() + self.recent.seen()
    }

    fn dropped(&self) -> usize {
        self.recent.dropped()
    }

    fn can_crop(&self, len: usize) -> bool {
        let recent = len.saturating_sub(self.older_len());
        self.recent.can_crop(recent)
    }

    fn crop(&mut self, len: usize) {
        let older = self.older_len();
        self.recent.crop(len.saturating_sub(older));
        if len < older {
            let cut = |codes: [Codes; 2]| codes.map(|codes| codes.first(len));
            self.older = self.older.take().filter(|_| len > 0).map(cut);
        }
    }

    fn select(&mut self, rows: &[usize]) {
        let chosen = |codes: [Codes; 2]| codes.map(|codes| codes.select(rows));
        self.older = self.older.take().map(chosen);
        self.recent.select(rows);
    }

    /// The older ones are not what they were.
    fn state(&self) -> Option<LayerState> {
        None
    }

    fn restore(&mut self, state: &LayerState) {
        self.older = None;
        self.recent.restore(state);
    }

    fn memory(&self) -> usize {
        let older = self.older.iter().flatten().map(Codes::memory);
        older.sum::<usize>() + self.recent.memory()
    }
}

/// Rows `[batch, heads, len, dim]` in few bits.
#[derive(Debug, Clone)]
struct Codes {
    /// `[batch, heads, len, bytes of a row]`.
    codes: Tensor<4, Int>,
    /// The smallest value and the step of every group, `[batch, heads, len, 2 * groups]`.
    ranges: Tensor<4>,
    dim: usize,
    bits: CacheBits,
    dtype: DType,
}

impl Codes {
    fn new(rows: Tensor<4>, options: QuantizedCacheOptions) -> Self {
        let dtype = rows.dtype();
        let [batch, heads, len, dim] = rows.dims();
        let group = match options.q_group_size {
            size if size > 0 && dim.is_multiple_of(size) => size,
            _ => dim,
        };
        let groups = dim / group;
        let levels: f32 = match options.bits {
            CacheBits::Four => 15.0,
            CacheBits::Eight => 255.0,
        };
        let rows = rows.cast(DType::F32);
        let rows = rows.reshape([batch, heads, len, groups, group]);
        let smallest = rows.clone().min_dim(4);
        let step = (rows.clone().max_dim(4) - smallest.clone()) / levels;
        let safe = step.clone().clamp_min(f32::MIN_POSITIVE);
        let codes = ((rows - smallest.clone()) / safe).round();
        let codes = codes.clamp(0.0, levels).reshape([batch, heads, len, dim]);
        let codes = match options.bits {
            CacheBits::Four => pack(codes),
            CacheBits::Eight => codes,
        };
        Self {
            codes: codes.int().cast(IntDType::U8),
            ranges: Tensor::cat(vec![smallest, step], 4).reshape([batch, heads, len, 2 * groups]),
            dim,
            bits: options.bits,
            dtype,
        }
    }

    /// The rows again.
    fn values(&self) -> Tensor<4> {
        let [batch, heads, len, ranges] = self.ranges.dims();
        let groups = ranges / 2;
        let codes = self.codes.clone().float().cast(DType::F32);
        let codes = match self.bits {
            CacheBits::Four => unpack(codes, self.dim),
            CacheBits::Eight => codes,
        };
        let codes = codes.reshape([batch, heads, len, groups, self.dim / groups]);
        let ranges = self.ranges.clone().reshape([batch, heads, len, groups, 2]);
        let smallest = ranges.clone().narrow(4, 0, 1);
        let rows = codes * ranges.narrow(4, 1, 1) + smallest;
        rows.reshape([batch, heads, len, self.dim]).cast(self.dtype)
    }

    fn len(&self) -> usize {
        self.ranges.dims()[2]
    }

    fn join(self, new: Self) -> Self {
        Self {
            codes: Tensor::cat(vec![self.codes, new.codes], 2),
            ranges: Tensor::cat(vec![self.ranges, new.ranges], 2),
            ..new
        }
    }

    fn first(self, len: usize) -> Self {
        Self {
            codes: self.codes.narrow(2, 0, len),
            ranges: self.ranges.narrow(2, 0, len),
            ..self
        }
    }

    fn select(self, rows: &[usize]) -> Self {
        let index: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
        let index = Tensor::<1, Int>::from_data(index.as_slice(), &self.ranges.device());
        Self {
            codes: self.codes.select(0, index),
            ranges: select_rows(self.ranges, rows),
            ..self
        }
    }

    fn memory(&self) -> usize {
        self.codes.shape().num_elements() + bytes(&self.ranges)
    }
}

/// Two numbers below 16 as one below 256: those of the first half of a row with those of the second.
fn pack(codes: Tensor<4>) -> Tensor<4> {
    let [batch, heads, len, dim] = codes.dims();
    let half = dim.div_ceil(2);
    let codes = match dim % 2 {
        0 => codes,
        _ => {
            let zeros = Tensor::zeros([batch, heads, len, 1], &codes.device());
            Tensor::cat(vec![codes, zeros], 3)
        }
    };
    let [low, high] = [0, half].map(|start| codes.clone().narrow(3, start, half));
    low + high * 16.0
}

/// The other way round; rows have `dim` numbers.
fn unpack(codes: Tensor<4>, dim: usize) -> Tensor<4> {
    let high = (codes.clone() / 16.0).floor();
    let low = codes - high.clone() * 16.0;
    Tensor::cat(vec![low, high], 3).narrow(3, 0, dim)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    fn farthest_in_steps(bits: CacheBits, dim: usize, q_group_size: usize) -> (f32, Codes) {
        let rows = Tensor::<4>::random([2, 3, 5, dim], Distribution::Default, &Device::flex());
        let options = QuantizedCacheOptions {
            bits,
            q_group_size,
            ..QuantizedCacheOptions::default()
        };
        let codes = Codes::new(rows.clone(), options);
        let groups = codes.ranges.dims()[3] / 2;
        let shape = [2, 3, 5, groups, dim / groups];
        let steps = codes.ranges.clone().reshape([2, 3, 5, groups, 2]);
        let steps = steps.narrow(4, 1, 1).expand(shape);
        let away = (codes.values() - rows).abs().reshape(shape) / steps;
        (away.max().into_scalar(), codes)
    }

    #[test]
    fn what_comes_back_is_half_a_step_away() {
        for bits in [CacheBits::Four, CacheBits::Eight] {
            for (dim, group) in [(64, 32), (64, 64), (20, 64), (7, 64)] {
                let (steps, _) = farthest_in_steps(bits, dim, group);
                assert!(
                    steps <= 0.501,
                    "{bits:?}, {dim} in groups of {group}: {steps}"
                );
            }
        }
    }

    #[test]
    fn four_bits_are_half_a_byte() {
        let (_, four) = farthest_in_steps(CacheBits::Four, 64, 64);
        let (_, eight) = farthest_in_steps(CacheBits::Eight, 64, 64);
        // 30 rows with one range each.
        assert_eq!(four.memory(), 30 * (32 + 8));
        assert_eq!(eight.memory(), 30 * (64 + 8));
    }
}
