//! What is measured: the rows of the table.

use std::fmt;

use clap::ValueEnum;

use super::shapes::{Shape, Task};

/// Tokens of a prompt.
pub const PROMPT: usize = 512;

/// Tokens that a decoding writes.
pub const GENERATED: usize = 128;

/// Tokens of a sentence.
pub const SENTENCE: usize = 128;

/// How many sentences one measurement takes, in batches.
pub const SENTENCES: usize = 32;

const BATCHES: [usize; 2] = [1, 32];

/// Tokens of a request's own prompt, of its answer, and of the prefix that requests may share.
pub const REQUEST_PROMPT: usize = 128;
pub const REQUEST_ANSWER: usize = 64;
pub const SHARED_PREFIX: usize = 512;

/// What belongs together on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Tokens written per second
    Decode,
    /// Tokens of a prompt read per second
    Prompt,
    /// From the file to the logits of one token
    Load,
    /// From the start of the process to the first token; needs --model
    Start,
    /// The most memory that writing at context 512 to 640 holds, mapped files included
    Memory,
    /// MiniLM's sentences per second
    Embed,
    /// Requests that come at once: tokens per second of all prompts and answers together; only if asked for
    Concurrent,
    /// When half of these requests, and nearly all of them, have their first token; only if asked for
    FirstToken,
}

impl Part {
    /// What takes long is measured only if somebody asks for it.
    fn is_in(self, parts: &[Self]) -> bool {
        match self {
            Self::Concurrent | Self::FirstToken => parts.contains(&self),
            _ => parts.is_empty() || parts.contains(&self),
        }
    }
}

/// Requests that come at once, each with a prompt of its own behind perhaps a prefix of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requests {
    pub weights: Weights,
    /// Tokens of the prefix.
    pub prefix: usize,
    pub count: usize,
}

/// How the weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Weights {
    F32,
    Bf16,
    F16,
    #[value(name = "q8_0")]
    Q8_0,
    #[value(name = "q4_0")]
    Q4_0,
    #[value(name = "q4_1")]
    Q4_1,
}

impl Weights {
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
        }
    }

    /// Blocks of quantised weights, which exist in GGUF only.
    pub fn are_blocks(self) -> bool {
        matches!(self, Self::Q8_0 | Self::Q4_0 | Self::Q4_1)
    }
}

/// One row; the order is the table's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// [`GENERATED`] tokens behind `depth` tokens.
    Decode { depth: usize, weights: Weights },
    /// [`PROMPT`] tokens behind `depth` tokens.
    Prompt { depth: usize, weights: Weights },
    /// From the file to the logits of one token.
    Load { weights: Weights },
    /// From the start of the process to the first token, on a prompt of 16 tokens.
    Start,
    /// The most memory that [`GENERATED`] tokens behind [`PROMPT`] tokens hold.
    Memory { weights: Weights },
    /// [`SENTENCES`] of [`SENTENCE`] tokens, `batch` at a time.
    Embed { batch: usize },
    /// Another kind of model.
    Shape { shape: Shape, task: Task },
    /// All of their tokens per second.
    Concurrent(Requests),
    /// When so many percent of them have their first token.
    FirstToken { requests: Requests, percent: usize },
}

impl Row {
    pub fn weights(self) -> Weights {
        match self {
            Self::Decode { weights, .. }
            | Self::Prompt { weights, .. }
            | Self::Load { weights }
            | Self::Memory { weights } => weights,
            Self::Concurrent(requests) | Self::FirstToken { requests, .. } => requests.weights,
            Self::Start | Self::Embed { .. } | Self::Shape { .. } => Weights::F32,
        }
    }

    pub fn depth(self) -> usize {
        match self {
            Self::Decode { depth, .. } | Self::Prompt { depth, .. } => depth,
            _ => 0,
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::Shape {
                task: Task::Embed { .. },
                ..
            } => "sentences/s",
            Self::Decode { .. }
            | Self::Prompt { .. }
            | Self::Shape { .. }
            | Self::Concurrent(_) => "tokens/s",
            Self::Load { .. } | Self::Start => "s",
            Self::FirstToken { .. } => "ms",
            Self::Memory { .. } => "MB",
            Self::Embed { .. } => "sentences/s",
        }
    }

    /// All tasks of `shapes`, or of all shapes there are.
    pub fn of_shapes(shapes: &[Shape]) -> Vec<Self> {
        let shapes = match shapes {
            [] => Shape::value_variants(),
            some => some,
        };
        let mut rows = Vec::new();
        for &shape in shapes {
            rows.extend(
                shape
                    .tasks()
                    .iter()
                    .map(|&task| Self::Shape { shape, task }),
            );
        }
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// Whether less is better: a time or a size.
    pub fn is_cost(self) -> bool {
        matches!(
            self,
            Self::Load { .. } | Self::Start | Self::Memory { .. } | Self::FirstToken { .. }
        )
    }

    /// Memory does not differ from round to round.
    pub fn is_measured_in(self, round: usize) -> bool {
        round == 0 || !matches!(self, Self::Memory { .. })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let depth = match self.depth() {
            0 => String::new(),
            depth => format!(" @ {depth}"),
        };
        let weights = self.weights().name();
        match self {
            Self::Decode { .. } => write!(f, "decode {GENERATED}{depth} {weights}"),
            Self::Prompt { .. } => write!(f, "prompt {PROMPT}{depth} {weights}"),
            Self::Load { .. } => write!(f, "load {weights}"),
            Self::Start => write!(f, "start to first token"),
            Self::Memory { .. } => write!(f, "memory @ {} {weights}", PROMPT + GENERATED),
            Self::Embed { batch } => write!(f, "MiniLM {batch}x{SENTENCE}"),
            Self::Shape { shape, task } => f.write_str(&shape.row(*task)),
            Self::Concurrent(requests) => write!(f, "{requests}"),
            Self::FirstToken { requests, percent } => {
                write!(f, "first token p{percent}, {requests}")
            }
        }
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let prefix = match self.prefix {
            0 => String::new(),
            prefix => format!("{prefix} shared + "),
        };
        let (count, weights) = (self.count, self.weights.name());
        write!(
            f,
            "{count} x ({prefix}{REQUEST_PROMPT} + {REQUEST_ANSWER}) {weights}"
        )
    }
}

/// Which rows somebody asked for; an empty list asks for all.
pub struct Selection<'a> {
    pub parts: &'a [Part],
    pub weights: &'a [Weights],
    pub decode_depths: &'a [usize],
    pub prompt_depths: &'a [usize],
    /// How many requests come at once.
    pub requests: &'a [usize],
    /// Whether there is a model for [`Row::Start`].
    pub start: bool,
}

