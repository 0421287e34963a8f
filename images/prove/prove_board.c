// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A board: a node of the device tree, an interrupt, GPIOs, a clock, supplies, platform data, and
 * the controller with the chip. Each board has its own of all, so that one whose driver hangs or
 * crashes keeps nothing from the others.
 */
#include <linux/clkdev.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/pm.h>
#include <linux/regulator/fixed.h>
#include <linux/slab.h>
#include <linux/version.h>
#include "prove.h"

#define CLOCK_HZ 10000000
#define SUPPLY_MS 1000
/* Of the nodes that all boards share: far from those of a flattened tree. */
#define INTERRUPTS_PHANDLE 0x70700001
#define CONDUIT_PHANDLE 0x70700002

static struct board *boards[BOARDS_MAX];
static struct irq_domain *domain;
/* The node that all boards' interrupts come from. */
static struct device_node *interrupts;

static void no_op(struct irq_data *data)
{
}

/* The number in the domain: boards' own come first. */
static irq_hw_number_t gpio_interrupt(const struct board *board, unsigned int offset)
{
	return BOARDS_MAX + board->wish.number * GPIOS_MAX + offset;
}

static int any_type(struct irq_data *data, unsigned int type)
{
	return 0;
}

static struct irq_chip interrupt_chip = {
	.name = "dmasafe_prove",
	.irq_mask = no_op,
	.irq_unmask = no_op,
	.irq_ack = no_op,
	.irq_set_type = any_type,
	.flags = IRQCHIP_SKIP_SET_WAKE,
};

static int interrupt_map(struct irq_domain *of, unsigned int irq, irq_hw_number_t number)
{
	irq_set_chip_and_handler(irq, &interrupt_chip, handle_level_irq);
	return 0;
}

static const struct irq_domain_ops interrupt_ops = {
	.map = interrupt_map,
	.xlate = irq_domain_xlate_onecell,
};

#if IS_ENABLED(CONFIG_GPIOLIB)
/* An input is high at one look and low at the next: whatever a driver waits for will come. */
static int gpio_get(struct gpio_chip *chip, unsigned int offset)
{
	struct board *board = gpiochip_get_data(chip);

	return board->gpio_turn++ & 1;
}

static int gpio_direction_out(struct gpio_chip *chip, unsigned int offset, int value)
{
	return 0;
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 17, 0)
static int gpio_set(struct gpio_chip *chip, unsigned int offset, int value)
{
	return 0;
}
#else
static void gpio_set(struct gpio_chip *chip, unsigned int offset, int value)
{
}
#endif

static int gpio_direction_in(struct gpio_chip *chip, unsigned int offset)
{
	return 0;
}

static int gpio_to_interrupt(struct gpio_chip *chip, unsigned int offset)
{
	struct board *board = gpiochip_get_data(chip);

	if (!board->gpio_irqs[offset])
		board->gpio_irqs[offset] = irq_create_mapping(domain, gpio_interrupt(board, offset));
	return board->gpio_irqs[offset] ?: -ENXIO;
}

/* Rows with the names that the driver asks for first, then what serves any other name. */
static int make_gpios(struct board *board)
{
	unsigned int i, row = 0, line = 0;
	int ret;

	board->gpio.label = dev_name(&board->device->dev);
	board->gpio.parent = &board->device->dev;
	board->gpio.owner = THIS_MODULE;
	board->gpio.base = -1;
	board->gpio.ngpio = GPIOS_MAX;
	board->gpio.get = gpio_get;
	board->gpio.set = gpio_set;
	board->gpio.direction_input = gpio_direction_in;
	board->gpio.direction_output = gpio_direction_out;
	board->gpio.to_irq = gpio_to_interrupt;
	ret = gpiochip_add_data(&board->gpio, board);
	if (ret) {
		board->gpio.label = NULL;
		return ret;
	}
	board->lookup = kzalloc(struct_size(board->lookup, table, GPIOS_MAX + 2), GFP_KERNEL);
	if (!board->lookup)
		return -ENOMEM;
	board->lookup->dev_id = board->name;
	for (i = 0; i < board->wish.count && line < GPIOS_MAX - 1; i++) {
		const struct word *word = &board->wish.words[i];

		if (word->kind == 'g')
			board->lookup->table[row++] =
				GPIO_LOOKUP_IDX(board->gpio.label, line++, word->name, word->value,
						GPIO_ACTIVE_HIGH);
	}
	board->lookup->table[row] = GPIO_LOOKUP_IDX(board->gpio.label, GPIOS_MAX - 1, NULL, 0,
						    GPIO_ACTIVE_HIGH);
	gpiod_add_lookup_table(board->lookup);
	return 0;
}

