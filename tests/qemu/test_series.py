# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe series`` on a kernel, on the eight patches of tests/fixtures/series: each is reported as what it is."""

import json

import pytest

from benchmarks.series import git, make_tree
from dmasafe import kernel as kernels
from tests.slow import slow

PATCHES = sorted((kernels.project_root() / "tests" / "fixtures" / "series").glob("*.patch"))
CORRECTIONS = kernels.project_root() / "harness" / "dmasafe" / "findings" / "patches"
SERIES_S = 4 * 3600


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The default source as a repository with one commit and no file checked out."""
    return make_tree(tmp_path_factory.mktemp("series"))


def told(found):
    """What is bad, by the number of the patch: kinds, with the suites that saw it."""
    numbers = {commit["commit"]: number for number, commit in enumerate(found["commits"], 1)}
    bad: dict[int, set[str]] = {}
    for one in found["findings"]:
        if one["kind"] == "unsaid":
            # A client that does not bind any more is not seen to do more.
            assert one["where"].startswith("clients (ad5110)"), one
            continue
        assert len(one["commits"]) == 1, one
        name = f"{one['kind']} {one['where'].split()[0]}"
        bad.setdefault(numbers[one["commits"][0]], set()).add(name)
    return bad


@slow
@pytest.mark.timeout(2 * SERIES_S)
def test_each_patch_is_reported_as_what_it_is(dmasafe, tree, tmp_path):
    done = dmasafe(
        "series", "--kdir", tree, *PATCHES, "--each", "--format", "json", "--results", tmp_path,
        "--mail", tmp_path / "mail", check=1, timeout=SERIES_S,
    )  # fmt: skip
    found = json.loads(done.stdout)
    bad = told(found)
    # 1 documents, 2 refactors, 3 i2c-core loses the flag, 4 does not build until 5, 6 i2c-dev reads to the stack,
    # 7 a client marks its stack, 8 only the source shows.
    assert set(bad) == {3, 4, 6, 7, 8}, bad
    assert bad[3] == {"worse core"} and bad[6] == {"worse core"}
    assert bad[4] == {"broken x86_64"}
    assert "worse clients" in bad[7] and bad[8] == {"checked source"}
    assert all("corrected by" in one["what"] for one in found["findings"] if one["kind"] == "broken")
    mail = (tmp_path / "mail").read_text()
    assert "> -\tmsg->flags |= I2C_M_DMA_SAFE;" in mail
    # Who sends it, and what was typed, are as long as they are.
    body = mail.partition("\n\n")[2].partition("\nTested with:")[0]
    assert all(len(line) <= 72 for line in body.splitlines() if line[:1] != ">" and "'" not in line)


@slow
@pytest.mark.timeout(2 * SERIES_S)
def test_a_refactoring_alone_changes_nothing(dmasafe, tree, tmp_path):
    done = dmasafe(
        "series", "--kdir", tree, *PATCHES[:2], "--format", "json", "--results", tmp_path, check=0, timeout=SERIES_S
    )
    assert json.loads(done.stdout)["findings"] == []


@slow
@pytest.mark.timeout(2 * SERIES_S)
def test_the_patches_of_findings_are_improvements(dmasafe, tree, tmp_path):
    names = ("osif-callers-buffer", "i2c-dev-needless-bounce", "viperboard-long-write")
    done = dmasafe(
        "series", "--kdir", tree, *(CORRECTIONS / f"{name}.patch" for name in names), "--format", "json",
        "--results", tmp_path, check=0, timeout=SERIES_S,
    )  # fmt: skip
    found = json.loads(done.stdout)["findings"]
    assert {one["kind"] for one in found} <= {"better", "other"} and "better" in {one["kind"] for one in found}


@slow
@pytest.mark.timeout(2 * SERIES_S)
def test_a_host_that_is_corrected_is_better_and_one_that_is_not_any_more_is_worse(dmasafe, tree, tmp_path):
    patch = CORRECTIONS / "at91-unmaps-more.patch"
    index = {"GIT_INDEX_FILE": str(tmp_path / "index")}
    git(tree, "read-tree", "HEAD", **index)
    git(tree, "apply", "--cached", str(patch), **index)
    corrected = git(tree, "commit-tree", git(tree, "write-tree", **index), "-p", "HEAD", "-m", "Correct it")
    reverted = git(tree, "commit-tree", "HEAD^{tree}", "-p", corrected, "-m", "Revert it")
    for what, kind in ((patch, "better"), (f"{corrected}..{reverted}", "worse")):
        done = dmasafe("series", "--kdir", tree, what, "--format", "json", "--results", tmp_path, timeout=SERIES_S)
        assert done.returncode == 1 if kind == "worse" else done.returncode in (0, 2), done.stderr[-3000:]
        found = json.loads(done.stdout)["findings"]
        # A busy machine may leave rows of which nothing can be said, but none that is worse.
        assert {one["kind"] for one in found} - {"unsaid", "other"} == {kind}
        (one,) = (one for one in found if one["kind"] == kind)
        assert one["scenarios"] == ["heap/master_recv/at91/256"]
