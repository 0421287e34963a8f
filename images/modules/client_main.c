// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * /dev/dmasafe: one write(2) is a line, the next read(2) its answer, as docs/agent-protocol.md
 * has it.
 *
 * A call under test may oops: the task dies in the middle of write(2), holding whatever it
 * holds. So nothing of the module's is locked during the call, all state belongs to the open
 * file, and its release drops the adapter.
 */
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "client.h"
#include "rearm.h"
#include "strict_calls.h"

#define LINE_MAX 512

/* The page that the emulated device reads. Little-endian. */
struct mailbox {
	char magic[8];
	__le32 seq;
};

#define MAILBOX_NONE 0xffffffffu

static struct mailbox *mailbox;

static int mailbox_get(char *text, const struct kernel_param *param)
{
	return scnprintf(text, PAGE_SIZE, "0x%llx\n", (unsigned long long)virt_to_phys(mailbox));
}

static const struct kernel_param_ops mailbox_ops = {
	.get = mailbox_get,
};
module_param_cb(mailbox, &mailbox_ops, NULL, 0444);
MODULE_PARM_DESC(mailbox, "physical address of the page that tells the device which scenario is under way");

static void mailbox_set(u32 seq)
{
	WRITE_ONCE(mailbox->seq, cpu_to_le32(seq));
}

/* The module's own device: for devm_kmalloc(), and for DMA where there is no adapter. */
static struct platform_device *client_platform_device;
struct device *client_device;

/* The state of one open file. */
struct session {
	struct scenario scenario;
	struct recorder watch;
	bool watching;
	size_t read;
	char line[LINE_MAX];
};

static int session_open(struct inode *inode, struct file *file)
{
	struct session *session = kzalloc(sizeof(*session), GFP_KERNEL);
	struct scenario *s;

	if (!session)
		return -ENOMEM;
	s = &session->scenario;
	INIT_LIST_HEAD(&s->recorder.node);
	INIT_LIST_HEAD(&session->watch.node);
	s->scratch = kmalloc(CLIENT_MAX_LEN, GFP_KERNEL);
	s->answer.text = kvmalloc(CLIENT_ANSWER_SIZE, GFP_KERNEL);
	if (!s->scratch || !s->answer.text) {
		kfree(s->scratch);
		kvfree(s->answer.text);
		kfree(session);
		return -ENOMEM;
	}
	file->private_data = session;
	return nonseekable_open(inode, file);
}

static void session_drop_adapter(struct scenario *s)
{
	if (s->adap)
		i2c_put_adapter(s->adap);
	s->adap = NULL;
}

/*
 * Also called when the task died in the middle of a call: its buffer is lost, all else is
 * given back here.
 */
static int session_release(struct inode *inode, struct file *file)
{
	struct session *session = file->private_data;
	struct scenario *s = &session->scenario;

	record_stop(&s->recorder);
	record_stop(&session->watch);
	session_drop_adapter(s);
	mailbox_set(MAILBOX_NONE);
	kfree(s->scratch);
	kvfree(s->answer.text);
	kfree(session);
	return 0;
}

static const struct buffer_kind *find_kind(const char *name)
{
	const struct buffer_kind *kind;

	for (kind = client_buffer_kinds; kind->name; kind++)
		if (!strcmp(kind->name, name))
			return kind;
	return NULL;
}

/* What the words of a line say besides numbers. */
struct words {
	const char *op;
	const char *buffer;
	int rd;
	int fill;
	bool filled;
};

