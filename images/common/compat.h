/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The only place with differences between kernel versions, 5.10 to 7.2, and between architectures.
 * Each directory of modules finds it by -I$(src)/../common.
 */
#ifndef DMASAFE_COMPAT_H
#define DMASAFE_COMPAT_H

#include <linux/bits.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/pgtable.h>
#include <linux/sizes.h>
#include <linux/types.h>
#include <linux/version.h>

/* bin2hex() left linux/kernel.h for a header of its own. */
#if __has_include("linux/hex.h")
#include <linux/hex.h>
#endif

#if __has_include("linux/virtio_i2c.h")
#include <linux/virtio_i2c.h>
#else
/* Before 5.15: the virtio specification's "I2C Adapter Device", 5.15.6.1. */
struct virtio_i2c_out_hdr {
	__le16 addr;
	__le16 padding;
	__le32 flags;
};

struct virtio_i2c_in_hdr {
	__u8 status;
};

#define VIRTIO_I2C_FLAGS_FAIL_NEXT BIT(0)
#define VIRTIO_I2C_MSG_OK 0
#endif

/* linux/virtio_i2c.h has the feature bit and the flag for reads since 5.18. */
#ifndef VIRTIO_I2C_F_ZERO_LENGTH_REQUEST
#define VIRTIO_I2C_F_ZERO_LENGTH_REQUEST 0
#endif
#ifndef VIRTIO_I2C_FLAGS_M_RD
#define VIRTIO_I2C_FLAGS_M_RD BIT(1)
#endif

/* Where modules are. riscv reckons that from _start and _end, which modules cannot name: its widest. */
#if defined(CONFIG_RISCV) && defined(CONFIG_64BIT) && defined(KERNEL_LINK_ADDR)
#define DMASAFE_MODULES_START (KERNEL_LINK_ADDR - SZ_2G)
#define DMASAFE_MODULES_END KERNEL_LINK_ADDR
#elif defined(CONFIG_MODULES) && defined(MODULES_VADDR)
#define DMASAFE_MODULES_START MODULES_VADDR
#define DMASAFE_MODULES_END MODULES_END
#endif

/* kmap_local_page() came with 5.11, and this header with it. */
#if !__has_include("linux/highmem-internal.h")
#include <linux/highmem.h>
/* Nothing that sleeps may happen while a page is mapped so. */
#define kmap_local_page(page) kmap_atomic(page)
#define kunmap_local(address) kunmap_atomic(address)
#endif

/* The tracepoints of the DMA mapping functions came with 6.12; dma_map_page became dma_map_phys. */
#if __has_include("trace/events/dma.h")
#define AUDIT_DMA_TRACEPOINTS
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
#define audit_check_map_type check_trace_callback_type_dma_map_phys
#else
#define audit_check_map_type check_trace_callback_type_dma_map_page
#endif
#endif

/* Since 6.13 a timer gets its function when it is made. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
#define dmasafe_hrtimer_setup(timer, poll, mode) hrtimer_setup(timer, poll, CLOCK_MONOTONIC, mode)
#else
#define dmasafe_hrtimer_setup(timer, poll, mode)                                                   \
	do {                                                                                       \
		hrtimer_init(timer, CLOCK_MONOTONIC, mode);                                        \
		(timer)->function = poll;                                                          \
	} while (0)
#endif

/* Since 6.4 a module's memory is an array by type, before that one block with borders in it. */
#ifdef for_each_mod_mem_type
#define AUDIT_MODULE_MEMORY_TYPES
#endif

/*
 * Objects lie ksize() bytes apart only in SLUB, and without KASAN's metadata between them. Until
 * 6.1 ksize() also tells KASAN that the bytes from its argument on may all be touched.
 */
#if defined(CONFIG_KASAN) || !defined(CONFIG_SLUB)
#define AUDIT_NO_OBJECT_SIZES
#endif

/* With slub_debug=U ksize() writes behind the object (since 6.1), wherever its argument points. */
#if defined(CONFIG_SLUB_DEBUG_ON) && !defined(AUDIT_NO_OBJECT_SIZES)
#define AUDIT_NO_OBJECT_SIZES
#endif

/* Until 5.16 a page names its slab cache; later only the allocator can read that. */
#if defined(CONFIG_SLUB) && LINUX_VERSION_CODE < KERNEL_VERSION(5, 17, 0)
#include <linux/slab.h>
#include <linux/slub_def.h>
#define audit_cache_name(page) ((page)->slab_cache->name)
#else
#define audit_cache_name(page) NULL
#endif

/* A few heap objects are KFENCE's (since 5.12), each somewhere in a page of its own. */
#if __has_include("linux/kfence.h")
#include <linux/kfence.h>
#define audit_in_kfence(address) is_kfence_address(address)
#else
#define audit_in_kfence(address) false
#endif

/* mem_dump_obj() came with 5.12, and to modules a little later. */
#if defined(CONFIG_PRINTK) && LINUX_VERSION_CODE >= KERNEL_VERSION(5, 15, 0)
#define STRICT_DUMPS_OBJECTS
#endif

/* struct dma_map_ops has map_phys instead of map_page and map_resource since some release between 6.12 and 7.2. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0)
#define STRICT_MAP_PHYS
#endif

/* alloc_pages in struct dma_map_ops was renamed in 6.10, when it became a macro elsewhere. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#define STRICT_ALLOC_PAGES alloc_pages_op
#else
#define STRICT_ALLOC_PAGES alloc_pages
#endif

/* What kmalloc() takes from the page allocator itself has no reference count since 6.15, but a type. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
#define strict_is_large_kmalloc(page) PageLargeKmalloc(page)
#else
#define strict_is_large_kmalloc(page) false
#endif

/* Bus types became constant in 6.9. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
#define STRICT_BUS_CONST const
#else
#define STRICT_BUS_CONST
#endif

/* What the tracepoint kmem_cache_free tells besides: the cache since 6.1, its name since 5.12. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 1, 0)
#define STRICT_FREED_FROM , const struct kmem_cache *cache
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(5, 12, 0)
#define STRICT_FREED_FROM , const char *name
#else
#define STRICT_FREED_FROM
#endif

/* Drivers say since 7.0 that they know of a line that mappings share, and do not touch it. */
#ifdef DMA_ATTR_DEBUGGING_IGNORE_CACHELINES
#define STRICT_SHARES_LINE DMA_ATTR_DEBUGGING_IGNORE_CACHELINES
#else
#define STRICT_SHARES_LINE 0
#endif

/* No copy may be between the device and such memory; since 7.0. */
#ifdef DMA_ATTR_REQUIRE_COHERENT
#define STRICT_COHERENT_ONLY DMA_ATTR_REQUIRE_COHERENT
#else
#define STRICT_COHERENT_ONLY 0
#endif

/* Since 6.10 a device remembers that it needs no syncs: a bit, later a flag with accessors. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0) && defined(CONFIG_DMA_NEED_SYNC)
#define strict_no_skipped_sync(dev) dev_clear_dma_skip_sync(dev)
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0) && defined(CONFIG_DMA_NEED_SYNC)
#define strict_no_skipped_sync(dev) ((dev)->dma_skip_sync = false)
#else
#define strict_no_skipped_sync(dev) do { } while (0)
#endif

#endif
