# SPDX-License-Identifier: GPL-2.0-or-later
"""What programs and people put around a kernel log: each takes the kernel's own lines and gives the log they make."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import quopri
import random
import string
from collections.abc import Callable

Text = list[str]
Wrapper = Callable[[Text], str]


def stamp(number: int) -> str:
    return f"[{1.3 + number / 1e4:12.6f}]"


def each(make: Callable[[int, str], str], end: str = "\n") -> Callable[[Text], str]:
    return lambda lines: "".join(make(number, line) + end for number, line in enumerate(lines))


def dmesg_json(lines: Text) -> str:
    indent = "\n" + 9 * " "
    records = ",".join(
        f'{{{indent}"pri": 4,{indent}"time": {1.3 + number / 1e4:12.6f},{indent}"msg": {json.dumps(line)}\n      }}'
        for number, line in enumerate(lines)
    )
    return f'{{\n   "dmesg": [\n      {records}\n   ]\n}}\n'


def journal(number: int, line: str) -> str:
    record = {
        "__CURSOR": "s=1",
        "_TRANSPORT": "kernel",
        "PRIORITY": "4",
        "MESSAGE": line,
        "SYSLOG_IDENTIFIER": "kernel",
    }
    return json.dumps(record)


def coloured(number: int, line: str) -> str:
    """dmesg --color=always, print_record() of util-linux: the time, the words before the first colon, the rest."""
    head, colon, rest = line.partition(": ")
    text = f"\x1b[33m{head}\x1b[0m{colon}{rest}" if colon else line
    return f"\x1b[32m{stamp(number)} \x1b[0m{text}"


DIALECTS: dict[str, Callable[[Text], str]] = {
    "dmesg": each(lambda n, line: f"{stamp(n)} {line}"),
    "dmesg -T": each(lambda n, line: f"[Mon Nov  2 09:58:{n % 60:02}  2026] {line}".replace("  2026", " 2026")),
    "dmesg -x": each(lambda n, line: f"kern  :warn  : {stamp(n)} {line}"),
    "dmesg -xT": each(lambda n, line: f"kern  :notice: [Mon Nov 22 09:58:{n % 60:02} 2026] {line}"),
    "dmesg -r": each(lambda n, line: f"<4>{stamp(n)} {line}"),
    "dmesg -d": each(lambda n, line: f"[{1.3 + n / 1e4:12.6f} <{n / 1e4:12.6f}>] {line}"),
    "dmesg -e": each(lambda n, line: f"[Nov22 09:58] {line}" if n == 0 else f"[  +0.000{n:03}] {line}"),
    "dmesg -t": each(lambda n, line: line),
    "dmesg --time-format iso": each(lambda n, line: f"2026-11-22T09:58:{n % 60:02},000{n:03}+00:00 {line}"),
    "dmesg --color": each(coloured),
    "dmesg --json": dmesg_json,
    "dmesg --json, one record a line": each(lambda n, line: json.dumps({"pri": 4, "time": 1.3, "msg": line})),
    "/dev/kmsg": each(lambda n, line: f"4,{n},{1300000 + n},-;{line}\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:05.0"),
    "/dev/kmsg with callers": each(lambda n, line: f"4,{n},{1300000 + n},-,caller=T35;{line}"),
    "journalctl": each(lambda n, line: f"Nov 22 09:58:00 box kernel: {line}"),
    "journalctl -o short-precise": each(lambda n, line: f"Nov 22 09:58:00.123456 box kernel: {line}"),
    "journalctl -o short-iso": each(lambda n, line: f"2026-11-22T09:58:00+0000 box kernel: {line}"),
    "journalctl -o short-full": each(lambda n, line: f"Sun 2026-11-22 09:58:00 UTC box kernel: {line}"),
    "journalctl -o short-monotonic": each(lambda n, line: f"{stamp(n)} box kernel: {line}"),
    "journalctl -o short-unix": each(lambda n, line: f"1795341480.123456 box kernel: {line}"),
    "journalctl -o json": each(journal),
    "syslog": each(lambda n, line: f"Nov  2 09:58:00 box kernel: {stamp(n)} {line}"),
    "rsyslog, RFC 3339": each(lambda n, line: f"2026-11-22T09:58:00.123456+02:00 box kernel: {stamp(n)} {line}"),
    "serial": each(lambda n, line: f"{stamp(n)} {line}", "\r\n"),
    "serial, two carriage returns": each(lambda n, line: f"{stamp(n)} {line}", "\r\r\n"),
    "serial with escape sequences": each(
        lambda n, line: f"\x1b[0;1;31m\x1b[?2004h{stamp(n)} {line}\x1b[0m\x1b[K", "\r\n"
    ),
    "serial with a title and NULs": each(lambda n, line: f"\x1b]0;board\x07\x00\x00{stamp(n)} {line}"),
    "terminal with the host's clock": each(lambda n, line: f"[2026-11-22 09:58:00.123] {stamp(n)} {line}"),
    "ts": each(lambda n, line: f"Nov 22 09:58:00 {stamp(n)} {line}"),
    "grabserial": each(lambda n, line: f"[{n / 1e3:.6f} 0.000123] {stamp(n)} {line}"),
    "PRINTK_CALLER, task": each(lambda n, line: f"{stamp(n)}[   T35] {line}"),
    "PRINTK_CALLER, processor": each(lambda n, line: f"{stamp(n)}[    C1] {line}"),
    "GitHub": each(lambda n, line: f"2026-11-22T09:58:00.1234567Z {stamp(n)} {line}"),
    "GitHub, no kernel times": each(lambda n, line: f"2026-11-22T09:58:00.1234567Z {line}"),
    "gh run view --log": each(lambda n, line: f"build\tBoot it\t2026-11-22T09:58:00.1234567Z {stamp(n)} {line}"),
    "GitLab": each(lambda n, line: f"2026-11-22T09:58:00.123456Z 01O {stamp(n)} {line}"),
    "Jenkins": each(lambda n, line: f"[2026-11-22T09:58:00.123Z] {stamp(n)} {line}"),
    "LAVA, plain": each(lambda n, line: f"09:58:00.123456  {stamp(n)} {line}"),
    "KernelCI": each(lambda n, line: f"2026-11-22T09:58:00.123456  <4>{stamp(n)} {line}"),
    "LAVA, JSON": each(
        lambda n, line: "- " + json.dumps({"dt": "2026-11-22T09:58:00", "lvl": "target", "msg": f"{stamp(n)} {line}"})
    ),
    "LAVA, YAML": each(
        lambda n, line: (
            f"- {{dt: '2026-11-22T09:58:00', lvl: target, msg: '{stamp(n)} {line.replace(chr(39), chr(39) * 2)}'}}"
        )
    ),
    "markdown": each(lambda n, line: f"> {stamp(n)} {line}"),
    "markdown, nested": each(lambda n, line: f"> > >> {stamp(n)} {line}"),
    "markdown, code": each(lambda n, line: f"    {stamp(n)} {line}"),
    "UTF-8 with a mark": lambda lines: "\ufeff" + each(lambda n, line: f"{stamp(n)} {line}")(lines),
    "docker": each(lambda n, line: json.dumps({"log": f"{stamp(n)} {line}\n", "stream": "stdout"})),
}


def exported(lines: Text) -> str:
    return "".join(
        f"__CURSOR=s=1;i={n}\n__REALTIME_TIMESTAMP={1764369226206687 + n}\n_TRANSPORT=kernel\nPRIORITY=4\n"
        f"SYSLOG_IDENTIFIER=kernel\nMESSAGE={line}\n_HOSTNAME=box\n\n"
        for n, line in enumerate(lines)
    )


def verbose(lines: Text) -> str:
    return "".join(
        f"Fri 2025-11-28 22:33:46.206{n:03} CET [s=6f;i={n};b=2a;m=f;t=6;x=8]\n    _TRANSPORT=kernel\n    PRIORITY=4\n"
        f"    MESSAGE={line}\n    _HOSTNAME=box\n"
        for n, line in enumerate(lines)
    )


def pretty(lines: Text) -> str:
    return "".join(
        json.dumps({"PRIORITY": "4", "_TRANSPORT": "kernel", "MESSAGE": line, "_BOOT_ID": "1"}, indent="\t") + "\n"
        for line in lines
    )


def logcat(number: int, line: str) -> str:
    tag, colon, rest = line.partition(": ")
    if not colon or " " in tag or len(tag) > 16:
        tag, rest = "", line
    return f"11-28 22:33:{number % 60:02}.206     0     0 W {tag:8}: {rest}"


def logcat_brief(number: int, line: str) -> str:
    return f"W/kernel  (    0): {line}"


def comma(lines: Text) -> str:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    for n, line in enumerate(lines):
        writer.writerow([f"2026-11-22 09:58:{n % 60:02}", "kernel", "warning", line, "box"])
    return out.getvalue()


def quoted_printable(lines: Text) -> str:
    return quopri.encodestring("\n".join(f"{stamp(n)} {line}" for n, line in enumerate(lines)).encode()).decode() + "\n"


def mail(lines: Text) -> str:
    body = "".join(f"{stamp(n)} {line}\n" for n, line in enumerate(lines)).encode()
    return (
        "From: A <a@example.com>\nSubject: it splats\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
        "Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(body).decode() + "\n"
    )


def spaced(lines: Text) -> str:
    return "".join(f"{stamp(n)} {line}\n" for n, line in enumerate(lines)).replace(" ", "\u00a0")


def typographic(lines: Text) -> str:
    text = "".join(f"{stamp(n)} {line}\n" for n, line in enumerate(lines))
    return text.replace("'", "\u2019").replace("--", "\u2013").replace("...", "\u2026")


def page(lines: Text) -> str:
    rows = "".join(f"<span>{html.escape(f'{stamp(n)} {line}')}</span><br/>\n" for n, line in enumerate(lines))
    return f"<html><body><pre>\n{rows}</pre></body></html>\n"


def escaped(lines: Text) -> str:
    return (
        json.dumps({"Time": "now", "Output": "\r\n".join(f"{stamp(n)} {line}" for n, line in enumerate(lines))}) + "\n"
    )


def made_up(seed: int) -> Wrapper:
    """A prefix that nobody uses: words, numbers that count, brackets and separators at random."""

    def wrap(lines: Text) -> str:
        source = random.Random(seed)

        def word() -> str:
            return "".join(source.choices(string.ascii_lowercase, k=source.randint(2, 7)))

        pieces = ["#", *source.sample(["word", "level", "[word]", "(#)", "[#]", "<word>", "#:#", "#.#", "word=#"], 3)]
        source.shuffle(pieces)
        separators = [source.choice([" ", " | ", ": ", "\t", "; ", "  ", ", "]) for _ in pieces]
        words = [word() for _ in pieces]
        out = ""
        for n, line in enumerate(lines):
            for piece, separator, name in zip(pieces, separators, words, strict=True):
                text = piece.replace("word", name).replace("level", source.choice(["W", "I", "E"]))
                while "#" in text:
                    text = text.replace("#", str(1000 + 7 * n), 1)
                out += text + separator
            out += line + "\n"
        return out

    return wrap


PASTED: dict[str, Wrapper] = {
    "journalctl, Spanish": each(lambda n, line: f"jul 28 17:16:{n % 60:02} box kernel: {line}"),
    "journalctl, French": each(lambda n, line: f"d\u00e9c. 02 17:16:{n % 60:02} box kernel: {line}"),
    "journalctl, Russian": each(lambda n, line: f"\u043d\u043e\u044f 28 17:16:{n % 60:02} box kernel: {line}"),
    "journalctl, Chinese": each(lambda n, line: f"11\u6708 28 17:16:{n % 60:02} box kernel: {line}"),
    "dmesg -T, German": each(lambda n, line: f"[Mo M\u00e4r 13 17:16:{n % 60:02} 2023] {line}"),
    "dmesg -T, Czech": each(lambda n, line: f"[\u010dt led 13 17:16:{n % 60:02} 2023] {line}"),
    "journalctl -o export": exported,
    "journalctl -o verbose": verbose,
    "journalctl -o json-pretty": pretty,
    "logcat": each(logcat),
    "logcat -v brief": each(logcat_brief),
    "RFC 5424": each(lambda n, line: f"<4>1 2025-11-28T22:33:44.{n:06}+01:00 host kernel - - - {stamp(n)} {line}"),
    "RFC 5424, no kernel times": each(lambda n, line: f"<4>1 2025-11-28T22:33:44.{n:06}Z host kernel - - - {line}"),
    "CSV": comma,
    "a vendor's stamp: MediaTek": each(lambda n, line: f"{stamp(n)} .(0)[34:agent]{line}"),
    "a vendor's stamp: Motorola": each(lambda n, line: f"{stamp(n)[:-1]},0] {line}"),
    "a vendor's stamp: Samsung": each(lambda n, line: f"{stamp(n)}  [0:          agent:   34] {line}"),
    "ftrace's console": each(lambda n, line: f"   agent-34    [000] d..1.   {1.3 + n / 1e4:.6f}: console: {line}"),
    "loki": each(lambda n, line: f'ts=2026-11-22T09:58:00.{n:03}Z level=warn unit=kernel line="{stamp(n)} {line}"'),
    "no-break spaces": spaced,
    "typographic quotes and dashes": typographic,
    "HTML": page,
    "quoted-printable": quoted_printable,
    "a mail in base64": mail,
    "a string of JSON": escaped,
    "JSON with a key of its own": each(lambda n, line: json.dumps({"ts": n, "kernel_line": f"{stamp(n)} {line}"})),
    "GitHub, quoted": each(lambda n, line: f"> 2026-11-22T09:58:00.1234567Z {stamp(n)} {line}"),
    "line numbers": each(lambda n, line: f"{n + 100:6}\t{stamp(n)} {line}"),
    "grep -n": each(lambda n, line: f"{n + 100}:{stamp(n)} {line}"),
    "grep with a file's name": each(lambda n, line: f"kern.log:{stamp(n)} {line}"),
    "a pipe in a table": each(lambda n, line: f"| {stamp(n)} {line}"),
    "tabs for spaces": each(lambda n, line: f"\t{stamp(n)}\t{line}"),
}
RANDOM = {f"made up, seed {seed}": made_up(seed) for seed in range(12)}
WRAPPERS = {**DIALECTS, **PASTED, **RANDOM}
