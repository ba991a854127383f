/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "error.h"
#include "host_json.h"

#include <string.h>

static VfmHost *from(const char *text, GError **error)
{
    return vfm_host_from_json(text, strlen(text), "host.json", error);
}

static VfmHost *full_host(void)
{
    VfmHost *host = vfm_host_new();
    VfmHostHugepage pages = {.size = 2 << 20, .total = VFM_SOME(0), .free = VFM_NONE};
    VfmIommuGroup *group = vfm_host_add_group(host, 4);
    VfmHostDevice *device = vfm_iommu_group_add_device(group, "0000:01:00.0");
    VfmReserved top = {.start = 0xfffffffffff00000, .end = UINT64_MAX, .type = VFM_RESERVED_MSI};
    VfmReserved low = {.start = 0, .end = 0xfff, .type = VFM_RESERVED_DIRECT_RELAXABLE};

    host->name = g_strdup("rack \"7\"\n\033[31m");
    host->kernel = g_strdup("6.1");
    host->memory = VFM_SOME(UINT64_C(1) << 40);
    host->page_size = VFM_SOME(4096);
    host->phys_bits = VFM_SOME(46);
    host->thp_known = true;
    host->thp_size = VFM_SOME(2 << 20);
    host->default_hugepage = VFM_SOME(2 << 20);
    g_array_append_val(host->hugepages, pages);
    host->dma_entry_limit = VFM_SOME(0);
    host->kvm_memslots = VFM_SOME(32764);
    host->iommu = VFM_ON;
    host->interrupt_remapping = VFM_OFF;
    host->iommufd = VFM_ON;
    host->vfio_compat = VFM_OFF;
    group->type = g_strdup("DMA-FQ");
    group->reserved_known = true;
    g_array_append_val(group->reserved, low);
    g_array_append_val(group->reserved, top);
    device->driver = g_strdup("vfio-pci");
    device->vendor = VFM_SOME(0x10de);
    device->device = VFM_SOME(0x1);
    device->class_code = VFM_SOME(0x30000);
    device->numa_node = VFM_SOME(0);
    device->cdev = g_strdup("vfio0");
    vfm_iommu_group_add_device(vfm_host_add_group(host, 9), "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001");
    return host;
}

static void expect_round_trip(const VfmHost *host)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *first = vfm_host_to_json(host);
    g_autoptr(VfmHost) back = from(first, &error);
    g_autofree char *second = NULL;

    assert_null(error);
    assert_non_null(back);
    second = vfm_host_to_json(back);
    assert_string_equal(first, second);
}

static void test_round_trip(void **state)
{
    g_autoptr(VfmHost) full = full_host();
    g_autoptr(VfmHost) empty = vfm_host_new();
    g_autoptr(VfmHost) without_thp = vfm_host_new();

    without_thp->thp_known = true;
    expect_round_trip(full);
    expect_round_trip(empty);
    expect_round_trip(without_thp);
}

static void test_values_survive(void **state)
{
    g_autoptr(VfmHost) host = full_host();
    g_autofree char *text = vfm_host_to_json(host);
    g_autoptr(VfmHost) back = from(text, NULL);
    const VfmIommuGroup *group = g_ptr_array_index(back->groups, 0);
    const VfmHostDevice *device = g_ptr_array_index(group->devices, 0);

    assert_string_equal(back->name, "rack \"7\"\n\033[31m");
    assert_null(strchr(text, '\033'));
    assert_true(back->memory.value == UINT64_C(1) << 40);
    assert_true(back->dma_entry_limit.set);
    assert_int_equal(back->dma_entry_limit.value, 0);
    assert_int_equal(back->unsafe_interrupts, VFM_ABSENT);
    assert_int_equal(back->interrupt_remapping, VFM_OFF);
    assert_true(g_array_index(back->hugepages, VfmHostHugepage, 0).total.set);
    assert_false(g_array_index(back->hugepages, VfmHostHugepage, 0).free.set);
    assert_true(g_array_index(group->reserved, VfmReserved, 1).end == UINT64_MAX);
    assert_int_equal(device->vendor.value, 0x10de);
    assert_true(device->numa_node.set);
    assert_string_equal(device->cdev, "vfio0");
    group = g_ptr_array_index(back->groups, 1);
    assert_false(group->reserved_known);
}

static void test_absent_members_are_unknown(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmHost) host = from("{\"format\":\"vfiomem-host-1\"}", &error);

    assert_null(error);
    assert_false(host->memory.set);
    assert_false(host->thp_known);
    assert_int_equal(host->iommu, VFM_ABSENT);
}

static void test_order_is_made(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmHost) host = from("{\"format\":\"vfiomem-host-1\",\"groups\":[{\"id\":9},{\"id\":2,\"reserved\":["
                                   "{\"start\":\"0x5\",\"end\":\"0x6\",\"type\":\"msi\"},"
                                   "{\"start\":\"0x1\",\"end\":\"0x1\",\"type\":\"reserved\"}]}]}",
                                   &error);
    const VfmIommuGroup *group;

    assert_null(error);
    group = g_ptr_array_index(host->groups, 0);
    assert_int_equal(group->id, 2);
    assert_int_equal(g_array_index(group->reserved, VfmReserved, 0).start, 1);
}

