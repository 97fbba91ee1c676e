//! The mechanisms that model families share; each exists once, here.

mod activation;
mod attention;
mod cache;
mod decoder;
mod embedding;
mod encoder;
mod headed;
pub mod heads;
mod init;
mod linear;
mod mlp;
mod norm;
mod packing;
mod rope;
mod weight;

pub use activation::{Activation, activation};
pub use attention::{Attention, AttentionOptions};
pub use cache::{Cache, DynamicCache};
pub use decoder::{
    CausalLM, Decoder, DecoderFamily, DecoderLayer, DecoderOptions, LayerContext, OnDecoder,
};
pub use embedding::Embedding;
pub use encoder::{
    Pooler, PositionCount, States, TextEmbeddings, TextEmbeddingsOptions, Tokens, self_attention,
};
pub use headed::{BaseFamily, HeadOptions, Headed, RowScores, TaskHead};
pub use init::Init;
pub use linear::{Linear, OutputLayer, linears};
pub use mlp::GatedMlp;
pub use norm::{LayerNorm, NormForm, RmsNorm};
pub use packing::Packing;
pub use rope::{RotaryEmbedding, RotaryTables};
pub use transformers_ops::Mask;
pub(crate) use weight::CONTAINER as WEIGHT_CONTAINER;
pub use weight::Weight;
