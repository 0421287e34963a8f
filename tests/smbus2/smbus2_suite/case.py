# SPDX-License-Identifier: GPL-2.0-or-later
"""A bus that writes down what it was asked and what came of it, and the base of all cases.

What is written down is compared between places, call by call; the cases' own claims hold in each.
"""

import ctypes
import errno
import os
import unittest
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import smbus2
from smbus2 import smbus2 as low

# include/uapi/linux/i2c-dev.h and i2c.h, as far as smbus2 does not name them
I2C_RETRIES = 0x0701
I2C_TIMEOUT = 0x0702
I2C_TENBIT = 0x0704
I2C_M_TEN = 0x0010
I2C_M_DMA_SAFE = 0x0200
I2C_M_RECV_LEN = 0x0400
I2C_SMBUS_I2C_BLOCK_BROKEN = 6
MAX_MESSAGES = 42
MAX_BYTES = 8192

# The slaves (harness/dmasafe/devices/slaves)
REGISTERS = 0x20
RECORDER = 0x30
SMBUS = 0x40
SMALL_EEPROM = 0x50
EEPROM = 0x51
REFUSING = 0x60
SLOW = 0x68
NOBODY = 0x77

# Longer data is noted by its length and checksum.
_NOTED_BYTES = 40


def shown(value):
    """A value as it is noted: short, and the same in every place."""
    if isinstance(value, (bytes, bytearray)):
        if len(value) > _NOTED_BYTES:
            return f"<{len(value)} bytes, crc32 {zlib.crc32(value):08x}>"
        return value.hex() or "''"
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(item, low.i2c_msg) for item in value):
            return "[" + ", ".join(map(shown, value)) + "]"
        return shown(bytes(value)) if all(type(item) is int and 0 <= item < 256 for item in value) else repr(value)
    if isinstance(value, low.i2c_msg):
        way = "read" if value.flags & low.I2C_M_RD else "write"
        data = "NULL" if not value.buf else shown(payload(value))
        return f"{way} {value.addr:#x} flags {value.flags & ~low.I2C_M_RD:#x} {data}"
    if isinstance(value, ctypes.Structure):
        return type(value).__name__
    if isinstance(value, int):
        return hex(value)
    return repr(value)


def payload(message):
    """The bytes of a message. bytes(message) would be the structure's own in old versions of smbus2."""
    return bytes(list(message))


def smbus_ioctl(read_write, command, size, block=b"", data=True):
    """struct i2c_smbus_ioctl_data with the union's first bytes; without ``data`` its pointer is NULL."""
    request = low.i2c_smbus_ioctl_data.create(read_write=read_write, command=command, size=size)
    for number, value in enumerate(block):
        request.data.contents.block[number] = value
    if not data:
        request.data = low.union_pointer_type()
    return request


class NotedBus:
    """An SMBus whose calls are noted with arguments and results; ``ioctl``, ``read`` and ``write`` go below it."""

    def __init__(self, bus, note, name=""):
        self._bus = bus
        self._note = note
        self._name = name

    def __getattr__(self, name):
        value = getattr(self._bus, name)
        return self._noted(name, value) if callable(value) else value

    def _noted(self, name, function, result=lambda answer, arguments: answer):
        def call(*arguments, **options):
            words = [*map(shown, arguments), *(f"{key}={value}" for key, value in options.items())]
            asked = f"{self._name}{name}({', '.join(words)})"
            try:
                answer = function(*arguments, **options)
            except OSError as error:
                self._note(f"{asked} fails: {errno.errorcode.get(error.errno, error.errno)}")
                raise
            except (TypeError, ValueError) as error:
                self._note(f"{asked} fails: {type(error).__name__}")
                raise
            self._note(f"{asked} = {shown(result(answer, arguments))}")
            return answer

        return call

    def i2c_rdwr(self, *messages):
        return self._noted("i2c_rdwr", self._bus.i2c_rdwr, lambda _, sent: list(sent))(*messages)

    def rdwr(self, *messages):
        """ioctl(I2C_RDWR): how many messages were carried out, which smbus2 does not tell."""

        def call(*sent):
            return low.ioctl(self._bus.fd, low.I2C_RDWR, low.i2c_rdwr_ioctl_data.create(*sent))

        done = self._noted("rdwr", call)(*messages)
        self._note(f"  left {shown(list(messages))}")
        return done

    def ioctl(self, request, argument=0):
        return self._noted("ioctl", lambda number, value: low.ioctl(self._bus.fd, number, value))(request, argument)

    def smbus(self, *arguments, **options):
        """ioctl(I2C_SMBUS) with whatever it is given; the union's 34 bytes afterwards."""
        request = smbus_ioctl(*arguments, **options)

        def call(*_arguments, **_options):
            low.ioctl(self._bus.fd, low.I2C_SMBUS, request)
            return bytes(request.data.contents.block) if request.data else b""

        return self._noted("smbus", call)(*arguments, **options)

    def read(self, count):
        return self._noted("read", lambda number: low.os.read(self._bus.fd, number))(count)

    def write(self, data):
        return self._noted("write", lambda sent: low.os.write(self._bus.fd, sent))(bytes(data))

    def open(self, bus):
        """Opens the file again; its name, which differs from place to place, is not noted."""
        return self._noted("open", lambda: self._bus.open(bus))()

    def slave(self, address):
        """ioctl(I2C_SLAVE), for ``read`` and ``write``."""
        return self.ioctl(low.I2C_SLAVE, address)