static void remove_gpios(struct board *board)
{
	if (board->lookup) {
		gpiod_remove_lookup_table(board->lookup);
		kfree(board->lookup);
	}
	if (board->gpio.label)
		gpiochip_remove(&board->gpio);
}
#else
static int make_gpios(struct board *board)
{
	return 0;
}

static void remove_gpios(struct board *board)
{
}
#endif

#if IS_ENABLED(CONFIG_COMMON_CLK)
/* One clock for whatever name the driver knows it by. */
static int make_clock(struct board *board)
{
	struct clk_hw *clock;

	clock = clk_hw_register_fixed_rate(NULL, dev_name(&board->device->dev), NULL, 0, CLOCK_HZ);
	if (IS_ERR(clock))
		return PTR_ERR(clock);
	board->clock = clock;
	board->clock_lookup = clkdev_hw_create(clock, NULL, "%s", board->name);
	return board->clock_lookup ? 0 : -ENOMEM;
}

static void remove_clock(struct board *board)
{
	if (board->clock_lookup)
		clkdev_drop(board->clock_lookup);
	clk_hw_unregister_fixed_rate(board->clock);
}
#else
static int make_clock(struct board *board)
{
	return 0;
}

static void remove_clock(struct board *board)
{
}
#endif

static int make_supply(struct board *board, struct supply *supply, const struct word *word)
{
	struct fixed_voltage_config config = {
		.supply_name = word->name, .microvolts = word->value, .enabled_at_boot = 1,
		.init_data = &supply->init_data,
	};
	struct platform_device *regulator;

	supply->consumer = (struct regulator_consumer_supply)
		REGULATOR_SUPPLY(word->name, board->name);
	supply->init_data.constraints.always_on = 1;
	supply->init_data.consumer_supplies = &supply->consumer;
	supply->init_data.num_consumer_supplies = 1;
	regulator = platform_device_register_data(NULL, "reg-fixed-voltage", PLATFORM_DEVID_AUTO,
						  &config, sizeof(config));
	if (IS_ERR(regulator))
		return PTR_ERR(regulator);
	supply->regulator = regulator;
	return 0;
}

/* Its probe is asynchronous, and without it the client gets a dummy. */
static void wait_for_supply(struct device *regulator)
{
	unsigned int i;

	for (i = 0; i < SUPPLY_MS && !device_is_bound(regulator); i++)
		usleep_range(1000, 1500);
}

static int make_supplies(struct board *board)
{
	unsigned int i;
	int ret;

	for (i = 0; i < board->wish.count; i++) {
		if (board->wish.words[i].kind != 's')
			continue;
		ret = make_supply(board, &board->supplies[i], &board->wish.words[i]);
		if (ret)
			return ret;
		wait_for_supply(&board->supplies[i].regulator->dev);
	}
	return 0;
}

#if IS_ENABLED(CONFIG_OF_DYNAMIC)
/* The node of a path below the board's, made if it is not there yet; children's names end in a slash. */
static struct device_node *node_at(struct board *board, struct device_node *parent, char **path)
{
	struct child *child = NULL;
	char *end;
	unsigned int i;

