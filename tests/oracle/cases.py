"""The conformance cases, as data: which tiny model each one builds and what is special about it.

Every case is one folder under `tests/cases`, made by `gen_cases.py`; its README says what a folder holds. Dimensions
are chosen to differ from each other wherever the architecture lets them, so that a mixed-up axis cannot pass, and to
keep a folder below 100 kB.
"""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Case:
    """One tiny random model.

    `kind` is the head: `lm` (causal language model), `mlm` (masked language model), `seqcls` and `tokcls` (classes of
    rows and of tokens), `qa` (question answering), `mc` (multiple choice), `nsp` (next sentence), `pretraining`, `s2s`
    (encoder–decoder language model), or `textenc` (none).
    `config` overrides the model type's defaults; with `verbatim` it is the whole `config.json`, left as written, for
    spellings that the reference reads but no longer writes, and there is no `generation_config.json`.
    """

    model_type: str
    config: dict
    kind: str = "lm"
    verbatim: bool = False
    # dtype of the checkpoint; the reference outputs are f32 all the same
    dtype: str = "float32"
    # shard size of `save_pretrained`; None keeps one file
    shards: str | None = None
    # (pattern, replacement) applied to the names in the checkpoint after saving: spellings of old checkpoints
    rename_on_disk: tuple = ()
    # the token that greedy decoding gives at this step becomes a second eos token
    stop_at_step: int | None = None
    # the fewest different ids that greedy decoding must give: less where no seed keeps a model from repeating one
    fewest_ids: int = 4
    # labels: of `lm` beside the ids; of `s2s` instead of the decoder's, which are then made of them
    labels: bool = False
    # whether the states between the layers are kept: in one case of each family
    hidden_states: bool = True
    # whether the weights of attention are kept: see WITH_ATTENTIONS
    attentions: bool = False
    # whether the gradients of the loss are kept
    gradients: bool = False
    # whether there are segment ids, and on which side the second text is padded
    token_types: bool = True
    pad_left: bool = False
    # whether a token within the first text is masked out
    hole: bool = False
    # length of the prompt
    tokens: int = 11
    # whether classes of rows have shares instead of numbers
    float_labels: bool = False
    # a larger model, whose text model is compared
    wrapper: bool = False
    # keyword arguments of the model's construction
    model_options: dict = field(default_factory=dict)


SPECIAL_TOKENS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)

DECODER = dict(
    vocab_size=72,
    hidden_size=32,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    **SPECIAL_TOKENS,
)

# Small, for what stands on top.
HEAD = dict(DECODER, hidden_size=16, num_hidden_layers=1)

# Wide heads: eight frequencies, to see the rope well.
ROPE = dict(DECODER, num_attention_heads=2, num_key_value_heads=1, head_dim=16, tie_word_embeddings=True)

BERT = dict(
    vocab_size=72,
    hidden_size=24,
    intermediate_size=20,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=24,
    type_vocab_size=3,
    pad_token_id=0,
)

# Small, for what stands on top.
ENCODER = dict(BERT, vocab_size=40, hidden_size=16, num_hidden_layers=1)
FIRST = dict(BERT, vocab_size=40, hidden_size=20)
ROBERTA = dict(FIRST, pad_token_id=1, bos_token_id=0, eos_token_id=2)
ROBERTA_HEAD = dict(ROBERTA, vocab_size=40, hidden_size=16, num_hidden_layers=1)
AS_DECODER = dict(is_decoder=True, max_position_embeddings=40)
DISTILBERT = dict(vocab_size=40, dim=20, hidden_dim=20, n_layers=2, n_heads=4, max_position_embeddings=24)
DISTILBERT_HEAD = dict(DISTILBERT, vocab_size=40, dim=16, n_layers=1)
ALBERT = dict(FIRST, embedding_size=12)
ALBERT_HEAD = dict(ENCODER, embedding_size=12)
DEBERTA = {key: value for key, value in FIRST.items() if key != "type_vocab_size"}
# as DeBERTa v3
DEBERTA_V3 = dict(
    DEBERTA,
    relative_attention=True,
    pos_att_type=["p2c", "c2p"],
    position_buckets=8,
    share_att_key=True,
    norm_rel_ebd="layer_norm",
    position_biased_input=False,
)
DEBERTA_HEAD = dict(DEBERTA_V3, vocab_size=40, hidden_size=16, num_hidden_layers=1)
MPNET = dict(DEBERTA, pad_token_id=1, bos_token_id=0, eos_token_id=2)
MPNET_HEAD = dict(MPNET, vocab_size=40, hidden_size=16, num_hidden_layers=1)
# Three layers: one that sees everything, two with a window.
MODERNBERT = dict(
    vocab_size=40,
    hidden_size=16,
    intermediate_size=12,
    num_hidden_layers=3,
    num_attention_heads=4,
    max_position_embeddings=64,
    local_attention=6,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    cls_token_id=1,
    sep_token_id=2,
)
MODERNBERT_HEAD = dict(MODERNBERT, vocab_size=40, hidden_size=16, num_hidden_layers=2)
NOMIC = dict(FIRST, hidden_size=18, num_attention_heads=3, max_position_embeddings=64)
NOMIC_HEAD = dict(ENCODER, max_position_embeddings=64)
EUROBERT = dict(DECODER, vocab_size=40, hidden_size=16, intermediate_size=20, mask_token_id=4)
EUROBERT_HEAD = dict(EUROBERT, vocab_size=40, hidden_size=16, num_hidden_layers=1)

