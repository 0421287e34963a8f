# SPDX-License-Identifier: GPL-2.0-or-later
"""Releases by name: which one is meant, in Debian's archive and on a kernel.org of our own on loopback."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmasafe.kernel import apt, kernel_org, release
from dmasafe.kernel.cache import Cache, file_sha256
from dmasafe.kernel.errors import HashMismatchError, MissingToolError, SourceError
from dmasafe.kernel.source import ReleaseSource, TarballSource, fetch, parse_source
from dmasafe.progress import SILENT

VERSIONS = ["5.10.223", "6.12.107", "6.12.117", "7.2.13", "7.3.4", "7.3-rc7", "7.4-rc2"]


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("7.3.4", "7.3.4"),
        ("7.3", "7.3.4"),
        ("7.4", "7.4-rc2"),
        ("6.12", "6.12.117"),
        ("6.12.107", "6.12.107"),
        ("latest", "7.3.4"),
        ("mainline", "7.4-rc2"),
        ("longterm", "6.12.117"),
        ("7.3.5", None),
        ("9.0", None),
    ],
)
def test_a_name_means_the_newest_that_fits(name, means):
    assert release.chosen(name, VERSIONS, "6.12") == means


@pytest.mark.parametrize("text", ["7.3.4", "7.3", "7.4-rc1", "latest", "longterm", "mainline", "next"])
def test_releases_are_sources(text):
    assert parse_source(text) == ReleaseSource(text) and str(parse_source(text)) == text


def test_debians_versions_are_read_as_upstreams():
    read = release.upstream_version
    assert [read(v) for v in ("7.3.4-1~bpo13+1", "7.3~rc7-1~exp1", "7.2-1", "2:6.1.176-1")] == [
        "7.3.4", "7.3-rc7", "7.2", "6.1.176",
    ]  # fmt: skip


def packages(*rows: tuple[str, str]) -> list[tuple[apt.Package, Path]]:
    return [(apt.Package(f"linux-source-{v[:3]}", v, suite, "", 1), Path(f"{suite}.conf")) for v, suite in rows]


def test_debians_package_is_taken_from_whichever_suite_has_it(cache, monkeypatch):
    found = packages(("7.2.13-1", "unstable"), ("6.12.107-1", "stable"), ("7.3.4-1~bpo13+1", "trixie-backports"),
                     ("7.3~rc7-1~exp1", "experimental"))  # fmt: skip
    monkeypatch.setattr(apt, "kernels", lambda *_: found)

    def asked(name):
        answer = release.in_debian(name, cache, SILENT)
        return answer and (answer[0].version, str(answer[1]))

    assert asked("latest") == asked("7.3") == asked("7.3.4") == ("7.3.4-1~bpo13+1", "trixie-backports.conf")
    assert asked("longterm") == ("6.12.107-1", "stable.conf")
    assert asked("7.2") == ("7.2.13-1", "unstable.conf")
    assert asked("7.3.2") is None


def test_the_suites_asked_follow_debians_releases(cache, monkeypatch):
    """Backports are asked under the codename that stable's Release file says."""
    asked = []

    def updated(directory, sources, log):
        suite = directory.name
        asked.append(suite)
        (directory / "lists").mkdir(parents=True, exist_ok=True)
        name = {"stable": "zurg", "oldstable": "trixie"}.get(suite, suite)
        (directory / "lists" / "mirror_InRelease").write_text(f"Suite: {suite}\nCodename: {name}\n")
        return {"APT_CONFIG": str(directory / "apt.conf")}

    entry = apt.AptEntry(("deb",), ("http://mirror.example/debian",), ("zurg",), ("main",), (("signed-by", "/k.gpg"),))
    monkeypatch.setattr(apt, "_updated", updated)
    monkeypatch.setattr(apt, "_machine_lists", lambda: (Path("/nowhere"), Path("/nowhere")))
    monkeypatch.setattr(apt, "archive_entry", lambda _: entry)
    list(apt._suites(cache, "looking in", cache.root / "log", SILENT))
    assert "zurg-backports" in asked and "trixie-backports" in asked
    assert asked[0] == "machine" and {"unstable", "stable", "testing", "experimental", "oldoldstable"} <= set(asked)


# --- kernel.org


