/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * host_text.h - a host as a person reads it. What is not known is called unknown.
 */
#pragma once

#include "host.h"
#include "terminal.h"

void vfm_host_print(const VfmTerminal *terminal, const VfmHost *host);
