//! Rotary position embedding: from a config's `rope_parameters` to the angles of one forward pass.

use burn::tensor::{DType, Device, Tensor, TensorData};
use transformers_config::{ConfigError, RopeConfig};
use transformers_ops as ops;
pub use transformers_ops::RotaryLayout;

use crate::Rows;

/// The rotation of one kind of layer.
#[derive(Debug, Clone)]
pub struct RotaryEmbedding {
    rope: RopeConfig,
    head_dim: usize,
    max_position_embeddings: usize,
    layout: RotaryLayout,
    query_scale: Option<QueryScale>,
    multimodal: Option<MultimodalRotary>,
}

/// How frequencies share the three positions of a token among images: time, height and width (M-RoPE, Wang et al. 2024).
#[derive(Debug, Clone, Copy)]
pub struct MultimodalRotary {
    /// One after the other, from the highest frequency on: time, height, width, time and so on; not in sections (Qwen3-VL).
    pub interleaved: bool,
    /// `mrope_section` where the config has none.
    pub sections: [usize; 3],
}

impl MultimodalRotary {
    /// Which of the three positions each of `half` frequencies turns by.
    fn rows(self, given: Option<&[usize]>, half: usize) -> Result<Vec<usize>, ConfigError> {
        let sections = given.unwrap_or(&self.sections);
        let wrong = |reason| ConfigError::invalid("mrope_section", reason);
        if sections.len() < 3 {
            return Err(wrong(format!("{} sections, and not three", sections.len())));
        }
        if self.interleaved {
            let row = |index: usize| match index % 3 {
                row if row > 0 && index < sections[row].saturating_mul(3) => row,
                _ => 0,
            };
            return Ok((0..half).map(row).collect());
        }
        let sum = sections
            .iter()
            .fold(0, |sum: usize, size| sum.saturating_add(*size));
        if sum != half {
            return Err(wrong(format!("{sum} frequencies in all, of {half}")));
        }
        let section = |(index, size): (usize, &usize)| vec![index % 3; *size];
        Ok(sections.iter().enumerate().flat_map(section).collect())
    }
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
            layout: RotaryLayout::HalfSplit,
            query_scale: None,
            multimodal: None,
        })
    }

    /// For texts among images too.
    #[must_use]
    pub fn with_multimodal(self, multimodal: Option<MultimodalRotary>) -> Self {
        Self { multimodal, ..self }
    }

    /// With another choice of which features rotate together.
    #[must_use]
    pub fn with_layout(self, layout: RotaryLayout) -> Self {
        Self { layout, ..self }
    }

    /// With queries that grow with their position.
    #[must_use]
    pub fn with_query_scale(self, query_scale: Option<QueryScale>) -> Self {
        Self {
            query_scale,
            ..self
        }
    }

    /// The angles at `positions` (`[batch, seq]`, or one row for all).
    ///
    /// Types whose frequencies depend on the length (dynamic, longrope) take it from the largest position, as the
    /// reference does once per forward pass.
    ///
    /// # Errors
    /// If the parameters give no frequencies.
    pub fn tables(
        &self,
        positions: &Rows<u32>,
        device: &Device,
        dtype: DType,
    ) -> Result<RotaryTables, ConfigError> {
        let last = positions.values().iter().max();
        let length = last.map_or(1, |last| *last + 1);
        let lengths = vec![length; positions.values().len()];
        self.tables_for(positions, &lengths, device, dtype)
    }

    /// The same with a length for each position: that of the sequence which the token belongs to.
    ///
    /// # Errors
    /// As [`tables`](Self::tables).
    pub fn tables_for(
        &self,
        positions: &Rows<u32>,
        lengths: &[u32],
        device: &Device,
        dtype: DType,
    ) -> Result<RotaryTables, ConfigError> {
        self.angles(&[positions], lengths, &[], device, dtype)
    }

    /// The angles of tokens that have three positions each, `[batch, seq]` of times, of heights and of widths.
    ///
    /// # Errors
    /// A rotation for texts alone, or `mrope_section`s that are not those of its frequencies.
    pub fn multimodal_tables(
        &self,
        positions: &[Rows<u32>; 3],
        device: &Device,
        dtype: DType,
    ) -> Result<RotaryTables, ConfigError> {
        let last = positions.iter().flat_map(|rows| rows.values()).max();
        let length = last.map_or(1, |last| last.saturating_add(1));
        let (dim, max) = (self.head_dim, self.max_position_embeddings);
        let half = self
            .rope
            .frequencies(dim, max, length as usize)?
            .inv_freq
            .len();
        let text = || ConfigError::invalid("mrope_section", "the rotation is for texts alone");
        let multimodal = self.multimodal.ok_or_else(text)?;
        let rows = multimodal.rows(self.rope.mrope_section.as_deref(), half)?;
        let lengths = vec![length; positions[0].values().len()];
        self.angles(&positions.each_ref(), &lengths, &rows, device, dtype)
    }

    /// Frequency `f` turns by the positions `rows[f]`, or by the first.
    fn angles(
        &self,
        positions: &[&Rows<u32>],
        lengths: &[u32],
        rows: &[usize],
        device: &Device,
        dtype: DType,
    ) -> Result<RotaryTables, ConfigError> {
        let of_length = |length: u32| {
            let (dim, max) = (self.head_dim, self.max_position_embeddings);
            self.rope.frequencies(dim, max, length as usize)
        };
        let all: Vec<&[u32]> = positions.iter().map(|rows| rows.values()).collect();
        let positions = positions[0];
        let mut length = lengths.first().copied().unwrap_or(1);
        let mut frequencies = of_length(length)?;
        let half = frequencies.inv_freq.len();
        let mut cos = Vec::with_capacity(positions.values().len() * half);
        let mut sin = Vec::with_capacity(cos.capacity());
        for (token, &own) in lengths.iter().enumerate() {
            if own != length {
                length = own;
                frequencies = of_length(length)?;
            }
            for (index, &frequency) in frequencies.inv_freq.iter().enumerate() {
                let position = all[rows.get(index).copied().unwrap_or(0)][token];
                let (s, c) = (position as f32 * frequency).sin_cos();
                cos.push(c * frequencies.attention_factor);
                sin.push(s * frequencies.attention_factor);
            }
        }
        let [batch, seq] = positions.dims();
        let tensor = |values: Vec<f32>, cols| {
            Tensor::<3>::from_data(TensorData::new(values, [batch, seq, cols]), device).cast(dtype)
        };
        let query_scale = self.query_scale.map(|scale| {
            let at = positions
                .values()
                .iter()
                .map(|position| scale.at(*position));
            tensor(at.collect(), 1)
        });
        Ok(RotaryTables {
            cos: tensor(cos, half),
            sin: tensor(sin, half),
            layout: self.layout,
            query_scale,
        })
    }
}

