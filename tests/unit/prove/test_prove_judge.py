# SPDX-License-Identifier: GPL-2.0-or-later
"""A proof needs all of it: the kernel's report, the way through the functions, the buffer in the right stack frame."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dmasafe.audit import Level
from dmasafe.check import CheckResult, Step
from dmasafe.dmesg.symbols import Symbols
from dmasafe.outcome import Frame, Splat
from dmasafe.prove.evidence import Attempt, Buffer, Chain, frame_of, read_chains
from dmasafe.prove.judge import Resolver, Status, Verdict, judge

FILE = "drivers/hwmon/chip.c"
WRITE = "chip_write+0x20/0x40 [chip]"
PROBE = "chip_probe+0x4d/0xf0 [chip]"
BOARD = "prove_can_dma+0x50/0xd0 [dmasafe_prove]"
CORE = "__spi_sync+0x19f/0x2c0"

CANDIDATE = CheckResult(
    "unsafe-buffer-handed-over", Level.ERROR, "stack", "spi", "spi_transfer.tx_buf", FILE, 12, "chip_probe", "buf",
    "buf is on the stack", "copy it", "spi.h",
    (
        Step(FILE, 10, "chip_probe", "buf is declared"), Step(FILE, 12, "chip_probe", "chip_write()"),
        Step(FILE, 5, "chip_write", "spi_transfer.tx_buf"),
    ),
)  # fmt: skip
CHAIN = Chain(0, 1, Buffer("stack", PROBE), Buffer("-"), (BOARD, CORE, WRITE, PROBE, "really_probe+0xb9/0x2a0"))
SPLAT = Splat(
    "map-stack", "dmasafe_prove.0", None, "device driver maps memory from stack",
    frames=tuple(
        frame for text in ("check_for_stack+0x1/0x2", CORE, WRITE, PROBE, "really_probe+0xb9/0x2a0")
        if (frame := frame_of(text)) is not None
    ),
)  # fmt: skip
ATTEMPT = Attempt("chip - a:00", ("new: 0", "bound: 0"), (CHAIN,), (SPLAT,))


@pytest.fixture
def resolver() -> Resolver:
    """Knows the lines of the driver's two functions, as debug information would say them."""
    found = Resolver(Symbols(None, {}))
    found.known = {
        WRITE: (Frame("spi_write", module="chip", file="include/linux/spi/spi.h", line=9), _at(WRITE, 5)),
        PROBE: (_at(PROBE, 12),),
    }
    return found


def _at(text: str, line: int) -> Frame:
    frame = frame_of(text)
    assert frame is not None
    return replace(frame, file=f"/src/{FILE}", line=line)


def _judged(resolver: Resolver, attempt: Attempt = ATTEMPT, *candidates: CheckResult) -> Verdict:
    return judge(candidates or (CANDIDATE,), [("chip", attempt)], resolver)[0]


def test_report_way_and_owner_prove(resolver: Resolver) -> None:
    verdict = _judged(resolver)
    assert (verdict.status, verdict.driver) == (Status.PROVED, "chip")
    assert verdict.splat is not None
    assert [frame.line for frame in verdict.splat.frames if frame.function == "chip_probe"] == [12]


def test_no_report_is_no_proof(resolver: Resolver) -> None:
    assert _judged(resolver, replace(ATTEMPT, splats=())).status is Status.REACHED


def test_a_report_of_another_call_is_no_proof(resolver: Resolver) -> None:
    moved = tuple(replace(f, offset=7) if f.function == "chip_probe" else f for f in SPLAT.frames)
    assert _judged(resolver, replace(ATTEMPT, splats=(replace(SPLAT, frames=moved),))).status is Status.REACHED


def test_a_report_of_another_class_is_no_proof(resolver: Resolver) -> None:
    other = replace(SPLAT, splat_class="map-invalid-area")
    assert _judged(resolver, replace(ATTEMPT, splats=(other,))).status is Status.REACHED


@pytest.mark.parametrize(
    ("splat_class", "kind", "memory"),
    [
        ("map-vmalloc-rejected", "stack", Buffer("stack", PROBE)),
        ("map-text-or-rodata", "rodata", Buffer("module", "buf+0x0/0x4 [chip]")),
        ("map-invalid-area", "rodata", Buffer("module", "buf+0x0/0x4 [chip]")),
        ("map-invalid-area", "module-data", Buffer("module", "buf+0x0/0x4 [chip]")),
    ],
)
def test_each_kind_has_its_reports(resolver: Resolver, splat_class: str, kind: str, memory: Buffer) -> None:
    splats = (replace(SPLAT, splat_class=splat_class),)
    attempt = replace(ATTEMPT, chains=(replace(CHAIN, tx=memory),), splats=splats)
    assert _judged(resolver, attempt, replace(CANDIDATE, kind=kind, name="&buf[1]")).status is Status.PROVED