impl Selection<'_> {
    /// In the table's order.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for part in Part::value_variants() {
            if part.is_in(self.parts) {
                self.add(*part, &mut rows);
            }
        }
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    fn add(&self, part: Part, rows: &mut Vec<Row>) {
        let weights = match self.weights {
            [] => Weights::value_variants(),
            some => some,
        };
        let each = weights.iter().copied();
        match part {
            Part::Decode => {
                for &depth in self.decode_depths {
                    rows.extend(each.clone().map(|weights| Row::Decode { depth, weights }));
                }
            }
            Part::Prompt => {
                for &depth in self.prompt_depths {
                    rows.extend(each.clone().map(|weights| Row::Prompt { depth, weights }));
                }
            }
            Part::Load => rows.extend(each.map(|weights| Row::Load { weights })),
            Part::Memory => rows.extend(each.map(|weights| Row::Memory { weights })),
            Part::Start if self.start => rows.push(Row::Start),
            Part::Start => {}
            Part::Concurrent => rows.extend(self.concurrent(weights).map(Row::Concurrent)),
            Part::FirstToken => rows.extend(self.concurrent(weights).flat_map(|requests| {
                [50, 99].map(|percent| Row::FirstToken { requests, percent })
            })),
            Part::Embed => rows.extend(BATCHES.map(|batch| Row::Embed { batch })),
        }
    }

    /// All that come at once, for these types.
    fn concurrent<'a>(&'a self, weights: &'a [Weights]) -> impl Iterator<Item = Requests> + 'a {
        let with = |weights, prefix| {
            let with = move |&count| Requests {
                weights,
                prefix,
                count,
            };
            self.requests.iter().map(with)
        };
        let prefixes = move |&weights| {
            let prefixes = [0, SHARED_PREFIX].into_iter();
            prefixes.flat_map(move |prefix| with(weights, prefix))
        };
        weights.iter().flat_map(prefixes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Selection = Selection {
        parts: &[],
        weights: &[],
        decode_depths: &[0, 2048],
        prompt_depths: &[0],
        requests: &[1, 4, 16, 64],
        start: true,
    };

    #[test]
    fn everything_is_measured_unless_someone_chooses() {
        // six types: two decodings, a prompt, a load and a memory each; a start; two batches
        assert_eq!(ALL.rows().len(), 6 * 5 + 1 + 2);
        let chosen = Selection {
            parts: &[Part::Decode],
            weights: &[Weights::Q4_0, Weights::F32],
            ..ALL
        };
        let names: Vec<String> = chosen.rows().iter().map(Row::to_string).collect();
        assert_eq!(
            names,
            [
                "decode 128 f32",
                "decode 128 q4_0",
                "decode 128 @ 2048 f32",
                "decode 128 @ 2048 q4_0"
            ]
        );
    }

    #[test]
    fn a_shape_is_read_and_written() {
        assert_eq!(Row::of_shapes(&[]).len(), 12);
        let rows = Row::of_shapes(&[Shape::T5, Shape::Bert, Shape::T5]);
        let names: Vec<String> = rows.iter().map(Row::to_string).collect();
        let expected = [
            "bert 1x128",
            "bert 32x128",
            "t5 encode 512",
            "t5 decode 128",
        ];
        assert_eq!(names, expected);
        assert_eq!(rows[0].unit(), "sentences/s");
        assert_eq!(rows[3].unit(), "tokens/s");
    }

    #[test]
    fn requests_at_once_are_measured_only_if_asked_for() {
        assert!(
            !ALL.rows()
                .iter()
                .any(|row| matches!(row, Row::Concurrent(_)))
        );
        let chosen = Selection {
            parts: &[Part::Concurrent, Part::FirstToken],
            weights: &[Weights::Bf16],
            ..ALL
        };
        let names: Vec<String> = chosen.rows().iter().map(Row::to_string).collect();
        assert_eq!(names.len(), 8 + 16);
        assert_eq!(names[1], "4 x (128 + 64) bf16");
        assert_eq!(names[4], "1 x (512 shared + 128 + 64) bf16");
        assert_eq!(names[8], "first token p50, 1 x (128 + 64) bf16");
    }

    #[test]
    fn nothing_starts_without_a_model() {
        let rows = Selection {
            start: false,
            ..ALL
        }
        .rows();
        assert!(!rows.contains(&Row::Start));
    }

    #[test]
    fn types_are_named_alike_everywhere() {
        for weights in Weights::value_variants() {
            let value = weights.to_possible_value().expect("none is hidden");
            assert_eq!(value.get_name(), weights.name());
        }
    }
}
