// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the checker must say of each line: a comment with level and kind of memory. Of all other lines it must say
 * nothing. Each function is one way of a buffer.
 */
#include <linux/spi/spi.h>

struct chip;

struct chip_ops {
	int (*tx)(struct chip *chip, const void *data, int len);
	int (*write)(struct chip *chip, u8 reg, const void *data, int len);
	int (*setup)(struct chip *chip);
};

struct chip {
	struct spi_device *spi;
	const struct chip_ops *ops;
	u8 *page;
	u8 plain[4];	/* struct-embedded: see shared() */
	struct mutex lock;
	u8 aligned[64] __aligned(ARCH_DMA_MINALIGN);
};

struct handled {
	struct spi_device *spi;
	u8 plain[4];
};

struct command {
	const void *data;
	int len;
};

struct packet {
	u8 header[2];
	u8 body[6];
};

static const u8 table[] = { 1, 2, 3 };
static u8 scratch[16];
static u8 *pointed;

static int direct_array(struct spi_device *spi)
{
	u8 buf[2] = { 1, 2 };

	return spi_write(spi, buf, sizeof(buf));	/* error stack */
}

static int direct_scalar(struct spi_device *spi)
{
	__be16 value;

	return spi_read(spi, &value, 2);	/* error stack */
}

static int parameter_s_own_address(struct spi_device *spi, u8 value)
{
	return spi_write(spi, &value, 1);	/* error stack */
}

static int compound_literal(struct spi_device *spi)
{
	return spi_write(spi, (u8[]){ 1, 2 }, 2);	/* error stack */
}

static int member_of_struct_on_stack(struct spi_device *spi)
{
	struct packet packet;

	return spi_write(spi, packet.body, sizeof(packet.body));	/* error stack */
}

static int string(struct spi_device *spi)
{
	return spi_write(spi, "\x01\x02", 2);	/* error rodata */
}

static int rodata(struct spi_device *spi)
{
	return spi_write(spi, table, sizeof(table));	/* error rodata */
}

static int data(struct usb_device *dev, int pipe)
{
	return usb_bulk_msg(dev, pipe, scratch + 4, 4, NULL, 100);	/* error module-data */
}

static int static_local(struct usb_device *dev, int pipe)
{
	static u8 kept[4];

	return usb_bulk_msg(dev, pipe, kept, 4, NULL, 100);	/* error module-data */
}

static int pointer_variable_outside(struct usb_device *dev, int pipe)
{
	return usb_bulk_msg(dev, pipe, pointed, 4, NULL, 100);
}

static int vmalloced(struct device *dev)
{
	void *buf = vmalloc(100);

	dma_map_single(dev, buf, 100, DMA_TO_DEVICE);	/* error vmalloc */
	return 0;
}

static int vmalloced_for_spi(struct spi_device *spi)
{
	void *buf = vmalloc(100);

	return spi_write(spi, buf, 100);	/* warning vmalloc */
}

static int kvmalloced(struct device *dev)
{
	void *buf = kvmalloc(100, GFP_KERNEL);

	dma_map_single(dev, buf, 100, DMA_TO_DEVICE);	/* warning kvmalloc */
	return 0;
}

static int heap(struct spi_device *spi)
{
	u8 *buf = kmalloc(2, GFP_KERNEL);

	return spi_write(spi, buf, 2);
}

static int copied(struct spi_device *spi)
{
	u8 tx[2] = { 1 }, rx[2];

	return spi_write_then_read(spi, tx, 2, rx, 2);
}

static int replaced_before(struct spi_device *spi)
{
	u8 small[2];
	u8 *buf = small;

	buf = kmemdup(small, 2, GFP_KERNEL);
	return spi_write(spi, buf, 2);
}

static int replaced_on_one_branch(struct spi_device *spi, int len)
{
	u8 small[2];
	u8 *buf = small;

	if (len > 2)
		buf = kmalloc(len, GFP_KERNEL);
	return spi_write(spi, buf, len);	/* warning stack */
}

static int both_branches_unsafe(struct spi_device *spi, int len)
{
	u8 one[2], other[4];
	u8 *buf;

	if (len > 2)
		buf = other;
	else
		buf = one;
	return spi_write(spi, buf, len);	/* error stack */
}

static int returned_before(struct spi_device *spi, int len)
{
	u8 small[2];
	u8 *buf = small;

	if (len > 2)
		return memcmp(buf, small, 2);
	buf = kmalloc(2, GFP_KERNEL);
	return spi_write(spi, buf, len);
}

