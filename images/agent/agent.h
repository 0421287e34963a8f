/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent: runs in the guest (or on a board), does what the host asks. docs/agent-protocol.md is its contract.
 *
 * agent.c (main, the scenario loop) takes lines from channel.c, has requests.c and adapter.c do what is no scenario,
 * and makes the calls of scenarios: to the client module (client.c) or to i2c-dev (i2cdev.c, which asks the client
 * module too). All that runs in a worker process, which a scenario may kill: worker.c. kmsg.c forwards the kernel's
 * log, trace.c brings what the module's engine saw. text.c, json.c and file.c know strings and files, command.c runs
 * shell commands.
 */
#ifndef DMASAFE_AGENT_H
#define DMASAFE_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINE_MAX_BYTES 65536
/* What a line holds besides its answer or its file contents. */
#define LINE_REST_BYTES 1024
#define READ_MAX_BYTES 49152
/* Escapes can make six bytes of one of a command's output. */
#define COMMAND_MAX_BYTES 10240
#define RUN_TIMEOUT_MS 5000
#define BIND_TIMEOUT_MS 3000
/* Nothing holds a lock yet: only a slow machine needs so long. */
#define FIRST_BIND_TIMEOUT_MS 10000

/* text.c: strings that grow. */

/* Bytes under construction. Zeroed it is empty; memory is kept for reuse. */
struct text {
	char *data;
	size_t len;
	size_t room;
};

void text_clear(struct text *text);
void text_reserve(struct text *text, size_t more);
/* This and what is below leave a NUL behind the bytes, except text_add_hex() and text_add_json(). */
void text_add_bytes(struct text *text, const void *bytes, size_t len);
void text_add_string(struct text *text, const char *string);
void text_add_number(struct text *text, long long number);
__attribute__((format(printf, 2, 3))) void text_add(struct text *text, const char *format, ...);
void text_add_hex(struct text *text, const uint8_t *bytes, size_t len);
/* Adds bytes as the inside of a JSON string; one code point a byte. */
void text_add_json(struct text *text, const char *bytes, size_t len);

/* json.c: requests, flat objects of strings and numbers. */

#define REQUEST_FIELDS 16

/* One member. Strings are decoded to bytes, numbers left as they are written; both end in a NUL. */
struct field {
	const char *name;
	const char *value;
	size_t len;
};

struct request {
	struct field fields[REQUEST_FIELDS];
	int count;
};

/* Decodes a line in place; the request points into it. Returns NULL, or what is wrong with the line. */
const char *request_parse(struct request *request, char *line, size_t len);
const struct field *request_field(const struct request *request, const char *name);
/* The field's value, or NULL if it is absent. */
const char *request_text(const struct request *request, const char *name);
long long request_number(const struct request *request, const char *name, long long otherwise);

/* One message of the client module's answer to op=seen. */
struct seen_message {
	char pa[24];
	int dma_safe;
};

/* Returns the number of messages found, at most max. */
size_t seen_parse(const char *answer, size_t len, struct seen_message *seen, size_t max);

/* channel.c: the way to the host. */

enum line_kind { LINE_READ, LINE_TOO_LONG, LINE_END };

/* Opens the virtio-serial port, or takes standard input and output. */
void channel_open(bool standard);
/* Waits for a line; it is valid until the next call. Its newline is replaced by a NUL. */
enum line_kind channel_line(char **line, size_t *len);
/* Writes everything and clears the text. What no host is there to read is dropped. */
void channel_write(struct text *text);
/* The same at the next channel_write(), or before there is no next line: one write for many texts. */
void channel_hold(struct text *text);

/* kmsg.c: the kernel's log. */

void kmsg_open(void);
/* Leaves out all records so far. */
void kmsg_skip(void);
/*
 * Writes the mark at which a scenario's records end: it also makes a record final that had no newline. Returns 0, or
 * -1 where there is no mark, as the kernel would limit the rate of what user space writes.
 */
int kmsg_end(long long seq);
/* Lets once-only warnings come again. Needed after a report, harmless otherwise. */
void kmsg_rearm(void);
/* A module came or went: that is for other files. */
void kmsg_modules_changed(void);
/* Undoes what an oops does to the console's log level: the rest of the boot would be printed there in full. */
void kmsg_quiet(void);
/*
 * Adds the waiting records as events of the scenario seq, or of nobody if it is -1; up to the scenario's end mark if
 * *mark is 0. Then *mark becomes the mark's record number, or -1. Returns the number of records.
 */
unsigned int kmsg_forward(struct text *out, long long seq, long long *mark);

/* file.c: small files of sysfs, debugfs and procfs. */

/* One write(2) to a file. Returns 0 or a positive errno. */
int file_write(const char *path, const char *data, size_t len);
/* Adds to the end of a file, which is made if it is not there. Returns 0 or a positive errno. */
int file_append(const char *path, const char *data, size_t len);
/* The data must be as long as the request's number says; what the kernel writes there is lost. */
int file_ioctl(const char *path, unsigned long request, const char *data, size_t len);
/* Reads up to room bytes from the start. Returns the number, or a negative errno. */
long file_read(const char *path, long long offset, char *data, size_t room);

/* command.c: shell commands. */

