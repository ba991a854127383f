/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-layout.c - our guest memory map against the one QEMU itself makes.
 *
 * Each machine is described once, as a VfmDomain; its QEMU command line is
 * written as libvirt would write it. QEMU is started stopped, asked for its
 * flat memory map ("info mtree -f") and left. Where we say that a device can't
 * be placed, QEMU must refuse to start, and the reverse.
 *
 * Usage: test-layout [SEED [COUNT]]: COUNT random machines beside the listed ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "amount.h"
#include "layout.h"
#include "memory_backend.h"

#define MIB VFM_MIB
#define GIB VFM_GIB

typedef struct {
    VfmMemoryModel model;
    uint64_t size, block, base;
} Device;

typedef struct {
    const char *name;
    const char *machine; /* as for -machine */
    VfmMachine kind;
    const char *cpu;
    uint64_t cells[4];
    uint64_t max;
    unsigned slots;
    bool vga, pflash, memfd;
    Device devices[8];
} Machine;

static const Machine machines[] = {
    {"q35 small", "q35", VFM_MACHINE_Q35, NULL, {512 * MIB}, 0, 0, false, false, false, {{0}}},
    {"q35 with VGA", "q35", VFM_MACHINE_Q35, NULL, {1 * GIB}, 0, 0, true, false, false, {{0}}},
    {"q35 2815 MiB", "q35", VFM_MACHINE_Q35, NULL, {2815 * MIB}, 0, 0, false, false, false, {{0}}},
    {"q35 2816 MiB", "q35", VFM_MACHINE_Q35, NULL, {2816 * MIB}, 0, 0, false, false, false, {{0}}},
    {"q35 odd size",
     "q35",
     VFM_MACHINE_Q35,
     NULL,
     {5001 * MIB},
     16 * GIB,
     4,
     false,
     false,
     false,
     {{VFM_MEM_DIMM, 1 * GIB, 0, 0}}},
    {"q35 pflash", "q35", VFM_MACHINE_Q35, NULL, {4 * GIB}, 0, 0, false, true, false, {{0}}},
    {"pc small", "pc", VFM_MACHINE_I440FX, NULL, {256 * MIB}, 0, 0, true, false, false, {{0}}},
    {"pc 3583 MiB", "pc", VFM_MACHINE_I440FX, NULL, {3583 * MIB}, 0, 0, false, false, false, {{0}}},
    {"pc 3584 MiB", "pc", VFM_MACHINE_I440FX, NULL, {3584 * MIB}, 0, 0, false, false, false, {{0}}},
    {"pc 8 GiB, pflash", "pc", VFM_MACHINE_I440FX, NULL, {8 * GIB}, 0, 0, true, true, false, {{0}}},
    {"pc old type",
     "pc-i440fx-2.9",
     VFM_MACHINE_I440FX,
     NULL,
     {4 * GIB},
     8 * GIB,
     2,
     false,
     false,
     false,
     {{VFM_MEM_DIMM, 1 * GIB, 0, 0}}},
    {"q35 4.2",
     "pc-q35-4.2",
     VFM_MACHINE_Q35,
     NULL,
     {4 * GIB},
     8 * GIB,
     2,
     false,
     false,
     false,
     {{VFM_MEM_VIRTIO_MEM, 1 * GIB, 4 * MIB, 0}}},
    {"two cells", "q35", VFM_MACHINE_Q35, NULL, {1 * GIB, 3 * GIB}, 0, 0, false, false, false, {{0}}},
    {"cells meet at the split", "q35", VFM_MACHINE_Q35, NULL, {2 * GIB, 2 * GIB}, 0, 0, true, false, false, {{0}}},
    {"four cells",
     "pc",
     VFM_MACHINE_I440FX,
     NULL,
     {512 * MIB, 1 * GIB, 2 * GIB, 4 * GIB},
     16 * GIB,
     2,
     false,
     false,
     false,
     {{VFM_MEM_DIMM, 512 * MIB, 0, 0}}},
    {"virtio-mem when all RAM is low",
     "q35",
     VFM_MACHINE_Q35,
     NULL,
     {1 * GIB},
     9 * GIB,
     0,
     false,
     false,
     false,
     {{VFM_MEM_VIRTIO_MEM, 8 * GIB, 2 * MIB, 0}}},
    {"two virtio-mem of different blocks",
     "q35",
     VFM_MACHINE_Q35,
     NULL,
     {4 * GIB},
     20 * GIB,
     2,
     false,
     false,
     false,
     {{VFM_MEM_VIRTIO_MEM, 1 * GIB + 2 * MIB, 2 * MIB, 0}, {VFM_MEM_VIRTIO_MEM, 4 * GIB, 1 * GIB, 0}}},
    {"blocks larger than the slack",
     "q35",
     VFM_MACHINE_Q35,
     NULL,
     {4 * GIB},
     9 * GIB + 2 * MIB,
     0,
     false,
     false,
     false,
     {{VFM_MEM_VIRTIO_MEM, 1 * GIB + 2 * MIB, 2 * MIB, 0}, {VFM_MEM_VIRTIO_MEM, 4 * GIB, 2 * GIB, 0}}},
    {"given addresses out of order",
     "q35",
     VFM_MACHINE_Q35,
     NULL,
     {4 * GIB},
     20 * GIB,
     4,
     false,
     false,
     false,
     {{VFM_MEM_DIMM, 1 * GIB, 0, 0x1c0000000},
      {VFM_MEM_DIMM, 1 * GIB, 0, 0},
      {VFM_MEM_DIMM, 2 * GIB, 0, 0},
      {VFM_MEM_VIRTIO_MEM, 512 * MIB, 2 * MIB, 0x180000000 + 4 * GIB}}},
    {"first gap wins",
     "q35",
     VFM_MACHINE_Q35,
     NULL,
     {4 * GIB},
     30 * GIB,
     4,
     false,
     false,
     false,
     {{VFM_MEM_DIMM, 1 * GIB, 0, 0x200000000},
      {VFM_MEM_VIRTIO_MEM, 4 * GIB, 4 * MIB, 0},
      {VFM_MEM_DIMM, 2 * GIB, 0, 0}}},
    {"address not aligned",
     "q35",
     VFM_MACHINE_Q35,
     NULL,
     {4 * GIB},
     20 * GIB,
     4,
     false,
     false,
     false,
     {{VFM_MEM_DIMM, 1 * GIB, 0, 0x180100000}}},
    {"address outside",
     "q35",
     VFM_MACHINE_Q35,
     NULL,
     {4 * GIB},
     8 * GIB,
     1,
     false,
     false,
     false,
     {{VFM_MEM_DIMM, 1 * GIB, 0, 0x140000000}}},
    {"addresses overlap",
     "q35",
     VFM_MACHINE_Q35,
     NULL,
     {4 * GIB},
     20 * GIB,
     4,
     false,
     false,
     false,
     {{VFM_MEM_DIMM, 1 * GIB, 0, 0x180000000}, {VFM_MEM_DIMM, 1 * GIB, 0, 0x1a0000000}}},
    {"size not aligned",
     "q35",
     VFM_MACHINE_Q35,
     NULL,
     {4 * GIB},
     20 * GIB,
     4,
     false,
     false,
     false,
     {{VFM_MEM_DIMM, 1 * GIB + 1 * MIB, 0, 0}}},
    {"memfd aligns to pages only",
     "q35",
     VFM_MACHINE_Q35,
     NULL,
     {4 * GIB},
     20 * GIB,
     4,
     false,
     false,
     true,
     {{VFM_MEM_DIMM, 1 * GIB + 1 * MIB, 0, 0},
      {VFM_MEM_DIMM, 1 * GIB, 0, 0},
      {VFM_MEM_VIRTIO_MEM, 1 * GIB, 2 * MIB, 0}}},
    {"too much memory",
     "q35",
     VFM_MACHINE_Q35,
     NULL,
     {4 * GIB},
     8 * GIB,
     4,
     false,
     false,
     false,
     {{VFM_MEM_DIMM, 3 * GIB, 0, 0}, {VFM_MEM_DIMM, 2 * GIB, 0, 0}}},
    {"no room without maxMemory",
     "q35",
     VFM_MACHINE_Q35,
     NULL,
     {4 * GIB},
     0,
     0,
     false,
     false,
     false,
     {{VFM_MEM_VIRTIO_MEM, 1 * GIB, 2 * MIB, 0}}},
    {"AMD, small",
     "q35",
     VFM_MACHINE_Q35,
     "EPYC,phys-bits=46",
     {4 * GIB},
     64 * GIB,
     4,
     false,
     false,
     false,
     {{VFM_MEM_DIMM, 3 * GIB, 0, 0}}},
    {"AMD, 1 TiB of maxMemory",
     "q35",
     VFM_MACHINE_Q35,
     "EPYC,phys-bits=46",
     {4 * GIB},
     1024 * GIB,
     4,
     false,
     false,
     false,
     {{VFM_MEM_VIRTIO_MEM, 64 * GIB, 2 * MIB, 0}}},
    {"AMD, just below the hole",
     "q35",
     VFM_MACHINE_Q35,
     "EPYC,phys-bits=46",
     {4 * GIB},
     976 * GIB,
     0,
     false,
     false,
     false,
     {{VFM_MEM_VIRTIO_MEM, 1 * GIB, 2 * MIB, 0}}},
    {"AMD, just into the hole",
     "q35",
     VFM_MACHINE_Q35,
     "EPYC,phys-bits=46",
     {4 * GIB},
     979 * GIB,
     0,
     false,
     false,
     false,
     {{VFM_MEM_VIRTIO_MEM, 1 * GIB, 2 * MIB, 0}}},
    {"AMD, i440fx's smaller PCI hole",
     "pc",
     VFM_MACHINE_I440FX,
     "EPYC,phys-bits=46",
     {4 * GIB},
     1006 * GIB,
     0,
     false,
     false,
     false,
     {{VFM_MEM_VIRTIO_MEM, 1 * GIB, 2 * MIB, 0}}},
    {"AMD, i440fx into the hole",
     "pc",
     VFM_MACHINE_I440FX,
     "EPYC,phys-bits=46",
     {4 * GIB},
     1010 * GIB,
     0,
     false,
     false,
     false,
     {{VFM_MEM_VIRTIO_MEM, 1 * GIB, 2 * MIB, 0}}},
    {"AMD, machine before 7.1",
     "pc-q35-7.0",
     VFM_MACHINE_Q35,
     "EPYC,phys-bits=46",
     {4 * GIB},
     1024 * GIB,
     4,
     false,
     false,
     false,
     {{VFM_MEM_VIRTIO_MEM, 1 * GIB, 2 * MIB, 0}}},
    {"Intel at the same size",
     "q35",
     VFM_MACHINE_Q35,
     "Skylake-Server,phys-bits=46",
     {4 * GIB},
     1024 * GIB,
     4,
     false,
     false,
     false,
     {{VFM_MEM_VIRTIO_MEM, 1 * GIB, 2 * MIB, 0}}},
    {"virt", "virt", VFM_MACHINE_VIRT, "cortex-a57", {2 * GIB}, 0, 0, false, false, false, {{0}}},
    {"virt with device memory",
     "virt",
     VFM_MACHINE_VIRT,
     "cortex-a57",
     {2 * GIB + 64 * MIB},
     16 * GIB,
     3,
     false,
     false,
     false,
     {{VFM_MEM_VIRTIO_MEM, 4 * GIB, 2 * MIB, 0}, {VFM_MEM_VIRTIO_MEM, 1 * GIB, 1 * GIB, 0}}},
    {"virt, two cells",
     "virt",
     VFM_MACHINE_VIRT,
     "cortex-a57",
     {2 * GIB, 1 * GIB},
     8 * GIB,
     1,
     false,
     false,
     true,
     {{VFM_MEM_VIRTIO_MEM, 1 * GIB, 2 * MIB, 0}}},
};

