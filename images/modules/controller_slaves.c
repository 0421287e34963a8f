// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine's I2C bus: the slaves of harness/dmasafe/devices/bus.py, byte for byte, one row each at the
 * end. How each behaves, and why, is told in harness/dmasafe/devices/slaves/.
 */
#include <linux/i2c.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include "controller_engine.h"

#define BUS_IDLE 0xff
#define REGISTERS 256
#define REGISTER_ADDRESS 0x20
#define RECORDER_ADDRESS 0x30
#define SMBUS_ADDRESS 0x40
#define STRETCH_DEFAULT_MS 20

struct slave;

/**
 * struct slave_kind - what is at an address
 * @address: 7 bits
 * @create: gives the slave its state; returns 0 or a negative errno
 * @destroy: frees what hangs on the state; may be NULL
 * @write: takes a message; returns how many bytes were acknowledged
 * @read: fills a message
 * @stop: ends the transfer in which the slave was addressed; may be NULL
 * @stretch_ms: how long the slave holds the clock in a message; may be NULL
 * @size: what @create is to know: bytes of memory
 */
struct slave_kind {
	u16 address;
	int (*create)(struct slave *slave);
	void (*destroy)(struct slave *slave);
	size_t (*write)(struct slave *slave, const u8 *data, size_t len);
	void (*read)(struct slave *slave, u8 *data, size_t len);
	void (*stop)(struct slave *slave);
	unsigned int (*stretch_ms)(const struct slave *slave);
	size_t size;
};

struct slave {
	const struct slave_kind *kind;
	void *state;
	bool addressed;
};

/* Registers with a pointer that advances. */

struct registers {
	u8 value[REGISTERS];
	u8 pointer;
};

static int registers_create(struct slave *slave)
{
	struct registers *registers = kzalloc(sizeof(*registers), GFP_KERNEL);
	unsigned int i;

	slave->state = registers;
	for (i = 0; registers && i < REGISTERS; i++)
		registers->value[i] = i;
	return registers ? 0 : -ENOMEM;
}

static size_t registers_write(struct slave *slave, const u8 *data, size_t len)
{
	struct registers *registers = slave->state;
	size_t i;

	if (len)
		registers->pointer = data[0];
	for (i = 1; i < len; i++)
		registers->value[registers->pointer++] = data[i];
	return len;
}

static void registers_read(struct slave *slave, u8 *data, size_t len)
{
	struct registers *registers = slave->state;
	size_t i;

	for (i = 0; i < len; i++)
		data[i] = registers->value[registers->pointer++];
}

/* The same, with its first two registers for the time that each message takes. */

static int slow_create(struct slave *slave)
{
	int ret = registers_create(slave);
	struct registers *registers = slave->state;

	if (!ret) {
		registers->value[0] = STRETCH_DEFAULT_MS;
		registers->value[1] = 0;
	}
	return ret;
}

static unsigned int slow_stretch_ms(const struct slave *slave)
{
	const struct registers *registers = slave->state;

	return registers->value[0] | registers->value[1] << 8;
}

/* Accepts anything; what it serves is numbered. */

struct recorder {
	u64 reads;
};

#define SPLITMIX_GAMMA 0x9e3779b97f4a7c15ULL
#define SPLITMIX_1 0xbf58476d1ce4e5b9ULL
#define SPLITMIX_2 0x94d049bb133111ebULL

static int recorder_create(struct slave *slave)
{
	slave->state = kzalloc(sizeof(struct recorder), GFP_KERNEL);
	return slave->state ? 0 : -ENOMEM;
}

static size_t accept_all(struct slave *slave, const u8 *data, size_t len)
{
	return len;
}

static void recorder_read(struct slave *slave, u8 *data, size_t len)
{
	struct recorder *recorder = slave->state;
	const u64 seed = RECORDER_ADDRESS;
	u64 state = seed * SPLITMIX_1 + recorder->reads * SPLITMIX_2;
	u64 value = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		if (!i) {
			data[i] = seed + 0x9d * recorder->reads;
			continue;
		}
		if (i % 8 == 1) {
			state += SPLITMIX_GAMMA;
			value = (state ^ (state >> 30)) * SPLITMIX_1;
			value = (value ^ (value >> 27)) * SPLITMIX_2;
			value ^= value >> 31;
		}
		data[i] = value;
		value >>= 8;
	}
	recorder->reads++;
}

/* Speaks SMBus: the command says the protocol. */

enum smbus_protocol { SMBUS_BLOCK, SMBUS_BYTE, SMBUS_WORD, SMBUS_I2C_BLOCK };

