# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytes of a log as they are stored, in; bytes of UTF-8 text out: compressed files and UTF-16, told by their content.

Everything is done piece by piece, so that a log of any length takes constant memory.
"""

from __future__ import annotations

import bz2
import codecs
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from dmasafe.errors import DmasafeError

PIECE_BYTES = 1 << 18
# No log of the kernel's is longer; what claims to be is made to fill memory or time.
MAX_UNPACKED_BYTES = 1 << 30
# So much of the beginning decides.
_HEAD_BYTES = 64
_UTF_16 = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_NULS_PERCENT = 70
_ASCII = bytes([*range(0x20, 0x7F), *b"\t\n\r\x1b\x00"])


class PackedError(DmasafeError):
    """A compressed log that cannot be read, or is no log."""


def _zstd() -> Any:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as error:
        raise PackedError("the log is compressed with zstd: pip install backports.zstd, or zstdcat it") from error
    return zstd.ZstdDecompressor()


class _Gzip:
    """zlib's object with the interface of the other three."""

    def __init__(self) -> None:
        self._object = zlib.decompressobj(wbits=31)

    eof = property(lambda self: self._object.eof)
    unused_data = property(lambda self: self._object.unused_data)
    needs_input = property(lambda self: not self._object.unconsumed_tail)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._object.decompress(self._object.unconsumed_tail + data, max_length)


_FORMATS: dict[bytes, tuple[str, Callable[[], Any]]] = {
    b"\x1f\x8b\x08": ("gzip", _Gzip),
    b"BZh": ("bzip2", bz2.BZ2Decompressor),
    b"\xfd7zXZ\x00": ("xz", lzma.LZMADecompressor),
    b"\x28\xb5\x2f\xfd": ("zstd", _zstd),
}
PACKED = tuple(_FORMATS)


class Unpacker:
    """Takes a log's bytes in pieces of any size; ``note`` is told what they are, if it is not plain text."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._head: bytes | None = b""
        self._packed: Any = None
        self._new: Callable[[], Any] | None = None
        self._text: codecs.IncrementalDecoder | None = None
        self._inner: Unpacker | None = None
        self._size = 0

    def take(self, data: bytes) -> Iterator[bytes]:
        """The text in the next bytes; raises PackedError for more than MAX_UNPACKED_BYTES from a compressed log."""
        if self._head is not None:
            self._head += data
            if len(self._head) < _HEAD_BYTES and not (self._head and self._plain()):
                return
            yield from self.begin()
        elif self._packed is not None:
            yield from self._unpacked(data)
        else:
            yield self._decoded(data)

    def begin(self) -> Iterator[bytes]:
        """The text in the first bytes, at the latest when no more come."""
        head, self._head = self._head, None
        if not head:
            return
        for magic, (name, new) in _FORMATS.items():
            if head.startswith(magic):
                self._note(name)
                self._new = new
                self._packed = new()
                self._inner = Unpacker(self._note)
                yield from self._unpacked(head)
                return
        codec = _codec(head)
        if codec is not None:
            self._note(codec)
            self._text = codecs.getincrementaldecoder(codec)("replace")
        yield self._decoded(head)

    def close(self) -> Iterator[bytes]:
        """The rest."""
        yield from self.begin()
        if self._inner is not None:
            if self._packed is not None and not isinstance(self._packed, _Over):
                self._note("the compressed log is cut short")
            yield from self._inner.close()

    def _plain(self) -> bool:
        """Whether the beginning can be neither compressed nor UTF-16 (a live console sends few bytes at a time)."""
        head = self._head or b""
        packed = any(magic.startswith(head[: len(magic)]) for magic in _FORMATS)
        return not packed and head[:1] not in (b"\xff", b"\xfe") and b"\x00" not in head and len(head) > 1

    def _decoded(self, data: bytes) -> bytes:
        return data if self._text is None else self._text.decode(data).encode("utf-8", "surrogatepass")

    def _unpacked(self, data: bytes) -> Iterator[bytes]:
        assert self._inner is not None and self._new is not None
        try:
            while self._packed is not None:
                piece = self._packed.decompress(data, PIECE_BYTES)
                data = b""
                self._size += len(piece)
                if self._size > MAX_UNPACKED_BYTES:
                    raise PackedError(
                        f"the compressed log is longer than {MAX_UNPACKED_BYTES >> 20} MiB: unpack it and give a part"
                    )
                if piece:
                    yield from self._inner.take(piece)
                if self._packed.eof:  # another member may follow
                    data = self._packed.unused_data
                    self._packed = self._new() if data else None
                elif self._packed.needs_input and len(piece) < PIECE_BYTES:
                    return
            self._packed = _Over()
        except PackedError:
            raise
        except Exception:  # each library has its own class, zstd's may not be there to be named
            self._note("the compressed log is damaged: read as far as it goes")
            self._packed = _Over()


class _Over:
    """What comes after the end of a compressed log is nothing."""

    eof = False
    needs_input = True
    unused_data = b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return b""


def _codec(head: bytes) -> str | None:
    """UTF-16 by its mark, or by the NUL beside each letter."""
    for mark, codec in _UTF_16.items():
        if head.startswith(mark):
            return codec
    if len(head) < _HEAD_BYTES or head.translate(None, _ASCII):
        return None
    even, odd = head[0::2], head[1::2]
    for nuls, letters, codec in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if nuls.count(0) * 100 >= _NULS_PERCENT * len(nuls) and letters.count(0) * 100 < (100 - _NULS_PERCENT) * len(
            letters
        ):
            return codec
    return None
