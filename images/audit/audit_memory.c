// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where a buffer's memory comes from, by address ranges and by what the kernel lets a module
 * ask. What cannot be told apart has one class: kmalloc() and kmem_cache_alloc() memory is
 * MEMORY_SLAB; coherent memory is MEMORY_PAGES, or MEMORY_VMALLOC where it is remapped; percpu
 * memory beyond the first chunk is MEMORY_VMALLOC.
 *
 * Nothing here sleeps, allocates or takes a lock that others hold for long.
 */
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/log2.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/thread_info.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#if __has_include("asm/fixmap.h")
#include <asm/fixmap.h>
#endif
#include "audit.h"
#include "compat.h"

const char *const audit_class_names[MEMORY_CLASSES] = {
	[MEMORY_UNKNOWN] = "unknown",
	[MEMORY_NONE] = "none",
	[MEMORY_SLAB] = "slab",
	[MEMORY_PAGES] = "pages",
	[MEMORY_RESERVED] = "reserved",
	[MEMORY_STACK] = "stack",
	[MEMORY_OTHER_STACK] = "other-stack",
	[MEMORY_VMALLOC] = "vmalloc",
	[MEMORY_PERCPU] = "percpu",
	[MEMORY_KMAP] = "kmap",
	[MEMORY_FIXMAP] = "fixmap",
	[MEMORY_MODULE] = "module",
	[MEMORY_MODULE_TEXT] = "module-text",
	[MEMORY_MODULE_RODATA] = "module-rodata",
	[MEMORY_MODULE_DATA] = "module-data",
	[MEMORY_IMAGE] = "image",
	[MEMORY_TEXT] = "text",
	[MEMORY_RODATA] = "rodata",
	[MEMORY_DATA] = "data",
	[MEMORY_USER] = "user",
};

/* vmlinux's text, rodata, data and bss, as pairs of start and end; zeros where nobody told. */
unsigned long audit_image[2 * AUDIT_IMAGE_RANGES];
/* __per_cpu_start and __per_cpu_end. */
unsigned long audit_percpu[2];
/* sizeof(struct devres), 0 if that could not be found out. */
static size_t devres_offset;

static const enum memory_class image_classes[AUDIT_IMAGE_RANGES] = {
	MEMORY_TEXT, MEMORY_RODATA, MEMORY_DATA, MEMORY_DATA,
};

/**
 * memory_knows_image() - whether vmlinux's text, rodata and data can be told apart
 */
bool memory_knows_image(void)
{
	return audit_image[1] && audit_image[3] && audit_image[5];
}

/**
 * memory_knows_objects() - whether the allocator is asked for the size of slab objects
 */
bool memory_knows_objects(void)
{
#ifdef AUDIT_NO_OBJECT_SIZES
	return false;
#else
	return audit_object_sizes;
#endif
}

/**
 * memory_line() - bytes that DMA and CPU may not share, or a cache line where they may
 */
unsigned int memory_line(void)
{
	return max_t(unsigned int, dma_get_cache_alignment(), L1_CACHE_BYTES);
}

static bool is_user(unsigned long address)
{
#ifdef CONFIG_ARCH_HAS_NON_OVERLAPPING_ADDRESS_SPACE
	return address < TASK_SIZE;
#else
	return false;
#endif
}

static enum memory_class image_class(unsigned long address)
{
	unsigned int i;

	for (i = 0; i < AUDIT_IMAGE_RANGES; i++)
		if (address >= audit_image[2 * i] && address < audit_image[2 * i + 1])
			return image_classes[i];
#ifdef CONFIG_X86_64
	if (address >= __START_KERNEL_map && address < MODULES_VADDR)
		return MEMORY_IMAGE;
#endif
	return MEMORY_UNKNOWN;
}

/* Mapped for a while, or for good, at addresses of their own. */
static enum memory_class mapping_class(unsigned long address)
{
#ifdef CONFIG_HIGHMEM
	if (address >= PKMAP_ADDR(0) && address < PKMAP_ADDR(LAST_PKMAP))
		return MEMORY_KMAP;
#endif
#if defined(FIXADDR_START) && defined(FIXADDR_TOP)
	if (address >= FIXADDR_START && address < FIXADDR_TOP)
		return MEMORY_FIXMAP;
#endif
	return MEMORY_UNKNOWN;
}

/* The first chunk; later ones are vmalloc memory. */
static bool is_percpu(unsigned long address)
{
#ifdef CONFIG_SMP
	unsigned long size = audit_percpu[1] - audit_percpu[0] + PERCPU_MODULE_RESERVE +
			     PERCPU_DYNAMIC_RESERVE;
	int cpu;

	if (!audit_percpu[1])
		return false;
	for_each_possible_cpu(cpu)
		if (address - audit_percpu[0] - per_cpu_offset(cpu) < size)
			return true;
#endif
	return false;
}

/*
 * Every task's stack has STACK_END_MAGIC where it ends. Its task is not looked for: that would
 * take as long as there are tasks.
 */
