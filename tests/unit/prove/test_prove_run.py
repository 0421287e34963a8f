# SPDX-License-Identifier: GPL-2.0-or-later
"""What is left to do, what is said of it, and the exit status."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dmasafe.dmesg.symbols import Symbols
from dmasafe.prove.drivers import Chip, Driver
from dmasafe.prove.evidence import Attempt
from dmasafe.prove.judge import Resolver, Status, Verdict
from dmasafe.prove.perform import wishes
from dmasafe.prove.run import Case, Proofs
from tests.unit.prove.test_prove_page import CANDIDATE

DRIVER = Driver("chip", (), (Chip("a", "x,a"),), (), (), (), ())
NONE = Resolver(Symbols(None, {}))


@pytest.mark.parametrize(
    ("found", "notes", "status"),
    [
        ([Status.NOT_REACHED, Status.PROVED], ("a boot was lost",), 1),
        ([Status.REACHED, Status.NOT_REACHED], (), 0),
        ([Status.REFUTED], (), 0),
        ([Status.REACHED], ("a boot was lost",), 2),
        ([Status.NOT_REACHED], (), 2),
        ([], (), 2),
    ],
)
def test_the_exit_status_tells_what_was_found(found: list[Status], notes: tuple[str, ...], status: int) -> None:
    verdicts = tuple(Verdict(CANDIDATE, one, "") for one in found)
    assert Proofs("7.3.4", "apt:linux-source-7.3", verdicts, notes).exit_status == status


def _case(*attempts: Attempt) -> Case:
    return Case(DRIVER, (CANDIDATE,), frozenset({CANDIDATE.fingerprint}), list(attempts))


def test_a_case_is_open_while_boards_are_left() -> None:
    every = [Attempt(wish, ("bound: 1",)) for wish in wishes(DRIVER)]
    assert _case(*every[1:]).is_open(NONE) and not _case(*every).is_open(NONE)
    assert _case(*every[1:]).notes(NONE) == [f"chip: 1 of {len(every)} boards were not tried yet"]
    assert _case(*every).notes(NONE) == []


def test_what_was_proved_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmasafe.prove.run.judge", lambda *_: [Verdict(CANDIDATE, Status.PROVED, "")])
    assert not _case().is_open(NONE) and _case().notes(NONE) == []
    assert replace(_case(), wanted=frozenset()).proved([], NONE) == []


def test_what_was_lost_is_said() -> None:
    wish = wishes(DRIVER)[0]
    assert f"chip: {wish}: the guest panicked" in _case(Attempt(wish, (), lost="the guest panicked")).notes(NONE)
