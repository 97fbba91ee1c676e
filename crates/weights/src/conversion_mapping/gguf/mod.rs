//! What the tensors of a GGUF file are called in Hugging Face checkpoints, and how their values were changed on the way
//! into the file, per architecture.
//!
//! The names are those of the Python package `gguf` (`tensor_mapping.py`); the changed values are what llama.cpp's
//! converter does for its own kernels.

mod tables;

pub use tables::GGUF_MAPPINGS;

/// The names of one architecture.
#[derive(Debug)]
pub struct GgufMapping {
    /// `general.architecture`.
    pub architecture: &'static str,
    /// A tensor of the files that this table is for, where others of the architecture have another table.
    pub marked_by: Option<&'static str>,
    /// The tensors, in parts that architectures share.
    pub tensors: &'static [&'static [GgufRow]],
}

/// One tensor, or one per layer where the names hold `{layer}`.
///
/// A row matches with `.weight` and with `.bias` after it, unless it is whole.
#[derive(Debug)]
pub struct GgufRow {
    /// In the GGUF file.
    pub gguf: &'static str,
    /// In a Hugging Face checkpoint.
    pub name: &'static str,
    /// The values in the GGUF file.
    pub stored: Stored,
    /// Nothing comes after the names.
    pub whole: bool,
}

/// How a GGUF file holds the values of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// As they are.
    AsIs,
    /// The rows of each head reordered for the interleaved form of rotary embedding: row `2 i + j` of the file is row
    /// `j * head_dim / 2 + i`.
    Interleaved(Heads),
    /// All queries, all keys, all values, where the model has for each key head its queries, itself and its value.
    Fused,
    /// With one added, so that gemma's `1 + weight` needs no special case.
    PlusOne,
    /// Rows and columns exchanged.
    Transposed,
    /// Several tensors, whose numbers stand for `{part}` in the name, along a new outermost dimension.
    Stacked,
    /// Without its dimension of one: a matrix of one row as a vector, filters `[channels, 1, width]` as a matrix.
    Flat,
    /// `-exp` of the values: rates of decay in the place of their logarithms.
    NegatedExponential,
    /// The first of two tensors that the model has as one.
    First(Pair),
    /// The second of them.
    Second(Pair),
}

/// How two tensors of a file become one of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pair {
    /// Gates and ups of experts, `[experts, inner, hidden]` both: each expert's gates, then its ups.
    GateUp,
    /// `attn_k_b` `[heads, rank, key]` and `attn_v_b` `[heads, value, rank]` of absorbed attention: each head's keys, with
    /// rows and columns exchanged back, then its values.
    KeyValue,
    /// Linear attention's queries, keys and values, `[2 * groups * key + groups * values, hidden]`, and its gates
    /// `[groups * values, hidden]`: for each of `ssm.group_count` groups its query, its key, its values, and their gates.
    QkvGate,
}

/// Which heads the rows of a projection belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heads {
    /// `attention.head_count`.
    Query,
    /// `attention.head_count_kv`.
    KeyValue,
}

/// What stands in names for the number of one of the tensors that are [stacked](Stored::Stacked).
pub(crate) const PART: &str = "{part}";

impl GgufMapping {
    /// The table for a file of `architecture` that `has` these tensors, under the file's names.
    pub fn of(architecture: &str, has: impl Fn(&str) -> bool) -> Option<&'static Self> {
        GGUF_MAPPINGS.iter().find(|mapping| {
            mapping.architecture == architecture && mapping.marked_by.is_none_or(&has)
        })
    }

    /// The architectures that have a table, in alphabetical order.
    pub fn architectures() -> Vec<&'static str> {
        let mut all: Vec<_> = GGUF_MAPPINGS
            .iter()
            .map(|mapping| mapping.architecture)
            .collect();
        all.dedup();
        all
    }

    /// The Hugging Face name of the tensor that the file calls `gguf`, and how its values are stored. `None` for tensors
    /// that have no counterpart there, for instance the precomputed `rope_freqs.weight`.
    pub fn translate(&self, gguf: &str) -> Option<(String, Stored)> {
        self.rows().find_map(|row| row.translate(gguf))
    }

    /// What a file calls the tensor with that Hugging Face name, and how it stores the values: the reverse of
    /// [`translate`](Self::translate). All parts of a [stacked](Stored::Stacked) tensor have one name; those that a file
    /// holds in [two](Pair) alone have none.
    pub fn gguf_name(&self, name: &str) -> Option<(String, Stored)> {
        let mut whole = self.rows().filter(|row| row.stored.pair().is_none());
        whole.find_map(|row| row.gguf_name(name))
    }

    fn rows(&self) -> impl Iterator<Item = &'static GgufRow> {
        self.tensors.iter().copied().flatten()
    }
}

impl GgufRow {
    fn translate(&self, gguf: &str) -> Option<(String, Stored)> {
        if self.whole {
            let numbers = numbers(self.gguf, gguf)?;
            return Some((filled(self.name, &numbers), self.stored));
        }
        let (stem, suffix) = parted(gguf)?;
        let numbers = numbers(self.gguf, stem)?;
        let name = filled(self.name, &numbers);
        Some((format!("{name}.{suffix}"), self.stored_as(suffix)))
    }

    fn gguf_name(&self, name: &str) -> Option<(String, Stored)> {
        if self.whole {
            let numbers = numbers(self.name, name)?;
            return Some((filled(self.gguf, &numbers), self.stored));
        }
        let (stem, suffix) = parted(name)?;
        let numbers = numbers(self.name, stem)?;
        let name = filled(self.gguf, &numbers);
        Some((format!("{name}.{suffix}"), self.stored_as(suffix)))
    }

