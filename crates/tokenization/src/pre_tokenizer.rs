//! How a text is split before its tokens are looked for: as the `tokenizers` crate does, but with splits by patterns that
//! take linear time, or end in an error where they cannot ([`Splitter`]).

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::SplitPattern;
use tokenizers::{
    PreTokenizedString, PreTokenizerWrapper, Result, SplitDelimiterBehavior, tokenizer,
};

use crate::splitter::Splitter;

/// A pre-tokenizer as a file has it, and its steps.
#[derive(Clone)]
pub(crate) struct PreTokenizer {
    written: PreTokenizerWrapper,
    steps: Arc<[Step]>,
}

enum Step {
    Split {
        splitter: Splitter,
        behavior: SplitDelimiterBehavior,
        invert: bool,
    },
    /// GPT-2's split and its spelling of bytes.
    ByteLevel(ByteLevel),
    Other(Box<PreTokenizerWrapper>),
}

/// GPT-2's split.
static WORDS: LazyLock<Splitter> = LazyLock::new(|| {
    Splitter::new(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
        .expect("the pattern is valid")
});

impl From<PreTokenizerWrapper> for PreTokenizer {
    fn from(written: PreTokenizerWrapper) -> Self {
        let mut steps = Vec::new();
        add_steps(&written, &mut steps);
        Self {
            written,
            steps: steps.into(),
        }
    }
}

impl From<Sequence> for PreTokenizer {
    fn from(written: Sequence) -> Self {
        PreTokenizerWrapper::from(written).into()
    }
}

fn add_steps(written: &PreTokenizerWrapper, steps: &mut Vec<Step>) {
    match written {
        PreTokenizerWrapper::Sequence(sequence) => {
            let parts = sequence.as_ref().iter();
            parts.for_each(|part| add_steps(part, steps));
        }
        PreTokenizerWrapper::Split(split) => {
            let splitter = match &split.pattern {
                SplitPattern::String(text) => Splitter::new(&regex::escape(text)),
                SplitPattern::Regex(pattern) => Splitter::new(pattern),
            };
            steps.push(match splitter {
                Some(splitter) => Step::Split {
                    splitter,
                    behavior: split.behavior,
                    invert: split.invert,
                },
                None => Step::Other(Box::new(written.clone())),
            });
        }
        PreTokenizerWrapper::ByteLevel(bytes) => steps.push(Step::ByteLevel(*bytes)),
        other => steps.push(Step::Other(Box::new(other.clone()))),
    }
}

impl tokenizers::PreTokenizer for PreTokenizer {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> Result<()> {
        self.steps.iter().try_for_each(|step| step.take(text))
    }
}

impl Step {
    fn take(&self, text: &mut PreTokenizedString) -> Result<()> {
        match self {
            Self::Split {
                splitter,
                behavior,
                invert: false,
            } => text.split(|_, part| part.split(splitter, *behavior)),
            Self::Split {
                splitter, behavior, ..
            } => text.split(|_, part| part.split(tokenizer::pattern::Invert(splitter), *behavior)),
            Self::ByteLevel(bytes) => {
                text.split(|_, mut part| {
                    if bytes.add_prefix_space && !part.get().starts_with(' ') {
                        part.prepend(" ");
                    }
                    if bytes.use_regex {
                        part.split(&*WORDS, SplitDelimiterBehavior::Isolated)
                    } else {
                        Ok(vec![part])
                    }
                })?;
                let spelling = ByteLevel::new(false, bytes.trim_offsets, false);
                tokenizers::PreTokenizer::pre_tokenize(&spelling, text)
            }
            Self::Other(other) => tokenizers::PreTokenizer::pre_tokenize(other.as_ref(), text),
        }
    }
}

impl Serialize for PreTokenizer {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PreTokenizer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        PreTokenizerWrapper::deserialize(deserializer).map(Self::from)
    }
}
