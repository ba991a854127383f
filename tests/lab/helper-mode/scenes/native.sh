#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The same guest twice: its device under vfiomem's helper, and under QEMU's own vfio-pci with vfiomem's mediator in front; what
# was pinned beside each other. Then two devices behind a virtual IOMMU, under QEMU's own.
# With -icount a machine that is busy makes L1 slow, but not its guest's clock fast.
# devices: -icount shift=1
# seconds: 4000
. /mnt/scene-lib.sh
libvirt_up

# Pages that the kernel has pinned since it started, each as often as it was, in MiB: whoever did it. Nobody else pins here.
pins() { awk '$1 == "nr_foll_pin_acquired" { print int($2 / 256) }' /proc/vmstat; }
# Whose locked memory scene-lib.sh's locked_about looks at: of the guest, which has an owner of its mappings.
guest='' owner=''
helper() {
    if [ "$owner" = qemu ]; then
        guest_pid "$guest"
    else
        pgrep -f vfiomem-helper-devices | while read -r pid; do echo "$(locked "$pid") $pid"; done | sort -n | tail -n 1 | cut -d' ' -f2
    fi
}
declare -A figure
say() { figure[$owner $1]=$2; }

# life NAME OWNER POLICY BACKING
life() {
    local before

    guest=$1 owner=$2
    define_guest "$guest" "$3" "$4" "$(hostdev 10)"
    check "$owner: vfiomem check has no error" $vfiomem check "/run/$guest.xml"
    check "$owner: vfiomem plan knows the blocks" says 'virtio-mem' $vfiomem plan "/run/$guest.xml"
    before=$(pins)
    check "$owner: it starts" virsh start "$guest"
    must started "$guest"
    check "$owner: Linux is up in it" linux_is_up "$guest"
    say "from power-on to the shell" $(($(pins) - before))
    check "$owner: the mediator knows who maps" says "\"owner\":\"$owner\"" status "$guest"
    check "$owner: boot memory is locked" locked_about 512
    say "locked with one device" $(($(locked "$(helper)") / mib))
    check "$owner: the device does DMA" edu_works "$guest"
    before=$(pins)
    check "$owner: virtio-mem grows" plug "$guest" 256
    check "$owner: and is locked" grown "$guest" 256
    say "growing by 256 MiB" $(($(pins) - before))
    check "$owner: DMA into what was plugged" says arrived copy_in "$guest" any "$plugged"
    check "$owner: vfiomem status lists it" says 'virtio' $vfiomem status "$guest"
    check "$owner: virtio-mem shrinks" plug "$guest" 0
    check "$owner: and is no longer locked" shrunk "$guest" 0
    before=$(pins)
    hostdev 11 > /run/second.xml
    check "$owner: a second device is plugged in" virsh attach-device "$guest" /run/second.xml --live
    check "$owner: and does DMA" edu_found "$guest" 1 90
    say "a second device" $(($(pins) - before))
    say "locked with two devices" $(($(locked "$(helper)") / mib))
    check "$owner: it is unplugged" virsh detach-device "$guest" /run/second.xml --live
    check "$owner: and leaves" wait_for 60 not has_hostdev "$guest" 11
    before=$(pins)
    check "$owner: a reset" virsh reset "$guest"
    check "$owner: Linux is up again" wait_for 900 guest_said_times "$guest" "^ready" 2
    say "a reset, to the shell again" $(($(pins) - before))
    check "$owner: the device does DMA" edu_works "$guest"
    end_guest "$guest"
}
life mine helper "$helper_maps" "$shared"
life theirs qemu "" "$shared"
check "the helper pins RAM once from power-on to the shell" test "${figure[helper from power-on to the shell]}" -le 514
check "once more at most for a reset" test "${figure[helper a reset, to the shell again]}" -le 514
check "and nothing for a second device" test "${figure[helper a second device]}" -le 1
check "no DMA fault in all that time" no_faults

# --- two devices, each in an address space of its own
# Nothing is plugged here, which the lab's kernel could not.
guest=viommu owner=qemu
export GUEST_KERNEL=/mnt/lab-kernel
# settled: until firmware has reshaped memory for the last time, which is what pins anew: ten seconds without.
settled() {
    local last=-1

    while [ "$last" != "$(pins)" ]; do
        last=$(pins)
        read -rt 10 -u "$lib_silent" || true
    done
}
# On root ports: behind one conventional bridge they would share an address space again.
at() { hostdev "$1" | sed "s#</hostdev>#<address type='pci' domain='0' bus='$2' slot='0' function='0'/></hostdev>#"; }
guest_xml viommu "" "" "$(at 10 4)$(at 11 5)<iommu model='intel'><driver intremap='on' caching_mode='on' aw_bits='39'/></iommu>" |
    sed "s#<features>#<features><ioapic driver='qemu'/>#" > /run/viommu.xml
check "a guest with a virtual IOMMU is defined" virsh -q define /run/viommu.xml
check "vfiomem check sees two containers" says 'container 2' $vfiomem plan /run/viommu.xml
before=$(pins)
check "it starts" virsh start viommu
must started viommu
settled
check "each device has locked all memory for itself" locked_about 1024
owner=viommu say "from power-on to the shell" $(($(pins) - before))
owner=viommu say "locked with two devices" $(($(locked "$(guest_pid viommu)") / mib))
end_guest viommu

printf '\n%-34s %8s %8s %8s\n' "MiB" helper native "vIOMMU*"
for what in "from power-on to the shell" "a reset, to the shell again" "growing by 256 MiB" "a second device" \
    "locked with one device" "locked with two devices"; do
    printf '%-34s %8s %8s %8s\n' "$what" "${figure[helper $what]--}" "${figure[qemu $what]--}" "${figure[viommu $what]--}"
done
echo "* two devices, until the firmware ended"
end_scene
