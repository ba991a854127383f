/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vfio-pci to vfio-user-pci, and the policy's way to the helper. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "device_rewrite.h"
#include "emulator_devices.h"
#include "error.h"
#include "policy_text.h"

static void test_rewrite(void **state)
{
    static const struct {
        const char *from, *address, *to; /* NULL: an error that names @word */
        const char *word;
    } cases[] = {
        {"vfio-pci,host=0000:01:00.0,id=hostdev0,bus=pci.5,addr=0x0", "0000:01:00.0",
         "{\"driver\":\"vfio-user-pci\",\"id\":\"hostdev0\",\"bus\":\"pci.5\",\"addr\":\"0x0\",\"x-msg-timeout\":7,"
         "\"socket\":{\"type\":\"unix\",\"path\":\"/s\"}}",
         NULL},
        /* As libvirt 12.8 writes it. */
        {"{\"driver\":\"vfio-pci\",\"host\":\"0000:00:10.0\",\"id\":\"hostdev0\",\"bus\":\"pci.1\",\"multifunction\":"
         "true,"
         "\"addr\":\"0x0\",\"bootindex\":1,\"rombar\":0}",
         "0000:00:10.0",
         "{\"driver\":\"vfio-user-pci\",\"id\":\"hostdev0\",\"bus\":\"pci.1\",\"multifunction\":true,\"addr\":\"0x0\","
         "\"bootindex\":1,\"rombar\":0,\"x-msg-timeout\":7,\"socket\":{\"type\":\"unix\",\"path\":\"/s\"}}",
         NULL},
        {"vfio-pci,host=1:00.1,romfile=/a \"b\\c,display=off", "0000:01:00.1",
         "{\"driver\":\"vfio-user-pci\",\"romfile\":\"/a "
         "\\\"b\\\\c\",\"x-msg-timeout\":7,\"socket\":{\"type\":\"unix\","
         "\"path\":\"/s\"}}",
         NULL},
        {"vfio-pci,host=01:00.0,x-pci-vendor-id=0x8086,multifunction=on", "0000:01:00.0",
         "{\"driver\":\"vfio-user-pci\",\"x-pci-vendor-id\":32902,\"multifunction\":true,\"x-msg-timeout\":7,"
         "\"socket\":{\"type\":\"unix\",\"path\":\"/s\"}}",
         NULL},
        {"vfio-pci,host=01:00.0,x-vga=on,id=gpu", "0000:01:00.0", NULL, "x-vga=on"},
        {"vfio-pci,host=01:00.0,display=on", "0000:01:00.0", NULL, "display=on"},
        {"vfio-pci,host=01:00.0,x-no-mmap=on", "0000:01:00.0", NULL, "x-no-mmap"},
        {"vfio-pci,host=01:00.0,bootindex=first", "0000:01:00.0", NULL, "bootindex"},
        {"vfio-pci,sysfsdev=/sys/bus/mdev/devices/4b20d080-1b54-4048-85b3-a6a62d165c01", NULL, NULL, "sysfsdev"},
        {"{\"driver\":\"vfio-pci\",\"fd\":\"3\",\"id\":\"h\"}", NULL, NULL, "iommufd"},
        {"vfio-pci,host=01:00.8", NULL, NULL, "01:00.8"},
        {"vfio-pci,host=01:00.0x", NULL, NULL, "01:00.0x"},
        {"vfio-pci,host=gpu", NULL, NULL, "gpu"},
        {"vfio-pci,id=x", NULL, NULL, "nothing"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(VfmDeviceArg) arg = vfm_device_arg_parse(cases[i].from, "driver", NULL);
        g_autoptr(GError) error = NULL;
        g_autofree char *address = NULL, *to = NULL;

        assert_non_null(arg);
        assert_true(vfm_device_is_vfio_pci(arg));
        address = vfm_device_host_address(arg, &error);
        if (cases[i].address)
            assert_string_equal(address, cases[i].address);
        else
            assert_null(address);
        if (address)
            to = vfm_device_rewrite(arg, "/s", 7, &error);
        if (cases[i].to) {
            assert_string_equal(to, cases[i].to);
        } else {
            assert_null(to);
            if (!strstr(error->message, cases[i].word))
                fail_msg("case %zu: %s", i, error->message);
        }
    }
}

static void test_other_drivers_are_left(void **state)
{
    static const char *const others[] = {"virtio-net-pci,id=net0", "vfio-user-pci,id=x", "vfio-ccw,id=y",
                                         "{\"driver\":\"pcie-root-port\",\"id\":\"pci.1\"}"};

    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        g_autoptr(VfmDeviceArg) arg = vfm_device_arg_parse(others[i], "driver", NULL);

        assert_false(vfm_device_is_vfio_pci(arg));
    }
}

