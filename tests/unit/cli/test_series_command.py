# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe series`` from the command line, as far as no kernel is built."""

import json
import subprocess
import time

import pytest

from tests.in_process import dmasafe

#: What the issue of maintainers allows for a series of documents; a busy machine takes some of it.
WANTED_S = 5


@pytest.fixture
def tree(tmp_path):
    """A repository with a tag, a commit to a document and one to a driver that nothing here runs."""
    made = tmp_path / "linux"
    (made / "Documentation").mkdir(parents=True)
    (made / "drivers").mkdir()

    def git(*words):
        who = ["-c", "user.name=dmasafe", "-c", "user.email=dmasafe@example.org"]
        subprocess.run(["git", "-C", made, *who, *words], check=True, capture_output=True)

    (made / "Makefile").write_text("VERSION = 6\nPATCHLEVEL = 12\n")
    git("init", "--quiet")
    for number, name in enumerate(("Makefile", "Documentation/a.rst", "drivers/x.c")):
        (made / name).open("a").write(f"# {number}\n")
        git("add", ".")
        git("commit", "--quiet", "-m", f"Change {name}")
        if not number:
            git("tag", "v6.12")
    return made


@pytest.fixture
def series(tree, tmp_path):
    def run(*words):
        environment = {"DMASAFE_CACHE": str(tmp_path / "cache")}
        return dmasafe("series", "--kdir", tree, "--results", tmp_path / "out", *words, environment=environment)

    return run


def test_a_series_of_documents_is_answered_at_once(series, tmp_path):
    started = time.process_time()
    done = series("v6.12..HEAD~1", "--patchwork-check", tmp_path / "check", "--mail", tmp_path / "mail")
    assert done.returncode == 0, done.stderr
    assert "nothing: Documentation/a.rst" in done.stdout
    assert "nothing of it is built or checked here: nothing is worse" in done.stdout
    assert time.process_time() - started < WANTED_S
    assert json.loads((tmp_path / "check").read_text())["state"] == "success"
    assert "Subject: Re: [PATCH] Change Documentation/a.rst" in (tmp_path / "mail").read_text()
    assert json.loads((tmp_path / "out" / "latest" / "series.json").read_text())["status"] == 0


def test_what_would_be_run_is_said_before(series, tmp_path):
    done = series("--choose", "--suite", "smoke")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "smoke: asked for by --suite", "source only: drivers/x.c: nothing here runs it", "nothing: Documentation/a.rst",
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["json", "junit", "ktap", "sarif"])
def test_each_form_goes_to_standard_output(series, form):
    done = series("v6.12..HEAD~1", "--format", form)
    assert done.returncode == 0 and done.stdout.lstrip()[:1] in ("{", "<", "K")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing..HEAD"], "has no revision 'nothing'"),
        (["--suite", "smok"], "did you mean 'smoke'"),
        (["--config", "stric"], "stric"),
        (["--lore", "a@b", "HEAD~1..HEAD"], "name no range and no file"),
        (["--lore", "a@b"], "b4"),
    ],
)
def test_a_mistake_is_one_sentence(series, words, sentence):
    done = series(*words)
    assert done.returncode == 2 and sentence in done.stderr and "Traceback" not in done.stderr
