# SPDX-License-Identifier: GPL-2.0-or-later
"""What a board needs for a driver: its modules, its chips' names, what its probe asks for, what its chip might say.

All is read in the built modules and in the driver's sources; nothing is known of any driver beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dmasafe.kernel.modules import load_order, module_name, modules_in, needed

#: Volts of whatever supply a driver asks for.
SUPPLY_UV = 3_300_000
MAX_CHIPS = 6
MAX_CONSTANTS = 8
#: A board takes so many words, and names of so many characters.
MAX_WORDS = 24
MAX_NAME = 31
#: What no table of a module tells: who uses what it registers, and whom it asks for by a symbol's name.
USERS = {"max3420_udc": ("g_zero",), "cxd2880_spi": ("cxd2880",), "wlcore_spi": ("wl12xx", "wl18xx")}
#: Chips that are asked for more than one thing before they are believed: which, and its rule (docs/prove.md).
#: The numbers are those that the driver's own sources define, in the files named.
KNOWN = {
    # b53_spi.c, b53_priv.h: B53_SPI_CMD_RACK in the status; BCM5397_DEVICE_ID in the register that is read.
    "b53_spi": ("bcm5397", "00,60fe=20,60f0=97"),
    # cc2520.c: CC2520_STATUS_XOSC32M_STABLE in every status; FSMSTAT1 is STATE_IDLE.
    "cc2520": ("cc2520", "ff,1033=00"),
    # ks8995.c: FAMILY_KS8995 in KS8995_REG_ID0; the chip's own number in the next register is 0.
    "ks8995": ("ks8995", "00,0300=95"),
    # sja1105_static_config.h, sja1105_spi.c: SJA1105QS_DEVICE_ID, SJA1105S_PART_NO in the register prod_id, and that
    # the status says it has taken the configuration; by the headers of these reads.
    "sja1105": ("sja1105s", "00,02000000=ae00030e,0300bc30=0009a870,02000010=80000000"),
}
DSA = "dsa_core"

_MODINFO = re.compile(rb"\0(alias|firmware)=([^\0]+)")
_SPI = re.compile(r"spi:(.+)")
_OF = re.compile(r"of:N\*T\*C(.+?)(?:C\*)?$")
_DRIVER_NAME = re.compile(r"struct\s+spi_driver\s+\w+\s*=\s*\{\s*\.driver\s*=\s*\{[^}]*?\.name\s*=\s*\"([\w.-]+)\"")
_ID_TABLE = re.compile(r"struct\s+spi_device_id\s+\w+\[\w*\]\s*=\s*\{(.*?)\n\};", re.DOTALL)
_ID = re.compile(r"\{\s*(?:\.name\s*=\s*)?\"([\w.-]+)\"")
_STRING = r'"([\w,.+-]+)"'
_GPIO = re.compile(r"\w*gpio\w*\([^;\"]{0,80}?" + _STRING)
_GPIO_INDEX = re.compile(r"gpiod_get_index(?:_optional)?\(\s*[^,\"]+,\s*" + _STRING + r"\s*,\s*(\d+)")
_GPIOS = re.compile(r"-gpios?$")
_SUPPLY = re.compile(r"regulator_get\w*\(\s*[^,\"]+,\s*" + _STRING)
_SUPPLY_MEMBER = re.compile(r"\.supply\s*=\s*" + _STRING)
_SUPPLY_LIST = re.compile(r"\w*(?:suppl|regul)\w*\s*\[[^\]]*\]\s*=\s*\{([^}]*)\}", re.IGNORECASE)
_VOLTAGE = re.compile(r"regulator_get_enable_read_voltage\(\s*[^,\"]+,\s*" + _STRING)
_NUMBER = re.compile(r"(?:property_read_u(?:8|16|32)|property_value)\(\s*[^,\"]+,\s*" + _STRING)
_PRESENCE = re.compile(r"(?:property_read_bool|property_present)\(\s*[^,\"]+,\s*" + _STRING)
_CHILDREN = re.compile(r"for_each_(?:available_)?child_(?:node|of_node)|get_next_(?:available_)?child|child_node_count")
_SWITCH = re.compile(r"\bdsa_register_switch\(")
_INTERRUPT = re.compile(r"irq_get_byname(?:_optional)?\(\s*[^,\"]+,\s*" + _STRING)
#: What a driver of LEDs, channels or the like wants below its node, and a driver of switches: two ports with links.
CHILD = ("u:led@0/reg=0", "t:led@0/label=prove")
#: dmasafe_prove.ko's network interface, by its node's phandle.
CONDUIT = 0x70700002
PORTS = tuple(
    f"{kind}:ports/port@{number}/{name}"
    for number, role in ((0, ("t", "label=lan0")), (1, ("u", f"ethernet={CONDUIT:#x}")))
    for kind, name in (
        ("u", f"reg={number}"), role, ("t", "phy-mode=mii"),
        ("u", "fixed-link/speed=100"), ("b", "fixed-link/full-duplex"),
    )
)  # fmt: skip
_FIRMWARE = re.compile(r'"([\w/.-]+\.(?:bin|fw|bit|ezp|mcu|rbf))"')
_DEFINE = re.compile(r"^\s*#\s*define\s+(\w+)\s+\(?(0[xX][0-9a-fA-F]+|\d+)[uUlL]*\)?\s*(?:/[/*].*)?$", re.MULTILINE)
_ENUMERATOR = re.compile(r"^\s*(\w+)\s*=\s*(0[xX][0-9a-fA-F]+)\s*,", re.MULTILINE)
#: An initialiser of a table of chips: a member by name, or a number after a name.
_MEMBER = re.compile(r"^\s*\.(\w+)\s*=\s*(0[xX][0-9a-fA-F]+|\w+)\s*,", re.MULTILINE)
_NAMED = re.compile(r"\{\s*\"[^\"]+\"\s*,\s*(0[xX][0-9a-fA-F]{2,8})\b")
_COMPARED = re.compile(r"[!=]=\s*\(?(0[xX][0-9a-fA-F]+|\w+)\b|\bcase\s+(0[xX][0-9a-fA-F]+|\w+)\s*:")
_TELLING = re.compile(r"(?:^|_)(?:\w*ID|WHO\w*|CHIP|REV|VER|MAGIC|PART|SIGN\w*|DEVICE|ECHO)(?:_|\d*$)", re.IGNORECASE)


@dataclass(frozen=True)
class Chip:
    """A chip's names: ``modalias`` in the id table, ``compatible`` in the device tree's table ("": in none)."""

    modalias: str
    compatible: str


@dataclass(frozen=True)
class Driver:
    """A driver for boards. ``load``: files in the order of loading. ``words``, ``properties``: as a wish has them.

    ``constants`` are what the driver compares something with: bytes that its chip might answer.
    """

    module: str
    load: tuple[Path, ...]
    chips: tuple[Chip, ...]
    words: tuple[str, ...]
    properties: tuple[str, ...]
    constants: tuple[str, ...]
    firmware: tuple[str, ...]


class Modules:
    """The modules that were built in ``directories``, and which source file of the ``tree`` is in which."""

    def __init__(self, directories: Iterable[Path], tree: Path) -> None:
        self._tree = tree
        self.paths = {name: path for each in directories for name, path in modules_in(each).items()}

    @cached_property
    def sources(self) -> Mapping[str, tuple[str, ...]]:
        """The source files of each module, relative to the tree."""
        found = {}
        for name, path in self.paths.items():
            words = path.with_suffix(".mod").read_text(encoding="utf-8").split()
            found[name] = tuple(word.removesuffix(".o") + ".c" for word in words if word.endswith(".o"))
        return found

    @cached_property
    def _info(self) -> Mapping[str, tuple[list[str], list[str]]]:
        """The aliases and the firmware files that each module names."""
        found: dict[str, tuple[list[str], list[str]]] = {}
        for name, path in self.paths.items():
            pairs = _MODINFO.findall(path.read_bytes())
            aliases = [text.decode(errors="replace") for key, text in pairs if key == b"alias"]
            found[name] = (aliases, [text.decode(errors="replace") for key, text in pairs if key == b"firmware"])
        return found

    @cached_property
    def _above(self) -> Mapping[str, set[str]]:
        """Which modules need each module, directly."""
        above: dict[str, set[str]] = {}
        for name, path in self.paths.items():
            for other in needed(path.read_bytes()):
                above.setdefault(other, set()).add(name)
        return above

    def drivers(self, file: str) -> list[Driver]:
        """The drivers through which the code of a source file can be reached: its own, or those that use it."""
        home = next((name for name, files in self.sources.items() if file in files), None)
        if home is None:
            return []
        level, seen = {home}, {home}
        while level:
            found = [self.driver(name) for name in sorted(level) if self.chips(name)]
            if found:
                return found
            level = {user for name in level for user in self._above.get(name, ())} - seen
            seen |= level
        return []

    def chips(self, module: str) -> tuple[Chip, ...]:
        """The SPI chips that a module drives, those first that differ most in their names."""
        aliases, _firmware = self._info[module]
        names = list(dict.fromkeys(match[1] for alias in aliases if (match := _SPI.fullmatch(alias))))
        text = "\n".join(self._texts(self.sources[module]))
        # Where no alias was made of a table, the module has one that is no chip's.
        table = [name for body in _ID_TABLE.findall(text) for name in _ID.findall(body)]
        names = sorted(dict.fromkeys([*names, *table]), key=lambda name: bool(table) and name not in table)
        compatibles = list(dict.fromkeys(match[1] for alias in aliases if (match := _OF.fullmatch(alias))))
        if not names:
            # Without a table, the core compares a device's name with the driver's.
            tails = [compatible.partition(",")[2] for compatible in compatibles]
            names = [name for name in (tails or _DRIVER_NAME.findall(text)) if name] if "spi_driver" in text else []
        by_chip = {text.partition(",")[2] or text: text for text in compatibles}
        rest = [text for text in compatibles if text.partition(",")[2] not in names]
        found = [Chip(name, by_chip.get(name, rest[0] if rest else "")) for name in names if name not in by_chip]
        found = [Chip(name, by_chip[name]) for name in names if name in by_chip] + found
        found.sort(key=lambda chip: chip.modalias not in KNOWN.get(module, ()))
        return tuple(_spread(found, MAX_CHIPS))

    def driver(self, module: str) -> Driver:
        """What is known of a driver."""
        order = [path for name in USERS.get(module, ()) for path in load_order(name, self.paths)]
        load = [*load_order(module, self.paths), *order]
        names = {module_name(path.stem) for path in load}
        if DSA in names:
            load[-1:-1] = [path for name, path in sorted(self.paths.items()) if name.startswith("tag_")]
        own = self.sources[module]
        folder = own[0].rpartition("/")[0]
        beside = [f for name in names for f in self.sources.get(name, ()) if f.rpartition("/")[0] == folder]
        text = "\n".join(self._texts(dict.fromkeys([*own, *beside])))
        return Driver(
            module,
            tuple(dict.fromkeys(load)),
            self.chips(module),
            tuple(_words(text))[: MAX_WORDS // 2],
            tuple(_properties(text)),
            (*KNOWN.get(module, ())[1:], *_constants(text)),
            tuple(dict.fromkeys([*self._info[module][1], *_FIRMWARE.findall(text)])),
        )

    def _texts(self, files: Iterable[str]) -> Iterator[str]:
        folders: set[Path] = set()
        for file in files:
            path = self._tree / file
            if path.is_file():
                yield path.read_text(encoding="utf-8", errors="replace")
                folders.add(path.parent)
        for folder in folders:
            for header in sorted(folder.glob("*.h"))[:40]:
                yield header.read_text(encoding="utf-8", errors="replace")


def _spread(found: Sequence[Chip], count: int) -> list[Chip]:
    """At most ``count`` of them, from the whole length of the table."""
    if len(found) <= count:
        return list(found)
    return [found[round(index * (len(found) - 1) / (count - 1))] for index in range(count)]


def _words(text: str) -> Iterator[str]:
    """The interrupt, GPIOs and supplies that a driver asks for by name, as words of a wish."""
    for name in _INTERRUPT.findall(text)[:1]:
        yield f"t:interrupt-names={name}"
    gpios = {(_GPIOS.sub("", name), 0) for name in _GPIO.findall(text)} | {
        (name, int(at)) for name, at in _GPIO_INDEX.findall(text)
    }
    for name, index in sorted(gpios):
        if len(name) <= MAX_NAME:
            yield f"g:{name}={index}"
    lists = [name for body in _SUPPLY_LIST.findall(text) for name in re.findall(_STRING, body)]
    supplies = [*_SUPPLY.findall(text), *_VOLTAGE.findall(text), *_SUPPLY_MEMBER.findall(text), *lists]
    for name in sorted(set(supplies)):
        if len(name) <= MAX_NAME:
            yield f"s:{name}={SUPPLY_UV}"


def _properties(text: str) -> Iterator[str]:
    """Nodes below the board's, then the numbers that a driver asks for by name."""
    if _SWITCH.search(text):
        yield from PORTS
    elif _CHILDREN.search(text):
        yield from CHILD
    for name in dict.fromkeys(_NUMBER.findall(text)):
        # A board's node has a reg.
        if len(name) <= MAX_NAME and name != "reg":
            yield f"u:{name}=1"


