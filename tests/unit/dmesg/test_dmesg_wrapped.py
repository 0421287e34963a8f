# SPDX-License-Identifier: GPL-2.0-or-later
"""A line that was wrapped is read as it was; what somebody wrote below a log is no part of it."""

from __future__ import annotations

import pytest

from dmasafe.dmesg import Tally, parse, parse_stream
from dmasafe.dmesg.source import Source

MESSAGE = "DMA-API: foo 0000:01:00.0: device driver maps memory from vmalloc area [addr=000000001e49185d] [len=64]"


def texts(*lines: str) -> list[str]:
    source = Source()
    read = [part.text for number, line in enumerate(lines, 1) for _, part in source.read(number, line)]
    return read + [part.text for _, part in source.close()]


def test_a_line_without_the_logs_prefix_goes_on_with_the_one_before() -> None:
    assert texts(
        "[    1.000000]  foo_transfer_one_message_of_some_length+0x1a2/0x6d0",
        "[spi_foo]",
        "[    1.000100]  bar+0x1/0x2",
    ) == ["foo_transfer_one_message_of_some_length+0x1a2/0x6d0 [spi_foo]", "bar+0x1/0x2"]


def test_a_terminal_breaks_words_and_mail_does_not() -> None:
    assert texts("[    1.000000] WARNING: CPU: 0 PID: 35 at kernel/dma/debug.c:1082 check_for_stack+0xb", "6/0xe0") == [
        "WARNING: CPU: 0 PID: 35 at kernel/dma/debug.c:1082 check_for_stack+0xb6/0xe0"
    ]
    assert texts("[    1.000000] WARNING: CPU: 0 PID: 35 at kernel/dma/debug.c:1082", "check_for_stack+0xb6/0xe0") == [
        "WARNING: CPU: 0 PID: 35 at kernel/dma/debug.c:1082 check_for_stack+0xb6/0xe0"
    ]


def test_a_sentence_below_a_short_line_is_its_own() -> None:
    lines = ("[    1.000000] " + MESSAGE, "[    1.000100]  foo+0x1/0x2 [foo]", "and then it hangs, what shall I do?")
    assert texts(*lines) == [MESSAGE, "foo+0x1/0x2 [foo]", lines[-1]]


def test_a_log_without_prefixes_is_not_joined() -> None:
    lines = ("a line of sixty characters or so, which nobody has wrapped at all", "foo+0x1/0x2 [foo]")
    assert texts(*lines) == list(lines)


@pytest.mark.parametrize("width", [40, 66, 72, 100])
def test_a_string_of_json_is_read_across_the_lines_of_a_terminal(width: int) -> None:
    text = '{"Time": "now", "Output": "' + "\\r\\n".join(
        f"[    1.00000{n}] {line}" for n, line in enumerate(("-" * 12 + "[ cut here ]" + "-" * 12, MESSAGE, "x"))
    )
    log = text + '"}\n{"Time": "later"}\n'
    (splat,) = parse([log[at : at + width] for at in range(0, len(log), width)])
    assert (splat.splat_class, splat.device, splat.fields["length"]) == ("map-vmalloc", "0000:01:00.0", 64)


def test_wrapped_lines_are_noted() -> None:
    import io

    tally = Tally()
    data = b"[    1.000000] WARNING: CPU: 0 PID: 35 at kernel/dma/debug.c:1082\ncheck_for_stack+0xb6/0xe0\n"
    list(parse_stream(io.BytesIO(data), tally))
    assert list(tally.notes) == ["wrapped lines joined"]