def test_a_report_counts_from_the_suspected_function_outwards_in_its_order(resolver: Resolver) -> None:
    """The core maps at another place than where it asks whether it should."""
    inner = tuple(replace(f, offset=1) if f.function == "__spi_sync" else f for f in SPLAT.frames)
    assert _judged(resolver, replace(ATTEMPT, splats=(replace(SPLAT, frames=inner),))).status is Status.PROVED
    guessed = tuple(replace(f, reliable=False) if f.function == "chip_probe" else f for f in SPLAT.frames)
    for frames in (guessed, SPLAT.frames[::-1]):
        assert _judged(resolver, replace(ATTEMPT, splats=(replace(SPLAT, frames=frames),))).status is Status.REACHED


def test_a_way_in_the_other_direction_is_another(resolver: Resolver) -> None:
    chain = replace(CHAIN, frames=(BOARD, CORE, PROBE, WRITE))
    assert _judged(resolver, replace(ATTEMPT, chains=(chain,))).status is Status.NOT_REACHED


def test_the_buffer_of_another_frame_is_no_proof(resolver: Resolver) -> None:
    chain = replace(CHAIN, tx=Buffer("stack", WRITE))
    assert _judged(resolver, replace(ATTEMPT, chains=(chain,))).status is Status.REACHED


def test_the_next_line_of_the_function_is_no_proof(resolver: Resolver) -> None:
    steps = (CANDIDATE.steps[0], replace(CANDIDATE.steps[1], line=13), CANDIDATE.steps[2])
    assert _judged(resolver, ATTEMPT, replace(CANDIDATE, line=13, steps=steps)).status is Status.NOT_REACHED


def test_a_way_without_the_last_function_is_no_proof(resolver: Resolver) -> None:
    chain = replace(CHAIN, frames=(BOARD, CORE, PROBE))
    assert _judged(resolver, replace(ATTEMPT, chains=(chain,))).status is Status.NOT_REACHED


def test_safe_memory_at_the_suspected_call_refutes(resolver: Resolver) -> None:
    safe = replace(CHAIN, tx=Buffer("linear"))
    assert _judged(resolver, replace(ATTEMPT, chains=(safe,), splats=())).status is Status.REFUTED
    other = replace(CHAIN, tx=Buffer("vmalloc"))
    verdict = _judged(resolver, replace(ATTEMPT, chains=(safe, other), splats=()))
    assert (verdict.status, "vmalloc memory" in verdict.why) == (Status.REACHED, True)
    none = replace(CHAIN, tx=Buffer("-"))
    verdict = _judged(resolver, replace(ATTEMPT, chains=(none, other), splats=()))
    assert verdict.why.endswith("where the buffer is in vmalloc memory")


def test_safe_memory_somewhere_in_the_suspected_function_does_not_refute(resolver: Resolver) -> None:
    attempt = replace(ATTEMPT, chains=(replace(CHAIN, tx=Buffer("linear")),), splats=())
    assert _judged(resolver, attempt, OWN).status is Status.REACHED


def test_a_chain_without_a_buffer_has_not_reached_the_suspected_transfer(resolver: Resolver) -> None:
    verdict = _judged(resolver, replace(ATTEMPT, chains=(replace(CHAIN, tx=Buffer("-")),)))
    assert (verdict.status, "this transfer of it was not" in verdict.why) == (Status.NOT_REACHED, True)


@pytest.mark.parametrize("sink", ["spi_transfer.rx_buf", "spi_read()"])
def test_what_is_received_is_another_buffer(resolver: Resolver, sink: str) -> None:
    received = replace(CANDIDATE, sink=sink)
    assert _judged(resolver, ATTEMPT, received).status is Status.NOT_REACHED
    swapped = replace(CHAIN, tx=CHAIN.rx, rx=CHAIN.tx)
    assert _judged(resolver, replace(ATTEMPT, chains=(swapped,)), received).status is Status.PROVED


# Without a call, the line is that of an initialiser, which no backtrace has.
OWN = replace(CANDIDATE, line=5, function="chip_write", steps=(Step(FILE, 3, "chip_write", ""), CANDIDATE.steps[2]))