/// Cosines and sines of one forward pass, shared by all layers of a kind.
#[derive(Debug, Clone)]
pub struct RotaryTables {
    cos: Tensor<3>,
    sin: Tensor<3>,
    layout: RotaryLayout,
    /// Factor on queries, `[batch or 1, seq, 1]`.
    query_scale: Option<Tensor<3>>,
}

impl RotaryTables {
    /// The same tables for tensors without autodiff.
    pub(super) fn without_autodiff(self) -> Self {
        Self {
            cos: self.cos.without_autodiff(),
            sin: self.sin.without_autodiff(),
            layout: self.layout,
            query_scale: self.query_scale.map(Tensor::without_autodiff),
        }
    }

    /// Rotates queries or keys `[batch, heads, seq, head_dim]`.
    pub fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        ops::rotary(x, self.cos.clone(), self.sin.clone(), self.layout)
    }

    /// Rotates queries and keys, `[batch, heads, seq, head_dim]` each, and scales the queries where positions do.
    pub fn rotate(&self, q: Tensor<4>, k: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let q = self.apply(q);
        let q = match &self.query_scale {
            Some(scale) => q * scale.clone().unsqueeze_dim(1),
            None => q,
        };
        (q, self.apply(k))
    }
}

/// Queries that grow with the logarithm of their position (Llama 4): `1 + beta * ln(1 + floor(position / length))`.
#[derive(Debug, Clone, Copy)]
pub struct QueryScale {
    /// How fast.
    pub beta: f64,
    /// Positions below are not scaled.
    pub length: usize,
}

impl QueryScale {
    fn at(self, position: u32) -> f32 {
        let steps = position as usize / self.length.max(1);
        1.0 + self.beta as f32 * (1.0 + steps as f32).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_share_three_positions() {
        let rows = |interleaved, given: &[usize], half| {
            let sections = [2, 1, 1];
            let rotary = MultimodalRotary {
                interleaved,
                sections,
            };
            rotary.rows((!given.is_empty()).then_some(given), half)
        };
        let ok = |rows: Result<Vec<usize>, ConfigError>| rows.expect("they fit");
        assert_eq!(ok(rows(false, &[], 4)), [0, 0, 1, 2]);
        assert_eq!(ok(rows(false, &[1, 2, 1], 4)), [0, 1, 1, 2]);
        assert_eq!(ok(rows(true, &[3, 2, 1], 7)), [0, 1, 2, 0, 1, 0, 0]);
        for wrong in [&[1, 1][..], &[1, 1, 1], &[usize::MAX, 1, 1]] {
            assert!(rows(false, wrong, 4).is_err());
        }
    }
}
