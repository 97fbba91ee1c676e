"""Writes crates/pipelines/tests/golden: what sentence-transformers makes of texts, module by module.

    tests/oracle/golden_sentence.py crates/pipelines/tests/golden crates/transformers/tests/tiny

Beside the requirements it needs sentence-transformers==6.2.0, scikit-learn==1.9.1 and what those two import.
The models are tiny random encoders, written here, and the decoder of `tiny_chat.py`. A case is a set of files laid over
one of them; the test lays them over it likewise.
"""

import json
import os
import shutil
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from sentence_transformers import SentenceTransformer, __version__  # noqa: E402
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors  # noqa: E402
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast  # noqa: E402

from tiny import VERSIONS, randomise  # noqa: E402

WORDS = "the cat sleeps on a warm sill rates rose again query : text".split()
TEXTS = [
    "The cat sleeps on a warm sill",
    "rates rose : unknown",
    "cat",
    " ".join(["again the cat"] * 12),
]

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
# The encoders: special tokens in the order of their ids, and what is special about the config.
ENCODERS = dict(
    bert=(SPECIAL, dict(max_position_embeddings=24)),
    mpnet=(["[CLS]", "[PAD]", "[SEP]", "[UNK]"], dict(max_position_embeddings=26)),
    xlm_roberta=(["[CLS]", "[PAD]", "[SEP]", "[UNK]"], dict(max_position_embeddings=26, type_vocab_size=1)),
    modernbert=(SPECIAL, dict(max_position_embeddings=24, local_attention=4, num_hidden_layers=3)),
    nomic_bert=(SPECIAL, dict(max_position_embeddings=24)),
    gte=(SPECIAL, dict(max_position_embeddings=24)),
    eurobert=(SPECIAL, dict(max_position_embeddings=24, num_key_value_heads=1, mask_token_id=1)),
)