struct smbus_value {
	u8 *data;
	size_t len;
};

struct smbus {
	struct smbus_value values[REGISTERS];
	u8 command;
	size_t written_len;
	u8 written[ENGINE_MAX_LEN];
};

static enum smbus_protocol smbus_protocol(u8 command)
{
	return command >> 6;
}

#define CRC8_POLYNOMIAL 0x07

static u8 crc8_add(u8 code, const u8 *data, size_t len)
{
	unsigned int bit;

	while (len--) {
		code ^= *data++;
		for (bit = 0; bit < 8; bit++)
			code = code << 1 ^ (code & 0x80 ? CRC8_POLYNOMIAL : 0);
	}
	return code;
}

/* Of what was written to the slave, the address included. */
static u8 smbus_pec(const u8 *data, size_t len)
{
	const u8 to = SMBUS_ADDRESS << 1;

	return crc8_add(crc8_add(0, &to, 1), data, len);
}

static int smbus_create(struct slave *slave)
{
	slave->state = kvzalloc(sizeof(struct smbus), GFP_KERNEL);
	return slave->state ? 0 : -ENOMEM;
}

static void smbus_destroy(struct slave *slave)
{
	struct smbus *smbus = slave->state;
	unsigned int i;

	for (i = 0; smbus && i < REGISTERS; i++)
		kvfree(smbus->values[i].data);
}

/* Where the data of a block, byte or word write end and a PEC may follow. */
static size_t smbus_end(const u8 *data)
{
	switch (smbus_protocol(data[0])) {
	case SMBUS_BYTE:
		return 2;
	case SMBUS_WORD:
		return 3;
	default:
		return 2 + data[1];
	}
}

static size_t smbus_accepts(const u8 *data, size_t len)
{
	enum smbus_protocol protocol = smbus_protocol(data[0]);
	size_t end;

	if (len == 1 || protocol == SMBUS_I2C_BLOCK)
		return len;
	/* Send Byte with PEC. */
	if (len == 2 && protocol == SMBUS_BLOCK && data[1] == smbus_pec(data, 1))
		return 2;
	if (protocol == SMBUS_BLOCK && data[1] > I2C_SMBUS_BLOCK_MAX)
		return 1;
	end = smbus_end(data);
	if (len <= end)
		return len;
	return data[end] == smbus_pec(data, end) ? end + 1 : end;
}

static size_t smbus_write(struct slave *slave, const u8 *data, size_t len)
{
	struct smbus *smbus = slave->state;
	size_t accepted;

	smbus->written_len = 0;
	if (!len)
		return 0;
	accepted = smbus_accepts(data, len);
	if (accepted == len) {
		memcpy(smbus->written, data, len);
		smbus->written_len = len;
		smbus->command = data[0];
	}
	return accepted;
}

/* The value in what was written, or NULL if it was cut short. */
static const u8 *smbus_written_value(const struct smbus *smbus, size_t *len)
{
	const u8 *written = smbus->written;
	size_t start, end;

	if (smbus_protocol(written[0]) == SMBUS_I2C_BLOCK) {
		*len = smbus->written_len - 1;
		return written + 1;
	}
	start = smbus_protocol(written[0]) == SMBUS_BLOCK ? 2 : 1;
	end = smbus_end(written);
	if (smbus->written_len < end)
		return NULL;
	*len = end - start;
	return written + start;
}

/* Byte number i of what a command holds; before the first write something that depends on it. */
static u8 smbus_value_byte(const struct smbus *smbus, u8 command, size_t i)
{
	const struct smbus_value *value = &smbus->values[command];

	return value->data ? value->data[i] : command + i;
}

static size_t smbus_value_len(const struct smbus *smbus, u8 command)
{
	if (smbus->values[command].data)
		return smbus->values[command].len;
	switch (smbus_protocol(command)) {
	case SMBUS_BYTE:
		return 1;
	case SMBUS_WORD:
		return 2;
	default:
		return 8;
	}
}

/* A reader's answer under construction: its code goes over all of it, however much is asked for. */
struct smbus_answer {
	u8 *data;
	size_t room;
	size_t len;
	u8 pec;
};

static void smbus_say(struct smbus_answer *answer, u8 byte)
{
	answer->pec = crc8_add(answer->pec, &byte, 1);
	if (answer->len < answer->room)
		answer->data[answer->len] = byte;
	answer->len++;
}

