/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dmasafe_client: plays the I2C client driver. docs/agent-protocol.md is its contract.
 *
 * main (/dev/dmasafe, the line, the mailbox) calls operation (one API call, guarded), which
 * takes its buffer from buffer (one row per kind), is watched by record (tracepoints) and told
 * by answer (JSON). memory knows addresses.
 */
#ifndef DMASAFE_CLIENT_H
#define DMASAFE_CLIENT_H

#include <linux/device.h>
#include <linux/i2c.h>
#include <linux/list.h>
#include <linux/types.h>

/* What i2c-dev allows for one message. */
#define CLIENT_MAX_LEN 8192
/* Bytes on either side of a buffer that must not change. */
#define CLIENT_GUARD 32
#define CLIENT_MAX_MESSAGES 48
/* Calls that one scenario can make on its buffer, one after the other. */
#define CLIENT_MAX_CALLS 4

/* No physical address, no DMA address. */
#define DMASAFE_NO_PHYS (~(phys_addr_t)0)
#define DMASAFE_NO_DMA (~0ULL)

struct scenario;

/**
 * struct buffer_kind - where a buffer's memory comes from
 * @name: the word of harness/dmasafe/scenario.py
 * @read_only: the kernel maps it so; it is neither filled nor poisoned, and repaired
 *	if a device changed it
 * @borrowed: it and its neighbours belong to somebody else: contents are put back afterwards
 * @no_front: the buffer starts where the allocation does, nothing of ours lies before it
 * @get: sets &scenario.buf to memory with CLIENT_GUARD readable bytes on either side
 *	(only behind it for @no_front); returns NULL, or why this kernel cannot have it, or
 *	an ERR_PTR(). NULL for the stack, which no function can hand out.
 * @put: gives the memory back
 */
struct buffer_kind {
	const char *name;
	bool read_only;
	bool borrowed;
	bool no_front;
	const char *(*get)(struct scenario *s);
	void (*put)(struct scenario *s);
};

/**
 * struct operation - the API call under test
 * @name: the word of the contract
 * @call: makes the call, sets &scenario.ret, &scenario.ns, &scenario.transferred and
 *	the messages
 * @objection: why this kernel cannot make the call, or NULL; may be NULL itself
 * @rd: the call reads into the buffer; else it is asked by rd=
 * @takes_rd: rd= decides the direction
 * @adapter: the call needs an adapter
 * @buffer: the call needs a buffer
 * @letter: its name in then=, or 0 if it cannot follow another call
 */
struct operation {
	const char *name;
	void (*call)(struct scenario *s);
	const char *(*objection)(const struct scenario *s);
	bool rd;
	bool takes_rd;
	bool adapter;
	bool buffer;
	char letter;
};

/**
 * struct caller_message - one I2C message as the caller saw it
 * @rd: a read
 * @len: bytes in @data
 * @data: what the buffer held: before the call for a write, after it for a read
 * @want: what @data should have been, or NULL if the caller cannot know
 * @buf: the caller's buffer, for its physical address
 * @dma: address that the caller itself mapped the message's bytes to, or DMASAFE_NO_DMA
 * @dma_safe: I2C_M_DMA_SAFE as set by the caller, -1 if the API hides it
 * @recv_len: the slave gives the length (I2C_M_RECV_LEN): the bus may carry more bytes
 *	than the caller gets
 */
struct caller_message {
	bool rd;
	size_t len;
	const u8 *data;
	const u8 *want;
	const u8 *buf;
	u64 dma;
	int dma_safe;
	bool recv_len;
};

/**
 * struct seen_message - one I2C message as the adapter saw it
 * @rd: a read
 * @dma_safe: I2C_M_DMA_SAFE was set
 * @len: msg->len
 * @pa: physical address of msg->buf, DMASAFE_NO_PHYS if there is none
 */
struct seen_message {
	bool rd;
	bool dma_safe;
	u16 len;
	phys_addr_t pa;
};

/**
 * struct recorder - the messages that one task sent to any adapter
 * @node: in the list of active recorders, or empty
 * @task: whose messages
 * @scenario: knows the addresses that only the buffer's kind can translate, or NULL
 * @count: messages in @seen
 * @seen: the first messages since record_start()
 */
struct recorder {
	struct list_head node;
	struct task_struct *task;
	struct scenario *scenario;
	unsigned int count;
	struct seen_message seen[CLIENT_MAX_MESSAGES];
};

/**
 * struct answer - the line under construction
 * @text: CLIENT_ANSWER_SIZE bytes
 * @len: bytes used, without the final NUL
 */
