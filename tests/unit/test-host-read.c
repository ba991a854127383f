/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "error.h"
#include "host_read.h"
#include "sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A host made of files, below a directory of its own. */
typedef struct {
    char *root;
} Tree;

static void put_dir(Tree *tree, const char *path)
{
    g_autofree char *full = g_build_filename(tree->root, path, NULL);

    assert_int_equal(g_mkdir_with_parents(full, 0755), 0);
}

static void put(Tree *tree, const char *path, const char *content)
{
    g_autofree char *full = g_build_filename(tree->root, path, NULL);
    g_autofree char *parent = g_path_get_dirname(full);

    assert_int_equal(g_mkdir_with_parents(parent, 0755), 0);
    assert_true(g_file_set_contents(full, content, -1, NULL));
}

static void put_link(Tree *tree, const char *path, const char *target)
{
    g_autofree char *full = g_build_filename(tree->root, path, NULL);
    g_autofree char *parent = g_path_get_dirname(full);

    assert_int_equal(g_mkdir_with_parents(parent, 0755), 0);
    assert_int_equal(symlink(target, full), 0);
}

/* A PCI device as the kernel shows it: a directory under devices, reached through links. */
static void put_device(Tree *tree, unsigned group, const char *address, const char *driver)
{
    g_autofree char *base = g_strdup_printf("sys/devices/pci0000:00/%s", address);
    g_autofree char *vendor = g_strconcat(base, "/vendor", NULL);
    g_autofree char *device = g_strconcat(base, "/device", NULL);
    g_autofree char *class = g_strconcat(base, "/class", NULL);
    g_autofree char *node = g_strconcat(base, "/numa_node", NULL);
    g_autofree char *driver_link = g_strconcat(base, "/driver", NULL);
    g_autofree char *group_link = g_strconcat(base, "/iommu_group", NULL);
    g_autofree char *group_target = g_strdup_printf("../../../kernel/iommu_groups/%u", group);
    g_autofree char *member = g_strdup_printf("sys/kernel/iommu_groups/%u/devices/%s", group, address);
    g_autofree char *member_target = g_strdup_printf("../../../../devices/pci0000:00/%s", address);
    g_autofree char *bus = g_strdup_printf("sys/bus/pci/devices/%s", address);
    g_autofree char *bus_target = g_strdup_printf("../../../devices/pci0000:00/%s", address);

    put(tree, vendor, "0x10de\n");
    put(tree, device, "0x2230\n");
    put(tree, class, "0x030000\n");
    put(tree, node, "-1\n");
    if (driver) {
        g_autofree char *target = g_strdup_printf("../../../bus/pci/drivers/%s", driver);

        put_link(tree, driver_link, target);
    }
    put_link(tree, group_link, group_target);
    put_link(tree, member, member_target);
    put_link(tree, bus, bus_target);
}

