"""Writes crates/transformers/tests/tiny: a chat model small enough to commit that still answers a question.

    tests/oracle/tiny_chat.py crates/transformers/tests/tiny

A llama of some 20,000 parameters with a byte-level BPE tokenizer and a chat template, trained until it knows two
conversations by heart. Documentation and tests of the command line run on it: what they show is what it says.
"""

import os
import shutil
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: E402

CONVERSATIONS = [
    ("What is the capital of France?", "The capital of France is Paris."),
    ("Who are you?", "I am a tiny model."),
]
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]


def make_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    # Every byte has a token, and so has every word of the conversations.
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text for pair in CONVERSATIONS * 2 for text in pair], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|end|>",
        chat_template=TEMPLATE,
        model_max_length=64,
    )


def train(model, tokenizer):
    """The answers by heart; the questions too, so that a raw prompt is continued likewise."""
    rows = []
    for question, answer in CONVERSATIONS:
        messages = [dict(role="user", content=question), dict(role="assistant", content=answer)]
        rows.append(tokenizer.apply_chat_template(messages, tokenize=False))
        rows.append(answer + "<|end|>")
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    for _ in range(200):
        loss = 0
        for row in rows:
            ids = torch.tensor([tokenizer(row).input_ids])
            loss = loss + model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def main():
    out = sys.argv[1]
    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    loss = train(model, tokenizer)

    for question, answer in CONVERSATIONS:
        prompt = tokenizer.apply_chat_template(
            [dict(role="user", content=question)], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        ids = model.generate(**prompt, max_new_tokens=32, do_sample=False)[0, prompt["input_ids"].shape[1] :]
        assert tokenizer.decode(ids, skip_special_tokens=True) == answer, (question, tokenizer.decode(ids))
    shutil.rmtree(out, ignore_errors=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    os.chmod(os.path.join(out, "model.safetensors"), 0o644)
    size = sum(entry.stat().st_size for entry in os.scandir(out))
    print(f"{out}: {sum(p.numel() for p in model.parameters())} parameters, loss {loss:.4f}, {size} bytes")


main()
