//! The names of each architecture.

use super::Heads::{KeyValue, Query};
use super::Stored::{
    AsIs, First, Flat, Fused, Interleaved, NegatedExponential, PlusOne, Second, Stacked, Transposed,
};
use super::{GgufMapping, GgufRow, Pair, Stored};

/// The architectures that can be read, in alphabetical order. Mistral's files call themselves llama.
pub const GGUF_MAPPINGS: &[GgufMapping] = &[
    mapping("bloom", &[BLOOM]),
    mapping(
        "deepseek2",
        &[
            ENDS,
            ATTENTION,
            LATENT_ATTENTION,
            GATED_MLP,
            ROUTER,
            CORRECTION,
            EXPERTS,
            SHARED_EXPERTS,
            NORMS,
        ],
    ),
    mapping("ernie4_5", &[ENDS, ATTENTION, GATED_MLP, NORMS]),
    mapping(
        "ernie4_5-moe",
        &[
            ENDS,
            ATTENTION,
            GATED_MLP,
            ROUTER,
            ERNIE_CORRECTION,
            EXPERTS,
            SHARED_EXPERTS,
            NORMS,
        ],
    ),
    GgufMapping {
        architecture: "falcon",
        marked_by: Some("blk.0.attn_norm_2.weight"),
        tensors: &[FALCON, FALCON_TWO_NORMS],
    },
    mapping("falcon", &[FALCON, FALCON_ONE_NORM]),
    mapping("gemma2", &[ENDS, ATTENTION, GATED_MLP, GEMMA_NORMS]),
    mapping(
        "gemma3",
        &[ENDS, ATTENTION, GATED_MLP, GEMMA_NORMS, GEMMA_QK_NORMS],
    ),
    mapping(
        "glm4moe",
        &[
            ENDS,
            ATTENTION,
            QK_NORMS,
            GATED_MLP,
            ROUTER,
            CORRECTION,
            EXPERTS,
            SHARED_EXPERTS,
            POST_NORMS,
        ],
    ),
    mapping("gpt-oss", &[ENDS, ATTENTION, EXPERTS, POST_NORMS, GPT_OSS]),
    mapping("gpt2", &[GPT2]),
    mapping("granite", &[ENDS, LLAMA_ATTENTION, GATED_MLP, NORMS]),
    mapping(
        "granitemoe",
        &[ENDS, LLAMA_ATTENTION, GRANITE_EXPERTS, NORMS],
    ),
    mapping("lfm2", &[LFM2]),
    mapping("llama", &[ENDS, LLAMA_ATTENTION, GATED_MLP, NORMS]),
    mapping("mamba", &[MAMBA]),
    mapping(
        "minimax-m2",
        &[ENDS, ATTENTION, MINIMAX_EXPERTS, NORMS, QK_NORMS],
    ),
    mapping("nemotron", &[ENDS, ATTENTION, GATED_MLP, NEMOTRON_NORMS]),
    mapping(
        "olmoe",
        &[ENDS, ATTENTION, ROUTER, EXPERTS, NORMS, QK_NORMS],
    ),
    mapping("phi3", &[ENDS, PHI3, NORMS]),
    mapping("qwen2", &[ENDS, ATTENTION, GATED_MLP, NORMS]),
    mapping(
        "qwen2moe",
        &[ENDS, ATTENTION, ROUTER, EXPERTS, SHARED_EXPERT, NORMS],
    ),
    mapping("qwen3", &[ENDS, ATTENTION, GATED_MLP, NORMS, QK_NORMS]),
    mapping(
        "qwen3moe",
        &[ENDS, ATTENTION, ROUTER, EXPERTS, NORMS, QK_NORMS],
    ),
    mapping(
        "qwen3next",
        &[
            ENDS,
            ATTENTION,
            GEMMA_QK_NORMS,
            LINEAR_ATTENTION,
            ROUTER,
            EXPERTS,
            SHARED_EXPERT,
            QWEN3_NEXT_NORMS,
        ],
    ),
    mapping("seed_oss", &[ENDS, ATTENTION, GATED_MLP, POST_NORMS]),
    mapping(
        "stablelm",
        &[ENDS, ATTENTION, GATED_MLP, NORMS, STABLELM_QK_NORMS],
    ),
    mapping("starcoder2", &[ENDS, ATTENTION, STARCODER2_MLP, NORMS]),
    GgufMapping {
        architecture: "t5",
        marked_by: Some("enc.blk.0.ffn_gate.weight"),
        tensors: &[T5_ENCODER, T5_DECODER, T5_GATED_MLP],
    },
    mapping("t5", &[T5_ENCODER, T5_DECODER, T5_MLP]),
    GgufMapping {
        architecture: "t5encoder",
        marked_by: Some("enc.blk.0.ffn_gate.weight"),
        tensors: &[T5_ENCODER, T5_GATED_MLP],
    },
    mapping("t5encoder", &[T5_ENCODER, T5_MLP]),
];

