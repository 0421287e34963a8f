// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs functions of the generated table, each in a thread of its own, so that one that oopses costs only
 * itself. "FIRST LAST" written to /sys/kernel/debug/dmasafe_check/run runs these; the log says when each
 * begins and what it returned.
 */
#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/i2c.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spi/spi.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include "check.h"

#define KEPT_MAX 16
#define PATIENCE_MS 5000
#define LOOK_MS 20
/* A recorder of the harness's emulated bus: it takes and gives any bytes. */
#define ADDRESS 0x30

static int adapter = -1;
module_param(adapter, int, 0444);
MODULE_PARM_DESC(adapter, "number of the I2C adapter");

static const u8 given_values[] = { 1, 3 };

static struct i2c_client *client;
static struct dentry *directory;

static const void *kept[KEPT_MAX];
static unsigned int kept_count;

static struct {
	const struct check_function *function;
	struct spi_device *spi;
	struct device *dev;
	u8 given;
	int ret;
	struct completion begun;
	struct completion ended;
} run;

/**
 * check_keep() - free memory when the function that allocated it has ended
 * @memory: of kvmalloc() or vmalloc()
 */
void check_keep(const void *memory)
{
	if (kept_count < KEPT_MAX)
		kept[kept_count++] = memory;
}

static int run_thread(void *unused)
{
	complete(&run.begun);
	run.ret = run.function->call(run.spi, NULL, client, run.dev, run.given);
	complete(&run.ended);
	return 0;
}

/* Whether the thread is no more: after an oops it ends without a word. */
static bool is_over(struct task_struct *task)
{
	unsigned long until = jiffies + msecs_to_jiffies(PATIENCE_MS);

	while (!wait_for_completion_timeout(&run.ended, msecs_to_jiffies(LOOK_MS))) {
		if (READ_ONCE(task->flags) & PF_EXITING)
			return true;
		if (time_after(jiffies, until))
			return false;
	}
	return true;
}

static const char *run_in_thread(void)
{
	struct task_struct *task = kthread_create(run_thread, NULL, "dmasafe_check");
	bool over;

	if (IS_ERR(task))
		return "no thread";
	run.ret = 0;
	init_completion(&run.begun);
	init_completion(&run.ended);
	get_task_struct(task);
	wake_up_process(task);
	/* One that is stopped before it has begun never begins. */
	wait_for_completion(&run.begun);
	over = is_over(task);
	if (over)
		kthread_stop(task);
	put_task_struct(task);
	return over ? NULL : "it hangs";
}

/* Fails if a run has not ended: what it still does must not be taken for the next one's. */
static int run_at(unsigned int number, const char *place, struct spi_device *spi)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(given_values); i++) {
		const char *trouble;

		run.function = &check_functions[number];
		run.spi = spi;
		run.dev = client->adapter->dev.parent;
		run.given = given_values[i];
		pr_info("dmasafe-check: begin %u %s %u\n", number, place, run.given);
		trouble = run_in_thread();
		pr_info("dmasafe-check: end %d %s\n", run.ret, trouble ?: "-");
		if (trouble)
			return -EIO;
		while (kept_count)
			kvfree(kept[--kept_count]);
	}
	return 0;
}

#if IS_ENABLED(CONFIG_SPI)
static const char *const spi_places[] = { "dmasafe_buses.1", "dmasafe_buses.2" };

struct search {
	const char *place;
	struct device *found;
};

static int look(struct device *dev, void *data)
{
	struct search *search = data;
	struct device *host = dev->parent ? dev->parent->parent : NULL;

	/* The chip that takes any bytes is on the first select. */
	if (host && !strcmp(dev_name(host), search->place) && !spi_get_chipselect(to_spi_device(dev), 0))
		search->found = dev;
	return !!search->found;
}

static int run_spi(unsigned int number)
{
	int error = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(spi_places) && !error; i++) {
		struct search search = { .place = spi_places[i] };

		bus_for_each_dev(&spi_bus_type, NULL, &search, look);
		if (search.found)
			error = run_at(number, spi_places[i], to_spi_device(search.found));
	}
	return error;
}
#else
static int run_spi(unsigned int number)
{
	return 0;
}
#endif

static ssize_t run_write(struct file *file, const char __user *from, size_t count, loff_t *at)
{
	unsigned int first, last;
	char line[32] = "";
	int error = 0;

	if (count >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, from, count))
		return -EFAULT;
	if (sscanf(line, "%u %u", &first, &last) != 2)
		return -EINVAL;
	for (; first <= last && first < check_count && !error; first++) {
		if (!strcmp(check_functions[first].bus, "spi"))
			error = run_spi(first);
		else
			error = run_at(first, "-", NULL);
	}
	return error ?: count;
}

static const struct file_operations run_fops = {
	.owner = THIS_MODULE,
	.write = run_write,
};

static int __init check_init(void)
{
	struct i2c_adapter *host = i2c_get_adapter(adapter);

	if (!host)
		return -ENODEV;
	client = i2c_new_dummy_device(host, ADDRESS);
	i2c_put_adapter(host);
	if (IS_ERR(client))
		return PTR_ERR(client);
	directory = debugfs_create_dir("dmasafe_check", NULL);
	debugfs_create_file("run", 0200, directory, NULL, &run_fops);
	return 0;
}
module_init(check_init);

static void __exit check_exit(void)
{
	debugfs_remove(directory);
	i2c_unregister_device(client);
}
module_exit(check_exit);

MODULE_DESCRIPTION("Functions made at random, of which dmasafe check says whether they are DMA-safe");
MODULE_AUTHOR("dmasafe");
MODULE_LICENSE("GPL");
