/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel backends against kernels that are not at hand: older, newer, refusing, malformed.
 * ioctl() is replaced by a script here; what real kernels do is tested in the lab.
 */
#include "backend_adopt.h"
#include "backend_iommufd.h"
#include "backend_type1.h"
#include "iommufd_abi.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cmocka.h>

/* What the pretended kernel knows and does. */
static struct {
    int group_flags, set_container, set_iommu, get_device, bind, attach; /* errno, 0: works */
    int map, map_file, unmap, copy;
    unsigned maps, map_files, unsets, detaches;
    const void *info; /* VFIO_IOMMU_GET_INFO's answer */
    unsigned ranges;
    int device_info, move_there;       /* errno: VFIO_DEVICE_GET_INFO; giving a mapping a new address */
    bool addressless;                  /* the mapping's address has been taken away */
    unsigned type1_maps, type1_unmaps; /* changes of what is mapped */
    const char *release;               /* of the kernel */
} fake;

static int answer(int errnum)
{
    errno = errnum;
    return errnum ? -1 : 0;
}

int __wrap_uname(struct utsname *name);
int __wrap_uname(struct utsname *name)
{
    g_strlcpy(name->release, fake.release, sizeof(name->release));
    return 0;
}

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);

    switch (request) {
    case VFIO_GET_API_VERSION:
        return VFIO_API_VERSION;
    case VFIO_CHECK_EXTENSION:
        return 1;
    case VFIO_GROUP_GET_STATUS:
        ((struct vfio_group_status *)argument)->flags = (uint32_t)fake.group_flags;
        return 0;
    case VFIO_GROUP_SET_CONTAINER:
        return answer(fake.set_container);
    case VFIO_GROUP_UNSET_CONTAINER:
        fake.unsets++;
        return 0;
    case VFIO_SET_IOMMU:
        return answer(fake.set_iommu);
    case VFIO_GROUP_GET_DEVICE_FD:
        return fake.get_device ? answer(fake.get_device) : open("/dev/null", O_RDWR | O_CLOEXEC);
    case VFIO_IOMMU_GET_INFO: {
        struct vfio_iommu_type1_info *info = argument;
        uint32_t room = info->argsz, size = ((const struct vfio_iommu_type1_info *)fake.info)->argsz;
        memcpy(info, fake.info, MIN(room, size));
        info->argsz = size;
        return 0;
    }
    case VFIO_DEVICE_GET_INFO:
        return answer(fake.device_info);
    case VFIO_IOMMU_MAP_DMA: {
        const struct vfio_iommu_type1_dma_map *map = argument;

        if (map->flags != VFIO_DMA_MAP_FLAG_VADDR) {
            fake.type1_maps++;
            return 0;
        }
        if (!fake.addressless || fake.move_there)
            return answer(fake.move_there ? fake.move_there : EINVAL);
        fake.addressless = false;
        return 0;
    }
    case VFIO_IOMMU_UNMAP_DMA: {
        const struct vfio_iommu_type1_dma_unmap *unmap = argument;

        if (unmap->flags != VFIO_DMA_UNMAP_FLAG_VADDR) {
            fake.type1_unmaps++;
            return 0;
        }
        if (fake.addressless)
            return answer(EINVAL);
        fake.addressless = true;
        return 0;
    }
    case VFM_IOMMU_OPTION:
    case VFM_IOMMU_DESTROY:
        return 0;
    case VFM_IOMMU_IOAS_ALLOC:
        ((struct vfm_ioas_alloc *)argument)->out_ioas_id = 7;
        return 0;
    case VFM_VFIO_DEVICE_BIND_IOMMUFD:
        return answer(fake.bind);
    case VFM_VFIO_DEVICE_ATTACH_IOMMUFD_PT:
        return answer(fake.attach);
    case VFM_VFIO_DEVICE_DETACH_IOMMUFD_PT:
        fake.detaches++;
        return 0;
    case VFM_IOMMU_IOAS_MAP:
        fake.maps++;
        return answer(fake.map);
    case VFM_IOMMU_IOAS_MAP_FILE: {
        const struct vfm_ioas_map_file *map = argument;
        fake.map_files++;
        assert_int_equal(map->size, 40);
        assert_int_equal(map->ioas_id, 7);
        return answer(fake.map_file);
    }
    case VFM_IOMMU_IOAS_UNMAP:
        return answer(fake.unmap);
    case VFM_IOMMU_IOAS_COPY:
        return answer(fake.copy);
    case VFM_IOMMU_IOAS_IOVA_RANGES: {
        struct vfm_ioas_iova_ranges *ranges = argument;
        uint32_t room = ranges->num_iovas;
        ranges->num_iovas = fake.ranges;
        ranges->out_iova_alignment = 4096;
        for (uint32_t i = 0; i < MIN(room, fake.ranges); i++)
            ((VfmIovaRange *)(uintptr_t)ranges->allowed_iovas)[i] =
                (VfmIovaRange){.start = i * 0x100000ULL, .last = i * 0x100000ULL + 0xffff};
        return answer(room < fake.ranges ? EMSGSIZE : 0);
    }
    }
    fail_msg("unexpected ioctl 0x%lx", request);
    return -1;
}

