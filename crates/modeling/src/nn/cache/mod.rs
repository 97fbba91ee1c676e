//! Key and value caches, one entry per layer.

mod keys_and_values;
mod layered;
mod layout;
mod quantized;

use std::fmt::Debug;

use burn::tensor::Tensor;

use super::{CacheState, LayerState, PackedBatch, RecurrentState};
use crate::ModelError;

pub use layered::LayeredCache;
pub use layout::{CacheImplementation, CacheLayout};
pub use quantized::{CacheBits, QuantizedCacheOptions};

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

    /// The sequences of this forward pass, where they lie one after the other in one row; what [`update`](Self::update)
    /// gives are then blocks, and the batch says whose.
    fn packed(&self) -> Option<PackedBatch> {
        None
    }

    /// How many tokens were seen before this forward pass, padding included.
    fn seq_len(&self) -> usize;

    /// How many of the oldest tokens `layer` no longer holds.
    fn dropped(&self, layer: usize) -> usize;

    /// The most tokens that it can hold; `None`: it grows.
    fn capacity(&self) -> Option<usize> {
        None
    }

    /// Whether a sequence of `len` tokens needs all of its keys anew, because the rotation changed on the way.
    fn is_outdated(&self, len: usize) -> bool {
        self.seq_len() > 0 && self.rotation_changes(self.seq_len(), len)
    }

    /// Whether a sequence that grows from one length to another has another rotation then.
    fn rotation_changes(&self, from: usize, to: usize) -> bool {
        let _ = (from, to);
        false
    }

    /// Forgets all but the first `len` tokens. `false`: some layer has already dropped tokens that would now be
    /// needed, and nothing was changed.
    fn crop(&mut self, len: usize) -> bool;

    /// Makes row `i` a copy of row `rows[i]`: beam search reorders, `num_return_sequences` repeats, and finished rows
    /// are left out.
    fn select(&mut self, rows: &[usize]);

    /// What it holds, to be kept or saved. `None`: this kind of cache cannot say.
    fn state(&self) -> Option<CacheState> {
        None
    }

    /// Makes it hold what `state` says. `false`: the state is not of such a cache, and nothing was changed.
    fn restore(&mut self, state: &CacheState) -> bool {
        let _ = state;
        false
    }
}

/// Refuses more new tokens than the cache has room for.
pub(crate) fn check_room(cache: Option<&dyn Cache>, new: usize) -> Result<(), ModelError> {
    let Some((cache, capacity)) = cache.and_then(|cache| Some((cache, cache.capacity()?))) else {
        return Ok(());
    };
    match cache.seq_len() + new {
        len if len > capacity => Err(ModelError::CacheFull { len, capacity }),
        _ => Ok(()),
    }
}

/// One attention layer of a [`LayeredCache`]; the methods are those of [`Cache`].
trait CacheLayer: Debug + Send {
    fn append(&mut self, keys: Tensor<4>, values: Tensor<4>) -> (Tensor<4>, Tensor<4>);

    fn seen(&self) -> usize;

    fn dropped(&self) -> usize;

    /// Whether all that is needed after [`Self::crop`] is there.
    fn can_crop(&self, len: usize) -> bool;

    fn crop(&mut self, len: usize);

    fn select(&mut self, rows: &[usize]);

    /// What it holds; `None` where that is not what it was given.
    fn state(&self) -> Option<LayerState>;

    /// Makes it hold what `state` says, which is of a layer that can say so.
    fn restore(&mut self, state: &LayerState);

    /// In bytes.
    fn memory(&self) -> usize;
}

/// The bytes that a tensor's elements take.
fn bytes<const D: usize>(tensor: &Tensor<D>) -> usize {
    tensor.shape().num_elements() * tensor.dtype().size()
}
