// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From a DMA address to memory, as a device sees it: no CPU address, no page table but an IOMMU's.
 *
 * A real device hits whatever lies at the address that it is given. This one shares its machine
 * with a kernel that is to survive, so it touches what the driver or the client under test calls
 * its own, and nothing else: the rest is stray.
 */
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/vmalloc.h>
#include "controller_engine.h"
#include "owns.h"
#include "strict_reach.h"

#define NO_PHYS STRICT_REFUSED

static phys_addr_t translate(const struct engine_memory *memory, dma_addr_t dma)
{
	phys_addr_t phys;

	if (!memory->domain)
		return dma_to_phys(memory->dev, dma);
	phys = iommu_iova_to_phys(memory->domain, dma);
	return phys ?: NO_PHYS;
}

/* The way of a CPU address to memory, for the driver's own buffers: the truth, not the mapping. */
static phys_addr_t true_phys(const u8 *address)
{
	struct page *page;

	if (virt_addr_valid(address) && !is_vmalloc_addr(address))
		return virt_to_phys((void *)address);
#ifdef DMASAFE_MODULES_START
	if ((unsigned long)address >= DMASAFE_MODULES_START &&
	    (unsigned long)address < DMASAFE_MODULES_END) {
		page = vmalloc_to_page(address);
		return page ? page_to_phys(page) + offset_in_page(address) : NO_PHYS;
	}
#endif
	if (!is_vmalloc_addr(address))
		return NO_PHYS;
	page = vmalloc_to_page(address);
	return page ? page_to_phys(page) + offset_in_page(address) : NO_PHYS;
}

/* Whether [phys, phys + len), within a page, lies in the buffer of the message under way. */
static bool is_payload(const struct engine_memory *memory, phys_addr_t phys, size_t len)
{
	size_t offset = 0;

	while (memory->buf && offset < memory->len) {
		const u8 *piece = memory->buf + offset;
		size_t size = min_t(size_t, memory->len - offset,
				    PAGE_SIZE - offset_in_page(piece));
		phys_addr_t start = true_phys(piece);

		if (start != NO_PHYS && phys >= start && phys + len <= start + size)
			return true;
		offset += size;
	}
	return false;
}

static bool is_range(const struct engine_memory *memory, enum engine_range range, dma_addr_t dma,
		     size_t len)
{
	dma_addr_t start = memory->ranges[range].dma;
	size_t size = memory->ranges[range].len;

	return dma >= start && len <= size && dma - start <= size - len;
}

/* The driver's coherent memory. */
static bool is_drivers(const struct engine_memory *memory, dma_addr_t dma, size_t len)
{
	return is_range(memory, ENGINE_RING, dma, len) || is_range(memory, ENGINE_FIFO, dma, len);
}

/* A loaded client's buffer with its guards. The module may go while nobody asks. */
static bool is_clients(phys_addr_t phys, size_t len)
{
	bool (*owns)(phys_addr_t start, size_t len) = symbol_get(dmasafe_client_owns);
	bool found;

	if (!owns)
		return false;
	found = owns(phys, len);
	symbol_put(dmasafe_client_owns);
	return found;
}

/* Why a piece that lies within a page may not be touched, or NULL. */
static const char *objection(const struct engine_memory *memory, dma_addr_t dma, phys_addr_t phys,
			     size_t len)
{
	if (phys == NO_PHYS || !page_is_ram(PHYS_PFN(phys)) || !pfn_valid(PHYS_PFN(phys)))
		return "outside memory";
	if (is_drivers(memory, dma, len) || is_range(memory, ENGINE_MAPPING, dma, len) ||
	    is_payload(memory, phys, len) || is_clients(phys, len))
		return NULL;
	return "somebody else's memory";
}

