#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The locked-memory limit that vfiomem says libvirt will set is the one that libvirt sets, byte for byte.
. "$VFIOMEM_INTEGRATION_DIR/lib.sh"

vfiomem=$VFIOMEM_BUILD/src/cli/vfiomem
[ -n "${VFIOMEM_PRETEND_LIMITS-}" ] || skip "no pretend-limits module: run it with meson test"

fake_host
for n in 1 2 3; do
    fake_device "0000:4$n:00.0" "1$n"
done
daemon_start
export DOMAIN_EMULATOR=$VFIOMEM_INTEGRATION_DIR/pretend-vfio

device()
{
    echo "<hostdev mode='subsystem' type='pci' managed='no'>
      <source><address domain='0' bus='0x$1' slot='0' function='0'/></source>
    </hostdev>"
}
numa="
  <features><acpi/></features>
  <maxMemory slots='4' unit='GiB'>8</maxMemory>
  <cpu mode='maximum'><numa><cell id='0' cpus='0' memory='64' unit='MiB'/></numa></cpu>"
virtio_mem="<memory model='virtio-mem'>
      <target><size unit='GiB'>1</size><node>0</node><block unit='MiB'>2</block><requested unit='MiB'>64</requested></target>
    </memory>"
dimm="<memory model='dimm'><target><size unit='MiB'>256</size><node>0</node></target></memory>"
viommu="<iommu model='intel'><driver caching_mode='on'/></iommu>"

# same NAME: starts the domain in /run/NAME.xml and compares.
same()
{
    local said

    : > /run/memlock-limits
    define "/run/$1.xml" || return 1
    said=$("$vfiomem" plan --format json --libvirt-version 9.0.0 --qemu-version 7.2.22 "/run/$1.xml" | tr -d ' \n' |
        sed -n 's/.*"memlock":{[^}]*"limit":\([0-9]*\|null\).*/\1/p')
    virsh start "$1" && virsh destroy "$1" || return 1
    echo "vfiomem says $said, libvirt set $(memlock_limit)"
    # A domain in which nothing is pinned keeps the limit it has: libvirt sets none.
    [ "$said" = "$(memlock_limit)" ]
}

domain one "" "$(device 41)" > /run/one.xml
domain two "" "$(device 41)$(device 42)" > /run/two.xml
domain dimm "$numa" "$(device 41)$dimm" > /run/dimm.xml
domain elastic "$numa" "$(device 41)$virtio_mem" > /run/elastic.xml
domain mixed "$numa" "$(device 41)$(device 42)$virtio_mem$dimm" > /run/mixed.xml
domain viommu1 "$numa" "$(device 41)$virtio_mem$viommu" > /run/viommu1.xml
domain viommu3 "$numa" "$(device 41)$(device 42)$(device 43)$virtio_mem$dimm$viommu" > /run/viommu3.xml
check "one device" same one
check "two devices share" same two
check "a DIMM counts" same dimm
check "virtio-mem counts with its maximum" same elastic
check "everything together" same mixed
check "a vIOMMU with one device" same viommu1
check "a vIOMMU with three devices counts three times" same viommu3
if [ "$VFIOMEM_MEMORY_CGROUP" = yes ]; then
    domain hard "$numa<memtune><hard_limit unit='MiB'>3000</hard_limit></memtune>" "$(device 41)$virtio_mem" > /run/hard.xml
    check "a hard limit is the limit" same hard
fi
finish
