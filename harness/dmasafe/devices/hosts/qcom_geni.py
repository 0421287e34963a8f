# SPDX-License-Identifier: GPL-2.0-or-later
"""Qualcomm's GENI serial engine as I2C, with its FIFO and its own DMA (SE DMA): upstream i2c-qcom-geni."""

from __future__ import annotations

from errno import EAGAIN, EIO, ENXIO, ETIMEDOUT

from dmasafe.devices.bus import Nak
from dmasafe.devices.hosts.base import Carried, I2cHost
from dmasafe.devices.hosts.declaration import DeviceTree, HostModel, Window
from dmasafe.devices.hosts.nodes import clock
from dmasafe.devices.pci import Access, Bar, Register, RegisterBlock
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule

# Lines are those of drivers/i2c/busses/i2c-qcom-geni.c in Linux 7.3.
POLICY = HostPolicy(
    "Geni-I2C",
    rules=(
        Rule(Path.PIO, "geni_i2c_rx_one_msg() 528, geni_i2c_tx_one_msg() 567", most=31),
        Rule(Path.HELPER, "geni_i2c_rx_one_msg() 528, geni_i2c_tx_one_msg() 567", least=32),
    ),
    nak=(Ending(ENXIO, "unmaps without a reset of the DMA's state machine; nothing is copied", "499, 511"),),
    nak_data=(Ending(EIO, "as for an address, and resets the DMA's state machine", "320, 155, 499", since=(7, 3)),),
    lost=(Ending(EAGAIN, "cancels the command, resets the DMA's state machine, unmaps", "549, 499"),),
    timeout=(Ending(ETIMEDOUT, "cancels the command, resets the DMA's state machine, unmaps", "549, 499"),),
    timeout_s=1.0,  # 82
    maps_for="parent",
    needs=(("PM_OPP", (7, 2)),),  # geni_se_resources_init() fails without
    stale=("free-unallocated",),
    mask_bits=32,
    notes=(
        "with the FIFO switched off it uses the GPI DMA controller, with a helper threshold of 1 (729): not modelled",
        "after a mapping that fails, gi2c->dma_buf is still that of the message before: it is unmapped and freed "
        "once more (537-544, 498)",
    ),
)

# The engine in the BAR, which has 64 KiB.
_BASE = 0x8000
# geni-se.h: interrupts (212-245), the FIFO's state (274), DMA's interrupts (287-303).
_DONE, _FAILURE, _CANCEL, _ABORT = 1 << 0, 1 << 3, 1 << 4, 1 << 5
_GP_NACK, _GP_ARB_LOST = 1 << 10, 1 << 13
_RX_WATERMARK, _RX_LAST, _TX_WATERMARK = 1 << 26, 1 << 27, 1 << 30
_DMA_DONE, _DMA_EOT, _DMA_ERROR, _DMA_RESET = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_I2C_WRITE, _I2C_READ = 1, 2
_STOP_STRETCH = 1 << 2
_FIFO_WORDS = 16


