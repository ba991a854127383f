/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "error.h"

enum { STAT_BLOCK = 512 }; /* what st_blocks counts in */

struct VfmGuestFiles {
    GPtrArray *files; /* of VfmGuestFile*; a guest has a handful */
    VfmDmaLedger *ledger;
};

VfmGuestFiles *vfm_guest_files_new(VfmDmaLedger *ledger)
{
    VfmGuestFiles *files = g_new0(VfmGuestFiles, 1);

    files->files = g_ptr_array_new();
    files->ledger = ledger;
    return files;
}

/* The ledger lets go of the descriptor before it is closed: a number that it names is never somebody else's. */
static void file_free(VfmGuestFiles *files, VfmGuestFile *file)
{
    munmap(file->base, file->size);
    if (file->slot != VFM_LEDGER_NONE)
        vfm_dma_ledger_set(files->ledger, VFM_LEDGER_FILES, file->slot, VFM_LEDGER_FREE);
    close(file->fd);
    g_free(file);
}

void vfm_guest_files_free(VfmGuestFiles *files)
{
    if (!files)
        return;
    for (unsigned i = 0; i < files->files->len; i++)
        file_free(files, files->files->pdata[i]);
    g_ptr_array_unref(files->files);
    g_free(files);
}

void vfm_guest_files_abandon(VfmGuestFiles *files)
{
    for (unsigned i = 0; i < files->files->len; i++) {
        VfmGuestFile *file = files->files->pdata[i];

        munmap(file->base, file->size);
        g_free(file);
    }
    g_ptr_array_unref(files->files);
    g_free(files);
}

static VfmGuestFileTells what_it_tells(int fd)
{
    struct statfs filesystem;

    if (fstatfs(fd, &filesystem) == 0 && filesystem.f_type == TMPFS_MAGIC)
        return VFM_GUEST_FILE_TELLS_HOLES;
    if (fstatfs(fd, &filesystem) == 0 && filesystem.f_type == HUGETLBFS_MAGIC)
        return VFM_GUEST_FILE_TELLS_BLOCKS;
    return VFM_GUEST_FILE_TELLS_NOTHING;
}

/* Maps the whole file @fd, which is consumed on success. */
static VfmGuestFile *file_new(VfmGuestFiles *files, int fd, const struct stat *st, GError **error)
{
    VfmGuestFile *file;
    void *base = mmap(NULL, st->st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

    bool writable = base != MAP_FAILED;

    /* Opened, or sealed, for reading only. */
    if (!writable && (errno == EACCES || errno == EPERM))
        base = mmap(NULL, st->st_size, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED) {
        vfm_set_system_error(error, errno, "mapping %" G_GUINT64_FORMAT " bytes of guest memory into the helper failed",
                             (uint64_t)st->st_size);
        return NULL;
    }
    /* A fork would have to copy page tables, and a core dump would hold the guest's memory. */
    madvise(base, st->st_size, MADV_DONTFORK);
    madvise(base, st->st_size, MADV_DONTDUMP);
    file = g_new0(VfmGuestFile, 1);
    file->device = st->st_dev;
    file->inode = st->st_ino;
    file->fd = fd;
    file->size = st->st_size;
    file->base = base;
    file->writable = writable;
    file->tells = what_it_tells(fd);
    file->users = 1;
    file->slot = VFM_LEDGER_NONE;
    g_ptr_array_add(files->files, file);
    return file;
}

/* Files of the kernel's own: a device's BAR under /sys would be mapped like memory. And files of another process, which
 * can make whoever touches or pins them wait for ever. */
static bool is_made_up(int fd)
{
    struct statfs filesystem;

    return fstatfs(fd, &filesystem) < 0 || filesystem.f_type == SYSFS_MAGIC || filesystem.f_type == PROC_SUPER_MAGIC ||
           filesystem.f_type == DEBUGFS_MAGIC || filesystem.f_type == TRACEFS_MAGIC ||
           filesystem.f_type == FUSE_SUPER_MAGIC;
}

static bool no_memory(GError **error)
{
    g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX,
                "the descriptor that came for guest memory is no memory: a memfd, a file in shmem or hugetlbfs, or an "
                "ordinary file of this machine's own can be mapped");
    return false;
}