	while ((end = strchr(*path, '/'))) {
		*end = '\0';
		for (i = 0; i < board->child_count; i++) {
			child = &board->children[i];
			if (child->parent == parent && !strcmp(child->name, *path))
				break;
		}
		if (i == board->child_count) {
			if (i == CHILDREN_MAX)
				return NULL;
			child = &board->children[board->child_count++];
			child->parent = parent;
			strscpy(child->name, *path, sizeof(child->name));
			child->node = of_changeset_create_node(&board->changes, parent, *path);
		}
		parent = child->node;
		if (!parent)
			return NULL;
		*path = end + 1;
	}
	return parent;
}

static int add_property(struct board *board, const struct word *word)
{
	char buffer[WORD_SIZE], *name = buffer;
	struct device_node *node;

	if (!strchr("utb", word->kind))
		return 0;
	strscpy(buffer, word->name, sizeof(buffer));
	node = node_at(board, board->node, &name);
	if (!node)
		return -ENOMEM;
	switch (word->kind) {
	case 'u':
		return of_changeset_add_prop_u32(&board->changes, node, name, word->value);
	case 't':
		return of_changeset_add_prop_string(&board->changes, node, name, word->text);
	default:
		return of_changeset_add_prop_bool(&board->changes, node, name);
	}
}

/* The SPI core asks the node, not who made the device. */
static int add_interrupt(struct board *board)
{
	int ret = of_changeset_add_prop_u32(&board->changes, board->node, "interrupt-parent",
					    INTERRUPTS_PHANDLE);

	return ret ?: of_changeset_add_prop_u32(&board->changes, board->node, "interrupts",
						board->wish.number);
}

static int make_node(struct board *board)
{
	static const u32 selects[] = { 0, 1 };
	struct device_node *node;
	char name[32];
	unsigned int i;
	int ret;

	snprintf(name, sizeof(name), "prove-%u", board->wish.number);
	of_changeset_init(&board->changes);
	node = of_changeset_create_node(&board->changes, of_root, name);
	if (!node)
		return -ENOMEM;
	board->node = node;
	ret = of_changeset_add_prop_u32_array(&board->changes, node, "reg", selects,
					      ARRAY_SIZE(selects));
	if (!ret && board->wish.interrupt)
		ret = add_interrupt(board);
	if (!ret && board->wish.compatible[0])
		ret = of_changeset_add_prop_string(&board->changes, node, "compatible",
						   board->wish.compatible);
	for (i = 0; i < board->wish.count && !ret; i++)
		ret = add_property(board, &board->wish.words[i]);
	ret = ret ?: of_changeset_apply(&board->changes);
	if (ret) {
		of_changeset_destroy(&board->changes);
		board->node = NULL;
	}
	return ret;
}

static void remove_node(struct board *board)
{
	if (!board->node)
		return;
	of_changeset_revert(&board->changes);
	of_changeset_destroy(&board->changes);
}

static struct of_changeset shared;
/* The node that the CPU ports of all boards' switches name. */
static struct device_node *conduit;

static int make_shared_nodes(void)
{
	int ret;

	if (!of_root)
		return 0;
	of_changeset_init(&shared);
	interrupts = of_changeset_create_node(&shared, of_root, "prove-interrupts");
	conduit = of_changeset_create_node(&shared, of_root, "prove-conduit");
	ret = interrupts && conduit ? 0 : -ENOMEM;
	ret = ret ?: of_changeset_add_prop_bool(&shared, interrupts, "interrupt-controller");
	ret = ret ?: of_changeset_add_prop_u32(&shared, interrupts, "#interrupt-cells", 1);
	ret = ret ?: of_changeset_apply(&shared);
	if (ret)
		goto destroy;
	/* They are read when a node is attached, which is before its properties are. */
	interrupts->phandle = INTERRUPTS_PHANDLE;
	conduit->phandle = CONDUIT_PHANDLE;
	ret = conduit_init(conduit);
	if (!ret)
		return 0;
	of_changeset_revert(&shared);
destroy:
	of_changeset_destroy(&shared);
	return ret;
}

