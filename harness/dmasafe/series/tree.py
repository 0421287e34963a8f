# SPDX-License-Identifier: GPL-2.0-or-later
"""A series of commits: found in a repository, or made of mails, and checked out in a tree of our own.

The user's repository is only read: commits of mails go to a repository in the cache that borrows its objects, and so do
checkouts. A checkout rewrites the files that differ and no other, so that make builds what a commit touches.
"""

from __future__ import annotations

import contextlib
import email
import email.header
import email.policy
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from email.message import EmailMessage
from pathlib import Path
from types import MappingProxyType

from dmasafe import scratch
from dmasafe.errors import to_install
from dmasafe.kernel.cache import Cache, digest, lock
from dmasafe.kernel.errors import KernelError
from dmasafe.kernel.process import clean_environment, query
from dmasafe.kernel.source import NEVER_BUILT, SourceTree
from dmasafe.kernel.tree import tree_version
from dmasafe.progress import Progress
from dmasafe.series.errors import SeriesError

#: Where a branch begins, if it has no upstream of its own.
_TRUNKS = ("@{upstream}", "origin/HEAD", "origin/master", "origin/main")
_BASE_COMMIT = re.compile(r"^base-commit: ([0-9a-f]{40})\s*$", re.MULTILINE)
_NUMBER = re.compile(r"\[[^\]]*?\b(\d+)/\d+[^\]]*\]")
_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@ ?(.*)$", re.MULTILINE)
_FIELDS = "%x01%H%x02%T%x02%s%x02%an <%ae>%x02"
#: What a kernel is not made of.
_NEVER_COMPILED = re.compile(
    r"(Documentation|tools|samples|LICENSES)/|MAINTAINERS$|CREDITS$|\.mailmap$|.*\.(rst|txt|md)$"
)
_COMMITTER = {"GIT_COMMITTER_NAME": "dmasafe", "GIT_COMMITTER_EMAIL": "dmasafe@localhost"}


@dataclass(frozen=True)
class Commit:
    """``tree`` names the content after it; ``paths`` are the files that it changes; ``message_id`` is its mail's."""

    sha: str
    tree: str
    subject: str
    author: str
    paths: tuple[str, ...]
    message_id: str | None = None


@dataclass(frozen=True)
class Series:
    """``base`` is what the commits, oldest first, are compared with; ``based_on`` says in words why that one.

    ``notes`` are sentences for the reader. ``merged``: there are merges, so that a commit need not have all of those
    before it in the list.
    """

    base: Commit
    based_on: str
    commits: tuple[Commit, ...]
    notes: tuple[str, ...] = ()
    merged: bool = False

    @property
    def tip(self) -> Commit:
        return self.commits[-1]

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(path for commit in self.commits for path in commit.paths))

    def compiled_as(self, commit: Commit) -> str:
        """The content that a kernel of this commit is made of: documents do not count."""
        if self.merged:
            return commit.tree
        found = self.base.tree
        for one in self.commits if commit in self.commits else ():
            if not all(_NEVER_COMPILED.match(path) for path in one.paths):
                found = one.tree
            if one == commit:
                break
        return found


@dataclass(frozen=True)
class Hunk:
    """A piece of a commit's change: ``line`` is its first one that changed, ``function`` what git says it is in."""

    file: str
    line: int
    function: str
    text: str

    def covers(self, line: int) -> bool:
        """Whether a line of the file after the commit is in it."""
        match = _HUNK.match(self.text)
        assert match is not None
        return int(match[1]) <= line < int(match[1]) + int(match[2] or 1)


