//! Texts and the texts that answer them.

use transformers_modeling::loss::IGNORE_INDEX;
use transformers_tokenization::{Padding, Side, Tokenizer};

use super::Collator;
use super::padding::{PadOptions, fill_labels, pad, round_up, take_labels};
use crate::Result;
use crate::data::{Array, Batch, Example};

/// How an encoder–decoder makes what its decoder reads of the labels: they go one to the right, after `start`, and ignored
/// ones become `pad`. A config has them as `decoder_start_token_id` and `pad_token_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShiftRight {
    /// What a decoder begins with.
    pub start: u32,
    /// What stands for a label of -100.
    pub pad: u32,
}

/// Pads the tokens with the tokenizer's padding and the labels with -100 (the reference's `DataCollatorForSeq2Seq`).
#[derive(Debug, Clone)]
pub struct DataCollatorForSeq2Seq {
    /// Its padding token and side are taken.
    pub tokenizer: Tokenizer,
    /// How far; labels too.
    pub options: PadOptions,
    /// The label of padding.
    pub label_pad_token_id: i64,
    /// With it there are `decoder_input_ids` in the batch, so that a loss of one's own needs none of the model's.
    pub decoder: Option<ShiftRight>,
}

impl DataCollatorForSeq2Seq {
    /// Pads to the longest row, and labels with -100; the model makes its own `decoder_input_ids`.
    pub fn new(tokenizer: Tokenizer) -> Self {
        Self {
            tokenizer,
            options: PadOptions::default(),
            label_pad_token_id: IGNORE_INDEX,
            decoder: None,
        }
    }

    /// How long labels become.
    fn label_length(&self, longest: usize) -> Result<usize> {
        match (self.options.padding, self.options.max_length) {
            (Padding::None, _) => Ok(longest),
            (Padding::MaxLength, Some(length)) => round_up(length, self.options.pad_to_multiple_of),
            _ => round_up(longest, self.options.pad_to_multiple_of),
        }
    }
}

impl Collator for DataCollatorForSeq2Seq {
    fn collate(&mut self, mut examples: Vec<Example>) -> Result<Batch> {
        let labels = take_labels(&mut examples)?;
        let mut batch = pad(&self.tokenizer, &self.options, examples)?;
        let Some((name, labels)) = labels else {
            return Ok(batch);
        };
        let longest = labels.iter().filter_map(|labels| labels.list_len()).max();
        let length = self.label_length(longest.unwrap_or(0))?;
        let left = self.tokenizer.padding_side() == Side::Left;
        let labels = fill_labels(name, labels, self.label_pad_token_id, length, left)?;
        batch.insert("labels", labels);
        if let Some(decoder) = self.decoder {
            let labels = batch.integers("labels")?;
            batch.insert("decoder_input_ids", decoder.shift(labels));
        }
        Ok(batch)
    }
}

impl ShiftRight {
    /// What the decoder reads for these labels, `[batch, seq]`.
    pub fn shift(&self, labels: &Array<i64>) -> Array<i64> {
        let mut ids = Vec::with_capacity(labels.values().len());
        for row in labels.rows() {
            let before = row.iter().take(row.len().saturating_sub(1));
            ids.push(i64::from(self.start));
            ids.extend(before.map(|label| match *label {
                IGNORE_INDEX => i64::from(self.pad),
                label => label,
            }));
        }
        Array::new(ids, labels.shape())
    }
}