class Site(http.server.SimpleHTTPRequestHandler):
    """Files with byte ranges; ``cut`` ends so many answers after half of what is to come."""

    cut = 0
    ranges: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        start = 0
        wanted = self.headers.get("Range", "")
        if wanted:
            Site.ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self.send_error(416)
                return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        rest = data[start:]
        if Site.cut and path.suffix == ".xz":
            Site.cut -= 1
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def signer() -> Iterator[tuple[dict[str, str], Path]]:
    """A key of our own: the environment of the gpg that signs with it, and the file with the public half."""
    if shutil.which("gpg") is None:
        pytest.skip("gpg is not installed")
    # Not in tmp_path: a socket's path has an end.
    with tempfile.TemporaryDirectory(prefix="dmasafe-gpg-") as home:
        environment = {**os.environ, "GNUPGHOME": home}
        create = ["gpg", "--batch", "--passphrase", "", "--quick-generate-key", "signer@example.org", "ed25519", "sign"]
        subprocess.run(create, env=environment, check=True, capture_output=True)
        keys = Path(home, "keys.asc")
        exported = subprocess.run(["gpg", "--armor", "--export"], env=environment, check=True, capture_output=True)
        keys.write_bytes(exported.stdout)
        yield environment, keys
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False)


def sign(environment, how: str, file: Path, into: Path) -> None:
    into.unlink(missing_ok=True)
    subprocess.run(["gpg", "--batch", how, "--armor", "--output", into, file], env=environment, check=True)


@pytest.fixture
def kernel_org_site(tmp_path, kernel_tree, signer, monkeypatch) -> Iterator[Path]:
    """Its directory v6.x, with one release; apt knows no archive, so that releases come from there."""
    environment, keys = signer
    directory = tmp_path / "site" / "pub" / "linux" / "kernel" / "v6.x"
    directory.mkdir(parents=True)
    tar = directory / "linux-6.12.7.tar"
    with tarfile.open(tar, "w") as archive:
        archive.add(kernel_tree, "linux-6.12.7")
    sign(environment, "--detach-sign", tar, directory / "linux-6.12.7.tar.sign")
    subprocess.run(["xz", "-0", tar], check=True)
    publish_sums(directory, environment)
    releases = {"releases": [
        {"moniker": "mainline", "version": "6.13-rc3"}, {"moniker": "stable", "version": "6.12.7"},
        {"moniker": "longterm", "version": "6.6.99"}, {"moniker": "linux-next", "version": "next-20261120"},
    ]}  # fmt: skip
    (tmp_path / "site" / "releases.json").write_text(json.dumps(releases))
    monkeypatch.setattr(apt, "knows_archive", lambda: False)
    monkeypatch.setenv(kernel_org.KEYS_VARIABLE, str(keys))
    Site.cut, Site.ranges = 0, []

    def make(*arguments):
        return Site(*arguments, directory=str(tmp_path / "site"))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), make) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv(kernel_org.SITE_VARIABLE, f"http://127.0.0.1:{server.server_port}/")
        yield directory
        server.shutdown()
        thread.join()


def publish_sums(directory: Path, environment: dict[str, str]) -> None:
    sums = directory / "sums"
    sums.write_text("".join(f"{file_sha256(path)}  {path.name}\n" for path in directory.glob("*.xz")))
    sign(environment, "--clear-sign", sums, directory / "sha256sums.asc")


@pytest.mark.parametrize("name", ["6.12", "6.12.7", "latest"])
def test_a_release_comes_from_kernel_org_checked(cache: Cache, kernel_org_site, name):
    tree = fetch(ReleaseSource(name), cache)
    assert tree.version == "6.12.7" and (tree.path / "main.c").is_file()
    shutil.rmtree(kernel_org_site)
    assert fetch(ReleaseSource(name), cache) == tree, "it was asked for again"


def test_a_debian_package_is_that_series_of_kernel_org_where_there_is_no_debian(
    cache: Cache, kernel_org_site, monkeypatch
):
    def find(package, cache, progress):
        raise SourceError(f"no package {package}")

    monkeypatch.setattr(apt, "find", find)
    monkeypatch.setattr(apt, "installed", lambda package: None)
    tree = fetch(parse_source("apt:linux-source-6.12"), cache)
    assert tree.version == "6.12.7" and "linux-6.12.7.tar.xz" in tree.description
    # What the name meant is remembered.
    shutil.rmtree(kernel_org_site)
    assert fetch(parse_source("apt:linux-source-6.12"), cache) == tree
    with pytest.raises(SourceError, match="no package linux-image"):
        fetch(parse_source("apt:linux-image-6.12"), cache)
    monkeypatch.setattr(apt, "knows_archive", lambda: True)
    with pytest.raises(SourceError, match=r"no package linux-source-6\.11"):
        fetch(parse_source("apt:linux-source-6.11"), cache)


def test_what_a_mirror_does_not_have_is_said(cache, kernel_org_site):
    with pytest.raises(SourceError, match=r"kernel.org has no Linux 6.12.9: .*v6.x/ lists no such tarball"):
        fetch(ReleaseSource("6.12.9"), cache)
    with pytest.raises(SourceError, match=r"has no Linux longterm: .*v6.x/ lists no such"):
        fetch(ReleaseSource("longterm"), cache)


