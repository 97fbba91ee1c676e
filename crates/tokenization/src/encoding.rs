//! From texts to a batch of ids: truncation, padding, pairs.
//!
//! Truncation and padding are options of a call. What `tokenizer.json` says about them is kept for saving and otherwise
//! not followed, as the reference does: only the padding token and the sides are taken from there.

use tokenizers::utils::parallelism::MaybeParallelIterator as _;
use tokenizers::utils::truncation::{
    TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings,
};
use tokenizers::{Encoding, InputSequence, PostProcessor as _};

use crate::normalizer::unless_stopped;
use crate::splitter::TooManySteps;
use crate::tokenizer::Kind;
use crate::{BatchEncoding, Result, TokenizationError, Tokenizer};

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
    /// How many tokens of a row are repeated in the next one, where a text overflows.
    pub stride: usize,
    /// Whether what is cut off a text that is too long becomes further rows.
    pub return_overflowing_tokens: bool,
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
            stride: 0,
            return_overflowing_tokens: false,
        }
    }
}

/// What is encoded: texts, or texts that are split into words, alone or in pairs, and the texts that a model should
/// answer.
///
/// ```no_run
/// use transformers_tokenization::{AutoTokenizer, EncodeOptions, Inputs};
///
/// let tokenizer = AutoTokenizer::from_pretrained("t5-small")?;
/// let inputs = Inputs::texts(&["Translate: Hello"]).with_targets(&["Hallo"]);
/// let batch = tokenizer.call(inputs, &EncodeOptions::default())?;
/// assert!(batch.labels.is_some());
/// # Ok::<(), transformers_tokenization::TokenizationError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Inputs<'a> {
    texts: Vec<InputSequence<'a>>,
    pairs: Option<Vec<InputSequence<'a>>>,
    targets: Option<Vec<InputSequence<'a>>>,
}

fn sequences<T: AsRef<str>>(texts: &[T]) -> Vec<InputSequence<'_>> {
    texts.iter().map(|text| text.as_ref().into()).collect()
}

fn word_sequences<T: AsRef<str>>(rows: &[Vec<T>]) -> Vec<InputSequence<'_>> {
    let words = |row: &'_ Vec<T>| row.iter().map(|word| word.as_ref().to_owned()).collect();
    rows.iter()
        .map(words)
        .map(|words: Vec<String>| words.into())
        .collect()
}

impl<'a> Inputs<'a> {
    fn new(texts: Vec<InputSequence<'a>>) -> Self {
        Self {
            texts,
            pairs: None,
            targets: None,
        }
    }

    /// Whole texts.
    pub fn texts<T: AsRef<str>>(texts: &'a [T]) -> Self {
        Self::new(sequences(texts))
    }

    /// Texts that are split into words, which are tokenised one by one.
    pub fn words<T: AsRef<str>>(rows: &'a [Vec<T>]) -> Self {
        Self::new(word_sequences(rows))
    }

    /// The second text of each row.
    pub fn with_pairs<T: AsRef<str>>(mut self, texts: &'a [T]) -> Self {
        self.pairs = Some(sequences(texts));
        self
    }

    /// The second text of each row, split into words.
    pub fn with_word_pairs<T: AsRef<str>>(mut self, rows: &'a [Vec<T>]) -> Self {
        self.pairs = Some(word_sequences(rows));
        self
    }

    /// What the model should answer: it becomes [`BatchEncoding::labels`].
    pub fn with_targets<T: AsRef<str>>(mut self, texts: &'a [T]) -> Self {
        self.targets = Some(sequences(texts));
        self
    }
}

/// How many tokens the rows of one text may have together, if they overlap.
const MAX_OVERFLOW: usize = 1 << 28;

impl Tokenizer {
    /// Encodes texts, pairs, words and targets, by the options.
    ///
    /// Fails where padding is asked for and there is no padding token, where the maximal length is smaller than the
    /// number of special tokens, or not a multiple of `pad_to_multiple_of` when both truncating and padding, and where
    /// the stride leaves nothing new in a row.
    pub fn call(&self, inputs: Inputs<'_>, options: &EncodeOptions) -> Result<BatchEncoding> {
        let unequal = |what: &str, found: usize, texts: usize| {
            TokenizationError::InvalidOptions(format!(
                "there are {texts} texts, but {found} {what}; give one for each"
            ))
        };
        let texts = inputs.texts.len();
        if let Some(pairs) = inputs.pairs.as_ref().filter(|pairs| pairs.len() != texts) {
            return Err(unequal("second texts", pairs.len(), texts));
        }
        if let Some(targets) = inputs
            .targets
            .as_ref()
            .filter(|targets| targets.len() != texts)
        {
            return Err(unequal("targets", targets.len(), texts));
        }
        let labels = inputs
            .targets
            .map(|targets| self.rows(targets, None, options));
        let mut batch = self.rows(inputs.texts, inputs.pairs, options)?;
        batch.labels = labels.transpose()?.map(|labels| labels.input_ids);
        Ok(batch)
    }

