# SPDX-License-Identifier: GPL-2.0-or-later
"""Every SMBus call of smbus2, without packet error codes."""

import errno

from smbus2 import smbus2 as low

from .case import I2C_SMBUS_I2C_BLOCK_BROKEN, NOBODY, REGISTERS, SMBUS, Case


class Quick(Case):
    def test_a_slave_acknowledges(self):
        self.bus.write_quick(REGISTERS)

    def test_a_read_bit_is_acknowledged_too(self):
        self.bus.slave(REGISTERS)
        self.bus.smbus(low.I2C_SMBUS_READ, 0, low.I2C_SMBUS_QUICK)

    def test_nobody_acknowledges(self):
        with self.refused(self.unanswered):
            self.bus.write_quick(NOBODY)

    def test_it_needs_no_data(self):
        self.bus.slave(REGISTERS)
        self.bus.smbus(low.I2C_SMBUS_WRITE, 0, low.I2C_SMBUS_QUICK, data=False)


class Byte(Case):
    def test_a_written_byte_selects_the_register_that_is_read(self):
        self.bus.write_byte_data(REGISTERS, 0x11, 0xA5)
        self.bus.write_byte(REGISTERS, 0x11)
        self.assertEqual(self.bus.read_byte(REGISTERS), 0xA5)

    def test_each_read_goes_one_register_on(self):
        self.bus.write_i2c_block_data(REGISTERS, 0x30, [1, 2, 3])
        self.bus.write_byte(REGISTERS, 0x30)
        self.assertEqual([self.bus.read_byte(REGISTERS) for _ in range(3)], [1, 2, 3])

    def test_the_pointer_wraps_after_the_last_register(self):
        self.bus.write_byte_data(REGISTERS, 0xFF, 0x5A)
        self.bus.write_byte_data(REGISTERS, 0x00, 0xC3)
        self.bus.write_byte(REGISTERS, 0xFF)
        self.assertEqual([self.bus.read_byte(REGISTERS) for _ in range(2)], [0x5A, 0xC3])

    def test_a_write_needs_no_data(self):
        self.bus.slave(REGISTERS)
        self.bus.smbus(low.I2C_SMBUS_WRITE, 0x12, low.I2C_SMBUS_BYTE, data=False)

    def test_a_read_without_data_is_refused(self):
        self.bus.slave(REGISTERS)
        with self.refused(errno.EINVAL):
            self.bus.smbus(low.I2C_SMBUS_READ, 0, low.I2C_SMBUS_BYTE, data=False)

    def test_nobody_is_there_to_read_from(self):
        with self.refused(self.unanswered):
            self.bus.read_byte(NOBODY)

    def test_nobody_is_there_to_write_to(self):
        with self.refused(self.unanswered):
            self.bus.write_byte(NOBODY, 1)


class ByteData(Case):
    def test_what_is_written_is_read(self):
        self.bus.write_byte_data(REGISTERS, 0x10, 0xAA)
        self.assertEqual(self.bus.read_byte_data(REGISTERS, 0x10), 0xAA)

    def test_every_register_is_one_of_its_own(self):
        for register in range(256):
            self.bus.write_byte_data(REGISTERS, register, register ^ 0x5A)
        for register in range(256):
            self.assertEqual(self.bus.read_byte_data(REGISTERS, register), register ^ 0x5A)

    def test_a_read_leaves_the_pointer_behind_it(self):
        self.bus.write_i2c_block_data(REGISTERS, 0x40, [7, 8])
        self.assertEqual(self.bus.read_byte_data(REGISTERS, 0x40), 7)
        self.assertEqual(self.bus.read_byte(REGISTERS), 8)

    def test_zero_and_all_ones(self):
        for value in (0x00, 0xFF):
            self.bus.write_byte_data(REGISTERS, 0x13, value)
            self.assertEqual(self.bus.read_byte_data(REGISTERS, 0x13), value)

    def test_registers_and_values_have_eight_bits(self):
        self.bus.write_byte_data(REGISTERS, 0x114, 0x1EE)
        self.assertEqual(self.bus.read_byte_data(REGISTERS, 0x14), 0xEE)

    def test_nobody_is_there(self):
        with self.refused(self.unanswered):
            self.bus.read_byte_data(NOBODY, 0)
        with self.refused(self.unanswered):
            self.bus.write_byte_data(NOBODY, 0, 0)


