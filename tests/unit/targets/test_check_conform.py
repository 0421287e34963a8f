# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest said of functions, compared with what the checker says."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dmasafe.audit import Level
from dmasafe.carriers import controller_of
from dmasafe.check import check_files
from dmasafe.check.programs import file_of, programs, said
from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.progress import SILENT
from dmasafe.targets import check_conform
from dmasafe.targets.check_conform import (
    BOOTS,
    SPI_PLACES,
    Difference,
    Run,
    _not_as_made,
    buses_of,
    difference,
    runs_of,
)
from dmasafe.targets.errors import BootLost

REPORT = (
    "4,11,100,-;------------[ cut here ]------------",
    "4,12,100,-;DMA-API: spi_controller: device driver maps memory from stack [addr=00000000abcdef01]",
    "4,13,100,-;WARNING: CPU: 0 PID: 1 at kernel/dma/debug.c:1084 check_for_stack+0x98/0xc0",
    "4,14,100,-;---[ end trace 0000000000000000 ]---",
)


def test_each_run_has_its_own_reports_and_what_came_back():
    log = [
        "6,9,100,-;dmasafe-check: begin 7 dmasafe_buses.1 1",
        *REPORT,
        "6,15,100,-;dmasafe-check: end -5 -",
        "6,16,100,-;dmasafe-check: begin 7 dmasafe_buses.1 3",
        "6,17,100,-;dmasafe-check: end 4 -",
    ]
    first, second = runs_of(log)
    assert first == (7, Run("dmasafe_buses.1", 1, -5, ("map-stack",)))
    assert second == (7, Run("dmasafe_buses.1", 3, 4, ()))
    assert first[1].unsafe and not second[1].unsafe
    assert Run("-", 1, 4, ("map-stack",)).unsafe, "a report alone is enough"


def test_a_run_that_never_ended_is_unsafe():
    ((number, run),) = runs_of(["6,9,100,-;dmasafe-check: begin 3 - 1", *REPORT])
    assert (number, run.ret, run.unsafe) == (3, None, True)
    ((_, hung),) = runs_of(["dmasafe-check: begin 3 - 1", "dmasafe-check: end 0 it hangs"])
    assert hung.unsafe


SAFE, BAD = Run("-", 1, 4, ()), Run("-", 3, -5, ())


@pytest.mark.parametrize(
    ("levels", "runs", "agree"),
    [
        ([], [SAFE, SAFE], True),
        ([], [SAFE, BAD], False),
        ([Level.WARNING], [SAFE, BAD], True),
        ([Level.WARNING], [BAD, BAD], True),
        ([Level.WARNING], [SAFE, SAFE], False),
        ([Level.ERROR], [BAD, BAD], True),
        ([Level.ERROR], [SAFE, BAD], False),
    ],
)
def test_an_error_is_always_a_warning_sometimes_and_silence_never_unsafe(levels, runs, agree):
    results = [SimpleNamespace(level=level) for level in levels]
    assert (difference(results, runs) is None) is agree


def test_a_function_that_is_not_what_it_was_made_to_be_is_told():
    one = next(one for one in programs(1, 200) if len(one.bad) == 1)
    (given,) = one.bad
    other = {1: 3, 3: 1}[given]
    assert _not_as_made(one, [Run("-", given, -5, ()), Run("-", other, 0, ())]) is None
    assert "unsafe when given" in (_not_as_made(one, [Run("-", given, 0, ()), Run("-", other, 0, ())]) or "")


COUNT = 30
WRITTEN = programs(0, COUNT, frozenset({"i2c", "dma", "spi"}))
NAMES = [one.name for one in WRITTEN]
CHECKED = check_files(["p.c"], Path("/nonexistent"), {"p.c": file_of(WRITTEN).encode()})
LIMITED = [one.name for one in WRITTEN if one.limit is not None and one.name in said(CHECKED.results)]


class Guest:
    """Boots in which functions are what they were made to be; ``said`` has other logs, by a function's number.

    A function in ``dies`` is the boot's last, once. ``distrusts`` is what the boot's own checks say, one after another.
    What is logged comes when it is asked for.
    """

    def __init__(self, said=None, dies=(), distrusts=()):
        self.said, self.dies, self.distrusts = said or {}, list(dies), list(distrusts)
        self.boots = 0
        self.log, self.late = [], []
        self.boot = SimpleNamespace(
            boot_s=1.5,
            adapters={"dmasafe": 1},
            hands=SimpleNamespace(append=lambda *_: None, load=lambda *_: None, write=self.run),
        )

    def start(self):
        self.boots += 1

    def begin(self, _name):
        self.log, self.late = [], []

    def records(self):
        return self.log

    def flush(self):
        self.log = self.late

    def end(self):
        pass

    def distrust(self):
        return self.distrusts.pop(0) if self.distrusts else None

    def run(self, _path, words):
        first, last = map(int, words.split())
        for number in range(first, last + 1):
            self.late += self.said.get(number, made(number))
            if number in self.dies:
                self.dies.remove(number)
                raise BootLost("the guest died")


