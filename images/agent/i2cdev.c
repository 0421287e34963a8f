// SPDX-License-Identifier: GPL-2.0-or-later
/* The i2c-dev calls under test, from user space as any program makes them. Runs in the worker. */
#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

/* i2cdev_read() and i2cdev_write() silently do no more in one call. */
#define I2CDEV_MAX_BYTES 8192
/* One more than I2C_RDWR_IOCTL_MAX_MSGS, to see it refused, and some to spare. */
#define MESSAGES 64
#define POISON_DIFFERENCE 0x5a
/* Of the slave on every emulated bus that answers any read. */
#define TRY_ADDRESS 0x30
#define TRIES 5

/* What one call is told and what it says of itself. */
struct call {
	const struct words *words;
	int fd;
	unsigned int fill;
	size_t len;
	bool rd;

	long ret;
	long long ns;
	bool transferred;
	bool source_changed;
	size_t count;
	struct {
		bool rd;
		bool recv_len;
		const uint8_t *data;
		size_t len;
	} messages[MESSAGES];
	uint8_t *memory;
	size_t used;
	const char *error;
};

static int adapter_fd = -1;
static long adapter_nr = -1;

void i2cdev_let_go(void)
{
	if (adapter_fd >= 0)
		close(adapter_fd);
	adapter_fd = -1;
}

static int adapter_open(long nr)
{
	char path[40];

	if (adapter_fd >= 0 && adapter_nr == nr)
		return adapter_fd;
	i2cdev_let_go();
	snprintf(path, sizeof(path), "/dev/i2c-%ld", nr);
	adapter_fd = open(path, O_RDWR | O_CLOEXEC);
	adapter_nr = nr;
	return adapter_fd;
}

int i2cdev_hold(long nr)
{
	return adapter_open(nr);
}

int i2cdev_try(long nr)
{
	union i2c_smbus_data data;
	struct i2c_smbus_ioctl_data arguments = {
		.read_write = I2C_SMBUS_READ, .size = I2C_SMBUS_BYTE, .data = &data,
	};
	int error = ETIMEDOUT, tries;

	/* A busy machine may be too slow for the driver. */
	for (tries = 0; tries < TRIES && error == ETIMEDOUT; tries++) {
		error = 0;
		if (adapter_open(nr) < 0 || ioctl(adapter_fd, I2C_SLAVE_FORCE, TRY_ADDRESS) < 0 ||
		    ioctl(adapter_fd, I2C_SMBUS, &arguments) < 0)
			error = errno;
	}
	i2cdev_let_go();
	return error;
}

/* The same bytes as the client module's client_fill(). */
static void fill(uint8_t *buf, size_t len, uint32_t seed)
{
	uint32_t state = seed * 2654435761u + 0x9e3779b9u;
	size_t i;

	for (i = 0; i < len; i++) {
		state ^= state << 13;
		state ^= state >> 17;
		state ^= state << 5;
		buf[i] = state;
	}
}

static uint8_t *take(struct call *call, size_t len)
{
	uint8_t *taken = call->memory + call->used;

	call->used += len;
	return taken;
}

static void add_message(struct call *call, bool rd, const uint8_t *data, size_t len)
{
	call->messages[call->count].rd = rd;
	call->messages[call->count].data = data;
	call->messages[call->count++].len = len;
}

long long now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Times one system call and stores what it returned, or -errno. */
#define CALL(call, expression)					\
	do {							\
		long long begin_ = now_ns();			\
		long ret_ = expression;				\
		int error_ = errno;				\
								\
		(call)->ns = now_ns() - begin_;			\
		(call)->ret = ret_ < 0 ? -error_ : ret_;	\
	} while (0)

/* A buffer for a write, filled, with a copy to compare; or one for a read, poisoned. */
static uint8_t *prepare(struct call *call, bool rd, size_t len, unsigned int seed, uint8_t **copy)
{
	uint8_t *buf = take(call, len);
	size_t i;

	fill(buf, len, seed);
	*copy = NULL;
	if (rd) {
		for (i = 0; i < len; i++)
			buf[i] ^= POISON_DIFFERENCE;
	} else {
		*copy = take(call, len);
		memcpy(*copy, buf, len);
	}
	return buf;
}

