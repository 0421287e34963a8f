# SPDX-License-Identifier: GPL-2.0-or-later
"""Releases from kernel.org or a mirror of it: which there are, their published SHA-256, their signatures.

https://www.kernel.org/signature.html says who signs what. DMASAFE_KERNEL_ORG names a mirror, DMASAFE_KERNEL_KEYS a
file with the public keys where the network has none to offer.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from dmasafe import scratch
from dmasafe.errors import to_install
from dmasafe.kernel.cache import Cache
from dmasafe.kernel.errors import KernelError, MissingToolError, SourceError
from dmasafe.kernel.process import clean_environment, query
from dmasafe.kernel.release import chosen, is_release, release_key, series
from dmasafe.progress import Progress

SITE_VARIABLE = "DMASAFE_KERNEL_ORG"
KEYS_VARIABLE = "DMASAFE_KERNEL_KEYS"
SITE = "https://www.kernel.org"
#: Who signs kernel.org's lists of checksums, and who signs releases: primary key (hex) and where WKD has it.
CHECKSUM_KEYS = {"B8868C80BA62A1FFFAF5FDA9632D3A06589DA6B1": "autosigner@kernel.org"}
RELEASE_KEYS = {
    "ABAF11C65A2970B130ABE3C479BE3E4300411886": "torvalds@kernel.org",
    "647F28654894E3BD457199BE38DBBDC86092693E": "gregkh@kernel.org",
    "E27E5D8A3403A2EF66873BBCDEA66FF797772CDC": "sashal@kernel.org",
    "AC2B29BD34A6AFDDB3F68F35E7BFC8EC95861109": "benh@kernel.org",
}
#: Release candidates are no tarballs with checksums there: they are tags of this repository.
MAINLINE_GIT = "https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git"
NEXT_GIT = "https://git.kernel.org/pub/scm/linux/kernel/git/next/linux-next.git"
TIMEOUT_S = 60.0

_SUM = re.compile(r"^([0-9a-f]{64})  linux-(\d+\.\d+(?:\.\d+)?)\.tar\.xz$", re.MULTILINE)


def site() -> str:
    """Where kernel.org's files are read, without a slash at the end."""
    return os.environ.get(SITE_VARIABLE, SITE).rstrip("/")


def find(name: str, cache: Cache, progress: Progress) -> tuple[str, str]:
    """The newest release that ``name`` means (kernel/release.py): the tarball's URL and its SHA-256.

    A release candidate has no tarball there: MAINLINE_GIT@TAG and "". Raises SourceError, MissingToolError.
    """
    progress.stage(f"asking {site()} for Linux {name}")
    version = name if name[0].isdigit() else _named(name)
    if "-rc" in version:
        return f"{MAINLINE_GIT}@v{version}", ""
    base = f"{site()}/pub/linux/kernel/v{version.partition('.')[0]}.x"
    published = {found: sha256 for sha256, found in _SUM.findall(_signed_text(f"{base}/sha256sums.asc", cache))}
    exact = chosen(version, list(published))
    if exact is None:
        raise SourceError(f"kernel.org has no Linux {name}: {base}/ lists no such tarball")
    return f"{base}/linux-{exact}.tar.xz", published[exact]


def verify_release(tarball: Path, url: str, cache: Cache, progress: Progress) -> None:
    """Raises SourceError unless one of the release keys signed what ``tarball`` (linux-*.tar.xz) unpacks to."""
    progress.stage(f"checking the signature of {url.rpartition('/')[2]}")
    with _keyring(RELEASE_KEYS, cache) as environment:
        signature = Path(environment["GNUPGHOME"], "signature")
        signature.write_bytes(_get(url.removesuffix(".xz") + ".sign"))
        with subprocess.Popen(["xz", "--decompress", "--stdout", str(tarball)], stdout=subprocess.PIPE) as unpacked:
            command = [_gpg(), "--batch", "--status-fd", "1", "--verify", str(signature), "-"]
            done = subprocess.run(command, stdin=unpacked.stdout, env=environment, capture_output=True, check=False)
        _require(RELEASE_KEYS, done.stdout.decode(errors="replace"), url, environment)


def _named(name: str) -> str:
    """The version that ``name`` ("latest", "longterm", "mainline") means today. Raises SourceError."""
    url = f"{site()}/releases.json"
    try:
        rows = [(str(row["version"]), row.get("moniker")) for row in json.loads(_get(url))["releases"]]
    except (ValueError, KeyError, TypeError) as cause:
        raise SourceError(f"{url} is no list of releases: {cause}") from cause
    rows = [row for row in rows if is_release(row[0])]
    newest = max((version for version, moniker in rows if moniker == "longterm"), key=release_key, default=None)
    version = chosen(name, [version for version, _ in rows], series(newest) if newest else None)
    if version is None:
        raise SourceError(f"{url} names no '{name}' release")
    return version


