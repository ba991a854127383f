#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# virtio-mem grows to its maximum and shrinks to nothing, time and again, while the device does DMA in the guest all the time.
# SCENE_ROUNDS (50): how often. The maximum is 256 MiB: 128 blocks of 2 MiB for QEMU, 2 memory blocks for Linux.
# seconds: 5400
. /mnt/scene-lib.sh
libvirt_up
rounds=${SCENE_ROUNDS-50}

# totals FIELD: of the loop in the guest: copies, plugged, moved, wrong.
totals() { ask 240 demo "edu-guest totals" '^edu loop:' | sed -n "s/.* \([0-9]*\) $1.*/\1/p"; }
# goes_on FIELD N: N more of these copies from now on.
goes_on() {
    local now

    now=$(totals "$1") && wait_for 240 reached "$1" $((now + $2))
}
reached() { [ "$(totals "$1")" -ge "$2" ]; }

define_guest demo "$helper_maps" "$shared" "$(hostdev 10)"
start_guest demo
qemu=$(guest_pid demo)
check "DMA begins" answers '^edu loop' 240 demo "edu-guest 0 loop ${plugged%-*}" '^edu (loop|failed)'
check "and goes on" goes_on copies 2
mappings=$(status_number demo mappings)
pass=0 begin=$SECONDS
for i in $(seq "$rounds"); do
    round=$SECONDS
    plug demo 256 || break
    grown demo 256 || break
    full=$SECONDS
    # At the maximum: between pages some of which were just plugged.
    goes_on plugged 2 || break
    [ "$(locked "$qemu")" = 0 ] || break
    shrink=$SECONDS
    plug demo 0 || break
    shrunk demo 0 || break
    small=$SECONDS
    goes_on copies 2 || break
    echo "round $i: grown in $((full - round)) s, shrunk in $((small - shrink)) s, $(totals plugged) of $(totals copies) copies in plugged memory"
    pass=$i
done
echo "$pass rounds in $((SECONDS - begin)) s"
check "virtio-mem grew to its maximum and shrank to nothing $rounds times, and what is locked followed" test "$pass" = "$rounds"
said=$(ask 240 demo "edu-guest stop" '^edu loop:.*ended')
echo "$said"
check "all that arrived was right" grep -q ' 0 wrong' <<< "$said"
check "there are as many mappings as before" test "$(status_number demo mappings)" = "$mappings"
check "QEMU itself still has nothing locked" test "$(locked "$qemu")" = 0
check "no DMA fault in all that time" no_faults
end_guest demo
end_scene
