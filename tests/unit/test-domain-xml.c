/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What xml/ makes of good domains. Bad ones: test-domain-xml-bad.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "domain_xml.h"
#include "error.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define HEAD "<domain type='kvm'>\n<name>g</name>\n<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>\n"
#define MEM "<memory unit='GiB'>4</memory>\n"
#define CELLS                                                                                                          \
    "<cpu><numa><cell id='0' cpus='0' memory='2' unit='GiB'/><cell id='1' cpus='1' memory='2' unit='GiB'/></numa>"     \
    "</cpu>\n"
#define DEV "<devices>\n"
#define END "</devices>\n</domain>\n"

static VfmDomain *parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    VfmDomain *domain = vfm_domain_xml_parse(text, strlen(text), "test.xml", &error);

    if (!domain)
        fail_msg("%s", error->message);
    return domain;
}

static const VfmAssigned *assigned(const VfmDomain *domain, guint index)
{
    assert_true(index < domain->assigned->len);
    return domain->assigned->pdata[index];
}

static const VfmMemoryDevice *memory(const VfmDomain *domain, guint index)
{
    assert_true(index < domain->memory_devices->len);
    return domain->memory_devices->pdata[index];
}

static void test_minimal_domain_gets_libvirts_defaults(void **state)
{
    g_autoptr(VfmDomain) domain = parse("<domain type='kvm'><memory>1048576</memory></domain>");

    assert_string_equal(domain->name, "");
    assert_null(domain->uuid);
    assert_int_equal(domain->accel, VFM_ACCEL_KVM);
    assert_int_equal(domain->arch, VFM_ARCH_X86_64);
    assert_int_equal(domain->machine, VFM_MACHINE_I440FX);
    assert_int_equal(domain->boot, GIB);
    assert_int_equal(domain->vcpus, 1);
    assert_true(domain->balloon.present && domain->balloon.implicit);
    assert_string_equal(domain->balloon.model, "virtio");
    assert_false(domain->live || domain->vga || domain->pflash || domain->policy.present);
}

static void test_domstatus_is_unwrapped(void **state)
{
    g_autoptr(VfmDomain) domain =
        parse("<domstatus state='running' pid='1'><monitor path='/x'/>" HEAD MEM "</domain></domstatus>");

    assert_true(domain->live);
    assert_int_equal(domain->boot, 4 * GIB);
    assert_int_equal(domain->machine, VFM_MACHINE_Q35);
}

static void test_boot_memory(void **state)
{
    static const struct {
        const char *text;
        uint64_t boot;
    } cases[] = {
        {HEAD MEM "</domain>", 4 * GIB},
        {HEAD CELLS "</domain>", 4 * GIB},
        {HEAD "<memory unit='GiB'>99</memory>" CELLS "</domain>", 4 * GIB},
        {HEAD MEM DEV "<memory model='dimm'><target><size unit='GiB'>1</size></target></memory>" END, 3 * GIB},
        {HEAD CELLS DEV "<memory model='dimm'><target><size unit='GiB'>1</size><node>1</node></target></memory>" END,
         4 * GIB},
        {HEAD "<memory unit='MB'>1</memory></domain>", 977 * 1024},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        g_autoptr(VfmDomain) domain = parse(cases[i].text);

        if (domain->boot != cases[i].boot)
            fail_msg("case %zu: boot %" G_GUINT64_FORMAT, i, domain->boot);
    }
}

