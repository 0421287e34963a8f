// SPDX-License-Identifier: GPL-2.0-or-later
/* The API calls under test: one row each at the end, and what goes on around every call. */
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "client.h"

/* What a read must overwrite: differs from any byte of client_fill() with the same seed. */
#define POISON_DIFFERENCE 0x5a

/**
 * client_fill() - bytes that differ from their neighbours, from other lengths and from other
 * scenarios
 * @buf: where
 * @len: how many
 * @seed: of the scenario
 */
void client_fill(u8 *buf, size_t len, u32 seed)
{
	u32 state = seed * 2654435761u + 0x9e3779b9u;
	size_t i;

	for (i = 0; i < len; i++) {
		state ^= state << 13;
		state ^= state >> 17;
		state ^= state << 5;
		buf[i] = state;
	}
}
EXPORT_SYMBOL_GPL(client_fill);

/**
 * client_add_message() - note a message that the call stands for
 * @s: the scenario
 * @rd: a read
 * @buf: the bytes before the call for a write, after it for a read
 * @len: how many
 *
 * Return: the message, to add what the operation knows besides.
 */
struct caller_message *client_add_message(struct scenario *s, bool rd, const u8 *buf, size_t len)
{
	struct caller_message *message = &s->messages[s->count++];

	*message = (struct caller_message) {
		.rd = rd, .data = buf, .len = len, .dma = DMASAFE_NO_DMA,
		.dma_safe = -1,
	};
	return message;
}

/**
 * client_add_own_message() - note a message in the scenario's own buffer
 * @s: the scenario
 *
 * Return: the message, to add what the operation knows besides.
 */
struct caller_message *client_add_own_message(struct scenario *s)
{
	const u8 *data = s->rd ? s->buf : s->before + s->front;
	struct caller_message *message;

	if (s->kept) {
		u8 *kept = s->kept + s->count * s->len;

		if (s->rd)
			memcpy(kept, s->buf, s->len);
		data = kept;
	}
	message = client_add_message(s, s->rd, data, s->len);
	message->buf = s->buf;
	return message;
}
EXPORT_SYMBOL_GPL(client_add_own_message);

static u64 call_begin(struct scenario *s)
{
	if (s->kept && !s->rd)
		memcpy(s->kept + s->count * s->len, s->buf, s->len);
	return ktime_get_ns();
}

/* Ends what call_begin() began, with what the API call in between returned. */
static void call_end(struct scenario *s, u64 begin, int ret)
{
	s->ns += ktime_get_ns() - begin;
	s->ret = ret;
}

static void after_master_call(struct scenario *s, int dma_safe)
{
	s->transferred = s->ret >= 0 && s->ret == s->len;
	client_add_own_message(s)->dma_safe = dma_safe;
}

static void master_send(struct scenario *s)
{
	u64 begin = call_begin(s);

	call_end(s, begin, i2c_master_send(&s->client, s->buf, s->len));
	after_master_call(s, 0);
}

static void master_recv(struct scenario *s)
{
	u64 begin = call_begin(s);

	call_end(s, begin, i2c_master_recv(&s->client, s->buf, s->len));
	after_master_call(s, 0);
}

static void master_send_dmasafe(struct scenario *s)
{
	u64 begin = call_begin(s);

	call_end(s, begin, i2c_master_send_dmasafe(&s->client, s->buf, s->len));
	after_master_call(s, 1);
}

static void master_recv_dmasafe(struct scenario *s)
{
	u64 begin = call_begin(s);

	call_end(s, begin, i2c_master_recv_dmasafe(&s->client, s->buf, s->len));
	after_master_call(s, 1);
}

