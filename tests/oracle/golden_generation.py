#!/usr/bin/env python3
"""Write what the reference generates in its less common modes.

    golden_generation.py tests/cases tests/golden

`generation.json` names cases: `guidance` (classifier-free guidance, with a negative prompt and without), `assisted`
(drafts of a second model, of the text itself, of the first layers), `confidence` (how the threshold that ends drafts moves,
which the reference does with scikit-learn only: probabilities, how many were kept, the threshold after), `watermarks`, `healing` (token healing, with the
tokenizer of `healing_tokenizer/`) and `outputs`: of the four output classes, the hidden states and the attentions of every
step (their shape and the mean of their absolute values or, of weights, of their squares, by layer) and the shape of the cache's keys. `synth_id_detector/` is a detector of
random weights and what it says of random texts.
"""

import json
import sys
from pathlib import Path

from tiny import VERSIONS, torch  # first: it sets the environment of the reference

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
    PreTrainedTokenizerFast,
    SynthIDTextWatermarkingConfig,
    WatermarkingConfig,
)
from transformers.generation import (
    AssistedCandidateGenerator,
    BayesianDetectorConfig,
    BayesianDetectorModel,
    SynthIDTextWatermarkDetector,
    SynthIDTextWatermarkLogitsProcessor,
)

CASES, OUT = (Path(argument) for argument in sys.argv[1:3])
PROMPT = [20, 31, 44, 12, 57, 20, 31, 44, 12]
SHORT = [20, 31, 44, 12]
NEW = 16


def model(name, encoder=False):
    auto = AutoModelForSeq2SeqLM if encoder else AutoModelForCausalLM
    return auto.from_pretrained(CASES / name, attn_implementation="eager", dtype=torch.float32).eval()


def generate(case, ids, config, encoder=False, of=None, **arguments):
    """The rows, and with `return_dict_in_generate` everything."""
    of = of or model(case, encoder)
    config = GenerationConfig(**{**of.generation_config.to_diff_dict(), **config})
    config.pad_token_id = 0
    ids = torch.tensor(ids)
    with torch.no_grad():
        return of.generate(ids, attention_mask=(ids != 0).long(), generation_config=config, **arguments)


def guidance():
    for case in ["llama", "mistral", "gemma3_text", "gpt2"]:
        for scale in [1.5, 3.0, 0.0]:
            for negative in [None, [44, 12, 9], [0, 0, 9]]:
                # the reference's second run counts padding among learned positions
                if case == "gpt2" and negative and 0 in negative:
                    continue
                config = dict(guidance_scale=scale, max_new_tokens=NEW)
                arguments = {}
                if negative:
                    arguments["negative_prompt_ids"] = torch.tensor([negative])
                    arguments["negative_prompt_attention_mask"] = (arguments["negative_prompt_ids"] != 0).long()
                rows = generate(case, [PROMPT], config, **arguments).tolist()
                yield dict(case=case, config=config, prompt=PROMPT, negative=negative, sequences=rows)


def assisted():
    pairs = [("llama", "llama"), ("llama", "llama_no_gqa"), ("llama", "mistral"), ("mistral", "llama")]
    for case, assistant in pairs:
        for fields in [
            dict(),
            dict(assistant_ensemble_weight=0.3),
            dict(assistant_ensemble_weight=0.7, repetition_penalty=1.3),
        ]:
            for drafting in [
                dict(num_assistant_tokens=3, assistant_confidence_threshold=0.0),
                dict(num_assistant_tokens=5, assistant_confidence_threshold=0.1, num_assistant_tokens_schedule="heuristic"),
            ]:
                helper = model(assistant)
                for key, value in drafting.items():
                    setattr(helper.generation_config, key, value)
                config = dict(max_new_tokens=NEW, do_sample=False, **fields)
                rows = generate(case, [PROMPT], config, assistant_model=helper).tolist()
                yield dict(case=case, assistant=assistant, config=config | drafting, prompt=PROMPT, sequences=rows)
    for case in ["llama", "mistral"]:
        for fields in [dict(prompt_lookup_num_tokens=4), dict(assistant_early_exit=1)]:
            config = dict(max_new_tokens=NEW, do_sample=False, **fields)
            rows = generate(case, [PROMPT], config).tolist()
            yield dict(case=case, assistant=None, config=config, prompt=PROMPT, sequences=rows)


def confidence():
    generator = torch.Generator().manual_seed(11)
    for ties in [False, False, True, True]:
        drafting = AssistedCandidateGenerator.__new__(AssistedCandidateGenerator)
        drafting.assistant_generation_config = GenerationConfig(
            assistant_confidence_threshold=0.4, num_assistant_tokens_schedule="constant"
        )
        drafting.generation_config = GenerationConfig()
        drafting.probs, drafting.matches = [], []
        rounds = []
        for _ in range(16):
            drafted = int(torch.randint(1, 7, (1,), generator=generator))
            probs = torch.rand(drafted, generator=generator)
            kept = (torch.rand(drafted, generator=generator) < probs).int()
            accepted = int(kept.cumprod(0).sum())
            if ties:
                probs = (probs * 8).round() / 8
            drafting.probs.extend(probs.tolist())
            drafting.update_candidate_strategy(None, torch.zeros(1, drafted + 1, 1), accepted)
            threshold = drafting.assistant_generation_config.assistant_confidence_threshold
            rounds.append([probs.tolist(), accepted, float(threshold)])
        yield rounds


