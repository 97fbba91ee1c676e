//! Positions as sines and cosines (Vaswani et al. 2017), sines in the first half of the features and cosines in the other.

use burn::tensor::{Device, Tensor, TensorData};

/// Which frequencies the features have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sinusoids {
    /// `10000^(-2i / features)`, as in the paper.
    Paper,
    /// `10000^(-i / (features / 2 - 1))`, as in tensor2tensor and fairseq.
    Fairseq,
}

impl Sinusoids {
    /// The rows of `positions`, `[positions, features]`; `None` is a row of zeros.
    pub fn rows(
        self,
        positions: impl ExactSizeIterator<Item = Option<usize>>,
        features: usize,
        device: &Device,
    ) -> Tensor<2> {
        let dims = [positions.len(), features];
        let frequencies = self.frequencies(features);
        let mut values = Vec::with_capacity(dims[0] * features);
        for position in positions {
            let row = values.len();
            if let Some(position) = position {
                let angle = |frequency: &f64| match self {
                    Self::Paper => position as f64 * frequency,
                    // There the table is made in single precision.
                    Self::Fairseq => f64::from(position as f32 * *frequency as f32),
                };
                let half = frequencies.iter().map(angle);
                let cosines = frequencies[..features / 2].iter().map(angle);
                values.extend(half.map(|angle| angle.sin() as f32));
                values.extend(cosines.map(|angle| angle.cos() as f32));
            }
            values.resize(row + features, 0.0);
        }
        Tensor::from_data(TensorData::new(values, dims), device)
    }

    fn frequencies(self, features: usize) -> Vec<f64> {
        let paper = |i: usize| 10_000_f64.powf(-2.0 * i as f64 / features as f64);
        let step = -(10_000_f64.ln()) / (features / 2).saturating_sub(1).max(1) as f64;
        match self {
            Self::Paper => (0..features.div_ceil(2)).map(paper).collect(),
            Self::Fairseq => (0..features / 2)
                .map(|i| f64::from((i as f32 * step as f32).exp()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Position 53 in the reference's Marian and M2M100.
    #[test]
    fn rows_are_the_references() {
        let check = |kind: Sinusoids, expect: &[f32]| {
            let rows = [None, Some(53)].into_iter();
            let rows = kind.rows(rows, expect.len(), &Device::flex());
            let values: Vec<f32> = rows.into_data().iter().collect();
            let (none, row) = values.split_at(expect.len());
            assert!(none.iter().all(|value| *value == 0.0));
            for (value, expect) in row.iter().zip(expect) {
                assert!((value - expect).abs() <= 1e-6, "{kind:?}: {row:?}");
            }
        };
        let paper = [
            0.395_925_16,
            0.629_998,
            0.113_937_07,
            -0.918_282_8,
            -0.776_596_8,
            0.993_487_95,
        ];
        check(Sinusoids::Paper, &paper);
        check(
            Sinusoids::Paper,
            &[
                0.395_925_16,
                0.971_457_54,
                0.033_434_506,
                -0.918_282_8,
                0.237_213_55,
            ],
        );
        let fairseq = [
            0.395_925_16,
            0.505_533_34,
            0.005_299_974_7,
            -0.918_282_8,
            0.862_807_1,
            0.999_985_93,
        ];
        check(Sinusoids::Fairseq, &fairseq);
        check(
            Sinusoids::Fairseq,
            &[
                0.395_925_16,
                0.005_299_974_7,
                -0.918_282_8,
                0.999_985_93,
                0.0,
            ],
        );
    }
}
