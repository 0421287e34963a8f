# SPDX-License-Identifier: GPL-2.0-or-later
"""Several processes on one bus: an adapter does one transfer at a time, and each is whole."""

from smbus2 import smbus2 as low

from .case import EEPROM, REGISTERS, SMBUS, Case

ROUNDS = 40
BLOCK = 16


class Processes(Case):
    def together(self, *functions):
        """Runs them at the same time; each returns "ok" or what it saw."""
        results = self.system.processes(functions)
        self.noted.append(f"{len(functions)} processes: {results}")
        self.assertEqual(results, ["ok"] * len(functions))

    def on_a_bus(self, work):
        """``work`` with a bus that its process has opened itself."""

        def function():
            bus = self.system.open()
            try:
                return work(bus) or "ok"
            finally:
                bus.close()

        return function

    def test_different_registers(self):
        def hammer(register):
            def work(bus):
                for number in range(ROUNDS):
                    bus.write_byte_data(REGISTERS, register, number)
                    seen = bus.read_byte_data(REGISTERS, register)
                    if seen != number:
                        return f"register {register:#x} holds {seen}, not {number}"
                return None

            return self.on_a_bus(work)

        self.together(hammer(0x90), hammer(0x91), hammer(0x92))

    def test_one_register(self):
        """Whatever is read was written by one of them."""

        def hammer(value):
            def work(bus):
                for _ in range(ROUNDS):
                    bus.write_word_data(REGISTERS, 0x94, value)
                    seen = bus.read_word_data(REGISTERS, 0x94)
                    if seen not in (0x1111, 0x2222):
                        return f"torn: {seen:#x}"
                return None

            return self.on_a_bus(work)

        self.together(hammer(0x1111), hammer(0x2222))

    def test_one_block_is_never_torn(self):
        def hammer(value):
            def work(bus):
                for _ in range(ROUNDS):
                    bus.write_i2c_block_data(REGISTERS, 0xA0, [value] * BLOCK)
                    seen = bus.read_i2c_block_data(REGISTERS, 0xA0, BLOCK)
                    if len(set(seen)) != 1:
                        return f"torn: {seen}"
                return None

            return self.on_a_bus(work)

        self.together(hammer(0x33), hammer(0x44))

    def test_a_write_and_its_read_stay_together(self):
        """Another process's pointer does not come between the messages of a transfer."""
        self.bus.write_i2c_block_data(REGISTERS, 0xB0, list(range(BLOCK)))
        self.bus.write_i2c_block_data(REGISTERS, 0xC0, list(range(100, 100 + BLOCK)))

        def hammer(register, first):
            def work(bus):
                for number in range(ROUNDS):
                    answer = low.i2c_msg.read(REGISTERS, 1)
                    bus.i2c_rdwr(low.i2c_msg.write(REGISTERS, [register + number % BLOCK]), answer)
                    if list(answer) != [first + number % BLOCK]:
                        return f"register {register + number % BLOCK:#x} reads {list(answer)}"
                return None

            return self.on_a_bus(work)

        self.together(hammer(0xB0, 0), hammer(0xC0, 100))

    def test_different_slaves(self):
        def eeprom(bus):
            for number in range(ROUNDS):
                bus.i2c_rdwr(low.i2c_msg.write(EEPROM, [0x06, 0x00, *[number] * BLOCK]))
                answer = low.i2c_msg.read(EEPROM, BLOCK)
                bus.i2c_rdwr(low.i2c_msg.write(EEPROM, [0x06, 0x00]), answer)
                if list(answer) != [number] * BLOCK:
                    return f"the page holds {list(answer)}, not {number}"
            return None

        def calls(bus):
            for number in range(ROUNDS):
                if bus.process_call(SMBUS, 0x85, number) != number ^ 0xFFFF:
                    return f"the process call of {number} was answered by another's"
            return None

        self.together(self.on_a_bus(eeprom), self.on_a_bus(calls))

    def test_packet_error_codes_beside_none(self):
        def hammer(command, pec):
            def work(bus):
                bus.enable_pec(pec)
                for number in range(ROUNDS):
                    bus.write_byte_data(SMBUS, command, number)
                    if bus.read_byte_data(SMBUS, command) != number:
                        return f"command {command:#x} lost {number}"
                return None

            return self.on_a_bus(work)

        self.together(hammer(0x50, True), hammer(0x51, False))

    def test_files_opened_and_closed_all_the_time(self):
        def work(_bus):
            for number in range(ROUNDS):
                bus = self.system.open()
                try:
                    if bus.read_word_data(SMBUS, 0x95) != 0xABBA:
                        return f"round {number} read something else"
                finally:
                    bus.close()
            return None

        self.bus.write_word_data(SMBUS, 0x95, 0xABBA)
        self.together(self.on_a_bus(work), self.on_a_bus(work))
