# SPDX-License-Identifier: GPL-2.0-or-later
"""make test-hosts, with hosts played by stubs where a real one would cost minutes; and the image's files."""

import json
import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.hosts import __main__ as hosts
from tests.hosts import directory

ROOT = Path(__file__).parents[3]
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and chroot need root")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Hosts that are made at once and whose commands end as ``made.ends`` says; what was asked is in ``made.asked``."""
    world = SimpleNamespace(asked=[], ends={}, revision="one")

    def bootstrap(suite, root, log):
        world.asked.append(f"debootstrap {suite}")
        root.mkdir(parents=True)

    def run(root, command, **_):
        if command[0] != "make":
            return subprocess.CompletedProcess(command, 0, "version 10.0.1 Python 3.13.5 14.2.0")
        host = root.parent.name
        world.asked.append(f"{host} {command[1]}")
        (root / "root/.cache/dmasafe/kernels/one").mkdir(parents=True, exist_ok=True)
        end = world.ends.get((host, command[1]), 0)
        if isinstance(end, Exception):
            raise end
        return subprocess.CompletedProcess(command, end, "")

    monkeypatch.setattr(directory, "bootstrap", bootstrap)
    monkeypatch.setattr(directory, "run", run)
    monkeypatch.setattr(directory, "need", lambda *_: None)
    monkeypatch.setattr(directory, "share_network", lambda root: None)
    monkeypatch.setattr(directory, "place_checkout", lambda source, root: None)
    monkeypatch.setattr(hosts, "revision_of", lambda source: world.revision)
    monkeypatch.setattr(hosts, "ROOT", tmp_path)
    monkeypatch.setenv("DMASAFE_HOSTS", str(tmp_path / "hosts"))

    def main(*words):
        world.asked.clear()
        monkeypatch.setattr("sys.argv", ["test-hosts", *words])
        return hosts.main()

    world.main = main
    world.results = lambda: json.loads((tmp_path / "out/hosts/results.json").read_text())
    return world


def test_both_commands_run_on_every_host_and_the_rest_goes_on_after_a_failure(made, capsys):
    made.ends = {("13", "test"): 2, ("testing", "test-qemu"): directory.HostError("was stopped after 9 s")}
    assert made.main() == 1
    assert [word for word in made.asked if word.startswith("debootstrap")] == [
        f"debootstrap {suite}" for suite in ("bookworm", "trixie", "testing", "sid")
    ]
    assert [word for word in made.asked if not word.startswith("debootstrap")] == [
        f"{host} {step}" for host in hosts.HOSTS for step in hosts.STEPS
    ]
    lines = capsys.readouterr().out.splitlines()
    table = lines[lines.index(next(line for line in lines if line.startswith("host "))) :]
    assert re.match(r"12 +bookworm +10\.0\.1 +3\.13\.5 +14\.2\.0|12 +bookworm", table[1])
    assert "exit 2" in table[2] and "stopped" in table[3] and table[4].count("exit 0") == 2
    rows = {state["host"]: state["steps"] for state in made.results()}
    assert rows["12"]["test-qemu"]["cold"] is True and rows["12"]["test"]["cold"] is False
    assert rows["13"]["test"]["status"] == 2 and "9 s" in rows["testing"]["test-qemu"]["error"]


def test_the_same_command_again_does_only_what_did_not_succeed(made):
    made.ends = {("13", "test"): 1}
    made.main("13")
    made.ends = {}
    assert made.main("13") == 0
    assert made.asked == ["13 test"]
    assert made.main("13") == 0
    assert made.asked == []


def test_another_revision_begins_from_an_empty_machine_unless_it_is_to_stay_warm(made):
    made.main("sid", "--only", "test-qemu")
    made.revision = "two"
    assert made.main("sid", "--only", "test-qemu", "--warm") == 0
    assert made.asked == ["sid test-qemu"] and made.results()[0]["steps"]["test-qemu"]["cold"] is False
    made.revision = "three"
    made.main("sid", "--only", "test-qemu")
    # The untouched copy is there: no second debootstrap.
    assert made.asked == ["sid test-qemu"] and made.results()[0]["steps"]["test-qemu"]["cold"] is True


def test_a_host_that_cannot_be_made_fails_alone(made, monkeypatch):
    def bootstrap(suite, root, log):
        if suite == "trixie":
            raise directory.HostError("debootstrap of trixie failed")
        root.mkdir(parents=True)

    monkeypatch.setattr(directory, "bootstrap", bootstrap)
    assert made.main("12", "13") == 1
    assert made.asked == ["12 test-qemu", "12 test"]


