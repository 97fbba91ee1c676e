"""What the reference's checkpoint conversions do, for every key of its table and for tiny models.

Writes into crates/weights/tests/golden:
  conversion_mappings.json  for each key: tensors as a checkpoint holds them, what loading makes of them, what saving
                            makes of that again; one record for keys that share a mapping
  conversion_models.json    for tiny models of families with conversions: the models within them, their parameters, and
                            the tensors that `save_pretrained` writes for a new model and for one that was loaded

A tensor is [name, shape, digest]; its values are made up from its name, and the digest is FNV-1a (32 bits) of its bytes.

Pinned: transformers 5.23.0, torch 2.15.0.
"""

import itertools
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
import transformers
from transformers import conversion_mapping as table
from transformers import core_model_loading as loading
from transformers.modeling_utils import LoadStateDictConfig

sys.dont_write_bytecode = True
OUT = Path(__file__).resolve().parents[2] / "crates/weights/tests/golden"

CONTEXTS = ["body.2", "model.layers.10"]
# So many that their natural order is not the alphabetical one.
MANY_EXPERTS = ["mixtral", "qwen2_moe", "ernie4_5_vl_moe"]
CONFIG = {"num_attention_heads": 2, "split_ngram_parts": 12, "vision_config": {"num_attention_heads": 4}}


def fnv(data):
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 % 2**32
    return value


def values(name, shape):
    """Integers that tell both the tensor and the position apart."""
    count = torch.Size(shape).numel()
    seed = fnv(name.encode()) % 60000
    return torch.arange(seed, seed + count, dtype=torch.int32).reshape(shape)


def digest(tensor):
    return fnv(tensor.contiguous().numpy().tobytes())


# --- Names that a pattern matches -------------------------------------------------------------------------------------


def samples(pattern, index):
    """A text for each alternative of a pattern, with `*` and digits as `index`."""
    pattern = pattern.replace("*.", rf"{index}\.")
    return texts(re._parser.parse(pattern), str(index))


def texts(parsed, index):
    parts = [part_texts(kind, argument, index) for kind, argument in parsed]
    return ["".join(choice) for choice in itertools.product(*parts)]


def part_texts(kind, argument, index):
    match str(kind):
        case "LITERAL":
            return [chr(argument)]
        case "ANY":
            return ["."]
        case "IN":
            return [index if str(argument[0][0]) == "CATEGORY" else chr(argument[0][1] if isinstance(argument[0][1], int) else argument[0][1][0])]
        case "MAX_REPEAT" | "MIN_REPEAT":
            inner = argument[2]
            if str(inner[0][0]) == "ANY":
                return ["some.2"]
            return texts(inner, index)
        case "SUBPATTERN":
            return texts(argument[3], index)
        case "BRANCH":
            return [text for branch in argument[1] for text in texts(branch, index)]
        case "AT" | "ASSERT" | "ASSERT_NOT":
            return [""]
    raise ValueError(f"{kind} {argument}")


def names(pattern, context, index):
    for text in samples(pattern, index):
        if pattern.startswith(("^", "(^|")) or context is None:
            text = text.lstrip(".")
        else:
            text = context + ("" if text.startswith(".") else ".") + text
        if text.endswith("."):
            text += "weight"
        elif text.endswith("_"):
            text += "x"
        elif text.rpartition(".")[2] not in ("weight", "bias") and context == CONTEXTS[0]:
            text += ".weight"
        yield text.rstrip(".") or "weight"


# --- The tensors of a checkpoint that a mapping converts ---------------------------------------------------------------