class WordData(Case):
    def test_what_is_written_is_read(self):
        self.bus.write_word_data(REGISTERS, 0x20, 0xBEEF)
        self.assertEqual(self.bus.read_word_data(REGISTERS, 0x20), 0xBEEF)

    def test_the_low_byte_comes_first(self):
        self.bus.write_word_data(REGISTERS, 0x20, 0x1234)
        self.assertEqual(self.bus.read_i2c_block_data(REGISTERS, 0x20, 2), [0x34, 0x12])

    def test_it_wraps_after_the_last_register(self):
        self.bus.write_word_data(REGISTERS, 0xFF, 0x6655)
        self.assertEqual(self.bus.read_byte_data(REGISTERS, 0xFF), 0x55)
        self.assertEqual(self.bus.read_byte_data(REGISTERS, 0x00), 0x66)

    def test_zero_and_all_ones(self):
        for value in (0x0000, 0xFFFF):
            self.bus.write_word_data(REGISTERS, 0x22, value)
            self.assertEqual(self.bus.read_word_data(REGISTERS, 0x22), value)

    def test_a_slave_that_speaks_smbus(self):
        self.bus.write_word_data(SMBUS, 0x90, 0xCAFE)
        self.assertEqual(self.bus.read_word_data(SMBUS, 0x90), 0xCAFE)

    def test_nobody_is_there(self):
        with self.refused(self.unanswered):
            self.bus.read_word_data(NOBODY, 0)


class ProcessCall(Case):
    def test_the_answer_comes_in_the_same_transfer(self):
        self.assertEqual(self.bus.process_call(SMBUS, 0x85, 0x0F0F), 0xF0F0)

    def test_it_is_not_a_write(self):
        self.bus.write_word_data(SMBUS, 0x86, 0x1111)
        self.bus.process_call(SMBUS, 0x86, 0x2222)
        self.assertEqual(self.bus.read_word_data(SMBUS, 0x86), 0x1111)

    def test_a_register_file_answers_with_the_registers_behind(self):
        self.bus.write_i2c_block_data(REGISTERS, 0x52, [0xAB, 0xCD])
        self.assertEqual(self.bus.process_call(REGISTERS, 0x50, 0x0101), 0xCDAB)

    def test_the_direction_bit_does_not_matter(self):
        self.bus.slave(SMBUS)
        answer = self.bus.smbus(low.I2C_SMBUS_READ, 0x85, low.I2C_SMBUS_PROC_CALL, b"\xf0\xf0")
        self.assertEqual(answer[:2], b"\x0f\x0f")

    def test_nobody_is_there(self):
        with self.refused(self.unanswered):
            self.bus.process_call(NOBODY, 0, 0)


class BlockData(Case):
    """Reads need an adapter that takes the length from the slave; others, asked all the same, invent the data."""

    def read_back(self, command, written):
        """i2c-virtio reads the count and leaves the rest of the kernel's buffer as it was: zeros."""
        wanted = written if self.follows_length else [0] * len(written)
        self.assertEqual(self.bus.read_block_data(SMBUS, command), wanted)

    def test_one_byte(self):
        self.bus.write_block_data(SMBUS, 0x05, [0x99])
        self.read_back(0x05, [0x99])

    def test_thirty_two_bytes(self):
        self.bus.write_block_data(SMBUS, 0x06, list(range(100, 132)))
        self.read_back(0x06, list(range(100, 132)))

    def test_a_command_that_was_never_written(self):
        self.read_back(0x3F, list(range(0x3F, 0x47)))

    def test_no_bytes_are_refused(self):
        with self.no_bytes():
            self.bus.write_block_data(SMBUS, 0x07, [])

    def test_smbus2_refuses_thirty_three_bytes(self):
        with self.assertRaises(ValueError):
            self.bus.write_block_data(SMBUS, 0x07, [0] * 33)

    def test_the_kernel_refuses_thirty_three_bytes(self):
        self.bus.slave(SMBUS)
        with self.refused(errno.EINVAL):
            self.bus.smbus(low.I2C_SMBUS_WRITE, 0x07, low.I2C_SMBUS_BLOCK_DATA, bytes([33]) + bytes(33))

    def test_the_count_is_sent_before_the_data(self):
        self.bus.write_block_data(REGISTERS, 0x60, [0x77, 0x88])
        self.assertEqual(self.bus.read_i2c_block_data(REGISTERS, 0x60, 3), [2, 0x77, 0x88])

    def test_the_slave_says_how_long_a_block_is(self):
        self.bus.write_i2c_block_data(REGISTERS, 0x60, [3, 0x21, 0x22, 0x23])
        wanted = [0x21, 0x22, 0x23] if self.follows_length else [0, 0, 0]
        self.assertEqual(self.bus.read_block_data(REGISTERS, 0x60), wanted)

    def test_a_block_of_no_bytes(self):
        self.bus.write_byte_data(REGISTERS, 0x60, 0)
        if self.follows_length:
            with self.refused(errno.EPROTO):
                self.bus.read_block_data(REGISTERS, 0x60)
        else:
            self.assertEqual(self.bus.read_block_data(REGISTERS, 0x60), [])

    def test_a_slave_that_claims_thirty_three_bytes(self):
        self.bus.write_byte_data(REGISTERS, 0x60, 33)
        with self.refused(errno.EPROTO):
            self.bus.read_block_data(REGISTERS, 0x60)

    def test_a_slave_that_claims_all_it_can(self):
        self.bus.write_byte_data(REGISTERS, 0x60, 255)
        with self.refused(errno.EPROTO):
            self.bus.read_block_data(REGISTERS, 0x60)

    def test_nobody_is_there(self):
        with self.refused(self.unanswered):
            self.bus.read_block_data(NOBODY, 0)
        with self.refused(self.unanswered):
            self.bus.write_block_data(NOBODY, 0, [1])


