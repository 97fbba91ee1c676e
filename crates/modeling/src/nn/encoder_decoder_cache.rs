//! The cache of a decoder that attends to an encoder's states.

use burn::tensor::Tensor;

use super::{Cache, CacheState, LayeredCache};
use crate::rows::select_rows;

/// Keys and values of the decoder's own tokens, and of the encoder's states, which never change.
#[derive(Debug)]
pub struct EncoderDecoderCache {
    own: LayeredCache,
    cross: Vec<Option<(Tensor<4>, Tensor<4>)>>,
}

impl EncoderDecoderCache {
    /// A cache for a decoder of `layers` layers; `own` keeps the decoder's own tokens.
    pub fn new(own: LayeredCache, layers: usize) -> Self {
        Self {
            own,
            cross: vec![None; layers],
        }
    }
}

impl Cache for EncoderDecoderCache {
    fn update(
        &mut self,
        layer: usize,
        keys: Tensor<4>,
        values: Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>) {
        self.own.update(layer, keys, values)
    }

    fn cross(
        &mut self,
        layer: usize,
        make: &mut dyn FnMut() -> (Tensor<4>, Tensor<4>),
    ) -> (Tensor<4>, Tensor<4>) {
        self.cross[layer].get_or_insert_with(make).clone()
    }

    fn seq_len(&self) -> usize {
        self.own.seq_len()
    }

    fn capacity(&self) -> Option<usize> {
        self.own.capacity()
    }

    fn dropped(&self, layer: usize) -> usize {
        self.own.dropped(layer)
    }

    fn crop(&mut self, len: usize) -> bool {
        self.own.crop(len)
    }

    fn select(&mut self, rows: &[usize]) {
        self.own.select(rows);
        for (keys, values) in self.cross.iter_mut().flatten() {
            *keys = select_rows(keys.clone(), rows);
            *values = select_rows(values.clone(), rows);
        }
    }

    fn state(&self) -> Option<CacheState> {
        let mut state = self.own.state()?;
        for (layer, cross) in state.layers.iter_mut().zip(&self.cross) {
            layer.cross.clone_from(cross);
        }
        Some(state)
    }

    fn restore(&mut self, state: &CacheState) -> bool {
        let restored = self.own.restore(state);
        if restored {
            let cross = state.layers.iter().map(|layer| layer.cross.clone());
            self.cross = cross.collect();
        }
        restored
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// `[rows, 1, 1, 1]`.
    fn column(values: &[f32]) -> Tensor<4> {
        let data = TensorData::new(values.to_vec(), [values.len(), 1, 1, 1]);
        Tensor::from_data(data, &Device::flex())
    }

    fn values(tensor: Tensor<4>) -> Vec<f32> {
        tensor.into_data().iter().collect()
    }

    #[test]
    fn the_encoders_states_are_made_once_and_follow_the_rows() {
        let mut cache = EncoderDecoderCache::new(LayeredCache::new([None]), 1);
        let mut made = 0;
        for _ in 0..2 {
            cache.cross(0, &mut || {
                made += 1;
                (column(&[1.0, 2.0]), column(&[3.0, 4.0]))
            });
            cache.update(0, column(&[5.0, 6.0]), column(&[7.0, 8.0]));
        }
        assert_eq!((made, cache.seq_len()), (1, 2));

        cache.select(&[1, 1, 0]);
        let state = cache.state().expect("it has one");
        cache = EncoderDecoderCache::new(LayeredCache::new([None]), 1);
        assert!(cache.restore(&state));
        assert!(cache.crop(1));
        let (keys, states) = cache.cross(0, &mut || unreachable!("made before"));
        assert_eq!(values(keys), [2.0, 2.0, 1.0]);
        assert_eq!(values(states), [4.0, 4.0, 3.0]);
        let (own, _) = cache.update(0, column(&[0.0; 3]), column(&[0.0; 3]));
        assert_eq!(values(own), [6.0, 0.0, 6.0, 0.0, 5.0, 0.0]);
    }
}
