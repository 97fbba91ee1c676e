//! GGUF files of whole models: those that are committed, and the cases that are written as one.
//!
//! `tests/gguf.rs` reads and writes them, and compares what the models answer.

/// A file of `golden/gguf`, the case that it was made of, and the keys of the configuration that such a file does not say.
pub type File = (&'static str, &'static str, &'static [&'static str]);

/// All files.
pub const FILES: &[File] = &[
    ("bloom", "bloom", &[]),
    ("deepseek2", "deepseek_v2", &[]),
    ("deepseek2_v3", "deepseek_v3", &[]),
    ("deepseek2_groups", "deepseek_v2_groups", &[]),
    ("deepseek2_absorbed", "deepseek_v2_groups", &[]),
    ("deepseek2_v3_absorbed", "deepseek_v3", &[]),
    ("ernie4_5", "ernie4_5", &[]),
    ("ernie4_5-moe", "ernie4_5_moe", &[]),
    ("falcon", "falcon", &["num_kv_heads"]),
    ("falcon_40b", "falcon_40b", &[]),
    ("falcon_mamba", "falcon_mamba", &["mixer_rms_eps"]),
    ("gemma2", "gemma2", &["query_pre_attn_scalar"]),
    (
        "gemma3",
        "gemma3_text",
        &["query_pre_attn_scalar", "layer_types"],
    ),
    ("glm4moe", "glm4_moe", &[]),
    ("glm4moe_qk_norm", "glm4_moe_qk_norm", &[]),
    ("gpt-oss", "gpt_oss", &["swiglu_limit"]),
    ("gpt2", "gpt2", &[]),
    ("granite", "granite_bias", &[]),
    ("granitemoe", "granitemoe", &[]),
    ("granitemoe_bias", "granitemoe_bias", &[]),
    (
        "lfm2",
        "lfm2",
        &[
            "block_auto_adjust_ff_dim",
            "block_multiple_of",
            "intermediate_size",
        ],
    ),
    ("llama", "llama", &[]),
    ("mamba", "mamba", &[]),
    ("minimax-m2", "minimax_m2", &[]),
    ("nemotron", "nemotron", &[]),
    ("olmoe", "olmoe", &[]),
    ("phi3", "phi3", &[]),
    ("phi3_longrope", "phi3_longrope", &[]),
    ("qwen2", "qwen2", &[]),
    ("qwen2moe", "qwen2_moe", &[]),
    ("qwen3", "qwen3", &[]),
    ("qwen3moe", "qwen3_moe", &[]),
    ("qwen3next", "qwen3_next_key_heads", &[]),
    ("qwen3next_old", "qwen3_next", &[]),
    ("seed_oss", "seed_oss", &[]),
    ("stablelm", "stablelm", &[]),
    ("stablelm_parallel", "stablelm_parallel", &[]),
    ("starcoder2", "starcoder2", &[]),
    ("t5", "t5", &["relative_attention_max_distance"]),
    (
        "t5_gated",
        "t5_gated",
        &["relative_attention_max_distance", "scale_decoder_outputs"],
    ),
    ("umt5", "umt5", &["relative_attention_max_distance"]),
];

/// Cases of the families that are written, each with the key that no file says and what such a file means.
pub const WRITTEN: &[(&str, Option<(&str, u64)>)] = &[
    ("gemma2", Some(("query_pre_attn_scalar", 8))),
    ("gemma3_text", Some(("query_pre_attn_scalar", 8))),
    ("llama", None),
    ("mistral", None),
    ("nemotron", None),
    ("phi3", None),
    ("qwen2", None),
    ("qwen2_moe", None),
    ("qwen3", None),
    ("qwen3_moe", None),
    ("stablelm", None),
    ("stablelm_parallel", None),
    ("starcoder2", None),
];

/// What is done with GGUF files of the case: `read`, `written`, both, or nothing.
pub fn of_case(case: &str) -> Vec<&'static str> {
    let read = FILES.iter().any(|(_, of, _)| *of == case);
    let written = WRITTEN.iter().any(|(of, _)| *of == case);
    let done = [(read, "read"), (written, "written")];
    done.into_iter()
        .filter_map(|(is, what)| is.then_some(what))
        .collect()
}
