# SPDX-License-Identifier: GPL-2.0-or-later
"""The open file: opening and closing, read() and write(), addresses, options, and requests that are wrong."""

import errno

import smbus2
from smbus2 import smbus2 as low

from .case import (
    EEPROM,
    I2C_RETRIES,
    I2C_TENBIT,
    I2C_TIMEOUT,
    MAX_BYTES,
    NOBODY,
    RECORDER,
    REFUSING,
    REGISTERS,
    SMALL_EEPROM,
    SMBUS,
    Case,
)

INT_MAX = (1 << 31) - 1
NO_SUCH_BUS = 4711
FUNCTIONALITY = {
    "virtio": smbus2.I2cFunc.I2C | smbus2.I2cFunc.SMBUS_EMUL,
    "dmasafe": smbus2.I2cFunc.I2C
    | smbus2.I2cFunc.SMBUS_EMUL
    | smbus2.I2cFunc.SMBUS_READ_BLOCK_DATA
    | smbus2.I2cFunc.SMBUS_BLOCK_PROC_CALL,
}


class Opening(Case):
    def test_by_number(self):
        self.open(bus=self.system.bus).write_quick(REGISTERS)

    def test_by_path(self):
        self.open(bus=f"/dev/i2c-{self.system.bus}").write_quick(REGISTERS)

    def test_a_bus_that_is_not_there(self):
        with self.assertRaises(FileNotFoundError):
            self.open(bus=NO_SUCH_BUS)

    def test_neither_a_number_nor_a_path(self):
        with self.assertRaises(TypeError):
            self.open(bus=1.5)

    def test_a_closed_bus_cannot_be_used(self):
        self.bus.close()
        with self.assertRaises(TypeError):
            self.bus.read_byte(REGISTERS)

    def test_a_closed_file_descriptor_is_bad(self):
        descriptor = self.bus.fd
        self.bus.close()
        with self.refused(errno.EBADF):
            low.os.read(descriptor, 1)
        with self.refused(errno.EBADF):
            low.ioctl(descriptor, low.I2C_SLAVE, REGISTERS)

    def test_closing_twice(self):
        self.bus.close()
        self.bus.close()
        self.assertIsNone(self.bus.fd)

    def test_an_object_can_be_opened_again(self):
        self.bus.enable_pec(True)
        self.bus.write_byte(SMBUS, 0x16)
        self.bus.close()
        self.bus.open(self.system.bus)
        self.assertEqual(self.bus.pec, 0)
        # With PEC there would be a second byte.
        self.bus.write_byte_data(REGISTERS, 0x10, 0x31)
        self.bus.write_byte_data(REGISTERS, 0x11, 0x32)
        self.assertEqual(self.bus.read_byte_data(REGISTERS, 0x10), 0x31)

    def test_a_with_statement_closes(self):
        with low.SMBus(self.system.bus) as bus:
            bus.write_quick(REGISTERS)
        self.assertIsNone(bus.fd)

    def test_many_at_once(self):
        buses = [self.open() for _ in range(20)]
        for number, bus in enumerate(buses):
            bus.write_byte_data(REGISTERS, 0x40 + number, number)
        self.assertEqual(self.bus.read_i2c_block_data(REGISTERS, 0x40, 20), list(range(20)))

    def test_each_has_an_address_of_its_own(self):
        other = self.open("other ")
        self.bus.write_i2c_block_data(REGISTERS, 0x10, [0x61])
        self.bus.slave(REGISTERS)
        other.slave(REFUSING)
        self.bus.write(b"\x10")
        self.assertEqual(other.read(1), b"\xff")
        self.assertEqual(self.bus.read(1), b"\x61")

    def test_what_the_adapter_can_do(self):
        self.noted.append(f"funcs {int(self.bus.funcs):#x}")
        self.assertEqual(self.bus.funcs, FUNCTIONALITY[self.adapter])