static char *scratch; /* directory for pflash and pmem files */

static VfmDomain *describe(const Machine *machine)
{
    VfmDomain *domain = vfm_domain_new();

    domain->accel = VFM_ACCEL_TCG;
    domain->arch = machine->kind == VFM_MACHINE_VIRT ? VFM_ARCH_AARCH64 : VFM_ARCH_X86_64;
    domain->machine = machine->kind;
    domain->machine_name = g_strdup(machine->machine);
    domain->amd_cpu = machine->cpu && g_str_has_prefix(machine->cpu, "EPYC");
    domain->vga = machine->vga;
    domain->pflash = machine->pflash;
    domain->backing.source = machine->memfd ? VFM_SOURCE_MEMFD : VFM_SOURCE_DEFAULT;
    for (unsigned i = 0; i < 4 && machine->cells[i]; i++) {
        VfmCell cell = {.id = i, .memory = machine->cells[i]};

        g_array_append_val(domain->cells, cell);
        domain->boot += cell.memory;
    }
    if (machine->max) {
        domain->max_memory = VFM_SOME(machine->max);
        domain->slots = VFM_SOME(machine->slots);
    }
    for (unsigned i = 0; i < 8 && machine->devices[i].size; i++) {
        const Device *device = &machine->devices[i];
        VfmMemoryDevice *memory = vfm_domain_add_memory(domain, device->model, device->size);

        memory->node = VFM_SOME(0);
        if (device->block)
            memory->block = VFM_SOME(device->block);
        if (device->base)
            memory->base = VFM_SOME(device->base);
        if (device->model == VFM_MEM_VIRTIO_PMEM)
            memory->path = g_strdup_printf("%s/pmem%u", scratch, i);
    }
    return domain;
}

