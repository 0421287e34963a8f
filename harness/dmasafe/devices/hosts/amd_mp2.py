# SPDX-License-Identifier: GPL-2.0-or-later
"""AMD's Sensor Fusion Hub (MP2) as an I2C controller: upstream i2c-amd-mp2-pci and, for ACPI AMDI0011, -plat."""

from __future__ import annotations

from collections import deque
from errno import EINVAL, EIO, ETIMEDOUT
from struct import pack

from dmasafe.devices.hosts.base import Carried, I2cHost
from dmasafe.devices.hosts.declaration import Acpi, HostModel
from dmasafe.devices.pci import Bar, Register, Window
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule
from dmasafe.quirks import I2cAdapterQuirks

# Lines are those of drivers/i2c/busses/i2c-amd-mp2-plat.c ("pci": -pci.c) in Linux 7.3; 6.12 does the same.
POLICY = HostPolicy(
    "AMD MP2 i2c bus 0",
    rules=(
        # memcpy_toio() and memcpy_fromio(), 32 bytes of registers.
        Rule(Path.PIO, "i2c_amd_xfer_msg() 140, pci 94", most=32),
        Rule(Path.HELPER, "i2c_amd_dma_map() 49: threshold 0", least=33),
    ),
    nak=(Ending(EIO, "unmaps and gives the buffer back as if it had been transferred", "108, 74", copies=True),),
    lost=(Ending(EIO, "as for a missing acknowledgement", "117", copies=True),),
    timeout=(
        Ending(
            ETIMEDOUT,
            "unmaps and frees the copy; nothing ever stops the controller, whose answer comes to the next message",
            "102-113, pci 241",
            copies=True,
            unsafe=True,
        ),
    ),
    timeout_s=0.25,  # 22
    gone=(Ending(EINVAL, "gives up its hardware with the bus lock in hand; each transfer looks for it", "160"),),
    unmapped=EIO,  # 58
    quirks=I2cAdapterQuirks(max_write_len=4095, max_read_len=4095),  # 23, 240
    maps_for="parent",
    notes=(
        "maps what the helper returns without looking whether it is NULL (49)",
        "a mapping that fails leaks the helper's copy (54)",
        "its interrupt finds it from 288 on, its completion is made ready in 308: a late answer between the two is a "
        "page fault in complete()",
        "up to 32 bytes are copied by the length that the controller's answer says, not the message's (pci 152)",
    ),
)

# union i2c_cmd_base and i2c_event of i2c-amd-mp2.h; enum i2c_cmd, response_type, status_type.
_READ, _WRITE, _ENABLE, _DISABLE = 0, 1, 2, 3
_SUCCESS, _FAILED = 1, 2
_COMPLETE = {_READ: 0, _WRITE: 2, _ENABLE: 4, _DISABLE: 6}
# The data registers, C2P_MSG2 to MSG9.
_DATA_OFFSET, _DATA_BYTES = 0x10508, 32


