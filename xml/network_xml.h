/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * network_xml.h - the one thing negotiation asks of a libvirt network.
 *
 * What it is: a reader of network XML (`virsh net-dumpxml`). What it never does:
 * load a DTD, an external entity or anything from the network.
 * Threads: no shared state.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* Whether the network hands out assigned devices: <forward mode='hostdev'>
 * (libvirt docs/formatnetwork.rst). Sets @hostdev; VFM_INPUT_ERROR if @text is
 * no network XML. @text has @length bytes. */
bool vfm_network_xml_is_hostdev(const char *text, gsize length, bool *hostdev, GError **error);