const fn mapping(
    architecture: &'static str,
    tensors: &'static [&'static [GgufRow]],
) -> GgufMapping {
    GgufMapping {
        architecture,
        marked_by: None,
        tensors,
    }
}

const fn row(gguf: &'static str, name: &'static str, stored: Stored) -> GgufRow {
    GgufRow {
        gguf,
        name,
        stored,
        whole: false,
    }
}

const fn whole(gguf: &'static str, name: &'static str, stored: Stored) -> GgufRow {
    GgufRow {
        whole: true,
        ..row(gguf, name, stored)
    }
}

#[rustfmt::skip]
const ENDS: &[GgufRow] = &[
    row("token_embd", "model.embed_tokens", AsIs),
    row("output", "lm_head", AsIs),
];

#[rustfmt::skip]
const ATTENTION: &[GgufRow] = &[
    row("blk.{layer}.attn_q", "model.layers.{layer}.self_attn.q_proj", AsIs),
    row("blk.{layer}.attn_k", "model.layers.{layer}.self_attn.k_proj", AsIs),
    row("blk.{layer}.attn_v", "model.layers.{layer}.self_attn.v_proj", AsIs),
    row("blk.{layer}.attn_output", "model.layers.{layer}.self_attn.o_proj", AsIs),
];

#[rustfmt::skip]
const LLAMA_ATTENTION: &[GgufRow] = &[
    row("blk.{layer}.attn_q", "model.layers.{layer}.self_attn.q_proj", Interleaved(Query)),
    row("blk.{layer}.attn_k", "model.layers.{layer}.self_attn.k_proj", Interleaved(KeyValue)),
    row("blk.{layer}.attn_v", "model.layers.{layer}.self_attn.v_proj", AsIs),
    row("blk.{layer}.attn_output", "model.layers.{layer}.self_attn.o_proj", AsIs),
];

/// Nemotron has no gate.
#[rustfmt::skip]
const GATED_MLP: &[GgufRow] = &[
    row("blk.{layer}.ffn_gate", "model.layers.{layer}.mlp.gate_proj", AsIs),
    row("blk.{layer}.ffn_up", "model.layers.{layer}.mlp.up_proj", AsIs),
    row("blk.{layer}.ffn_down", "model.layers.{layer}.mlp.down_proj", AsIs),
];

#[rustfmt::skip]
const NORMS: &[GgufRow] = &[
    row("blk.{layer}.attn_norm", "model.layers.{layer}.input_layernorm", AsIs),
    row("blk.{layer}.ffn_norm", "model.layers.{layer}.post_attention_layernorm", AsIs),
    row("output_norm", "model.norm", AsIs),
];

#[rustfmt::skip]
const QK_NORMS: &[GgufRow] = &[
    row("blk.{layer}.attn_q_norm", "model.layers.{layer}.self_attn.q_norm", AsIs),
    row("blk.{layer}.attn_k_norm", "model.layers.{layer}.self_attn.k_norm", AsIs),
];

#[rustfmt::skip]
const STABLELM_QK_NORMS: &[GgufRow] = &[
    row("blk.{layer}.attn_q_norm", "model.layers.{layer}.self_attn.q_layernorm.norms.{part}", Stacked),
    row("blk.{layer}.attn_k_norm", "model.layers.{layer}.self_attn.k_layernorm.norms.{part}", Stacked),
];

#[rustfmt::skip]
const GEMMA_NORMS: &[GgufRow] = &[
    row("blk.{layer}.attn_norm", "model.layers.{layer}.input_layernorm", PlusOne),
    row("blk.{layer}.post_attention_norm", "model.layers.{layer}.post_attention_layernorm", PlusOne),
    row("blk.{layer}.ffn_norm", "model.layers.{layer}.pre_feedforward_layernorm", PlusOne),
    row("blk.{layer}.post_ffw_norm", "model.layers.{layer}.post_feedforward_layernorm", PlusOne),
    row("output_norm", "model.norm", PlusOne),
];

