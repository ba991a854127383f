/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "qemu_machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

VfmDomain *qemu_machine_describe(const Machine *machine, const char *scratch)
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

static GPtrArray *command(const Machine *machine, const VfmDomain *domain, const char *scratch)
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

bool qemu_machine_map(const Machine *machine, const VfmDomain *domain, const char *scratch, GArray **map, char **errors)
{
    g_autoptr(GPtrArray) argv = command(machine, domain, scratch);
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
