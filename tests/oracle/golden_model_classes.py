"""Write which class each auto class makes of a model type, and what saving and loading must know of the classes.

    golden_model_classes.py OUT         the file, crates/modeling/src/classes.txt

A line per model type: the type, the stem of its classes, and its auto classes without `AutoModelFor` (`-` is `AutoModel`).
A class is its stem and `Model` or `For…`, or is given after `=`. Then, after `@`, the classes of which something is to
know: that they generate, and the modules that stay in float32 when the rest is loaded in float16 (`f16`), or in any half
type (`half`).
"""

import sys
from collections import Counter
from pathlib import Path

import tiny  # noqa: F401  first: it sets the environment of the reference

from transformers.models.auto import modeling_auto

PREFIX = "AutoModelFor"


def auto_classes():
    """(name, mapping from model type to class name) of each auto class."""
    for name in sorted(dir(modeling_auto)):
        mapping = getattr(getattr(modeling_auto, name), "_model_mapping", None)
        if name.startswith("AutoModel") and mapping is not None:
            head = "-" if name == "AutoModel" else name.removeprefix(PREFIX)
            if name == "AutoModel" or name.startswith(PREFIX):
                yield head, mapping._model_mapping  # by model type, not by config class


def suffix(head):
    return "Model" if head == "-" else f"For{head}"


def stem(classes):
    """The beginning that most of a type's classes have before their suffix."""
    stems = [name.removesuffix(suffix(head)) for head, name in classes if name.endswith(suffix(head))]
    return Counter(stems).most_common(1)[0][0] if stems else "-"


def line(model_type, classes):
    beginning = stem(classes)
    shown = [head if name == beginning + suffix(head) else f"{head}={name}" for head, name in classes]
    return " ".join([model_type, beginning, *shown])


def facts(model_type, name):
    try:
        model = modeling_auto.AutoModel._model_mapping._load_attr_from_module(model_type, name)
        parts = ["generates"] if model.can_generate() else []
    except (ImportError, ValueError):  # it needs a library that is not installed, or is listed but not exported
        return []
    for key, modules in (("f16", model._keep_in_fp32_modules), ("half", model._keep_in_fp32_modules_strict)):
        if modules:
            parts.append(f"{key}={','.join(sorted(modules))}")
    return parts


def main():
    types = {}
    for head, mapping in auto_classes():
        for model_type, names in mapping.items():
            # of several the first is the default
            name = names if isinstance(names, str) else names[0]
            types.setdefault(model_type, []).append((head, name))
    lines = [line(model_type, classes) for model_type, classes in sorted(types.items())]
    owners = {name: model_type for model_type, classes in types.items() for _, name in classes}
    for name, model_type in sorted(owners.items()):
        if parts := facts(model_type, name):
            lines.append(" ".join(["@", name, *parts]))
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