static void test_errors_name_file_and_member(void **state)
{
#define HOST(members) "{\"format\":\"vfiomem-host-1\"," members "}"
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "host.json: not a JSON object"},
        {"[]", "host.json: not a JSON object"},
        {"{", "host.json:1:"},
        {"{\n\"format\":\n}", "host.json:3:"},
        {"<domain/>", "host.json:1:"},
        {"{}", "host.json: format: must be \"vfiomem-host-1\""},
        {"{\"format\":\"vfiomem-host-2\"}", "of a later version"},
        {"{\"format\":1}", "format: must be a string"},
        {HOST("\"memmory\":1"), "host.json: memmory: unknown member"},
        {HOST("\"memory\":\"1G\""), "memory: must be a whole number"},
        {HOST("\"memory\":1.5"), "memory: must be a whole number"},
        {HOST("\"memory\":0"), "memory: must not be zero"},
        {HOST("\"memory\":-1"), "memory: must lie between"},
        {HOST("\"memory\":99999999999999999999"), "memory: must lie between"},
        {HOST("\"thp_size\":0"), "thp_size: must not be zero"},
        {HOST("\"thp_size\":\"some\""), "thp_size: must be a whole number"},
        {HOST("\"iommu\":1"), "iommu: must be true, false or null"},
        {HOST("\"hugepages\":{}"), "hugepages: must be an array"},
        {HOST("\"hugepages\":[1]"), "hugepages[0]: must be an object"},
        {HOST("\"hugepages\":[{\"total\":1}]"), "hugepages[0].size: is missing"},
        {HOST("\"groups\":[{\"id\":1},{}]"), "groups[1].id: must be a group number"},
        {HOST("\"groups\":[{\"id\":1},{\"id\":1}]"), "groups: the group 1 is there twice"},
        {HOST("\"groups\":[{\"id\":99999999999}]"), "groups[0].id: must be a group number"},
        {HOST("\"groups\":[{\"id\":1,\"devices\":[{}]}]"), "groups[0].devices[0].address: is missing"},
        {HOST("\"groups\":[{\"id\":1,\"devices\":[{\"address\":\"a\",\"vendor\":\"10de\"}]}]"),
         "groups[0].devices[0].vendor: must be a string like"},
        {HOST("\"groups\":[{\"id\":1,\"reserved\":[{\"start\":\"0x1\",\"end\":\"0x1ffffffffffffffff\",\"type\":"
              "\"msi\"}]}]"),
         "groups[0].reserved[0].end: must be a string like"},
        {HOST("\"groups\":[{\"id\":1,\"reserved\":[{\"start\":\"0x2\",\"end\":\"0x1\",\"type\":\"msi\"}]}]"),
         "groups[0].reserved[0].end: lies before start"},
        {HOST("\"groups\":[{\"id\":1,\"reserved\":[{\"start\":\"0x1\",\"end\":\"0x1\",\"type\":\"odd\"}]}]"),
         "groups[0].reserved[0].type: must be direct"},
        {HOST("\"groups\":[{\"id\":1,\"reserved\":[{\"start\":\"0x1\",\"type\":\"msi\"}]}]"),
         "groups[0].reserved[0]: needs start, end and type"},
        {HOST("\"name\":[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]"), "nested deeper"},
        {"\xff\xfe", "not a text in UTF-8"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(VfmHost) host = from(cases[i].text, &error);

        assert_null(host);
        assert_non_null(error);
        assert_int_equal(error->domain, VFM_INPUT_ERROR);
        if (!strstr(error->message, cases[i].message))
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].text, error->message, cases[i].message);
    }
}

static void test_size_is_bounded(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strnfill(VFM_HOST_JSON_MAX + 1, ' ');

    assert_null(vfm_host_from_json(text, VFM_HOST_JSON_MAX + 1, "big.json", &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_TOO_LARGE));
}

static void test_every_truncation_is_an_error(void **state)
{
    g_autoptr(VfmHost) host = full_host();
    g_autofree char *text = vfm_host_to_json(host);
    const size_t length = strlen(text) - 1; /* less the newline */

    for (size_t i = 0; i < length; i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(VfmHost) cut = vfm_host_from_json(text, i, "cut.json", &error);

        assert_null(cut);
        assert_non_null(error);
    }
}

/* Bytes changed, removed and doubled at random: read or refused, never a crash, and an error has words. */
static void test_mutations_are_read_or_refused(void **state)
{
    const guint32 seed = g_random_int();
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    g_autoptr(VfmHost) host = full_host();
    g_autofree char *text = vfm_host_to_json(host);

    print_message("seed %u\n", seed);
    for (unsigned i = 0; i < 20000; i++) {
        g_autoptr(GString) mutant = g_string_new(text);
        g_autoptr(GError) error = NULL;
        g_autoptr(VfmHost) read = NULL;

        for (unsigned changes = 1 + i % 4; changes; changes--) {
            const gssize at = g_rand_int_range(rand, 0, (gint32)mutant->len);
            const gssize length = g_rand_int_range(rand, 1, 9);

            if (i % 3 == 0)
                mutant->str[at] = "{}[]\":,0-9xnull"[g_rand_int_range(rand, 0, 15)];
            else if (i % 3 == 1)
                g_string_erase(mutant, at, MIN(length, (gssize)mutant->len - at));
            else
                g_string_insert_len(mutant, at, text + strlen(text) / 2, length);
        }
        read = vfm_host_from_json(mutant->str, mutant->len, "mutant.json", &error);
        if ((read == NULL) != (error != NULL) || (error && !*error->message))
            fail_msg("seed %u, mutant %u: %s", seed, i, mutant->str);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_values_survive),
        cmocka_unit_test(test_absent_members_are_unknown),
        cmocka_unit_test(test_order_is_made),
        cmocka_unit_test(test_errors_name_file_and_member),
        cmocka_unit_test(test_size_is_bounded),
        cmocka_unit_test(test_every_truncation_is_an_error),
        cmocka_unit_test(test_mutations_are_read_or_refused),
    };

    return cmocka_run_group_tests_name("host-json", tests, NULL, NULL);
}