def test_what_a_chain_cannot_tell_apart_is_not_proved(resolver: Resolver) -> None:
    attempt = replace(ATTEMPT, chains=(replace(CHAIN, tx=Buffer("stack", WRITE)),))
    assert _judged(resolver, attempt, OWN).status is Status.PROVED
    verdict = _judged(resolver, attempt, OWN, replace(OWN, line=7, name="other"))
    assert (verdict.status, "one of the 2 buffers" in verdict.why) == (Status.REACHED, True)


def test_two_buffers_are_proved_by_two_transfers_or_two_lines(resolver: Resolver) -> None:
    both = (OWN, replace(OWN, line=7, name="other"))
    chain = replace(CHAIN, tx=Buffer("stack", WRITE))
    later = WRITE.replace("0x20", "0x28")
    resolver.known[later] = (_at(later, 7),)
    elsewhere = replace(chain, tx=Buffer("stack", later), frames=(BOARD, CORE, later, PROBE))
    for second in (replace(chain, index=1), elsewhere):
        attempt = replace(ATTEMPT, chains=(chain, second))
        assert [one.status for one in judge(both, [("chip", attempt)], resolver)] == [Status.PROVED] * 2


def test_what_a_chain_tells_apart_does_not_wait_for_the_other(resolver: Resolver) -> None:
    attempt = replace(ATTEMPT, chains=(replace(CHAIN, tx=Buffer("stack", WRITE)),))
    steps = (OWN.steps[0], replace(OWN.steps[1], function="chip_read"))
    for other in (replace(OWN, sink="spi_transfer.rx_buf"), replace(OWN, steps=steps)):
        assert _judged(resolver, attempt, OWN, replace(other, line=7, name="other")).status is Status.PROVED


def test_objects_of_a_module_are_told_apart_by_their_names(resolver: Resolver) -> None:
    named = replace(OWN, kind="rodata", name="&erase")
    attempt = replace(
        ATTEMPT,
        chains=(replace(CHAIN, tx=Buffer("module", "erase.3+0x0/0x4 [chip]")),),
        splats=(replace(SPLAT, splat_class="map-invalid-area"),),
    )
    both = (named, replace(named, name="refresh", line=7))
    assert [one.status for one in judge(both, [("chip", attempt)], resolver)] == [Status.PROVED, Status.REACHED]
    elsewhere = replace(attempt, chains=(replace(CHAIN, tx=Buffer("stack", "erase.3+0x0/0x4 [chip]")),))
    assert _judged(resolver, elsewhere, named).status is Status.REACHED


def test_the_compilers_copy_of_a_function_counts_as_the_function(resolver: Resolver) -> None:
    copy = "chip_probe.isra.0+0x4d/0xf0 [chip]"
    chain = replace(CHAIN, tx=Buffer("stack", copy), frames=(BOARD, CORE, WRITE, copy))
    resolver.known[copy] = (_at(copy, 12),)
    splat = replace(SPLAT, frames=tuple(frame for text in (CORE, WRITE, copy) if (frame := frame_of(text)) is not None))
    assert _judged(resolver, replace(ATTEMPT, chains=(chain,), splats=(splat,))).status is Status.PROVED


def test_a_function_of_the_same_name_in_another_file_is_another(resolver: Resolver) -> None:
    resolver.known[PROBE] = (replace(_at(PROBE, 12), file="/src/drivers/hwmon/other.c"),)
    assert _judged(resolver).status is Status.NOT_REACHED


def test_an_inlined_function_is_told_with_its_parent(resolver: Resolver) -> None:
    resolver.known[PROBE] = (Frame("chip_set", module="chip", file=f"/src/{FILE}", line=12), _at(PROBE, 30))
    steps = (replace(CANDIDATE.steps[1], function="chip_set"), CANDIDATE.steps[2])
    inlined = replace(CANDIDATE, function="chip_set", steps=steps)
    verdict = _judged(resolver, ATTEMPT, inlined)
    assert verdict.status is Status.PROVED
    assert "chip_probe(), into which chip_set() is inlined" in verdict.why


def test_why_nothing_was_reached_names_the_probes_errors(resolver: Resolver) -> None:
    said = (
        "why: chip spi1.0: chip id is 7",
        "why: chip spi1.0: probe with driver chip failed with error -5",
        "why: BUG: kernel NULL pointer dereference, address: 0000000000000088",
        "why: Oops: Oops: 0000 [#1] SMP",
        "why: insmod: can't insert 'chip.ko': unknown symbol in module",
    )
    verdict = _judged(resolver, Attempt("chip - a:00", ("new: 0", "bound: 1", *said)))
    assert verdict.status is Status.NOT_REACHED
    assert verdict.why == (
        "the driver's probe failed in all 1 attempts: EIO, the kernel crashed (BUG: kernel NULL pointer dereference), "
        "insmod: can't insert 'chip.ko': unknown symbol in module; chip id is 7"
    )
    assert "ENODEV" in _judged(resolver, Attempt("chip - a:00", ("new: 0", "bound: 1"))).why
    assert "panicked" in _judged(resolver, Attempt("chip - a:00", (), lost="the guest panicked")).why


