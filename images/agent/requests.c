// SPDX-License-Identifier: GPL-2.0-or-later
/* What is no scenario: files, symbols, modules, adapters. One row an operation. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

void request_hello(struct text *out)
{
	struct utsname name = { 0 };
	char cmdline[4096];
	long len = file_read("/proc/cmdline", 0, cmdline, sizeof(cmdline));

	uname(&name);
	if (len > 0 && cmdline[len - 1] == '\n')
		len--;
	text_add(out, ",\"protocol\":2,\"release\":\"");
	text_add_json(out, name.release, strlen(name.release));
	text_add(out, "\",\"machine\":\"");
	text_add_json(out, name.machine, strlen(name.machine));
	text_add(out, "\",\"cmdline\":\"");
	if (len > 0)
		text_add_json(out, cmdline, len);
	text_add(out, "\"");
}

static void add_errno(struct text *out, int error)
{
	text_add(out, ",\"errno\":%d", error);
}

static void hello(const struct request *request, struct text *out)
{
	(void)request;
	request_hello(out);
}

static void read_file(const struct request *request, struct text *out)
{
	static char data[READ_MAX_BYTES + 1];
	const char *path = request_text(request, "path");
	long long offset = request_number(request, "offset", 0);
	long len = path ? file_read(path, offset, data, sizeof(data)) : -EINVAL;
	size_t start, taken;

	if (len < 0) {
		add_errno(out, -len);
		return;
	}
	add_errno(out, 0);
	text_add(out, ",\"data\":\"");
	start = out->len;
	taken = len > READ_MAX_BYTES ? READ_MAX_BYTES : len;
	text_add_json(out, data, taken);
	/* Escapes can make six bytes of one: what does not fit into a line waits for the next request. */
	while (out->len - start > LINE_MAX_BYTES - LINE_REST_BYTES) {
		taken = taken * 3 / 4;
		out->len = start;
		text_add_json(out, data, taken);
	}
	text_add(out, "\"%s", taken < (size_t)len ? ",\"more\":true" : "");
}

static void write_file(const struct request *request, struct text *out)
{
	const char *path = request_text(request, "path");
	const struct field *data = request_field(request, "data");

	add_errno(out, path && data ? file_write(path, data->value, data->len) : EINVAL);
}

static void append_file(const struct request *request, struct text *out)
{
	const char *path = request_text(request, "path");
	const struct field *data = request_field(request, "data");

	add_errno(out, path && data ? file_append(path, data->value, data->len) : EINVAL);
}

static void control_file(const struct request *request, struct text *out)
{
	const char *path = request_text(request, "path");
	const struct field *data = request_field(request, "data");
	unsigned long number = request_number(request, "request", 0);

	add_errno(out, path && data ? file_ioctl(path, number, data->value, data->len) : EINVAL);
}

static void run_command(const struct request *request, struct text *out)
{
	static char output[COMMAND_MAX_BYTES];
	const char *command = request_text(request, "command");
	int timeout_ms = request_number(request, "timeout_ms", RUN_TIMEOUT_MS);
	int status = 0, error = -EINVAL;
	size_t len = 0;

	worker_let_go();
	if (command)
		error = command_run(command, timeout_ms, output, sizeof(output), &len, &status);
	kmsg_modules_changed();
	add_errno(out, -error);
	if (!error)
		text_add(out, ",\"status\":%d", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
	text_add(out, ",\"output\":\"");
	text_add_json(out, output, len);
	text_add(out, "\"");
}

static void list_directory(const struct request *request, struct text *out)
{
	const char *path = request_text(request, "path");
	DIR *directory = path ? opendir(path) : NULL;
	struct dirent *entry;
	const char *comma = "";

	if (!directory) {
		add_errno(out, path ? errno : EINVAL);
		return;
	}
	add_errno(out, 0);
	text_add(out, ",\"names\":[");
	while ((entry = readdir(directory)) && out->len < LINE_MAX_BYTES - LINE_REST_BYTES) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		text_add(out, "%s\"", comma);
		text_add_json(out, entry->d_name, strlen(entry->d_name));
		text_add(out, "\"");
		comma = ",";
	}
	text_add(out, "]");
	closedir(directory);
}

/* Whether a name stands in a list with commas. */
static bool is_listed(const char *names, const char *name, size_t len)
{
	while (names) {
		if (!strncmp(names, name, len) && (names[len] == ',' || !names[len]))
			return true;
		names = strchr(names, ',');
		names += !!names;
	}
	return false;
}

static void symbols(const struct request *request, struct text *out)
{
	const char *names = request_text(request, "names");
	FILE *file = fopen("/proc/kallsyms", "r");
	char line[600];

	if (!file || !names) {
		add_errno(out, file ? EINVAL : errno);
		if (file)
			fclose(file);
		return;
	}
	add_errno(out, 0);
	/* "ffffffff81000000 T _text", modules' symbols with a tab and "[module]". */
	while (fgets(line, sizeof(line), file)) {
		char *kind = strchr(line, ' ');
		char *name = kind && kind[1] ? kind + 3 : NULL;
		size_t len;

		if (!name)
			continue;
		len = strcspn(name, "\t\n");
		if (!len || !is_listed(names, name, len))
			continue;
		*kind = '\0';
		text_add(out, ",\"%.*s\":\"0x%llx\"", (int)len, name, strtoull(line, NULL, 16));
	}
	fclose(file);
}

static void load(const struct request *request, struct text *out)
{
	const char *path = request_text(request, "path");
	const char *params = request_text(request, "params");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0) {
		add_errno(out, path ? errno : EINVAL);
		return;
	}
	add_errno(out, syscall(SYS_finit_module, fd, params ? params : "", 0) ? errno : 0);
	kmsg_modules_changed();
	close(fd);
}

static void unload(const struct request *request, struct text *out)
{
	const char *name = request_text(request, "name");

	worker_let_go();
	add_errno(out, name && !syscall(SYS_delete_module, name, O_NONBLOCK) ? 0 : name ? errno : EINVAL);
	kmsg_modules_changed();
}

static void adapter(const struct request *request, struct text *out)
{
	const char *name = request_text(request, "name");
	const char *bus = request_text(request, "bus");
	const char *device = request_text(request, "device");
	const char *driver = request_text(request, "driver");
	int nr = -EINVAL;

	worker_let_go();
	if (name && device && driver)
		nr = adapter_add(name, bus ?: "pci", device, driver);
	else if (name && request_field(request, "nr"))
		nr = adapter_adopt(name, request_number(request, "nr", -1));
	add_errno(out, nr < 0 ? -nr : 0);
	if (nr >= 0)
		text_add(out, ",\"nr\":%d", nr);
}

static const struct {
	const char *op;
	void (*perform)(const struct request *request, struct text *out);
} operations[] = {
	{ "hello", hello },
	{ "read", read_file },
	{ "write", write_file },
	{ "append", append_file },
	{ "ioctl", control_file },
	{ "command", run_command },
	{ "list", list_directory },
	{ "symbols", symbols },
	{ "load", load },
	{ "unload", unload },
	{ "adapter", adapter },
};

bool request_perform(const char *op, const struct request *request, struct text *out)
{
	size_t i;

	for (i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		if (!strcmp(operations[i].op, op)) {
			operations[i].perform(request, out);
			return true;
		}
	}
	return false;
}
