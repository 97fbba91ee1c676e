//! The mechanisms that model families share; each exists once, here.

mod activation;
mod alibi;
mod attention;
mod attention_interface;
mod block;
mod buffer;
mod cache;
mod cache_state;
mod checkpointing;
mod decoder;
mod draws;
mod embedding;
mod encoder;
mod encoder_decoder;
mod encoder_decoder_cache;
mod gated_delta;
mod headed;
pub mod heads;
mod init;
mod latent_attention;
mod linear;
mod lora;
mod mlp;
mod moe;
mod noise;
mod norm;
mod packing;
mod paged_cache;
mod principal;
mod recurrent;
mod relative_bias;
mod rope;
mod sinusoids;
mod stack;
mod weight;
mod weight_edit;

pub use activation::{Activation, activation};
pub use alibi::Alibi;
pub use attention::{Attention, AttentionOptions, QkNorm, QkvOrder};
pub use attention_interface::{
    AttentionCall, AttentionInterface, AttentionPass, AttentionResult, LayerCache, MaskedAttention,
};
pub use block::{
    Block, BlockOptions, FeedForward, OriginalBlock, ParallelBlock, ParallelNorms, PostNormBlock,
    PreNormBlock, PreNormLayer, SandwichBlock, SelfAttention,
};
pub use buffer::Buffer;
pub(crate) use buffer::CONTAINER as BUFFER_CONTAINER;
pub(crate) use cache::check_room;
pub use cache::{
    Cache, CacheBits, CacheImplementation, CacheLayout, LayeredCache, QuantizedCacheOptions,
};
pub use cache_state::{CacheState, LayerState};
pub use decoder::{
    CausalLM, Decoder, DecoderFamily, DecoderLayer, DecoderOptions, LayerContext, OnDecoder,
    RouterOutputs,
};
pub use draws::Draws;
pub(crate) use draws::Stream;
pub use embedding::Embedding;
pub use encoder::{
    Kept, Pooler, PositionCount, States, TextEmbeddings, TextEmbeddingsOptions, Tokens,
    self_attention,
};
pub(crate) use encoder_decoder::forward_encoder_decoder;
pub use encoder_decoder::{
    DecoderStart, EncoderDecoder, EncoderDecoderOptions, StackModel, shift_tokens_right,
};
pub use encoder_decoder_cache::EncoderDecoderCache;
pub use gated_delta::{DeltaProjections, GatedDeltaNet, GatedDeltaOptions};
pub use headed::{BaseFamily, HeadOptions, Headed, RowScores, TaskHead};
pub use init::Init;
pub use latent_attention::{LatentAttention, LatentAttentionOptions};
pub use linear::{Linear, OutputLayer, linears};
pub(crate) use lora::{Beginning, CONTAINER as ADAPTER_CONTAINER};
pub use lora::{LoraLayer, LoraSettings, LoraTarget};
pub use mlp::{FusedGatedMlp, GatedMlp, Mlp, MlpForm, MlpOptions, PlainMlp};
pub use moe::{
    DenseOrSparse, ExpertGroups, Experts, ExpertsOptions, Gate, Router, RouterOptions, Routing,
    Score, SparseMoe, tokens,
};
pub use noise::EmbeddingNoise;
pub(crate) use noise::with_noise;
pub use norm::{LayerNorm, Norm, NormForm, NormOptions, PlainNorm, RmsNorm};
pub use packing::Packing;
pub use paged_cache::{PackedBatch, PackedSequence, PagedCache, PagedLayout};
pub(crate) use principal::{Principal, orthogonal};
pub use recurrent::{CausalConv1d, FreshStates, MixerLayer, RecurrentState};
pub use relative_bias::RelativeBuckets;
pub use rope::{MultimodalRotary, QueryScale, RotaryEmbedding, RotaryLayout, RotaryTables};
pub use sinusoids::Sinusoids;
pub use stack::{EncoderStates, Projections, Stack, StackPass, encoder_states};
pub use transformers_ops::{Hiding, Mask, MaskFunction, MaskIndex};
pub(crate) use weight::CONTAINER as WEIGHT_CONTAINER;
pub use weight::Weight;
pub(crate) use weight_edit::{Edit, edit_weights, edit_weights_by};