static void put_host(Tree *tree)
{
    put(tree, "proc/meminfo", "MemTotal:       32768 kB\nMemFree: 1 kB\nHugepagesize:       2048 kB\n");
    put(tree, "proc/cpuinfo", "processor\t: 0\naddress sizes\t: 46 bits physical, 48 bits virtual\n");
    put(tree, "proc/cmdline", "root=/dev/sda intel_iommu=on\n");
    put(tree, "proc/sys/kernel/hostname", "rack7\n");
    put(tree, "proc/sys/kernel/osrelease", "6.1.0-28-amd64\n");
    put(tree, "sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152\n");
    put(tree, "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "0\n");
    put(tree, "sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "0\n");
    put(tree, "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "512\n");
    put(tree, "sys/module/vfio_iommu_type1/parameters/dma_entry_limit", "65535\n");
    put(tree, "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "N\n");
    put_dir(tree, "sys/class/vfio");
    put_dir(tree, "sys/class/misc/vfio");
    put(tree, "sys/class/iommu/dmar0/intel-iommu/ecap", "f050da\n");
    put(tree, "sys/kernel/iommu_groups/12/type", "DMA-FQ\n");
    put(tree, "sys/kernel/iommu_groups/12/reserved_regions",
        "0x00000000fee00000 0x00000000feefffff msi\n"
        "0x000000007b800000 0x000000007fffffff direct-relaxable\n"
        "0xfffffffffff00000 0xffffffffffffffff something-new\n");
    put_device(tree, 12, "0000:01:00.0", "vfio-pci");
    put_device(tree, 12, "0000:01:00.1", NULL);
    put_device(tree, 3, "0000:02:00.0", "nvme");
}

static int setup(void **state)
{
    Tree *tree = g_new0(Tree, 1);

    tree->root = g_dir_make_tmp("vfiomem-host-XXXXXX", NULL);
    assert_non_null(tree->root);
    put_host(tree);
    *state = tree;
    return 0;
}

static void remove_tree(const char *path)
{
    g_autoptr(GDir) dir = NULL;
    const char *name;
    struct stat info;

    if (lstat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        chmod(path, 0700);
        dir = g_dir_open(path, 0, NULL);
        while (dir && (name = g_dir_read_name(dir))) {
            g_autofree char *below = g_build_filename(path, name, NULL);

            remove_tree(below);
        }
    }
    g_remove(path);
}

static int teardown(void **state)
{
    Tree *tree = *state;

    remove_tree(tree->root);
    g_free(tree->root);
    g_free(tree);
    return 0;
}

static void remove_below(Tree *tree, const char *path)
{
    g_autofree char *full = g_build_filename(tree->root, path, NULL);

    remove_tree(full);
}

static void test_everything_is_read(void **state)
{
    Tree *tree = *state;
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmHost) host = vfm_host_read(tree->root, &error);
    const VfmIommuGroup *group;
    const VfmHostDevice *device;
    const VfmReserved *reserved;

    assert_null(error);
    assert_string_equal(host->name, "rack7");
    assert_string_equal(host->kernel, "6.1.0-28-amd64");
    assert_int_equal(host->memory.value, 32 << 20);
    assert_int_equal(host->phys_bits.value, 46);
    assert_true(host->thp_known);
    assert_int_equal(host->thp_size.value, 2 << 20);
    assert_int_equal(host->default_hugepage.value, 2 << 20);
    assert_int_equal(host->hugepages->len, 2);
    assert_int_equal(g_array_index(host->hugepages, VfmHostHugepage, 0).size, 2 << 20);
    assert_int_equal(g_array_index(host->hugepages, VfmHostHugepage, 0).total.value, 512);
    assert_false(g_array_index(host->hugepages, VfmHostHugepage, 0).free.set);
    assert_true(g_array_index(host->hugepages, VfmHostHugepage, 1).total.set);
    assert_int_equal(host->dma_entry_limit.value, 65535);
    assert_int_equal(host->unsafe_interrupts, VFM_OFF);
    assert_int_equal(host->vfio_compat, VFM_OFF);
    assert_int_equal(host->iommufd, VFM_OFF);
    assert_int_equal(host->iommu, VFM_ON);
    assert_int_equal(host->interrupt_remapping, VFM_ON);

    assert_int_equal(host->groups->len, 2);
    group = g_ptr_array_index(host->groups, 0);
    assert_int_equal(group->id, 3);
    assert_null(group->type);
    assert_false(group->reserved_known);
    group = g_ptr_array_index(host->groups, 1);
    assert_int_equal(group->id, 12);
    assert_string_equal(group->type, "DMA-FQ");
    assert_int_equal(group->devices->len, 2);
    device = g_ptr_array_index(group->devices, 0);
    assert_string_equal(device->address, "0000:01:00.0");
    assert_string_equal(device->driver, "vfio-pci");
    assert_int_equal(device->vendor.value, 0x10de);
    assert_int_equal(device->class_code.value, 0x030000);
    assert_false(device->numa_node.set);
    assert_null(((VfmHostDevice *)g_ptr_array_index(group->devices, 1))->driver);
    assert_true(group->reserved_known);
    assert_int_equal(group->reserved->len, 3);
    reserved = &g_array_index(group->reserved, VfmReserved, 0);
    assert_int_equal(reserved->start, 0x7b800000);
    assert_int_equal(reserved->type, VFM_RESERVED_DIRECT_RELAXABLE);
    reserved = &g_array_index(group->reserved, VfmReserved, 2);
    assert_true(reserved->end == UINT64_MAX);
    assert_int_equal(reserved->type, VFM_RESERVED_RESERVED);
}

static void test_questions_to_the_running_kernel_are_not_asked_of_a_copy(void **state)
{
    Tree *tree = *state;
    g_autoptr(VfmHost) host = vfm_host_read(tree->root, NULL);

    assert_false(host->page_size.set);
    assert_false(host->kvm_memslots.set);
}

static void test_missing_parts_are_unknown(void **state)
{
    Tree *tree = *state;
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmHost) host = NULL;

    remove_below(tree, "proc");
    remove_below(tree, "sys");
    put_dir(tree, "sys");
    host = vfm_host_read(tree->root, &error);
    assert_null(error);
    assert_null(host->name);
    assert_false(host->memory.set);
    assert_false(host->phys_bits.set);
    assert_false(host->thp_known);
    assert_false(host->thp_size.set);
    assert_false(host->dma_entry_limit.set);
    assert_int_equal(host->iommu, VFM_ABSENT);
    assert_int_equal(host->iommufd, VFM_ABSENT);
    assert_int_equal(host->vfio_compat, VFM_ABSENT);
    assert_int_equal(host->interrupt_remapping, VFM_ABSENT);
    assert_int_equal(host->groups->len, 0);
}

static void test_a_kernel_without_thp_is_known_to_be_one(void **state)
{
    Tree *tree = *state;
    g_autoptr(VfmHost) host = NULL;

    remove_below(tree, "sys/kernel/mm/transparent_hugepage");
    host = vfm_host_read(tree->root, NULL);
    assert_true(host->thp_known);
    assert_false(host->thp_size.set);
}

static void test_no_groups_means_no_iommu(void **state)
{
    Tree *tree = *state;
    g_autoptr(VfmHost) host = NULL;

    remove_below(tree, "sys/kernel/iommu_groups");
    put_dir(tree, "sys/kernel/iommu_groups");
    host = vfm_host_read(tree->root, NULL);
    assert_int_equal(host->iommu, VFM_OFF);
}

static void test_iommufd_and_its_compatibility_layer(void **state)
{
    Tree *tree = *state;
    g_autoptr(VfmHost) host = NULL;

    remove_below(tree, "sys/module/vfio_iommu_type1");
    put_dir(tree, "sys/class/misc/iommu");
    put_dir(tree, "sys/class/vfio-dev");
    put(tree, "proc/devices", "Character devices:\n  1 mem\n252 vfio-dev\n253 vfio\n");
    put(tree, "sys/devices/pci0000:00/0000:01:00.0/vfio-dev/vfio4/dev", "252:4\n");
    host = vfm_host_read(tree->root, NULL);
    assert_int_equal(host->iommufd, VFM_ON);
    assert_int_equal(host->vfio_compat, VFM_ON);
    assert_false(host->dma_entry_limit.set);
    assert_string_equal(
        ((VfmHostDevice *)((VfmIommuGroup *)g_ptr_array_index(host->groups, 1))->devices->pdata[0])->cdev, "vfio4");
}

/* Linux 6.1 to 6.5, and later ones built without device nodes: the class is there all the same. */
static void test_a_class_without_nodes_is_no_iommufd(void **state)
{
    Tree *tree = *state;
    g_autoptr(VfmHost) without = NULL, unknown = NULL;

    put_dir(tree, "sys/class/misc/iommu");
    put_dir(tree, "sys/class/vfio-dev");
    put_dir(tree, "sys/devices/pci0000:00/0000:01:00.0/vfio-dev/vfio4");
    unknown = vfm_host_read(tree->root, NULL);
    assert_int_equal(unknown->iommufd, VFM_ABSENT);
    put(tree, "proc/devices", "Character devices:\n245 vfio\n");
    without = vfm_host_read(tree->root, NULL);
    assert_int_equal(without->iommufd, VFM_OFF);
    assert_null(((VfmHostDevice *)((VfmIommuGroup *)g_ptr_array_index(without->groups, 1))->devices->pdata[0])->cdev);
}

static void test_a_name_that_was_never_set_is_unknown(void **state)
{
    Tree *tree = *state;
    g_autoptr(VfmHost) host = NULL;

    put(tree, "proc/sys/kernel/hostname", "(none)\n");
    host = vfm_host_read(tree->root, NULL);
    assert_null(host->name);
}

static void test_interrupt_remapping_follows_hardware_and_command_line(void **state)
{
    Tree *tree = *state;
    g_autoptr(VfmHost) off = NULL, unable = NULL, amd = NULL, unknown = NULL;

    put(tree, "proc/cmdline", "quiet intremap=off\n");
    off = vfm_host_read_basics(tree->root, NULL);
    assert_int_equal(off->interrupt_remapping, VFM_OFF);
    put(tree, "proc/cmdline", "quiet\n");
    put(tree, "sys/class/iommu/dmar1/intel-iommu/ecap", "f050d2\n");
    unable = vfm_host_read_basics(tree->root, NULL);
    assert_int_equal(unable->interrupt_remapping, VFM_OFF);
    remove_below(tree, "sys/class/iommu");
    put_dir(tree, "sys/class/iommu/ivhd0");
    amd = vfm_host_read_basics(tree->root, NULL);
    assert_int_equal(amd->interrupt_remapping, VFM_ON);
    remove_below(tree, "sys/class/iommu");
    put_dir(tree, "sys/class/iommu/smmu3.0x09050000");
    unknown = vfm_host_read_basics(tree->root, NULL);
    assert_int_equal(unknown->interrupt_remapping, VFM_ABSENT);
}

static void test_only_the_groups_of_a_domain_are_added(void **state)
{
    Tree *tree = *state;
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmHost) host = vfm_host_read_basics(tree->root, NULL);
    g_autoptr(VfmDomain) domain = vfm_domain_new();
    static const char *const addresses[] = {"0000:01:00.0", "0000:01:00.1", "0000:FF:00.0", "../../etc", NULL};

    assert_int_equal(host->groups->len, 0);
    for (guint i = 0; addresses[i]; i++)
        vfm_domain_add_assigned(domain, VFM_ASSIGNED_PCI, VFM_VIA_HOSTDEV)->address = g_strdup(addresses[i]);
    vfm_domain_add_assigned(domain, VFM_ASSIGNED_PCI, VFM_VIA_INTERFACE); /* unresolved: no address */
    assert_true(vfm_host_read_groups_of(host, tree->root, domain, &error));
    assert_null(error);
    assert_int_equal(host->groups->len, 1);
    assert_int_equal(((VfmIommuGroup *)g_ptr_array_index(host->groups, 0))->id, 12);
    assert_true(vfm_host_read_groups_of(host, tree->root, domain, &error));
    assert_int_equal(host->groups->len, 1);
}

static void test_a_mediated_device_leads_to_its_group(void **state)
{
    Tree *tree = *state;
    g_autoptr(VfmHost) host = vfm_host_read_basics(tree->root, NULL);
    g_autoptr(VfmDomain) domain = vfm_domain_new();
    const char *uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";

    put_link(tree, "sys/bus/mdev/devices/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001/iommu_group",
             "../../../../kernel/iommu_groups/9");
    put_link(tree, "sys/kernel/iommu_groups/9/devices/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", "nowhere");
    vfm_domain_add_assigned(domain, VFM_ASSIGNED_MDEV, VFM_VIA_HOSTDEV)->address =
        g_strdup("83B8F4F2-509f-382f-3c1e-e6bfe0fa1001");
    assert_true(vfm_host_read_groups_of(host, tree->root, domain, NULL));
    assert_non_null(vfm_host_find_group(host, uuid));
}

static void expect_error(Tree *tree, GQuark domain, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmHost) host = vfm_host_read(tree->root, &error);

    assert_null(host);
    assert_non_null(error);
    assert_string_equal(g_quark_to_string(error->domain), g_quark_to_string(domain));
    if (!strstr(error->message, part))
        fail_msg("\"%s\" does not say \"%s\"", error->message, part);
}

