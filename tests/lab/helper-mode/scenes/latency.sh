#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What a guest sees of its devices under the helper against QEMU's own vfio-pci, as ratios from one run: a read of a BAR, and an
# MSI-X interrupt, which ends each of nvme's reads of 4 KiB.
# not by default: it measures
# Two guests in one L1, one under each, which take turns; the other one is paused. Whose turn is first changes from round
# to round. SCENE_ROUNDS (15).
# Two CPUs for L1: an interrupt goes through its QEMU's main thread, which would wait for a turn beside the guest's CPU.
# cpus: 2
# disk: nvme 16M
# disk: nvme2 16M
# devices: -device nvme,serial=a,drive=nvme,addr=12.0 -device nvme,serial=b,drive=nvme2,addr=14.0
. /mnt/scene-lib.sh
libvirt_up
rounds=${SCENE_ROUNDS-15}
export GUEST_MIB=256 GUEST_PLUGGABLE_MIB=128
declare -A mapper=([helper]=mine [native]=theirs)

define_guest mine "$helper_maps" "$shared" "$(hostdev 10)$(hostdev 12)"
define_guest theirs "" "$shared" "$(hostdev 11)$(hostdev 14)"
for name in mine theirs; do
    check "$name starts" virsh start $name
    must started $name
    check "Linux is up in $name" linux_is_up $name
    check "its edu works" edu_works $name
    check "its disk works, with MSI-X" answers '^nvme ok: .* interrupts of [1-9][0-9]* msix' 240 $name "nvme-guest write 1 4" '^nvme (ok|failed)'
    virsh -q suspend $name
done
done=0
for ((round = 0; round < rounds; round++)); do
    [ $((round % 2)) = 0 ] && order="helper native" || order="native helper"
    for owner in $order; do
        name=${mapper[$owner]}
        virsh -q resume $name
        read_ns=$(ask 300 $name "edu-guest 0 read 400000" '^edu (read|failed)' | number)
        nvme_ns=$(ask 300 $name "nvme-guest latency 1500" '^nvme (latency|failed)' | number)
        virsh -q suspend $name
        [ -n "$read_ns" ] && [ -n "$nvme_ns" ] || break 2
        add "BAR read, ns" $owner "$read_ns"
        add "4 KiB read from nvme, ns" $owner "$nvme_ns"
        echo "round $round, $owner: BAR read $read_ns ns, 4 KiB of nvme $nvme_ns ns"
    done
    done=$((round + 1))
done
check "all rounds were measured" test $done = "$rounds"
for name in mine theirs; do
    virsh -q destroy $name
    virsh -q undefine $name
done
table "$rounds" "BAR read, ns" "4 KiB read from nvme, ns"
end_scene
