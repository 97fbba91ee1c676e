//! The reference's tokenizer classes as definitions: each a pipeline without a vocabulary, ready to be trained or given
//! one.
//!
//! The definitions are data (`classes/definitions.json`), written from the reference by
//! `tests/oracle/golden_classes.py`.

mod build;
mod definition;
mod from_files;
mod spm;

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::path::Path;

use definition::Definition;

use crate::settings::Settings;
use crate::{Result, Tokenizer};

/// A vocabulary that is given to a class.
#[derive(Debug, Clone, PartialEq)]
pub enum Vocabulary {
    /// Tokens and their ids.
    Ids(HashMap<String, u32>),
    /// Pieces by id, with their logarithmic probabilities: for Unigram models.
    Scores(Vec<(String, f64)>),
}

impl From<HashMap<String, u32>> for Vocabulary {
    fn from(ids: HashMap<String, u32>) -> Self {
        Self::Ids(ids)
    }
}

impl From<Vec<(String, f64)>> for Vocabulary {
    fn from(scores: Vec<(String, f64)>) -> Self {
        Self::Scores(scores)
    }
}

/// A class of tokenizers, by its name in the reference: `LlamaTokenizer`, `BertTokenizer`, …
///
/// ```
/// use transformers_tokenization::TokenizerClass;
///
/// let class = TokenizerClass::named("DistilBertTokenizerFast").expect("a class of the reference");
/// assert_eq!(class.name(), "BertTokenizer");
/// let blank = class.blank()?;
/// assert_eq!(blank.cls_token(), Some("[CLS]"));
/// # Ok::<(), transformers_tokenization::TokenizationError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TokenizerClass {
    name: &'static str,
    definition: &'static Definition,
}

impl TokenizerClass {
    /// The class of this name, one of its other names, or either with `Fast` at the end.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.strip_suffix("Fast").unwrap_or(name);
        let all = definition::all().iter();
        let mut found = all.filter(|(known, definition)| {
            *known == name || definition.aliases.iter().any(|alias| alias == name)
        });
        found
            .next()
            .map(|(name, definition)| Self { name, definition })
    }

    /// The names of all classes, without their other names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        definition::all().keys().map(String::as_str)
    }

    /// The name of the class.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A tokenizer with no more than the special tokens, to be trained.
    pub fn blank(&self) -> Result<Tokenizer> {
        build::Builder::new(*self).build()
    }

    /// A tokenizer of this vocabulary. Byte-pair models take merges; without any, each token is spelled in characters
    /// (see [`generate_merges`](crate::generate_merges) for finding them). Special tokens that the vocabulary lacks get
    /// the ids after it.
    pub fn with_vocab(
        &self,
        vocab: impl Into<Vocabulary>,
        merges: Vec<(String, String)>,
    ) -> Result<Tokenizer> {
        build::Builder::new(*self)
            .vocab(vocab.into(), merges)
            .build()
    }

    /// A tokenizer of the vocabulary in these files: `vocab.json` with `merges.txt`, `vocab.txt`, or a SentencePiece
    /// model, whose pieces the class puts into its own order (the reference's `convert_from_spm`).
    pub fn with_files(&self, vocab: &Path, merges: Option<&Path>) -> Result<Tokenizer> {
        from_files::tokenizer(*self, vocab, merges, Settings::default())
    }
}

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        ///
        /// A [`Tokenizer`] that begins as this class defines it: blank by default, or with a vocabulary.
        #[derive(Debug, Clone)]
        pub struct $name(Tokenizer);

        impl $name {
            /// The definition.
            pub fn class() -> TokenizerClass {
                TokenizerClass::named(stringify!($name)).expect("the class is defined")
            }

            /// With this vocabulary and, for byte-pair models, merges.
            pub fn new(
                vocab: impl Into<Vocabulary>,
                merges: Vec<(String, String)>,
            ) -> Result<Self> {
                Self::class().with_vocab(vocab, merges).map(Self)
            }

            /// With the vocabulary in these files.
            pub fn from_files(vocab: &Path, merges: Option<&Path>) -> Result<Self> {
                Self::class().with_files(vocab, merges).map(Self)
            }
        }

        impl Default for $name {
            /// Blank, to be trained.
            fn default() -> Self {
                Self(Self::class().blank().expect("the definition is valid"))
            }
        }

        impl Deref for $name {
            type Target = Tokenizer;

            fn deref(&self) -> &Tokenizer {
                &self.0
            }
        }

        impl DerefMut for $name {
            fn deref_mut(&mut self) -> &mut Tokenizer {
                &mut self.0
            }
        }

        impl From<$name> for Tokenizer {
            fn from(tokenizer: $name) -> Tokenizer {
                tokenizer.0
            }
        }
    )*};
}

classes! {
    /// ALBERT and FNet: Unigram.
    AlbertTokenizer,
    /// BERT, DistilBERT, ELECTRA and others: WordPiece.
    BertTokenizer,
    /// CamemBERT: Unigram.
    CamembertTokenizer,
    /// CLIP: byte-level BPE with ends of words.
    CLIPTokenizer,
    /// Code Llama: BPE with bytes.
    CodeLlamaTokenizer,
    /// Cohere's models: byte-level BPE.
    CohereTokenizer,
    /// DeBERTa v2 and v3: Unigram.
    DebertaV2Tokenizer,
    /// Gemma: BPE with bytes.
    GemmaTokenizer,
    /// GPT-2 and others: byte-level BPE.
    GPT2Tokenizer,
    /// GPT-NeoX and Pythia: byte-level BPE.
    GPTNeoXTokenizer,
    /// Llama 2 and others: BPE with bytes.
    LlamaTokenizer,
    /// mBART: Unigram.
    MBartTokenizer,
    /// MPNet: WordPiece.
    MPNetTokenizer,
    /// NLLB: BPE.
    NllbTokenizer,
    /// Pegasus: Unigram.
    PegasusTokenizer,
    /// Qwen2, Qwen2.5 and Qwen3: byte-level BPE.
    Qwen2Tokenizer,
    /// RoBERTa, BART, Longformer and others: byte-level BPE.
    RobertaTokenizer,
    /// T5 and mT5: Unigram.
    T5Tokenizer,
    /// Whisper: byte-level BPE.
    WhisperTokenizer,
    /// XLM-RoBERTa: Unigram.
    XLMRobertaTokenizer,
    /// XLNet: Unigram.
    XLNetTokenizer,
}
