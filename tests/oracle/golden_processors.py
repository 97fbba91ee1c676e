#!/usr/bin/env python3
"""Write `tests/golden/logits_processors.json`: what the reference's logits processors do to random logits.

    golden_processors.py OUT.json

Each case sets fields of a generation config; `scores` is what the processors that the reference builds from it, in its
order, make of `logits` (one row) after `input_ids`, of which the first `prompt_len` are the prompt, and the encoder's
input where there is no other. A removed token (minus infinity) is null. Logits are multiples of
1/64 and all distinct, so that they are exact in every format and no order of equals matters; the tie case says so.
With `stepwise` the processors, which keep state, were called for every step from the prompt's end on; `scale` is how large
the numbers are that they add up.

`others` are processors that no field asks for: `processor` with its arguments. `detections` is what the detector of green
lists finds in texts.
"""

import json
import math
import sys
from pathlib import Path

from tiny import VERSIONS, torch  # first: it sets the environment of the reference

from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    LlamaConfig,
    SynthIDTextWatermarkingConfig,
    WatermarkDetector,
    WatermarkingConfig,
)
from transformers.generation.logits_process import (
    AlternatingCodebooksLogitsProcessor,
    BarkEosPrioritizerLogitsProcessor,
    WhisperNoSpeechDetection,
    WhisperTimeStampLogitsProcessor,
)

VOCABULARY = 24
WIDE = 64
SEED = 7
INPUT_IDS = [3, 17, 3, 8, 0, 21]
PROMPT_LEN = 4
# repeats itself: 5 6 7 5 6, then 7 or 9
REPEATING = [5, 6, 7, 5, 6, 9, 2, 5, 6]
EOS = dict(eos_token_id=[2, 11])

# Without a mention, top_k is off: its fallback of 50 is larger than the vocabulary.
CONFIGS = [
    dict(do_sample=False),
    dict(do_sample=True),
    dict(do_sample=True, temperature=0.7),
    dict(do_sample=True, temperature=2.5),
    dict(do_sample=True, top_k=1),
    dict(do_sample=True, top_k=5),
    dict(do_sample=True, top_p=0.05),
    dict(do_sample=True, top_p=0.5),
    dict(do_sample=True, top_p=0.9),
    dict(do_sample=True, min_p=0.02),
    dict(do_sample=True, min_p=0.2),
    dict(do_sample=True, min_p=1.0),
    dict(do_sample=False, repetition_penalty=1.3),
    dict(do_sample=False, repetition_penalty=0.8),
    # sampling settings are not used by greedy decoding
    dict(do_sample=False, temperature=0.5, top_k=3),
    dict(do_sample=True, repetition_penalty=1.2, temperature=0.8, top_k=12, top_p=0.8, min_p=0.05),
    dict(do_sample=True, temperature=1.5, top_p=0.7),
    dict(do_sample=True, top_h=0.1),
    dict(do_sample=True, top_h=0.7),
    dict(do_sample=True, top_h=1.0),
    dict(do_sample=True, typical_p=0.2),
    dict(do_sample=True, typical_p=0.9),
    dict(do_sample=True, epsilon_cutoff=0.03),
    dict(do_sample=True, epsilon_cutoff=0.9),
    dict(do_sample=True, eta_cutoff=0.05),
    dict(do_sample=True, eta_cutoff=0.9),
    dict(do_sample=True, renormalize_logits=True, temperature=0.5),
    dict(do_sample=False, encoder_repetition_penalty=1.7),
    dict(do_sample=False, encoder_repetition_penalty=1.7, repetition_penalty=1.3),
    dict(do_sample=False, sequence_bias=[[[4], 2.5], [[21, 9], -3.0], [[0, 21, 7], 1.5], [[3, 21, 8], 1.5]]),
    dict(do_sample=False, sequence_bias=[[[4], 2.5], [[4], -1.0], [[21, 4], 0.5]]),
    dict(do_sample=False, bad_words_ids=[[1], [21, 5], [3, 6], [8, 0, 21, 7], [2]], **EOS),
    dict(do_sample=False, min_length=7, **EOS),
    dict(do_sample=False, min_length=6, **EOS),
    dict(do_sample=False, min_new_tokens=3, **EOS),
    dict(do_sample=False, min_new_tokens=2, **EOS),
    dict(do_sample=False, forced_eos_token_id=11, max_new_tokens=3),
    dict(do_sample=False, forced_eos_token_id=[11, 2], max_new_tokens=3),
    dict(do_sample=False, forced_eos_token_id=11, max_new_tokens=4),
    dict(do_sample=False, exponential_decay_length_penalty=(1, 1.5), **EOS),
    dict(do_sample=False, exponential_decay_length_penalty=(2, 1.5), **EOS),
    dict(do_sample=False, exponential_decay_length_penalty=(-1, 0.5), **EOS),
    dict(do_sample=False, suppress_tokens=[1, 5, 23]),
    dict(do_sample=False, begin_suppress_tokens=[1, 5, 23]),
    # all of them, in the reference's order
    dict(
        do_sample=True,
        sequence_bias=[[[21, 9], 3.0]],
        encoder_repetition_penalty=1.2,
        repetition_penalty=1.1,
        no_repeat_ngram_size=2,
        bad_words_ids=[[21, 5]],
        exponential_decay_length_penalty=(0, 1.2),
        suppress_tokens=[14],
        temperature=1.3,
        top_h=0.95,
        top_k=15,
        top_p=0.95,
        min_p=0.01,
        typical_p=0.95,
        epsilon_cutoff=0.005,
        eta_cutoff=0.01,
        renormalize_logits=True,
        **EOS,
    ),
]

