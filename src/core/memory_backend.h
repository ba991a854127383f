/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memory_backend.h - what libvirt and QEMU put behind one memory device.
 *
 * The page size and alignment of a backend decide where its device may lie and
 * how small its blocks may be. Pure functions of domain and host; nothing is
 * owned, nothing kept; thread-safe.
 *
 * Sources: libvirt src/qemu/qemu_command.c (choice of backend), docs/formatdomain
 * (hugepages, nodeset); QEMU backends/hostmem*.c, softmmu/physmem.c, hw/virtio/virtio-mem.c.
 */
#pragma once

#include "domain.h"
#include "host.h"

typedef struct {
    uint64_t page;  /* bytes; the host's base page, or the huge page's size */
    uint64_t align; /* of the memory region: what address and size must be multiples of */
    bool hugetlb;
    bool disk_file; /* an ordinary file: neither memfd nor hugetlbfs nor anonymous */
    bool shared;
} VfmMemoryBackend;

/* The backend of @device; @device NULL: of boot RAM (cell 0 or all). @host may be NULL. */
VfmMemoryBackend vfm_memory_backend(const VfmDomain *domain, const VfmMemoryDevice *device, const VfmHost *host);

/* The backend of the boot RAM on one NUMA cell. */
VfmMemoryBackend vfm_cell_backend(const VfmDomain *domain, const VfmCell *cell, const VfmHost *host);

/* Whether @nodeset ("0-2,^1") contains @node; NULL contains every node. */
bool vfm_nodeset_contains(const char *nodeset, uint64_t node);

/* The host's base page size; by architecture where unknown. */
uint64_t vfm_base_page_size(const VfmDomain *domain, const VfmHost *host);

/* The smallest <block> that libvirt and QEMU both accept on this backend, bytes: a power of two.
 * libvirt: at least the THP size (its own guess per architecture where the host has none);
 * QEMU: at least 1 MiB and the backend's page. */
uint64_t vfm_virtio_mem_min_block(const VfmDomain *domain, const VfmMemoryBackend *backend, const VfmHost *host);

/* What QEMU chooses when no block size is given (hw/virtio/virtio-mem.c). */
uint64_t vfm_virtio_mem_default_block(const VfmDomain *domain, const VfmMemoryBackend *backend, const VfmHost *host);
