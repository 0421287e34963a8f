# SPDX-License-Identifier: GPL-2.0-or-later
"""Logs as they are stored and mailed: told by their content, in pieces of any size, and never without bound."""

import base64
import bz2
import email.policy
import gzip
import io
import lzma
import mailbox
import random
from email.message import EmailMessage
from pathlib import Path

import pytest

from dmasafe.dmesg import parse, parse_stream, unpack
from dmasafe.dmesg.stream import Tally
from dmasafe.dmesg.unpack import PackedError, Unpacker

FIXTURES = Path(__file__).parents[2] / "fixtures" / "dmesg"
LOG = (FIXTURES / "synthetic-6.12-map-stack.log").read_bytes()
SPLATS = list(parse(LOG.splitlines()))


def zstd(data):
    try:
        from compression import zstd as library
    except ImportError:
        library = pytest.importorskip("backports.zstd")
    return library.compress(data)


STORED = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd,
    "utf-16": lambda data: data.decode().encode("utf-16"),
    "utf-16-le": lambda data: data.decode().encode("utf-16-le"),
    "utf-16-be": lambda data: data.decode().encode("utf-16-be"),
}


def read(data):
    tally = Tally()
    return list(parse_stream(io.BytesIO(data), tally)), tally


def unpacked(data, size):
    notes = []
    unpacker = Unpacker(notes.append)
    pieces = [piece for at in range(0, len(data), size) for piece in unpacker.take(data[at : at + size])]
    return b"".join([*pieces, *unpacker.close()]), notes


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("name", STORED)
def test_what_is_stored_is_told_by_its_content(name, size):
    assert unpacked(STORED[name](LOG), size) == (LOG, [name])


@pytest.mark.parametrize("name", STORED)
def test_the_reading_of_a_stored_log_is_the_reading_of_the_log(name):
    found, tally = read(STORED[name](LOG))
    assert [(s.splat_class, s.device, s.frames) for s in found] == [(s.splat_class, s.device, s.frames) for s in SPLATS]
    assert tally.readable


def test_a_second_member_follows():
    assert unpacked(gzip.compress(LOG) + gzip.compress(LOG), 100)[0] == LOG * 2


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd"])
def test_a_cut_log_is_read_as_far_as_it_goes(name):
    # Noise does not compress, so that the report before it is whole when the cut comes.
    noise = b"\n".join(base64.b64encode(random.Random(number).randbytes(60)) for number in range(20_000))
    whole = STORED[name](LOG + b"\n" + noise)
    text, notes = unpacked(whole[: len(whole) * 3 // 4], 4096)
    assert (LOG + b"\n" + noise).startswith(text) and len(text) > len(LOG)
    assert notes == [name, "the compressed log is cut short"]


def test_a_bomb_is_refused_and_a_log_just_below_is_not(monkeypatch):
    monkeypatch.setattr(unpack, "MAX_UNPACKED_BYTES", 1 << 20)
    assert len(unpacked(gzip.compress(bytes(1 << 20)), 100)[0]) == 1 << 20
    with pytest.raises(PackedError, match="longer than 1 MiB"):
        unpacked(gzip.compress(bytes((1 << 20) + 1)), 100)


def mail(encoding):
    message = EmailMessage(policy=email.policy.SMTP)
    message["Subject"] = "a splat"
    message.set_content("It broke.\n")
    message.add_attachment(LOG.decode(), filename="dmesg.txt", cte=encoding)
    return message


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_a_mails_attachment_is_read(encoding):
    found, _ = read(mail(encoding).as_bytes())
    assert [(s.splat_class, s.device) for s in found] == [(s.splat_class, s.device) for s in SPLATS]


def test_all_mails_of_an_mbox_are_read(tmp_path):
    box = mailbox.mbox(tmp_path / "box")
    for encoding in ("base64", "quoted-printable"):
        box.add(mail(encoding))
    box.close()
    found, _ = read((tmp_path / "box").read_bytes())
    assert [s.splat_class for s in found] == [s.splat_class for s in SPLATS] * 2
