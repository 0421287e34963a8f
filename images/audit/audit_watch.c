// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The tracepoints of the I2C core: i2c_write and i2c_read before a transfer, once for each
 * message, and i2c_result after it. They are not exported, so they are looked for by name, in
 * the kernel and in modules (the I2C core may be one).
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <trace/events/i2c.h>
#include "audit.h"

static void watch_message(void *data, const struct i2c_adapter *adapter, const struct i2c_msg *msg,
			  int num)
{
	struct audit_row *row;
	struct memory memory;

	memory_classify(msg->buf, msg->len, &memory);
	row = table_book(adapter, msg, &memory);
	map_begin(adapter, msg, num, memory.class, row);
}

static void watch_result(void *data, const struct i2c_adapter *adapter, int num, int ret)
{
	map_end(adapter);
	table_transfer(ret < 0);
}

static struct watch_point message_points[] = {
	{ .name = "i2c_write", .probe = watch_message },
	{ .name = "i2c_read", .probe = watch_message },
	{ .name = "i2c_result", .probe = watch_result },
};

static DEFINE_MUTEX(watch_mutex);
static bool watching;

/**
 * watch_on() - whether messages are watched now
 */
bool watch_on(void)
{
	return READ_ONCE(watching);
}

#ifdef CONFIG_TRACEPOINTS

/* The compiler checks the probes with the tracepoints' prototypes. */
static void __maybe_unused check_prototypes(void)
{
	check_trace_callback_type_i2c_write(watch_message);
	check_trace_callback_type_i2c_read(watch_message);
	check_trace_callback_type_i2c_result(watch_result);
}

static void do_all_points(void (*work)(struct watch_point *point))
{
	size_t i;

	for (i = 0; i < map_point_count; i++)
		work(&map_points[i]);
	for (i = 0; i < ARRAY_SIZE(message_points); i++)
		work(&message_points[i]);
}

static void point_on(struct watch_point *point)
{
	if (point->point && !point->on)
		point->on = !tracepoint_probe_register(point->point, point->probe, NULL);
}

static void point_off(struct watch_point *point)
{
	if (point->on)
		tracepoint_probe_unregister(point->point, point->probe, NULL);
	point->on = false;
}

static void find_in(struct watch_point *points, size_t count, struct tracepoint *found,
		    struct module *module)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (points[i].point || strcmp(points[i].name, found->name))
			continue;
		points[i].point = found;
		points[i].module = module;
		if (watching)
			point_on(&points[i]);
	}
}

static void take(struct tracepoint *found, void *module)
{
	find_in(map_points, map_point_count, found, module);
	find_in(message_points, ARRAY_SIZE(message_points), found, module);
}

#ifdef CONFIG_MODULES

static void take_all(struct module *module)
{
	unsigned int i;

	for (i = 0; i < module->num_tracepoints; i++)
		take(tracepoint_ptr_deref(&module->tracepoints_ptrs[i]), module);
}

static struct module *leaving;

static void lose(struct watch_point *point)
{
	if (point->module != leaving)
		return;
	point_off(point);
	point->point = NULL;
	point->module = NULL;
}

static int tracepoints_event(struct notifier_block *block, unsigned long state, void *data)
{
	struct tp_module *who = data;

	mutex_lock(&watch_mutex);
	if (state == MODULE_STATE_COMING) {
		take_all(who->mod);
	} else if (state == MODULE_STATE_GOING) {
		leaving = who->mod;
		do_all_points(lose);
	}
	mutex_unlock(&watch_mutex);
	return NOTIFY_DONE;
}

static struct notifier_block tracepoints_notifier = { .notifier_call = tracepoints_event };

#endif

/**
 * watch_init() - find the tracepoints
 *
 * Return: 0, also if there are none; or a negative errno.
 */
int watch_init(void)
{
	for_each_kernel_tracepoint(take, NULL);
#ifdef CONFIG_MODULES
	/* Also tells of the modules that are here already. */
	return register_tracepoint_module_notifier(&tracepoints_notifier);
#else
	return 0;
#endif
}

/**
 * watch_exit() - watch nothing any more; no probe runs when it returns
 */
void watch_exit(void)
{
	watch_set(false);
#ifdef CONFIG_MODULES
	unregister_tracepoint_module_notifier(&tracepoints_notifier);
#endif
	tracepoint_synchronize_unregister();
}

static void set(bool on)
{
	if (on == watching)
		return;
	WRITE_ONCE(watching, on);
	if (on) {
		do_all_points(point_on);
		return;
	}
	do_all_points(point_off);
	tracepoint_synchronize_unregister();
	map_forget();
}

/**
 * watch_set() - begin to watch, or end it; when it returns false's end no probe runs
 * @on: begin
 */
void watch_set(bool on)
{
	mutex_lock(&watch_mutex);
	set(on);
	mutex_unlock(&watch_mutex);
}

/**
 * watch_reset() - forget what was seen, and go on as before
 */
void watch_reset(void)
{
	bool before;

	mutex_lock(&watch_mutex);
	before = watching;
	set(false);
	table_reset();
	set(before);
	mutex_unlock(&watch_mutex);
}

#else

int watch_init(void)
{
	return 0;
}

void watch_exit(void)
{
}

void watch_set(bool on)
{
	WRITE_ONCE(watching, on);
}

void watch_reset(void)
{
	table_reset();
}

#endif

/**
 * watch_has() - whether a tracepoint is there to be watched
 * @name: of one of ours
 */
bool watch_has(const char *name)
{
	size_t i;

	for (i = 0; i < map_point_count; i++)
		if (!strcmp(map_points[i].name, name))
			return map_points[i].point;
	for (i = 0; i < ARRAY_SIZE(message_points); i++)
		if (!strcmp(message_points[i].name, name))
			return message_points[i].point;
	return false;
}
