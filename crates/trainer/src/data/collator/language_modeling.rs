//! Text alone: the next token, or tokens that are hidden.

use transformers_modeling::loss::IGNORE_INDEX;
use transformers_tokenization::{TokenizationError, Tokenizer};

use super::Collator;
use super::padding::{PadOptions, pad};
use crate::data::{Array, Batch, Column, Example, TorchGenerator};
use crate::{Result, TrainerError};

/// For decoders: labels are the tokens, without padding (the reference's `DataCollatorForLanguageModeling` with `mlm=False`).
///
/// Examples that have `labels` of their own keep them: those that say which tokens the assistant wrote.
#[derive(Debug, Clone)]
pub struct DataCollatorForCausalLM {
    /// Its padding token and side are taken. Without a padding token all rows have one length.
    pub tokenizer: Tokenizer,
    /// How far.
    pub options: PadOptions,
}

impl DataCollatorForCausalLM {
    /// Pads to the longest row.
    pub fn new(tokenizer: Tokenizer) -> Self {
        Self {
            tokenizer,
            options: PadOptions::default(),
        }
    }
}

impl Collator for DataCollatorForCausalLM {
    fn collate(&mut self, examples: Vec<Example>) -> Result<Batch> {
        let labelled = examples
            .first()
            .is_some_and(|first| first.get("labels").is_some());
        if labelled {
            let mut collator = super::DataCollatorForTokenClassification {
                options: self.options,
                ..super::DataCollatorForTokenClassification::new(self.tokenizer.clone())
            };
            return collator.collate(examples);
        }
        let mut batch = pad(&self.tokenizer, &self.options, examples)?;
        batch.remove("special_tokens_mask");
        batch.remove("offset_mapping");
        let padding = self.tokenizer.pad_token_id().map(i64::from);
        let label = |id: &i64| match Some(*id) == padding {
            true => IGNORE_INDEX,
            false => *id,
        };
        let labels = batch.integers("input_ids")?.map(label);
        batch.insert("labels", labels);
        Ok(batch)
    }
}

/// How tokens are hidden from a masked language model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskOptions {
    /// How likely a token, or a word, is hidden.
    pub mlm_probability: f64,
    /// How likely a hidden token becomes the mask token.
    pub mask_replace_prob: f64,
    /// How likely it becomes any token; otherwise it stays, and is predicted all the same.
    pub random_replace_prob: f64,
    /// Hide whole words, always by the mask token: examples need `offset_mapping`.
    pub whole_word_mask: bool,
}

impl Default for MaskOptions {
    /// 15 %, of which 80 % are masked and 10 % random (BERT, Devlin et al. 2018, section 3.1).
    fn default() -> Self {
        Self {
            mlm_probability: 0.15,
            mask_replace_prob: 0.8,
            random_replace_prob: 0.1,
            whole_word_mask: false,
        }
    }
}

/// Hides tokens, and makes labels of those alone (the reference's `DataCollatorForLanguageModeling`; with the same seed it
/// hides the same).
///
/// Tokens that were put around the text are never hidden: `special_tokens_mask` says which, or else the tokenizer.
#[derive(Debug, Clone)]
pub struct DataCollatorForLanguageModeling {
    tokenizer: Tokenizer,
    options: PadOptions,
    mask: MaskOptions,
    mask_token_id: i64,
    vocab_size: u32,
    generator: TorchGenerator,
}

impl DataCollatorForLanguageModeling {
    /// Hides tokens as BERT does, drawn from `seed`.
    ///
    /// # Errors
    /// The tokenizer has no mask token.
    pub fn new(tokenizer: Tokenizer, seed: u64) -> Result<Self> {
        Self::with_options(
            tokenizer,
            seed,
            MaskOptions::default(),
            PadOptions::default(),
        )
    }

