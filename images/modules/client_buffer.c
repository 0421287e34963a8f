// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Buffer kinds: one row each at the end. A buffer starts a whole number of cache lines into
 * its allocation, so that there is room for a guard before it and its alignment is still the
 * allocator's own. DMA memory is the exception: dma-debug tracks an allocation by its first
 * cache line, and a driver uses it from its start.
 */
#include <linux/cache.h>
#include <linux/dma-mapping.h>
#include <linux/dmapool.h>
#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/kallsyms.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include "client.h"

static unsigned long rodata_address;
module_param(rodata_address, ulong, 0444);
MODULE_PARM_DESC(rodata_address, "address of an object in vmlinux's .rodata that can be spared (kernel_config_data)");

static unsigned long rodata_size;
module_param(rodata_size, ulong, 0444);
MODULE_PARM_DESC(rodata_size, "its size in bytes");

static unsigned long data_address;
module_param(data_address, ulong, 0444);
MODULE_PARM_DESC(data_address, "address of an object in vmlinux's .data that can be spared (argv_init)");

static unsigned long data_size;
module_param(data_size, ulong, 0444);
MODULE_PARM_DESC(data_size, "its size in bytes");

static bool guessed;
module_param(guessed, bool, 0444);
MODULE_PARM_DESC(guessed, "the addresses are those of a System.map: refuse to load where the kernel has other objects");

/* Whether the kernel calls what is at an address so. */
static bool is_called(unsigned long address, const char *name)
{
	char text[KSYM_SYMBOL_LEN];

	scnprintf(text, sizeof(text), "%ps", (void *)address);
	return !address || !strcmp(text, name);
}

/* Whole cache lines before the buffer, at least CLIENT_GUARD bytes. */
static size_t lead(void)
{
	return max3(CLIENT_GUARD, L1_CACHE_BYTES, dma_get_cache_alignment());
}

static size_t padded(const struct scenario *s)
{
	return lead() + s->len + CLIENT_GUARD;
}

static const char *take(struct scenario *s, void *memory, size_t offset)
{
	if (!memory)
		return ERR_PTR(-ENOMEM);
	s->memory = memory;
	s->buf = (u8 *)memory + offset;
	return NULL;
}

/* Sizes are powers of two because only those are aligned by kmalloc()'s contract. */
static const char *heap_get(struct scenario *s)
{
	return take(s, kmalloc(roundup_pow_of_two(padded(s)), GFP_KERNEL), lead());
}

static const char *heap_unaligned_get(struct scenario *s)
{
	return take(s, kmalloc(roundup_pow_of_two(padded(s) + 3), GFP_KERNEL), lead() + 3);
}

static void heap_put(struct scenario *s)
{
	kfree(s->memory);
}

static const char *devm_get(struct scenario *s)
{
	return take(s, devm_kmalloc(client_device, padded(s), GFP_KERNEL), lead());
}

static void devm_put(struct scenario *s)
{
	devm_kfree(client_device, s->memory);
}

/*
 * A driver's private data: the buffer follows other members in the cache line where they are.
 */
struct embedding {
	u64 before[CLIENT_GUARD / sizeof(u64) + 1];
	u8 buf[];
	/* More members follow: the guard. */
};

static const char *struct_embedded_get(struct scenario *s)
{
	size_t size = sizeof(struct embedding) + s->len + CLIENT_GUARD;

	return take(s, kmalloc(roundup_pow_of_two(size), GFP_KERNEL),
		    offsetof(struct embedding, buf));
}

static struct kmem_cache *client_cache;

static const char *kmem_cache_get(struct scenario *s)
{
	return take(s, kmem_cache_alloc(client_cache, GFP_KERNEL), lead());
}

static void kmem_cache_put(struct scenario *s)
{
	kmem_cache_free(client_cache, s->memory);
}

static const char *pages_get(struct scenario *s)
{
	return take(s, (void *)__get_free_pages(GFP_KERNEL, get_order(padded(s))), lead());
}

static void pages_put(struct scenario *s)
{
	free_pages((unsigned long)s->memory, get_order(padded(s)));
}

static const char *coherent_get(struct scenario *s)
{
	size_t size = s->len + CLIENT_GUARD;

	return take(s, dma_alloc_coherent(s->dma_dev, size, &s->dma, GFP_KERNEL), 0);
}

