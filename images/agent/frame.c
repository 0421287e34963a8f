// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lines over a line that loses, repeats and inserts characters: what `agent --frame` adds for a board.
 *
 * A process of its own stands between the agent and the host. Each piece of a line travels in a frame with a number and
 * a checksum, is kept until the host acknowledges it, and is sent again when asked for (go-back-N). What is no frame (a
 * kernel's message on the same console) is ignored. A host that says nothing for so long is gone: the agent's input is
 * ended, and the shell script that started us tidies up. docs/targets.md has the format.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"

#define FRAME_START 0x01
#define SESSION_BYTES 4
/* Start, session, kind, number, acknowledgement. */
#define HEAD_BYTES (1 + SESSION_BYTES + 1 + 8 + 8)
/* '*', checksum, newline. */
#define TAIL_BYTES (1 + 8 + 1)
/* No more than PIPE_BUF with its newline: the agent's input takes it whole or not at all. */
#define PAYLOAD_BYTES 1024
#define FRAME_BYTES (HEAD_BYTES + PAYLOAD_BYTES + TAIL_BYTES)
/* What waits for an acknowledgement. A power of two. */
#define QUEUE 1024
/* Room for the last piece of a line, and the end. */
#define ROOM 4
#define NAK_PAUSE_MS 100
/* How long the agent has to end, and the host to acknowledge that it did. */
#define END_MS 5000
#define LINGER_MS 2000

struct frame {
	char bytes[FRAME_BYTES];
	size_t len;
};

static struct {
	char session[SESSION_BYTES + 1];
	int in;
	int out;
	int to_agent;
	int from_agent;
	pid_t agent;
	int resend_ms;
	int silence_ms;
	size_t window;

	/* Frames [acked, made) are kept; [acked, sent) are on their way. */
	struct frame *queue;
	uint32_t acked;
	uint32_t sent;
	uint32_t made;
	long long progress_ms;
	long long went_back_ms;

	uint32_t expected;
	bool ack_due;
	bool nak_due;
	long long nak_ms;
	long long heard_ms;

	char incoming[FRAME_BYTES];
	size_t incoming_len;
	bool in_frame;

	char control[FRAME_BYTES];
	size_t control_len;
	const char *writing;
	size_t writing_len;

	char line[PAYLOAD_BYTES];
	size_t line_len;
	bool ended;
	struct termios settings;
	bool restore_settings;
	int in_flags;
	int out_flags;
} relay;

static long long now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

static uint32_t crc32_of(const char *bytes, size_t len)
{
	static uint32_t table[256];
	uint32_t crc = ~0u;
	size_t i;
	int bit;

	if (!table[1]) {
		for (i = 0; i < 256; i++) {
			uint32_t value = i;

			for (bit = 0; bit < 8; bit++)
				value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
			table[i] = value;
		}
	}
	for (i = 0; i < len; i++)
		crc = table[(crc ^ bytes[i]) & 0xff] ^ crc >> 8;
	return ~crc;
}

/* Acknowledgements age: each sending carries the newest one, so head and checksum are made when it goes out. */
static size_t make_frame(char *frame, char kind, uint32_t number, const char *payload, size_t len)
{
	char head[HEAD_BYTES + 1], tail[TAIL_BYTES + 1];

	if (payload != frame + HEAD_BYTES)
		memcpy(frame + HEAD_BYTES, payload, len);
	snprintf(head, sizeof(head), "%c%s%c%08x%08x", FRAME_START, relay.session, kind, number, relay.expected);
	memcpy(frame, head, HEAD_BYTES);
	snprintf(tail, sizeof(tail), "*%08x\n", crc32_of(frame + 1, HEAD_BYTES - 1 + len));
	memcpy(frame + HEAD_BYTES + len, tail, TAIL_BYTES);
	return HEAD_BYTES + len + TAIL_BYTES;
}

static struct frame *queued(uint32_t number)
{
	return &relay.queue[number % QUEUE];
}

static bool queue_full(void)
{
	return relay.made - relay.acked >= QUEUE - ROOM;
}

static void enqueue(char kind, const char *payload, size_t len)
{
	struct frame *frame = queued(relay.made);

	frame->len = make_frame(frame->bytes, kind, relay.made, payload, len);
	if (relay.acked == relay.made)
		relay.progress_ms = now_ms();
	relay.made++;
}

static void take_ack(uint32_t number)
{
	if (number - relay.acked - 1 >= relay.sent - relay.acked)
		return;
	relay.acked = number;
	relay.progress_ms = now_ms();
}

static void go_back(void)
{
	relay.sent = relay.acked;
	relay.went_back_ms = relay.progress_ms = now_ms();
}

static void want_again(void)
{
	if (now_ms() - relay.nak_ms >= NAK_PAUSE_MS)
		relay.nak_due = true;
}

static void end_input(void)
{
	if (relay.to_agent >= 0)
		close(relay.to_agent);
	relay.to_agent = -1;
}

/* A numbered frame of the host's. What the agent cannot take now is as if lost. */
static void take_data(char kind, uint32_t number, char *payload, size_t len)
{
	relay.ack_due = true;
	if (number != relay.expected) {
		if ((int32_t)(number - relay.expected) > 0)
			want_again();
		return;
	}
	if (kind == 'E') {
		end_input();
	} else {
		payload[len] = '\n';
		len += kind == 'L';
		if (relay.to_agent >= 0 && len && write(relay.to_agent, payload, len) < 0 && errno != EPIPE) {
			relay.ack_due = false;
			return;
		}
	}
	relay.expected++;
	relay.nak_ms = 0;
}

static bool read_hex(const char *text, uint32_t *value)
{
	char copy[9] = { 0 }, *end;

	memcpy(copy, text, 8);
	*value = strtoul(copy, &end, 16);
	return end == copy + 8 && strspn(copy, "0123456789abcdef") == 8;
}

/* A frame without its newline. Anything but a whole one of this session is noise. */
static void take_frame(char *frame, size_t len)
{
	uint32_t number, ack, crc;
	char kind;

	if (len < HEAD_BYTES + TAIL_BYTES - 1 || frame[len - TAIL_BYTES + 1] != '*' ||
	    !read_hex(frame + len - 8, &crc) || crc != crc32_of(frame + 1, len - TAIL_BYTES) ||
	    !read_hex(frame + HEAD_BYTES - 16, &number) || !read_hex(frame + HEAD_BYTES - 8, &ack)) {
		want_again();
		return;
	}
	if (memcmp(frame + 1, relay.session, SESSION_BYTES))
		return;
	relay.heard_ms = now_ms();
	kind = frame[1 + SESSION_BYTES];
	take_ack(ack);
	if (kind == 'P' || kind == 'L' || kind == 'E')
		take_data(kind, number, frame + HEAD_BYTES, len - HEAD_BYTES - (TAIL_BYTES - 1));
	else if (kind == 'N' && relay.sent != relay.acked && now_ms() - relay.went_back_ms >= NAK_PAUSE_MS)
		go_back();
	else if (kind == 'H')
		relay.ack_due = true;
}

static void take_input(const char *bytes, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (bytes[i] == FRAME_START) {
			if (relay.in_frame)
				want_again();
			relay.in_frame = true;
			relay.incoming_len = 0;
		}
		if (!relay.in_frame)
			continue;
		if (bytes[i] == '\n' || relay.incoming_len == sizeof(relay.incoming)) {
			relay.in_frame = false;
			if (bytes[i] == '\n')
				take_frame(relay.incoming, relay.incoming_len);
			else
				want_again();
			continue;
		}
		relay.incoming[relay.incoming_len++] = bytes[i];
	}
}

