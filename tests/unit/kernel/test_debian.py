# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages for a guest: what apt is told, in a state that is not the machine's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dmasafe.kernel import apt, debian
from dmasafe.kernel.cache import Cache
from dmasafe.kernel.debian import PackageList, fetch_packages, read_package_list
from dmasafe.kernel.errors import SourceError
from dmasafe.progress import SILENT

STANZA = "Types: deb\nURIs: https://mirror.example/debian\nSuites: bookworm\nComponents: main\n"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], Path]]:
    """apt-get's calls with their apt.conf; "install" leaves what dpkg-deb says is a package."""
    made: list[tuple[list[str], Path]] = []

    def run(argv: list[str], *, env: dict[str, str], **_: object) -> None:
        configuration = Path(env["APT_CONFIG"])
        made.append((argv, configuration))
        if argv[1] == "install":
            (configuration.parent / "cache" / "archives" / "x_1.0_arm64.deb").write_bytes(b"a package")

    monkeypatch.setattr(debian, "run", run)
    monkeypatch.setattr(debian, "query", lambda argv: "x 1:1.0-2")
    monkeypatch.setattr(apt, "query", lambda argv: 'Dir::Etc::netrc "auth.conf";\nAPT::Architecture "amd64";\n'
                        'APT::Architectures:: "amd64";\nDir "/";\n')  # fmt: skip
    monkeypatch.setattr(apt, "archive_stanza", lambda suite: STANZA)
    return made


def test_apt_works_for_the_guests_architecture_in_a_state_of_its_own(
    cache: Cache, calls: list[tuple[list[str], Path]]
) -> None:
    debs = fetch_packages(PackageList(("python3", "i2c-tools"), ("perl", "udev")), "x86_64", cache, SILENT)
    assert [(deb.name, deb.version) for deb in debs] == [("x", "1:1.0-2")]
    (update, configuration), (install, _) = calls
    assert update == ["apt-get", "update"]
    assert install[1:] == ["install", "--yes", "--download-only", "--no-install-recommends", "python3", "i2c-tools"]
    settings = configuration.read_text()
    assert re.findall(r"^APT::Architectures?\b.*", settings, re.MULTILINE) == [
        'APT::Architecture "amd64";',
        'APT::Architectures { "amd64"; };',
    ]
    status = re.search(r'^Dir::State::status "(.*)";', settings, re.MULTILINE)
    assert status is not None
    assert cache.root in Path(status[1]).parents
    installed = Path(status[1]).read_text()
    assert re.findall(r"^Package: (.*)$", installed, re.MULTILINE) == ["perl", "udev"]
    assert (configuration.parent / "suite.sources").read_text() == STANZA


def test_an_architecture_that_the_usual_suite_does_not_have_names_its_own(
    cache: Cache, calls: list[tuple[list[str], Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(apt, "archive_stanza", lambda suite: asked.append(suite) or STANZA)
    for arch in ("arm64", "riscv64"):
        fetch_packages(PackageList(("busybox-static",)), arch, cache, SILENT)
    homes = [configuration.parent.name for _, configuration in calls[::2]]
    assert asked == ["bookworm", "trixie"]
    assert [home.rpartition("-")[0] for home in homes] == ["bookworm-arm64", "trixie-riscv64"]


def test_a_package_that_is_no_longer_needed_does_not_stay(cache: Cache, calls: list[tuple[list[str], Path]]) -> None:
    wanted = PackageList(("python3",))
    fetch_packages(wanted, "arm64", cache, SILENT)
    old = calls[0][1].parent / "cache" / "archives" / "old_0.9_arm64.deb"
    old.write_bytes(b"an older one")
    assert [deb.path.name for deb in fetch_packages(wanted, "arm64", cache, SILENT)] == ["x_1.0_arm64.deb"]


def test_a_list_has_wanted_and_left_out_packages(tmp_path: Path) -> None:
    path = tmp_path / "packages"
    path.write_text("# comment\n\npython3\ni2c-tools   why\n-perl       why not\n")
    assert read_package_list(path) == PackageList(("python3", "i2c-tools"), ("perl",))
    with pytest.raises(SourceError, match="cannot be read"):
        read_package_list(tmp_path / "none")
