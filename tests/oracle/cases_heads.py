"""The conformance cases of heads that are the same in many families, on each family's first case: see `cases.py`."""

from dataclasses import replace

NAMES = dict(textenc="headless", seqcls="classes", tokcls="token_classes", qa="answers", mlm="masked", pretraining="pretraining")
LABELS = dict(seqcls=3, tokcls=5)

HEADLESS = """bart bloom cohere cohere2 deepseek_v2 deepseek_v3 ernie4_5 ernie4_5_moe exaone4 falcon falcon_mamba gemma2 glm4
glm4_moe gpt2 gpt_neo gpt_neox gpt_oss gptj granite granitemoe lfm2 mamba mamba2 mbart minimax_m2 ministral3 mistral mixtral
modernbert_decoder mpt mt5 nemotron olmo2 olmo3 olmoe opt phi phi3 qwen2 qwen2_moe qwen3 qwen3_5_moe_text qwen3_moe qwen3_next
seed_oss smollm3 stablelm starcoder2 t5 umt5""".split()

# For the kinds beside HEADLESS: the families that have no case of their own for it.
BY_KIND = dict(
    textenc=HEADLESS,
    seqcls="deepseek_v2 deepseek_v3 gpt_oss mistral mixtral qwen2 qwen2_moe qwen3 qwen3_moe".split(),
    tokcls="deepseek_v3 gpt_oss mistral mixtral qwen2 qwen2_moe qwen3 qwen3_moe".split(),
    qa="mixtral qwen2 qwen2_moe qwen3 qwen3_moe".split(),
    # the model of `s2s` under another name; its targets are as long as its prompt
    mlm="bart mbart".split(),
    pretraining="bart gpt2 t5".split(),
)


# Prompts of other lengths, where roundings would choose other experts for a token of the usual one.
TOKENS = dict(qwen2_moe_headless=8, qwen3_moe_classes=8)
# And where no length helps: every expert is taken.
EXPERTS = dict(minimax_m2_headless=dict(num_experts_per_tok=4))


def heads(cases):
    """The cases, of which `cases` has each family's first."""
    made = {}
    for kind, names in BY_KIND.items():
        for name in names:
            first = cases[name]
            case = f"{name}_{NAMES[kind]}"
            config = first.config | EXPERTS.get(case, {}) | (dict(num_labels=LABELS[kind]) if kind in LABELS else {})
            plain = dict(hidden_states=False, labels=False, gradients=False, stop_at_step=None)
            made[case] = replace(first, config=config, kind=kind, tokens=TOKENS.get(case, first.tokens), **plain)
    return made