static void transfer(struct scenario *s)
{
	u16 flags = s->dma_safe ? I2C_M_DMA_SAFE : 0;
	u8 *first = kmalloc(L1_CACHE_BYTES, GFP_KERNEL);
	struct i2c_msg msgs[] = {
		{ .addr = s->addr, .flags = flags, .len = 1, .buf = first },
		{ .addr = s->addr, .flags = flags | I2C_M_RD, .len = s->len, .buf = s->buf },
	};
	struct caller_message *message;
	u64 begin;

	if (!first) {
		s->ret = -ENOMEM;
		return;
	}
	client_fill(first, 1, s->fill);
	s->scratch[0] = first[0];
	begin = call_begin(s);
	call_end(s, begin, i2c_transfer(s->adap, msgs, ARRAY_SIZE(msgs)));
	s->transferred = s->ret == ARRAY_SIZE(msgs);
	message = client_add_message(s, false, s->scratch, 1);
	message->dma_safe = s->dma_safe;
	client_add_own_message(s)->dma_safe = s->dma_safe;
	kfree(first);
}

/* Fills @buf as a device would after it was told to: page protection does not stop it. */
static int play_device(struct scenario *s, u8 *buf, const u8 *data)
{
	if (buf == s->buf && s->kind->read_only)
		return memory_write_read_only(s, buf, data, s->len);
	memcpy(buf, data, s->len);
	return 0;
}

/* Where a device gets to by a DMA address: behind an IOMMU that is another one. */
static u64 reached(struct device *dev, dma_addr_t dma)
{
#ifdef CONFIG_IOMMU_API
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	if (domain)
		return iommu_iova_to_phys(domain, dma);
#endif
	return dma;
}

static int get_map_unmap_put(struct scenario *s, struct i2c_msg *msg, u8 **buf, u64 *address)
{
	enum dma_data_direction dir = s->rd ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
	dma_addr_t dma;
	int ret = 0;

	*buf = i2c_get_dma_safe_msg_buf(msg, s->threshold);
	if (!*buf)
		return 0;
	dma = dma_map_single(s->dma_dev, *buf, s->len, dir);
	if (dma_mapping_error(s->dma_dev, dma)) {
		i2c_put_dma_safe_msg_buf(*buf, msg, false);
		return -EIO;
	}
	*address = reached(s->dma_dev, dma);
	if (!s->rd)
		memcpy(s->scratch, *buf, s->len);
	dma_unmap_single(s->dma_dev, dma, s->len, dir);
	if (s->rd)
		ret = play_device(s, *buf, s->scratch);
	i2c_put_dma_safe_msg_buf(*buf, msg, !ret);
	return ret;
}

static void get_put(struct scenario *s)
{
	struct i2c_msg msg = {
		.addr = s->addr,
		.flags = (s->rd ? I2C_M_RD : 0) | (s->dma_safe ? I2C_M_DMA_SAFE : 0),
		.len = s->len,
		.buf = s->buf,
	};
	struct caller_message *message;
	u64 dma = DMASAFE_NO_DMA;
	u64 begin;
	u8 *buf;

	if (s->rd)
		client_fill(s->scratch, s->len, s->fill);
	begin = call_begin(s);
	call_end(s, begin, get_map_unmap_put(s, &msg, &buf, &dma));
	answer_add(&s->answer, "{\"same\":%d", buf == s->buf);
	if (!buf) {
		answer_add(&s->answer, ",\"null\":1");
		return;
	}
	s->transferred = !s->ret;
	if (s->ret)
		return;
	if (s->rd) {
		message = client_add_message(s, true, s->buf, s->len);
		message->want = s->scratch;
	} else {
		message = client_add_message(s, false, s->scratch, s->len);
		message->want = s->before + s->front;
	}
	message->buf = s->buf;
	message->dma = dma;
	message->dma_safe = s->dma_safe;
}

