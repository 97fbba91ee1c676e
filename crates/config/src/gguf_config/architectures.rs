//! The architectures that GGUF files are read of, as data: which key of the metadata is which of the configuration.

use serde_json::{Map, Value, json};

use super::Source;
use crate::gguf::GgufValue;
use crate::rope::DEFAULT_THETA;
use crate::{Result, checks};

/// How an architecture's metadata become a configuration.
pub(crate) struct Architecture {
    /// `general.architecture`.
    pub name: &'static str,
    pub model_type: &'static str,
    pub class: &'static str,
    pub keys: &'static [&'static [Key]],
    /// What is more than a number under another name.
    pub rest: fn(&Source<'_>, &mut Map<String, Value>) -> Result<()>,
}

/// What a file says, by the name of its key or tensor, and the key of the configuration that says the same.
#[derive(Clone, Copy)]
pub(crate) enum Key {
    Count(&'static str, &'static str),
    /// That some files give for each layer; it must be the same for all.
    EachLayer(&'static str, &'static str),
    /// As many as there are query heads, unless the file says another number.
    HeadsOfKeys(&'static str),
    Number(&'static str, &'static str),
    OptionalCount(&'static str, &'static str),
    OptionalNumber(&'static str, &'static str),
    /// A switch of the metadata; off where there is none.
    Switch(&'static str, &'static str),
    /// A switch that is on where there is the tensor.
    Has(&'static str, &'static str),
    /// A switch that is on where there is no such tensor.
    Lacks(&'static str, &'static str),
}

use Key::{
    Count, EachLayer, Has, HeadsOfKeys, Lacks, Number, OptionalCount, OptionalNumber, Switch,
};

/// The head is the embedding where no file has another.
pub(crate) const TIED: Key = Lacks("output.weight", "tie_word_embeddings");
/// What all decoders with rotary embeddings have.
const DECODER: &[Key] = &[
    Count("context_length", "max_position_embeddings"),
    Count("block_count", "num_hidden_layers"),
    Count("embedding_length", "hidden_size"),
    EachLayer("feed_forward_length", "intermediate_size"),
    EachLayer("attention.head_count", "num_attention_heads"),
    HeadsOfKeys("num_key_value_heads"),
];
const RMS_NORM: &[Key] = &[Number("attention.layer_norm_rms_epsilon", "rms_norm_eps")];
const HEAD_DIM: &[Key] = &[OptionalCount("attention.key_length", "head_dim")];
const WINDOW: &[Key] = &[OptionalCount("attention.sliding_window", "sliding_window")];
const ATTENTION_BIAS: &[Key] = &[Has("blk.0.attn_q.bias", "attention_bias")];
const USE_BIAS: &[Key] = &[Has("blk.0.attn_q.bias", "use_bias")];
const GATE_BIAS: &[Key] = &[Has("blk.0.ffn_gate.bias", "mlp_bias")];
const UP_BIAS: &[Key] = &[Has("blk.0.ffn_up.bias", "mlp_bias")];
const EXPERTS: &[Key] = &[
    Count("expert_used_count", "num_experts_per_tok"),
    OptionalCount("expert_feed_forward_length", "moe_intermediate_size"),
];
const EXPERTS_IN_GROUPS: &[Key] = &[
    Count("expert_count", "n_routed_experts"),
    OptionalCount("expert_shared_count", "n_shared_experts"),
    OptionalNumber("expert_weights_scale", "routed_scaling_factor"),
    Switch("expert_weights_norm", "norm_topk_prob"),
    OptionalCount("leading_dense_block_count", "first_k_dense_replace"),
    OptionalCount("expert_group_count", "n_group"),
    OptionalCount("expert_group_used_count", "topk_group"),
];
const SOFTCAPS: &[Key] = &[
    OptionalNumber("final_logit_softcapping", "final_logit_softcapping"),
    OptionalNumber("attn_logit_softcapping", "attn_logit_softcapping"),
];
const T5: &[Key] = &[
    Count("context_length", "n_positions"),
    Count("block_count", "num_layers"),
    OptionalCount("decoder_block_count", "num_decoder_layers"),
    Count("embedding_length", "d_model"),
    Count("feed_forward_length", "d_ff"),
    Count("attention.head_count", "num_heads"),
    Count("attention.key_length", "d_kv"),
    Number("attention.layer_norm_epsilon", "layer_norm_epsilon"),
    Count(
        "attention.relative_buckets_count",
        "relative_attention_num_buckets",
    ),
    OptionalCount("decoder_start_token_id", "decoder_start_token_id"),
];

const GRANITE: &[Key] = &[
    OptionalNumber("embedding_scale", "embedding_multiplier"),
    OptionalNumber("residual_scale", "residual_multiplier"),
    OptionalNumber("attention.scale", "attention_multiplier"),
    OptionalNumber("logit_scale", "logits_scaling"),
];

/// All of them, in alphabetical order.
pub(crate) const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        name: "bloom",
        model_type: "bloom",
        class: "BloomForCausalLM",
        keys: &[&[
            Count("block_count", "n_layer"),
            Count("embedding_length", "hidden_size"),
            Count("attention.head_count", "n_head"),
            Number("attention.layer_norm_epsilon", "layer_norm_epsilon"),
        ]],
        rest: |_, config| tied(config),
    },
    Architecture {
        name: "deepseek2",
        model_type: "deepseek_v2",
        class: "DeepseekV2ForCausalLM",
        keys: &[
            DECODER,
            RMS_NORM,
            EXPERTS,
            EXPERTS_IN_GROUPS,
            &[
                Count("attention.kv_lora_rank", "kv_lora_rank"),
                Count("rope.dimension_count", "qk_rope_head_dim"),
                Has("blk.0.attn_output.bias", "attention_bias"),
            ],
        ],
        rest: deepseek,
    },
    Architecture {
        name: "ernie4_5",
        model_type: "ernie4_5",
        class: "Ernie4_5ForCausalLM",
        keys: &[DECODER, RMS_NORM, HEAD_DIM, USE_BIAS],
        rest: ernie,
    },
    Architecture {
        name: "ernie4_5-moe",
        model_type: "ernie4_5_moe",
        class: "Ernie4_5_MoeForCausalLM",
        keys: &[
            DECODER,
            RMS_NORM,
            HEAD_DIM,
            USE_BIAS,
            &[
                Count("expert_count", "moe_num_experts"),
                Count("expert_used_count", "moe_k"),
                OptionalCount("expert_feed_forward_length", "moe_intermediate_size"),
                OptionalCount("expert_shared_count", "moe_num_shared_experts"),
                OptionalCount("leading_dense_block_count", "moe_layer_start_index"),
                OptionalCount("interleave_moe_layer_step", "moe_layer_interval"),
            ],
        ],
        rest: ernie,
    },
    Architecture {
        name: "falcon",
        model_type: "falcon",
        class: "FalconForCausalLM",
        keys: &[&[
            Count("context_length", "max_position_embeddings"),
            Count("block_count", "num_hidden_layers"),
            Count("embedding_length", "hidden_size"),
            Count("feed_forward_length", "ffn_hidden_size"),
            Count("attention.head_count", "num_attention_heads"),
            HeadsOfKeys("num_kv_heads"),
            Number("attention.layer_norm_epsilon", "layer_norm_epsilon"),
            Has("blk.0.attn_qkv.bias", "bias"),
        ]],
        rest: falcon,
    },
    Architecture {
        name: "gemma2",
        model_type: "gemma2",
        class: "Gemma2ForCausalLM",
        keys: &[DECODER, RMS_NORM, HEAD_DIM, WINDOW, SOFTCAPS],
        rest: |source, config| {
            query_scale(source, config, GEMMA2_27B_LAYERS)?;
            rope(source, config)
        },
    },
    Architecture {
        name: "gemma3",
        model_type: "gemma3_text",
        class: "Gemma3ForCausalLM",
        keys: &[
            DECODER,
            RMS_NORM,
            &[
                Count("attention.key_length", "head_dim"),
                Count("attention.sliding_window", "sliding_window"),
                OptionalNumber("final_logit_softcapping", "final_logit_softcapping"),
            ],
        ],
        rest: gemma3,
    },
    Architecture {
        name: "glm4moe",
        model_type: "glm4_moe",
        class: "Glm4MoeForCausalLM",
        keys: &[
            DECODER,
            RMS_NORM,
            HEAD_DIM,
            ATTENTION_BIAS,
            EXPERTS,
            EXPERTS_IN_GROUPS,
            &[Has("blk.0.attn_q_norm.weight", "use_qk_norm")],
        ],
        rest: |source, config| {
            without_predictors(source, config)?;
            partial_rope(source, config)
        },
    },
    Architecture {
        name: "gpt-oss",
        model_type: "gpt_oss",
        class: "GptOssForCausalLM",
        keys: &[
            DECODER,
            RMS_NORM,
            HEAD_DIM,
            WINDOW,
            EXPERTS,
            &[
                Count("expert_count", "num_local_experts"),
                OptionalCount("expert_feed_forward_length", "intermediate_size"),
            ],
        ],
        rest: gpt_oss,
    },
    Architecture {
        name: "gpt2",
        model_type: "gpt2",
        class: "GPT2LMHeadModel",
        keys: &[&[
            Count("context_length", "n_positions"),
            Count("block_count", "n_layer"),
            Count("embedding_length", "n_embd"),
            Count("feed_forward_length", "n_inner"),
            Count("attention.head_count", "n_head"),
            Number("attention.layer_norm_epsilon", "layer_norm_epsilon"),
        ]],
        rest: |_, _| Ok(()),
    },
    Architecture {
        name: "granite",
        model_type: "granite",
        class: "GraniteForCausalLM",
        keys: &[
            DECODER,
            RMS_NORM,
            HEAD_DIM,
            ATTENTION_BIAS,
            GATE_BIAS,
            GRANITE,
        ],
        rest: granite,
    },
    Architecture {
        name: "granitemoe",
        model_type: "granitemoe",
        class: "GraniteMoeForCausalLM",
        keys: &[
            DECODER,
            RMS_NORM,
            HEAD_DIM,
            ATTENTION_BIAS,
            GRANITE,
            &[
                Count("expert_count", "num_local_experts"),
                Count("expert_used_count", "num_experts_per_tok"),
            ],
        ],
        rest: granite,
    },
    Architecture {
        name: "lfm2",
        model_type: "lfm2",
        class: "Lfm2ForCausalLM",
        keys: &[&[
            Count("context_length", "max_position_embeddings"),
            Count("block_count", "num_hidden_layers"),
            Count("embedding_length", "hidden_size"),
            EachLayer("feed_forward_length", "intermediate_size"),
            EachLayer("attention.head_count", "num_attention_heads"),
            Number("attention.layer_norm_rms_epsilon", "norm_eps"),
            Count("shortconv.l_cache", "conv_L_cache"),
        ]],
        rest: lfm2,
    },
    Architecture {
        name: "llama",
        model_type: "llama",
        class: "LlamaForCausalLM",
        keys: &[DECODER, RMS_NORM, ATTENTION_BIAS, GATE_BIAS],
        rest: llama,
    },
    Architecture {
        name: "mamba",
        model_type: "mamba",
        class: "MambaForCausalLM",
        keys: &[&[
            Count("block_count", "num_hidden_layers"),
            Count("embedding_length", "hidden_size"),
            Number("attention.layer_norm_rms_epsilon", "layer_norm_epsilon"),
            Count("ssm.conv_kernel", "conv_kernel"),
            Count("ssm.inner_size", "intermediate_size"),
            Count("ssm.state_size", "state_size"),
            Count("ssm.time_step_rank", "time_step_rank"),
            Has("blk.0.ssm_in.bias", "use_bias"),
            Has("blk.0.ssm_conv1d.bias", "use_conv_bias"),
        ]],
        rest: mamba,
    },
    Architecture {
        name: "minimax-m2",
        model_type: "minimax_m2",
        class: "MiniMaxM2ForCausalLM",
        keys: &[
            DECODER,
            RMS_NORM,
            HEAD_DIM,
            &[
                Count("expert_count", "num_local_experts"),
                Count("expert_used_count", "num_experts_per_tok"),
            ],
        ],
        rest: |source, config| {
            partial_rope(source, config)?;
            // Of a whole head the reference says nothing.
            let rope = config["rope_parameters"].as_object_mut();
            if let Some(rope) = rope.filter(|rope| rope["partial_rotary_factor"] == 1.0) {
                rope.remove("partial_rotary_factor");
            }
            Ok(())
        },
    },
    Architecture {
        name: "nemotron",
        model_type: "nemotron",
        class: "NemotronForCausalLM",
        keys: &[
            DECODER,
            HEAD_DIM,
            ATTENTION_BIAS,
            UP_BIAS,
            &[Number("attention.layer_norm_epsilon", "norm_eps")],
        ],
        rest: partial_rope,
    },
    Architecture {
        name: "olmoe",
        model_type: "olmoe",
        class: "OlmoeForCausalLM",
        keys: &[
            DECODER,
            RMS_NORM,
            &[
                Count("expert_count", "num_experts"),
                Count("expert_used_count", "num_experts_per_tok"),
                OptionalNumber("attention.clamp_kqv", "clip_qkv"),
            ],
        ],
        rest: rope,
    },
    Architecture {
        name: "phi3",
        model_type: "phi3",
        class: "Phi3ForCausalLM",
        keys: &[
            DECODER,
            RMS_NORM,
            WINDOW,
            &[OptionalCount(
                "rope.scaling.original_context_length",
                "original_max_position_embeddings",
            )],
        ],
        rest: partial_rope,
    },
    Architecture {
        name: "qwen2",
        model_type: "qwen2",
        class: "Qwen2ForCausalLM",
        keys: &[DECODER, RMS_NORM, HEAD_DIM],
        rest: rope,
    },
    Architecture {
        name: "qwen2moe",
        model_type: "qwen2_moe",
        class: "Qwen2MoeForCausalLM",
        keys: &[
            DECODER,
            RMS_NORM,
            HEAD_DIM,
            EXPERTS,
            &[
                Count("expert_count", "num_experts"),
                OptionalCount(
                    "expert_shared_feed_forward_length",
                    "shared_expert_intermediate_size",
                ),
            ],
        ],
        rest: rope,
    },
    Architecture {
        name: "qwen3",
        model_type: "qwen3",
        class: "Qwen3ForCausalLM",
        keys: &[DECODER, RMS_NORM, HEAD_DIM],
        rest: rope,
    },
    Architecture {
        name: "qwen3moe",
        model_type: "qwen3_moe",
        class: "Qwen3MoeForCausalLM",
        keys: &[
            DECODER,
            RMS_NORM,
            HEAD_DIM,
            EXPERTS,
            &[Count("expert_count", "num_local_experts")],
        ],
        rest: |source, config| {
            // As llama.cpp computes it.
            config.insert("norm_topk_prob".into(), true.into());
            rope(source, config)
        },
    },
    Architecture {
        name: "qwen3next",
        model_type: "qwen3_next",
        class: "Qwen3NextForCausalLM",
        keys: &[
            DECODER,
            RMS_NORM,
            HEAD_DIM,
            EXPERTS,
            &[
                Count("expert_count", "num_experts"),
                OptionalCount(
                    "expert_shared_feed_forward_length",
                    "shared_expert_intermediate_size",
                ),
                Count("ssm.conv_kernel", "linear_conv_kernel_dim"),
                Count("ssm.state_size", "linear_key_head_dim"),
                Count("ssm.group_count", "linear_num_key_heads"),
                Count("ssm.time_step_rank", "linear_num_value_heads"),
            ],
        ],
        rest: qwen3_next,
    },
    Architecture {
        name: "seed_oss",
        model_type: "seed_oss",
        class: "SeedOssForCausalLM",
        keys: &[
            DECODER,
            RMS_NORM,
            HEAD_DIM,
            ATTENTION_BIAS,
            UP_BIAS,
            &[Has("blk.0.attn_output.bias", "attention_out_bias")],
        ],
        rest: rope,
    },
    Architecture {
        name: "stablelm",
        model_type: "stablelm",
        class: "StableLmForCausalLM",
        keys: &[
            DECODER,
            &[
                Number("attention.layer_norm_epsilon", "layer_norm_eps"),
                Has("blk.0.attn_q.bias", "use_qkv_bias"),
                Has("blk.0.attn_q_norm.weight", "qk_layernorm"),
                Lacks("blk.0.ffn_norm.weight", "use_parallel_residual"),
            ],
        ],
        rest: partial_rope,
    },
    Architecture {
        name: "starcoder2",
        model_type: "starcoder2",
        class: "Starcoder2ForCausalLM",
        keys: &[
            DECODER,
            WINDOW,
            USE_BIAS,
            &[Number("attention.layer_norm_epsilon", "norm_epsilon")],
        ],
        rest: rope,
    },
    Architecture {
        name: "t5",
        model_type: "t5",
        class: "T5ForConditionalGeneration",
        keys: &[T5],
        rest: t5,
    },
    Architecture {
        name: "t5encoder",
        model_type: "t5",
        class: "T5EncoderModel",
        keys: &[T5],
        rest: t5,
    },
];

