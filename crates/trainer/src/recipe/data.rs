//! Examples as a task wants them.

use std::path::Path;

use transformers_hub::{HubOptions, ModelSource};
use transformers_tokenization::Tokenizer;

use super::{DataRecipe, Recipe, Task, labels};
use crate::data::{
    Collator, DataCollatorForCausalLM, DataCollatorForLanguageModeling, DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification, DataCollatorWithPadding, Dataset, Example,
    ExampleTokenizer, MaskOptions, PadOptions, Table, Value, load_dataset, load_hub_dataset, pack,
};
use crate::{Result, TrainerError};

/// Tokens to train and to evaluate on, and what makes batches of them.
pub struct PreparedData {
    /// To train on.
    pub train: Table,
    /// To evaluate on.
    pub validation: Option<Table>,
    /// Makes the batches.
    pub collator: Box<dyn Collator>,
    /// The names of the classes, where there are any.
    pub classes: Option<Vec<String>>,
    /// Tokens of the training data, without padding.
    pub tokens: usize,
    /// Tokens of its longest row.
    pub longest: usize,
}

impl Recipe {
    /// Reads and tokenises the data.
    ///
    /// # Errors
    /// Data that cannot be read, has not the columns, has no examples, or does not fit the tokenizer or the task.
    pub fn prepare(
        &self,
        tokenizer: &Tokenizer,
        hub: &HubOptions,
        seed: u64,
    ) -> Result<PreparedData> {
        let (train, validation) = self.data.load(hub)?;
        let column = match self.task {
            Task::TextClassification => Some(&self.data.label),
            Task::TokenClassification => Some(&self.data.tags),
            _ => None,
        };
        let given = self.data.classes.as_deref();
        let classes = column
            .map(|column| labels::classes(&train, column, given))
            .transpose()?;
        let encoder = Encoder {
            task: self.task,
            data: &self.data,
            classes: classes.as_deref(),
            encode: self.encoder(tokenizer),
        };
        let train = encoder.table(&train)?;
        let validation = validation.map(|table| encoder.table(&table)).transpose()?;
        let (tokens, longest) = lengths(&train)?;
        Ok(PreparedData {
            train,
            validation,
            collator: self.collator(tokenizer, seed)?,
            classes,
            tokens,
            longest,
        })
    }

    fn encoder(&self, tokenizer: &Tokenizer) -> ExampleTokenizer {
        let encode = ExampleTokenizer::new(tokenizer.clone());
        let encode = match (self.data.packing, self.data.max_length) {
            (true, _) => encode.without_max_length(),
            (false, Some(length)) => encode.with_max_length(length),
            (false, None) => encode,
        };
        match self.task {
            Task::MaskedLm => encode.for_masking(self.data.whole_word_mask),
            _ => encode,
        }
    }

    fn collator(&self, tokenizer: &Tokenizer, seed: u64) -> Result<Box<dyn Collator>> {
        let tokenizer = tokenizer.clone();
        Ok(match self.task {
            Task::CausalLm => Box::new(DataCollatorForCausalLM::new(tokenizer)),
            Task::MaskedLm => {
                let mask = MaskOptions {
                    mlm_probability: self.data.mlm_probability,
                    whole_word_mask: self.data.whole_word_mask,
                    ..MaskOptions::default()
                };
                let options = PadOptions::default();
                Box::new(DataCollatorForLanguageModeling::with_options(
                    tokenizer, seed, mask, options,
                )?)
            }
            Task::TextClassification => Box::new(DataCollatorWithPadding::new(tokenizer)),
            Task::TokenClassification => {
                Box::new(DataCollatorForTokenClassification::new(tokenizer))
            }
            Task::Seq2seq => Box::new(DataCollatorForSeq2Seq::new(tokenizer)),
        })
    }
}

impl DataRecipe {
    /// A split of the dataset, or of the file or folder, that is trained on.
    fn load_split(&self, split: &str, hub: &HubOptions) -> Result<Vec<Example>> {
        let Some(dataset) = &self.dataset else {
            return load(self.source(), split);
        };
        // What is said of the model's repository is not said of this one.
        let options = HubOptions {
            revision: self.revision.clone(),
            subfolder: self.data_dir.clone(),
            ..hub.clone()
        };
        let source = ModelSource::from(dataset);
        load_hub_dataset(source, self.name.as_deref(), split, &options)
    }

