//! From texts to a batch of ids: truncation, padding, pairs.
//!
//! Truncation and padding are options of a call. What `tokenizer.json` says about them is kept for saving and otherwise
//! not followed, as the reference does: only the padding token and the sides are taken from there.

use tokenizers::utils::truncation::{
    TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings,
};
use tokenizers::{EncodeInput, Encoding};

use crate::{Result, TokenizationError, Tokenizer};

/// The side that padding is put on, or that truncation removes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Side {
    /// The beginning: where decoder-only models are padded.
    Left,
    /// The end.
    #[default]
    Right,
}

/// How the rows of a batch are brought to one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Padding {
    /// Each row keeps its length.
    #[default]
    None,
    /// To the longest row.
    Longest,
    /// To [`EncodeOptions::max_length`], or the model's maximum where that is `None`; not at all if there is neither.
    MaxLength,
}

/// What is removed from a text, or a pair of texts, that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Truncation {
    /// Nothing.
    #[default]
    None,
    /// Tokens of the longer text, until both fit.
    LongestFirst,
    /// Tokens of the first text.
    OnlyFirst,
    /// Tokens of the second text.
    OnlySecond,
}

/// How texts are encoded. The default adds special tokens and neither pads nor truncates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Whether to add what the model expects around a text, for instance `[CLS]` and `[SEP]`.
    pub add_special_tokens: bool,
    /// How rows get one length.
    pub padding: Padding,
    /// The side of the padding; `None` is the tokenizer's own.
    pub padding_side: Option<Side>,
    /// Rounds the padded length up to a multiple of this.
    pub pad_to_multiple_of: Option<usize>,
    /// What is removed from a text that is too long.
    pub truncation: Truncation,
    /// The length in tokens, special ones included, to truncate or pad to; `None` is the model's maximum. Where neither
    /// is known, nothing is truncated.
    pub max_length: Option<usize>,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            add_special_tokens: true,
            padding: Padding::None,
            padding_side: None,
            pad_to_multiple_of: None,
            truncation: Truncation::None,
            max_length: None,
        }
    }
}

/// A batch of encoded texts: one row per text in each field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchEncoding {
    /// The ids, padded with the padding token's.
    pub input_ids: Vec<Vec<u32>>,
    /// 1 for a token, 0 for padding.
    pub attention_mask: Vec<Vec<u32>>,
    /// 0 for the first text of a pair and for padding, mostly 1 for the second.
    pub token_type_ids: Vec<Vec<u32>>,
}

/// No model reads more; a length beyond it comes from a nonsensical `model_max_length` and would only eat memory.
const MAX_PADDED_LENGTH: usize = 1 << 26;

/// Truncation and padding with every default filled in.
struct Plan {
    truncation: Option<TruncationParams>,
    /// `None`: no padding. `Some(None)`: to the longest row.
    padded_length: Option<Option<usize>>,
}

impl Tokenizer {
    /// Encodes each text, by the options.
    ///
    /// Fails where padding is asked for and there is no padding token, where the maximal length is smaller than the
    /// number of special tokens, or not a multiple of `pad_to_multiple_of` when both truncating and padding.
    pub fn encode_batch(
        &self,
        texts: &[impl AsRef<str>],
        options: &EncodeOptions,
    ) -> Result<BatchEncoding> {
        self.encode_inputs(texts.iter().map(|text| (text.as_ref(), None)), options)
    }

    /// Encodes each pair of texts into one row, by the options.
    pub fn encode_pairs(
        &self,
        pairs: &[(impl AsRef<str>, impl AsRef<str>)],
        options: &EncodeOptions,
    ) -> Result<BatchEncoding> {
        let inputs = pairs
            .iter()
            .map(|(first, second)| (first.as_ref(), Some(second.as_ref())));
        self.encode_inputs(inputs, options)
    }