class QcomGeni(I2cHost):
    """The wrapper at 0, one serial engine at 0x8000. A write to M_CMD0 starts a command; DMA waits for its length."""

    def __init__(self) -> None:
        super().__init__()
        self.wrapper = RegisterBlock(
            0,
            (
                # qcom-geni-se.c 185
                Register("QUPV3_HW_VER", 0x4, access=Access.RO, reset=0x20000000),
                Register("QUPV3_SE_AHB_M_CFG", 0x118),
                Register("QUPV3_COMMON_CFG", 0x120),
                Register("QUPV3_COMMON_CGC_CTRL", 0x21C),
            ),
        )
        plain = {
            "INIT_CFG_REVISION": 0x0, "S_INIT_CFG_REVISION": 0x4, "GENERAL_CFG": 0x10, "FORCE_DEFAULT": 0x20,
            "OUTPUT_CTRL": 0x24, "CGC_CTRL": 0x28, "STATUS": 0x40, "SER_M_CLK_CFG": 0x48, "SER_S_CLK_CFG": 0x4C,
            "CLK_CTRL_RO": 0x60, "IF_DISABLE_RO": 0x64, "CLK_SEL": 0x7C, "CFG_SEQ_START": 0x84, "BYTE_GRAN": 0x254,
            "TX_PACKING_CFG0": 0x260, "TX_PACKING_CFG1": 0x264, "TX_TRANS_LEN": 0x26C, "RX_TRANS_LEN": 0x270,
            "SCL_COUNTERS": 0x278, "RX_PACKING_CFG0": 0x284, "RX_PACKING_CFG1": 0x288, "S_CMD0": 0x630,
            "S_IRQ_EN": 0x644, "S_IRQ_CLEAR": 0x648, "RX_WATERMARK": 0x810, "RX_RFR_WATERMARK": 0x814,
            "IOS": 0x908, "M_GP_LENGTH": 0x910, "TX_PTR_L": 0xC30, "TX_PTR_H": 0xC34, "TX_ATTR": 0xC38,
            "TX_LEN_IN": 0xC54, "TX_MAX_BURST": 0xC5C, "RX_PTR_L": 0xD30, "RX_PTR_H": 0xD34, "RX_ATTR": 0xD38,
            "RX_LEN_IN": 0xD54, "RX_MAX_BURST": 0xD5C, "GSI_EVENT_EN": 0xE18, "DMA_GENERAL_CFG": 0xE30,
            "DMA_IF_EN": 0x2004,
        }  # fmt: skip
        self.engine = RegisterBlock(
            _BASE,
            (
                *(Register(name, offset) for name, offset in plain.items()),
                # geni-se.h 92, 180: the protocol is 3, I2C.
                Register("FW_REVISION_RO", 0x68, access=Access.RO, reset=3 << 8),
                Register("DMA_MODE_EN", 0x258, on_write=lambda _block, _value: self._go_by_fifo()),
                Register("M_CMD0", 0x600, on_write=lambda _block, value: self._command(value)),
                Register("M_CMD_CTRL", 0x604, access=Access.WO, on_write=lambda _block, value: self._stop(value)),
                Register("M_IRQ_STATUS", 0x610, access=Access.RO),
                Register("M_IRQ_EN", 0x614, on_write=lambda _block, _value: self._update()),
                Register("M_IRQ_CLEAR", 0x618, on_write=lambda _block, value: self._clear("M_IRQ_STATUS", value)),
                Register("TX_FIFO", 0x700, access=Access.WO, on_write=lambda _block, value: self._pushed(value)),
                Register("RX_FIFO", 0x780, access=Access.RO, on_read=lambda _block: self._popped()),
                Register("TX_FIFO_STATUS", 0x800, access=Access.RO),
                Register("RX_FIFO_STATUS", 0x804, access=Access.RO, on_read=lambda _block: self._rx_state()),
                Register("TX_WATERMARK", 0x80C, on_write=lambda _block, _value: self._refill()),
                Register("TX_LEN", 0xC3C, on_write=lambda _block, _value: self._go()),
                Register("TX_IRQ_STAT", 0xC40, access=Access.RO),
                Register("TX_IRQ_CLR", 0xC44, on_write=lambda _block, value: self._clear("TX_IRQ_STAT", value)),
                Register("TX_IRQ_EN", 0xC48, access=Access.RO, reset=_DMA_RESET),
                Register("TX_IRQ_EN_SET", 0xC4C, on_write=lambda _block, value: self._enable("TX_IRQ_EN", value)),
                Register("TX_FSM_RST", 0xC58, on_write=lambda _block, _value: self._dma_reset("TX")),
                Register("RX_LEN", 0xD3C, on_write=lambda _block, _value: self._go()),
                Register("RX_IRQ_STAT", 0xD40, access=Access.RO),
                Register("RX_IRQ_CLR", 0xD44, on_write=lambda _block, value: self._clear("RX_IRQ_STAT", value)),
                Register("RX_IRQ_EN", 0xD48, access=Access.RO, reset=_DMA_RESET),
                Register("RX_IRQ_EN_SET", 0xD4C, on_write=lambda _block, value: self._enable("RX_IRQ_EN", value)),
                Register("RX_FSM_RST", 0xD58, on_write=lambda _block, _value: self._dma_reset("RX")),
                Register("IRQ_EN", 0xE1C, on_write=lambda _block, _value: self._update()),
                # geni-se.h 311-330: words in the FIFOs, of 32 bits.
                Register("HW_PARAM_0", 0xE24, access=Access.RO, reset=32 << 24 | _FIFO_WORDS << 16),
                Register("HW_PARAM_1", 0xE28, access=Access.RO, reset=32 << 24 | _FIFO_WORDS << 16),
            ),
        )
        self.bars = (Bar(0, 2 * _BASE, (self.wrapper, self.engine)),)
        self._idle()

    def reset(self) -> None:
        super().reset()
        self._idle()

    def _idle(self) -> None:
        self._active = False
        self._waits_for_dma = False
        self._sending = bytearray()
        self._received = b""

    # Interrupts: three groups behind IRQ_EN.

    def _update(self) -> None:
        se = self.engine
        pending = se["M_IRQ_STATUS"] & se["M_IRQ_EN"] and se["IRQ_EN"] & 1 << 2
        pending = pending or (se["TX_IRQ_STAT"] & se["TX_IRQ_EN"] and se["IRQ_EN"] & 1 << 1)
        pending = pending or (se["RX_IRQ_STAT"] & se["RX_IRQ_EN"] and se["IRQ_EN"] & 1 << 0)
        self.level(bool(pending))

    def _clear(self, status: str, value: int) -> None:
        self.engine[status] &= ~value
        self._update()

    def _enable(self, which: str, value: int) -> None:
        self.engine[which] |= value
        self._update()

    # Commands.

    def _command(self, value: int) -> None:
        self.abort()
        self._idle()
        self._active = True
        self._waits_for_dma = bool(self.engine["DMA_MODE_EN"])
        self._is_read = value >> 27 == _I2C_READ
        self._address = value >> 9 & 0x7F
        self._last = not value & _STOP_STRETCH
        # The number of bytes that were acknowledged (geni_i2c_check_addr_data_nack(), 317).
        self.engine["M_GP_LENGTH"] = 0
        self._begin()

    def _begin(self) -> None:
        """By the FIFO, what needs no word of it is begun at once."""
        if not self._waits_for_dma and self._is_read:
            self.carry(self._address, True, self.engine["RX_TRANS_LEN"], self._last, self._done)
        elif not self._waits_for_dma and not self.engine["TX_TRANS_LEN"]:
            self.carry(self._address, False, b"", self._last, self._done)

    def _go_by_fifo(self) -> None:
        """A command that waits for DMA goes on without: what the driver relies on where a buffer cannot be mapped."""
        if self._waits_for_dma and not self.engine["DMA_MODE_EN"]:
            self._waits_for_dma = False
            self._begin()

    def _go(self) -> None:
        """The length of a DMA transfer is written: the last of its registers."""
        if not self._active or not self._waits_for_dma:
            return
        self._waits_for_dma = False
        se = self.engine
        if self._is_read:
            self.carry(self._address, True, min(se["RX_TRANS_LEN"], se["RX_LEN"]), self._last, self._done)
        else:
            data = self.fetch(se["TX_PTR_L"] | se["TX_PTR_H"] << 32, min(se["TX_TRANS_LEN"], se["TX_LEN"]))
            self.carry(self._address, False, data, self._last, self._done)

    def _refill(self) -> None:
        """TX_WATERMARK: the FIFO is emptier than that, so it wants words, until the driver writes 0."""
        wants = self._active and not self._is_read and self.engine["TX_WATERMARK"]
        if wants and len(self._sending) < self.engine["TX_TRANS_LEN"]:
            self.engine["M_IRQ_STATUS"] |= _TX_WATERMARK
            self._update()

    def _pushed(self, word: int) -> None:
        if not self._active or self._is_read or self._waits_for_dma:
            return
        self._sending += word.to_bytes(4, "little")
        length = self.engine["TX_TRANS_LEN"]
        if len(self._sending) >= length:
            self.carry(self._address, False, bytes(self._sending[:length]), self._last, self._done)
        else:
            self.later(0, self._refill)

    def _rx_state(self) -> int:
        words = (len(self._received) + 3) // 4
        return words | (1 << 31 | (len(self._received) % 4) << 28 if words else 0)

    def _popped(self) -> int:
        word, self._received = self._received[:4], self._received[4:]
        return int.from_bytes(word, "little")

    def _done(self, carried: Carried) -> None:
        se = self.engine
        self._active = False
        if not carried.ok:
            se["M_GP_LENGTH"] = len(carried.data) if carried.nak is Nak.DATA else 0
            se["M_IRQ_STATUS"] |= _FAILURE | _DONE | (_GP_ARB_LOST if carried.lost else _GP_NACK)
        else:
            se["M_GP_LENGTH"] = len(carried.data)
            se["M_IRQ_STATUS"] |= _DONE
        if carried.ok and se["DMA_MODE_EN"]:
            if self._is_read:
                self.store(se["RX_PTR_L"] | se["RX_PTR_H"] << 32, carried.data)
            way = "RX" if self._is_read else "TX"
            se[f"{way}_IRQ_STAT"] |= _DMA_ERROR if self.fault.dma_error else _DMA_DONE | _DMA_EOT
        elif carried.ok and self._is_read:
            self._received = carried.data
            se["M_IRQ_STATUS"] |= _RX_WATERMARK | _RX_LAST
        self._update()

    def _stop(self, value: int) -> None:
        """M_CMD_CTRL: cancel (bit 2) or abort (bit 1)."""
        self.abort()
        self._idle()
        self.engine["M_IRQ_STATUS"] |= _DONE | (_CANCEL if value & 1 << 2 else 0) | (_ABORT if value & 1 << 1 else 0)
        self._update()

    def _dma_reset(self, way: str) -> None:
        self.abort()
        # The driver waits for this interrupt (geni_i2c_rx_fsm_rst(), 477) and never enables it: it must be by itself.
        self.engine[f"{way}_IRQ_STAT"] |= _DMA_RESET
        self._update()


HOST = HostModel(
    "qcom-geni",
    module="i2c-qcom-geni",
    symbol="I2C_QCOM_GENI",
    architectures=("aarch64",),
    place=DeviceTree(
        # Documentation/devicetree/bindings/soc/qcom/qcom,geni-se.yaml, i2c/qcom,i2c-geni-qcom.yaml
        clock(19_200_000)
        + """
        geniqup@{base} {{
            compatible = "qcom,geni-se-qup";
            reg = <{reg0}>;
            clocks = <&{label}_clk>, <&{label}_clk>;
            clock-names = "m-ahb", "s-ahb";
            #address-cells = <2>;
            #size-cells = <2>;
            ranges;
            i2c@1 {{
                compatible = "qcom,geni-i2c";
                reg = <{reg1}>;
                interrupts = <{interrupt}>;
                clocks = <&{label}_clk>;
                clock-names = "se";
                #address-cells = <1>;
                #size-cells = <0>;
            }};
        }};
        """,
        windows=(Window(0, 0x2000), Window(_BASE, 0x4000)),
    ),
    function=QcomGeni,
    policy=POLICY,
    needs=("ARCH_QCOM", "QCOM_GENI_SE"),
)
