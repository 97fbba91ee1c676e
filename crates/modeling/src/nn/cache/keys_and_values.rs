//! Keys and values of one layer as they are, in a buffer with room for more.

use burn::tensor::Tensor;
use transformers_ops as ops;

use super::{CacheLayer, bytes};
use crate::nn::LayerState;
use crate::rows::select_rows;

/// The live tokens are `start..start + len` of the buffer.
#[derive(Debug)]
pub(super) struct KeysAndValues {
    buffer: Option<Buffer>,
    start: usize,
    len: usize,
    seen: usize,
    window: Option<usize>,
    /// The buffer's rows, where it has them from the beginning and never more.
    rows: Option<usize>,
}

impl KeysAndValues {
    /// A buffer that grows; with a window it holds what that can still see.
    pub fn growing(window: Option<usize>) -> Self {
        Self {
            buffer: None,
            start: 0,
            len: 0,
            seen: 0,
            window,
            rows: None,
        }
    }

    /// A buffer for `max_len` tokens, or for two windows: what is seen moves to its beginning once per window.
    pub fn fixed(window: Option<usize>, max_len: usize) -> Self {
        let rows = window.map_or(max_len, |window| max_len.min(2 * window));
        Self {
            rows: Some(rows),
            ..Self::growing(window)
        }
    }

    /// All that is kept.
    pub fn view(&self) -> Option<(Tensor<4>, Tensor<4>)> {
        let buffer = self.buffer.as_ref()?;
        Some(buffer.view(self.start, self.len))
    }

    /// A window of W needs W - 1 older tokens for the next one.
    fn kept_before_append(&self) -> usize {
        self.window
            .map_or(self.len, |window| self.len.min(window.saturating_sub(1)))
    }

    /// Keys and values that are more than a fixed buffer has rows for: those that later tokens see are kept.
    fn pass_through(
        &mut self,
        old: Option<(Tensor<4>, Tensor<4>)>,
        [keys, values]: [Tensor<4>; 2],
        rows: usize,
    ) -> (Tensor<4>, Tensor<4>) {
        let join = |old: Option<Tensor<4>>, new| match old {
            Some(old) => Tensor::cat(vec![old, new], 2),
            None => new,
        };
        let (old_keys, old_values) = old.unzip();
        let all = [join(old_keys, keys), join(old_values, values)];
        let len = all[0].dims()[2];
        let kept = self.window.map_or(rows, |window| window.saturating_sub(1));
        let kept = kept.min(len).min(rows);
        (self.start, self.len) = (0, kept);
        if kept == 0 {
            self.buffer = None;
            return all.into();
        }
        let last = all.clone().map(|all| all.narrow(2, len - kept, kept));
        let mut buffer = Buffer::empty(rows, &last);
        buffer.write(0, last);
        self.buffer = Some(buffer);
        all.into()
    }
}

impl CacheLayer for KeysAndValues {
    fn append(&mut self, keys: Tensor<4>, values: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let kept = self.kept_before_append();
        self.start += self.len - kept;
        let new = keys.dims()[2];
        let needed = kept + new;
        self.seen += new;
        let fits = self
            .buffer
            .as_ref()
            .is_some_and(|buffer| self.start + needed <= buffer.capacity());
        let new = [keys, values];
        if !fits {
            let old = self
                .buffer
                .take()
                // A window of one keeps nothing, and burn has no tensors without rows.
                .filter(|_| kept > 0)
                .map(|buffer| buffer.view(self.start, kept));
            self.buffer = Some(match self.rows {
                // A prompt alone is kept as it is; room to grow is made when decoding begins.
                None => Buffer::with_room(old, new, needed),
                Some(rows) if needed > rows => return self.pass_through(old, new, rows),
                Some(rows) => {
                    let mut buffer = Buffer::empty(rows, &new);
                    if let Some(old) = old {
                        buffer.write(0, old.into());
                    }
                    buffer.write(kept, new);
                    buffer
                }
            });
            self.start = 0;
        } else if let Some(buffer) = &mut self.buffer {
            buffer.write(self.start + kept, new);
        }
        self.len = needed;
        self.view().expect("filled just above")
    }

    fn seen(&self) -> usize {
        self.seen
    }

    fn dropped(&self) -> usize {
        self.seen - self.kept_before_append()
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

    fn select(&mut self, rows: &[usize]) {
        if let Some(buffer) = &mut self.buffer {
            buffer.select(rows);
        }
    }

    fn state(&self) -> Option<LayerState> {
        Some(LayerState {
            attention: self.view(),
            seen: self.seen,
            ..LayerState::default()
        })
    }

    fn restore(&mut self, state: &LayerState) {
        self.start = 0;
        self.len = state.kept();
        self.seen = state.seen;
        self.buffer = state.attention.clone().map(|(keys, values)| Buffer {
            keys: Some(keys),
            values: Some(values),
        });
    }

    fn memory(&self) -> usize {
        let buffer = self.buffer.iter();
        let tensors = buffer.flat_map(|buffer| [&buffer.keys, &buffer.values]);
        tensors.flatten().map(bytes).sum()
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
        [keys, values]: [Tensor<4>; 2],
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

    /// Rows of zeros, for keys and values like these.
    fn empty(rows: usize, like: &[Tensor<4>; 2]) -> Self {
        let [keys, values] = like.each_ref().map(|like| {
            let [batch, heads, _, dim] = like.dims();
            let shape = [batch, heads, rows, dim];
            Some(Tensor::zeros(shape, (&like.device(), like.dtype())))
        });
        Self { keys, values }
    }

    fn capacity(&self) -> usize {
        self.keys.as_ref().map_or(0, |keys| keys.dims()[2])
    }

    fn write(&mut self, at: usize, [keys, values]: [Tensor<4>; 2]) {
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