class Repository:
    """The user's repository, and ours beside it in the cache, with the checkout ``tree`` in it."""

    def __init__(self, kdir: Path, cache: Cache) -> None:
        self._theirs = kdir
        if shutil.which("git") is None:
            raise SeriesError(f"a series needs git: {to_install('git')}")
        try:
            common = self._read("rev-parse", "--path-format=absolute", "--git-common-dir").strip()
        except KernelError as error:
            raise SeriesError(f"{kdir} is no git repository: name one that has the series' base by --kdir") from error
        self.cache = cache
        self.home = cache.path("sources", f"series-{digest(common)[:12]}")
        self.tree = self.home / "tree"
        self._ours = self.home / "git"
        self._objects = Path(common) / "objects"

    @contextlib.contextmanager
    def held(self, progress: Progress) -> Iterator[None]:
        """Ours is made if it is missing, and nobody else's meanwhile: its checkout moves from commit to commit."""
        self.home.mkdir(parents=True, exist_ok=True)
        with lock(self.cache, self.home.name, progress, f"looking at a series of {self._theirs}"):
            if not (self._ours / "HEAD").exists():
                query(["git", "init", "--quiet", "--bare", self._ours])
            self.home.touch()
            (self._ours / "objects" / "info" / "alternates").write_text(f"{self._objects}\n", encoding="utf-8")
            # What history there is ends where theirs does.
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(self._objects.with_name("shallow"), self._ours / "shallow")
            sparse = "".join(f"!{pattern.removeprefix('*')}/\n" for pattern in NEVER_BUILT)
            (self._ours / "info" / "sparse-checkout").write_text(f"/*\n{sparse}", encoding="utf-8")
            # Left by a run that was killed.
            (self._ours / "index.lock").unlink(missing_ok=True)
            yield

    def commit(self, revision: str) -> Commit:
        """The commit of a revision. Raises SeriesError."""
        try:
            words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
            sha = self._read(*words).split()[-1]
        except (KernelError, IndexError) as error:
            raise SeriesError(f"{self._theirs} has no revision '{revision}'") from error
        return self._listed("--no-walk", "--no-patch", sha)[0]

    def find(self, what: Sequence[str], base: str | None, progress: Progress) -> Series:
        """The series of a range, of mailboxes, or, if nothing is named, of the branch. Raises SeriesError."""
        if any(Path(word).exists() and word.strip(".") for word in what):
            return self.apply([Path(word) for word in what], base, progress)
        if len(what) > 1:
            raise SeriesError(f"there is no file {what[1]}: name one range of commits, or files with mails")
        first, dots, last = (what[0] if what else "").partition("..")
        if base is not None:
            first, dots, last = base, "..", last if dots else first
        if not first and not dots:
            return self._since_upstream()
        tip = self.commit(last.removeprefix(".") or "HEAD")
        start = self._merge_base(self.commit(first or "HEAD").sha, tip.sha)
        words = "" if start == self.commit(first or "HEAD").sha else "where it left "
        return self._between(start, tip, f"{words}{first or 'HEAD'}")

    def apply(self, mails: Sequence[Path], base: str | None, progress: Progress) -> Series:
        """The series that mails make on ``base``, the commit that they name, or what is checked out."""
        found = list(_patches(mails))
        if not found:
            raise SeriesError(f"there is no patch in {mails[0]}: name what git format-patch or b4 wrote")
        named = next((match[1] for mail in found if (match := _BASE_COMMIT.search(mail.text))), None)
        told = "HEAD"
        if base is not None:
            told = base
        elif named is not None and self._has(named):
            told = "the base-commit of the mails"
            base = named
        start = self.commit(base or "HEAD")
        parent, commits, notes = start, list[Commit](), list[str]()
        if named is not None and base is None:
            notes.append(f"the mails' base-commit {named[:12]} is not in {self._theirs}: applied to HEAD")
        with scratch.directory() as directory:
            index = directory / "index"
            self._write("read-tree", start.sha, index=index)
            for number, mail in enumerate(found, 1):
                progress.stage(f"applying patch {number} of {len(found)}")
                parent = self._applied(mail, parent, directory, index)
                commits.append(parent)
        return Series(start, told, tuple(commits), tuple(notes))

    def check_out(self, commit: Commit, series: Series) -> SourceTree:
        """The tree with this commit's files; its identity is their content."""
        self.tree.mkdir(exist_ok=True)
        self._write("-c", "core.sparseCheckout=true", "read-tree", "--reset", "-u", commit.sha)
        what = f"{commit.sha[:12]} of {self._theirs}"
        identity = f"git-tree:{series.compiled_as(commit)}"
        return SourceTree(self.tree, identity, tree_version(self.tree), what, self.home, changing=True)

    def contents(self, commit: Commit, paths: Sequence[str]) -> dict[str, bytes]:
        """What these files are at a commit, where it has them."""
        listed = self._write("ls-tree", "-r", "-z", "--name-only", commit.sha, "--", *paths) if paths else ""
        names = [name for name in listed.split("\0") if name]
        return {name: self._write("show", f"{commit.sha}:{name}").encode(errors="surrogateescape") for name in names}

    def hunks(self, commit: Commit, paths: Sequence[str] = ()) -> list[Hunk]:
        """What a commit changes in these files, or in all."""
        words = (
            "diff-tree",
            "-p",
            "--no-ext-diff",
            "--no-renames",
            "--root",
            "--no-commit-id",
            commit.sha,
            "--",
            *paths,
        )
        found: list[Hunk] = []
        file, place = "", None
        body: list[str] = []

        def close() -> None:
            if place is not None:
                before = next((n for n, line in enumerate(body) if line[:1] in "+-"), 0)
                line = int(place[1]) + sum(text[:1] != "-" for text in body[:before])
                found.append(Hunk(file, line, place[3], "\n".join([place[0], *body])))

        for text in self._write(*words).splitlines():
            if text.startswith("diff --git "):
                close()
                file, place, body = text.rpartition(" b/")[2], None, []
            elif match := _HUNK.match(text):
                close()
                place, body = match, []
            elif place is not None:
                body.append(text)
        close()
        return found

    def blamed(self, series: Series, file: str, line: int) -> Commit | None:
        """The commit of the series that a line of the tip's is from, None if it is older."""
        words = ("blame", "--porcelain", "-L", f"{line},{line}", f"{series.base.sha}..{series.tip.sha}", "--", file)
        try:
            sha = self._write(*words).split(" ")[0]
        except KernelError:
            return None
        return next((commit for commit in series.commits if commit.sha == sha), None)

    def who(self) -> str:
        """The user as git knows him, empty if it does not."""
        with contextlib.suppress(KernelError):
            return f"{self._read('config', 'user.name').strip()} <{self._read('config', 'user.email').strip()}>"
        return ""

    def _since_upstream(self) -> Series:
        tip = self.commit("HEAD")
        candidates = list(_TRUNKS)
        with contextlib.suppress(KernelError):
            candidates.append(self._read("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD").strip())
        for name in candidates:
            with contextlib.suppress(SeriesError):
                start = self._merge_base(self.commit(name).sha, tip.sha)
                if start != tip.sha:
                    return self._between(start, tip, f"the merge base with {name}")
        raise SeriesError(
            f"the branch of {self._theirs} has no commit since {', '.join(candidates)}: name a range, as v7.3..HEAD"
        )

    def _between(self, start: str, tip: Commit, told: str) -> Series:
        commits = self._listed("--reverse", "--topo-order", "--no-merges", f"{start}..{tip.sha}")
        if not commits:
            ends = f"{start[:12]} and {tip.sha[:12]}"
            raise SeriesError(f"there is no commit between {ends}: name a range, as v7.3..HEAD")
        notes = []
        merges = int(self._read("rev-list", "--count", "--merges", f"{start}..{tip.sha}"))
        if merges:
            notes.append(f"{merges} merge(s) in the range are not looked at by themselves")
        if commits[-1].sha != tip.sha:
            # Git names no files of a merge.
            listed = self._write("diff-tree", "-r", "-z", "--no-renames", "--name-only", start, tip.sha)
            commits.append(replace(tip, paths=tuple(listed.split("\0")[:-1])))
        return Series(self.commit(start), told, tuple(commits), tuple(notes), merges > 0)

    def _merge_base(self, one: str, other: str) -> str:
        try:
            return self._read("merge-base", one, other).strip()
        except KernelError as error:
            raise SeriesError(f"{one[:12]} and {other[:12]} have no commit in common") from error

    def _has(self, sha: str) -> bool:
        with contextlib.suppress(SeriesError):
            return bool(self.commit(sha))
        return False

    def _listed(self, *words: str) -> list[Commit]:
        names = () if "--no-patch" in words else ("--no-renames", "--name-only")
        told = self._write("log", "-z", *names, f"--format={_FIELDS}", *words)
        commits = []
        for record in told.split("\x01")[1:]:
            sha, tree, subject, author, rest = record.split("\x02")
            paths = tuple(path for path in rest.strip("\n\0").split("\0") if path)
            commits.append(Commit(sha, tree, subject, author, tuple(path.lstrip("\n") for path in paths)))
        return commits

    def _applied(self, mail: _Mail, parent: Commit, directory: Path, index: Path) -> Commit:
        raw = directory / "mail"
        raw.write_bytes(mail.raw)
        parts = [directory / "message", directory / "patch"]
        try:
            script = 'git mailinfo "$1" "$2" < "$3"'
            told = query(["sh", "-c", script, "sh", *map(str, parts), str(raw)])
        except KernelError as error:
            raise SeriesError(f"'{mail.subject}' is no mail with a patch: {error}") from error
        fields = dict(line.split(": ", 1) for line in told.splitlines() if ": " in line)
        try:
            self._write("apply", "--cached", "--3way", "--whitespace=nowarn", str(parts[1]), index=index)
        except KernelError as error:
            why = str(error).rpartition("failed: ")[2]
            raise SeriesError(
                f"'{mail.subject}' does not apply to {parent.sha[:12]} ({parent.subject}): {why}; name another --base"
            ) from error
        tree = self._write("write-tree", index=index).strip()
        subject = fields.get("Subject", mail.subject)
        author = {
            "GIT_AUTHOR_NAME": fields.get("Author") or "unknown",
            "GIT_AUTHOR_EMAIL": fields.get("Email") or "unknown",
            "GIT_AUTHOR_DATE": fields.get("Date") or "2026-01-01T00:00:00Z",
            # The same mails make the same commits.
            "GIT_COMMITTER_DATE": fields.get("Date") or "2026-01-01T00:00:00Z",
        }
        message = f"{subject}\n\n{parts[0].read_text(encoding='utf-8', errors='replace')}"
        sha = self._write("commit-tree", tree, "-p", parent.sha, "-m", message, environment=author).strip()
        (commit,) = self._listed("--no-walk", sha)
        return Commit(commit.sha, commit.tree, commit.subject, commit.author, commit.paths, mail.message_id)

    def _read(self, *words: str) -> str:
        """From the user's repository."""
        command = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-C", str(self._theirs), *words]
        return query(command, env=clean_environment({"GIT_OPTIONAL_LOCKS": "0"}))

    def _write(
        self, *words: str, index: Path | None = None, environment: Mapping[str, str] = MappingProxyType({})
    ) -> str:
        """In ours."""
        more = {**_COMMITTER, **environment, **({"GIT_INDEX_FILE": str(index)} if index else {})}
        command = ["git", "-c", "safe.directory=*", f"--git-dir={self._ours}", f"--work-tree={self.tree}"]
        return query([*command, *words], env=clean_environment(more))


