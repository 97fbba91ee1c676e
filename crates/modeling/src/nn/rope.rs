//! Rotary position embedding: from a config's `rope_parameters` to the angles of one forward pass.

use burn::tensor::{DType, Device, Tensor, TensorData};
use transformers_config::{ConfigError, RopeConfig};
use transformers_ops as ops;

use crate::Rows;

/// The rotation of one kind of layer.
#[derive(Debug, Clone)]
pub struct RotaryEmbedding {
    rope: RopeConfig,
    head_dim: usize,
    max_position_embeddings: usize,
}

impl RotaryEmbedding {
    /// Checks that `rope` gives frequencies for heads of `head_dim` features.
    ///
    /// # Errors
    /// What [`RopeConfig::frequencies`] finds wrong with the parameters.
    pub fn new(
        rope: RopeConfig,
        head_dim: usize,
        max_position_embeddings: usize,
    ) -> Result<Self, ConfigError> {
        rope.frequencies(head_dim, max_position_embeddings, 1)?;
        Ok(Self {
            rope,
            head_dim,
            max_position_embeddings,
        })
    }

    /// The angles at `positions` (`[batch, seq]`, or one row for all).
    ///
    /// Types whose frequencies depend on the length (dynamic, longrope) take it from the largest position, as the
    /// reference does once per forward pass.
    pub fn tables(
        &self,
        positions: &Rows<u32>,
        device: &Device,
        dtype: DType,
    ) -> Result<RotaryTables, ConfigError> {
        let length = positions
            .values()
            .iter()
            .max()
            .map_or(1, |p| *p as usize + 1);
        let frequencies =
            self.rope
                .frequencies(self.head_dim, self.max_position_embeddings, length)?;
        let half = frequencies.inv_freq.len();
        let mut cos = Vec::with_capacity(positions.values().len() * half);
        let mut sin = Vec::with_capacity(cos.capacity());
        for &position in positions.values() {
            for &frequency in &frequencies.inv_freq {
                let (s, c) = (position as f32 * frequency).sin_cos();
                cos.push(c * frequencies.attention_factor);
                sin.push(s * frequencies.attention_factor);
            }
        }
        let [batch, seq] = positions.dims();
        let tensor = |values| {
            Tensor::<3>::from_data(TensorData::new(values, [batch, seq, half]), device).cast(dtype)
        };
        Ok(RotaryTables {
            cos: tensor(cos),
            sin: tensor(sin),
        })
    }
}

/// Cosines and sines of one forward pass, shared by all layers of a kind.
#[derive(Debug, Clone)]
pub struct RotaryTables {
    cos: Tensor<3>,
    sin: Tensor<3>,
}

impl RotaryTables {
    /// Rotates queries or keys `[batch, heads, seq, head_dim]`.
    pub fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        ops::rotary(x, self.cos.clone(), self.sin.clone())
    }
}