# what follows other rows: fields, and the row with its encoder's input
ROWS = [
    (dict(no_repeat_ngram_size=1), REPEATING, None),
    (dict(no_repeat_ngram_size=2), REPEATING, None),
    (dict(no_repeat_ngram_size=3), REPEATING, None),
    (dict(no_repeat_ngram_size=4), [5, 6, 7], None),
    (dict(encoder_no_repeat_ngram_size=2), [9, 6], REPEATING),
    (dict(encoder_no_repeat_ngram_size=3), [2, 5, 6], REPEATING),
    (dict(encoder_no_repeat_ngram_size=3), [5], REPEATING),
    (dict(encoder_repetition_penalty=0.6), [1, 2], REPEATING),
    (dict(forced_bos_token_id=4), [1], None),
    (dict(forced_bos_token_id=4), [1, 5], None),
    (dict(begin_suppress_tokens=[1, 5]), INPUT_IDS[:PROMPT_LEN], None),
    (dict(begin_suppress_tokens=[1, 5], forced_bos_token_id=4), [1], None),
]


GREEN = [
    dict(),
    dict(greenlist_ratio=0.5, bias=-1.5, hashing_key=7),
    dict(hashing_key=2**40 + 12345),
    dict(seeding_scheme="selfhash", greenlist_ratio=0.5),
    dict(seeding_scheme="selfhash", greenlist_ratio=0.4, context_width=3, bias=0.5, hashing_key=2**35 + 17),
    dict(context_width=9),
]
KEYS = [654, 400, 836, 123, 340, 443, 597, 160, 57]
SYNTH_ID = [
    dict(ngram_len=5, keys=KEYS),
    dict(ngram_len=2, keys=[1, -5, 2**60], sampling_table_seed=3, sampling_table_size=100, context_history_size=2),
    dict(ngram_len=3, keys=KEYS, skip_first_ngram_calls=True),
    dict(ngram_len=3, keys=KEYS, debug_mode=True),
]

# a vocabulary of text 0 to 15 with its end 15, 16 for "no timestamps", timestamps from 17 on
WHISPER = [
    (dict(), []),
    (dict(max_initial_timestamp_index=2), []),
    (dict(), [17]),
    (dict(), [17, 3]),
    (dict(), [17, 3, 20]),
    (dict(), [17, 3, 20, 20]),
    (dict(), [17, 3, 20, 20, 4]),
    (dict(detect=False), [17, 3, 20]),
    (dict(detect=False), []),
]