class Case(unittest.TestCase):
    """Has a bus of its own. ``system`` is where it runs (system.py, or the model's own)."""

    system = None

    def setUp(self):
        self.noted = []
        self.bus = self.open()

    @property
    def adapter(self):
        """``dmasafe``, a driver that says what went wrong, or ``virtio``, upstream's, which counts messages."""
        return self.system.adapter

    @property
    def follows_length(self):
        """Whether the adapter reads as many bytes as the slave says (I2C_M_RECV_LEN)."""
        return bool(self.bus.funcs & smbus2.I2cFunc.SMBUS_READ_BLOCK_DATA)

    @property
    def unanswered(self):
        """The errno of an SMBus call to which no slave acknowledges; None if it is the driver's own choice."""
        return {"dmasafe": errno.ENXIO, "virtio": errno.EIO}.get(self.adapter)

    def open(self, name="", bus=None, **options):
        """Another file on the same bus."""
        made = low.SMBus(self.system.bus if bus is None else bus, **options)
        self.addCleanup(made.close)
        return NotedBus(made, self.noted.append, name)

    @contextmanager
    def no_bytes(self):
        """The block calls with no bytes: refused, but by a kernel that leaves them to its adapter and the slave."""
        with self.refused(errno.EINVAL) if self.system.checks_lengths else suppress(OSError):
            yield

    @contextmanager
    def refused(self, *numbers):
        """The block ends in an OSError with one of these errnos; None stands for any."""
        with self.assertRaises(OSError) as caught:
            yield
        if None in numbers:
            return
        wanted = [errno.errorcode[number] for number in numbers]
        self.assertIn(errno.errorcode.get(caught.exception.errno), wanted)


class System:
    """This machine's /dev/i2c-N. ``adapter`` is the name of the controller behind it.

    ``checks_lengths``: the kernel refuses SMBus blocks of no bytes by itself.
    """

    PROCESS_TIMEOUT_S = 120

    def __init__(self, bus, adapter, checks_lengths=True):
        self.bus = bus
        self.adapter = adapter
        self.checks_lengths = checks_lengths

    def open(self):
        return low.SMBus(self.bus)

    def bind_driver(self, address, name="24c02"):
        """A kernel driver takes the address."""
        self._write("new_device", f"{name} {address:#x}")

    def unbind_driver(self, address):
        self._write("delete_device", f"{address:#x}")

    def _write(self, attribute, text):
        Path(f"/sys/bus/i2c/devices/i2c-{self.bus}/{attribute}").write_text(text)

    def processes(self, functions):
        """What each function returns (True or text), all running at the same time, each in a process of its own."""
        children = []
        for function in functions:
            ours, theirs = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(ours)
                try:
                    text = str(function())
                except BaseException as error:
                    text = f"{type(error).__name__}: {error}"
                os.write(theirs, text.encode())
                os._exit(0)
            os.close(theirs)
            children.append((child, ours))
        results = []
        for child, ours in children:
            with os.fdopen(ours, "rb") as pipe:
                results.append(pipe.read().decode())
            os.waitpid(child, 0)
        return results
