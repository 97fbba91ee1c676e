//! Token ids to continue.

use transformers_modeling::{ModelError, Rows};
use transformers_tokenization::BatchEncoding;

/// One or more prompts of one length; shorter ones are padded on the left and masked, for an encoder on either side.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    /// `[batch, seq]`.
    pub input_ids: Rows<u32>,
    /// `[batch, seq]`, 0 for padding. `None`: nothing is padding, unless the pad token occurs and is no eos token.
    pub attention_mask: Option<Rows<u32>>,
}

impl Prompt {
    /// The ids of row `index` that are not masked.
    pub(crate) fn real_ids(&self, index: usize) -> Vec<u32> {
        let ids = self.input_ids.row(index).iter().copied();
        match &self.attention_mask {
            Some(mask) => ids
                .zip(mask.row(index))
                .filter(|(_, mask)| **mask != 0)
                .map(|(id, _)| id)
                .collect(),
            None => ids.collect(),
        }
    }
}

impl From<&[u32]> for Prompt {
    fn from(ids: &[u32]) -> Self {
        Self::from(ids.to_vec())
    }
}

impl From<&Vec<u32>> for Prompt {
    fn from(ids: &Vec<u32>) -> Self {
        Self::from(ids.clone())
    }
}

impl From<Vec<u32>> for Prompt {
    fn from(ids: Vec<u32>) -> Self {
        Self {
            input_ids: ids.into(),
            attention_mask: None,
        }
    }
}

impl TryFrom<&BatchEncoding> for Prompt {
    type Error = ModelError;

    fn try_from(encoding: &BatchEncoding) -> Result<Self, ModelError> {
        Ok(Self {
            input_ids: Rows::new(&encoding.input_ids)?,
            attention_mask: Some(Rows::new(&encoding.attention_mask)?),
        })
    }
}