# Three layers: two with a window, one without.
GEMMA = dict(
    DECODER,
    hidden_size=24,
    intermediate_size=20,
    num_hidden_layers=3,
    num_key_value_heads=1,
    head_dim=8,
    query_pre_attn_scalar=20,
    sliding_window=6,
    layer_types=["sliding_attention", "sliding_attention", "full_attention"],
)


def heads(model_type, config, kinds=("seqcls", "tokcls", "qa", "mc")):
    """One case for each head of an encoder."""
    names = dict(seqcls="classes", tokcls="token_classes", qa="answers", mc="choices")
    labels = dict(seqcls=3, tokcls=5)
    return {
        f"{model_type.replace('-', '_')}_{names[kind]}": Case(
            model_type,
            dict(config, num_labels=labels[kind]) if kind in labels else config,
            kind=kind,
            hidden_states=False,
        )
        for kind in kinds
    }


# Small, for many experts: a folder stays below 50 kB.
EXPERTS = dict(
    SPECIAL_TOKENS,
    vocab_size=64,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=10,
    max_position_embeddings=128,
    num_experts_per_tok=2,
)

# Attention through a latent vector; one dense layer, one with experts.
LATENT = dict(
    EXPERTS,
    head_dim=None,
    num_key_value_heads=2,
    moe_intermediate_size=8,
    n_routed_experts=4,
    n_shared_experts=1,
    first_k_dense_replace=1,
    kv_lora_rank=12,
    q_lora_rank=10,
    qk_nope_head_dim=8,
    qk_rope_head_dim=6,
    v_head_dim=9,
    n_group=1,
    topk_group=1,
)
del LATENT["head_dim"]


def rope(rope_type, **parameters):
    return dict(rope_parameters=dict(rope_type=rope_type, rope_theta=10000.0, **parameters))