static void read_or_write(struct call *call, bool rd)
{
	size_t done = call->len < I2CDEV_MAX_BYTES ? call->len : I2CDEV_MAX_BYTES;
	uint8_t *copy;
	uint8_t *buf = prepare(call, rd, call->len, call->fill, &copy);

	if (rd)
		CALL(call, read(call->fd, buf, call->len));
	else
		CALL(call, write(call->fd, buf, call->len));
	call->transferred = call->ret == (long)done;
	call->source_changed = copy && memcmp(copy, buf, call->len);
	add_message(call, rd, copy ? copy : buf, done);
}

static void op_read(struct call *call)
{
	read_or_write(call, true);
}

static void op_write(struct call *call)
{
	read_or_write(call, false);
}

static void op_rdwr(struct call *call)
{
	const char *text = words_text(call->words, "messages");
	struct i2c_msg msgs[MESSAGES];
	uint8_t *copies[MESSAGES];
	struct i2c_rdwr_ioctl_data data = { .msgs = msgs };
	size_t i;

	while (text && *text && data.nmsgs < MESSAGES) {
		bool rd = *text == 'r';
		char *end;
		unsigned long len = strtoul(text + 1, &end, 10);

		if ((*text != 'r' && *text != 'w') || len > UINT16_MAX || (*end && *end != ',')) {
			call->error = "messages= is a list like w8,r8";
			return;
		}
		text = *end ? end + 1 : end;
		msgs[data.nmsgs] = (struct i2c_msg){
			.addr = words_number(call->words, "addr", 0),
			.flags = rd ? I2C_M_RD : 0,
			.len = len,
		};
		msgs[data.nmsgs].buf = prepare(call, rd, len, call->fill + data.nmsgs, &copies[data.nmsgs]);
		data.nmsgs++;
	}
	if (!data.nmsgs || (text && *text)) {
		call->error = "messages= names no messages, or too many";
		return;
	}
	CALL(call, ioctl(call->fd, I2C_RDWR, &data));
	call->transferred = call->ret == (long)data.nmsgs;
	for (i = 0; i < data.nmsgs; i++) {
		call->source_changed |= copies[i] && memcmp(copies[i], msgs[i].buf, msgs[i].len);
		add_message(call, !copies[i], copies[i] ? copies[i] : msgs[i].buf, msgs[i].len);
	}
}

/*
 * SMBus protocols. bytes: data bytes, 0 if len= says it; command: a command byte comes first; counted: a count byte
 * comes before the data; writes: data goes out even if data comes back.
 */
static const struct protocol {
	const char *name;
	uint32_t size;
	size_t bytes;
	bool command;
	bool counted;
	bool writes;
} protocols[] = {
	{ .name = "quick", .size = I2C_SMBUS_QUICK },
	{ .name = "byte", .size = I2C_SMBUS_BYTE, .bytes = 1 },
	{ .name = "byte_data", .size = I2C_SMBUS_BYTE_DATA, .bytes = 1, .command = true },
	{ .name = "word_data", .size = I2C_SMBUS_WORD_DATA, .bytes = 2, .command = true },
	{ .name = "proc_call", .size = I2C_SMBUS_PROC_CALL, .bytes = 2, .command = true, .writes = true },
	{ .name = "block_data", .size = I2C_SMBUS_BLOCK_DATA, .command = true, .counted = true },
	{ .name = "i2c_block_data", .size = I2C_SMBUS_I2C_BLOCK_DATA, .command = true },
	{ .name = "block_proc_call", .size = I2C_SMBUS_BLOCK_PROC_CALL, .command = true, .counted = true,
	  .writes = true },
};

static const struct protocol *find_protocol(const char *name)
{
	size_t i;

	for (i = 0; name && i < sizeof(protocols) / sizeof(protocols[0]); i++)
		if (!strcmp(protocols[i].name, name))
			return &protocols[i];
	return NULL;
}

