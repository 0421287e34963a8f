# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest said of functions, compared with what the checker says."""

from types import SimpleNamespace

import pytest

from dmasafe.audit import Level
from dmasafe.check.programs import programs
from dmasafe.targets.check_conform import Run, _not_as_made, difference, runs_of

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
