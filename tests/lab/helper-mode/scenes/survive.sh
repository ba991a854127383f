#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The worker of the process that maps is killed while the guest boots, while its device does DMA, and while virtio-mem and
# devices come and go: the guest notices nothing, and nothing is lost or left.
# SCENE_KILLS (20): how often while the device does DMA. SCENE_BACKEND (type1): or iommufd.
# seconds: 2700
. /mnt/scene-lib.sh
backend=${SCENE_BACKEND-type1}
if [ "$backend" = iommufd ]; then
    [ -c /dev/iommu ] || skip "the kernel has no iommufd"
    allow_iommufd 0000:00:10.0 0000:00:11.0
    HOSTDEV_MANAGED=no
fi
libvirt_up
kills=${SCENE_KILLS-20}

supervisor() {
    local pid

    for pid in $(pgrep -f vfiomem-helper-devices); do
        [ -z "$(pgrep -P "$pid")" ] || echo "$pid"
    done
}
worker() { pgrep -P "$(supervisor)"; }
another_worker() { local now; now=$(worker); [ -n "$now" ] && [ "$now" != "$1" ]; }
kill_worker() {
    local victim

    victim=$(worker)
    [ -n "$victim" ] && kill -KILL "$victim" && wait_for 30 another_worker "$victim"
}
descriptors() { find "/proc/$(supervisor)/fd" -type l | wc -l; }
# The first number of that name that the process that maps says of itself.
mapping_number() { status "$1" | sed 's/.*"helper-mapping"://' | grep -o "\"$2\":[0-9][0-9]*" | head -n 1 | cut -d: -f2; }
# What the helper itself says: the kernel need not charge a successor for what its predecessor pinned.
pinned_about() {
    local pinned

    pinned=$(mapping_number demo pinned)
    echo "pinned: $pinned"
    [ "$pinned" -ge $((($1 - 1) * mib)) ] && [ "$pinned" -le $((($1 + 1) * mib)) ]
}
resized() {
    local i

    plug demo "$1"
    for ((i = 0; i < 12; i++)); do
        wait_for 15 pinned_about $((512 + $1)) > /dev/null && return 0
        plug demo "$1"
    done
    pinned_about $((512 + $1))
}

define_guest demo "<vfiomem:mapping owner='helper' backend='$backend'/>" "$shared" "$(hostdev 10)"
check "it starts" virsh start demo
must started demo
check "it is mapped by $backend" says "\"backend\":\"$backend\"" status demo
booting=0
for ((i = 0; i < 6; i++)); do
    kill_worker && booting=$((booting + 1))
    wait_for 5 false > /dev/null
done
check "the worker was killed 6 times while it boots" test "$booting" = 6
check "Linux is up in it" linux_is_up demo
check "boot memory is pinned" pinned_about 512
check "the device does DMA" edu_works demo
mappings=$(mapping_number demo mappings)
descriptors=$(descriptors)

check "DMA goes on all the time" ask 240 demo "edu-guest 0 loop ${plugged%-*}" '^edu loop'
killed=0
for ((i = 0; i < kills; i++)); do
    kill_worker && killed=$((killed + 1))
    [ $((i % 7)) != 3 ] || plug demo 256
    [ $((i % 7)) != 6 ] || plug demo 0
    wait_for 1 false > /dev/null
done
check "the worker was killed $kills times" test "$killed" = "$kills"
check "virtio-mem is at its maximum afterwards" resized 256
check "and killed once more" kill_worker
check "it is pinned" pinned_about 768
check "virtio-mem is back at zero" resized 0
check "the device copied right all the time" answers ', 0 wrong' 240 demo "edu-guest stop" '^edu loop: '
check "the mappings are what they were" test "$(mapping_number demo mappings)" = "$mappings"
check "and so are the descriptors" test "$(descriptors)" = "$descriptors"
check "the restarts are counted" test "$(mapping_number demo restarts)" -ge $((kills + booting))

hostdev 11 > /run/second.xml
check "a second device is plugged in" virsh attach-device demo /run/second.xml --live
check "the worker is killed" kill_worker
check "Linux finds the device, and it does DMA" edu_found demo 1 90
check "it is unplugged" virsh detach-device demo /run/second.xml --live
check "the worker is killed again" kill_worker
check "the device leaves" wait_for 60 not has_hostdev demo 11
check "and the worker forgets it" wait_for 30 test "$(descriptors)" = "$descriptors"

# Killed just while it attaches: it is there, or it is not, but never half.
for delay in 0.1 0.2 0.4 0.8; do
    (read -rt "$delay" <> <(:); kill -KILL "$(worker)") &
    virsh -q attach-device demo /run/second.xml --live > /run/attach.log 2>&1 || cat /run/attach.log
    wait $!
    if has_hostdev demo 11; then
        virsh -q detach-device demo /run/second.xml --live
        wait_for 60 not has_hostdev demo 11
    fi
done
check "after deaths in the middle of attaching it can be plugged in" virsh attach-device demo /run/second.xml --live
check "and does DMA" edu_found demo 1 90
check "the first device still does DMA" edu_works demo
check "no DMA fault in all that time" no_faults
end_guest demo
[ "$backend" = iommufd ] || check "the devices are their host's again" wait_for 30 not bound_to_vfio 0000:00:10.0
end_scene