struct answer {
	char *text;
	size_t len;
};

/* Room for two messages of CLIENT_MAX_LEN in hex, and what stands around them. */
#define CLIENT_ANSWER_SIZE (4 * CLIENT_MAX_LEN + 8192)

/**
 * struct scenario - one line under way
 * @operation: op=
 * @kind: buffer=, or NULL
 * @protocol: protocol=, the word
 * @bus: bus=, which of dmasafe_buses' controllers, or NULL
 * @then: then=, letters of the calls that follow on the same buffer, or NULL
 * @len: len=, bytes
 * @addr: addr=
 * @nr: nr=, the adapter's number, -1 if absent
 * @seq: seq=
 * @fill: fill=, seeds the bytes of a write
 * @threshold: threshold=, of get_put
 * @fail: fail=, one mapping of so many fails on the strict machine
 * @command: command=, of smbus
 * @dma_safe: dma_safe=
 * @rd: the direction of @operation or rd=
 * @adap: the adapter; its reference is dropped by the file's release if this task dies
 * @dma_dev: the device that does DMA for @adap, or the module's own
 * @client: an I2C client without driver, as i2c-dev makes one
 * @buf: the buffer
 * @memory: what @kind keeps to give @buf back
 * @page: likewise
 * @dma: likewise
 * @phys: physical address of @buf where only @kind knows it and it is contiguous, else
 *	DMASAFE_NO_PHYS
 * @before: the buffer and its guards before the call
 * @kept: what @buf held at each call, if there is more than one; else NULL
 * @front: bytes of guard before @buf
 * @ret: the API's return value
 * @ns: how long the call took
 * @transferred: @ret means that everything was transferred
 * @count: messages in @messages
 * @messages: as the caller saw them
 * @scratch: memory for messages that are not in @buf; CLIENT_MAX_LEN bytes
 * @recorder: as the adapter saw them
 * @answer: the line
 */
struct scenario {
	const struct operation *operation;
	const struct buffer_kind *kind;
	const char *protocol;
	const char *bus;
	const char *then;
	size_t len;
	u16 addr;
	int nr;
	u32 seq;
	u32 fill;
	unsigned int threshold;
	unsigned int fail;
	u8 command;
	bool dma_safe;
	bool awake;
	bool rd;

	struct i2c_adapter *adap;
	struct device *dma_dev;
	struct i2c_client client;

	u8 *buf;
	void *memory;
	struct page *page;
	dma_addr_t dma;
	phys_addr_t phys;
	u8 *before;
	u8 *kept;
	size_t front;

	int ret;
	u64 ns;
	bool transferred;
	unsigned int count;
	/* i2c_transfer() has two. */
	struct caller_message messages[CLIENT_MAX_CALLS + 1];
	u8 *scratch;

	struct recorder recorder;
	struct answer answer;
};

/* client_main.c */
extern struct device *client_device;

/* client_buffer.c */
extern const struct buffer_kind client_buffer_kinds[];
int client_buffer_init(void);
void client_buffer_exit(void);

/* client_operation.c */
extern const struct operation client_operations[];
/* The longest buffer on the stack. */
#define CLIENT_STACK_LEN 256
void client_operation_run(struct scenario *s);
void client_fill(u8 *buf, size_t len, u32 seed);
struct caller_message *client_add_message(struct scenario *s, bool rd, const u8 *buf, size_t len);
struct caller_message *client_add_own_message(struct scenario *s);
const struct operation *client_find_operation(const char *name);
int dmasafe_client_add_operations(const struct operation *(*find)(const char *name));

/* client_smbus.c */
void client_smbus_call(struct scenario *s);

/* client_record.c */
int client_record_init(void);
void client_record_exit(void);
void record_start(struct recorder *recorder, struct scenario *s);
void record_stop(struct recorder *recorder);

/* client_memory.c */
bool memory_is_module(const void *address);
phys_addr_t memory_phys(const struct scenario *s, const void *address);
int memory_write_read_only(const struct scenario *s, u8 *to, const u8 *from, size_t len);
void memory_predicates(struct scenario *s);

/* client_answer.c */
__printf(2, 3) void answer_add(struct answer *answer, const char *format, ...);
__printf(2, 3) void answer_error(struct answer *answer, const char *format, ...);
void answer_unsupported(struct answer *answer, const char *why);
void answer_hex(struct answer *answer, const char *key, const u8 *data, size_t len);
void answer_seen(struct answer *answer, const struct recorder *recorder);
void answer_call(struct scenario *s, const char *damage);

#endif
