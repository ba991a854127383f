/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * domain_xml.h - libvirt's domain XML in, a VfmDomain out.
 *
 * Takes what `virsh dumpxml` prints (running and inactive), the <domstatus>
 * libvirt keeps of running guests, and what people write by hand, with
 * libvirt's implicit devices and defaults made explicit. It draws no
 * conclusions: whether the guest can work is core's business. It refuses what
 * has no single meaning: duplicates of what may stand once, sizes that no
 * number holds, NUMA nodes that do not exist, addresses that overlap.
 *
 * Rules are libvirt's (src/conf/domain_conf.c, src/conf/domain_postparse.c,
 * src/qemu/qemu_domain.c, docs/formatdomain.rst); where libvirt is silent about
 * a mistake (it takes the first of two <memory> elements) we are not.
 *
 * Never: reads a file or the network, expands entities, changes its input.
 */
#pragma once

#include "domain.h"

/* Inputs beyond this many bytes are refused; a reader of files may stop there. */
#define VFM_DOMAIN_XML_MAX (16u * 1024 * 1024)

/* A new domain (vfm_domain_free), or NULL with a VFM_INPUT_ERROR whose text is "FILE:LINE: what and why". @text need
 * not end in NUL. @file is the name for messages only. Thread-safe; no state is kept. */
VfmDomain *vfm_domain_xml_parse(const char *text, gsize length, const char *file, GError **error);
