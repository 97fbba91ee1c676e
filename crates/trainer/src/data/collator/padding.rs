//! Rows of tokens brought to one length.

use transformers_tokenization::{Padding, Side, TokenizationError, Tokenizer};

use super::Collator;
use super::default::{stack, stack_values};
use crate::data::example::wrong_type;
use crate::data::{Batch, Example, Value};
use crate::{Result, TrainerError};

/// No model reads more; a length beyond it comes from a wrong option and would only eat memory.
const MAX_LENGTH: usize = 1 << 26;

/// How far rows are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PadOptions {
    /// To the longest row of the batch, to `max_length`, or not at all.
    pub padding: Padding,
    /// For [`Padding::MaxLength`]. `None`: the tokenizer's.
    pub max_length: Option<usize>,
    /// Up to a multiple of this.
    pub pad_to_multiple_of: Option<usize>,
}

impl Default for PadOptions {
    /// To the longest row.
    fn default() -> Self {
        Self {
            padding: Padding::Longest,
            max_length: None,
            pad_to_multiple_of: None,
        }
    }
}

/// Pads what a tokenizer gave, on the tokenizer's side, and stacks it; `label` and `label_ids` become `labels` (the
/// reference's `DataCollatorWithPadding`).
#[derive(Debug, Clone)]
pub struct DataCollatorWithPadding {
    /// Its padding token and side are taken.
    pub tokenizer: Tokenizer,
    /// How far.
    pub options: PadOptions,
}

impl DataCollatorWithPadding {
    /// Pads to the longest row.
    pub fn new(tokenizer: Tokenizer) -> Self {
        Self {
            tokenizer,
            options: PadOptions::default(),
        }
    }
}

impl Collator for DataCollatorWithPadding {
    fn collate(&mut self, examples: Vec<Example>) -> Result<Batch> {
        let mut batch = pad(&self.tokenizer, &self.options, examples)?;
        for name in ["label", "label_ids"] {
            if let Some(labels) = batch.remove(name) {
                batch.insert("labels", labels);
            }
        }
        Ok(batch)
    }
}

/// Pads the columns that go along the tokens and stacks all.
pub(super) fn pad(
    tokenizer: &Tokenizer,
    options: &PadOptions,
    mut examples: Vec<Example>,
) -> Result<Batch> {
    let mut longest = 0;
    for example in &examples {
        longest = longest.max(example.integers("input_ids")?.len());
    }
    let length = length(tokenizer, options, longest)?;
    let left = tokenizer.padding_side() == Side::Left;
    for example in &mut examples {
        let tokens = example.integers("input_ids")?.len();
        if example.get("attention_mask").is_none() {
            example.insert("attention_mask", vec![1_i64; tokens]);
        }
        let Some(missing) = length.and_then(|length| length.checked_sub(tokens)) else {
            continue;
        };
        if missing == 0 {
            continue;
        }
        let pad = tokenizer
            .pad_token_id()
            .ok_or(TokenizationError::NoPadToken)?;
        for (name, with) in [
            ("input_ids", i64::from(pad)),
            ("attention_mask", 0),
            ("token_type_ids", i64::from(tokenizer.pad_token_type_id())),
            ("special_tokens_mask", 1),
        ] {
            if let Some(value) = example.get(name) {
                let filled = fill(integers(name, value)?, with, missing, left);
                example.insert(name, filled);
            }
        }
        if let Some(value) = example.get("offset_mapping") {
            let nowhere = Value::Integers(vec![0, 0]);
            let items = value
                .items()
                .ok_or_else(|| wrong_type("offset_mapping", value, "a list"))?;
            let filled = fill(items, nowhere, missing, left);
            example.insert("offset_mapping", Value::List(filled));
        }
    }
    stack_all(&examples)
}

/// How long rows should be; `None`: as they are.
fn length(tokenizer: &Tokenizer, options: &PadOptions, longest: usize) -> Result<Option<usize>> {
    let length = match options.padding {
        Padding::None => None,
        Padding::Longest => Some(longest),
        Padding::MaxLength => options.max_length.or(tokenizer.model_max_length()),
    };
    let Some(length) = length else {
        return Ok(None);
    };
    round_up(length, options.pad_to_multiple_of).map(Some)
}

/// The next multiple.
pub(super) fn round_up(length: usize, multiple: Option<usize>) -> Result<usize> {
    length
        .checked_next_multiple_of(multiple.unwrap_or(1).max(1))
        .filter(|length| *length <= MAX_LENGTH)
        .ok_or_else(|| TrainerError::InvalidOption {
            name: "pad_to_multiple_of",
            reason: format!("rows of {length} tokens would become longer than {MAX_LENGTH}"),
        })
}

fn integers(name: &str, value: &Value) -> Result<Vec<i64>> {
    value
        .as_integers()
        .map(<[i64]>::to_vec)
        .ok_or_else(|| wrong_type(name, value, "a list of whole numbers"))
}

/// `missing` more values on one side.
pub(super) fn fill<T: Clone>(mut values: Vec<T>, with: T, missing: usize, left: bool) -> Vec<T> {
    let more = std::iter::repeat_n(with, missing);
    match left {
        true => drop(values.splice(..0, more)),
        false => values.extend(more),
    }
    values
}

/// All columns of the first example as arrays; texts are left out.
fn stack_all(examples: &[Example]) -> Result<Batch> {
    let first = examples.first().ok_or(TrainerError::EmptyDataset)?;
    let mut batch = Batch::new();
    for (name, value) in first.iter() {
        if !value.is_null() && value.as_text().is_none() {
            batch.insert(name, stack(name, examples)?);
        }
    }
    Ok(batch)
}

/// Takes the labels out of the examples: `label`, or else `labels`. `None` where the first example has none.
pub(super) fn take_labels(examples: &mut [Example]) -> Result<Option<(&'static str, Vec<Value>)>> {
    let Some(first) = examples.first() else {
        return Ok(None);
    };
    let name = match first.get("label") {
        Some(_) => "label",
        None => "labels",
    };
    if first.get(name).is_none_or(Value::is_null) {
        examples.iter_mut().for_each(|example| {
            example.remove(name);
        });
        return Ok(None);
    }
    let mut labels = Vec::with_capacity(examples.len());
    for example in examples {
        example.require(name)?;
        labels.extend(example.remove(name));
    }
    Ok(Some((name, labels)))
}

/// Labels of tokens, filled up to `length`.
pub(super) fn fill_labels(
    name: &str,
    labels: Vec<Value>,
    with: i64,
    length: usize,
    left: bool,
) -> Result<crate::data::Column> {
    let mut rows = Vec::with_capacity(labels.len());
    for labels in &labels {
        let labels = integers(name, labels)?;
        let missing = length.saturating_sub(labels.len());
        rows.push(Value::Integers(fill(labels, with, missing, left)));
    }
    stack_values(name, &rows.iter().collect::<Vec<_>>())
}
