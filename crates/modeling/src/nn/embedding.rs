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
}

impl Embedding {
    /// A table of `vocab` vectors of `hidden` features.
    pub fn new(vocab: usize, hidden: usize, init: &Init) -> Self {
        Self {
            weight: Weight::new([vocab, hidden], init),
        }
    }

    /// The same; a fresh vector of the `padding` token is zero.
    pub fn padded(vocab: usize, hidden: usize, padding: Option<u32>, init: &Init) -> Self {
        Self {
            weight: Weight::vectors([vocab, hidden], padding, init),
        }
    }

    /// Ids `[batch, seq]`, each below `vocab`, to vectors `[batch, seq, hidden]`.
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let y = ops::embedding(self.weight.base(), ids.clone());
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
