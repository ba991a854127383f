#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A device that is told to go where a block was before it was unplugged: it gets nothing from there and reaches nothing.
. /mnt/scene-lib.sh
libvirt_up
copied=/run/copied
copy_is() { copy_in demo "$2" "$3" > $copied; cat $copied; grep -q "^edu copy .* $1\$" $copied && [ "$(wc -l < $copied)" = 1 ]; }

define_guest demo "$helper_maps" "$shared" "$(hostdev 10)"
start_guest demo
check "virtio-mem grows" plug demo 256
check "and is pinned" grown demo 256
check "the device writes into what was plugged" copy_is arrived any "$plugged"
written=$(cut -d' ' -f4 $copied)
check "and reads there" copy_is arrived "$plugged" any
read=$(cut -d' ' -f3 $copied)
check "without a fault" no_faults
check "virtio-mem shrinks" plug demo 0
check "and is no longer pinned" shrunk demo 0
check "the device no longer reads what was there, at $read" copy_is other "@$read" any
check "but faults at that address" wait_for 10 fault_at "$read"
before=$(fault_at "$written" | wc -l)
check "it is told to write where it wrote, at $written" copy_is sent any "@$written"
more_faults() { [ "$(fault_at "$written" | wc -l)" -gt "$before" ]; }
check "and faults at that address" wait_for 10 more_faults
check "the guest lives on, and its device" edu_works demo
faults_before=$(faults | wc -l)
check "virtio-mem grows again" plug demo 256
check "and is pinned again" grown demo 256
check "the device reaches what was plugged again" copy_is arrived any "$plugged"
check "without a fault more" test "$(faults | wc -l)" = "$faults_before"
end_guest demo
end_scene