#[rustfmt::skip]
const GEMMA_QK_NORMS: &[GgufRow] = &[
    row("blk.{layer}.attn_q_norm", "model.layers.{layer}.self_attn.q_norm", PlusOne),
    row("blk.{layer}.attn_k_norm", "model.layers.{layer}.self_attn.k_norm", PlusOne),
];

#[rustfmt::skip]
const QWEN3_NEXT_NORMS: &[GgufRow] = &[
    row("blk.{layer}.attn_norm", "model.layers.{layer}.input_layernorm", PlusOne),
    row("blk.{layer}.post_attention_norm", "model.layers.{layer}.post_attention_layernorm", PlusOne),
    row("output_norm", "model.norm", PlusOne),
];

#[rustfmt::skip]
const NEMOTRON_NORMS: &[GgufRow] = &[
    row("blk.{layer}.attn_norm", "model.layers.{layer}.input_layernorm", PlusOne),
    row("blk.{layer}.ffn_norm", "model.layers.{layer}.post_attention_layernorm", PlusOne),
    row("output_norm", "model.norm", PlusOne),
];

const ROUTER: &[GgufRow] = &[row(
    "blk.{layer}.ffn_gate_inp",
    "model.layers.{layer}.mlp.gate",
    AsIs,
)];

#[rustfmt::skip]
const EXPERTS: &[GgufRow] = &[
    row("blk.{layer}.ffn_gate_exps", "model.layers.{layer}.mlp.experts.{part}.gate_proj", Stacked),
    row("blk.{layer}.ffn_up_exps", "model.layers.{layer}.mlp.experts.{part}.up_proj", Stacked),
    row("blk.{layer}.ffn_down_exps", "model.layers.{layer}.mlp.experts.{part}.down_proj", Stacked),
];

#[rustfmt::skip]
const SHARED_EXPERT: &[GgufRow] = &[
    row("blk.{layer}.ffn_gate_inp_shexp", "model.layers.{layer}.mlp.shared_expert_gate", Flat),
    row("blk.{layer}.ffn_gate_shexp", "model.layers.{layer}.mlp.shared_expert.gate_proj", AsIs),
    row("blk.{layer}.ffn_up_shexp", "model.layers.{layer}.mlp.shared_expert.up_proj", AsIs),
    row("blk.{layer}.ffn_down_shexp", "model.layers.{layer}.mlp.shared_expert.down_proj", AsIs),
];

/// Of models whose files name the second norm by what is before it.
#[rustfmt::skip]
const POST_NORMS: &[GgufRow] = &[
    row("blk.{layer}.attn_norm", "model.layers.{layer}.input_layernorm", AsIs),
    row("blk.{layer}.post_attention_norm", "model.layers.{layer}.post_attention_layernorm", AsIs),
    row("output_norm", "model.norm", AsIs),
];

#[rustfmt::skip]
const LATENT_ATTENTION: &[GgufRow] = &[
    row("blk.{layer}.attn_q_a", "model.layers.{layer}.self_attn.q_a_proj", AsIs),
    row("blk.{layer}.attn_q_a_norm", "model.layers.{layer}.self_attn.q_a_layernorm", AsIs),
    row("blk.{layer}.attn_q_b", "model.layers.{layer}.self_attn.q_b_proj", AsIs),
    row("blk.{layer}.attn_kv_a_mqa", "model.layers.{layer}.self_attn.kv_a_proj_with_mqa", AsIs),
    row("blk.{layer}.attn_kv_a_norm", "model.layers.{layer}.self_attn.kv_a_layernorm", AsIs),
    row("blk.{layer}.attn_kv_b", "model.layers.{layer}.self_attn.kv_b_proj", AsIs),
    row("blk.{layer}.attn_k_b", "model.layers.{layer}.self_attn.kv_b_proj", First(Pair::KeyValue)),
    row("blk.{layer}.attn_v_b", "model.layers.{layer}.self_attn.kv_b_proj", Second(Pair::KeyValue)),
];

#[rustfmt::skip]
const CORRECTION: &[GgufRow] = &[
    whole("blk.{layer}.exp_probs_b.bias", "model.layers.{layer}.mlp.gate.e_score_correction_bias", AsIs),
];