static int arithmetic_and_casts(struct spi_device *spi)
{
	u32 words[4];
	u8 *at = (u8 *)words;

	at += 4;
	return spi_write(spi, (void *)(at + 1), 4);	/* error stack */
}

static int transfers(struct spi_device *spi)
{
	u8 command = 5, answer[3];
	struct spi_transfer xfers[] = {
		{ .tx_buf = &command, .len = 1 },	/* error stack */
		{ .rx_buf = answer, .len = 3 },	/* error stack */
	};

	return spi_sync_transfer(spi, xfers, 2);
}

static int transfers_assigned(struct spi_device *spi, struct chip *chip)
{
	struct spi_transfer xfer[2];
	u8 command = 5;

	memset(xfer, 0, sizeof(xfer));
	xfer[0].tx_buf = &command;	/* error stack */
	xfer[1].rx_buf = chip->aligned;
	return spi_sync_transfer(spi, xfer, 2);
}

static int through_a_pointer_to_the_transfer(struct spi_device *spi)
{
	struct spi_transfer xfer, *t = &xfer;
	u8 command = 5;

	t->tx_buf = &command;	/* error stack */
	return spi_sync_transfer(spi, t, 1);
}

static int wrapper(struct chip *chip, const void *data, int len)
{
	return spi_write(chip->spi, data, len);
}

static int wrapper_of_wrapper(struct chip *chip, const u8 *data)
{
	return wrapper(chip, data + 1, 3);
}

static int three_calls_above(struct chip *chip)
{
	u8 val[4];

	return wrapper_of_wrapper(chip, val);	/* error stack */
}

static int copying_wrapper(struct chip *chip, const void *data, int len)
{
	memcpy(chip->aligned, data, len);
	return spi_write(chip->spi, chip->aligned, len);
}

static int copied_by_wrapper(struct chip *chip)
{
	u8 val = 1;

	return copying_wrapper(chip, &val, 1);
}

static int run(struct chip *chip, struct command *command)
{
	return spi_write(chip->spi, command->data, command->len);
}

static int in_a_struct_that_is_passed(struct chip *chip)
{
	u8 val[2];
	struct command command = { .data = val, .len = 2 };

	return run(chip, &command);	/* error stack */
}

static int in_a_struct_that_is_passed_heap(struct chip *chip)
{
	struct command command = { .data = kmalloc(2, GFP_KERNEL), .len = 2 };

	return run(chip, &command);
}

static int send_body(struct chip *chip, struct packet *packet)
{
	return spi_write(chip->spi, packet->body, 6);
}

static int body_on_the_stack(struct chip *chip)
{
	struct packet packet;

	return send_body(chip, &packet);	/* error stack */
}

static int packet_on_the_heap(struct chip *chip)
{
	struct packet *packet = kmalloc(sizeof(*packet), GFP_KERNEL);

	return send_body(chip, packet);
}

static int chip_write(struct chip *chip, u8 reg, const void *data, int len)
{
	return spi_write(chip->spi, data, len);
}

static const struct chip_ops chip_ops = {
	.tx = wrapper,
	.write = chip_write,
};

static int through_ops(struct chip *chip)
{
	u8 val = 1;

	return chip->ops->write(chip, 3, &val, 1);	/* error stack */
}

static int through_ops_of_a_short_name(struct chip *chip)
{
	u8 val = 1;

	return chip->ops->tx(chip, &val, 1);	/* error stack */
}

static void *behind(void *buf)
{
	return buf + 4;
}

static int returned_by_a_function(struct chip *chip)
{
	u8 val[8];

	return spi_write(chip->spi, behind(val), 4);	/* error stack */
}

static int either(struct chip *chip, bool write, void *buf, int len)
{
	if (write)
		return copying_wrapper(chip, buf, len);
	return spi_read(chip->spi, buf, len);
}

static int asked_to_write(struct chip *chip)
{
	u8 val = 1;

	return either(chip, true, &val, 1);
}

static int asked_to_read(struct chip *chip)
{
	u8 val;

	return either(chip, false, &val, 1);	/* error stack */
}

static int asked_by_a_variable(struct chip *chip)
{
	u8 val;

	return either(chip, chip->lock.owner, &val, 1);	/* warning stack */
}

static int looks_first(struct chip *chip, void *buf)
{
	if (object_is_on_stack(buf))
		return -EINVAL;
	return spi_write(chip->spi, buf, 1);
}

static int refused(struct chip *chip)
{
	u8 val = 1;

	return looks_first(chip, &val);
}

