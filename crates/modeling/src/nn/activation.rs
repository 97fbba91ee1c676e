//! Activations by the name that a config gives them (`hidden_act`).

pub use transformers_ops::Activation;

use crate::ModelError;

const NAMES: [(&str, Activation); 21] = [
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("gelu_accurate", Activation::GeluTanh),
    ("quick_gelu", Activation::QuickGelu),
    ("gelu_10", Activation::ClippedGelu),
    ("relu", Activation::Relu),
    ("relu2", Activation::SquaredRelu),
    ("tanh", Activation::Tanh),
    ("sigmoid", Activation::Sigmoid),
    ("mish", Activation::Mish),
    ("leaky_relu", Activation::LeakyRelu),
    ("relu6", Activation::Relu6),
    ("hardswish", Activation::HardSwish),
    ("laplace", Activation::Laplace),
    ("linear", Activation::Linear),
];

/// The activation that `key` of a config names.
///
/// # Errors
/// [`ModelError::UnknownActivation`], with the names that are known.
pub fn activation(key: &'static str, name: &str) -> Result<Activation, ModelError> {
    NAMES
        .iter()
        .find_map(|(known, activation)| (*known == name).then_some(*activation))
        .ok_or_else(|| ModelError::UnknownActivation {
            key,
            name: name.to_owned(),
            known: NAMES.map(|(known, _)| known).join(", "),
        })
}
