#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Two devices of one IOMMU group in one guest, under type1 and under iommufd.
# SCENE_BACKEND: only that one.
# devices: -device pci-bridge,id=shared,chassis_nr=1,shpc=off,addr=1e.0
# devices: -device edu,bus=shared,addr=01.0,dma_mask=0xffffffffffffffff -device edu,bus=shared,addr=02.0,dma_mask=0xffffffffffffffff
. /mnt/scene-lib.sh
group_of() { basename "$(readlink "/sys/bus/pci/devices/$1/iommu_group")"; }
first=$(basename "$(echo /sys/bus/pci/devices/0000:0[1-9]:01.0)")
bus=${first:5:2}
HOSTDEV_MANAGED=no
allow_iommufd "0000:$bus:01.0" "0000:$bus:02.0"
libvirt_up
check "L1 has two devices in one group" test "$(group_of "0000:$bus:01.0")" = "$(group_of "0000:$bus:02.0")"

for backend in type1 iommufd; do
    [ -z "${SCENE_BACKEND-}" ] || [ "$SCENE_BACKEND" = "$backend" ] || continue
    define_guest "$backend" "<vfiomem:mapping owner='helper' backend='$backend'/>" "$shared" "$(hostdev 01 "$bus")$(hostdev 02 "$bus")"
    start_guest "$backend"
    check "memory is pinned once for both" locked_about 512
    check "the first device does DMA" edu_works "$backend" 0
    check "the second device does DMA" edu_works "$backend" 1
    check "virtio-mem grows" plug "$backend" 256
    check "and is pinned once" grown "$backend" 256
    check "DMA into what was plugged" says arrived copy_in "$backend" any "$plugged"
    check "virtio-mem shrinks" plug "$backend" 0
    check "and is no longer pinned" shrunk "$backend" 0
    check "no DMA fault in all that time" no_faults
    end_guest "$backend"
done
end_scene
