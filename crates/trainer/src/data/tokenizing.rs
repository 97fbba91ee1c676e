//! Columns of text as ids: what models train on.

use serde_json::Value as Json;
use transformers_modeling::loss::IGNORE_INDEX;
use transformers_tokenization::{
    BatchEncoding, ChatMessage, ChatTemplateOptions, EncodeOptions, Inputs, Tokenizer, Truncation,
};

use super::example::wrong_type;
use super::{Example, Value};
use crate::{Result, TrainerError};

/// Makes the columns of a model's arguments of columns of text.
///
/// ```no_run
/// use transformers_tokenization::AutoTokenizer;
/// use transformers_trainer::data::{ExampleTokenizer, Table, load_dataset};
///
/// let encode = ExampleTokenizer::new(AutoTokenizer::from_pretrained("bert-base-uncased")?).with_max_length(128);
/// let mails = Table::new(load_dataset("mails.csv", "train")?);
/// let rows = mails.map(|mail| Ok(encode.text(&mail, "text")?.with("label", mail.require("label")?.clone())))?;
/// # Ok::<(), transformers_trainer::TrainerError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ExampleTokenizer {
    tokenizer: Tokenizer,
    max_length: Option<usize>,
    special_tokens_mask: bool,
    offset_mapping: bool,
}

impl ExampleTokenizer {
    /// Rows as long as the model reads.
    pub fn new(tokenizer: Tokenizer) -> Self {
        Self {
            max_length: tokenizer.model_max_length(),
            tokenizer,
            special_tokens_mask: false,
            offset_mapping: false,
        }
    }

    /// Rows of at most so many tokens, special ones included.
    #[must_use]
    pub fn with_max_length(mut self, length: usize) -> Self {
        self.max_length = Some(length);
        self
    }

    /// Rows of any length, for what is packed afterwards.
    #[must_use]
    pub fn without_max_length(mut self) -> Self {
        self.max_length = None;
        self
    }

    /// With `special_tokens_mask`, and with `offset_mapping` if whole words are hidden, for masked language modeling.
    #[must_use]
    pub fn for_masking(mut self, whole_words: bool) -> Self {
        (self.special_tokens_mask, self.offset_mapping) = (true, whole_words);
        self
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn options(&self, add_special_tokens: bool) -> EncodeOptions {
        EncodeOptions {
            add_special_tokens,
            truncation: match self.max_length {
                Some(_) => Truncation::LongestFirst,
                None => Truncation::None,
            },
            max_length: self.max_length,
            ..EncodeOptions::default()
        }
    }

    /// The text of a column: `input_ids` and `attention_mask`.
    ///
    /// # Errors
    /// There is no such column of texts, or the text cannot be encoded.
    pub fn text(&self, example: &Example, column: &str) -> Result<Example> {
        let texts = [example.text(column)?];
        let batch = self
            .tokenizer
            .call(Inputs::texts(&texts), &self.options(true))?;
        Ok(self.row(&batch))
    }

    /// The texts of two columns in one row: also `token_type_ids`.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn pair(&self, example: &Example, first: &str, second: &str) -> Result<Example> {
        let (first, second) = ([example.text(first)?], [example.text(second)?]);
        let inputs = Inputs::texts(&first).with_pairs(&second);
        let batch = self.tokenizer.call(inputs, &self.options(true))?;
        let types = batch.token_type_ids[0].clone();
        Ok(self.row(&batch).with("token_type_ids", types))
    }

