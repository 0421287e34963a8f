# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's client drivers that can be put on the emulated controllers: a row each.

A row names the chip, the slave that plays it, how a guest is asked about it and what the slave must hold then, and
which messages the driver sends, as its source says. A new client is a row here and a slave.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dmasafe.devices.bus import Slave
from dmasafe.devices.slaves.ad5110 import Ad5110
from dmasafe.devices.slaves.ad5622 import Ad5622
from dmasafe.devices.slaves.adm1266 import EXPONENT, PAGES, Adm1266
from dmasafe.devices.slaves.ds1307 import Ds1307
from dmasafe.devices.slaves.eeprom import Eeprom
from dmasafe.devices.slaves.ekth3500 import Ekth3500, Touch
from dmasafe.devices.slaves.hid_keyboard import HidKeyboard
from dmasafe.devices.slaves.lm75 import OVERTEMPERATURE, TEMPERATURE, Lm75, Tmp102
from dmasafe.devices.slaves.pca9534 import CONFIGURATION, Pca9534
from dmasafe.devices.slaves.st1633 import Finger, St1633


class Phase(StrEnum):
    """What is done with a client, in this order. UNBIND binds again; MESSAGES is about all that was sent."""

    PROBE = "probe"
    USE = "use"
    SUSPEND = "suspend"
    UNBIND = "unbind"
    REMOVE = "remove"
    MESSAGES = "messages"


@dataclass(frozen=True)
class Sent:
    """One kind of message: a buffer kind of dmasafe/vocabulary.py, the longest length, direction, I2C_M_DMA_SAFE."""

    buffer: str
    length: int
    read: bool
    marked: bool

    @property
    def words(self) -> str:
        return f"{'marked' if self.marked else 'unmarked'} {'read' if self.read else 'write'}, {self.buffer}"


@dataclass(frozen=True)
class Look:
    """A shell command, and what its output must be, from the slave as it is afterwards.

    ``change`` is done to the slave before; ``heard`` makes of the output what can be compared. ``since``: the first of
    the kernels read (6.12, 7.2) that has what is looked at.
    """

    what: str
    command: str
    holds: Callable[[Any], str]
    heard: Callable[[str], str] = str.strip
    change: Callable[[Any], None] | None = None
    since: tuple[int, ...] = ()


@dataclass(frozen=True)
class ClientDriver:
    """One client. ``chip`` is its name in the driver's id table, ``ready`` a file (a glob) that a whole probe leaves.

    ``reads_blocks``: whether its use depends on I2C_FUNC_SMBUS_READ_BLOCK_DATA, for which it does not ask.
    ``sources`` are its files in the kernel's source (shell patterns), if that is not one called as the driver.
    ``words`` are further words for dmasafe_clients.ko. ``sends`` are the messages of each phase, in order, given the
    kernel's version. The commands know ``$C`` (the client's directory), ``$B``, ``$A`` (bus, address), and what PRELUDE
    defines.
    """

    name: str
    driver: str
    chip: str
    address: int
    slave: Callable[[], Slave]
    needs: str
    ready: str
    sends: Callable[[tuple[int, ...]], dict[Phase, tuple[Sent, ...]]]
    probe: tuple[Look, ...]
    use: tuple[Look, ...]
    words: str = ""
    reads_blocks: bool = False
    sources: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Shell patterns of its files in the kernel's source."""
        return self.sources or (f"drivers/**/{self.driver}.c",)

    @property
    def interrupt(self) -> bool:
        return "irq" in self.words.split()


# Shell functions: show a file that is not ready yet; the input device; its next packet after an interrupt; hex digits.
PRELUDE = """
D=/sys/kernel/debug/dmasafe_clients
pull() { echo "$B $A" > $D/interrupt; }
patient() { n=0; until cat "$@" 2> /dev/null; do n=$((n + 1)); [ $n -lt 50 ] || return 1; sleep 0.02; done; }
input() {
	for e in $C/input/input*/event* $C/0018:*/input/input*/event*; do [ -e $e ] && echo /dev/input/${e##*/}; done
}
packet() {
	exec 3< $(input)
	pull
	/bin/busybox timeout 10 /bin/busybox dd bs=4096 count=1 <&3 2> /dev/null | hexdump -v -e '24/1 "%02x" "\\n"'
}
hex() { hexdump -v -e '1/1 "%02x"'; }
"""

