# SPDX-License-Identifier: GPL-2.0-or-later
"""Documents and sources stay in plain English: words that had a meaning among us only do not come back.

And documents stay true where a program can tell: files that they name exist, layers are those of the contract.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(ROOT.glob("docs/*.md"))
SOURCES = [
    path
    for top in ("harness", "benchmarks", "images", "kernel-configs")
    for path in sorted((ROOT / top).rglob("*"))
    if path.suffix in {".c", ".config", ".h", ".md", ".py", ".toml"}
]
MARKDOWN_COLUMNS = 100

# What not to write -> what to write.
PRIVATE = {
    r"house": "dmasafe, or the packages",
    r"rooms|(?:the|a|one|each|every|this|that|whose|its) room(?! for)": "package",
    r"(?<!math\.)floors?": "layer",
    r"(?<!--)witness(?:es|ed)?": "oracle; trace for the device's record",
    r"by lot": "random, at random",
    r"(?:held|holds?|holding)(?: \w+){0,4} against": "compared with",
    r"(?:is|are) to be": "must be, or who does it",
    r"to mend|mended": "correct",
}
_PRIVATE = {re.compile(rf"\b(?:{words})\b", re.IGNORECASE): better for words, better in PRIVATE.items()}


def private_words(text: str) -> list[str]:
    """Each private word of the text, with what to write instead."""
    text = " ".join(text.split())
    return [f"{found[0]!r}: {better}" for words, better in _PRIVATE.items() for found in words.finditer(text)]


def test_private_words_are_found_and_plain_ones_are_not():
    assert private_words("A run by\nlot") == ["'by lot': random, at random"]
    assert private_words("Witnesses:") == ["'Witnesses': oracle; trace for the device's record"]
    assert len(private_words("a house of rooms: scenarios by lot, held against the model, the one room")) == 5
    assert not private_words("make room for it; there is no room; the room for a message; compared with; a lot of")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_have_no_private_words(document):
    text = document.read_text()
    # It tells how things were called before.
    without_names = re.sub(r"`[^`]+`", "", text) if document.name == "CHANGELOG.md" else text
    assert private_words(without_names) == []


def test_sources_have_no_private_words():
    """Messages, help texts, docstrings and comments; the words of names count too."""
    said = {f"{path.relative_to(ROOT)}: {one}" for path in SOURCES for one in private_words(path.read_text())}
    assert said == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_lines_of_documents_wrap(document):
    """Tables, code, links and lists of facts that a command printed do not wrap."""
    fenced = False
    for number, line in enumerate(document.read_text().splitlines(), 1):
        fenced ^= line.startswith("```")
        if not fenced and not line.startswith(("|", "    ", "<!--")) and document.name != "findings.md":
            words = re.sub(r"`[^`]+`|\[[^]]*\]\([^)]*\)", "x", line)
            assert len(words) <= MARKDOWN_COLUMNS, f"{document.name}:{number}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_files_that_documents_name_exist(document):
    top = "harness|images|tests|kernel-configs|docs|scripts|benchmarks"
    for name in re.findall(rf"`((?:{top})/[\w./*-]+)`", document.read_text()):
        # A capital word stands for a name of the reader's.
        assert re.search(r"\b[A-Z]{3,}\b", name) or list(ROOT.glob(name.rstrip("/"))), name


def test_the_architecture_page_has_the_layers_that_the_linter_checks():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    layers = [set(re.findall(r"\w+", layer)) for layer in contract]
    shown: dict[int, set[str]] = {}
    for number, parts in re.findall(
        r"^\| (\d+) \| (.*?) \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE
    ):
        shown.setdefault(int(number), set()).update(re.findall(r"`(\w+)(?:/|\.py)`", parts))
    assert shown == dict(enumerate(layers, 1))