def processors(model, config, prompt_len, encoder_ids):
    """The reference's own list for a generation config, fallbacks filled in as `generate` fills them."""
    config, _ = model._prepare_generation_config(GenerationConfig(**config))
    if config.max_new_tokens is not None:
        config.max_length = prompt_len + config.max_new_tokens
    model._prepare_special_tokens(config, kwargs_has_attention_mask=True, device="cpu")
    return model._get_logits_processor(
        config,
        input_ids_seq_length=prompt_len,
        encoder_input_ids=torch.tensor([encoder_ids]),
        device="cpu",
        model_kwargs={},
    )


def distinct_logits(generator, vocabulary=VOCABULARY):
    steps = torch.randperm(512, generator=generator)[:vocabulary] - 256
    return steps / 64


def number(value):
    """JSON has no infinities: minus infinity is null, the others are spelled out."""
    if value == -math.inf:
        return None
    return value if math.isfinite(value) else str(value)


def case(model, config, logits, input_ids=INPUT_IDS, encoder_ids=None):
    prompt_len = min(PROMPT_LEN, len(input_ids))
    encoder = encoder_ids or input_ids[:prompt_len]
    scores = processors(model, config, prompt_len, encoder)(torch.tensor([input_ids]), logits[None].clone())[0]
    entry = dict(config=config, input_ids=input_ids)
    if encoder_ids:
        entry["encoder_ids"] = encoder_ids
    entry["logits"] = [number(value) for value in logits.tolist()]
    entry["scores"] = [number(value) for value in scores.tolist()]
    return entry


def marked(model, config, logits, input_ids):
    """Of a processor that keeps state."""
    list_ = processors(model, dict(do_sample=False, watermarking_config=config), PROMPT_LEN, input_ids[:PROMPT_LEN])
    for end in range(PROMPT_LEN, len(input_ids) + 1):
        scores = list_(torch.tensor([input_ids[:end]]), logits[None].clone())[0]
    fields = {key: value for key, value in config.to_dict().items() if value is not None}
    return dict(
        config=dict(do_sample=False, watermarking_config=fields),
        input_ids=input_ids,
        stepwise=True,
        scale=10.0,
        logits=[number(value) for value in logits.tolist()],
        scores=[number(value) for value in scores.tolist()],
    )


def other(name, processor, arguments, prompt_len, input_ids, logits, **found):
    scores = processor(torch.tensor([input_ids]), logits[None].clone())[0]
    return dict(
        processor=name,
        arguments=arguments,
        prompt_len=prompt_len,
        input_ids=input_ids,
        logits=[number(value) for value in logits.tolist()],
        scores=[number(value) for value in scores.tolist()],
        **{key: float(value(processor)) for key, value in found.items()},
    )


def others(generator):
    for fields, new in WHISPER:
        config = GenerationConfig(eos_token_id=15, no_timestamps_token_id=16)
        if "max_initial_timestamp_index" in fields:
            config.max_initial_timestamp_index = fields["max_initial_timestamp_index"]
        # for every other row of scores, timestamps are likelier than text
        for shift in [0.0, 3.0]:
            logits = distinct_logits(generator)
            logits[17:] += shift
            processor = WhisperTimeStampLogitsProcessor(
                config, begin_index=2, _detect_timestamp_from_logprob=fields.get("detect", True)
            )
            yield other("WhisperTimeStamp", processor, fields, 2, [9, 8] + new, logits)
    for logprobs in [False, True]:
        logits = distinct_logits(generator)
        if logprobs:
            logits = logits.log_softmax(-1)
        processor = WhisperNoSpeechDetection(no_speech_token=5, begin_index=1, scores_is_logprobs=logprobs)
        yield other(
            "WhisperNoSpeechDetection",
            processor,
            dict(scores_are_logprobs=logprobs),
            1,
            [9],
            logits,
            no_speech_prob=lambda processor: processor.no_speech_prob[0],
        )
    for input_ids in [[1, 2], [1, 2, 3], [1, 2, 3, 4]]:
        arguments = dict(input_start_len=2, semantic_vocab_size=10, codebook_size=6)
        processor = AlternatingCodebooksLogitsProcessor(**arguments)
        yield other("AlternatingCodebooks", processor, arguments, 2, input_ids, distinct_logits(generator))
    for min_eos_p in [0.0001, 0.9]:
        arguments = dict(eos_token_id=[4, 7], min_eos_p=min_eos_p)
        processor = BarkEosPrioritizerLogitsProcessor(**arguments)
        yield other("BarkEosPrioritizer", processor, arguments, 2, [1, 2, 3], distinct_logits(generator))


