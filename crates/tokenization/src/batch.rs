//! What encoding gives: ids, masks, and the ways between characters, words and tokens.

use tokenizers::Encoding;

/// A batch of encoded texts: one row per text in each field, and one more for each part of a text that overflows, if that
/// was asked for.
///
/// Characters are counted, not bytes, as in the reference. In a pair, `sequence` is 0 for the first text and 1 for the
/// second.
///
/// ```no_run
/// use transformers_tokenization::{AutoTokenizer, EncodeOptions};
///
/// let tokenizer = AutoTokenizer::from_pretrained("bert-base-uncased")?;
/// let batch = tokenizer.encode_batch(&["Tokens of words"], &EncodeOptions::default())?;
/// let token = batch.char_to_token(0, 7, 0).expect("there is an `o`");
/// assert_eq!(batch.tokens(0)[token], "of");
/// assert_eq!(batch.token_to_chars(0, token), Some((7, 9)));
/// # Ok::<(), transformers_tokenization::TokenizationError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BatchEncoding {
    /// The ids, padded with the padding token's.
    pub input_ids: Vec<Vec<u32>>,
    /// 1 for a token, 0 for padding.
    pub attention_mask: Vec<Vec<u32>>,
    /// 0 for the first text of a pair and for padding, mostly 1 for the second.
    pub token_type_ids: Vec<Vec<u32>>,
    /// 1 for the tokens that are put around texts and for padding, 0 for those of the texts.
    pub special_tokens_mask: Vec<Vec<u32>>,
    /// The ids of the target texts, where there are any.
    pub labels: Option<Vec<Vec<u32>>>,
    /// 1 for the tokens that the assistant wrote, where a conversation was encoded and that was asked for.
    pub assistant_masks: Option<Vec<Vec<u32>>>,
    /// Which text each row is of.
    pub overflow_to_sample_mapping: Vec<usize>,
    pub(crate) rows: Vec<Encoding>,
}

impl BatchEncoding {
    /// From the rows of each text.
    pub(crate) fn new(samples: impl IntoIterator<Item = (usize, Encoding)>) -> Self {
        let mut batch = Self::default();
        for (sample, row) in samples {
            batch.input_ids.push(row.get_ids().to_vec());
            batch.attention_mask.push(row.get_attention_mask().to_vec());
            batch.token_type_ids.push(row.get_type_ids().to_vec());
            batch
                .special_tokens_mask
                .push(row.get_special_tokens_mask().to_vec());
            batch.overflow_to_sample_mapping.push(sample);
            batch.rows.push(row);
        }
        batch
    }

    /// A row of ids alone, without texts to go back to.
    pub(crate) fn of_ids(ids: Vec<u32>, tokens: Vec<String>) -> Encoding {
        let length = ids.len();
        Encoding::new(
            ids,
            vec![0; length],
            tokens,
            vec![None; length],
            vec![(0, 0); length],
            vec![0; length],
            vec![1; length],
            Vec::new(),
            Default::default(),
        )
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn row(&self, row: usize) -> Option<&Encoding> {
        self.rows.get(row)
    }

    /// The tokens of a row, as the vocabulary spells them.
    pub fn tokens(&self, row: usize) -> &[String] {
        self.row(row).map_or(&[], Encoding::get_tokens)
    }

    /// Which characters of its text each token of a row stands for: the first, and the one after the last.
    pub fn offset_mapping(&self, row: usize) -> &[(usize, usize)] {
        self.row(row).map_or(&[], Encoding::get_offsets)
    }

    /// Which word of its text each token of a row is of; `None` for special tokens and padding.
    pub fn word_ids(&self, row: usize) -> &[Option<u32>] {
        self.row(row).map_or(&[], Encoding::get_word_ids)
    }

    /// Which text of the pair each token of a row is of; `None` for special tokens and padding.
    pub fn sequence_ids(&self, row: usize) -> Vec<Option<usize>> {
        self.row(row).map_or(Vec::new(), Encoding::get_sequence_ids)
    }

    /// How many texts a row is of: one, or two for a pair.
    pub fn n_sequences(&self, row: usize) -> usize {
        self.row(row).map_or(0, Encoding::n_sequences)
    }

    /// Which text of the pair a token is of.
    pub fn token_to_sequence(&self, row: usize, token: usize) -> Option<usize> {
        let row = self.row(row)?;
        (token < row.len()).then(|| row.token_to_sequence(token))?
    }

    /// Which word a token is of.
    pub fn token_to_word(&self, row: usize, token: usize) -> Option<u32> {
        self.row(row)?.token_to_word(token).map(|(_, word)| word)
    }

    /// Which characters a token stands for; `None` where it is of no text.
    pub fn token_to_chars(&self, row: usize, token: usize) -> Option<(usize, usize)> {
        self.row(row)?.token_to_chars(token).map(|(_, range)| range)
    }

    /// The tokens of a word: the first, and the one after the last.
    pub fn word_to_tokens(&self, row: usize, word: u32, sequence: usize) -> Option<(usize, usize)> {
        self.known(row, sequence)?.word_to_tokens(word, sequence)
    }

    /// The characters of a word.
    pub fn word_to_chars(&self, row: usize, word: u32, sequence: usize) -> Option<(usize, usize)> {
        self.known(row, sequence)?.word_to_chars(word, sequence)
    }

    /// The token that stands for a character.
    pub fn char_to_token(&self, row: usize, char: usize, sequence: usize) -> Option<usize> {
        self.known(row, sequence)?.char_to_token(char, sequence)
    }

    /// The word that a character is of.
    pub fn char_to_word(&self, row: usize, char: usize, sequence: usize) -> Option<u32> {
        self.known(row, sequence)?.char_to_word(char, sequence)
    }

    /// The row, if it has this text.
    fn known(&self, row: usize, sequence: usize) -> Option<&Encoding> {
        self.row(row).filter(|row| sequence < row.n_sequences())
    }
}
