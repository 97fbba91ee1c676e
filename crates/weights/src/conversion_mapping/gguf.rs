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
    /// The tensors. A row matches with `.weight` and with `.bias` after it, or bare.
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
    /// The names are whole: nothing comes after them.
    pub bare: bool,
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
    /// A filter of each channel, `[channels, 1, width]`, without the dimension of one.
    Flat,
    /// `-exp` of the values: rates of decay in the place of their logarithms.
    NegatedExponential,
}

impl Stored {
    /// Whether the values are computed with: blocks cannot stay blocks then.
    pub(crate) fn is_computed(self) -> bool {
        matches!(self, Self::PlusOne | Self::NegatedExponential)
    }
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
use Stored::{AsIs, Flat, Interleaved, NegatedExponential, PlusOne};

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
    GgufMapping {
        architecture: "mamba",
        tensors: MAMBA,
    },
    GgufMapping {
        architecture: "lfm2",
        tensors: LFM2,
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

#[rustfmt::skip]
const MAMBA: &[GgufRow] = &[
    row("token_embd", "backbone.embeddings", AsIs),
    row("blk.{layer}.attn_norm", "backbone.layers.{layer}.norm", AsIs),
    row("blk.{layer}.ssm_in", "backbone.layers.{layer}.mixer.in_proj", AsIs),
    row("blk.{layer}.ssm_conv1d", "backbone.layers.{layer}.mixer.conv1d", Flat),
    row("blk.{layer}.ssm_x", "backbone.layers.{layer}.mixer.x_proj", AsIs),
    row("blk.{layer}.ssm_dt", "backbone.layers.{layer}.mixer.dt_proj", AsIs),
    bare("blk.{layer}.ssm_a", "backbone.layers.{layer}.mixer.A_log", NegatedExponential),
    bare("blk.{layer}.ssm_d", "backbone.layers.{layer}.mixer.D", AsIs),
    row("blk.{layer}.ssm_out", "backbone.layers.{layer}.mixer.out_proj", AsIs),
    row("output_norm", "backbone.norm_f", AsIs),
    row("output", "lm_head", AsIs),
];

#[rustfmt::skip]
const LFM2: &[GgufRow] = &[
    row("token_embd", "model.embed_tokens", AsIs),
    row("blk.{layer}.attn_norm", "model.layers.{layer}.operator_norm", AsIs),
    row("blk.{layer}.shortconv.conv", "model.layers.{layer}.conv.conv", Flat),
    row("blk.{layer}.shortconv.in_proj", "model.layers.{layer}.conv.in_proj", AsIs),
    row("blk.{layer}.shortconv.out_proj", "model.layers.{layer}.conv.out_proj", AsIs),
    row("blk.{layer}.attn_q", "model.layers.{layer}.self_attn.q_proj", AsIs),
    row("blk.{layer}.attn_q_norm", "model.layers.{layer}.self_attn.q_layernorm", AsIs),
    row("blk.{layer}.attn_k", "model.layers.{layer}.self_attn.k_proj", AsIs),
    row("blk.{layer}.attn_k_norm", "model.layers.{layer}.self_attn.k_layernorm", AsIs),
    row("blk.{layer}.attn_v", "model.layers.{layer}.self_attn.v_proj", AsIs),
    row("blk.{layer}.attn_output", "model.layers.{layer}.self_attn.out_proj", AsIs),
    row("blk.{layer}.ffn_norm", "model.layers.{layer}.ffn_norm", AsIs),
    row("blk.{layer}.ffn_gate", "model.layers.{layer}.feed_forward.w1", AsIs),
    row("blk.{layer}.ffn_up", "model.layers.{layer}.feed_forward.w3", AsIs),
    row("blk.{layer}.ffn_down", "model.layers.{layer}.feed_forward.w2", AsIs),
    row("token_embd_norm", "model.embedding_norm", AsIs),
    row("output", "lm_head", AsIs),
];

const fn row(gguf: &'static str, name: &'static str, stored: Stored) -> GgufRow {
    GgufRow {
        gguf,
        name,
        stored,
        bare: false,
    }
}

const fn bare(gguf: &'static str, name: &'static str, stored: Stored) -> GgufRow {
    GgufRow {
        gguf,
        name,
        stored,
        bare: true,
    }
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
        let name = |row: &GgufRow, layer: &str| row.name.replace("{layer}", layer);
        self.renamed(gguf, "blk.", |row| row.gguf, name)
    }

    /// What a file calls the tensor with that Hugging Face name, and how it stores the values: the reverse of
    /// [`translate`](Self::translate).
    pub fn gguf_name(&self, name: &str) -> Option<(String, Stored)> {
        let layers = match name.starts_with("backbone.") {
            true => "backbone.layers.",
            false => "model.layers.",
        };
        let gguf = |row: &GgufRow, layer: &str| row.gguf.replace("{layer}", layer);
        self.renamed(name, layers, |row| row.name, gguf)
    }

    /// What `new` makes of the row whose `old` name is `name`, in which layers follow `before`.
    fn renamed(
        &self,
        name: &str,
        before: &str,
        old: impl Fn(&GgufRow) -> &'static str,
        new: impl Fn(&GgufRow, &str) -> String,
    ) -> Option<(String, Stored)> {
        let find = |stem: &str, bare: bool| {
            let (pattern, layer) = fold_layer(stem, before);
            let mut rows = self.tensors.iter();
            let row = rows.find(|row| row.bare == bare && old(row) == pattern)?;
            Some((new(row, layer), row.stored))
        };
        if let Some(found) = find(name, true) {
            return Some(found);
        }
        let (stem, suffix) = name.rsplit_once('.')?;
        if !matches!(suffix, "weight" | "bias") {
            return None;
        }
        let (name, stored) = find(stem, false)?;
        Some((format!("{name}.{suffix}"), stored))
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
        check(
            "mamba",
            "blk.4.ssm_a",
            Some(("backbone.layers.4.mixer.A_log", NegatedExponential)),
        );
        check(
            "mamba",
            "blk.4.ssm_conv1d.bias",
            Some(("backbone.layers.4.mixer.conv1d.bias", Flat)),
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
            "weight",
            "",
        ] {
            check("llama", unknown, None);
        }
        assert!(GgufMapping::of("clip").is_none());
    }
}