/* GET_INFO's answer with room for capabilities. */
typedef struct {
    struct vfio_iommu_type1_info info;
    struct vfio_iommu_type1_info_dma_avail avail;
    struct {
        struct vfio_iommu_type1_info_cap_iova_range cap;
        struct vfio_iova_range ranges[2];
    } iova;
} Info;

static Info make_info(void)
{
    return (Info){
        .info = {.argsz = sizeof(Info),
                 .flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS,
                 .iova_pgsizes = 4096,
                 .cap_offset = offsetof(Info, avail)},
        .avail = {.header = {.id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, .next = offsetof(Info, iova)}, .avail = 1000},
        .iova = {.cap = {.header = {.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE}, .nr_iovas = 2},
                 .ranges = {{.start = 0, .end = 0xfedfffff}, {.start = 0xfef00000, .end = UINT64_MAX}}},
    };
}

static int setup(void **state)
{
    memset(&fake, 0, sizeof(fake));
    fake.group_flags = VFIO_GROUP_FLAGS_VIABLE;
    fake.release = "6.1.0-13-amd64";
    return 0;
}

static int null_fd(void)
{
    return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static VfmBackend *type1_with(const Info *info, VfmBackendDevice *device)
{
    g_autoptr(GError) error = NULL;
    VfmBackend *backend = vfm_backend_type1_new(null_fd(), &error);

    fake.info = info;
    *device = (VfmBackendDevice){.name = "0000:00:10.0", .fd = null_fd()};
    assert_non_null(backend);
    assert_true(backend->ops->attach(backend, device, &error));
    return backend;
}

static void end(VfmBackend *backend, VfmBackendDevice *device)
{
    if (device)
        backend->ops->detach(backend, device);
    backend->ops->free(backend);
}

static VfmMaybe total_of(const Info *info, guint *ranges)
{
    g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(VfmIovaRange));
    VfmBackendLimits limits = {.ranges = found};
    VfmBackendDevice device;
    VfmBackend *backend = type1_with(info, &device);

    assert_true(backend->ops->limits(backend, &limits, NULL));
    if (ranges)
        *ranges = found->len;
    end(backend, &device);
    return limits.max_mappings;
}

static void type1_reads_capabilities(void **state)
{
    Info info = make_info();
    guint ranges;

    assert_int_equal(total_of(&info, &ranges).value, 1000);
    assert_int_equal(ranges, 2);
    /* Before 5.10 there is no count; the module's default holds. */
    info.info.cap_offset = offsetof(Info, iova);
    assert_int_equal(total_of(&info, &ranges).value, 65535);
    assert_int_equal(ranges, 2);
    info.info.flags = 0;
    assert_int_equal(total_of(&info, &ranges).value, 65535);
    assert_int_equal(ranges, 0);
    /* iommufd behind /dev/vfio/vfio has no limit. */
    info = make_info();
    info.avail.avail = UINT32_MAX;
    assert_false(total_of(&info, NULL).set);
}