/*
 * Runs a command with /bin/sh; len is that of its joined output, of which what there is no room for is dropped, status
 * that of wait(2). Returns 0 or a negative errno: -ENOENT without a shell, -ETIMEDOUT if it had to be killed.
 */
int command_run(const char *command, int timeout_ms, char *output, size_t room, size_t *len, int *status);

/* adapter.c: devices, their drivers and attributes. */

struct adapter;

void adapters_open(void);
/* Finds an adapter by the host's name for it, or returns NULL. */
struct adapter *adapter_find(const char *name);
/* The N of /dev/i2c-N, or -1 if it is gone. */
int adapter_number(const struct adapter *adapter);
/* Makes a driver the device's, on bus "pci" or "platform". Returns the adapter's number or a negative errno. */
int adapter_add(const char *name, const char *bus, const char *device, const char *driver);
/* Notes an adapter that needs no binding. Returns its number or a negative errno. */
int adapter_adopt(const char *name, int nr);
/* Unbinds and binds the driver. Returns the adapter's new number or a negative errno. */
int adapter_rebind(struct adapter *adapter);
/* Makes an adapter usable again that a dead task may hold for good. Returns its number or a negative errno. */
int adapter_revive(struct adapter *adapter);
/* The device node of hardware that keeps a trace of its own, or NULL. */
const char *adapter_trace(const struct adapter *adapter);
/* The number of the adapter in a device's directory of sysfs, or -1. */
int adapter_below(const char *device);
/* It has another number now, or none (negative). */
void adapter_moved(struct adapter *adapter, int nr);
/* Writes "name=value ..." to the device's attributes, as far as they differ from what was written last. */
const char *adapter_set(struct adapter *adapter, const char *settings);

/* trace.c: what hardware saw that keeps a trace of its own: the module's engine. */

/* Says which scenario begins, if the adapter's hardware keeps a trace. The adapter may be NULL, here and below. */
void trace_begin(const struct adapter *adapter, long long seq);
/* Ends it. What was seen becomes a member of the reply; what is more than room bytes, events before it. */
void trace_end(const struct adapter *adapter, struct text *events, struct text *member, size_t room);

/* meanwhile.c: what happens to an adapter's device beside a call. */

/*
 * What there was to see: whether it happened before the call was over; and if the system slept, whether the call went on
 * until every device was resumed, and what a transfer returned after it, 0 or a positive errno.
 */
struct meanwhile {
	bool caught;
	bool slept;
	int after;
};

/*
 * Has the driver unbound: "unbind", soon after the call has begun; "unbound", before it, while i2c-dev's file is open.
 * "suspend" has the system sleep soon after the call has begun. Returns NULL, or what is wrong.
 */
const char *meanwhile_begin(const char *what, struct adapter *adapter);
/* Lets go of the adapter, and has the driver bound again. Returns the adapter's new number or a negative errno. */
int meanwhile_end(struct adapter *adapter, struct meanwhile *found);

/* requests.c: what is no scenario. */

void request_hello(struct text *out);
/* Adds the reply. Returns false if the operation is not known here. */
bool request_perform(const char *op, const struct request *request, struct text *out);

/* worker.c: the process that makes the calls under test, and may die of them; and its supervisor. */

/* A call under test: what its end needs to know. */
struct under_way {
	long long seq;
	/* The request's "n", if it had one. */
	bool numbered;
	long long number;
	int timeout_ms;
	struct adapter *adapter;
};

/* Zeroed memory that workers and supervisor share. Ends the process if there is none. */
void *shared_memory(size_t len);
/*
 * Runs work() in a worker process. If a call of worker_perform() kills it or takes too long, end() is called here, with
 * the signal or the time, and the next worker begins. Returns an exit status when a worker ends by itself.
 */
int workers(void (*work)(void), void (*end)(const struct under_way *way, int signal, int hung_ms));
/* In the worker: performs a line, and puts its answer into a text. */
void worker_perform(const struct under_way *way, char *line, size_t len, struct text *answer);
/* In the worker: closes its device files, which would keep drivers and modules from going. */
void worker_let_go(void);

/* client.c: the client module's device, and the words key=value of a scenario's line. */

#define CLIENT_DEVICE "/dev/dmasafe"

#define WORDS 24

struct words {
	struct {
		char *key;
		char *value;
	} word[WORDS];
	int count;
};

/* Takes a line apart, in place. Returns false if it is not words key=value. */
bool words_parse(struct words *words, char *line);
const char *words_text(const struct words *words, const char *key);
long words_number(const struct words *words, const char *key, long otherwise);

/* The client module's answer to one line, without its newline. Returns its length, or a negative errno. */
long client_ask(const char *line, size_t len, char *answer, size_t room);
void client_let_go(void);

/* i2cdev.c: i2c-dev calls, made by the worker. */

void i2cdev_perform(const struct words *words, struct text *answer);
/* Opens an adapter's file for the calls that follow. Returns its descriptor, or -1. */
int i2cdev_hold(long nr);
/* Reads a byte from a slave that answers. Returns 0 or a positive errno. */
int i2cdev_try(long nr);
/* CLOCK_MONOTONIC */
long long now_ns(void);
void i2cdev_let_go(void);

#endif
