/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DMASAFE_PROVE_H
#define DMASAFE_PROVE_H

#include <linux/clk-provider.h>
#include <linux/gpio/driver.h>
#include <linux/gpio/machine.h>
#include <linux/i2c.h>
#include <linux/of.h>
#include <linux/platform_device.h>
#include <linux/property.h>
#include <linux/regulator/machine.h>
#include <linux/spi/spi.h>

#define BOARDS_MAX 256
#define WORDS_MAX 24
#define WORD_SIZE 64
#define GPIOS_MAX 16
#define CHILDREN_MAX 8
#define ANSWER_MAX 64
#define ROWS_MAX 8
#define ROW_SIZE 8
/* Slow enough for most drivers that know a limit, and not too slow. */
#define SPEED_HZ 7000000
/* A driver that asks its chip whenever that interrupts would never end. */
#define PULSES_MAX 256
/* SPI bus numbers of the boards: far from those that other controllers get. */
#define BUS_BASE 1000
#define PLATFORM_DATA_SIZE 4096

/**
 * struct word - something that a driver's probe asks for
 * @kind: 'g' a GPIO, 's' a supply, 'u', 't' and 'b' a property: number, text, presence
 * @name: what the driver calls it; a property's may begin with children: led@0/reg
 * @value: microvolts, or the property's number
 * @text: the property's text
 */
struct word {
	char kind;
	char name[WORD_SIZE];
	u32 value;
	char text[WORD_SIZE];
};

enum answer_mode { ANSWER_BYTES, ANSWER_ECHO, ANSWER_TOGGLE, ANSWER_COUNT, ANSWER_RANDOM };

/**
 * struct row - something that a chip knows
 * @to: what is written to it first
 * @to_length: how many bytes these are
 * @bytes: what it answers then, again and again
 * @length: how many bytes these are
 */
struct row {
	u8 to[ROW_SIZE];
	unsigned int to_length;
	u8 bytes[ROW_SIZE];
	unsigned int length;
};

/**
 * struct chip - a chip that knows little: it answers by a rule
 * @mode: the rule
 * @bytes: ANSWER_BYTES: sent again and again, from the start of each transfer
 * @length: how many bytes these are
 * @count: how many rows there are
 * @rows: ANSWER_BYTES: what is answered to some requests instead
 * @turn: transfers so far
 * @last: what was written last
 */
struct chip {
	enum answer_mode mode;
	u8 bytes[ANSWER_MAX];
	unsigned int length;
	unsigned int count;
	struct row rows[ROWS_MAX];
	u32 turn;
	u8 last[ANSWER_MAX];
};

/**
 * struct wish - a board with one SPI chip, as somebody asks for it
 * @number: the board's, below BOARDS_MAX
 * @modalias: what the driver's id table, or the module's alias, calls the chip
 * @compatible: what its device tree table calls it, or ""
 * @interrupt: whether the chip has an interrupt
 * @pulse: whether it pulls that after each transfer
 * @platform_data: whether it has platform data: a page of zeros
 * @speed: the fastest clock that it takes, in Hz
 * @mode: its SPI mode
 * @chip: what the chip answers, from its driver's probe on
 * @bus: the I2C adapter behind which somebody plays the chip, if @address is not 0
 * @address: where on it
 * @count: how many words follow
 * @words: what else the driver asks for
 */
struct wish {
	unsigned int number;
	char modalias[SPI_NAME_SIZE];
	char compatible[WORD_SIZE];
	bool interrupt;
	bool pulse;
	bool platform_data;
	unsigned int speed;
	unsigned int mode;
	struct chip chip;
	unsigned int bus;
	unsigned int address;
	unsigned int count;
	struct word words[WORDS_MAX];
};

struct supply {
	struct platform_device *regulator;
	struct regulator_init_data init_data;
	struct regulator_consumer_supply consumer;
};

/* A node below a board's node. */
struct child {
	struct device_node *parent;
	struct device_node *node;
	char name[WORD_SIZE];
};

/* A controller with a chip, and all that the chip's driver may ask for. */
struct board {
	struct wish wish;
	struct chip chip;
	/* As the SPI core names its device. */
	char name[16];
	struct platform_device *device;
	struct spi_controller *controller;
	struct spi_device *spi;
	struct of_changeset changes;
	struct device_node *node;
	struct child children[CHILDREN_MAX];
	unsigned int child_count;
	struct gpio_chip gpio;
	u32 gpio_turn;
	struct gpiod_lookup_table *lookup;
	struct clk_hw *clock;
	struct clk_lookup *clock_lookup;
	struct supply supplies[WORDS_MAX];
	void *platform_data;
	struct i2c_adapter *player;
	int irq;
	/* Of the GPIOs that the driver wants interrupts of. */
	int gpio_irqs[GPIOS_MAX];
	struct delayed_work pulse;
	unsigned int pulses;
	/* Transfers of the message under way whose buffers the controller maps itself. */
	u64 own;
};

int parse_wish(char *line, struct wish *wish);
int parse_answer(char *line, unsigned int *number, struct chip *chip);

int board_new(const struct wish *wish);
int board_delete(unsigned int number);
int board_interrupt(unsigned int number);
void board_pulse(struct board *board);
int board_suspend(unsigned int number);
int board_answer(unsigned int number, const struct chip *chip);
struct board *board_find(unsigned int number);
int board_init(void);
void board_exit(void);

int spi_new(struct board *board);
void spi_delete(struct board *board);

int player_answer(struct board *board, const u8 *tx, u8 *rx, unsigned int len);
void chip_answer(struct chip *chip, const u8 *tx, u8 *rx, unsigned int len);

bool chains_note(const struct spi_transfer *xfer, unsigned int board, unsigned int index);
int chains_init(struct dentry *directory);
void chains_exit(void);

int conduit_init(struct device_node *node);
void conduit_exit(void);

int consumer_use(struct board *board);

#endif
