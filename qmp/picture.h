/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * picture.h - the guest as it is now, asked of QEMU each time it matters.
 *
 * Events may be lost while nobody listens and a worker may be new, so nothing
 * is remembered: the arguments QEMU started with say what cannot be asked (host
 * addresses, backends' files), QEMU says what is there. The result is a domain
 * in negotiation's words plus what only a running guest has.
 *
 * A picture owns its domain. One thread at a time.
 */
#pragma once

#include "arguments.h"

typedef struct {
    char *id;         /* QEMU's device id; "" if it has none */
    char *path;       /* of the object, for qom-set: "/machine/peripheral/virtiomem0" */
    uint64_t plugged; /* bytes the guest uses; of others than virtio-mem: all */
    unsigned memory;  /* index into the domain's memory_devices */
} VfmPictureMemory;

typedef struct {
    VfmDomain *domain;
    GArray *memory;       /* of VfmPictureMemory, in the order of the domain's memory_devices */
    VfmMaybe balloon;     /* what the guest has, without virtio-mem (query-balloon); not set: no balloon */
    char *status;         /* of query-status: "running", "prelaunch", ... */
    bool listed;          /* QEMU said which devices there are */
    GHashTable *unshared; /* ids of backends that QEMU says are private */
    GHashTable *sizes;    /* backend id -> uint64_t*: bytes, of backends the arguments do not know */
    GPtrArray *unnamed;   /* char*: ids of assigned devices whose host address has to be asked for */
    GPtrArray *hidden;    /* VfmAssigned* of the domain: back ends of which has to be asked whether they are there */
} VfmPicture;

/* What to ask QEMU first: appends members of commands (talk.h) to @ask. */
void vfm_picture_ask(GPtrArray *ask);

/* Makes the picture of the replies to those, in order. What QEMU refused to answer counts as what the arguments said.
 * @arguments is only read. */
VfmPicture *vfm_picture_new(const VfmQemuArguments *arguments, const GPtrArray *replies);
void vfm_picture_free(VfmPicture *picture);

/* Whether QEMU can be asked for a back end of this id: it is one as QEMU takes it. NULL is none. */
bool vfm_picture_can_ask(const char *id);

/* A vhost-vdpa netdev or an NVMe node that the arguments do not know, because it was plugged in later. */
void vfm_picture_add_back_end(VfmPicture *picture, VfmAssignedKind kind, const char *id, const char *address);

/* Asks for host addresses of devices that were plugged in later, and whether back ends are still there, which no
 * command of QMP's own tells; appends nothing if there are none. */
void vfm_picture_ask_more(const VfmPicture *picture, GPtrArray *ask);
/* Back ends that are gone leave the domain. What QEMU does not answer counts as still there. */
void vfm_picture_set_more(VfmPicture *picture, const GPtrArray *replies);

/* Bytes of a memory backend, known from anywhere. */
VfmMaybe vfm_picture_backend_size(const VfmPicture *picture, const VfmQemuArguments *arguments, const char *id);

/* Whether it is known that nobody but QEMU can get at the content of a memory backend. */
bool vfm_picture_backend_is_private(const VfmPicture *picture, const VfmQemuArguments *arguments, const char *id);

/* Whether the guest has begun to run (libvirt's commands before that are part of its start). */
bool vfm_picture_has_run(const VfmPicture *picture);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmPicture, vfm_picture_free)
