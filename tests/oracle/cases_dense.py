"""The conformance cases of dense decoders beside llama and its nearest kin: see `cases.py`."""

from dataclasses import replace

from cases import SPECIAL_TOKENS, Case

# Below 45 kB a case.
SMALL = dict(
    vocab_size=64,
    hidden_size=16,
    intermediate_size=20,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    **SPECIAL_TOKENS,
)

GPT2 = dict(vocab_size=64, n_positions=48, n_embd=16, n_layer=2, n_head=4, n_inner=28, **SPECIAL_TOKENS)

WITHOUT_KV_HEADS = {name: value for name, value in SMALL.items() if name != "num_key_value_heads"}

NEOX = dict(WITHOUT_KV_HEADS, num_attention_heads=2)

FALCON = dict(
    vocab_size=64,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    ffn_hidden_size=24,
    max_position_embeddings=64,
    **SPECIAL_TOKENS,
)

GPTJ = dict(vocab_size=64, n_positions=64, n_embd=16, n_layer=2, n_head=2, n_inner=20, **SPECIAL_TOKENS)

GPT_NEO = dict(
    vocab_size=64,
    max_position_embeddings=48,
    hidden_size=16,
    num_layers=2,
    num_heads=4,
    intermediate_size=28,
    attention_types=[[["global", "local"], 1]],
    window_size=5,
    **SPECIAL_TOKENS,
)

BLOOM = dict(vocab_size=64, hidden_size=16, n_layer=1, **SPECIAL_TOKENS)

OPT = dict(
    vocab_size=64,
    hidden_size=16,
    num_hidden_layers=2,
    ffn_dim=20,
    num_attention_heads=4,
    max_position_embeddings=48,
    **SPECIAL_TOKENS,
)

MPT = dict(vocab_size=64, d_model=16, n_heads=4, n_layers=1, max_seq_len=64, **SPECIAL_TOKENS)

GROWING = dict(
    rope_type="yarn",
    rope_theta=10000.0,
    factor=4.0,
    original_max_position_embeddings=4,
    beta_fast=4.0,
    beta_slow=1.0,
    mscale=1.0,
    mscale_all_dim=1.0,
    llama_4_scaling_beta=0.4,
)

