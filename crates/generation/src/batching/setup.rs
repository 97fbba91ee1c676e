//! What an engine is like for a model: how its keys and values are kept, and how many.

use transformers_modeling::nn::{PackedBatch, PackedSequence, PagedCache, PagedLayout};
use transformers_modeling::{ModelInputs, PreTrainedModel, Rows};

use super::ContinuousBatchingConfig;
use crate::GenerateError;

/// Tokens of all sequences together, where their states are no blocks and nobody says how many.
const TOKENS_IN_SLOTS: usize = 1 << 16;

#[derive(Debug, Clone)]
pub(super) struct Setup {
    /// `None`: every sequence has a cache of its own, and its own passes.
    pub layout: Option<PagedLayout>,
    pub blocks: usize,
    pub block_size: usize,
    pub deterministic: bool,
}

impl Setup {
    pub fn new(
        model: &dyn PreTrainedModel,
        config: &ContinuousBatchingConfig,
    ) -> Result<Self, GenerateError> {
        config.check()?;
        if model.encode(&ModelInputs::new(vec![0]))?.is_some() {
            return Err(GenerateError::NotBatched);
        }
        model.new_cache().ok_or(GenerateError::NotADecoder)?;
        let layout = model.paged_layout();
        let block_size = config.block_size;
        let held = match (config.num_blocks, &layout) {
            (Some(blocks), _) => blocks,
            (None, Some(layout)) => {
                let bytes = bytes_per_token(model, layout)?.max(1);
                config.max_memory / bytes.saturating_mul(block_size)
            }
            (None, None) => TOKENS_IN_SLOTS / block_size,
        };
        let each = model.context_length().unwrap_or(usize::MAX);
        let used = each.div_ceil(block_size);
        let used = used.saturating_mul(config.max_requests_per_batch);
        Ok(Self {
            layout,
            blocks: held.min(used).clamp(1, u32::MAX as usize),
            block_size,
            deterministic: config.deterministic,
        })
    }

    /// Tokens that fit all blocks together.
    pub fn capacity(&self) -> usize {
        self.blocks.saturating_mul(self.block_size)
    }
}

/// Found out by a pass over one token.
fn bytes_per_token(
    model: &dyn PreTrainedModel,
    layout: &PagedLayout,
) -> Result<usize, GenerateError> {
    let mut cache = PagedCache::new(layout, 1, 1);
    let sequence = PackedSequence {
        new: 1,
        len: 1,
        blocks: &[0],
    };
    cache.begin(PackedBatch::new([sequence], vec![1]));
    let inputs = ModelInputs {
        position_ids: Some(Rows::row_of(vec![0])),
        logits_to_keep: Some(1),
        ..ModelInputs::new(vec![0])
    };
    model.forward(&inputs, Some(&mut cache))?;
    Ok(cache.bytes_per_token())
}