static void test_arguments(void **state)
{
    const char *given[] = {
        "qemu",
        "-object",
        "{\"qom-type\":\"memory-backend-memfd\",\"id\":\"pc.ram\",\"share\":true,\"size\":1073741824}",
        "-device",
        "{\"driver\":\"pcie-root-port\",\"id\":\"pci.1\"}",
        "--device",
        "vfio-pci,host=02:00.0,id=a",
        "-device",
        "{\"driver\":\"vfio-pci\",\"host\":\"0000:03:00.0\",\"id\":\"b\"}",
        "-S",
        NULL};
    const char *argv[G_N_ELEMENTS(given)];
    char *const sockets[] = {(char *)"/run/0.sock", (char *)"/run/1.sock", NULL};
    g_autoptr(GPtrArray) addresses = NULL;
    GError *error = NULL;
    uint64_t ram;

    memcpy(argv, given, sizeof(given));
    assert_true(vfm_emulator_shared_memory((char **)argv, &ram, &error));
    assert_int_equal(ram, 1073741824);
    addresses = vfm_emulator_assigned((char **)argv, &error);
    assert_int_equal(addresses->len, 2);
    assert_string_equal(addresses->pdata[0], "0000:02:00.0");
    assert_string_equal(addresses->pdata[1], "0000:03:00.0");
    assert_true(vfm_emulator_replace((char **)argv, sockets, ram, &error));
    for (size_t i = 0; i < G_N_ELEMENTS(given); i++) {
        if (i == 6 || i == 8)
            assert_non_null(strstr(argv[i], i == 6 ? "/run/0.sock" : "/run/1.sock"));
        else
            assert_ptr_equal(argv[i], given[i]);
    }
    g_free((char *)argv[6]);
    g_free((char *)argv[8]);
    /* One that can't be kept: none is changed. */
    memcpy(argv, given, sizeof(given));
    argv[8] = "vfio-pci,host=03:00.0,x-vga=on";
    assert_false(vfm_emulator_replace((char **)argv, sockets, ram, &error));
    assert_ptr_equal(argv[6], given[6]);
    g_clear_error(&error);
}

static void test_memory_must_be_shared(void **state)
{
    static const char *const bad[] = {
        "{\"qom-type\":\"memory-backend-ram\",\"id\":\"pc.ram\",\"size\":1024}",
        "memory-backend-ram,id=m,size=1G,share=on",
        "memory-backend-memfd,id=m,size=1G,share=off",
        "memory-backend-file,id=m,mem-path=/dev/hugepages,size=1G",
        "secret,id=s,file=/f",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        const char *argv[] = {"qemu", "-object", bad[i], NULL};
        GError *error = NULL;
        uint64_t ram;

        assert_false(vfm_emulator_shared_memory((char **)argv, &ram, &error));
        assert_non_null(strstr(error->message, "memfd"));
        g_clear_error(&error);
    }
}

static void test_a_viommu_is_refused(void **state)
{
    static const char *const bad[][2] = {
        {"-device", "intel-iommu,intremap=on,caching-mode=on,eim=on"},
        {"-device", "{\"driver\":\"intel-iommu\",\"id\":\"iommu0\",\"intremap\":\"on\",\"caching-mode\":true}"},
        {"-device", "intel-iommu,dma-translation=off,dma-translation=on"},
        {"-device", "{\"driver\":\"intel-iommu\",\"dma-translation\":true}"},
        {"-device", "amd-iommu,dma-translation=off"},
        {"--device", "{\"driver\":\"virtio-iommu-pci\",\"id\":\"iommu0\"}"},
        {"-device", "virtio-iommu-device"},
        {"-device", "arm-smmuv3,primary-bus=pcie.1,id=smmuv3.1"},
        {"-device", "riscv-iommu-pci"},
        {"-machine", "virt,iommu=smmuv3,gic-version=3"},
        {"-M", "virt,iommu=smmuv3"},
        {"-machine", "virt,iommu-sys=on"},
        {"-machine", "pseries-9.2,accel=kvm"},
        {"-machine", "s390-ccw-virtio-9.2"},
    };
    static const char *const good[][2] = {
        {"-device", "{\"driver\":\"intel-iommu\",\"intremap\":\"on\",\"eim\":\"on\",\"dma-translation\":false}"},
        {"-device", "intel-iommu,intremap=on,dma-translation=off"},
        {"-device", "virtio-net-pci,iommu_platform=on,id=net0"},
        {"-device", "vfio-pci,host=02:00.0,iommufd=iommufd0"},
        {"-object", "iommufd,id=iommufd0"},
        {"-machine", "virt,iommu=none,iommu-sys=auto"},
        {"-machine", "pc-q35-10.1,kernel_irqchip=split,default_bus_bypass_iommu=on"},
        {"-name", "guest=intel-iommu"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        const char *argv[] = {"qemu", "-nodefaults", bad[i][0], bad[i][1], "-S", NULL};
        g_autoptr(GError) error = NULL;

        if (vfm_emulator_untranslated((char **)argv, &error))
            fail_msg("%s %s", bad[i][0], bad[i][1]);
        assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_POLICY));
        assert_non_null(strstr(error->message, "vIOMMU"));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        const char *argv[] = {"qemu", "-nodefaults", good[i][0], good[i][1], "-S", NULL};

        if (!vfm_emulator_untranslated((char **)argv, NULL))
            fail_msg("%s %s", good[i][0], good[i][1]);
    }
}

