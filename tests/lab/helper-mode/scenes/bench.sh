#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the helper costs against QEMU's own vfio-pci, as ratios from one run: plugging blocks, reading a BAR, an MSI-X interrupt.
# not by default: it measures
# Two guests in one L1, one under each, which take turns; the other one is paused. Whose turn is first changes from round
# to round. SCENE_ROUNDS (5), SCENE_BLOCKS (1000, of 2 MiB), SCENE_KERNEL=lab (a smaller Linux, without nvme and its row).
# L1's time is what it computes (-icount), so that the figures do not depend on what else this machine does; what L1's QEMU does
# for it, such as a device's access to its registers, takes no time then.
# memory: 6G
# devices: -icount shift=1
# disk: nvme 16M
# disk: nvme2 16M
# devices: -device nvme,serial=a,drive=nvme,addr=12.0 -device nvme,serial=b,drive=nvme2,addr=14.0
# seconds: 5000
. /mnt/scene-lib.sh
libvirt_up
[ "${SCENE_KERNEL-}" != lab ] || export GUEST_KERNEL=/mnt/lab-kernel
rounds=${SCENE_ROUNDS-5} blocks=${SCENE_BLOCKS-1000}
size=$((blocks * 2)) # MiB
export GUEST_PLUGGABLE_MIB=$(((size + 127) / 128 * 128))

declare -A mapper=([helper]=mine [native]=theirs)
pid_of() { if [ "$1" = helper ]; then helper; else guest_pid theirs; fi; }
locked_kib() { awk '/^VmLck/ {print $2}' "/proc/$(pid_of "$1")/status"; }
unplugged() { local l; l=$(locked_kib "$1"); [ "$l" -lt $((513 * 1024)) ]; }

# measure OWNER
measure() {
    local name=${mapper[$1]} line from

    add "BAR read, ns" "$1" "$(ask 300 "$name" "edu-guest 0 read 20000" '^edu (read|failed)' | number)"
    [ "${SCENE_KERNEL-}" = lab ] || add "4 KiB read from nvme, ns" "$1" "$(ask 300 "$name" "nvme-guest latency 300" '^nvme (latency|failed)' | number)"
    from=$(locked_kib "$1")
    /mnt/bin/watch-host "$(pid_of "$1")" $((from + 1024)) $((from + size * 1024)) 600 > /run/watched &
    plug "$name" $size
    wait $!
    line=$(cat /run/watched)
    [[ $line =~ ^watch:\ ([0-9]+)\ ([0-9]+) ]] || { echo "$line"; return 1; }
    add "$blocks blocks, first to last, ms" "$1" $((BASH_REMATCH[2] - BASH_REMATCH[1]))
    add "$blocks blocks, virsh to last, ms" "$1" "${BASH_REMATCH[2]}"
    plug "$name" 0
    for ((i = 0; i < 12; i++)); do
        wait_for 60 unplugged "$1" > /dev/null && return 0
        plug "$name" 0
    done
    echo "$name does not give $size MiB back"
    return 1
}

define_guest mine "$helper_maps" "$shared" "$(hostdev 10)$(hostdev 12)"
define_guest theirs "" "$shared" "$(hostdev 11)$(hostdev 14)"
for name in mine theirs; do
    check "$name starts" virsh start $name
    must started $name
done
for name in mine theirs; do
    check "Linux is up in $name" linux_is_up $name
    check "its edu works" edu_works $name
    [ "${SCENE_KERNEL-}" = lab ] || check "its disk works" answers '^nvme ok' 200 $name "nvme-guest write 1 4" '^nvme (ok|failed)'
done
virsh -q suspend mine
virsh -q suspend theirs
done=0
for ((round = 0; round < rounds; round++)); do
    [ $((round % 2)) = 0 ] && order="helper native" || order="native helper"
    for owner in $order; do
        virsh -q resume ${mapper[$owner]}
        measure "$owner" || break 2
        virsh -q suspend ${mapper[$owner]}
    done
    done=$((round + 1))
    echo "round $done of $rounds"
done
check "all rounds were measured" test $done = "$rounds"
for name in mine theirs; do
    virsh -q destroy $name
    virsh -q undefine $name
done
wait_for 30 not pgrep -f vfiomem-helper

# The mapping alone, without QEMU and guest.
device=0000:00:10.0
echo vfio-pci > /sys/bus/pci/devices/$device/driver_override
echo $device > /sys/bus/pci/drivers_probe
wait_for 30 bound_to_vfio $device
/mnt/bin/map-host $device "$blocks" "$rounds" | tee /run/mapped
while read -r _ _ _ native _ helper; do
    add "one block mapped, ns" native "$native"
    add "one block mapped, ns" helper "$helper"
done < <(grep '^map [0-9]' /run/mapped)
check "mapping alone was measured" grep -q '^map ratio' /run/mapped
echo > /sys/bus/pci/devices/$device/driver_override

table "$rounds" "$blocks blocks, virsh to last, ms" "$blocks blocks, first to last, ms" "one block mapped, ns" "BAR read, ns" \
    "4 KiB read from nvme, ns"
end_scene