static void type1_survives_malformed_capabilities(void **state)
{
    Info info = make_info();
    guint ranges;

    info.avail.header.next = (uint32_t)offsetof(Info, avail); /* a loop */
    assert_int_equal(total_of(&info, &ranges).value, 1000);
    assert_int_equal(ranges, 0);
    info.avail.header.next = sizeof(Info) - 4; /* over the end */
    assert_int_equal(total_of(&info, &ranges).value, 1000);
    assert_int_equal(ranges, 0);
    info = make_info();
    info.iova.cap.nr_iovas = UINT32_MAX; /* more than there are */
    assert_int_equal(total_of(&info, &ranges).value, 1000);
    assert_int_equal(ranges, 2);
}

static void attach_fails(VfmBackend *backend, int code, const char *text)
{
    g_autoptr(GError) error = NULL;
    VfmBackendDevice device = {.name = "0000:00:10.0", .fd = null_fd()};

    assert_false(backend->ops->attach(backend, &device, &error));
    if (!g_error_matches(error, VFM_SYSTEM_ERROR, code) || !strstr(error->message, text))
        fail_msg("expected %d with \"%s\": %s", code, text, error->message);
    assert_non_null(strstr(error->message, "0000:00:10.0"));
    assert_int_equal(close(device.fd), 0); /* still the caller's */
}

static void type1_takes_back_a_failed_attach(void **state)
{
    Info info = make_info();
    VfmBackend *backend = vfm_backend_type1_new(null_fd(), NULL);

    fake.info = &info;
    fake.group_flags = 0;
    attach_fails(backend, EPERM, "not viable");
    fake.group_flags = VFIO_GROUP_FLAGS_VIABLE;
    fake.set_container = EINVAL;
    attach_fails(backend, EINVAL, "adding its group");
    assert_int_equal(fake.unsets, 0);
    fake.set_container = 0;
    fake.set_iommu = EPERM;
    attach_fails(backend, EPERM, "interrupt remapping");
    assert_int_equal(fake.unsets, 1);
    fake.set_iommu = 0;
    fake.get_device = ENODEV;
    attach_fails(backend, ENODEV, "opening it through its group");
    assert_int_equal(fake.unsets, 2);
    fake.get_device = 0;

    VfmBackendDevice device = {.name = "0000:00:10.0", .fd = null_fd()};
    assert_true(backend->ops->attach(backend, &device, NULL));
    end(backend, &device);
    assert_int_equal(fake.unsets, 3);
}

static bool map_with_fd(VfmBackend *backend, int fd)
{
    VfmMapping mapping = {.iova = 0x1000, .size = 0x1000, .vaddr = (void *)0x1000, .fd = fd, .prot = VFM_PROT_READ};
    return backend->ops->map(backend, &mapping, NULL);
}

static void iommufd_maps_files_where_it_can(void **state)
{
    VfmBackend *backend = vfm_backend_iommufd_new(null_fd(), VFM_IOMMUFD_ACCOUNT_PROCESS, NULL);

    assert_true(map_with_fd(backend, 5));
    assert_int_equal(fake.map_files, 1);
    assert_int_equal(fake.maps, 0);
    /* Without a descriptor, or with one that is no memfd: by address, and the next one by file again. */
    assert_true(map_with_fd(backend, -1));
    fake.map_file = EINVAL;
    assert_true(map_with_fd(backend, 5));
    assert_int_equal(fake.map_files, 2);
    assert_int_equal(fake.maps, 2);
    /* A kernel before 6.13: asked once. */
    fake.map_file = ENOTTY;
    assert_true(map_with_fd(backend, 5));
    assert_true(map_with_fd(backend, 5));
    assert_int_equal(fake.map_files, 3);
    assert_int_equal(fake.maps, 4);
    end(backend, NULL);
}

static void iommufd_tells_nothing_from_a_cut(void **state)
{
    VfmBackend *backend = vfm_backend_iommufd_new(null_fd(), VFM_IOMMUFD_ACCOUNT_USER, NULL);
    g_autoptr(GError) error = NULL;
    uint64_t unmapped = 1;

    fake.unmap = ENOENT;
    fake.copy = ENOENT;
    assert_true(backend->ops->unmap(backend, 0x100000, 0x100000, &unmapped, &error));
    assert_int_equal(unmapped, 0);
    fake.copy = EEXIST;
    assert_false(backend->ops->unmap(backend, 0x100000, 0x100000, &unmapped, &error));
    assert_true(g_error_matches(error, VFM_SYSTEM_ERROR, EINVAL));
    end(backend, NULL);
}