/* The data bytes as they go over the wire: words in the union are in the CPU's byte order. */
static void data_to_wire(const struct protocol *protocol, const union i2c_smbus_data *data, size_t len, uint8_t *wire)
{
	if (!protocol->bytes)
		memcpy(wire, data->block + 1, len);
	else if (protocol->bytes == 1)
		wire[0] = data->byte;
	else
		wire[0] = data->word, wire[1] = data->word >> 8;
}

static void wire_to_data(const struct protocol *protocol, union i2c_smbus_data *data, size_t len, const uint8_t *wire)
{
	if (!protocol->bytes)
		memcpy(data->block + 1, wire, len);
	else if (protocol->bytes == 1)
		data->byte = wire[0];
	else
		data->word = wire[0] | wire[1] << 8;
}

/* SMBus 3.2, 6.4: the packet error code, polynomial x^8 + x^2 + x + 1. */
static uint8_t crc8(uint8_t code, uint8_t byte)
{
	int bit;

	code ^= byte;
	for (bit = 0; bit < 8; bit++)
		code = code << 1 ^ (code & 0x80 ? 0x07 : 0);
	return code;
}

static uint8_t packet_error_code(uint8_t address, const uint8_t *data, size_t len)
{
	uint8_t code = crc8(0, address << 1);

	while (len--)
		code = crc8(code, *data++);
	return code;
}

static void op_smbus(struct call *call)
{
	const struct protocol *protocol = find_protocol(words_text(call->words, "protocol"));
	union i2c_smbus_data data;
	struct i2c_smbus_ioctl_data request = { .data = &data };
	uint8_t *out, *in, *wire;
	size_t len, out_len = 0;
	bool rd, pec;

	/* From gcc 15 on an initializer of { 0 } clears only the first member. */
	memset(&data, 0, sizeof(data));
	if (!protocol) {
		call->error = "no such SMBus protocol";
		return;
	}
	rd = call->rd || protocol->writes;
	len = protocol->size == I2C_SMBUS_QUICK ? 0 : protocol->bytes ? protocol->bytes : call->len;
	/* One byte too many still fits into the union, and the kernel is to refuse it. */
	if (len > I2C_SMBUS_BLOCK_MAX + 1) {
		call->error = "len is longer than an SMBus block";
		return;
	}
	out = take(call, 2 * I2C_SMBUS_BLOCK_MAX);
	in = take(call, 2 * I2C_SMBUS_BLOCK_MAX);
	request.command = words_number(call->words, "command", 0);
	request.size = protocol->size;
	/* Protocols that write and read are writes to the API. */
	request.read_write = rd && !protocol->writes ? I2C_SMBUS_READ : I2C_SMBUS_WRITE;

	if (protocol->command || (protocol->size == I2C_SMBUS_BYTE && !rd))
		out[out_len++] = request.command;
	if (protocol->size != I2C_SMBUS_BYTE && (!rd || protocol->writes)) {
		if (protocol->counted)
			out[out_len++] = len;
		wire = out + out_len;
		fill(wire, len, call->fill);
		wire_to_data(protocol, &data, len, wire);
		out_len += len;
	}
	if (!protocol->bytes && protocol->size != I2C_SMBUS_QUICK)
		data.block[0] = len;
	pec = words_number(call->words, "pec", 0);
	if (ioctl(call->fd, I2C_PEC, pec)) {
		call->error = "I2C_PEC was refused";
		return;
	}
	/* Neither of these has one. */
	pec &= protocol->size != I2C_SMBUS_QUICK && protocol->size != I2C_SMBUS_I2C_BLOCK_DATA;

	CALL(call, ioctl(call->fd, I2C_SMBUS, &request));
	call->transferred = !call->ret;
	if (pec && !rd) {
		out[out_len] = packet_error_code(words_number(call->words, "addr", 0), out, out_len);
		out_len++;
	}

	if (out_len || !rd)
		add_message(call, false, out, out_len);
	if (!rd)
		return;
	wire = in;
	if (protocol->counted) {
		len = data.block[0] < I2C_SMBUS_BLOCK_MAX ? data.block[0] : I2C_SMBUS_BLOCK_MAX;
		*wire++ = data.block[0];
	}
	data_to_wire(protocol, &data, len, wire);
	/* The code that follows what was read is the kernel's to check; the caller does not get it. */
	call->messages[call->count].recv_len = protocol->counted || pec;
	add_message(call, true, in, wire - in + len);
}