/* What is read after @written and a repeated start. */
static void smbus_answer_written(const struct smbus *smbus, struct smbus_answer *answer)
{
	u8 command = smbus->written[0];
	enum smbus_protocol protocol = smbus_protocol(command);
	const u8 *value = NULL;
	size_t i, len;

	if (smbus->written_len == 1) {
		len = smbus_value_len(smbus, command);
	} else {
		/* A process call: every bit inverted. */
		if (protocol == SMBUS_BLOCK || protocol == SMBUS_WORD)
			value = smbus_written_value(smbus, &len);
		if (!value)
			return;
	}
	if (protocol == SMBUS_BLOCK)
		smbus_say(answer, len);
	for (i = 0; i < len; i++)
		smbus_say(answer, value ? value[i] ^ 0xff : smbus_value_byte(smbus, command, i));
}

static void smbus_read(struct slave *slave, u8 *data, size_t len)
{
	const u8 from = SMBUS_ADDRESS << 1 | 1;
	struct smbus *smbus = slave->state;
	struct smbus_answer answer = { .data = data, .room = len };

	if (smbus->written_len) {
		answer.pec = smbus_pec(smbus->written, smbus->written_len);
		answer.pec = crc8_add(answer.pec, &from, 1);
		smbus_answer_written(smbus, &answer);
	} else {
		answer.pec = crc8_add(0, &from, 1);
		smbus_say(&answer, smbus->command);
	}
	if (!smbus->written_len || smbus_protocol(smbus->written[0]) != SMBUS_I2C_BLOCK)
		smbus_say(&answer, answer.pec);
	if (answer.len < len)
		memset(data + answer.len, BUS_IDLE, len - answer.len);
	smbus->written_len = 0;
}

static void smbus_stop(struct slave *slave)
{
	struct smbus *smbus = slave->state;
	struct smbus_value *kept = &smbus->values[smbus->written[0]];
	const u8 *value = NULL;
	size_t len;
	u8 *copy;

	if (smbus->written_len > 1)
		value = smbus_written_value(smbus, &len);
	smbus->written_len = 0;
	if (!value)
		return;
	copy = kvmalloc(len ?: 1, GFP_KERNEL);
	if (!copy) {
		pr_err("dmasafe: no memory for an SMBus slave's value\n");
		return;
	}
	memcpy(copy, value, len);
	kvfree(kept->data);
	kept->data = copy;
	kept->len = len;
}

/* Pages on write, the whole memory on read; kept at the stop. */

#define EEPROM_PAGE_MAX 32

struct eeprom {
	size_t page_size;
	size_t address_bytes;
	size_t pointer;
	size_t page;
	u32 latched;
	u8 latch[EEPROM_PAGE_MAX];
	u8 memory[];
};

static int eeprom_create(struct slave *slave)
{
	size_t size = slave->kind->size;
	struct eeprom *eeprom = kzalloc(sizeof(*eeprom) + size, GFP_KERNEL);

	slave->state = eeprom;
	if (!eeprom)
		return -ENOMEM;
	eeprom->page_size = size > REGISTERS ? 32 : 8;
	eeprom->address_bytes = size > REGISTERS ? 2 : 1;
	memset(eeprom->memory, BUS_IDLE, size);
	return 0;
}

static size_t eeprom_write(struct slave *slave, const u8 *data, size_t len)
{
	struct eeprom *eeprom = slave->state;
	size_t i, offset;

	eeprom->latched = 0;
	if (len < eeprom->address_bytes)
		return len;
	eeprom->pointer = eeprom->address_bytes == 2 ? data[0] << 8 | data[1] : data[0];
	eeprom->pointer %= slave->kind->size;
	eeprom->page = eeprom->pointer - eeprom->pointer % eeprom->page_size;
	for (i = eeprom->address_bytes; i < len; i++) {
		offset = eeprom->pointer - eeprom->page;
		eeprom->latch[offset] = data[i];
		eeprom->latched |= BIT(offset);
		eeprom->pointer = eeprom->page + (offset + 1) % eeprom->page_size;
	}
	return len;
}

static void eeprom_read(struct slave *slave, u8 *data, size_t len)
{
	struct eeprom *eeprom = slave->state;
	size_t i;

	eeprom->latched = 0;
	for (i = 0; i < len; i++) {
		data[i] = eeprom->memory[eeprom->pointer];
		eeprom->pointer = (eeprom->pointer + 1) % slave->kind->size;
	}
}

