// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Plays the consumer of what a chip's driver has registered, where user space cannot: a display
 * for a panel, a configuration for an FPGA.
 */
#include <linux/err.h>
#include <linux/fpga/fpga-mgr.h>
#include <linux/slab.h>
#include "prove.h"

#if IS_BUILTIN(CONFIG_DRM_PANEL)
#include <drm/drm_panel.h>

static int use_panel(struct board *board)
{
	struct drm_panel *panel = board->node ? of_drm_find_panel(board->node) : ERR_PTR(-ENODEV);

	if (IS_ERR(panel))
		return PTR_ERR(panel);
	drm_panel_prepare(panel);
	drm_panel_enable(panel);
	drm_panel_disable(panel);
	drm_panel_unprepare(panel);
	return 0;
}
#else
static int use_panel(struct board *board)
{
	return -ENODEV;
}
#endif

#if IS_BUILTIN(CONFIG_FPGA)
/* As much as a small part's configuration. */
#define IMAGE_SIZE 4096

static int use_fpga(struct board *board)
{
	struct fpga_manager *manager = fpga_mgr_get(&board->spi->dev);
	struct fpga_image_info *info;
	int ret;

	if (IS_ERR(manager))
		return PTR_ERR(manager);
	ret = fpga_mgr_lock(manager);
	if (ret)
		goto put;
	info = fpga_image_info_alloc(&board->spi->dev);
	ret = -ENOMEM;
	if (info) {
		info->config_complete_timeout_us = 1000;
		info->buf = kzalloc(IMAGE_SIZE, GFP_KERNEL);
		info->count = IMAGE_SIZE;
		if (info->buf)
			ret = fpga_mgr_load(manager, info);
		kfree(info->buf);
		fpga_image_info_free(info);
	}
	fpga_mgr_unlock(manager);
put:
	fpga_mgr_put(manager);
	return ret;
}
#else
static int use_fpga(struct board *board)
{
	return -ENODEV;
}
#endif

/**
 * consumer_use() - use what a board's driver has registered
 * @board: the board
 *
 * Return: 0, -ENODEV if it is nothing that can be used here, or another errno
 */
int consumer_use(struct board *board)
{
	int ret = use_panel(board);

	return ret == -ENODEV || ret == -EPROBE_DEFER ? use_fpga(board) : ret;
}
