# SPDX-License-Identifier: GPL-2.0-or-later
"""Packet error codes: computed, checked, and left out where SMBus has none."""

import errno

from smbus2 import smbus2 as low

from .case import REGISTERS, SMBUS, Case


def crc8(data):
    """SMBus 3.2, 6.4: the polynomial x^8 + x^2 + x + 1 over all bytes, addresses included."""
    code = 0
    for value in data:
        code ^= value
        for _ in range(8):
            code = (code << 1 ^ 0x107 if code & 0x80 else code << 1) & 0xFF
    return code


class Pec(Case):
    def setUp(self):
        super().setUp()
        self.bus.enable_pec(True)

    def test_send_byte_and_receive_byte(self):
        self.bus.write_byte(SMBUS, 0x15)
        self.assertEqual(self.bus.read_byte(SMBUS), 0x15)

    def test_byte_data(self):
        self.bus.write_byte_data(SMBUS, 0x41, 0x3C)
        self.assertEqual(self.bus.read_byte_data(SMBUS, 0x41), 0x3C)

    def test_word_data(self):
        self.bus.write_word_data(SMBUS, 0x81, 0xABCD)
        self.assertEqual(self.bus.read_word_data(SMBUS, 0x81), 0xABCD)

    def test_process_call(self):
        self.assertEqual(self.bus.process_call(SMBUS, 0x82, 0xFF00), 0x00FF)

    def test_block_data(self):
        self.bus.write_block_data(SMBUS, 0x05, [9, 8, 7])
        if self.follows_length:
            self.assertEqual(self.bus.read_block_data(SMBUS, 0x05), [9, 8, 7])
        else:
            # Count and first byte, the latter taken for the code.
            with self.refused(errno.EBADMSG):
                self.bus.read_block_data(SMBUS, 0x05)

    def test_block_data_of_thirty_two_bytes(self):
        self.bus.write_block_data(SMBUS, 0x06, list(range(32)))
        if self.follows_length:
            self.assertEqual(self.bus.read_block_data(SMBUS, 0x06), list(range(32)))
        self.bus.enable_pec(False)
        if self.follows_length:
            self.assertEqual(self.bus.read_block_data(SMBUS, 0x06), list(range(32)))

    def test_block_process_call(self):
        if self.follows_length:
            self.assertEqual(self.bus.block_process_call(SMBUS, 0x05, [0x00, 0xF0]), [0xFF, 0x0F])
        else:
            with self.refused(errno.EBADMSG):
                self.bus.block_process_call(SMBUS, 0x05, [0x00, 0xF0])

    def test_a_quick_command_has_none(self):
        self.bus.write_quick(REGISTERS)

    def test_an_i2c_block_has_none(self):
        self.bus.write_i2c_block_data(REGISTERS, 0x30, [1, 2])
        self.assertEqual(self.bus.read_i2c_block_data(REGISTERS, 0x30, 2), [1, 2])

    def test_a_slave_with_a_wrong_code_is_not_believed(self):
        self.bus.enable_pec(False)
        right = crc8([REGISTERS << 1, 0x10, REGISTERS << 1 | 1, 0x55])
        self.bus.write_i2c_block_data(REGISTERS, 0x10, [0x55, right ^ 1])
        self.bus.enable_pec(True)
        with self.refused(errno.EBADMSG):
            self.bus.read_byte_data(REGISTERS, 0x10)

    def test_a_slave_with_the_right_code_is_believed(self):
        self.bus.enable_pec(False)
        right = crc8([REGISTERS << 1, 0x10, REGISTERS << 1 | 1, 0x55])
        self.bus.write_i2c_block_data(REGISTERS, 0x10, [0x55, right])
        self.bus.enable_pec(True)
        self.assertEqual(self.bus.read_byte_data(REGISTERS, 0x10), 0x55)

    def test_a_wrong_code_of_a_process_call(self):
        self.bus.enable_pec(False)
        self.bus.write_i2c_block_data(REGISTERS, 0x52, [0, 0, 0])
        self.bus.enable_pec(True)
        with self.refused(errno.EBADMSG):
            self.bus.process_call(REGISTERS, 0x50, 0x0102)

    def test_the_code_of_a_write_follows_its_data(self):
        self.bus.write_byte_data(REGISTERS, 0x10, 0x66)
        self.bus.enable_pec(False)
        code = crc8([REGISTERS << 1, 0x10, 0x66])
        self.assertEqual(self.bus.read_i2c_block_data(REGISTERS, 0x10, 2), [0x66, code])

    def test_the_code_of_a_block_follows_its_data(self):
        self.bus.write_block_data(REGISTERS, 0x10, [1, 2])
        self.bus.enable_pec(False)
        code = crc8([REGISTERS << 1, 0x10, 2, 1, 2])
        self.assertEqual(self.bus.read_i2c_block_data(REGISTERS, 0x10, 4), [2, 1, 2, code])

    def test_it_belongs_to_the_open_file(self):
        other = self.open("other ")
        self.assertEqual(other.pec, 0)
        self.bus.write_byte_data(SMBUS, 0x42, 0x11)
        other.write_i2c_block_data(REGISTERS, 0x10, [0x22, 0x33])
        self.assertEqual(other.read_byte_data(REGISTERS, 0x10), 0x22)
        self.assertEqual(self.bus.read_byte_data(SMBUS, 0x42), 0x11)

    def test_it_stays_on_when_the_address_changes(self):
        self.bus.write_byte_data(SMBUS, 0x43, 0x99)
        self.bus.write_quick(REGISTERS)
        self.bus.write_byte_data(REGISTERS, 0x18, 0x66)
        self.bus.enable_pec(False)
        code = crc8([REGISTERS << 1, 0x18, 0x66])
        self.assertEqual(self.bus.read_byte_data(REGISTERS, 0x19), code)

    def test_any_number_switches_it_on(self):
        self.bus.ioctl(low.I2C_PEC, 0)
        self.bus.ioctl(low.I2C_PEC, 77)
        self.bus.write_byte_data(REGISTERS, 0x1A, 0x01)
        self.bus.ioctl(low.I2C_PEC, 0)
        self.assertEqual(self.bus.read_byte_data(REGISTERS, 0x1B), crc8([REGISTERS << 1, 0x1A, 0x01]))

    def test_messages_have_none(self):
        message = low.i2c_msg.write(REGISTERS, [0x1C, 0x05, 0x06])
        self.bus.i2c_rdwr(message)
        self.bus.enable_pec(False)
        self.assertEqual(self.bus.read_i2c_block_data(REGISTERS, 0x1C, 2), [5, 6])

    def test_a_wrong_code_written_by_hand_is_not_acknowledged(self):
        self.bus.write_byte_data(SMBUS, 0x44, 0x77)
        wrong = crc8([SMBUS << 1, 0x44, 0x78]) ^ 0xFF
        message = low.i2c_msg.write(SMBUS, [0x44, 0x78, wrong])
        if self.adapter == "dmasafe":
            with self.refused(errno.ENXIO):
                self.bus.rdwr(message)
        else:
            self.assertEqual(self.bus.rdwr(message), 0)
        self.assertEqual(self.bus.read_byte_data(SMBUS, 0x44), 0x77)