/* Stores one key=value. Returns false if it makes no sense. */
static bool parse_word(struct scenario *s, struct words *words, const char *key, const char *value)
{
	long number;

	if (!strcmp(key, "op")) {
		words->op = value;
		return true;
	}
	if (!strcmp(key, "buffer")) {
		words->buffer = value;
		return true;
	}
	if (!strcmp(key, "protocol")) {
		s->protocol = value;
		return true;
	}
	if (!strcmp(key, "bus")) {
		s->bus = value;
		return true;
	}
	if (!strcmp(key, "then")) {
		s->then = value;
		return true;
	}
	if (kstrtol(value, 0, &number))
		return false;
	if (!strcmp(key, "nr")) {
		s->nr = number;
		return true;
	}
	if (number < 0)
		return false;
	if (!strcmp(key, "len") && number <= CLIENT_MAX_LEN)
		s->len = number;
	else if (!strcmp(key, "addr") && number <= 0x7f)
		s->addr = number;
	else if (!strcmp(key, "seq"))
		s->seq = number;
	else if (!strcmp(key, "threshold"))
		s->threshold = number;
	else if (!strcmp(key, "fail"))
		s->fail = number;
	else if (!strcmp(key, "command") && number <= 0xff)
		s->command = number;
	else if (!strcmp(key, "dma_safe") && number <= 1)
		s->dma_safe = number;
	else if (!strcmp(key, "awake") && number <= 1)
		s->awake = number;
	else if (!strcmp(key, "rd") && number <= 1)
		words->rd = number;
	else if (!strcmp(key, "fill"))
		words->fill = number;
	else
		return false;
	if (!strcmp(key, "fill"))
		words->filled = true;
	return true;
}

/* Splits the line. Returns false with the reason in the answer. */
static bool parse_line(struct scenario *s, char *line, struct words *words)
{
	char *word;

	while ((word = strsep(&line, "\n "))) {
		char *value = strchr(word, '=');

		if (!*word)
			continue;
		if (value)
			*value++ = '\0';
		if (!value || !parse_word(s, words, word, value)) {
			answer_error(&s->answer, "%.32s: unknown word or bad value", word);
			return false;
		}
	}
	if (!words->op) {
		answer_error(&s->answer, "no op= in the line");
		return false;
	}
	return true;
}

/* The device that does DMA for an adapter: the first of its parents that can. */
static struct device *dma_device_of(struct i2c_adapter *adap)
{
	struct device *dev;

	for (dev = adap->dev.parent; dev; dev = dev->parent)
		if (dev->dma_mask)
			return dev;
	return NULL;
}

/* Finds the adapter and makes a client without a driver, as i2c-dev does. */
static bool take_adapter(struct scenario *s)
{
	s->dma_dev = client_device;
	if (s->nr < 0) {
		if (s->operation->adapter)
			answer_error(&s->answer, "no nr= in the line");
		return !s->operation->adapter;
	}
	s->adap = i2c_get_adapter(s->nr);
	if (!s->adap) {
		answer_error(&s->answer, "no adapter %d", s->nr);
		return false;
	}
	s->dma_dev = dma_device_of(s->adap) ?: client_device;
	s->client = (struct i2c_client) { .addr = s->addr, .adapter = s->adap };
	strscpy(s->client.name, "dmasafe", sizeof(s->client.name));
	return true;
}

/*
 * Before the system sleeps user space is frozen, which waits for system calls. A caller in the
 * kernel, a thread or an interrupt's, is not. This one is then like them until its next line.
 */
static void stay_awake(bool awake)
{
	if (awake)
		current->flags |= PF_NOFREEZE;
	else
		current->flags &= ~PF_NOFREEZE;
}

/* Has the strict machine report what devices have done, while the scenario is under way. */
static void settle(void)
{
	typeof(dmasafe_strict_settle) *strict_settle = symbol_get(dmasafe_strict_settle);

	if (!strict_settle)
		return;
	strict_settle();
	symbol_put(dmasafe_strict_settle);
}

/* Has one mapping of so many fail, where the machine can. */
static void fail_mappings(unsigned int one_of)
{
	typeof(dmasafe_strict_fail) *strict_fail = symbol_get(dmasafe_strict_fail);

	if (!strict_fail)
		return;
	strict_fail(one_of);
	symbol_put(dmasafe_strict_fail);
}

static void run_operation(struct scenario *s, const struct words *words)
{
	s->operation = client_find_operation(words->op);
	if (!s->operation) {
		answer_unsupported(&s->answer, "no such operation in this module");
		return;
	}
	s->rd = s->operation->takes_rd ? words->rd : s->operation->rd;
	s->kind = NULL;
	if (s->operation->buffer) {
		if (!words->buffer) {
			answer_error(&s->answer, "no buffer= in the line");
			return;
		}
		s->kind = find_kind(words->buffer);
		if (!s->kind) {
			answer_unsupported(&s->answer, "no such buffer kind in this module");
			return;
		}
	}
	if (!take_adapter(s))
		return;
	mailbox_set(s->seq);
	if (s->fail)
		fail_mappings(s->fail);
	client_operation_run(s);
	if (s->fail)
		fail_mappings(0);
	settle();
	mailbox_set(MAILBOX_NONE);
	session_drop_adapter(s);
}