CASES = {
    # llama: ties, biases, heads
    "llama": Case("llama", DECODER),
    "llama_tied_bias": Case(
        "llama", dict(DECODER, tie_word_embeddings=True, attention_bias=True, mlp_bias=True), stop_at_step=11
    ),
    # a prompt longer than what the rotation was made for
    "llama_beyond": Case("llama", dict(HEAD, max_position_embeddings=8), hidden_states=False),
    "llama_one_kv_head": Case("llama", dict(DECODER, num_key_value_heads=1, head_dim=12)),
    "llama_no_gqa": Case("llama", dict(DECODER, num_key_value_heads=4, hidden_act="gelu_pytorch_tanh", rms_norm_eps=1e-3)),
    # llama: every rope type. The prompt has 11 tokens, greedy decoding reaches 27.
    "llama_rope_linear": Case("llama", dict(ROPE, **rope("linear", factor=4.0))),
    "llama_rope_dynamic": Case("llama", dict(ROPE, max_position_embeddings=8, **rope("dynamic", factor=4.0))),
    "llama_rope_yarn": Case(
        "llama",
        dict(ROPE, max_position_embeddings=512, **rope("yarn", factor=8.0, original_max_position_embeddings=64)),
    ),
    "llama_rope_llama3": Case(
        "llama",
        dict(
            ROPE,
            **rope(
                "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32
            ),
        ),
    ),
    # crosses from the short to the long factors while decoding
    "llama_rope_longrope": Case(
        "llama",
        dict(
            ROPE,
            **rope(
                "longrope",
                short_factor=[1.0, 1.05, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0],
                long_factor=[1.0, 1.5, 2.0, 3.0, 4.5, 6.0, 7.5, 9.0],
                original_max_position_embeddings=16,
            ),
        ),
    ),
    "llama_rope_proportional": Case("llama", dict(ROPE, **rope("proportional", partial_rotary_factor=0.5, factor=2.0))),
    # llama: checkpoints
    "llama_sharded": Case("llama", DECODER, shards="30KB"),
    "llama_bf16": Case("llama", dict(DECODER, tie_word_embeddings=True), dtype="bfloat16"),
    "llama_headless": Case("llama", DECODER, kind="textenc"),
    # decoders: the heads that they share; the last token is found from either side
    "llama_classes": Case("llama", dict(HEAD, num_labels=3), kind="seqcls", hidden_states=False, gradients=True),
    "llama_regression": Case("llama", dict(HEAD, num_labels=1), kind="seqcls", hidden_states=False, pad_left=True),
    "llama_padding_gradients": Case("llama", HEAD, kind="qa", hidden_states=False, gradients=True),
    "llama_multi_label": Case(
        "llama", dict(HEAD, num_labels=5, problem_type="multi_label_classification"), kind="seqcls", hidden_states=False
    ),
    "llama_quick_gelu": Case("llama", dict(HEAD, hidden_act="quick_gelu"), hidden_states=False),
    # positions are columns, of which a masked one counts too
    "llama_hole": Case("llama", dict(HEAD, vocab_size=40), kind="textenc", hidden_states=False, hole=True),
    "llama_token_classes": Case("llama", dict(HEAD, num_labels=5), kind="tokcls", hidden_states=False),
    "llama_answers": Case("llama", HEAD, kind="qa", hidden_states=False),
    # queries of padding on the left see nothing, and are scored as all others
    "llama_left_gradients": Case(
        "llama", dict(HEAD, vocab_size=40, num_hidden_layers=1), kind="qa", hidden_states=False, pad_left=True, gradients=True
    ),
    "mistral_answers": Case("mistral", dict(HEAD, sliding_window=6), kind="qa", hidden_states=False),
    # a config.json of transformers 4.3x: rope keys at the top and `type`, `torch_dtype`, generation parameters inside
    "llama_v4": Case(
        "llama",
        dict(
            SPECIAL_TOKENS,
            _name_or_path="tiny",
            architectures=["LlamaForCausalLM"],
            attention_bias=False,
            hidden_act="silu",
            hidden_size=32,
            initializer_range=0.02,
            intermediate_size=24,
            max_position_embeddings=64,
            model_type="llama",
            num_attention_heads=4,
            num_hidden_layers=2,
            num_key_value_heads=2,
            pretraining_tp=1,
            repetition_penalty=1.3,
            rms_norm_eps=1e-05,
            rope_scaling=dict(type="linear", factor=2.0),
            rope_theta=500000.0,
            tie_word_embeddings=False,
            torch_dtype="float32",
            transformers_version="4.38.2",
            use_cache=True,
            vocab_size=72,
        ),
        verbatim=True,
    ),
    # mistral: the window is shorter than the prompt; without one it is a llama
    "mistral": Case("mistral", dict(DECODER, sliding_window=6, head_dim=12)),
    "mistral_no_window": Case("mistral", dict(DECODER, sliding_window=None, tie_word_embeddings=True)),
    # qwen2: biases on q, k and v only
    "qwen2": Case("qwen2", DECODER),
    "qwen2_sliding": Case(
        "qwen2",
        dict(DECODER, use_sliding_window=True, sliding_window=6, max_window_layers=1, tie_word_embeddings=True),
    ),
    # as the model cards of Qwen2.5 tell users to write it for long inputs
    "qwen2_v4_yarn": Case(
        "qwen2",
        dict(
            architectures=["Qwen2ForCausalLM"],
            attention_dropout=0.0,
            bos_token_id=1,
            eos_token_id=2,
            hidden_act="silu",
            hidden_size=32,
            initializer_range=0.02,
            intermediate_size=24,
            max_position_embeddings=256,
            max_window_layers=2,
            model_type="qwen2",
            num_attention_heads=2,
            num_hidden_layers=2,
            num_key_value_heads=1,
            rms_norm_eps=1e-06,
            rope_scaling=dict(factor=4.0, original_max_position_embeddings=64, type="yarn"),
            rope_theta=10000.0,
            sliding_window=6,
            tie_word_embeddings=True,
            torch_dtype="float32",
            transformers_version="4.43.1",
            use_cache=True,
            use_sliding_window=False,
            vocab_size=72,
        ),
        verbatim=True,
    ),
    # qwen3: norms on q and k
    "qwen3": Case("qwen3", dict(DECODER, head_dim=12)),
    "qwen3_bias_sliding": Case(
        "qwen3",
        dict(
            DECODER,
            num_key_value_heads=1,
            head_dim=10,
            attention_bias=True,
            use_sliding_window=True,
            sliding_window=6,
            layer_types=["full_attention", "sliding_attention"],
            tie_word_embeddings=True,
        ),
    ),
    "qwen3_yarn_mscale": Case(
        "qwen3",
        dict(
            ROPE,
            max_position_embeddings=256,
            **rope(
                "yarn",
                factor=4.0,
                original_max_position_embeddings=64,
                beta_fast=4.0,
                beta_slow=0.5,
                mscale=1.0,
                mscale_all_dim=0.7,
                truncate=False,
            ),
        ),
    ),
    # mixtral: experts in every layer; the window is shorter than the prompt
    "mixtral": Case("mixtral", dict(EXPERTS, intermediate_size=8, num_local_experts=4)),
    "mixtral_window_three_of_four": Case(
        "mixtral",
        dict(
            EXPERTS,
            intermediate_size=8,
            num_local_experts=4,
            num_experts_per_tok=3,
            sliding_window=6,
            tie_word_embeddings=True,
        ),
        hidden_states=False,
    ),
    # qwen2_moe: an expert that every token passes, and its gate; every other layer slides
    "qwen2_moe": Case(
        "qwen2_moe", dict(EXPERTS, moe_intermediate_size=8, shared_expert_intermediate_size=16, num_experts=3)
    ),
    "qwen2_moe_options": Case(
        "qwen2_moe",
        dict(
            EXPERTS,
            moe_intermediate_size=8,
            shared_expert_intermediate_size=16,
            num_experts=4,
            norm_topk_prob=True,
            qkv_bias=False,
            mlp_only_layers=[1],
            use_sliding_window=True,
            sliding_window=6,
            max_window_layers=2,
            num_hidden_layers=3,
            tie_word_embeddings=True,
        ),
        hidden_states=False,
    ),
    # qwen3_moe: the weights of a token's experts add up to one, or do not; dense layers by step and by list
    "qwen3_moe": Case("qwen3_moe", dict(EXPERTS, moe_intermediate_size=8, num_experts=4, norm_topk_prob=True)),
    "qwen3_moe_sparse_step": Case(
        "qwen3_moe",
        dict(
            EXPERTS,
            moe_intermediate_size=8,
            num_experts=3,
            decoder_sparse_step=2,
            attention_bias=True,
            use_sliding_window=True,
            sliding_window=6,
        ),
        hidden_states=False,
    ),
    "qwen3_moe_mlp_only": Case(
        "qwen3_moe",
        dict(
            EXPERTS,
            moe_intermediate_size=8,
            num_experts=4,
            num_hidden_layers=3,
            mlp_only_layers=[1],
            tie_word_embeddings=True,
        ),
        hidden_states=False,
    ),
    # gpt_oss: sinks, biases everywhere, a clamped gate; a window in every other layer
    "gpt_oss": Case(
        "gpt_oss",
        dict(
            EXPERTS,
            intermediate_size=8,
            num_local_experts=3,
            sliding_window=6,
            swiglu_limit=1.0,
            **rope("yarn", factor=4.0, original_max_position_embeddings=32, truncate=False),
        ),
    ),
    "gpt_oss_no_bias": Case(
        "gpt_oss",
        dict(
            EXPERTS,
            intermediate_size=8,
            num_local_experts=4,
            num_experts_per_tok=3,
            sliding_window=6,
            swiglu_alpha=1.2,
            attention_bias=False,
            layer_types=["full_attention", "sliding_attention"],
            tie_word_embeddings=True,
            **rope("default"),
        ),
        hidden_states=False,
    ),
    "gpt_oss_gradients": Case(
        "gpt_oss",
        dict(EXPERTS, intermediate_size=8, num_local_experts=2, num_hidden_layers=1, sliding_window=6, vocab_size=40),
        labels=True,
        gradients=True,
        hidden_states=False,
    ),
    # deepseek_v3: latent attention, sigmoid scores with a correction; groups, plain queries, two shared experts
    "deepseek_v3": Case("deepseek_v3", LATENT),
    "deepseek_v3_groups": Case(
        "deepseek_v3",
        dict(
            LATENT,
            n_routed_experts=6,
            n_group=3,
            topk_group=2,
            num_experts_per_tok=3,
            routed_scaling_factor=1.5,
            norm_topk_prob=False,
            q_lora_rank=None,
            first_k_dense_replace=0,
            num_hidden_layers=1,
            n_shared_experts=2,
            rope_interleave=False,
            tie_word_embeddings=True,
        ),
        hidden_states=False,
    ),
    "deepseek_v3_yarn": Case(
        "deepseek_v3",
        dict(
            LATENT,
            attention_bias=True,
            **rope("yarn", factor=4.0, original_max_position_embeddings=32, mscale=1.0, mscale_all_dim=0.8),
        ),
        hidden_states=False,
    ),
    # deepseek_v2: softmax scores that need not add up to one
    "deepseek_v2": Case("deepseek_v2", dict(LATENT, n_shared_experts=2)),
    "deepseek_v2_groups": Case(
        "deepseek_v2",
        dict(
            LATENT,
            n_routed_experts=6,
            n_group=3,
            topk_group=2,
            topk_method="group_limited_greedy",
            routed_scaling_factor=3.0,
            q_lora_rank=None,
            num_hidden_layers=1,
            first_k_dense_replace=0,
            **rope("yarn", factor=4.0, original_max_position_embeddings=32, mscale=0.7, mscale_all_dim=0.7),
        ),
        hidden_states=False,
    ),
    # glm4_moe: half of a head rotates
    "glm4_moe": Case(
        "glm4_moe", dict(EXPERTS, head_dim=12, moe_intermediate_size=8, n_routed_experts=4, attention_bias=True)
    ),
    "glm4_moe_qk_norm": Case(
        "glm4_moe",
        dict(
            EXPERTS,
            head_dim=12,
            moe_intermediate_size=8,
            n_routed_experts=4,
            n_group=2,
            topk_group=1,
            n_shared_experts=2,
            use_qk_norm=True,
            norm_topk_prob=False,
            first_k_dense_replace=0,
            num_hidden_layers=1,
            routed_scaling_factor=1.5,
            tie_word_embeddings=True,
        ),
        hidden_states=False,
    ),
    # gemma3: one rope per layer type, four norms per layer, scaled embeddings
    "gemma3_text": Case("gemma3_text", GEMMA),
    "gemma3_text_softcap": Case(
        "gemma3_text",
        dict(
            GEMMA,
            num_key_value_heads=2,
            attention_bias=True,
            final_logit_softcapping=1.5,
            rope_parameters=dict(
                full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1000000.0),
                sliding_attention=dict(rope_type="default", rope_theta=10000.0),
            ),
        ),
    ),
    "gemma3_text_classes": Case(
        "gemma3_text",
        dict(GEMMA, hidden_size=16, num_hidden_layers=2, layer_types=GEMMA["layer_types"][1:], num_labels=3),
        kind="seqcls",
        hidden_states=False,
    ),
    "gemma3_text_untied": Case("gemma3_text", dict(GEMMA, tie_word_embeddings=False)),
    # as Gemma 3 was published: two top-level bases, scaling for the full layers, a window pattern
    "gemma3_text_v4": Case(
        "gemma3_text",
        dict(
            SPECIAL_TOKENS,
            architectures=["Gemma3ForCausalLM"],
            attention_bias=False,
            attention_dropout=0.0,
            attn_logit_softcapping=None,
            cache_implementation="hybrid",
            final_logit_softcapping=None,
            head_dim=8,
            hidden_activation="gelu_pytorch_tanh",
            hidden_size=24,
            initializer_range=0.02,
            intermediate_size=20,
            max_position_embeddings=128,
            model_type="gemma3_text",
            num_attention_heads=4,
            num_hidden_layers=3,
            num_key_value_heads=1,
            query_pre_attn_scalar=20,
            rms_norm_eps=1e-06,
            rope_local_base_freq=10000.0,
            rope_scaling=dict(factor=8.0, rope_type="linear"),
            rope_theta=1000000.0,
            sliding_window=6,
            sliding_window_pattern=3,
            torch_dtype="float32",
            transformers_version="4.50.0",
            use_cache=True,
            vocab_size=72,
        ),
        verbatim=True,
    ),
    # both directions, as embedding models use it
    "gemma3_text_bidirectional": Case("gemma3_text", dict(GEMMA, use_bidirectional_attention=True), kind="textenc"),
    # bert
    "bert": Case("bert", BERT, kind="mlm"),
    "bert_untied": Case("bert", dict(BERT, tie_word_embeddings=False, hidden_act="gelu_new"), kind="mlm"),
    "bert_encoder": Case("bert", dict(BERT, layer_norm_eps=1e-3), kind="textenc"),
    "bert_encoder_no_pooler": Case(
        "bert", dict(BERT, hidden_act="relu"), kind="textenc", model_options=dict(add_pooling_layer=False)
    ),
    # checkpoints converted from TensorFlow name the norms so
    "bert_gamma_beta": Case(
        "bert",
        BERT,
        kind="mlm",
        rename_on_disk=((r"LayerNorm\.weight$", "LayerNorm.gamma"), (r"LayerNorm\.bias$", "LayerNorm.beta")),
    ),
    "bert_mish": Case("bert", dict(ENCODER, hidden_act="mish"), kind="textenc", hidden_states=False),
    "bert_no_segments": Case("bert", ENCODER, kind="textenc", token_types=False, hidden_states=False),
    # as decoders; the positions of `generate` begin at 0 in all of them
    "bert_decoder": Case("bert", FIRST | AS_DECODER),
    "bert_decoder_untied": Case(
        "bert", dict(ENCODER | AS_DECODER, tie_word_embeddings=False), labels=True, gradients=True, hidden_states=False
    ),
    "bert_causal_classes": Case("bert", dict(ENCODER | AS_DECODER, num_labels=3), kind="seqcls", hidden_states=False),
    # the first token is padding that sees nothing
    "bert_causal_left": Case(
        "bert", dict(ENCODER | AS_DECODER, num_labels=3), kind="seqcls", hidden_states=False, pad_left=True
    ),
    "bert_pretraining": Case("bert", ENCODER, kind="pretraining", hidden_states=False, gradients=True),
    "bert_next_sentence": Case("bert", ENCODER, kind="nsp", hidden_states=False),
    "bert_multi_label": Case(
        "bert",
        dict(ENCODER, num_labels=5, problem_type="multi_label_classification"),
        kind="seqcls",
        hidden_states=False,
    ),
    "bert_regression": Case(
        "bert", dict(ENCODER, num_labels=2, problem_type="regression"), kind="seqcls", hidden_states=False
    ),
    **heads("bert", ENCODER),
    # roberta: positions after the padding's id
    "roberta": Case("roberta", ROBERTA, kind="mlm"),
    "roberta_left": Case("roberta", dict(ROBERTA_HEAD, pad_token_id=3), kind="textenc", pad_left=True),
    "roberta_padding_gradients": Case("roberta", dict(ROBERTA_HEAD, pad_token_id=3), kind="qa", hidden_states=False, pad_left=True, gradients=True),
    "roberta_untied": Case("roberta", dict(ROBERTA_HEAD, tie_word_embeddings=False), kind="mlm", hidden_states=False),
    "roberta_pretraining": Case("roberta", ROBERTA_HEAD, kind="pretraining", hidden_states=False),
    **heads("roberta", ROBERTA_HEAD),
    "roberta_decoder": Case("roberta", ROBERTA | AS_DECODER),
    "roberta_decoder_untied": Case(
        "roberta", dict(ROBERTA_HEAD | AS_DECODER, tie_word_embeddings=False), labels=True, hidden_states=False
    ),
    "xlm_roberta_decoder": Case("xlm-roberta", ROBERTA_HEAD | AS_DECODER, hidden_states=False),
    "camembert_decoder": Case("camembert", ROBERTA_HEAD | AS_DECODER, hidden_states=False, gradients=True),
    "xlm_roberta": Case("xlm-roberta", dict(ROBERTA, type_vocab_size=1), kind="mlm"),
    "xlm_roberta_encoder": Case("xlm-roberta", dict(ROBERTA_HEAD, type_vocab_size=1), kind="textenc", hidden_states=False),
    **heads("xlm-roberta", ROBERTA_HEAD),
    "camembert": Case("camembert", dict(ROBERTA, type_vocab_size=1), kind="mlm"),
    "camembert_encoder": Case("camembert", ROBERTA_HEAD, kind="textenc", hidden_states=False),
    **heads("camembert", ROBERTA_HEAD),
    # distilbert
    "distilbert": Case("distilbert", DISTILBERT, kind="mlm"),
    "distilbert_encoder": Case("distilbert", dict(DISTILBERT_HEAD, activation="relu"), kind="textenc", hidden_states=False),
    "distilbert_untied": Case(
        "distilbert", dict(DISTILBERT_HEAD, tie_word_embeddings=False), kind="mlm", hidden_states=False
    ),
    **heads("distilbert", DISTILBERT_HEAD),
    # albert: layers that are used again, two groups of two
    "albert": Case("albert", ALBERT, kind="mlm"),
    "albert_groups": Case(
        "albert", dict(ALBERT_HEAD, num_hidden_layers=5, num_hidden_groups=2, inner_group_num=2), kind="textenc", hidden_states=False
    ),
    "albert_untied": Case("albert", dict(ALBERT_HEAD, tie_word_embeddings=False), kind="mlm", hidden_states=False),
    "albert_pretraining": Case("albert", ALBERT_HEAD, kind="pretraining", hidden_states=False, gradients=True),
    **heads("albert", ALBERT_HEAD),
    # electra: embeddings of another width, a generator and a discriminator
    "electra": Case("electra", ALBERT, kind="mlm"),
    "electra_encoder": Case("electra", dict(ALBERT_HEAD, embedding_size=16), kind="textenc", hidden_states=False),
    "electra_untied": Case("electra", dict(ALBERT_HEAD, tie_word_embeddings=False), kind="mlm", hidden_states=False),
    "electra_decoder": Case("electra", ALBERT | AS_DECODER, fewest_ids=1),
    "electra_decoder_untied": Case(
        "electra", dict(ALBERT_HEAD | AS_DECODER, tie_word_embeddings=False), labels=True, hidden_states=False
    ),
    "electra_discriminator": Case("electra", ALBERT_HEAD, kind="pretraining", hidden_states=False),
    "electra_mean_choices": Case(
        "electra",
        dict(ALBERT_HEAD, summary_type="mean", summary_use_proj=False, summary_activation=""),
        kind="mc",
        hidden_states=False,
    ),
    **heads("electra", ALBERT_HEAD),
    # mpnet: a bias for every distance, long enough for buckets that hold several
    "mpnet": Case("mpnet", MPNET, kind="mlm"),
    "mpnet_long": Case("mpnet", dict(MPNET_HEAD, max_position_embeddings=48), kind="textenc", tokens=41, hidden_states=False),
    "mpnet_encoder": Case("mpnet", dict(MPNET_HEAD, relative_attention_num_buckets=40), kind="textenc", hidden_states=False),
    "mpnet_untied": Case("mpnet", dict(MPNET_HEAD, tie_word_embeddings=False), kind="mlm", hidden_states=False),
    **heads("mpnet", MPNET_HEAD),
    # deberta-v2: relative positions of every kind
    "deberta_v2": Case("deberta-v2", DEBERTA_V3, kind="mlm"),
    "deberta_v2_own_projections": Case(
        "deberta-v2",
        dict(DEBERTA, relative_attention=True, pos_att_type="c2p|p2c", type_vocab_size=2, max_relative_positions=7),
        kind="textenc",
        hidden_states=False,
    ),
    "deberta_v2_contents_to_positions": Case(
        "deberta-v2",
        dict(DEBERTA_HEAD, share_att_key=False, pos_att_type=["c2p"], norm_rel_ebd="none"),
        kind="textenc",
        hidden_states=False,
        gradients=False,
    ),
    "deberta_v2_positions_to_contents": Case(
        "deberta-v2",
        dict(DEBERTA_HEAD, share_att_key=False, pos_att_type=["p2c"], position_biased_input=True),
        kind="textenc",
        hidden_states=False,
    ),
    "deberta_v2_absolute": Case("deberta-v2", dict(DEBERTA, num_hidden_layers=1), kind="textenc", hidden_states=False),
    # the first token is padding, which sees nothing
    "deberta_v2_left": Case(
        "deberta-v2", dict(DEBERTA_HEAD, num_labels=3), kind="seqcls", hidden_states=False, pad_left=True, gradients=True
    ),
    "deberta_v2_padding_gradients": Case("deberta-v2", DEBERTA_HEAD, kind="qa", hidden_states=False, gradients=True),
    "deberta_v2_convolution": Case(
        "deberta-v2", dict(DEBERTA_HEAD, num_hidden_layers=2, conv_kernel_size=3, conv_act="gelu"), kind="textenc"
    ),
    "deberta_v2_convolution_groups": Case(
        "deberta-v2", dict(DEBERTA_HEAD, conv_kernel_size=5, conv_groups=2), kind="textenc", hidden_states=False
    ),
    "deberta_v2_not_legacy": Case(
        "deberta-v2", dict(DEBERTA_HEAD, legacy=False), kind="mlm", hidden_states=False, gradients=True
    ),
    "deberta_v2_narrow_embeddings": Case(
        "deberta-v2", dict(DEBERTA_HEAD, embedding_size=12), kind="mlm", hidden_states=False
    ),
    "deberta_v2_shares": Case(
        "deberta-v2", dict(DEBERTA_HEAD, num_labels=3), kind="seqcls", hidden_states=False, float_labels=True
    ),
    **heads("deberta-v2", DEBERTA_HEAD),
    # modernbert: windows, a rope for each type of layer
    "modernbert": Case("modernbert", MODERNBERT, kind="mlm"),
    "modernbert_left": Case("modernbert", MODERNBERT, kind="textenc", pad_left=True, hidden_states=False),
    "modernbert_biases": Case(
        "modernbert",
        dict(
            MODERNBERT_HEAD,
            norm_bias=True,
            attention_bias=True,
            mlp_bias=True,
            classifier_bias=True,
            decoder_bias=False,
            tie_word_embeddings=False,
            layer_types=["sliding_attention", "full_attention"],
            hidden_activation="silu",
            classifier_activation="relu",
        ),
        kind="mlm",
        hidden_states=False,
    ),
    "modernbert_mean": Case(
        "modernbert", dict(MODERNBERT_HEAD, classifier_pooling="mean", num_labels=3), kind="seqcls", hidden_states=False
    ),
    "modernbert_left_choices": Case("modernbert", MODERNBERT_HEAD, kind="mc", hidden_states=False, pad_left=True),
    # as ModernBERT was published
    "modernbert_v4": Case(
        "modernbert",
        dict(
            MODERNBERT_HEAD,
            architectures=["ModernBertForMaskedLM"],
            model_type="modernbert",
            num_hidden_layers=3,
            global_attn_every_n_layers=2,
            global_rope_theta=500.0,
            local_rope_theta=100.0,
            position_embedding_type="absolute",
            reference_compile=False,
            torch_dtype="float32",
            transformers_version="4.48.0",
        ),
        kind="mlm",
        verbatim=True,
        hidden_states=False,
    ),
    **heads("modernbert", MODERNBERT_HEAD),
    # modernbert's decoder: the window is half as wide
    "modernbert_decoder": Case("modernbert-decoder", dict(MODERNBERT, local_attention=12, hidden_size=20, num_attention_heads=2)),
    "modernbert_decoder_beyond": Case(
        "modernbert-decoder", dict(MODERNBERT_HEAD, max_position_embeddings=8), hidden_states=False
    ),
    "modernbert_decoder_biases": Case(
        "modernbert-decoder",
        dict(
            MODERNBERT_HEAD,
            norm_bias=True,
            attention_bias=True,
            mlp_bias=True,
            classifier_bias=True,
            decoder_bias=False,
            tie_word_embeddings=False,
            layer_types=["sliding_attention", "full_attention"],
        ),
        hidden_states=False,
    ),
    "modernbert_decoder_classes": Case(
        "modernbert-decoder", dict(MODERNBERT_HEAD, num_labels=3), kind="seqcls", hidden_states=False
    ),
    # nomic_bert and gte: rotary positions in BERT's order of norms
    "nomic_bert": Case("nomic_bert", NOMIC, kind="mlm"),
    "nomic_bert_encoder": Case(
        "nomic_bert", dict(NOMIC_HEAD, head_dim=6, rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=50.0)),
        kind="textenc",
        hidden_states=False,
    ),
    "nomic_bert_untied": Case("nomic_bert", dict(NOMIC_HEAD, tie_word_embeddings=False), kind="mlm", hidden_states=False),
    **heads("nomic_bert", NOMIC_HEAD, ("seqcls", "tokcls")),
    "gte": Case("gte", dict(NOMIC, pad_token_id=1), kind="mlm"),
    "gte_no_segments": Case("gte", dict(NOMIC_HEAD, type_vocab_size=0), kind="textenc", hidden_states=False, pad_left=True),
    "gte_untied": Case("gte", dict(NOMIC_HEAD, tie_word_embeddings=False), kind="mlm", hidden_states=False),
    **heads("gte", NOMIC_HEAD, ("seqcls", "tokcls")),
    # eurobert: llama's layers in both directions
    "eurobert": Case("eurobert", EUROBERT, kind="mlm"),
    "eurobert_biases": Case(
        "eurobert",
        dict(EUROBERT_HEAD, attention_bias=True, mlp_bias=True, tie_word_embeddings=True, head_dim=6),
        kind="mlm",
        hidden_states=False,
    ),
    "eurobert_left": Case("eurobert", EUROBERT_HEAD, kind="textenc", hidden_states=False, pad_left=True),
    "eurobert_bos": Case(
        "eurobert", dict(EUROBERT_HEAD, classifier_pooling="bos", num_labels=3), kind="seqcls", hidden_states=False
    ),
    "eurobert_mean": Case(
        "eurobert", dict(EUROBERT_HEAD, classifier_pooling="mean", num_labels=3), kind="seqcls", hidden_states=False
    ),
    **heads("eurobert", EUROBERT_HEAD, ("seqcls", "tokcls")),
}

