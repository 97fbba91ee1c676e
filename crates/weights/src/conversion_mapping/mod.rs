//! What checkpoints on disk call a family's parameters, as data: keyed by model type, and needing no model.
//!
//! Most families (llama, mistral, qwen2, qwen3, gemma3_text, bert) are stored under the names that they have in memory and
//! need no entry; what remains are the names of old tools, and GGUF's.

pub mod gguf;

use crate::WeightRenaming;

/// Buffers that old checkpoints hold and models now compute: not worth a word in a load report.
pub const FORMER_BUFFERS: &[&str] = &[r"rotary_emb\.inv_freq", r"(^|\.)position_ids$"];

/// Patterns on disk, and the name in memory.
type Table = &'static [(&'static [&'static str], &'static str)];

/// Families by model type.
const FAMILIES: &[(&str, Table)] = &[("gpt_neox", &[(&[r"^embed_out\."], "lm_head.")])];

/// What old tools left behind: TensorFlow's names in BERT, weight normalisation before it became a parametrization, and a
/// level that some multimodal checkpoints doubled.
const LEGACY: Table = &[
    (&["LayerNorm.gamma"], "LayerNorm.weight"),
    (&["LayerNorm.beta"], "LayerNorm.bias"),
    (&[".weight_g"], ".parametrizations.weight.original0"),
    (&[".weight_v"], ".parametrizations.weight.original1"),
    (
        &[
            r"^model\.language_model\.model",
            r"^language_model\.model\.model",
        ],
        "model.language_model",
    ),
];

/// The renamings, in order, that turn a checkpoint's keys into the parameter names of `model_type`: the family's own, then
/// the [legacy] ones.
pub fn renamings(model_type: &str) -> Vec<WeightRenaming> {
    let family = FAMILIES.iter().find(|(name, _)| *name == model_type);
    let mut renamings = family.map_or_else(Vec::new, |(_, table)| compile(table));
    renamings.extend(legacy());
    renamings
}

/// The renamings that apply to every family.
pub fn legacy() -> Vec<WeightRenaming> {
    compile(LEGACY)
}

fn compile(table: Table) -> Vec<WeightRenaming> {
    table
        .iter()
        .map(|(sources, target)| {
            WeightRenaming::any_of(sources, target).expect("the tables hold valid patterns")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(model_type: &str, key: &str, expected: &str) {
        let mut renamed = key.to_owned();
        for renaming in renamings(model_type) {
            renamed = renaming.apply(&renamed).unwrap().unwrap_or(renamed);
        }
        assert_eq!(renamed, expected, "{model_type}");
    }

    #[test]
    fn old_names() {
        check(
            "bert",
            "bert.embeddings.LayerNorm.beta",
            "bert.embeddings.LayerNorm.bias",
        );
        check(
            "bert",
            "bert.encoder.layer.0.output.LayerNorm.gamma",
            "bert.encoder.layer.0.output.LayerNorm.weight",
        );
        check(
            "wav2vec2",
            "conv.weight_g",
            "conv.parametrizations.weight.original0",
        );
        check("gpt_neox", "embed_out.weight", "lm_head.weight");
        check("llama", "embed_out.weight", "embed_out.weight");
        check(
            "voxtral",
            "language_model.model.model.norm.weight",
            "model.language_model.norm.weight",
        );
        check(
            "llama",
            "model.layers.0.mlp.gate_proj.weight",
            "model.layers.0.mlp.gate_proj.weight",
        );
    }
}
