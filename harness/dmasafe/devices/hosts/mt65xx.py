# SPDX-License-Identifier: GPL-2.0-or-later
"""MediaTek's I2C controller with its own DMA engine, as in the MT8173: upstream i2c-mt65xx."""

from __future__ import annotations

from errno import ENOMEM, ENXIO, ETIMEDOUT

from dmasafe.devices.hosts.base import Carried, I2cHost
from dmasafe.devices.hosts.declaration import DeviceTree, HostModel, Window
from dmasafe.devices.hosts.nodes import i2c
from dmasafe.devices.pci import Access, Bar, Register, RegisterBlock
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule

# Lines are those of drivers/i2c/busses/i2c-mt65xx.c in Linux 7.3.
POLICY = HostPolicy(
    "i2c-mt65xx",
    rules=(
        # The helper has no buffer for nothing.
        Rule(Path.REFUSED, "mtk_i2c_do_transfer() 1091, 1114", most=0, errno=ENOMEM),
        Rule(Path.HELPER, "mtk_i2c_do_transfer() 1091, 1114, 1137: always DMA", least=1),
    ),
    nak=(
        Ending(
            ENXIO,
            "unmaps and gives the buffer back as if it had been transferred, then resets the controller",
            "1204-1222, 1231",
            copies=True,
        ),
    ),
    lost=(
        Ending(
            ETIMEDOUT,
            "no handler completes for I2C_ARB_LOST alone: what the time-out does",
            "mtk_i2c_irq() 1340",
            copies=True,
            unsafe=True,
        ),
    ),
    timeout=(
        Ending(
            ETIMEDOUT,
            "unmaps and frees the copy, then resets controller and DMA engine: until then the hardware has it",
            "1204-1222 before 1227",
            copies=True,
            unsafe=True,
        ),
    ),
    timeout_s=2.0,  # 1416
    unmapped=ENOMEM,  # 1100, 1123
    mask_bits=33,  # 469, 1475
    pairs=True,  # 1137-1167
    notes=("a write and a read of the same slave are one transaction with two buffers (1262)",),
)

# INTR_STAT (30-34), START (35-37), CONTROL (77-84).
_RS_TRANSFER, _ARB_LOST, _ACKERR, _COMP = 1 << 4, 1 << 3, 1 << 1, 1 << 0
_START, _MORE = 1 << 0, 1 << 15
_DIR_CHANGE = 1 << 4
# DMA's RST (64-66).
_ANY_RESET = 0x7
_DMA_BASE = 0x1000