class ReadAndWrite(Case):
    def test_a_read_goes_on_where_the_write_pointed(self):
        self.bus.slave(REGISTERS)
        self.assertEqual(self.bus.write(b"\x20abc"), 4)
        self.assertEqual(self.bus.write(b"\x20"), 1)
        self.assertEqual(self.bus.read(3), b"abc")

    def test_a_write_longer_than_the_kernel_takes(self):
        self.bus.slave(RECORDER)
        self.assertEqual(self.bus.write(bytes(MAX_BYTES)), MAX_BYTES)
        self.assertEqual(self.bus.write(bytes(MAX_BYTES + 1)), MAX_BYTES)
        self.assertEqual(self.bus.write(bytes(3 * MAX_BYTES)), MAX_BYTES)

    def test_a_read_longer_than_the_kernel_gives(self):
        self.bus.slave(RECORDER)
        self.assertEqual(len(self.bus.read(MAX_BYTES)), MAX_BYTES)
        self.assertEqual(len(self.bus.read(MAX_BYTES + 1)), MAX_BYTES)

    def test_no_bytes(self):
        self.bus.slave(REGISTERS)
        self.assertEqual(self.bus.write(b""), 0)
        self.assertEqual(self.bus.read(0), b"")

    def test_nobody_is_there(self):
        self.bus.slave(NOBODY)
        if self.adapter == "dmasafe":
            with self.refused(errno.ENXIO):
                self.bus.write(b"\x10")
            with self.refused(errno.ENXIO):
                self.bus.read(1)
        else:
            # No message was carried out, so i2c_transfer() returns 0, and that is what the system call returns.
            self.assertEqual(self.bus.write(b"\x10"), 0)
            self.assertEqual(self.bus.read(1), b"")

    def test_nobody_is_there_and_nothing_is_sent(self):
        self.bus.slave(NOBODY)
        if self.adapter == "dmasafe":
            with self.refused(errno.ENXIO):
                self.bus.write(b"")
        else:
            self.assertEqual(self.bus.write(b""), 0)

    def test_a_slave_refuses_its_second_byte(self):
        self.bus.slave(REFUSING)
        self.assertEqual(self.bus.write(b"\x01"), 1)
        if self.adapter == "dmasafe":
            with self.refused(errno.ENXIO):
                self.bus.write(b"\x01\x02")
        else:
            self.assertEqual(self.bus.write(b"\x01\x02"), 0)

    def test_before_an_address_is_set(self):
        # The general call address, which none of these slaves answers to.
        if self.adapter == "dmasafe":
            with self.refused(errno.ENXIO):
                self.bus.read(1)
        else:
            self.assertEqual(self.bus.read(1), b"")

    def test_an_eeprom_page(self):
        self.bus.slave(EEPROM)
        self.assertEqual(self.bus.write(b"\x05\x00" + bytes(range(32))), 34)
        self.assertEqual(self.bus.write(b"\x05\x10"), 2)
        self.assertEqual(self.bus.read(16), bytes(range(16, 32)))


class Refusing(Case):
    """The slave at 0x60 takes its address and one byte."""

    def test_a_byte_is_taken(self):
        self.bus.write_byte(REFUSING, 0x01)

    def test_a_command_with_data_is_not(self):
        with self.refused(self.unanswered):
            self.bus.write_byte_data(REFUSING, 0x01, 0x02)
        with self.refused(self.unanswered):
            self.bus.write_word_data(REFUSING, 0x01, 0x0203)

    def test_a_block_is_not(self):
        with self.refused(self.unanswered):
            self.bus.write_i2c_block_data(REFUSING, 0x01, [1, 2, 3])
        with self.refused(self.unanswered):
            self.bus.write_block_data(REFUSING, 0x01, [1])

    def test_a_read_finds_the_bus_high(self):
        self.assertEqual(self.bus.read_byte(REFUSING), 0xFF)
        self.assertEqual(self.bus.read_word_data(REFUSING, 0x01), 0xFFFF)

    def test_a_packet_error_code_is_not(self):
        self.bus.enable_pec(True)
        with self.refused(self.unanswered):
            self.bus.write_byte(REFUSING, 0x01)

    def test_the_bus_goes_on(self):
        with self.refused(self.unanswered):
            self.bus.write_byte_data(REFUSING, 0x01, 0x02)
        self.bus.write_byte_data(REGISTERS, 0x10, 0x4D)
        self.assertEqual(self.bus.read_byte_data(REGISTERS, 0x10), 0x4D)