/* Whose memory is behind a byte of a segment that begins at @segment->phys; an IOMMU has pages anywhere. */
static phys_addr_t owner_phys(const struct engine_memory *memory, const struct engine_segment *segment,
			      dma_addr_t dma)
{
	return memory->domain ? translate(memory, dma) : segment->phys + (dma - segment->dma);
}

/* Bytes from here to the end of the page. */
static size_t piece_len(dma_addr_t dma, size_t len)
{
	return min_t(size_t, len, PAGE_SIZE - offset_in_page(dma));
}

/**
 * engine_memory_reach() - see where a segment lies
 * @memory: what the engine can reach
 * @segment: its DMA address and length; the rest is set
 */
void engine_memory_reach(const struct engine_memory *memory, struct engine_segment *segment)
{
	dma_addr_t dma = segment->dma;
	size_t len = segment->len;

	segment->why = NULL;
	segment->phys = memory->domain ? translate(memory, dma) :
					 strict_reach(memory->dev, dma, len, segment->write);
	if (segment->phys == NO_PHYS) {
		segment->phys = dma;
		segment->why = "outside memory";
	}
	if (len && (dma_addr_t)(dma + len - 1) < dma)
		segment->why = "outside memory";
	while (len && !segment->why) {
		size_t size = piece_len(dma, len);

		segment->why = objection(memory, dma, owner_phys(memory, segment, dma), size);
		dma += size;
		len -= size;
	}
}

/*
 * Makes a page accessible as a device finds it. One that is not coherent sees memory, not the
 * CPU's caches, so it gets a mapping of the kind that coherent memory has there; and the linear
 * map's read-only bit (on rodata) stops no device.
 */
static u8 *piece_map(const struct engine_memory *memory, struct page *page, bool linear)
{
	if (linear)
		return kmap_local_page(page);
	return vmap(&page, 1, VM_MAP, memory->coherent ? PAGE_KERNEL : pgprot_dmacoherent(PAGE_KERNEL));
}

static void piece_unmap(u8 *at, bool linear)
{
	if (linear)
		kunmap_local(at);
	else
		vunmap(at);
}

/* Copies within a page. */
static int copy_piece(const struct engine_memory *memory, dma_addr_t dma, phys_addr_t phys, u8 *data,
		      size_t len, bool write)
{
	bool linear = memory->coherent && (!write || is_drivers(memory, dma, len));
	u8 *at = piece_map(memory, pfn_to_page(PHYS_PFN(phys)), linear);

	if (!at)
		return -ENOMEM;
	if (write)
		memcpy(at + offset_in_page(phys), data, len);
	else
		memcpy(data, at + offset_in_page(phys), len);
	piece_unmap(at, linear);
	return 0;
}

static int copy(const struct engine_memory *memory, dma_addr_t dma, u8 *data, size_t len, bool write)
{
	struct engine_segment segment = { .dma = dma, .len = len, .write = write };
	int ret = 0;

	engine_memory_reach(memory, &segment);
	if (segment.why)
		return -EFAULT;
	while (len && !ret) {
		size_t size = piece_len(dma, len);
		phys_addr_t phys = translate(memory, dma);

		/* An IOMMU may have been told something else since. */
		if (phys == NO_PHYS ||
		    objection(memory, dma, owner_phys(memory, &segment, dma), size))
			return -EFAULT;
		ret = copy_piece(memory, dma, phys, data, size, write);
		dma += size;
		data += size;
		len -= size;
	}
	return ret;
}

/**
 * engine_memory_read() - DMA from memory
 * @memory: what the engine can reach
 * @dma: from where
 * @to: to where
 * @len: bytes
 *
 * Return: 0, -EFAULT if any of it is stray (then nothing was read), or -ENOMEM.
 */
int engine_memory_read(const struct engine_memory *memory, dma_addr_t dma, void *to, size_t len)
{
	return copy(memory, dma, to, len, false);
}