static void test_wrong_content_is_an_error_that_names_the_file(void **state)
{
    static const struct {
        const char *path, *content, *message;
    } cases[] = {
        {"sys/kernel/iommu_groups/12/reserved_regions", "0x1 0x2 msi\nrubbish\n",
         "reserved_regions:2: not of the form"},
        {"sys/kernel/iommu_groups/12/reserved_regions", "0x2 0x1 msi\n", "reserved_regions:1"},
        {"sys/kernel/iommu_groups/12/reserved_regions", "0x1 0x1ffffffffffffffff msi\n", "reserved_regions:1"},
        {"sys/kernel/iommu_groups/12/reserved_regions", "0x1 0x2\n", "reserved_regions:1"},
        {"sys/module/vfio_iommu_type1/parameters/dma_entry_limit", "many\n", "dma_entry_limit: not a number"},
        {"sys/module/vfio_iommu_type1/parameters/dma_entry_limit", "99999999999999999999\n", "not a number"},
        {"sys/module/vfio_iommu_type1/parameters/dma_entry_limit", "-5\n", "not a number"},
        {"sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "maybe\n", "neither Y nor N"},
        {"sys/devices/pci0000:00/0000:01:00.0/vendor", "0x\n", "vendor: not a number"},
    };
    Tree *tree = *state;

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *before = NULL;
        g_autofree char *full = g_build_filename(tree->root, cases[i].path, NULL);

        assert_true(g_file_get_contents(full, &before, NULL, NULL));
        put(tree, cases[i].path, cases[i].content);
        expect_error(tree, VFM_INPUT_ERROR, cases[i].message);
        put(tree, cases[i].path, before);
    }
}