#[rustfmt::skip]
const ERNIE_CORRECTION: &[GgufRow] = &[
    whole("blk.{layer}.exp_probs_b.bias", "model.layers.{layer}.mlp.moe_statics.e_score_correction_bias", Flat),
];

#[rustfmt::skip]
const SHARED_EXPERTS: &[GgufRow] = &[
    row("blk.{layer}.ffn_gate_shexp", "model.layers.{layer}.mlp.shared_experts.gate_proj", AsIs),
    row("blk.{layer}.ffn_up_shexp", "model.layers.{layer}.mlp.shared_experts.up_proj", AsIs),
    row("blk.{layer}.ffn_down_shexp", "model.layers.{layer}.mlp.shared_experts.down_proj", AsIs),
];

#[rustfmt::skip]
const MINIMAX_EXPERTS: &[GgufRow] = &[
    row("blk.{layer}.ffn_gate_inp", "model.layers.{layer}.block_sparse_moe.gate", AsIs),
    whole("blk.{layer}.exp_probs_b.bias", "model.layers.{layer}.block_sparse_moe.e_score_correction_bias", AsIs),
    row("blk.{layer}.ffn_gate_exps", "model.layers.{layer}.block_sparse_moe.experts.{part}.w1", Stacked),
    row("blk.{layer}.ffn_up_exps", "model.layers.{layer}.block_sparse_moe.experts.{part}.w3", Stacked),
    row("blk.{layer}.ffn_down_exps", "model.layers.{layer}.block_sparse_moe.experts.{part}.w2", Stacked),
];

#[rustfmt::skip]
const GRANITE_EXPERTS: &[GgufRow] = &[
    row("blk.{layer}.ffn_gate_inp", "model.layers.{layer}.block_sparse_moe.router.layer", AsIs),
    row("blk.{layer}.ffn_gate_exps", "model.layers.{layer}.block_sparse_moe.input_linear", First(Pair::GateUp)),
    row("blk.{layer}.ffn_up_exps", "model.layers.{layer}.block_sparse_moe.input_linear", Second(Pair::GateUp)),
    row("blk.{layer}.ffn_down_exps", "model.layers.{layer}.block_sparse_moe.output_linear", AsIs),
];

/// Older files have queries, keys, values and gates in one.
#[rustfmt::skip]
const LINEAR_ATTENTION: &[GgufRow] = &[
    row("blk.{layer}.ssm_in", "model.layers.{layer}.linear_attn.in_proj_qkvz", AsIs),
    row("blk.{layer}.attn_qkv", "model.layers.{layer}.linear_attn.in_proj_qkvz", First(Pair::QkvGate)),
    row("blk.{layer}.attn_gate", "model.layers.{layer}.linear_attn.in_proj_qkvz", Second(Pair::QkvGate)),
    row("blk.{layer}.ssm_ba", "model.layers.{layer}.linear_attn.in_proj_ba", AsIs),
    row("blk.{layer}.ssm_conv1d", "model.layers.{layer}.linear_attn.conv1d", Flat),
    whole("blk.{layer}.ssm_dt.bias", "model.layers.{layer}.linear_attn.dt_bias", AsIs),
    whole("blk.{layer}.ssm_a", "model.layers.{layer}.linear_attn.A_log", NegatedExponential),
    row("blk.{layer}.ssm_norm", "model.layers.{layer}.linear_attn.norm", AsIs),
    row("blk.{layer}.ssm_out", "model.layers.{layer}.linear_attn.out_proj", AsIs),
];

#[rustfmt::skip]
const GPT_OSS: &[GgufRow] = &[
    whole("blk.{layer}.attn_sinks.weight", "model.layers.{layer}.self_attn.sinks", AsIs),
    row("blk.{layer}.ffn_gate_inp", "model.layers.{layer}.mlp.router", AsIs),
];

#[rustfmt::skip]
const PHI3: &[GgufRow] = &[
    row("blk.{layer}.attn_qkv", "model.layers.{layer}.self_attn.qkv_proj", AsIs),
    row("blk.{layer}.attn_output", "model.layers.{layer}.self_attn.o_proj", AsIs),
    row("blk.{layer}.ffn_up", "model.layers.{layer}.mlp.gate_up_proj", AsIs),
    row("blk.{layer}.ffn_down", "model.layers.{layer}.mlp.down_proj", AsIs),
];

