# SPDX-License-Identifier: GPL-2.0-or-later
"""ioctl(I2C_RDWR): several messages in one transfer, their limits and what must not be believed in them."""

import errno

from smbus2 import smbus2 as low

from .case import (
    EEPROM,
    I2C_M_DMA_SAFE,
    I2C_M_RECV_LEN,
    I2C_M_TEN,
    MAX_BYTES,
    MAX_MESSAGES,
    NOBODY,
    RECORDER,
    REFUSING,
    REGISTERS,
    SMBUS,
    Case,
    payload,
)

# i2c-virtio's shortest queue, QEMU 7.2's: what does not fit is not sent, and nobody is told but by the count.
QUEUE = 4


def read(address, length, flags=0):
    message = low.i2c_msg.read(address, length)
    message.flags |= flags
    return message


def write(address, data, flags=0):
    message = low.i2c_msg.write(address, data)
    message.flags |= flags
    return message


class Messages(Case):
    def test_a_write_and_a_read_with_a_repeated_start(self):
        self.bus.i2c_rdwr(write(EEPROM, [0x01, 0x00, *b"page"]))
        answer = read(EEPROM, 4)
        self.bus.i2c_rdwr(write(EEPROM, [0x01, 0x00]), answer)
        self.assertEqual(payload(answer), b"page")

    def test_a_stop_lets_the_eeprom_write_a_start_does_not(self):
        self.bus.i2c_rdwr(write(EEPROM, [0x02, 0x00, *b"kept"]))
        answer = read(EEPROM, 4)
        self.assertEqual(self.bus.rdwr(write(EEPROM, [0x02, 0x00, *b"lost"]), answer), 2)
        self.bus.i2c_rdwr(write(EEPROM, [0x02, 0x00]), answer)
        self.assertEqual(payload(answer), b"kept")

    def test_a_page_of_an_eeprom_wraps(self):
        self.bus.i2c_rdwr(write(EEPROM, [0x03, 0x1E, 1, 2, 3, 4]))
        answer = read(EEPROM, 32)
        self.bus.i2c_rdwr(write(EEPROM, [0x03, 0x00]), answer)
        self.assertEqual(payload(answer), bytes([3, 4, *[0xFF] * 28, 1, 2]))

    def test_one_read(self):
        self.bus.write_i2c_block_data(REGISTERS, 0x10, [0xA1, 0xA2])
        self.bus.write_byte(REGISTERS, 0x10)
        answer = read(REGISTERS, 2)
        self.assertEqual(self.bus.rdwr(answer), 1)
        self.assertEqual(payload(answer), b"\xa1\xa2")

    def test_messages_to_different_slaves(self):
        self.bus.write_byte_data(REGISTERS, 0x10, 0x51)
        first, second = read(REGISTERS, 1), read(EEPROM, 1)
        self.bus.i2c_rdwr(write(EEPROM, [0x04, 0x00, 0x52]))
        self.assertEqual(self.bus.rdwr(write(REGISTERS, [0x10]), first, write(EEPROM, [0x04, 0x00]), second), 4)
        self.assertEqual(payload(first) + payload(second), b"\x51\x52")

    def test_as_many_as_there_may_be(self):
        self.bus.write_i2c_block_data(REGISTERS, 0x80, list(range(MAX_MESSAGES))[:32])
        self.bus.write_byte(REGISTERS, 0x80)
        answers = [read(REGISTERS, 1) for _ in range(MAX_MESSAGES)]
        done = self.bus.rdwr(*answers)
        if self.adapter == "dmasafe":
            self.assertEqual(done, MAX_MESSAGES)
        self.assertIn(done, range(QUEUE, MAX_MESSAGES + 1))
        sent = min(done, 32)
        self.assertEqual([payload(answer)[0] for answer in answers[:sent]], list(range(sent)))

    def test_one_more_than_there_may_be(self):
        self.bus.write_byte(REGISTERS, 0x10)
        with self.refused(errno.EINVAL):
            self.bus.i2c_rdwr(*[read(REGISTERS, 1) for _ in range(MAX_MESSAGES + 1)])
        self.bus.write_byte_data(REGISTERS, 0x10, 0x3B)
        self.bus.write_byte(REGISTERS, 0x10)
        self.assertEqual(self.bus.read_byte(REGISTERS), 0x3B)

    def test_none_at_all(self):
        with self.refused(errno.EINVAL):
            self.bus.i2c_rdwr()

    def test_no_array_of_messages(self):
        with self.refused(errno.EINVAL):
            self.bus.ioctl(low.I2C_RDWR, low.i2c_rdwr_ioctl_data(msgs=None, nmsgs=1))

    def test_no_argument(self):
        with self.refused(errno.EFAULT):
            self.bus.ioctl(low.I2C_RDWR, 0)

    def test_a_message_without_bytes(self):
        self.assertEqual(self.bus.rdwr(write(REGISTERS, [])), 1)
        self.assertEqual(self.bus.rdwr(read(REGISTERS, 0)), 1)

    def test_a_message_without_a_buffer(self):
        with self.refused(errno.EFAULT):
            self.bus.rdwr(low.i2c_msg(addr=REGISTERS, flags=0, len=4, buf=None))

    def test_the_longest_write(self):
        data = bytes(n * 7 & 0xFF for n in range(MAX_BYTES))
        self.assertEqual(self.bus.rdwr(write(RECORDER, data)), 1)

    def test_the_longest_read(self):
        answer = read(RECORDER, MAX_BYTES)
        self.assertEqual(self.bus.rdwr(answer), 1)
        self.assertGreater(len(set(payload(answer))), 200)

    def test_two_of_the_longest_reads(self):
        first, second = read(RECORDER, MAX_BYTES), read(RECORDER, MAX_BYTES)
        self.assertEqual(self.bus.rdwr(first, second), 2)
        self.assertNotEqual(payload(first), payload(second))

    def test_one_byte_too_many(self):
        with self.refused(errno.EINVAL):
            self.bus.rdwr(write(RECORDER, bytes(MAX_BYTES + 1)))
        with self.refused(errno.EINVAL):
            self.bus.rdwr(read(RECORDER, MAX_BYTES + 1))

    def test_all_bytes_that_a_message_can_claim(self):
        with self.refused(errno.EINVAL):
            self.bus.rdwr(read(RECORDER, 65535))

    def test_one_bad_message_and_nothing_is_sent(self):
        self.bus.write_byte_data(REGISTERS, 0x10, 0x01)
        with self.refused(errno.EINVAL):
            self.bus.rdwr(write(REGISTERS, [0x10, 0x02]), write(REGISTERS, bytes(MAX_BYTES + 1)))
        self.assertEqual(self.bus.read_byte_data(REGISTERS, 0x10), 0x01)

    def unanswered_at(self, number, *messages):
        """The transfer stops at this message: an error, or from upstream's driver the count."""
        if self.adapter == "dmasafe":
            with self.refused(errno.ENXIO):
                self.bus.rdwr(*messages)
        else:
            self.assertEqual(self.bus.rdwr(*messages), number)

    def test_nobody_answers_to_the_first(self):
        self.bus.write_byte_data(REGISTERS, 0x10, 0x01)
        self.unanswered_at(0, write(NOBODY, [1]), write(REGISTERS, [0x10, 0x02]))
        self.assertEqual(self.bus.read_byte_data(REGISTERS, 0x10), 0x01)

    def test_nobody_answers_to_the_second(self):
        self.bus.write_i2c_block_data(REGISTERS, 0x10, [1, 1])
        self.unanswered_at(1, write(REGISTERS, [0x10, 0x02]), write(NOBODY, [1]), write(REGISTERS, [0x11, 0x02]))
        self.assertEqual(self.bus.read_i2c_block_data(REGISTERS, 0x10, 2), [2, 1])

    def test_a_slave_refuses_its_second_byte(self):
        self.assertEqual(self.bus.rdwr(write(REFUSING, [1])), 1)
        self.unanswered_at(0, write(REFUSING, [1, 2]))

    def test_smbus2_does_not_notice_what_upstreams_driver_left_out(self):
        if self.adapter == "dmasafe":
            with self.refused(errno.ENXIO):
                self.bus.i2c_rdwr(write(NOBODY, [1]))
        else:
            self.bus.i2c_rdwr(write(NOBODY, [1]))

    def test_an_address_of_more_than_seven_bits(self):
        self.unanswered_at(0, read(0x120, 1))

    def test_an_address_that_does_not_fit_the_request(self):
        # 0x8020 << 1 has 17 bits, of which the request keeps 16: those of 0x20.
        self.bus.write_byte_data(REGISTERS, 0x10, 0x5C)
        self.bus.write_byte(REGISTERS, 0x10)
        answer = read(0x8000 | REGISTERS, 1)
        self.assertEqual(self.bus.rdwr(answer), 1)
        self.assertEqual(payload(answer), b"\x5c")

    def test_a_ten_bit_message(self):
        self.bus.write_byte_data(REGISTERS, 0x10, 0x01)
        messages = write(REGISTERS, [0x10, 0x02]), write(REGISTERS, [0x11, 0x02], I2C_M_TEN)
        if self.adapter == "dmasafe":
            with self.refused(errno.EOPNOTSUPP):
                self.bus.rdwr(*messages)
            self.assertEqual(self.bus.read_byte_data(REGISTERS, 0x10), 0x01)
        else:
            self.assertEqual(self.bus.rdwr(*messages), 2)
            self.assertEqual(self.bus.read_byte_data(REGISTERS, 0x10), 0x02)

    def test_a_user_may_say_that_its_buffer_is_safe(self):
        answer = read(REGISTERS, 1, I2C_M_DMA_SAFE)
        self.bus.write_byte_data(REGISTERS, 0x10, 0x7E)
        self.assertEqual(self.bus.rdwr(write(REGISTERS, [0x10], I2C_M_DMA_SAFE), answer), 2)
        self.assertEqual(payload(answer), b"\x7e")