const struct operation client_operations[] = {
	{ .name = "master_send", .call = master_send, .adapter = true, .buffer = true,
	  .letter = 's' },
	{ .name = "master_recv", .call = master_recv, .rd = true, .adapter = true, .buffer = true,
	  .letter = 'r' },
	{ .name = "master_send_dmasafe", .call = master_send_dmasafe, .adapter = true,
	  .buffer = true, .letter = 'S' },
	{ .name = "master_recv_dmasafe", .call = master_recv_dmasafe, .rd = true, .adapter = true,
	  .buffer = true, .letter = 'R' },
	{ .name = "transfer", .call = transfer, .rd = true, .adapter = true, .buffer = true },
	{ .name = "get_put", .call = get_put, .takes_rd = true, .buffer = true },
	{ .name = "predicates", .buffer = true },
	{ .name = "smbus", .call = client_smbus_call, .takes_rd = true, .adapter = true },
	{}
};

/* Those of a module that is loaded besides, and stays. */
static const struct operation *(*find_more)(const char *name);

/**
 * client_find_operation() - the operation of this name, or NULL
 * @name: the word of the contract
 */
const struct operation *client_find_operation(const char *name)
{
	const struct operation *operation;
	const struct operation *(*more)(const char *name) = READ_ONCE(find_more);

	for (operation = client_operations; operation->name; operation++)
		if (!strcmp(operation->name, name))
			return operation;
	return more ? more(name) : NULL;
}

/**
 * dmasafe_client_add_operations() - let another module's operations be asked for
 * @find: finds them by name; the module cannot be unloaded any more
 *
 * Return: 0, or -EBUSY if there are some already.
 */
int dmasafe_client_add_operations(const struct operation *(*find)(const char *name))
{
	return cmpxchg(&find_more, NULL, find) ? -EBUSY : 0;
}
EXPORT_SYMBOL_GPL(dmasafe_client_add_operations);

static void add_damage(char *damage, size_t size, const char *what)
{
	size_t len = strlen(damage);

	scnprintf(damage + len, size - len, "%s\"%s\"", len ? "," : "", what);
}

/* Compares the buffer and its guards with what they were, and completes the answer. */
static void examine(struct scenario *s)
{
	const u8 *before = s->before + s->front;
	char damage[80] = "";

	if (memcmp(s->buf - s->front, s->before, s->front))
		add_damage(damage, sizeof(damage), "guard-before");
	if (memcmp(s->buf + s->len, before + s->len, CLIENT_GUARD))
		add_damage(damage, sizeof(damage), "guard-after");
	if (memcmp(s->buf, before, s->len)) {
		if (!s->rd)
			add_damage(damage, sizeof(damage), "source");
		else if (s->kind->read_only)
			add_damage(damage, sizeof(damage), "read-only");
	}
	answer_call(s, damage);
}

/* Puts back what belongs to somebody else. */
static void give_back(struct scenario *s, const u8 *original, size_t size)
{
	u8 *start = s->buf - s->front;

	if (!s->kind->borrowed || !memcmp(start, original, size))
		return;
	if (!s->kind->read_only)
		memcpy(start, original, size);
	else if (memory_write_read_only(s, start, original, size))
		pr_err("dmasafe: %s could not be repaired\n", s->kind->name);
}

/* Gives the buffer and its guards the contents that the call and its examination expect. */
static void prepare(struct scenario *s)
{
	size_t i;

	if (s->kind->read_only)
		return;
	client_fill(s->buf, s->len, s->fill);
	for (i = 0; s->rd && i < s->len; i++)
		s->buf[i] ^= POISON_DIFFERENCE;
	if (s->kind->borrowed)
		return;
	memset(s->buf - s->front, 0xb6, s->front);
	memset(s->buf + s->len, 0xa9, CLIENT_GUARD);
}

static const struct operation *find_letter(char letter)
{
	const struct operation *operation;

	for (operation = client_operations; operation->name; operation++)
		if (operation->letter == letter)
			return operation;
	return NULL;
}

/* Whether the calls that are to follow exist, and what their messages hold fits the answer. */
static bool calls_possible(const struct scenario *s)
{
	const char *letter;

	if (!s->then)
		return true;
	if (!s->operation->adapter || strlen(s->then) >= CLIENT_MAX_CALLS)
		return false;
	for (letter = s->then; *letter; letter++)
		if (!find_letter(*letter))
			return false;
	return (CLIENT_MAX_CALLS + 1) * s->len <= CLIENT_MAX_LEN;
}

