/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qemu_machine.h - a machine described once, as our VfmDomain and as QEMU's command line.
 *
 * QEMU is started stopped, asked for its flat memory map ("info mtree -f") and left.
 * Backends reserve nothing, so the host need not have the memory.
 */
#pragma once

#include "amount.h"
#include "layout.h"

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

/* As libvirt would describe it to us. @scratch: a folder for pflash and pmem files. */
VfmDomain *qemu_machine_describe(const Machine *machine, const char *scratch);

/* Starts QEMU as libvirt would for @domain. *@map: RAM and ROM in the CPUs' address space (VfmRange), the caller's.
 * False if QEMU did not start; *@errors is then what it said. */
bool qemu_machine_map(const Machine *machine, const VfmDomain *domain, const char *scratch, GArray **map,
                      char **errors);