static void test_hostile_files_are_refused_without_hanging(void **state)
{
    Tree *tree = *state;
    g_autofree char *huge = g_strnfill(VFM_SYSFS_FILE_MAX + 1, '7');
    g_autofree char *fifo = g_build_filename(tree->root, "sys/kernel/iommu_groups/12/type", NULL);
    g_autofree char *nul = g_build_filename(tree->root, "proc/sys/kernel/hostname", NULL);

    put(tree, "proc/sys/kernel/osrelease", huge);
    expect_error(tree, VFM_INPUT_ERROR, "longer than");
    put(tree, "proc/sys/kernel/osrelease", "6.1\n");
    assert_true(g_file_set_contents(nul, "a\0b", 3, NULL));
    expect_error(tree, VFM_INPUT_ERROR, "NUL");
    put(tree, "proc/sys/kernel/hostname", "h\n");
    g_remove(fifo);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    expect_error(tree, VFM_INPUT_ERROR, "not a regular file");
}

static void test_links_cannot_leave_the_root(void **state)
{
    Tree *tree = *state;
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmHost) host = NULL;

    /* Absolute: is looked up below the root, where there is no such file. Relative: stops at the root. */
    remove_below(tree, "proc/sys/kernel/hostname");
    put_link(tree, "proc/sys/kernel/hostname", "/etc/passwd");
    remove_below(tree, "proc/sys/kernel/osrelease");
    put_link(tree, "proc/sys/kernel/osrelease", "../../../../../../../../../../../../etc/passwd");
    remove_below(tree, "sys/kernel/iommu_groups/12/type");
    put_link(tree, "sys/kernel/iommu_groups/12/type", "type");
    host = vfm_host_read(tree->root, &error);
    assert_null(error);
    assert_null(host->name);
    assert_null(host->kernel);
    assert_null(((VfmIommuGroup *)g_ptr_array_index(host->groups, 1))->type);
}

