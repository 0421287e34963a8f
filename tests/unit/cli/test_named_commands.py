# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever documents, help texts and messages name exists: commands, and their options as help shows them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from test_command_tree import TREE

from dmasafe.cli import group

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "harness" / "dmasafe"
# Not the changelog, which names what was.
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
# A call of the command: at the beginning, or behind a path, a quotation mark, a bracket, a pipe or "Example:".
CALL = re.compile(r"""(?:^|[/'"`(|]|Examples?:|\|\||->)\s*dmasafe((?: +[^\s'"`|;<>#()&]+)+)""")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
# Programs of their own, with options of their own, and packages whose strings are the kernel's.
OTHERS = {"devices", "pytest_plugin", "selftest", "model", "carriers"}
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] not in OTHERS]


def options_of(command: click.Command) -> set[str]:
    """Those that help shows."""
    shown = (each for each in command.get_params(click.Context(command)) if not getattr(each, "hidden", False))
    return {opt for each in shown for opt in (*each.opts, *each.secondary_opts)}


def missing(words: list[str]) -> str | None:
    """What does not exist of a call's words; a word in capitals, a placeholder or an ellipsis ends its commands."""
    command: click.Command = group
    for word in words:
        name = word.strip("[].,:").partition("=")[0]
        if word == "--":
            return None
        if name.startswith("-") and len(name) > 1:
            if name.rstrip("/") not in options_of(command):
                return f"{command.name} has no option {name}"
        elif isinstance(command, click.Group):
            if not re.fullmatch(r"[a-z]+", name):
                return None
            found = command.get_command(click.Context(command), name)
            if found is None:
                return f"{command.name or 'dmasafe'} has no command {name}"
            command = found
    return None


def calls(text: str) -> Iterator[list[str]]:
    yield from (match[1].split() for match in CALL.finditer(text))


def code(markdown: str) -> Iterator[str]:
    """The code of a document: lines of its blocks, with those that they go on in, and the spans in its text."""
    fenced = re.compile(r"^ *```.*?\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
    indented = re.compile(r"^    +\S.*$", re.MULTILINE)
    for match in fenced.finditer(markdown):
        yield from match[1].replace("\\\n", " ").splitlines()
    rest = fenced.sub("", markdown)
    yield from (match[0].strip() for match in indented.finditer(rest))
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest))


def literals(node: ast.AST) -> Iterator[str]:
    """The strings below a node; what is put into an f-string is an ellipsis."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "..." for part in child.values)
        elif isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value
        else:
            yield from literals(child)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_names_exists(path):
    spans = list(code(path.read_text(encoding="utf-8")))
    assert [problem for span in spans for words in calls(span) if (problem := missing(words))] == []


def test_what_a_text_of_the_program_names_exists():
    named, wrong = 0, []
    for path in MODULES:
        for text in literals(ast.parse(path.read_text(encoding="utf-8"))):
            for words in calls(" ".join(text.split())):
                named += 1
                wrong += [f"{path.relative_to(PACKAGE)}: {problem}" for problem in (missing(words),) if problem]
    assert wrong == []
    assert named > 100


def test_an_option_that_an_error_names_exists():
    wrong, known = [], set().union(*map(options_of, TREE.values()))
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise):
                named = {option for text in literals(node) for option in OPTION.findall(text)}
                wrong += [f"{path.relative_to(PACKAGE)}:{node.lineno} {option}" for option in named - known]
    assert wrong == []


def test_these_tests_find_what_does_not_exist():
    assert missing(["kernel", "vanish"]) == "kernel has no command vanish"
    assert missing(["run", "--suite", "smoke", "--vanish"]) == "run has no option --vanish"
    # An earlier name, which help does not show.
    assert missing(["run", "--out", "here"]) == "run has no option --out"
    assert list(calls("(see 'dmasafe list') or .venv/bin/dmasafe run x | dmasafe parse -")) == [
        ["list"], ["run", "x"], ["parse", "-"],
    ]  # fmt: skip
    assert list(calls("the dmasafe driver")) == []


def test_the_documents_name_commands_at_all():
    spans = (span for path in DOCUMENTS for span in code(path.read_text(encoding="utf-8")))
    assert sum(len(list(calls(span))) for span in spans) > 100