static int marked(struct i2c_client *client, u8 *given)
{
	u8 val[2];
	struct i2c_msg msgs[] = {
		{ .addr = 1, .flags = I2C_M_DMA_SAFE, .len = 2, .buf = val },	/* error stack */
		{ .addr = 1, .flags = I2C_M_RD, .len = 2, .buf = val },
	};

	i2c_master_send(client, val, 2);
	i2c_master_send_dmasafe(client, val, 2);	/* error stack */
	return i2c_transfer(client->adapter, msgs, 2);
}

static int shared(struct chip *chip)
{
	spi_write(chip->spi, chip->plain, 4);	/* note struct-embedded */
	return spi_read(chip->spi, chip->aligned, 4);
}

static int handler(int irq, void *data)
{
	struct handled *handled = data;

	return spi_read(handled->spi, handled->plain, 4);	/* warning struct-embedded */
}

static int around(struct spi_device *spi)
{
	u8 buf[16] = { };
	void *body = buf + 2;
	struct packet *packet = container_of(body, struct packet, body);

	return spi_write(spi, packet->header, 2);	/* error stack */
}

static int page(struct chip *chip)
{
	chip->page = vmalloc(100);
	return usb_bulk_msg(NULL, 0, chip->page, 100, NULL, 0);	/* error vmalloc */
}

static int goto_out(struct spi_device *spi)
{
	u8 *buf = kmalloc(2, GFP_KERNEL);
	u8 on_stack;

	if (!buf)
		goto out;
	spi_write(spi, buf, 2);
out:
	return spi_write(spi, &on_stack, 1);	/* error stack */
}

#if defined(CONFIG_ONE)
static int one_branch_of_if(struct spi_device *spi)
{
	u8 val = 1;

	return spi_write(spi, &val, 1);	/* error stack */
}
#else
static int other_branch_of_if(struct spi_device *spi)
{
	u8 val = 1;

	return spi_write(spi, &val, 1);	/* error stack */
}
#endif

static int in_a_loop(struct spi_device *spi, int n)
{
	u8 val[2], *buf = kmalloc(2, GFP_KERNEL);

	while (n--) {
		spi_write(spi, buf, 2);	/* warning stack */
		buf = val;
	}
	return 0;
}

static int operation(struct spi_mem *mem)
{
	struct spi_mem_op op = {};
	u8 buf[2];

	op.data.buf.in = buf;	/* error stack */
	return spi_mem_exec_op(mem, &op);
}

/* A controller's driver may well read its registers for an operation of its own. */
static int own_operation(struct chip *chip)
{
	struct spi_mem_op op = SPI_MEM_OP(SPI_MEM_OP_DATA_IN(0, NULL, 0));
	u8 buf[2];

	op.data.buf.in = buf;	/* warning stack */
	return own_read(chip, &op);
}

static int in_one_phase(struct chip *chip, void *buf)
{
	if (chip->phase == PHASE_BOOT)
		return spi_write(chip->spi, buf, 1);
	return copied(chip, buf);
}

static int not_in_the_other_phase(struct chip *chip, void *buf)
{
	if (chip->phase != PHASE_BOOT)
		return copied(chip, buf);
	return spi_write(chip->spi, buf, 1);
}

static int by_phase(struct chip *chip, void *buf)
{
	switch (chip->phase) {
	case PHASE_BOOT:
		return spi_write(chip->spi, buf, 1);
	default:
		return copied(chip, buf);
	}
}

static int unless_it_is_off(struct chip *chip, void *buf)
{
	if (chip->phase == PHASE_OFF)
		return -EIO;
	return spi_write(chip->spi, buf, 1);
}

static int phases(struct chip *chip)
{
	u8 one, two, three, four;

	in_one_phase(chip, &one);	/* warning stack */
	not_in_the_other_phase(chip, &two);	/* warning stack */
	by_phase(chip, &three);	/* warning stack */
	return unless_it_is_off(chip, &four);	/* error stack */
}

static int each_processor_s(struct spi_device *spi, int cpu)
{
	spi_write(spi, this_cpu_ptr(&counters), 2);	/* warning percpu */
	return spi_write(spi, &per_cpu(counters, cpu), 2);	/* warning percpu */
}

static int each_processor_s_pointer(struct spi_device *spi, int cpu)
{
	return spi_write(spi, per_cpu(buffers, cpu), 2);
}

static int highmem(struct spi_device *spi, struct page *page)
{
	void *buf = kmap_local_page(page);

	return spi_write(spi, buf, 2);	/* warning kmap */
}

static ssize_t user_s(struct file *file, const char __user *buf, size_t count)
{
	void __user *behind = buf + 1;

	spi_write(file->private_data, (void *)behind, 2);	/* error user */
	return spi_write(file->private_data, buf, count);	/* error user */
}