    /// Encodes each text, by the options: [`Tokenizer::call`] for whole texts.
    pub fn encode_batch(
        &self,
        texts: &[impl AsRef<str>],
        options: &EncodeOptions,
    ) -> Result<BatchEncoding> {
        self.call(Inputs::texts(texts), options)
    }

    /// Encodes each pair of texts into one row, by the options.
    pub fn encode_pairs(
        &self,
        pairs: &[(impl AsRef<str>, impl AsRef<str>)],
        options: &EncodeOptions,
    ) -> Result<BatchEncoding> {
        let (first, second): (Vec<&str>, Vec<&str>) = pairs
            .iter()
            .map(|(first, second)| (first.as_ref(), second.as_ref()))
            .unzip();
        self.call(Inputs::texts(&first).with_pairs(&second), options)
    }

    fn rows(
        &self,
        texts: Vec<InputSequence<'_>>,
        pairs: Option<Vec<InputSequence<'_>>>,
        options: &EncodeOptions,
    ) -> Result<BatchEncoding> {
        let truncation = self.truncation(options)?;
        let pairs = pairs.into_iter().flatten().map(Some);
        let inputs: Vec<_> = texts
            .into_iter()
            .zip(pairs.chain(std::iter::repeat_with(|| None)))
            .collect();
        let encoded = in_parallel(inputs, |(text, pair)| {
            self.row(text, pair, options, truncation.as_ref())
        })?;
        let mut rows = Vec::with_capacity(encoded.len());
        for (sample, mut row) in encoded.into_iter().enumerate() {
            let overflowing = row.take_overflowing();
            rows.push((sample, row));
            if options.return_overflowing_tokens {
                rows.extend(overflowing.into_iter().map(|row| (sample, row)));
            }
        }
        self.pad_rows(&mut rows, options)?;
        Ok(BatchEncoding::new(rows))
    }

    /// These rows, truncated and padded: for what is put together without texts.
    pub(crate) fn rows_of(
        &self,
        rows: Vec<Encoding>,
        options: &EncodeOptions,
    ) -> Result<BatchEncoding> {
        let truncation = self.truncation(options)?;
        let mut rows: Vec<(usize, Encoding)> = rows.into_iter().enumerate().collect();
        if let Some(truncation) = &truncation {
            for (_, row) in &mut rows {
                row.truncate(truncation.max_length, 0, truncation.direction);
                row.take_overflowing();
            }
        }
        self.pad_rows(&mut rows, options)?;
        Ok(BatchEncoding::new(rows))
    }

    /// One text or pair. Truncation comes between tokenising and adding special tokens, so that these always stay.
    fn row(
        &self,
        text: InputSequence<'_>,
        pair: Option<InputSequence<'_>>,
        options: &EncodeOptions,
        truncation: Option<&TruncationParams>,
    ) -> Result<Encoding> {
        let encode = |input: InputSequence<'_>| {
            let ascii = match &input {
                InputSequence::Raw(text) => self.encode_ascii(text),
                _ => None,
            };
            let crates = || unless_stopped(|| self.backend.encode_char_offsets(input, false));
            ascii.unwrap_or_else(crates).map_err(encoding_failed)
        };
        let mut first = encode(text)?;
        let mut second = pair.map(encode).transpose()?;
        if let Some(second) = &mut second {
            second.set_type_ids(vec![1; second.len()]); // also of what overflows
        }
        if let Some(truncation) = truncation {
            let special = options.add_special_tokens;
            let params = self.reserve(truncation, second.is_some(), special)?;
            check_stride(first.len(), second.as_ref().map(Encoding::len), &params)?;
            if let (Kind::Plain, TruncationStrategy::LongestFirst, Some(second)) =
                (self.kind, params.strategy, &mut second)
            {
                truncate_by_turns(&mut first, second, &params);
            } else {
                (first, second) =
                    truncate_encodings(first, second, &params).map_err(encoding_failed)?;
            }
            if !options.return_overflowing_tokens {
                first.take_overflowing();
                second.as_mut().map(Encoding::take_overflowing);
            }
        }
        let mut row = self.surround(first, second, options.add_special_tokens)?;
        if self.kind == Kind::Plain && !options.add_special_tokens {
            row.set_type_ids(vec![0; row.len()]); // as the reference's
        }
        Ok(row)
    }

    /// Puts the special tokens around what was encoded.
    pub(crate) fn surround(
        &self,
        first: Encoding,
        second: Option<Encoding>,
        add_special_tokens: bool,
    ) -> Result<Encoding> {
        self.post_processor
            .process(first, second, add_special_tokens)
            .map_err(encoding_failed)
    }

    /// The truncation that leaves room for the special tokens.
    fn reserve(
        &self,
        truncation: &TruncationParams,
        pair: bool,
        special: bool,
    ) -> Result<TruncationParams> {
        let reserved = if special {
            self.num_special_tokens_to_add(pair)
        } else {
            0
        };
        let max_length = truncation.max_length.checked_sub(reserved).ok_or_else(|| {
            TokenizationError::InvalidOptions(format!(
                "`max_length` is {}, but {reserved} special tokens are added; make it larger, or do not add them",
                truncation.max_length
            ))
        })?;
        Ok(TruncationParams {
            max_length,
            ..truncation.clone()
        })
    }

    /// How many special tokens are put around a text, or a pair.
    pub fn num_special_tokens_to_add(&self, pair: bool) -> usize {
        self.post_processor.added_tokens(pair)
    }

    /// The truncation with every default filled in.
    fn truncation(&self, options: &EncodeOptions) -> Result<Option<TruncationParams>> {
        let strategy = match options.truncation {
            Truncation::None => return Ok(None),
            Truncation::LongestFirst => TruncationStrategy::LongestFirst,
            Truncation::OnlyFirst => TruncationStrategy::OnlyFirst,
            Truncation::OnlySecond => TruncationStrategy::OnlySecond,
        };
        let Some(max_length) = options.max_length.or(self.model_max_length) else {
            return Ok(None);
        };
        if let (true, Some(multiple)) =
            (options.padding != Padding::None, options.pad_to_multiple_of)
            && !max_length.is_multiple_of(multiple)
        {
            return Err(TokenizationError::InvalidOptions(format!(
                "`max_length` is {max_length}, which is not a multiple of `pad_to_multiple_of`, {multiple}; with \
                 truncation and padding both on, it has to be"
            )));
        }
        Ok(Some(TruncationParams {
            direction: match self.truncation_side {
                Side::Left => TruncationDirection::Left,
                Side::Right => TruncationDirection::Right,
            },
            max_length,
            strategy,
            stride: options.stride,
        }))
    }
}