def watermarks():
    configs = [
        WatermarkingConfig(bias=4.0, greenlist_ratio=0.5),
        WatermarkingConfig(bias=4.0, seeding_scheme="selfhash", greenlist_ratio=0.5),
        SynthIDTextWatermarkingConfig(ngram_len=3, keys=[654, 400, 836]),
    ]
    for watermark in configs:
        for beams in [1, 3]:
            config = dict(max_new_tokens=NEW, num_beams=beams, watermarking_config=watermark)
            if beams > 1 and not isinstance(watermark, WatermarkingConfig):
                continue  # the reference does not move its state with the beams
            rows = generate("llama", [PROMPT], config).tolist()
            config = config | dict(watermarking_config=watermark.to_dict())
            yield dict(case="llama", config=config, prompt=PROMPT, sequences=rows)


def small_tokenizer(folder):
    """Sixty tokens that begin alike, for models that know so few."""
    words = "the there then other another thing think king ring bring string strong song long longer belong red read ready "
    words += "bread break breakfast fast faster water wait waiter"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<pad>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([words] * 3, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)
    return fast


def healing():
    tokenizer = small_tokenizer(OUT / "healing_tokenizer")
    of = model("llama")
    texts = ["the ki", "the kin", "the king br", "the king", "the king brings strong bread ", "wait longer for bre", "k"]
    for text in texts:
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            healed = of.heal_tokens(ids, tokenizer)
            config = GenerationConfig(token_healing=True, max_new_tokens=6, pad_token_id=0)
            rows = of.generate(ids, tokenizer=tokenizer, generation_config=config)
        yield dict(text=text, ids=ids[0].tolist(), healed=healed[0].tolist(), sequences=rows.tolist())


def summary(states):
    return [dict(shape=list(s.shape), mean=float(s.abs().mean())) for s in states]


def squares(weights):
    # The weights of a query add up to 1: their mean says nothing.
    return summary([w.square() for w in weights])


def outputs():
    for case, encoder in [("llama", False), ("mistral", False), ("t5", True), ("bart", True)]:
        for beams, batch in [(1, 1), (1, 2), (2, 1)]:
            padded = [0] * (len(PROMPT) - len(SHORT))
            row = SHORT + padded if encoder else padded + SHORT
            prompts = [PROMPT, row][:batch]
            config = dict(
                max_new_tokens=4,
                num_beams=beams,
                do_sample=False,
                return_dict_in_generate=True,
                output_hidden_states=True,
                output_attentions=True,
                output_scores=True,
                output_logits=True,
            )
            out = generate(case, prompts, config, encoder)
            hidden = out.decoder_hidden_states if encoder else out.hidden_states
            attentions = out.decoder_attentions if encoder else out.attentions
            cache = out.past_key_values.self_attention_cache if encoder else out.past_key_values
            of = model(case, encoder)
            indices = out.get("beam_indices")
            scores = of.compute_transition_scores(out.sequences, out.scores, indices, normalize_logits=False)
            entry = {
                "case": case,
                "encoder": encoder,
                "config": config,
                "prompts": prompts,
                "class": type(out).__name__,
                "sequences": out.sequences.tolist(),
                "hidden_states": [summary(step) for step in hidden],
                "attentions": [squares(step) for step in attentions],
                "cache": [list(layer.keys.shape) for layer in cache.layers if layer.keys is not None],
                "transition_scores": scores.tolist(),
                "logits": [summary([step])[0] for step in out.logits],
            }
            if encoder:
                entry["encoder_hidden_states"] = summary(out.encoder_hidden_states)
                entry["encoder_attentions"] = squares(out.encoder_attentions)
                entry["cross_attentions"] = [squares(step) for step in out.cross_attentions]
            yield entry


def synth_id_detector(folder):
    config = SynthIDTextWatermarkingConfig(ngram_len=3, keys=[654, 400, 836, 123, 340])
    detector = BayesianDetectorModel(BayesianDetectorConfig(watermarking_depth=len(config.keys), base_rate=0.4)).eval()
    generator = torch.Generator().manual_seed(3)
    for parameter in [detector.likelihood_model_watermarked.beta, detector.likelihood_model_watermarked.delta]:
        parameter.data = torch.randn(parameter.shape, generator=generator)
    detector.config.set_detector_information("tiny", config.to_dict())
    detector.save_pretrained(folder)
    processor = SynthIDTextWatermarkLogitsProcessor(**config.to_dict(), device="cpu")

    class Tokenizer:
        eos_token_id = 0

    whole = SynthIDTextWatermarkDetector(detector, processor, Tokenizer())
    texts = []
    for length in [4, 8, 20, 20]:
        ids = torch.randint(1, 30, (length,), generator=generator).tolist()
        if length == 20:
            ids[12:18] = ids[2:8] if not texts[-1:] or len(texts) < 3 else [5, 0, 5, 6, 7, 8]
        with torch.no_grad():
            texts.append([ids, float(whole(torch.tensor([ids]))[0][0])])
    (folder / "texts.json").write_text(json.dumps(texts) + "\n")
    print("posteriors", [round(posterior, 3) for _, posterior in texts])


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sections = dict(
        guidance=guidance,
        assisted=assisted,
        confidence=confidence,
        watermarks=watermarks,
        healing=healing,
        outputs=outputs,
    )
    parts = []
    for name, section in sections.items():
        entries = list(section())
        lines = ",\n".join("  " + json.dumps(entry) for entry in entries)
        parts.append(f' "{name}": [\n{lines}\n ]')
        print(name, len(entries), flush=True)
    header = "".join(f' "{name}": "{version}",\n' for name, version in VERSIONS.items())
    body = ",\n".join(parts)
    (OUT / "generation.json").write_text(f"{{\n{header}{body}\n}}\n")
    synth_id_detector(OUT / "synth_id_detector")


if __name__ == "__main__":
    main()