class I2cBlockData(Case):
    def test_one_byte(self):
        self.bus.write_i2c_block_data(REGISTERS, 0x30, [0x42])
        self.assertEqual(self.bus.read_i2c_block_data(REGISTERS, 0x30, 1), [0x42])

    def test_thirty_two_bytes(self):
        self.bus.write_i2c_block_data(REGISTERS, 0x30, list(range(200, 232)))
        self.assertEqual(self.bus.read_i2c_block_data(REGISTERS, 0x30, 32), list(range(200, 232)))

    def test_it_wraps_after_the_last_register(self):
        self.bus.write_i2c_block_data(REGISTERS, 0xFE, [1, 2, 3, 4])
        self.assertEqual(self.bus.read_i2c_block_data(REGISTERS, 0x00, 2), [3, 4])
        self.assertEqual(self.bus.read_i2c_block_data(REGISTERS, 0xFE, 4), [1, 2, 3, 4])

    def test_reading_no_bytes_is_refused(self):
        with self.no_bytes():
            self.bus.read_i2c_block_data(REGISTERS, 0x30, 0)

    def test_writing_no_bytes_is_refused(self):
        with self.no_bytes():
            self.bus.write_i2c_block_data(REGISTERS, 0x30, [])

    def test_smbus2_refuses_thirty_three_bytes(self):
        with self.assertRaises(ValueError):
            self.bus.read_i2c_block_data(REGISTERS, 0x30, 33)
        with self.assertRaises(ValueError):
            self.bus.write_i2c_block_data(REGISTERS, 0x30, [0] * 33)

    def test_the_kernel_refuses_to_read_thirty_three_bytes(self):
        self.bus.slave(REGISTERS)
        with self.refused(errno.EINVAL):
            self.bus.smbus(low.I2C_SMBUS_READ, 0x30, low.I2C_SMBUS_I2C_BLOCK_DATA, b"\x21")

    def test_the_kernel_refuses_to_write_thirty_three_bytes(self):
        self.bus.slave(REGISTERS)
        with self.refused(errno.EINVAL):
            self.bus.smbus(low.I2C_SMBUS_WRITE, 0x30, low.I2C_SMBUS_I2C_BLOCK_DATA, b"\x21" + bytes(33))

    def test_a_slave_that_speaks_smbus(self):
        self.bus.write_i2c_block_data(SMBUS, 0xC5, [9, 8, 7])
        self.assertEqual(self.bus.read_i2c_block_data(SMBUS, 0xC5, 4), [9, 8, 7, 0xFF])

    def test_the_old_request_reads_thirty_two_bytes(self):
        self.bus.write_i2c_block_data(REGISTERS, 0x30, list(range(32)))
        self.bus.slave(REGISTERS)
        answer = self.bus.smbus(low.I2C_SMBUS_READ, 0x30, I2C_SMBUS_I2C_BLOCK_BROKEN)
        self.assertEqual(answer[:33], bytes([32, *range(32)]))

    def test_the_old_request_writes_what_it_says(self):
        self.bus.slave(REGISTERS)
        self.bus.smbus(low.I2C_SMBUS_WRITE, 0x70, I2C_SMBUS_I2C_BLOCK_BROKEN, b"\x02\xd1\xd2\xd3")
        self.assertEqual(self.bus.read_i2c_block_data(REGISTERS, 0x70, 2), [0xD1, 0xD2])

    def test_nobody_is_there(self):
        with self.refused(self.unanswered):
            self.bus.read_i2c_block_data(NOBODY, 0, 8)
        with self.refused(self.unanswered):
            self.bus.write_i2c_block_data(NOBODY, 0, [1, 2])


class BlockProcessCall(Case):
    def answer(self, data):
        """The slave's answer, as far as the adapter fetches it."""
        return [value ^ 0xFF for value in data] if self.follows_length else [0] * len(data)

    def test_the_answer_comes_in_the_same_transfer(self):
        self.assertEqual(self.bus.block_process_call(SMBUS, 0x05, [0, 1]), self.answer([0, 1]))

    def test_thirty_two_bytes(self):
        data = list(range(50, 82))
        self.assertEqual(self.bus.block_process_call(SMBUS, 0x05, data), self.answer(data))

    def test_no_bytes_are_refused(self):
        with self.no_bytes():
            self.bus.block_process_call(SMBUS, 0x05, [])

    def test_smbus2_refuses_thirty_three_bytes(self):
        with self.assertRaises(ValueError):
            self.bus.block_process_call(SMBUS, 0x05, [0] * 33)

    def test_the_kernel_refuses_thirty_three_bytes(self):
        self.bus.slave(SMBUS)
        with self.refused(errno.EINVAL):
            self.bus.smbus(low.I2C_SMBUS_WRITE, 0x05, low.I2C_SMBUS_BLOCK_PROC_CALL, b"\x21" + bytes(33))

    def test_nobody_is_there(self):
        with self.refused(self.unanswered):
            self.bus.block_process_call(NOBODY, 0, [1])
