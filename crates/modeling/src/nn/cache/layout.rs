//! What the layers of a model need of a cache, and the caches that can be made of it.

use super::{Cache, LayeredCache, QuantizedCacheOptions};
use crate::nn::EncoderDecoderCache;

/// What a model's layers need of a cache; every kind of cache is made of this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheLayout {
    /// One entry per layer; `Some(window)` for those that see the last `window` tokens only, themselves included.
    pub windows: Vec<Option<usize>>,
    /// Every key is computed anew once a sequence is longer than this (Phi-3).
    pub rotation_changes_beyond: Option<usize>,
    /// The layers attend to an encoder's states too.
    pub cross_attention: bool,
}

/// A kind of cache: `cache_implementation` of a generation config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheImplementation {
    /// It grows with the sequence.
    Dynamic,
    /// Its memory is taken at the first token.
    Static {
        /// The most tokens.
        max_cache_len: usize,
    },
    /// All but the newest tokens are kept in few bits.
    Quantized(QuantizedCacheOptions),
}

impl CacheLayout {
    /// Layers that attend to their own tokens.
    pub fn new(windows: impl IntoIterator<Item = Option<usize>>) -> Self {
        Self {
            windows: windows.into_iter().collect(),
            rotation_changes_beyond: None,
            cross_attention: false,
        }
    }

    /// An empty cache.
    pub fn cache(&self, implementation: CacheImplementation) -> Box<dyn Cache> {
        let windows = self.windows.iter().copied();
        let cache = match implementation {
            CacheImplementation::Dynamic => LayeredCache::new(windows),
            CacheImplementation::Static { max_cache_len } => {
                LayeredCache::fixed(windows, max_cache_len)
            }
            CacheImplementation::Quantized(options) => LayeredCache::quantized(windows, options),
        };
        let cache = cache.rotation_changes_beyond(self.rotation_changes_beyond);
        match self.cross_attention {
            true => Box::new(EncoderDecoderCache::new(cache, self.windows.len())),
            false => Box::new(cache),
        }
    }
}
