//! How a text is split before its tokens are looked for: as the `tokenizers` crate does, but with splits by patterns that
//! take linear time, or end in an error where they cannot ([`Splitter`]).

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokenizers::normalizers::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::SplitPattern;
use tokenizers::tokenizer::pattern::Pattern;
use tokenizers::{
    Normalizer as _, Offsets, PreTokenizedString, PreTokenizerWrapper, Result,
    SplitDelimiterBehavior,
};

use crate::byte_alphabet::BYTE_ALPHABET;
use crate::splitter::Splitter;

/// A pre-tokenizer as a file has it, and its steps.
#[derive(Clone)]
pub(crate) struct PreTokenizer {
    written: PreTokenizerWrapper,
    steps: Arc<[Step]>,
}

enum Step {
    Split(Split),
    /// The spelling of bytes, and the split before it: the text is spelled as a whole, which is far less work than word by
    /// word.
    Bytes {
        add_prefix_space: bool,
        split: Option<Split>,
    },
    Other(Box<PreTokenizerWrapper>),
}

#[derive(Clone)]
struct Split {
    splitter: Arc<Splitter>,
    behavior: SplitDelimiterBehavior,
    invert: bool,
}

/// GPT-2's split.
static WORDS: LazyLock<Split> = LazyLock::new(|| {
    let pattern = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    Split {
        splitter: Arc::new(Splitter::new(pattern).expect("the pattern is valid")),
        behavior: SplitDelimiterBehavior::Isolated,
        invert: false,
    }
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
                Some(splitter) => Step::Split(Split {
                    splitter: Arc::new(splitter),
                    behavior: split.behavior,
                    invert: split.invert,
                }),
                None => Step::Other(Box::new(written.clone())),
            });
        }
        PreTokenizerWrapper::ByteLevel(bytes) => {
            let fits = !bytes.use_regex && !bytes.add_prefix_space;
            let before = steps.pop_if(|step| fits && matches!(step, Step::Split(_)));
            let split = match before {
                Some(Step::Split(split)) => Some(split),
                _ => bytes.use_regex.then(|| WORDS.clone()),
            };
            steps.push(Step::Bytes {
                add_prefix_space: bytes.add_prefix_space,
                split,
            });
        }
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
            Self::Split(split) => text.split(|_, part| {
                let found = split.find(part.get())?;
                part.split(found, split.behavior)
            }),
            Self::Bytes {
                add_prefix_space,
                split,
            } => text.split(|_, mut part| {
                if *add_prefix_space && !part.get().starts_with(' ') {
                    part.prepend(" ");
                }
                let Some(split) = split else {
                    ByteLevel::new().normalize(&mut part)?;
                    return Ok(vec![part]);
                };
                let found = split.find(part.get())?.spelled(part.get());
                ByteLevel::new().normalize(&mut part)?;
                part.split(found, split.behavior)
            }),
            Self::Other(other) => tokenizers::PreTokenizer::pre_tokenize(other.as_ref(), text),
        }
    }
}

impl Split {
    fn find(&self, text: &str) -> Result<Found> {
        let mut found = self.splitter.as_ref().find_matches(text)?;
        if self.invert {
            found.iter_mut().for_each(|(_, matches)| *matches ^= true);
        }
        Ok(Found(found))
    }
}

/// The parts of a text from its beginning to its end, and which of them match.
struct Found(Vec<(Offsets, bool)>);

impl Found {
    /// The same parts once the bytes of the text are spelled.
    fn spelled(mut self, text: &str) -> Self {
        let length = |byte: &u8| BYTE_ALPHABET[usize::from(*byte)].len_utf8();
        let mut start = 0;
        for ((from, to), _) in &mut self.0 {
            let end = start
                + text.as_bytes()[*from..*to]
                    .iter()
                    .map(length)
                    .sum::<usize>();
            (*from, *to) = (start, end);
            start = end;
        }
        self
    }
}

