# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's calls that end at other buses than I2C: at the controllers of dmasafe_buses.ko.

They are among the operations of dmasafe/vocabulary.py. What a subsystem does with the buffer of each is in
dmasafe/carriers/other_bus.py.
"""

from __future__ import annotations

from typing import NamedTuple


class BusCall(NamedTuple):
    """A call of a subsystem's: ``reads`` says which way the payload goes, ``lengths`` what the suite tries.

    ``kinds`` is with which buffer kinds, if not with all. ``file_system`` must be mounted on the bus's flash.
    ``single`` is for calls that take one byte and no more; they have no buffer of the caller's, or one of a byte.
    """

    name: str
    what: str
    reads: bool
    lengths: tuple[int, ...] = (8,)
    kinds: tuple[str, ...] | None = None
    file_system: str | None = None

    @property
    def single(self) -> bool:
        return self.lengths == (1,)


def _on_file_system(fs: str, what: str, reads: bool) -> BusCall:
    # The caller's buffer ends at the page cache: two kinds are enough. 8192 bytes are two pages.
    name, done = (f"{fs}_read", "read from") if reads else (f"{fs}_write", "written to")
    return BusCall(name, f"a file {done} a flash through {what}", reads, (64, 8192), ("heap", "vmalloc"), fs)


BUS_CALLS: dict[str, BusCall] = {
    call.name: call
    for call in (
        BusCall("regmap_write", "regmap_write(), of a value", False, (1,)),
        BusCall("regmap_read", "regmap_read(), of a value", True, (1,)),
        BusCall("regmap_raw_write", "regmap_raw_write()", False),
        BusCall("regmap_raw_read", "regmap_raw_read()", True),
        BusCall("regmap_bulk_write", "regmap_bulk_write()", False),
        BusCall("regmap_bulk_read", "regmap_bulk_read()", True),
        BusCall("regmap_noinc_write", "regmap_noinc_write()", False),
        BusCall("regmap_noinc_read", "regmap_noinc_read()", True),
        BusCall("spi_write", "spi_write()", False),
        BusCall("spi_read", "spi_read()", True),
        BusCall("spi_write_then_read", "spi_write_then_read(), of which only the reading", True),
        BusCall("mtd_write", "mtd_write() on a flash of spi-nor's", False, (32, 256)),
        BusCall("mtd_read", "mtd_read() on a flash of spi-nor's", True, (32, 256)),
        _on_file_system("jffs2", "JFFS2", False),
        _on_file_system("jffs2", "JFFS2", True),
        _on_file_system("ubifs", "UBIFS on UBI", False),
        _on_file_system("ubifs", "UBIFS on UBI", True),
        BusCall("spmi_register_write", "spmi_register_write(), of a byte", False, (1,)),
        BusCall("spmi_register_read", "spmi_register_read(), of a byte", True, (1,)),
        BusCall("spmi_ext_register_write", "spmi_ext_register_write()", False),
        BusCall("spmi_ext_register_read", "spmi_ext_register_read()", True),
        BusCall("slim_write", "slim_write()", False),
        BusCall("slim_read", "slim_read()", True),
        BusCall("slim_writeb", "slim_writeb(), of a byte", False, (1,)),
        BusCall("slim_readb", "slim_readb(), of a byte", True, (1,)),
        BusCall("w1_write_block", "w1_write_block()", False),
        BusCall("w1_read_block", "w1_read_block()", True),
    )
}