TRANSFORMER = dict(idx=0, name="0", path="", type="sentence_transformers.models.Transformer")
POOLING = dict(idx=1, name="1", path="1_Pooling", type="sentence_transformers.models.Pooling")
NORMALIZE = dict(idx=2, name="2", path="2_Normalize", type="sentence_transformers.models.Normalize")
DENSE = dict(idx=2, name="2", path="2_Dense", type="sentence_transformers.models.Dense")
FORMER_MODES = ["cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]


def pooling(*modes, **more):
    """The config as former releases write it, one boolean for each mode."""
    flags = {f"pooling_mode_{mode}": mode in modes for mode in FORMER_MODES}
    return dict(word_embedding_dimension=16, **flags, **more)


def case(name, *, pool=None, rest=(), files=None, base="bert", texts=TEXTS, **options):
    files = dict(files or {})
    files["modules.json"] = [TRANSFORMER, POOLING, *rest]
    files["1_Pooling/config.json"] = pool or pooling("mean_tokens")
    return dict(name=name, base=base, files=files, texts=texts, options=options)


def dense(**config):
    return {"2_Dense/config.json": dict(in_features=16, out_features=8, bias=True, **config)}


PROMPTS = dict(prompts=dict(query="query : ", text="text : "), default_prompt_name=None)
CASES = [
    *[case(mode, pool=pooling(mode)) for mode in FORMER_MODES],
    case("several modes", pool=pooling("cls_token", "mean_tokens", "max_tokens"), rest=[NORMALIZE]),
    case("today's keys", pool=dict(embedding_dimension=16, pooling_mode=["lasttoken", "mean"])),
    case("no mode", pool=pooling()),
    case("empty text", texts=["", "cat"], rest=[NORMALIZE]),
    case("normalize asked for", normalize_embeddings=True),
    case("maximum length", files={"sentence_bert_config.json": dict(max_seq_length=5, do_lower_case=False)}),
    case("former config name", files={"sentence_roberta_config.json": dict(max_seq_length=4)}),
    case("lower case", files={"sentence_bert_config.json": dict(max_seq_length=12, do_lower_case=True)}),
    case("prompt", prompt="query : "),
    case("prompt by name", files={"config_sentence_transformers.json": PROMPTS}, prompt_name="text"),
    case(
        "default prompt",
        files={"config_sentence_transformers.json": PROMPTS | dict(default_prompt_name="query")},
    ),
    *[
        case(f"prompt not pooled, {mode}", pool=pooling(mode, include_prompt=False), prompt="query : ")
        for mode in FORMER_MODES
    ],
    case("dense", rest=[DENSE], files=dense(activation_function="torch.nn.modules.activation.Tanh")),
    case(
        "dense without activation, then normalize",
        rest=[DENSE, NORMALIZE | dict(idx=3, name="3", path="3_Normalize")],
        files=dense(activation_function="torch.nn.modules.linear.Identity"),
    ),
    case("dense, gelu", rest=[DENSE], files=dense(activation_function="torch.nn.modules.activation.GELU")),
    case("dense, default activation and residual", rest=[DENSE], files=dense(use_residual=True)),
    case("decoder, last token", base="llama", pool=pooling("lasttoken"), rest=[NORMALIZE]),
    *[case(f"{name}, mean", base=name, rest=[NORMALIZE]) for name in ENCODERS if name != "bert"],
    case("decoder, weighted mean", base="llama", pool=pooling("weightedmean_tokens")),
]


def make_encoder(name, out):
    special, options = ENCODERS[name]
    vocab = {token: i for i, token in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"]))
    tokens = dict(unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]")
    # two rows of these tables stand for no position
    longest = 24 if name in ("mpnet", "xlm_roberta") else 512
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=longest, **tokens)
    config = dict(vocab_size=len(vocab), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    if name != "bert":
        ids = dict(bos_token_id=vocab["[CLS]"], eos_token_id=vocab["[SEP]"], pad_token_id=vocab["[PAD]"])
        config |= ids | dict(num_hidden_layers=1)
    if name == "modernbert":
        config |= dict(cls_token_id=vocab["[CLS]"], sep_token_id=vocab["[SEP]"])
    pooler = dict(add_pooling_layer=False) if name in ("bert", "mpnet", "xlm_roberta") else {}
    config = AutoConfig.for_model(name.replace("xlm_", "xlm-"), **config | options)
    model = AutoModel.from_config(config, dtype=torch.float32, **pooler)
    randomise(model, torch.Generator().manual_seed(1))
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    os.chmod(os.path.join(out, "model.safetensors"), 0o644)


def make_dense(file):
    generator = torch.Generator().manual_seed(2)
    shapes = {"linear.weight": (8, 16), "linear.bias": (8,), "residual.weight": (8, 16)}
    save_file({name: 0.4 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}, file)
    os.chmod(file, 0o644)


def run(case, bases, dense_file):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(bases[case["base"]], folder, dirs_exist_ok=True)
        for name, content in case["files"].items():
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                json.dump(content, file)
            if "Dense" in name:
                weights = load_file(dense_file)
                if not content.get("use_residual"):
                    del weights["residual.weight"]
                save_file(weights, os.path.join(os.path.dirname(path), "model.safetensors"))
        model = SentenceTransformer(folder, device="cpu")
        embeddings = model.encode(case["texts"], **case["options"])
    return case | dict(embeddings=[[round(float(x), 6) for x in row] for row in embeddings])


def main():
    out, tiny_chat = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    bases = {name: os.path.join(out, name) for name in ENCODERS} | dict(llama=tiny_chat)
    dense_file = os.path.join(out, "dense.safetensors")
    for name in ENCODERS:
        make_encoder(name, bases[name])
    make_dense(dense_file)
    cases = [run(case, bases, dense_file) for case in CASES]
    golden = dict(VERSIONS, sentence_transformers=__version__, cases=cases)
    path = os.path.join(out, "sentence_transformer.json")
    with open(path, "w") as file:
        lines = ",\n  ".join(json.dumps(case) for case in cases)
        head = json.dumps({k: v for k, v in golden.items() if k != "cases"})[:-1]
        file.write(f'{head}, "cases": [\n  {lines}\n]}}\n')
    print(f"{path}: {len(cases)} cases, {os.path.getsize(path)} bytes")


main()
