# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin as other people's tests see it, on the model: no kernel, no boot."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

THEIRS = Path(__file__).with_name("others_on_model.py")


@pytest.fixture(scope="module")
def run(tmp_path_factory, others):
    """Run their tests on the model with some options."""

    def run(*options, ini=""):
        directory = tmp_path_factory.mktemp("others")
        shutil.copy(THEIRS, directory / "test_theirs.py")
        (directory / "pytest.ini").write_text(f"[pytest]\n{ini}")
        return others(directory, *options)

    return run


@pytest.fixture(scope="module")
def cases(run):
    # DMA that goes astray is what some of them look for: it does on a machine that is not strict.
    found, output = run("--dmasafe-target=model", "--dmasafe-strict=off")
    assert "internal error" not in output.lower()
    return found


@pytest.mark.parametrize("name", ["heap", "expected", "astray_as_expected", "fresh", "scenario", "without_the_log"])
def test_what_is_right_passes(cases, name):
    assert cases[f"test_{name}"].outcome == "passed", cases[f"test_{name}"].text


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("unexpected", "map-vmalloc-rejected in right_map() [dmasafe_controller]: rejecting DMA map"),
        ("forgotten", "map-vmalloc-rejected in right_map() [dmasafe_controller]: rejecting DMA map"),
        ("finding_without_an_audit", "no buffers are audited here: see --dmasafe-audit"),
        ("missing", "the kernel did not report map-stack; it reported:\nnothing"),
        (
            "blames_somebody_else",
            "the kernel did not report map-vmalloc-rejected in thermo_measure(); it reported:\nmap",
        ),
        ("no_such_class", "map-stacks is no splat class"),
        ("astray", "stray DMA to 0x"),
        ("not_astray", "the device saw no stray DMA"),
        ("slave_raises", "the slave at 0x48: read() raised ValueError: dead"),
        ("no_slave", "the slave at 0x48 has no write and no read"),
    ],
)
def test_what_is_wrong_fails_and_is_named(cases, name, why):
    assert cases[f"test_{name}"].outcome == "failure"
    assert why in cases[f"test_{name}"].text.replace("Failed: ", "")


def test_a_failure_shows_the_splat_and_whom_to_blame_but_nothing_of_the_plugin(cases):
    for name in ("test_unexpected", "test_forgotten"):
        text = cases[name].text
        assert "map-vmalloc-rejected: dmasafe_controller 0000:00:06.0: rejecting DMA map of vmalloc memory" in text
        assert "blame: " in text
        assert "pytest_plugin/" not in text


def test_what_made_a_test_fail_is_said_before_how_it_failed(cases):
    for name, outcome in (("errno_of_a_splat", "failure"), ("setup", "error")):
        case = cases[f"test_{name}"]
        assert case.outcome == outcome
        assert case.text.removeprefix('failed on setup with "').startswith("map-vmalloc-rejected in right_map()")
        assert case.text.index("blame: ") < case.text.index("def ")
    assert "the test: OSError: [Errno 5]" in cases["test_errno_of_a_splat"].text
    line = next(n for n, text in enumerate(THEIRS.read_text().splitlines(), 1) if 'ValueError("dead")' in text)
    first, *rest = cases["test_errno_of_a_slave"].text.splitlines()
    assert first.startswith("the slave at 0x48: read() raised ValueError: dead at ")
    assert first.endswith(f"test_theirs.py:{line}")
    assert "assert -" in "".join(rest)


@pytest.mark.parametrize("name", ["impossible_scenario", "guest", "module"])
def test_what_the_model_cannot_do_is_skipped_with_the_reason(cases, name):
    assert cases[f"test_{name}"].outcome == "skipped"
    assert "the model" in cases[f"test_{name}"].text


def test_without_dma_debug_nobody_can_say_that_the_log_is_clean(run):
    cases, _ = run("--dmasafe-target=model", "--dmasafe-config=no-dma-debug")
    for name in ("heap", "expected", "swallowed", "xfail", "no_such_class"):
        case = cases[f"test_{name}"]
        assert case.outcome == "failure", name
        assert "INCONCLUSIVE: the model's kernel has no CONFIG_DMA_API_DEBUG" in case.text
    assert cases["test_without_the_log"].outcome == "passed"


def test_what_dma_must_not_rely_on_fails_a_test_by_default(run):
    """The bytes beside a buffer in a struct are lost; of a plain x86 no oracle says a word."""
    cases, _ = run("--dmasafe-target=model", "-k", "heap or beside or astray")
    assert cases["test_heap"].outcome == "passed"
    assert cases["test_beside"].outcome == "failure" and "strict-line-lost" in cases["test_beside"].text
    assert "strict-memory" in cases["test_astray"].text
    cases, _ = run("--dmasafe-target=model", "--dmasafe-strict=off", "-k", "beside")
    assert cases["test_beside"].outcome == "passed"


def test_the_ini_file_chooses_and_a_wrong_choice_is_one_sentence(run):
    cases, _ = run("-k", "without_the_log", ini="dmasafe_target = board\n")
    assert cases["test_without_the_log"].outcome == "error"
    assert "dmasafe: dmasafe_target = board: it is one of qemu, model" in cases["test_without_the_log"].text
    assert "Traceback" not in cases["test_without_the_log"].text


def test_a_run_that_uses_nothing_of_it_imports_nothing_of_it(tmp_path):
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n"
        "def test(): print('LOADED', sorted(m for m in sys.modules if m.startswith(('dmasafe', 'click', 'rich'))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert "LOADED ['dmasafe', 'dmasafe.pytest_plugin', 'dmasafe.pytest_plugin.options']" in done.stdout, done.stdout
