/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * guest_file.h - the files behind guest memory, each mapped into this process once.
 *
 * QEMU sends a new descriptor of the same memfd with every DMA map (QEMU
 * hw/vfio-user/container.c); they are told apart by device and inode, and only the first is
 * duplicated. A descriptor is only believed after fstat: a regular file, long enough, and none of those that
 * the kernel makes up. One that may only be read does not stand for one that may be written.
 *
 * With a ledger (dma_ledger.h) the files are noted in there, and a successor takes the descriptors up.
 *
 * The mapping is shared and not reserved; this process never reads or writes guest memory, it only names its
 * addresses to the kernel. Units: bytes. Threads: the caller's lock.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "dma_ledger.h"

typedef struct VfmGuestFiles VfmGuestFiles;

/* How to find out whether something was punched out of a file. */
typedef enum {
    VFM_GUEST_FILE_TELLS_NOTHING,
    VFM_GUEST_FILE_TELLS_HOLES, /* shmem: SEEK_HOLE finds them */
    VFM_GUEST_FILE_TELLS_BLOCKS /* hugetlbfs: SEEK_HOLE claims that there are none. st_blocks counts the pages that are
                                 * there, reserved ones not, so a file is known to be full when all of it is */
} VfmGuestFileTells;

typedef struct {
    dev_t device;
    ino_t inode;
    int fd;
    uint64_t size;
    uint8_t *base;
    bool writable; /* the descriptor lets it be written */
    VfmGuestFileTells tells;
    unsigned users;
    uint32_t slot; /* in the ledger; VFM_LEDGER_NONE without one */
} VfmGuestFile;

/* @ledger: borrowed, may be NULL. */
VfmGuestFiles *vfm_guest_files_new(VfmDmaLedger *ledger);
void vfm_guest_files_free(VfmGuestFiles *files);
/* The same, but the ledger still has them: for a successor that gives up. */
void vfm_guest_files_abandon(VfmGuestFiles *files);

/* The file behind @fd (borrowed), at least @size bytes long, with a reference; one that is to be @written. Errors:
 * VFM_INPUT_ERROR if it is no memory file, shorter, or may only be read; VFM_REFUSED_BUDGET if the ledger is full;
 * VFM_SYSTEM_ERROR. */
VfmGuestFile *vfm_guest_files_get(VfmGuestFiles *files, int fd, uint64_t size, bool written, GError **error);
/* The one that a predecessor noted in @slot, with a reference. Errors: VFM_SYSTEM_ERROR. */
VfmGuestFile *vfm_guest_files_adopt(VfmGuestFiles *files, uint32_t slot, GError **error);
VfmGuestFile *vfm_guest_file_ref(VfmGuestFile *file);
/* Unmaps and closes it with the last reference. */
void vfm_guest_files_put(VfmGuestFiles *files, VfmGuestFile *file);
unsigned vfm_guest_files_count(const VfmGuestFiles *files);

/* Whether every page of the range is there: false where something was punched out, or where that can't be told. */
bool vfm_guest_file_is_full(const VfmGuestFile *file, uint64_t offset, uint64_t size);