class LengthFromTheSlave(Case):
    """I2C_M_RECV_LEN: byte 0 of the buffer says how many bytes there are beside the block."""

    def ask(self, length, extra, flags=I2C_M_RECV_LEN):
        message = low.i2c_msg.write(SMBUS, [extra] + [0xEE] * (length - 1))
        message.flags = low.I2C_M_RD | flags
        return message

    def test_the_block_and_its_count(self):
        self.bus.write_block_data(SMBUS, 0x05, [9, 8, 7])
        answer = self.ask(33, 1)
        self.assertEqual(self.bus.rdwr(write(SMBUS, [0x05]), answer), 2)
        wanted = [3, 9, 8, 7] if self.follows_length else [3]
        self.assertEqual(list(answer), wanted + [0xEE] * (33 - len(wanted)))

    def test_the_block_and_a_packet_error_code(self):
        self.bus.write_block_data(SMBUS, 0x05, [9, 8, 7])
        answer = self.ask(34, 2)
        self.assertEqual(self.bus.rdwr(write(SMBUS, [0x05]), answer), 2)
        self.assertEqual(list(answer)[:3], [3, 9, 8] if self.follows_length else [3, 9, 0xEE])

    def test_a_buffer_that_is_too_short(self):
        with self.refused(errno.EINVAL):
            self.bus.rdwr(write(SMBUS, [0x05]), self.ask(32, 1))

    def test_no_room_for_the_count(self):
        with self.refused(errno.EINVAL):
            self.bus.rdwr(write(SMBUS, [0x05]), self.ask(40, 0))

    def test_a_write(self):
        with self.refused(errno.EINVAL):
            self.bus.rdwr(write(SMBUS, [1] * 33, I2C_M_RECV_LEN))

    def test_a_message_without_bytes(self):
        with self.refused(errno.EINVAL):
            self.bus.rdwr(read(SMBUS, 0, I2C_M_RECV_LEN))

    def test_a_count_that_no_block_has(self):
        self.bus.write_byte_data(REGISTERS, 0x10, 40)
        message = low.i2c_msg.write(REGISTERS, [1] * 33)
        message.flags = low.I2C_M_RD | I2C_M_RECV_LEN
        if self.follows_length:
            with self.refused(errno.EPROTO):
                self.bus.rdwr(write(REGISTERS, [0x10]), message)
        else:
            self.assertEqual(self.bus.rdwr(write(REGISTERS, [0x10]), message), 2)
