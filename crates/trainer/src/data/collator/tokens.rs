//! Classes of tokens, and choices.

use transformers_modeling::loss::IGNORE_INDEX;
use transformers_tokenization::{Side, Tokenizer};

use super::Collator;
use super::default::stack_values;
use super::padding::{PadOptions, fill_labels, pad, take_labels};
use crate::data::{Array, Batch, Column, Example, Value};
use crate::{Result, TrainerError};

/// Pads the tokens and their labels (the reference's `DataCollatorForTokenClassification`).
#[derive(Debug, Clone)]
pub struct DataCollatorForTokenClassification {
    /// Its padding token and side are taken.
    pub tokenizer: Tokenizer,
    /// How far.
    pub options: PadOptions,
    /// The label of padding.
    pub label_pad_token_id: i64,
}

impl DataCollatorForTokenClassification {
    /// Pads to the longest row, and labels with -100.
    pub fn new(tokenizer: Tokenizer) -> Self {
        Self {
            tokenizer,
            options: PadOptions::default(),
            label_pad_token_id: IGNORE_INDEX,
        }
    }
}

impl Collator for DataCollatorForTokenClassification {
    fn collate(&mut self, mut examples: Vec<Example>) -> Result<Batch> {
        let labels = take_labels(&mut examples)?;
        let mut batch = pad(&self.tokenizer, &self.options, examples)?;
        if let Some((name, labels)) = labels {
            let length = batch.integers("input_ids")?.shape()[1];
            let left = self.tokenizer.padding_side() == Side::Left;
            let labels = fill_labels(name, labels, self.label_pad_token_id, length, left)?;
            batch.insert("labels", labels);
        }
        Ok(batch)
    }
}

/// Pads the choices of all examples to one length, `[batch, choices, seq]`; `labels` say which one is right (the reference's
/// `DataCollatorForMultipleChoice`).
#[derive(Debug, Clone)]
pub struct DataCollatorForMultipleChoice {
    /// Its padding token and side are taken.
    pub tokenizer: Tokenizer,
    /// How far.
    pub options: PadOptions,
}

impl DataCollatorForMultipleChoice {
    /// Pads to the longest choice.
    pub fn new(tokenizer: Tokenizer) -> Self {
        Self {
            tokenizer,
            options: PadOptions::default(),
        }
    }
}

impl Collator for DataCollatorForMultipleChoice {
    fn collate(&mut self, mut examples: Vec<Example>) -> Result<Batch> {
        let labels = take_labels(&mut examples)?;
        let count = examples.len();
        let choices = match examples.first() {
            Some(first) => first.require("input_ids")?.list_len().unwrap_or(0),
            None => 0,
        };
        if choices == 0 {
            return Err(TrainerError::InvalidColumn {
                column: "input_ids".to_owned(),
                reason: "an example has no choices; give a list of rows for each example"
                    .to_owned(),
            });
        }
        let mut flat = Vec::with_capacity(count * choices);
        for example in examples {
            flat.extend(split(example, choices)?);
        }
        let mut batch = Batch::new();
        for (name, column) in pad(&self.tokenizer, &self.options, flat)?.iter() {
            let shape = [&[count, choices], &column.shape()[1..]].concat();
            let column: Column = match column {
                Column::Integers(array) => Array::new(array.values().to_vec(), shape).into(),
                Column::Floats(array) => Array::new(array.values().to_vec(), shape).into(),
                Column::Bools(array) => Array::new(array.values().to_vec(), shape).into(),
            };
            batch.insert(name, column);
        }
        if let Some((name, labels)) = labels {
            let labels: Vec<&Value> = labels.iter().collect();
            batch.insert("labels", stack_values(name, &labels)?);
        }
        Ok(batch)
    }
}

/// The choices of an example, as examples.
fn split(example: Example, choices: usize) -> Result<Vec<Example>> {
    let mut split = vec![Example::new(); choices];
    for (name, value) in example {
        if value.as_text().is_some() || value.is_null() {
            continue;
        }
        let items = value.items().filter(|items| items.len() == choices);
        let Some(items) = items else {
            let found = value.list_len().unwrap_or(0);
            return Err(TrainerError::InvalidColumn {
                column: name,
                reason: format!("{found} values for {choices} choices"),
            });
        };
        for (choice, item) in split.iter_mut().zip(items) {
            choice.insert(name.clone(), item);
        }
    }
    Ok(split)
}