@pytest.mark.parametrize(
    ("line", "why"),
    [
        # Before 6.8 (drivers/base/dd.c).
        ("chip: probe of spi1.0 failed with error -110", "ETIMEDOUT"),
        ("chip spi1.0: probe with driver chip failed with error -4000", "error -4000"),
        (
            "BUG: unable to handle page fault for address: ffffc90000000088",
            "the kernel crashed (BUG: unable to handle page fault)",
        ),
        ("kernel BUG at drivers/hwmon/chip.c:12!", "the kernel crashed (kernel BUG at drivers/hwmon/chip.c:12)"),
        ("Oops: general protection fault: 0000 [#1] SMP", "the kernel crashed (oops)"),
        # It goes on.
        ("BUG: scheduling while atomic: sh/566/0x00000002", "no error in the log"),
    ],
)
def test_the_log_of_a_probe_is_told_in_few_words(resolver: Resolver, line: str, why: str) -> None:
    attempt = Attempt("chip - a:00", ("new: 0", "bound: 1", f"why: {line}"))
    assert f"in all 1 attempts: {why}" in _judged(resolver, attempt).why


def test_of_many_reasons_the_first_three_are_told_once(resolver: Resolver) -> None:
    said = [
        (f"why: chip spi{n}.0: id {n % 5}", f"why: probe of spi{n}.0 failed with error -{n % 5 + 1}") for n in range(9)
    ]
    attempts = [Attempt("chip - a:00", words) for words in said]
    verdict = judge([CANDIDATE], [("chip", one) for one in attempts], resolver)[0]
    assert verdict.why.partition("attempts: ")[2] == "EPERM, ENOENT, ESRCH; id 0; id 1; id 2"


def test_why_nothing_was_reached_of_a_driver_that_binds_or_was_not_tried(resolver: Resolver) -> None:
    assert "bound in 1 of 1 attempts" in _judged(resolver, replace(ATTEMPT, chains=())).why
    assert "not tried yet" in judge([CANDIDATE], [], resolver)[0].why
    assert "no module" in judge([CANDIDATE], [], resolver, served=False)[0].why


def test_evidence_is_read_back_as_it_was_kept() -> None:
    assert Attempt.from_json(ATTEMPT.to_json()) == ATTEMPT


ROWS = f"3\t0\t2\tstack:{PROBE}\t-:\t{WRITE}\t{PROBE}\n4\t0\t1\tlinear:\t-:\t{WRITE}\n"


def test_the_rows_of_other_boards_are_left_out() -> None:
    assert read_chains(f"{ROWS}end\t2\t0\n", 3) == (
        (Chain(0, 2, Buffer("stack", PROBE), Buffer("-"), (WRITE, PROBE)),),
        "",
    )


@pytest.mark.parametrize(
    "text",
    ["", ROWS, f"{ROWS}end\t3\t0\n", f"{ROWS[:-9]}\nend\t2\t0\n3\t0", f"3\n{ROWS}end\t3\t0", f"3\n{ROWS}end\t2\t0"],
)
def test_a_list_of_chains_that_was_cut_off_is_not_whole(text: str) -> None:
    assert "cut off" in read_chains(text, 3)[1]


def test_a_list_of_chains_that_was_full_is_not_whole() -> None:
    assert "found the list of call chains full" in read_chains(f"{ROWS}end\t2\t7\n", 3)[1]


def test_an_attempt_covers_another_that_showed_no_more() -> None:
    less = replace(ATTEMPT, splats=())
    assert ATTEMPT.covers(less) and not less.covers(ATTEMPT)
    assert ATTEMPT.covers(replace(ATTEMPT, chains=(replace(CHAIN, count=9),)))
    guess = replace(SPLAT, frames=(*SPLAT.frames, Frame("stale", 1, 2, reliable=False)))
    assert ATTEMPT.covers(replace(ATTEMPT, splats=(guess,)))
    assert not ATTEMPT.covers(replace(ATTEMPT, wish="chip - a:ff"))
    assert not ATTEMPT.covers(replace(ATTEMPT, chains=(replace(CHAIN, index=1),)))
    assert not replace(ATTEMPT, lost="the guest panicked").covers(ATTEMPT)
    assert ATTEMPT.covers(replace(ATTEMPT, lost="the guest panicked"))
