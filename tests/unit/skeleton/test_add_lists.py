# SPDX-License-Identifier: GPL-2.0-or-later
"""README's table of what a new thing costs is true: one of each is added to a copy, and the touched files counted."""

import fnmatch
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.additions.table import ADDITIONS

ROOT = Path(__file__).parents[3]
COPIED = ("harness", "images", "kernel-configs", "scripts", "tests", "docs")
TIMEOUT_S = 240
# A file in which so many of a kind's names stand in quotes is a table of them.
MOST = 2 / 3
_SOURCES = (".py", ".c", ".h", ".toml", ".json", ".js", ".html", ".sh", ".config", "")


def readme_rows() -> dict[str, tuple[int, list[str]]]:
    """What a row is about -> (how many files it promises, the paths that it names)."""
    text = (ROOT / "README.md").read_text()
    table = re.search(r"^\| a new \.\.\. \|.*?\n\n", text, re.M | re.S)
    assert table is not None
    rows = {}
    for line in table[0].strip().splitlines()[2:]:
        name, count, where = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name] = int(count), [word for word in re.findall(r"`([^`]+)`", where) if "/" in word and " " not in word]
    return rows


def matches(path: str, named: str) -> bool:
    """Whether a path is what a row calls ``kernel-configs/arch/NAME.toml``, ``images/*.c`` or ``devices/slaves/``."""
    return fnmatch.fnmatchcase(path, re.sub(r"\bNAME\b", "*", named) + ("*" if named.endswith("/") else ""))


def digests(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@functools.cache
def quoted() -> dict[str, set[str]]:
    """The words in quotes of each source file."""
    folders = [ROOT / name for name in ("harness", "images", "kernel-configs", "benchmarks", "scripts")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in _SOURCES and path.is_file()]
    words = re.compile(r"""["']([\w./-]+)["']""")
    return {str(path.relative_to(ROOT)): set(words.findall(path.read_text(errors="replace"))) for path in files}


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> tuple[Path, dict[str, set[str]]]:
    """A copy of the project with a dummy of each kind, and the files that each has touched."""
    root = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "setup.py"):
        shutil.copy(ROOT / name, root / name)
    touched, before = {}, digests(root)
    for addition in ADDITIONS:
        for edit in addition.edits:
            edit.apply(root)
        after = digests(root)
        touched[addition.name] = {path for path in after if after[path] != before.get(path)}
        before = after
    return root, touched


def test_a_dummy_of_each_kind_works_with_these_edits_and_no_other(copy):
    root, _ = copy
    tests = [test.partition("::") for addition in ADDITIONS for test in addition.tests]
    # Whatever a dummy's name is a parameter of, and what is named.
    chosen = " or ".join({"dummy", "checks", *(name for _, _, name in tests if name)})
    files = dict.fromkeys(["tests/additions/checks.py", *(file for file, _, _ in tests)])
    options = ["-q", "--no-header", "--tb=short", "-p", "no:cacheprovider", "-m", "not qemu", "-k", chosen]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root / "harness")}, capture_output=True, text=True,
        timeout=TIMEOUT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


@pytest.mark.parametrize("addition", ADDITIONS, ids=lambda addition: addition.name)
def test_the_readme_names_the_files_that_it_takes_and_counts_them(copy, addition):
    touched = copy[1][addition.name]
    count, named = readme_rows()[addition.name]
    assert all(any(matches(path, one) for one in named) for path in touched), touched
    assert all(any(matches(path, one) for path in touched) for one in named), named
    assert count == len(touched)


@pytest.mark.parametrize("addition", ADDITIONS, ids=lambda addition: addition.name)
def test_no_other_file_lists_most_of_a_kind(addition):
    members = list(addition.members())
    _, named = readme_rows()[addition.name]
    tables = {path for path, words in quoted().items() if len(words.intersection(members)) >= MOST * len(members)}
    more = {path for path in tables if not any(matches(path, one) for one in named)}
    assert more == more & addition.beside.keys(), "a second table: give the row of the first one a column instead"


def test_every_path_of_the_table_exists_and_every_row_has_its_dummy():
    rows = readme_rows()
    assert {addition.name for addition in ADDITIONS} == rows.keys()
    for _, named in rows.values():
        for one in named:
            pattern = re.sub(r"\bNAME\b", "*", one)
            assert any(ROOT.glob(pattern.rstrip("/"))), one
