//! Rows of one length.

use tokenizers::{Encoding, PaddingDirection};

use crate::{BatchEncoding, EncodeOptions, Padding, Result, Side, TokenizationError, Tokenizer};

/// No model reads more; a length beyond it comes from a nonsensical `model_max_length` and would only eat memory.
const MAX_PADDED_LENGTH: usize = 1 << 26;

/// How far rows are padded, and with what.
pub(crate) struct Filler {
    length: usize,
    left: bool,
    token: String,
    id: u32,
    type_id: u32,
}

impl Tokenizer {
    /// Pads rows that were encoded one by one into a batch, as a collator does: by the options' `padding`,
    /// `padding_side`, `pad_to_multiple_of` and `max_length`. Nothing is truncated.
    ///
    /// The fields of the batches count as they are, so ids that were changed, or put together by
    /// [`BatchEncoding::from_ids`], are padded too. Labels are left as they are.
    ///
    /// ```no_run
    /// use transformers_tokenization::{AutoTokenizer, EncodeOptions, Padding};
    ///
    /// let tokenizer = AutoTokenizer::from_pretrained("bert-base-uncased")?;
    /// let plain = EncodeOptions::default();
    /// let rows = [tokenizer.encode_batch(&["short"], &plain)?, tokenizer.encode_batch(&["a longer one"], &plain)?];
    /// let batch = tokenizer.pad(rows, &EncodeOptions { padding: Padding::Longest, ..plain })?;
    /// assert_eq!(batch.input_ids[0].len(), batch.input_ids[1].len());
    /// # Ok::<(), transformers_tokenization::TokenizationError>(())
    /// ```
    pub fn pad(
        &self,
        batches: impl IntoIterator<Item = BatchEncoding>,
        options: &EncodeOptions,
    ) -> Result<BatchEncoding> {
        let mut whole = BatchEncoding::default();
        for batch in batches {
            whole.append(batch);
        }
        let longest = whole.input_ids.iter().map(Vec::len).max().unwrap_or(0);
        if let Some(filler) = self.filler(longest, options)? {
            whole.fill(&filler);
        }
        Ok(whole)
    }

    /// Pads encodings by the options.
    pub(crate) fn pad_rows(
        &self,
        rows: &mut [(usize, Encoding)],
        options: &EncodeOptions,
    ) -> Result<()> {
        let longest = rows.iter().map(|(_, row)| row.len()).max().unwrap_or(0);
        if let Some(filler) = self.filler(longest, options)? {
            rows.iter_mut().for_each(|(_, row)| filler.fill_row(row));
        }
        Ok(())
    }

    fn filler(&self, longest: usize, options: &EncodeOptions) -> Result<Option<Filler>> {
        let length = match options.padding {
            Padding::None => None,
            Padding::Longest => Some(longest),
            Padding::MaxLength => options.max_length.or(self.model_max_length),
        };
        let Some(length) = length else {
            return Ok(None);
        };
        let (token, id) = self
            .pad_token()
            .zip(self.pad_token_id())
            .ok_or(TokenizationError::NoPadToken)?;
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
        Ok(Some(Filler {
            length,
            left: options.padding_side.unwrap_or(self.padding_side) == Side::Left,
            token: token.to_owned(),
            id,
            type_id: self.settings.pad_token_type_id,
        }))
    }
}

impl Filler {
    fn fill_row(&self, row: &mut Encoding) {
        let direction = match self.left {
            true => PaddingDirection::Left,
            false => PaddingDirection::Right,
        };
        row.pad(self.length, self.id, self.type_id, &self.token, direction);
    }

    /// Fills up what belongs to a row of `length` tokens.
    fn fill(&self, values: &mut Vec<u32>, value: u32, length: usize) {
        let more = std::iter::repeat_n(value, self.length.saturating_sub(length));
        match self.left {
            true => drop(values.splice(..0, more)),
            false => values.extend(more),
        }
    }
}

impl BatchEncoding {
    /// Rows of ids, without texts to go back to; every token counts.
    pub fn from_ids(rows: Vec<Vec<u32>>) -> Self {
        let encoded = rows.into_iter().map(|ids| {
            let tokens = vec![String::new(); ids.len()];
            Self::of_ids(ids, tokens)
        });
        Self::new(encoded.enumerate())
    }

    /// Adds the rows of another batch.
    fn append(&mut self, other: Self) {
        let samples = self
            .overflow_to_sample_mapping
            .last()
            .map_or(0, |last| last + 1);
        let empty = self.is_empty();
        let both = |ours: &mut Option<Vec<Vec<u32>>>, theirs| {
            *ours = match (ours.take(), theirs) {
                (None, Some(theirs)) if empty => Some(theirs),
                (Some(ours), Some(theirs)) => Some([ours, theirs].concat()),
                _ => None,
            };
        };
        both(&mut self.labels, other.labels);
        both(&mut self.assistant_masks, other.assistant_masks);
        self.input_ids.extend(other.input_ids);
        self.attention_mask.extend(other.attention_mask);
        self.token_type_ids.extend(other.token_type_ids);
        self.special_tokens_mask.extend(other.special_tokens_mask);
        let mapping = other.overflow_to_sample_mapping.into_iter();
        self.overflow_to_sample_mapping
            .extend(mapping.map(|sample| samples + sample));
        self.rows.extend(other.rows);
    }

    fn fill(&mut self, filler: &Filler) {
        for (index, ids) in self.input_ids.iter_mut().enumerate() {
            let length = ids.len();
            filler.fill(ids, filler.id, length);
            for (field, value) in [
                (&mut self.attention_mask, 0),
                (&mut self.token_type_ids, filler.type_id),
                (&mut self.special_tokens_mask, 1),
            ] {
                if let Some(values) = field.get_mut(index) {
                    filler.fill(values, value, length);
                }
            }
            let masks = self.assistant_masks.as_mut();
            if let Some(mask) = masks.and_then(|masks| masks.get_mut(index)) {
                filler.fill(mask, 0, length);
            }
            if let Some(row) = self.rows.get_mut(index) {
                filler.fill_row(row);
            }
        }
    }
}