    fn encode_inputs<'a>(
        &self,
        inputs: impl Iterator<Item = (&'a str, Option<&'a str>)>,
        options: &EncodeOptions,
    ) -> Result<BatchEncoding> {
        let plan = self.plan(options)?;
        let rows: Vec<Encoding> = inputs
            .map(|(text, pair)| self.encode_row(text, pair, options, plan.truncation.as_ref()))
            .collect::<Result<_>>()?;
        let mut batch = BatchEncoding::default();
        for row in &rows {
            batch.input_ids.push(row.get_ids().to_vec());
            batch.attention_mask.push(row.get_attention_mask().to_vec());
            batch.token_type_ids.push(row.get_type_ids().to_vec());
        }
        if let Some(length) = plan.padded_length {
            self.pad(&mut batch, length, options)?;
        }
        Ok(batch)
    }

    /// One text or pair. Truncation comes between tokenising and adding special tokens, so that these always stay.
    fn encode_row(
        &self,
        text: &str,
        pair: Option<&str>,
        options: &EncodeOptions,
        truncation: Option<&TruncationParams>,
    ) -> Result<Encoding> {
        let special = options.add_special_tokens;
        let encode = |input: EncodeInput<'_>, special| {
            self.backend
                .encode_fast(input, special)
                .map_err(encoding_failed)
        };
        let Some(truncation) = truncation else {
            return encode(
                match pair {
                    Some(pair) => (text, pair).into(),
                    None => text.into(),
                },
                special,
            );
        };
        let reserved = if special {
            self.special_tokens_added(pair.is_some())
        } else {
            0
        };
        let max_length = truncation.max_length.checked_sub(reserved).ok_or_else(|| {
            TokenizationError::InvalidOptions(format!(
                "`max_length` is {}, but {reserved} special tokens are added; make it larger, or do not add them",
                truncation.max_length
            ))
        })?;
        let params = TruncationParams {
            max_length,
            ..truncation.clone()
        };
        let first = encode(text.into(), false)?;
        let second = pair.map(|pair| encode(pair.into(), false)).transpose()?;
        let (first, second) =
            truncate_encodings(first, second, &params).map_err(encoding_failed)?;
        self.backend
            .post_process(first, second, special)
            .map_err(encoding_failed)
    }

    fn special_tokens_added(&self, pair: bool) -> usize {
        use tokenizers::PostProcessor;
        self.backend
            .get_post_processor()
            .map_or(0, |processor| processor.added_tokens(pair))
    }

    fn plan(&self, options: &EncodeOptions) -> Result<Plan> {
        let max_length = options.max_length.or(self.model_max_length);
        let strategy = match options.truncation {
            Truncation::None => None,
            Truncation::LongestFirst => Some(TruncationStrategy::LongestFirst),
            Truncation::OnlyFirst => Some(TruncationStrategy::OnlyFirst),
            Truncation::OnlySecond => Some(TruncationStrategy::OnlySecond),
        };
        let truncation = strategy
            .zip(max_length)
            .map(|(strategy, max_length)| TruncationParams {
                direction: match self.truncation_side {
                    Side::Left => TruncationDirection::Left,
                    Side::Right => TruncationDirection::Right,
                },
                max_length,
                strategy,
                stride: 0,
            });
        let padded_length = match options.padding {
            Padding::None => None,
            Padding::Longest => Some(None),
            Padding::MaxLength => max_length.map(Some),
        };
        if let (Some(truncation), Some(_), Some(multiple)) =
            (&truncation, padded_length, options.pad_to_multiple_of)
            && !truncation.max_length.is_multiple_of(multiple)
        {
            return Err(TokenizationError::InvalidOptions(format!(
                "`max_length` is {}, which is not a multiple of `pad_to_multiple_of`, {multiple}; with truncation and \
                 padding both on, it has to be",
                truncation.max_length
            )));
        }
        Ok(Plan {
            truncation,
            padded_length,
        })
    }

    fn pad(
        &self,
        batch: &mut BatchEncoding,
        length: Option<usize>,
        options: &EncodeOptions,
    ) -> Result<()> {
        let pad_id = self.pad_token_id().ok_or(TokenizationError::NoPadToken)?;
        let longest = batch.input_ids.iter().map(Vec::len).max().unwrap_or(0);
        let length = length.unwrap_or(longest);
        let multiple = options.pad_to_multiple_of.unwrap_or(1).max(1);
        let length = length
            .checked_next_multiple_of(multiple)
            .filter(|&length| length <= MAX_PADDED_LENGTH)
            .ok_or_else(|| {
                TokenizationError::InvalidOptions(format!(
                    "padding to {length} tokens, a multiple of {multiple}, is more than {MAX_PADDED_LENGTH}; give a \
                     smaller `max_length`"
                ))
            })?;
        let side = options.padding_side.unwrap_or(self.padding_side);
        for (rows, value) in [
            (&mut batch.input_ids, pad_id),
            (&mut batch.attention_mask, 0),
            (&mut batch.token_type_ids, 0),
        ] {
            for row in rows {
                pad_row(row, length, value, side);
            }
        }
        Ok(())
    }
}

fn pad_row(row: &mut Vec<u32>, length: usize, value: u32, side: Side) {
    let missing = length.saturating_sub(row.len());
    row.resize(row.len() + missing, value);
    if side == Side::Left {
        row.rotate_right(missing);
    }
}

pub(crate) fn encoding_failed(error: tokenizers::Error) -> TokenizationError {
    TokenizationError::Backend {
        operation: "encoding",
        reason: error.to_string(),
    }
}