    /// Only weights have one added, and a dimension of one.
    fn stored_as(&self, suffix: &str) -> Stored {
        match self.stored {
            Stored::PlusOne | Stored::Flat if suffix == "bias" => Stored::AsIs,
            stored => stored,
        }
    }
}

impl Stored {
    /// What the tensor is a half of.
    pub(crate) fn pair(self) -> Option<Pair> {
        match self {
            Self::First(pair) | Self::Second(pair) => Some(pair),
            _ => None,
        }
    }
}

/// `blk.7.attn_q.weight` as `blk.7.attn_q` and `weight`.
fn parted(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('.')
        .filter(|(_, suffix)| matches!(*suffix, "weight" | "bias"))
}

/// The numbers that stand in `name` where `pattern` has braces, in order; `None` if the rest differs.
fn numbers<'a>(pattern: &str, name: &'a str) -> Option<Vec<&'a str>> {
    let mut texts = pattern.split('{');
    let mut rest = name.strip_prefix(texts.next()?)?;
    let mut found = Vec::new();
    for text in texts {
        let (_, text) = text.split_once('}')?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        found.push((!number.is_empty()).then_some(number)?);
        rest = after.strip_prefix(text)?;
    }
    rest.is_empty().then_some(found)
}

/// `pattern` with its braces replaced by numbers, as far as there are some.
fn filled(pattern: &str, numbers: &[&str]) -> String {
    let mut numbers = numbers.iter();
    let mut filled = String::new();
    for (index, text) in pattern.split('{').enumerate() {
        match text.split_once('}') {
            Some((brace, text)) if index > 0 => {
                match numbers.next() {
                    Some(number) => filled.push_str(number),
                    None => filled.extend(["{", brace, "}"]),
                }
                filled.push_str(text);
            }
            _ => filled.push_str(text),
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::Heads::KeyValue;
    use super::Stored::{AsIs, Flat, Fused, Interleaved, NegatedExponential, PlusOne, Stacked};
    use super::*;

    #[test]
    fn names_are_translated() {
        let check = |architecture, gguf, expected: Option<(&str, Stored)>| {
            let mapping = GgufMapping::of(architecture, |_| true).expect("a known architecture");
            let expected = expected.map(|(name, stored)| (name.to_owned(), stored));
            assert_eq!(mapping.translate(gguf), expected, "{architecture} {gguf}");
            if let Some((name, stored)) = expected {
                let name = name.replace(PART, "7");
                assert_eq!(mapping.gguf_name(&name), Some((gguf.to_owned(), stored)));
            }
        };
        check(
            "llama",
            "token_embd.weight",
            Some(("model.embed_tokens.weight", AsIs)),
        );
        check("llama", "output.weight", Some(("lm_head.weight", AsIs)));
        check(
            "llama",
            "blk.17.attn_k.weight",
            Some((
                "model.layers.17.self_attn.k_proj.weight",
                Interleaved(KeyValue),
            )),
        );
        check(
            "qwen2",
            "blk.0.attn_q.bias",
            Some(("model.layers.0.self_attn.q_proj.bias", AsIs)),
        );
        check(
            "qwen3",
            "blk.3.attn_q_norm.weight",
            Some(("model.layers.3.self_attn.q_norm.weight", AsIs)),
        );
        check(
            "gemma3",
            "blk.2.ffn_norm.weight",
            Some(("model.layers.2.pre_feedforward_layernorm.weight", PlusOne)),
        );
        check(
            "nemotron",
            "output_norm.bias",
            Some(("model.norm.bias", AsIs)),
        );
        check(
            "gpt-oss",
            "blk.2.attn_sinks.weight",
            Some(("model.layers.2.self_attn.sinks", AsIs)),
        );
        check(
            "qwen3moe",
            "blk.2.ffn_up_exps.weight",
            Some(("model.layers.2.mlp.experts.{part}.up_proj.weight", Stacked)),
        );
        check(
            "bloom",
            "blk.5.attn_qkv.bias",
            Some(("transformer.h.5.self_attention.query_key_value.bias", Fused)),
        );
        check(
            "mamba",
            "blk.4.ssm_a",
            Some(("backbone.layers.4.mixer.A_log", NegatedExponential)),
        );
        check(
            "mamba",
            "blk.4.ssm_conv1d.bias",
            Some(("backbone.layers.4.mixer.conv1d.bias", AsIs)),
        );
        check("mamba", "blk.4.ssm_a.weight", None);
        check(
            "lfm2",
            "blk.11.shortconv.conv.weight",
            Some(("model.layers.11.conv.conv.weight", Flat)),
        );
        for unknown in [
            "rope_freqs.weight",
            "blk.x.attn_q.weight",
            "blk..attn_q.weight",
            "blk.1.attn_q",
            "blk.1.attn_q.weight.weight",
            "weight",
            "",
        ] {
            check("llama", unknown, None);
        }
        assert!(GgufMapping::of("clip", |_| true).is_none());
    }

    #[test]
    fn tables_are_chosen_by_tensors() {
        let name = |gated: bool| {
            let mapping = GgufMapping::of("t5", |_| gated).expect("t5 is known");
            mapping.translate("enc.blk.0.ffn_up.weight")
        };
        for (gated, inner) in [(true, "wi_1"), (false, "wi")] {
            let expected = format!("encoder.block.0.layer.1.DenseReluDense.{inner}.weight");
            assert_eq!(name(gated), Some((expected, AsIs)));
        }
        let mut sorted = GgufMapping::architectures();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted, GgufMapping::architectures());
    }
}