/* What can be told without asking for its filesystem. */
static bool is_memory(int fd, uint64_t size, struct stat *st, GError **error)
{
    if (fstat(fd, st) < 0) {
        vfm_set_system_error(error, errno, "looking at the descriptor of guest memory failed");
        return false;
    }
    if (!S_ISREG(st->st_mode))
        return no_memory(error);
    if (st->st_size < 0 || (uint64_t)st->st_size < size) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_RANGE,
                    "the file of guest memory has %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT " are to be mapped",
                    (uint64_t)st->st_size, size);
        return false;
    }
    return true;
}

VfmGuestFile *vfm_guest_files_get(VfmGuestFiles *files, int fd, uint64_t size, bool written, GError **error)
{
    VfmGuestFile *file = NULL;
    struct stat st;
    int own;

    if (!is_memory(fd, size, &st, error))
        return NULL;
    for (unsigned i = 0; i < files->files->len; i++) {
        file = files->files->pdata[i];
        if (file->device == st.st_dev && file->inode == st.st_ino && file->size >= size && (file->writable || !written))
            return vfm_guest_file_ref(file);
    }
    if (is_made_up(fd)) {
        no_memory(error);
        return NULL;
    }
    own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0) {
        vfm_set_system_error(error, errno, "duplicating the descriptor of guest memory failed");
        return NULL;
    }
    file = file_new(files, own, &st, error);
    if (!file) {
        close(own);
        return NULL;
    }
    if (written && !file->writable) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_RANGE,
                    "the guest's memory is to be written by devices, and its descriptor may only be read");
        vfm_guest_files_put(files, file);
        return NULL;
    }
    if (files->ledger) {
        VfmLedgerFile note = {.fd = own, .device = st.st_dev, .inode = st.st_ino, .size = file->size};

        file->slot = vfm_dma_ledger_add(files->ledger, VFM_LEDGER_FILES, &note, VFM_LEDGER_STANDS, error);
        if (file->slot == VFM_LEDGER_NONE) {
            vfm_guest_files_put(files, file);
            return NULL;
        }
    }
    return file;
}

VfmGuestFile *vfm_guest_files_adopt(VfmGuestFiles *files, uint32_t slot, GError **error)
{
    const VfmLedgerFile *note = vfm_dma_ledger_at(files->ledger, VFM_LEDGER_FILES, slot);
    VfmGuestFile *file;
    struct stat st;

    if (!is_memory(note->fd, note->size, &st, error))
        return NULL;
    if (st.st_dev != note->device || st.st_ino != note->inode) {
        vfm_set_system_error(error, ESTALE, "descriptor %d is not the guest's memory any more", note->fd);
        return NULL;
    }
    /* As the predecessor saw it, should it have grown. */
    st.st_size = note->size;
    file = file_new(files, note->fd, &st, error);
    if (file)
        file->slot = slot;
    return file;
}

VfmGuestFile *vfm_guest_file_ref(VfmGuestFile *file)
{
    file->users++;
    return file;
}

void vfm_guest_files_put(VfmGuestFiles *files, VfmGuestFile *file)
{
    if (!file || --file->users > 0)
        return;
    g_ptr_array_remove_fast(files->files, file);
    file_free(files, file);
}

unsigned vfm_guest_files_count(const VfmGuestFiles *files)
{
    return files->files->len;
}

bool vfm_guest_file_is_full(const VfmGuestFile *file, uint64_t offset, uint64_t size)
{
    struct stat st;
    off_t hole;

    switch (file->tells) {
    case VFM_GUEST_FILE_TELLS_HOLES:
        hole = lseek(file->fd, offset, SEEK_HOLE);
        return hole >= 0 && (uint64_t)hole >= offset + size;
    case VFM_GUEST_FILE_TELLS_BLOCKS:
        return fstat(file->fd, &st) == 0 && (uint64_t)st.st_size >= offset + size &&
               (uint64_t)st.st_blocks * STAT_BLOCK >= (uint64_t)st.st_size;
    case VFM_GUEST_FILE_TELLS_NOTHING:
        break;
    }
    return false;
}
