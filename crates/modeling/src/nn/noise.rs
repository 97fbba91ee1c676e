//! NEFTune (Jain et al. 2023): noise on the vectors of tokens while a model trains.

use burn::tensor::{Tensor, TensorData};

use crate::nn::Draws;

/// Uniform noise, the weaker the larger a row is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EmbeddingNoise {
    /// At most `alpha / sqrt(seq * hidden)` in every direction (`neftune_noise_alpha`).
    pub alpha: f64,
    /// The same seed gives the same noise.
    pub seed: u64,
}

impl EmbeddingNoise {
    /// Other noise of the same strength.
    pub(crate) fn next(self) -> Self {
        let seed = self.seed.wrapping_add(1);
        Self { seed, ..self }
    }

    /// Vectors `[batch, seq, hidden]` with noise on them.
    pub(crate) fn add(self, vectors: Tensor<3>) -> Tensor<3> {
        let dims @ [_, seq, hidden] = vectors.dims();
        let most = self.alpha / ((seq * hidden) as f64).sqrt();
        let count = vectors.shape().num_elements();
        let noise = Draws::seeded(self.seed)
            .stream()
            .uniform(count, -most, most);
        let data = TensorData::new(noise, dims);
        let noise = Tensor::from_data(data, (&vectors.device(), vectors.dtype()));
        vectors + noise
    }
}

/// The vectors, with noise where there is some.
pub(crate) fn with_noise(noise: Option<EmbeddingNoise>, vectors: Tensor<3>) -> Tensor<3> {
    match noise {
        Some(noise) => noise.add(vectors),
        None => vectors,
    }
}