def _signed_text(url: str, cache: Cache) -> str:
    """The text of a clear-signed file, if one of the keys for checksums signed it. Raises SourceError."""
    with _keyring(CHECKSUM_KEYS, cache) as environment:
        command = [_gpg(), "--batch", "--status-fd", "2", "--decrypt"]
        done = subprocess.run(command, input=_get(url), env=environment, capture_output=True, check=False)
        _require(CHECKSUM_KEYS, done.stderr.decode(errors="replace"), url, environment)
    # Only what was signed: a clear-signed file can have more around it.
    return done.stdout.decode(errors="replace")


def _signers(status: str) -> set[str]:
    """Fingerprints of the primary keys behind good signatures: gpg calls one of a revoked key valid too."""
    found, good = set(), False
    for line in status.splitlines():
        words = line.split()
        if words[:1] == ["[GNUPG:]"] and words[1] in ("NEWSIG", "GOODSIG"):
            good = words[1] == "GOODSIG"
        elif words[:2] == ["[GNUPG:]", "VALIDSIG"] and good:
            found.add(words[-1])
    return found


def _require(keys: Mapping[str, str], status: str, url: str, environment: Mapping[str, str]) -> None:
    signers = _signers(status)
    trusted = _own_keys(environment) if os.environ.get(KEYS_VARIABLE) else set(keys)
    if not signers & trusted:
        who = f"signed by {', '.join(sorted(signers))}" if signers else "not signed by a key at hand"
        raise SourceError(
            f"{url} is {who}, but {', '.join(sorted(trusted))} must have signed it: it is not used. Try another mirror "
            f"({SITE_VARIABLE}), or give a tarball's URL with #sha256="
        )


@contextlib.contextmanager
def _keyring(keys: Mapping[str, str], cache: Cache) -> Iterator[dict[str, str]]:
    """The environment of a gpg that has these keys, from DMASAFE_KERNEL_KEYS or from kernel.org's key directory."""
    own = os.environ.get(KEYS_VARIABLE, "")
    file = Path(own).expanduser() if own else cache.path("kernel-org-keys.gpg")
    # Not in the cache: gpg's helpers have sockets there, whose paths must be short. They must not stay either.
    with scratch.directory("gpg-") as home:
        environment = clean_environment({"GNUPGHOME": str(home)})
        gpg = [_gpg(), "--batch", "--quiet"]
        try:
            if own or file.exists():
                query([*gpg, "--import", file], env=environment)
            if not own and not set(keys) & _own_keys(environment):
                locate = ["--auto-key-locate", "clear,nodefault,wkd", "--locate-keys"]
                query([*gpg, *locate, *(CHECKSUM_KEYS | RELEASE_KEYS).values()], env=environment)
                query([*gpg, "--yes", "--output", file, "--export"], env=environment)
            yield environment
        except KernelError as cause:
            if isinstance(cause, SourceError):
                raise
            where = f"{KEYS_VARIABLE}={own}" if own else "kernel.org's key directory"
            raise SourceError(
                f"the keys that sign kernels cannot be had from {where} ({cause}): set {KEYS_VARIABLE} to a file with "
                "them, or give a tarball's URL with #sha256=, apt:PACKAGE or a kernel tree's path"
            ) from cause
        finally:
            with contextlib.suppress(KernelError):
                query(["gpgconf", "--kill", "all"], env=environment)


def _own_keys(environment: Mapping[str, str]) -> set[str]:
    """The primary keys' fingerprints in a keyring."""
    listed = query([_gpg(), "--batch", "--with-colons", "--fingerprint"], env=environment)
    return set(re.findall(r"^pub:.*\n(?:.*\n)*?fpr:+([0-9A-F]{40}):", listed, re.MULTILINE))


def _gpg() -> str:
    gpg = shutil.which("gpg")
    if gpg is None:
        raise MissingToolError(f"kernel.org's signatures are checked with gpg: {to_install('gnupg')}")
    return gpg


def _get(url: str) -> bytes:
    """A small file. Raises SourceError, which says what else can be done where there is no network."""
    # Most runs download nothing.
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as stream:
            return bytes(stream.read())
    except (OSError, ValueError) as cause:
        reason = getattr(cause, "reason", None) or cause
        raise SourceError(
            f"{url} cannot be read ({reason}): check the network and the proxy settings (https_proxy), name a mirror "
            f"with {SITE_VARIABLE}, or give apt:PACKAGE, a kernel tree's path or a tarball's URL with #sha256="
        ) from cause
