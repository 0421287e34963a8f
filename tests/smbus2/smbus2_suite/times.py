# SPDX-License-Identifier: GPL-2.0-or-later
"""A slave that holds the clock, and the adapter's patience. Registers 0 and 1 of the slow slave are milliseconds."""

import errno

from smbus2 import smbus2 as low

from .case import I2C_TIMEOUT, REGISTERS, SLOW, Case

# Far enough apart for a slow machine: what must be in time, what must not, and I2C_TIMEOUT's units of 10 ms.
SHORT_MS = 20
LONG_MS = 1500
PATIENCE_10MS = 20
DEFAULT_10MS = 100
MUCH_PATIENCE_10MS = 3000


class Slow(Case):
    def setUp(self):
        super().setUp()
        self.hold(SHORT_MS)
        self.addCleanup(self._hurry)

    def _hurry(self):
        self.bus.ioctl(I2C_TIMEOUT, MUCH_PATIENCE_10MS)
        self.hold(SHORT_MS)
        self.bus.ioctl(I2C_TIMEOUT, DEFAULT_10MS)

    def hold(self, milliseconds):
        """What each further message takes. The write itself still takes what was set before."""
        self.bus.write_word_data(SLOW, 0, milliseconds)

    def test_it_is_waited_for(self):
        self.bus.write_byte_data(SLOW, 0x10, 0x5D)
        self.assertEqual(self.bus.read_byte_data(SLOW, 0x10), 0x5D)

    def test_it_is_waited_for_in_each_message(self):
        self.bus.write_i2c_block_data(SLOW, 0x10, [1, 2, 3])
        answer = low.i2c_msg.read(SLOW, 3)
        self.assertEqual(self.bus.rdwr(low.i2c_msg.write(SLOW, [0x10]), answer), 2)
        self.assertEqual(list(answer), [1, 2, 3])

    def test_until_patience_ends(self):
        self.hold(LONG_MS)
        self.bus.ioctl(I2C_TIMEOUT, PATIENCE_10MS)
        if self.adapter == "dmasafe":
            with self.refused(errno.ETIMEDOUT):
                self.bus.read_byte(SLOW)
        else:
            # Upstream's driver has no time limit.
            self.bus.read_byte(SLOW)

    def test_the_bus_goes_on_when_patience_has_ended(self):
        self.hold(LONG_MS)
        self.bus.ioctl(I2C_TIMEOUT, PATIENCE_10MS)
        if self.adapter == "dmasafe":
            with self.refused(errno.ETIMEDOUT):
                self.bus.write_byte(SLOW, 0x10)
        else:
            self.bus.write_byte(SLOW, 0x10)
        self.bus.ioctl(I2C_TIMEOUT, DEFAULT_10MS)
        self.bus.write_byte_data(REGISTERS, 0x10, 0x2F)
        self.assertEqual(self.bus.read_byte_data(REGISTERS, 0x10), 0x2F)

    def test_more_patience(self):
        self.bus.write_byte_data(SLOW, 0x10, 0x6E)
        self.hold(LONG_MS)
        self.bus.ioctl(I2C_TIMEOUT, MUCH_PATIENCE_10MS)
        self.assertEqual(self.bus.read_byte_data(SLOW, 0x10), 0x6E)

    def test_patience_belongs_to_the_adapter(self):
        other = self.open("other ")
        self.hold(LONG_MS)
        other.ioctl(I2C_TIMEOUT, PATIENCE_10MS)
        if self.adapter == "dmasafe":
            with self.refused(errno.ETIMEDOUT):
                self.bus.read_byte(SLOW)
        else:
            self.bus.read_byte(SLOW)