/*
 * The call under test, and those that follow on the same buffer. What they return together is
 * the first error, or what the last one returned.
 */
static void make_calls(struct scenario *s)
{
	const char *letter = s->then ?: "";
	bool transferred = true;
	bool rd = s->rd;
	int error = 0;

	/* Others send their messages through a framework, which sends some of its own besides. */
	if (s->operation->adapter)
		record_start(&s->recorder, s);
	for (;;) {
		s->operation->call(s);
		rd |= s->rd;
		transferred &= s->transferred;
		if (s->ret < 0 && !error)
			error = s->ret;
		if (!*letter)
			break;
		s->operation = find_letter(*letter++);
		s->rd = s->operation->rd;
	}
	record_stop(&s->recorder);
	s->rd = rd;
	s->transferred = transferred;
	if (error)
		s->ret = error;
}

/*
 * Everything that needs the buffer: fill, look, call, look again. Inline, as each frame is a line in
 * every report of what the call does.
 */
static __always_inline void with_buffer(struct scenario *s)
{
	size_t size;
	u8 *original;

	s->front = s->kind->no_front ? 0 : CLIENT_GUARD;
	size = s->front + s->len + CLIENT_GUARD;
	if (!s->operation->call) {
		memory_predicates(s);
		return;
	}
	if (!calls_possible(s)) {
		answer_error(&s->answer, "then= is up to %d letters of srSR, for up to %d bytes",
			     CLIENT_MAX_CALLS - 1, CLIENT_MAX_LEN / (CLIENT_MAX_CALLS + 1));
		return;
	}
	/*
	 * The second part keeps a borrowed object as its owner left it, the third what the
	 * calls left in the buffer.
	 */
	s->before = kmalloc(2 * size + (s->then ? CLIENT_MAX_LEN : 0), GFP_KERNEL);
	if (!s->before) {
		answer_error(&s->answer, "no memory");
		return;
	}
	original = s->before + size;
	s->kept = s->then ? original + size : NULL;
	memcpy(original, s->buf - s->front, size);
	prepare(s);
	memcpy(s->before, s->buf - s->front, size);
	make_calls(s);
	examine(s);
	give_back(s, original, size);
	kfree(s->before);
	s->before = NULL;
	s->kept = NULL;
}

static noinline void with_stack_buffer(struct scenario *s)
{
	u8 area[CLIENT_GUARD + CLIENT_STACK_LEN + CLIENT_GUARD];

	s->buf = area + CLIENT_GUARD;
	/* Not left to CONFIG_INIT_STACK_*: the snapshot reads it first. */
	memset(area, 0, sizeof(area));
	with_buffer(s);
	/* Keeps the call above from becoming a jump that frees the frame. */
	barrier_data(area);
}

/**
 * client_operation_run() - carry out the scenario and complete its answer
 * @s: the scenario, parsed, with its adapter if the operation needs one
 */
void client_operation_run(struct scenario *s)
{
	const char *why;

	s->phys = DMASAFE_NO_PHYS;
	why = s->operation->objection ? s->operation->objection(s) : NULL;
	if (why) {
		answer_unsupported(&s->answer, why);
		return;
	}
	if (!s->operation->buffer) {
		s->operation->call(s);
		return;
	}
	if (!s->kind->get) {
		if (s->len > CLIENT_STACK_LEN)
			answer_unsupported(&s->answer, "longer than a buffer on the stack may be");
		else
			with_stack_buffer(s);
		return;
	}
	why = s->kind->get(s);
	if (IS_ERR(why)) {
		answer_error(&s->answer, "%s: errno %ld", s->kind->name, -PTR_ERR(why));
		return;
	}
	if (why) {
		answer_unsupported(&s->answer, why);
		return;
	}
	with_buffer(s);
	s->kind->put(s);
}
