/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest_file.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "error.h"

struct VfmGuestFiles {
    GPtrArray *files; /* of VfmGuestFile*; a guest has a handful */
};

VfmGuestFiles *vfm_guest_files_new(void)
{
    VfmGuestFiles *files = g_new0(VfmGuestFiles, 1);

    files->files = g_ptr_array_new();
    return files;
}

static void file_free(VfmGuestFile *file)
{
    munmap(file->base, file->size);
    close(file->fd);
    g_free(file);
}

void vfm_guest_files_free(VfmGuestFiles *files)
{
    if (!files)
        return;
    for (unsigned i = 0; i < files->files->len; i++)
        file_free(files->files->pdata[i]);
    g_ptr_array_unref(files->files);
    g_free(files);
}

VfmGuestFile *vfm_guest_files_get(VfmGuestFiles *files, int fd, uint64_t size, GError **error)
{
    VfmGuestFile *file = NULL;
    struct statfs filesystem;
    struct stat st;
    void *base;

    if (fstat(fd, &st) < 0) {
        vfm_set_system_error(error, errno, "looking at the descriptor of guest memory failed");
        close(fd);
        return NULL;
    }
    if (!S_ISREG(st.st_mode)) {
        g_set_error(
            error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX,
            "the descriptor that came for guest memory is no memory file; nothing but memfd, shmem and hugetlbfs "
            "can be mapped");
        close(fd);
        return NULL;
    }
    if (st.st_size < 0 || (uint64_t)st.st_size < size) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_RANGE,
                    "the file of guest memory has %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT " are to be mapped",
                    (uint64_t)st.st_size, size);
        close(fd);
        return NULL;
    }
    for (unsigned i = 0; i < files->files->len; i++) {
        file = files->files->pdata[i];
        if (file->device == st.st_dev && file->inode == st.st_ino && file->size >= size) {
            close(fd);
            return vfm_guest_file_ref(file);
        }
    }
    base = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED && errno == EACCES)
        base = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED) {
        vfm_set_system_error(error, errno, "mapping %" G_GUINT64_FORMAT " bytes of guest memory into the helper failed",
                             (uint64_t)st.st_size);
        close(fd);
        return NULL;
    }
    /* A fork would have to copy page tables, and a core dump would hold the guest's memory. */
    madvise(base, st.st_size, MADV_DONTFORK);
    madvise(base, st.st_size, MADV_DONTDUMP);
    file = g_new0(VfmGuestFile, 1);
    file->device = st.st_dev;
    file->inode = st.st_ino;
    file->fd = fd;
    file->size = st.st_size;
    file->base = base;
    file->tells_holes = fstatfs(fd, &filesystem) == 0 && filesystem.f_type == TMPFS_MAGIC;
    file->users = 1;
    g_ptr_array_add(files->files, file);
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
    file_free(file);
}

unsigned vfm_guest_files_count(const VfmGuestFiles *files)
{
    return files->files->len;
}

bool vfm_guest_file_is_full(const VfmGuestFile *file, uint64_t offset, uint64_t size)
{
    off_t hole;

    if (!file->tells_holes)
        return false;
    hole = lseek(file->fd, offset, SEEK_HOLE);
    return hole >= 0 && (uint64_t)hole >= offset + size;
}
