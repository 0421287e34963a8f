# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a kernel comes from: a release, a Debian package, a tree on this machine, a tarball, a git revision.

``parse_source`` reads what a user wrote, ``fetch`` turns it into a SourceTree that can be built with ``make O=``.
A source that was fetched once is used again without network and without asking apt, until ``update``.
"""

from __future__ import annotations

import http
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dmasafe.errors import to_install
from dmasafe.kernel import apt, kernel_org, release
from dmasafe.kernel import tree as local
from dmasafe.kernel.cache import (
    Cache,
    digest,
    explained,
    file_sha256,
    lock,
    new_log,
    publish_directory,
    publish_json,
    read_json,
    require_space,
    staging,
)
from dmasafe.kernel.distribution import PREFIX
from dmasafe.kernel.errors import HashMismatchError, KernelError, SourceError
from dmasafe.kernel.process import query, run
from dmasafe.progress import SILENT, Progress

DEFAULT_SOURCE = "apt:linux-source-6.12"
#: What no configuration of any architecture builds for a guest, and nobody is sent to read.
NEVER_BUILT = (
    *("*/Documentation/devicetree", "*/Documentation/translations"),
    *("*/drivers/gpu/drm/amd/include/asic_reg", "*/tools/perf", "*/tools/testing"),
)
#: A kernel tarball and what it unpacks to (7.2: 160 MB and 1.6 GiB).
UNPACK_SPACE_BYTES = 2 * 2**30
DOWNLOAD_TIMEOUT_S = 60.0
DOWNLOAD_BLOCK_BYTES = 2**20
#: A transfer that broke off goes on where it stopped, so often in one run; the next run goes on as well.
DOWNLOAD_TRIES = 3

#: The repository may belong to another user; nothing configured in it is run.
_GIT = ("git", "-c", "safe.directory=*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")


@dataclass(frozen=True)
class AptSource:
    """A Debian package that holds a kernel tarball."""

    package: str

    def __str__(self) -> str:
        return f"apt:{self.package}"


@dataclass(frozen=True)
class ReleaseSource:
    """A release by its version ("7.3.4", "7.3": the newest of them) or by a name of kernel/release.py ("latest")."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class LocalSource:
    """A kernel tree on this machine (KDIR); never written to."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class TarballSource:
    """A tarball by its URL (http, https, file) and SHA-256 (hex)."""

    url: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.url}#sha256={self.sha256}"


@dataclass(frozen=True)
class GitSource:
    """A revision (commit, tag, branch) of a git repository, by URL or local path."""

    url: str
    revision: str

    def __str__(self) -> str:
        return f"git:{self.url}@{self.revision}"


Source = ReleaseSource | AptSource | LocalSource | TarballSource | GitSource


@dataclass(frozen=True)
class SourceTree:
    """A kernel tree that can be built with ``make O=``.

    ``identity`` names the content, ``version`` is the Makefile's, ``home`` the cache's directory for what is built
    from it. ``changing``: the same path may hold other content tomorrow (a local tree), so that its object
    directories are kept and updated. ``writable`` is False for all: build elsewhere.
    """

    path: Path
    identity: str
    version: str
    description: str
    home: Path
    changing: bool = False
    writable: bool = False


def parse_source(text: str) -> Source:
    """Read a source as the command line takes it; SourceError says what is wrong with it.

    >>> parse_source("apt:linux-source-6.12")
    AptSource(package='linux-source-6.12')
    """
    text = text.strip()
    if release.is_release(text):
        return ReleaseSource(text)
    if text.startswith("apt:"):
        package = text.removeprefix("apt:")
        if not _PACKAGE.fullmatch(package):
            raise SourceError(f"'{package}' is not a Debian package's name: write apt:linux-source-6.12")
        return AptSource(package)
    if text.startswith(PREFIX):
        raise SourceError(f"{text} is a distribution's kernel, booted as it is and not built: 'dmasafe run' takes it")
    if text.startswith("git:"):
        url, _, revision = text.removeprefix("git:").rpartition("@")
        if not url or not revision or revision.startswith("-") or url.startswith("-"):
            raise SourceError(f"'{text}' names no revision: write git:URL@REVISION")
        return GitSource(url, revision)
    if re.match(r"(https?|file):", text):
        url, _, fragment = text.partition("#")
        sha256 = fragment.removeprefix("sha256=").lower()
        if not fragment.startswith("sha256=") or not _SHA256.fullmatch(sha256):
            raise SourceError(f"'{text}' names no checksum: write {url}#sha256= and its 64 hexadecimal digits")
        return TarballSource(url, sha256)
    if re.match(r"[a-z][a-z0-9+]+://", text):
        raise SourceError(f"'{text}' is of no kind known here: write git:{text}@REVISION for a git repository")
    if not text:
        raise SourceError(f"no kernel source was given: write {DEFAULT_SOURCE}, or the path of a kernel tree")
    path = Path(text).expanduser().absolute()
    if path.is_file():
        raise SourceError(f"{path} is a file: write file:{path}#sha256= and its 64 hexadecimal digits for a tarball")
    if not path.exists() and re.fullmatch(r"linux-source-[\d.]+", text):
        raise SourceError(f"there is no directory {path}: write apt:{text} for the Debian package")
    return LocalSource(path)


def fetch(source: Source, cache: Cache, progress: Progress = SILENT, *, update: bool = False) -> SourceTree:
    """Make ``source`` available as a tree; ``update`` looks names (packages, branches) up again.

    Raises SourceError (HashMismatchError), CacheError, MissingToolError.
    """
    with explained(cache):
        match source:
            case ReleaseSource():
                return _fetch_release(source, cache, progress, update)
            case AptSource():
                return _fetch_apt(source, cache, progress, update)
            case LocalSource():
                return _fetch_local(source, cache, progress)
            case TarballSource():
                return _fetch_tarball(source, cache, progress)
            case GitSource():
                return _fetch_git(source, cache, progress, update)


def _fetch_apt(source: AptSource, cache: Cache, progress: Progress, update: bool) -> SourceTree:
    known = _resolved(cache, f"apt-{source.package}", update)
    if known is not None:
        return known
    with lock(cache, f"apt-{source.package}", progress, f"fetching {source}"):
        known = _resolved(cache, f"apt-{source.package}", update)
        if known is not None:
            return known
        package = None if update else apt.installed(source.package)
        configuration = Path()
        if package is None:
            with lock(cache, "apt", progress, "reading package lists"):
                try:
                    package, configuration = apt.find(source.package, cache, progress)
                except SourceError:
                    # Neither Debian nor its archive: kernel.org has the version that the name says.
                    version = source.package.removeprefix("linux-source-")
                    if apt.knows_archive() or not release.is_release(version):
                        raise
        if package is None:
            tree = _fetch_release(ReleaseSource(version), cache, progress, update)
        else:
            tree = _package(package, configuration, cache, progress)
        _remember(cache, f"apt-{source.package}", tree)
        return tree


def _package(package: apt.Package, configuration: Path, cache: Cache, progress: Progress) -> SourceTree:
    """The tree of a Debian package, downloaded unless its tarball is installed or the tree is here already."""
    title = f"{package.name} {package.version}"
    for known in cache.path("sources").glob(f"apt-{_slug(f'{package.name}-{package.version}')}-*"):
        tree = _finished(cache, known.name)
        if tree is not None:
            return tree
    with staging(cache) as directory:
        tarball = package.path
        if tarball is None:
            require_space(cache, UNPACK_SPACE_BYTES, f"fetching {title}")
            tarball = apt.download_tarball(package, configuration, directory, cache, progress)
        sha256 = file_sha256(tarball)
        return _unpacked(
            tarball,
            f"apt:{package.name}={package.version} sha256:{sha256}",
            title,
            f"apt-{_slug(f'{package.name}-{package.version}')}-{sha256[:8]}",
            cache,
            progress,
        )


def _fetch_release(source: ReleaseSource, cache: Cache, progress: Progress, update: bool) -> SourceTree:
    """From Debian's archive where this machine's apt knows it and it has that release; else from kernel.org."""
    if source.name == "next":
        return _fetch_git(GitSource(kernel_org.NEXT_GIT, "master"), cache, progress, update)
    alias = f"release-{source.name}"
    known = _resolved(cache, alias, update)
    if known is not None:
        return known
    with lock(cache, alias, progress, f"fetching Linux {source}"):
        known = _resolved(cache, alias, update)
        if known is not None:
            return known
        found = None
        if apt.knows_archive():
            with lock(cache, "apt", progress, "reading package lists"):
                found = release.in_debian(source.name, cache, progress)
        tree = _package(*found, cache, progress) if found else _from_kernel_org(source, cache, progress, update)
        _remember(cache, alias, tree)
        return tree


def _from_kernel_org(source: ReleaseSource, cache: Cache, progress: Progress, update: bool) -> SourceTree:
    url, sha256 = kernel_org.find(source.name, cache, progress)
    if not sha256:
        place, _, tag = url.rpartition("@")
        return _fetch_git(GitSource(place, tag), cache, progress, update)
    return _fetch_tarball(
        TarballSource(url, sha256),
        cache,
        progress,
        lambda tarball: kernel_org.verify_release(tarball, url, cache, progress),
    )


def _fetch_local(source: LocalSource, cache: Cache, progress: Progress) -> SourceTree:
    path = source.path.resolve()
    version = local.tree_version(path)
    home = cache.path("sources", f"local-{_slug(path.name)}-{digest(str(path))[:12]}")
    progress.stage(f"looking at {path}")
    identity = local.identity(path, cache)
    tree = path
    if not local.is_clean(path):
        home.mkdir(parents=True, exist_ok=True)
        with lock(cache, f"snapshot-{home.name}", progress, f"copying {path}"):
            local.snapshot(path, home, cache, progress)
        tree = home / "tree"
    return SourceTree(tree, identity, version, str(path), home, changing=True)


def _fetch_tarball(
    source: TarballSource, cache: Cache, progress: Progress, verify: Callable[[Path], None] = lambda tarball: None
) -> SourceTree:
    """``verify`` is asked about the tarball before it is unpacked, and raises SourceError."""
    name = Path(urlsplit(source.url).path).name or "tarball"
    slug = f"tarball-{_slug(name)}-{source.sha256[:12]}"
    known = _finished(cache, slug)
    if known is not None:
        return known
    with lock(cache, slug, progress, f"fetching {source.url}"):
        known = _finished(cache, slug)
        if known is not None:
            return known
        # Kept where it is while it is not whole: the next run goes on with it.
        tarball = cache.path("downloads", slug)
        tarball.parent.mkdir(parents=True, exist_ok=True)
        _download(source, tarball, progress)
        verify(tarball)
        tree = _unpacked(tarball, f"sha256:{source.sha256}", source.url, slug, cache, progress)
        tarball.unlink()
        return tree


def _download(source: TarballSource, into: Path, progress: Progress) -> None:
    """Copy the URL to ``into``, after what is there from an earlier try, and check its SHA-256."""
    # Here and below: most runs download nothing, and these take a twentieth of a start.
    import http.client
    import urllib.error

    progress.stage(f"downloading {source.url}")
    for last in (*[False] * (DOWNLOAD_TRIES - 1), True):
        try:
            _transfer(source.url, into, progress)
            break
        except (OSError, http.client.HTTPException, ValueError) as cause:
            # A refusal is final, and so is the third broken transfer.
            if last or isinstance(cause, urllib.error.URLError | ValueError):
                reason = getattr(cause, "reason", None) or getattr(cause, "strerror", None) or cause
                done = into.stat().st_size if into.exists() else 0
                after = f" after {done} bytes, which are kept: run it again to go on" if done else ""
                raise SourceError(f"{source.url} cannot be read{after}: {reason}") from cause
    got = file_sha256(into)
    if got != source.sha256:
        into.unlink()
        raise HashMismatchError(f"{source.url} has SHA-256 {got}, but {source.sha256} was asked for")


def _transfer(url: str, into: Path, progress: Progress) -> None:
    """One try to get the rest of a file. Raises OSError, HTTPException or ValueError; what came is kept."""
    import urllib.error
    import urllib.request

    done = into.stat().st_size if into.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        # urlopen reads file: URLs as well.
        stream = urllib.request.urlopen(request, timeout=DOWNLOAD_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        return  # it was whole; if it is another file than it was, its SHA-256 says so
    with stream:
        resumed = getattr(stream, "status", None) == http.HTTPStatus.PARTIAL_CONTENT
        done = done if resumed else 0
        total = done + int(stream.headers.get("Content-Length") or 0)
        with into.open("ab" if resumed else "wb") as file:
            while block := stream.read(DOWNLOAD_BLOCK_BYTES):
                file.write(block)
                done += len(block)
                progress.advance(done, total or None, into.name)
    if done < total:
        raise OSError(f"the connection ended after {done} of {total} bytes")


def _fetch_git(source: GitSource, cache: Cache, progress: Progress, update: bool) -> SourceTree:
    if shutil.which("git") is None:
        raise SourceError(f"a git source needs git: {to_install('git')}")
    is_local = "://" not in source.url and Path(source.url).expanduser().exists()
    url = str(Path(source.url).expanduser().resolve()) if is_local else source.url
    name = f"git-{digest(url)[:12]}"
    alias = f"{name}-{_slug(source.revision)}"
    # A local repository answers at once and without network, so its branches are always looked up.
    if not is_local:
        known = _resolved(cache, alias, update)
        if known is not None:
            return known
    with lock(cache, name, progress, f"fetching {source}") as held:
        log = new_log(cache, name)
        if is_local:
            repository = Path(url)
            commit = _commit(repository, source.revision)
            if commit is None:
                raise SourceError(f"the git repository {url} has no revision '{source.revision}'")
        else:
            repository = cache.path("git", f"{name}.git")
            commit = _mirror(repository, source, update, log, progress, held)
        slug = f"{name}-{commit[:16]}"
        tree = _finished(cache, slug)
        if tree is None:
            require_space(cache, UNPACK_SPACE_BYTES, f"checking out {source}")
            progress.stage(f"checking out {source.revision} ({commit[:12]})")
            with staging(cache) as directory:
                # archive and not worktree: the repository may be somebody's, and nothing is left in it.
                tarball = directory / "tree.tar"
                run(
                    [*_GIT, "-C", repository, "archive", "--output", tarball, commit],
                    what=f"checking out {source}",
                    log=log,
                    hold_fds=[held],
                    error=SourceError,
                )
                title = f"{source.url} {source.revision} ({commit[:12]})"
                tree = _unpacked(tarball, f"git:{commit}", title, slug, cache, progress, strip=False)
        if not is_local:
            _remember(cache, alias, tree)
        return tree


def _mirror(repository: Path, source: GitSource, update: bool, log: Path, progress: Progress, held: int) -> str:
    """Bring ``source.revision`` into our bare mirror: alone and shallow if the server allows, else with all history."""
    if not repository.exists():
        query(["git", "init", "--quiet", "--bare", repository])
    commit = _commit(repository, source.revision)
    if commit is not None and (_COMMIT.fullmatch(source.revision) or not update):
        return commit
    progress.stage(f"fetching {source.revision} from {source.url}")

    def fetch_refs(*arguments: str) -> None:
        run(
            ["git", "-C", repository, "fetch", "--force", "--progress", *arguments],
            what=f"fetching {source}",
            log=log,
            hold_fds=[held],
            error=SourceError,
        )

    marker = f"refs/dmasafe/{digest(source.revision)[:16]}"
    try:
        fetch_refs("--depth=1", "--no-tags", source.url, f"{source.revision}:{marker}")
        return query(["git", "-C", repository, "rev-parse", "--verify", f"{marker}^{{commit}}"]).strip()
    except KernelError:
        # Not a ref, or a commit that the server does not hand out by its name: look for it in the whole history.
        depth = ["--unshallow"] if (repository / "shallow").exists() else []
        fetch_refs(*depth, source.url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    commit = _commit(repository, source.revision)
    if commit is None:
        raise SourceError(f"the git repository {source.url} has no revision '{source.revision}'")
    return commit


def _commit(repository: Path, revision: str) -> str | None:
    try:
        command = [*_GIT, "-C", str(repository), "rev-parse", "--verify", "--quiet"]
        return query([*command, "--end-of-options", f"{revision}^{{commit}}"]).strip().splitlines()[-1]
    except KernelError:
        return None


def _unpacked(
    tarball: Path, identity: str, description: str, slug: str, cache: Cache, progress: Progress, *, strip: bool = True
) -> SourceTree:
    """Unpack to the cache under ``slug`` unless it is there already; the marker is written last."""
    home = cache.path("sources", slug)
    with lock(cache, f"source-{slug}", progress, f"unpacking {description}") as held:
        known = _finished(cache, slug)
        if known is not None:
            return known
        require_space(cache, UNPACK_SPACE_BYTES, f"unpacking {description}")
        progress.stage(f"unpacking {description}")
        with staging(cache) as directory:
            unpack = directory / "unpack"
            unpack.mkdir()
            # Like the cache itself, its trees belong to whoever made them.
            command: list[str | Path] = ["tar", "--extract", "--no-same-owner", "--no-same-permissions", "--wildcards"]
            command += [f"--exclude={pattern}" for pattern in NEVER_BUILT]
            run(
                [*command, "--file", tarball, "--directory", unpack],
                what=f"unpacking {description}",
                log=new_log(cache, f"unpack-{slug}"),
                hold_fds=[held],
                error=SourceError,
            )
            top = unpack
            inside = list(unpack.iterdir())
            if strip and len(inside) == 1 and inside[0].is_dir():
                top = inside[0]
            version = local.tree_version(top)
            if home.exists():
                shutil.rmtree(home)  # without a marker: left by a run that was killed
            staged = directory / "home"
            staged.mkdir()
            top.rename(staged / "tree")
            tree = SourceTree(home / "tree", identity, version, description, home)
            facts = {key: value for key, value in asdict(tree).items() if key not in ("path", "home")}
            publish_json(staged / "source.json", facts)
            publish_directory(staged, home)
        return tree


def _finished(cache: Cache, slug: str) -> SourceTree | None:
    home = cache.path("sources", slug)
    facts = read_json(home / "source.json")
    if facts is None or not (home / "tree").is_dir():
        return None
    (home / "source.json").touch()
    return SourceTree(path=home / "tree", home=home, **facts)


def remembered(source: Source, cache: Cache) -> str | None:
    """The identity of the tree that a release's or a package's name stood for when it was last looked up."""
    match source:
        case AptSource():
            alias = f"apt-{source.package}"
        case ReleaseSource():
            alias = f"release-{source.name}"
        case _:
            return None
    facts = read_json(cache.path("resolutions", f"{alias}.json"))
    return str(facts["identity"]) if facts is not None else None


def _resolved(cache: Cache, alias: str, update: bool) -> SourceTree | None:
    """What a name stood for when it was last looked up, if that tree is still there and no update is asked for."""
    facts = None if update else read_json(cache.path("resolutions", f"{alias}.json"))
    return _finished(cache, str(facts["slug"])) if facts is not None else None


def _remember(cache: Cache, alias: str, tree: SourceTree) -> None:
    publish_json(cache.path("resolutions", f"{alias}.json"), {"slug": tree.home.name, "identity": tree.identity})


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+~-]+", "_", text)[:60]
