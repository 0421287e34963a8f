# SPDX-License-Identifier: GPL-2.0-or-later
"""Coverage-guided fuzzing of the log parser, by atheris (``pip install atheris``; it needs no rebuild of anything).

``python tests/fuzz/fuzz_dmesg.py [CORPUS] [-max_total_time=600]``: libFuzzer's options; new inputs are kept in CORPUS.
What must hold is check(); tests/unit/dmesg/test_dmesg_fuzz.py runs a bounded slice of it by hypothesis.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

FIXTURES = Path(__file__).parents[1] / "fixtures" / "dmesg"
# A piece of a pipe: the first byte of an input says how long.
LONGEST_PIECE_BYTES = 256


class Pieces(io.RawIOBase):
    """A stream that gives out its bytes in pieces of one length."""

    def __init__(self, data: bytes, length: int) -> None:
        super().__init__()
        self._data, self._length = data, length

    def read(self, size: int = -1) -> bytes:
        piece, self._data = self._data[: self._length], self._data[self._length :]
        return piece


def check(data: bytes) -> None:
    """No input raises; the ways to read one log agree; line numbers rise and lie in the log; JSON comes out."""
    import json

    from dmasafe.dmesg import SPLAT_CLASSES, Tally, blame, parse, parse_records, parse_stream
    from dmasafe.dmesg.unpack import Unpacker

    length, data = (data[0] or LONGEST_PIECE_BYTES, data[1:]) if data else (1, b"")
    told: dict[str, None] = {}
    plain = b"".join([*(unpacker := Unpacker(told.setdefault)).take(data), *unpacker.close()])
    if plain != data:  # compressed files and UTF-16 are parse_stream()'s alone
        assert told
        list(parse_stream(io.BytesIO(data)))
        return
    tally = Tally()
    splats = list(parse(io.BytesIO(data)))
    assert list(parse_stream(io.BytesIO(data), tally)) == splats
    assert list(parse_stream(Pieces(data, length))) == splats  # type: ignore[arg-type]
    assert tally.size == len(data)
    assert tally.lines == data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    numbers = [splat.log_line for splat in splats]
    assert numbers == sorted(numbers)
    assert all(1 <= number <= tally.lines for number in numbers)
    for splat in splats:
        assert splat.splat_class in SPLAT_CLASSES
        json.dumps(splat.to_json())
        blame(splat)
    parse_records(data.decode("latin-1").split("\n"))


def main() -> None:
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: pip install atheris")
    with atheris.instrument_imports(include=["dmasafe"]):
        import dmasafe.dmesg  # noqa: F401
    corpus = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    # libFuzzer takes several folders as seeds and writes to the first.
    atheris.Setup([*sys.argv, str(FIXTURES)] if corpus else sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