static void remove_shared_nodes(void)
{
	if (!conduit)
		return;
	conduit_exit();
	of_changeset_revert(&shared);
	of_changeset_destroy(&shared);
}
#else
static int make_shared_nodes(void)
{
	return 0;
}

static void remove_shared_nodes(void)
{
}

static int make_node(struct board *board)
{
	return 0;
}

static void remove_node(struct board *board)
{
}
#endif

static int make_device(struct board *board)
{
	struct platform_device_info info = {
		.name = "dmasafe_prove", .id = board->wish.number, .dma_mask = DMA_BIT_MASK(64),
	};
	struct platform_device *device = platform_device_register_full(&info);

	if (IS_ERR(device))
		return PTR_ERR(device);
	board->device = device;
	return 0;
}

static void forget(struct board *board)
{
	unsigned int i;

	spi_delete(board);
	cancel_delayed_work_sync(&board->pulse);
	for (i = 0; i < WORDS_MAX; i++)
		platform_device_unregister(board->supplies[i].regulator);
	remove_clock(board);
	remove_gpios(board);
	if (board->irq)
		irq_dispose_mapping(board->irq);
	for (i = 0; i < GPIOS_MAX; i++)
		if (board->gpio_irqs[i])
			irq_dispose_mapping(board->gpio_irqs[i]);
	if (board->player)
		i2c_put_adapter(board->player);
	remove_node(board);
	platform_device_unregister(board->device);
	kfree(board->platform_data);
	kfree(board);
}

static int fill(struct board *board)
{
	int ret = make_device(board);

	if (!ret && board->wish.interrupt) {
		board->irq = irq_create_mapping(domain, board->wish.number);
		ret = board->irq ? 0 : -ENOSPC;
	}
	if (!ret && board->wish.platform_data) {
		board->platform_data = kzalloc(PLATFORM_DATA_SIZE, GFP_KERNEL);
		ret = board->platform_data ? 0 : -ENOMEM;
	}
	if (!ret && of_root)
		ret = make_node(board);
	ret = ret ?: make_gpios(board);
	ret = ret ?: make_clock(board);
	return ret ?: make_supplies(board);
}

/* All that a driver can wait for; -ENOENT if that is nothing. */
static int pull(struct board *board)
{
	int ret = -ENOENT;
	unsigned int i;

	if (board->irq)
		ret = generic_handle_domain_irq_safe(domain, board->wish.number);
	for (i = 0; i < GPIOS_MAX; i++)
		if (board->gpio_irqs[i])
			ret = generic_handle_domain_irq_safe(domain, gpio_interrupt(board, i));
	return ret;
}

static void pulse(struct work_struct *work)
{
	pull(container_of(to_delayed_work(work), struct board, pulse));
}

/**
 * board_pulse() - a transfer has come: a chip that answers by its interrupt pulls that soon
 * @board: the board
 */
void board_pulse(struct board *board)
{
	if (!board->wish.pulse || board->pulses == PULSES_MAX)
		return;
	board->pulses++;
	schedule_delayed_work(&board->pulse, 1);
}

/**
 * board_new() - make a board; the driver of its chip, if it is there, probes
 * @wish: what is wanted
 *
 * Nothing is locked: numbers are given out by the one who writes, and a probe may never return.
 * A probe that fails leaves the board behind.
 *
 * Return: 0, -EBUSY if the number is taken, another errno
 */
