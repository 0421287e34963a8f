# SPDX-License-Identifier: GPL-2.0-or-later
"""``make docs``: the site is built from what is there, and a link that leads nowhere stops it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")

pytest.importorskip("sphinx", reason="the extra docs is not installed")


def build(source: Path, into: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "-q", "-E", "-W", "--keep-going", *options, "-c", "docs", ".", str(into)]
    return subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=200)


def make_docs_recipe() -> str:
    return re.search(r"^docs:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]


def test_the_site_is_built_without_a_warning(tmp_path):
    done = build(ROOT, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for page in (*PAGES, *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))):
        assert (tmp_path / page).with_suffix(".html").is_file(), page
    commands = (tmp_path / "docs" / "commands.html").read_text()
    assert "dmasafe-matrix-regressions" in commands and "--format" in commands
    assert "sphinx-build -q -E -W --keep-going -c docs . build/docs" in make_docs_recipe()


def test_the_manual_page_is_made_and_rendered_without_a_warning(tmp_path):
    done = build(ROOT, tmp_path, "-b", "man")
    assert (done.returncode, done.stderr) == (0, "")
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    words = ["groff", "-man", "-Tutf8", "-ww", "-P-cbou", str(tmp_path / "dmasafe.1")]
    shown = subprocess.run(words, capture_output=True, text=True, check=True)
    assert shown.stderr == ""
    assert "kernel prune" in " ".join(shown.stdout.split()) and "--unused-days" in shown.stdout
    assert "make docs" not in shown.stdout


LINKS_TO_NOWHERE = (
    "[x](nowhere.md)",
    "[x](targets.md#no-such-heading)",
    "[x](../harness/no-such-file.py)",
    "[x](#nor-here)",
)


def test_a_link_that_leads_nowhere_is_an_error(tmp_path):
    docs = tmp_path / "source" / "docs"
    docs.mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "conf.py", docs)
    (docs / "targets.md").write_text("# Targets\n\n## Here\n")
    whole = "# Page\n\n[good](targets.md#here)\n\n```{toctree}\ntargets\n```\n\n"
    settings = ("-D", "html_theme=basic", "-D", "html_additional_pages.index=page.html")
    (docs / "index.md").write_text(whole)
    assert build(docs.parent, tmp_path / "good", *settings).returncode == 0
    (docs / "index.md").write_text(whole + "\n\n".join(LINKS_TO_NOWHERE) + "\n")
    done = build(docs.parent, tmp_path / "bad", *settings)
    assert done.returncode == 1 and done.stderr.count("myst.xref_missing") == len(LINKS_TO_NOWHERE)
