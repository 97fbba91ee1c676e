//! Activations by the name that a config gives them (`hidden_act`).

use burn::tensor::{Tensor, activation};
use transformers_ops as ops;

use crate::ModelError;

/// An element-wise activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `silu`, `swish`.
    Silu,
    /// `gelu`: the exact form.
    Gelu,
    /// `gelu_pytorch_tanh`, `gelu_new`, `gelu_fast`: the tanh approximation.
    GeluTanh,
    /// `relu`.
    Relu,
    /// `tanh`.
    Tanh,
}

impl Activation {
    const NAMES: [(&'static str, Self); 9] = [
        ("silu", Self::Silu),
        ("swish", Self::Silu),
        ("gelu", Self::Gelu),
        ("gelu_python", Self::Gelu),
        ("gelu_pytorch_tanh", Self::GeluTanh),
        ("gelu_new", Self::GeluTanh),
        ("gelu_fast", Self::GeluTanh),
        ("relu", Self::Relu),
        ("tanh", Self::Tanh),
    ];

    /// The activation that `key` of a config names.
    ///
    /// # Errors
    /// [`ModelError::UnknownActivation`], with the names that are known.
    pub fn from_name(key: &'static str, name: &str) -> Result<Self, ModelError> {
        Self::NAMES
            .iter()
            .find_map(|(known, activation)| (*known == name).then_some(*activation))
            .ok_or_else(|| ModelError::UnknownActivation {
                key,
                name: name.to_owned(),
                known: Self::NAMES.map(|(known, _)| known).join(", "),
            })
    }

    /// Any shape to the same shape.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Silu => ops::silu(x),
            Self::Gelu => ops::gelu(x),
            Self::GeluTanh => ops::gelu_tanh(x),
            Self::Relu => activation::relu(x),
            Self::Tanh => x.tanh(),
        }
    }
}