int board_new(const struct wish *wish)
{
	struct board *board = kzalloc(sizeof(*board), GFP_KERNEL);
	int ret;

	if (!board)
		return -ENOMEM;
	board->wish = *wish;
	board->chip = wish->chip;
	INIT_DELAYED_WORK(&board->pulse, pulse);
	snprintf(board->name, sizeof(board->name), "spi%u.0", BUS_BASE + wish->number);
	if (cmpxchg(&boards[wish->number], NULL, board)) {
		kfree(board);
		return -EBUSY;
	}
	ret = fill(board);
	if (!ret && wish->address) {
		board->player = i2c_get_adapter(wish->bus);
		ret = board->player ? 0 : -ENODEV;
	}
	if (ret) {
		boards[wish->number] = NULL;
		forget(board);
		return ret;
	}
	return spi_new(board);
}

/**
 * board_find() - the board of a number
 * @number: its number
 *
 * Return: the board, or NULL
 */
struct board *board_find(unsigned int number)
{
	return number < BOARDS_MAX ? READ_ONCE(boards[number]) : NULL;
}

/**
 * board_delete() - take a board away
 * @number: its number
 *
 * Return: 0, or -ENOENT if there is none
 */
int board_delete(unsigned int number)
{
	struct board *board = number < BOARDS_MAX ? xchg(&boards[number], NULL) : NULL;

	if (!board)
		return -ENOENT;
	forget(board);
	return 0;
}

/**
 * board_interrupt() - play the chip that pulls its interrupt line
 * @number: the board's
 *
 * Return: 0, or -ENOENT if there is no such board with an interrupt
 */
int board_interrupt(unsigned int number)
{
	struct board *board = board_find(number);

	return board ? pull(board) : -ENOENT;
}

#if IS_ENABLED(CONFIG_PM_SLEEP)
/* As the driver core does it for a device without a PM domain, to this device alone. */
static int suspend_and_resume(struct device *dev)
{
	int ret = pm_generic_suspend(dev);

	if (ret)
		return ret;
	ret = pm_generic_suspend_late(dev);
	if (!ret) {
		ret = pm_generic_suspend_noirq(dev);
		if (!ret)
			ret = pm_generic_resume_noirq(dev);
		ret = pm_generic_resume_early(dev) ?: ret;
	}
	return pm_generic_resume(dev) ?: ret;
}
#else
static int suspend_and_resume(struct device *dev)
{
	return -EOPNOTSUPP;
}
#endif

/**
 * board_suspend() - suspend the driver of a board's chip, and resume it
 * @number: the board's
 *
 * Return: 0, -ENOENT if there is no such chip with a driver, or what the driver returns
 */
int board_suspend(unsigned int number)
{
	struct board *board = board_find(number);
	int ret = -ENOENT;

	if (!board || !board->spi)
		return -ENOENT;
	device_lock(&board->spi->dev);
	if (board->spi->dev.driver)
		ret = suspend_and_resume(&board->spi->dev);
	device_unlock(&board->spi->dev);
	return ret;
}

/**
 * board_answer() - say what a board's chip answers from now on
 * @number: the board's
 * @chip: the rule
 *
 * Return: 0, or -ENOENT
 */
int board_answer(unsigned int number, const struct chip *chip)
{
	struct board *board = board_find(number);

	if (!board)
		return -ENOENT;
	board->chip = *chip;
	return 0;
}

/**
 * board_init() - make what all boards share
 *
 * Return: 0 or a negative errno
 */
int board_init(void)
{
	int ret = make_shared_nodes();

	if (ret)
		return ret;
	domain = irq_domain_create_linear(interrupts ? of_fwnode_handle(interrupts) : NULL,
					  BOARDS_MAX * (1 + GPIOS_MAX), &interrupt_ops, NULL);
	if (!domain) {
		remove_shared_nodes();
		return -ENOMEM;
	}
	/* A supply that nobody describes is a dummy, not an error. */
	regulator_has_full_constraints();
	return 0;
}

/**
 * board_exit() - remove all boards
 */
void board_exit(void)
{
	unsigned int i;

	for (i = 0; i < BOARDS_MAX; i++)
		board_delete(i);
	irq_domain_remove(domain);
	remove_shared_nodes();
}
