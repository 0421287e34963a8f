# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from report_samples import NASTY, errored, failed, lost, make_splat, passed, skipped

from dmasafe.report.formats import ktap
from dmasafe.report.results import Results


@dataclass
class Node:
    name: str = ""
    ok: bool = True
    directive: str = ""
    plan: int | None = None
    diagnostics: list[str] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)


# Documentation/dev-tools/ktap.rst: a result line, its optional directive behind " # ".
_RESULT = re.compile(r"^(ok|not ok) (\d+) (?:- )?([^#]*?)(?: # (.*))?$")


def parse_ktap(text: str) -> Node:
    """A strict reader of KTAP version 1 with one level of subtests; anything out of place is an AssertionError."""
    root = Node()
    parents = [root]
    pending: list[str] = []
    for line in text.splitlines():
        depth = (len(line) - len(line.lstrip(" "))) // 4
        body = line.strip()
        if body == "KTAP version 1":
            assert depth == len(parents) - 1 + (root.plan is not None)
            if depth:
                parents.append(Node())
        elif plan := re.fullmatch(r"1\.\.(\d+)", body):
            assert parents[depth].plan is None
            parents[depth].plan = int(plan[1])
            pending.clear()
        elif body.startswith("# Subtest: "):
            parents[depth].name = body.removeprefix("# Subtest: ")
        elif body.startswith("#"):
            pending.append(body)
        else:
            result = _RESULT.match(body)
            assert result, line
            if depth < len(parents) - 1:
                node = parents.pop()
                assert node.name == result[3] and node.plan == len(node.children)
            else:
                node = Node(name=result[3])
            node.ok, node.directive = result[1] == "ok", result[4] or ""
            node.diagnostics, pending = pending, []
            parents[depth].children.append(node)
            assert int(result[2]) == len(parents[depth].children)
    assert parents == [root] and root.plan == len(root.children)
    return root


def test_places_are_subtests_and_scenarios_their_cases(passing) -> None:
    root = parse_ktap(ktap.render(passing))
    assert [node.name for node in root.children] == [
        "virtio",
        "dmasafe:bounce",
        "dmasafe:flag-only",
        "dmasafe:trusting",
        "dmasafe:pio",
    ]
    assert {case.name for node in root.children for case in node.children} == {row.id for row in passing.rows}
    assert all(node.ok for node in root.children)


def test_each_verdict_has_its_result_and_directive(with_rows) -> None:
    (place,) = parse_ktap(ktap.render(with_rows(passed(), failed(), lost(), errored(), skipped()))).children
    assert [(case.ok, case.directive.split(" ")[0]) for case in place.children] == [
        (True, ""),
        (False, ""),
        (False, "ERROR"),
        (False, "ERROR"),
        (True, "SKIP"),
    ]
    assert not place.ok
    assert place.children[4].directive == "SKIP x86_64 has no highmem"


def test_a_failure_is_explained_before_its_result(with_rows) -> None:
    (place,) = parse_ktap(ktap.render(with_rows(passed(), failed("guard-after", make_splat()), passed()))).children
    before, case, after = place.children
    text = "\n".join(case.diagnostics)
    assert "expected CAUGHT, happened SILENT" in text and "guard-after" in text and "map-vmalloc-rejected" in text
    assert not before.diagnostics and not after.diagnostics


def test_text_of_the_guest_forges_no_result_and_no_directive(with_rows) -> None:
    text = ktap.render(with_rows(failed(NASTY, make_splat(NASTY)), skipped(NASTY), lost(NASTY)))
    (place,) = parse_ktap(text).children
    assert [case.ok for case in place.children] == [False, True, False]
    assert text.isprintable() or not re.search(r"[\x00-\x09\x0b-\x1f]", text)


def test_a_name_holds_no_hash(with_rows) -> None:
    results = with_rows(passed())
    odd = replace(results, rows=(replace(results.rows[0], id="a # SKIP b#c"),))
    (place,) = parse_ktap(ktap.render(odd)).children
    assert place.children[0].name == "a %23 SKIP b%23c"


def test_a_place_that_was_only_skipped_is_skipped(with_rows) -> None:
    (place,) = parse_ktap(ktap.render(with_rows(skipped(), skipped()))).children
    assert place.ok and place.directive.startswith("SKIP")


def test_an_empty_run_has_an_empty_plan(with_rows) -> None:
    assert parse_ktap(ktap.render(with_rows())).plan == 0


def kernel_parsers() -> list[Path]:
    """kunit_parser.py of every source tree below (or at) $DMASAFE_KERNEL_SOURCES that reads KTAP (6.1 and later)."""
    place = os.environ.get("DMASAFE_KERNEL_SOURCES")
    if not place:
        return []
    name = "tools/testing/kunit/kunit_parser.py"
    found = [*Path(place).glob(name), *sorted(Path(place).glob(f"*/{name}"))]
    return [path for path in found if "KTAP version" in path.read_text(encoding="utf-8")]


_ASK_THE_KERNEL = """
import inspect, sys, types
sys.dont_write_bytecode = True
import kunit_parser
lines = open(sys.argv[1], encoding="utf-8")
if len(inspect.signature(kunit_parser.parse_run_tests).parameters) > 1:
    import kunit_printer
    test = kunit_parser.parse_run_tests(lines, kunit_printer.Printer(print=False))
else:
    test = kunit_parser.parse_run_tests(lines)
counts = test.counts
print("counts", counts.passed, counts.failed, counts.crashed, counts.skipped, counts.errors)
"""


@pytest.mark.parametrize("parser", kernel_parsers(), ids=lambda path: path.parents[3].name)
def test_the_kernels_own_parser_counts_the_same(parser: Path, passing: Results, tmp_path: Path) -> None:
    some = list(passing.rows)
    for number, judgement in ((3, failed(NASTY, make_splat(NASTY))), (900, lost()), (901, errored())):
        some[number] = replace(some[number], judgement=judgement)
    (tmp_path / "results.ktap").write_text(ktap.render(replace(passing, rows=tuple(some))))
    answer = subprocess.run(
        [sys.executable, "-c", _ASK_THE_KERNEL, tmp_path / "results.ktap"],
        cwd=parser.parent,
        env={**os.environ, "PYTHONPATH": str(parser.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert answer.stdout.splitlines()[-1] == f"counts {len(some) - 163} 3 0 160 0"
