# SPDX-License-Identifier: GPL-2.0-or-later
"""What a board needs is read in modules and sources."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dmasafe.prove.drivers import CHILD, CONDUIT, KNOWN, PORTS, Chip, Driver, Modules
from dmasafe.prove.perform import wishes

SOURCE = """
#define CHIP_ID 0x1234
#define CHIP_MODES 3
static const char * const chip_supplies[] = { "avdd", "dvdd" };
static int chip_probe(struct spi_device *spi)
{
	reset = devm_gpiod_get_optional(&spi->dev, "reset", GPIOD_OUT_LOW);
	vref = devm_regulator_get(&spi->dev, "vref");
	device_property_read_u32(&spi->dev, "maxim,rate", &rate);
	device_property_read_u32(child, "reg", &reg);
	request_firmware(&fw, "chip/a.bin", &spi->dev);
	if (value != CHIP_ID)
		return -ENODEV;
}
"""


def _module(home: Path, name: str, info: bytes, *sources: str) -> None:
    path = home / f"{name}.ko"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0" + info)
    path.with_suffix(".mod").write_text("\n".join(source.removesuffix(".c") + ".o" for source in sources))


def _alone(tree: Path, file: str, text: str, info: bytes) -> Driver:
    """The driver of a tree with one source file."""
    path = tree / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    name = file.removesuffix(".c")
    _module(tree, name, info, file)
    (tree / "modules.order").write_text(f"{name}.o\n")
    (driver,) = Modules([tree], tree).drivers(file)
    return driver


@pytest.fixture
def modules(tmp_path: Path) -> Modules:
    tree, build = tmp_path / "tree", tmp_path / "build"
    (tree / "drivers/hwmon").mkdir(parents=True)
    (tree / "drivers/hwmon/chip.c").write_text(SOURCE)
    chip = "drivers/hwmon/chip"
    info = (
        b"alias=spi:chip1\0alias=spi:chip2\0alias=of:N*T*Cmaxim,chip1\0alias=of:N*T*Cmaxim,chip1C*\0depends=chip-core\0"
    )
    _module(build, chip, info, f"{chip}.c")
    _module(build, f"{chip}-core", b"depends=\0", f"{chip}-core.c")
    (build / "modules.order").write_text(f"{chip}-core.o\n{chip}.o\n")
    return Modules([build], tree)


def test_a_driver_is_found_by_its_source_file(modules: Modules) -> None:
    (driver,) = modules.drivers("drivers/hwmon/chip.c")
    assert driver.module == "chip"
    assert [path.stem for path in driver.load] == ["chip-core", "chip"]
    assert driver.chips == (Chip("chip1", "maxim,chip1"), Chip("chip2", ""))


def test_shared_code_is_reached_through_its_users(modules: Modules) -> None:
    assert [driver.module for driver in modules.drivers("drivers/hwmon/chip-core.c")] == ["chip"]
    assert modules.drivers("drivers/hwmon/other.c") == []


def test_a_driver_without_a_table_is_known_by_its_name(tmp_path: Path) -> None:
    text = 'static struct spi_driver flash_driver = {\n\t.driver = {\n\t\t.name = "flash25",\n\t},\n};\n'
    driver = _alone(tmp_path, "drivers/mtd/flash.c", text, b"license=GPL\0depends=\0")
    assert driver.chips == (Chip("flash25", ""),)


def test_what_a_probe_asks_for_is_read_in_its_source(modules: Modules) -> None:
    (driver,) = modules.drivers("drivers/hwmon/chip.c")
    assert set(driver.words) == {"g:reset=0", "s:vref=3300000", "s:avdd=3300000", "s:dvdd=3300000"}
    assert driver.properties == ("u:maxim,rate=1",)
    assert driver.firmware == ("chip/a.bin",)


def test_what_an_answer_is_compared_with_may_be_the_answer(modules: Modules) -> None:
    (driver,) = modules.drivers("drivers/hwmon/chip.c")
    assert driver.constants == ("1234", "3412")


@pytest.mark.parametrize(
    ("text", "constants"),
    [
        ("enum {\n\tCHIP1_DEVICE_ID = 0x25,\n};\n\tcase CHIP1_DEVICE_ID:\n", ("25",)),
        ('static const struct flash flashes[] = {\n\t{"sst25lf020a", 0xbf43, 256},\n};\n', ("bf43", "43bf")),
        ("#define FAMILY_A 0x87\n\tcase 0x99:\n\t.family_id = FAMILY_A,\n\t.width = 0x40,\n", ("87", "99")),
    ],
)
def test_tables_of_chips_have_answers(modules: Modules, tmp_path: Path, text: str, constants: tuple[str, ...]) -> None:
    (tmp_path / "tree/drivers/hwmon/chip.c").write_text(text)
    assert modules.drivers("drivers/hwmon/chip.c")[0].constants == constants


def test_a_table_without_aliases_has_chips(tmp_path: Path) -> None:
    text = 'static const struct spi_device_id pot_id[] = {\n\t{"pot1", 1},\n\t{ .name = "pot2" },\n\t{}\n};\n'
    driver = _alone(tmp_path, "drivers/misc/pot.c", text, b"alias=spi:pot\0depends=\0")
    assert [chip.modalias for chip in driver.chips] == ["pot1", "pot2", "pot"]


def test_a_chip_that_is_known_comes_first(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KNOWN, "chip", ("chip2", "00,01=22"))
    (driver,) = modules.drivers("drivers/hwmon/chip.c")
    assert [chip.modalias for chip in driver.chips] == ["chip2", "chip1"]
    assert driver.constants[0] == "00,01=22"


def test_a_chip_that_is_known_answers_so_on_its_first_board() -> None:
    rule = KNOWN["cc2520"][1]
    driver = Driver("cc2520", (), (Chip("cc2520", ""),), (), (), (rule, "12"), ())
    assert f"a:{rule}" in wishes(driver)[0].split()


def test_what_is_known_of_a_chip_is_what_a_board_takes() -> None:
    header = (Path(__file__).parents[3] / "images/prove/prove.h").read_text()
    most, size = (int(re.findall(rf"#define {name} (\d+)", header)[0]) for name in ("ROWS_MAX", "ROW_SIZE"))
    for _, rule in KNOWN.values():
        rows = [row.split("=") for row in rule.split(",")[1:]]
        assert 0 < len(rows) <= most
        assert all(0 < len(bytes.fromhex(text)) <= size for row in rows for text in row)


@pytest.mark.parametrize(
    ("text", "properties"),
    [
        ("dsa_register_switch(ds); for_each_child_of_node(np, child)", PORTS),
        ("for_each_child_of_node(np, child)", CHILD),
        ('of_property_read_u8(np, "reg-io-width", &v); get_property_value(dev, "data-size")',
         ("u:reg-io-width=1", "u:data-size=1")),
    ],
)  # fmt: skip
def test_a_node_has_what_its_driver_looks_for(
    modules: Modules, tmp_path: Path, text: str, properties: tuple[str, ...]
) -> None:
    (tmp_path / "tree/drivers/hwmon/chip.c").write_text(text)
    assert modules.drivers("drivers/hwmon/chip.c")[0].properties == properties


def test_an_interrupt_has_the_name_that_its_driver_asks_for(modules: Modules, tmp_path: Path) -> None:
    (tmp_path / "tree/drivers/hwmon/chip.c").write_text('irq = of_irq_get_byname(spi->dev.of_node, "udc");')
    assert modules.drivers("drivers/hwmon/chip.c")[0].words == ("t:interrupt-names=udc",)


def test_a_switch_has_a_user_port_and_the_cpus() -> None:
    assert {"t:ports/port@0/label=lan0", f"u:ports/port@1/ethernet={CONDUIT:#x}"} <= set(PORTS)
    board = (Path(__file__).parents[3] / "images/prove/prove_board.c").read_text()
    assert f"#define CONDUIT_PHANDLE {CONDUIT:#x}" in board


def test_some_boards_are_slow_some_chips_interrupt_and_ports_differ() -> None:
    driver = Driver("chip", (), (Chip("a", "x,a"),), (), ("t:ports/port@0/phy-mode=mii", "u:data-size=1"), ("12",), ())
    made = [wish.split() for wish in wishes(driver)]
    for words in (["hz:1000000", "mode:1"], ["pulse"], ["pdata"], ["t:ports/port@0/phy-mode=rgmii"], ["u:data-size=8"]):
        assert any(set(words) <= set(wish) for wish in made), words


def test_every_wish_is_another_board() -> None:
    driver = Driver("chip", (), (Chip("a", "x,a"), Chip("b", "")), ("g:reset=0",), ("u:n=1",), ("12",), ())
    made = wishes(driver)
    assert len(set(made)) == len(made)
    assert made[0] == "a x,a irq a:00 g:reset=0"
    assert any(wish.startswith("b - ") for wish in made)
    assert any("a:12" in wish and "u:n=1" in wish for wish in made)