static void test_names_that_are_no_groups_or_devices_are_left_out(void **state)
{
    Tree *tree = *state;
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmHost) host = NULL;

    put_dir(tree, "sys/kernel/iommu_groups/012");
    put_dir(tree, "sys/kernel/iommu_groups/-1");
    put_dir(tree, "sys/kernel/iommu_groups/99999999999999");
    put_dir(tree, "sys/kernel/iommu_groups/12/devices/\033[31mred");
    host = vfm_host_read(tree->root, &error);
    assert_null(error);
    assert_int_equal(host->groups->len, 2);
    assert_int_equal(((VfmIommuGroup *)g_ptr_array_index(host->groups, 1))->devices->len, 2);
}

/* 300 groups of the same 300 devices are 90,000: too many, though no directory is. */
static void test_linked_directories_cannot_multiply_without_bound(void **state)
{
    Tree *tree = *state;

    for (unsigned i = 0; i < 300; i++) {
        g_autofree char *device = g_strdup_printf("many/0000:%02x:%02x.0", i / 32, i % 32);
        g_autofree char *group = g_strdup_printf("sys/kernel/iommu_groups/%u/devices", 100 + i);

        put_dir(tree, device);
        put_link(tree, group, "../../../../many");
    }
    expect_error(tree, VFM_INPUT_ERROR, "more devices than any host has");
}

