// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * I2C clients with properties from a software node and interrupts from a simulated chip.
 */
#include <linux/err.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irq_sim.h>
#include <linux/irqdomain.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include "clients.h"

static struct instance {
	struct i2c_client *client;
	struct client_wish wish;
	struct property_entry properties[PROPERTIES_MAX + 1];
	struct software_node node;
	struct supply *supply;
	int irq;
} instances[CLIENTS_MAX];

static DEFINE_MUTEX(instances_lock);
static struct irq_domain *domain;

/*
 * An adapter that goes takes its clients with it, without asking who made them. Without the lock:
 * device_delete() holds it while the core tells of its own removal.
 */
static int device_gone(struct notifier_block *block, unsigned long action, void *data)
{
	struct i2c_client *client = i2c_verify_client(data);
	unsigned int i;

	for (i = 0; client && action == BUS_NOTIFY_REMOVED_DEVICE && i < CLIENTS_MAX; i++)
		cmpxchg(&instances[i].client, client, NULL);
	return NOTIFY_DONE;
}

static struct notifier_block gone_block = {
	.notifier_call = device_gone,
};

static struct instance *find(unsigned int bus, unsigned int address)
{
	struct i2c_client *client;
	unsigned int i;

	for (i = 0; i < CLIENTS_MAX; i++) {
		client = READ_ONCE(instances[i].client);
		if (client && client->adapter->nr == bus && client->addr == address)
			return &instances[i];
	}
	return NULL;
}

static void forget(struct instance *instance)
{
	struct i2c_client *client = xchg(&instance->client, NULL);

	if (client)
		i2c_unregister_device(client);
	supply_delete(instance->supply);
	if (instance->irq)
		irq_dispose_mapping(instance->irq);
	memset(instance, 0, sizeof(*instance));
}

static struct instance *find_free(void)
{
	unsigned int i;

	for (i = 0; i < CLIENTS_MAX; i++)
		if (!instances[i].client) {
			forget(&instances[i]);
			return &instances[i];
		}
	return NULL;
}

/* Without CONFIG_IRQ_SIM there is no chip, and no client with an interrupt. */
static int make_chip(void)
{
	if (!IS_ENABLED(CONFIG_IRQ_SIM))
		return 0;
	domain = irq_domain_create_sim(NULL, CLIENTS_MAX);
	return PTR_ERR_OR_ZERO(domain);
}

static void remove_chip(void)
{
	if (IS_ENABLED(CONFIG_IRQ_SIM))
		irq_domain_remove_sim(domain);
}

/* The simulated chip knows edges only; a driver that finds no trigger type may ask for a level. */
static int make_interrupt(struct instance *instance)
{
	int irq, ret;

	if (!domain)
		return -EOPNOTSUPP;
	irq = irq_create_mapping(domain, instance - instances);
	if (!irq)
		return -ENOSPC;
	ret = irq_set_irq_type(irq, IRQ_TYPE_EDGE_FALLING);
	if (ret)
		return ret;
	instance->irq = irq;
	return 0;
}

/* Names and values stay with the instance: the node refers to them. */
static void make_node(struct instance *instance, const struct client_wish *wish)
{
	unsigned int i;

	instance->wish = *wish;
	for (i = 0; i < wish->count; i++)
		instance->properties[i] = PROPERTY_ENTRY_U32(instance->wish.names[i],
							     instance->wish.values[i]);
	instance->node.properties = instance->properties;
}

static int make_supply(struct instance *instance, const struct client_wish *wish)
{
	struct supply *supply = supply_new(wish);

	if (IS_ERR(supply))
		return PTR_ERR(supply);
	instance->supply = supply;
	return 0;
}

static int make_client(struct instance *instance, const struct client_wish *wish,
		       struct i2c_adapter *adapter)
{
	struct i2c_board_info info = { .addr = wish->address };
	struct i2c_client *client;

	strscpy(info.type, wish->name, sizeof(info.type));
	info.irq = instance->irq;
	if (wish->count)
		info.swnode = &instance->node;
	client = i2c_new_client_device(adapter, &info);
	if (IS_ERR(client))
		return PTR_ERR(client);
	instance->client = client;
	return 0;
}

/**
 * device_new() - make a client; its driver, if it is there, probes it
 * @wish: what to make of it
 *
 * A probe that fails leaves the client behind, without a driver.
 *
 * Return: 0, -ENODEV if there is no such adapter, -EBUSY if the address is taken, another errno
 */
int device_new(const struct client_wish *wish)
{
	struct i2c_adapter *adapter = i2c_get_adapter(wish->bus);
	struct instance *instance;
	int ret = 0;

	if (!adapter)
		return -ENODEV;
	mutex_lock(&instances_lock);
	instance = find_free();
	if (!instance) {
		ret = -ENOSPC;
		goto out;
	}
	if (wish->interrupt)
		ret = make_interrupt(instance);
	make_node(instance, wish);
	if (!ret)
		ret = make_supply(instance, wish);
	if (!ret)
		ret = make_client(instance, wish, adapter);
	if (ret)
		forget(instance);
out:
	mutex_unlock(&instances_lock);
	i2c_put_adapter(adapter);
	return ret;
}

/**
 * device_delete() - take a client away again
 * @bus: its adapter's number
 * @address: its address
 *
 * Return: 0, or -ENOENT if it is none that device_new() made
 */
int device_delete(unsigned int bus, unsigned int address)
{
	struct instance *instance;

	mutex_lock(&instances_lock);
	instance = find(bus, address);
	if (instance)
		forget(instance);
	mutex_unlock(&instances_lock);
	return instance ? 0 : -ENOENT;
}

/**
 * device_interrupt() - play the chip that pulls its interrupt line
 * @bus: its adapter's number
 * @address: its address
 *
 * An edge on a line whose interrupt is masked is lost.
 *
 * Return: 0, or -ENOENT if there is no such client with an interrupt
 */
int device_interrupt(unsigned int bus, unsigned int address)
{
	struct instance *instance;
	int ret = -ENOENT;

	mutex_lock(&instances_lock);
	instance = find(bus, address);
	if (instance && instance->irq)
		ret = irq_set_irqchip_state(instance->irq, IRQCHIP_STATE_PENDING, true);
	mutex_unlock(&instances_lock);
	return ret;
}

/**
 * device_init() - make the simulated interrupt chip
 *
 * Return: 0, or an errno
 */
int device_init(void)
{
	int ret = make_chip();

	if (ret)
		return ret;
	ret = bus_register_notifier(&i2c_bus_type, &gone_block);
	if (ret)
		remove_chip();
	return ret;
}

/**
 * device_exit() - remove every client and the chip
 */
void device_exit(void)
{
	unsigned int i;

	mutex_lock(&instances_lock);
	for (i = 0; i < CLIENTS_MAX; i++)
		forget(&instances[i]);
	mutex_unlock(&instances_lock);
	bus_unregister_notifier(&i2c_bus_type, &gone_block);
	remove_chip();
}
