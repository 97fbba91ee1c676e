"""Orders of samplers and batches of collators, for the tests of crates/trainer.

transformers 5.23.0, torch 2.15.0. Run after golden_tokenization.py:
python golden_trainer_data.py ../../crates/trainer/tests/golden

The tokenizers are those of crates/tokenization/tests/golden.
"""

import json
import sys
from pathlib import Path

import torch
from accelerate.data_loader import SeedableRandomSampler
from transformers import (
    AutoTokenizer, BartConfig, BartForConditionalGeneration, DataCollatorForLanguageModeling, DataCollatorForMultipleChoice,
    DataCollatorForSeq2Seq, DataCollatorForTokenClassification, DataCollatorWithFlattening, DataCollatorWithPadding,
    T5Config, T5ForConditionalGeneration, default_data_collator,
)
from transformers.trainer_pt_utils import get_length_grouped_indices

OUT = Path(sys.argv[1])
TOKENIZERS = Path(__file__).resolve().parents[2] / "crates/tokenization/tests/golden"

TEXTS = [
    "Call me Ishmael. Some years ago, never mind how long precisely, I thought I would sail about a little.",
    "The capital of France is Paris.",
    "Yes",
    "All happy families are alike; every unhappy family is unhappy in its own way.",
]


def tokenizer(name, **options):
    return AutoTokenizer.from_pretrained(TOKENIZERS / name, **options)


def plain(batch):
    """Arrays as nested lists with their kind."""
    kinds = {torch.int64: "integers", torch.int32: "integers", torch.float32: "floats", torch.bool: "bools"}
    tensors = {name: value for name, value in batch.items() if isinstance(value, torch.Tensor)}
    return {name: {"kind": kinds[value.dtype], "shape": list(value.shape), "values": value.flatten().tolist()}
            for name, value in tensors.items()}


def case(call, examples, **about):
    examples = json.loads(json.dumps(examples))
    return {**about, "examples": json.loads(json.dumps(examples)), "batch": plain(call(examples))}


def samplers():
    def epochs(length, seed):
        sampler = SeedableRandomSampler(range(length), data_seed=seed)
        orders = []
        for epoch in range(3):
            sampler.set_epoch(epoch)
            orders.append(list(sampler))
        return orders

    def grouped(length, batch_size, seed):
        torch.manual_seed(seed)
        lengths = torch.randint(1, 12, (length,)).tolist()
        generator = torch.Generator().manual_seed(seed)
        return {"lengths": lengths, "batch_size": batch_size, "seed": seed,
                "order": get_length_grouped_indices(lengths, batch_size, generator=generator)}

    generator = torch.Generator().manual_seed(2**40 + 7)
    draws = {"seed": 2**40 + 7, "uniform": torch.rand(9, generator=generator).tolist(),
             "bernoulli": torch.bernoulli(torch.full((40,), 0.3), generator=generator).int().tolist(),
             "below": [1000, torch.randint(1000, (20,), generator=generator).tolist()],
             "permutation": torch.randperm(50, generator=generator).tolist()}
    return {
        "draws": draws,
        "random": [{"len": length, "seed": seed, "epochs": epochs(length, seed)} for length, seed in [(1, 0), (10, 42), (97, 7)]],
        "grouped": [grouped(*arguments) for arguments in [(3, 4, 0), (50, 4, 1), (120, 2, 2), (1000, 4, 3)]],
    }


