# SPDX-License-Identifier: GPL-2.0-or-later
"""A /dev/kmsg record is read as the kernel wrote it, and lost records are noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmasafe.dmesg.kmsg import Record, caller_and_text, gaps, parse_record


def test_a_record_has_level_facility_sequence_time_flags_and_text() -> None:
    assert parse_record("4,812,5140900,-;text; with, signs") == Record(
        level=4, facility=0, sequence=812, us=5140900, flags="-", text="text; with, signs"
    )
    assert parse_record("12,1,2,-;from user space") == Record(4, 1, 1, 2, "-", "from user space")


def test_a_record_has_a_dictionary_and_a_caller() -> None:
    record = parse_record("6,339,514,c,caller=T35;found\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:05.0\n")
    assert record is not None
    assert record.dictionary == {"SUBSYSTEM": "pci", "DEVICE": "+pci:0000:00:05.0"}
    assert (record.caller, record.flags) == ("T35", "c")


def test_escapes_become_bytes_and_bytes_become_text() -> None:
    record = parse_record(r"4,1,2,-;one\x0atwo \x5cx41 gr\xc3\xbcn")
    assert record is not None
    assert record.text == "one\ntwo \\x41 grün"


def test_code_points_of_bytes_become_text() -> None:
    record = parse_record("4,1,2,-;gr\xc3\xbcn")
    assert record is not None
    assert record.text == "grün"


@pytest.mark.parametrize("text", ["", "4,812;text", "[    1.0] text", "4,812,5140900,-", " SUBSYSTEM=pci"])
def test_what_is_no_record_is_none(text: str) -> None:
    assert parse_record(text) is None


@given(st.text() | st.binary())
def test_no_input_raises(text: str | bytes) -> None:
    parse_record(text)


@given(st.text() | st.from_regex(r"4,1,2,-(,caller=T3|,x)?;[^;]{0,9}(\n KEY=\w{0,3}|\r|\r\n)?", fullmatch=True))
def test_the_short_way_to_caller_and_text_is_the_same(text: str) -> None:
    record = parse_record(text)
    assert caller_and_text(text) == (None if record is None else (record.caller, record.text))


def test_missing_sequence_numbers_are_found() -> None:
    assert gaps([]) == []
    assert gaps([5, 6, 7]) == []
    assert gaps([5, 6, 6, 5, 7]) == []
    assert gaps([5, 8, 9, 12]) == [range(6, 8), range(10, 12)]
