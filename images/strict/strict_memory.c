// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What may be mapped: Documentation/core-api/dma-api-howto.rst, "What memory is DMA'able?". And
 * which bytes share a cache line: kmalloc() gives every object lines of its own where DMA is not
 * coherent (ARCH_DMA_MINALIGN), so a line ends where its object does.
 */
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include "compat.h"
#include "strict.h"

static bool is_on_stack(phys_addr_t phys)
{
	const unsigned long pfn = PHYS_PFN(phys);
#ifdef CONFIG_VMAP_STACK
	struct vm_struct *area = task_stack_vm_area(current);
	unsigned int i;

	if (area) {
		for (i = 0; i < area->nr_pages; i++)
			if (page_to_pfn(area->pages[i]) == pfn)
				return true;
		return false;
	}
#endif
	return object_is_on_stack(phys_to_virt(phys));
}

/* Text, rodata, data or bss of vmlinux: resources of these names below their RAM (setup_arch()). */
static const char *image_part(phys_addr_t phys)
{
	struct resource *ram, *part;

	for (ram = iomem_resource.child; ram; ram = ram->sibling) {
		if (phys < ram->start || phys > ram->end)
			continue;
		for (part = ram->child; part; part = part->sibling)
			if (phys >= part->start && phys <= part->end &&
			    strstarts(part->name, "Kernel "))
				return part->name;
	}
	return NULL;
}

/**
 * strict_memory_forbidden() - why memory must not be mapped
 * @phys: its physical address
 * @size: bytes, not 0
 *
 * Return: what memory it is, or NULL if it may be mapped.
 */
const char *strict_memory_forbidden(phys_addr_t phys, size_t size)
{
	struct page *page, *head;
	const char *part;

	if (phys + size - 1 < phys || !pfn_valid(PHYS_PFN(phys)) ||
	    !pfn_valid(PHYS_PFN(phys + size - 1)))
		return "no memory";
	if (strict_table_owns(phys))
		return NULL;
	part = image_part(phys);
	if (part)
		return part;
	page = pfn_to_page(PHYS_PFN(phys));
	if (PageReserved(page))
		return "boot or per-CPU memory";
	if (is_on_stack(phys))
		return "a stack";
	head = compound_head(page);
	if (!page_count(head) && !PageSlab(head) && !strict_is_large_kmalloc(head))
		return "freed memory";
	return NULL;
}

/**
 * strict_memory_object() - what a cache line of an address can at most hold
 * @phys: the address
 * @start: where the object, or the page, begins that it is in
 * @end: where that ends
 */
void strict_memory_object(phys_addr_t phys, phys_addr_t *start, phys_addr_t *end)
{
	void *address = phys_to_virt(phys);
	struct page *page = virt_to_head_page(address);
	size_t size = 0;

	if (!PageSlab(page)) {
		*start = ALIGN_DOWN(phys, PAGE_SIZE);
		*end = *start + PAGE_SIZE;
		return;
	}
#ifndef AUDIT_NO_OBJECT_SIZES
	if (!audit_in_kfence(address))
		size = ksize(address);
#endif
	if (size) {
		const phys_addr_t slab = page_to_phys(page);

		*start = slab + (phys - slab) / size * size;
		*end = *start + size;
	} else {
		/* Not known: the line is the mapping's own. */
		*start = phys;
		*end = phys;
	}
}