class Mt65xx(I2cHost):
    """mt_i2c_regs_v1 (170), 16 bits wide each, and the APDMA channel (110) in the second window.

    A message is one START with the DMA's buffer for it. Several are chained by RS_MUL_CNFG; a write and a read of the
    same slave are one START with both buffers.
    """

    DATA_PORT = Register("DATA_PORT", 0x00, 2)
    SLAVE_ADDR = Register("SLAVE_ADDR", 0x04, 2)
    INTR_MASK = Register("INTR_MASK", 0x08, 2, on_write="_update")
    INTR_STAT = Register("INTR_STAT", 0x0C, 2, Access.W1C, on_write="_update")
    CONTROL = Register("CONTROL", 0x10, 2)
    TRANSFER_LEN = Register("TRANSFER_LEN", 0x14, 2)
    TRANSAC_LEN = Register("TRANSAC_LEN", 0x18, 2)
    DELAY_LEN = Register("DELAY_LEN", 0x1C, 2)
    TIMING = Register("TIMING", 0x20, 2)
    START = Register("START", 0x24, 2, on_write="_started")
    EXT_CONF = Register("EXT_CONF", 0x28, 2)
    FIFO_STAT = Register("FIFO_STAT", 0x30, 2, Access.RO)
    FIFO_THRESH = Register("FIFO_THRESH", 0x34, 2)
    FIFO_ADDR_CLR = Register("FIFO_ADDR_CLR", 0x38, 2, Access.WO)
    IO_CONFIG = Register("IO_CONFIG", 0x40, 2)
    RSV_DEBUG = Register("RSV_DEBUG", 0x44, 2)
    HS = Register("HS", 0x48, 2)
    SOFTRESET = Register("SOFTRESET", 0x50, 2, Access.WO, on_write="_soft_reset")
    DCM_EN = Register("DCM_EN", 0x54, 2)
    PATH_DIR = Register("PATH_DIR", 0x60, 2)
    DEBUGSTAT = Register("DEBUGSTAT", 0x64, 2, Access.RO)
    DEBUGCTRL = Register("DEBUGCTRL", 0x68, 2)
    TRANSFER_LEN_AUX = Register("TRANSFER_LEN_AUX", 0x6C, 2)
    CLOCK_DIV = Register("CLOCK_DIV", 0x70, 2)

    def __init__(self) -> None:
        super().__init__()
        self.channel = RegisterBlock(
            _DMA_BASE,
            (
                Register("INT_FLAG", 0x00),
                Register("INT_EN", 0x04),
                Register("EN", 0x08),
                Register("RST", 0x0C, on_write=lambda _block, value: self._dma_reset(value)),
                Register("CON", 0x18),
                Register("TX_MEM_ADDR", 0x1C),
                Register("RX_MEM_ADDR", 0x20),
                Register("TX_LEN", 0x24),
                Register("RX_LEN", 0x28),
                Register("TX_4G_MODE", 0x54),
                Register("RX_4G_MODE", 0x58),
            ),
        )
        self.bars = (Bar(0, 0x10000, (*self.registers, self.channel)),)

    def _update(self, _value: int = 0) -> None:
        self.level(bool(self.INTR_STAT & self.INTR_MASK))

    def _soft_reset(self, value: int) -> None:
        if value & 1:
            self.abort()
            self.INTR_STAT = 0

    def _dma_reset(self, value: int) -> None:
        if value & _ANY_RESET:
            self.channel["EN"] = 0
        # The driver polls for the end of a warm reset (1025).
        self.channel["RST"] = 0

    def _address(self, way: str) -> int:
        return self.channel[f"{way}_MEM_ADDR"] | self.channel[f"{way}_4G_MODE"] << 32

    def _started(self, value: int) -> None:
        if not value & _START:
            # mtk_i2c_init_hw() begins so (560), and reads then. Its resets may still be on their way when it returns:
            # writes to a PCI function are posted.
            self.last_moment()
        if not value & _START or not self.channel["EN"]:
            return
        address, reads = self.SLAVE_ADDR >> 1 & 0x7F, bool(self.SLAVE_ADDR & 1)
        if self.CONTROL & _DIR_CHANGE:
            payload = self.fetch(self._address("TX"), min(self.TRANSFER_LEN, self.channel["TX_LEN"]))
            self.carry(address, False, payload, False, self._turned)
        elif reads:
            length = min(self.TRANSFER_LEN, self.channel["RX_LEN"])
            self.carry(address, True, length, not value & _MORE, self._read)
        else:
            payload = self.fetch(self._address("TX"), min(self.TRANSFER_LEN, self.channel["TX_LEN"]))
            self.carry(address, False, payload, not value & _MORE, self._end)

    def _turned(self, carried: Carried) -> None:
        if not carried.ok:
            self._end(carried)
            return
        length = min(self.TRANSFER_LEN_AUX, self.channel["RX_LEN"])
        self.carry(self.SLAVE_ADDR >> 1 & 0x7F, True, length, True, self._read)

    def _read(self, carried: Carried) -> None:
        if carried.ok:
            self.store(self._address("RX"), carried.data)
        self._end(carried)

    def _end(self, carried: Carried) -> None:
        self.channel["EN"] = 0
        if carried.lost:
            self.INTR_STAT |= _ARB_LOST
        elif not carried.ok:
            # Two interrupts, of which the driver waits for the second (1327).
            self.INTR_STAT |= _ACKERR | _COMP
        elif not self.fault.dma_error:
            self.INTR_STAT |= _RS_TRANSFER if self.START & _MORE else _COMP
        self.START = 0
        self._update()


HOST = HostModel(
    "mt65xx",
    module="i2c-mt65xx",
    symbol="I2C_MT65XX",
    architectures=("aarch64",),
    # Documentation/devicetree/bindings/i2c/i2c-mt65xx.yaml
    place=DeviceTree(
        i2c("mediatek,mt8173-i2c", 26_000_000, ("main", "dma"), "clock-div = <1>;", reg="{reg}"),
        windows=(Window(0, 0x1000), Window(_DMA_BASE, 0x80)),
    ),
    function=Mt65xx,
    policy=POLICY,
    needs=("ARCH_MEDIATEK",),
)
