/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backend_error.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool has_ipc_lock(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};

    if (syscall(SYS_capget, &header, data) < 0)
        return false;
    return data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK);
}

VfmMaybe vfm_memlock_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY || has_ipc_lock())
        return VFM_NONE;
    return VFM_SOME(limit.rlim_cur);
}

static bool inside(const GArray *ranges, uint64_t start, uint64_t last)
{
    for (guint i = 0; i < ranges->len; i++) {
        const VfmIovaRange *range = &g_array_index(ranges, VfmIovaRange, i);
        if (start >= range->start && last <= range->last)
            return true;
    }
    return ranges->len == 0;
}

/* EINVAL and its kin: what the request looks like tells which of the reasons it is. */
static const char *wrong_place(const VfmMapping *mapping, const VfmBackendLimits *limits)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t last = mapping->iova + (mapping->size - 1);

    if (limits && limits->page_sizes)
        page = MAX(page, limits->page_sizes & -limits->page_sizes);
    if (!mapping->size || ((mapping->iova | mapping->size | (uintptr_t)mapping->vaddr) & (page - 1)))
        return "address, size and memory must be multiples of the IOMMU's smallest page";
    if (last < mapping->iova)
        return "the range goes beyond the last address";
    if (!(mapping->prot & (VFM_PROT_READ | VFM_PROT_WRITE)))
        return "neither readable nor writable";
    if (limits && !inside(limits->ranges, mapping->iova, last))
        return "outside of what the attached devices can address (reserved region, or the aperture's end)";
    return "the IOMMU refused it";
}

void vfm_set_map_error(GError **error, const char *backend, const VfmMapping *mapping, const VfmBackendLimits *limits,
                       int errnum)
{
    const char *why;

    switch (errnum) {
    case ENOSPC:
        why = "no mapping is left in this container (dma_entry_limit of vfio_iommu_type1)";
        break;
    case ENOMEM:
        why = "RLIMIT_MEMLOCK reached, or the kernel is out of memory";
        break;
    case EEXIST:
        why = "something is mapped there already";
        break;
    case EFAULT:
        why = "a page cannot be pinned (a file on an ordinary filesystem, or no memory there)";
        break;
    case EINVAL:
    case EADDRINUSE:
    case EOVERFLOW:
        why = wrong_place(mapping, limits);
        break;
    default:
        why = "the kernel refused it";
    }
    vfm_set_system_error(error, errnum, "%s: mapping 0x%" PRIx64 " bytes at 0x%" PRIx64 ": %s", backend, mapping->size,
                         mapping->iova, why);
}

void vfm_set_unmap_error(GError **error, const char *backend, uint64_t iova, uint64_t size, int errnum)
{
    const char *why = errnum == EINVAL ? "the range is unaligned, or would cut a mapping; unmap whole mappings only"
                                       : "the kernel refused it";

    vfm_set_system_error(error, errnum, "%s: unmapping 0x%" PRIx64 " bytes at 0x%" PRIx64 ": %s", backend, size, iova,
                         why);
}

void vfm_set_attach_error(GError **error, const char *backend, const char *device, const char *step, int errnum)
{
    const char *why;

    switch (errnum) {
    case EPERM:
        why = "the host has no interrupt remapping (allow_unsafe_interrupts overrides that), or its firmware reserves "
              "memory for this device (RMRR)";
        break;
    case EADDRINUSE:
        /* iommufd's number for what type1 calls EINVAL; backend.h has one. */
        errnum = EINVAL;
        why = "a reserved region of the device or its aperture's end hits mapped memory";
        break;
    case EINVAL:
        why = "the IOMMU cannot take it in (reserved region, aperture or page sizes against what is mapped, memory "
              "reserved by firmware, or DMA that is not coherent), or it is in another context already";
        break;
    case ENOMEM:
        why = "RLIMIT_MEMLOCK reached while it got the present mappings, or the kernel is out of memory";
        break;
    case EBUSY:
        why = "somebody else holds the device or its group";
        break;
    case ENODEV:
    case ENOENT:
        why = "it is not bound to a VFIO driver, or not in this group";
        break;
    default:
        why = "the kernel refused it";
    }
    vfm_set_system_error(error, errnum, "%s: attaching %s: %s: %s", backend, device, step, why);
}
