//! The settings of an engine.

use crate::GenerateError;

/// How an engine works; the reference's `ContinuousBatchingConfig`, where that has the field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContinuousBatchingConfig {
    /// Tokens of a block of keys and values; the reference's `page_size`. Prefixes are shared in whole blocks.
    pub block_size: usize,
    /// Blocks in all. `None`: as many as [`max_memory`](Self::max_memory) holds.
    pub num_blocks: Option<usize>,
    /// Bytes of keys and values in all. On the CPU a block takes memory when it is first used.
    pub max_memory: usize,
    /// Tokens of one step; longer prompts are read in pieces, between which others go on.
    pub max_batch_tokens: usize,
    /// Sequences of one step.
    pub max_requests_per_batch: usize,
    /// Sequences that wait; more are refused.
    pub max_queue_size: usize,
    /// Requests with the same beginning share its blocks, while it is computed and as long as it is remembered.
    pub allow_block_sharing: bool,
    /// Every token's scores have the same bits whatever else runs, however prompts are cut, and on any number of threads.
    /// It is slower; see [`transformers_modeling::deterministic`].
    pub deterministic: bool,
}

impl Default for ContinuousBatchingConfig {
    fn default() -> Self {
        Self {
            block_size: 32,
            num_blocks: None,
            max_memory: 2 << 30,
            max_batch_tokens: 512,
            max_requests_per_batch: 128,
            max_queue_size: 16_384,
            allow_block_sharing: true,
            deterministic: false,
        }
    }
}

impl ContinuousBatchingConfig {
    pub(super) fn check(&self) -> Result<(), GenerateError> {
        let counts = [
            ("block_size", self.block_size),
            ("num_blocks", self.num_blocks.unwrap_or(1)),
            ("max_batch_tokens", self.max_batch_tokens),
            ("max_requests_per_batch", self.max_requests_per_batch),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((field, _)) => Err(GenerateError::BatchingConfig { field }),
            None => Ok(()),
        }
    }
}