_EVENT = struct.Struct("<16xHHi")
_EV_KEY, _EV_ABS = 0x01, 0x03
_ABS_MT_POSITION_X, _ABS_MT_POSITION_Y, _ABS_MT_TRACKING_ID, _ABS_MT_PRESSURE = 0x35, 0x36, 0x39, 0x3A
_KEY_A, _USAGE_A = 30, 0x04
_EV_LED, _LED_CAPSL = 0x11, 0x01
_REPEATED = 2
_CAPS_LOCK_LED = 0x02


def _events(output: str) -> list[tuple[int, int, int]]:
    """Type, code and value of the input events in PRELUDE's packet(); none where the output is something else."""
    try:
        packets = [bytes.fromhex(line) for line in output.split()]
    except ValueError:
        return []
    return [_EVENT.unpack(packet) for packet in packets if len(packet) == _EVENT.size]


def _touches(*codes: int) -> Callable[[str], str]:
    """The values of these ABS codes, code by code, in the order of the fingers."""

    def heard(output: str) -> str:
        events = _events(output)
        return repr([[value for kind, code, value in events if kind == _EV_ABS and code == wanted] for wanted in codes])

    return heard


def _keys(output: str) -> str:
    """Presses and releases; a slow guest's own repeats of a key that is held are left out."""
    events = _events(output)
    return repr([(code, value) for kind, code, value in events if kind == _EV_KEY and value != _REPEATED])


def _words(output: str) -> str:
    return " ".join(output.split())


def _always(*sent: Sent) -> Callable[[tuple[int, ...]], dict[Phase, tuple[Sent, ...]]]:
    """The same messages, whatever the version, in every phase."""
    return lambda version: dict.fromkeys(Phase, sent)


def _phases(
    probe: tuple[Sent, ...], use: tuple[Sent, ...], suspend: tuple[Sent, ...] = (), unbind: tuple[Sent, ...] = ()
) -> dict[Phase, tuple[Sent, ...]]:
    """``suspend`` and ``unbind`` are what comes before the resumed or newly bound driver is used again."""
    return {
        Phase.PROBE: probe,
        Phase.USE: use,
        Phase.SUSPEND: (*suspend, *use),
        Phase.UNBIND: (*unbind, *probe),
        Phase.REMOVE: unbind,
        Phase.MESSAGES: (*probe, *use, *suspend, *unbind),
    }


# ---- regmap (drivers/base/regmap): its own work_buf is kmalloc'ed, regmap_bulk_read() reads into the caller's buffer.


def _regmap_read(length: int, buffer: str = "heap") -> tuple[Sent, ...]:
    return Sent("heap", 1, False, False), Sent(buffer, length, True, False)


def _regmap_write(length: int) -> tuple[Sent, ...]:
    return (Sent("heap", 1 + length, False, False),)


# i2c_smbus_xfer_emulated(): two small arrays on the stack; blocks have a kmalloc'ed buffer of their own, marked.


def _smbus_read(length: int) -> tuple[Sent, ...]:
    return Sent("stack", 1, False, False), Sent("stack", length, True, False)


def _smbus_write(length: int) -> tuple[Sent, ...]:
    return (Sent("stack", 1 + length, False, False),)


_SMBUS_READ_BYTE = (Sent("stack", 1, True, False),)


# ---- the rows


