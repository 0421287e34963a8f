// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * SMBus calls from inside the kernel, and the messages that the SMBus specification says they
 * stand for.
 */
#include <linux/ktime.h>
#include <linux/slab.h>
#include "client.h"

/**
 * struct smbus_protocol - one SMBus protocol
 * @name: the word of the contract
 * @size: I2C_SMBUS_*
 * @bytes: data bytes, 0 if len= says it
 * @command: a command byte precedes the data
 * @counted: a count byte precedes the data
 * @writes: data goes out even if data comes back
 */
struct smbus_protocol {
	const char *name;
	int size;
	u8 bytes;
	bool command;
	bool counted;
	bool writes;
};

static const struct smbus_protocol smbus_protocols[] = {
	{ .name = "quick", .size = I2C_SMBUS_QUICK },
	{ .name = "byte", .size = I2C_SMBUS_BYTE, .bytes = 1 },
	{ .name = "byte_data", .size = I2C_SMBUS_BYTE_DATA, .bytes = 1, .command = true },
	{ .name = "word_data", .size = I2C_SMBUS_WORD_DATA, .bytes = 2, .command = true },
	{ .name = "proc_call", .size = I2C_SMBUS_PROC_CALL, .bytes = 2, .command = true,
	  .writes = true },
	{ .name = "block_data", .size = I2C_SMBUS_BLOCK_DATA, .command = true, .counted = true },
	{ .name = "i2c_block_data", .size = I2C_SMBUS_I2C_BLOCK_DATA, .command = true },
	{ .name = "block_proc_call", .size = I2C_SMBUS_BLOCK_PROC_CALL, .command = true,
	  .counted = true, .writes = true },
	{}
};

static const struct smbus_protocol *smbus_find(const char *name)
{
	const struct smbus_protocol *protocol;

	for (protocol = smbus_protocols; protocol->name; protocol++)
		if (name && !strcmp(name, protocol->name))
			return protocol;
	return NULL;
}

/* Byte @i of the data, wherever the protocol keeps it; @i is -1 for the count. */
static u8 *smbus_byte(const struct smbus_protocol *protocol, union i2c_smbus_data *data, int i)
{
	if (protocol->size == I2C_SMBUS_WORD_DATA || protocol->size == I2C_SMBUS_PROC_CALL)
		return (u8 *)&data->word + (IS_ENABLED(CONFIG_CPU_BIG_ENDIAN) ? 1 - i : i);
	return protocol->bytes == 1 ? &data->byte : &data->block[i + 1];
}

/* Writes the message that carries @len data bytes to @to. Returns its length. */
static size_t smbus_message(const struct smbus_protocol *protocol, union i2c_smbus_data *data,
			    size_t len, u8 *to)
{
	size_t used = 0;
	size_t i;

	if (protocol->counted)
		to[used++] = len;
	for (i = 0; i < len; i++)
		to[used++] = *smbus_byte(protocol, data, i);
	return used;
}

/**
 * client_smbus_call() - op=smbus
 * @s: the scenario
 */
void client_smbus_call(struct scenario *s)
{
	const struct smbus_protocol *protocol = smbus_find(s->protocol);
	bool rd = s->rd || (protocol && protocol->writes);
	struct caller_message *message;
	union i2c_smbus_data *data;
	size_t out, len, i;
	char read_write;
	u8 *text;
	u64 begin;

	if (!protocol) {
		answer_error(&s->answer, "no such protocol");
		return;
	}
	len = protocol->size == I2C_SMBUS_QUICK ? 0 : protocol->bytes ?: s->len;
	/* Protocols that write and read are writes to the API. */
	read_write = rd && !protocol->writes ? I2C_SMBUS_READ : I2C_SMBUS_WRITE;
	/* One byte too many still fits into the union, and the I2C core is to refuse it. */
	if (len > I2C_SMBUS_BLOCK_MAX + 1) {
		answer_error(&s->answer, "len is longer than an SMBus block");
		return;
	}
	data = kzalloc(sizeof(*data), GFP_KERNEL);
	if (!data) {
		answer_error(&s->answer, "no memory");
		return;
	}

	/*
	 * The first message: the command and what is written, in the first half of the scratch
	 * memory.
	 */
	text = s->scratch;
	out = 0;
	if (protocol->command)
		text[out++] = s->command;
	if (protocol->size == I2C_SMBUS_BYTE && !rd) {
		text[out++] = s->command;
	} else if (!rd || protocol->writes) {
		for (i = 0; i < len; i++)
			client_fill(smbus_byte(protocol, data, i), 1, s->fill + i);
		out += smbus_message(protocol, data, len, text + out);
	}
	if (!protocol->bytes && protocol->size != I2C_SMBUS_QUICK)
		data->block[0] = len;

	record_start(&s->recorder, NULL);
	begin = ktime_get_ns();
	s->ret = i2c_smbus_xfer(s->adap, s->addr, 0, read_write, s->command, protocol->size, data);
	s->ns = ktime_get_ns() - begin;
	record_stop(&s->recorder);
	s->transferred = !s->ret;

	if (out || !rd)
		client_add_message(s, false, text, out);
	if (rd) {
		text += CLIENT_MAX_LEN / 2;
		if (protocol->counted)
			len = min_t(size_t, data->block[0], I2C_SMBUS_BLOCK_MAX);
		len = smbus_message(protocol, data, len, text);
		message = client_add_message(s, true, text, len);
		message->recv_len = protocol->counted;
	}
	answer_call(s, "");
	kfree(data);
}
