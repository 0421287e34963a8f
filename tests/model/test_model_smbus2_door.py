# SPDX-License-Identifier: GPL-2.0-or-later
"""The smbus2 door: whose files are the model's, and what its ioctl() does with structures that smbus2 never makes."""

import array
import ctypes
import errno
import fcntl
import os
import termios

import pytest

from dmasafe.devices.bus import Bus
from dmasafe.devices.slaves.recorder import Recorder
from dmasafe.devices.slaves.register_file import RegisterFile
from dmasafe.model import ModelKernel
from dmasafe.model.i2cdev import I2C_FUNCS, I2C_PEC, I2C_RDWR, I2C_SLAVE, I2C_SMBUS

smbus2 = pytest.importorskip("smbus2")

from dmasafe.model.smbus_door import Door  # noqa: E402

low = smbus2.smbus2


@pytest.fixture
def door():
    kernel = ModelKernel(slaves=Bus({0x20: RegisterFile(), 0x30: Recorder()}))
    kernel.adapter("dmasafe")
    return Door(kernel)


@pytest.fixture
def fd(door):
    return door.open("/dev/i2c-0", os.O_RDWR)


def failing(errnos, call, *args):
    with pytest.raises(OSError) as failed:
        call(*args)
    assert failed.value.errno == errnos and failed.value.strerror == os.strerror(errnos)


@pytest.mark.parametrize("path", ["/dev/i2c-0", "/dev/i2c/0"])
def test_the_models_files_have_numbers_of_their_own(door, path):
    first, second = door.open(path, os.O_RDWR), door.open(path, os.O_RDWR)
    assert second == first + 1 > 1 << 30 and len(door.files) == 2
    door.close(first)
    assert list(door.files) == [second]
    failing(errno.EBADF, door.read, first, 1)
    failing(errno.EBADF, door.close, first)


def test_an_adapter_that_is_not_there_has_no_file(door):
    failing(errno.ENOENT, door.open, "/dev/i2c-9", os.O_RDWR)


def test_everything_else_is_this_machines(door, tmp_path):
    file = door.open(str(tmp_path / "f"), os.O_RDWR | os.O_CREAT, 0o600)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600
    assert door.write(file, b"four") == 4 and door.lseek(file, 0, os.SEEK_SET) == 0 and door.read(file, 9) == b"four"
    door.close(file)
    failing(errno.EBADF, os.fstat, file)
    reading, writing = os.pipe()
    os.write(writing, b"abc")
    waiting = array.array("i", [0])
    assert door.ioctl(reading, termios.FIONREAD, waiting) == 0 and waiting[0] == 3
    os.close(reading)
    os.close(writing)


def test_reads_and_writes_go_to_the_slave(door, fd):
    assert door.ioctl(fd, I2C_SLAVE, 0x20) == 0
    assert door.write(fd, b"\x10") == 1 and door.read(fd, 3) == b"\x10\x11\x12"
    assert door.ioctl(fd, I2C_SLAVE, 0x77) == 0
    failing(errno.ENXIO, door.read, fd, 1)
    failing(errno.ENXIO, door.write, fd, b"x")
    failing(errno.EINVAL, door.ioctl, fd, I2C_SLAVE, 0x80)
    failing(errno.ENOTTY, door.ioctl, fd, 0x0799, 0)
    assert door.ioctl(fd, I2C_PEC) == 0


def test_functionality_is_stored_where_the_caller_wants_it(door, fd):
    answer = ctypes.c_uint32()
    assert door.ioctl(fd, I2C_FUNCS, answer) == 0
    assert answer.value == door.files[fd].funcs() != 0


@pytest.mark.parametrize("request_", [I2C_FUNCS, I2C_RDWR, I2C_SMBUS])
def test_a_number_is_no_pointer(door, fd, request_):
    failing(errno.EFAULT, door.ioctl, fd, request_, 0)


def messages(*made):
    return low.i2c_rdwr_ioctl_data((low.i2c_msg * len(made))(*made), len(made))


def test_messages_are_carried_out_and_what_was_read_is_stored(door, fd):
    sent, got = low.i2c_msg.write(0x20, [0x40]), low.i2c_msg.read(0x20, 3)
    assert door.ioctl(fd, I2C_RDWR, messages(sent, got)) == 2
    assert list(got) == [0x40, 0x41, 0x42] and list(sent) == [0x40]
    untouched = low.i2c_msg.read(0x77, 2)
    failing(errno.ENXIO, door.ioctl, fd, I2C_RDWR, messages(untouched))
    assert list(untouched) == [0, 0]


def test_messages_that_are_not_there_are_refused(door, fd):
    for none in (low.i2c_rdwr_ioctl_data(None, 1), low.i2c_rdwr_ioctl_data((low.i2c_msg * 1)(), 0)):
        failing(errno.EINVAL, door.ioctl, fd, I2C_RDWR, none)
    for flags in (0, 1):
        failing(errno.EFAULT, door.ioctl, fd, I2C_RDWR, messages(low.i2c_msg(0x30, flags, 1, None)))
        assert door.ioctl(fd, I2C_RDWR, messages(low.i2c_msg(0x30, flags, 0, None))) == 1


def test_smbus_requests_may_have_no_data_or_get_it_back(door, fd):
    door.ioctl(fd, I2C_SLAVE, 0x20)

    def request(read_write, command, size, data=None):
        made = low.i2c_smbus_ioctl_data(read_write=read_write, command=command, size=size)
        made.data = data
        return made

    assert door.ioctl(fd, I2C_SMBUS, request(0, 0, 0)) == 0
    failing(errno.EINVAL, door.ioctl, fd, I2C_SMBUS, request(1, 0, 1))
    data = low.union_i2c_smbus_data()
    data.block[2] = 0xEE
    assert door.ioctl(fd, I2C_SMBUS, request(1, 0x33, 3, ctypes.pointer(data))) == 0
    assert (data.word, data.block[2]) == (0x3433, 0xEE)
    data.word = 0x1234
    assert door.ioctl(fd, I2C_SMBUS, request(0, 0x50, 3, ctypes.pointer(data))) == 0
    assert door.kernel.bus.slaves[0x20].registers[0x50:0x52] == b"\x34\x12"
    door.ioctl(fd, I2C_SLAVE, 0x77)
    failing(errno.ENXIO, door.ioctl, fd, I2C_SMBUS, request(1, 0, 3, ctypes.pointer(data)))
    assert data.word == 0x1234


def test_files_left_open_are_closed_with_the_door():
    kernel = ModelKernel()
    kernel.adapter("dmasafe")
    with kernel.installed():
        door = low.os
        fd = door.open("/dev/i2c-0", os.O_RDWR)
        assert low.ioctl == door.ioctl and fd in door.files
    assert door.files == {} and low.os is os and low.ioctl is fcntl.ioctl
