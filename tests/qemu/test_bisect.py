# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe bisect`` finds a seeded regression, in a driver's repository and in a kernel tree."""

import json
import shutil
import subprocess

import pytest

from dmasafe import kernel as kernels
from tests.slow import slow

EXAMPLES = kernels.project_root() / "docs" / "examples"
USE = "echo thermo 0x30 > /sys/bus/i2c/devices/i2c-$DMASAFE_BUS/new_device; cat /sys/bus/i2c/devices/*/temperature"
COMMITS = 18
# git looks at the middle first: there is one that does not build, beside it one whose driver does not bind.
BROKEN, UNBOUND, GUILTY = 8, 9, 12


def git(tree, *words):
    return subprocess.run(
        ["git", "-C", tree, "-c", "user.name=A Driver Author", "-c", "user.email=author@example.org", *words],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip


@pytest.fixture
def repository(tmp_path):
    """A driver's history: COMMITS commits; from GUILTY on it hands a buffer on its stack to DMA."""
    tree = tmp_path / "thermo"
    (tree / "driver").mkdir(parents=True)
    git(tree, "init", "--quiet")
    shutil.copyfile(EXAMPLES / "fixed" / "Kbuild", tree / "driver" / "Kbuild")
    fixed = (EXAMPLES / "fixed" / "thermo.c").read_text()
    buggy = (EXAMPLES / "buggy" / "thermo.c").read_text()
    for number in range(COMMITS):
        text = buggy if number >= GUILTY else fixed
        text += f"\n/* Change {number} */\n"
        if number == BROKEN:
            text += "#error not finished\n"
        if number == UNBOUND:
            text = text.replace('{ "thermo" }', '{ "thermometer" }')
        (tree / "driver" / "thermo.c").write_text(text)
        (tree / "NEWS").write_text(f"change {number}\n")
        git(tree, "add", ".")
        git(tree, "commit", "--quiet", "-m", f"Change {number}")
    return tree


def state(tree):
    """Everything that bisecting could leave behind in somebody's repository."""
    return (
        git(tree, "rev-parse", "HEAD"),
        git(tree, "status", "--porcelain", "--ignored"),
        git(tree, "for-each-ref"),
        git(tree, "worktree", "list", "--porcelain"),
        git(tree, "stash", "list"),
    )


@pytest.mark.usefixtures("guest")
@slow
def test_the_first_commit_that_hands_its_stack_to_dma_is_found(dmasafe, repository):
    revisions = git(repository, "rev-list", "--reverse", "HEAD").split()
    # Somebody is at work there.
    (repository / "NEWS").write_text("not committed\n")
    before = state(repository)
    done = dmasafe(
        "bisect", "--good", revisions[0], "--bad", "HEAD", "--module", repository / "driver", "--policy", "pio",
        "--format", "json", "--", USE, check=0, timeout=1700,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert (found["commit"], found["subject"]) == (revisions[GUILTY], f"Change {GUILTY}")
    verdicts = {step["commit"]: (step["verdict"], step["why"]) for step in found["steps"]}
    assert verdicts[revisions[0]][0] == "good"
    assert verdicts[revisions[-1]][0] == verdicts[revisions[GUILTY]][0] == "bad"
    assert verdicts[revisions[GUILTY - 1]][0] == "good"
    tried = {revisions.index(commit): word for commit, (word, _) in verdicts.items()}
    assert tried[BROKEN] == "skip"
    assert "not finished" in verdicts[revisions[BROKEN]][1]
    assert all(word == ("bad" if n >= GUILTY else "good") for n, word in tried.items() if word != "skip")
    assert {n for n, word in tried.items() if word == "skip"} <= {BROKEN, UNBOUND}
    assert len(tried) < COMMITS
    assert state(repository) == before


def test_an_end_that_is_not_what_it_is_called_is_said(dmasafe, repository):
    done = dmasafe(
        "bisect", "--good", "HEAD~3", "--bad", "HEAD", "--module", repository / "driver", "--policy", "pio", "--", USE,
        check=2, timeout=1700,
    )  # fmt: skip
    assert "HEAD~3 is called good, and comes out as BAD" in done.stderr
    assert git(repository, "worktree", "list").count("\n") == 0


@slow
@pytest.mark.timeout(5400)
def test_a_regression_in_a_kernel_tree_is_found_with_incremental_builds(dmasafe, tmp_path):
    source = kernels.fetch(kernels.parse_source(kernels.DEFAULT_SOURCE), kernels.open_cache())
    tree = tmp_path / "linux"
    shutil.copytree(source.path, tree, symlinks=True)
    git(tree, "init", "--quiet")
    git(tree, "add", "--force", ".")
    git(tree, "commit", "--quiet", "-m", "The kernel as it was")
    driver = tree / "drivers" / "i2c" / "busses" / "i2c-virtio.c"
    original = driver.read_text()
    # Without the flag every buffer would be mapped as it is; with it, none of the marked ones.
    guilty = original.replace("i2c_get_dma_safe_msg_buf(&msgs[i], 1)", "msgs[i].buf")
    assert guilty != original
    for number in range(1, 17):
        driver.write_text((guilty if number >= 11 else original) + f"\n/* Change {number} */\n")
        git(tree, "commit", "--quiet", "--all", "-m", f"Change {number}")
    revisions = git(tree, "rev-list", "--reverse", "HEAD").split()
    before = state(tree)
    done = dmasafe(
        "bisect", "--good", revisions[0], "--bad", "HEAD", "--kdir", tree, "--format", "json",
        "stack/master_recv/virtio/8", check=0, timeout=5000,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["subject"] == "Change 11"
    seconds = [step["seconds"] for step in found["steps"]]
    # The first one builds everything.
    assert max(seconds[1:]) < seconds[0] / 2, seconds
    assert state(tree) == before