    /// Hides tokens as `mask` says.
    ///
    /// # Errors
    /// The tokenizer has no mask token, or a probability is none.
    pub fn with_options(
        tokenizer: Tokenizer,
        seed: u64,
        mut mask: MaskOptions,
        options: PadOptions,
    ) -> Result<Self> {
        let mask_token_id = tokenizer.mask_token_id().ok_or_else(|| TrainerError::InvalidOption {
            name: "task",
            reason: "the tokenizer has no mask token, which masked language modeling needs; train a causal model, or add \
                     one with `add_special_token`"
                .to_owned(),
        })?;
        for (name, value) in [
            ("mlm_probability", mask.mlm_probability),
            ("mask_replace_prob", mask.mask_replace_prob),
            ("random_replace_prob", mask.random_replace_prob),
        ] {
            if !(0.0..=1.0).contains(&value) {
                let reason = format!("{value} is not between 0 and 1");
                return Err(TrainerError::InvalidOption { name, reason });
            }
        }
        if mask.whole_word_mask {
            (mask.mask_replace_prob, mask.random_replace_prob) = (1.0, 0.0);
        }
        if mask.mask_replace_prob + mask.random_replace_prob > 1.0 {
            return Err(TrainerError::InvalidOption {
                name: "random_replace_prob",
                reason: "its sum with `mask_replace_prob` is more than 1".to_owned(),
            });
        }
        Ok(Self {
            mask_token_id: mask_token_id.into(),
            vocab_size: tokenizer.vocab_size() as u32,
            tokenizer,
            options,
            mask,
            generator: TorchGenerator::new(seed),
        })
    }

    /// Which tokens may be hidden: in whole words, the first one of each speaks for all.
    fn eligible(&self, special: &Array<i64>, words: Option<&Array<i64>>) -> Vec<bool> {
        match words {
            None => special
                .values()
                .iter()
                .map(|special| *special == 0)
                .collect(),
            Some(words) => {
                let rows = words.rows();
                rows.flat_map(|row| {
                    let new = |(at, word): (usize, &i64)| {
                        *word != NO_WORD && (at == 0 || row[at - 1] != *word)
                    };
                    row.iter().enumerate().map(new)
                })
                .collect()
            }
        }
    }

    /// What is hidden, in the order in which the reference draws: all that is hidden first, then what is replaced, then with
    /// what.
    fn draw(&mut self, eligible: &[bool]) -> Vec<bool> {
        let probability = self.mask.mlm_probability as f32;
        let one = |may: &bool| {
            self.generator
                .bernoulli(if *may { probability } else { 0.0 })
        };
        eligible.iter().map(one).collect()
    }

    fn replace(&mut self, ids: &mut [i64], hidden: &[bool]) {
        let probability = self.mask.mask_replace_prob;
        let replaced: Vec<bool> = hidden
            .iter()
            .map(|_| self.generator.bernoulli(probability as f32))
            .collect();
        let chosen = |at: usize| hidden[at] && replaced[at];
        (0..ids.len())
            .filter(|at| chosen(*at))
            .for_each(|at| ids[at] = self.mask_token_id);
        if probability == 1.0 || self.mask.random_replace_prob == 0.0 {
            return;
        }
        let random = (self.mask.random_replace_prob / (1.0 - probability)) as f32;
        let random: Vec<bool> = hidden
            .iter()
            .map(|_| self.generator.bernoulli(random))
            .collect();
        for at in 0..ids.len() {
            let id = self.generator.below(self.vocab_size);
            if hidden[at] && !replaced[at] && random[at] {
                ids[at] = id.into();
            }
        }
    }
}