/// The numbers of layers by which the largest gemmas are known, whose attention is scaled in another way.
const GEMMA2_27B_LAYERS: u64 = 46;
const GEMMA3_27B_LAYERS: u64 = 62;

fn rope(source: &Source<'_>, config: &mut Map<String, Value>) -> Result<()> {
    config.insert("rope_parameters".into(), source.rope(DEFAULT_THETA)?);
    Ok(())
}

/// A rope of a part of each head.
fn partial_rope(source: &Source<'_>, config: &mut Map<String, Value>) -> Result<()> {
    let mut rope = source.rope(DEFAULT_THETA)?;
    if let Some(rotating) = source.optional_u64("rope.dimension_count")? {
        rope["partial_rotary_factor"] = json!(rotating as f64 / source.head_dim()? as f64);
    }
    config.insert("rope_parameters".into(), rope);
    Ok(())
}

fn tied(config: &mut Map<String, Value>) -> Result<()> {
    // Converters write the head a second time.
    config.insert("tie_word_embeddings".into(), true.into());
    Ok(())
}

fn llama(source: &Source<'_>, config: &mut Map<String, Value>) -> Result<()> {
    if source.optional_u64("expert_count")?.unwrap_or(0) > 0 {
        return Err(source.unsupported("llama with experts (mixtral)"));
    }
    let rotating = match source.optional_u64("attention.key_length")? {
        Some(length) => Some(length),
        None => source.optional_u64("rope.dimension_count")?,
    };
    if let Some(head_dim) = rotating {
        config.insert("head_dim".into(), head_dim.into());
    }
    rope(source, config)
}