def detections(generator):
    config = LlamaConfig(vocab_size=WIDE, bos_token_id=1)
    for fields in GREEN[:-1]:
        for ignore in [False, True]:
            ids = torch.randint(2, WIDE, (40,), generator=generator).tolist()
            ids = [1] + ids + ids[:20]
            watermark = WatermarkingConfig(**fields)
            detector = WatermarkDetector(config, "cpu", watermark, ignore_repeated_ngrams=ignore)
            out = detector(torch.tensor([ids]), return_dict=True)
            yield dict(
                config=watermark.to_dict(),
                ignore_repeated_ngrams=ignore,
                ids=ids,
                num_tokens_scored=int(out.num_tokens_scored[0]),
                num_green_tokens=int(out.num_green_tokens[0]),
                z_score=float(out.z_score[0]),
                p_value=float(out.p_value[0]),
                prediction=bool(out.prediction[0]),
            )


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    generator = torch.Generator().manual_seed(SEED)
    tiny = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    model = AutoModelForCausalLM.from_config(tiny)
    # the reference's self-hashing looks at the forty likeliest tokens
    tiny.vocab_size = WIDE
    wide = AutoModelForCausalLM.from_config(tiny)
    cases = [case(model, config, distinct_logits(generator)) for config in CONFIGS]

    # top_k keeps every token that ties with the last one kept
    tied = torch.tensor([1.0, 3.0, 2.0, 2.0, 0.5, 2.0] + [-1.0] * (VOCABULARY - 6))
    cases.append(case(model, dict(do_sample=True, top_k=2), tied))

    for fields, input_ids, encoder_ids in ROWS:
        cases.append(case(model, dict(do_sample=False, **fields), distinct_logits(generator), input_ids, encoder_ids))

    broken = distinct_logits(generator)
    broken[3], broken[5], broken[7] = math.nan, math.inf, -math.inf
    cases.append(case(model, dict(do_sample=False, remove_invalid_values=True), broken))

    # few candidates beside many beams: as many as may end stay, and one more
    beams = dict(do_sample=True, num_beams=3, **EOS)
    for fields in [dict(top_k=1), dict(top_p=0.01), dict(min_p=1.0), dict(typical_p=0.01), dict(epsilon_cutoff=0.9)]:
        cases.append(case(model, dict(beams, **fields), distinct_logits(generator)))

    for fields in GREEN:
        cases.append(marked(wide, WatermarkingConfig(**fields), distinct_logits(generator, WIDE), INPUT_IDS))
    for fields in SYNTH_ID:
        config = SynthIDTextWatermarkingConfig(**fields)
        for input_ids in [INPUT_IDS, INPUT_IDS[:PROMPT_LEN], [*INPUT_IDS, 7, 0, 21, 7]]:
            cases.append(marked(model, config, distinct_logits(generator), input_ids))

    def json_lines(entries):
        return ",\n".join("  " + json.dumps(entry) for entry in entries)

    lines = json_lines(cases)
    more = f' "others": [\n{json_lines(others(generator))}\n ],\n "detections": [\n{json_lines(detections(generator))}\n ]'
    header = "".join(f' "{name}": "{version}",\n' for name, version in VERSIONS.items())
    Path(sys.argv[1]).write_text(f'{{\n{header} "prompt_len": {PROMPT_LEN},\n "cases": [\n{lines}\n ],\n{more}\n}}\n')
    for entry in cases:
        kept = sum(score is not None for score in entry["scores"])
        print(f"{json.dumps(entry['config'])}: {kept} of {VOCABULARY} kept")


if __name__ == "__main__":
    main()
