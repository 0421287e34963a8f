# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine's apt configuration: both formats, which entry is Debian's, and what we make of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmasafe.kernel.apt import (
    AptEntry,
    archive_entry,
    machine_entries,
    parse_deb822,
    parse_one_line,
    private_configuration,
    suite_stanza,
)
from dmasafe.kernel.errors import MissingToolError

ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb http://security.example/debian-security bookworm-security main
deb [arch=amd64 signed-by=/keys/a.gpg,/keys/b.gpg] http://mirror.example/debian bookworm main contrib # here
deb-src http://mirror.example/debian bookworm main
garbage
deb http://flat.example/ ./
"""
DEB822 = """\
Types: deb deb-src
# a comment between
URIs: http://mirror.example/debian
Suites: bookworm
 bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: sid
Components: main

Types: deb
URIs: http://keyed.example/debian
Suites: trixie
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
"""


def test_one_line_entries_are_read() -> None:
    security, main, source, flat = parse_one_line(ONE_LINE)
    assert security.suites == ("bookworm-security",)
    assert main == AptEntry(
        ("deb",),
        ("http://mirror.example/debian",),
        ("bookworm",),
        ("main", "contrib"),
        (("arch", "amd64"), ("signed-by", "/keys/a.gpg /keys/b.gpg")),
    )
    assert source.types == ("deb-src",)
    assert (flat.suites, flat.components) == (("./",), ())


def test_deb822_stanzas_are_read_and_disabled_ones_left_out() -> None:
    first, keyed = parse_deb822(DEB822)
    assert first.types == ("deb", "deb-src")
    assert first.suites == ("bookworm", "bookworm-updates")
    assert first.option("signed-by") == "/usr/share/keyrings/debian-archive-keyring.gpg"
    assert keyed.uris == ("http://keyed.example/debian",)
    assert "BEGIN PGP" in (keyed.option("signed-by") or "")


def test_the_archive_is_found_beside_security_and_third_parties(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (parts / "a.sources").write_text(DEB822)
    (parts / "b.list").write_text("deb http://third.example/node nodistro main\n")
    (parts / "c.list.disabled").write_text("deb http://off.example/debian sid main\n")
    (tmp_path / "sources.list").write_text("deb http://security.example/debian-security bookworm-security main\n")
    entries = machine_entries(tmp_path / "sources.list", parts)
    assert len(entries) == 4
    archive = archive_entry(entries)
    assert archive is not None
    assert archive.uris == ("http://mirror.example/debian",)
    assert archive_entry(parse_one_line("deb http://archive.example/ubuntu noble main\n")) is None
    assert machine_entries(tmp_path / "none", tmp_path / "none.d") == ()


def test_another_suite_is_signed_by_the_archives_keys(tmp_path: Path) -> None:
    keyring = tmp_path / "archive.gpg"
    keyring.touch()
    main = parse_one_line(ONE_LINE)[1]
    stanza = suite_stanza(main, "sid", [keyring, tmp_path / "missing.gpg"])
    assert parse_deb822(stanza)[0] == AptEntry(
        ("deb",),
        ("http://mirror.example/debian",),
        ("sid",),
        ("main",),
        (("signed-by", f"/keys/a.gpg /keys/b.gpg {keyring}"),),
    )
    keyed = parse_deb822(DEB822)[1]
    assert f"Signed-By: {keyring}\n" in suite_stanza(keyed, "sid", [keyring])


def test_without_any_key_the_package_is_named() -> None:
    entry = AptEntry(("deb",), ("http://mirror.example/debian",), ("bookworm",), ("main",))
    with pytest.raises(MissingToolError, match="apt-get install debian-archive-keyring"):
        suite_stanza(entry, "sid", [])


def test_proxies_are_kept_and_hooks_and_state_are_not(tmp_path: Path) -> None:
    dump = (
        'Acquire::http::Proxy "http://proxy.example:3128";\n'
        'APT::Update::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb";\n'
        'Dir "/";\nDir::Cache "var/cache/apt";\nDir::Etc::netrcparts "auth.conf.d";\n'
        'Acquire::IndexTargets::deb::Contents-deb::MetaKey "x";\n'
    )
    sources = tmp_path / "a.sources"
    sources.touch()
    text = private_configuration(dump, tmp_path, sources, as_root=False)
    assert "proxy.example" in text
    assert "auth.conf.d" in text
    assert "Post-Invoke" not in text
    assert "Contents-deb" not in text
    assert "/var/cache/apt" not in text.replace("var/cache/apt/archives", "")
    assert f'Dir::State::lists "{tmp_path}/lists";' in text
    assert "Sandbox" not in text
    assert 'APT::Sandbox::User "root";' in private_configuration(dump, tmp_path, sources, as_root=True)
