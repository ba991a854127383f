/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-layout.c - our guest memory map against the one QEMU itself makes.
 *
 * Each machine (qemu_machine.h) is laid out by us and by QEMU. Where we say that a device can't
 * be placed, QEMU must refuse to start, and the reverse.
 *
 * Usage: test-layout [SEED [COUNT]]: COUNT random machines beside the listed ones.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory_backend.h"
#include "qemu_machine.h"

#define Q35 VFM_MACHINE_Q35
#define I440FX VFM_MACHINE_I440FX
#define VIRT VFM_MACHINE_VIRT
#define DIMM(size) DIMM_AT(size, 0)
#define DIMM_AT(size, base)                                                                                            \
    {                                                                                                                  \
        VFM_MEM_DIMM, (size), 0, (base)                                                                                \
    }
#define VMEM(size, block) VMEM_AT(size, block, 0)
#define VMEM_AT(size, block, base)                                                                                     \
    {                                                                                                                  \
        VFM_MEM_VIRTIO_MEM, (size), (block), (base)                                                                    \
    }
#define AMD "EPYC,phys-bits=46"
#define INTEL "Skylake-Server,phys-bits=46"
#define ARM "cortex-a57"

static const Machine machines[] = {
    {"q35 small", "q35", Q35, .cells = {512 * MIB}},
    {"q35 with VGA", "q35", Q35, .cells = {1 * GIB}, .vga = true},
    {"q35 2815 MiB", "q35", Q35, .cells = {2815 * MIB}},
    {"q35 2816 MiB", "q35", Q35, .cells = {2816 * MIB}},
    {"q35 odd size", "q35", Q35, .cells = {5001 * MIB}, .max = 16 * GIB, .slots = 4, .devices = {DIMM(1 * GIB)}},
    {"q35 pflash", "q35", Q35, .cells = {4 * GIB}, .pflash = true},
    {"pc small", "pc", I440FX, .cells = {256 * MIB}, .vga = true},
    {"pc 3583 MiB", "pc", I440FX, .cells = {3583 * MIB}},
    {"pc 3584 MiB", "pc", I440FX, .cells = {3584 * MIB}},
    {"pc 8 GiB, pflash", "pc", I440FX, .cells = {8 * GIB}, .vga = true, .pflash = true},
    {"pc old type", "pc-i440fx-2.9", I440FX, .cells = {4 * GIB}, .max = 8 * GIB, .slots = 2,
     .devices = {DIMM(1 * GIB)}},
    {"q35 4.2", "pc-q35-4.2", Q35, .cells = {4 * GIB}, .max = 8 * GIB, .slots = 2, .devices = {VMEM(1 * GIB, 4 * MIB)}},
    {"two cells", "q35", Q35, .cells = {1 * GIB, 3 * GIB}},
    {"cells meet at the split", "q35", Q35, .cells = {2 * GIB, 2 * GIB}, .vga = true},
    {"four cells", "pc", I440FX, .cells = {512 * MIB, 1 * GIB, 2 * GIB, 4 * GIB}, .max = 16 * GIB, .slots = 2,
     .devices = {DIMM(512 * MIB)}},
    {"virtio-mem when all RAM is low", "q35", Q35, .cells = {1 * GIB}, .max = 9 * GIB,
     .devices = {VMEM(8 * GIB, 2 * MIB)}},
    {"two virtio-mem of different blocks", "q35", Q35, .cells = {4 * GIB}, .max = 20 * GIB, .slots = 2,
     .devices = {VMEM(1 * GIB + 2 * MIB, 2 * MIB), VMEM(4 * GIB, 1 * GIB)}},
    {"blocks larger than the slack", "q35", Q35, .cells = {4 * GIB}, .max = 9 * GIB + 2 * MIB,
     .devices = {VMEM(1 * GIB + 2 * MIB, 2 * MIB), VMEM(4 * GIB, 2 * GIB)}},
    {"given addresses out of order", "q35", Q35, .cells = {4 * GIB}, .max = 20 * GIB, .slots = 4,
     .devices = {DIMM_AT(1 * GIB, 0x1c0000000), DIMM(1 * GIB), DIMM(2 * GIB),
                 VMEM_AT(512 * MIB, 2 * MIB, 0x180000000 + 4 * GIB)}},
    {"first gap wins", "q35", Q35, .cells = {4 * GIB}, .max = 30 * GIB, .slots = 4,
     .devices = {DIMM_AT(1 * GIB, 0x200000000), VMEM(4 * GIB, 4 * MIB), DIMM(2 * GIB)}},
    {"address not aligned", "q35", Q35, .cells = {4 * GIB}, .max = 20 * GIB, .slots = 4,
     .devices = {DIMM_AT(1 * GIB, 0x180100000)}},
    {"address outside", "q35", Q35, .cells = {4 * GIB}, .max = 8 * GIB, .slots = 1,
     .devices = {DIMM_AT(1 * GIB, 0x140000000)}},
    {"addresses overlap", "q35", Q35, .cells = {4 * GIB}, .max = 20 * GIB, .slots = 4,
     .devices = {DIMM_AT(1 * GIB, 0x180000000), DIMM_AT(1 * GIB, 0x1a0000000)}},
    {"size not aligned", "q35", Q35, .cells = {4 * GIB}, .max = 20 * GIB, .slots = 4,
     .devices = {DIMM(1 * GIB + 1 * MIB)}},
    {"memfd aligns to pages only", "q35", Q35, .cells = {4 * GIB}, .max = 20 * GIB, .slots = 4, .memfd = true,
     .devices = {DIMM(1 * GIB + 1 * MIB), DIMM(1 * GIB), VMEM(1 * GIB, 2 * MIB)}},
    {"too much memory", "q35", Q35, .cells = {4 * GIB}, .max = 8 * GIB, .slots = 4,
     .devices = {DIMM(3 * GIB), DIMM(2 * GIB)}},
    {"no room without maxMemory", "q35", Q35, .cells = {4 * GIB}, .devices = {VMEM(1 * GIB, 2 * MIB)}},
    {"AMD, small", "q35", Q35, .cpu = AMD, .cells = {4 * GIB}, .max = 64 * GIB, .slots = 4, .devices = {DIMM(3 * GIB)}},
    {"AMD, 1 TiB of maxMemory", "q35", Q35, .cpu = AMD, .cells = {4 * GIB}, .max = 1024 * GIB, .slots = 4,
     .devices = {VMEM(64 * GIB, 2 * MIB)}},
    {"AMD, just below the hole", "q35", Q35, .cpu = AMD, .cells = {4 * GIB}, .max = 976 * GIB,
     .devices = {VMEM(1 * GIB, 2 * MIB)}},
    {"AMD, just into the hole", "q35", Q35, .cpu = AMD, .cells = {4 * GIB}, .max = 979 * GIB,
     .devices = {VMEM(1 * GIB, 2 * MIB)}},
    {"AMD, i440fx's smaller PCI hole", "pc", I440FX, .cpu = AMD, .cells = {4 * GIB}, .max = 1006 * GIB,
     .devices = {VMEM(1 * GIB, 2 * MIB)}},
    {"AMD, i440fx into the hole", "pc", I440FX, .cpu = AMD, .cells = {4 * GIB}, .max = 1010 * GIB,
     .devices = {VMEM(1 * GIB, 2 * MIB)}},
    {"AMD, machine before 7.1", "pc-q35-7.0", Q35, .cpu = AMD, .cells = {4 * GIB}, .max = 1024 * GIB, .slots = 4,
     .devices = {VMEM(1 * GIB, 2 * MIB)}},
    {"Intel at the same size", "q35", Q35, .cpu = INTEL, .cells = {4 * GIB}, .max = 1024 * GIB, .slots = 4,
     .devices = {VMEM(1 * GIB, 2 * MIB)}},
    {"virt", "virt", VIRT, .cpu = ARM, .cells = {2 * GIB}},
    {"virt with device memory", "virt", VIRT, .cpu = ARM, .cells = {2 * GIB + 64 * MIB}, .max = 16 * GIB, .slots = 3,
     .devices = {VMEM(4 * GIB, 2 * MIB), VMEM(1 * GIB, 1 * GIB)}},
    {"virt, two cells", "virt", VIRT, .cpu = ARM, .cells = {2 * GIB, 1 * GIB}, .max = 8 * GIB, .slots = 1,
     .memfd = true, .devices = {VMEM(1 * GIB, 2 * MIB)}},
};

static char *scratch; /* directory for pflash and pmem files */

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
    g_autoptr(VfmDomain) domain = qemu_machine_describe(machine, scratch);
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
    started = qemu_machine_map(machine, domain, scratch, &theirs, &errors);
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
    machine->cpu = g_rand_boolean(rand) ? AMD : INTEL;
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
