//! The mechanisms that model families share; each exists once, here.

mod activation;
mod attention;
mod cache;
mod decoder;
mod embedding;
mod init;
mod linear;
mod masks;
mod mlp;
mod norm;
mod rope;

pub use activation::Activation;
pub use attention::{Attention, AttentionOptions};
pub use cache::{Cache, DynamicCache};
pub use decoder::{CausalLM, Decoder, DecoderFamily, DecoderLayer, DecoderOptions, LayerContext};
pub use embedding::Embedding;
pub use init::Init;
pub use linear::Linear;
pub use masks::{Mask, MaskPattern};
pub use mlp::GatedMlp;
pub use norm::{LayerNorm, NormForm, RmsNorm};
pub use rope::{RotaryEmbedding, RotaryTables};
