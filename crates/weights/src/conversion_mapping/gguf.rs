//! What the tensors of a GGUF file are called in Hugging Face checkpoints, and how their values were changed on the way
//! into the file, per architecture.
//!
//! The names are those of the Python package `gguf` (`tensor_mapping.py`); the changed values are what llama.cpp's
//! converter does for its own kernels.

/// The names of one architecture.
#[derive(Debug)]
pub struct GgufMapping {
    /// `general.architecture`.
    pub architecture: &'static str,
    /// The tensors. A row matches with `.weight` and with `.bias` after it.
    pub tensors: &'static [GgufRow],
}

/// One tensor, or one per layer where the names hold `{layer}`.
#[derive(Debug)]
pub struct GgufRow {
    /// In the GGUF file.
    pub gguf: &'static str,
    /// In a Hugging Face checkpoint.
    pub name: &'static str,
    /// The values in the GGUF file.
    pub stored: Stored,
}

/// How a GGUF file holds the values of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// As they are.
    AsIs,
    /// The rows of each head reordered for the interleaved form of rotary embedding: row `2 i + j` of the file is row
    /// `j * head_dim / 2 + i`.
    Interleaved(Heads),
    /// With one added, so that gemma's `1 + weight` needs no special case.
    PlusOne,
}

/// Which heads the rows of a projection belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heads {
    /// `attention.head_count`.
    Query,
    /// `attention.head_count_kv`.
    KeyValue,
}

use Heads::{KeyValue, Query};
use Stored::{AsIs, Interleaved, PlusOne};

/// The architectures that can be read. Mistral's files call themselves llama.
pub const GGUF_MAPPINGS: &[GgufMapping] = &[
    GgufMapping {
        architecture: "llama",
        tensors: LLAMA,
    },
    GgufMapping {
        architecture: "qwen2",
        tensors: QWEN,
    },
    GgufMapping {
        architecture: "qwen3",
        tensors: QWEN,
    },
    GgufMapping {
        architecture: "gemma3",
        tensors: GEMMA3,
    },
];

#[rustfmt::skip]
const LLAMA: &[GgufRow] = &[
    row("token_embd", "model.embed_tokens", AsIs),
    row("blk.{layer}.attn_norm", "model.layers.{layer}.input_layernorm", AsIs),
    row("blk.{layer}.attn_q", "model.layers.{layer}.self_attn.q_proj", Interleaved(Query)),
    row("blk.{layer}.attn_k", "model.layers.{layer}.self_attn.k_proj", Interleaved(KeyValue)),
    row("blk.{layer}.attn_v", "model.layers.{layer}.self_attn.v_proj", AsIs),
    row("blk.{layer}.attn_output", "model.layers.{layer}.self_attn.o_proj", AsIs),
    row("blk.{layer}.ffn_norm", "model.layers.{layer}.post_attention_layernorm", AsIs),
    row("blk.{layer}.ffn_gate", "model.layers.{layer}.mlp.gate_proj", AsIs),
    row("blk.{layer}.ffn_up", "model.layers.{layer}.mlp.up_proj", AsIs),
    row("blk.{layer}.ffn_down", "model.layers.{layer}.mlp.down_proj", AsIs),
    row("output_norm", "model.norm", AsIs),
    row("output", "lm_head", AsIs),
];

/// Qwen2 has no norms of heads.
#[rustfmt::skip]
const QWEN: &[GgufRow] = &[
    row("token_embd", "model.embed_tokens", AsIs),
    row("blk.{layer}.attn_norm", "model.layers.{layer}.input_layernorm", AsIs),
    row("blk.{layer}.attn_q", "model.layers.{layer}.self_attn.q_proj", AsIs),
    row("blk.{layer}.attn_q_norm", "model.layers.{layer}.self_attn.q_norm", AsIs),
    row("blk.{layer}.attn_k", "model.layers.{layer}.self_attn.k_proj", AsIs),
    row("blk.{layer}.attn_k_norm", "model.layers.{layer}.self_attn.k_norm", AsIs),
    row("blk.{layer}.attn_v", "model.layers.{layer}.self_attn.v_proj", AsIs),
    row("blk.{layer}.attn_output", "model.layers.{layer}.self_attn.o_proj", AsIs),
    row("blk.{layer}.ffn_norm", "model.layers.{layer}.post_attention_layernorm", AsIs),
    row("blk.{layer}.ffn_gate", "model.layers.{layer}.mlp.gate_proj", AsIs),
    row("blk.{layer}.ffn_up", "model.layers.{layer}.mlp.up_proj", AsIs),
    row("blk.{layer}.ffn_down", "model.layers.{layer}.mlp.down_proj", AsIs),
    row("output_norm", "model.norm", AsIs),
    row("output", "lm_head", AsIs),
];