/// What `expert_gating_func` says of scores by a sigmoid.
const SIGMOID: u64 = 2;

/// Both generations: their attention is the same, the third scores experts by a sigmoid. Files of absorbed attention, in
/// which keys and values have a projection each, say the sizes of heads under other names.
fn deepseek(source: &Source<'_>, config: &mut Map<String, Value>) -> Result<()> {
    without_predictors(source, config)?;
    if source.optional_u64("expert_gating_func")? == Some(SIGMOID) {
        config.insert("model_type".into(), "deepseek_v3".into());
        config.insert("architectures".into(), json!(["DeepseekV3ForCausalLM"]));
    }
    let length = |name: &str| match source.optional_u64(&format!("{name}_mla"))? {
        Some(length) => Ok(length),
        None => source.u64(name),
    };
    let rotating = source.u64("rope.dimension_count")?;
    let plain = length("attention.key_length")?.saturating_sub(rotating);
    let heads = source.count("attention.head_count")?;
    let query_rank = source.optional_u64("attention.q_lora_rank")?;
    let grouped = source.optional_u64("expert_group_count")?.unwrap_or(1) > 1;
    let method = if grouped {
        "group_limited_greedy"
    } else {
        "greedy"
    };
    for (key, value) in [
        ("qk_nope_head_dim", plain.into()),
        ("v_head_dim", length("attention.value_length")?.into()),
        ("num_key_value_heads", heads.into()),
        ("q_lora_rank", query_rank.into()),
        ("topk_method", method.into()),
    ] {
        config.insert(key.into(), value);
    }
    let mut rope = source.rope(DEFAULT_THETA)?;
    // ggml's factor on the logarithm of yarn's own.
    if let Some(factor) = source.optional_f64("rope.scaling.yarn_log_multiplier")? {
        for key in ["mscale", "mscale_all_dim"] {
            rope[key] = json!(factor * 10.0);
        }
    }
    config.insert("rope_parameters".into(), rope);
    Ok(())
}