def checkpoint(mapping, experts):
    tensors = {}
    for transform in mapping:
        if isinstance(transform, loading.PrefixChange):
            prefix = transform.model_prefix + "." if transform.model_prefix else ""
            there = (transform.prefix_to_add or transform.prefix_to_remove) + "."
            for name in [f"{prefix}layers.2.weight", f"{prefix}{there}layers.10.weight", "other.weight"]:
                tensors[name] = [2, 3]
        elif isinstance(transform, loading.WeightConverter):
            for context in CONTEXTS:
                converted(transform, context, experts, tensors)
        else:
            for pattern in transform._original_source_patterns:
                for context in [None, *CONTEXTS]:
                    for name in names(pattern, context, 1):
                        tensors[name] = [2, 3]
    renamings, converters = parts(mapping)
    for name in tensors:
        _, pattern = loading.rename_source_key(name, renamings, converters)
        if pattern is not None:
            converter = owner(converters, pattern)
            tensors[name] = shape({type(op).__name__: op for op in converter.operations}, converter, name)
    return tensors


def parts(mapping):
    renamings = [entry for entry in mapping if isinstance(entry, loading.WeightRenaming)]
    return renamings, [entry for entry in mapping if isinstance(entry, loading.WeightConverter)]


def owner(converters, pattern):
    return next(entry for entry in converters if pattern in entry.source_patterns)


def converted(converter, context, experts, tensors):
    ops = {type(op).__name__: op for op in converter.operations}
    for pattern in converter._original_source_patterns:
        indices = [0]
        if "*" in pattern:
            indices = range(CONFIG["split_ngram_parts"] if "shard" in pattern else experts)
        for index in indices:
            suffixed = pattern + "$" if pattern.endswith("weight") else pattern
            for name in names(suffixed, CONTEXTS[1] if pattern.endswith(("_weight", "_bias", "proj")) else context, index):
                name = name.replace(CONTEXTS[1], context)
                if not name.rpartition(".")[2].endswith(("weight", "bias")) and ("qkv" in name or "Chunk" in ops or "Split" in ops):
                    name += ".weight" if "Interleave" not in ops else ""
                tensors[name] = shape(ops, converter, name)


def shape(ops, converter, name):
    if "Interleave" in ops:
        return [2, 8, 3] if ops["Interleave"].dim == 1 else [8, 3]
    if "Transpose" in ops:
        if ops["Transpose"].check_dims and "gate_up" in name:
            return [2, 3, 8]
        return [2, 4, 3] if ops["Transpose"].dim1 == 2 or ops["Transpose"].dim0 == 2 else [4, 3]
    if "Split" in ops:
        return [24, 3]
    if "PermuteForRope" in ops or "Chunk" in ops:
        rows = 16 * len(converter.target_patterns)
        return [rows] if name.endswith("bias") else [rows, 3]
    if "Concatenate" in ops and ops["Concatenate"].dim == 1 and "MergeModulelist" not in ops:
        return [2, 4, 3]
    return [4, 3]


# --- The reference at work ---------------------------------------------------------------------------------------------


class Config(SimpleNamespace):
    def get_text_config(self):
        return self


class Parameters:
    """As much of a model as loading touches: parameters by name."""

    base_model_prefix = ""

    def __init__(self, shapes):
        config = Config(**CONFIG | {"vision_config": SimpleNamespace(**CONFIG["vision_config"])})
        self.__dict__.update(shapes=shapes, values={}, config=config, _buffers={}, _weight_conversions=None)

    def state_dict(self):
        return {name: torch.empty(shape, dtype=torch.int32, device="meta") for name, shape in self.shapes.items()}

    def named_buffers(self):
        return []

    def get_parameter(self, name):
        return SimpleNamespace(shape=torch.Size(self.shapes[name]))

    def get_submodule(self, path):
        return Submodule(self, path + ".")

    def __getattr__(self, name):
        return getattr(Submodule(self, ""), name)

    def __setattr__(self, name, value):
        if name in self.__dict__:
            self.__dict__[name] = value
        else:
            setattr(Submodule(self, ""), name, value)