static bool is_other_stack(unsigned long address)
{
#if defined(CONFIG_THREAD_INFO_IN_TASK) && !defined(CONFIG_STACK_GROWSUP)
	unsigned long *end = (unsigned long *)(address & ~(THREAD_SIZE - 1));
	unsigned long magic;

#ifdef CONFIG_MMU
	/* A fault takes its time, even one that is made good. */
	if (is_vmalloc_addr(end) && !vmalloc_to_page(end))
		return false;
#endif
	if (copy_from_kernel_nofault(&magic, end, sizeof(magic)))
		return false;
	return magic == STACK_END_MAGIC;
#else
	return false;
#endif
}

static enum memory_class linear_class(unsigned long address)
{
	struct page *page = virt_to_head_page((void *)address);

	/* The stacks of 64 KiB pages are slab objects. */
	if ((!PageSlab(page) || PAGE_SIZE > THREAD_SIZE) && is_other_stack(address))
		return MEMORY_OTHER_STACK;
	if (PageSlab(page))
		return MEMORY_SLAB;
	if (is_percpu(address))
		return MEMORY_PERCPU;
	return PageReserved(page) ? MEMORY_RESERVED : MEMORY_PAGES;
}

static enum memory_class classify(const void *buf, size_t len)
{
	unsigned long address = (unsigned long)buf;
	enum memory_class class;

	if (!len)
		return MEMORY_NONE;
	if (is_user(address))
		return MEMORY_USER;
	if (object_is_on_stack(buf))
		return MEMORY_STACK;
	class = image_class(address);
	if (class == MEMORY_UNKNOWN)
		class = mapping_class(address);
	if (class != MEMORY_UNKNOWN)
		return class;
	if (!is_vmalloc_addr(buf) && virt_addr_valid(buf))
		return linear_class(address);
	class = module_ranges_class(address);
	if (class != MEMORY_UNKNOWN)
		return class;
	if (is_percpu(address))
		return MEMORY_PERCPU;
	if (!is_vmalloc_addr(buf))
		return MEMORY_UNKNOWN;
	return is_other_stack(address) ? MEMORY_OTHER_STACK : MEMORY_VMALLOC;
}

/* The object around an address; objects of a power of two are aligned, others packed. */
static void find_object(const void *buf, struct memory *memory)
{
	struct page *page = virt_to_head_page(buf);
	unsigned long from_start = (unsigned long)buf - (unsigned long)page_address(page);

	memory->cache = audit_cache_name(page);
	if (!memory_knows_objects() || audit_in_kfence(buf))
		return;
	memory->object = ksize(buf);
	if (memory->object)
		memory->offset = from_start % memory->object;
}

static void release_nothing(struct device *dev, void *res)
{
}

/**
 * memory_init() - learn where in its object the memory of devm_kmalloc() begins
 *
 * struct devres is private to the driver core, and grows from version to version.
 */
void memory_init(void)
{
	struct memory memory = { };
	void *data = devres_alloc(release_nothing, L1_CACHE_BYTES, GFP_KERNEL);

	if (!data)
		return;
	find_object(data, &memory);
	devres_offset = memory.offset;
	devres_free(data);
}

/* Aligned for DMA where DMA is not coherent; elsewhere its place in a cache line means nothing. */
static bool is_devres(const struct memory *memory)
{
	return devres_offset && memory->offset == devres_offset && dma_get_cache_alignment() == 1;
}

static void find_neighbours(unsigned long address, size_t len, struct memory *memory)
{
	unsigned long end = address + len;
	unsigned int line = memory_line();

	memory->before = memory->offset && !IS_ALIGNED(address, line) && !is_devres(memory);
	memory->after = memory->object > memory->offset + len && !IS_ALIGNED(end, line);
}

/**
 * memory_classify() - say what memory a buffer is
 * @buf: its address
 * @len: its length; a buffer of no length is not looked at
 * @memory: the answer
 */
void memory_classify(const void *buf, size_t len, struct memory *memory)
{
	buf = kasan_reset_tag(buf);
	*memory = (struct memory) { .class = classify(buf, len) };
	if (memory->class == MEMORY_SLAB)
		find_object(buf, memory);
	else if (memory->class == MEMORY_PAGES)
		memory->offset = offset_in_page(buf);
	if (memory->class == MEMORY_SLAB || memory->class == MEMORY_PAGES)
		find_neighbours((unsigned long)buf, len, memory);
}

/**
 * memory_phys() - the physical address of a buffer
 * @buf: its address
 * @class: what memory_classify() said of it
 *
 * Return: AUDIT_NO_PHYS where there is none to be had.
 */
phys_addr_t memory_phys(const void *buf, enum memory_class class)
{
	buf = kasan_reset_tag(buf);
	if (class == MEMORY_NONE || class == MEMORY_USER || class == MEMORY_UNKNOWN)
		return AUDIT_NO_PHYS;
	if (!is_vmalloc_addr(buf) && virt_addr_valid(buf))
		return virt_to_phys((void *)buf);
#ifdef CONFIG_MMU
	if (is_vmalloc_addr(buf) || module_ranges_class((unsigned long)buf) != MEMORY_UNKNOWN) {
		struct page *page = vmalloc_to_page(buf);

		return page ? page_to_phys(page) + offset_in_page(buf) : AUDIT_NO_PHYS;
	}
#endif
	return AUDIT_NO_PHYS;
}
