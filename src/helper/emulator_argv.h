/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * emulator_argv.h - libvirt's monitor in QEMU's arguments, and nothing else of them.
 *
 * libvirt hands QEMU a listening socket: -chardev socket,id=X,fd=N,server=on,wait=off with
 * -mon chardev=X,id=monitor,mode=control, or since libvirt 12 (seen with 12.8) -object {"qom-type":"monitor-qmp",
 * "id":"monitor","chardev":"X"} (libvirt: src/qemu/qemu_command.c). Only these two are understood; anything
 * else about arguments is none of our business here. Pure functions on strings.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct {
    int index; /* of the value of -chardev in argv */
    int fd;    /* listening socket */
} VfmMonitorArgument;

/* Finds libvirt's monitor in the NULL-terminated @argv. False: there is none. */
bool vfm_emulator_find_monitor(char *const *argv, VfmMonitorArgument *monitor);

/* @chardev for a connected socket instead of a listening one, under descriptor @fd; everything else in it stays. To be
 * freed. */
char *vfm_emulator_rewrite_chardev(const char *chardev, int fd);

/* The value of @key in a comma-separated option string with ",," for a comma, or NULL. To be freed. A first item
 * without
 * "=" is not a key. */
char *vfm_emulator_option(const char *options, const char *key);

/* Name of the real emulator for a wrapper called @name: "vfiomem-qemu-system-aarch64" is for "qemu-system-aarch64",
 * "vfiomem-qemu-kvm" for "qemu-kvm"; plain "vfiomem-qemu" for that of @machine as uname(2) names it. To be freed. */
char *vfm_emulator_target(const char *name, const char *machine);