static void add(GPtrArray *argv, const char *option, char *value)
{
    g_ptr_array_add(argv, g_strdup(option));
    g_ptr_array_add(argv, value);
}

/* A backend as libvirt would make it; reserve=off, so that the machine need not have the memory. */
static char *backend(const Machine *machine, const char *id, uint64_t size)
{
    return g_strdup_printf("memory-backend-%s,id=%s,size=%" G_GUINT64_FORMAT ",reserve=off%s",
                           machine->memfd ? "memfd" : "ram", id, size, machine->memfd ? ",share=on" : "");
}

static void sparse_file(const char *path, uint64_t size)
{
    int fd = open(path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || ftruncate(fd, (off_t)size) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    close(fd);
}

static GPtrArray *command(const Machine *machine, const VfmDomain *domain)
{
    GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);
    bool arm = machine->kind == VFM_MACHINE_VIRT;

    g_ptr_array_add(argv, g_strdup(arm ? "qemu-system-aarch64" : "qemu-system-x86_64"));
    add(argv, "-machine", g_strdup_printf("%s,accel=tcg%s", machine->machine, machine->pflash ? ",pflash0=fw" : ""));
    if (machine->cpu)
        add(argv, "-cpu", g_strdup(machine->cpu));
    if (machine->max)
        add(argv, "-m",
            g_strdup_printf("size=%" G_GUINT64_FORMAT "k,slots=%u,maxmem=%" G_GUINT64_FORMAT "k", domain->boot / 1024,
                            machine->slots, machine->max / 1024));
    else
        add(argv, "-m", g_strdup_printf("%" G_GUINT64_FORMAT, domain->boot / MIB));
    if (machine->pflash) {
        char *path = g_strdup_printf("%s/flash", scratch);

        sparse_file(path, 2 * MIB);
        add(argv, "-blockdev", g_strdup_printf("driver=file,node-name=fw,filename=%s", path));
        g_free(path);
    }
    for (guint i = 0; i < domain->cells->len; i++) {
        g_autofree char *id = g_strdup_printf("ram-node%u", i);

        add(argv, "-object", backend(machine, id, g_array_index(domain->cells, VfmCell, i).memory));
        add(argv, "-numa", g_strdup_printf("node,nodeid=%u,memdev=%s%s", i, id, i ? "" : ",cpus=0"));
    }
    for (guint i = 0; i < domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = g_ptr_array_index(domain->memory_devices, i);
        g_autofree char *id = g_strdup_printf("mem%u", i);
        g_autoptr(GString) text = g_string_new(NULL);

        if (device->path) {
            sparse_file(device->path, device->size);
            add(argv, "-object",
                g_strdup_printf("memory-backend-file,id=%s,size=%" G_GUINT64_FORMAT ",share=on,mem-path=%s", id,
                                device->size, device->path));
        } else {
            add(argv, "-object", backend(machine, id, device->size));
        }
        if (device->model == VFM_MEM_DIMM)
            g_string_printf(text, "pc-dimm,memdev=%s,node=0", id);
        else if (device->model == VFM_MEM_VIRTIO_PMEM)
            g_string_printf(text, "virtio-pmem-pci,memdev=%s", id);
        else
            g_string_printf(text, "virtio-mem-pci,memdev=%s,node=0,block-size=%" G_GUINT64_FORMAT, id,
                            device->block.value);
        if (device->base.set)
            g_string_append_printf(text, ",%s=%" G_GUINT64_FORMAT, device->model == VFM_MEM_DIMM ? "addr" : "memaddr",
                                   device->base.value);
        add(argv, "-device", g_string_free(g_steal_pointer(&text), FALSE));
    }
    if (machine->vga)
        add(argv, "-vga", g_strdup("std"));
    for (const char *const *word = (const char *const[]){"-S", "-nodefaults", "-no-user-config", "-display", "none",
                                                         "-monitor", "stdio", NULL};
         *word; word++)
        g_ptr_array_add(argv, g_strdup(*word));
    g_ptr_array_add(argv, NULL);
    return argv;
}