static void coherent_put(struct scenario *s)
{
	dma_free_coherent(s->dma_dev, s->len + CLIENT_GUARD, s->memory, s->dma);
}

struct pool_memory {
	struct dma_pool *pool;
	void *block;
};

static void dma_pool_put(struct scenario *s)
{
	struct pool_memory *memory = s->memory;

	if (memory->block)
		dma_pool_free(memory->pool, memory->block, s->dma);
	dma_pool_destroy(memory->pool);
	kfree(memory);
}

static const char *dma_pool_get(struct scenario *s)
{
	struct pool_memory *memory = kzalloc(sizeof(*memory), GFP_KERNEL);

	if (!memory)
		return ERR_PTR(-ENOMEM);
	s->memory = memory;
	memory->pool = dma_pool_create("dmasafe", s->dma_dev, s->len + CLIENT_GUARD,
				       L1_CACHE_BYTES, 0);
	if (memory->pool)
		memory->block = dma_pool_alloc(memory->pool, GFP_KERNEL, &s->dma);
	if (!memory->block) {
		dma_pool_put(s);
		return ERR_PTR(-ENOMEM);
	}
	s->buf = memory->block;
	return NULL;
}

static const char *percpu_get(struct scenario *s)
{
	void __percpu *memory;

	if (padded(s) > PCPU_MIN_UNIT_SIZE)
		return "longer than a per-CPU allocation may be";
	memory = __alloc_percpu(padded(s), L1_CACHE_BYTES);
	if (!memory)
		return ERR_PTR(-ENOMEM);
	s->memory = (void __force *)memory;
	/* Any CPU's copy will do, as long as it stays the same. */
	s->buf = (u8 *)per_cpu_ptr(memory, cpumask_first(cpu_possible_mask)) + lead();
	return NULL;
}

static void percpu_put(struct scenario *s)
{
	free_percpu((void __percpu __force *)s->memory);
}

static const char *vmalloc_get(struct scenario *s)
{
	return take(s, vmalloc(padded(s)), lead());
}

static void vmalloc_put(struct scenario *s)
{
	vfree(s->memory);
}

/*
 * How far into an object a buffer goes that can be moved by @room bytes: each starts in another
 * cache line, as a caller that dies with its buffer mapped leaves dma-debug an entry for that line.
 */
static size_t next_line(size_t *used, size_t room)
{
	size_t line = *used > room ? 0 : *used;

	*used = line + L1_CACHE_BYTES;
	return line;
}

/*
 * A buffer inside a vmlinux object that the host found by name. If the object is too small for
 * guards they reach into its neighbours, which are looked at, and put back only if they
 * changed.
 */
static const char *vmlinux_get(struct scenario *s, unsigned long address, unsigned long size,
			       const char *unknown)
{
	unsigned long start = ALIGN(address + CLIENT_GUARD, L1_CACHE_BYTES);
	unsigned long end = start + s->len + CLIENT_GUARD;
	static size_t used;

	if (!address)
		return unknown;
	if (s->len > size)
		return "longer than the borrowed object";
	if (IS_ENABLED(CONFIG_KASAN) && end > address + size)
		return "too long for guards inside the borrowed object, and KASAN watches its neighbours";
	if (end > address + size)
		start = ALIGN_DOWN(address + (size - s->len) / 2, sizeof(u64));
	else
		start += next_line(&used, address + size - end);
	s->buf = (u8 *)start;
	s->phys = __pa_symbol(start);
	return NULL;
}

static const char *rodata_get(struct scenario *s)
{
	return vmlinux_get(s, rodata_address, rodata_size, "rodata_address was not given");
}

static const char *data_get(struct scenario *s)
{
	return vmlinux_get(s, data_address, data_size, "data_address was not given");
}

static void no_put(struct scenario *s)
{
}

/* Initialised, so that it lies in .data. */
static u8 module_data[L1_CACHE_BYTES + CLIENT_MAX_LEN + CLIENT_GUARD]
	__aligned(L1_CACHE_BYTES) = { 1 };

static const char *module_data_get(struct scenario *s)
{
	s->buf = module_data + L1_CACHE_BYTES;
	return NULL;
}