static void run_line(struct session *session)
{
	struct scenario *s = &session->scenario;
	struct words words = {};

	s->protocol = NULL;
	s->bus = NULL;
	s->then = NULL;
	s->len = 0;
	s->addr = 0;
	s->nr = -1;
	s->seq = 0;
	s->threshold = 1;
	s->fail = 0;
	s->command = 0;
	s->dma_safe = false;
	s->awake = false;
	s->ret = 0;
	s->ns = 0;
	s->transferred = false;
	s->count = 0;
	s->recorder.count = 0;
	s->answer.len = 0;
	if (!parse_line(s, session->line, &words))
		return;
	stay_awake(s->awake);
	s->fill = words.filled ? words.fill : s->seq;

	if (!strcmp(words.op, "watch")) {
		mailbox_set(s->seq);
		record_start(&session->watch, NULL);
		answer_add(&s->answer, "{\"ret\":0}");
	} else if (!strcmp(words.op, "seen")) {
		record_stop(&session->watch);
		settle();
		mailbox_set(MAILBOX_NONE);
		answer_seen(&s->answer, &session->watch);
	} else {
		run_operation(s, &words);
	}
}

static ssize_t session_write(struct file *file, const char __user *text, size_t count, loff_t *pos)
{
	struct session *session = file->private_data;

	if (count >= LINE_MAX)
		return -EMSGSIZE;
	if (copy_from_user(session->line, text, count))
		return -EFAULT;
	session->line[count] = '\0';
	session->read = 0;
	run_line(session);
	answer_add(&session->scenario.answer, "\n");
	return count;
}

static ssize_t session_read(struct file *file, char __user *text, size_t count, loff_t *pos)
{
	struct session *session = file->private_data;
	struct answer *answer = &session->scenario.answer;

	count = min(count, answer->len - session->read);
	if (copy_to_user(text, answer->text + session->read, count))
		return -EFAULT;
	session->read += count;
	return count;
}

static const struct file_operations session_operations = {
	.owner = THIS_MODULE,
	.open = session_open,
	.release = session_release,
	.write = session_write,
	.read = session_read,
};

static struct miscdevice client_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "dmasafe",
	.fops = &session_operations,
};

static int mailbox_init(void)
{
	mailbox = (struct mailbox *)get_zeroed_page(GFP_KERNEL);
	if (!mailbox)
		return -ENOMEM;
	memcpy(mailbox->magic, "dmasafe1", sizeof(mailbox->magic));
	mailbox_set(MAILBOX_NONE);
	return 0;
}

static void mailbox_exit(void)
{
	memset(mailbox, 0, sizeof(*mailbox));
	free_page((unsigned long)mailbox);
}

static int client_device_init(void)
{
	client_platform_device = platform_device_register_simple("dmasafe", PLATFORM_DEVID_NONE,
								 NULL, 0);
	if (IS_ERR(client_platform_device))
		return PTR_ERR(client_platform_device);
	client_device = &client_platform_device->dev;
	return dma_coerce_mask_and_coherent(client_device, DMA_BIT_MASK(64));
}

static int __init client_init(void)
{
	int ret;

	ret = mailbox_init();
	if (ret)
		return ret;
	ret = client_device_init();
	if (ret)
		goto mailbox;
	ret = client_buffer_init();
	if (ret)
		goto device;
	ret = client_record_init();
	if (ret)
		goto buffer;
	ret = misc_register(&client_misc);
	if (ret)
		goto record;
	return 0;

record:
	client_record_exit();
buffer:
	client_buffer_exit();
device:
	platform_device_unregister(client_platform_device);
mailbox:
	mailbox_exit();
	return ret;
}
module_init(client_init);

static void __exit client_exit(void)
{
	misc_deregister(&client_misc);
	client_record_exit();
	client_buffer_exit();
	platform_device_unregister(client_platform_device);
	mailbox_exit();
}
module_exit(client_exit);

MODULE_DESCRIPTION("Plays an I2C client driver with buffers of every kind");
MODULE_AUTHOR("dmasafe");
MODULE_LICENSE("GPL");