/* RAM of the first flat view that is the CPUs' "memory" address space; NULL if QEMU did not start. */
static GArray *parse_map(char *output)
{
    g_auto(GStrv) lines = g_strsplit(output, "\n", -1);
    GArray *map = NULL;
    bool wanted = false;

    for (char **line = lines; *line; line++) {
        char *at = *line, *end, *kind;
        uint64_t first, last;

        if (strstr(at, "FlatView #")) {
            if (map)
                break;
            wanted = false;
        }
        if (strstr(at, "AS \"memory\"")) {
            wanted = true;
            map = g_array_new(FALSE, TRUE, sizeof(VfmRange));
        }
        g_strstrip(at);
        if (!wanted || !g_ascii_isxdigit(*at))
            continue;
        first = g_ascii_strtoull(at, &end, 16);
        if (*end != '-')
            continue;
        last = g_ascii_strtoull(end + 1, &end, 16);
        kind = strstr(end, ", ");
        if (kind && (g_str_has_prefix(kind, ", ram)") || g_str_has_prefix(kind, ", rom)"))) {
            VfmRange range = {.start = first, .size = last - first + 1};

            range.kind = kind[3] == 'o' ? VFM_RANGE_ROM : VFM_RANGE_RAM;
            g_array_append_val(map, range);
        }
    }
    return map;
}

