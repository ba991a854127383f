/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * guard.h - what libvirt and people may ask of QEMU while the guest runs.
 *
 * Opens a talk (talk.h) for each command that changes guest memory or assigned
 * devices, and for the commands that are ours. The talk asks QEMU how the guest
 * is now (picture.h), lets negotiation (plan.h) judge how it would be, and then
 * forwards the command or answers with an error that says why and what to do.
 * What the guard does not understand is forwarded. docs/mediator.md lists every
 * guarded command with its rule and its source.
 *
 * The guard does no I/O. What it needs of its process comes through VfmGuardHost.
 * It owns what it was made of (copies); talks borrow the guard. One thread.
 */
#pragma once

#include "host.h"
#include "talk.h"

/* How the helper has been; for vfiomem-query-status. */
typedef struct {
    unsigned restarts; /* of the worker */
    unsigned clients;  /* so far */
    uint64_t refusals;
    const char *level;   /* "full"; less is never asked */
    const char *devices; /* the process that maps: "serving", "gone"; NULL outside of helper mode */
} VfmGuardFacts;

/* What is known of a device that the helper serves; borrowed until the guard is next asked something. */
typedef struct {
    const char *address; /* in the host */
    bool held;           /* kept from DMA */
    bool lost;           /* dead for the guest */
} VfmGuardServed;

enum { VFM_GUARD_REMEMBERED = 32 };

typedef struct {
    VfmBalloonPolicy (*balloon)(void *data);
    void (*set_balloon)(void *data, VfmBalloonPolicy policy);
    /* The last note of a talk (talk.h), 0 if there was none: bytes of virtio-mem that the balloon policy holds back. */
    uint64_t (*noted)(void *data);
    /* Bytes QEMU may lock (RLIMIT_MEMLOCK) right now; not set: unlimited or unknown. */
    VfmMaybe (*memlock_limit)(void *data);
    /* A command was refused: count it, tell the log. */
    void (*refused)(void *data, const char *command, const char *why);
    void (*facts)(void *data, VfmGuardFacts *facts);
    /* VFM_VERSION of QEMU as it greeted, 0 if it did not say. */
    unsigned (*qemu_version)(void *data);
    /* A back end was asked of QEMU that shows nowhere as what it is: a vhost-vdpa netdev, an NVMe node. Known ones are
     * known again in later workers; whether they still exist is asked each time. NULL: nothing is remembered. */
    void (*remember)(void *data, VfmAssignedKind kind, const char *id, const char *address);
    /* Entry @index of what was remembered; false: none (there may be further ones below VFM_GUARD_REMEMBERED). */
    bool (*remembered)(void *data, unsigned index, VfmAssignedKind *kind, const char **id, const char **address);
    /* What follows is NULL outside of helper mode. */
    /* The host's address of the device that device_add's @arguments name, to be freed; NULL without @error: QEMU shall
     * have the command as it came, it is no device of the host's PCI. */
    char *(*host_address)(void *data, const char *arguments, GError **error);
    /* The arguments to give to QEMU instead, the device being served at @socket; to be freed. NULL and @error: one of
     * them can't be kept. */
    char *(*replace_device)(void *data, const char *arguments, const char *socket, GError **error);
    /* QEMU has the device served at @socket as @id. */
    void (*plugged)(void *data, const char *socket, const char *id);
    /* The device that QEMU has as @id or at @socket (both may be NULL). False: none is known. */
    bool (*served)(void *data, const char *id, const char *socket, VfmGuardServed *served);
    /* QEMU has @now (of VfmAssigned), by alias, and had @start: a device that is lost and not there any more is
     * forgotten. Told whenever QEMU was asked for them. */
    void (*present)(void *data, const GPtrArray *now, const GPtrArray *start);
    void *data;
} VfmGuardHost;

/* @argv: QEMU's arguments, without its name. @arch: its target ("x86_64"), NULL if unknown. @policy and @host are
 * copied or taken over: @host becomes the guard's, NULL if nothing is known. */
VfmTalker *vfm_guard_new(char *const *argv, const char *arch, const VfmPolicy *policy, VfmHost *host,
                         const VfmGuardHost *process);
void vfm_guard_free(VfmTalker *talker);

/* Splits @total bytes over virtio-mem devices: in proportion to what each may have, in whole blocks, the rest to the
 * first that can take it. @sizes, @blocks and @result have @n elements. Returns the sum, at most @total. */
uint64_t vfm_guard_spread(uint64_t total, const uint64_t *sizes, const uint64_t *blocks, unsigned n, uint64_t *result);
