//! What each decoder layer attends to. Masks and caches are both built from this list.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ConfigError, Result};

/// The kind of one layer. Names that older releases wrote are understood on reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LayerType {
    /// Every earlier position.
    #[serde(alias = "attention")]
    FullAttention,
    /// The last `sliding_window` positions, the own one included.
    SlidingAttention,
    /// The positions of the same chunk.
    ChunkedAttention,
    /// Non-overlapping windows, in vision models.
    WindowAttention,
    /// Those positions that an indexer selects.
    #[serde(alias = "deepseek_sparse_attention", alias = "qwen_sparse_attention")]
    IndexedAttention,
    /// Compressed blocks, selected.
    CompressedSparseAttention,
    /// Strongly compressed blocks, all of them.
    HeavilyCompressedAttention,
    /// Blocks selected by a light index.
    MinimaxM3Sparse,
    /// A short convolution.
    Conv,
    /// A mixture of experts without attention.
    Moe,
    /// Attention together with a recurrent state.
    Hybrid,
    /// Sliding attention together with a recurrent state.
    HybridSliding,
    /// All of the prompt, and a window of what was generated.
    ReferenceSlidingAttention,
    /// A recurrent state instead of keys and values.
    #[serde(alias = "mamba")]
    LinearAttention,
}

impl LayerType {
    /// The type called `name`, by its present or a former name.
    pub fn from_name(name: &str) -> Option<Self> {
        serde_json::from_value(Value::from(name)).ok()
    }

    /// Layers that all slide if there is a `window`, and else attend to every earlier position.
    pub fn all_alike(layers: usize, window: Option<usize>) -> Vec<Self> {
        let kind = match window {
            Some(_) => Self::SlidingAttention,
            None => Self::FullAttention,
        };
        vec![kind; layers]
    }

    /// The name in `layer_types`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullAttention => "full_attention",
            Self::SlidingAttention => "sliding_attention",
            Self::ChunkedAttention => "chunked_attention",
            Self::WindowAttention => "window_attention",
            Self::IndexedAttention => "indexed_attention",
            Self::CompressedSparseAttention => "compressed_sparse_attention",
            Self::HeavilyCompressedAttention => "heavily_compressed_attention",
            Self::MinimaxM3Sparse => "minimax_m3_sparse",
            Self::Conv => "conv",
            Self::Moe => "moe",
            Self::Hybrid => "hybrid",
            Self::HybridSliding => "hybrid_sliding",
            Self::ReferenceSlidingAttention => "reference_sliding_attention",
            Self::LinearAttention => "linear_attention",
        }
    }
}

impl fmt::Display for LayerType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Sliding windows, with a full layer as the last of each `pattern`.
pub fn every_nth_full(layers: usize, pattern: usize) -> Vec<LayerType> {
    (1..=layers)
        .map(|position| match position.checked_rem(pattern) {
            Some(0) => LayerType::FullAttention,
            _ => LayerType::SlidingAttention,
        })
        .collect()
}

/// Full layers, then sliding windows from layer `first` on if there is a `window`.
pub fn sliding_from(layers: usize, first: usize, window: Option<usize>) -> Vec<LayerType> {
    (0..layers)
        .map(|layer| {
            if window.is_some() && layer >= first {
                LayerType::SlidingAttention
            } else {
                LayerType::FullAttention
            }
        })
        .collect()
}

/// Checks that there is one type for each layer.
pub fn validate(layer_types: Option<&[LayerType]>, layers: usize) -> Result<()> {
    match layer_types {
        Some(types) if types.len() != layers => Err(ConfigError::invalid(
            "layer_types",
            format!(
                "it has {} entries, but `num_hidden_layers` is {layers}; there must be one entry per layer",
                types.len()
            ),
        )),
        _ => Ok(()),
    }
}

/// Rewrites the former names in a list of `layer_types`.
pub(crate) fn rename_legacy(layer_types: &mut Value) {
    for name in layer_types.as_array_mut().into_iter().flatten() {
        if let Some(layer_type) = name.as_str().and_then(LayerType::from_name) {
            *name = layer_type.name().into();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_agree_with_serde() {
        for name in [
            "full_attention",
            "sliding_attention",
            "chunked_attention",
            "window_attention",
            "indexed_attention",
            "compressed_sparse_attention",
            "heavily_compressed_attention",
            "minimax_m3_sparse",
            "conv",
            "moe",
            "hybrid",
            "hybrid_sliding",
            "reference_sliding_attention",
            "linear_attention",
        ] {
            let layer_type = LayerType::from_name(name).unwrap();
            assert_eq!(layer_type.name(), name);
            assert_eq!(serde_json::to_value(layer_type).unwrap(), name);
        }
        assert_eq!(LayerType::from_name("sparse"), None);
    }

    #[test]
    fn former_names_are_rewritten() {
        let mut types = serde_json::json!([
            "mamba",
            "attention",
            "deepseek_sparse_attention",
            "qwen_sparse_attention",
            "conv",
            "unknown"
        ]);
        rename_legacy(&mut types);
        assert_eq!(
            types,
            serde_json::json!([
                "linear_attention",
                "full_attention",
                "indexed_attention",
                "indexed_attention",
                "conv",
                "unknown"
            ])
        );
    }
}
