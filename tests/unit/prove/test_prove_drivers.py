# SPDX-License-Identifier: GPL-2.0-or-later
"""What a board needs is read in modules and sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmasafe.prove.drivers import Chip, Driver, Modules
from dmasafe.prove.evidence import Attempt
from dmasafe.prove.perform import MAX_LOST, Prover, Store, wishes

SOURCE = """
#define CHIP_ID 0x1234
#define CHIP_MODES 3
static const char * const chip_supplies[] = { "avdd", "dvdd" };
static int chip_probe(struct spi_device *spi)
{
	reset = devm_gpiod_get_optional(&spi->dev, "reset", GPIOD_OUT_LOW);
	vref = devm_regulator_get(&spi->dev, "vref");
	device_property_read_u32(&spi->dev, "maxim,rate", &rate);
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
    (tmp_path / "drivers/mtd").mkdir(parents=True)
    text = 'static struct spi_driver flash_driver = {\n\t.driver = {\n\t\t.name = "flash25",\n\t},\n};\n'
    (tmp_path / "drivers/mtd/flash.c").write_text(text)
    _module(tmp_path, "drivers/mtd/flash", b"license=GPL\0depends=\0", "drivers/mtd/flash.c")
    (tmp_path / "modules.order").write_text("drivers/mtd/flash.o\n")
    (driver,) = Modules([tmp_path], tmp_path).drivers("drivers/mtd/flash.c")
    assert driver.chips == (Chip("flash25", ""),)


def test_what_a_probe_asks_for_is_read_in_its_source(modules: Modules) -> None:
    (driver,) = modules.drivers("drivers/hwmon/chip.c")
    assert set(driver.words) == {"g:reset=0", "s:vref=3300000", "s:avdd=3300000", "s:dvdd=3300000"}
    assert driver.properties == ("u:maxim,rate=1",)
    assert driver.firmware == ("chip/a.bin",)


def test_what_an_answer_is_compared_with_may_be_the_answer(modules: Modules) -> None:
    (driver,) = modules.drivers("drivers/hwmon/chip.c")
    assert driver.constants == ("1234", "3412")


def test_every_wish_is_another_board() -> None:
    driver = Driver("chip", (), (Chip("a", "x,a"), Chip("b", "")), ("g:reset=0",), ("u:n=1",), ("12",), ())
    made = wishes(driver)
    assert len(set(made)) == len(made)
    assert made[0] == "a x,a irq a:00 g:reset=0"
    assert any(wish.startswith("b - ") for wish in made)
    assert any("a:12" in wish and "u:n=1" in wish for wish in made)


class Played(Prover):
    """Boards of which every attempt is what ``becomes`` says."""

    def __init__(self, becomes: str = "") -> None:
        self.becomes = becomes

    def _attempt(self, driver: Driver, wish: str) -> Attempt:
        return Attempt(wish, ("bound: 0",), lost=self.becomes)


DRIVER = Driver("chip", (), (Chip("a", "x,a"),), (), (), ("12", "34"), ())


def test_attempts_go_on_round_by_round() -> None:
    attempts: list[Attempt] = []
    Played().prove(DRIVER, attempts, 2, lambda _: False)
    assert len(attempts) == 2
    Played().prove(DRIVER, attempts, 99, lambda _: False)
    assert [one.wish for one in attempts] == list(wishes(DRIVER))


def test_enough_is_enough() -> None:
    attempts: list[Attempt] = []
    Played().prove(DRIVER, attempts, 99, lambda so_far: len(so_far) == 3)
    assert len(attempts) == 3


def test_a_driver_that_costs_boots_is_left_alone() -> None:
    attempts: list[Attempt] = []
    Played("the guest panicked").prove(DRIVER, attempts, 99, lambda _: False)
    assert len(attempts) == MAX_LOST


def test_what_was_seen_is_kept_for_the_next_run(tmp_path: Path) -> None:
    store = Store(tmp_path / "proofs")
    assert store.load("chip") == []
    store.save("chip", [Attempt("a x,a", ("new: 0",))])
    assert store.load("chip") == [Attempt("a x,a", ("new: 0",))]