static void iommufd_reads_all_ranges(void **state)
{
    VfmBackend *backend = vfm_backend_iommufd_new(null_fd(), VFM_IOMMUFD_ACCOUNT_USER, NULL);
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(VfmIovaRange));
    VfmBackendLimits limits = {.ranges = ranges};

    for (fake.ranges = 0; fake.ranges < 100; fake.ranges += 33) {
        assert_true(backend->ops->limits(backend, &limits, NULL));
        assert_int_equal(ranges->len, fake.ranges);
        assert_false(limits.max_mappings.set);
        if (fake.ranges)
            assert_int_equal(g_array_index(ranges, VfmIovaRange, fake.ranges - 1).last,
                             (fake.ranges - 1) * 0x100000ULL + 0xffff);
    }
    end(backend, NULL);
}

/* An open device is bound for good: a second attempt must not stumble over the first one's binding. */
static void iommufd_tries_a_bound_device_again(void **state)
{
    VfmBackend *first = vfm_backend_iommufd_new(null_fd(), VFM_IOMMUFD_ACCOUNT_USER, NULL);
    VfmBackend *second = vfm_backend_iommufd_new_beside(first, NULL);
    VfmBackend *stranger = vfm_backend_iommufd_new(null_fd(), VFM_IOMMUFD_ACCOUNT_USER, NULL);
    VfmBackendDevice device = {.name = "0000:00:10.0", .fd = null_fd()};
    g_autoptr(GError) error = NULL;

    fake.attach = EADDRINUSE;
    assert_false(first->ops->attach(first, &device, &error));
    assert_true(g_error_matches(error, VFM_SYSTEM_ERROR, EINVAL)); /* "another context is worth a try" */
    fake.attach = 0;
    fake.bind = EINVAL;
    attach_fails(stranger, EINVAL, "binding it");
    assert_true(second->ops->attach(second, &device, NULL));
    end(first, NULL);
    end(second, &device);
    assert_int_equal(fake.detaches, 1);
    end(stranger, NULL);
}

static VfmBackendHold type1_hold_of(int fd)
{
    return (VfmBackendHold){.kind = VFM_BACKEND_TYPE1, .fd = fd, .limited = true, .max_mappings = 70000};
}

static void nothing_is_adopted_where_it_cannot_be(void **state)
{
    VfmBackendHold hold = type1_hold_of(null_fd());
    GError *error = NULL;

    fake.release = "5.19.0";
    assert_null(vfm_backend_adopt(&hold, &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED));
    assert_non_null(strstr(error->message, "6.0"));
    g_clear_error(&error);
    fake.release = "10.2.1";
    hold.kind = VFM_BACKEND_AUTO;
    assert_null(vfm_backend_adopt(&hold, &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED));
    g_clear_error(&error);
    assert_int_equal(close(hold.fd), 0); /* still the caller's */
}

/* Two devices of one group come with one descriptor of it. */
static void type1_adopts_a_group_once(void **state)
{
    Info info = make_info();
    VfmBackendHold hold = type1_hold_of(null_fd()), again;
    VfmBackend *backend = vfm_backend_adopt(&hold, NULL);
    VfmBackendDevice one = {.name = "0000:00:10.0", .fd = null_fd(), .device_fd = null_fd()};
    VfmBackendDevice two = {.name = "0000:00:10.1", .fd = one.fd, .device_fd = null_fd()};
    VfmBackendDevice bad = {.name = "0000:00:10.2", .fd = one.fd, .device_fd = null_fd()};
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(VfmIovaRange));
    VfmBackendLimits limits = {.ranges = ranges};
    GError *error = NULL;

    assert_non_null(backend);
    fake.info = &info;
    fake.group_flags |= VFIO_GROUP_FLAGS_CONTAINER_SET;
    assert_true(backend->ops->adopt(backend, &one, NULL));
    assert_true(backend->ops->adopt(backend, &two, NULL));
    fake.device_info = ENODEV;
    assert_false(backend->ops->adopt(backend, &bad, &error));
    assert_true(g_error_matches(error, VFM_SYSTEM_ERROR, ENODEV));
    g_clear_error(&error);
    assert_int_equal(fcntl(bad.device_fd, F_GETFD), -1);
    assert_int_equal(fcntl(one.fd, F_GETFD), FD_CLOEXEC); /* the group is the others' as well */
    fake.device_info = 0;
    /* What is left is the kernel's word, the total is not: it was noted. */
    assert_true(backend->ops->limits(backend, &limits, NULL));
    assert_int_equal(limits.max_mappings.value, 70000);
    assert_int_equal(backend->ops->available(backend).value, 1000);
    backend->ops->hold(backend, &again);
    assert_memory_equal(&hold, &again, sizeof(hold));
    assert_int_equal(fake.type1_maps + fake.type1_unmaps + fake.unsets, 0);
    backend->ops->detach(backend, &one);
    assert_int_equal(fake.unsets, 0);
    end(backend, &two);
    assert_int_equal(fake.unsets, 1);
}

