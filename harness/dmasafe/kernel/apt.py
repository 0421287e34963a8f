# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel sources from Debian packages, as any user and without touching the system's apt state.

Reads the machine's own apt configuration for the mirror, keeps lists and configuration of its own in the cache,
and asks the machine's suites first, then the other suites of the same mirror.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dmasafe.kernel.cache import Cache, file_sha256, new_log
from dmasafe.kernel.errors import HashMismatchError, KernelError, MissingToolError, SourceError
from dmasafe.kernel.process import clean_environment, query, run, tail
from dmasafe.progress import Progress

#: Suites of the archive in the order in which they are asked, by names that stay when Debian releases. Backports are
#: asked under the release's own name, which its Release file says: a mirror may lag with the other one.
OTHER_SUITES = (
    *("unstable", "stable", "stable-backports", "testing", "experimental"),
    *("oldstable", "oldstable-backports", "oldoldstable"),
)
#: Suites of the main archive, to tell its mirror from third parties' ones in the machine's configuration.
ARCHIVE_SUITES = frozenset(
    {"buster", "bullseye", "bookworm", "trixie", "forky", "duke", "sid"}
    | {"oldoldstable", "oldstable", "stable", "testing", "unstable"}
)
KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-removed-keys.gpg"),
)
INSTALLED_TARBALL = "/usr/src/{package}.tar.xz"
HTTP_TIMEOUT_S = 30
RETRIES = 2

# What apt-get update would run or fetch besides the package lists belongs to the machine, not to us (apt-file's
# Contents indexes, Docker images' Post-Invoke cleaning of the system's cache).
_DROPPED_SETTINGS = re.compile(
    r"^(APT::Update::|APT::Periodic|APT::Archives|DPkg::|Dpkg::|Acquire::IndexTargets::deb::Contents|Dir(::| \")|RPM::)"
)
_DLSTATUS = re.compile(r"^dlstatus:\d+:(?P<percent>[\d.]+):")


@dataclass(frozen=True)
class AptEntry:
    """One source of packages: a line of a .list file or a stanza of a .sources file (sources.list(5))."""

    types: tuple[str, ...]
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()

    def option(self, name: str) -> str | None:
        return dict(self.options).get(name)


@dataclass(frozen=True)
class Package:
    """A source package found: what apt would fetch, or (``path`` set) the installed tarball."""

    name: str
    version: str
    suite: str
    sha256: str
    size: int
    path: Path | None = None


def parse_one_line(text: str) -> tuple[AptEntry, ...]:
    """Entries of a one-line-style sources.list; comments and what cannot be read are left out."""
    entries = []
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip()
        match = re.match(r"(deb|deb-src)\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+\S+)*)$", line)
        if match is None:
            continue
        kind, options, uri, suite, components = match.groups()
        pairs = (word.partition("=") for word in (options or "").split() if "=" in word)
        entries.append(
            AptEntry(
                (kind,),
                (uri,),
                (suite,),
                tuple(components.split()),
                tuple((name.lower(), value.replace(",", " ")) for name, _, value in pairs),
            )
        )
    return tuple(entries)


def parse_deb822(text: str) -> tuple[AptEntry, ...]:
    """Entries of a deb822-style .sources file; stanzas with ``Enabled: no`` are left out."""
    entries = []
    for stanza in _stanzas(text):
        if stanza.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        if not stanza.get("uris") or not stanza.get("suites"):
            continue
        lists = ("types", "uris", "suites", "components", "enabled")
        entries.append(
            AptEntry(
                tuple(stanza.get("types", "deb").split()),
                tuple(stanza["uris"].split()),
                tuple(stanza["suites"].split()),
                tuple(stanza.get("components", "").split()),
                tuple((name, value) for name, value in stanza.items() if name not in lists),
            )
        )
    return tuple(entries)


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    stanza: dict[str, str] = {}
    field = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if stanza:
                yield stanza
            stanza, field = {}, ""
        elif line[0] in " \t":
            if field:
                stanza[field] += "\n" + line.strip()
        else:
            name, _, value = line.partition(":")
            field = name.strip().lower()
            stanza[field] = value.strip()