class Address(Case):
    def test_seven_bits(self):
        self.bus.slave(0x7F)
        with self.refused(errno.EINVAL):
            self.bus.slave(0x80)
        with self.refused(errno.EINVAL):
            self.bus.read_byte(0x80)

    def test_a_negative_address(self):
        with self.refused(errno.EINVAL):
            self.bus.slave(-1)
        with self.refused(errno.EINVAL):
            self.bus.ioctl(low.I2C_SLAVE_FORCE, -1)

    def test_a_refused_address_leaves_the_old_one(self):
        self.bus.write_i2c_block_data(REGISTERS, 0x10, [0x71])
        self.bus.slave(REGISTERS)
        self.bus.write(b"\x10")
        with self.refused(errno.EINVAL):
            self.bus.slave(0x80)
        self.assertEqual(self.bus.read(1), b"\x71")

    def test_ten_bits(self):
        self.bus.ioctl(I2C_TENBIT, 1)
        self.bus.slave(0x3FF)
        with self.refused(errno.EINVAL):
            self.bus.slave(0x400)

    def test_nobody_can_be_reached_at_ten_bits(self):
        self.bus.ioctl(I2C_TENBIT, 1)
        self.bus.slave(0x120)
        if self.adapter == "dmasafe":
            with self.refused(errno.EOPNOTSUPP):
                self.bus.read(1)
            with self.refused(errno.EOPNOTSUPP):
                self.bus.smbus(low.I2C_SMBUS_READ, 0, low.I2C_SMBUS_BYTE)
        else:
            self.assertEqual(self.bus.read(1), b"")
            with self.refused(errno.EIO):
                self.bus.smbus(low.I2C_SMBUS_READ, 0, low.I2C_SMBUS_BYTE)

    def test_seven_bits_again(self):
        self.bus.ioctl(I2C_TENBIT, 1)
        self.bus.ioctl(I2C_TENBIT, 0)
        with self.refused(errno.EINVAL):
            self.bus.slave(0x80)
        self.bus.write_quick(REGISTERS)


class Force(Case):
    """A driver of the kernel's has taken the small EEPROM."""

    def setUp(self):
        super().setUp()
        self.system.bind_driver(SMALL_EEPROM)
        self.addCleanup(self._unbind)
        self.bound = True

    def _unbind(self):
        if self.bound:
            self.system.unbind_driver(SMALL_EEPROM)
        self.bound = False

    def test_its_address_is_busy(self):
        with self.refused(errno.EBUSY):
            self.bus.read_byte_data(SMALL_EEPROM, 0)
        with self.refused(errno.EBUSY):
            self.bus.slave(SMALL_EEPROM)

    def test_force_does_not_mind(self):
        self.bus.write_byte_data(SMALL_EEPROM, 0x10, 0x8A, force=True)
        self.assertEqual(self.bus.read_byte_data(SMALL_EEPROM, 0x10, force=True), 0x8A)

    def test_a_bus_can_be_opened_with_force(self):
        bus = self.open(force=True)
        bus.write_byte_data(SMALL_EEPROM, 0x11, 0x8B)
        self.assertEqual(bus.read_byte_data(SMALL_EEPROM, 0x11), 0x8B)

    def test_force_is_asked_for_each_time(self):
        self.bus.write_byte_data(SMALL_EEPROM, 0x12, 1, force=True)
        with self.refused(errno.EBUSY):
            self.bus.read_byte_data(SMALL_EEPROM, 0x12)

    def test_other_addresses_are_free(self):
        self.bus.write_quick(REGISTERS)

    def test_messages_do_not_ask(self):
        answer = low.i2c_msg.read(SMALL_EEPROM, 1)
        self.assertEqual(self.bus.rdwr(low.i2c_msg.write(SMALL_EEPROM, [0]), answer), 2)

    def test_an_address_set_before_stays(self):
        self._unbind()
        self.bus.slave(SMALL_EEPROM)
        self.system.bind_driver(SMALL_EEPROM)
        self.bound = True
        self.assertEqual(self.bus.write(b"\x00"), 1)

    def test_it_is_free_when_the_driver_is_gone(self):
        self._unbind()
        self.bus.write_byte_data(SMALL_EEPROM, 0x13, 0x8C)
        self.assertEqual(self.bus.read_byte_data(SMALL_EEPROM, 0x13), 0x8C)


