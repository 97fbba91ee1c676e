//! One cache for all layers, whatever keeps their keys and values.

use burn::tensor::Tensor;

use super::keys_and_values::KeysAndValues;
use super::quantized::{QuantizedCacheOptions, QuantizedLayer};
use super::{Cache, CacheLayer};
use crate::nn::{CacheState, LayerState, RecurrentState};

/// Keys and values of every layer, and the states of recurrent ones. Sliding layers keep what their window can still
/// see; how the others keep their tokens is chosen when it is made:
///
/// ```
/// use transformers_modeling::nn::{Cache, LayeredCache, QuantizedCacheOptions};
///
/// let windows = [None, Some(128)];
/// let dynamic = LayeredCache::new(windows);
/// let fixed = LayeredCache::fixed(windows, 1024);
/// let quantized = LayeredCache::quantized(windows, QuantizedCacheOptions::default());
/// assert_eq!((dynamic.capacity(), fixed.capacity()), (None, Some(1024)));
/// # assert_eq!(quantized.memory(), 0);
/// ```
#[derive(Debug)]
#[doc(alias = "DynamicCache")]
#[doc(alias = "StaticCache")]
#[doc(alias = "QuantizedCache")]
pub struct LayeredCache {
    layers: Vec<Box<dyn CacheLayer>>,
    states: Vec<RecurrentState>,
    /// Beyond this length keys are rotated otherwise.
    rotation_changes_beyond: Option<usize>,
    capacity: Option<usize>,
}

impl LayeredCache {
    /// A cache that grows with the sequence (the reference's `DynamicCache`): one layer per entry; `Some(window)` for
    /// layers that see the last `window` tokens only, themselves included.
    pub fn new(windows: impl IntoIterator<Item = Option<usize>>) -> Self {
        Self::of(windows, KeysAndValues::growing)
    }

    /// A cache whose memory is taken at the first token, for `max_cache_len` of them (`StaticCache`). Sliding layers
    /// have room for two windows.
    pub fn fixed(windows: impl IntoIterator<Item = Option<usize>>, max_cache_len: usize) -> Self {
        let layer = |window| KeysAndValues::fixed(window, max_cache_len);
        Self {
            capacity: Some(max_cache_len),
            ..Self::of(windows, layer)
        }
    }

    /// A cache that keeps all but the newest tokens in 4 or 8 bits (`QuantizedCache`). Sliding layers keep theirs as they
    /// are.
    pub fn quantized(
        windows: impl IntoIterator<Item = Option<usize>>,
        options: QuantizedCacheOptions,
    ) -> Self {
        Self::of(windows, |window| QuantizedLayer::new(window, options))
    }

    fn of<L: CacheLayer + 'static>(
        windows: impl IntoIterator<Item = Option<usize>>,
        layer: impl Fn(Option<usize>) -> L,
    ) -> Self {
        let boxed = |window| Box::new(layer(window)) as Box<dyn CacheLayer>;
        let layers: Vec<_> = windows.into_iter().map(boxed).collect();
        let states = layers.iter().map(|_| RecurrentState::default()).collect();
        Self {
            layers,
            states,
            rotation_changes_beyond: None,
            capacity: None,
        }
    }

    /// For a model that computes every key anew once a sequence is longer than `len` (Phi-3).
    #[must_use]
    pub fn rotation_changes_beyond(self, len: Option<usize>) -> Self {
        Self {
            rotation_changes_beyond: len,
            ..self
        }
    }

    /// The bytes that keys and values take, with the room that is kept for more.
    pub fn memory(&self) -> usize {
        self.layers.iter().map(|layer| layer.memory()).sum()
    }
}

impl Cache for LayeredCache {
    fn update(
        &mut self,
        layer: usize,
        keys: Tensor<4>,
        values: Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>) {
        self.layers[layer].append(keys, values)
    }

    fn recurrent(&mut self, layer: usize) -> Option<&mut RecurrentState> {
        self.states.get_mut(layer)
    }

    fn seq_len(&self) -> usize {
        let attention = self.layers.first().map_or(0, |layer| layer.seen());
        let recurrent = self.states.first().map_or(0, |state| state.seen);
        attention.max(recurrent)
    }

    fn dropped(&self, layer: usize) -> usize {
        self.layers[layer].dropped()
    }

    fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    fn rotation_changes(&self, from: usize, to: usize) -> bool {
        let changes = |limit| from <= limit && limit < to;
        self.rotation_changes_beyond.is_some_and(changes)
    }

