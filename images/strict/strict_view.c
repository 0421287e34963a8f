// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two views of memory. The device sees its own memory, which holds what the CPU's held at the last
 * map or sync for the device. The CPU sees what the device wrote after unmap or sync for the CPU.
 * Both happen in whole cache lines, as where DMA is not coherent: a line that goes takes with it
 * what the CPU wrote to the bytes beside the mapping.
 *
 * Beside the device's memory lies a copy of what the CPU's view was when they were last the same,
 * so that it shows what the CPU wrote meanwhile. All functions are called with strict_lock held.
 */
#include <linux/io.h>
#include <linux/string.h>
#include "strict.h"

static u8 *cpu_view(const struct strict_mapping *mapping)
{
	return phys_to_virt(mapping->phys);
}

static bool device_writes(const struct strict_mapping *mapping)
{
	return mapping->dir != DMA_TO_DEVICE;
}

static void edge_begin(struct strict_edge *edge, phys_addr_t start, phys_addr_t end)
{
	edge->phys = start;
	edge->size = end > start ? end - start : 0;
	memcpy(edge->memory, phys_to_virt(start), edge->size);
}

/* What lies beside the mapping on its lines, unless it is memory that is never cached. */
static void edges_begin(struct strict_mapping *mapping)
{
	const phys_addr_t first = mapping->phys, end = first + mapping->size;
	phys_addr_t start, stop;

	mapping->head.size = 0;
	mapping->tail.size = 0;
	if (!device_writes(mapping) || strict_table_owns(first))
		return;
	strict_memory_object(first, &start, &stop);
	edge_begin(&mapping->head, max(start, ALIGN_DOWN(first, strict_line)), first);
	strict_memory_object(end - 1, &start, &stop);
	edge_begin(&mapping->tail, end, min(stop, ALIGN(end, strict_line)));
}

/* Lines were written back, or read again: what memory holds of them is what the CPU sees. */
static void edge_written_back(struct strict_edge *edge, phys_addr_t start, phys_addr_t end)
{
	start = max(start, edge->phys);
	end = min(end, edge->phys + edge->size);
	if (start < end)
		memcpy(edge->memory + (start - edge->phys), phys_to_virt(start), end - start);
}

static void lines_written_back(const struct strict_mapping *by, phys_addr_t start, phys_addr_t end)
{
	struct strict_mapping *other;

	start = ALIGN_DOWN(start, strict_line);
	end = ALIGN(end, strict_line);
	list_for_each_entry(other, &strict_live, node) {
		if (other == by)
			continue;
		edge_written_back(&other->head, start, end);
		edge_written_back(&other->tail, start, end);
	}
}

/* Two mappings of the same memory: what one has brought is what the other's device sees. */
static void show_to_others(const struct strict_mapping *by, phys_addr_t start, phys_addr_t end)
{
	struct strict_mapping *other;

	list_for_each_entry(other, &strict_live, node) {
		const phys_addr_t from = max(start, other->phys);
		const phys_addr_t to = min(end, other->phys + other->size);
		const size_t offset = from - other->phys;

		if (other == by || other->kind == STRICT_COHERENT || from >= to)
			continue;
		memcpy(strict_table_shadow(other) + offset, phys_to_virt(from), to - from);
		memcpy(strict_table_copy(other) + offset, phys_to_virt(from), to - from);
	}
}

/* Whether another mapping owns this byte: its own unmapping shows it to the CPU. */
static bool mapped_by_other(const struct strict_mapping *mapping, phys_addr_t phys)
{
	struct strict_mapping *other;

	list_for_each_entry(other, &strict_live, node)
		if (other != mapping && phys - other->phys < other->size)
			return true;
	return false;
}

static void edge_lose(struct strict_mapping *mapping, struct strict_edge *edge)
{
	u8 *view = phys_to_virt(edge->phys);
	unsigned int i, count = 0, first = 0;

	for (i = 0; i < edge->size; i++) {
		if (view[i] == edge->memory[i] || mapped_by_other(mapping, edge->phys + i))
			continue;
		if (!count++)
			first = i;
		view[i] = edge->memory[i];
	}
	if (!count)
		return;
	strict_find(mapping->dev, mapping, view + first,
		    "bytes beside a mapping were written meanwhile and are lost [device address=0x%016llx] [size=%zu bytes] [lost=%u bytes] [line=%u bytes]",
		    (u64)mapping->dma, mapping->size, count, strict_line);
}

