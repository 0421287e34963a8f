# SPDX-License-Identifier: GPL-2.0-or-later
"""What an adapter's driver tells the I2C core that its hardware cannot do: struct i2c_adapter_quirks."""

from __future__ import annotations

from typing import Final, NamedTuple

I2C_M_RD: Final = 0x0001
# include/linux/i2c.h struct i2c_adapter_quirks
I2C_AQ_COMB: Final = 1 << 0
I2C_AQ_COMB_WRITE_FIRST: Final = 1 << 1
I2C_AQ_COMB_READ_SECOND: Final = 1 << 2
I2C_AQ_COMB_SAME_ADDR: Final = 1 << 3
I2C_AQ_COMB_WRITE_THEN_READ: Final = (
    I2C_AQ_COMB | I2C_AQ_COMB_WRITE_FIRST | I2C_AQ_COMB_READ_SECOND | I2C_AQ_COMB_SAME_ADDR
)
I2C_AQ_NO_CLK_STRETCH: Final = 1 << 4
I2C_AQ_NO_ZERO_LEN_READ: Final = 1 << 5
I2C_AQ_NO_ZERO_LEN_WRITE: Final = 1 << 6
I2C_AQ_NO_ZERO_LEN: Final = I2C_AQ_NO_ZERO_LEN_READ | I2C_AQ_NO_ZERO_LEN_WRITE
I2C_AQ_NO_REP_START: Final = 1 << 7


class I2cAdapterQuirks(NamedTuple):
    """struct i2c_adapter_quirks. A limit of 0 is none."""

    flags: int = 0
    max_num_msgs: int = 0
    max_write_len: int = 0
    max_read_len: int = 0
    max_comb_1st_msg_len: int = 0
    max_comb_2nd_msg_len: int = 0
