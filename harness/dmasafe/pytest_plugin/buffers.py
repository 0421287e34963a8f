# SPDX-License-Identifier: GPL-2.0-or-later
"""The buffers of a test's I2C messages: what dmasafe_audit.ko, which watches beside every test, found wrong with them.

dmasafe/audit.py judges. Here it is decided what of that is the test's, which of it the test has expected, and how it is
said: a bug that the kernel reported too, or that sent DMA astray, is told once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from dmasafe.audit import FLAGGED_UNSAFE, MAPS_UNFLAGGED, RULES, SHARED_LINE, AuditFinding, Level, MessageKind, Record
from dmasafe.audit import judge as judge_record
from dmasafe.dmesg import Blame
from dmasafe.outcome import BusMessage, Frame, Splat
from dmasafe.report.text import one_line

#: What fails a test, of audit.RULES.
FAILING = (FLAGGED_UNSAFE, SHARED_LINE, MAPS_UNFLAGGED)
# The harness's own client: its scenarios have wrong buffers on purpose.
_OWN_CLIENT = "dmasafe_client"


class Buffers:
    """``record`` is what was seen so far, None without the audit. ``lined`` names files and lines in a record.

    ``adapters`` are the numbers of the emulated ones, whose drivers are not under test. ``strict``: what is harmful on
    another machine only is wrong too.
    """

    def __init__(
        self,
        record: Callable[[], Record | None],
        lined: Callable[[Record], Record],
        adapters: Callable[[], Iterable[int]],
        release: str,
        strict: bool,
    ) -> None:
        self._record = record
        self._lined = lined
        self._adapters = adapters
        self._release = release
        self._strict = strict
        self._frozen: tuple[Record | None, tuple[AuditFinding, ...]] | None = None
        self._claimed: list[tuple[str, str | None]] = []

    def findings(self) -> tuple[AuditFinding, ...]:
        """All that is wrong with the test's buffers so far. Raises AuditError, BootLost."""
        return self._frozen[1] if self._frozen is not None else self._judge(self._record())

    def audited(self) -> bool:
        """Whether there is a record at all."""
        return (self._frozen[0] if self._frozen is not None else self._record()) is not None

    def claim(self, rule: str, function: str | None) -> None:
        """The test has expected findings like this."""
        self._claimed.append((rule, function))

    def freeze(self) -> str | None:
        """The test is over. Why its buffers cannot be judged, None if they can. Raises AuditError, BootLost."""
        record = self._record()
        self._frozen = (record, self._judge(record))
        if record is None or not record.lost:
            return None
        return f"{record.lost} of {record.messages} I2C messages found no room in the audit's table"

    def unclaimed(self, splats: Sequence[Splat], astray: Sequence[BusMessage]) -> list[AuditFinding]:
        """The findings that were not expected, and that neither splats nor stray messages have told already."""
        lost = {(message.address, message.read) for message in astray}
        return [
            finding
            for finding in self.findings()
            if not any(like(finding, *claimed) for claimed in self._claimed)
            and not any(map(finding.tells, splats))
            and not (finding.rule == FLAGGED_UNSAFE and any((one.address, one.read) in lost for one in finding.kinds))
        ]

    def of(self, message: BusMessage) -> str:
        """``: thermo_measure() [thermo] at FILE:LINE gave it MEMORY``, of a message that went astray; or nothing."""
        for finding in self.findings():
            for kind in finding.kinds:
                if finding.rule != SHARED_LINE and (kind.address, kind.read) == (message.address, message.read):
                    return f": {caller(kind)} gave it {_memory(kind)}"
        return ""

    def _judge(self, record: Record | None) -> tuple[AuditFinding, ...]:
        if record is None:
            return ()
        kinds = _theirs(record)
        # Files and lines are dear: only of what is wrong.
        wrong = {id(kind) for finding in self._wrong(replace(record, kinds=kinds)) for kind in finding.kinds}
        if not wrong:
            return ()
        return self._wrong(self._lined(replace(record, kinds=tuple(kind for kind in kinds if id(kind) in wrong))))

    def _wrong(self, record: Record) -> tuple[AuditFinding, ...]:
        emulated = set(self._adapters())
        return tuple(
            finding
            for finding in judge_record(record, self._release).findings
            if finding.rule in FAILING
            and (self._strict or finding.level is not Level.NOTE)
            and (RULES[finding.rule].at_caller or finding.kind.adapter not in emulated)
        )


def like(finding: AuditFinding, rule: str, function: str | None) -> bool:
    """Whether a finding is of this rule and, if one is given, of this function."""
    return finding.rule == rule and function in (None, _whose(finding.kind)[0])


def caller(kind: MessageKind) -> str:
    """``function() [module] at file:line``."""
    frame = kind.blamed
    if frame is None:
        return f"somebody ({one_line(kind.task)})"
    return one_line(named(frame))


def named(frame: Frame | Blame) -> str:
    """``function() [module] at file:line``, as far as the frame knows."""
    place = f" at {frame.file}:{frame.line}" if frame.file else ""
    return f"{frame.function}()" + (f" [{frame.module}]" if frame.module else "") + place


def told(finding: AuditFinding) -> str:
    """A finding in two lines: whose buffer breaks which rule, and how to correct it."""
    kind, rule = finding.kind, RULES[finding.rule]
    way = "read" if kind.read else "write"
    more = f", and {len(finding.also)} more" if finding.also else ""
    where = f"{way} of {kind.max_bytes} bytes at {kind.address:#04x}{more}"
    return f"{finding.rule} in {caller(kind)}: {one_line(finding.why)} ({where})\n{rule.text} {rule.fix}"


def _memory(kind: MessageKind) -> str:
    symbol = f" ({one_line(kind.symbol)})" if kind.symbol else ""
    return f"{kind.memory.what}{symbol}" + (", marked I2C_M_DMA_SAFE" if kind.dma_safe else ", unmarked")


def _theirs(record: Record) -> tuple[MessageKind, ...]:
    return tuple(kind for kind in record.kinds if all(frame.module != _OWN_CLIENT for frame in kind.frames))


def _whose(kind: MessageKind) -> tuple[str, str | None]:
    frame = kind.blamed
    return ("", None) if frame is None else (frame.function, frame.module)
