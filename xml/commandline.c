/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "commandline.h"

#include <string.h>

#include "domain.h"

VfmDriverKind vfm_commandline_driver(const char *driver, int *detail)
{
    static const struct {
        const char *driver;
        VfmDriverKind kind;
        int detail;
    } drivers[] = {
        {"vfio-pci", VFM_DRIVER_VFIO, 0},
        {"vfio-pci-nohotplug", VFM_DRIVER_VFIO, 0},
        {"vfio-ap", VFM_DRIVER_VFIO, 0},
        {"vfio-ccw", VFM_DRIVER_VFIO, 0},
        {"vfio-user-pci", VFM_DRIVER_VFIO_USER, 0},
        {"vhost-vdpa-device", VFM_DRIVER_VDPA, 0},
        {"vhost-vdpa-device-pci", VFM_DRIVER_VDPA, 0},
        {"intel-iommu", VFM_DRIVER_IOMMU, VFM_IOMMU_INTEL},
        {"amd-iommu", VFM_DRIVER_IOMMU, VFM_IOMMU_AMD},
        {"arm-smmuv3", VFM_DRIVER_IOMMU, VFM_IOMMU_SMMUV3},
        {"virtio-iommu", VFM_DRIVER_IOMMU, VFM_IOMMU_VIRTIO},
        {"virtio-iommu-pci", VFM_DRIVER_IOMMU, VFM_IOMMU_VIRTIO},
        {"virtio-balloon", VFM_DRIVER_BALLOON, 0},
        {"virtio-balloon-pci", VFM_DRIVER_BALLOON, 0},
        {"virtio-balloon-ccw", VFM_DRIVER_BALLOON, 0},
        {"virtio-mem", VFM_DRIVER_MEMORY, VFM_MEM_VIRTIO_MEM},
        {"virtio-mem-pci", VFM_DRIVER_MEMORY, VFM_MEM_VIRTIO_MEM},
        {"virtio-pmem", VFM_DRIVER_MEMORY, VFM_MEM_VIRTIO_PMEM},
        {"virtio-pmem-pci", VFM_DRIVER_MEMORY, VFM_MEM_VIRTIO_PMEM},
        {"pc-dimm", VFM_DRIVER_MEMORY, VFM_MEM_DIMM},
        {"nvdimm", VFM_DRIVER_MEMORY, VFM_MEM_NVDIMM},
    };

    for (gsize i = 0; driver && i < G_N_ELEMENTS(drivers); i++) {
        if (strcmp(driver, drivers[i].driver) == 0) {
            *detail = drivers[i].detail;
            return drivers[i].kind;
        }
    }
    return VFM_DRIVER_OTHER;
}

const char *vfm_commandline_option(const char *argument)
{
    static const char *const options[] = {"device", "netdev", "blockdev", "drive", "object", "set", NULL};
    const char *name = argument;

    if (name[0] != '-')
        return NULL;
    name += name[1] == '-' ? 2 : 1;
    return g_strv_contains(options, name) ? name : NULL;
}