from cases_dense import DENSE  # noqa: E402  (it needs what is above)
from cases_encoder_decoder import ENCODER_DECODER  # noqa: E402  (it needs what is above)
from cases_heads import heads as heads_of_first  # noqa: E402
from cases_recurrent import RECURRENT  # noqa: E402  (it needs what is above)
from cases_sparse import CASES_SPARSE  # noqa: E402  (it needs what is above)
from cases_wrapped import WRAPPED  # noqa: E402  (it needs what is above)

CASES |= ENCODER_DECODER | DENSE | RECURRENT | CASES_SPARSE | WRAPPED
CASES |= heads_of_first(CASES)

# Of every kind of attention one case: plain, grouped, windows, softcaps, sinks, biases by distance, latent, relative
# positions, disentangled, and from a decoder to an encoder.
WITH_ATTENTIONS = (
    "llama",
    "mistral",
    "gpt2",
    "gemma2",
    "gpt_oss",
    "bloom",
    "falcon_alibi",
    "deepseek_v3",
    "bert",
    "bert_classes",
    "albert",
    "distilbert",
    "mpnet",
    "deberta_v2",
    "modernbert",
    "modernbert_decoder",
    "nomic_bert",
    "eurobert",
    "bart",
    "t5",
)
CASES |= {name: replace(CASES[name], attentions=True) for name in WITH_ATTENTIONS}