fn ernie(source: &Source<'_>, config: &mut Map<String, Value>) -> Result<()> {
    config.insert("rope_parameters".into(), source.rope(500_000.0)?);
    Ok(())
}

/// Layers that predict further tokens are counted among the blocks, and not loaded.
fn without_predictors(source: &Source<'_>, config: &mut Map<String, Value>) -> Result<()> {
    let predictors = source.optional_u64("nextn_predict_layers")?.unwrap_or(0);
    let layers = source.u64("block_count")?.saturating_sub(predictors);
    config.insert("num_hidden_layers".into(), layers.into());
    Ok(())
}

/// The first falcons have one key head and one norm for both branches; the later ones groups of heads, and some two norms.
fn falcon(source: &Source<'_>, config: &mut Map<String, Value>) -> Result<()> {
    let key_heads = config
        .get("num_kv_heads")
        .and_then(Value::as_u64)
        .unwrap_or(1);
    let two_norms = source.has_tensor("blk.0.attn_norm_2.weight");
    let grouped =
        two_norms || (key_heads > 1 && key_heads < source.count("attention.head_count")?);
    config.insert("multi_query".into(), (grouped || key_heads == 1).into());
    config.insert("new_decoder_architecture".into(), grouped.into());
    if grouped {
        let norms = if two_norms { 2 } else { 1 };
        config.insert("num_ln_in_parallel_attn".into(), norms.into());
    }
    rope(source, config)?;
    tied(config)
}