/* Notes it if the CPU's view is not what it was. */
static void check_untouched(struct strict_mapping *mapping, size_t offset, size_t size)
{
	const u8 *view = cpu_view(mapping), *copy = strict_table_copy(mapping);
	size_t i;

	if (!memcmp(view + offset, copy + offset, size))
		return;
	for (i = offset; view[i] == copy[i]; i++)
		;
	strict_find(mapping->dev, mapping, view + i,
		    "the CPU wrote to memory that the device owns [device address=0x%016llx] [size=%zu bytes] [offset=%zu]",
		    (u64)mapping->dma, mapping->size, i);
}

/**
 * strict_view_begin() - a mapping begins: lines are written back, and the device sees them
 * @mapping: the mapping, not in the list of live ones yet
 * @synced: false if the driver wants to do that itself (DMA_ATTR_SKIP_CPU_SYNC)
 */
void strict_view_begin(struct strict_mapping *mapping, bool synced)
{
	const u8 *view = cpu_view(mapping);
	u8 *copy = strict_table_copy(mapping);
	size_t i;

	/* Until it is synced all of it counts as written by the CPU, and the device sees other bytes. */
	for (i = 0; i < mapping->size; i++)
		copy[i] = synced ? view[i] : ~view[i];
	memcpy(strict_table_shadow(mapping), copy, mapping->size);
	if (synced)
		lines_written_back(mapping, mapping->phys, mapping->phys + mapping->size);
	edges_begin(mapping);
}

/* The part of a mapping that is on the same lines as a part of it. */
static void whole_lines(const struct strict_mapping *mapping, size_t *offset, size_t *size)
{
	const phys_addr_t start = ALIGN_DOWN(mapping->phys + *offset, strict_line);
	const phys_addr_t end = ALIGN(mapping->phys + *offset + *size, strict_line);

	*offset = start > mapping->phys ? start - mapping->phys : 0;
	*size = min_t(size_t, end - mapping->phys, mapping->size) - *offset;
}

/**
 * strict_view_for_cpu() - show the CPU what the device wrote
 * @mapping: the mapping
 * @offset: from where on
 * @size: bytes
 */
void strict_view_for_cpu(struct strict_mapping *mapping, size_t offset, size_t size)
{
	const u8 *shadow = strict_table_shadow(mapping);
	phys_addr_t start;

	if (!device_writes(mapping) || mapping->freed || !size)
		return;
	whole_lines(mapping, &offset, &size);
	check_untouched(mapping, offset, size);
	memcpy(cpu_view(mapping) + offset, shadow + offset, size);
	memcpy(strict_table_copy(mapping) + offset, shadow + offset, size);
	if (!offset)
		edge_lose(mapping, &mapping->head);
	if (offset + size == mapping->size)
		edge_lose(mapping, &mapping->tail);
	start = mapping->phys + offset;
	show_to_others(mapping, start, start + size);
	lines_written_back(mapping, start, start + size);
}

/**
 * strict_view_for_device() - show the device what the CPU wrote: lines that were are written back
 * @mapping: the mapping
 * @offset: from where on
 * @size: bytes
 */
void strict_view_for_device(struct strict_mapping *mapping, size_t offset, size_t size)
{
	u8 *view = cpu_view(mapping), *copy = strict_table_copy(mapping);
	u8 *shadow = strict_table_shadow(mapping);
	phys_addr_t start;

	if (mapping->freed || !size)
		return;
	whole_lines(mapping, &offset, &size);
	start = mapping->phys + offset;
	while (size) {
		const phys_addr_t at = mapping->phys + offset;
		size_t part = min_t(size_t, ALIGN(at + 1, strict_line) - at, size);

		if (memcmp(view + offset, copy + offset, part)) {
			memcpy(shadow + offset, view + offset, part);
			memcpy(copy + offset, view + offset, part);
		}
		offset += part;
		size -= part;
	}
	lines_written_back(NULL, start, mapping->phys + offset);
}

/**
 * strict_view_end() - a mapping to the device ends: look what the CPU did meanwhile
 * @mapping: the mapping
 */
void strict_view_end(struct strict_mapping *mapping)
{
	if (!device_writes(mapping) && !mapping->freed)
		check_untouched(mapping, 0, mapping->size);
}