class Submodule:
    _buffers = {}

    def __init__(self, model, prefix):
        self.__dict__.update(model=model, prefix=prefix)

    def __getattr__(self, name):
        return torch.empty(self.model.shapes[self.prefix + name], dtype=torch.int32, device="meta")

    def __setattr__(self, name, value):
        self.model.values[self.prefix + name] = value.detach()


class Everything(dict):
    """Parameters that are there, whatever their name; `Split` and `Transpose` ask for their shapes."""

    def __missing__(self, name):
        if "gate_up_proj" in name:
            return [2, 8, 3]
        if "down_proj" in name:
            return [2, 4, 3]
        return [16, 3] if "q_proj" in name else [4, 3]


def parameter_shapes(mapping, tensors):
    """The parameters of a model into which all of `tensors` would load."""
    renamings, converters = parts(mapping)
    groups = {}
    for name in sorted(tensors, key=loading.dot_natural_key):
        renamed, pattern = loading.rename_source_key(name, renamings, converters)
        if pattern is None:
            groups.setdefault(renamed, loading.WeightRenaming(name, renamed))
            pattern = name
        else:
            groups.setdefault(renamed, loading.deepcopy(owner(converters, pattern)))
        groups[renamed].add_tensor(renamed, name, pattern, tensors[name])
    shapes = {}
    model = Parameters(Everything())
    for first, group in groups.items():
        if isinstance(group, loading.WeightConverter):
            for name, value in group.convert(first, model=model, config=model.config).items():
                shapes[name] = list((value[0] if isinstance(value, list) else value).shape)
        else:
            shapes[first] = list(next(iter(group.collected_tensors.values()))[0].shape)
    return shapes


def described(tensors):
    return [[name, list(value.shape), digest(value)] for name, value in sorted(tensors.items())]


def record(key, aliases):
    shapes = checkpoint(table.get_checkpoint_conversion_mapping(key), 12 if key in MANY_EXPERTS else 2)
    tensors = {name: values(name, shape) for name, shape in shapes.items()}
    shapes = parameter_shapes(table.get_checkpoint_conversion_mapping(key), tensors)
    model = Parameters(shapes)
    load = LoadStateDictConfig(dtype=torch.int32, weight_mapping=table.get_checkpoint_conversion_mapping(key))
    info, _ = loading.convert_and_load_state_dict_in_model(model, dict(tensors), load, None)
    assert not info.conversion_errors, (key, info.conversion_errors)
    assert model.values.keys() == shapes.keys() and not info.missing_keys and not info.unexpected_keys, key
    return {
        "keys": aliases,
        "checkpoint": [[name, list(value.shape)] for name, value in sorted(tensors.items())],
        "loaded": described(model.values),
        "saved": described(loading.revert_weight_conversion(model, dict(model.values))),
    }