DENSE = {
    # gpt2: learned positions, fused projections stored as [in, out]
    "gpt2": Case("gpt2", GPT2),
    "gpt2_untied": Case("gpt2", dict(GPT2, n_inner=None, n_layer=1, tie_word_embeddings=False, activation_function="relu")),
    "gpt2_scales": Case(
        "gpt2",
        dict(GPT2, scale_attn_weights=False, scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=True),
    ),
    "gpt2_gradients": Case("gpt2", dict(GPT2, n_layer=1, vocab_size=40), labels=True, gradients=True),
    # gemma: weight - 1 in norms, scaled embeddings
    "gemma": Case("gemma", dict(SMALL, head_dim=8, num_key_value_heads=1)),
    "gemma_bias": Case("gemma", dict(SMALL, head_dim=6, attention_bias=True, hidden_act="gelu")),
    # the flag changes nothing in eager attention
    "gemma_bidirectional": Case("gemma", dict(SMALL, head_dim=8, use_bidirectional_attention=True), kind="textenc"),
    # gemma2: four norms, soft caps, a window on the first of two layers
    "gemma2": Case(
        "gemma2",
        dict(
            SMALL,
            head_dim=8,
            query_pre_attn_scalar=10,
            sliding_window=6,
            attn_logit_softcapping=1.5,
            final_logit_softcapping=2.0,
        ),
    ),
    "gemma2_no_caps": Case(
        "gemma2",
        dict(
            SMALL,
            head_dim=8,
            query_pre_attn_scalar=8,
            layer_types=["full_attention", "sliding_attention"],
            sliding_window=4,
            attn_logit_softcapping=None,
            final_logit_softcapping=None,
            attention_bias=True,
            tie_word_embeddings=False,
        ),
    ),
    # phi3: fused projections; longrope changes its factors while decoding; part of a head rotates
    "phi3": Case("phi3", dict(SMALL, pad_token_id=0)),
    "phi3_sliding": Case("phi3", dict(SMALL, sliding_window=6, num_key_value_heads=1, tie_word_embeddings=True)),
    "phi3_longrope": Case(
        "phi3",
        dict(
            SMALL,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=64,
            original_max_position_embeddings=16,
            rope_parameters=dict(
                rope_type="longrope",
                rope_theta=10000.0,
                partial_rotary_factor=0.75,
                short_factor=[1.0, 1.1, 1.3],
                long_factor=[1.5, 3.0, 9.0],
            ),
        ),
    ),
    # as Phi-3-mini-128k was published: the original length stands outside
    "phi3_v4": Case(
        "phi3",
        dict(
            SMALL,
            architectures=["Phi3ForCausalLM"],
            model_type="phi3",
            num_attention_heads=2,
            num_key_value_heads=2,
            original_max_position_embeddings=16,
            rope_theta=10000.0,
            rope_scaling=dict(type="longrope", short_factor=[1.0, 1.1, 1.2, 1.3], long_factor=[1.5, 3.0, 5.0, 9.0]),
            torch_dtype="float32",
            transformers_version="4.39.3",
        ),
        verbatim=True,
    ),
    # phi: parallel, biases everywhere, half of each head rotates
    "phi": Case("phi", dict(SMALL, num_attention_heads=2, num_key_value_heads=1)),
    "phi_norms": Case(
        "phi",
        dict(SMALL, num_attention_heads=2, num_key_value_heads=2, qk_layernorm=True, partial_rotary_factor=0.25, hidden_act="gelu"),
    ),
    # gpt_neox: two norms, in parallel or one after the other; the head is stored under another name
    "gpt_neox": Case("gpt_neox", dict(NEOX, rotary_pct=0.5)),
    "gpt_neox_sequential": Case(
        "gpt_neox", dict(NEOX, use_parallel_residual=False, attention_bias=False, rotary_pct=1.0, rotary_emb_base=500.0)
    ),
    # as 4.5x wrote it: what other families read is there too, and not read
    "gpt_neox_v4": Case(
        "gpt_neox",
        dict(
            NEOX,
            architectures=["GPTNeoXForCausalLM"],
            model_type="gpt_neox",
            torch_dtype="float32",
            rotary_pct=0.5,
            rotary_emb_base=500,
            rope_theta=700.0,
            partial_rotary_factor=0.25,
        ),
        verbatim=True,
    ),
    "gpt_neox_tied": Case("gpt_neox", dict(NEOX, tie_word_embeddings=True, hidden_act="gelu_new")),
    # falcon: one key head, groups, a key for each query; rotary or linear biases
    "falcon": Case("falcon", FALCON),
    "falcon_40b": Case("falcon", dict(FALCON, new_decoder_architecture=True, num_kv_heads=2)),
    "falcon_11b": Case(
        "falcon",
        dict(
            FALCON,
            new_decoder_architecture=True,
            num_kv_heads=2,
            num_ln_in_parallel_attn=1,
            ffn_hidden_size=20,
            tie_word_embeddings=False,
        ),
    ),
    "falcon_alibi": Case(
        "falcon", dict(FALCON, alibi=True, multi_query=False, parallel_attn=False, bias=True, ffn_hidden_size=32)
    ),
    "falcon_alibi_three_heads": Case(
        "falcon", dict(FALCON, hidden_size=18, num_attention_heads=3, alibi=True, ffn_hidden_size=20, activation="relu")
    ),
    "falcon_sequential": Case("falcon", dict(FALCON, parallel_attn=False, bias=True, ffn_hidden_size=20)),
    # gptj: interleaved rotation of the first features
    "gptj": Case("gptj", dict(GPTJ, rotary_dim=4)),
    "gptj_whole": Case("gptj", dict(GPTJ, n_head=4, rotary_dim=4, n_inner=None, n_layer=1, activation_function="gelu")),
    # gpt_neo: no scale, every second layer slides
    "gpt_neo": Case("gpt_neo", GPT_NEO),
    "gpt_neo_global": Case(
        "gpt_neo", dict(GPT_NEO, attention_types=[[["global"], 2]], intermediate_size=20, tie_word_embeddings=False)
    ),
    # padding farther than the window from every token
    "gpt_neo_gradients": Case(
        "gpt_neo", dict(GPT_NEO, vocab_size=40, window_size=2), kind="qa", gradients=True, hole=True
    ),
    # bloom: linear biases, a norm of the embeddings
    "bloom": Case("bloom", dict(BLOOM, n_head=4)),
    "bloom_three_heads": Case(
        "bloom", dict(BLOOM, hidden_size=12, n_head=3, apply_residual_connection_post_layernorm=True, tie_word_embeddings=False)
    ),
    # the last padding before a text has its first token as label
    "bloom_left": Case("bloom", dict(BLOOM, n_head=2), kind="pretraining", pad_left=True),
    # opt: positions from the third row, norms before or after, a narrow embedding
    "opt": Case("opt", OPT),
    "opt_350m": Case("opt", dict(OPT, do_layer_norm_before=False, word_embed_proj_dim=10)),
    "opt_plain": Case(
        "opt",
        dict(
            OPT,
            enable_bias=False,
            layer_norm_elementwise_affine=False,
            _remove_final_layer_norm=True,
            activation_function="gelu",
            tie_word_embeddings=False,
        ),
    ),
    # mpt: linear biases
    "mpt": Case("mpt", MPT),
    # distances are counted over columns
    "mpt_hole": Case("mpt", dict(MPT, n_heads=2), kind="qa", hole=True),
    "mpt_clipped": Case(
        "mpt",
        dict(
            MPT,
            d_model=12,
            n_heads=3,
            tie_word_embeddings=False,
            attn_config=dict(clip_qkv=0.7, softmax_scale=0.9),
        ),
    ),
    # what is hidden is replaced, so that no gradient comes to the scores of a query that sees nothing
    "mpt_left_gradients": Case(
        "mpt", dict(MPT, n_heads=2, vocab_size=40), kind="pretraining", dtype="float16", pad_left=True, gradients=True
    ),
    # starcoder2: layer norms and biases
    "starcoder2": Case("starcoder2", SMALL),
    "starcoder2_sliding": Case(
        "starcoder2", dict(SMALL, sliding_window=6, use_bias=False, num_key_value_heads=1, norm_epsilon=1e-3, tie_word_embeddings=False)
    ),
    # stablelm: part of a head rotates; norms of heads; in parallel
    "stablelm": Case("stablelm", dict(SMALL, num_attention_heads=2, num_key_value_heads=1)),
    "stablelm_parallel": Case(
        "stablelm",
        dict(
            SMALL,
            use_qkv_bias=True,
            qk_layernorm=True,
            use_parallel_residual=True,
            partial_rotary_factor=0.5,
            tie_word_embeddings=True,
        ),
    ),
    # smollm3: the second layer has no positions
    "smollm3": Case("smollm3", dict(SMALL, no_rope_layer_interval=2, tie_word_embeddings=False)),
    "smollm3_sliding": Case(
        "smollm3",
        dict(
            SMALL,
            no_rope_layers=[0, 1],
            use_sliding_window=True,
            sliding_window=6,
            attention_bias=True,
            mlp_bias=True,
            tie_word_embeddings=False,
        ),
    ),
    # olmo2: norms after; one over all queries
    "olmo2": Case("olmo2", SMALL),
    "olmo2_bias": Case("olmo2", dict(SMALL, attention_bias=True, num_key_value_heads=4, tie_word_embeddings=True)),
    # olmo3: a window on the first layer, a scaled rotation on the second
    "olmo3": Case(
        "olmo3",
        dict(
            SMALL,
            sliding_window=6,
            layer_types=["sliding_attention", "full_attention"],
            rope_parameters=dict(
                sliding_attention=dict(rope_type="default", rope_theta=500.0),
                full_attention=dict(
                    rope_type="yarn", rope_theta=500.0, factor=4.0, original_max_position_embeddings=16, beta_fast=4.0
                ),
            ),
        ),
    ),
    # glm4: interleaved rotation of half of each head, four norms, fused gate and up
    "glm4": Case("glm4", dict(SMALL, head_dim=8, num_key_value_heads=1)),
    "glm4_no_bias": Case(
        "glm4", dict(SMALL, head_dim=8, attention_bias=False, partial_rotary_factor=1.0, tie_word_embeddings=True)
    ),
    # cohere: interleaved rotation, scaled logits, parallel
    "cohere": Case("cohere", dict(SMALL, num_attention_heads=2, num_key_value_heads=1, logit_scale=0.7)),
    "cohere_norms": Case(
        "cohere", dict(SMALL, use_qk_norm=True, attention_bias=True, logit_scale=1.5, tie_word_embeddings=False)
    ),
    # cohere2: a window and rotation on the first layer, neither on the second
    "cohere2": Case(
        "cohere2",
        dict(SMALL, sliding_window=6, logit_scale=0.7, layer_types=["sliding_attention", "full_attention"]),
    ),
    "cohere2_pattern": Case(
        "cohere2",
        dict(
            SMALL,
            sliding_window=4,
            sliding_window_pattern=2,
            logit_scale=1.5,
            attention_bias=True,
            num_key_value_heads=1,
            tie_word_embeddings=False,
        ),
    ),
    # granite: four scalars
    "granite": Case(
        "granite",
        dict(
            SMALL,
            embedding_multiplier=3.0,
            logits_scaling=2.5,
            residual_multiplier=0.6,
            attention_multiplier=0.3,
            tie_word_embeddings=True,
        ),
    ),
    "granite_bias": Case("granite", dict(SMALL, attention_bias=True, mlp_bias=True, attention_multiplier=0.5)),
    # nemotron: weight - 1 in layer norms, squared ReLU, half of each head rotates
    "nemotron": Case("nemotron", dict(SMALL, num_attention_heads=2, num_key_value_heads=1)),
    "nemotron_bias": Case(
        "nemotron",
        dict(SMALL, head_dim=8, attention_bias=True, mlp_bias=True, partial_rotary_factor=0.25),
    ),
    # exaone4: norms after; with a window, the full layer has no positions
    "exaone4": Case("exaone4", dict(SMALL, sliding_window=6, sliding_window_pattern=2)),
    "exaone4_no_window": Case(
        "exaone4",
        dict(SMALL, sliding_window=None, head_dim=6, layer_types=["full_attention"] * 2, tie_word_embeddings=True),
    ),
    # seed_oss: biases of queries, keys and values apart from that of the output
    "seed_oss": Case("seed_oss", dict(SMALL, head_dim=6)),
    "seed_oss_biases": Case(
        "seed_oss",
        dict(
            SMALL,
            head_dim=None,
            attention_bias=False,
            attention_out_bias=True,
            mlp_bias=True,
            tie_word_embeddings=True,
        ),
    ),
    # ernie4_5: interleaved rotation
    "ernie4_5": Case("ernie4_5", dict(SMALL, head_dim=6)),
    "ernie4_5_bias": Case("ernie4_5", dict(SMALL, head_dim=8, use_bias=True, num_key_value_heads=1, tie_word_embeddings=False)),
    # ministral3: queries grow from position 4 on
    "ministral3": Case("ministral3", dict(SMALL, head_dim=6, rope_parameters=GROWING)),
    "ministral3_sliding": Case(
        "ministral3",
        dict(SMALL, head_dim=6, rope_parameters=GROWING, sliding_window=6, num_key_value_heads=1, tie_word_embeddings=True),
    ),
}