class AmdMp2(I2cHost):
    """One mailbox down (C2P), one event register a bus up (P2C). A command is one write to C2P_MSG0 or 1."""

    vendor_id = 0x1022
    device_id = 0x15E6
    class_code = 0x108000
    needs_bus_master = True
    msi = 1

    C2P_MSG0 = Register("C2P_MSG0", 0x10500, on_write="_command")
    C2P_MSG1 = Register("C2P_MSG1", 0x10504, on_write="_command")
    P2C_MSG1 = Register("P2C_MSG1", 0x10684, on_write="_cleared")
    P2C_MSG2 = Register("P2C_MSG2", 0x10688, on_write="_cleared")
    P2C_MSG_INTEN = Register("P2C_MSG_INTEN", 0x10690)
    P2C_MSG_INTSTS = Register("P2C_MSG_INTSTS", 0x10694)

    def __init__(self) -> None:
        super().__init__()
        self._data = Window(_DATA_OFFSET, _DATA_BYTES)
        self._events: deque[int] = deque()
        self._commands: deque[int] = deque()
        self.bars = (Bar(2, 0x20000, (*self.registers, self._data)),)

    def reset(self) -> None:
        super().reset()
        self._events.clear()
        self._commands.clear()

    def _command(self, command: int) -> None:
        """One after the other: there is none that stops one, and who has lost patience gets its answer all the same."""
        self._commands.append(command)
        if len(self._commands) == 1:
            self._carry_out(command)

    def _through(self) -> None:
        self._commands.popleft()
        if self._commands:
            self._carry_out(self._commands[0])

    def _carry_out(self, command: int) -> None:
        what, bus = command & 0xF, command >> 4 & 0xF
        status = self.P2C_MSG1 >> 2 & 0x1F
        if what == _ENABLE and status == _COMPLETE[_DISABLE]:
            # i2c_amd_remove() disables a function that may be suspended: nobody takes the answer.
            self.P2C_MSG1 = 0
        if what in (_ENABLE, _DISABLE):
            self.later(0, lambda: self._event(command, True, _COMPLETE[what]))
        if what not in (_READ, _WRITE) or bus > 1:
            self._through()
            return
        address, length, in_registers = command >> 8 & 0xFF, command >> 16 & 0xFFF, bool(command >> 31)
        pointer = int.from_bytes(self._data.content[:8], "little")
        payload: bytes | int = length
        if what == _WRITE:
            payload = bytes(self._data.content[:length]) if in_registers else self.fetch(pointer, length)

        def done(carried: Carried) -> None:
            ok = carried.ok and not self.fault.dma_error
            if ok and what == _READ:
                if in_registers:
                    self._data.content[: len(carried.data)] = carried.data
                else:
                    self.store(pointer, carried.data)
            self._event(command, ok, _COMPLETE[what] + (not ok))
            self._through()

        # The commands of two messages have nothing between them that would say that no stop is wanted.
        self.carry(address, what == _READ, payload, True, done)

    def _event(self, command: int, ok: bool, status: int) -> None:
        bus, length, address = command >> 4 & 0xF, command >> 16 & 0xFFF, command >> 8 & 0xFF
        response = _SUCCESS if ok else _FAILED
        event = response | status << 2 | (command >> 31) << 7 | bus << 8 | length << 12 | address << 24
        self._events.append(event)
        self._post()

    def _cleared(self, value: int) -> None:
        if not value:
            self.lower_irq()
            self._post()

    def _post(self) -> None:
        """The next event, when the driver has taken the last one."""
        if self._events and not self.P2C_MSG1 and not self.P2C_MSG2:
            event = self._events.popleft()
            if event >> 8 & 0xF:
                self.P2C_MSG2 = event
            else:
                self.P2C_MSG1 = event
            self.P2C_MSG_INTEN = 1
            self.event()


def _ssdt() -> bytes:
    r"""A table with one device: Scope (\_SB) { Device (I2CA) { Name (_HID, "AMDI0011") Name (_UID, 0) } }."""
    names = b"\x08_HID\x0dAMDI0011\0" + b"\x08_UID\0"
    device = b"\x5b\x82" + bytes((1 + 4 + len(names),)) + b"I2CA" + names
    scope = b"\x10" + bytes((1 + 5 + len(device),)) + b"\\_SB_" + device
    table = pack("<4sIBB6s8sI4sI", b"SSDT", 36 + len(scope), 2, 0, b"DMASAF", b"AMDMP2  ", 1, b"DMAS", 1) + scope
    return table[:9] + bytes((-sum(table) & 0xFF,)) + table[10:]


HOST = HostModel(
    "amd-mp2",
    module="i2c-amd-mp2-plat",
    symbol="I2C_AMD_MP2",
    architectures=("x86_64",),
    place=Acpi(_ssdt()),
    function=AmdMp2,
    policy=POLICY,
    needs=("ACPI",),
)
