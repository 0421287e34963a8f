# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of the audit's findings are a test's, and which of them are told already."""

from dataclasses import replace
from pathlib import Path

import pytest

from dmasafe.audit import parse
from dmasafe.outcome import BusMessage, DmaSegment, Frame, Splat
from dmasafe.pytest_plugin.buffers import Buffers, told
from dmasafe.pytest_plugin.bus import PluginBus

# docs/examples/buggy at 0x30 on adapter 1, read with a marked buffer on the stack.
RECORD = parse((Path(__file__).parents[2] / "fixtures/audit/recorded-6.12-thermo-and-at24.json").read_text())
ON_STACK = RECORD.kinds[1]
IN_STRUCT = replace(ON_STACK, memory_class="slab", before=1, object_size=64, offset=52)
ASTRAY = BusMessage(0x30, True, b"", True, (DmaSegment(1 << 40, 2, stray=True),))


def recorded(*kinds, **values):
    return replace(RECORD, kinds=kinds, messages=sum(kind.count for kind in kinds), **values)


def buffers(record, strict=True):
    return Buffers(lambda: record, lambda record: record, lambda: (1,), "6.12.117", strict)


def rules(found):
    return [finding.rule for finding in found]


def test_a_marked_buffer_on_the_stack_is_always_wrong_and_one_in_a_struct_where_that_was_asked_for():
    assert rules(buffers(recorded(ON_STACK, IN_STRUCT)).findings()) == ["flagged-unsafe", "shared-line"]
    assert rules(buffers(recorded(ON_STACK, IN_STRUCT), strict=False).findings()) == ["flagged-unsafe"]
    there = recorded(IN_STRUCT, dma_alignment=64)
    assert rules(buffers(there, strict=False).findings()) == ["shared-line"], "DMA is not coherent there"


def test_what_dmasafes_own_client_and_the_emulated_controllers_do_is_not_the_tests():
    own = replace(ON_STACK, frames=(*ON_STACK.frames, Frame("master_recv", 1, 2, "dmasafe_client")))
    unmarked = replace(ON_STACK, dma_safe=False, mapped=1)
    assert buffers(recorded(own, unmarked)).findings() == ()
    assert rules(buffers(recorded(replace(unmarked, adapter=7))).findings()) == ["maps-unflagged"]


def test_one_bug_is_told_once():
    found = buffers(recorded(ON_STACK))
    whose = ON_STACK.blamed
    assert rules(found.unclaimed([], [])) == ["flagged-unsafe"]
    assert found.unclaimed([Splat("map-stack", None, None, "", frames=(whose,))], []) == []
    assert rules(found.unclaimed([Splat("map-stack", None, None, "", frames=(Frame("other"),))], [])) != []
    assert found.unclaimed([], [ASTRAY]) == []
    assert rules(found.unclaimed([], [ASTRAY._replace(read=False)])) == ["flagged-unsafe"]
    found.claim("flagged-unsafe", "temperature_show")
    assert found.unclaimed([], []) == []


def test_lines_are_asked_for_what_is_wrong_only():
    asked = []

    def lined(record):
        asked.extend(record.kinds)
        return record

    assert Buffers(lambda: RECORD, lined, lambda: (1,), "6.12.117", True).findings()
    assert asked == [ON_STACK]


def test_a_full_table_makes_the_test_inconclusive_and_no_table_does_not():
    assert buffers(recorded(ON_STACK)).freeze() is None
    assert buffers(None).freeze() is None
    assert "3 of 8 I2C messages found no room" in buffers(replace(RECORD, lost=3)).freeze()


class Wiring:
    def messages(self):
        return [ASTRAY]


def test_stray_dma_names_the_function_and_the_kind_of_memory():
    bus = PluginBus(Wiring(), buffers(recorded(ON_STACK)))
    (account,) = bus.accounts([])
    assert account.startswith(
        "stray DMA to 0x10000000000, 2 bytes: temperature_show() [thermo] gave it the stack of the calling task, marked"
    )
    assert bus.expect_stray().stray
    assert bus.accounts([]) == []


def test_a_finding_can_be_expected_by_its_function():
    bus = PluginBus(Wiring(), buffers(recorded(IN_STRUCT)))
    for rule, function, why in (
        ("flagged-unsafe", None, "did not find flagged-unsafe; it found:\nshared-line in temperature_show"),
        ("shared-line", "probe", "did not find shared-line in probe"),
        ("no-such-rule", None, "is none of flagged-unsafe, shared-line"),
    ):
        with pytest.raises(pytest.fail.Exception, match=why):
            bus.expect_finding(rule, function)
    assert "52 bytes into an object of 64" in told(bus.expect_finding("shared-line", "temperature_show"))