def test_a_download_goes_on_where_it_broke_off(cache, kernel_org_site):
    Site.cut = 2
    assert fetch(ReleaseSource("6.12"), cache).version == "6.12.7"
    assert len(Site.ranges) == 2 and not any(wanted.startswith("bytes=0") for wanted in Site.ranges)


def test_what_three_tries_brought_is_kept_for_the_next_run(cache, kernel_org_site):
    Site.cut = 3
    with pytest.raises(SourceError, match=r"after \d+ bytes, which are kept: run it again to go on"):
        fetch(ReleaseSource("6.12"), cache)
    before = len(Site.ranges)
    assert fetch(ReleaseSource("6.12"), cache).version == "6.12.7"
    assert len(Site.ranges) == before + 1


def test_a_tarball_that_was_changed_is_refused(cache, kernel_org_site):
    with (kernel_org_site / "linux-6.12.7.tar.xz").open("ab") as file:
        file.write(b"more")
    with pytest.raises(HashMismatchError, match="has SHA-256"):
        fetch(ReleaseSource("6.12"), cache)


@pytest.mark.parametrize("what", ["sums", "release"])
def test_a_stranger_cannot_sign(cache, kernel_org_site, signer, what, monkeypatch):
    """The signatures are good, but of a key that is trusted with the other of the two only."""
    environment, keys = signer
    shutil.copyfile(keys, cache.path("kernel-org-keys.gpg"))
    monkeypatch.delenv(kernel_org.KEYS_VARIABLE)
    (mine,) = kernel_org._own_keys(environment)
    trusted, others = kernel_org.RELEASE_KEYS, kernel_org.CHECKSUM_KEYS
    if what == "release":
        trusted, others = others, trusted
    monkeypatch.setitem(trusted, mine, "signer@example.org")
    # gpg need not look for the keys of others.
    monkeypatch.setattr(kernel_org, "_own_keys", lambda _: {mine, *others})
    with pytest.raises(SourceError, match=f"signed by {mine}, but .* must have signed it: it is not used"):
        fetch(ReleaseSource("6.12"), cache)


def test_a_revoked_key_signs_nothing(cache, kernel_org_site, signer, tmp_path, monkeypatch):
    environment, keys = signer
    (certificate,) = Path(environment["GNUPGHOME"], "openpgp-revocs.d").glob("*.rev")
    # gpg writes it with a colon before its first line, against mistakes.
    text = certificate.read_text().replace(":-----BEGIN", "-----BEGIN")
    both = tmp_path / "revoked.asc"
    both.write_text(keys.read_text() + text[text.index("-----BEGIN") :])
    monkeypatch.setenv(kernel_org.KEYS_VARIABLE, str(both))
    with pytest.raises(SourceError, match="not signed by a key at hand"):
        fetch(ReleaseSource("6.12"), cache)


def test_an_unsigned_list_of_checksums_is_refused(cache, kernel_org_site):
    shutil.copyfile(kernel_org_site / "sums", kernel_org_site / "sha256sums.asc")
    with pytest.raises(SourceError, match="not signed by a key at hand"):
        fetch(ReleaseSource("6.12"), cache)


def test_lines_beside_the_signed_text_count_for_nothing(cache, kernel_org_site):
    sums = kernel_org_site / "sha256sums.asc"
    sums.write_text(f"{'0' * 64}  linux-6.12.8.tar.xz\n\n{sums.read_text()}")
    assert fetch(ReleaseSource("6.12"), cache).version == "6.12.7"


def test_without_a_network_the_ways_out_are_named(cache, kernel_org_site, monkeypatch):
    monkeypatch.setenv(kernel_org.SITE_VARIABLE, "http://127.0.0.1:1")
    with pytest.raises(SourceError, match=r"cannot be read \(.*refused\): check the network and the proxy settings"):
        fetch(ReleaseSource("latest"), cache)
    monkeypatch.setenv(kernel_org.KEYS_VARIABLE, "/nowhere/keys")
    with pytest.raises(SourceError, match=r"cannot be had from DMASAFE_KERNEL_KEYS=/nowhere/keys"):
        fetch(ReleaseSource("6.12"), cache)


def test_without_gpg_the_package_is_named(cache, kernel_org_site, monkeypatch):
    monkeypatch.setattr(kernel_org.shutil, "which", lambda name: None)
    with pytest.raises(MissingToolError, match="gnupg"):
        fetch(ReleaseSource("6.12"), cache)


def test_a_tarball_by_its_hash_goes_on_too(cache, kernel_org_site):
    tarball = kernel_org_site / "linux-6.12.7.tar.xz"
    url = f"{kernel_org.site()}/pub/linux/kernel/v6.x/{tarball.name}"
    Site.cut = 1
    assert fetch(TarballSource(url, file_sha256(tarball)), cache).version == "6.12.7"
    assert list(cache.path("downloads").iterdir()) == []
