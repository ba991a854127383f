/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "memory_backend.h"

#include "amount.h"

#define VIRTIO_MEM_MIN_BLOCK VFM_MIB
#define ANONYMOUS_ALIGN (2 * VFM_MIB) /* QEMU_VMALLOC_ALIGN on x86-64, arm and ppc64 */

bool vfm_nodeset_contains(const char *nodeset, uint64_t node)
{
    bool in = false;

    if (!nodeset)
        return true;
    /* libvirt's bitmap syntax: members and ranges, "^N" takes one out again. */
    for (const char *at = nodeset; *at;) {
        char *end;
        bool out = *at == '^';
        uint64_t first, last;

        if (out)
            at++;
        if (!g_ascii_isdigit(*at)) {
            at++;
            continue;
        }
        first = last = g_ascii_strtoull(at, &end, 10);
        if (*end == '-' && g_ascii_isdigit(end[1]))
            last = g_ascii_strtoull(end + 1, &end, 10);
        if (node >= first && node <= last)
            in = !out;
        at = *end ? end + 1 : end;
    }
    return in;
}

uint64_t vfm_base_page_size(const VfmDomain *domain, const VfmHost *host)
{
    if (host && host->page_size.set && host->page_size.value)
        return host->page_size.value;
    return domain->arch == VFM_ARCH_PPC64 ? 64 * VFM_KIB : 4 * VFM_KIB;
}

static uint64_t default_hugepage(const VfmDomain *domain, const VfmHost *host)
{
    if (host && host->default_hugepage.set && host->default_hugepage.value)
        return host->default_hugepage.value;
    return domain->arch == VFM_ARCH_S390X ? VFM_MIB : 2 * VFM_MIB;
}

/* The page size asked for by <source><pagesize> or <hugepages>, 0 if none is. */
static uint64_t asked_page(const VfmDomain *domain, const VfmMemoryDevice *device, uint64_t node, const VfmHost *host)
{
    const GArray *pages = domain->backing.hugepages;
    const VfmHugepage *found = NULL;

    if (device && device->pagesize.set)
        return device->pagesize.value;
    if (!domain->backing.use_hugepages)
        return 0;
    if (!pages->len)
        return default_hugepage(domain, host);
    for (guint i = 0; i < pages->len; i++) {
        const VfmHugepage *page = &g_array_index(pages, VfmHugepage, i);

        if (!page->nodeset) {
            if (!found)
                found = page;
        } else if (vfm_nodeset_contains(page->nodeset, node)) {
            found = page; /* a page size for this node wins over the one for all */
            break;
        }
    }
    if (!found)
        return 0;
    return found->size ? found->size : default_hugepage(domain, host);
}

static const VfmCell *cell_of(const VfmDomain *domain, VfmMaybe node)
{
    for (guint i = 0; node.set && i < domain->cells->len; i++)
        if (g_array_index(domain->cells, VfmCell, i).id == node.value)
            return &g_array_index(domain->cells, VfmCell, i);
    return NULL;
}

/* libvirt: the device's own, else its cell's, else the one for all. */
static VfmSwitch access_of(const VfmDomain *domain, const VfmMemoryDevice *device, const VfmCell *cell)
{
    if (device && device->shared != VFM_ABSENT)
        return device->shared;
    return cell && cell->shared != VFM_ABSENT ? cell->shared : domain->backing.shared;
}

/* Of @device; @device NULL: of RAM on node @node. */
static VfmMemoryBackend backend_of(const VfmDomain *domain, const VfmMemoryDevice *device, uint64_t node,
                                   VfmSwitch access, const VfmHost *host)
{
    VfmMemoryBackend backend = {.page = vfm_base_page_size(domain, host)};
    uint64_t asked = asked_page(domain, device, node, host);

    backend.shared = access == VFM_ON;
    if (device && (device->model == VFM_MEM_NVDIMM || device->model == VFM_MEM_VIRTIO_PMEM || device->path)) {
        backend.disk_file = true;
        backend.align = backend.page;
        if (device->model == VFM_MEM_VIRTIO_PMEM)
            backend.shared = true;
    } else if (asked > backend.page) {
        backend.hugetlb = true;
        backend.page = backend.align = asked;
    } else if (domain->backing.source == VFM_SOURCE_MEMFD) {
        backend.align = backend.page;
    } else if (domain->backing.source == VFM_SOURCE_FILE || access != VFM_ABSENT) {
        /* libvirt: any access mode without memfd or huge pages makes a file in memory_backing_dir. */
        backend.disk_file = true;
        backend.align = backend.page;
    } else {
        backend.align = MAX(ANONYMOUS_ALIGN, backend.page);
    }
    return backend;
}

VfmMemoryBackend vfm_memory_backend(const VfmDomain *domain, const VfmMemoryDevice *device, const VfmHost *host)
{
    VfmMaybe node = device ? device->node : VFM_NONE;

    return backend_of(domain, device, node.set ? node.value : 0, access_of(domain, device, cell_of(domain, node)),
                      host);
}

VfmMemoryBackend vfm_cell_backend(const VfmDomain *domain, const VfmCell *cell, const VfmHost *host)
{
    return backend_of(domain, NULL, cell->id, access_of(domain, NULL, cell), host);
}

/* QEMU's and libvirt's guess for a host that does not say. */
static uint64_t guessed_thp(const VfmDomain *domain, const VfmHost *host)
{
    uint64_t page = vfm_base_page_size(domain, host);

    if (domain->arch == VFM_ARCH_S390X)
        return VFM_MIB;
    if (domain->arch == VFM_ARCH_AARCH64 && page == 16 * VFM_KIB)
        return 32 * VFM_MIB;
    if (domain->arch == VFM_ARCH_AARCH64 && page == 64 * VFM_KIB)
        return 512 * VFM_MIB;
    return 2 * VFM_MIB;
}

uint64_t vfm_virtio_mem_min_block(const VfmDomain *domain, const VfmMemoryBackend *backend, const VfmHost *host)
{
    uint64_t thp = host && host->thp_size.set ? host->thp_size.value : guessed_thp(domain, host);

    return MAX(MAX(VIRTIO_MEM_MIN_BLOCK, backend->page), thp);
}

uint64_t vfm_virtio_mem_default_block(const VfmDomain *domain, const VfmMemoryBackend *backend, const VfmHost *host)
{
    uint64_t thp;

    if (backend->hugetlb)
        return MAX(backend->page, VIRTIO_MEM_MIN_BLOCK);
    if (host && host->thp_size.set)
        thp = host->thp_size.value;
    else if (host && host->thp_known)
        thp = VIRTIO_MEM_MIN_BLOCK;
    else
        thp = guessed_thp(domain, host);
    return MAX(MAX(VIRTIO_MEM_MIN_BLOCK, backend->page), thp);
}