fn query_scale(source: &Source<'_>, config: &mut Map<String, Value>, largest: u64) -> Result<()> {
    let scalar = match source.u64("block_count")? == largest {
        true => source
            .u64("embedding_length")?
            .checked_div(source.count("attention.head_count")?)
            .unwrap_or(0),
        false => source.u64("attention.key_length")?,
    };
    config.insert("query_pre_attn_scalar".into(), scalar.into());
    Ok(())
}

fn gemma3(source: &Source<'_>, config: &mut Map<String, Value>) -> Result<()> {
    query_scale(source, config, GEMMA3_27B_LAYERS)?;
    let local = source
        .optional_f64("rope.freq_base_swa")?
        .unwrap_or(DEFAULT_THETA);
    let rope = json!({
        "full_attention": source.rope(1_000_000.0)?,
        "sliding_attention": {"rope_type": "default", "rope_theta": local},
    });
    config.insert("rope_parameters".into(), rope);
    Ok(())
}

/// Both kinds. Models whose heads do not rotate, and those with an expert that every token goes through, are other families.
fn granite(source: &Source<'_>, config: &mut Map<String, Value>) -> Result<()> {
    let key = source.key("rope.scaling.finetuned");
    if source.header.get(&key) == Some(&GgufValue::Bool(false)) {
        return Err(source.unsupported("granite without rotary positions"));
    }
    if source.has_tensor("blk.0.ffn_up_shexp.weight") {
        return Err(source.unsupported("granitemoe with a shared expert"));
    }
    // What llama.cpp takes where nothing is stated is not what the family does.
    if !config.contains_key("attention_multiplier") {
        let scale = 1.0 / (source.head_dim()? as f64).sqrt();
        config.insert("attention_multiplier".into(), json!(scale));
    }
    rope(source, config)
}