static const struct {
	const char *name;
	void (*perform)(struct call *call);
	bool needs_slave;
} operations[] = {
	{ "read", op_read, true },
	{ "write", op_write, true },
	{ "rdwr", op_rdwr, false },
	{ "smbus", op_smbus, true },
};

/* Enough for every message and its copy. */
static uint8_t memory[2 * MESSAGES * (UINT16_MAX + 1)];

static void ask_watch(const struct words *words)
{
	const char *seq = words_text(words, "seq");
	char line[64], answer[64];
	int len = snprintf(line, sizeof(line), "op=watch seq=%s", seq ? seq : "0");

	client_ask(line, len, answer, sizeof(answer));
}

/* What the adapter saw, if the client module is there to tell. */
static size_t ask_seen(struct seen_message *seen, size_t max)
{
	static char answer[16384];
	long len = client_ask("op=seen", strlen("op=seen"), answer, sizeof(answer));

	return len < 0 ? 0 : seen_parse(answer, len, seen, max);
}

static void add_answer(const struct call *call, struct text *answer, const struct seen_message *seen, size_t known)
{
	size_t i;

	text_add(answer, "{\"ret\":%ld,\"ns\":%lld,\"msgs\":[", call->ret, call->ns);
	for (i = 0; i < call->count; i++) {
		text_add(answer, "%s{\"rd\":%d,\"data\":\"", i ? "," : "", call->messages[i].rd);
		text_add_hex(answer, call->messages[i].data, call->messages[i].len);
		text_add(answer, "\"%s", call->messages[i].recv_len ? ",\"recv_len\":1" : "");
		if (i < known && seen[i].pa[0])
			text_add(answer, ",\"pa\":\"%s\"", seen[i].pa);
		if (i < known && seen[i].dma_safe >= 0)
			text_add(answer, ",\"dma_safe\":%d", seen[i].dma_safe);
		text_add(answer, "}");
	}
	text_add(answer, "],\"damage\":[%s],\"transferred\":%s}", call->source_changed ? "\"source\"" : "",
		 call->transferred ? "true" : "false");
}

void i2cdev_perform(const struct words *words, struct text *answer)
{
	const char *op = words_text(words, "op");
	struct call call = {
		.words = words,
		.fill = words_number(words, "fill", words_number(words, "seq", 0)),
		.len = words_number(words, "len", 0),
		.rd = words_number(words, "rd", 0),
		.memory = memory,
	};
	long nr = words_number(words, "nr", -1);
	struct seen_message seen[MESSAGES];
	size_t i, known;

	for (i = 0; op && i < sizeof(operations) / sizeof(operations[0]); i++)
		if (!strcmp(operations[i].name, op))
			break;
	if (!op || i == sizeof(operations) / sizeof(operations[0])) {
		text_add(answer, "{\"ret\":%d,\"unsupported\":\"no such i2c-dev operation\"}", -EOPNOTSUPP);
		return;
	}
	if (call.len > UINT16_MAX) {
		text_add(answer, "{\"error\":\"len is above 65535\"}");
		return;
	}
	call.fd = adapter_open(nr);
	if (call.fd < 0) {
		text_add(answer, "{\"error\":\"/dev/i2c-%ld: %s\"}", nr, strerror(errno));
		return;
	}
	if (operations[i].needs_slave && ioctl(call.fd, I2C_SLAVE, words_number(words, "addr", 0))) {
		text_add(answer, "{\"error\":\"I2C_SLAVE: %s\"}", strerror(errno));
		return;
	}
	ask_watch(words);
	operations[i].perform(&call);
	known = ask_seen(seen, MESSAGES);
	if (call.error)
		text_add(answer, "{\"error\":\"%s\"}", call.error);
	else
		add_answer(&call, answer, seen, known);
}
