# SPDX-License-Identifier: GPL-2.0-or-later
"""What the self-test says of a wrecked run: each row breaks one rule, and that one only."""

import json
import threading
from dataclasses import replace

import pytest

from dmasafe.report import directory
from dmasafe.selftest import examine as examined
from dmasafe.selftest.arena import SelftestError
from dmasafe.selftest.cases import INTERRUPTED, Case
from dmasafe.targets.sabotage import SabotageKind

WHY = "the guest died"
CASE = Case("wreck", SabotageKind.PROCESS, "it is wrecked", lambda arena: None, r"guest died$", keeps=1)
SOUND = {"verdict": "PASS", "why": "it is heap memory"}
DOUBTED = {"verdict": "INCONCLUSIVE", "why": WHY}
BROKEN = {"verdict": "ERROR", "why": WHY}
BLAMED = {"verdict": "FAIL", "why": "wrong data"}
TRACEBACK = "Traceback (most recent call last):\n"


class Wreck:
    """An Arena in which a run with these results has ended."""

    def __init__(self, directory, rows=(SOUND, DOUBTED), statuses=(2,), printed="", left=(), takes=None, **counts):
        self.directory, self.out, self.took_s = directory, directory / "out", 3.5
        self._statuses, self._printed, self._left = statuses, printed, left
        if rows is not None:
            self._publish(rows, counts, takes)

    def _publish(self, rows, counts, takes):
        latest = self.out / "latest"
        latest.mkdir(parents=True)
        for name in directory.file_names():
            (latest / name).touch()
        verdicts = [row["verdict"].lower() for row in rows]
        found = {name: verdicts.count(name) for name in ("pass", "fail", "inconclusive", "skip", "error")} | counts
        (latest / "results.json").write_text(json.dumps({"scenarios": list(rows), "counts": found}))
        if takes is not None:
            (latest / takes).unlink()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        pass

    def wait(self):
        return None if self._statuses is None else list(self._statuses)

    def text(self, name):
        return self._printed if name == "stderr" else ""

    def left_behind(self):
        return list(self._left)


@pytest.fixture
def examine(tmp_path, monkeypatch):
    """``examine(case, ...)``: what is found of a run that ended like that; see Wreck."""

    def carried_out(case, keep=None, **how):
        place = tmp_path / f"arena-{len(list(tmp_path.iterdir()))}"
        place.mkdir()
        monkeypatch.setattr(examined, "Arena", lambda *_arguments: Wreck(place, **how))
        return examined.examine(case, (), threading.Event(), keep)

    return carried_out


def test_a_run_that_ended_as_its_row_says_has_nothing_against_it(examine):
    result = examine(CASE)
    assert (result.wrong, result.verdict, result.reason, result.took_s) == ((), "INCONCLUSIVE", WHY, 3.5)


@pytest.mark.parametrize(
    ("case", "how", "wrong"),
    [
        (CASE, {"statuses": (0,)}, "exit status [0], not 2"),
        # Of two runs neither may be another one's excuse.
        (CASE, {"statuses": (2, 1)}, "exit status [2, 1], not 2"),
        (replace(CASE, statuses=(2, INTERRUPTED)), {"statuses": (1,)}, "exit status [1], not 2 or 130"),
        (CASE, {"printed": TRACEBACK}, "a traceback"),
        (CASE, {"rows": (SOUND, DOUBTED, {**DOUBTED, "why": "a bad day"})}, "the reason does not name the cause: "),
        (CASE, {"rows": (SOUND, {**BROKEN, "why": "a bad day"})}, "the reason does not name the cause: a bad day"),
        (CASE, {"rows": (SOUND,), "printed": "a bad day"}, "the reason does not name the cause: a bad day"),
        (replace(CASE, passes=False, keeps=0), {}, "1 scenarios passed"),
        (CASE, {"rows": (DOUBTED,)}, "nothing of the sound part was kept"),
        (CASE, {"rows": (SOUND, DOUBTED, BLAMED)}, "1 scenarios failed: the driver was blamed"),
        (CASE, {"left": ("process 7 (qemu)",)}, "left behind: process 7 (qemu)"),
        (CASE, {"rows": None, "printed": WHY}, "no results were kept"),
    ],
)
def test_what_a_run_must_not_do_is_said(examine, case, how, wrong):
    (found,) = examine(case, **how).wrong
    assert found.startswith(wrong)


@pytest.mark.parametrize(
    ("how", "wrong"), [({"takes": "junit.xml"}, "the results lack junit.xml"), ({"skip": 1}, "counts do not add up")]
)
def test_results_that_are_not_whole_are_none(examine, how, wrong):
    found = examine(replace(CASE, keeps=0), printed=WHY, **how).wrong
    assert wrong in found[0] and found[1:] == ("no results were kept",)


def test_a_run_that_goes_on_has_nothing_else_said_of_it(examine):
    result = examine(CASE, statuses=None, printed=TRACEBACK)
    assert (result.wrong, result.verdict) == (("it did not end within 60 s",), "none")


def test_a_sabotage_that_cannot_be_carried_out_is_told(examine):
    def cannot(arena):
        raise SelftestError("no disk can be mounted here")

    result = examine(replace(CASE, start=cannot))
    assert (result.wrong, result.verdict) == (("no disk can be mounted here",), "none")


@pytest.mark.parametrize(
    ("statuses", "rows", "verdict"),
    [
        ((0,), (SOUND,), "PASS"),
        ((2,), (SOUND, DOUBTED), "INCONCLUSIVE"),
        ((2,), (SOUND, BROKEN), "ERROR"),
        ((2,), None, "ERROR"),
        ((0, 2), (SOUND, DOUBTED), "INCONCLUSIVE"),
        ((INTERRUPTED,), (SOUND, DOUBTED), "interrupted"),
    ],
)
def test_a_verdict_is_that_of_the_worst_run(examine, statuses, rows, verdict):
    assert examine(CASE, statuses=statuses, rows=rows).verdict == verdict


def test_where_nothing_is_inconclusive_the_reason_is_what_was_printed(examine):
    result = examine(replace(CASE, kept=False, keeps=0), rows=None, printed=f"booting\ndmasafe: {WHY}\nbye")
    assert (result.wrong, result.reason) == ((), WHY)


def test_what_a_case_that_went_wrong_left_is_kept_and_nothing_else(examine, tmp_path):
    keep = tmp_path / "kept"
    examine(CASE, keep)
    assert not keep.exists()
    examine(replace(CASE, name="worse"), keep, rows=None)
    assert [path.name for path in keep.iterdir()] == ["worse"]


def test_results_without_their_members_are_none(examine, monkeypatch):
    monkeypatch.setattr(examined.json, "loads", lambda _text: {"scenarios": []})
    assert examine(replace(CASE, keeps=0), printed=WHY).wrong == ("'counts'", "no results were kept")


def test_all_cases_are_told_in_their_order(tmp_path, monkeypatch):
    second = threading.Event()

    class Slow(Wreck):
        def wait(self):
            # The first one ends last.
            if self.directory.name == "0":
                assert second.wait(10)
            second.set()
            return super().wait()

    places = iter(("0", "1"))

    def arena(*_arguments):
        place = tmp_path / next(places)
        place.mkdir()
        return Slow(place)

    monkeypatch.setattr(examined, "Arena", arena)
    cases = [replace(CASE, name=name) for name in ("one", "other")]
    assert [result.case.name for result in examined.examine_all(cases, (), jobs=2)] == ["one", "other"]