static bool ask_qemu(const Machine *machine, const VfmDomain *domain, GArray **map, char **errors)
{
    g_autoptr(GPtrArray) argv = command(machine, domain);
    g_autofree char *input = g_strdup_printf("%s/input", scratch);
    g_autofree char *output = NULL;
    g_autoptr(GString) line = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    int status = 0;

    g_file_set_contents(input, "info mtree -f\nquit\n", -1, NULL);
    for (guint i = 0; i + 1 < argv->len; i++) {
        g_autofree char *word = g_shell_quote(argv->pdata[i]);

        g_string_append_printf(line, "%s ", word);
    }
    g_string_append_printf(line, "< %s", input);
    if (!g_spawn_sync(NULL, (char *[]){(char *)"/bin/sh", (char *)"-c", line->str, NULL}, NULL, G_SPAWN_DEFAULT, NULL,
                      NULL, &output, errors, &status, &error)) {
        fprintf(stderr, "%s\n", error->message);
        exit(1);
    }
    *map = status == 0 ? parse_map(output) : NULL;
    return *map != NULL;
}

static const char *const results[] = {"placed",  "unknown",  "no region", "size not aligned", "address not aligned",
                                      "outside", "conflict", "too big",   "fragmented"};

/* QEMU's reason is its last line; warnings about CPU features come before it. */
static const char *last_line(char *text)
{
    char *end;

    g_strchomp(text);
    end = strrchr(text, '\n');
    return end ? end + 1 : text;
}

/* 0 if ours and QEMU's are the same. */
static int compare(const Machine *machine)
{
    g_autoptr(VfmDomain) domain = describe(machine);
    g_auto(VfmLayout) layout;
    g_autofree uint64_t *blocks = g_new0(uint64_t, domain->memory_devices->len + 1);
    g_autoptr(GArray) theirs = NULL;
    g_autofree char *errors = NULL;
    const char *refused = NULL;
    bool started, same;

    for (guint i = 0; i < domain->memory_devices->len; i++)
        blocks[i] = ((const VfmMemoryDevice *)g_ptr_array_index(domain->memory_devices, i))->block.value;
    vfm_layout_init(&layout, domain, NULL, blocks);
    for (guint i = 0; i < layout.places->len && !refused; i++)
        if (g_array_index(layout.places, VfmPlace, i).result != VFM_PLACE_OK)
            refused = results[g_array_index(layout.places, VfmPlace, i).result];
    started = ask_qemu(machine, domain, &theirs, &errors);
    if (!started || refused) {
        if (started != !refused) {
            printf("not ok: %s: we say \"%s\", QEMU says: %s\n", machine->name, refused ? refused : "fine",
                   started ? "fine" : last_line(errors));
            return 1;
        }
        printf("ok: %s: %s; %s\n", machine->name, refused, last_line(errors));
        return 0;
    }
    same = theirs->len == layout.ranges->len;
    for (guint i = 0; same && i < theirs->len; i++) {
        const VfmRange *a = &g_array_index(theirs, VfmRange, i), *b = &g_array_index(layout.ranges, VfmRange, i);

        same = a->start == b->start && a->size == b->size && (a->kind == VFM_RANGE_ROM) == (b->kind == VFM_RANGE_ROM);
    }
    printf("%s: %s (%u ranges)\n", same ? "ok" : "not ok", machine->name, theirs->len);
    if (same)
        return 0;
    for (guint i = 0; i < MAX(theirs->len, layout.ranges->len); i++) {
        if (i < theirs->len) {
            const VfmRange *a = &g_array_index(theirs, VfmRange, i);

            printf("    QEMU %12" G_GINT64_MODIFIER "x + %10" G_GINT64_MODIFIER "x", a->start, a->size);
        }
        if (i < layout.ranges->len) {
            const VfmRange *b = &g_array_index(layout.ranges, VfmRange, i);

            printf("    ours %12" G_GINT64_MODIFIER "x + %10" G_GINT64_MODIFIER "x %s", b->start, b->size, b->name);
        }
        printf("\n");
    }
    return 1;
}

