# SPDX-License-Identifier: GPL-2.0-or-later
"""Configurations: what the matrix may say, and that no wanted symbol is lost in silence.

fixtures/config-* are the merged configurations of real trees; their second line says how they were recorded.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dmasafe.architecture import ArchitectureError, find_layout, project_root
from dmasafe.errors import DmasafeError
from dmasafe.kernel.config import (
    Absence,
    check,
    find_architecture,
    find_configuration,
    load_matrix,
    not_verified,
    parse_config,
    parse_fragment,
    resolve,
    strict_line,
    version_matches,
)
from dmasafe.kernel.errors import ConfigError
from dmasafe.model.log import dialect_of
from dmasafe.qemu.machines import find_machine

FIXTURES = Path(__file__).parent / "fixtures"
VERSIONS = {"5.10": "5.10.223", "6.1": "6.1.176", "6.12": "6.12.117", "7.2": "7.2.13", "7.3": "7.3.4"}


def recorded(name: str) -> dict[str, str]:
    return parse_config((FIXTURES / f"config-{name}").read_text())


@pytest.mark.parametrize("name", VERSIONS)
def test_the_default_configuration_took_in_every_version(name: str) -> None:
    matrix = load_matrix()
    request = resolve(matrix, "default", "x86_64")
    checked = check(request.wanted, recorded(name), VERSIONS[name], matrix.absences)
    assert checked.missed == ()
    lacks = {"5.10": {"I2C_VIRTIO"}, "7.2": {"DMA_API_DEBUG_SG"}, "7.3": {"DMA_API_DEBUG_SG", "PROC_SYSCTL"}}
    assert set(checked.absences) == lacks.get(name, set())


@pytest.mark.parametrize(
    ("line", "ok"),
    [
        ("CONFIG_I2C=y", True),
        ("CONFIG_I2C=m", False),
        ('CONFIG_LOCALVERSION=""', True),
        ('CONFIG_LOCALVERSION="-mine"', False),
        ("CONFIG_LOG_BUF_SHIFT=20", True),
        ("# CONFIG_VT is not set", True),
        ("# CONFIG_I2C is not set", False),
        ("CONFIG_NO_SUCH_THING=y", False),
        ("# CONFIG_NO_SUCH_THING is not set", True),
    ],
)
def test_a_line_that_did_not_take_is_missed(line: str, ok: bool) -> None:
    checked = check(parse_fragment(line, "f.config"), recorded("6.12"), "6.12.117", ())
    assert [str(wanted) for wanted in checked.missed] == ([] if ok else [line])


def test_an_absence_excuses_only_its_versions() -> None:
    wanted = parse_fragment("CONFIG_DMA_API_DEBUG_SG=y", "f.config")
    rows = (Absence("DMA_API_DEBUG_SG", ">=7.0", "removed"),)
    assert check(wanted, {}, "7.2.13", rows).absences == ("DMA_API_DEBUG_SG",)
    assert [line.place for line in check(wanted, {}, "6.12.117", rows).missed] == ["f.config:1"]


def test_an_architectures_own_absences_concern_no_other(matrix_dir: Path) -> None:
    text = (matrix_dir / "arch" / "x86_64.toml").read_text()
    rule = '[[absence]]\nsymbol = "STACKS"\nversions = ">=5.10"\nwhy = "it has none"\n'
    (matrix_dir / "arch" / "vax.toml").write_text(f"{text}\n{rule}")
    rows = load_matrix(matrix_dir).absences
    assert [row.symbol for row in rows if row.concerns("vax")] == ["NEWER", "STACKS"]
    assert [row.symbol for row in rows if row.concerns("x86_64")] == ["NEWER"]


def test_an_absence_excuses_only_its_architectures() -> None:
    wanted = parse_fragment("CONFIG_HOTPLUG_PCI_ACPI=y", "f.config")
    rows = (Absence("HOTPLUG_PCI_ACPI", ">=5.10", "no ACPI", ("arm64",)),)
    assert not check(wanted, {}, "6.12.117", rows, "arm64").missed
    assert check(wanted, {}, "6.12.117", rows, "x86_64").missed


@pytest.mark.parametrize(
    ("version", "tests", "result"),
    [
        ("6.12.117", ">=6.12", True),
        ("6.12.117", "<6.12", False),
        ("6.9.1", "<6.12", True),
        ("7.0.0-rc1", ">=7.0", True),
        ("5.15.0", ">=5.10,<5.15", False),
        ("5.14.21", ">=5.10,<5.15", True),
        ("6.12", "==6.12", True),
        ("6.12", "!=6.12", False),
        ("6.1", ">6", True),
    ],
)
def test_versions_compare_as_numbers(version: str, tests: str, result: bool) -> None:
    assert version_matches(version, tests) is result


@pytest.mark.parametrize(
    ("version", "nearest"), [("7.9.0", "7.2"), ("6.18.3", "6.12"), ("4.19.1", "5.10"), ("7.3.0-rc7", "7.2")]
)
def test_a_version_that_was_not_verified_names_the_nearest(version: str, nearest: str) -> None:
    matrix = replace(load_matrix(), verified=("5.10", "6.12", "7.2"))
    note = f"Linux {version} is not verified: the nearest verified is {nearest}"
    assert not_verified(version, matrix) == note
    assert not_verified("6.12.117", matrix) is None


def test_added_fragments_share_the_kernel_of_the_configuration_that_has_them() -> None:
    """Or the same kernel is built twice, under two names."""
    matrix = load_matrix()
    kernels = {
        name: find_configuration(matrix, name, "x86_64").kernel_name
        for name in ("default+strict", "no-dma-debug+strict", "swiotlb-force+strict", "upstream+strict")
    }
    assert list(kernels.values()) == ["strict", "strict-nodebug", "strict", "upstream-strict"]
    assert find_configuration(matrix, "default+strict", "x86_64").name == "default+strict"
    assert find_configuration(matrix, "upstream+strict", "arm64").kernel_name == "upstream+strict"
    assert resolve(matrix, "default+strict", "x86_64").name == "strict"


def test_every_required_symbol_is_asked_for_somewhere() -> None:
    matrix = load_matrix()
    asked = {line.symbol for path in matrix.directory.glob("*.config")
             for line in parse_fragment(path.read_text(), path.name)}  # fmt: skip
    assert matrix.required <= asked
    wanted = {line.symbol: line.required for line in resolve(matrix, "default", "x86_64").wanted}
    assert wanted["DMA_API_DEBUG"] and wanted["PVH"] and not wanted["EEPROM_AT24"]


def test_what_is_no_version_or_test_is_an_error() -> None:
    with pytest.raises(ConfigError, match="is not a version test"):
        version_matches("6.12", "newer")
    with pytest.raises(ConfigError, match="is not a kernel version"):
        version_matches("next", ">=6.12")


def test_every_row_of_the_matrix_resolves_for_every_architecture() -> None:
    matrix = load_matrix()
    assert project_root() / "kernel-configs" == matrix.directory
    for architecture in matrix.architectures:
        for row in matrix.configurations.values():
            if not row.architectures or architecture in row.architectures:
                assert resolve(matrix, row.name, architecture).wanted
    assert {"default", "no-vmap-stack", "no-dma-debug", "debug-sg"} <= set(matrix.configurations)


@pytest.mark.parametrize(
    "name",
    [row.name for row in load_matrix().configurations.values() if "x86_64" in (row.architectures or ("x86_64",))],
)
def test_a_kernel_with_acpi_is_not_asked_for_the_command_line_of_one_without(name: str) -> None:
    """A line that Kconfig can only drop would be a note on every result."""
    wanted = {line.symbol: line.value for line in resolve(load_matrix(), name, "x86_64").wanted}
    without = wanted["ACPI"] == "n"
    assert (wanted["CMDLINE_BOOL"] == "y", wanted["CMDLINE"] == '"noapic"') == (without, without)


def test_every_fragment_is_used_or_documented_as_an_addition() -> None:
    matrix = load_matrix()
    used = {name for row in matrix.configurations.values() for name in row.fragments}
    used |= {name for row in matrix.configurations.values() for more in row.more.values() for name in more}
    used |= {name for row in matrix.architectures.values() for name in row.fragments}
    used |= {f"{name}-{arch}" for name in used for arch in matrix.architectures}
    assert {path.stem for path in matrix.directory.glob("*.config")} - used == {"debug-info"}


def test_a_fragment_brings_what_it_means_on_one_architecture() -> None:
    def symbols(name: str, arch: str) -> set[str]:
        return {line.symbol for line in resolve(load_matrix(), name, arch).wanted}

    for name in ("strict", "preempt-rt+strict"):
        assert "XEN" in symbols(name, "arm64") and "XEN" not in symbols(name, "x86_64")


def test_configurations_differ_where_their_names_say() -> None:
    matrix = load_matrix()

    def value(configuration: str, symbol: str) -> str | None:
        wanted = resolve(matrix, configuration, "x86_64").wanted
        return next((line.value for line in wanted if line.symbol == symbol), None)

    assert value("default", "VMAP_STACK") == "y"
    assert value("no-vmap-stack", "VMAP_STACK") == "n"
    assert value("default", "DMA_API_DEBUG") == "y"
    assert value("no-dma-debug", "DMA_API_DEBUG") == "n"
    assert value("no-dma-debug", "DMA_API_DEBUG_SG") is None
    assert value("debug-sg", "DEBUG_SG") == "y"
    assert value("default+debug-info", "DEBUG_INFO") == "y"


def test_an_architecture_can_have_fragments_of_its_own() -> None:
    matrix = load_matrix()
    wanted = {arch: {line.symbol for line in resolve(matrix, "hosts", arch).wanted} for arch in ("arm64", "x86_64")}
    assert "I2C_MT65XX" in wanted["arm64"] - wanted["x86_64"] and "I2C_ISMT" in wanted["x86_64"] - wanted["arm64"]


def test_later_fragments_win_and_can_be_anybodys_file(matrix_dir: Path, tmp_path: Path) -> None:
    matrix = load_matrix(matrix_dir)
    mine = tmp_path / "mine.config"
    mine.write_text("# CONFIG_WANTED is not set")
    request = resolve(matrix, f"other+{mine}", "x86_64")
    values = {line.symbol: (line.value, line.place) for line in request.wanted}
    assert values["WANTED"] == ("n", "mine.config:1")
    assert values["STACKS"] == ("n", "other.config:1")
    assert request.text.endswith("# CONFIG_WANTED is not set\n")


@pytest.mark.parametrize(
    ("configuration", "architecture", "says"),
    [
        ("defualt", "x86_64", r"no configuration 'defualt': did you mean 'default'\? It is one of default, other"),
        ("default", "vax", r"no architecture 'vax': kernel-configs/arch/ has x86_64"),
        ("default+none", "x86_64", r"no fragment .*none.config: kernel-configs/ has base, other"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(
    matrix_dir: Path, configuration: str, architecture: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        resolve(load_matrix(matrix_dir), configuration, architecture)


def test_a_damaged_matrix_or_fragment_names_the_file(matrix_dir: Path) -> None:
    with pytest.raises(ConfigError, match=r"f.config:2 is neither"):
        parse_fragment("CONFIG_X=y\nCONFIG_Y y\n", "f.config")
    path = matrix_dir / "matrix.toml"
    path.write_text(path.read_text().replace('"<7.0"', '"before 7"'))
    with pytest.raises(ConfigError, match=r"matrix.toml:\d+: absence\[0\]: versions: .* is not a version test"):
        load_matrix(matrix_dir)
    path.write_text("[configuration.default\n")
    with pytest.raises(ConfigError, match=r"cannot read .*matrix.toml: Expected ']'"):
        load_matrix(matrix_dir)
    path.unlink()
    with pytest.raises(ConfigError, match=r"cannot read .*matrix.toml: No such file"):
        load_matrix(matrix_dir)


def add_rows(matrix_dir: Path, text: str) -> None:
    with (matrix_dir / "matrix.toml").open("a") as rows:
        rows.write(text)


def test_a_configuration_can_boot_the_kernel_of_another(matrix_dir: Path) -> None:
    add_rows(matrix_dir, '[configuration.forced]\nkernel = "other"\nappend = ["swiotlb=force"]\nmachine = "odd"\n')
    with pytest.raises(ConfigError, match=r"matrix.toml:\d+: configuration.forced: no architecture has a machine"):
        load_matrix(matrix_dir)
    with (matrix_dir / "arch" / "x86_64.toml").open("a") as file:
        file.write("[variation.odd]\n")
    matrix = load_matrix(matrix_dir)
    assert resolve(matrix, "forced", "x86_64") == resolve(matrix, "other", "x86_64")
    cell = find_configuration(matrix, "forced+base", "x86_64")
    assert (cell.name, cell.kernel_name, cell.append, cell.machine) == (
        "forced+base",
        "other+base",
        ("swiotlb=force",),
        "odd",
    )
    assert resolve(matrix, "forced+base", "x86_64").name == "other+base"


def test_a_configuration_exists_where_its_row_says(matrix_dir: Path) -> None:
    add_rows(matrix_dir, '[configuration.rt]\nfragments = ["base"]\narchitectures = ["x86_64"]\nversions = ">=6.12"\n')
    (matrix_dir / "arch" / "vax.toml").write_text((matrix_dir / "arch" / "x86_64.toml").read_text())
    matrix = load_matrix(matrix_dir)
    row = matrix.configurations["rt"]
    assert row.makes_sense("6.12.117", "x86_64")
    assert not row.makes_sense("6.1.192", "x86_64")
    assert not row.makes_sense("6.12.117", "vax")
    with pytest.raises(ConfigError, match=r"rt is for Linux >=6.12, not for 6.1.192"):
        resolve(matrix, "rt", "x86_64", "6.1.192")
    with pytest.raises(ConfigError, match="rt is for x86_64, not for vax"):
        resolve(matrix, "rt", "vax")


def test_an_architecture_exists_in_the_versions_that_its_file_says(matrix_dir: Path) -> None:
    text = (matrix_dir / "arch" / "x86_64.toml").read_text()
    (matrix_dir / "arch" / "vax.toml").write_text(text.replace("steps = 3", 'steps = 3\nversions = ">=6.12"'))
    matrix = load_matrix(matrix_dir)
    vax = matrix.architectures["vax"]
    assert vax.makes_sense("6.12.117") and not vax.makes_sense("6.1.192")
    assert matrix.architectures["x86_64"].makes_sense("2.6.12")
    assert resolve(matrix, "default", "vax", "6.12.117").architecture is vax
    with pytest.raises(ConfigError, match=r"the architecture vax is for Linux >=6.12, not for 6.1.192"):
        resolve(matrix, "default", "vax", "6.1.192")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("", "needs either 'fragments' or 'kernel'"),
        ('kernel = "default"\nfragments = ["base"]', "needs either 'fragments' or 'kernel'"),
        ('kernel = "defualt"', "no kernel 'defualt': those with fragments are default, other"),
        ('fragments = ["base"]\narchitectures = ["vax"]', "no architecture 'vax': kernel-configs/arch/ has x86_64"),
        (
            'fragments = ["base"]\nversions = "new"',
            r"matrix.toml:17: configuration.odd: versions: .* is not a version test",
        ),
        ('fragments = "base"', r"matrix.toml:18: configuration.odd: fragments: Expected `array`, got `str`"),
        ('fragments = ["base"]\nappends = []', r"matrix.toml:19: configuration.odd: unknown key 'appends'"),
    ],
)
def test_a_row_that_cannot_be_is_named(matrix_dir: Path, row: str, says: str) -> None:
    add_rows(matrix_dir, f"[configuration.odd]\n{row}\n")
    with pytest.raises(DmasafeError, match=says) as caught:
        load_matrix(matrix_dir)
    assert "odd" in str(caught.value) or "version test" in str(caught.value)


@pytest.mark.parametrize(
    ("table", "read"),
    [
        ("memory", find_layout),
        ("machine", find_machine),
        ("log", dialect_of),
        ("variation.iommu", lambda name: find_machine.__wrapped__(name, "iommu")),
    ],
)
def test_a_mistake_in_a_table_of_an_architecture_s_file_names_its_line(table, read, tmp_path, monkeypatch):
    written = (project_root() / "kernel-configs" / "arch" / "x86_64.toml").read_text()
    (tmp_path / "kernel-configs" / "arch").mkdir(parents=True)
    (tmp_path / "kernel-configs" / "arch" / "x86_64.toml").write_text(
        written.replace(f"[{table}]", f"[{table}]\nx = 1")
    )
    monkeypatch.setattr("dmasafe.architecture.project_root", lambda: tmp_path)
    with pytest.raises(ArchitectureError) as caught:
        getattr(read, "__wrapped__", read)("x86_64")
    line = written.splitlines().index(f"[{table}]") + 2
    assert str(caught.value).startswith(f"{tmp_path}/kernel-configs/arch/x86_64.toml:{line}: {table}: unknown key 'x'")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("steps = 3", "", r"x86_64.toml:\d+: kernel: key 'steps' is missing"),
        ("steps = 3", 'steps = "3"', r"x86_64.toml:\d+: kernel: steps: Expected `int`, got `str`"),
        ("steps = 3", "steps = 3\nstep = 4", r"x86_64.toml:\d+: kernel: unknown key 'step'"),
        ("steps = 3", "steps = 3\nversions = 6", r"x86_64.toml:\d+: kernel: versions: Expected `str`, got `int`"),
        ('uname = "x86_64"', "", "x86_64.toml: key 'uname' is missing"),
        ('uname = "x86_64"', 'uname = "x86_64"\nsuite = "sid"', r"x86_64.toml:\d+: unknown key 'suite'"),
        ("[machine]", "[machines]", "x86_64.toml: key 'machine' is missing"),
        ("[machine]", "[machine", "cannot read .*x86_64.toml: Expected"),
        ('debian = "amd64"', "debian = 64", r"x86_64.toml:\d+: debian: Expected `str`, got `int`"),
    ],
)
def test_a_damaged_architecture_names_the_file_and_the_entry(matrix_dir: Path, old: str, new: str, says: str) -> None:
    path = matrix_dir / "arch" / "x86_64.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ArchitectureError, match=says):
        load_matrix(matrix_dir)


def test_an_unknown_architecture_or_machine_lists_the_known_ones() -> None:
    with pytest.raises(ArchitectureError, match=r"no architecture 'vax': kernel-configs/arch/ has .*arm64"):
        find_architecture("vax")


@pytest.mark.parametrize(
    ("name", "line"),
    [("strict", 64), ("strict-nodebug", 64), ("strict-128", 128), ("default+strict", 64), ("default", 0), ("iommu", 0)],
)
def test_a_kernel_with_the_fragment_is_for_the_strict_machine(name: str, line: int) -> None:
    matrix = load_matrix()
    assert strict_line(matrix, find_configuration(matrix, name, "x86_64")) == line