static void type1_adopts_no_group_outside_of_containers(void **state)
{
    VfmBackendHold hold = type1_hold_of(null_fd());
    VfmBackend *backend = vfm_backend_adopt(&hold, NULL);
    VfmBackendDevice device = {.name = "0000:00:10.0", .fd = null_fd(), .device_fd = null_fd()};
    g_autoptr(GError) error = NULL;

    assert_false(backend->ops->adopt(backend, &device, &error));
    assert_non_null(strstr(error->message, "no container"));
    assert_int_equal(fcntl(device.fd, F_GETFD), -1);
    assert_int_equal(fcntl(device.device_fd, F_GETFD), -1);
    end(backend, NULL);
}

static void type1_moves_a_mapping(void **state)
{
    VfmBackendHold hold = type1_hold_of(null_fd());
    VfmBackend *backend = vfm_backend_adopt(&hold, NULL);
    VfmMapping mapping = {.iova = 0x1000, .size = 0x1000, .vaddr = (void *)0x1000, .fd = -1, .prot = VFM_PROT_READ};

    assert_true(backend->ops->claim(backend, &mapping));
    assert_false(fake.addressless);
    /* A predecessor died between the two steps. */
    fake.addressless = true;
    assert_true(backend->ops->claim(backend, &mapping));
    assert_false(fake.addressless);
    fake.move_there = ENOMEM;
    assert_false(backend->ops->claim(backend, &mapping));
    assert_int_equal(fake.type1_maps + fake.type1_unmaps, 0);
    end(backend, NULL);
}

static void iommufd_adopts(void **state)
{
    VfmBackendHold hold = {.kind = VFM_BACKEND_IOMMUFD, .fd = null_fd(), .ioas = 7}, again;
    VfmBackend *backend = vfm_backend_adopt(&hold, NULL);
    VfmBackendDevice device = {.name = "0000:00:10.0", .fd = null_fd()};
    VfmMapping mapping = {.iova = 0x1000, .size = 0x1000, .fd = -1};

    device.device_fd = device.fd;
    fake.ranges = 2;
    assert_non_null(backend);
    assert_true(backend->ops->adopt(backend, &device, NULL));
    assert_true(backend->ops->claim(backend, &mapping)); /* the user is charged */
    backend->ops->hold(backend, &again);
    assert_memory_equal(&hold, &again, sizeof(hold));
    end(backend, &device);
    assert_int_equal(fake.detaches, 1);
    assert_int_equal(fcntl(device.fd, F_GETFD), -1);

    hold.fd = null_fd();
    hold.account = VFM_IOMMUFD_ACCOUNT_PROCESS;
    backend = vfm_backend_adopt(&hold, NULL);
    assert_false(backend->ops->claim(backend, &mapping)); /* a dead process is */
    end(backend, NULL);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(type1_reads_capabilities),
        TEST(type1_survives_malformed_capabilities),
        TEST(type1_takes_back_a_failed_attach),
        TEST(iommufd_maps_files_where_it_can),
        TEST(iommufd_tells_nothing_from_a_cut),
        TEST(iommufd_reads_all_ranges),
        TEST(iommufd_tries_a_bound_device_again),
        TEST(nothing_is_adopted_where_it_cannot_be),
        TEST(type1_adopts_a_group_once),
        TEST(type1_adopts_no_group_outside_of_containers),
        TEST(type1_moves_a_mapping),
        TEST(iommufd_adopts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