@dataclass(frozen=True)
class _Mail:
    raw: bytes
    text: str
    subject: str
    message_id: str | None
    number: int | None


def _patches(mails: Sequence[Path]) -> Iterator[_Mail]:
    """The mails with a patch, in the order that their subjects number them, if all do."""
    found = []
    for raw in _split(mails):
        message = email.message_from_bytes(raw, policy=email.policy.compat32)
        text = raw.decode(errors="replace")
        subject = " ".join(str(email.header.make_header(email.header.decode_header(message["Subject"] or ""))).split())
        parsed = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        body = parsed.get_body(("plain",))
        content = "" if body is None else str(body.get_content())
        if not re.search(r"^diff --git |^--- a/", content, re.MULTILINE) or re.match(r"(?i)re:", subject):
            continue
        number = _NUMBER.match(subject)
        found.append(
            _Mail(raw, f"{text}\n{content}", subject, (message["Message-ID"] or "").strip() or None,
                  int(number[1]) if number else None)
        )  # fmt: skip
    numbers = {mail.number for mail in found}
    if None not in numbers and len(numbers) == len(found):
        found.sort(key=lambda mail: mail.number or 0)
    return iter(found)


def _split(mails: Sequence[Path]) -> Iterator[bytes]:
    """Each mail of mailboxes, of directories (maildir, or files of git format-patch), or of files with one."""
    for place in mails:
        with scratch.directory() as directory:
            try:
                if place.is_dir() and not (place / "cur").is_dir():
                    yield from (path.read_bytes() for path in sorted(place.iterdir()) if path.is_file())
                    continue
                if place.is_file() and not (content := place.read_bytes()).startswith(b"From "):
                    yield content
                    continue
                query(["git", "mailsplit", f"-o{directory}", "--", place.resolve()])
                yield from (path.read_bytes() for path in sorted(directory.iterdir()) if path.name.isdigit())
            except (OSError, KernelError) as error:
                raise SeriesError(f"{place} cannot be read as mails: {error}") from error


def from_lore(message_id: str, directory: Path) -> Path:
    """The mailbox that b4 makes of a thread on lore.kernel.org. Raises SeriesError."""
    if shutil.which("b4") is None:
        raise SeriesError(f"--lore needs b4: {to_install('b4')}; or save the thread and name its file")
    try:
        query(["b4", "am", "--outdir", directory, "--mbox-name", "series.mbx", message_id], cwd=directory)
    except KernelError as error:
        raise SeriesError(f"b4 could not get {message_id}: {str(error).rpartition('failed: ')[2]}") from error
    found = next(iter(sorted(directory.glob("*.mbx"))), None)
    if found is None:
        raise SeriesError(f"b4 found no series for {message_id}")
    return found