#[rustfmt::skip]
const STARCODER2_MLP: &[GgufRow] = &[
    row("blk.{layer}.ffn_up", "model.layers.{layer}.mlp.c_fc", AsIs),
    row("blk.{layer}.ffn_down", "model.layers.{layer}.mlp.c_proj", AsIs),
];

#[rustfmt::skip]
const BLOOM: &[GgufRow] = &[
    row("token_embd", "transformer.word_embeddings", AsIs),
    row("token_embd_norm", "transformer.word_embeddings_layernorm", AsIs),
    row("blk.{layer}.attn_norm", "transformer.h.{layer}.input_layernorm", AsIs),
    row("blk.{layer}.attn_qkv", "transformer.h.{layer}.self_attention.query_key_value", Fused),
    row("blk.{layer}.attn_output", "transformer.h.{layer}.self_attention.dense", AsIs),
    row("blk.{layer}.ffn_norm", "transformer.h.{layer}.post_attention_layernorm", AsIs),
    row("blk.{layer}.ffn_up", "transformer.h.{layer}.mlp.dense_h_to_4h", AsIs),
    row("blk.{layer}.ffn_down", "transformer.h.{layer}.mlp.dense_4h_to_h", AsIs),
    row("output_norm", "transformer.ln_f", AsIs),
    row("output", "lm_head", AsIs),
];

#[rustfmt::skip]
const FALCON: &[GgufRow] = &[
    row("token_embd", "transformer.word_embeddings", AsIs),
    row("blk.{layer}.attn_qkv", "transformer.h.{layer}.self_attention.query_key_value", Fused),
    row("blk.{layer}.attn_output", "transformer.h.{layer}.self_attention.dense", AsIs),
    row("blk.{layer}.ffn_up", "transformer.h.{layer}.mlp.dense_h_to_4h", AsIs),
    row("blk.{layer}.ffn_down", "transformer.h.{layer}.mlp.dense_4h_to_h", AsIs),
    row("output_norm", "transformer.ln_f", AsIs),
    row("output", "lm_head", AsIs),
];
const FALCON_ONE_NORM: &[GgufRow] = &[row(
    "blk.{layer}.attn_norm",
    "transformer.h.{layer}.input_layernorm",
    AsIs,
)];
#[rustfmt::skip]
const FALCON_TWO_NORMS: &[GgufRow] = &[
    row("blk.{layer}.attn_norm", "transformer.h.{layer}.ln_mlp", AsIs),
    row("blk.{layer}.attn_norm_2", "transformer.h.{layer}.ln_attn", AsIs),
];

#[rustfmt::skip]
const GPT2: &[GgufRow] = &[
    row("token_embd", "transformer.wte", AsIs),
    row("position_embd", "transformer.wpe", AsIs),
    row("blk.{layer}.attn_norm", "transformer.h.{layer}.ln_1", AsIs),
    row("blk.{layer}.attn_qkv", "transformer.h.{layer}.attn.c_attn", Transposed),
    row("blk.{layer}.attn_output", "transformer.h.{layer}.attn.c_proj", Transposed),
    row("blk.{layer}.ffn_norm", "transformer.h.{layer}.ln_2", AsIs),
    row("blk.{layer}.ffn_up", "transformer.h.{layer}.mlp.c_fc", Transposed),
    row("blk.{layer}.ffn_down", "transformer.h.{layer}.mlp.c_proj", Transposed),
    row("output_norm", "transformer.ln_f", AsIs),
    row("output", "lm_head", AsIs),
];

#[rustfmt::skip]
const T5_ENCODER: &[GgufRow] = &[
    row("token_embd", "shared", AsIs),
    row("enc.blk.{layer}.attn_norm", "encoder.block.{layer}.layer.0.layer_norm", AsIs),
    row("enc.blk.{layer}.attn_q", "encoder.block.{layer}.layer.0.SelfAttention.q", AsIs),
    row("enc.blk.{layer}.attn_k", "encoder.block.{layer}.layer.0.SelfAttention.k", AsIs),
    row("enc.blk.{layer}.attn_v", "encoder.block.{layer}.layer.0.SelfAttention.v", AsIs),
    row("enc.blk.{layer}.attn_o", "encoder.block.{layer}.layer.0.SelfAttention.o", AsIs),
    row("enc.blk.{layer}.attn_rel_b", "encoder.block.{layer}.layer.0.SelfAttention.relative_attention_bias", AsIs),
    row("enc.blk.{layer}.ffn_norm", "encoder.block.{layer}.layer.1.layer_norm", AsIs),
    row("enc.blk.{layer}.ffn_down", "encoder.block.{layer}.layer.1.DenseReluDense.wo", AsIs),
    row("enc.output_norm", "encoder.final_layer_norm", AsIs),
];

