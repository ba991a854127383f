/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * iommufd_abi.h - the part of Linux's iommufd and VFIO cdev interface we use.
 *
 * Debian 12's kernel headers are older than the interface (6.2, cdev 6.6,
 * map from file 6.13), so numbers and layouts are written down here, under
 * names of our own: newer headers may be included beside this one.
 * Source: Linux uapi/linux/iommufd.h and uapi/linux/vfio.h. Every structure
 * starts with its own size; the kernel accepts longer ones whose tail is zero.
 */
#pragma once

#include <linux/ioctl.h>
#include <stdint.h>

#define VFM_IOMMU_DESTROY _IO(';', 0x80)
#define VFM_IOMMU_IOAS_ALLOC _IO(';', 0x81)
#define VFM_IOMMU_IOAS_COPY _IO(';', 0x83)
#define VFM_IOMMU_IOAS_IOVA_RANGES _IO(';', 0x84)
#define VFM_IOMMU_IOAS_MAP _IO(';', 0x85)
#define VFM_IOMMU_IOAS_UNMAP _IO(';', 0x86)
#define VFM_IOMMU_OPTION _IO(';', 0x87)
#define VFM_IOMMU_IOAS_MAP_FILE _IO(';', 0x8f)

#define VFM_VFIO_DEVICE_BIND_IOMMUFD _IO(';', 100 + 18)
#define VFM_VFIO_DEVICE_ATTACH_IOMMUFD_PT _IO(';', 100 + 19)
#define VFM_VFIO_DEVICE_DETACH_IOMMUFD_PT _IO(';', 100 + 20)

enum { VFM_IOAS_FIXED_IOVA = 1, VFM_IOAS_WRITEABLE = 2, VFM_IOAS_READABLE = 4 };
enum { VFM_IOMMU_OPTION_RLIMIT_MODE = 0 };
enum { VFM_IOMMU_OPTION_SET = 0, VFM_IOMMU_OPTION_GET = 1 };

struct vfm_iommu_destroy {
    uint32_t size, id;
};

struct vfm_ioas_alloc {
    uint32_t size, flags, out_ioas_id;
};

struct vfm_ioas_copy {
    uint32_t size, flags, dst_ioas_id, src_ioas_id;
    uint64_t length, dst_iova, src_iova;
};

struct vfm_ioas_iova_ranges {
    uint32_t size, ioas_id, num_iovas, reserved;
    uint64_t allowed_iovas, out_iova_alignment;
};

struct vfm_ioas_map {
    uint32_t size, flags, ioas_id, reserved;
    uint64_t user_va, length, iova;
};

struct vfm_ioas_map_file {
    uint32_t size, flags, ioas_id;
    int32_t fd;
    uint64_t start, length, iova;
};

struct vfm_ioas_unmap {
    uint32_t size, ioas_id;
    uint64_t iova, length;
};

struct vfm_iommu_option {
    uint32_t size, option_id;
    uint16_t op, reserved;
    uint32_t object_id;
    uint64_t val64;
};

struct vfm_vfio_bind_iommufd {
    uint32_t argsz, flags;
    int32_t iommufd;
    uint32_t out_devid;
};

struct vfm_vfio_attach_iommufd_pt {
    uint32_t argsz, flags, pt_id;
};

struct vfm_vfio_detach_iommufd_pt {
    uint32_t argsz, flags;
};