class Requests(Case):
    def test_an_unknown_request(self):
        with self.refused(errno.ENOTTY):
            self.bus.ioctl(0x0709)

    def test_retries(self):
        self.assertEqual(self.bus.ioctl(I2C_RETRIES, 3), 0)
        self.bus.write_quick(REGISTERS)
        self.assertEqual(self.bus.ioctl(I2C_RETRIES, INT_MAX), 0)
        with self.refused(errno.EINVAL):
            self.bus.ioctl(I2C_RETRIES, -1)
        self.assertEqual(self.bus.ioctl(I2C_RETRIES, 0), 0)

    def test_a_time_limit_that_is_too_long(self):
        with self.refused(errno.EINVAL):
            self.bus.ioctl(I2C_TIMEOUT, INT_MAX // 10 + 1)
        with self.refused(errno.EINVAL):
            self.bus.ioctl(I2C_TIMEOUT, -1)

    def test_functionality_to_nowhere(self):
        with self.refused(errno.EFAULT):
            self.bus.ioctl(low.I2C_FUNCS, 0)

    def test_a_transfer_from_nowhere(self):
        with self.refused(errno.EFAULT):
            self.bus.ioctl(low.I2C_SMBUS, 0)

    def test_an_smbus_protocol_that_does_not_exist(self):
        self.bus.slave(REGISTERS)
        for size in (9, 77, 0xFFFFFFFF):
            with self.refused(errno.EINVAL):
                self.bus.smbus(low.I2C_SMBUS_READ, 0, size)

    def test_a_direction_that_does_not_exist(self):
        self.bus.slave(REGISTERS)
        with self.refused(errno.EINVAL):
            self.bus.smbus(2, 0, low.I2C_SMBUS_BYTE_DATA)
        with self.refused(errno.EINVAL):
            self.bus.smbus(255, 0, low.I2C_SMBUS_QUICK)

    def test_data_that_is_not_there(self):
        self.bus.slave(REGISTERS)
        for size in (low.I2C_SMBUS_BYTE_DATA, low.I2C_SMBUS_WORD_DATA, low.I2C_SMBUS_BLOCK_DATA):
            for direction in (low.I2C_SMBUS_READ, low.I2C_SMBUS_WRITE):
                with self.refused(errno.EINVAL):
                    self.bus.smbus(direction, 0, size, data=False)

    def test_only_what_a_protocol_has_is_copied_back(self):
        self.bus.write_i2c_block_data(REGISTERS, 0x10, [0x11, 0x22, 0x33])
        self.bus.slave(REGISTERS)
        marks = b"\xee" * 34
        for size, count in ((low.I2C_SMBUS_BYTE_DATA, 1), (low.I2C_SMBUS_WORD_DATA, 2)):
            answer = self.bus.smbus(low.I2C_SMBUS_READ, 0x10, size, marks)
            self.assertEqual(answer, b"\x11\x22"[:count] + marks[count:])

    def test_a_failed_read_leaves_the_data_alone(self):
        self.bus.slave(NOBODY)
        request = low.i2c_smbus_ioctl_data.create(command=0, size=low.I2C_SMBUS_WORD_DATA)
        request.data.contents.word = 0xABCD
        with self.refused(self.unanswered):
            low.ioctl(self.bus.fd, low.I2C_SMBUS, request)
        self.assertEqual(request.data.contents.word, 0xABCD)
