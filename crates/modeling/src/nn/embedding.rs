//! The token embedding, which may also serve as the output head.

use burn::module::Module;
use burn::tensor::{Int, Tensor};
use transformers_ops as ops;

use super::{Init, Weight};

/// A table of vectors, one per id.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[vocab, hidden]`.
    pub weight: Weight,
    /// The id whose vector is not trained here.
    #[module(skip)]
    padding: Option<u32>,
}

impl From<Weight> for Embedding {
    fn from(weight: Weight) -> Self {
        Self {
            weight,
            padding: None,
        }
    }
}

impl Embedding {
    /// A table of `vocab` vectors of `hidden` features.
    pub fn new(vocab: usize, hidden: usize, init: &Init) -> Self {
        Self {
            weight: Weight::new([vocab, hidden], init),
            padding: None,
        }
    }

    /// The same; a fresh vector of the `padding` token is zero, and no gradient comes to it through this table (torch's
    /// `padding_idx`). As a tied head it is trained.
    pub fn padded(vocab: usize, hidden: usize, padding: Option<u32>, init: &Init) -> Self {
        Self {
            weight: Weight::vectors([vocab, hidden], padding, init),
            padding,
        }
    }

    /// The table, to whose vector of the `padding` token no gradient comes, whatever it begins as.
    #[must_use]
    pub fn with_padding(self, padding: Option<u32>) -> Self {
        Self { padding, ..self }
    }

    /// Ids `[batch, seq]`, each below `vocab`, to vectors `[batch, seq, hidden]`.
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let y = ops::padded_embedding(self.weight.base(), ids.clone(), self.padding);
        match self.weight.adapters() {
            Some(adapters) => adapters.embedding(&ids, y, &self.weight),
            None => y,
        }
    }

    /// The tied output head: `[batch, seq, hidden]` to logits `[batch, seq, vocab]`. It shares the table and not the
    /// adapters.
    pub fn logits(&self, x: Tensor<3>) -> Tensor<3> {
        ops::linear(x, self.weight.stored(), None)
    }
}