static void test_unreadable_is_an_error(void **state)
{
    Tree *tree = *state;
    g_autofree char *file = g_build_filename(tree->root, "proc/meminfo", NULL);

    if (geteuid() == 0) {
        /* Root reads what it likes, so the unreadable is a directory in the place of a file. */
        g_remove(file);
        put_dir(tree, "proc/meminfo");
        expect_error(tree, VFM_INPUT_ERROR, "proc/meminfo: not a regular file");
    } else {
        assert_int_equal(chmod(file, 0), 0);
        expect_error(tree, VFM_SYSTEM_ERROR, "proc/meminfo: open: Permission denied");
    }
}

static void test_a_root_must_be_one(void **state)
{
    Tree *tree = *state;
    g_autofree char *missing = g_build_filename(tree->root, "nowhere", NULL);
    g_autofree char *empty = g_build_filename(tree->root, "empty", NULL);
    g_autoptr(GError) first = NULL, second = NULL;

    assert_null(vfm_host_read(missing, &first));
    assert_true(g_error_matches(first, VFM_SYSTEM_ERROR, ENOENT));
    put_dir(tree, "empty");
    assert_null(vfm_host_read(empty, &second));
    assert_int_equal(second->domain, VFM_INPUT_ERROR);
    assert_non_null(strstr(second->message, "neither sys nor proc"));
}

static void test_this_machine_can_be_read(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmHost) host = vfm_host_read("/", &error);

    assert_null(error);
    assert_non_null(host);
    assert_true(host->page_size.set);
    assert_true(host->page_size.value >= 4096);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_everything_is_read),
        TEST(test_questions_to_the_running_kernel_are_not_asked_of_a_copy),
        TEST(test_missing_parts_are_unknown),
        TEST(test_a_kernel_without_thp_is_known_to_be_one),
        TEST(test_no_groups_means_no_iommu),
        TEST(test_iommufd_and_its_compatibility_layer),
        TEST(test_a_class_without_nodes_is_no_iommufd),
        TEST(test_a_name_that_was_never_set_is_unknown),
        TEST(test_interrupt_remapping_follows_hardware_and_command_line),
        TEST(test_only_the_groups_of_a_domain_are_added),
        TEST(test_a_mediated_device_leads_to_its_group),
        TEST(test_wrong_content_is_an_error_that_names_the_file),
        TEST(test_hostile_files_are_refused_without_hanging),
        TEST(test_links_cannot_leave_the_root),
        TEST(test_names_that_are_no_groups_or_devices_are_left_out),
        TEST(test_linked_directories_cannot_multiply_without_bound),
        TEST(test_unreadable_is_an_error),
        TEST(test_a_root_must_be_one),
        TEST(test_this_machine_can_be_read),
    };

    return cmocka_run_group_tests_name("host-read", tests, NULL, NULL);
}
