# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's side of images/agent/frame.c: a reliable stream over a line that loses, repeats and inserts characters.

Pieces of lines travel in frames with a number and a CRC-32, are kept until acknowledged and sent again when asked for
(go-back-N). What is no frame, such as a kernel's messages on the same console, is kept as ``noise``.
"""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Callable

from dmasafe.guest import ChannelClosed
from dmasafe.guest.agent import Stream

START = b"\x01"
SESSION_BYTES = 4
PAYLOAD_BYTES = 1024
# Start, session, kind, number, acknowledgement; then the payload; '*' and a CRC-32 of all but the start and the '*'.
_HEAD_BYTES = 1 + SESSION_BYTES + 1 + 8 + 8
_TAIL_BYTES = 1 + 8
_FRAME_BYTES = _HEAD_BYTES + PAYLOAD_BYTES + _TAIL_BYTES
HEARTBEAT_S = 2.0
NAK_PAUSE_S = 0.1
MAX_NOISE_BYTES = 16384
_MAX_RECEIVED_BYTES = 1 << 20
_RECEIVE_BYTES = 1 << 16
_DATA = b"PLE"


class FramedStream:
    """A Stream over another one. ``tick`` must be called often: it resends, and keeps the other side waiting for us.

    ``noise`` is the newest of what came outside frames. ``ended`` is True once the other side has said its last word.
    ``raw_ended`` is True at the end of the raw stream. ``silence_s`` without a whole frame raises ChannelClosed.
    """

    def __init__(
        self,
        raw: Stream,
        session: str,
        window_bytes: int,
        resend_s: float,
        silence_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._raw = raw
        self._session = session.encode("ascii")
        self._window = window_bytes
        self._resend_s = resend_s
        self._silence_s = silence_s
        self._clock = clock
        self._partial = bytearray()
        # Frames that are not acknowledged, from number _acked on; the first _sent of them are under way.
        self._queue: deque[tuple[bytes, bytes]] = deque()
        self._acked = 0
        self._sent = 0
        self._under_way = 0
        self._writing = b""
        self._expected = 0
        self._frame: bytearray | None = None
        self._received = bytearray()
        self._ack_due = self._nak_due = False
        now = clock()
        self._progress = self._heard = self._beat = now
        self._went_back = self._nak_at = now - NAK_PAUSE_S
        self.noise = bytearray()
        self.ended = False
        self.damaged = 0
        self.raw_ended = False

    def setblocking(self, flag: bool, /) -> None:
        if flag:
            raise ValueError("a framed stream never blocks")
        self._raw.setblocking(False)

    def fileno(self) -> int:
        return self._raw.fileno()

    @property
    def unsent(self) -> bool:
        """Whether something waits for the raw stream to become writable."""
        return bool(self._writing)

    @property
    def delivered(self) -> bool:
        """Whether everything sent was acknowledged."""
        return not self._queue and not self._partial

    def send(self, data: bytes, /) -> int:
        """Takes all of it. Raises OSError as the raw stream does."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._enqueue_line(bytes(self._partial) + line)
            self._partial.clear()
        self._partial += rest
        self._flush()
        return len(data)

    def end(self) -> None:
        """Tell the other side that nothing more will come."""
        self._enqueue(b"E", b"")
        self._flush()

    def recv(self, size: int, /) -> bytes:
        """What has arrived in whole frames; empty at the end. Raises BlockingIOError if that is nothing."""
        self._read()
        self.tick()
        if self._received:
            data = bytes(self._received[:size])
            del self._received[:size]
            return data
        if self.ended or self.raw_ended:
            return b""
        raise BlockingIOError

    def listen(self) -> None:
        """Take what has arrived, and leave it for recv() and ``noise``. Raises OSError as the raw stream does."""
        self._read()

    def tick(self) -> None:
        """Do what time demands. Raises ChannelClosed after too long a silence."""
        now = self._clock()
        if now - self._heard > self._silence_s and not (self.raw_ended or self.ended):
            raise ChannelClosed(f"the link is cut: nothing readable came for {self._silence_s:g} s")
        if self._sent and now - self._progress > self._resend_s:
            self._go_back(now)
        self._flush()
        if now - self._beat >= HEARTBEAT_S and not self._writing:
            self._beat = now
            self._write(self._made(b"H", self._acked + len(self._queue), b""))

    def take(self, data: bytes) -> None:
        """Characters of the line."""
        for number, piece in enumerate(data.split(START)):
            if number:
                if self._frame is not None:
                    self._want_again()
                self._frame = bytearray()
            if self._frame is None:
                self._take_noise(piece)
                continue
            frame, newline, rest = piece.partition(b"\n")
            self._frame += frame
            if newline:
                whole, self._frame = bytes(self._frame), None
                self._take_frame(whole)
                self._take_noise(rest)
            elif len(self._frame) > _FRAME_BYTES:
                lost, self._frame = bytes(self._frame), None
                self._want_again()
                self._take_noise(lost)

    def _read(self) -> None:
        while not self.raw_ended:
            try:
                data = self._raw.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return
            if not data:
                self.raw_ended = True
                return
            self.take(data)
            if len(self._received) >= _RECEIVE_BYTES:
                return

    def _take_noise(self, data: bytes) -> None:
        self.noise += data
        if len(self.noise) > MAX_NOISE_BYTES:
            del self.noise[:-MAX_NOISE_BYTES]

    def _take_frame(self, frame: bytes) -> None:
        """A frame without start and newline; anything but a whole one of this session is damaged, or not for us."""
        head, payload, tail = frame[: _HEAD_BYTES - 1], frame[_HEAD_BYTES - 1 : -_TAIL_BYTES], frame[-_TAIL_BYTES:]
        number, ack = _hexadecimal(head[-16:-8]), _hexadecimal(head[-8:])
        whole = len(frame) >= _HEAD_BYTES - 1 + _TAIL_BYTES and tail[:1] == b"*"
        if not whole or number is None or ack is None or _hexadecimal(tail[1:]) != zlib.crc32(frame[:-_TAIL_BYTES]):
            # The start of a frame, or of nothing: a panic may be printed right into one.
            self._take_noise(frame + b"\n")
            self._want_again()
            return
        if head[:SESSION_BYTES] != self._session:
            return
        self._heard = self._clock()
        kind = head[SESSION_BYTES : SESSION_BYTES + 1]
        self._take_ack(ack)
        if kind in _DATA:
            self._take_data(kind, number, payload)
        elif kind == b"N" and self._sent and self._heard - self._went_back >= NAK_PAUSE_S:
            self._go_back(self._heard)

    def _take_data(self, kind: bytes, number: int, payload: bytes) -> None:
        self._ack_due = True
        if number != self._expected:
            if number > self._expected:
                self._want_again()
            return
        if len(self._received) > _MAX_RECEIVED_BYTES:
            # As if lost: it comes again when somebody has read.
            self._ack_due = False
            return
        self._expected += 1
        self._nak_at = self._clock() - NAK_PAUSE_S
        if kind == b"E":
            self.ended = True
        else:
            self._received += payload + (b"\n" if kind == b"L" else b"")

    def _take_ack(self, ack: int) -> None:
        """An acknowledgement of what was never sent changes nothing."""
        if not self._acked < ack <= self._acked + self._sent:
            return
        for _ in range(ack - self._acked):
            kind, payload = self._queue.popleft()
            self._under_way -= _size(kind, payload)
        self._sent -= ack - self._acked
        self._acked = ack
        self._progress = self._clock()

    def _want_again(self) -> None:
        self.damaged += 1
        if self._clock() - self._nak_at >= NAK_PAUSE_S:
            self._nak_due = True

    def _go_back(self, now: float) -> None:
        self._sent = self._under_way = 0
        self._went_back = self._progress = now

    def _enqueue_line(self, line: bytes) -> None:
        pieces = [line[at : at + PAYLOAD_BYTES] for at in range(0, len(line), PAYLOAD_BYTES)] or [b""]
        for piece in pieces[:-1]:
            self._enqueue(b"P", piece)
        self._enqueue(b"L", pieces[-1])

    def _enqueue(self, kind: bytes, payload: bytes) -> None:
        if not self._queue:
            self._progress = self._clock()
        self._queue.append((kind, payload))

    def _flush(self) -> None:
        """Write what is owed and what the window has room for, as far as the raw stream takes it."""
        while not self._write(b""):
            if self._nak_due or self._ack_due:
                frame = self._made(b"N" if self._nak_due else b"A", self._acked + len(self._queue), b"")
                if self._nak_due:
                    self._nak_at = self._clock()
                self._nak_due = self._ack_due = False
            elif self._sent < len(self._queue):
                kind, payload = self._queue[self._sent]
                size = _size(kind, payload)
                if self._under_way and self._under_way + size > self._window:
                    return
                frame = self._made(kind, self._acked + self._sent, payload)
                self._sent += 1
                self._under_way += size
                # It says as much as an acknowledgement would.
                self._ack_due = False
            else:
                return
            self._write(frame)

    def _write(self, frame: bytes) -> bool:
        """Write this and what was left over; whether anything still is."""
        self._writing += frame
        while self._writing and not self.raw_ended:
            try:
                sent = self._raw.send(self._writing)
            except BlockingIOError:
                return True
            self._writing = self._writing[sent:]
        return bool(self._writing)

    def _made(self, kind: bytes, number: int, payload: bytes) -> bytes:
        body = b"%s%s%08x%08x%s" % (self._session, kind, number, self._expected, payload)
        return b"%s%s*%08x\n" % (START, body, zlib.crc32(body))


def _size(kind: bytes, payload: bytes) -> int:
    return _HEAD_BYTES + len(payload) + _TAIL_BYTES + len(kind)


def _hexadecimal(text: bytes) -> int | None:
    if len(text) != 8 or text.strip(b"0123456789abcdef"):
        return None
    return int(text, 16)