impl Pattern for Found {
    fn find_matches(&self, _: &str) -> Result<Vec<(Offsets, bool)>> {
        Ok(self.0.clone())
    }
}

/// How texts of ASCII are split, where the parts are ranges of the text.
pub(crate) struct AsciiSplits {
    steps: Vec<AsciiStep>,
    pub bytes_are_spelled: bool,
}

enum AsciiStep {
    Split(Split),
    /// BERT's: at spaces, which are removed, and around punctuation.
    Words,
}

impl PreTokenizer {
    /// `None` where a step is not this simple.
    pub fn on_ascii(&self) -> Option<AsciiSplits> {
        let mut steps = Vec::new();
        let mut bytes_are_spelled = false;
        for step in &*self.steps {
            if bytes_are_spelled {
                return None; // it would split what was spelled
            }
            match step {
                Step::Split(split) => steps.push(AsciiStep::Split(split.clone())),
                Step::Bytes {
                    add_prefix_space: false,
                    split,
                } => {
                    steps.extend(split.clone().map(AsciiStep::Split));
                    bytes_are_spelled = true;
                }
                Step::Bytes { .. } => return None,
                Step::Other(other) => steps.push(match other.as_ref() {
                    PreTokenizerWrapper::BertPreTokenizer(_) => AsciiStep::Words,
                    PreTokenizerWrapper::Digits(digits) => {
                        let run = if digits.individual_digits { "" } else { "+" };
                        AsciiStep::Split(Split {
                            splitter: Arc::new(Splitter::new(&format!("[0-9]{run}"))?),
                            behavior: SplitDelimiterBehavior::Isolated,
                            invert: false,
                        })
                    }
                    _ => return None,
                }),
            }
        }
        let is_simple = |step: &AsciiStep| match step {
            AsciiStep::Split(split) => matches!(
                split.behavior,
                SplitDelimiterBehavior::Isolated | SplitDelimiterBehavior::Removed
            ),
            AsciiStep::Words => true,
        };
        steps.iter().all(is_simple).then_some(AsciiSplits {
            steps,
            bytes_are_spelled,
        })
    }
}

impl AsciiSplits {
    /// The parts of a text, from left to right; none is empty.
    pub fn pieces(&self, text: &str) -> Result<Vec<Range<usize>>> {
        let mut pieces: Vec<Range<usize>> = std::iter::once(0..text.len()).collect();
        for step in &self.steps {
            let mut parts = Vec::with_capacity(text.len() / 4 + 1);
            for piece in pieces {
                step.split(text, piece, &mut parts)?;
            }
            pieces = parts;
        }
        Ok(pieces)
    }
}

impl AsciiStep {
    fn split(&self, text: &str, piece: Range<usize>, parts: &mut Vec<Range<usize>>) -> Result<()> {
        match self {
            Self::Words => words(text.as_bytes(), piece, parts),
            Self::Split(split) => {
                let removed = split.behavior == SplitDelimiterBehavior::Removed;
                let found = split.find(&text[piece.clone()])?.0.into_iter();
                let kept =
                    found.filter(|((from, to), matches)| from < to && !(removed && *matches));
                parts.extend(kept.map(|((from, to), _)| piece.start + from..piece.start + to));
            }
        }
        Ok(())
    }
}

/// The words of a piece, and each character of its punctuation.
fn words(text: &[u8], piece: Range<usize>, parts: &mut Vec<Range<usize>>) {
    let mut push = |part: Range<usize>| {
        if !part.is_empty() {
            parts.push(part);
        }
    };
    let mut start = piece.start;
    for at in piece.clone() {
        let character = char::from(text[at]);
        let is_punctuation = character.is_ascii_punctuation();
        if is_punctuation || character.is_whitespace() {
            push(start..at);
            start = if is_punctuation { at } else { at + 1 };
        }
        if is_punctuation {
            push(at..at + 1);
            start = at + 1;
        }
    }
    push(start..piece.end);
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
