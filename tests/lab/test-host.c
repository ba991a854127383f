/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What host_read says of a kernel with real IOMMU groups: the devices the lab made, their groups, the range that
 * firmware reserved, and whether this kernel has iommufd.
 */
#include "host_read.h"
#include "place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

static VfmHost *read_host(void)
{
    g_autoptr(GError) error = NULL;
    VfmHost *host = vfm_host_read("/", &error);

    if (!host)
        fail_msg("%s", error->message);
    return host;
}

static const VfmHostDevice *device_of(const VfmIommuGroup *group, const char *address)
{
    for (guint i = 0; i < group->devices->len; i++) {
        const VfmHostDevice *device = g_ptr_array_index(group->devices, i);

        if (g_str_equal(device->address, address))
            return device;
    }
    return NULL;
}

static void test_devices_are_in_the_groups_the_kernel_says(void **state)
{
    g_autoptr(VfmHost) host = read_host();
    const bool nodes = access("/dev/vfio/devices", F_OK) == 0;

    assert_int_equal(host->iommu, VFM_ON);
    for (unsigned i = 0; i < 5; i++) {
        const char *address = i < 3 ? place_device(i, false) : place_device(i - 3, true);
        const VfmIommuGroup *group = vfm_host_find_group(host, address);
        const VfmHostDevice *device;

        assert_non_null(group);
        assert_int_equal(group->id, place_group(address));
        assert_string_equal(group->type, "DMA");
        device = device_of(group, address);
        assert_string_equal(device->driver, "vfio-pci");
        assert_int_equal(device->vendor.value, 0x1234);
        assert_int_equal(device->device.value, 0x11e8);
        assert_int_equal(device->cdev != NULL, nodes);
    }
    assert_ptr_equal(vfm_host_find_group(host, place_device(0, true)),
                     vfm_host_find_group(host, place_device(1, true)));
    assert_ptr_not_equal(vfm_host_find_group(host, place_device(0, false)),
                         vfm_host_find_group(host, place_device(1, false)));
}

static bool reserves(const VfmIommuGroup *group, uint64_t start, uint64_t end, VfmReservedType type)
{
    for (guint i = 0; i < group->reserved->len; i++) {
        const VfmReserved *region = &g_array_index(group->reserved, VfmReserved, i);

        if (region->start == start && region->end == end && region->type == type)
            return true;
    }
    return false;
}

static void test_reserved_regions_are_those_of_firmware_and_interrupts(void **state)
{
    g_autoptr(VfmHost) host = read_host();
    const VfmIommuGroup *first = vfm_host_find_group(host, place_device(0, false));
    const VfmIommuGroup *third = vfm_host_find_group(host, place_device(2, false));

    assert_true(first->reserved_known);
    assert_true(reserves(first, 0xfee00000, 0xfeefffff, VFM_RESERVED_MSI));
    assert_false(reserves(first, 0x8000000, 0x80fffff, VFM_RESERVED_DIRECT));
    assert_true(reserves(third, 0x8000000, 0x80fffff, VFM_RESERVED_DIRECT));
}

static void test_vfio_is_what_this_kernel_offers(void **state)
{
    g_autoptr(VfmHost) host = read_host();

    assert_int_equal(host->iommufd, access("/dev/iommu", F_OK) == 0 ? VFM_ON : VFM_OFF);
    assert_int_equal(host->vfio_compat, VFM_OFF);
    assert_true(host->dma_entry_limit.set);
    assert_int_equal(host->dma_entry_limit.value, 65535);
    assert_int_equal(host->interrupt_remapping, VFM_ON); /* without it no device could be attached here */
    assert_int_equal(host->page_size.value, sysconf(_SC_PAGESIZE));
}

static void test_a_domain_s_device_brings_its_group_alone(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmHost) host = vfm_host_read_basics("/", &error);
    g_autoptr(VfmDomain) domain = vfm_domain_new();

    assert_non_null(host);
    vfm_domain_add_assigned(domain, VFM_ASSIGNED_PCI, VFM_VIA_HOSTDEV)->address = g_strdup(place_device(0, true));
    assert_true(vfm_host_read_groups_of(host, "/", domain, &error));
    assert_int_equal(host->groups->len, 1);
    assert_non_null(vfm_host_find_group(host, place_device(1, true)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices_are_in_the_groups_the_kernel_says),
        cmocka_unit_test(test_reserved_regions_are_those_of_firmware_and_interrupts),
        cmocka_unit_test(test_vfio_is_what_this_kernel_offers),
        cmocka_unit_test(test_a_domain_s_device_brings_its_group_alone),
    };

    return cmocka_run_group_tests_name("host", tests, NULL, NULL);
}
