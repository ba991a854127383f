/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* domain_copy.h - copies of what a domain is made of, for domains that live only as long as one question. Pure. */
#pragma once

#include "domain.h"

/* Everything but memory devices and assigned devices, of which the copy has none. */
VfmDomain *vfm_domain_copy_frame(const VfmDomain *domain);

/* Adds copies to @domain; it owns them. */
VfmMemoryDevice *vfm_domain_copy_memory(VfmDomain *domain, const VfmMemoryDevice *device);
VfmAssigned *vfm_domain_copy_assigned(VfmDomain *domain, const VfmAssigned *assigned);