#[rustfmt::skip]
const T5_DECODER: &[GgufRow] = &[
    row("dec.blk.{layer}.attn_norm", "decoder.block.{layer}.layer.0.layer_norm", AsIs),
    row("dec.blk.{layer}.attn_q", "decoder.block.{layer}.layer.0.SelfAttention.q", AsIs),
    row("dec.blk.{layer}.attn_k", "decoder.block.{layer}.layer.0.SelfAttention.k", AsIs),
    row("dec.blk.{layer}.attn_v", "decoder.block.{layer}.layer.0.SelfAttention.v", AsIs),
    row("dec.blk.{layer}.attn_o", "decoder.block.{layer}.layer.0.SelfAttention.o", AsIs),
    row("dec.blk.{layer}.attn_rel_b", "decoder.block.{layer}.layer.0.SelfAttention.relative_attention_bias", AsIs),
    row("dec.blk.{layer}.cross_attn_norm", "decoder.block.{layer}.layer.1.layer_norm", AsIs),
    row("dec.blk.{layer}.cross_attn_q", "decoder.block.{layer}.layer.1.EncDecAttention.q", AsIs),
    row("dec.blk.{layer}.cross_attn_k", "decoder.block.{layer}.layer.1.EncDecAttention.k", AsIs),
    row("dec.blk.{layer}.cross_attn_v", "decoder.block.{layer}.layer.1.EncDecAttention.v", AsIs),
    row("dec.blk.{layer}.cross_attn_o", "decoder.block.{layer}.layer.1.EncDecAttention.o", AsIs),
    row("dec.blk.{layer}.ffn_norm", "decoder.block.{layer}.layer.2.layer_norm", AsIs),
    row("dec.blk.{layer}.ffn_down", "decoder.block.{layer}.layer.2.DenseReluDense.wo", AsIs),
    row("dec.output_norm", "decoder.final_layer_norm", AsIs),
    row("output", "lm_head", AsIs),
];

#[rustfmt::skip]
const T5_MLP: &[GgufRow] = &[
    row("enc.blk.{layer}.ffn_up", "encoder.block.{layer}.layer.1.DenseReluDense.wi", AsIs),
    row("dec.blk.{layer}.ffn_up", "decoder.block.{layer}.layer.2.DenseReluDense.wi", AsIs),
];
#[rustfmt::skip]
const T5_GATED_MLP: &[GgufRow] = &[
    row("enc.blk.{layer}.ffn_gate", "encoder.block.{layer}.layer.1.DenseReluDense.wi_0", AsIs),
    row("enc.blk.{layer}.ffn_up", "encoder.block.{layer}.layer.1.DenseReluDense.wi_1", AsIs),
    row("dec.blk.{layer}.ffn_gate", "decoder.block.{layer}.layer.2.DenseReluDense.wi_0", AsIs),
    row("dec.blk.{layer}.ffn_up", "decoder.block.{layer}.layer.2.DenseReluDense.wi_1", AsIs),
];

#[rustfmt::skip]
const MAMBA: &[GgufRow] = &[
    row("token_embd", "backbone.embeddings", AsIs),
    row("blk.{layer}.attn_norm", "backbone.layers.{layer}.norm", AsIs),
    row("blk.{layer}.ssm_in", "backbone.layers.{layer}.mixer.in_proj", AsIs),
    row("blk.{layer}.ssm_conv1d", "backbone.layers.{layer}.mixer.conv1d", Flat),
    row("blk.{layer}.ssm_x", "backbone.layers.{layer}.mixer.x_proj", AsIs),
    row("blk.{layer}.ssm_dt", "backbone.layers.{layer}.mixer.dt_proj", AsIs),
    whole("blk.{layer}.ssm_a", "backbone.layers.{layer}.mixer.A_log", NegatedExponential),
    whole("blk.{layer}.ssm_d", "backbone.layers.{layer}.mixer.D", AsIs),
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
