#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A device that comes and goes, time and again, while another stays; nothing of it remains.
# SCENE_TIMES (20): how often.
. /mnt/scene-lib.sh
libvirt_up
times=${SCENE_TIMES-20}

# What could leak: descriptors and locked memory of the process that maps, and what the status counts.
what_there_is() {
    local pid

    pid=$(helper)
    echo "$(ls "/proc/$pid/fd" | wc -l) descriptors, $(locked "$pid") bytes locked, $(status_number demo mappings) mappings"
}
is_as_before() { what_there_is; [ "$(what_there_is)" = "$before" ]; }
descriptors_of_qemu() { ls "/proc/$(guest_pid demo)/fd" | wc -l; }

define_guest demo "$helper_maps" "$shared" "$(hostdev 10)"
start_guest demo
check "its device does DMA" edu_works demo 0
hostdev 11 > /run/second.xml
before=$(what_there_is) qemu='' pass=0
for i in $(seq "$times"); do
    virsh -q attach-device demo /run/second.xml --live || break
    locked_about 512 > /dev/null || break
    edu_found demo 1 90 || break
    virsh -q detach-device demo /run/second.xml --live || break
    wait_for 60 not has_hostdev demo 11 || break
    wait_for 30 not bound_to_vfio 0000:00:11.0 || break
    # QEMU keeps what it opened for the first time for good.
    [ -n "$qemu" ] || qemu=$(descriptors_of_qemu)
    pass=$i
done
echo "before: $before; after $pass times: $(what_there_is)"
check "a second device came, did DMA and left $times times" test "$pass" = "$times"
check "and left nothing behind" wait_for 30 is_as_before
check "nor in QEMU" test "$(descriptors_of_qemu)" = "$qemu"
check "the first device goes on" edu_works demo 0
check "no DMA fault in all that time" no_faults
end_guest demo
end_scene
