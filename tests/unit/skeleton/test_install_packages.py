# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/install-packages with a Debian played by stubs: what is installed is a file, what apt-get is told another."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dmasafe.architecture import architecture_names, read_architecture

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "scripts" / "install-packages"
LISTS = sorted((ROOT / "images").glob("packages-*.txt"))
FORBIDS = "DMASAFE_INSTALL=no forbids installing.\n"

LIST = """\
# a comment
gcc       kernel    compiles
qemu-x    qemu      runs the guest
ccache    optional  is faster
"""
STUBS = {
    "dpkg-query": """
echo >>"$STATE/asked"
shift 3
for p; do grep -qx "$p" "$STATE/installed" && echo "$p installed" || echo "$p no"; done
""",
    "apt-cache": 'shift; for p; do grep -qx "$p" "$STATE/offered" && printf "$p:\\n  Candidate: 1.0\\n"; done; true',
    "apt-get": """
echo "$*" >>"$STATE/calls"
for word; do last=$word; [ "$word" = update ] && cp "$STATE/mirror" "$STATE/offered" && exit 0; done
seen=; for word; do
    [ -n "$seen" ] && case $word in -*) ;; *) grep -qx "$word" "$STATE/offered" || exit 100 ;; esac
    [ "$word" = install ] && seen=yes
done
seen=; for word; do
    [ -n "$seen" ] && case $word in -*) ;; *) echo "$word" >>"$STATE/installed" ;; esac
    [ "$word" = install ] && seen=yes
done
exit 0
""",
    "rpm": 'shift 3; for p; do grep -qx "$p" "$STATE/installed" && echo "$p installed" || echo "package $p no"; done',
    "dnf": 'echo "$*" >>"$STATE/calls"; shift 3; for p; do echo "$p" >>"$STATE/installed"; done',
    "uname": 'echo "${MACHINE:-x86_64}"',
    "id": 'cat "$STATE/uid"',
    "sudo": '[ -e "$STATE/sudo" ] || exit 1; shift; exec "$@"',
}