fn gpt_oss(source: &Source<'_>, config: &mut Map<String, Value>) -> Result<()> {
    rope(source, config)?;
    let rope = &mut config["rope_parameters"];
    if rope["rope_type"] == "yarn" {
        rope["truncate"] = false.into();
    }
    Ok(())
}

/// Falcon Mamba's files say that time steps and states are normed.
fn mamba(source: &Source<'_>, config: &mut Map<String, Value>) -> Result<()> {
    if source.is_set("ssm.dt_b_c_rms") {
        let eps = source.f64("attention.layer_norm_rms_epsilon")?;
        config.insert("model_type".into(), "falcon_mamba".into());
        config.insert("architectures".into(), json!(["FalconMambaForCausalLM"]));
        config.insert("mixer_rms_eps".into(), eps.into());
    }
    Ok(())
}

/// The layers of attention are those that have key heads.
fn lfm2(source: &Source<'_>, config: &mut Map<String, Value>) -> Result<()> {
    let heads = source.per_layer("attention.head_count_kv")?;
    let kinds: Vec<_> = heads
        .iter()
        .map(|heads| match heads {
            0 => "conv",
            _ => "full_attention",
        })
        .collect();
    config.insert("layer_types".into(), json!(kinds));
    config.insert(
        "num_key_value_heads".into(),
        heads.iter().max().copied().into(),
    );
    config.insert("block_auto_adjust_ff_dim".into(), false.into());
    config.insert("rope_parameters".into(), source.rope(1_000_000.0)?);
    Ok(())
}

