# SPDX-License-Identifier: GPL-2.0-or-later
"""``make test-hosts``: the README's commands on every Debian that dmasafe is for, each from an empty machine.

Prints a table and writes out/hosts/results.json. Exit status: 0 all succeeded, 1 something failed, 2 nothing was run.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from dmasafe.atomic import publish
from tests.hosts import directory
from tests.hosts.directory import HostError

ROOT = Path(__file__).parents[2]
#: What the hosts are called on the command line, and the suites that they are made of.
HOSTS = {"12": "bookworm", "13": "trixie", "testing": "testing", "sid": "sid"}
STEPS = ("test-qemu", "test")
STEP_TIMEOUT_S = 4 * 3600
SMOKE_TIMEOUT_S = 300
VERSIONS = {
    "qemu": (["qemu-system-x86_64", "--version"], r"version ([\d.]+)"),
    "python": (["python3", "--version"], r"Python ([\d.]+\w*)"),
    "gcc": (["gcc", "-dumpfullversion"], r"([\d.]+)"),
}


def hosts_directory():
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("DMASAFE_HOSTS") or Path(cache) / "dmasafe-hosts")


def write_text(path, text):
    with publish(path) as part:
        part.write_text(text)


def revision_of(source):
    """The commit, and a digest of what differs from it."""

    def git(*words):
        command = ["git", "-c", "safe.directory=*", *words]
        return subprocess.run(command, cwd=source, capture_output=True, check=True).stdout

    head, changes = git("rev-parse", "--short=12", "HEAD").decode().strip(), git("diff", "HEAD")
    for name in sorted(filter(None, git("ls-files", "-z", "--others", "--exclude-standard").split(b"\0"))):
        changes += name + (source / os.fsdecode(name)).read_bytes()
    return f"{head}+{hashlib.sha256(changes).hexdigest()[:8]}" if changes else head


class Host:
    """One Debian: an untouched copy (``base``), the one to work in (``root``), and what came of it (``state``)."""

    def __init__(self, name, place):
        self.name, self.suite = name, HOSTS[name]
        self.base, self.root, self.state_file = place / "base", place / "root", place / "state.json"
        self.state = json.loads(self.state_file.read_text()) if self.state_file.is_file() else {}

    def save(self):
        write_text(self.state_file, json.dumps(self.state, indent=1) + "\n")

    def ready(self, revision, *, keep, log):
        """An empty machine with the checkout in it; the one at hand if it was begun for this revision, or ``keep``."""
        at_hand = self.root.is_dir() and (keep or self.state.get("revision") == revision)
        if not at_hand:
            if not self.base.is_dir():
                directory.bootstrap(self.suite, self.base, log)
            shutil.rmtree(self.root, ignore_errors=True)
            copy = ["cp", "--archive", "--reflink=auto", self.base, self.root]
            if subprocess.run(copy, stdout=log, stderr=log).returncode:
                raise HostError(f"{self.base} could not be copied: the words of cp are in {log.name}")
        if self.state.get("revision") != revision:
            self.state = {"host": self.name, "suite": self.suite, "revision": revision, "steps": {}}
            self.save()
        directory.share_network(self.root)
        directory.place_checkout(ROOT, self.root)

    def step(self, step, words, log):
        """Run one of the README's commands, remember and return what came of it."""
        cold = not (self.root / "root/.cache/dmasafe/kernels").is_dir()
        started, before = time.monotonic(), os.times()
        ran = directory.run(self.root, ["make", *words], cwd=directory.CHECKOUT, log=log, timeout=STEP_TIMEOUT_S)
        after = os.times()
        row = {"status": ran.returncode, "seconds": round(time.monotonic() - started), "cold": cold}
        used = after.children_user - before.children_user + after.children_system - before.children_system
        row["cpu_seconds"] = round(used)
        self.state["steps"][step] = row
        self.state |= {name: self.version(*how) for name, how in VERSIONS.items()}
        self.save()
        return row

    def version(self, command, pattern):
        found = re.search(pattern, directory.run(self.root, command).stdout or "")
        return found[1] if found else "-"


def table(states):
    rows = [("host", "suite", "QEMU", "Python", "gcc", *STEPS)]
    for state in states:
        cells = (_cell(state.get("steps", {}).get(step)) for step in STEPS)
        versions = (state.get(name, "-") for name in VERSIONS)
        rows.append((state["host"], state["suite"], *versions, *cells))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _cell(row):
    if row is None:
        return "not run"
    if "error" in row:
        return "stopped"
    kind = "cold" if row["cold"] else "warm"
    return f"exit {row['status']}, {row['seconds']} s ({row['cpu_seconds']} CPU s, {kind})"


