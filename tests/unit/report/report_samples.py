# SPDX-License-Identifier: GPL-2.0-or-later
"""Made-up judgements and splats that the tests of the reports share."""

from __future__ import annotations

from dmasafe.outcome import Frame, Judgement, Outcome, Splat, Verdict
from dmasafe.report.results import Row

# What a hostile guest could log: markup, an escape sequence, NUL, a lone surrogate, a KTAP result, a CDATA end.
NASTY = "<script>alert(1)</script> & ]]> \x1b[2J\x00\x07 \ud800 [bold]x[/bold] # SKIP\nok 1 forged"

UNSAFE = ("stack", "rodata", "data", "module-data", "module-rodata", "vmalloc")


def make_splat(message: str = "rejecting DMA map of vmalloc memory", log_line: int = 812) -> Splat:
    names = ["check_for_stack", "debug_dma_map_page", "dma_map_page_attrs", "asm_exc_invalid_op"]
    frames = [Frame(name, 0x40, 0x120) for name in names]
    frames.append(Frame("stale_pointer", 0x8, 0x10, reliable=False))
    frames.append(Frame("dmasafe_xfer", 0x1F, 0x2A0, "dmasafe_controller", True, "dmasafe_controller.c", 312))
    frames.extend(Frame(f"caller_{number}", number, 0x100) for number in range(14))
    return Splat(
        splat_class="map-vmalloc-rejected",
        device="0000:00:05.0",
        driver="dmasafe",
        message=message,
        fields={"address": 0xFFFFC90000123000, "type": "single"},
        file="include/linux/dma-mapping.h",
        line=327,
        function="dma_map_single_attrs",
        frames=tuple(frames),
        log_line=log_line,
    )


def judgement_of(row: Row, splat: Splat) -> Judgement:
    unsafe = row.buffer in UNSAFE and ("dmasafe" in row.operation or "dma_safe=1" in row.id)
    if row.buffer == "kmap":
        return Judgement(Verdict.SKIP, None, None, "x86_64 has no highmem")
    if unsafe and row.policy != "pio":
        if row.controller == "virtio":
            return Judgement(Verdict.PASS, Outcome.SILENT, Outcome.SILENT, "sg_init_one() computes a nonsense page")
        why = "dma_map_single() rejects vmalloc addresses"
        return Judgement(Verdict.PASS, Outcome.CAUGHT, Outcome.CAUGHT, why, None, (splat,) * 4, 91.26)
    if "@77" in row.id:
        return Judgement(Verdict.PASS, Outcome.REFUSED, Outcome.REFUSED, "nobody answers", None, (), 12.0)
    return Judgement(Verdict.PASS, Outcome.SAFE, Outcome.SAFE, "copied by the CPU", row.policy != "pio", (), 50.04)


def passed(outcome: Outcome = Outcome.SAFE) -> Judgement:
    return Judgement(Verdict.PASS, outcome, outcome, "as the source says", True, (), 50.0)


def failed(why: str = "damaged without a report: guard-after", *splats: Splat) -> Judgement:
    return Judgement(Verdict.FAIL, Outcome.SILENT, Outcome.CAUGHT, why, None, splats, 50.0)


def lost(why: str = "the canary did not splat") -> Judgement:
    return Judgement(Verdict.INCONCLUSIVE, None, Outcome.SAFE, why)


def errored(why: str = "the agent sent half a line") -> Judgement:
    return Judgement(Verdict.ERROR, None, Outcome.SAFE, why)


def skipped(why: str = "x86_64 has no highmem") -> Judgement:
    return Judgement(Verdict.SKIP, None, None, why)
