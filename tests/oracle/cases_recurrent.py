"""The conformance cases of recurrent decoders, state spaces and short convolutions: see `cases.py`."""

from cases import SPECIAL_TOKENS, Case

MAMBA = dict(
    vocab_size=64,
    hidden_size=16,
    state_size=6,
    num_hidden_layers=2,
    time_step_rank=3,
    **SPECIAL_TOKENS,
)

MAMBA_OPTIONS = dict(
    MAMBA,
    num_hidden_layers=1,
    expand=3,
    state_size=5,
    time_step_rank="auto",
    conv_kernel=3,
    use_bias=True,
    use_conv_bias=False,
    tie_word_embeddings=False,
    hidden_act="gelu",
)

# Two groups of two heads; the prompt is three chunks, the last of them not full.
MAMBA2 = dict(
    vocab_size=64,
    hidden_size=16,
    num_heads=4,
    head_dim=8,
    n_groups=2,
    state_size=6,
    chunk_size=4,
    num_hidden_layers=2,
    **SPECIAL_TOKENS,
)

LFM2 = dict(
    vocab_size=64,
    hidden_size=16,
    intermediate_size=30,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    block_multiple_of=6,
    layer_types=["conv", "full_attention", "conv"],
    **SPECIAL_TOKENS,
)

RECURRENT = {
    # mamba: selective state spaces, one time step for each feature
    "mamba": Case("mamba", MAMBA),
    "mamba_options": Case("mamba", MAMBA_OPTIONS, hidden_states=False),
    "mamba_gradients": Case("mamba", dict(MAMBA, num_hidden_layers=1), hidden_states=False, gradients=True),
    # falcon_mamba: norms of time steps and of what enters and leaves the states
    "falcon_mamba": Case("falcon_mamba", dict(MAMBA, tie_word_embeddings=False)),
    "falcon_mamba_options": Case("falcon_mamba", dict(MAMBA_OPTIONS, mixer_rms_eps=1e-2), hidden_states=False),
    # mamba2: one time step for each head, computed in chunks
    "mamba2": Case("mamba2", MAMBA2),
    "mamba2_options": Case(
        "mamba2",
        dict(
            MAMBA2,
            num_hidden_layers=1,
            expand=3,
            num_heads=6,
            n_groups=1,
            conv_kernel=3,
            use_bias=True,
            use_conv_bias=False,
            tie_word_embeddings=True,
            hidden_act="gelu",
        ),
        hidden_states=False,
    ),
    # the limits hold for prompts, and not for a token that follows one
    "mamba2_limits": Case(
        "mamba2", dict(MAMBA2, num_hidden_layers=1, time_step_limit=[0.6, 0.8]), hidden_states=False
    ),
    "mamba2_gradients": Case("mamba2", dict(MAMBA2, num_hidden_layers=1), hidden_states=False, gradients=True),
    # lfm2: short convolutions between layers of attention
    "lfm2": Case("lfm2", LFM2),
    "lfm2_options": Case(
        "lfm2",
        dict(
            LFM2,
            num_hidden_layers=2,
            layer_types=None,
            full_attn_idxs=[0],
            block_auto_adjust_ff_dim=False,
            conv_bias=True,
            conv_L_cache=4,
            tie_word_embeddings=False,
        ),
        hidden_states=False,
    ),
    "lfm2_multiplier": Case(
        "lfm2", dict(LFM2, num_hidden_layers=1, layer_types=["full_attention"], block_ffn_dim_multiplier=1.3), hidden_states=False
    ),
}
