// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The supervisor: reads requests, answers them in order, and outlives whatever the calls under test do.
 *
 * usage: agent [- | --frame SESSION RESEND_MS SILENCE_S WINDOW]
 *
 * With - it talks over standard input and output, with --frame in the frames of frame.c.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "agent.h"
#include "frame.h"

#define ERROR "{\"error\":"

static struct text out;
/* Started by init: the system is ours to switch off. */
static bool owner;

/* A member that is a number, and not the first. */
static void add_member(const char *name, long long number)
{
	text_add_string(&out, ",\"");
	text_add_string(&out, name);
	text_add_string(&out, "\":");
	text_add_number(&out, number);
}

/* The beginning of a reply: what it answers, and the number that the host gave it. */
static void begin_reply(const char *op, const struct request *request)
{
	const struct field *number = request_field(request, "n");

	text_add(&out, "{\"re\":\"%s\"", op);
	if (number)
		add_member("n", request_number(request, "n", 0));
}

static void reply_error(const char *why)
{
	text_add(&out, "{\"re\":\"error\",\"why\":\"%s\"}\n", why);
	channel_write(&out);
}

static void add_error(const char *why)
{
	text_add(&out, ",\"error\":\"");
	text_add_json(&out, why, strlen(why));
	text_add(&out, "\"}\n");
}

/* The line as it is performed: what the host wrote, the scenario's number and the adapter's. */
static void performed_line(struct text *line, const char *words, long long seq, const struct adapter *adapter)
{
	text_clear(line);
	text_add_bytes(line, words, strlen(words));
	text_add_string(line, " seq=");
	text_add_number(line, seq);
	if (adapter) {
		text_add_string(line, " nr=");
		text_add_number(line, adapter_number(adapter));
	}
}

static void add_rebound(int nr)
{
	if (nr >= 0) {
		text_add_string(&out, ",\"rebound\":true");
		add_member("nr", nr);
	}
	text_add_string(&out, "}\n");
}

/*
 * The scenario's end: its log and trace, and the reply's beginning. Returns the number of records. room is what the
 * rest of the reply needs.
 */
static unsigned int begin_run_reply(const struct under_way *way, size_t room)
{
	static struct text trace;
	long long end_mark = kmsg_end(way->seq);
	unsigned int records = kmsg_forward(&out, way->seq, &end_mark);

	trace_end(way->adapter, &out, &trace, LINE_MAX_BYTES - LINE_REST_BYTES - room);
	text_add_string(&out, "{\"re\":\"run\"");
	if (way->numbered)
		add_member("n", way->number);
	add_member("seq", way->seq);
	if (end_mark >= 0)
		add_member("log", end_mark);
	text_add_bytes(&out, trace.data, trace.len);
	return records;
}

/* What there is to say: now, or while there is more to do with what comes later. */
static void deliver(bool lazy)
{
	if (lazy)
		channel_hold(&out);
	else
		channel_write(&out);
}

static void perform(const struct request *request, const char *words, long long seq, struct adapter *adapter)
{
	static struct text line, answer;
	struct under_way way = {
		.seq = seq,
		.numbered = request_field(request, "n"),
		.number = request_number(request, "n", 0),
		.timeout_ms = request_number(request, "timeout_ms", RUN_TIMEOUT_MS),
		.adapter = adapter,
	};
	int nr = -1;
	bool lazy = request_number(request, "lazy", 0);
	const char *meanwhile = adapter ? request_text(request, "meanwhile") : NULL;
	struct meanwhile found = { .caught = true };
	const char *why;
	unsigned int records;

	performed_line(&line, words, seq, adapter);
	trace_begin(adapter, seq);
	kmsg_forward(&out, -1, NULL);
	/* Of a worker that dies nothing is left but what was written or is held. */
	deliver(lazy);
	why = meanwhile ? meanwhile_begin(meanwhile, adapter) : NULL;
	if (why) {
		text_clear(&answer);
		text_add(&answer, ERROR "\"%s\"}", why);
	} else {
		worker_perform(&way, line.data, line.len, &answer);
	}
	if (meanwhile && !why)
		nr = meanwhile_end(adapter, &found);
	/* Before the end, for what the kernel says to the driver's leaving is part of the scenario. */
	if (request_number(request, "rebind", 0)) {
		worker_let_go();
		nr = adapter ? adapter_rebind(adapter) : -ENODEV;
	}
	records = begin_run_reply(&way, answer.len);
	/* {"error":"..."} becomes a member of the reply. */
	if (answer.len > strlen(ERROR) && !memcmp(answer.data, ERROR, strlen(ERROR))) {
		text_add_string(&out, ",");
		text_add_bytes(&out, answer.data + 1, answer.len - 1);
		text_add_string(&out, "\n");
	} else {
		text_add_string(&out, ",\"answer\":");
		text_add_bytes(&out, answer.data, answer.len);
		if (!found.caught)
			text_add_string(&out, ",\"caught\":false");
		if (found.slept)
			text_add_string(&out, ",\"slept\":true");
		if (found.after)
			add_member("after", found.after);
		add_rebound(nr);
	}
	deliver(lazy);
	if (records)
		kmsg_rearm();
}

