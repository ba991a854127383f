#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The worker of the process that maps crashes again and again and gets nothing done, as no bug should make it: the device is
# silenced and unmapped, and the guest lives on, with a dead device that can be detached.
. /mnt/scene-lib.sh
libvirt_up

supervisor() {
    local pid

    for pid in $(pgrep -f vfiomem-helper-devices); do
        [ -z "$(pgrep -P "$pid")" ] || echo "$pid"
    done
}
# Pages that are pinned now, by whomever.
pinned_pages() { awk '$1 == "nr_foll_pin_acquired" { n += $2 } $1 == "nr_foll_pin_released" { n -= $2 } END { print n }' /proc/vmstat; }
nothing_pinned() { [ "$(pinned_pages)" = 0 ]; }
memory_is() { virsh dumpxml demo --xpath '//memory/target/current' | grep -q ">$(($1 * 1024))<"; }

check "nothing is pinned before" nothing_pinned
define_guest demo "$helper_maps" "$shared" "$(hostdev 10)"
start_guest demo
check "its device does DMA" edu_works demo
echo "$(pinned_pages) pages are pinned"
check "boot memory is pinned" test "$(pinned_pages)" -ge $((510 * 256))
crashes=0
supervisor=$(supervisor)
while [ -d "/proc/$supervisor" ] && [ $crashes -lt 100 ]; do
    worker=$(pgrep -P "$supervisor") || continue
    kill -SEGV "$worker" 2> /dev/null && crashes=$((crashes + 1))
    wait_for 30 not test -d "/proc/$worker" || break
done
echo "after $crashes crashes"
check "the process that maps has given up" not test -d "/proc/$supervisor"
check "which the domain's log says" grep -q 'silenced and given up' /var/log/libvirt/qemu/demo.log
check "the guest runs" says running virsh domstate demo
check "vfiomem-query-status knows that the device is lost" wait_for 30 says '"lost":true' status demo
check "nothing is pinned any more" wait_for 30 nothing_pinned
echo "$(pinned_pages) pages are pinned"
check "the guest's Linux lives, and its device does nothing" answers '^edu failed' 240 demo "edu-guest 0" '^edu (ok|failed)'
hostdev 11 > /run/second.xml
check "another device is refused, and why is said" fails_with 'has ended|shut down' virsh attach-device demo /run/second.xml --live
hostdev 10 > /run/dead.xml
check "the dead one can be detached" virsh detach-device demo /run/dead.xml --live
check "and leaves" wait_for 300 not has_hostdev demo 10
check "memory grows then" plug demo 256
check "to its maximum" wait_for 300 memory_is 256
check "no DMA fault in all that time" no_faults
end_guest demo
check "the device is its host's again" wait_for 30 not bound_to_vfio 0000:00:10.0
end_scene