static void eeprom_stop(struct slave *slave)
{
	struct eeprom *eeprom = slave->state;
	size_t i;

	for (i = 0; i < eeprom->page_size; i++)
		if (eeprom->latched & BIT(i))
			eeprom->memory[eeprom->page + i] = eeprom->latch[i];
	eeprom->latched = 0;
}

/* Acknowledges one byte of a write. */

static int no_state(struct slave *slave)
{
	return 0;
}

static size_t accept_one(struct slave *slave, const u8 *data, size_t len)
{
	return min_t(size_t, len, 1);
}

static void read_idle(struct slave *slave, u8 *data, size_t len)
{
	memset(data, BUS_IDLE, len);
}

static const struct slave_kind slave_kinds[] = {
	{ .address = REGISTER_ADDRESS, .create = registers_create, .write = registers_write,
	  .read = registers_read },
	{ .address = RECORDER_ADDRESS, .create = recorder_create, .write = accept_all,
	  .read = recorder_read },
	{ .address = SMBUS_ADDRESS, .create = smbus_create, .destroy = smbus_destroy,
	  .write = smbus_write, .read = smbus_read, .stop = smbus_stop },
	{ .address = 0x50, .create = eeprom_create, .write = eeprom_write, .read = eeprom_read,
	  .stop = eeprom_stop, .size = 256 },
	{ .address = 0x51, .create = eeprom_create, .write = eeprom_write, .read = eeprom_read,
	  .stop = eeprom_stop, .size = 4096 },
	{ .address = 0x60, .create = no_state, .write = accept_one, .read = read_idle },
	{ .address = 0x68, .create = slow_create, .write = registers_write,
	  .read = registers_read, .stretch_ms = slow_stretch_ms },
};

struct engine_bus {
	struct slave slaves[ARRAY_SIZE(slave_kinds)];
};

/**
 * engine_bus_create() - a bus with new slaves
 *
 * Return: the bus, or NULL.
 */
struct engine_bus *engine_bus_create(void)
{
	struct engine_bus *bus = kzalloc(sizeof(*bus), GFP_KERNEL);
	size_t i;

	if (!bus)
		return NULL;
	for (i = 0; i < ARRAY_SIZE(slave_kinds); i++)
		bus->slaves[i].kind = &slave_kinds[i];
	for (i = 0; i < ARRAY_SIZE(slave_kinds); i++) {
		if (slave_kinds[i].create(&bus->slaves[i])) {
			engine_bus_destroy(bus);
			return NULL;
		}
	}
	return bus;
}

/**
 * engine_bus_destroy() - undo engine_bus_create()
 * @bus: the bus, or NULL
 */
void engine_bus_destroy(struct engine_bus *bus)
{
	size_t i;

	for (i = 0; bus && i < ARRAY_SIZE(slave_kinds); i++) {
		if (slave_kinds[i].destroy)
			slave_kinds[i].destroy(&bus->slaves[i]);
		kvfree(bus->slaves[i].state);
	}
	kfree(bus);
}

/**
 * engine_bus_stop() - a stop: ends the transfer under way, if there is one
 * @bus: the bus
 */
void engine_bus_stop(struct engine_bus *bus)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bus->slaves); i++) {
		struct slave *slave = &bus->slaves[i];

		if (slave->addressed && slave->kind->stop)
			slave->kind->stop(slave);
		slave->addressed = false;
	}
}

static struct slave *find_slave(struct engine_bus *bus, u16 address)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bus->slaves); i++)
		if (bus->slaves[i].kind->address == address)
			return &bus->slaves[i];
	return NULL;
}

/**
 * engine_bus_transfer() - one message on the bus
 * @bus: the bus
 * @message: address, direction, length and, for a write, data; the rest is set
 *
 * A message that fails is followed by a stop in any case, as a master does.
 */
void engine_bus_transfer(struct engine_bus *bus, struct engine_message *message)
{
	struct slave *slave = find_slave(bus, message->address);
	size_t accepted;

	message->wire_len = slave ? message->len : 0;
	if (!slave) {
		message->why = "nobody acknowledged the address";
		engine_bus_stop(bus);
		return;
	}
	slave->addressed = true;
	if (slave->kind->stretch_ms)
		message->delay_ms = slave->kind->stretch_ms(slave);
	if (message->read) {
		slave->kind->read(slave, message->data, message->len);
	} else {
		accepted = slave->kind->write(slave, message->data, message->len);
		if (accepted < message->len) {
			message->why = "the slave did not acknowledge a data byte";
			message->wire_len = accepted + 1;
		}
	}
	if (message->last || message->why)
		engine_bus_stop(bus);
}