def _constants(text: str) -> Iterator[str]:
    """What the driver compares values with, as hexadecimal bytes, big endian first; identification first."""
    named = [*_DEFINE.findall(text), *_ENUMERATOR.findall(text)]
    defined = {name: int(value, 0) for name, value in named if not _octal(value)}
    scores: dict[int, int] = {}
    told = {word for member, word in _MEMBER.findall(text) if _TELLING.search(member)} | set(_NAMED.findall(text))
    for word in [*(first or second for first, second in _COMPARED.findall(text)), *sorted(told)]:
        value = defined.get(word)
        if value is None and word[:1].isdigit() and not _octal(word):
            try:
                value = int(word, 0)
            except ValueError:
                continue
        if value is not None and 0 < value < 1 << 32:
            telling = word in told or _TELLING.search(word) is not None
            scores[value] = max(scores.get(value, 0), telling + (value > 9))
    for name, value in defined.items():
        # In a table of chips, which is compared as a whole.
        if _TELLING.search(name) and 9 < value < 1 << 32:
            scores.setdefault(value, 0)
    ordered = sorted(scores, key=lambda value: -scores[value])[:MAX_CONSTANTS]
    for value in ordered:
        size = 1 if value < 1 << 8 else 2 if value < 1 << 16 else 4
        yield value.to_bytes(size, "big").hex()
        if size > 1:
            yield value.to_bytes(size, "little").hex()


def _octal(text: str) -> bool:
    return len(text) > 1 and text.isdigit() and text.startswith("0")