/* Runs QEMU with one virtio-mem device; returns whether it started. @block: what "info memory-devices" says. */
static bool try_virtio_mem(uint64_t size, const char *properties, uint64_t *block)
{
    g_autofree char *line = g_strdup_printf(
        "printf 'info memory-devices\\nquit\\n' | qemu-system-x86_64 -machine q35,accel=tcg -m 1G,maxmem=65G -S "
        "-nodefaults "
        "-display none -monitor stdio -object memory-backend-ram,id=m,reserve=off,size=%" G_GUINT64_FORMAT
        " -device virtio-mem-pci,memdev=m%s",
        size, properties);
    g_autofree char *output = NULL, *errors = NULL;
    const char *at;
    int status = 1;

    g_spawn_sync(NULL, (char *[]){(char *)"/bin/sh", (char *)"-c", line, NULL}, NULL, G_SPAWN_DEFAULT, NULL, NULL,
                 &output, &errors, &status, NULL);
    at = output ? strstr(output, "block-size: ") : NULL;
    *block = at ? g_ascii_strtoull(at + strlen("block-size: "), NULL, 10) : 0;
    return status == 0;
}

/* Which blocks QEMU takes, against our legal range (less libvirt's own rule, that of the THP size). */
static int compare_blocks(void)
{
    static const uint64_t sizes[] = {512 * MIB, 513 * MIB, 3 * GIB, 6 * MIB};
    g_autoptr(VfmDomain) domain = vfm_domain_new();
    g_autoptr(VfmHost) host = vfm_host_new();
    g_autofree char *thp = NULL;
    VfmMemoryBackend backend;
    uint64_t block = 0, expected;
    int failed = 0;

    domain->arch = VFM_ARCH_X86_64;
    backend = vfm_memory_backend(domain, NULL, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        for (unsigned shift = 19; shift <= 31; shift += 2) {
            uint64_t size = sizes[i], tried = UINT64_C(1) << shift;
            g_autofree char *properties = g_strdup_printf(",block-size=%" G_GUINT64_FORMAT, tried);
            /* size must suit the block and the backend */
            bool legal = tried >= MAX(MIB, backend.page) && size % tried == 0 && size % backend.align == 0;

            if (try_virtio_mem(size, properties, &block) != legal) {
                printf("not ok: virtio-mem of %" G_GUINT64_FORMAT " in blocks of %" G_GUINT64_FORMAT ": we say %s\n",
                       size, tried, legal ? "legal" : "illegal");
                failed++;
            }
        }
    }
    if (try_virtio_mem(512 * MIB, ",block-size=6291456", &block)) {
        printf("not ok: QEMU takes a block that is no power of two\n");
        failed++;
    }
    if (try_virtio_mem(512 * MIB, ",block-size=4194304,requested-size=2097152", &block)) {
        printf("not ok: QEMU takes a requested size that is no multiple of the block\n");
        failed++;
    }
    if (g_file_get_contents("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", &thp, NULL, NULL))
        host->thp_size = VFM_SOME(g_ascii_strtoull(thp, NULL, 10));
    host->thp_known = true;
    expected = vfm_virtio_mem_default_block(domain, &backend, host);
    if (!try_virtio_mem(512 * MIB, "", &block) || block != expected) {
        printf("not ok: default block is %" G_GUINT64_FORMAT ", we say %" G_GUINT64_FORMAT "\n", block, expected);
        failed++;
    }
    printf("%s: legal blocks of virtio-mem\n", failed ? "not ok" : "ok");
    return failed;
}