/// Does this to each input, by all threads where there are several. `TOKENIZERS_PARALLELISM=false` keeps to one.
pub(crate) fn in_parallel<I: Send, O: Send>(
    mut inputs: Vec<I>,
    encode: impl Fn(I) -> Result<O> + Sync + Send,
) -> Result<Vec<O>> {
    if inputs.len() == 1 {
        return inputs.drain(..).map(encode).collect();
    }
    inputs.into_maybe_par_iter().map(encode).collect()
}

/// Takes tokens of the longer text one by one, and of the second where both are as long: which rounds the other way than
/// the `tokenizers` crate.
fn truncate_by_turns(first: &mut Encoding, second: &mut Encoding, params: &TruncationParams) {
    let (mut a, mut b) = (first.len(), second.len());
    while a + b > params.max_length {
        if a > b { a -= 1 } else { b -= 1 }
    }
    first.truncate(a, 0, params.direction);
    second.truncate(b, 0, params.direction);
}

/// Each row has to bring something new, and overlapping rows have to stay within bounds.
fn check_stride(first: usize, second: Option<usize>, params: &TruncationParams) -> Result<()> {
    let (stride, max) = (params.stride, params.max_length);
    let total = first + second.unwrap_or(0);
    if stride == 0 || total <= max || max == 0 {
        return Ok(());
    }
    let [first_max, second_max] = match (params.strategy, second) {
        (TruncationStrategy::OnlyFirst, _) => [first.saturating_sub(total - max), usize::MAX],
        (TruncationStrategy::OnlySecond, Some(second)) => {
            [usize::MAX, second.saturating_sub(total - max)]
        }
        (TruncationStrategy::LongestFirst, Some(second)) => {
            let half = max / 2;
            let short = first.min(second).min(half);
            if first <= second {
                [short, max - short]
            } else {
                [max - short, short]
            }
        }
        _ => [max, usize::MAX],
    };
    let mut rows = 1usize;
    for (length, most) in [(first, first_max), (second.unwrap_or(0), second_max)] {
        if length <= most || most == 0 {
            continue;
        }
        let new = most.checked_sub(stride).filter(|new| *new > 0).ok_or_else(|| {
            TokenizationError::InvalidOptions(format!(
                "the stride is {stride}, but only {most} tokens of a text fit into a row; make it smaller"
            ))
        })?;
        rows = rows.saturating_mul(length / new + 1);
    }
    if rows.saturating_mul(max) > MAX_OVERFLOW {
        return Err(TokenizationError::InvalidOptions(format!(
            "a text of {total} tokens would become {rows} rows of {max}; make the stride smaller"
        )));
    }
    Ok(())
}

pub(crate) fn encoding_failed(error: tokenizers::Error) -> TokenizationError {
    match error.downcast::<TooManySteps>() {
        Ok(error) => TokenizationError::PatternLimit {
            pattern: error.pattern,
        },
        Err(error) => TokenizationError::backend("encoding")(error),
    }
}