def work(host, steps, options, logs):
    """Run the steps on one host; those that already succeeded at this revision are not repeated."""
    revision = revision_of(ROOT)
    if options.fresh:
        host.state = {}
    with (logs / f"{host.name}-host.log").open("w") as log:
        print(f"{host.name}: making the host in {host.root} ...", flush=True)
        host.ready(revision, keep=options.warm and not options.fresh, log=log)
    for step in steps:
        done = host.state["steps"].get(step, {})
        if done.get("status") == 0:
            print(f"{host.name}: make {step}: {_cell(done)} (before)")
            continue
        path = logs / f"{host.name}-{step}.log"
        print(f"{host.name}: make {step} (log: {path}) ...", flush=True)
        try:
            with path.open("w") as log:
                print(f"{host.name}: make {step}: {_cell(host.step(step, [step], log))}", flush=True)
        except HostError as error:
            host.state["steps"][step] = {"error": str(error)}
            host.save()
            print(f"{host.name}: make {step}: {error}", flush=True)


def smoke(place):
    """Suite smoke on one other Debian whose directory and kernel are there, for CI. Its exit status."""
    own = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.M)
    for name, suite in HOSTS.items():
        root = place / name / "root"
        if (own and suite == own[1]) or not any((root / "root/.cache/dmasafe/kernels").glob("*/*")):
            continue
        directory.share_network(root)
        directory.place_checkout(ROOT, root)
        if not directory.run(root, ["make", ".venv/.stamp-run"], cwd=directory.CHECKOUT).returncode:
            built = [".venv/bin/python", "-c", "from tests.qemu.built import is_built; exit(not is_built('default'))"]
            if directory.run(root, built, cwd=directory.CHECKOUT).returncode:
                print(f"{name}: the kernel of its cache is not this revision's: not run")
                continue
        command = ["make", "test-qemu", "SUITE=smoke"]
        ran = directory.run(root, command, cwd=directory.CHECKOUT, timeout=SMOKE_TIMEOUT_S)
        print(ran.stdout, f"{name}: {' '.join(command)}: exit {ran.returncode}", sep="")
        return ran.returncode
    print("no other Debian is at hand with a kernel in its cache: make test-hosts makes them")
    return 0


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(prog="make test-hosts", description=__doc__)
    parser.add_argument("hosts", nargs="*", metavar="HOST", help=f"of {', '.join(HOSTS)} (default: all)")
    parser.add_argument("--only", choices=STEPS, help="run one of the two commands")
    parser.add_argument("--warm", action="store_true", help="keep a host's caches and packages from another revision")
    parser.add_argument("--fresh", action="store_true", help="begin again, also what succeeded at this revision")
    parser.add_argument("--smoke", action="store_true", help="only suite smoke on one other host that is at hand")
    options = parser.parse_args()
    if unknown := [name for name in options.hosts if name not in HOSTS]:
        parser.error(f"there is no host {', '.join(unknown)}: take some of {', '.join(HOSTS)}")
    place, logs = hosts_directory(), ROOT / "out" / "hosts"
    hosts = [Host(name, place / name) for name in options.hosts or HOSTS]
    steps = [options.only] if options.only else STEPS
    try:
        directory.need("unshare", "chroot")
        if options.smoke:
            return smoke(place)
        if not all(host.base.is_dir() or host.root.is_dir() for host in hosts):
            directory.need("debootstrap")
    except HostError as error:
        print(f"make test-hosts: {error}", file=sys.stderr)
        return 0 if options.smoke else 2
    logs.mkdir(parents=True, exist_ok=True)
    for host in hosts:
        try:
            work(host, steps, options, logs)
        except (HostError, OSError, subprocess.CalledProcessError) as error:
            host.state = {
                "host": host.name,
                "suite": host.suite,
                "steps": {step: {"error": str(error)} for step in steps},
            }
            print(f"{host.name}: {error}", file=sys.stderr, flush=True)
    states = [host.state for host in hosts]
    write_text(logs / "results.json", json.dumps(states, indent=1) + "\n")
    print(table(states), f"results: {(logs / 'results.json').relative_to(ROOT)}", sep="\n")
    return int(any(state["steps"][step].get("status") != 0 for state in states for step in steps))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("make test-hosts: stopped; the same command goes on where this one was")
