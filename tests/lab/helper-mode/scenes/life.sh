#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A guest with an assigned device whose memory the helper maps, from virsh define to undefine.
# SCENE_ROUNDS (5): how often virtio-mem grows and shrinks.
. /mnt/scene-lib.sh
libvirt_up

query_pci() { virsh qemu-monitor-command "$1" '{"execute":"query-pci"}'; }

# --- what can't work is said, before anything starts
define_guest private "$helper_maps" "" "$(hostdev 10)"
check "memory that is not shared is refused" fails_with 'shared' virsh start private
check "and nothing was started" not pgrep -f vfiomem-helper
virsh -q undefine private
sed -i 's#<emulator>.*#<emulator>/usr/bin/qemu-system-x86_64</emulator>#' /run/private.xml
check "vfiomem apply makes it fit, emulator and memory" $vfiomem apply --in-place --emulator=/usr/local/bin/vfiomem-qemu /run/private.xml
virsh -q define /run/private.xml
check "and it starts" virsh start private
check "mapped by the helper" says '"owner":"helper"' status private
check "and ends" virsh destroy private
virsh -q undefine private

# --- a window
define_guest window "$helper_maps<vfiomem:window start='0x8000000' size='0x8000000'/>" "$shared" "$(hostdev 10)"
check "a guest with a window starts" virsh start window
check "and 128 MiB of its 512 are pinned" wait_for 30 locked_is $((128 * mib))
check "it ends" virsh destroy window
check "and the helper with it" wait_for 30 not pgrep -f vfiomem-helper
virsh -q undefine window

# --- a life
define_guest demo "$helper_maps" "$shared" "$(hostdev 10)"
check "vfiomem check has no error" $vfiomem check /run/demo.xml
check "it starts" virsh start demo
must started demo
qemu=$(guest_pid demo)
check "QEMU itself has nothing locked" test "$(locked "$qemu")" = 0
check "and no VFIO descriptor" no_vfio_descriptor "$qemu"
check "the helper's socket is gone from the folder" not bash -c 'ls /var/lib/libvirt/qemu/domain-*-demo/vfiomem/*.sock'
check "vfiomem-query-status knows" says '"owner":"helper"' status demo
check "QEMU shows the device under libvirt's name" says '"qdev_id":"hostdev0"' query_pci demo
check "with its own identity" says '"device":4584' query_pci demo
check "QEMU has mapped its BAR itself" grep -q vfio "/proc/$qemu/maps"
check "Linux is up in it" wait_for 900 guest_said demo '^ready'
check "its 512 MiB are pinned" locked_about 512
check "and were pinned once since power-on, but for the first MiB" test "$(status_number demo pinned-total)" -le $((514 * mib))
check "the device does DMA out of and into guest memory" edu_works demo

pkill -x libvirtd
wait_for 60 not pgrep -x libvirtd
libvirtd -d
check "libvirtd is started anew and knows it" wait_for 120 says running virsh domstate demo
check "and so does the mediator" says '"owner":"helper"' status demo

pass=0
for i in $(seq "${SCENE_ROUNDS-5}"); do
    plug demo 256 || break
    wait_for 120 locked_about 768 || break
    edu_works demo || break
    plug demo 0 || break
    wait_for 120 locked_about 512 || break
    edu_works demo || break
    pass=$i
done
check "virtio-mem grew and shrank ${SCENE_ROUNDS-5} times, and what is locked followed, with DMA in between" test "$pass" = "${SCENE_ROUNDS-5}"

before=$(status_number demo pinned-total)
check "a reset" virsh reset demo
check "Linux is up again" wait_for 900 guest_said_times demo '^ready' 2
check "pinned at most once more" test $(($(status_number demo pinned-total) - before)) -le $((514 * mib))
check "and the device still does DMA" edu_works demo

hostdev 11 > /run/second.xml
check "a second device is plugged in" virsh attach-device demo /run/second.xml --live
check "which shares the mappings" locked_about 512
check "Linux finds it" edu_found demo 1 60
check "it is unplugged" virsh detach-device demo /run/second.xml --live
check "and leaves" wait_for 60 bash -c "! virsh dumpxml demo | grep -q \"slot='0x11'\""
check "the first one goes on" edu_works demo
check "it is destroyed" virsh destroy demo
check "nothing of ours is left" wait_for 30 not pgrep -f vfiomem-helper
check "and the device is its host's again" wait_for 30 not bound_to_vfio 0000:00:10.0
virsh -q undefine demo
end_scene
