# SPDX-License-Identifier: GPL-2.0-or-later
"""When a kernel is built, packed and booted, and what is kept of it: the real bench over stand-ins for all three."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
from series_rig import SEND, caught, commit, lost, results, safe

from dmasafe.progress import SILENT
from dmasafe.series import bench as benches
from dmasafe.series.bench import QemuBench
from dmasafe.series.choose import Job, choose

CELL = ("default", "x86_64")


@dataclass
class Did:
    """What was asked of the packages below, in words."""

    lines: list[str]
    rows: dict[str, object]
    changes: dict[str, object]

    def taken(self):
        found, self.lines[:] = list(self.lines), []
        return found


@pytest.fixture
def did(monkeypatch):
    made = Did([], {SEND: safe()}, {})

    def build(tree, configuration, arch, _cache, _progress):
        made.lines.append(f"build {tree.identity.partition(':')[2]}")
        return SimpleNamespace(tree=tree.identity)

    def ready(kernel, *_cell, extra_modules=None):
        made.lines.append(f"pack {kernel.tree.partition(':')[2]} {extra_modules is not None}")
        return SimpleNamespace(image=None, kernel=kernel.tree, facts=None)

    def run(target, scenarios, suite, _progress, _started):
        made.lines.append(f"boot {target.kernel.partition(':')[2]} {suite} {len(scenarios)}")
        return replace(results(made.rows, suite), **made.changes)

    monkeypatch.setattr(benches.kernels, "build_kernel", build)
    monkeypatch.setattr(benches, "ready", ready)
    monkeypatch.setattr(benches, "run_and_judge", run)
    monkeypatch.setattr(benches, "QemuTarget", lambda image, kernel, facts, logs: SimpleNamespace(kernel=kernel))
    monkeypatch.setattr(
        benches, "adopt_configuration", lambda tree, other, *_: made.lines.append(f"adopt {other.identity[9:]}")
    )
    return made


@pytest.fixture
def three(tree):
    for number, name in enumerate(("core", "document", "dev")):
        commit(tree, f"Change {number}", **{name: f"{number}\n"})
    return tree


@pytest.fixture
def bench(three, repository, did):
    series = repository.find([], None, SILENT)
    return QemuBench(repository, series, choose(series.paths, "x86_64").jobs, None, SILENT), series


def test_what_boots_is_packed_while_its_objects_are_there(bench, did):
    found, series = bench
    one, document, tip = series.commits
    for each in (series.base, one, document, tip):
        found.compile(each, CELL)
    base = series.base.tree
    assert did.taken() == [
        f"adopt {base}", f"build {base}", f"pack {base} False",
        f"adopt {base}", f"build {one.tree}",
        # A document changes no kernel.
        f"adopt {base}", f"build {one.tree}",
        f"adopt {base}", f"build {tip.tree}", f"pack {tip.tree} False",
    ]  # fmt: skip
    # Both boot as often as they must, whatever lies in the object directory.
    for each in (series.base, tip, series.base):
        found.perform(each, Job("smoke", *CELL), {SEND})
    assert did.taken() == [f"boot {each.tree} smoke 1" for each in (series.base, tip, series.base)]


def test_a_configuration_is_taken_over_only_where_nothing_is_read_for_one(tree, repository, did):
    commit(tree, "Kconfig: Change", core="1\n")
    (tree / "Kconfig").write_text("# changed\n")
    commit(tree, "Kconfig: Change")
    series = repository.find([], None, SILENT)
    QemuBench(repository, series, (), None, SILENT).compile(series.tip, CELL)
    assert not [line for line in did.taken() if line.startswith("adopt")]


def test_results_of_the_base_are_known_the_next_time(bench, did, three, repository):
    found, series = bench
    job, other = Job("smoke", *CELL), Job("core", *CELL)
    assert found.known(series.base, job) is None
    found.perform(series.base, job)
    found.perform(series.tip, other)
    # For the next series on it, too.
    commit(three, "dev: Four", dev="4\n")
    again = QemuBench(repository, repository.find([], None, SILENT), (), None, SILENT)
    known = again.known(series.base, job)
    assert known is not None and [row.id for row in known.rows] == [SEND]
    assert again.known(series.base, other) is None and again.known(series.tip, other) is None
    assert QemuBench(repository, series, (), "kvm", SILENT).known(series.base, job) is None


@pytest.mark.parametrize(
    ("rows", "changes", "kept"),
    [
        ({SEND: caught()}, {}, True),
        ({SEND: lost()}, {}, False),
        ({SEND: safe()}, {"reason": "the guest hung"}, False),
        ({SEND: safe()}, {"canary_splatted": False}, False),
    ],
)
def test_what_is_not_trusted_is_not_kept(bench, did, rows, changes, kept):
    found, series = bench
    did.rows, did.changes = rows, changes
    found.perform(series.base, Job("smoke", *CELL))
    assert (found.known(series.base, Job("smoke", *CELL)) is not None) is kept


def test_some_rows_of_the_base_are_not_its_results(bench):
    found, series = bench
    found.perform(series.base, Job("smoke", *CELL), {SEND})
    assert found.known(series.base, Job("smoke", *CELL)) is None


def test_half_a_run_judges_nothing(bench, did):
    found, series = bench
    did.changes = {"notes": ("interrupted by the user",)}
    with pytest.raises(KeyboardInterrupt):
        found.perform(series.base, Job("smoke", *CELL))


def test_clients_are_run_as_clients_are(bench, did, monkeypatch):
    found, series = bench
    ran = []
    monkeypatch.setattr(
        benches, "run_clients", lambda _guest, wanted, *_: (ran.extend(one.id for one in wanted), results({}))[::-1]
    )
    found.perform(series.tip, Job("clients", "upstream", "x86_64", ("ad5110",)), {"ad5110/probe/virtio"})
    assert ran == ["ad5110/probe/virtio"]
    monkeypatch.undo()