/* Cuts what the agent says into frames; a line's end has one of its own kind. */
static void take_output(const char *bytes, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (bytes[i] == '\n') {
			enqueue('L', relay.line, relay.line_len);
			relay.line_len = 0;
			continue;
		}
		if (relay.line_len == PAYLOAD_BYTES) {
			enqueue('P', relay.line, relay.line_len);
			relay.line_len = 0;
		}
		relay.line[relay.line_len++] = bytes[i];
	}
}

static void read_agent(void)
{
	char block[PAYLOAD_BYTES];
	/* No byte makes more than a frame. */
	size_t room = QUEUE - ROOM - (relay.made - relay.acked);
	ssize_t len = read(relay.from_agent, block, room < sizeof(block) ? room : sizeof(block));

	if (len > 0) {
		take_output(block, len);
		return;
	}
	if (len < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	close(relay.from_agent);
	relay.from_agent = -1;
	enqueue('E', "", 0);
	relay.ended = true;
}

/* What goes out next: what we owe the host, or the next numbered frame that its window has room for. */
static bool next_frame(void)
{
	size_t under_way = 0;
	uint32_t number;

	if (relay.nak_due || relay.ack_due) {
		relay.control_len = make_frame(relay.control, relay.nak_due ? 'N' : 'A', relay.made, "", 0);
		if (relay.nak_due)
			relay.nak_ms = now_ms();
		relay.nak_due = relay.ack_due = false;
		relay.writing = relay.control;
		relay.writing_len = relay.control_len;
		return true;
	}
	if (relay.sent == relay.made)
		return false;
	for (number = relay.acked; number != relay.sent; number++)
		under_way += queued(number)->len;
	if (under_way && under_way + queued(relay.sent)->len > relay.window)
		return false;
	/* Copied: it may be acknowledged, and its place taken, before it is written whole. */
	memcpy(relay.control, queued(relay.sent)->bytes, queued(relay.sent)->len);
	relay.control_len = make_frame(relay.control, relay.control[1 + SESSION_BYTES], relay.sent,
				       relay.control + HEAD_BYTES, queued(relay.sent)->len - HEAD_BYTES - TAIL_BYTES);
	relay.sent++;
	relay.ack_due = false;
	relay.writing = relay.control;
	relay.writing_len = relay.control_len;
	return true;
}

/* Returns false if nobody can be written to any more. */
static bool write_out(void)
{
	while (relay.writing_len || next_frame()) {
		ssize_t len = write(relay.out, relay.writing, relay.writing_len);

		if (len < 0)
			return errno == EAGAIN || errno == EINTR;
		relay.writing += len;
		relay.writing_len -= len;
	}
	return true;
}

/* One turn: waits for something to do, and does it. Returns false when the host is gone. */
static bool turn(void)
{
	struct pollfd fds[3] = {
		{ .fd = relay.in, .events = POLLIN },
		{ .fd = relay.from_agent, .events = POLLIN },
		{ .fd = relay.writing_len ? relay.out : -1, .events = POLLOUT },
	};
	char bytes[4096];
	ssize_t len;

	if (queue_full())
		fds[1].fd = -1;
	if (poll(fds, 3, NAK_PAUSE_MS) < 0 && errno != EINTR)
		return false;
	if (fds[0].revents) {
		len = read(relay.in, bytes, sizeof(bytes));
		if (!len || (len < 0 && errno != EAGAIN && errno != EINTR))
			return false;
		if (len > 0)
			take_input(bytes, len);
	}
	if (fds[1].revents)
		read_agent();
	if (relay.sent != relay.acked && now_ms() - relay.progress_ms > relay.resend_ms)
		go_back();
	return write_out() && now_ms() - relay.heard_ms <= relay.silence_ms;
}

static void tidy_up(void)
{
	if (relay.restore_settings)
		tcsetattr(STDIN_FILENO, TCSANOW, &relay.settings);
	fcntl(STDIN_FILENO, F_SETFL, relay.in_flags);
	fcntl(STDOUT_FILENO, F_SETFL, relay.out_flags);
}

/* A terminal is opened anew: O_NONBLOCK belongs to the open file, and this one is the shell's too. */
static int own_descriptor(int fd, int *flags)
{
	int own = isatty(fd) ? open(ttyname(fd) ?: "", O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1;

	*flags = fcntl(fd, F_GETFL);
	if (own >= 0)
		return own;
	fcntl(fd, F_SETFL, *flags | O_NONBLOCK);
	return fd;
}

static void raw_terminal(void)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &relay.settings))
		return;
	raw = relay.settings;
	cfmakeraw(&raw);
	relay.restore_settings = !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

