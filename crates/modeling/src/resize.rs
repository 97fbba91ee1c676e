//! Other sizes of the vocabulary, and ties between embedding and output layer.

use burn::tensor::{DType, Tensor, TensorData};

use crate::embeddings::is_output;
use crate::nn::Draws;
use crate::rebuild::{Reshape, rebuild};
use crate::{ModelError, PreTrainedModel};

/// How `resize_token_embeddings` makes new rows.
#[derive(Debug, Clone)]
pub struct ResizeOptions {
    /// The number of rows is rounded up to a multiple of this.
    pub pad_to_multiple_of: Option<usize>,
    /// New vectors are the mean of the old ones, with a noise of their covariance times 1e-9, so that the new tokens
    /// hardly change what the old ones get ([Hewitt 2021](https://nlp.stanford.edu/~johnhew/vocab-expansion.html)). Else
    /// they are drawn as those of a fresh model.
    pub mean_resizing: bool,
    /// Makes the draws the same each time.
    pub seed: Option<u64>,
}

impl Default for ResizeOptions {
    fn default() -> Self {
        Self {
            pad_to_multiple_of: None,
            mean_resizing: true,
            seed: None,
        }
    }
}

/// The reference gives new tokens no bias here, nor where the output layer is tied.
const ZERO_BIAS: &str = "final_logits_bias";

/// The covariance of new vectors relative to that of the old ones.
const NOISE: f64 = 1e-9;

impl dyn PreTrainedModel + '_ {
    /// The model with `tokens` rows in its embedding and its output layer, with the bias of the latter; see the auto
    /// classes' `resize_token_embeddings`.
    ///
    /// # Errors
    /// A config without `vocab_size`, no rows, an embedding in quantised blocks, or a model that no auto class made.
    pub fn with_token_embeddings(
        &self,
        tokens: usize,
        options: &ResizeOptions,
    ) -> Result<Box<dyn PreTrainedModel>, ModelError> {
        let tokens = match options.pad_to_multiple_of {
            Some(multiple) if multiple > 0 => tokens.next_multiple_of(multiple),
            _ => tokens,
        };
        let mut config = self.info().config.completed()?;
        let old = config.get("vocab_size").and_then(|size| size.as_u64());
        let (Some(old), true) = (old, tokens > 0) else {
            return Err(ModelError::NoVocabulary { tokens });
        };
        for key in ["vocab_size", "decoder_vocab_size"] {
            if config.get(key).and_then(|size| size.as_u64()) == Some(old) {
                config.set(key, tokens);
            }
        }
        let draws = options.seed.map(Draws::seeded).unwrap_or_default();
        let spread = config.get("initializer_range").and_then(|std| std.as_f64());
        let mut rows = Rows {
            mean: options.mean_resizing,
            tied: config.tie_word_embeddings(),
            std: spread.unwrap_or(0.02),
            draws,
        };
        rebuild(self, config, &mut rows)
    }

    /// The model whose output layer is its embedding, or (`tied` false) a copy of it that is a parameter of its own.
    ///
    /// # Errors
    /// A model that no auto class made.
    pub fn with_tied_weights(&self, tied: bool) -> Result<Box<dyn PreTrainedModel>, ModelError> {
        let mut config = self.info().config.clone();
        let mut new = match config.tie_word_embeddings() == tied {
            true => self.boxed_clone(),
            false => {
                config.set("tie_word_embeddings", tied);
                let embedding = self.get_input_embeddings();
                let new = rebuild(self, config, &mut Rows::default())?;
                match (tied, embedding) {
                    (false, Some(embedding)) => new.with_parameter(is_output, embedding),
                    _ => new,
                }
            }
        };
        new.info_mut().origin.says_tied = false;
        Ok(new)
    }
}

/// Rows that come and go at the end of the one dimension that differs.
struct Rows {
    mean: bool,
    tied: bool,
    std: f64,
    draws: Draws,
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            mean: true,
            tied: true,
            std: 0.02,
            draws: Draws::default(),
        }
    }
}

impl Reshape for Rows {
    fn reshape<const D: usize>(
        &mut self,
        name: &str,
        old: Tensor<D>,
        shape: [usize; D],
    ) -> Tensor<D> {
        let dims = old.dims();
        let axis = (0..D).find(|axis| dims[*axis] != shape[*axis]).unwrap_or(0);
        let (have, want) = (dims[axis], shape[axis]);
        if want < have {
            return old.narrow(axis, 0, want);
        }
        let (dtype, device) = (old.dtype(), old.device());
        let mut added = shape;
        added[axis] = want - have;
        let normal = |count: usize| self.draws.stream().normal(count, 1.0);
        let bias = added.iter().product::<usize>() == added[axis];
        let rows = match (self.mean, bias) {
            _ if bias && (self.tied || name.ends_with(ZERO_BIAS)) => {
                Tensor::zeros(added, (&device, DType::F32))
            }
            (true, _) => {
                let old = old.clone().cast(DType::F32);
                let mean = old.clone().mean_dim(axis);
                // Sums of centred rows with normal factors have the rows' own covariance.
                let centred = (old - mean.clone()).swap_dims(0, axis);
                let features = centred.shape().num_elements() / have;
                let centred = centred.reshape([have, features]);
                let factors = TensorData::new(normal(added[axis] * have), [added[axis], have]);
                let factors = Tensor::<2>::from_data(factors, (&device, DType::F32));
                let noise = factors.matmul(centred) * (NOISE / have as f64).sqrt();
                let mut turned = added;
                turned.swap(0, axis);
                noise.reshape(turned).swap_dims(0, axis) + mean
            }
            (false, true) => Tensor::zeros(added, (&device, DType::F32)),
            (false, false) => {
                let values = normal(added.iter().product());
                let values =
                    Tensor::from_data(TensorData::new(values, added), (&device, DType::F32));
                values * self.std
            }
        };
        Tensor::cat(vec![old, rows.cast(dtype)], axis)
    }
}
