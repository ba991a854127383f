/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * devices_wire.h - what the mediator and vfiomem-helper-devices say to each other.
 *
 * A SOCK_SEQPACKET socket pair; each packet is one or more whole lines, each ended by a newline, of ASCII text.
 *
 *   to the devices    NUMBER add ADDRESS      -> NUMBER socket PATH
 *                     NUMBER forget PATH      -> NUMBER ok
 *                     NUMBER withdraw OTHER   -> NUMBER ok      whatever OTHER, an add, had served is forgotten
 *                     NUMBER status           -> NUMBER {JSON}
 *                     NUMBER limit            -> NUMBER limit BYTES, or NUMBER limit none: what it may lock now
 *                     any of them             -> NUMBER error TEXT
 *   from the devices  event ACTION DEVICE TEXT                   unasked; DEVICE is "-" where none is meant
 *
 * Numbers rise and are the asker's. An answer carries its request's, so a late one is never taken for another's. The
 * same add asked again under the same number is not done again but answered as it was: a mediator whose worker died may
 * ask for what its predecessor asked for. Events are told once and never wait: where the socket is full they are
 * dropped, and status says what is.
 */
#pragma once

/* Longest line, its newline included; also what one receive must have room for. */
#define VFM_DEVICES_LINE_MAX 65536

/* Actions of events. */
#define VFM_DEVICES_SERVED "served"       /* TEXT is the socket */
#define VFM_DEVICES_LEFT "left"           /* QEMU has it no more, lost or not */
#define VFM_DEVICES_HELD "held"           /* kept from DMA */
#define VFM_DEVICES_RELEASED "released"   /* may do DMA again */
#define VFM_DEVICES_FAILED "failed"       /* something was not mapped, or not unmapped */
#define VFM_DEVICES_LOST "lost"           /* dead for the guest, which has it still, until it is attached again */
#define VFM_DEVICES_RESTARTED "restarted" /* the part that maps died and another one took over; no device */