/// The layers of linear attention are those that have its tensors: older files do not list them.
fn qwen3_next(source: &Source<'_>, config: &mut Map<String, Value>) -> Result<()> {
    without_predictors(source, config)?;
    let layers = config["num_hidden_layers"].as_u64().unwrap_or(0);
    checks::layers(usize::try_from(layers).unwrap_or(usize::MAX))?;
    let has = |layer: u64, tensor: &str| source.has_tensor(&format!("blk.{layer}.{tensor}"));
    let kind = |layer| match has(layer, "ssm_out.weight") {
        true => "linear_attention",
        false => "full_attention",
    };
    let kinds: Vec<_> = (0..layers).map(kind).collect();
    let bias = (0..layers).any(|layer| has(layer, "attn_q.bias"));
    let heads = source.u64("ssm.time_step_rank")?;
    let value = source.u64("ssm.inner_size")?.checked_div(heads);
    for (key, value) in [
        ("layer_types", json!(kinds)),
        ("attention_bias", bias.into()),
        ("linear_value_head_dim", value.unwrap_or(0).into()),
        // As llama.cpp computes it.
        ("norm_topk_prob", true.into()),
    ] {
        config.insert(key.into(), value);
    }
    partial_rope(source, config)
}

/// `umt5` calls itself `t5`; it has a bias of positions in every layer.
fn t5(source: &Source<'_>, config: &mut Map<String, Value>) -> Result<()> {
    if source.has_tensor("enc.blk.1.attn_rel_b.weight") {
        let class = match source.architecture {
            "t5" => "UMT5ForConditionalGeneration",
            _ => "UMT5EncoderModel",
        };
        config.insert("model_type".into(), "umt5".into());
        config.insert("architectures".into(), json!([class]));
    }
    let gated = source.has_tensor("enc.blk.0.ffn_gate.weight");
    let activation = if gated { "gated-gelu" } else { "relu" };
    config.insert("feed_forward_proj".into(), activation.into());
    config.entry("decoder_start_token_id").or_insert(0.into());
    Ok(())
}
