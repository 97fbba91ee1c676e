//! Kinds of models beside those that the other rows time: one of each, with 100 to 300 million parameters.

use clap::ValueEnum;

use super::rows::{GENERATED, PROMPT, SENTENCE};

/// A model that benches/peers/make_shapes.py wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Shape {
    Llama,
    Qwen3Moe,
    Gpt2,
    Mamba,
    Bert,
    T5,
}

/// What is timed of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// [`PROMPT`] tokens at once; of an encoder–decoder its encoder alone.
    Read,
    /// [`GENERATED`] tokens one by one; of an encoder–decoder about a text of [`PROMPT`] tokens.
    Write,
    /// Sentences of [`SENTENCE`] tokens, so many at a time.
    Embed { batch: usize },
}

impl Shape {
    /// As `model_type` has it, and the folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen3Moe => "qwen3_moe",
            Self::Gpt2 => "gpt2",
            Self::Mamba => "mamba",
            Self::Bert => "bert",
            Self::T5 => "t5",
        }
    }

    pub fn tasks(self) -> &'static [Task] {
        match self {
            Self::Bert => &[Task::Embed { batch: 1 }, Task::Embed { batch: 32 }],
            _ => &[Task::Read, Task::Write],
        }
    }

    /// The tokens before those that are written: an encoder–decoder writes about a text.
    pub fn depth(self) -> usize {
        match self {
            Self::T5 => PROMPT,
            _ => 0,
        }
    }

    /// The row's name in the table.
    pub fn row(self, task: Task) -> String {
        let name = self.name();
        match (self, task) {
            (Self::T5, Task::Read) => format!("{name} encode {PROMPT}"),
            (_, Task::Read) => format!("{name} prompt {PROMPT}"),
            (_, Task::Write) => format!("{name} decode {GENERATED}"),
            (_, Task::Embed { batch }) => format!("{name} {batch}x{SENTENCE}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for shape in Shape::value_variants() {
            let value = shape.to_possible_value().expect("none is hidden");
            assert_eq!(value.get_name(), shape.name());
        }
    }

    #[test]
    fn every_shape_reads() {
        assert_eq!(Shape::T5.row(Task::Read), "t5 encode 512");
        assert_eq!(Shape::Mamba.row(Task::Write), "mamba decode 128");
        assert_eq!(Shape::Bert.row(Shape::Bert.tasks()[1]), "bert 32x128");
    }
}