# The heads that the reference has, each on a small model; with gradients where the family has one of its own kind.
HEADS = {
    "bloom": (dict(BLOOM, n_head=2), "qa seqcls tokcls"),
    "exaone4": (dict(SMALL, sliding_window=4, sliding_window_pattern=2), "qa seqcls tokcls"),
    "falcon": (dict(FALCON, num_hidden_layers=1), "qa seqcls+ tokcls"),
    "gemma": (dict(SMALL, head_dim=4), "seqcls tokcls"),
    "gemma2": (dict(SMALL, head_dim=4, query_pre_attn_scalar=4, sliding_window=4), "seqcls+ tokcls"),
    "glm4": (dict(SMALL, head_dim=4), "seqcls+ tokcls"),
    "gpt2": (dict(GPT2, n_layer=1), "qa seqcls tokcls"),
    "gpt_neo": (dict(GPT_NEO, num_layers=1, attention_types=[[["local"], 1]]), "qa seqcls+ tokcls"),
    "gpt_neox": (dict(NEOX, num_hidden_layers=1, rotary_pct=0.5), "qa seqcls+ tokcls"),
    "gptj": (dict(GPTJ, n_layer=1, rotary_dim=4), "qa seqcls+"),
    "ministral3": (dict(SMALL, head_dim=4, rope_parameters=GROWING), "qa seqcls+ tokcls"),
    "mpt": (dict(MPT, n_heads=2), "qa seqcls+ tokcls"),
    "nemotron": (dict(SMALL, num_hidden_layers=1), "qa seqcls+ tokcls"),
    "olmo2": (dict(SMALL, num_hidden_layers=1), "seqcls+"),
    "olmo3": (dict(SMALL, num_hidden_layers=1, sliding_window=4), "seqcls"),
    "opt": (dict(OPT, num_hidden_layers=1, word_embed_proj_dim=10, do_layer_norm_before=False), "qa seqcls+"),
    "phi": (dict(SMALL, num_hidden_layers=1), "seqcls tokcls"),
    "phi3": (dict(SMALL, num_hidden_layers=1), "seqcls+ tokcls"),
    "seed_oss": (dict(SMALL, num_hidden_layers=1, head_dim=4), "qa seqcls tokcls"),
    "smollm3": (dict(SMALL, num_hidden_layers=1), "qa seqcls tokcls"),
    "stablelm": (dict(SMALL, num_hidden_layers=1, num_attention_heads=2, qk_layernorm=True, use_parallel_residual=True), "seqcls+ tokcls"),
    "starcoder2": (dict(SMALL, num_hidden_layers=1), "seqcls tokcls"),
}
NAMES = dict(seqcls="classes", tokcls="token_classes", qa="answers")
LABELS = dict(seqcls=3, tokcls=5)
for _family, (_config, _kinds) in HEADS.items():
    for _kind in _kinds.split():
        _kind, _gradients = _kind.rstrip("+"), _kind.endswith("+")
        _labels = dict(num_labels=LABELS[_kind]) if _kind in LABELS else {}
        DENSE[f"{_family}_{NAMES[_kind]}"] = Case(
            _family, dict(_config, vocab_size=40, **_labels), kind=_kind, gradients=_gradients
        )

# The states between the layers are compared in the first case of each family.
_seen = set()
for _name, _case in DENSE.items():
    DENSE[_name] = replace(_case, hidden_states=_case.model_type not in _seen)
    _seen.add(_case.model_type)