def machine_entries(source_list: Path, source_parts: Path) -> tuple[AptEntry, ...]:
    """All entries of the machine's apt configuration, in apt's order (the file, then the directory by name)."""
    entries: list[AptEntry] = []
    if source_list.is_file():
        entries.extend(parse_one_line(source_list.read_text(encoding="utf-8", errors="replace")))
    if source_parts.is_dir():
        for path in sorted(source_parts.iterdir()):
            if path.suffix in (".list", ".sources") and path.is_file():
                parse = parse_one_line if path.suffix == ".list" else parse_deb822
                entries.extend(parse(path.read_text(encoding="utf-8", errors="replace")))
    return tuple(entries)


def archive_entry(entries: Iterable[AptEntry]) -> AptEntry | None:
    """The machine's entry for Debian's main archive: its mirror has the other suites too."""
    for entry in entries:
        bases = {re.sub(r"-(updates|backports|proposed-updates)$", "", suite) for suite in entry.suites}
        if "deb" in entry.types and "main" in entry.components and bases & ARCHIVE_SUITES:
            return entry
    return None


def suite_stanza(archive: AptEntry, suite: str, keyrings: Iterable[Path] = KEYRINGS) -> str:
    """A deb822 stanza for another suite of the same mirror, signed by Debian's archive keys (or the machine's)."""
    signed_by = [str(path) for path in keyrings if path.exists()]
    own = archive.option("signed-by")
    # An embedded key ("Signed-By:" with a block of many lines) cannot be joined with files.
    if own and "\n" not in own:
        signed_by = [*own.split(), *(path for path in signed_by if path not in own.split())]
    if not signed_by:
        raise MissingToolError(
            f"to trust Debian's suite {suite}, its archive keys are needed: apt-get install debian-archive-keyring"
        )
    lines = [
        "Types: deb",
        f"URIs: {' '.join(archive.uris)}",
        f"Suites: {suite}",
        "Components: main",
        f"Signed-By: {' '.join(signed_by)}",
    ]
    validity = archive.option("check-valid-until")
    if validity:
        lines.append(f"Check-Valid-Until: {validity}")
    return "\n".join(lines) + "\n"


def private_configuration(dump: str, lists: Path, sources: Path, as_root: bool) -> str:
    """An apt.conf that keeps the machine's settings (proxies, credentials) but none of its state.

    ``dump`` is the output of ``apt-config dump``; ``lists`` our directory, ``sources`` our .list or .sources file
    or directory.
    """
    kept = [line for line in dump.splitlines() if line.strip() and not _DROPPED_SETTINGS.match(line)]
    # netrc: credentials for the mirror; trusted: keys of entries without Signed-By.
    wanted = ("Dir::Etc::netrc", "Dir::Etc::trusted", "Dir::Etc::preferences", "Dir::Bin::")
    kept += [line for line in dump.splitlines() if line.startswith(wanted)]
    own = {
        "Dir::State": lists / "state",
        "Dir::State::lists": lists / "lists",
        "Dir::State::status": lists / "status",
        "Dir::Cache": lists / "cache",
        "Dir::Log": lists / "log",
        "Dir::Etc::parts": lists / "no-parts",
        "Dir::Etc::main": lists / "no-main",
        "Dir::Etc::sourcelist": sources if sources.is_file() else lists / "no-main",
        "Dir::Etc::sourceparts": sources if sources.is_dir() else lists / "no-parts",
    }
    lines = [f'{name} "{value}";' for name, value in own.items()]
    lines += [
        'Acquire::Languages "none";',
        f'Acquire::Retries "{RETRIES}";',
        f'Acquire::http::Timeout "{HTTP_TIMEOUT_S}";',
        f'Acquire::https::Timeout "{HTTP_TIMEOUT_S}";',
    ]
    if as_root:
        # Root's apt downloads as the user _apt, who may not enter /root/.cache.
        lines.append('APT::Sandbox::User "root";')
    return "\n".join([*kept, *lines]) + "\n"


def installed(package: str) -> Package | None:
    """The package's tarball if it is installed and is what dpkg installed (by its md5sums), else None."""
    tarball = Path(INSTALLED_TARBALL.format(package=package))
    if not tarball.is_file() or shutil.which("dpkg-query") is None:
        return None
    try:
        facts = query(["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", package])
        sums = Path(query(["dpkg-query", "--control-path", package, "md5sums"]).strip())
    except KernelError:
        return None
    status, _, version = facts.partition(" ")
    with tarball.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if status != "installed" or f"{found}  {str(tarball).lstrip('/')}" not in sums.read_text().splitlines():
        return None
    return Package(package, version, "installed", "", tarball.stat().st_size, tarball)


