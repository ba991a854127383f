#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# libvirt reads the domains of tests/data as we do: agree.py says how that is compared.
. "$VFIOMEM_INTEGRATION_DIR/lib.sh"

daemon_start
exec python3 "$VFIOMEM_INTEGRATION_DIR/agree.py" "$@"
