"""The conformance cases of decoders with experts or linear attention beside mixtral and its nearest kin: see `cases.py`."""

from cases import EXPERTS, Case

SPARSE = dict(EXPERTS, intermediate_size=8)
WHOLE_HEADS = {name: value for name, value in SPARSE.items() if name != "head_dim"}
# What tokens are scored against, and how evenly they spread over the experts.
BALANCED = dict(output_router_logits=True, router_aux_loss_coef=0.05)

# One layer of linear attention, one of gated attention; the heads of both have their own sizes.
HYBRID = dict(
    WHOLE_HEADS,
    head_dim=12,
    linear_conv_kernel_dim=4,
    linear_key_head_dim=5,
    linear_value_head_dim=6,
    linear_num_key_heads=1,
    linear_num_value_heads=2,
    layer_types=["linear_attention", "full_attention"],
)
NEXT = dict(HYBRID, num_experts=4, moe_intermediate_size=8, shared_expert_intermediate_size=8)
DENSE_NEXT = dict(HYBRID, intermediate_size=20)
# Longer than what is computed together.
LONG = 70

CASES_SPARSE = {
    # olmoe: norms over whole queries and keys
    "olmoe": Case("olmoe", dict(WHOLE_HEADS, num_experts=4)),
    "olmoe_options": Case(
        "olmoe",
        dict(
            WHOLE_HEADS,
            num_experts=3,
            num_key_value_heads=2,
            attention_bias=True,
            clip_qkv=0.8,
            norm_topk_prob=True,
            tie_word_embeddings=True,
        ),
        hidden_states=False,
    ),
    "olmoe_balanced": Case(
        "olmoe",
        dict(WHOLE_HEADS, **BALANCED, num_experts=4, num_hidden_layers=1),
        labels=True,
        gradients=True,
        hidden_states=False,
    ),
    # granitemoe: granite's four scalars
    "granitemoe": Case(
        "granitemoe",
        dict(
            WHOLE_HEADS,
            num_local_experts=4,
            embedding_multiplier=3.0,
            logits_scaling=2.5,
            residual_multiplier=0.6,
            attention_multiplier=0.3,
            tie_word_embeddings=True,
        ),
    ),
    "granitemoe_bias": Case(
        "granitemoe",
        dict(
            WHOLE_HEADS, num_local_experts=4, num_experts_per_tok=3, attention_bias=True, attention_multiplier=0.4
        ),
        hidden_states=False,
    ),
    "granitemoe_balanced": Case(
        "granitemoe",
        dict(WHOLE_HEADS, **BALANCED, num_local_experts=4, num_hidden_layers=1, residual_multiplier=0.7),
        labels=True,
        gradients=True,
        hidden_states=False,
    ),
    # ernie4_5_moe: a dense layer and a sparse one; scores are corrected for the choice
    "ernie4_5_moe": Case(
        "ernie4_5_moe",
        dict(
            WHOLE_HEADS, intermediate_size=20, moe_intermediate_size=8, moe_num_experts=4, moe_num_shared_experts=1, moe_k=2
        ),
    ),
    "ernie4_5_moe_bias": Case(
        "ernie4_5_moe",
        dict(
            WHOLE_HEADS,
            intermediate_size=20,
            moe_intermediate_size=8,
            moe_num_experts=4,
            moe_num_shared_experts=2,
            moe_k=2,
            use_bias=True,
        ),
        hidden_states=False,
    ),
    "ernie4_5_moe_interval": Case(
        "ernie4_5_moe",
        dict(
            WHOLE_HEADS,
            intermediate_size=20,
            moe_intermediate_size=8,
            moe_num_experts=3,
            moe_num_shared_experts=0,
            moe_k=2,
            num_hidden_layers=4,
            moe_layer_start_index=0,
            moe_layer_end_index=2,
            moe_layer_interval=2,
            moe_norm_min=0.9,
            tie_word_embeddings=False,
        ),
        hidden_states=False,
    ),
    "ernie4_5_moe_balanced": Case(
        "ernie4_5_moe",
        dict(
            WHOLE_HEADS,
            **BALANCED,
            moe_intermediate_size=8,
            moe_num_experts=4,
            moe_num_shared_experts=1,
            moe_k=2,
            num_hidden_layers=1,
            moe_layer_start_index=0,
        ),
        labels=True,
        gradients=True,
        hidden_states=False,
    ),
    # minimax_m2: sigmoids that are corrected for the choice, norms over whole queries and keys; all of a head rotates
    "minimax_m2": Case("minimax_m2", dict(SPARSE, num_local_experts=4)),
    "minimax_m2_rotary": Case(
        "minimax_m2",
        dict(
            SPARSE,
            head_dim=12,
            num_local_experts=4,
            num_experts_per_tok=3,
            rotary_dim=6,
            tie_word_embeddings=True,
        ),
        hidden_states=False,
    ),
    # the correction is rounded as well
    "minimax_m2_half": Case(
        "minimax_m2",
        dict(SPARSE, num_local_experts=4, num_experts_per_tok=4, num_hidden_layers=1),
        kind="textenc",
        dtype="bfloat16",
        hidden_states=False,
    ),
    "minimax_m2_balanced": Case(
        "minimax_m2",
        dict(SPARSE, **BALANCED, num_local_experts=4, num_hidden_layers=1),
        labels=True,
        gradients=True,
        hidden_states=False,
    ),
    # qwen3_next: linear attention by the gated delta rule
    "qwen3_next": Case("qwen3_next", NEXT),
    "qwen3_next_options": Case(
        "qwen3_next",
        dict(
            NEXT,
            intermediate_size=20,
            linear_conv_kernel_dim=3,
            linear_num_key_heads=2,
            linear_num_value_heads=2,
            linear_key_head_dim=4,
            layer_types=["full_attention", "linear_attention"],
            mlp_only_layers=[0],
            attention_bias=True,
            norm_topk_prob=False,
            rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5),
        ),
        hidden_states=False,
    ),
    "qwen3_next_groups": Case(
        "qwen3_next",
        dict(
            NEXT,
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            linear_value_head_dim=3,
            decoder_sparse_step=2,
            intermediate_size=12,
        ),
        hidden_states=False,
    ),
    "qwen3_next_key_heads": Case(
        "qwen3_next",
        dict(NEXT, linear_num_key_heads=2, linear_num_value_heads=4, linear_value_head_dim=5, num_experts=2),
        hidden_states=False,
    ),
    "qwen3_next_balanced": Case(
        "qwen3_next",
        dict(NEXT, **BALANCED, num_experts=3),
        labels=True,
        gradients=True,
        hidden_states=False,
    ),
    "qwen3_next_classes": Case(
        "qwen3_next",
        dict(NEXT, num_experts=2, num_labels=3),
        kind="seqcls",
        tokens=LONG,
        gradients=True,
        hidden_states=False,
    ),
    "qwen3_next_token_classes": Case(
        "qwen3_next", dict(NEXT, num_experts=2, num_labels=5), kind="tokcls", hidden_states=False
    ),
    "qwen3_next_answers": Case("qwen3_next", dict(NEXT, num_experts=3), kind="qa", hidden_states=False),
    # qwen3_5: the same without experts, and with projections of their own
    "qwen3_5_text": Case("qwen3_5_text", DENSE_NEXT),
    "qwen3_5_text_tied": Case("qwen3_5_text", dict(DENSE_NEXT, tie_word_embeddings=True), hidden_states=False),
    "qwen3_5_text_long": Case(
        "qwen3_5_text", DENSE_NEXT, kind="textenc", tokens=LONG, pad_left=True, hidden_states=False
    ),
    "qwen3_5_text_classes": Case("qwen3_5_text", dict(DENSE_NEXT, num_labels=3), kind="seqcls", hidden_states=False),
    "qwen3_5_moe_text": Case("qwen3_5_moe_text", NEXT),
    "qwen3_5_moe_text_balanced": Case(
        "qwen3_5_moe_text",
        dict(NEXT, **BALANCED, num_experts=3),
        labels=True,
        hidden_states=False,
    ),
}
