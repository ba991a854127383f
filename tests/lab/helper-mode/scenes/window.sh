#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A window of 256 MiB in a guest of 1 GiB: DMA works in there and nowhere else, and only that is pinned.
. /mnt/scene-lib.sh
libvirt_up
GUEST_MIB=1024
# The last 256 MiB, where Linux finds free memory first.
inside=0x30000000-0x40000000 outside=0x10000000-0x30000000
copied=/run/copied

# copy_is VERDICT FROM TO: what became of one copy; its addresses are in $copied.
copy_is() { copy_in window "$2" "$3" > $copied; cat $copied; grep -q "^edu copy .* $1\$" $copied && [ "$(wc -l < $copied)" = 1 ]; }

define_guest window "$helper_maps<vfiomem:window start='0x30000000' size='0x10000000'/>" "$shared" "$(hostdev 10)"
start_guest window
check "256 MiB are pinned, to the byte" locked_is $((256 * mib))
check "DMA within the window works" copy_is arrived $inside $inside
check "without a fault" no_faults
check "DMA out of the window does not reach memory" copy_is untouched $inside $outside
check "and is a fault at that address" wait_for 10 fault_at "$(cut -d' ' -f4 $copied)"
check "DMA from memory outside does not read it" copy_is other $outside $inside
check "and is a fault at that address, too" wait_for 10 fault_at "$(cut -d' ' -f3 $copied)"
check "DMA within the window still works" copy_is arrived $inside $inside
check "virtio-mem grows" plug window 256
check "which QEMU is told" wait_for 120 says '>262144<' virsh dumpxml window --xpath '//memory/target/current'
check "and nothing more is pinned" locked_is $((256 * mib))
check "but DMA to there is none" copy_is untouched $inside "$plugged"
end_guest window
end_scene