#define MODULE_RODATA_LEAD 128
#define MODULE_RODATA_LEN 256

/*
 * Text, because no two neighbours must be alike lest a shifted copy go unnoticed. The lead, the
 * buffer and the guard behind it fill eight rows.
 */
static const char module_rodata[8][56] __aligned(MODULE_RODATA_LEAD) = {
	"Whoever asks a device to read from here was not told",
	"that a module lives in memory that is mapped page by",
	"page, that the processor's page tables protect what is",
	"constant in it, and that a device asks none of these:",
	"it takes what address it is handed. This one comes from",
	"a formula that holds for the linear map, and leads to a",
	"page of somebody else's, or to where no memory is. The",
	"device notices and cannot tell; the kernel did not look",
};

static const char *module_rodata_get(struct scenario *s)
{
	static size_t used;

	BUILD_BUG_ON(sizeof(module_rodata) < MODULE_RODATA_LEAD + MODULE_RODATA_LEN + CLIENT_GUARD);
	if (s->len > MODULE_RODATA_LEN)
		return "longer than the module's constant";
	s->buf = (u8 *)module_rodata[0] + MODULE_RODATA_LEAD;
	s->buf += next_line(&used, MODULE_RODATA_LEN - s->len);
	return NULL;
}

#ifdef CONFIG_HIGHMEM
/* kmap() itself is what is asked for; in parentheses checkpatch.pl does not recommend another. */
static const char *kmap_get(struct scenario *s)
{
	if (padded(s) > PAGE_SIZE)
		return "longer than a page";
	s->page = alloc_page(GFP_HIGHUSER);
	if (!s->page)
		return ERR_PTR(-ENOMEM);
	s->buf = (u8 *)(kmap)(s->page) + lead();
	s->phys = page_to_phys(s->page) + lead();
	return NULL;
}

static void kmap_put(struct scenario *s)
{
	(kunmap)(s->page);
	__free_page(s->page);
}
#else
static const char *kmap_get(struct scenario *s)
{
	return "no CONFIG_HIGHMEM";
}

#define kmap_put no_put
#endif

const struct buffer_kind client_buffer_kinds[] = {
	{ .name = "heap", .get = heap_get, .put = heap_put },
	{ .name = "heap-unaligned", .get = heap_unaligned_get, .put = heap_put },
	{ .name = "devm", .get = devm_get, .put = devm_put },
	{ .name = "struct-embedded", .get = struct_embedded_get, .put = heap_put },
	{ .name = "kmem-cache", .get = kmem_cache_get, .put = kmem_cache_put },
	{ .name = "pages", .get = pages_get, .put = pages_put },
	{ .name = "coherent", .no_front = true, .get = coherent_get, .put = coherent_put },
	{ .name = "dma-pool", .no_front = true, .get = dma_pool_get, .put = dma_pool_put },
	{ .name = "percpu", .get = percpu_get, .put = percpu_put },
	{ .name = "stack", .put = no_put },
	{ .name = "rodata", .read_only = true, .borrowed = true, .get = rodata_get, .put = no_put },
	{ .name = "data", .borrowed = true, .get = data_get, .put = no_put },
	{ .name = "module-data", .get = module_data_get, .put = no_put },
	{ .name = "module-rodata", .read_only = true, .borrowed = true,
	  .get = module_rodata_get, .put = no_put },
	{ .name = "vmalloc", .get = vmalloc_get, .put = vmalloc_put },
	{ .name = "kmap", .get = kmap_get, .put = kmap_put },
	{}
};

/**
 * client_buffer_init() - prepare what outlives a buffer
 *
 * Return: 0 or a negative errno.
 */
int client_buffer_init(void)
{
	size_t size = lead() + CLIENT_MAX_LEN + CLIENT_GUARD;

	if (guessed && !(is_called(rodata_address, "kernel_config_data") &&
			 is_called(data_address, "argv_init")))
		return -ESTALE;
	client_cache = kmem_cache_create("dmasafe", size, L1_CACHE_BYTES, 0, NULL);
	return client_cache ? 0 : -ENOMEM;
}

/**
 * client_buffer_exit() - undo client_buffer_init()
 */
void client_buffer_exit(void)
{
	kmem_cache_destroy(client_cache);
}