static void test_default_balloon_is_where_libvirt_adds_it(void **state)
{
    static const struct {
        const char *type, *arch, *machine;
        bool present;
    } cases[] = {
        {"kvm", "x86_64", "q35", true},         {"qemu", "x86_64", "pc", true},
        {"kvm", "x86_64", "microvm", false},    {"kvm", "x86_64", "isapc", false},
        {"kvm", "aarch64", "virt", false},      {"kvm", "s390x", "s390-ccw-virtio", true},
        {"kvm", "ppc64le", "pseries", true},    {"qemu", "riscv64", "virt", false},
        {"xen", "x86_64", "xenfv", false},      {"qemu", "sparc64", "sun4u", true},
        {"qemu", "loongarch64", "virt", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        g_autofree char *text =
            g_strdup_printf("<domain type='%s'><memory>1048576</memory><os><type arch='%s' machine='%s'>hvm</type></os>"
                            "<devices/></domain>",
                            cases[i].type, cases[i].arch, cases[i].machine);
        g_autoptr(VfmDomain) domain = parse(text);

        if (domain->balloon.present != cases[i].present || domain->balloon.implicit != cases[i].present)
            fail_msg("%s %s: present %d", cases[i].arch, cases[i].machine, domain->balloon.present);
    }
}

static void test_balloon_attributes(void **state)
{
    g_autoptr(VfmDomain) some =
        parse(HEAD MEM DEV "<memballoon model='virtio' freePageReporting='on' autodeflate='off'/>" END);
    g_autoptr(VfmDomain) none = parse(HEAD MEM DEV "<memballoon model='none'/>" END);

    assert_true(some->balloon.present && !some->balloon.implicit);
    assert_int_equal(some->balloon.free_page_reporting, VFM_ON);
    assert_int_equal(some->balloon.autodeflate, VFM_OFF);
    assert_int_equal(some->balloon.line, 6);
    assert_false(none->balloon.present);
}

static void test_every_door_to_guest_memory(void **state)
{
    static const char text[] = HEAD MEM DEV
        "<hostdev mode='subsystem' type='pci' managed='yes'><driver name='vfio'/><source>"
        "<address domain='0x0000' bus='0x01' slot='0x00' function='0x1'/></source><alias name='ua-gpu'/></hostdev>\n"
        "<hostdev mode='subsystem' type='pci'><driver iommufd='yes' model='mlx5_vfio_pci'/><source>"
        "<address domain='1' bus='2' slot='3' function='4'/></source><address type='unassigned'/></hostdev>\n"
        "<hostdev mode='subsystem' type='mdev' model='vfio-pci' managed='yes'><source>"
        "<address uuid='4b20d080-1b54-4048-85b3-a6a62d165c01'/></source></hostdev>\n"
        "<hostdev mode='subsystem' type='usb'><source><vendor id='0x1'/></source></hostdev>\n"
        "<interface type='hostdev' managed='yes'><source>"
        "<address type='pci' domain='0x0000' bus='0x81' slot='0x10' function='0x2'/></source></interface>\n"
        "<interface type='network'><source network='vfs'/></interface>\n"
        "<interface type='network'><source network='default' bridge='virbr0'/></interface>\n"
        "<interface type='bridge'><source bridge='br0'/></interface>\n"
        "<interface type='vdpa'><source dev='/dev/vhost-vdpa-0'/></interface>\n"
        "<disk type='nvme' device='disk'><source type='pci' managed='no' namespace='1'>"
        "<address domain='0x0000' bus='0x05' slot='0x00' function='0x0'/></source></disk>\n"
        "<disk type='file' device='disk'><source file='/x'/><backingStore type='nvme'><format type='raw'/>"
        "<source type='pci' managed='yes' namespace='2'><address bus='0x06' slot='0'/></source><backingStore/>"
        "</backingStore></disk>\n"
        "<disk type='vhostvdpa' device='disk'><source dev='/dev/vhost-vdpa-1'/></disk>\n" END;
    static const struct {
        VfmAssignedKind kind;
        VfmAssignedVia via;
        const char *address;
        bool managed;
        unsigned line;
    } expected[] = {
        {VFM_ASSIGNED_PCI, VFM_VIA_HOSTDEV, "0000:01:00.1", true, 6},
        {VFM_ASSIGNED_PCI, VFM_VIA_HOSTDEV, "0001:02:03.4", false, 7},
        {VFM_ASSIGNED_MDEV, VFM_VIA_HOSTDEV, "4b20d080-1b54-4048-85b3-a6a62d165c01", false, 8},
        {VFM_ASSIGNED_PCI, VFM_VIA_INTERFACE, "0000:81:10.2", true, 10},
        {VFM_ASSIGNED_PCI, VFM_VIA_INTERFACE, NULL, false, 11},
        {VFM_ASSIGNED_VDPA, VFM_VIA_INTERFACE, "/dev/vhost-vdpa-0", false, 14},
        {VFM_ASSIGNED_NVME, VFM_VIA_DISK, "0000:05:00.0", false, 15},
        {VFM_ASSIGNED_NVME, VFM_VIA_DISK, "0000:06:00.0", true, 16},
        {VFM_ASSIGNED_VDPA, VFM_VIA_DISK, "/dev/vhost-vdpa-1", false, 17},
    };
    g_autoptr(VfmDomain) domain = parse(text);

    assert_int_equal(domain->assigned->len, sizeof(expected) / sizeof(expected[0]));
    for (guint i = 0; i < domain->assigned->len; i++) {
        const VfmAssigned *is = assigned(domain, i);

        assert_int_equal(is->kind, expected[i].kind);
        assert_int_equal(is->via, expected[i].via);
        if (g_strcmp0(is->address, expected[i].address) != 0)
            fail_msg("device %u: %s", i, is->address);
        assert_int_equal(is->managed, expected[i].managed);
        assert_int_equal(is->line, expected[i].line);
    }
    assert_string_equal(assigned(domain, 0)->alias, "ua-gpu");
    assert_string_equal(assigned(domain, 0)->driver, "vfio");
    assert_true(assigned(domain, 1)->iommufd && assigned(domain, 1)->unassigned);
    assert_string_equal(assigned(domain, 1)->driver, "mlx5_vfio_pci");
    assert_string_equal(assigned(domain, 2)->model, "vfio-pci");
    assert_true(assigned(domain, 4)->unresolved);
    assert_string_equal(assigned(domain, 4)->network, "vfs");
}

static void test_iommufd_of_the_domain_is_the_devices_default(void **state)
{
    g_autoptr(VfmDomain) domain = parse(
        HEAD MEM "<iommufd enabled='yes' fdgroup='iommu'/>" DEV
                 "<hostdev type='pci'><source><address bus='0x22'/></source></hostdev>"
                 "<hostdev type='pci'><driver iommufd='no'/><source><address bus='0x23'/></source></hostdev>" END);

    assert_true(domain->iommufd_domain);
    assert_true(assigned(domain, 0)->iommufd);
    assert_false(assigned(domain, 1)->iommufd);
}

static void test_status_file_resolves_pools(void **state)
{
    g_autoptr(VfmDomain) domain = parse(
        "<domstatus>" HEAD MEM DEV
        "<interface type='network'><source network='vfs'/><actual type='hostdev' managed='yes'><source>"
        "<address type='pci' bus='0x81' slot='0x10' function='0x1'/></source></actual></interface>"
        "<interface type='network'><source network='default'/><actual type='network'/></interface>" END "</domstatus>");

    assert_int_equal(domain->assigned->len, 1);
    assert_string_equal(assigned(domain, 0)->address, "0000:81:10.1");
    assert_string_equal(assigned(domain, 0)->network, "vfs");
    assert_true(assigned(domain, 0)->managed && !assigned(domain, 0)->unresolved);
}

static void test_networks_are_unresolved_until_libvirt_made_a_port(void **state)
{
    static const struct {
        const char *source;
        unsigned devices;
    } cases[] = {
        {"<source network='n'/>", 1},
        {"<source network='n' portid='4b20d080-1b54-4048-85b3-a6a62d165c01' bridge='virbr0'/>", 0},
        {"<source network='n' portid='4b20d080-1b54-4048-85b3-a6a62d165c01'/>", 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        g_autofree char *text = g_strdup_printf(
            "<domain type='kvm' id='7'>" MEM DEV "<interface type='network'>%s</interface>" END, cases[i].source);
        g_autoptr(VfmDomain) domain = parse(text);

        assert_int_equal(domain->assigned->len, cases[i].devices);
    }
}

static void test_strangers_prefixes_are_their_own_affair(void **state)
{
    g_autoptr(VfmDomain) domain = parse(
        HEAD MEM "<metadata><a:b xmlns:a='urn:a'><c:d/></a:b></metadata><devices><x><y:z/></x></devices></domain>");

    assert_int_equal(domain->boot, 4 * GIB);
}

static void test_memory_devices(void **state)
{
    static const char text[] = HEAD
        "<maxMemory slots='16' unit='GiB'>256</maxMemory>\n" CELLS DEV
        "<memory model='dimm' access='private' discard='yes'>\n"
        "<source><pagesize unit='KiB'>2048</pagesize><nodemask>0-1</nodemask></source>\n"
        "<target><size unit='GiB'>1</size><node>1</node></target>\n"
        "<address type='dimm' slot='3' base='0x100000000'/></memory>\n"
        "<memory model='nvdimm'><source><path>/tmp/nvdimm</path><pmem/></source>"
        "<target><size unit='GiB'>1</size><node>0</node><label><size unit='KiB'>128</size></label><readonly/></target>"
        "</memory>\n"
        "<memory model='virtio-pmem' access='shared'><source><path>/tmp/p</path></source>"
        "<target><size unit='GiB'>2</size></target></memory>\n"
        "<memory model='virtio-mem'><alias name='ua-vm0'/>\n"
        "<target dynamicMemslots='yes'><size unit='GiB'>8</size><node>0</node>\n"
        "<block unit='MiB'>2</block>\n"
        "<requested unit='GiB'>1</requested><current unit='MiB'>512</current><address base='0x200000000'/></target>\n"
        "</memory>\n"
        "<memory model='sgx-epc'><source><nodemask>0</nodemask></source><target><size unit='MiB'>64</size></target>"
        "</memory>\n"
        "<memory model='egm'><target><size unit='MiB'>64</size></target></memory>\n" END;
    g_autoptr(VfmDomain) domain = parse(text);
    const VfmMemoryDevice *dimm = memory(domain, 0), *nvdimm = memory(domain, 1), *pmem = memory(domain, 2);
    const VfmMemoryDevice *vmem = memory(domain, 3), *sgx = memory(domain, 4), *other = memory(domain, 5);

    assert_int_equal(domain->max_memory.value, 256 * GIB);
    assert_int_equal(domain->slots.value, 16);
    assert_int_equal(dimm->model, VFM_MEM_DIMM);
    assert_int_equal(dimm->pagesize.value, 2 * MIB);
    assert_string_equal(dimm->nodemask, "0-1");
    assert_int_equal(dimm->node.value, 1);
    assert_int_equal(dimm->slot.value, 3);
    assert_int_equal(dimm->base.value, 0x100000000);
    assert_int_equal(dimm->discard, VFM_ON);
    assert_int_equal(dimm->shared, VFM_OFF);
    assert_int_equal(dimm->line, 7);
    assert_int_equal(nvdimm->model, VFM_MEM_NVDIMM);
    assert_string_equal(nvdimm->path, "/tmp/nvdimm");
    assert_int_equal(nvdimm->label.value, 128 * 1024);
    assert_true(nvdimm->readonly && nvdimm->pmem);
    assert_int_equal(pmem->model, VFM_MEM_VIRTIO_PMEM);
    assert_int_equal(pmem->shared, VFM_ON);
    assert_false(pmem->node.set);
    assert_int_equal(vmem->model, VFM_MEM_VIRTIO_MEM);
    assert_string_equal(vmem->alias, "ua-vm0");
    assert_int_equal(vmem->size, 8 * GIB);
    assert_int_equal(vmem->block.value, 2 * MIB);
    assert_int_equal(vmem->requested.value, GIB);
    assert_int_equal(vmem->current.value, 512 * MIB);
    assert_int_equal(vmem->base.value, 0x200000000);
    assert_int_equal(vmem->dynamic_memslots, VFM_ON);
    assert_int_equal(vmem->block_line, vmem->line + 2);
    assert_int_equal(vmem->requested_line, vmem->line + 3);
    assert_int_equal(sgx->model, VFM_MEM_SGX_EPC);
    assert_int_equal(other->model, VFM_MEM_OTHER);
    assert_string_equal(other->model_name, "egm");
}

static void test_backing_and_limits(void **state)
{
    g_autoptr(VfmDomain) domain =
        parse(HEAD MEM "<currentMemory unit='GiB'>3</currentMemory>" CELLS
                       "<memoryBacking><hugepages><page size='1' unit='G' nodeset='0'/><page size='2048' nodeset='1'/>"
                       "</hugepages><nosharepages/><locked/><source type='memfd'/><access mode='shared'/>"
                       "<allocation mode='immediate'/><discard/></memoryBacking>\n"
                       "<memtune>\n<hard_limit unit='GiB'>6</hard_limit></memtune></domain>");
    g_autoptr(VfmDomain) plain =
        parse(HEAD MEM "<memoryBacking><hugepages/></memoryBacking><memtune><hard_limit>9007199254740991</hard_limit>"
                       "</memtune></domain>");

    assert_int_equal(domain->current_memory.value, 3 * GIB);
    assert_int_equal(domain->backing.hugepages->len, 2);
    assert_int_equal(g_array_index(domain->backing.hugepages, VfmHugepage, 0).size, GIB);
    assert_int_equal(g_array_index(domain->backing.hugepages, VfmHugepage, 1).size, 2 * MIB);
    assert_string_equal(g_array_index(domain->backing.hugepages, VfmHugepage, 1).nodeset, "1");
    assert_true(domain->backing.use_hugepages && domain->backing.nosharepages && domain->backing.locked);
    assert_true(domain->backing.discard && domain->backing.prealloc);
    assert_int_equal(domain->backing.source, VFM_SOURCE_MEMFD);
    assert_int_equal(domain->backing.shared, VFM_ON);
    assert_int_equal(domain->hard_limit.value, 6 * GIB);
    assert_int_equal(domain->memtune_line, 8);
    assert_true(plain->backing.use_hugepages);
    assert_int_equal(plain->backing.hugepages->len, 0);
    assert_false(plain->hard_limit.set); /* libvirt's word for unlimited */
}

static void test_machine_and_cpu(void **state)
{
    g_autoptr(VfmDomain) domain =
        parse("<domain type='qemu' id='7'><name> n </name><uuid>4b20d080-1b54-4048-85b3-a6a62d165c01</uuid>" MEM
              "<vcpu placement='static' current='1'>8</vcpu><os firmware='efi'><type machine='q35'>hvm</type></os>"
              "<cpu mode='custom'><model>EPYC-Milan</model><maxphysaddr mode='emulate' bits='46'/></cpu>"
              "<launchSecurity type='sev'><cbitpos>47</cbitpos></launchSecurity>" DEV
              "<emulator>/usr/bin/qemu-system-x86_64</emulator><graphics type='vnc'/>"
              "<iommu model='intel'><driver intremap='on' caching_mode='on' eim='off' iotlb='on' aw_bits='48' "
              "dma_translation='off'/></iommu>" END);
    const VfmIommu *iommu = domain->iommus->pdata[0];

    assert_true(domain->live && domain->pflash && domain->amd_cpu && domain->vga);
    assert_int_equal(domain->accel, VFM_ACCEL_TCG);
    assert_int_equal(domain->arch, VFM_ARCH_X86_64);
    assert_int_equal(domain->vcpus, 8);
    assert_int_equal(domain->phys_bits.value, 46);
    assert_string_equal(domain->name, "n");
    assert_string_equal(domain->emulator, "/usr/bin/qemu-system-x86_64");
    assert_string_equal(domain->launch_security, "sev");
    assert_int_equal(iommu->model, VFM_IOMMU_INTEL);
    assert_int_equal(iommu->caching_mode, VFM_ON);
    assert_int_equal(iommu->eim, VFM_OFF);
    assert_int_equal(iommu->aw_bits.value, 48);
    assert_int_equal(iommu->dma_translation, VFM_OFF);
}

static void test_many_vcpus_imply_an_iommu(void **state)
{
    g_autoptr(VfmDomain) with = parse(HEAD MEM "<vcpu>256</vcpu></domain>");
    g_autoptr(VfmDomain) without = parse(HEAD MEM "<vcpu>255</vcpu></domain>");

    assert_int_equal(with->iommus->len, 1);
    assert_true(((VfmIommu *)with->iommus->pdata[0])->implicit);
    assert_int_equal(without->iommus->len, 0);
}

#define QEMU                                                                                                           \
    "<domain type='kvm' xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>" MEM DEV "<memballoon model='none'/>"    \
    "<hostdev type='usb'/><hostdev type='mdev' model='vfio-pci'><source><address uuid='u-1'/></source></hostdev>"      \
    "</devices>"

static void test_commandline_devices_in_both_forms(void **state)
{
    static const char text[] = QEMU
        "<q:commandline>"
        "<q:arg value='-device'/><q:arg value='vfio-pci,host=1:0.0,id=g0,iommufd=i0'/>"
        "<q:arg value='--device'/><q:arg value='{\"driver\":\"vfio-pci\",\"host\":\"0001:22:00.1\"}'/>"
        "<q:arg value='-device'/><q:arg value='vfio-pci,sysfsdev=/sys/bus/mdev/devices/u-2,x-balloon-allowed=on'/>"
        "<q:arg value='-device'/><q:arg value='vfio-pci,sysfsdev=/sys/bus/pci/devices/0000:03:00.0'/>"
        "<q:arg value='-device'/>"
        "<q:arg value='{\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":\"/run/s\"}}'/>"
        "<q:arg value='-netdev'/><q:arg value='vhost-vdpa,id=n0,vhostdev=/dev/vhost-vdpa-3'/>"
        "<q:arg value='-netdev'/><q:arg value='user,id=n1'/>"
        "<q:arg value='-drive'/><q:arg value='file=nvme://0000:04:00.0/1,if=none'/>"
        "<q:arg value='-blockdev'/><q:arg value='{\"driver\":\"nvme\",\"device\":\"0000:05:00.0\",\"namespace\":1}'/>"
        "<q:arg value='-cpu'/><q:arg value='host'/>"
        "<q:arg value='-device'/>"
        "<q:arg value='virtio-mem-pci,memdev=m0,node=0,block-size=4M,requested-size=1G,memaddr=0x200000000'/>"
        "<q:arg value='-device'/><q:arg value='intel-iommu,caching-mode=on,aw-bits=48,intremap=auto'/>"
        "<q:arg value='-device'/><q:arg value='virtio-balloon-pci,free-page-reporting=on'/>"
        "<q:env name='A' value='-device'/><q:env name='VFIOMEM_QEMU' value='/opt/qemu'/></q:commandline><q:commandline>"
        "<q:arg value='-object'/><q:arg value='memory-backend-memfd,id=m0,size=8G,share=on'/>"
        "<q:arg value='-set'/><q:arg value='device.g0.x-balloon-allowed=off'/></q:commandline></domain>";
    static const struct {
        VfmAssignedKind kind;
        const char *address;
    } expected[] = {
        {VFM_ASSIGNED_MDEV, "u-1"},
        {VFM_ASSIGNED_PCI, "0000:01:00.0"},
        {VFM_ASSIGNED_PCI, "0001:22:00.1"},
        {VFM_ASSIGNED_MDEV, "u-2"},
        {VFM_ASSIGNED_PCI, "0000:03:00.0"},
        {VFM_ASSIGNED_USER, "/run/s"},
        {VFM_ASSIGNED_VDPA, "/dev/vhost-vdpa-3"},
        {VFM_ASSIGNED_NVME, "0000:04:00.0"},
        {VFM_ASSIGNED_NVME, "0000:05:00.0"},
    };
    g_autoptr(VfmDomain) domain = parse(text);
    const VfmMemoryDevice *vmem = memory(domain, 0);
    const VfmIommu *iommu = domain->iommus->pdata[0];

    assert_int_equal(domain->assigned->len, sizeof(expected) / sizeof(expected[0]));
    for (guint i = 0; i < domain->assigned->len; i++) {
        assert_int_equal(assigned(domain, i)->kind, expected[i].kind);
        assert_string_equal(assigned(domain, i)->address, expected[i].address);
        assert_int_equal(assigned(domain, i)->via, i ? VFM_VIA_COMMANDLINE : VFM_VIA_HOSTDEV);
    }
    assert_string_equal(assigned(domain, 1)->alias, "g0");
    assert_true(assigned(domain, 1)->iommufd && !assigned(domain, 2)->iommufd);
    assert_int_equal(assigned(domain, 3)->balloon_allowed, VFM_ON);
    assert_int_equal(assigned(domain, 1)->balloon_allowed, VFM_OFF);
    assert_int_equal(domain->memory_devices->len, 1);
    assert_true(vmem->from_commandline);
    assert_string_equal(domain->real_emulator, "/opt/qemu");
    assert_int_equal(vmem->model, VFM_MEM_VIRTIO_MEM);
    assert_int_equal(vmem->size, 8 * GIB);
    assert_int_equal(vmem->block.value, 4 * MIB);
    assert_int_equal(vmem->requested.value, GIB);
    assert_int_equal(vmem->base.value, 0x200000000);
    assert_int_equal(vmem->shared, VFM_ON);
    assert_int_equal(domain->boot, 4 * GIB); /* libvirt does not count what it does not see */
    assert_true(iommu->from_commandline);
    assert_int_equal(iommu->caching_mode, VFM_ON);
    assert_int_equal(iommu->aw_bits.value, 48);
    assert_true(domain->balloon.present);
    assert_int_equal(domain->balloon.free_page_reporting, VFM_ON);
}

static void test_properties_from_outside_find_their_device(void **state)
{
    /* The USB device is hostdev0, the mdev hostdev1: libvirt counts all hostdevs, and all stand on one line here. */
    static const char *const ways[] = {
        "<q:override><q:device alias='hostdev1'><q:frontend>"
        "<q:property name='x-balloon-allowed' type='bool' value='true'/></q:frontend></q:device></q:override></domain>",
        "<q:commandline><q:arg value='-set'/><q:arg value='device.hostdev1.x-balloon-allowed=on'/></q:commandline>"
        "</domain>",
    };

    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        g_autofree char *text = g_strconcat(QEMU, ways[i], NULL);
        g_autoptr(VfmDomain) domain = parse(text);

        assert_string_equal(assigned(domain, 0)->implicit_alias, "hostdev1");
        assert_int_equal(assigned(domain, 0)->balloon_allowed, VFM_ON);
    }
}

static void test_aliases_number_interfaces_first(void **state)
{
    g_autoptr(VfmDomain) domain =
        parse(HEAD MEM DEV "<hostdev type='pci'><source><address bus='1'/></source></hostdev>"
                           "<hostdev type='pci'><source><address bus='2'/></source><alias name='ua-x'/></hostdev>"
                           "<hostdev type='pci'><source><address bus='3'/></source></hostdev>"
                           "<interface type='hostdev'><source><address bus='4'/></source></interface>"
                           "<interface type='vdpa'><source dev='/dev/vhost-vdpa-0'/></interface>" END);

    assert_string_equal(assigned(domain, 0)->implicit_alias, "hostdev1");
    assert_null(assigned(domain, 1)->implicit_alias);
    assert_string_equal(assigned(domain, 2)->implicit_alias, "hostdev2");
    assert_string_equal(assigned(domain, 3)->implicit_alias, "hostdev0");
    assert_null(assigned(domain, 4)->implicit_alias);
}

static void test_policy(void **state)
{
    g_autoptr(VfmDomain) domain =
        parse(HEAD MEM "<metadata><a:b xmlns:a='urn:a'><policy/></a:b>\n<policy xmlns='urn:vfiomem:domain:1'>\n"
                       "<!-- ours --><mapping owner='helper' backend='iommufd' required='yes'/>\n"
                       "<budget mappings='1000' headroom='10'/>\n<balloon inhibited='resize'/>\n"
                       "<window start='0x100000000' size='1073741824'/>\n<window start='0' size='0x1000'/>\n"
                       "<resize min='1' max='8' unit='GiB'/></policy></metadata></domain>");
    g_autoptr(VfmDomain) bytes = parse(HEAD MEM "<metadata><policy xmlns='urn:vfiomem:domain:1'>"
                                                "<resize min='4294967296'/></policy></metadata></domain>");
    const VfmPolicy *policy = &domain->policy;

    assert_true(policy->present && policy->required && policy->resize_present);
    assert_int_equal(policy->owner, VFM_OWNER_HELPER);
    assert_int_equal(policy->backend, VFM_BACKEND_IOMMUFD);
    assert_int_equal(policy->budget_mappings.value, 1000);
    assert_int_equal(policy->budget_headroom.value, 10);
    assert_int_equal(policy->balloon, VFM_BALLOON_RESIZE);
    assert_int_equal(policy->windows->len, 2);
    assert_int_equal(g_array_index(policy->windows, VfmWindow, 0).start, 0x100000000);
    assert_int_equal(g_array_index(policy->windows, VfmWindow, 0).size, GIB);
    assert_int_equal(policy->resize_min.value, GIB);
    assert_int_equal(policy->resize_max.value, 8 * GIB);
    assert_int_equal(policy->line, 6);
    assert_int_equal(policy->mapping_line, 7);
    assert_int_equal(policy->budget_line, 8);
    assert_int_equal(policy->resize_line, 12);
    assert_int_equal(bytes->policy.resize_min.value, 4 * GIB);
    assert_int_equal(bytes->policy.owner, VFM_OWNER_QEMU);
    assert_int_equal(bytes->policy.balloon, VFM_BALLOON_REFUSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_minimal_domain_gets_libvirts_defaults),
        cmocka_unit_test(test_domstatus_is_unwrapped),
        cmocka_unit_test(test_boot_memory),
        cmocka_unit_test(test_default_balloon_is_where_libvirt_adds_it),
        cmocka_unit_test(test_balloon_attributes),
        cmocka_unit_test(test_every_door_to_guest_memory),
        cmocka_unit_test(test_iommufd_of_the_domain_is_the_devices_default),
        cmocka_unit_test(test_status_file_resolves_pools),
        cmocka_unit_test(test_networks_are_unresolved_until_libvirt_made_a_port),
        cmocka_unit_test(test_strangers_prefixes_are_their_own_affair),
        cmocka_unit_test(test_memory_devices),
        cmocka_unit_test(test_backing_and_limits),
        cmocka_unit_test(test_machine_and_cpu),
        cmocka_unit_test(test_many_vcpus_imply_an_iommu),
        cmocka_unit_test(test_commandline_devices_in_both_forms),
        cmocka_unit_test(test_properties_from_outside_find_their_device),
        cmocka_unit_test(test_aliases_number_interfaces_first),
        cmocka_unit_test(test_policy),
    };

    return cmocka_run_group_tests_name("domain-xml", tests, NULL, NULL);
}