class Debian:
    """A system whose state is files below ``place``."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "bin").mkdir()
        for name, body in STUBS.items():
            stub = place / "bin" / name
            stub.write_text(f"#!/bin/sh\n{body}\n")
            stub.chmod(0o755)
        (place / "list").write_text(LIST)
        self.state(installed="", offered="gcc qemu-x ccache", mirror="gcc qemu-x ccache", uid="0", calls="")

    def state(self, **files: str) -> None:
        for name, words in files.items():
            (self.place / name).write_text("".join(f"{word}\n" for word in words.split()))

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SCRIPT],
            env={
                "PATH": f"{self.place}/bin:{os.environ['PATH']}",
                "STATE": str(self.place),
                "DMASAFE_PACKAGE_LIST": str(self.place / "list"),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    @property
    def installed(self) -> set[str]:
        return set((self.place / "installed").read_text().split())

    @property
    def calls(self) -> list[str]:
        """What apt-get was asked to do, without its options."""
        return [
            " ".join(word for word in line.split() if not word.startswith("-") and "::" not in word and "=" not in word)
            for line in (self.place / "calls").read_text().splitlines()
        ]


@pytest.fixture
def debian(tmp_path: Path) -> Debian:
    return Debian(tmp_path)


def test_nothing_missing_is_silent_and_calls_nothing(debian: Debian) -> None:
    debian.state(installed="gcc qemu-x ccache", asked="")
    ran = debian.run()
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert debian.calls == []
    # A warm `make test-qemu` pays for the question every time.
    assert (debian.place / "asked").read_text() == "\n"


def test_root_gets_what_is_missing_after_being_told_what_and_why(debian: Debian) -> None:
    debian.state(installed="gcc")
    ran = debian.run()
    assert ran.returncode == 0
    assert debian.installed == {"gcc", "qemu-x", "ccache"}
    assert "qemu-x" in ran.stdout and "runs the guest" in ran.stdout and "(optional) is faster" in ran.stdout
    assert "compiles" not in ran.stdout
    assert debian.calls == ["install qemu-x ccache"]


def test_empty_package_lists_are_updated_first(debian: Debian) -> None:
    debian.state(offered="")
    assert debian.run().returncode == 0
    assert debian.calls == ["update", "install gcc qemu-x ccache"]


def test_a_user_with_passwordless_sudo_gets_them_too(debian: Debian) -> None:
    debian.state(uid="1000", sudo="yes")
    assert debian.run().returncode == 0
    assert debian.installed == {"gcc", "qemu-x", "ccache"}


def test_without_root_it_is_one_sentence_with_the_command(debian: Debian) -> None:
    debian.state(uid="1000")
    ran = debian.run()
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "sudo apt-get install --yes --no-install-recommends gcc qemu-x ccache" in ran.stderr
    assert debian.installed == set()


def test_install_no_only_prints_the_command(debian: Debian) -> None:
    ran = debian.run(DMASAFE_INSTALL="no")
    assert ran.returncode == 1
    assert "sudo apt-get install --yes --no-install-recommends gcc qemu-x ccache" in ran.stdout
    assert ran.stderr.count("\n") == 1 and "gcc qemu-x: not installed" in ran.stderr
    assert debian.calls == []


@pytest.mark.parametrize("environment", [{"DMASAFE_INSTALL": "no"}, {}])
def test_what_is_optional_stops_nobody(environment: dict[str, str], debian: Debian) -> None:
    debian.state(installed="gcc qemu-x", uid="1000")
    assert debian.run(**environment).returncode == 0


def test_an_optional_package_that_nobody_offers_stops_nobody(debian: Debian) -> None:
    debian.state(offered="gcc qemu-x", mirror="gcc qemu-x")
    ran = debian.run()
    assert ran.returncode == 0
    assert debian.installed == {"gcc", "qemu-x"}


def test_a_needed_package_that_nobody_offers_is_one_sentence(debian: Debian) -> None:
    debian.state(offered="gcc", mirror="gcc")
    ran = debian.run()
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith("install-packages: apt-get could not install gcc qemu-x")


def test_a_system_without_dpkg_is_told_what_to_do(debian: Debian) -> None:
    (debian.place / "bin" / "dpkg-query").unlink()
    for name in ("dirname", "sed", "awk", "sh"):
        (debian.place / "bin" / name).symlink_to(f"/usr/bin/{name}")
    ran = debian.run(PATH=f"{debian.place}/bin")
    assert ran.returncode == 1
    assert "DMASAFE_INSTALL=skip" in ran.stderr and ran.stderr.count("\n") == 1
    assert debian.run(PATH=f"{debian.place}/bin", DMASAFE_INSTALL="skip").returncode == 0


def test_an_unknown_setting_is_one_sentence(debian: Debian) -> None:
    ran = debian.run(DMASAFE_INSTALL="perhaps")
    assert ran.returncode == 1 and "use yes, no or skip" in ran.stderr


def rows_of(path: Path) -> list[list[str]]:
    return [line.split(None, 2) for line in path.read_text().splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_every_row_of_a_list_has_a_name_a_known_group_and_a_reason(path: Path) -> None:
    rows = rows_of(path)
    assert all(len(row) == 3 for row in rows)
    assert {row[1].partition(":")[0] for row in rows} == {"kernel", "guest", "qemu", "python", "optional"}
    assert len({row[0] for row in rows}) == len(rows)
    machines = {machine for row in rows for machine in row[1].partition(":")[2].split(",")}
    assert {"x86_64", "aarch64"} <= machines


@pytest.mark.parametrize("arch", architecture_names())
def test_a_machine_of_every_architecture_gets_the_qemu_that_accelerates_it(arch: str) -> None:
    row = read_architecture(arch)
    for path in LISTS:
        if path.stem == "packages-fedora":
            continue
        found = [name for name, group, _ in rows_of(path) if row.uname in group.partition(":")[2].split(",")]
        assert found == [row.machine["debian_package"]]


@pytest.mark.parametrize(
    ("os_release", "installs"),
    [
        ("ID=debian\n", "apt-get install --yes --no-install-recommends gcc libc6-dev"),
        ("NAME=x\nID=ubuntu\nID_LIKE=debian\n", "libjsmn-dev busybox-static qemu-system-x86 python3-venv"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "gnupg"),
        ("ID=raspbian\nID_LIKE=debian\n", "debian-archive-keyring"),
        ("ID=fedora\n", "dnf install --assumeyes --setopt=install_weak_deps=False gcc glibc-devel glibc-static"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "qemu-system-x86-core"),
        ("ID=arch\n", None),
        (None, None),
    ],
)
def test_os_release_chooses_the_list(os_release: str | None, installs: str | None, debian: Debian) -> None:
    path = debian.place / "os-release"
    if os_release is not None:
        path.write_text(os_release)
    ran = debian.run(DMASAFE_PACKAGE_LIST="", DMASAFE_OS_RELEASE=str(path), DMASAFE_INSTALL="no")
    assert ran.returncode == 1
    if installs is None:
        assert "no package list for this system" in ran.stderr and ran.stderr.count("\n") == 1
    else:
        assert installs in ran.stdout
        assert "qemu-system-aarch64-core" not in ran.stdout and "qemu-system-arm" not in ran.stdout


def test_a_machine_gets_its_own_qemu_only(debian: Debian) -> None:
    (debian.place / "list").write_text("gcc kernel compiles\nqemu-x qemu:x86_64,i686 runs\nqemu-a qemu:aarch64 runs\n")
    assert debian.run(DMASAFE_INSTALL="no", MACHINE="aarch64").stderr.endswith(
        "gcc qemu-a: not installed, and " + FORBIDS
    )
    assert debian.run(DMASAFE_INSTALL="no", MACHINE="i686").stderr.endswith("gcc qemu-x: not installed, and " + FORBIDS)


def test_on_fedora_dnf_installs_what_rpm_does_not_know(debian: Debian) -> None:
    path = debian.place / "packages-fedora.txt"
    path.write_text(LIST)
    debian.state(installed="gcc")
    ran = debian.run(DMASAFE_PACKAGE_LIST=str(path))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert debian.installed == {"gcc", "qemu-x", "ccache"}
    assert debian.run(DMASAFE_PACKAGE_LIST=str(path)).stdout == ""


def test_cross_building_on_fedora_is_refused_in_one_sentence(debian: Debian) -> None:
    path = debian.place / "os-release"
    path.write_text("ID=fedora\n")
    ran = debian.run(DMASAFE_PACKAGE_LIST="", DMASAFE_OS_RELEASE=str(path), DMASAFE_ARCH="arm64")
    assert ran.returncode == 1 and ran.stderr.count("\n") == 1 and "another architecture" in ran.stderr