def write_mappings():
    table.get_checkpoint_conversion_mapping("legacy")
    groups = {}
    for key, mapping in table._checkpoint_conversion_mapping_cache.items():
        groups.setdefault(repr([describe(entry) for entry in mapping]), []).append(key)
    lines = [json.dumps(record(keys[0], keys), separators=(",", ":")) for keys in groups.values()]
    (OUT / "conversion_mappings.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(len(table._checkpoint_conversion_mapping_cache), "keys,", len(lines), "records")


# --- Models within models ---------------------------------------------------------------------------------------------

TEXT = {"vocab_size": 8, "hidden_size": 8, "intermediate_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "pad_token_id": 0}  # fmt: skip
VISION = {"hidden_size": 8, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 4, "patch_size": 2}  # fmt: skip
RESNET = {"embedding_size": 4, "hidden_sizes": [4, 4], "depths": [1, 1], "layer_type": "basic", "out_features": ["stage2"]}  # fmt: skip
DETR = {
    "d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 4, "decoder_ffn_dim": 4, "num_queries": 2, "use_timm_backbone": False, "backbone": None,
}  # fmt: skip


def models():
    def nested(kind, vision, text, **fields):
        return {"vision_config": VISION | {"model_type": vision}, "text_config": TEXT | {"model_type": text} | fields, "model_type": kind}  # fmt: skip

    resnet = {"backbone_config": RESNET | {"model_type": "resnet"}}
    experts = {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 4}
    return [
        ("MixtralForCausalLM", TEXT | {"num_local_experts": 3, "model_type": "mixtral"}),
        ("Qwen2MoeForCausalLM", TEXT | experts | {"shared_expert_intermediate_size": 4, "model_type": "qwen2_moe"}),
        ("Qwen3MoeForCausalLM", TEXT | experts | {"model_type": "qwen3_moe"}),
        ("LlavaForConditionalGeneration", nested("llava", "clip_vision_model", "llama")),
        ("LlavaModel", nested("llava", "siglip_vision_model", "mistral")),
        ("PaliGemmaForConditionalGeneration", nested("paligemma", "siglip_vision_model", "gemma")),
        ("Gemma3ForConditionalGeneration", nested("gemma3", "siglip_vision_model", "gemma3_text")),
        ("LlavaForConditionalGeneration", nested("llava", "clip_vision_model", "mixtral", num_local_experts=2)),
        ("ViTForImageClassification", VISION | {"model_type": "vit"}),
        ("Dinov2ForImageClassification", VISION | {"use_swiglu_ffn": True, "model_type": "dinov2"}),
        ("CLIPVisionModel", VISION | {"model_type": "clip_vision_model"}),
        ("MaskFormerForInstanceSegmentation", {"fpn_feature_size": 32, "mask_feature_size": 32, "decoder_config": DETR | resnet | {"model_type": "detr"}, "backbone_config": {"model_type": "swin", "embed_dim": 4, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1], "image_size": 32, "window_size": 2}, "model_type": "maskformer"}),
        ("GPTNeoXForCausalLM", TEXT | {"model_type": "gpt_neox"}),
    ]  # fmt: skip


def write_models():
    lines = []
    for name, fields in models():
        fields = dict(fields)
        config = transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)
        with torch.device("meta"):
            model = getattr(transformers, name)(config)
        lines.append(json.dumps(model_record(model), separators=(",", ":")))
        print(name, len(lines[-1]))
    (OUT / "conversion_models.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


def model_record(model):
    own = {name: list(value.shape) for name, value in model.state_dict().items() if value.numel() < 4000}
    tensors = {name: values(name, shape) for name, shape in own.items() if name not in model.all_tied_weights_keys}
    saved = loading.revert_weight_conversion(model, dict(tensors))
    again = Parameters({name: own[name] for name in tensors})
    again.__dict__.update(base_model_prefix=model.base_model_prefix, config=model.config)
    mapping = table.get_model_conversion_mapping(model)
    info, _ = loading.convert_and_load_state_dict_in_model(
        again, dict(saved), LoadStateDictConfig(dtype=torch.int32, weight_mapping=mapping), None
    )
    assert again.values.keys() == tensors.keys() and not info.missing_keys and not info.unexpected_keys, info
    assert all(torch.equal(again.values[name], value) for name, value in tensors.items())
    submodels = [
        [path, type(module).__name__, module.config.model_type]
        for path, module in model.named_modules()
        if isinstance(module, transformers.PreTrainedModel)
    ]
    return {
        "class": type(model).__name__,
        "base_model_prefix": model.base_model_prefix,
        "models": submodels,
        "parameters": [[name, own[name]] for name in sorted(tensors)],
        "saved": described(saved),
        "saved_after_loading": described(loading.revert_weight_conversion(again, dict(again.values))),
    }


def describe(entry):
    fields = {name: getattr(entry, name, None) for name in ("prefix_to_add", "prefix_to_remove", "model_prefix", "offset")}
    ops = [(type(op).__name__, vars(op)) for op in getattr(entry, "operations", [])]
    return type(entry).__name__, entry._original_source_patterns, entry._original_target_patterns, ops, fields


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    write_mappings()
    write_models()