    fn crop(&mut self, len: usize) -> bool {
        let possible = self.layers.iter().all(|layer| layer.can_crop(len))
            && self.states.iter().all(|state| state.can_crop(len));
        if possible {
            self.layers.iter_mut().for_each(|layer| layer.crop(len));
            self.states.iter_mut().for_each(|state| state.crop(len));
        }
        possible
    }

    fn select(&mut self, rows: &[usize]) {
        self.layers.iter_mut().for_each(|layer| layer.select(rows));
        self.states.iter_mut().for_each(|state| state.select(rows));
    }

    fn state(&self) -> Option<CacheState> {
        let layers = self.layers.iter().zip(&self.states);
        let layers = layers.map(|(layer, recurrent)| {
            Some(LayerState {
                recurrent: recurrent.clone(),
                ..layer.state()?
            })
        });
        let layers = layers.collect::<Option<_>>()?;
        Some(CacheState { layers })
    }

    fn restore(&mut self, state: &CacheState) -> bool {
        if state.layers.len() != self.layers.len() || self.state().is_none() {
            return false;
        }
        for (index, from) in state.layers.iter().enumerate() {
            self.layers[index].restore(from);
            self.states[index] = from.recurrent.clone();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// Keys `[1, 1, len, 1]` that are their own positions; values are ten times that.
    fn tokens(range: std::ops::Range<usize>) -> (Tensor<4>, Tensor<4>) {
        let values: Vec<f32> = range.map(|position| position as f32).collect();
        let data = TensorData::new(values.clone(), [1, 1, values.len(), 1]);
        let keys = Tensor::from_data(data, &Device::flex());
        (keys.clone(), keys * 10.0)
    }

    fn positions(tensor: Tensor<4>) -> Vec<usize> {
        tensor
            .into_data()
            .iter::<f32>()
            .map(|value| value as usize)
            .collect()
    }

    fn append(cache: &mut LayeredCache, range: std::ops::Range<usize>) -> Vec<usize> {
        let (keys, values) = tokens(range);
        let (keys, values) = cache.update(0, keys, values);
        let keys = positions(keys);
        let tens: Vec<usize> = keys.iter().map(|position| position * 10).collect();
        assert_eq!(positions(values), tens);
        keys
    }

    #[test]
    fn everything_is_kept_across_growth() {
        let mut cache = LayeredCache::new([None]);
        assert_eq!(append(&mut cache, 0..5), (0..5).collect::<Vec<_>>());
        for next in 5..200 {
            assert_eq!(
                append(&mut cache, next..next + 1),
                (0..=next).collect::<Vec<_>>()
            );
            assert_eq!((cache.seq_len(), cache.dropped(0)), (next + 1, 0));
        }
    }

    #[test]
    fn a_window_sees_itself_and_what_is_before() {
        let mut cache = LayeredCache::new([Some(4)]);
        // A prompt is seen whole: its own mask narrows it.
        assert_eq!(append(&mut cache, 0..6), [0, 1, 2, 3, 4, 5]);
        for next in 6..200 {
            assert_eq!(cache.dropped(0), next - 3);
            assert_eq!(
                append(&mut cache, next..next + 1),
                [next - 3, next - 2, next - 1, next]
            );
        }
        assert_eq!(append(&mut cache, 200..202), [197, 198, 199, 200, 201]);
    }

    #[test]
    fn cropping_forgets_the_newest() {
        let mut cache = LayeredCache::new([None]);
        append(&mut cache, 0..6);
        assert!(cache.crop(4));
        assert_eq!(cache.seq_len(), 4);
        assert_eq!(append(&mut cache, 4..5), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_window_is_cropped_only_while_it_holds_what_is_needed() {
        let mut cache = LayeredCache::new([None, Some(4)]);
        for layer in 0..2 {
            let (keys, values) = tokens(0..6);
            cache.update(layer, keys, values);
        }
        assert!(cache.crop(5));
        for layer in 0..2 {
            let (keys, values) = tokens(5..6);
            cache.update(layer, keys, values);
        }
        // The window now begins at 2: going back to 3 tokens would need 0, 1 and 2.
        assert!(!cache.crop(3));
        assert_eq!(cache.seq_len(), 6);
    }

    #[test]
    fn a_changed_rotation_outdates_what_was_there() {
        let mut cache = LayeredCache::new([None]).rotation_changes_beyond(Some(4));
        assert!(!cache.is_outdated(9));
        append(&mut cache, 0..4);
        assert!(!cache.is_outdated(4));
        assert!(cache.is_outdated(5));
        append(&mut cache, 4..5);
        assert!(!cache.is_outdated(6));
    }

    #[test]
    fn rows_are_selected() {
        let mut cache = LayeredCache::new([None]);
        let rows = |values: [f32; 2]| {
            Tensor::<4>::from_data(
                TensorData::new(values.to_vec(), [2, 1, 1, 1]),
                &Device::flex(),
            )
        };
        cache.update(0, rows([1.0, 2.0]), rows([1.0, 2.0]));
        cache.select(&[1, 1, 0]);
        let zeros = Tensor::zeros([3, 1, 1, 1], &Device::flex());
        let (keys, _) = cache.update(0, zeros.clone(), zeros);
        assert_eq!(positions(keys), [2, 0, 2, 0, 1, 0]);
    }

    /// The same tokens through two caches; both show the same keys after every step.
    fn same(mut other: LayeredCache, windows: &[Option<usize>], prompt: usize) {
        let mut dynamic = LayeredCache::new(windows.to_vec());
        let mut next = 0;
        let mut steps = vec![prompt];
        steps.extend([1; 20]);
        steps.extend([5, 1, 1]);
        for new in steps {
            for layer in 0..windows.len() {
                let (keys, values) = tokens(next..next + new);
                let mine = dynamic.update(layer, keys.clone(), values.clone());
                let theirs = other.update(layer, keys, values);
                assert_eq!(positions(mine.0), positions(theirs.0));
                assert_eq!(positions(mine.1), positions(theirs.1));
                assert_eq!(dynamic.dropped(layer), other.dropped(layer));
            }
            next += new;
            assert_eq!(dynamic.seq_len(), other.seq_len());
        }
        assert_eq!(dynamic.crop(next - 2), other.crop(next - 2));
        dynamic.select(&[0, 0]);
        other.select(&[0, 0]);
        for layer in 0..windows.len() {
            let (keys, values) = tokens(next - 2..next - 1);
            let (keys, values) = (keys.repeat_dim(0, 2), values.repeat_dim(0, 2));
            let mine = dynamic.update(layer, keys.clone(), values.clone());
            let theirs = other.update(layer, keys, values);
            assert_eq!(positions(mine.0), positions(theirs.0));
            assert_eq!(positions(mine.1), positions(theirs.1));
        }
    }

    #[test]
    fn a_state_is_taken_and_restored() {
        let mut cache = LayeredCache::new([Some(4)]);
        append(&mut cache, 0..6);
        append(&mut cache, 6..7);
        let state = cache.state().expect("dynamic caches have one");
        append(&mut cache, 7..8);
        for mut other in [
            LayeredCache::new([Some(4)]),
            LayeredCache::fixed([Some(4)], 64),
        ] {
            assert!(other.restore(&state));
            assert_eq!((other.seq_len(), other.dropped(0)), (7, 4));
            // What goes on here changes nothing there.
            assert_eq!(append(&mut other, 7..9), [4, 5, 6, 7, 8]);
        }
        let mut again = LayeredCache::new([Some(4)]);
        assert!(again.restore(&state));
        assert_eq!(append(&mut again, 7..8), [4, 5, 6, 7]);
        assert!(!LayeredCache::new([None, None]).restore(&state));
        let options = QuantizedCacheOptions::default();
        assert!(!LayeredCache::quantized([Some(4)], options).restore(&state));
    }

    #[test]
    fn a_fixed_cache_shows_what_a_growing_one_shows() {
        for prompt in [1, 3, 9, 17] {
            let windows = [None, Some(4), Some(64)];
            same(LayeredCache::fixed(windows, 64), &windows, prompt);
        }
    }

    #[test]
    fn a_fixed_cache_takes_its_memory_at_once() {
        let mut cache = LayeredCache::fixed([None, Some(4)], 64);
        for layer in 0..2 {
            let (keys, values) = tokens(0..9);
            cache.update(layer, keys, values);
        }
        // Keys and values of 64 tokens and of 8, in f32.
        let memory = 2 * 4 * (64 + 8);
        assert_eq!(cache.memory(), memory);
        for next in 9..64 {
            for layer in 0..2 {
                let (keys, values) = tokens(next..next + 1);
                cache.update(layer, keys, values);
            }
        }
        assert_eq!(cache.memory(), memory);
    }

    #[test]
    fn quantised_tokens_come_and_go_as_others_do() {
        // One feature is its own range, and so exact.
        for prompt in [1, 3, 9] {
            let windows = [None, Some(4)];
            let options = QuantizedCacheOptions {
                residual_length: 4,
                ..QuantizedCacheOptions::default()
            };
            same(LayeredCache::quantized(windows, options), &windows, prompt);
        }
    }
}
