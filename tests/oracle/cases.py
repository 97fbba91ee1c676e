"""The conformance cases, as data: which tiny model each one builds and what is special about it.

Every case is one folder under `tests/cases`, made by `gen_cases.py`; its README says what a folder holds. Dimensions
are chosen to differ from each other wherever the architecture lets them, so that a mixed-up axis cannot pass, and to
keep a folder below 100 kB.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """One tiny random model.

    `kind` is `lm` (causal language model), `mlm` (masked language model) or `textenc` (the headless `AutoModel`).
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


def rope(rope_type, **parameters):
    return dict(rope_parameters=dict(rope_type=rope_type, rope_theta=10000.0, **parameters))


CASES = {
    # llama: ties, biases, heads
    "llama": Case("llama", DECODER),
    "llama_tied_bias": Case(
        "llama", dict(DECODER, tie_word_embeddings=True, attention_bias=True, mlp_bias=True), stop_at_step=11
    ),
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
}
