# SPDX-License-Identifier: GPL-2.0-or-later
"""The smbus2 door: inside ``with kernel.installed():`` the smbus2 package opens the model's /dev/i2c-N.

Only the names ``os`` and ``ioctl`` of the module smbus2.smbus2 are exchanged; everybody else's stay what they are.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EFAULT, EINVAL, ENOENT
from typing import Any, Protocol

from dmasafe.model.errors import ModelError
from dmasafe.model.i2c import I2C_M_RD, SmbusData
from dmasafe.model.i2cdev import I2C_FUNCS, I2C_RDWR, I2C_SMBUS, I2cDevFile, UserMsg


class Kernel(Protocol):
    """What opens /dev/i2c-N."""

    def open(self, nr: int) -> I2cDevFile: ...


_MODULE = "smbus2.smbus2"
_PATH = re.compile(r"/dev/i2c[-/](\d{1,5})")
# Far above any file descriptor that the process can have (fs.nr_open is 2^20 by default).
_FIRST_FD = 1 << 30


def check(result: int) -> int:
    """A system call's result: negative errnos become OSError, as in C's library and Python's os."""
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


class Door:
    """What smbus2 sees as ``os`` and ``ioctl``: the model's files by number, this machine's for everything else."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.files: dict[int, I2cDevFile] = {}
        self._next_fd = _FIRST_FD
        # The modelled machine has one processor: threads are its processes, in the kernel one at a time.
        self._cpu = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        match = _PATH.fullmatch(path)
        if match is None:
            return os.open(path, flags, mode)
        with self._cpu:
            try:
                file = self.kernel.open(int(match[1]))
            except ModelError:
                raise FileNotFoundError(ENOENT, os.strerror(ENOENT), path) from None
            self._next_fd += 1
            self.files[self._next_fd] = file
            return self._next_fd

    def close(self, fd: int) -> None:
        if self.files.pop(fd, None) is None:
            os.close(fd)

    def read(self, fd: int, count: int) -> bytes:
        file = self.files.get(fd)
        if file is None:
            return os.read(fd, count)
        with self._cpu:
            answer = file.read(count)
        return answer if isinstance(answer, bytes) else bytes(check(answer))

    def write(self, fd: int, data: bytes) -> int:
        file = self.files.get(fd)
        if file is None:
            return os.write(fd, data)
        with self._cpu:
            return check(file.write(bytes(data)))

    def ioctl(self, fd: int, request: int, arg: Any = 0, mutate_flag: bool = True) -> int:
        """fcntl.ioctl() on the model's files; ``arg`` is an int or smbus2's ctypes structures."""
        file = self.files.get(fd)
        if file is None:
            import fcntl

            return int(fcntl.ioctl(fd, request, arg, mutate_flag))
        with self._cpu:
            return check(_ioctl(file, request, arg))


def _ioctl(file: I2cDevFile, request: int, arg: Any) -> int:
    """i2cdev_ioctl(). Where a pointer is asked for, a number is one to no memory of this process."""
    if request in (I2C_FUNCS, I2C_RDWR, I2C_SMBUS) and isinstance(arg, int):
        return -EFAULT
    if request == I2C_FUNCS:
        arg.value = file.funcs()
        return 0
    if request == I2C_RDWR:
        return _rdwr(file, arg)
    if request == I2C_SMBUS:
        return _smbus(file, arg)
    return file.ioctl(request, int(arg))


def _rdwr(file: I2cDevFile, arg: Any) -> int:
    """struct i2c_rdwr_ioctl_data."""
    if not arg.msgs or arg.nmsgs == 0:
        return -EINVAL
    messages = [arg.msgs[n] for n in range(arg.nmsgs)]
    copies = []
    for message in messages:
        address = ctypes.cast(message.buf, ctypes.c_void_p).value
        if address is None and message.len:
            return -EFAULT
        data = ctypes.string_at(address, message.len) if address else b""
        copies.append(UserMsg(message.addr, message.flags, data))
    result = file.rdwr(copies)
    if result >= 0:
        for message, copy in zip(messages, copies, strict=True):
            address = ctypes.cast(message.buf, ctypes.c_void_p).value
            if copy.flags & I2C_M_RD and address:
                ctypes.memmove(address, bytes(copy.data[: copy.len]), copy.len)
    return result


def _smbus(file: I2cDevFile, arg: Any) -> int:
    """struct i2c_smbus_ioctl_data."""
    if not arg.data:
        return file.smbus(arg.read_write, arg.command, arg.size, None)
    union = arg.data.contents
    data = SmbusData(bytes(union.block))
    result = file.smbus(arg.read_write, arg.command, arg.size, data)
    if result == 0:
        for n, value in enumerate(data.block):
            union.block[n] = value
    return result


@contextmanager
def installed(kernel: Kernel) -> Iterator[None]:
    """See ModelKernel.installed(). Raises ModelError if smbus2 is not there. Files left open are closed at the end."""
    try:
        module = importlib.import_module(_MODULE)
    except ImportError:
        raise ModelError("the smbus2 package is not installed: pip install smbus2") from None
    door = Door(kernel)
    saved = (module.os, module.ioctl)
    module.os, module.ioctl = door, door.ioctl  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.os, module.ioctl = saved  # type: ignore[attr-defined]
        door.files.clear()


__all__ = ["Door", "installed"]
