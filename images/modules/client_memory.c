// SPDX-License-Identifier: GPL-2.0-or-later
/* What the kernel can say of an address, and writing to memory that is mapped read-only. */
#include <linux/cache.h>
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/task_stack.h>
#include <linux/vmalloc.h>
#include "client.h"
#include "compat.h"

/**
 * memory_is_module() - is_vmalloc_or_module_addr() less is_vmalloc_addr(), where modules
 * cannot call it
 * @address: a kernel address
 */
bool memory_is_module(const void *address)
{
#ifdef DMASAFE_MODULES_START
	return (unsigned long)address >= DMASAFE_MODULES_START &&
	       (unsigned long)address < DMASAFE_MODULES_END;
#else
	return false;
#endif
}

/**
 * memory_phys() - translate an address
 * @s: the scenario whose buffer's kind may know better, or NULL
 * @address: any kernel address
 *
 * Return: the physical address, or DMASAFE_NO_PHYS.
 */
phys_addr_t memory_phys(const struct scenario *s, const void *address)
{
	const u8 *p = address;

	if (!p)
		return DMASAFE_NO_PHYS;
	if (s && s->phys != DMASAFE_NO_PHYS && p >= s->buf - s->front &&
	    p < s->buf + s->len + CLIENT_GUARD)
		return s->phys + (p - s->buf);
	if (is_vmalloc_addr(p) || memory_is_module(p)) {
		struct page *page = vmalloc_to_page(p);

		return page ? page_to_phys(page) + offset_in_page(p) : DMASAFE_NO_PHYS;
	}
	return virt_addr_valid(p) ? virt_to_phys((void *)p) : DMASAFE_NO_PHYS;
}
EXPORT_SYMBOL_GPL(memory_phys);

/**
 * memory_write_read_only() - write as a device could, past the page tables' read-only bit
 * @s: the scenario that @to belongs to
 * @to: any kernel address, mapped writable or not
 * @from: the bytes
 * @len: how many
 *
 * Return: 0 or a negative errno.
 */
int memory_write_read_only(const struct scenario *s, u8 *to, const u8 *from, size_t len)
{
	while (len) {
		size_t chunk = min_t(size_t, len, PAGE_SIZE - offset_in_page(to));
		phys_addr_t pa = memory_phys(s, to);
		struct page *page;
		u8 *alias;

		if (pa == DMASAFE_NO_PHYS)
			return -EFAULT;
		page = pfn_to_page(PHYS_PFN(pa));
		alias = vmap(&page, 1, VM_MAP, PAGE_KERNEL);
		if (!alias)
			return -ENOMEM;
		memcpy(alias + offset_in_page(to), from, chunk);
		vunmap(alias);
		to += chunk;
		from += chunk;
		len -= chunk;
	}
	return 0;
}

/**
 * memory_predicates() - answer with what the kernel's predicates say of the scenario's buffer
 * @s: the scenario
 */
void memory_predicates(struct scenario *s)
{
	int (*vmalloc_or_module)(const void *address) = NULL;
	struct answer *answer = &s->answer;
	const u8 *buf = s->buf;
	phys_addr_t pa = memory_phys(s, buf);

	answer_add(answer, "{\"va\":\"0x%lx\"", (unsigned long)buf);
	if (pa != DMASAFE_NO_PHYS)
		answer_add(answer, ",\"pa\":\"0x%llx\"", (unsigned long long)pa);
	answer_add(answer, ",\"is_vmalloc_addr\":%d", is_vmalloc_addr(buf));
#ifdef CONFIG_MMU
	/* Exported to modules in later kernels only. */
	vmalloc_or_module = symbol_get(is_vmalloc_or_module_addr);
#endif
	if (vmalloc_or_module) {
		answer_add(answer, ",\"is_vmalloc_or_module_addr\":%d", !!vmalloc_or_module(buf));
		symbol_put(is_vmalloc_or_module_addr);
	}
	answer_add(answer, ",\"virt_addr_valid\":%d", !!virt_addr_valid(buf));
	answer_add(answer, ",\"object_is_on_stack\":%d", !!object_is_on_stack(buf));
	answer_add(answer, ",\"cacheline_aligned\":%d",
		   IS_ALIGNED((unsigned long)buf, L1_CACHE_BYTES));
	answer_add(answer, ",\"dma_alignment\":%d,\"ret\":0}", dma_get_cache_alignment());
}
