# SPDX-License-Identifier: GPL-2.0-or-later
"""Documents and messages stay in plain English: words that had a meaning among us only do not come back."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(ROOT.glob("docs/*.md"))
MODULES = sorted((ROOT / "harness" / "dmasafe").rglob("*.py"))
MARKDOWN_COLUMNS = 100

# What not to write -> what to write.
PRIVATE = {
    r"house": "dmasafe, or the packages",
    r"rooms|(?:the|a|one|each|every|this|that|whose|its) room(?! for)": "package",
    r"floors?": "layer",
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


def messages(module: Path) -> list[str]:
    """The strings of a module: messages, help texts and tables. Docstrings only where they are a command's help."""
    tree = ast.parse(module.read_text())
    silent = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            is_command = any("command" in ast.unparse(each) for each in getattr(node, "decorator_list", ()))
            if isinstance(node.body[0], ast.Expr) and not is_command:
                silent.add(node.body[0].value)
    strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [node.value for node in strings if node not in silent]


def test_private_words_are_found_and_plain_ones_are_not():
    assert private_words("A run by\nlot") == ["'by lot': random, at random"]
    assert len(private_words("a house of rooms: scenarios by lot, held against the model, the one room")) == 5
    assert not private_words("make room for it; there is no room; the room for a message; compared with; a lot of")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_have_no_private_words(document):
    assert private_words(document.read_text()) == []


def test_messages_have_no_private_words():
    said = {
        f"{path.relative_to(ROOT)}: {one}" for path in MODULES for text in messages(path) for one in private_words(text)
    }
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