def made(number, bad=None):
    """The log of a function, which is ``bad`` when given one of these."""
    one = WRITTEN[number]
    return [
        line
        for place in (("dmasafe_buses.1", "dmasafe_buses.2") if one.bus == "spi" else ("-",))
        for given in (1, 3)
        for line in (
            f"dmasafe-check: begin {number} {place} {given}",
            f"dmasafe-check: end {-5 if given in (one.bad if bad is None else bad) else 0} -",
        )
    ]


@pytest.fixture
def compared(monkeypatch, tmp_path):
    """Compare with a guest."""
    kernel = KernelInfo("6.12.117", "x86_64", "upstream", "test")
    prepared = SimpleNamespace(image=SimpleNamespace(accelerator="tcg"), kernel=kernel, facts=None, build=None)
    (tmp_path / "module.ko").write_bytes(b"")
    for name, stand_in in {
        "buses_of": lambda _facts: frozenset({"i2c", "dma", "spi"}),
        "check_files": lambda *_: CHECKED,
        "plugged": lambda image, *_: image,
        "_build": lambda *_: tmp_path / "module.ko",
    }.items():
        monkeypatch.setattr(check_conform, name, stand_in)

    def compare(guest, count=COUNT):
        monkeypatch.setattr(check_conform, "SharedBoot", lambda *_: guest)
        return check_conform.compare(prepared, count, 0, tmp_path, SILENT)

    return compare


def test_functions_that_are_what_they_were_made_to_be_agree_but_for_the_limit(compared):
    told = compared(Guest())
    assert (told.compared, told.unsafe, told.boots) == (COUNT, sum(bool(one.bad) for one in WRITTEN), 1)
    assert LIMITED and [(one.written.name, one.limit) for one in told.differences] == [
        (name, "belong-together") for name in LIMITED
    ]
    assert not told.faults and not told.inconclusive


def test_a_limit_explains_a_warning_about_what_is_safe_and_nothing_else(compared):
    number = NAMES.index(LIMITED[0])
    (fault,) = compared(Guest({number: made(number, bad=(1,))})).faults
    assert fault.written.name == LIMITED[0] and "made to be" in fault.why
    warning, error = (SimpleNamespace(level=level) for level in (Level.WARNING, Level.ERROR))
    assert Difference(WRITTEN[number], "", (warning,), (SAFE,)).limit == "belong-together"
    assert Difference(WRITTEN[number], "", (warning, error), (SAFE,)).limit is None


def test_what_is_silently_unsafe_is_a_fault(compared):
    number = next(n for n, one in enumerate(WRITTEN) if not one.bad and one.name not in said(CHECKED.results))
    (fault,) = compared(Guest({number: made(number, bad=(1, 3))})).faults
    assert fault.why == "the checker says nothing, and it is unsafe"


@pytest.mark.parametrize("bus,runs,seen", [("spi", 4, 2), ("i2c", 2, 1), ("i2c", 2, 0)])
def test_a_function_of_which_a_run_is_missing_is_inconclusive(compared, bus, runs, seen):
    number = next(n for n, one in enumerate(WRITTEN) if one.bus == bus and not one.bad)
    told = compared(Guest({number: made(number)[: 2 * seen]}))
    assert told.inconclusive == {WRITTEN[number].name: f"{seen} of its {runs} runs were seen"}
    assert told.compared == COUNT - 1


def test_functions_in_front_of_a_failed_check_are_inconclusive_up_to_the_check_before(compared):
    told = compared(Guest(distrusts=[None, None, "the canary did not splat"]))
    assert told.inconclusive == dict.fromkeys(NAMES[25:], "the canary did not splat")


def test_a_boot_that_is_lost_costs_its_group_and_the_next_goes_on_behind(compared):
    told = compared(Guest(dies=[4]))
    assert told.inconclusive == dict.fromkeys(NAMES[:5], "the guest died")
    assert (told.compared, told.boots) == (COUNT - 5, 2)


def test_what_no_boot_reaches_is_inconclusive(compared):
    guest = Guest(distrusts=["the canary did not splat"] * BOOTS)
    told = compared(guest)
    assert told.inconclusive == dict.fromkeys(NAMES, "not reached: the canary did not splat")
    assert (told.compared, told.faults, guest.boots) == (0, (), BOOTS)


def test_a_kernel_without_the_buses_gets_no_functions_for_spi():
    facts = KernelFacts("x86_64", (6, 12, 117), frozenset())
    assert buses_of(facts) == {"i2c", "dma"}
    everything = frozenset(symbol for place in SPI_PLACES for symbol in controller_of(place).needs)
    assert buses_of(replace(facts, symbols=everything)) == {"i2c", "dma", "spi"}
