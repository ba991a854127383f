#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The least that shows helper mode at work, in few minutes: start, DMA, grow, DMA, shrink, DMA, destroy.
# not by default: `life` has it all
. /mnt/scene-lib.sh
libvirt_up
define_guest demo "$helper_maps" "$shared" "$(hostdev 10)"
short_life demo
end_scene