    /// The text of a column, and as `labels` that of another one, which answers it. Both are cut to the same length.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn answer(&self, example: &Example, column: &str, answer: &str) -> Result<Example> {
        let (texts, answers) = ([example.text(column)?], [example.text(answer)?]);
        let inputs = Inputs::texts(&texts).with_targets(&answers);
        let batch = self.tokenizer.call(inputs, &self.options(true))?;
        let labels = batch.labels.as_ref().map(|labels| labels[0].clone());
        Ok(self.row(&batch).with("labels", labels.unwrap_or_default()))
    }

    /// The words of a column, and as `labels` the class of each word at its first token; other tokens have -100.
    ///
    /// # Errors
    /// A column is missing or of another kind, or there is not one class for each word.
    pub fn words(&self, example: &Example, column: &str, classes: &str) -> Result<Example> {
        let value = example.require(column)?;
        let words =
            list_of_texts(value).ok_or_else(|| wrong_type(column, value, "a list of words"))?;
        let classes_of = example.integers(classes)?;
        if words.len() != classes_of.len() {
            return Err(TrainerError::InvalidColumn {
                column: classes.to_owned(),
                reason: format!("{} classes for {} words", classes_of.len(), words.len()),
            });
        }
        let rows = [words];
        let batch = self
            .tokenizer
            .call(Inputs::words(&rows), &self.options(true))?;
        let mut last = None;
        let labels = batch.word_ids(0).iter().map(|word| {
            let first = *word != last;
            last = *word;
            match word.filter(|_| first) {
                Some(word) => classes_of[word as usize],
                None => IGNORE_INDEX,
            }
        });
        let labels: Vec<i64> = labels.collect();
        Ok(self.row(&batch).with("labels", labels))
    }

    /// The conversation of a column, rendered by the chat template; tools may be in a column `tools`. With `assistant_only`
    /// there are `labels`, which are -100 but where the assistant speaks.
    ///
    /// What the assistant wrote is what the template marks by `{% generation %}`; where it marks nothing, what an answer adds
    /// to the conversation before it.
    ///
    /// # Errors
    /// The column is missing or holds no messages, the template fails, or nobody can say what the assistant wrote.
    pub fn chat(&self, example: &Example, column: &str, assistant_only: bool) -> Result<Example> {
        let messages = messages(column, example.require(column)?)?;
        let tools = match example.get("tools") {
            Some(value) if !value.is_null() => value
                .items()
                .map(|tools| tools.iter().map(Json::from).collect()),
            _ => None,
        };
        let options = ChatTemplateOptions {
            tools,
            return_assistant_tokens_mask: assistant_only,
            ..ChatTemplateOptions::default()
        };
        let batch = self.tokenizer.apply_chat_template(&messages, &options)?;
        let mut ids = batch.input_ids[0].clone();
        let mut row = Example::new();
        if assistant_only {
            let marked = batch.assistant_masks.as_ref().map(|masks| masks[0].clone());
            let mask = match marked.filter(|mask| mask.contains(&1)) {
                Some(mask) => mask,
                None => self.answers(column, &messages, &options, &ids)?,
            };
            let labels = ids.iter().zip(&mask).map(|(id, spoken)| match spoken {
                0 => IGNORE_INDEX,
                _ => i64::from(*id),
            });
            let mut labels: Vec<i64> = labels.collect();
            labels.truncate(self.max_length.unwrap_or(usize::MAX));
            row.insert("labels", labels);
        }
        ids.truncate(self.max_length.unwrap_or(usize::MAX));
        row.insert("attention_mask", vec![1_i64; ids.len()]);
        row.insert("input_ids", ids);
        Ok(row)
    }

    /// 1 for the tokens that each answer adds to what is before it.
    fn answers(
        &self,
        column: &str,
        messages: &[ChatMessage],
        options: &ChatTemplateOptions,
        ids: &[u32],
    ) -> Result<Vec<u32>> {
        let length = |end: usize, add_generation_prompt: bool| -> Result<usize> {
            let options = ChatTemplateOptions {
                add_generation_prompt,
                return_assistant_tokens_mask: false,
                ..options.clone()
            };
            let batch = self
                .tokenizer
                .apply_chat_template(&messages[..end], &options)?;
            match ids.starts_with(&batch.input_ids[0]) {
                true => Ok(batch.input_ids[0].len()),
                false => Err(TrainerError::InvalidColumn {
                    column: column.to_owned(),
                    reason: "the chat template does not say what the assistant writes, and renders the beginning of a \
                             conversation otherwise than the whole; put {% generation %} and {% endgeneration %} around it"
                        .to_owned(),
                }),
            }
        };
        let mut mask = vec![0; ids.len()];
        for (at, message) in messages.iter().enumerate() {
            if message.role() == Some("assistant") {
                let (start, end) = (length(at, true)?, length(at + 1, false)?);
                mask[start..end.max(start)].fill(1);
            }
        }
        Ok(mask)
    }

    fn row(&self, batch: &BatchEncoding) -> Example {
        let mut row = Example::new()
            .with("input_ids", batch.input_ids[0].clone())
            .with("attention_mask", batch.attention_mask[0].clone());
        if self.special_tokens_mask {
            row.insert("special_tokens_mask", batch.special_tokens_mask[0].clone());
        }
        if self.offset_mapping {
            let offsets = batch.offset_mapping(0).iter();
            let offsets =
                offsets.map(|&(start, end)| Value::Integers(vec![start as i64, end as i64]));
            row.insert("offset_mapping", Value::List(offsets.collect()));
        }
        row
    }
}

fn list_of_texts(value: &Value) -> Option<Vec<String>> {
    let items = value.items()?;
    items
        .iter()
        .map(|item| item.as_text().map(str::to_owned))
        .collect()
}

fn messages(column: &str, value: &Value) -> Result<Vec<ChatMessage>> {
    let items = value.items().filter(|items| !items.is_empty());
    let items = items.ok_or_else(|| wrong_type(column, value, "a list of messages"))?;
    let message = |item: &Value| Ok(ChatMessage::try_from(Json::from(item))?);
    items.iter().map(message).collect()
}

/// The ids of all rows, one behind the other, cut into blocks of one length; what is left at the end is dropped. `labels`
/// go along where there are some.
///
/// # Errors
/// Blocks of nothing, a row without ids or with other labels than ids, or fewer tokens than a block has.
pub fn pack(
    rows: impl IntoIterator<Item = Result<Example>>,
    block_size: usize,
) -> Result<Vec<Example>> {
    if block_size == 0 {
        return Err(TrainerError::InvalidOption {
            name: "block_size",
            reason: "a block has at least one token".to_owned(),
        });
    }
    let (mut ids, mut labels): (Vec<i64>, Vec<i64>) = Default::default();
    let (mut blocks, mut tokens) = (Vec::new(), 0);
    for row in rows {
        let row = row?;
        let found = row.integers("input_ids")?;
        tokens += found.len();
        ids.extend_from_slice(found);
        if row.get("labels").is_some() {
            labels.extend_from_slice(row.integers("labels")?);
        }
        if !labels.is_empty() && labels.len() != ids.len() {
            return Err(TrainerError::InvalidColumn {
                column: "labels".to_owned(),
                reason: "a row has not one label for each token".to_owned(),
            });
        }
        let whole = ids.len() / block_size * block_size;
        let rest = ids.split_off(whole);
        let rest_labels = labels.split_off(whole.min(labels.len()));
        for (at, block) in ids.chunks(block_size).enumerate() {
            let mut example = Example::new().with("input_ids", block.to_vec());
            if !labels.is_empty() {
                example.insert("labels", labels[at * block_size..][..block_size].to_vec());
            }
            blocks.push(example);
        }
        (ids, labels) = (rest, rest_labels);
    }
    match blocks.is_empty() {
        true => Err(TrainerError::InvalidOption {
            name: "block_size",
            reason: format!("{tokens} tokens fill no block of {block_size}"),
        }),
        false => Ok(blocks),
    }
}