    /// The examples to train and to evaluate on.
    fn load(&self, hub: &HubOptions) -> Result<(Table, Option<Table>)> {
        let train = Table::new(self.load_split(&self.split, hub)?);
        let validation = match (&self.validation, &self.validation_split) {
            (None, None) => None,
            (Some(file), split) => {
                let split = split.as_deref().unwrap_or("train");
                Some(Table::new(load(file, split)?))
            }
            (None, Some(split)) => Some(Table::new(self.load_split(split, hub)?)),
        };
        let (train, validation) = match (self.test_size, validation) {
            (Some(_), Some(_)) => {
                return Err(TrainerError::InvalidOption {
                    name: "test_size",
                    reason: "there is validation data already".to_owned(),
                });
            }
            (Some(size), None) => {
                let (train, test) = train.train_test_split(size, self.split_seed)?;
                (train, Some(test))
            }
            (None, validation) => (train, validation),
        };
        let limit = self.limit.unwrap_or(usize::MAX).min(train.len());
        let train = train.select(0..limit)?;
        match train.is_empty() || validation.as_ref().is_some_and(Dataset::is_empty) {
            true => Err(TrainerError::EmptyDataset),
            false => Ok((train, validation)),
        }
    }
}

/// The examples of a split of what is on disk.
fn load(source: &str, split: &str) -> Result<Vec<Example>> {
    let path = Path::new(source);
    match path.exists() {
        true => load_dataset(path, split),
        false => Err(TrainerError::InvalidFile {
            path: path.to_owned(),
            reason:
                "there is no such file or folder; a dataset of the hub is named by `data.dataset`"
                    .to_owned(),
        }),
    }
}

/// Makes rows of examples.
struct Encoder<'a> {
    task: Task,
    data: &'a DataRecipe,
    classes: Option<&'a [String]>,
    encode: ExampleTokenizer,
}

impl Encoder<'_> {
    fn table(&self, table: &Table) -> Result<Table> {
        let mut index = 0;
        let row = |example: Example| {
            index += 1;
            self.row(example, index - 1)
        };
        let rows = match &self.data.cache_dir {
            None => table.map(row)?,
            Some(cache) => table.map_cached(&self.name(), cache, row)?,
        };
        if !self.data.packing {
            return Ok(rows);
        }
        let size = self
            .data
            .max_length
            .or(self.encode.tokenizer().model_max_length());
        let size = size.ok_or_else(|| TrainerError::InvalidOption {
            name: "max_length",
            reason: "it says how long packed blocks are, and is missing".to_owned(),
        })?;
        let rows = (0..rows.len()).map(|index| rows.get(index));
        Ok(Table::new(pack(rows, size)?))
    }

    /// What stands for the function in a cache.
    fn name(&self) -> String {
        let tokenizer = self.encode.tokenizer();
        let mut tokens: Vec<(String, u32)> = tokenizer.get_vocab().into_iter().collect();
        tokens.sort_by_key(|(_, id)| *id);
        format!(
            "{:?} {:?} {:?} {:?} {tokens:?}",
            self.task, self.data, self.classes, tokenizer
        )
    }

    fn row(&self, mut example: Example, index: usize) -> Result<Example> {
        let (data, encode) = (self.data, &self.encode);
        if !data.prefix.is_empty() {
            let text = format!("{}{}", data.prefix, example.text(&data.text)?);
            example.insert(data.text.clone(), text);
        }
        match self.task {
            Task::CausalLm => match &data.messages {
                Some(column) if data.assistant_only_loss => encode.chat(&example, column, true),
                Some(column) => targets(encode.chat(&example, column, false)?, None),
                None => targets(encode.text(&example, &data.text)?, self.end()),
            },
            Task::MaskedLm => encode.text(&example, &data.text),
            Task::Seq2seq => encode.answer(&example, &data.text, &data.target),
            Task::TextClassification => {
                let row = match &data.text_pair {
                    Some(pair) => encode.pair(&example, &data.text, pair)?,
                    None => encode.text(&example, &data.text)?,
                };
                Ok(row.with("label", self.numbers(&example, index, &data.label)?))
            }
            Task::TokenClassification => {
                let numbers = self.numbers(&example, index, &data.tags)?;
                encode.words(&example.with(&data.tags, numbers), &data.words, &data.tags)
            }
        }
    }

    fn numbers(&self, example: &Example, index: usize, column: &str) -> Result<Value> {
        labels::numbers(example, index, column, self.classes.unwrap_or_default())
    }

    /// The token that ends a text that is packed.
    fn end(&self) -> Option<i64> {
        let end = self.encode.tokenizer().eos_token_id().map(i64::from);
        end.filter(|_| self.data.packing && self.data.add_eos)
    }
}

/// With `end` after it; all tokens are targets, the end too, which may be the padding token as well.
fn targets(mut row: Example, end: Option<i64>) -> Result<Example> {
    let mut ids = row.integers("input_ids")?.to_vec();
    if let Some(end) = end.filter(|end| ids.last() != Some(end)) {
        ids.push(end);
    }
    row.insert("attention_mask", vec![1_i64; ids.len()]);
    row.insert("labels", ids.clone());
    row.insert("input_ids", ids);
    Ok(row)
}

/// All tokens, and those of the longest row.
fn lengths(table: &Table) -> Result<(usize, usize)> {
    let (mut tokens, mut longest) = (0, 0);
    for index in 0..table.len() {
        let len = table.get(index)?.integers("input_ids")?.len();
        (tokens, longest) = (tokens + len, longest.max(len));
    }
    Ok((tokens, longest))
}
