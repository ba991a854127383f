#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What can't be plugged in is refused with a reason, by libvirt, by the helper or by QEMU; the guest and its device go on.
# SCENE_TIMES (5): how often each of the five.
. /mnt/scene-lib.sh
libvirt_up
times=${SCENE_TIMES-5}

define_guest demo "$helper_maps" "$shared" "$(hostdev 10)"
start_guest demo
qemu=$(guest_pid demo)
check "its device does DMA" edu_works demo 0

hostdev 15 > /run/absent.xml
hostdev 10 > /run/assigned.xml
hostdev 11 > /run/busy.xml
sed "s|</source>|</source><rom file='/nonexistent'/>|" /run/busy.xml > /run/rom.xml
sed "s|</source>|</source><address type='pci' domain='0' bus='0' slot='0x1e' function='0'/>|" /run/busy.xml > /run/root.xml
group=$(basename "$(readlink /sys/bus/pci/devices/0000:00:11.0/iommu_group)")
what_there_is() { echo "$(ls "/proc/$(helper)/fd" | wc -l) descriptors, $(locked "$(helper)") bytes, $(status_number demo mappings) mappings"; }

before=$(what_there_is)
for i in $(seq "$times"); do
    check "$i: a device that is not there" fails_with 'not found|No such' virsh attach-device demo /run/absent.xml --live
    check "$i: a device that is assigned" fails_with 'in use|already' virsh attach-device demo /run/assigned.xml --live
    check "$i: a bus without hot-plug" fails_with 'hotplug|hot-plug' virsh attach-device demo /run/root.xml --live
    check "$i: a ROM that is not there" fails_with 'nonexistent' virsh attach-device demo /run/rom.xml --live
    # Somebody else has its group open.
    virsh -q nodedev-detach pci_0000_00_11_0
    check "$i: it is ready for VFIO" bound_to_vfio 0000:00:11.0
    exec 9<> "/dev/vfio/$group"
    check "$i: a device that somebody else has" fails_with 'busy|somebody|another|in use' virsh attach-device demo /run/busy.xml --live
    exec 9>&-
    virsh -q nodedev-reattach pci_0000_00_11_0
done
check "the guest still runs" says running virsh domstate demo
check "as the same process" test "$(guest_pid demo)" = "$qemu"
check "its device still does DMA" edu_works demo 0
echo "before: $before; after: $(what_there_is)"
check "and nothing has leaked" test "$(what_there_is)" = "$before"
check "what was refused can be plugged in when it is free" virsh attach-device demo /run/busy.xml --live
check "and does DMA" edu_found demo 1 90
check "and unplugged" virsh detach-device demo /run/busy.xml --live
check "and leaves" wait_for 60 not has_hostdev demo 11
check "no DMA fault in all that time" no_faults
end_guest demo
end_scene
