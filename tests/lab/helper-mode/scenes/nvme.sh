#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A disk that Linux drives: NVMe, with MSI-X. What the guest writes is on the disk, also out of plugged memory and after a reset.
# L1 sees the same disk as its third, to compare.
# disk: nvme 64M
# devices: -device nvme,serial=lab,drive=nvme,share-rw=on,addr=12.0
# devices: -device virtio-blk-pci,drive=nvme,share-rw=on,addr=13.0
# seconds: 1500
. /mnt/scene-lib.sh
libvirt_up

size=4 # MiB
# nvme NAME VERB SEED: the guest's own words.
nvme() { answers '^nvme ok: .* interrupts of [1-9][0-9]* msix' 240 "$1" "nvme-guest $2 $3 $size" '^nvme (ok|failed)'; }
on_disk() { /mnt/bin/nvme-guest print "$1" $size | cmp - <(dd if=/dev/vdc bs=1M count=$size iflag=direct status=none); }

define_guest disk "$helper_maps" "$shared" "$(hostdev 12)"
start_guest disk
check "Linux's nvme driver writes and reads, with MSI-X" nvme disk write 1
check "what it wrote is on the disk" on_disk 1
check "and nothing else" not on_disk 2
check "virtio-mem grows" plug disk 256
check "and is pinned" grown disk 256
check "DMA out of and into plugged memory" nvme disk write 2
check "most of it was plugged" test "$(sed -n 's/^nvme ok: data 2.* \([0-9]*\) of .* plugged.*/\1/p' /run/disk.log)" -gt 1024
check "what it wrote is on the disk" on_disk 2
check "virtio-mem shrinks" plug disk 0
check "and is no longer pinned" shrunk disk 0
check "a reset" virsh reset disk
check "Linux is up again" wait_for 900 guest_said_times disk "^ready" 2
check "it finds what it wrote" nvme disk read 2
check "and writes anew" nvme disk write 3
check "what it wrote is on the disk" on_disk 3
check "no DMA fault in all that time" no_faults
end_guest disk
end_scene
