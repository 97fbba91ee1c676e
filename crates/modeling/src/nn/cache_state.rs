//! What a cache holds, apart from the kind of cache: to be given back, kept for another text that begins alike, or saved.

use burn::tensor::Tensor;

use super::RecurrentState;

/// The keys, values and recurrent states of all layers. Copies share their tensors.
#[derive(Debug, Clone, Default)]
pub struct CacheState {
    /// In the order of the model.
    pub layers: Vec<LayerState>,
}

/// What one layer holds.
#[derive(Debug, Clone, Default)]
pub struct LayerState {
    /// Keys and values of the newest tokens, `[batch, kv_heads, kept, head_dim]` each.
    pub attention: Option<(Tensor<4>, Tensor<4>)>,
    /// How many tokens the layer saw.
    pub seen: usize,
    /// What a recurrent layer keeps.
    pub recurrent: RecurrentState,
    /// Keys and values of an encoder's states.
    pub cross: Option<(Tensor<4>, Tensor<4>)>,
}

impl CacheState {
    /// How many tokens were seen.
    pub fn seq_len(&self) -> usize {
        let seen = |layer: &LayerState| layer.seen.max(layer.recurrent.seen);
        self.layers.iter().map(seen).max().unwrap_or(0)
    }
}

impl LayerState {
    /// How many tokens have keys.
    pub fn kept(&self) -> usize {
        let keys = self.attention.as_ref().map(|(keys, _)| keys.dims()[2]);
        keys.unwrap_or(0)
    }
}
