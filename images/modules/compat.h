/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The only place with differences between kernel versions, 5.10 to 7.2, and between architectures. */
#ifndef DMASAFE_COMPAT_H
#define DMASAFE_COMPAT_H

#include <linux/bits.h>
#include <linux/kernel.h>
#include <linux/pgtable.h>
#include <linux/sizes.h>
#include <linux/types.h>

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

#endif