/* The supervisor's: the worker died in a call, or hangs there. */
static void end_for_worker(const struct under_way *way, int signal, int hung_ms)
{
	begin_run_reply(way, 0);
	if (hung_ms)
		add_member("hung", hung_ms);
	else
		add_member("died", signal);
	add_rebound(way->adapter ? adapter_revive(way->adapter) : -ENODEV);
	channel_write(&out);
	kmsg_rearm();
	kmsg_quiet();
}

static void run(const struct request *request)
{
	const char *name = request_text(request, "adapter");
	const char *settings = request_text(request, "set");
	const char *words = request_text(request, "line");
	long long seq = request_number(request, "seq", 0);
	struct adapter *adapter = name && *name ? adapter_find(name) : NULL;
	const char *why = NULL;

	if (!words)
		why = "no line in the request";
	else if (name && *name && !adapter)
		why = "no adapter of that name: send 'adapter' first";
	else if (adapter && adapter_number(adapter) < 0)
		why = "the adapter is gone";
	else if (adapter && settings)
		why = adapter_set(adapter, settings);
	if (!why) {
		perform(request, words, seq, adapter);
		return;
	}
	begin_reply("run", request);
	add_member("seq", seq);
	add_error(why);
	channel_write(&out);
}

/*
 * In a guest, where init waits for nothing but us, restart, which ends QEMU (-no-reboot) and needs no ACPI, as
 * powering off would on x86; as a plain program just end.
 */
static void power_off(void)
{
	if (owner) {
		sync();
		reboot(RB_AUTOBOOT);
	}
	exit(0);
}

static void handle(char *line, size_t len)
{
	struct request request;
	const char *why = request_parse(&request, line, len);
	const char *op = why ? NULL : request_text(&request, "op");

	if (!op) {
		reply_error(why ? why : "no op in the request");
		return;
	}
	if (!strcmp(op, "run")) {
		run(&request);
		return;
	}
	if (!strcmp(op, "poweroff"))
		power_off();
	if (!strcmp(op, "kmsg")) {
		if (request_number(&request, "skip", 0))
			kmsg_skip();
		kmsg_forward(&out, -1, NULL);
		begin_reply(op, &request);
	} else {
		begin_reply(op, &request);
		if (!request_perform(op, &request, &out)) {
			text_clear(&out);
			reply_error("no such op");
			return;
		}
	}
	text_add(&out, "}\n");
	channel_write(&out);
}

/* The worker's whole life. */
static void serve(void)
{
	enum line_kind kind;
	size_t len;
	char *line;

	while ((kind = channel_line(&line, &len)) != LINE_END) {
		if (kind == LINE_TOO_LONG)
			reply_error("the line is longer than 65536 bytes");
		else if (len)
			handle(line, len);
	}
	if (owner)
		fputs("dmasafe: the agent ended: its port has no host\n", stderr);
	power_off();
}

int main(int argc, char **argv)
{
	bool plain = argc > 1;

	owner = !plain && getppid() == 1;
	if (argc == 6 && !strcmp(argv[1], "--frame"))
		frame_relay(argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
	signal(SIGPIPE, SIG_IGN);
	kmsg_open();
	adapters_open();
	channel_open(plain);

	text_add(&out, "{\"re\":\"hello\"");
	request_hello(&out);
	text_add(&out, "}\n");
	channel_write(&out);
	return workers(serve, end_for_worker);
}
