//! Key and value caches, one entry per layer.

use std::fmt::Debug;

use burn::tensor::Tensor;
use transformers_ops as ops;

use super::RecurrentState;
use crate::rows::select_rows;

/// Keys and values of the tokens seen so far.
///
/// Model files see only this trait, so that another kind of cache (paged, quantised) changes no family.
pub trait Cache: Debug + Send {
    /// Appends the keys and values of new tokens (`[batch, kv_heads, new, head_dim]`) to `layer` and gives all those
    /// that the layer attends to: `[batch, kv_heads, kv_len, head_dim]`, the new ones last.
    fn update(
        &mut self,
        layer: usize,
        keys: Tensor<4>,
        values: Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>);

    /// The keys and values of an encoder's states for `layer`, `[batch, heads, states, head_dim]` each. A cache that keeps
    /// them calls `make` in the first pass only; this one does not.
    fn cross(
        &mut self,
        layer: usize,
        make: &mut dyn FnMut() -> (Tensor<4>, Tensor<4>),
    ) -> (Tensor<4>, Tensor<4>) {
        let _ = layer;
        make()
    }

    /// What a recurrent `layer` keeps; `None`: nothing, and the layer begins anew in every pass.
    fn recurrent(&mut self, layer: usize) -> Option<&mut RecurrentState> {
        let _ = layer;
        None
    }

    /// How many tokens were seen before this forward pass, padding included.
    fn seq_len(&self) -> usize;

    /// How many of the oldest tokens `layer` no longer holds.
    fn dropped(&self, layer: usize) -> usize;

    /// Whether a sequence of `len` tokens needs all of its keys anew, because the rotation changed on the way.
    fn is_outdated(&self, len: usize) -> bool {
        let _ = len;
        false
    }

    /// Forgets all but the first `len` tokens. `false`: some layer has already dropped tokens that would now be
    /// needed, and nothing was changed.
    fn crop(&mut self, len: usize) -> bool;

    /// Makes row `i` a copy of row `rows[i]`: beam search reorders, `num_return_sequences` repeats, and finished rows
    /// are left out.
    fn select(&mut self, rows: &[usize]);
}

/// A cache that grows with the sequence; sliding layers keep what their window can still see, and recurrent ones their
/// state.
#[derive(Debug)]
pub struct DynamicCache {
    layers: Vec<LayerKv>,
    states: Vec<RecurrentState>,
    /// Beyond this length keys are rotated otherwise.
    rotation_changes_beyond: Option<usize>,
}

impl DynamicCache {
    /// One layer per entry; `Some(window)` for layers that see the last `window` tokens only, themselves included.
    pub fn new(windows: impl IntoIterator<Item = Option<usize>>) -> Self {
        let layers: Vec<_> = windows.into_iter().map(LayerKv::new).collect();
        let states = layers.iter().map(|_| RecurrentState::default()).collect();
        Self {
            layers,
            states,
            rotation_changes_beyond: None,
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
}

impl Cache for DynamicCache {
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
        let attention = self.layers.first().map_or(0, |layer| layer.seen);
        let recurrent = self.states.first().map_or(0, |state| state.seen);
        attention.max(recurrent)
    }

    fn dropped(&self, layer: usize) -> usize {
        let layer = &self.layers[layer];
        layer.seen - layer.kept_before_append()
    }

    fn is_outdated(&self, len: usize) -> bool {
        let seen = self.seq_len();
        let changes = |limit| seen > 0 && seen <= limit && limit < len;
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
        self.layers
            .iter_mut()
            .filter_map(|layer| layer.buffer.as_mut())
            .for_each(|buffer| buffer.select(rows));
        self.states.iter_mut().for_each(|state| state.select(rows));
    }
}

/// One layer: the live tokens are `start..start + len` of the buffer.
#[derive(Debug)]
struct LayerKv {
    buffer: Option<Buffer>,
    start: usize,
    len: usize,
    seen: usize,
    window: Option<usize>,
}

impl LayerKv {
    fn new(window: Option<usize>) -> Self {
        Self {
            buffer: None,
            start: 0,
            len: 0,
            seen: 0,
            window,
        }
    }

    /// A window of W needs W - 1 older tokens for the next one.
    fn kept_before_append(&self) -> usize {
        self.window
            .map_or(self.len, |window| self.len.min(window.saturating_sub(1)))
    }

