# SPDX-License-Identifier: GPL-2.0-or-later
"""``parse``, ``explain`` and ``repro`` read the same: mails, mbox, compressed logs, UTF-16, pages, strings of JSON."""

import base64
import bz2
import gzip
import html
import json
import lzma
import mailbox
import sys
from email.message import EmailMessage
from pathlib import Path

import pytest

from dmasafe.cli import repro_command
from dmasafe.targets.reproduce import Reproduction
from tests.in_process import dmasafe

FIXTURES = Path(__file__).parents[2] / "fixtures" / "dmesg"
LOG = (FIXTURES / "synthetic-6.12-map-stack.log").read_text()
LOGCAT = FIXTURES / "synthetic-paste-vendor-stamp-motorola.log"


def mail(encoding):
    message = EmailMessage()
    message["Subject"] = "a splat"
    message.set_content("It broke.\n")
    message.add_attachment(LOG, filename="dmesg.txt", cte=encoding)
    return message


def mbox(path):
    box = mailbox.mbox(path)
    box.add(mail("base64"))
    box.close()


def zstd(path):
    if sys.version_info >= (3, 14):
        from compression import zstd as library
    else:
        library = pytest.importorskip("backports.zstd")
    path.write_bytes(library.compress(LOG.encode()))


KINDS = {
    "plain": lambda path: path.write_text(LOG),
    "mail": lambda path: path.write_bytes(mail("quoted-printable").as_bytes()),
    "mbox": mbox,
    "gz": lambda path: path.write_bytes(gzip.compress(LOG.encode())),
    "bz2": lambda path: path.write_bytes(bz2.compress(LOG.encode())),
    "xz": lambda path: path.write_bytes(lzma.compress(LOG.encode())),
    "zst": zstd,
    "a mailed gz": lambda path: path.write_bytes(
        b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(gzip.compress(LOG.encode()))
    ),
    "UTF-16": lambda path: path.write_bytes(LOG.encode("utf-16")),
    "HTML": lambda path: path.write_text(f"<html><body><pre>{html.escape(LOG)}</pre></body></html>"),
    "JSON": lambda path: path.write_text(json.dumps({"Output": LOG}) + "\n"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_three_read_what_people_have(kind, tmp_path, monkeypatch):
    asked = []

    def reproduce(splats, *rest):
        asked.extend(splats)
        return [Reproduction("map-stack", "stack/master_send/dmasafe:trusting/8", "default", True, "shown")]

    monkeypatch.setattr(repro_command, "reproduce", reproduce)
    path = tmp_path / "log"
    KINDS[kind](path)
    parsed = dmasafe("parse", "--format", "json", path)
    assert [splat["class"] for splat in json.loads(parsed.stdout)] == ["map-stack"], parsed.stderr
    explained = dmasafe("explain", "--format", "json", path)
    assert [told["slug"] for told in json.loads(explained.stdout)] == ["map-stack"]
    assert dmasafe("repro", path).returncode == 0
    assert [splat.to_json() for splat in asked] == json.loads(parsed.stdout)


def test_verbose_says_what_was_inferred():
    done = dmasafe("parse", "--verbose", LOGCAT)
    assert done.returncode == 1
    assert "how the log was read: prefix inferred: '[    2.206687,0] '\n" in done.stdout
    done = dmasafe("parse", "--verbose", "--format", "json", LOGCAT)
    assert "prefix inferred: '[    2.206687,0] '" in done.stderr
    assert len(json.loads(done.stdout)) == 1
    assert "prefix inferred" not in dmasafe("parse", LOGCAT).stdout


def test_verbose_says_when_nothing_was_inferred():
    assert "nothing had to be inferred" in dmasafe("parse", "--verbose", "-", stdin="[    1.0] usb: x\n").stdout


def test_minimal_prints_lines_that_parse_to_the_same(tmp_path):
    path = tmp_path / "log"
    path.write_text(LOG + LOG.replace("0000:00:05.0", "0000:00:06.0"))
    excerpts = dmasafe("parse", "--minimal", path)
    assert excerpts.returncode == 1
    assert 0 < len(excerpts.stdout.splitlines()) < len(LOG.splitlines())
    again = dmasafe("parse", "--format", "json", "-", stdin=excerpts.stdout)
    same = [{**splat, "log_line": 0} for splat in json.loads(dmasafe("parse", "--format", "json", path).stdout)]
    assert [{**splat, "log_line": 0} for splat in json.loads(again.stdout)] == same
    told = json.loads(dmasafe("parse", "--minimal", "--format", "json", path).stdout)
    assert [splat.pop("excerpt") and {**splat, "log_line": 0} for splat in told] == same


def test_minimal_of_a_clean_log_is_nothing():
    assert dmasafe("parse", "--minimal", "-", stdin="[    1.0] usb: x\n")[:2] == (0, "")


@pytest.mark.parametrize("words", [("--follow",), ("--format", "sarif")])
def test_minimal_does_not_go_with_everything(words):
    done = dmasafe("parse", "--minimal", *words, LOGCAT)
    assert done.returncode == 2
    assert "--minimal" in done.stderr