/**
 * engine_memory_write() - DMA to memory
 * @memory: what the engine can reach
 * @dma: to where
 * @from: from where
 * @len: bytes
 *
 * Return: 0, -EFAULT if any of it is stray (then nothing was written), or -ENOMEM.
 */
int engine_memory_write(const struct engine_memory *memory, dma_addr_t dma, const void *from,
			size_t len)
{
	return copy(memory, dma, (u8 *)from, len, true);
}

/**
 * engine_memory_allow() - say whose memory the message under way may touch
 * @memory: what the engine can reach
 * @payload: the message, its buffer mapped; NULL when it is over
 *
 * That is the buffer itself, wherever it really lies, and what the DMA API made of it: a bounce
 * buffer of swiotlb's or an IOMMU's address. A mapping of memory outside the linear map is nonsense
 * unless it leads to the buffer.
 */
void engine_memory_allow(struct engine_memory *memory, const struct payload *payload)
{
	bool mine = payload && !payload->freed;
	bool mapped = mine && !payload->unmapped && virt_addr_valid(payload->buf) &&
		      !is_vmalloc_addr(payload->buf);

	memory->buf = mine ? payload->buf : NULL;
	memory->len = mine ? payload->len : 0;
	memory->ranges[ENGINE_MAPPING].dma = mapped ? payload->dma : 0;
	memory->ranges[ENGINE_MAPPING].len = mapped ? payload->len : 0;
}

/* Whether what the engine reads and writes at the ring's address is what the driver sees there. */
static bool sees_ring(const struct engine_memory *memory, struct controller *ctl)
{
	__le64 *word = &ctl->ring->desc[0].addr;
	const __le64 theirs = cpu_to_le64(0x0123456789abcdefULL);
	const __le64 ours = cpu_to_le64(0xfedcba9876543210ULL);
	__le64 seen = 0;

	WRITE_ONCE(*word, theirs);
	/* As before a doorbell. */
	mb();
	if (engine_memory_read(memory, RING_DMA(ctl, desc), &seen, sizeof(seen)) || seen != theirs)
		return false;
	if (engine_memory_write(memory, RING_DMA(ctl, desc), &ours, sizeof(ours)))
		return false;
	/* As before an interrupt. */
	mb();
	return READ_ONCE(*word) == ours;
}

/**
 * engine_memory_attach() - learn where a driver's device's DMA addresses lead
 * @memory: set
 * @ctl: the driver's controller, its coherent memory allocated
 *
 * Return: 0, or -EOPNOTSUPP (told to the log) if there is no way to know.
 */
int engine_memory_attach(struct engine_memory *memory, struct controller *ctl)
{
	struct device *dev = ctl->dev;
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	const bool strict = strict_has(dev);

	if (strict || (domain && domain->type == IOMMU_DOMAIN_IDENTITY))
		domain = NULL;
	*memory = (struct engine_memory) { .dev = dev, .domain = domain };
	/* A strict machine keeps the views apart by copying. */
	memory->coherent = strict || dev_is_dma_coherent(dev);
	memory->ranges[ENGINE_RING].dma = ctl->ring_dma;
	memory->ranges[ENGINE_RING].len = sizeof(*ctl->ring);
	memory->ranges[ENGINE_FIFO].dma = ctl->fifo_dma;
	memory->ranges[ENGINE_FIFO].len = CONTROLLER_FIFO_BYTES;
	/*
	 * Operations of an architecture's own can translate as they like. Those of 32-bit Arm
	 * (before 6.0) are the direct ones under another name unless there is a domain.
	 */
	if (!domain && get_dma_ops(dev) && !strict && !IS_ENABLED(CONFIG_ARM)) {
		dev_err(dev, "the DMA operations of this machine tell nobody where an address leads\n");
		return -EOPNOTSUPP;
	}
	if (!sees_ring(memory, ctl)) {
		dev_err(dev, "the engine does not find the driver's memory at its DMA address\n");
		return -EOPNOTSUPP;
	}
	return 0;
}