/* The start asks for it, before it runs anything for the devices. */
static void test_the_start_refuses_a_viommu(void **state)
{
    static const char qemu[] = "#!/bin/sh\necho QEMU emulator version 10.1.2\n";
    const char *argv[] = {"qemu",
                          "-object",
                          "{\"qom-type\":\"memory-backend-memfd\",\"id\":\"pc.ram\",\"share\":true,\"size\":1024}",
                          "-device",
                          "{\"driver\":\"virtio-iommu-pci\",\"id\":\"iommu0\"}",
                          "-device",
                          "{\"driver\":\"vfio-pci\",\"host\":\"0000:03:00.0\",\"id\":\"b\"}",
                          NULL};
    g_autofree char *folder = g_dir_make_tmp("vfiomem-XXXXXX", NULL);
    g_autofree char *emulator = g_build_filename(folder, "qemu", NULL);
    VfmPolicy policy = {.owner = VFM_OWNER_HELPER};
    g_autoptr(GError) error = NULL;

    assert_true(g_file_set_contents_full(emulator, qemu, -1, G_FILE_SET_CONTENTS_NONE, 0755, NULL));
    assert_int_equal(vfm_emulator_start_devices("/bin/false", emulator, (char **)argv, &policy, &error), -1);
    assert_non_null(strstr(error->message, "vIOMMU (virtio-iommu-pci)"));
    assert_non_null(strstr(argv[6], "vfio-pci"));
    unlink(emulator);
    rmdir(folder);
}

static void test_timeout_fits_the_guest(void **state)
{
    assert_int_equal(vfm_emulator_timeout(0), 30000);
    assert_int_equal(vfm_emulator_timeout(UINT64_C(1) << 30), 32000);
    assert_true(vfm_emulator_timeout(UINT64_MAX) <= 3700000);
}

static void test_policy_text(void **state)
{
    static const char text[] = "balloon=resize required=yes mappings=10 headroom=2 owner=helper backend=iommufd "
                               "window=0x10000000:0x10000000 window=0:4096";
    static const char *const bad[] = {"owner=me",       "backend=vfio",   "window=",
                                      "window=1",       "window=0:0",     "window=0x1:0x2:0x3",
                                      "window=-1:4096", "window=4096:-1", "window=0xffffffffffffffff:2",
                                      "window=1k:4096"};
    VfmPolicy policy = {0};
    g_autofree char *back = NULL;

    assert_true(vfm_policy_from_text(&policy, text, NULL));
    assert_int_equal(policy.owner, VFM_OWNER_HELPER);
    assert_int_equal(policy.backend, VFM_BACKEND_IOMMUFD);
    assert_int_equal(policy.windows->len, 2);
    assert_int_equal(g_array_index(policy.windows, VfmWindow, 0).size, 0x10000000);
    back = vfm_policy_to_text(&policy);
    assert_string_equal(back, "balloon=resize required=yes mappings=10 headroom=2 owner=helper backend=iommufd "
                              "window=0x10000000:0x10000000 window=0:0x1000");
    g_array_unref(policy.windows);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        VfmPolicy other = {0};
        g_autoptr(GError) error = NULL;

        if (vfm_policy_from_text(&other, bad[i], &error))
            fail_msg("%s was taken", bad[i]);
        if (other.windows)
            g_array_unref(other.windows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rewrite),
        cmocka_unit_test(test_other_drivers_are_left),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_memory_must_be_shared),
        cmocka_unit_test(test_a_viommu_is_refused),
        cmocka_unit_test(test_the_start_refuses_a_viommu),
        cmocka_unit_test(test_timeout_fits_the_guest),
        cmocka_unit_test(test_policy_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