def test_smoke_runs_nothing_where_no_other_host_has_a_kernel(made, capsys):
    assert made.main("--smoke") == 0
    assert "no other Debian is at hand" in capsys.readouterr().out
    assert made.asked == []


@pytest.mark.parametrize(
    ("uid", "sentence"), [(1000, "needs root"), (0, "dmasafe-no-such-program is missing: apt-get install debootstrap")]
)
def test_what_is_missing_is_one_sentence(uid, sentence, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    with pytest.raises(directory.HostError, match=sentence):
        directory.need("dmasafe-no-such-program")


def test_a_host_gets_the_way_to_the_network_and_nothing_else_of_this_machines_environment(monkeypatch):
    given = {"https_proxy": "http://p:1", "PIP_INDEX_URL": "http://i/", "DMASAFE_CACHE": "/c", "MAKEFLAGS": "-n"}
    monkeypatch.setattr(os, "environ", {**given, "PIP_CERT": __file__, "HOME": "/home/me"})
    environment = directory.environment()
    assert environment["https_proxy"] == "http://p:1" and environment["PIP_INDEX_URL"] == "http://i/"
    assert environment["PIP_CERT"] == environment["SSL_CERT_FILE"] == directory.CERTIFICATES
    assert not {"DMASAFE_CACHE", "MAKEFLAGS"} & environment.keys() and environment["HOME"] == "/root"


@root_only
@pytest.mark.skipif(
    not any(line.split()[1] == "/" for line in Path("/proc/mounts").read_text().splitlines()),
    reason="in a chroot the root is no mount, and a namespace cannot be made private",
)
def test_a_command_in_a_host_has_its_own_processes_and_leaves_no_mount(tmp_path):
    mounts = Path("/proc/mounts").read_text()
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "file").touch()
    script = f"cat {tmp_path}/seen/file; touch {tmp_path}/seen/new && exit 3; ls -d /proc/[0-9]* | wc -l; pwd; exit 7"
    given = {tmp_path / "given": f"{tmp_path}/seen"}
    ran = directory.run(Path("/"), ["sh", "-c", script], cwd="/usr", read_only=given)
    assert ran.returncode == 7
    processes, place = ran.stdout.split()
    assert int(processes) < 10 and place == "/usr"
    with pytest.raises(directory.HostError, match=r"stopped after 0\.3 s"):
        directory.run(Path("/"), ["sleep", "1000"], timeout=0.3)
    assert Path("/proc/mounts").read_text() == mounts


def test_a_checkout_is_copied_as_it_is_now_and_keeps_what_git_ignores(tmp_path):
    source, root = tmp_path / "source", tmp_path / "root"
    source.mkdir()
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    (source / "a").write_text("one")
    (source / "gone").touch()
    (source / ".gitignore").write_text(".venv/\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], cwd=source, check=True)
    here = root / directory.CHECKOUT.lstrip("/")
    here.parent.mkdir(parents=True)
    first = directory.place_checkout(source, root)
    (here / ".venv").mkdir()
    (here / "stray").touch()
    (source / "a").write_text("two")
    (source / "gone").unlink()
    (source / "new").write_text("new")
    assert directory.place_checkout(source, root) == first
    assert (here / "a").read_text() == "two" and (here / "new").read_text() == "new"
    assert (here / ".venv").is_dir() and not (here / "stray").exists() and not (here / "gone").exists()
    clean = hosts.revision_of(source)
    (source / "new").write_text("newer")
    assert hosts.revision_of(source) != clean


def test_the_image_copies_what_is_there_and_leaves_out_what_git_ignores():
    lines = (ROOT / "Containerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert copied and all((ROOT / name).exists() for name in copied)
    left_out = set((ROOT / ".dockerignore").read_text().split())
    ignored = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split()}
    assert {name.removeprefix("**/") for name in left_out} >= ignored


def test_the_development_container_is_made_of_the_same_image():
    text = (ROOT / ".devcontainer/devcontainer.json").read_text()
    found = json.loads(re.sub(r"^ *//.*$", "", text, flags=re.MULTILINE))
    assert (ROOT / ".devcontainer" / found["build"]["dockerfile"]).resolve() == ROOT / "Containerfile"
    assert (ROOT / ".devcontainer" / found["build"]["context"]).resolve() == ROOT
