//! Attention with linear biases (Press et al. 2022): a key counts less the farther away it is, and there are no other
//! positions.

use burn::tensor::{Device, Tensor, TensorData, bf16};

use crate::Rows;

/// How strong the biases of the heads are, and how they are rounded.
#[derive(Debug, Clone, PartialEq)]
pub struct Alibi {
    /// Of every head.
    pub slopes: Vec<f32>,
    /// Factor on the biases.
    pub scale: f32,
    /// Falcon's reference computes slopes and biases in bf16.
    pub in_bf16: bool,
    /// Distances are counted over all columns (MPT), padding among them, and not over tokens alone.
    pub by_columns: bool,
}

impl Alibi {
    /// A geometric series that ends at `2^-8`; where the heads are no power of two, every second slope of the next larger
    /// series follows.
    pub fn new(heads: usize) -> Self {
        let series = |count: usize| {
            let slope = move |power| 2_f32.powf(-8.0 * power as f32 / count as f32);
            (1..=count).map(slope)
        };
        let whole = heads.checked_ilog2().map_or(0, |log| 1 << log);
        let more = series(2 * whole).step_by(2);
        Self {
            slopes: series(whole).chain(more).take(heads).collect(),
            scale: 1.0,
            in_bf16: false,
            by_columns: false,
        }
    }

    /// What is added to the scores of keys at `positions` (`[batch or 1, keys]`): `[batch or 1, heads, 1, keys]`. How far
    /// the query is makes no difference to its softmax.
    pub fn bias(&self, positions: &Rows<u32>, device: &Device) -> Tensor<4> {
        let [batch, keys] = positions.dims();
        let rounded = |x: f32| match self.in_bf16 {
            true => bf16::from_f32(x).to_f32(),
            false => x,
        };
        let mut values = Vec::with_capacity(batch * self.slopes.len() * keys);
        for row in positions.iter() {
            for &slope in &self.slopes {
                let of = |p: &u32| rounded(rounded(slope) * rounded(*p as f32)) * self.scale;
                values.extend(row.iter().map(of));
            }
        }
        let shape = [batch, self.slopes.len(), 1, keys];
        Tensor::from_data(TensorData::new(values, shape), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_of_any_number_of_heads() {
        let slopes = |heads| Alibi::new(heads).slopes;
        assert_eq!(slopes(2), [1.0 / 16.0, 1.0 / 256.0]);
        assert_eq!(slopes(3), [1.0 / 16.0, 1.0 / 256.0, 1.0 / 4.0]);
        assert!(slopes(0).is_empty());
    }

    #[test]
    fn farther_keys_count_less() {
        let positions = Rows::row_of(vec![0, 1, 2]);
        let bias = Alibi::new(2).bias(&positions, &Device::flex());
        assert_eq!(bias.dims(), [1, 2, 1, 3]);
        let values: Vec<f32> = bias.into_data().iter().collect();
        assert_eq!(values[..3], [0.0, 0.0625, 0.125]);
    }
}