def _thousandths(word: int, unit: int) -> str:
    return str(word * 1000 // unit)


def _lm75_sends(version: tuple[int, ...]) -> dict[Phase, tuple[Sent, ...]]:
    """Through regmap-i2c, the configuration by SMBus; since 6.16 or so everything by SMBus (its own regmap bus)."""
    configure = (*_smbus_read(1), *_smbus_write(1))
    if version >= (7, 0):
        return _phases(configure, (*_smbus_read(2), *_smbus_write(2)), configure, _smbus_write(1))
    return _phases(configure, (*_regmap_read(2), *_regmap_write(2)), configure, _smbus_write(1))


def _written(what: str, file: str, value: int, said: Callable[[Any], str]) -> Look:
    """``value`` goes to a file of sysfs, which must say afterwards what the slave has."""
    return Look(what, f"for f in {file}; do echo {value} > $f; cat $f; done", said)


def _temperature_looks(unit: int) -> tuple[Look, ...]:
    hwmon = "$C/hwmon/hwmon*"
    return (
        Look("temp1_input", f"patient {hwmon}/temp1_input", lambda s: _thousandths(s.registers[TEMPERATURE], unit)),
        _written(
            "temp1_max, written",
            f"{hwmon}/temp1_max",
            45000,
            lambda s: _thousandths(s.registers[OVERTEMPERATURE], unit),
        ),
    )


def _tmp102_sends(version: tuple[int, ...]) -> dict[Phase, tuple[Sent, ...]]:
    both = (*_regmap_read(2), *_regmap_write(2))
    return _phases(both, both, both, _regmap_write(2))


_DS1307_TIME = "cat $C/rtc/rtc*/date $C/rtc/rtc*/time"


def _ds1307_sends(version: tuple[int, ...]) -> dict[Phase, tuple[Sent, ...]]:
    probe = (*_regmap_read(8, "stack"), *_regmap_read(7, "stack"))
    # The nvmem file's buffer is kernfs's, and kmalloc'ed.
    use = (*_regmap_read(7, "stack"), *_regmap_write(7), *_regmap_read(56))
    return _phases(probe, use)


_PCA_LEVELS = """
base=$(cat /sys/class/gpio/gpiochip*/base | head -n 1)
for f in $C/gpio/gpiochip*/base; do base=$(cat $f); done
for i in 0 1 2 3 4 5 6 7; do
	p=$((base + i))
	echo $p > /sys/class/gpio/export || exit 1
	cat /sys/class/gpio/gpio$p/value
	echo $p > /sys/class/gpio/unexport
done
"""
_PCA_DRIVE = """
for f in $C/gpio/gpiochip*/base; do p=$(($(cat $f) + 3)); done
echo $p > /sys/class/gpio/export || exit 1
echo low > /sys/class/gpio/gpio$p/direction
cat /sys/class/gpio/gpio$p/direction /sys/class/gpio/gpio$p/value
echo high > /sys/class/gpio/gpio$p/direction
cat /sys/class/gpio/gpio$p/value
echo in > /sys/class/gpio/gpio$p/direction
echo out > /sys/class/gpio/gpio$p/direction
cat /sys/class/gpio/gpio$p/direction /sys/class/gpio/gpio$p/value
echo $p > /sys/class/gpio/unexport
"""


def _pca_pin(slave: Pca9534, pin: int) -> str:
    direction = "in" if slave.registers[CONFIGURATION] & 1 << pin else "out"
    return f"{direction} {slave.pins >> pin & 1}"


_CALIBRATE = """
echo 1 > $C/calibrate & p=$!
while kill -0 $p 2> /dev/null; do pull; sleep 0.05; done
wait $p || exit 1
cat $C/calibration_count
"""


def _elants_sends(version: tuple[int, ...]) -> dict[Phase, tuple[Sent, ...]]:
    command = (Sent("stack", 6, False, False), Sent("stack", 17, True, False))
    probe = (*_SMBUS_READ_BYTE, Sent("stack", 4, False, False), *command)
    packet = Sent("struct-embedded", 169, True, True)
    # elants_i2c_calibrate() has its commands in static const arrays.
    use = (packet, Sent("rodata", 4, False, False), *command)
    return _phases(probe, use, (Sent("stack", 4, False, False),))


def _st1232_sends(version: tuple[int, ...]) -> dict[Phase, tuple[Sent, ...]]:
    read = (Sent("stack", 1, False, False), Sent("devm", 20, True, True))
    return _phases(read, read)


def _hid_sends(version: tuple[int, ...]) -> dict[Phase, tuple[Sent, ...]]:
    command = Sent("heap", 16, False, True)
    # ihid->hdesc lies in the middle of struct i2c_hid; the interrupt's read is i2c_master_recv(), which does not mark.
    descriptor, report_descriptor = Sent("struct-embedded", 30, True, True), Sent("heap", 64, True, True)
    interrupt = Sent("heap", 64, True, False)
    probe = (*_SMBUS_READ_BYTE, command, descriptor, report_descriptor, interrupt)
    return _phases(probe, (interrupt, command), (command,), (command,))


def _ad5110_sends(version: tuple[int, ...]) -> dict[Phase, tuple[Sent, ...]]:
    both = (Sent("struct-embedded", 2, False, True), Sent("struct-embedded", 1, True, True))
    return _phases(both, both)


def _ad5446_sends(version: tuple[int, ...]) -> dict[Phase, tuple[Sent, ...]]:
    """A local variable until it became d16 in struct ad5446_state, aligned for DMA and marked."""
    marked = version >= (7, 0)
    return _phases((), (Sent("struct-embedded" if marked else "stack", 2, False, marked),))


def _adm1266_sends(version: tuple[int, ...]) -> dict[Phase, tuple[Sent, ...]]:
    numbers = (*_smbus_read(2), *_smbus_write(1))
    block_write = Sent("heap", 8, False, True)
    transfer = (Sent("struct-embedded", 3, False, True), Sent("struct-embedded", 257, True, True))
    probe = (*numbers, block_write) if version >= (7, 0) else (block_write, *numbers)
    # i2c_smbus_try_get_dmabuf() serves one message; the command byte before a block that is read is on the stack.
    block_read = (Sent("stack", 1, False, False), Sent("heap", 5, True, True))
    return _phases(probe, (*numbers, *block_read, *transfer))


def _volts(slave: Adm1266) -> str:
    return " ".join(str(word * 1000 >> -EXPONENT) for word in slave.volts)


def _moved(slave: Ekth3500) -> None:
    slave.touches = tuple(Touch(t.x + 13, t.y + 7, t.pressure + 1, t.width) for t in slave.touches)


def _new_fingers(slave: St1633) -> None:
    """Never where they were: the input core drops coordinates that it knows."""
    step = slave.touches
    slave.touch([Finger((321 + 5 * step) % 1024, (123 + 3 * step) % 600), Finger((900 + step) % 1024, step % 600)])


def _lifted(slave: St1633) -> None:
    slave.touch([])


def _press_a(slave: HidKeyboard) -> None:
    slave.keys = (_USAGE_A,)


def _release(slave: HidKeyboard) -> None:
    slave.keys = ()


def _led_event(value: int) -> str:
    """An input_event for the caps lock light, as printf wants it."""
    return "".join(f"\\{byte:03o}" for byte in _EVENT.pack(_EV_LED, _LED_CAPSL, value))


CLIENT_DRIVERS: dict[str, ClientDriver] = {
    row.name: row
    for row in (
        ClientDriver(
            "at24", "at24", "24c02", 0x50, Eeprom.c02, "EEPROM_AT24", "$C/eeprom",
            lambda version: _phases(_regmap_read(1, "stack"), (*_regmap_write(8), *_regmap_read(128))),
            probe=(Look("eeprom", "hex < $C/eeprom", lambda s: s.memory.hex()),),
            use=(
                Look(
                    "eeprom, written across pages",
                    "printf 'written by dmasafe, across pages' > $C/eeprom && hex < $C/eeprom",
                    lambda s: s.memory.hex(),
                ),
            ),
            words="pagesize=8",
        ),
        ClientDriver(
            "lm75", "lm75", "lm75b", 0x48, Lm75, "SENSORS_LM75", "$C/hwmon/hwmon*/temp1_input",
            _lm75_sends, probe=(), use=_temperature_looks(256),
        ),
        ClientDriver(
            "tmp102", "tmp102", "tmp102", 0x49, Tmp102, "SENSORS_TMP102", "$C/hwmon/hwmon*/temp1_input",
            _tmp102_sends, probe=(), use=_temperature_looks(128),
        ),
        ClientDriver(
            "ds1307", "rtc-ds1307", "ds1307", 0x68, Ds1307, "RTC_DRV_DS1307", "$C/rtc/rtc*/date",
            _ds1307_sends,
            probe=(Look("date and time", _DS1307_TIME, lambda s: s.time, _words),),
            use=(
                Look("nvram", "hex < $(echo $C/ds1307_nvram*/nvmem)", lambda s: s.ram.hex()),
                Look(
                    "date and time, set",
                    f"r=$(echo $C/rtc/rtc*); /bin/busybox hwclock -u -w -f /dev/${{r##*/}} && {_DS1307_TIME}",
                    lambda s: s.time,
                    _words,
                ),
            ),
        ),
        ClientDriver(
            "pca953x", "pca953x", "pca9534", 0x38, Pca9534, "GPIO_PCA953X", "$C/gpio/gpiochip*/base",
            _always(*_regmap_read(1), *_regmap_write(1)),
            sources=("drivers/gpio/gpio-pca953x.c",),
            probe=(),
            use=(
                Look("levels", _PCA_LEVELS, lambda s: " ".join(str(s.pins >> n & 1) for n in range(8)), _words),
                Look(
                    "pin 3, driven", _PCA_DRIVE, lambda s: f"out 0 1 {_pca_pin(s, 3)}", _words
                ),
            ),
        ),
        ClientDriver(
            "elants_i2c", "elants_i2c", "elants_i2c", 0x10, Ekth3500, "TOUCHSCREEN_ELAN", "$C/iap_mode",
            _elants_sends,
            probe=(
                Look("iap_mode", "cat $C/iap_mode", lambda s: "Normal"),
                Look(
                    "versions",
                    "cat $C/fw_version $C/bc_version $C/iap_version $C/test_version $C/solution_version $C/hw_version",
                    lambda s: "{:04x} {:02x} {:02x} {:02x} {:02x} {:04x}".format(
                        s.versions[0x00], *divmod(s.versions[0x10], 256), *divmod(s.versions[0xE0], 256),
                        s.versions[0xF0],
                    ),
                    _words,
                ),
            ),
            use=(
                Look(
                    "touches", "packet",
                    lambda s: repr([list(values) for values in zip(*(t[:3] for t in s.touches), strict=True)]),
                    _touches(_ABS_MT_POSITION_X, _ABS_MT_POSITION_Y, _ABS_MT_PRESSURE),
                    _moved,
                ),
                Look("calibration_count, after one more", _CALIBRATE, lambda s: f"0x{s.calibrations:04x}"),
            ),
            words="irq",
        ),
        ClientDriver(
            "st1232", "st1232-ts", "st1633-ts", 0x55, St1633, "TOUCHSCREEN_ST1232", "$C/input/input*/event*",
            _st1232_sends,
            sources=("drivers/input/touchscreen/st1232.c",),
            probe=(
                Look(
                    "firmware", "cat $C/fw_version $C/fw_revision", lambda s: f"{s.version} {s.revision:08x}", _words,
                    since=(7, 0),
                ),
            ),
            use=(
                Look(
                    "touches", "packet",
                    lambda s: repr([[f.x for f in s.fingers], [f.y for f in s.fingers]]),
                    _touches(_ABS_MT_POSITION_X, _ABS_MT_POSITION_Y),
                    _new_fingers,
                ),
                # A driver that is unbound while a finger is on the screen leaves its PM QoS request behind, freed.
                Look(
                    "both fingers, lifted",
                    "packet",
                    lambda s: repr([[-1, -1]] if not s.fingers else [[]]),
                    _touches(_ABS_MT_TRACKING_ID),
                    _lifted,
                ),
            ),
            words="irq",
        ),
        ClientDriver(
            "i2c_hid_of", "i2c_hid_of", "hid-over-i2c", 0x2C, HidKeyboard, "I2C_HID_OF",
            "$C/0018:*/input/input*/event*", _hid_sends,
            sources=("drivers/hid/i2c-hid/*",),
            probe=(Look("resets", "echo $BINDS", lambda s: str(s.resets)),),
            use=(
                Look("a key, pressed", "packet", lambda s: repr([(_KEY_A, 1)] if s.keys else []), _keys, _press_a),
                Look("a key, released", "packet", lambda s: repr([(_KEY_A, 0)] if not s.keys else []), _keys, _release),
                Look(
                    "a light, switched on",
                    f"printf '{_led_event(1)}' > $(input) && echo {_CAPS_LOCK_LED}",
                    lambda s: str(s.leds),
                ),
                # A suspended input device switches it off from a work item, which the adapter does not wait for.
                Look("the light, off", f"printf '{_led_event(0)}' > $(input) && echo 0", lambda s: str(s.leds)),
            ),
            words="irq hid-descr-addr=1",
        ),
        ClientDriver(
            "ad5110", "ad5110", "ad5110-10", 0x2F, Ad5110, "AD5110", "$C/iio:device*/out_resistance_raw",
            _ad5110_sends,
            probe=(
                Look("out_resistance_raw", "cat $C/iio:device*/out_resistance_raw", lambda s: str(s.wiper)),
                Look("store_eeprom", "cat $C/iio:device*/store_eeprom", lambda s: str(s.stored)),
            ),
            use=(
                _written(
                    "out_resistance_raw, written", "$C/iio:device*/out_resistance_raw", 99, lambda s: str(s.wiper)
                ),
                _written("store_eeprom, written", "$C/iio:device*/store_eeprom", 1, lambda s: str(s.stored)),
            ),
        ),
        ClientDriver(
            "ad5446", "ad5446", "ad5622", 0x0C, Ad5622, "REGULATOR_FIXED_VOLTAGE", "$C/iio:device*/out_voltage0_raw",
            _ad5446_sends,
            sources=("drivers/iio/dac/ad5446*",),
            probe=(),
            use=(
                _written("out_voltage0_raw, written", "$C/iio:device*/out_voltage0_raw", 3210, lambda s: str(s.value)),
                _written(
                    "out_voltage0_powerdown", "$C/iio:device*/out_voltage0_powerdown", 1, lambda s: str(s.power_down)
                ),
                _written(
                    "out_voltage0_powerdown, off", "$C/iio:device*/out_voltage0_powerdown", 0,
                    lambda s: str(s.power_down),
                ),
            ),
            words="vcc=3300000",
        ),
        ClientDriver(
            "adm1266", "adm1266", "adm1266", 0x40, Adm1266, "SENSORS_ADM1266", "$C/hwmon/hwmon*/in1_input",
            _adm1266_sends,
            sources=("drivers/hwmon/pmbus/adm1266.c", "drivers/hwmon/pmbus/pmbus*"),
            probe=(),
            use=(
                Look(
                    "in1_input to in17_input",
                    f"h=$(echo $C/hwmon/hwmon*); for i in $(seq {PAGES}); do cat $h/in${{i}}_input; done",
                    _volts,
                    _words,
                ),
                Look(
                    "the black box",
                    "hex < $(echo $C/*/nvmem) | head -c 256",
                    lambda s: b"".join(s.records).hex(),
                ),
                Look(
                    "GPIO1",
                    "b=$(cat $C/gpio/gpiochip*/base); echo $b > /sys/class/gpio/export; "
                    "for f in /sys/class/gpio/gpio$b /sys/class/gpio/*-GPIO1; do [ ! -e $f ] || cat $f/value; done; "
                    "echo $b > /sys/class/gpio/unexport",
                    lambda s: str(s.gpio & 1),
                ),
            ),
            reads_blocks=True,
        ),
    )
}  # fmt: skip
