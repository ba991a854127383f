#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the example domains become on QEMU's command line, before and after `apply`: libvirt itself says so
# (virsh domxml-to-native), without any device being there.
. "$VFIOMEM_INTEGRATION_DIR/lib.sh"

vfiomem=$VFIOMEM_BUILD/src/cli/vfiomem
examples=$VFIOMEM_SOURCE/examples
fake_host
fake_device 0000:41:00.0 30
fake_device 0000:c1:00.0 71
fake_device 0000:03:00.0 11
fake_device 0000:5e:00.0 50 0x020000
fake_function 0000:5e:01.2 52 0000:5e:00.0
daemon_start

# tcg FILE: the example with what this machine has not (KVM and its own CPU) replaced. libvirt 9.0 makes a tap of any
# <interface> here and must be told the backend, because it prepares no devices for this command.
tcg()
{
    sed -e "s/type='kvm'/type='qemu'/" -e "s/mode='host-[a-z]*'/mode='maximum'/" -e "/<ioapic/d" \
        -e "s/ intremap='on'//; s/ eim='on'//" \
        -e "s/<interface type='hostdev'/<hostdev mode='subsystem' type='pci'/; s/<.interface>/<\/hostdev>/; /<mac /d" "$1" |
        sed -e "s/\(<hostdev .*type='pci'.*>\)/\1<driver name='vfio'\/>/"
}

# native FILE: QEMU's arguments, one a line.
native()
{
    tcg "$1" > /run/native.xml
    virsh domxml-to-native qemu-argv --xml /run/native.xml | sed 's/ -/\n-/g'
}

applied()
{
    "$vfiomem" apply --host "$examples/host.json" "$examples/$1.xml" > "/run/$1.xml" 2>/run/why || cat /run/why
    native "/run/$1.xml"
}

for file in "$examples"/*.xml; do
    name=$(basename "$file" .xml)
    [ "$name" = mdev-balloon ] && continue # libvirt wants the mediated device to exist
    check "$name is taken by libvirt" says 'qemu-system-x86_64' native "$file"
    check "$name is taken after apply" says 'qemu-system-x86_64' applied "$name"
done
check "elastic-126g has 2 MiB blocks" says '"block-size":2097152,' native "$examples/elastic-126g.xml"
check "after apply 4 MiB" says '"block-size":4194304,' applied elastic-126g
check "its GPU is a vfio-pci device" says '"driver":"vfio-pci","host":"0000:41:00.0"' native "$examples/elastic-126g.xml"
check "gpu-default-balloon gets a balloon nobody asked for" says '"driver":"virtio-balloon-pci"' native "$examples/gpu-default-balloon.xml"
check "two-gpus-viommu has one intel-iommu" says '"driver":"intel-iommu".*"caching-mode":true' native "$examples/two-gpus-viommu.xml"
check "and two devices" test "$(native "$examples/two-gpus-viommu.xml" | grep -c vfio-pci)" = 2
check "sriov-hotplug has its function and its DIMM" says 'pc-dimm' native "$examples/sriov-hotplug.xml"
check "as vfio-pci" says '"host":"0000:5e:01.2"' native "$examples/sriov-hotplug.xml"
finish