#[rustfmt::skip]
const GEMMA3: &[GgufRow] = &[
    row("token_embd", "model.embed_tokens", AsIs),
    row("blk.{layer}.attn_norm", "model.layers.{layer}.input_layernorm", PlusOne),
    row("blk.{layer}.attn_q", "model.layers.{layer}.self_attn.q_proj", AsIs),
    row("blk.{layer}.attn_q_norm", "model.layers.{layer}.self_attn.q_norm", PlusOne),
    row("blk.{layer}.attn_k", "model.layers.{layer}.self_attn.k_proj", AsIs),
    row("blk.{layer}.attn_k_norm", "model.layers.{layer}.self_attn.k_norm", PlusOne),
    row("blk.{layer}.attn_v", "model.layers.{layer}.self_attn.v_proj", AsIs),
    row("blk.{layer}.attn_output", "model.layers.{layer}.self_attn.o_proj", AsIs),
    row("blk.{layer}.post_attention_norm", "model.layers.{layer}.post_attention_layernorm", PlusOne),
    row("blk.{layer}.ffn_norm", "model.layers.{layer}.pre_feedforward_layernorm", PlusOne),
    row("blk.{layer}.ffn_gate", "model.layers.{layer}.mlp.gate_proj", AsIs),
    row("blk.{layer}.ffn_up", "model.layers.{layer}.mlp.up_proj", AsIs),
    row("blk.{layer}.ffn_down", "model.layers.{layer}.mlp.down_proj", AsIs),
    row("blk.{layer}.post_ffw_norm", "model.layers.{layer}.post_feedforward_layernorm", PlusOne),
    row("output_norm", "model.norm", PlusOne),
    row("output", "lm_head", AsIs),
];

const fn row(gguf: &'static str, name: &'static str, stored: Stored) -> GgufRow {
    GgufRow { gguf, name, stored }
}

impl GgufMapping {
    /// The table of `architecture`.
    pub fn of(architecture: &str) -> Option<&'static Self> {
        GGUF_MAPPINGS
            .iter()
            .find(|mapping| mapping.architecture == architecture)
    }

    /// The Hugging Face name of the tensor that the file calls `gguf`, and how its values are stored. `None` for tensors
    /// that have no counterpart there, for instance the precomputed `rope_freqs.weight`.
    pub fn translate(&self, gguf: &str) -> Option<(String, Stored)> {
        let (stem, suffix) = gguf.rsplit_once('.')?;
        if !matches!(suffix, "weight" | "bias") {
            return None;
        }
        let (pattern, layer) = fold_layer(stem, "blk.");
        let row = self.tensors.iter().find(|row| row.gguf == pattern)?;
        let name = row.name.replace("{layer}", layer);
        Some((format!("{name}.{suffix}"), row.stored))
    }

    /// What a file calls the tensor with that Hugging Face name, and how it stores the values: the reverse of
    /// [`translate`](Self::translate).
    pub fn gguf_name(&self, name: &str) -> Option<(String, Stored)> {
        let (stem, suffix) = name.rsplit_once('.')?;
        if !matches!(suffix, "weight" | "bias") {
            return None;
        }
        let (pattern, layer) = fold_layer(stem, "model.layers.");
        let row = self.tensors.iter().find(|row| row.name == pattern)?;
        let name = row.gguf.replace("{layer}", layer);
        Some((format!("{name}.{suffix}"), row.stored))
    }
}

/// `blk.7.attn_q` as `blk.{layer}.attn_q` and `7`, where layers follow `blk.`; other names unchanged.
fn fold_layer<'a>(stem: &'a str, before: &str) -> (String, &'a str) {
    stem.strip_prefix(before)
        .and_then(|rest| rest.split_once('.'))
        .filter(|(layer, _)| !layer.is_empty() && layer.bytes().all(|b| b.is_ascii_digit()))
        .map_or_else(
            || (stem.to_owned(), ""),
            |(layer, rest)| (format!("{before}{{layer}}.{rest}"), layer),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_translated() {
        let check = |architecture, gguf, expected: Option<(&str, Stored)>| {
            let mapping = GgufMapping::of(architecture).expect("a supported architecture");
            let expected = expected.map(|(name, stored)| (name.to_owned(), stored));
            assert_eq!(mapping.translate(gguf), expected, "{architecture} {gguf}");
            if let Some((name, stored)) = expected {
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
        for unknown in [
            "rope_freqs.weight",
            "blk.x.attn_q.weight",
            "blk..attn_q.weight",
            "blk.1.attn_q",
            "weight",
            "",
        ] {
            check("llama", unknown, None);
        }
        assert!(GgufMapping::of("clip").is_none());
    }
}