static ssize_t user_s_copied(struct file *file, const char __user *buf, size_t count)
{
	return spi_write(file->private_data, memdup_user(buf, count), count);
}

static long user_s_by_number(struct spi_device *spi, unsigned long arg)
{
	void *buf = (void __user *)arg;

	return spi_write(spi, buf, 2);	/* error user */
}

static int mapped_again(struct device *dev, struct usb_device *usb, struct urb *urb)
{
	dma_addr_t at;
	void *buf = dma_alloc_coherent(dev, 64, &at, GFP_KERNEL);

	usb_fill_bulk_urb(urb, usb, 0, buf, 64, NULL, NULL);
	return dma_map_single(dev, buf, 64, DMA_TO_DEVICE);	/* warning coherent */
}

static int allocated_on_the_stack(struct spi_device *spi)
{
	return spi_write(spi, alloca(2), 2);	/* error stack */
}

static int page_of_the_stack(struct device *dev)
{
	u8 buf[4];

	return dma_map_page(dev, virt_to_page(buf), 0, 4, DMA_TO_DEVICE);	/* error stack */
}

static int block(struct block_device *bdev)
{
	u8 sector[512];

	return bdev_rw_virt(bdev, 0, sector, 512, REQ_OP_READ);	/* error stack */
}

static int direct_mapping(struct spi_mem_dirmap_desc *desc)
{
	u8 buf[4];

	return spi_mem_dirmap_read(desc, 0, 4, buf);	/* error stack */
}

static int serial(struct serdev_device *serdev)
{
	u8 buf[4];

	return serdev_device_write(serdev, buf, 4, 0);
}

static int private_transfer(struct i3c_device *i3c)
{
	u8 buf[4];
	struct i3c_xfer xfer = { .len = 4, .data.in = buf };	/* note stack */

	return i3c_device_do_xfers(i3c, &xfer, 1, I3C_SDR);
}

static int not_marked(struct i2c_client *client, u8 *given)
{
	u8 *buf = kmalloc(64, GFP_KERNEL), small[2];
	struct i2c_msg msg = { .addr = 1, .len = 64, .buf = buf };	/* note heap */

	i2c_master_send(client, small, 2);
	i2c_master_send(client, given, 64);
	i2c_master_send(client, buf, 64);	/* note heap */
	i2c_master_send_dmasafe(client, buf, 64);
	return i2c_transfer(client->adapter, &msg, 1);
}

static int two_ways(struct chip *chip, u8 *buf, int len)
{
	if (len > 1)
		return spi_read(chip->spi, &buf[1], len);
	return copying_wrapper(chip, buf, 1);
}

static int by_length(struct chip *chip, int len)
{
	u8 one, several[3], some[4];

	two_ways(chip, &one, 1);
	two_ways(chip, some, len);	/* error stack */
	two_ways(chip, some, 0x10);	/* error stack */
	return two_ways(chip, several, sizeof(several));	/* error stack */
}

static int one_static(struct usb_device *dev, int pipe)
{
	static u8 same[4];

	return usb_bulk_msg(dev, pipe, same, 4, NULL, 100);	/* error module-data */
}

static int other_static(struct usb_device *dev, int pipe)
{
	static const u8 same[4] = { 1 };

	return usb_bulk_msg(dev, pipe, (void *)same, 4, NULL, 100);	/* error rodata */
}

/* A controller's driver that carries out a transfer of its own, maybe without DMA. */
static int own_transfer(struct spi_device *spi)
{
	u8 command = 5;
	struct spi_transfer xfer = { .tx_buf = &command, .len = 1 };	/* warning stack */

	return transfer_one(spi, &xfer);
}

static void give(void **to, void *p, int len)
{
	if (!len)
		return;
	*to = p + 1;
}

static int given_back(struct chip *chip, int len)
{
	u8 val[8], *buf, *heap;

	give((void **)&buf, val, len);
	spi_write(chip->spi, buf, 4);	/* error stack */
	give((void **)&heap, kmalloc(8, GFP_KERNEL), len);
	return spi_write(chip->spi, heap, 4);
}

static int copies_if_asked(struct chip *chip, void *buf, bool copy)
{
	if (copy)
		buf = kmemdup(buf, 1, GFP_KERNEL);
	return spi_write(chip->spi, buf, 1);
}

static int asked_to_copy_or_not(struct chip *chip)
{
	u8 one, two, three;

	copies_if_asked(chip, &one, true);
	copies_if_asked(chip, &two, false);	/* error stack */
	return copies_if_asked(chip, &three, chip->lock.owner);	/* warning stack */
}
