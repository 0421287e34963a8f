/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DMASAFE_CLIENTS_H
#define DMASAFE_CLIENTS_H

#include <linux/i2c.h>
#include <linux/property.h>
#include <linux/types.h>

struct supply;

#define CLIENTS_MAX 16
#define PROPERTIES_MAX 4
/* 32 characters and the end, as other properties have it. */
#define PROPERTY_NAME_SIZE 33

/**
 * struct client_wish - a client as somebody asks for it
 * @bus: the adapter's number
 * @address: its 7-bit address
 * @name: what the driver's id table calls the chip
 * @interrupt: whether the client gets an interrupt
 * @microvolts: the voltage of its supply vcc, 0 if it asks for none
 * @count: how many properties it gets
 * @names: their names
 * @values: their values
 */
struct client_wish {
	unsigned int bus;
	unsigned int address;
	char name[I2C_NAME_SIZE];
	bool interrupt;
	u32 microvolts;
	unsigned int count;
	char names[PROPERTIES_MAX][PROPERTY_NAME_SIZE];
	u32 values[PROPERTIES_MAX];
};

int parse_wish(char *line, struct client_wish *wish);
int parse_place(char *line, unsigned int *bus, unsigned int *address);

struct supply *supply_new(const struct client_wish *wish);
void supply_delete(struct supply *supply);

int device_new(const struct client_wish *wish);
int device_delete(unsigned int bus, unsigned int address);
int device_interrupt(unsigned int bus, unsigned int address);
int device_init(void);
void device_exit(void);

#endif
