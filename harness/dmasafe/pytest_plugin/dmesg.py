# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel said during a test: splats, parsed and resolved, compared with what the test expects of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from dmasafe.dmesg import SPLAT_CLASSES, Blame, blame, parse_records
from dmasafe.dmesg.kmsg import parse_record
from dmasafe.outcome import Splat
from dmasafe.pytest_plugin.buffers import named
from dmasafe.pytest_plugin.errors import plainly
from dmasafe.report.splat_text import splat_lines
from dmasafe.report.text import one_line, visible


class Dmesg:
    """The kernel's log since the test began.

    ``records`` gives all raw records so far, ``resolve`` adds files and lines to splats, ``doubt`` says why the log's
    silence means nothing on this kernel. ``modules`` are those under test, whose sources lie below ``places``: blame
    goes to them first.
    """

    def __init__(
        self,
        records: Callable[[], Sequence[str]],
        resolve: Callable[[list[Splat]], list[Splat]],
        doubt: Callable[[], str | None],
    ) -> None:
        self._records = records
        self._resolve = resolve
        self._doubt = doubt
        self._claimed: set[int] = set()
        self._frozen: list[str] | None = None
        self._resolved: dict[int, Splat] = {}
        self.modules: set[str] = set()
        self.places: tuple[str, ...] = ()
        self.used = False

    @plainly
    def assert_clean(self) -> None:
        """Fails the test if the kernel reported anything that the test did not expect()."""
        __tracebackhide__ = True
        self._require_oracle()
        left = self.unclaimed()
        if left:
            raise pytest.fail.Exception("\n".join(self.accounts()))

    @plainly
    def expect(self, *classes: str, function: str | None = None) -> Splat:
        """The first splat of any of these classes; all of any of them count as expected. Fails the test if none is.

        ``function`` is whom it must blame.
        """
        __tracebackhide__ = True
        self._require_oracle()
        unknown = [name for name in classes if name != "other" and name not in SPLAT_CLASSES]
        if unknown or not classes:
            raise pytest.fail.Exception(f"{', '.join(unknown) or 'nothing'} is no splat class: see 'dmasafe explain'")
        found = [splat for splat in self.splats if splat.splat_class in classes]
        if function is not None:
            found = [splat for splat in found if (whom := self.blame(splat)) is not None and whom.function == function]
        if not found:
            wanted = " or ".join(classes) + (f" in {function}()" if function else "")
            said = self.describe(self.splats) or "nothing"
            raise pytest.fail.Exception(f"the kernel did not report {wanted}; it reported:\n{said}")
        self._claimed.update(splat.log_line for splat in found)
        return found[0]

    @property
    def splats(self) -> list[Splat]:
        """All splats so far, with files and lines where the kernel or a module has debug information."""
        found = parse_records(self.records())
        new = [splat for splat in found if splat.log_line not in self._resolved]
        if new:
            self._resolved.update({splat.log_line: splat for splat in self._resolve(new)})
        return [self._resolved[splat.log_line] for splat in found]

    @property
    def text(self) -> str:
        """The log since the test began, one message a line."""
        parsed = (parse_record(record) for record in self.records())
        return "\n".join(visible(record.text) for record in parsed if record is not None)

    def blame(self, splat: Splat) -> Blame | None:
        """Whom to look at first: a function of the module under test if the trace has one."""
        ours = [frame for frame in splat.frames if frame.module in self.modules and frame.reliable]
        # An inlined function of the kernel's headers is in the module too, and nobody's mistake.
        own = [frame for frame in ours if frame.offset is not None or (frame.file or "").startswith(self.places)]
        for frame in own:
            return Blame(frame.function, frame.module, frame.file, frame.line)
        return blame(splat)

    # For the window.

    def records(self) -> list[str]:
        return list(self._records()) if self._frozen is None else self._frozen

    def freeze(self, records: Sequence[str]) -> None:
        """The test is over: what comes from now on is not its own."""
        self._frozen = list(records)

    def unclaimed(self) -> list[Splat]:
        return [splat for splat in self.splats if splat.log_line not in self._claimed]

    def accounts(self) -> list[str]:
        """What the test did not expect, one text a splat: class and blame first."""
        return [self._account(splat) for splat in self.unclaimed()]

    def _account(self, splat: Splat) -> str:
        whom = self.blame(splat)
        where = "" if whom is None else f" in {named(whom)}"
        first, *rest = self._lines(splat)
        return "\n".join((one_line(f"{splat.splat_class}{where}: {splat.message}"), first, *rest))

    def describe(self, splats: Sequence[Splat]) -> str:
        """Class, message, blame with file and line, and the first frames of each."""
        return "\n".join(line for splat in splats for line in self._lines(splat))

    def _lines(self, splat: Splat) -> list[str]:
        whom = self.blame(splat)
        if whom is None:
            return splat_lines(splat)
        blamed = one_line(f"blame: {named(whom)}")
        first, *rest = [line for line in splat_lines(splat) if not line.startswith("blame: ")]
        return [first, blamed, *rest]

    def _require_oracle(self) -> None:
        __tracebackhide__ = True
        self.used = True
        doubt = self._doubt()
        if doubt is not None:
            raise pytest.fail.Exception(f"INCONCLUSIVE: {doubt}")
