# SPDX-License-Identifier: GPL-2.0-or-later
"""Boards one after another: what is tried, what is kept, and why not all was seen."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dmasafe.progress import SILENT
from dmasafe.prove import perform
from dmasafe.prove.drivers import Chip, Driver
from dmasafe.prove.evidence import Attempt
from dmasafe.prove.perform import MAX_LOST, Prover, Store, left, wishes
from dmasafe.targets.errors import BootLost
from dmasafe.targets.shared_boot import SharedBoot

DRIVER = Driver("chip", (Path("chip.ko"),), (Chip("a", "x,a"),), (), (), ("12", "34"), ())
RECORD = "4,1,0,-;chip spi1000.0: chip id is 7"
ROW = "0\t0\t1\tlinear:\t-:\tchip_probe+0x1/0x2 [chip]\n"


class Played(Prover):
    """Boards of which every attempt is what ``becomes`` says."""

    def __init__(self, becomes: str = "") -> None:
        self.becomes = becomes

    def _attempt(self, driver: Driver, wish: str) -> Attempt:
        return Attempt(wish, ("bound: 0",), lost=self.becomes)


def test_attempts_go_on_round_by_round() -> None:
    attempts: list[Attempt] = []
    Played().prove(DRIVER, attempts, 2, lambda _: False)
    assert len(attempts) == 2
    Played().prove(DRIVER, attempts, 99, lambda _: False)
    assert [one.wish for one in attempts] == list(wishes(DRIVER))


def test_enough_is_enough() -> None:
    attempts: list[Attempt] = []
    Played().prove(DRIVER, attempts, 99, lambda so_far: len(so_far) == 3)
    assert len(attempts) == 3


def test_a_driver_that_costs_boots_is_left_alone() -> None:
    attempts: list[Attempt] = []
    Played("the guest panicked").prove(DRIVER, attempts, 99, lambda _: False)
    assert len(attempts) == MAX_LOST
    # The same board twice is one.
    assert left(DRIVER, [attempts[0]] * MAX_LOST)


def test_what_was_seen_is_kept_for_the_next_run(tmp_path: Path) -> None:
    store = Store(tmp_path / "proofs")
    assert store.load("chip") == []
    store.save("chip", [Attempt("a x,a", ("new: 0",))])
    assert store.load("chip") == [Attempt("a x,a", ("new: 0",))]


def test_what_is_not_seen_again_stays_in_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "proofs")
    shown = Attempt("a x,a", ("bound: 0",), perform.read_chains(f"{ROW}end\t1\t0\n", 0)[0])
    store.save("chip", [shown])
    again = Attempt("a x,a", ("bound: 1",))
    store.save("chip", [again])
    assert store.load("chip") == [shown, again]


class FakeShared:
    """A boot whose agent answers from ``replies``, by operation ("steps": the script); not trusted for a ``reason``."""

    def __init__(self, reason: str | None = None, **replies: dict[str, Any]) -> None:
        self.boot = SimpleNamespace(request=self.request, hands=SimpleNamespace(load=lambda path: None))
        self.replies = replies
        self.reason = reason
        self.ended = False
        self.log = [RECORD]

    def request(self, op: str, **arguments: object) -> dict[str, Any]:
        op = "steps" if perform.SCRIPT in str(arguments.get("command")) else op
        said = {
            "command": {"status": 0, "output": ""},
            "steps": {"status": 0, "output": "new: 0\nbound: 0\n"},
            "read": {"data": f"{ROW}end\t1\t0\n"},
        }
        return {"errno": 0, **said.get(op, {}), **self.replies.get(op, {})}

    def start(self) -> None: ...
    def begin(self, name: str) -> None: ...
    def flush(self) -> None: ...

    def records(self) -> list[str]:
        return self.log

    def distrust(self) -> str | None:
        return self.reason

    def end(self) -> None:
        self.ended = True


class Prepared(Prover):
    """Boards in boots that the test plays, one after another; an exception is a boot that does not come up."""

    def __init__(self, *boots: FakeShared | Exception) -> None:
        self.boots = list(boots)
        self._progress = SILENT
        self._loaded = set()
        self._driver = ""
        self._board = 0
        self._shared = None

    def _start(self) -> SharedBoot:
        boot = self.boots.pop(0)
        if isinstance(boot, Exception):
            raise boot
        self._shared = cast(SharedBoot, boot)
        return self._shared


def _attempted(boot: FakeShared) -> Attempt:
    attempts: list[Attempt] = []
    Prepared(boot).prove(DRIVER, attempts, 1, lambda _: False)
    return attempts[0]


def test_what_is_said_of_other_boards_is_left_out() -> None:
    boot = FakeShared()
    boot.log = ["4,1,0,-;chip spi1009.0: chip id is 7"]
    assert _attempted(boot).said == ("new: 0", "bound: 0")


def test_an_attempt_has_what_script_controller_and_log_said() -> None:
    attempt = _attempted(FakeShared())
    assert attempt.said == ("new: 0", "bound: 0", f"why: {RECORD.partition(';')[2]}")
    assert [chain.frames for chain in attempt.chains] == [("chip_probe+0x1/0x2 [chip]",)]
    assert attempt.lost == ""


@pytest.mark.parametrize(
    ("boot", "why"),
    [
        (FakeShared("the canary did not splat"), "the canary did not splat"),
        (FakeShared(read={"data": ROW}), "the list of call chains was cut off"),
        (FakeShared(command={"errno": 110}), "Connection timed out"),
        (FakeShared(steps={"errno": 110}), "the steps of the board did not end: Connection timed out"),
        (FakeShared(read={"errno": 5}), "Input/output error"),
    ],
)
def test_an_attempt_says_why_not_all_was_seen(boot: FakeShared, why: str) -> None:
    assert why in _attempted(boot).lost


def test_a_boot_that_is_not_to_be_trusted_is_given_up() -> None:
    bad, good = FakeShared("the canary did not splat"), FakeShared()
    attempts: list[Attempt] = []
    Prepared(bad, good).prove(DRIVER, attempts, 2, lambda _: False)
    assert [bool(one.lost) for one in attempts] == [True, False]
    assert bad.ended and not good.ended


@pytest.mark.parametrize(
    ("steps", "record", "spent"),
    [
        ("new: not ended after 5 s, in wait_for_device_probe", RECORD, True),
        ("unbind: not ended after 5 s", RECORD, True),
        ("nodes: not ended after 5 s", RECORD, False),
        ("bound: 1", "4,1,0,-;Oops: Oops: 0000 [#1] SMP", True),
        ("bound: 1", RECORD, False),
    ],
)
def test_a_driver_that_crashes_or_hangs_is_the_last_of_its_boot(steps: str, record: str, spent: bool) -> None:
    boot = FakeShared(steps={"output": steps})
    boot.log = [record]
    assert _attempted(boot).lost == ""
    assert boot.ended is spent


def test_a_log_without_end_is_told_by_its_first_lines() -> None:
    boot = FakeShared()
    boot.log = [f"4,{n},0,-;chip spi1000.0: try {n}" for n in range(99)]
    said = [line for line in _attempted(boot).said if line.startswith("why: ")]
    assert len(said) == perform.MAX_LINES and said[0].endswith("try 0")


def test_a_module_is_loaded_once_a_boot_and_again_after_another_driver() -> None:
    scripts: list[str] = []

    class Loaded(FakeShared):
        def request(self, op: str, **arguments: object) -> dict[str, Any]:
            words = str(arguments.get("command"))
            scripts.extend([words] if "insmod" in words else [])
            return super().request(op, **arguments)

    other = replace(DRIVER, module="other", load=(Path("other.ko"),), firmware=("a/b.bin", "../x.bin"))
    prover = Prepared(Loaded(), Loaded())
    for driver in (DRIVER, DRIVER, other, DRIVER):
        prover.prove(driver, [], 1, lambda _: False)
    prover._end()
    prover.prove(DRIVER, [], 1, lambda _: False)
    modules = [re.findall(r"insmod /modules/(\w+)\.ko", script) for script in scripts]
    assert modules == [["chip"], ["other"], ["chip"], ["chip"]]
    assert "/lib/firmware/a/b.bin" in scripts[1] and "x.bin" not in scripts[1]


def test_a_module_that_the_kernel_refuses_is_said() -> None:
    refused = FakeShared(command={"output": "insmod: can't insert 'chip.ko': unknown symbol in module\n"})
    assert _attempted(refused).said[0].startswith("why: insmod: can't insert")


def test_a_boot_that_does_not_come_up_is_tried_once_more() -> None:
    attempts: list[Attempt] = []
    Prepared(BootLost("the guest is silent"), FakeShared()).prove(DRIVER, attempts, 1, lambda _: False)
    assert [one.lost for one in attempts] == [""]
    with pytest.raises(BootLost):
        Prepared(BootLost("silent"), BootLost("silent"), FakeShared()).prove(DRIVER, attempts, 9, lambda _: False)


def test_a_boot_gets_no_more_boards_than_it_has_numbers_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perform, "BOARDS_PER_BOOT", 2)
    boots = FakeShared(), FakeShared()
    attempts: list[Attempt] = []
    Prepared(*boots).prove(DRIVER, attempts, 3, lambda _: False)
    assert boots[0].ended and not boots[1].ended