    fn append(&mut self, keys: Tensor<4>, values: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let kept = self.kept_before_append();
        self.start += self.len - kept;
        let new = keys.dims()[2];
        let needed = kept + new;
        let fits = self
            .buffer
            .as_ref()
            .is_some_and(|buffer| self.start + needed <= buffer.capacity());
        if !fits {
            let old = self
                .buffer
                .take()
                .map(|buffer| buffer.view(self.start, kept));
            // A prompt alone is kept as it is; room to grow is made when decoding begins.
            self.buffer = Some(Buffer::with_room(old, keys, values, needed));
            self.start = 0;
        } else if let Some(buffer) = &mut self.buffer {
            buffer.write(self.start + kept, keys, values);
        }
        self.len = needed;
        self.seen += new;
        self.buffer
            .as_ref()
            .expect("filled just above")
            .view(self.start, self.len)
    }

    fn can_crop(&self, len: usize) -> bool {
        let removed = self.seen.saturating_sub(len);
        // What a sliding layer would still need must not have been dropped.
        let needed = self.window.map_or(len, |window| len.min(window - 1));
        removed == 0 || removed <= self.len && self.len - removed >= needed.min(len)
    }

    fn crop(&mut self, len: usize) {
        let removed = self.seen.saturating_sub(len);
        self.len -= removed;
        self.seen -= removed;
    }
}

/// Storage for one layer. The tensors are owned uniquely between two steps, so that writes happen in place.
#[derive(Debug)]
struct Buffer {
    keys: Option<Tensor<4>>,
    values: Option<Tensor<4>>,
}

impl Buffer {
    fn with_room(
        old: Option<(Tensor<4>, Tensor<4>)>,
        keys: Tensor<4>,
        values: Tensor<4>,
        needed: usize,
    ) -> Self {
        let Some((old_keys, old_values)) = old else {
            return Self {
                keys: Some(keys),
                values: Some(values),
            };
        };
        let spare = needed.max(64);
        let grow = |old: Tensor<4>, new: Tensor<4>| {
            let [batch, heads, _, dim] = new.dims();
            let room = Tensor::zeros([batch, heads, spare, dim], (&new.device(), new.dtype()));
            Tensor::cat(vec![old, new, room], 2)
        };
        Self {
            keys: Some(grow(old_keys, keys)),
            values: Some(grow(old_values, values)),
        }
    }

    fn capacity(&self) -> usize {
        self.keys.as_ref().map_or(0, |keys| keys.dims()[2])
    }

    fn write(&mut self, at: usize, keys: Tensor<4>, values: Tensor<4>) {
        // `take` leaves the buffer with one owner, so that it is written in place.
        for (slot, rows) in [(&mut self.keys, keys), (&mut self.values, values)] {
            *slot = slot.take().map(|buffer| ops::write_rows(buffer, at, rows));
        }
    }

    fn view(&self, start: usize, len: usize) -> (Tensor<4>, Tensor<4>) {
        let part = |tensor: &Option<Tensor<4>>| {
            let tensor = tensor.as_ref().expect("present between two writes");
            if start == 0 && len == tensor.dims()[2] {
                tensor.clone()
            } else {
                tensor.clone().narrow(2, start, len)
            }
        };
        (part(&self.keys), part(&self.values))
    }

    fn select(&mut self, rows: &[usize]) {
        for slot in [&mut self.keys, &mut self.values] {
            *slot = slot.take().map(|tensor| select_rows(tensor, rows));
        }
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

    fn append(cache: &mut DynamicCache, range: std::ops::Range<usize>) -> Vec<usize> {
        let (keys, values) = tokens(range);
        let (keys, values) = cache.update(0, keys, values);
        let keys = positions(keys);
        let tens: Vec<usize> = keys.iter().map(|position| position * 10).collect();
        assert_eq!(positions(values), tens);
        keys
    }

    #[test]
    fn everything_is_kept_across_growth() {
        let mut cache = DynamicCache::new([None]);
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
        let mut cache = DynamicCache::new([Some(4)]);
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
        let mut cache = DynamicCache::new([None]);
        append(&mut cache, 0..6);
        assert!(cache.crop(4));
        assert_eq!(cache.seq_len(), 4);
        assert_eq!(append(&mut cache, 4..5), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_window_is_cropped_only_while_it_holds_what_is_needed() {
        let mut cache = DynamicCache::new([None, Some(4)]);
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
        let mut cache = DynamicCache::new([None]).rotation_changes_beyond(Some(4));
        assert!(!cache.is_outdated(9));
        append(&mut cache, 0..4);
        assert!(!cache.is_outdated(4));
        assert!(cache.is_outdated(5));
        append(&mut cache, 4..5);
        assert!(!cache.is_outdated(6));
    }

    #[test]
    fn rows_are_selected() {
        let mut cache = DynamicCache::new([None]);
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
}