/* Any mixture of what the listed machines try one by one. */
static void invent(GRand *rand, Machine *machine)
{
    static const struct {
        const char *machine;
        VfmMachine kind;
    } kinds[] = {{"q35", VFM_MACHINE_Q35},
                 {"pc", VFM_MACHINE_I440FX},
                 {"pc-q35-5.2", VFM_MACHINE_Q35},
                 {"pc-i440fx-6.1", VFM_MACHINE_I440FX}};
    unsigned kind = (unsigned)g_rand_int_range(rand, 0, G_N_ELEMENTS(kinds));
    unsigned cells = (unsigned)g_rand_int_range(rand, 1, 4), devices = (unsigned)g_rand_int_range(rand, 0, 6);
    uint64_t total = 0;

    memset(machine, 0, sizeof(*machine));
    machine->name = "random";
    machine->machine = kinds[kind].machine;
    machine->kind = kinds[kind].kind;
    machine->cpu = g_rand_boolean(rand) ? "EPYC,phys-bits=46" : "Skylake-Server,phys-bits=46";
    machine->vga = g_rand_boolean(rand);
    machine->memfd = g_rand_int_range(rand, 0, 4) == 0;
    for (unsigned i = 0; i < cells; i++)
        machine->cells[i] = (uint64_t)g_rand_int_range(rand, 64, 3000) * MIB;
    for (unsigned i = 0; i < devices; i++) {
        Device *device = &machine->devices[i];
        unsigned shift = (unsigned)g_rand_int_range(rand, 20, 31);
        int model = g_rand_int_range(rand, 0, 5);

        device->model = model == 0 ? VFM_MEM_VIRTIO_PMEM : model < 3 ? VFM_MEM_DIMM : VFM_MEM_VIRTIO_MEM;
        device->size = (uint64_t)g_rand_int_range(rand, 1, 9) << shift;
        if (device->model == VFM_MEM_VIRTIO_MEM)
            device->block = UINT64_C(1) << g_rand_int_range(rand, 20, (int)shift + 1);
        if (g_rand_int_range(rand, 0, 5) == 0)
            device->base = 4 * GIB + ((uint64_t)g_rand_int_range(rand, 0, 4096) << 24);
        total += device->size;
    }
    machine->slots = (unsigned)g_rand_int_range(rand, 5, 9);
    for (unsigned i = 0; i < cells; i++)
        machine->max += machine->cells[i];
    machine->max += total + (g_rand_boolean(rand) ? (uint64_t)g_rand_int_range(rand, 0, 2000) * GIB : 2 * MIB);
}

static bool have(const char *program)
{
    g_autofree char *path = g_find_program_in_path(program);

    return path != NULL;
}

int main(int argc, char **argv)
{
    uint32_t seed = argc > 1 ? (uint32_t)g_ascii_strtoull(argv[1], NULL, 0) : g_random_int();
    unsigned count = argc > 2 ? (unsigned)atoi(argv[2]) : 40, skipped = 0;
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    int failed = 0;

    if (!have("qemu-system-x86_64")) {
        printf("skipped: qemu-system-x86_64 is not installed\n");
        return 77;
    }
    scratch = g_dir_make_tmp("vfiomem-layout-XXXXXX", NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(machines); i++) {
        if (machines[i].kind == VFM_MACHINE_VIRT && !have("qemu-system-aarch64"))
            skipped++;
        else
            failed += compare(&machines[i]);
    }
    failed += compare_blocks();
    for (unsigned i = 0; i < count; i++) {
        Machine machine;

        invent(rand, &machine);
        failed += compare(&machine);
    }
    printf("%u listed and %u random machines (seed %u), %d differ, %u skipped (no qemu-system-aarch64)\n",
           (unsigned)G_N_ELEMENTS(machines) - skipped, count, seed, failed, skipped);
    {
        const char *rm[] = {"rm", "-rf", scratch, NULL};

        g_spawn_sync(NULL, (char **)rm, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
    }
    g_free(scratch);
    return failed != 0;
}