impl Collator for DataCollatorForLanguageModeling {
    fn collate(&mut self, examples: Vec<Example>) -> Result<Batch> {
        let mut batch = pad(&self.tokenizer, &self.options, examples)?;
        let offsets = batch.remove("offset_mapping");
        let ids = batch.integers("input_ids")?.clone();
        let special = match batch.remove("special_tokens_mask") {
            Some(Column::Integers(mask)) if mask.shape() == ids.shape() => mask,
            _ => special_tokens(&self.tokenizer, &ids)?,
        };
        let words = match (self.mask.whole_word_mask, offsets) {
            (false, _) => None,
            (true, Some(Column::Integers(offsets))) => Some(word_ids(&offsets, &special)?),
            (true, _) => {
                return Err(TrainerError::MissingColumn {
                    column: "offset_mapping".to_owned(),
                    available: batch.names().collect::<Vec<_>>().join(", "),
                });
            }
        };
        let mut hidden = self.draw(&self.eligible(&special, words.as_ref()));
        if let Some(words) = &words {
            hidden = spread(&hidden, words);
        }
        let labels = ids.values().iter().zip(&hidden);
        let labels = labels.map(|(id, hidden)| if *hidden { *id } else { IGNORE_INDEX });
        let labels = Array::new(labels.collect(), ids.shape());
        let mut ids = ids;
        self.replace(ids.values_mut(), &hidden);
        batch.insert("input_ids", ids);
        batch.insert("labels", labels);
        Ok(batch)
    }

    fn state(&self) -> Option<serde_json::Value> {
        serde_json::to_value(&self.generator).ok()
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        self.generator =
            serde_json::from_value(state.clone()).map_err(|error| TrainerError::InvalidState {
                what: "the collator that masks tokens",
                reason: error.to_string(),
            })?;
        Ok(())
    }
}

fn special_tokens(tokenizer: &Tokenizer, ids: &Array<i64>) -> Result<Array<i64>> {
    let mut mask = Vec::with_capacity(ids.values().len());
    for row in ids.rows() {
        let row: Result<Vec<u32>, _> = row.iter().map(|id| u32::try_from(*id)).collect();
        let row = row.map_err(|_| {
            TokenizationError::InvalidOptions("an id is negative or beyond 32 bits".to_owned())
        })?;
        let special = tokenizer.get_special_tokens_mask(&row);
        mask.extend(special.into_iter().map(i64::from));
    }
    Ok(Array::new(mask, ids.shape()))
}

/// The word of a token that is in none.
const NO_WORD: i64 = -1;

/// The number of the word that each token is of: a word begins where there is a gap between tokens, or after a special one.
/// `offsets` is `[batch, seq, 2]`.
fn word_ids(offsets: &Array<i64>, special: &Array<i64>) -> Result<Array<i64>> {
    let &[batch, seq] = special.shape() else {
        unreachable!("a mask has two dimensions");
    };
    if offsets.shape() != [batch, seq, 2] {
        return Err(TrainerError::RaggedColumn {
            column: "offset_mapping".to_owned(),
            found: offsets.shape().to_vec(),
            expected: vec![batch, seq, 2],
        });
    }
    let mut words = Vec::with_capacity(batch * seq);
    for (offsets, special) in offsets.values().chunks_exact(2 * seq).zip(special.rows()) {
        let mut word = 0;
        for at in 0..seq {
            let (start, last_end) = (
                offsets[2 * at],
                if at == 0 { -1 } else { offsets[2 * at - 1] },
            );
            let after_special = at > 0 && special[at - 1] != 0;
            if special[at] != 0 {
                words.push(NO_WORD);
                continue;
            }
            word += i64::from(start != last_end || after_special);
            words.push(word);
        }
    }
    Ok(Array::new(words, special.shape()))
}

/// All tokens of the words of which a token is hidden.
fn spread(hidden: &[bool], words: &Array<i64>) -> Vec<bool> {
    let seq = words.shape()[1].max(1);
    let rows = hidden.chunks_exact(seq).zip(words.rows());
    rows.flat_map(|(hidden, words)| {
        let chosen: Vec<i64> = words
            .iter()
            .zip(hidden)
            .filter(|(_, hidden)| **hidden)
            .map(|(word, _)| *word)
            .collect();
        words
            .iter()
            .map(move |word| *word != NO_WORD && chosen.contains(word))
            .collect::<Vec<_>>()
    })
    .collect()
}