def collators():
    word = tokenizer("word_piece", padding_side="right")
    left = tokenizer("word_piece", padding_side="left")
    rows = [dict(word(text)) for text in TEXTS]
    bare = [{"input_ids": row["input_ids"]} for row in rows]
    labelled = [{**row, "label": index % 2} for index, row in enumerate(rows)]
    scored = [{**row, "label": index / 2} for index, row in enumerate(rows)]
    tagged = [{**row, "labels": [index % 3 for index in range(len(row["input_ids"]))]} for row in rows]
    cases = [
        case(default_data_collator, [{"input_ids": [1, 2], "label": 1, "text": "a", "x": [[1.5, 2], [3, 4]], "none": None, "keep": True},
                                     {"input_ids": [3, 4], "label": 0, "text": "b", "x": [[0, 1], [2, 2]], "none": None, "keep": False}],
             collator="default"),
        case(default_data_collator, [{"a": 1, "label": 0.5}, {"a": 2, "label": 1.0}], collator="default"),
        case(default_data_collator, [{"label_ids": [1, -100]}, {"label_ids": [0, 2]}], collator="default"),
    ]
    for side, chosen in [("right", word), ("left", left)]:
        for options in [{}, {"pad_to_multiple_of": 8}, {"padding": "max_length", "max_length": 48}]:
            about = {"side": side, "options": options}
            cases += [
                case(DataCollatorWithPadding(chosen, **options), labelled, collator="padding", **about),
                case(DataCollatorForTokenClassification(chosen, **options), tagged, collator="tokens", **about),
            ]
        about = {"side": side, "options": {}}
        cases += [
            case(DataCollatorWithPadding(chosen), scored, collator="padding", **about),
            case(DataCollatorWithPadding(chosen), bare, collator="padding", **about),
            case(DataCollatorForTokenClassification(chosen), rows, collator="tokens", **about),
        ]
        choices = [{**{key: [rows[i][key], rows[j][key], rows[i][key][:3]] for key in rows[0]}, "labels": k}
                   for i, j, k in [(0, 1, 2), (2, 3, 0)]]
        cases.append(case(DataCollatorForMultipleChoice(chosen), choices, collator="choices", **about))

        targets = [{**row, "labels": other["input_ids"]} for row, other in zip(rows, rows[1:] + rows[:1])]
        small = {"vocab_size": 2000, "d_model": 8}
        models = [
            (None, None),
            ("bart", BartForConditionalGeneration(BartConfig(
                **small, encoder_layers=1, decoder_layers=1, encoder_attention_heads=1, decoder_attention_heads=1,
                encoder_ffn_dim=8, decoder_ffn_dim=8, pad_token_id=word.pad_token_id, decoder_start_token_id=2))),
            ("t5", T5ForConditionalGeneration(T5Config(
                **small, d_kv=8, d_ff=8, num_layers=1, num_heads=1, pad_token_id=word.pad_token_id,
                decoder_start_token_id=word.pad_token_id))),
        ]
        for name, model in models:
            start = model.config.decoder_start_token_id if model else None
            pad = model.config.pad_token_id if model else None
            for options in [{}, {"pad_to_multiple_of": 8}]:
                cases.append(case(DataCollatorForSeq2Seq(chosen, model=model, **options), targets, collator="seq2seq", side=side,
                                  options=options, model=name, decoder_start_token_id=start, decoder_pad_token_id=pad))

        masked = [dict(chosen(text, return_special_tokens_mask=True)) for text in TEXTS]
        offsets = [dict(chosen(text, return_special_tokens_mask=True, return_offsets_mapping=True)) for text in TEXTS]
        # The reference pads no offsets.
        longest = max(len(row["input_ids"]) for row in offsets)
        whole = [row for row in offsets if len(row["input_ids"]) == longest] * 2
        for options in [{"seed": 1}, {"seed": 2, "mlm_probability": 0.5}, {"seed": 3, "mask_replace_prob": 0.3, "random_replace_prob": 0.6},
                        {"seed": 4, "mask_replace_prob": 0.0, "random_replace_prob": 1.0, "pad_to_multiple_of": 8},
                        {"seed": 5, "mask_replace_prob": 1.0, "random_replace_prob": 0.0, "mlm_probability": 0.9}]:
            for examples in [masked, rows]:
                cases.append(case(DataCollatorForLanguageModeling(chosen, **options), examples, collator="masked", side=side, options=options))
        for seed in [0, 1, 2]:
            options = {"seed": seed, "mlm_probability": 0.3}
            cases.append(case(DataCollatorForLanguageModeling(chosen, whole_word_mask=True, **options), whole, collator="whole words",
                              side=side, options=options))
        for options in [{}, {"pad_to_multiple_of": 8}]:
            cases.append(case(DataCollatorForLanguageModeling(chosen, mlm=False, **options), rows, collator="causal", side=side, options=options))
    for options in [{}, {"return_seq_idx": True, "return_flash_attn_kwargs": True}, {"position_ids_start": 2, "return_seq_idx": True},
                    {"return_position_ids": False, "separator_id": -1}]:
        for examples in [bare, tagged]:
            cases.append(case(DataCollatorWithFlattening(**options), examples, collator="flattening", options=options))
    return cases


OUT.mkdir(parents=True, exist_ok=True)
for name, content in [("samplers.json", samplers()), ("collators.json", collators())]:
    (OUT / name).write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")
