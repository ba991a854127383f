/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <os>, <vcpu>, <cpu>, emulator and display: what decides the shape of the guest memory map. */
#include "parts.h"

#include <string.h>

/* QEMU itself refuses more; also keeps later sums far from overflow. */
#define VCPUS_MAX 65536

static VfmArch arch_from_name(const char *name)
{
    static const struct {
        const char *name;
        VfmArch arch;
    } known[] = {
        {"x86_64", VFM_ARCH_X86_64},   {"i686", VFM_ARCH_I686},       {"i386", VFM_ARCH_I686},
        {"aarch64", VFM_ARCH_AARCH64}, {"ppc64", VFM_ARCH_PPC64},     {"ppc64le", VFM_ARCH_PPC64},
        {"s390x", VFM_ARCH_S390X},     {"riscv64", VFM_ARCH_RISCV64},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(known); i++) {
        if (strcmp(name, known[i].name) == 0)
            return known[i].arch;
    }
    return VFM_ARCH_OTHER;
}

/* libvirt takes its host's architecture when none is given. A file may be read elsewhere, so what
 * the emulator or the machine say comes first. */
static char *guess_arch_name(const VfmDomain *domain)
{
    const char *emulator = domain->emulator ? strstr(domain->emulator, "qemu-system-") : NULL;
    const char *machine = domain->machine_name ? domain->machine_name : "";

    if (emulator && arch_from_name(emulator + strlen("qemu-system-")) != VFM_ARCH_OTHER)
        return g_strdup(emulator + strlen("qemu-system-"));
    if (g_str_has_prefix(machine, "pc") || strcmp(machine, "q35") == 0)
        return g_strdup("x86_64");
    if (g_str_has_prefix(machine, "s390-ccw"))
        return g_strdup("s390x");
    if (g_str_has_prefix(machine, "pseries"))
        return g_strdup("ppc64");
#if defined(__aarch64__)
    return g_strdup("aarch64");
#elif defined(__s390x__)
    return g_strdup("s390x");
#elif defined(__powerpc64__)
    return g_strdup("ppc64");
#elif defined(__riscv) && __riscv_xlen == 64
    return g_strdup("riscv64");
#else
    return g_strdup("x86_64");
#endif
}

static VfmMachine machine_from_name(VfmArch arch, const char *name)
{
    bool x86 = arch == VFM_ARCH_X86_64 || arch == VFM_ARCH_I686;

    if (x86) {
        if (!name) /* libvirt prefers "pc" there */
            return VFM_MACHINE_I440FX;
        if (strcmp(name, "q35") == 0 || g_str_has_prefix(name, "pc-q35") || strcmp(name, "ubuntu-q35") == 0)
            return VFM_MACHINE_Q35;
        if (strcmp(name, "pc") == 0 || strcmp(name, "ubuntu") == 0 || g_str_has_prefix(name, "pc-i440fx") ||
            g_str_has_prefix(name, "pc-0.") || g_str_has_prefix(name, "pc-1.") || g_str_has_prefix(name, "rhel"))
            return VFM_MACHINE_I440FX;
        return VFM_MACHINE_OTHER;
    }
    if (arch == VFM_ARCH_AARCH64 || arch == VFM_ARCH_RISCV64) {
        if (!name || strcmp(name, "virt") == 0 || g_str_has_prefix(name, "virt-"))
            return VFM_MACHINE_VIRT;
    }
    return VFM_MACHINE_OTHER;
}

static bool read_os(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain)
{
    g_autofree char *firmware = NULL;
    g_autofree char *loader_type = NULL;
    xmlNode *os, *type, *loader;

    if (!vfm_xml_only_child(reader, root, "os", &os) || !vfm_xml_only_child(reader, os, "type", &type) ||
        !vfm_xml_only_child(reader, os, "loader", &loader))
        return false;
    domain->arch_name = vfm_xml_attribute(type, "arch");
    domain->machine_name = vfm_xml_attribute(type, "machine");
    if (!domain->arch_name)
        domain->arch_name = guess_arch_name(domain);
    domain->arch = arch_from_name(domain->arch_name);
    domain->machine = machine_from_name(domain->arch, domain->machine_name);
    firmware = vfm_xml_attribute(os, "firmware");
    loader_type = vfm_xml_attribute(loader, "type");
    domain->pflash = loader_type ? strcmp(loader_type, "pflash") == 0 : firmware && strcmp(firmware, "efi") == 0;
    return true;
}

/* QEMU asks for CPUID vendor AuthenticAMD; libvirt's names of such models. */
static bool is_amd_model(const char *model)
{
    static const char *const prefixes[] = {"EPYC", "Opteron", "athlon", "phenom"};

    for (gsize i = 0; model && i < G_N_ELEMENTS(prefixes); i++) {
        if (g_str_has_prefix(model, prefixes[i]))
            return true;
    }
    return false;
}

static bool read_cpu(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain)
{
    g_autofree char *vendor = NULL;
    xmlNode *cpu, *phys;
    VfmMaybe vcpus;

    if (!vfm_xml_number_child(reader, root, "vcpu", VCPUS_MAX, &vcpus) ||
        !vfm_xml_only_child(reader, root, "cpu", &cpu))
        return false;
    if (vcpus.set && vcpus.value == 0)
        return vfm_xml_fail(reader, vfm_xml_child(root, "vcpu"), VFM_INPUT_RANGE, "<vcpu>: a guest needs at least one");
    domain->vcpus = vcpus.set ? (unsigned)vcpus.value : 1;
    if (!cpu)
        return true;
    domain->cpu_mode = vfm_xml_attribute(cpu, "mode");
    if (!vfm_xml_child_text(reader, cpu, "model", &domain->cpu_model) ||
        !vfm_xml_child_text(reader, cpu, "vendor", &vendor) || !vfm_xml_only_child(reader, cpu, "maxphysaddr", &phys) ||
        !vfm_xml_number_attribute(reader, phys, "bits", 10, 64, &domain->phys_bits))
        return false;
    domain->amd_cpu = is_amd_model(domain->cpu_model) || (vendor && strcmp(vendor, "AMD") == 0);
    return true;
}

/* A display with VGA memory at 0xa0000. libvirt adds a video device to a guest that has graphics. */
static void read_display(const xmlNode *devices, VfmDomain *domain)
{
    static const char *const plain[] = {"none", "bochs", "ramfb", "gop", NULL};
    const xmlNode *video = vfm_xml_child(devices, "video");
    bool x86 = domain->arch == VFM_ARCH_X86_64 || domain->arch == VFM_ARCH_I686;

    if (!video) {
        domain->vga = x86 && vfm_xml_child(devices, "graphics") != NULL;
        return;
    }
    for (; video; video = vfm_xml_next(video, "video")) {
        g_autofree char *type = vfm_xml_attribute(vfm_xml_child(video, "model"), "type");

        if (x86 && !(type && g_strv_contains(plain, type)))
            domain->vga = true;
    }
}

bool vfm_xml_read_machine(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain)
{
    const xmlNode *devices = vfm_xml_child(root, "devices");
    xmlNode *emulator;

    if (!vfm_xml_only_child(reader, devices, "emulator", &emulator))
        return false;
    if (emulator) {
        domain->emulator = g_strstrip(vfm_xml_text(emulator));
        domain->emulator_line = vfm_xml_line(emulator);
    }
    if (!read_os(reader, root, domain) || !read_cpu(reader, root, domain))
        return false;
    read_display(devices, domain);
    return true;
}
