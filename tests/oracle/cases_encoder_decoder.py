"""The conformance cases of encoder–decoders: see `cases.py`."""

from cases import Case

# More encoder than decoder layers.
T5 = dict(
    vocab_size=64,
    d_model=20,
    d_kv=4,
    d_ff=12,
    num_layers=2,
    num_decoder_layers=1,
    num_heads=4,
    relative_attention_num_buckets=8,
    relative_attention_max_distance=12,
    decoder_start_token_id=0,
)

# Other heads and widths on each side.
BART = dict(
    vocab_size=64,
    d_model=12,
    encoder_layers=1,
    decoder_layers=2,
    encoder_ffn_dim=10,
    decoder_ffn_dim=8,
    encoder_attention_heads=2,
    decoder_attention_heads=4,
    max_position_embeddings=20,
    decoder_start_token_id=2,
    forced_eos_token_id=None,
    bos_token_id=0,
    eos_token_id=2,
    pad_token_id=1,
)

ENCODER_DECODER = {
    # t5: 1.0 is scaled before the output layer, 1.1 is not; the reference ties both
    "t5": Case("t5", T5, kind="s2s"),
    "t5_gated": Case(
        "t5",
        dict(T5, d_model=12, d_kv=3, d_ff=8, feed_forward_proj="gated-gelu", tie_word_embeddings=False, num_layers=1),
        kind="s2s",
        labels=True,
        gradients=True,
        hidden_states=False,
    ),
    "t5_gated_silu": Case(
        "t5", dict(T5, feed_forward_proj="gated-silu", num_layers=1, layer_norm_epsilon=1e-3), kind="s2s", hidden_states=False
    ),
    # mt5: as t5 1.1; umt5: a table of positions in every layer, and always scaled
    "mt5": Case("mt5", dict(T5, num_layers=1), kind="s2s"),
    "umt5": Case("umt5", dict(T5, d_model=12, d_kv=3, d_ff=8, num_decoder_layers=2), kind="s2s"),
    # bart: a norm after each part, and of the embeddings; two unused rows of positions
    "bart": Case("bart", BART, kind="s2s"),
    "bart_relu": Case(
        "bart",
        dict(BART, scale_embedding=True, activation_function="relu", forced_bos_token_id=0, forced_eos_token_id=2),
        kind="s2s",
        labels=True,
        hidden_states=False,
    ),
    # three embeddings, of which the shared one is not used
    "bart_untied": Case("bart", dict(BART, tie_word_embeddings=False, decoder_layers=1), kind="s2s", hidden_states=False),
    # mbart: norms before each part and at the end, and of the embeddings; targets wrap their last token around
    "mbart": Case("mbart", BART, kind="s2s"),
    "mbart_labels": Case("mbart", dict(BART, scale_embedding=True), kind="s2s", labels=True, hidden_states=False),
    # marian: sinusoids that the file does not have
    "marian": Case("marian", dict(BART, scale_embedding=True), kind="s2s"),
    "marian_two_vocabularies": Case(
        "marian",
        dict(BART, share_encoder_decoder_embeddings=False, decoder_vocab_size=72, scale_embedding=True),
        kind="s2s",
        fewest_ids=1,
        hidden_states=False,
    ),
    # pegasus: sinusoids that the file has
    "pegasus": Case("pegasus", dict(BART, scale_embedding=True), kind="s2s"),
    "blenderbot": Case("blenderbot", BART, kind="s2s"),
    # m2m_100: positions are counted over the tokens that are no padding
    "m2m_100": Case("m2m_100", BART, kind="s2s"),
    "m2m_100_labels": Case(
        "m2m_100", dict(BART, scale_embedding=False), kind="s2s", labels=True, hidden_states=False
    ),
}

# Small, for what stands on top.
T5_HEAD = dict(T5, d_model=12, d_kv=3, d_ff=8, num_layers=1, vocab_size=40)
BART_HEAD = dict(BART, decoder_layers=1, vocab_size=40)


def heads(model_type, config, kinds):
    """One case for each head of an encoder–decoder."""
    names = dict(seqcls="classes", tokcls="token_classes", qa="answers")
    labels = dict(seqcls=dict(num_labels=3), tokcls=dict(num_labels=5))
    return {
        f"{model_type}_{names[kind]}": Case(model_type, config | labels.get(kind, {}), kind=kind, hidden_states=False)
        for kind in kinds
    }


for family in ("t5", "mt5", "umt5"):
    ENCODER_DECODER |= heads(family, T5_HEAD, ("seqcls", "tokcls", "qa"))
for family in ("bart", "mbart"):
    ENCODER_DECODER |= heads(family, BART_HEAD, ("seqcls", "qa"))

# The decoder alone. (The reference makes its cache for as many layers as the encoder has.)
for family in ("bart", "mbart", "marian", "pegasus", "blenderbot"):
    ENCODER_DECODER[f"{family}_decoder"] = Case(
        family,
        dict(BART_HEAD, encoder_layers=2, decoder_layers=2, max_position_embeddings=32, scale_embedding=True),
        hidden_states=family == "bart",
        fewest_ids=2,
    )
# As long as its positions reach: the last token needs none.
ENCODER_DECODER["pegasus_decoder_full"] = Case(
    "pegasus", dict(BART_HEAD, max_position_embeddings=26), hidden_states=False, fewest_ids=2
)
# Configs that say nothing of what the class makes of them.
ENCODER_DECODER["bart_decoder_v4"] = Case(
    "bart",
    dict(BART_HEAD, max_position_embeddings=32, model_type="bart", architectures=["BartForCausalLM"], torch_dtype="float32"),
    verbatim=True,
    hidden_states=False,
    fewest_ids=2,
)
ENCODER_DECODER["mt5_token_classes_v4"] = Case(
    "mt5",
    dict(T5_HEAD, model_type="mt5", architectures=["MT5ForTokenClassification"], tie_word_embeddings=False),
    kind="tokcls",
    verbatim=True,
    hidden_states=False,
)