def find(package: str, cache: Cache, progress: Progress) -> tuple[Package, Path]:
    """Ask the machine's suites, then others of the same mirror; the package and the apt.conf it was found with.

    Raises SourceError, with apt's last lines, when none has it.
    """
    tried = []
    log = new_log(cache, f"apt-{package}")
    for suite, environment in _suites(cache, f"looking for {package} in", log, progress):
        found = _packages([package], suite, environment)
        if found:
            return found[0], Path(environment["APT_CONFIG"])
        tried.append(suite)
    if not any(cache.path("apt").glob("*/lists/*_Packages*")):
        raise SourceError(
            f"apt could fetch no package list, so apt:{package} cannot be looked up: check the network and apt's proxy "
            f"settings, or give a kernel tree's path; apt's log is {log}"
        )
    hint = "" if knows_archive() else " (and this machine's apt knows no mirror of Debian's archive)"
    last = "\n".join(f"    {line}" for line in tail(log, 6))
    raise SourceError(
        f"no package {package} in {', '.join(tried)}{hint}: check its name, or give a kernel tree's path; "
        f"apt's last lines are\n{last}\nand the whole log is {log}"
    )


def kernels(cache: Cache, progress: Progress) -> list[tuple[Package, Path]]:
    """The kernel sources of every suite, each with the apt.conf it was found with; none where nothing answers."""
    found: list[tuple[Package, Path]] = []
    log = new_log(cache, "apt-linux-source")
    for suite, environment in _suites(cache, "looking for kernels in", log, progress):
        try:
            names = query(["apt-cache", "pkgnames", "linux-source-"], env=environment).split()
        except KernelError:
            continue
        configuration = Path(environment["APT_CONFIG"])
        found += [(package, configuration) for package in _packages(sorted(names), suite, environment)]
    return found


def knows_archive() -> bool:
    """Whether this machine's apt knows a mirror of Debian's archive."""
    return shutil.which("apt-get") is not None and archive_entry(machine_entries(*_machine_lists())) is not None


def _suites(cache: Cache, what: str, log: Path, progress: Progress) -> Iterator[tuple[str, dict[str, str]]]:
    """The machine's own suites, then each other of the mirror: its name and the environment of an apt that knows it.

    Package lists are fetched when a suite's turn comes. Raises SourceError where there is no apt.
    """
    source_list, source_parts = _machine_lists()
    own = cache.path("apt", "machine")
    own.mkdir(parents=True, exist_ok=True)
    joined = own / "sources.d"
    shutil.rmtree(joined, ignore_errors=True)
    joined.mkdir()
    if source_list.is_file():
        shutil.copyfile(source_list, joined / "00-sources.list")
    if source_parts.is_dir():
        for path in sorted(source_parts.iterdir()):
            if path.suffix in (".list", ".sources") and path.is_file():
                shutil.copyfile(path, joined / path.name)
    progress.stage(f"{what} this machine's Debian suites")
    yield "this machine's suites", _updated(own, joined, log)
    archive = archive_entry(machine_entries(source_list, source_parts))
    codenames: dict[str, str] = {}
    for alias in OTHER_SUITES if archive is not None else ():
        assert archive is not None
        release, dash, rest = alias.partition("-")
        suite = f"{codenames.get(release, release)}{dash}{rest}" if dash else alias
        progress.stage(f"{what} Debian's {suite}")
        directory = cache.path("apt", suite)
        directory.mkdir(parents=True, exist_ok=True)
        stanza = directory / "suite.sources"
        stanza.write_text(suite_stanza(archive, suite), encoding="utf-8")
        yield suite, _updated(directory, stanza, log)
        codenames[alias] = _codename(directory) or alias


