"""The texts that the embedded model is trained on: stories for children in the public domain, some paragraphs a line.

    python3 prepare.py FOLDER [BASE]     writes train.txt and validation.txt

They are the editions of Standard Ebooks (CC0), by git from BASE, which is https://github.com/standardebooks where it is not
given.
"""

import io
import re
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

# Each at a commit: the Grimms' tales, and books by Barrie, Baum, Burnett, Carroll, Grahame, Kingsley, Kipling, Lofting,
# MacDonald, Nesbit and Sewell.
BOOKS = {
    "anna-sewell_black-beauty": "12995ccb638751412c462a5985323aaa30daf4a7",
    "charles-kingsley_the-water-babies": "78492630ef07a3a681e83484b957744e670bd74c",
    "e-nesbit_five-children-and-it": "0941ce48054b956e1ddc6fed6edbef5d0bcc4811",
    "e-nesbit_the-enchanted-castle": "5d9bd7ae918778e3bc3a6ce6b47de74222c620e1",
    "e-nesbit_the-phoenix-and-the-carpet": "2f373b0b8992888486c3d0905aaac4dbdd97f901",
    "e-nesbit_the-railway-children": "8903a0b2df2396caeb97adc849adb4050fe0c531",
    "frances-hodgson-burnett_a-little-princess": "2d90450cf105c13c7247a850438c36b4a836dac8",
    "frances-hodgson-burnett_the-secret-garden": "6a4695560924886e2b396d04ef0023246d211de4",
    "george-macdonald_the-princess-and-curdie": "cb2db1861542e315cf84aefd0deecde0a8fc7a7c",
    "george-macdonald_the-princess-and-the-goblin": "53953eeb943d91b774b8333c5d3e023e86167aa2",
    "hugh-lofting_the-story-of-doctor-dolittle": "bdd63f0cc258a36de596ef57c823519c87aa9f8b",
    "j-m-barrie_peter-and-wendy": "00681491c5fc1d93755e71bc82e6220d062370e2",
    "jacob-grimm_wilhelm-grimm_household-tales_margaret-hunt": "4950ef5208c15f59e18246251983b15d06a3544a",
    "kenneth-grahame_the-wind-in-the-willows": "b44b52fea051d02764bb375fffc79066f50a9404",
    "l-frank-baum_dorothy-and-the-wizard-in-oz": "c9118c180418f7ee4e16ab54633258f9d2ed494d",
    "l-frank-baum_ozma-of-oz": "4a9227bcb82fc85a775a53f0ea50fc5b1868fd4b",
    "l-frank-baum_the-marvelous-land-of-oz": "672237e18cccb7bd89368435f41661c8edb64f81",
    "l-frank-baum_the-road-to-oz": "1de66bd8b74da22a82539d491fbb5e07cc65a7ad",
    "l-frank-baum_the-wonderful-wizard-of-oz": "8d8c2b208d56c282f4630a27ac89621c11d5dae0",
    "lewis-carroll_alices-adventures-in-wonderland_john-tenniel": "a4a06a86f3ecb5a9b397fd3922a1c757747c49c5",
    "rudyard-kipling_just-so-stories": "939524042806130637d6870e84874263de3c2490",
    "rudyard-kipling_the-jungle-book": "ab07cf9c0d5b4428d425b8149c975de3bf542343",
}
TEXT = "src/epub/text"
BESIDE_THE_TEXT = {"colophon", "dedication", "endnotes", "epigraph", "foreword", "halftitlepage", "imprint", "introduction", "preface", "titlepage", "uncopyright"}
XHTML = "{http://www.w3.org/1999/xhtml}"

# Typographic marks cost a small vocabulary much and say little.
PLAIN = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u2014": "--", "\u2e3a": "--", "\u2e3b": "--", "\u2013": "-", "\u2011": "-", "\u2026": "...", "\u2060": "", "\ufeff": ""})

# Characters of a line at least, where its chapter has as many: about what the model sees at once.
LINE = 800


def chapters(name, commit, base):
    """The files of a book's text, by name."""
    with tempfile.TemporaryDirectory() as clone:
        subprocess.run(["git", "clone", "--quiet", "--bare", f"{base}/{name}", clone], check=True)
        archive = subprocess.run(["git", "-C", clone, "archive", commit, TEXT], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        texts = {Path(file.name).stem: files.extractfile(file).read() for file in files if file.name.endswith(".xhtml")}
    return [text for name, text in sorted(texts.items()) if name not in BESIDE_THE_TEXT]


def paragraphs(chapter):
    tree = ElementTree.fromstring(chapter)
    titles = {line for title in tree.iter(f"{XHTML}hgroup") for line in title}
    for element in tree.iter(f"{XHTML}p"):
        if element in titles:
            continue
        text = re.sub(r"\s+", " ", "".join(element.itertext()).translate(PLAIN)).strip()
        if re.search(r"[a-z]{3}", text):
            yield text


def lines(chapter):
    """Paragraphs that follow one another, so that a story goes on."""
    line = []
    for text in paragraphs(chapter):
        line.append(text)
        if sum(map(len, line)) >= LINE:
            yield " ".join(line)
            line = []
    if line:
        yield " ".join(line)


def main():
    folder, base = Path(sys.argv[1]), (sys.argv[2:] or ["https://github.com/standardebooks"])[0]
    folder.mkdir(parents=True, exist_ok=True)
    train, validation = [], []
    for name, commit in BOOKS.items():
        book = [line for chapter in chapters(name, commit, base) for line in lines(chapter)]
        last = len(book) - len(book) // 50
        train += book[:last]
        validation += book[last:]
    for name, lines_of in ("train", train), ("validation", validation):
        (folder / f"{name}.txt").write_text("".join(line + "\n" for line in lines_of))
        print(f"{name}: {len(lines_of)} lines, {sum(map(len, lines_of))} characters")


main()
