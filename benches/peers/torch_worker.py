"""PyTorch with transformers as a worker of `cargo xtask bench`.   torch_worker.py THREADS"""

import sys
from functools import cache
from inspect import signature
from time import perf_counter

import torch
import transformers
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM, DynamicCache, EncoderDecoderCache
from transformers import StoppingCriteriaList

from worker import SENTENCES, serve

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def seconds(function):
    start = perf_counter()
    function()
    return perf_counter() - start


def random_ids(model, *shape):
    return torch.randint(1, model.config.vocab_size, shape)


@cache
def decoder(folder, type):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=DTYPES[type]).eval()
    ids = random_ids(model, 1, 64)
    forward(model, ids, forward(model, ids, DynamicCache(config=model.config)))  # warm up
    return model


@cache
def encoder(folder, batch, seq):
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    model(random_ids(model, batch, seq))  # warm up
    return model


def forward(model, ids, past):
    """One pass with the head for the last token only, as every engine here computes it."""
    # Recurrent models name it otherwise.
    name = "cache_params" if "cache_params" in signature(model.forward).parameters else "past_key_values"
    return model(ids, **{name: past}, use_cache=True, logits_to_keep=1)[name]


@cache
def filled_cache(folder, type, depth):
    model = decoder(folder, type)
    past = DynamicCache(config=model.config)
    return forward(model, random_ids(model, 1, depth), past) if depth else past


def cache_at(folder, type, depth):
    """The cache holds `depth` tokens; what an earlier measurement added is cut off."""
    if depth == 0:
        return DynamicCache(config=decoder(folder, type).config)
    past = filled_cache(folder, type, depth)
    if added := past.get_seq_length() - depth:
        past.crop(-added)
    return past


def prompt(model, type, tokens, depth):
    past, model = cache_at(model, type, depth), decoder(model, type)
    ids = random_ids(model, 1, tokens)
    return tokens / seconds(lambda: forward(model, ids, past))


def decode(model, type, tokens, depth):
    past, model = cache_at(model, type, depth), decoder(model, type)
    ids = random_ids(model, tokens, 1, 1)

    def steps():
        nonlocal past
        for token in ids:
            past = forward(model, token, past)

    return tokens / seconds(steps)


@cache
def encoder_decoder(folder, type):
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=DTYPES[type]).eval()
    states = model.get_encoder()(random_ids(model, 1, 64))  # warm up
    step(model, states, random_ids(model, 1, 1), None)
    return model


def step(model, states, ids, past):
    return model(encoder_outputs=states, decoder_input_ids=ids, past_key_values=past, use_cache=True).past_key_values


def encode(model, type, tokens, depth):
    model = encoder_decoder(model, type)
    ids = random_ids(model, 1, tokens)
    return tokens / seconds(lambda: model.get_encoder()(ids))


def answer(model, type, tokens, depth):
    """Tokens written one by one about a text of `depth` tokens, which was encoded before."""
    model = encoder_decoder(model, type)
    states = model.get_encoder()(random_ids(model, 1, depth))
    ids = random_ids(model, tokens, 1, 1)
    past = EncoderDecoderCache(DynamicCache(), DynamicCache())

    def steps():
        nonlocal past
        for token in ids:
            past = step(model, states, token, past)

    return tokens / seconds(steps)


def concurrent(model, type, requests, tokens, new, give):
    """Requests of one length as one batch: nothing is faster there. All have their first token at once."""
    model = decoder(model, type)
    ids, first = random_ids(model, requests, tokens), []
    start = perf_counter()

    def note(ids, scores):
        first.append(perf_counter() - start)
        return torch.zeros(requests, dtype=torch.bool)

    model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new,
        min_new_tokens=new,
        do_sample=False,
        stopping_criteria=StoppingCriteriaList([note]),
    )
    total = perf_counter() - start
    return 1e3 * first[0] if give == "first" else requests * (tokens + new) / total


def load(model, type):
    """From the folder to the logits of one token."""

    def first_forward():
        loaded = AutoModelForCausalLM.from_pretrained(model, dtype=DTYPES[type]).eval()
        loaded(torch.ones(1, 1, dtype=torch.long))

    return seconds(first_forward)


def embed(model, batch, seq):
    model = encoder(model, batch, seq)
    batches = random_ids(model, SENTENCES // batch, batch, seq)
    # No attention mask: nothing is padding.
    return SENTENCES / seconds(lambda: [model(ids) for ids in batches])


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with torch.inference_mode():
        serve(
            f"torch {torch.__version__}, transformers {transformers.__version__}",
            dict(
                prompt=prompt, decode=decode, load=load, embed=embed, encode=encode, answer=answer, concurrent=concurrent
            ),
        )