def _codename(directory: Path) -> str | None:
    """The codename that the Release file of a suite's lists says."""
    for path in directory.glob("lists/*Release"):
        match = re.search(r"^Codename: (\S+)$", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        if match is not None:
            return match[1]
    return None


def isolated(directory: Path, sources: Path, settings: Iterable[str] = ()) -> dict[str, str]:
    """The environment of an apt that keeps its state in ``directory``, made if missing, and asks ``sources`` alone.

    ``settings`` are further lines of apt.conf(5); where they name an architecture, the machine's own are not meant.
    """
    for name in ("lists/partial", "cache/archives/partial", "state", "log", "no-parts"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    for name in ("status", "no-main"):
        (directory / name).touch()
    configuration = directory / "apt.conf"
    dump = query(["apt-config", "dump"])
    own = list(settings)
    if any(line.startswith("APT::Architecture") for line in own):
        dump = "\n".join(line for line in dump.splitlines() if not line.startswith("APT::Architecture"))
    text = private_configuration(dump, directory, sources, os.geteuid() == 0) + "".join(f"{line}\n" for line in own)
    configuration.write_text(text, encoding="utf-8")
    return clean_environment({"APT_CONFIG": str(configuration)})


def archive_stanza(suite: str) -> str:
    """A deb822 stanza for ``suite`` of the mirror that this machine's apt uses. Raises SourceError if it has none."""
    archive = archive_entry(machine_entries(*_machine_lists()))
    if archive is None:
        raise SourceError(f"this machine's apt knows no mirror of Debian's archive, where the packages of {suite} are")
    return suite_stanza(archive, suite)


def _machine_lists() -> tuple[Path, Path]:
    """The machine's sources.list and sources.list.d. Raises SourceError where there is no apt."""
    if shutil.which("apt-get") is None:
        raise SourceError("Debian packages need apt-get, which this machine does not have")
    places = query(["apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"])
    paths = dict(re.findall(r"^(\w+)='([^']*)'", places, re.MULTILINE))
    return Path(paths.get("LIST", "/")), Path(paths.get("PARTS", "/"))


def _updated(directory: Path, sources: Path, log: Path) -> dict[str, str]:
    """isolated(), with the package lists fetched as far as they can be."""
    environment = isolated(directory, sources)
    # One suite of several may be unreachable (a third party's); what counts is whether the package is known.
    with contextlib.suppress(SourceError):
        run(["apt-get", "update"], what="apt-get update", log=log, env=environment, error=SourceError)
    return environment


def _packages(names: list[str], suite: str, environment: Mapping[str, str]) -> list[Package]:
    """What a suite's lists say of these packages; those that it does not have are left out."""
    if not names:
        return []
    try:
        records = query(["apt-cache", "show", "--no-all-versions", *names], env=environment)
    except KernelError:
        return []
    return [
        Package(fields["package"], fields["version"], suite, fields["sha256"], int(fields["size"]))
        for fields in _stanzas(records)
        if all(name in fields for name in ("package", "version", "sha256", "size"))
    ]


def download_tarball(package: Package, configuration: Path, into: Path, cache: Cache, progress: Progress) -> Path:
    """Fetch and unpack the .deb into ``into``; the path of the kernel tarball in it.

    apt checks the .deb against its signed index, and so do we. Raises SourceError, HashMismatchError.
    """
    log = new_log(cache, f"apt-{package.name}")
    progress.stage(f"downloading {package.name} {package.version} ({package.size / 1e6:.0f} MB)")

    def on_line(line: str) -> None:
        match = _DLSTATUS.match(line)
        if match is not None:
            progress.advance(round(float(match["percent"])), 100, package.name)

    run(
        ["apt-get", "-o", "APT::Status-Fd=1", "download", f"{package.name}={package.version}"],
        what=f"downloading {package.name} {package.version}",
        log=log,
        cwd=into,
        env=clean_environment({"APT_CONFIG": str(configuration)}),
        on_line=on_line,
        error=SourceError,
    )
    debs = sorted(into.glob("*.deb"))
    if len(debs) != 1:
        raise SourceError(f"apt-get download left {len(debs)} packages instead of one; its log is {log}")
    got = file_sha256(debs[0])
    if got != package.sha256:
        raise HashMismatchError(
            f"{package.name} {package.version} has SHA-256 {got}, but Debian's index says {package.sha256}"
        )
    run(
        ["dpkg-deb", "-x", debs[0], into / "x"],
        what=f"unpacking {debs[0].name}",
        log=log,
        error=SourceError,
    )
    debs[0].unlink()
    tarballs = sorted((into / "x" / "usr" / "src").glob("linux-source-*.tar.*"))
    if not tarballs:
        raise SourceError(
            f"the package {package.name} has no kernel tarball in /usr/src: is it a linux-source package?"
        )
    return tarballs[0]