/* The agent's end: in its own time, or by force. Returns its exit status. */
static int await_agent(void)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	int waited, status = 0;

	end_input();
	for (waited = 0; waited < END_MS; waited += 10) {
		if (waitpid(relay.agent, &status, WNOHANG) == relay.agent)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		nanosleep(&pause, NULL);
	}
	kill(relay.agent, SIGKILL);
	return 128 + SIGKILL;
}

static void relay_main(void)
{
	bool connected = true;
	long long until = 0;
	int status;

	relay.heard_ms = now_ms();
	while (connected && (!relay.ended || (relay.acked != relay.made && now_ms() < until))) {
		connected = turn();
		if (relay.ended && !until)
			until = now_ms() + LINGER_MS;
	}
	/* An agent in the middle of writing must not wait for us. */
	if (relay.from_agent >= 0)
		close(relay.from_agent);
	status = await_agent();
	tidy_up();
	exit(status);
}

void frame_relay(const char *session, int resend_ms, int silence_s, int window_bytes)
{
	int there[2], back[2];

	relay.queue = calloc(QUEUE, sizeof(*relay.queue));
	if (strlen(session) != SESSION_BYTES || resend_ms <= 0 || silence_s <= 0 || window_bytes <= 0 || !relay.queue ||
	    pipe(there) || pipe(back)) {
		fputs("dmasafe: the agent cannot be started in frames\n", stderr);
		exit(1);
	}
	memcpy(relay.session, session, SESSION_BYTES);
	relay.agent = fork();
	if (relay.agent < 0) {
		perror("agent: fork");
		exit(1);
	}
	if (!relay.agent) {
		dup2(there[0], STDIN_FILENO);
		dup2(back[1], STDOUT_FILENO);
		close(there[0]);
		close(there[1]);
		close(back[0]);
		close(back[1]);
		return;
	}
	close(there[0]);
	close(back[1]);
	relay.to_agent = there[1];
	relay.from_agent = back[0];
	fcntl(relay.to_agent, F_SETFL, O_NONBLOCK);
	fcntl(relay.to_agent, F_SETFD, FD_CLOEXEC);
	relay.resend_ms = resend_ms;
	relay.silence_ms = silence_s * 1000;
	relay.window = window_bytes;
	relay.in = own_descriptor(STDIN_FILENO, &relay.in_flags);
	relay.out = own_descriptor(STDOUT_FILENO, &relay.out_flags);
	signal(SIGPIPE, SIG_IGN);
	raw_terminal();
	relay_main();
}
