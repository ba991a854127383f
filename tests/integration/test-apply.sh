#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# From refusal to running: what the hook refuses, `vfiomem apply | virsh define` or `vfiomem define` mends.
. "$VFIOMEM_INTEGRATION_DIR/lib.sh"

vfiomem=$VFIOMEM_BUILD/src/cli/vfiomem

fake_host
fake_device 0000:41:00.0 7
fake_device 0000:42:00.0 8 0x020000
fake_function 0000:42:10.0 9 0000:42:00.0
daemon_start
check "define --all of nothing says so" says 'has no domains' "$vfiomem" define --all

# --- install-hook: the daemon runs and knows no hook yet
check "install-hook tells what it would do" says 'would make /etc/libvirt/hooks/qemu.d/50-vfiomem' \
    "$vfiomem" install-hook --dry-run --program "$VFIOMEM_BUILD/plugin/vfiomem-hook"
check "and does nothing" test ! -e /etc/libvirt/hooks/qemu.d/50-vfiomem
check "install-hook says that the daemon must be restarted" says 'restart it' \
    "$vfiomem" install-hook --program "$VFIOMEM_BUILD/plugin/vfiomem-hook"

export DOMAIN_EMULATOR=$VFIOMEM_INTEGRATION_DIR/pretend-vfio
device()
{
    echo "<hostdev mode='subsystem' type='pci' managed='no'>
      <source><address domain='0' bus='0x$1' slot='0' function='0'/></source>
    </hostdev>"
}
# elastic NAME SIZE-GIB BLOCK-MIB [BODY]
elastic()
{
    domain "$1" "
  <maxMemory slots='4' unit='GiB'>200</maxMemory>
  <!-- a comment that must survive -->
  <cpu mode='maximum'><numa><cell id='0' cpus='0' memory='64' unit='MiB'/></numa></cpu>
  ${4-}" "$(device 41)
    <memory model='virtio-mem'>
      <target><size unit='GiB'>$2</size><node>0</node><block unit='MiB'>$3</block><requested unit='MiB'>0</requested></target>
    </memory>
    <memballoon model='none'/>"
}
started()
{
    virsh start "$1" && virsh destroy "$1"
}

elastic many 128 2 > /run/many.xml
define /run/many.xml
check "before the restart libvirt does not ask" started many
check "the daemon restarts" daemon_restart
check "now the start is refused" fails_with '\[mapping-budget-exceeded\]' virsh start many
check "check says the same of the file" fails_with 'mapping-budget-exceeded' "$vfiomem" check /run/many.xml
check "and of the domain in libvirt" fails_with 'mapping-budget-exceeded' "$vfiomem" check --connect qemu:///system --domain many

# --- apply | virsh define
mended()
{
    virsh dumpxml --inactive many | "$vfiomem" apply > /run/mended.xml && virsh define /run/mended.xml
}
check "vfiomem apply | virsh define" mended
check "and it starts" started many
check "applying again changes nothing" eval '"$vfiomem" apply /run/mended.xml | cmp - /run/mended.xml'
check "libvirt's schema takes the result" virt-xml-validate /run/mended.xml domain

# --- define, from a file and from libvirt
elastic straight 128 2 > /run/straight.xml
check "vfiomem define FILE" "$vfiomem" define --connect qemu:///system /run/straight.xml
check "its domain starts" started straight
elastic stubborn 128 2 > /run/stubborn.xml
define /run/stubborn.xml
check "another is refused" fails_with 'mapping-budget-exceeded' virsh start stubborn
check "vfiomem define --domain" "$vfiomem" define --connect qemu:///system --domain stubborn
check "it starts" started stubborn

# --- locked memory
elastic locked 1 2 "<memtune><hard_limit unit='MiB'>512</hard_limit></memtune>" > /run/locked.xml
define /run/locked.xml
check "too low a hard limit is refused" fails_with '\[memlock-hard-limit\]' virsh start locked
check "vfiomem define mends the limit" "$vfiomem" define --connect qemu:///system --domain locked
if [ "$VFIOMEM_MEMORY_CGROUP" = yes ]; then
    check "and it starts" started locked
fi

# --- a pool of virtual functions: known only to libvirt
cat > /run/pool.xml <<XML
<network><name>pool</name><forward mode='hostdev' managed='no'><address type='pci' domain='0' bus='0x42' slot='0x10' function='0'/></forward></network>
XML
cat > /run/isolated.xml <<XML
<network><name>isolated</name></network>
XML
check "a pool of virtual functions is defined" virsh -q net-define /run/pool.xml
virsh -q net-define /run/isolated.xml
nic()
{
    DOMAIN_EMULATOR=/usr/bin/qemu-system-x86_64 domain "$1" "" "<interface type='network'><source network='$2'/></interface>"
}
nic vf pool > /run/vf.xml
nic tap isolated > /run/tap.xml
check "a pool's interface can't be told from a file" says 'network-unresolved' "$vfiomem" check /run/vf.xml
define /run/vf.xml
define /run/tap.xml
check "with a connection it is an assigned device" says '"kind": *"pci".*"via": *"interface"' \
    eval '"$vfiomem" check --format json --connect qemu:///system --domain vf | tr -d "\n"'
check "an ordinary network's is not" says '"assigned": *\[\]' \
    eval '"$vfiomem" check --format json --connect qemu:///system --domain tap | tr -d "\n"'

# --- and away
check "install-hook --remove" says 'removed' "$vfiomem" install-hook --remove
elastic free 128 2 > /run/free.xml
define /run/free.xml
check "nobody asks any more, at once" started free
finish
